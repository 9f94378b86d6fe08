// The cookie of a session: `<session id>.<secret>`, the secret made anew from the session's id and counter.
import { base64url } from "jose";
import type { NamedSecret } from "../../config/secrets.ts";
import type { Site } from "../../config/types.ts";
import { isSameSecret } from "../../crypto/constant-time.ts";
import { hmacSha256 } from "../../crypto/hmac.ts";
import type { PresentedRefresh } from "../../store/session-chains.ts";
import { strictCookie } from "../new-api/cookie.ts";

export const REFRESH_COOKIE = "new_api_refresh";

/** A UUID, then 52 characters for 7 bytes of counter and 32 of HMAC. */
const FORM = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{52})$/;
const COUNTER_BYTES = 7;

const encoder = new TextEncoder();

/** The cookie of a session at this counter, under the pepper that the session's row names. Always the same one. */
export async function refreshValue(
  realm: string,
  sessionId: string,
  counter: number,
  pepper: NamedSecret,
): Promise<string> {
  // Named, and the realm's: no digest of anything else under the same pepper is a refresh secret, nor another realm's.
  const message = encoder.encode(`postern new-api refresh 1:${realm}:${sessionId}:${counter}`);
  const bytes = new Uint8Array(COUNTER_BYTES + 32);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(counter) << 8n);
  bytes.set(await hmacSha256(pepper.value, message), COUNTER_BYTES);
  return `${sessionId}.${base64url.encode(bytes)}`;
}

/**
 * What the value of a cookie says, if it was made here for this realm: so that garbage costs no look-up. Does not check
 * whether the session is alive, nor whether this is its current secret.
 */
export async function readRefreshValue(
  realm: string,
  value: string,
  peppers: readonly NamedSecret[],
): Promise<PresentedRefresh | null> {
  const [, sessionId, secret] = FORM.exec(value) ?? [];
  if (sessionId === undefined || secret === undefined) return null;
  const bytes = base64url.decode(secret);
  const counter = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0) >> 8n);
  if (!Number.isSafeInteger(counter)) return null;
  for (const pepper of peppers) {
    if (isSameSecret(await refreshValue(realm, sessionId, counter, pepper), value)) {
      return { sessionId, counter, pepper: pepper.id };
    }
  }
  return null;
}

/** @param value `""`, with 0 seconds: takes it away */
export function refreshCookie(
  site: Pick<Site, "basePath">,
  value: string,
  maxAgeSeconds: number,
  scheme: "http" | "https",
): string {
  return strictCookie(
    REFRESH_COOKIE,
    value,
    { path: `${site.basePath}/api/user/auth`, maxAgeSeconds },
    scheme,
  );
}
