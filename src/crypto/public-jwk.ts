// Which public keys of others are fit to verify signatures, and for which algorithm each one serves.

/** A JWK that went through `readPublicJwk`: public members only, `kid` known. */
export interface PublicJwk extends JsonWebKey {
  readonly kid?: string;
}

/** Algorithms a key may serve, by key type and curve; nothing symmetric, nothing for encryption (RFC 7518 §3.1, RFC 8037). */
const RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const CURVE_ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  "EC P-256": ["ES256"],
  "EC P-384": ["ES384"],
  "EC P-521": ["ES512"],
  "OKP Ed25519": ["EdDSA", "Ed25519"],
};

const MIN_RSA_BITS = 2048;
/** Bounds the cost of one verification. */
const MAX_RSA_BITS = 8192;
const MAX_KID_LENGTH = 256;
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] as const;

/**
 * Reads one entry of a JWK set (RFC 7517 §4, §5): RSA of at least 2048 bits, EC on P-256/384/521, or Ed25519, meant for signatures.
 * Certificates, URLs and unknown members are left out. Does not check that a point lies on its curve; importing does.
 *
 * @returns `null` for anything else, also for a key published with its private half
 */
export function readPublicJwk(value: unknown): PublicJwk | null {
  if (!isRecord(value)) return null;
  const { kty, crv, use, key_ops: operations, alg, kid } = value;
  for (const member of PRIVATE_MEMBERS) if (value[member] !== undefined) return null;
  if (use !== undefined && use !== "sig") return null;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return null;
  if (kid !== undefined && (typeof kid !== "string" || kid.length > MAX_KID_LENGTH)) return null;
  const algorithms = algorithmsOfType(kty, crv);
  if (alg !== undefined && (typeof alg !== "string" || !algorithms.includes(alg))) return null;
  const named = {
    ...(kid === undefined ? {} : { kid }),
    ...(alg === undefined ? {} : { alg }),
  };
  if (kty === "RSA") {
    const { n, e } = value;
    if (!isBase64url(n) || !isBase64url(e)) return null;
    const bits = bitLength(n);
    return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS ? { kty, n, e, ...named } : null;
  }
  const { x, y } = value;
  if (typeof crv !== "string" || algorithms.length === 0 || !isBase64url(x)) return null;
  if (kty === "OKP") return { kty, crv, x, ...named };
  return kty === "EC" && isBase64url(y) ? { kty, crv, x, y, ...named } : null;
}

/**
 * The one algorithm a key serves: its own `alg`; without one, the first of `allowed` that its type and curve can do.
 *
 * @returns `null` when it serves none of `allowed`
 * @see RFC 8725 §3.1
 */
export function algorithmOfKey(key: PublicJwk, allowed: readonly string[]): string | null {
  const possible = algorithmsOfType(key.kty, key.crv);
  const algorithm = key.alg ?? allowed.find((candidate) => possible.includes(candidate));
  return algorithm !== undefined && possible.includes(algorithm) && allowed.includes(algorithm)
    ? algorithm
    : null;
}

function algorithmsOfType(kty: unknown, crv: unknown): readonly string[] {
  if (kty === "RSA") return RSA_ALGORITHMS;
  const name = `${kty} ${crv}`;
  return Object.hasOwn(CURVE_ALGORITHMS, name) ? (CURVE_ALGORITHMS[name] ?? []) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isBase64url(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9_-]+$/.test(value);
}

/** Bits of a base64url number without its leading zeros. */
function bitLength(text: string): number {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const totalBits = Math.floor((text.length * 6) / 8) * 8;
  let leadingZeros = 0;
  for (const character of text) {
    const value = digits.indexOf(character);
    if (value === 0) leadingZeros += 6;
    else return totalBits - leadingZeros - (Math.clz32(value) - 26);
  }
  return 0;
}
