// The gateway's own secrets. Each is a list, so that it can be rotated: the first one signs, all verify.
import type { Issues } from "./issue.ts";
import { isTable } from "./read.ts";
import type { HmacAlgorithm, PublicKeyAlgorithm, SigningAlgorithm } from "./schema.ts";
import { MAKE_ONE, weakness } from "./secret-strength.ts";

/**
 * Worker secrets, all lists of `id:value` separated by white space or commas, value base64url of at least 32 bytes:
 * - `POSTERN_TAG_SECRETS`: the tag at the end of every key, PAT and session cookie minted here
 * - `POSTERN_PEPPERS`: HMAC keys of stored digests; a row names its pepper by id
 * and `POSTERN_SIGNING_KEYS`: a private JWK set (JSON), each key with `kid` and `alg`; of each algorithm the first one
 * signs user contexts, the others are only published.
 * A list is empty when nothing in the configuration needs it and the secret is not there.
 */
export interface GatewaySecrets {
  readonly tagSecrets: readonly NamedSecret[];
  readonly peppers: readonly NamedSecret[];
  readonly signingKeys: readonly JsonWebKey[];
  /** `ADMIN_TOKEN`, UTF-8: opens the admin API before there is an administrator. `null`: not set. */
  readonly adminToken: Uint8Array | null;
}

export interface NamedSecret {
  readonly id: string;
  readonly value: Uint8Array;
}

const RESERVED_PREFIX = "POSTERN_";
export const TAG_SECRETS = "POSTERN_TAG_SECRETS";
export const PEPPERS = "POSTERN_PEPPERS";
export const SIGNING_KEYS = "POSTERN_SIGNING_KEYS";
export const ADMIN_TOKEN = "ADMIN_TOKEN";

/** What a secret is read for; enough to make a well-formed stand-in where the real one is not at hand. */
export type SecretNeed =
  | { readonly name: string; readonly kind: "list"; readonly isRequired: boolean }
  /** Required when there are algorithms. */
  | { readonly name: string; readonly kind: "signing_keys"; readonly algorithms: readonly SigningAlgorithm[] }
  | {
      readonly name: string;
      readonly kind: "hmac";
      readonly leastBytes: number;
      readonly encoding: SecretEncoding;
    }
  | { readonly name: string; readonly kind: "public_key"; readonly algorithms: readonly PublicKeyAlgorithm[] }
  | { readonly name: string; readonly kind: "header" }
  /** Keys of callers, separated by commas or line breaks. */
  | { readonly name: string; readonly kind: "api_keys" }
  /** Never required. */
  | { readonly name: string; readonly kind: "admin_token" };

export type SecretEncoding = "text" | "base64url" | "base64" | "hex";

/** Where secrets come from: the Worker's `env`, or what an offline check knows. `undefined`: it is not there. */
export type SecretSource = (need: SecretNeed) => unknown;

/** What the sites of a configuration demand of the gateway's own secrets. */
export interface GatewaySecretNeeds {
  /** Keys, PATs or sessions are made or looked up somewhere. */
  readonly stored: boolean;
  readonly algorithms: readonly SigningAlgorithm[];
}

const LEAST_BYTES = 32;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

/**
 * The text of a secret. Missing, empty, or not a text is an issue under `key`, and so is one of the gateway's own that
 * is named for another use.
 * @returns `null` after an issue
 */
export function readSecret(
  need: SecretNeed,
  key: string,
  source: SecretSource,
  issues: Issues,
): string | null {
  if (need.name.startsWith(RESERVED_PREFIX) && need.kind !== "list" && need.kind !== "signing_keys") {
    issues.add(
      key,
      `must not be ${need.name}: secrets that begin with ${RESERVED_PREFIX} are the gateway's own`,
    );
    return null;
  }
  if (need.name === ADMIN_TOKEN && need.kind !== "admin_token") {
    issues.add(key, `must not be ${ADMIN_TOKEN}, which opens the admin API and has no other use`);
    return null;
  }
  const value = source(need);
  if (typeof value === "string" && value.trim() !== "") return value;
  if (value === undefined || value === null || value === "") {
    const local = need.name.startsWith(RESERVED_PREFIX)
      ? "on this machine `npm start` makes one"
      : `on this machine put ${need.name}=… into .dev.vars`;
    issues.add(
      key,
      `the Worker secret ${need.name} is missing: ${local}; for a deployment: npx wrangler secret put ${need.name}`,
    );
  } else {
    issues.add(key, `the Worker secret ${need.name} must be a text that is not empty`);
  }
  return null;
}

