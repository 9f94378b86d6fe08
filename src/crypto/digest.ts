// What is stored of a secret: HMAC-SHA-256(pepper, SHA-256(secret)), hex.
import type { NamedSecret } from "../config/secrets.ts";
import { hmacSha256 } from "./hmac.ts";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const encoder = new TextEncoder();

/**
 * Digests under every pepper, in the order of the peppers. Lower-case hex, 64 characters each.
 * Secrets are long and random, so a fast digest serves (ASVS 5.0 6.5.2); never use it for passwords.
 */
export async function storedDigests(
  secret: string,
  peppers: readonly NamedSecret[],
): Promise<readonly string[]> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(secret)));
  return storedDigestsOfHash(hash, peppers);
}

/** The same for a secret of which only the SHA-256 is known, as with imported keys. */
export async function storedDigestsOfHash(
  sha256: Uint8Array,
  peppers: readonly NamedSecret[],
): Promise<readonly string[]> {
  const digests: string[] = [];
  for (const pepper of peppers) digests.push(toHex(await hmacSha256(pepper.value, sha256)));
  return digests;
}

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}
