// Signing of user contexts and access tokens: compact JWS with the gateway's own keys or a site's HMAC secret (RFC 7515, RFC 7518, RFC 8037).
import { base64url } from "jose";
import type { UserContextSettings } from "../config/types.ts";
import { Problem } from "../problem.ts";
import { type HmacHash, hmacKey } from "./hmac.ts";

/** A public key as `/_gateway/jwks.json` publishes it. */
export interface PublishedJwk extends JsonWebKey {
  readonly kid: string;
}

export interface CompactSigner {
  /**
   * @param payload JSON text
   * @param type `typ` of the header: what kind of token this is must never be in doubt (RFC 8725 §3.11)
   * @returns a compact JWS
   * @throws Problem `config_invalid` when no key serves the algorithm
   */
  sign(
    payload: string,
    settings: Pick<UserContextSettings, "algorithm" | "secret">,
    type?: TokenType,
  ): Promise<string>;
  /** Public parts only, in the order of the secret: of each algorithm the first one signs. */
  readonly publicJwks: { readonly keys: readonly PublishedJwk[] };
}

interface SigningKey {
  readonly jwk: PublishedJwk;
  readonly algorithm: SubtleCryptoImportKeyAlgorithm & SubtleCryptoSignAlgorithm;
  /** The first part of every JWS by this key, with its dot. */
  readonly headers: Readonly<Record<TokenType, string>>;
  /** A finished key, never a promise: one begun by a request must not be awaited by another. */
  imported: CryptoKey | null;
}

const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const ED25519 = { name: "Ed25519" };
const HASHES: Readonly<Record<string, HmacHash>> = { HS256: "SHA-256", HS384: "SHA-384", HS512: "SHA-512" };
/** Of what is signed here: for origins, and for callers (RFC 9068). */
export type TokenType = "user-context+jwt" | "at+jwt";
const encoder = new TextEncoder();

/** @param privateJwks ES256 and Ed25519 keys with `kid`, as the configuration has checked them; others are ignored */
export function createCompactSigner(privateJwks: readonly JsonWebKey[]): CompactSigner {
  const published: PublishedJwk[] = [];
  const byAlgorithm = new Map<string, SigningKey>();
  for (const jwk of privateJwks) {
    const publicJwk = publicPart(jwk);
    if (publicJwk === null) continue;
    published.push(publicJwk);
    const alg = publicJwk.alg ?? "";
    if (byAlgorithm.has(alg)) continue;
    byAlgorithm.set(alg, {
      jwk: { ...publicJwk, d: jwk.d ?? "" },
      algorithm: alg === "ES256" ? ES256 : ED25519,
      headers: {
        "user-context+jwt": protectedHeader({ alg, kid: publicJwk.kid, typ: "user-context+jwt" }),
        "at+jwt": protectedHeader({ alg, kid: publicJwk.kid, typ: "at+jwt" }),
      },
      imported: null,
    });
  }
  const hmacHeaders: Readonly<Record<string, string>> = {
    HS256: protectedHeader({ alg: "HS256", typ: "user-context+jwt" }),
    HS384: protectedHeader({ alg: "HS384", typ: "user-context+jwt" }),
    HS512: protectedHeader({ alg: "HS512", typ: "user-context+jwt" }),
  };

  return {
    publicJwks: { keys: published },

    async sign(payload, { algorithm, secret }, type = "user-context+jwt") {
      const hash = HASHES[algorithm];
      if (hash !== undefined) {
        if (secret === null) throw new Problem("config_invalid", `no secret for ${algorithm} user contexts`);
        const signed = (hmacHeaders[algorithm] ?? "") + base64url.encode(payload);
        const mac = await crypto.subtle.sign("HMAC", await hmacKey(secret, hash), encoder.encode(signed));
        return `${signed}.${base64url.encode(new Uint8Array(mac))}`;
      }
      const key = byAlgorithm.get(algorithm);
      if (key === undefined)
        throw new Problem("config_invalid", `no signing key for ${algorithm} user contexts`);
      key.imported ??= await crypto.subtle.importKey("jwk", key.jwk, key.algorithm, false, ["sign"]);
      const signed = key.headers[type] + base64url.encode(payload);
      const signature = await crypto.subtle.sign(key.algorithm, key.imported, encoder.encode(signed));
      return `${signed}.${base64url.encode(new Uint8Array(signature))}`;
    },
  };
}

function protectedHeader(header: Readonly<Record<string, string>>): string {
  return `${base64url.encode(JSON.stringify(header))}.`;
}

/** Named members only, so that nothing private is ever published by being there. */
function publicPart(jwk: JsonWebKey & { readonly kid?: string }): PublishedJwk | null {
  const { kty, crv, x, y, kid } = jwk;
  if (kid === undefined || crv === undefined || x === undefined) return null;
  if (kty === "EC" && crv === "P-256" && y !== undefined)
    return { kty, crv, x, y, kid, use: "sig", alg: "ES256" };
  return kty === "OKP" && crv === "Ed25519" ? { kty, crv, x, kid, use: "sig", alg: "EdDSA" } : null;
}