/**
 * Reads the gateway's own secrets. One that nothing needs may be missing; one that is there is checked in any case.
 * Every problem goes to `issues` under the secret's name; no message contains any part of a secret.
 */
export function readGatewaySecrets(
  needs: GatewaySecretNeeds,
  source: SecretSource,
  issues: Issues,
): GatewaySecrets {
  const tagSecrets = readList(TAG_SECRETS, needs.stored, source, issues);
  const peppers = readList(PEPPERS, needs.stored, source, issues);
  if (tagSecrets.some((tag) => peppers.some((pepper) => areEqual(tag.value, pepper.value)))) {
    issues.add(PEPPERS, `must not contain a value of ${TAG_SECRETS}: make another one`);
  }
  const signingKeys = readSigningKeys(needs.algorithms, source, issues);
  return { tagSecrets, peppers, signingKeys, adminToken: readAdminToken(source, issues) };
}

function readAdminToken(source: SecretSource, issues: Issues): Uint8Array | null {
  const need: SecretNeed = { name: ADMIN_TOKEN, kind: "admin_token" };
  const given = source(need);
  if (given === undefined || given === null || given === "") return null;
  const text = readSecret(need, ADMIN_TOKEN, source, issues);
  if (text === null) return null;
  const bytes = new TextEncoder().encode(text);
  const weak = weakness(bytes, LEAST_BYTES);
  if (!/^[\x21-\x7e]+$/.test(text)) {
    issues.add(ADMIN_TOKEN, "must be visible ASCII without blanks: it is sent in a header");
  } else if (weak !== null) {
    issues.add(ADMIN_TOKEN, weak + MAKE_ONE);
  } else {
    return bytes;
  }
  return null;
}

function readList(
  name: string,
  isNeeded: boolean,
  source: SecretSource,
  issues: Issues,
): readonly NamedSecret[] {
  const need: SecretNeed = { name, kind: "list", isRequired: isNeeded };
  if (!isNeeded && source(need) === undefined) return [];
  const text = readSecret(need, name, source, issues);
  if (text === null) return [];
  const secrets: NamedSecret[] = [];
  const entries = text.split(/[\s,]+/).filter(Boolean);
  if (entries.length === 0) issues.add(name, "must hold at least one entry, id:value");
  for (const [index, entry] of entries.entries()) {
    const place = `entry ${index + 1}`;
    const colon = entry.indexOf(":");
    const id = entry.slice(0, Math.max(colon, 0));
    const value = decodeBase64Url(entry.slice(colon + 1));
    const weak = value === null ? null : weakness(value, LEAST_BYTES);
    if (!ID.test(id)) {
      issues.add(name, `${place} must be id:value with an id of letters, digits, _ . -`);
    } else if (value === null) {
      issues.add(name, `${place} must have a value in base64url without padding`);
    } else if (weak !== null) {
      issues.add(name, `${place} ${weak}`);
    } else if (secrets.some((other) => other.id === id)) {
      issues.add(name, `${place} has the id of an earlier entry: ids must differ`);
    } else if (secrets.some((other) => areEqual(other.value, value))) {
      issues.add(name, `${place} has the value of an earlier entry: a rotation needs a new one`);
    } else {
      secrets.push({ id, value });
    }
  }
  return secrets;
}

function readSigningKeys(
  algorithms: readonly SigningAlgorithm[],
  source: SecretSource,
  issues: Issues,
): readonly JsonWebKey[] {
  const need: SecretNeed = { name: SIGNING_KEYS, kind: "signing_keys", algorithms };
  if (algorithms.length === 0 && source(need) === undefined) return [];
  const text = readSecret(need, SIGNING_KEYS, source, issues);
  if (text === null) return [];
  const set = parseJson(text);
  if (!isTable(set) || !Array.isArray(set.keys) || set.keys.length === 0) {
    issues.add(SIGNING_KEYS, 'must be a private JWK set as JSON: {"keys":[…]}');
    return [];
  }
  const keys: JsonWebKey[] = [];
  const kids = new Set<string>();
  for (const [index, entry] of (set.keys as readonly unknown[]).entries()) {
    const place = `key ${index + 1}`;
    const key = signingKey(entry);
    if (typeof key === "string") issues.add(SIGNING_KEYS, `${place} ${key}`);
    else if (kids.has(key.kid)) issues.add(SIGNING_KEYS, `${place} has the kid of an earlier key`);
    else {
      kids.add(key.kid);
      keys.push(key);
    }
  }
  for (const algorithm of algorithms) {
    if (keys.length === set.keys.length && !keys.some((key) => key.alg === algorithm)) {
      issues.add(
        SIGNING_KEYS,
        `holds no ${algorithm} key, and user contexts or access tokens are to be signed with ${algorithm}`,
      );
    }
  }
  return keys;
}

