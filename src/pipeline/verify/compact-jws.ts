// The strict front of the JWT verifier: everything about a compact JWS that can be told without a key.
import { base64url } from "jose";
import { readStrictObject } from "./strict-json.ts";

export interface CompactJws {
  readonly algorithm: string;
  /** `null`: the token names no key. */
  readonly keyId: string | null;
  /** `typ`, lower-case, without `application/`; `""` when absent. */
  readonly type: string;
  /** Not verified. */
  readonly payload: Uint8Array;
}

export const MAX_TOKEN_BYTES = 8 * 1024;

/** Value of each base64url character, by its code; 255 for all others (RFC 4648 §5). */
const SEXTETS = new Uint8Array(128).fill(255);
for (let value = 0; value < 64; value++) {
  SEXTETS["ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".charCodeAt(value)] = value;
}

/**
 * Reads a compact JWS of at most 8 KB: three non-empty segments of canonical unpadded base64url, a header that is one
 * JSON object with a string `alg`. Refuses `crit` and `b64`: no extension is understood here. Key material in the header
 * (`jwk`, `jku`, `x5c`, `x5u`) is never looked at. Does not verify anything.
 *
 * @returns `null` for anything else, JWE and JSON serializations included
 * @see RFC 7515 §2, §4.1, §7.1; RFC 7797 §7
 */
export function readCompactJws(token: string): CompactJws | null {
  if (token.length > MAX_TOKEN_BYTES) return null;
  const firstDot = token.indexOf(".");
  const secondDot = token.indexOf(".", firstDot + 1);
  if (firstDot < 0 || secondDot < 0) return null;
  if (!isCanonicalBase64url(token, 0, firstDot)) return null;
  if (!isCanonicalBase64url(token, firstDot + 1, secondDot)) return null;
  if (!isCanonicalBase64url(token, secondDot + 1, token.length)) return null;

  const header = readStrictObject(base64url.decode(token.slice(0, firstDot)));
  if (header === null || Object.hasOwn(header, "crit") || Object.hasOwn(header, "b64")) return null;
  const { alg, kid, typ } = header;
  if (typeof alg !== "string") return null;
  if (Object.hasOwn(header, "kid") && typeof kid !== "string") return null;
  if (Object.hasOwn(header, "typ") && typeof typ !== "string") return null;
  return {
    algorithm: alg,
    keyId: typeof kid === "string" ? kid : null,
    type: typeof typ === "string" ? bareType(typ) : "",
    payload: base64url.decode(token.slice(firstDot + 1, secondDot)),
  };
}

/** Also refuses bits set beyond the last byte: with them, one token would have several spellings. */
function isCanonicalBase64url(text: string, start: number, end: number): boolean {
  const rest = (end - start) % 4;
  if (end === start || rest === 1) return false;
  let last = 0;
  for (let i = start; i < end; i++) {
    last = SEXTETS[text.charCodeAt(i)] ?? 255;
    if (last === 255) return false;
  }
  if (rest === 2) return (last & 0b1111) === 0;
  return rest === 0 || (last & 0b11) === 0;
}

function bareType(typ: string): string {
  const type = typ.toLowerCase();
  return type.startsWith("application/") ? type.slice("application/".length) : type;
}
