// Refresh tokens in NekoHub's form, 64 bytes in base64: session, counter, expiry, HMAC. The same one can be made again.
import type { NamedSecret } from "../../config/secrets.ts";
import { isSameSecret } from "../../crypto/constant-time.ts";
import { toHex } from "../../crypto/digest.ts";
import { hmacKey } from "../../crypto/hmac.ts";
import type { PresentedRefresh } from "../../store/session-chains.ts";

/** 64 bytes in standard base64 (RFC 4648 §4). */
const FORM = /^[A-Za-z0-9+/]{86}==$/;
const ID_BYTES = 16;
/** Where what is signed ends: id, counter and expiry. */
const SIGNED_BYTES = 24;
const TOKEN_BYTES = 64;

export interface RefreshContent {
  readonly sessionId: string;
  readonly counter: number;
  readonly expiresAtSeconds: number;
}

/** An id that such a token has room for. */
export const newSessionId = (): string => `ses_${toHex(crypto.getRandomValues(new Uint8Array(ID_BYTES)))}`;

/** The token of a session at this counter, under the pepper that the session's row names; for one realm alone. */
export async function writeRefreshToken(
  { sessionId, counter, expiresAtSeconds }: RefreshContent,
  realm: string,
  pepper: NamedSecret,
): Promise<string> {
  const bytes = new Uint8Array(TOKEN_BYTES);
  const id = sessionId.slice("ses_".length);
  for (let at = 0; at < ID_BYTES; at++) bytes[at] = Number.parseInt(id.slice(at * 2, at * 2 + 2), 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(ID_BYTES, counter);
  view.setUint32(ID_BYTES + 4, expiresAtSeconds);
  // Named, so that no digest of anything else under the same pepper is a refresh token.
  const name = new TextEncoder().encode(`postern nekohub refresh 1:${realm}:`);
  const message = new Uint8Array(name.length + SIGNED_BYTES);
  message.set(name);
  message.set(bytes.subarray(0, SIGNED_BYTES), name.length);
  const mac = await crypto.subtle.sign("HMAC", await hmacKey(pepper.value, "SHA-512"), message);
  bytes.set(new Uint8Array(mac, 0, TOKEN_BYTES - SIGNED_BYTES), SIGNED_BYTES);
  return btoa(String.fromCharCode(...bytes));
}

/**
 * What a refresh token says, if it was made here for this realm: garbage costs no look-up. Does not check whether the
 * session is alive, nor whether this is its current token, nor its expiry.
 */
export async function readRefreshToken(
  token: string,
  realm: string,
  peppers: readonly NamedSecret[],
): Promise<(PresentedRefresh & RefreshContent) | null> {
  if (!FORM.test(token)) return null;
  const bytes = Uint8Array.from(atob(token), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const content = {
    sessionId: `ses_${toHex(bytes.subarray(0, ID_BYTES))}`,
    counter: view.getUint32(ID_BYTES),
    expiresAtSeconds: view.getUint32(ID_BYTES + 4),
  };
  for (const pepper of peppers) {
    if (isSameSecret(await writeRefreshToken(content, realm, pepper), token)) {
      return { ...content, pepper: pepper.id };
    }
  }
  return null;
}