/** A private ES256 or Ed25519 key with its own `kid`, reduced to the members that matter; or what is wrong with it. */
function signingKey(entry: unknown): (JsonWebKey & { readonly kid: string }) | string {
  if (!isTable(entry)) return "must be a JWK";
  const { kty, crv, alg, kid, use, x, y, d } = entry;
  if (typeof kid !== "string" || kid === "") return "needs a kid";
  if (use !== undefined && use !== "sig") return 'must have use "sig", or no use';
  const isEs256 = kty === "EC" && crv === "P-256" && alg === "ES256";
  const isEdDsa = kty === "OKP" && crv === "Ed25519" && (alg === "EdDSA" || alg === "Ed25519");
  if (!isEs256 && !isEdDsa) {
    return 'must be an ES256 key (kty "EC", crv "P-256", alg "ES256") or an Ed25519 key (kty "OKP", alg "EdDSA")';
  }
  const secret = typeof d === "string" ? decodeBase64Url(d) : null;
  if (secret === null || secret.length !== 32)
    return "must be a private key: d must be 32 bytes in base64url";
  if (weakness(secret, 32) !== null) return "is weak: its private part is not random";
  if (typeof x !== "string" || decodeBase64Url(x)?.length !== 32) return "has no valid public part x";
  if (isEdDsa) return { kty: "OKP", crv: "Ed25519", alg: "EdDSA", kid, x, d: d as string };
  if (typeof y !== "string" || decodeBase64Url(y)?.length !== 32) return "has no valid public part y";
  return { kty: "EC", crv: "P-256", alg: "ES256", kid, x, y, d: d as string };
}

/**
 * The bytes of a shared secret as an issuer or a site wrote it, at least as long as the hash (RFC 7518 section 3.2).
 * @returns `null` after an issue
 */
export function readHmacSecret(
  name: string,
  algorithms: readonly HmacAlgorithm[],
  encoding: SecretEncoding,
  key: string,
  source: SecretSource,
  issues: Issues,
): Uint8Array | null {
  const leastBytes = Math.max(...algorithms.map((algorithm) => Number(algorithm.slice(2)) / 8));
  const text = readSecret({ name, kind: "hmac", leastBytes, encoding }, key, source, issues);
  if (text === null) return null;
  if (text !== text.trim()) {
    issues.add(key, `the Worker secret ${name} begins or ends with white space: put it again without`);
    return null;
  }
  const bytes = encoding === "text" ? new TextEncoder().encode(text) : decode(text, encoding);
  if (bytes === null) {
    issues.add(key, `the Worker secret ${name} is not ${encoding}, as secret_encoding says`);
    return null;
  }
  const weak = weakness(bytes, leastBytes);
  if (weak === null) return bytes;
  issues.add(key, `the Worker secret ${name} ${weak}${encoding === "text" ? MAKE_ONE : ""}`);
  return null;
}

function decode(text: string, encoding: "base64url" | "base64" | "hex"): Uint8Array | null {
  if (encoding === "hex") {
    if (!/^([0-9a-f]{2})+$/i.test(text)) return null;
    return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  if (encoding === "base64" && !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const url = text.replace(/=+$/, "");
  return decodeBase64Url(encoding === "base64" ? url.replaceAll("+", "-").replaceAll("/", "_") : url);
}

/** Strict, unpadded base64url; `null` for anything else, also for unused bits that are not zero. */
export function decodeBase64Url(text: string): Uint8Array | null {
  if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const canonical = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return canonical === text ? Uint8Array.from(binary, (character) => character.charCodeAt(0)) : null;
}

/** JSON of any shape; `undefined` when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Not in constant time: for configuration, never for what a caller presents. */
export function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
