// HMAC keys, imported once per secret. `crypto.subtle` is faster than `node:crypto` here.

export type HmacHash = "SHA-256" | "SHA-384" | "SHA-512";

// Finished keys only: a promise begun by one request must not be awaited by another.
const imported: Record<HmacHash, WeakMap<Uint8Array, CryptoKey>> = {
  "SHA-256": new WeakMap(),
  "SHA-384": new WeakMap(),
  "SHA-512": new WeakMap(),
};

/**
 * The key for a secret. Remembered by the identity of the array, so the array must never be changed afterwards.
 * Does not check the secret's length; the configuration does.
 */
export async function hmacKey(secret: Uint8Array, hash: HmacHash = "SHA-256"): Promise<CryptoKey> {
  const known = imported[hash].get(secret);
  if (known !== undefined) return known;
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash }, false, ["sign", "verify"]);
  imported[hash].set(secret, key);
  return key;
}

/** HMAC-SHA-256, 32 bytes (RFC 2104). */
export async function hmacSha256(secret: Uint8Array, data: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign("HMAC", await hmacKey(secret), data));
}
