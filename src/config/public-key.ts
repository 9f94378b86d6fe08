// Public keys given in the configuration or as a secret: PEM, a JWK, or a JWK set. Public parts only, one algorithm each.
import { createPublicKey } from "node:crypto";
import { readPublicJwk } from "../crypto/public-jwk.ts";
import type { Issues } from "./issue.ts";
import { isTable } from "./read.ts";
import type { PublicKeyAlgorithm } from "./schema.ts";
import { decodeBase64Url, parseJson } from "./secrets.ts";

const LEAST_RSA_BITS = 2048;
const MOST_RSA_BITS = 8192;
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth"];
const CURVE_ALGORITHMS: Readonly<Record<string, PublicKeyAlgorithm>> = {
  "P-256": "ES256",
  "P-384": "ES384",
  "P-521": "ES512",
};

/**
 * Public keys as JWKs that hold nothing but their public members, `kid` and the one `alg` they may be used with.
 * Checks: no private or symmetric key, RSA of at least 2048 bits, points on their curve, exactly one of `algorithms`
 * fits each key, `use` and `key_ops` permit verifying, several keys have distinct `kid`s.
 * @param given PEM or JSON text, or a JWK or JWK set as a table
 * @returns `null` after at least one issue under `key`; messages contain no key material
 */
export function readPublicKeys(
  given: string | Readonly<Record<string, unknown>>,
  algorithms: readonly PublicKeyAlgorithm[],
  key: string,
  issues: Issues,
): readonly JsonWebKey[] | null {
  const entries = keysOf(given);
  if (typeof entries === "string") {
    issues.add(key, entries);
    return null;
  }
  const keys: JsonWebKey[] = [];
  const kids = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const place = entries.length > 1 ? `key ${index + 1} ` : "";
    const publicKey = toPublicKey(entry, algorithms);
    if (typeof publicKey === "string") {
      issues.add(key, place + publicKey);
      continue;
    }
    const kid = (publicKey as { readonly kid?: string }).kid;
    if (entries.length > 1 && kid === undefined) issues.add(key, `${place}needs a kid, as there are several`);
    else if (kid !== undefined && kids.has(kid)) issues.add(key, `${place}has the kid of an earlier key`);
    else keys.push(publicKey);
    if (kid !== undefined) kids.add(kid);
  }
  return keys.length === entries.length ? keys : null;
}

function keysOf(given: string | Readonly<Record<string, unknown>>): readonly unknown[] | string {
  const value: unknown = typeof given === "string" ? parseKeyText(given) : given;
  if (typeof value === "string") return value;
  if (!isTable(value)) return "must be a public key in PEM, a JWK, or a JWK set";
  if (value.keys === undefined) return [value];
  if (!Array.isArray(value.keys) || value.keys.length === 0) return "must be a JWK set that holds keys";
  return value.keys;
}

/** What the text holds, or as a string what is wrong with it. */
function parseKeyText(given: string): unknown {
  const text = given.replaceAll("\\n", "\n").trim();
  if (!text.startsWith("-----BEGIN")) {
    const json = parseJson(text);
    return isTable(json) ? json : undefined;
  }
  if (/^-----BEGIN [A-Z ]*PRIVATE KEY/.test(text)) {
    return "is a private key: give its public part (openssl pkey -in key.pem -pubout), and treat this one as exposed";
  }
  if (!text.startsWith("-----BEGIN PUBLIC KEY-----")) {
    return "must be a PEM of type PUBLIC KEY (from a certificate: openssl x509 -in cert.pem -noout -pubkey)";
  }
  if (text.split("-----BEGIN").length > 2) return "must be one PEM key; for several, give a JWK set";
  try {
    // Some platforms add an `alg` of their own.
    return { ...createPublicKey(text).export({ format: "jwk" }), alg: undefined };
  } catch {
    return "is not a public key in PEM";
  }
}

