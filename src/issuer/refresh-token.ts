// Refresh tokens: `<session id>.<counter>.<HMAC>`. Nothing of them is stored, and the same one can be made again.
import { base64url } from "jose";
import type { NamedSecret } from "../config/secrets.ts";
import { isSameSecret } from "../crypto/constant-time.ts";
import { hmacSha256 } from "../crypto/hmac.ts";
import type { PresentedRefresh } from "../store/session-chains.ts";

/** 43 characters are 32 bytes; counters go as far as numbers are exact. */
const FORM = /^(ses_[A-Za-z0-9]{20,40})\.(0|[1-9][0-9]{0,14})\.([A-Za-z0-9_-]{43})$/;

const encoder = new TextEncoder();

/** The refresh token of a session at this counter, under the pepper that the session's row names. */
export async function signRefreshToken(
  sessionId: string,
  counter: number,
  pepper: NamedSecret,
): Promise<string> {
  return `${sessionId}.${counter}.${await macOf(sessionId, counter, pepper)}`;
}

/**
 * What a refresh token says, if the gateway made it: so that garbage costs no look-up. Does not check whether the session
 * is alive, nor whether this is its current token.
 */
export async function readRefreshToken(
  token: string,
  peppers: readonly NamedSecret[],
): Promise<PresentedRefresh | null> {
  const [, sessionId, digits, mac] = FORM.exec(token) ?? [];
  if (sessionId === undefined || mac === undefined) return null;
  const counter = Number(digits);
  for (const pepper of peppers) {
    if (isSameSecret(await macOf(sessionId, counter, pepper), mac)) {
      return { sessionId, counter, pepper: pepper.id };
    }
  }
  return null;
}

/** Named, so that no digest of anything else under the same pepper is a refresh token. */
async function macOf(sessionId: string, counter: number, pepper: NamedSecret): Promise<string> {
  const message = encoder.encode(`postern refresh 1:${sessionId}:${counter}`);
  return base64url.encode(await hmacSha256(pepper.value, message));
}
