// Users of the gateway's own sign-in, without going through it: a session in D1 and an access token that names it.
import { importJWK, SignJWT } from "jose";
import { addUser, GATEWAY, secrets, writes } from "./gateway.ts";

export interface SignedIn {
  readonly realm?: "main" | "gateway";
  readonly scopes?: readonly string[];
  readonly sessionId?: string;
}

const [signingJwk] = JSON.parse(secrets.POSTERN_SIGNING_KEYS).keys;

/** @returns an access token of a session of its own, good for 15 minutes */
export async function signIn(
  userId: string,
  { realm = "main", scopes = [], sessionId = `ses_${crypto.randomUUID()}` }: SignedIn = {},
): Promise<string> {
  const nowSeconds = Math.floor(Date.now() / 1_000);
  await writes.createSession({
    id: sessionId,
    realm,
    userId,
    kind: "token",
    digest: "",
    pepper: "p1",
    scopes,
    createdAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 86_400,
  });
  return new SignJWT({ sid: sessionId, scope: scopes.join(" "), token_type: "access" })
    .setProtectedHeader({ alg: signingJwk.alg, kid: signingJwk.kid, typ: "at+jwt" })
    .setIssuer(GATEWAY.issuer)
    .setAudience(realm)
    .setSubject(userId)
    .setJti(crypto.randomUUID())
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + 900)
    .sign(await importJWK(signingJwk, signingJwk.alg));
}

/** @returns an access token of an administrator, who is added */
export async function signInAdmin(
  id: string,
  role: "admin" | "root" = "admin",
  scopes: readonly string[] = ["gateway.read", "gateway.write"],
): Promise<string> {
  await addUser(id, { realm: "gateway", role });
  return signIn(id, { realm: "gateway", scopes });
}