function toPublicKey(entry: unknown, algorithms: readonly PublicKeyAlgorithm[]): JsonWebKey | string {
  if (!isTable(entry)) return "must be a JWK";
  if (entry.kty === "oct" || entry.k !== undefined) return "is a symmetric key: use secret for a shared one";
  if (PRIVATE_MEMBERS.some((member) => entry[member] !== undefined)) {
    return "is a private key: give only its public members, and treat this one as exposed";
  }
  if (entry.use !== undefined && entry.use !== "sig") return 'must have use "sig", or no use';
  if (entry.key_ops !== undefined && !(Array.isArray(entry.key_ops) && entry.key_ops.includes("verify"))) {
    return "must permit verify in key_ops";
  }
  if (entry.kid !== undefined && (typeof entry.kid !== "string" || !/^.{1,256}$/.test(entry.kid))) {
    return "must have a kid of 1 to 256 characters";
  }
  const members = publicMembers(entry);
  if (typeof members === "string") return members;
  try {
    createPublicKey({ key: members, format: "jwk" });
  } catch {
    return "is not a valid public key";
  }
  const algorithm = algorithmOf(entry, algorithms);
  if (!algorithm.isKnown) return algorithm.problem;
  const publicKey = {
    ...members,
    alg: algorithm.name,
    ...(entry.kid === undefined ? {} : { kid: entry.kid }),
  };
  return readPublicJwk(publicKey) ?? "is not a valid public key";
}

type PublicMembers = Readonly<Record<string, string>> & { readonly kty: string };

function publicMembers(entry: Readonly<Record<string, unknown>>): PublicMembers | string {
  const { kty, crv, x, y, n, e } = entry;
  if (kty === "RSA" && typeof n === "string" && typeof e === "string") {
    const modulus = decodeBase64Url(n);
    if (modulus === null || decodeBase64Url(e) === null) return "must have n and e in base64url";
    const bits = bitLength(modulus);
    if (bits < LEAST_RSA_BITS || bits > MOST_RSA_BITS) {
      return `has ${bits} bits: RSA keys need ${LEAST_RSA_BITS} to ${MOST_RSA_BITS}`;
    }
    return { kty: "RSA", n, e };
  }
  if (kty === "EC" && typeof crv === "string" && Object.hasOwn(CURVE_ALGORITHMS, crv)) {
    if (typeof x !== "string" || typeof y !== "string") return "must have x and y";
    return { kty: "EC", crv, x, y };
  }
  if (kty === "OKP" && crv === "Ed25519" && typeof x === "string") return { kty: "OKP", crv, x };
  return "must be an RSA key, an EC key on P-256, P-384 or P-521, or an Ed25519 key";
}

type PinnedAlgorithm =
  | { readonly isKnown: true; readonly name: PublicKeyAlgorithm }
  | { readonly isKnown: false; readonly problem: string };

/** The one algorithm a key is used with: its own `alg`, else the only configured one that fits its type. */
function algorithmOf(
  entry: Readonly<Record<string, unknown>>,
  algorithms: readonly PublicKeyAlgorithm[],
): PinnedAlgorithm {
  const fits = algorithms.filter((name) => {
    if (entry.kty === "RSA") return name.startsWith("RS") || name.startsWith("PS");
    if (entry.kty === "EC") return name === CURVE_ALGORITHMS[String(entry.crv)];
    return name === "EdDSA" || name === "Ed25519";
  });
  const candidates = entry.alg === undefined ? fits : fits.filter((name) => name === entry.alg);
  const [name] = candidates;
  if (name === undefined) return { isKnown: false, problem: "does not fit any of algorithms" };
  if (candidates.length === 1) return { isKnown: true, name };
  return {
    isKnown: false,
    problem: `fits ${candidates.join(" and ")}: give the key an alg, or list one of them`,
  };
}

function bitLength(bytes: Uint8Array): number {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (bytes.length - first - 1) * 8 + (32 - Math.clz32(bytes[first] ?? 0));
}
