// Dashboard tokens as the system itself makes them, with the platform's crypto alone.
import { SignJWT } from "jose";

export const SESSION_SECRET = "a-session-secret-of-new-api-0123456789abcdef-XYZ";
/** In the middle of a window in which failed sign-ins are counted. */
export const NOW_MS = 1_800_000_300_000;
export const NOW_SECONDS = NOW_MS / 1_000;

const text = new TextEncoder();

/** HMAC-SHA256(SESSION_SECRET, "new-api/auth/access/v1"), 32 raw bytes. */
export async function dashboardKey(
  secret = SESSION_SECRET,
  label = "new-api/auth/access/v1",
): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey(
    "raw",
    text.encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, text.encode(label)));
}

/** `undefined` among the claims leaves a claim out. */
export async function signDashboardToken(
  claims: Readonly<Record<string, unknown>> = {},
  { key, alg = "HS256" }: { readonly key?: Uint8Array; readonly alg?: string } = {},
): Promise<string> {
  const nowSeconds = Math.floor(Date.now() / 1_000);
  return new SignJWT({
    token_use: "access",
    sid: "0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11",
    uv: 3,
    sv: 1,
    iss: "new-api",
    sub: "7",
    aud: ["new-api-dashboard"],
    exp: nowSeconds + 900,
    nbf: nowSeconds - 5,
    iat: nowSeconds,
    jti: "0f4f6d2a-4a5b-4f0f-9a49-9a8e6a1b1c11",
    ...claims,
  })
    .setProtectedHeader({ alg, typ: "JWT" })
    .sign(key ?? (await dashboardKey()));
}
