// Who a site takes JWTs from, and by which keys and rules they are verified.

import type { PresetJwt } from "../presets/preset.ts";
import { isLoopback, parseUrl } from "./names.ts";
import { readPublicKeys } from "./public-key.ts";
import type { HmacAlgorithm, JwtInput, PublicKeyAlgorithm } from "./schema.ts";
import type { Scope } from "./scope.ts";
import { readHmacSecret, readSecret } from "./secrets.ts";
import type { JwtIssuer, JwtKeySource } from "./types.ts";

/** RFC 7519 section 5.1 and RFC 9068 section 2.1; `""` stands for a token without `typ`. */
const DEFAULT_TYPES = ["", "jwt", "at+jwt"];
const CONTEXT_TYPE = "user-context+jwt";
const DEFAULT_CLOCK_TOLERANCE_SECONDS = 30;
const DEFAULT_MAX_LIFETIME_SECONDS = 86_400;

/** @returns `null` after an issue under `key` */
export function compileJwtIssuer(
  input: JwtInput,
  id: string,
  key: string,
  preset: PresetJwt | null,
  scope: Scope,
): JwtIssuer | null {
  const given = withDefaults(input, key, preset, scope);
  if (given === null) return null;
  const keys = compileKeys(given, key, preset?.deriveKey ?? null, scope);
  const types = given.types?.map((type) => type.toLowerCase().replace(/^application\//, "")) ?? DEFAULT_TYPES;
  if (types.includes(CONTEXT_TYPE)) {
    scope.issues.add(
      `${key}.types`,
      `must not hold ${CONTEXT_TYPE}: what we sign for origins is no credential`,
    );
  }
  const claims = given.claims ?? {};
  if (keys === null) return null;
  return {
    id,
    algorithms: given.algorithms,
    keys,
    issuer: given.issuer,
    audience: typeof given.audience === "string" ? [given.audience] : given.audience,
    ...(preset?.rename !== undefined && { rename: preset.rename }),
    interpret: preset?.interpret ?? null,
    require: Object.entries(given.require ?? {}),
    clockToleranceSeconds: given.clock_tolerance_seconds ?? DEFAULT_CLOCK_TOLERANCE_SECONDS,
    maxLifetimeSeconds: given.max_lifetime_seconds ?? DEFAULT_MAX_LIFETIME_SECONDS,
    types,
    claims: {
      subject: claimPath(claims.subject, "sub"),
      name: claimPath(claims.name, "name"),
      role: claimPath(claims.role, "role"),
      scopes: claimPath(claims.scopes, "scope"),
      permissions: claimPath(claims.permissions, "permissions"),
      session: claimPath(claims.session, "sid"),
    },
  };
}

/** What must be there; `null` where a preset's tokens do without. */
type Complete = Omit<JwtInput, "algorithms" | "issuer" | "audience"> & {
  readonly algorithms: NonNullable<JwtInput["algorithms"]>;
  readonly issuer: string | null;
  readonly audience: string | readonly string[] | null;
};

/** @returns `null` after an issue under `key` */
function withDefaults(
  { algorithms, issuer, audience, ...rest }: JwtInput,
  key: string,
  preset: PresetJwt | null,
  { issues }: Scope,
): Complete | null {
  const usual = preset?.defaults;
  const complete = {
    // A preset's are its own; `checkPreset` refuses others.
    algorithms: usual?.algorithms ?? algorithms,
    issuer: issuer ?? usual?.issuer,
    audience: audience ?? usual?.audience,
  };
  let isComplete = true;
  for (const [name, value] of Object.entries(complete)) {
    if (value !== undefined) continue;
    issues.add(`${key}.${name}`, "is required");
    isComplete = false;
  }
  if (!isComplete) return null;
  return { ...usual?.rest, ...rest, ...(complete as Pick<Complete, "algorithms" | "issuer" | "audience">) };
}

function claimPath(given: string | readonly string[] | undefined, fallback: string): readonly string[] {
  if (given === undefined) return [fallback];
  return typeof given === "string" ? given.split(".") : given;
}

function compileKeys(
  given: Complete,
  key: string,
  deriveKey: PresetJwt["deriveKey"] | null,
  scope: Scope,
): JwtKeySource | null {
  const { issues } = scope;
  const hmac = given.algorithms.filter((name): name is HmacAlgorithm => name.startsWith("HS"));
  const publicKey = given.algorithms.filter((name): name is PublicKeyAlgorithm => !name.startsWith("HS"));
  if (hmac.length > 0 && publicKey.length > 0) {
    issues.add(
      `${key}.algorithms`,
      "mixes HMAC with public-key algorithms, so that a public key could pass for a secret: make two issuers of it",
    );
    return null;
  }
  const sources = [given.secret, given.public_key, given.jwks].filter((source) => source !== undefined);
  if (sources.length !== 1) {
    issues.add(key, "needs exactly one of secret, public_key and jwks");
    return null;
  }
  if (given.secret_encoding !== undefined && given.secret === undefined) {
    issues.add(`${key}.secret_encoding`, "has a meaning only beside secret");
  }
  if (hmac.length > 0) {
    if (given.secret === undefined) {
      issues.add(`${key}.algorithms`, "are HMAC ones, which need secret; a public key is no secret");
      return null;
    }
    const encoding = given.secret_encoding ?? "text";
    const secret = readHmacSecret(given.secret, hmac, encoding, `${key}.secret`, scope.secrets, issues);
    if (secret === null) return null;
    return { kind: "secret", secret: deriveKey ? deriveKey(secret) : secret };
  }
  if (given.jwks !== undefined) return compileJwksUrl(given.jwks, `${key}.jwks`, scope);
  if (given.public_key !== undefined) {
    return compilePublicKeys(given.public_key, publicKey, `${key}.public_key`, scope);
  }
  issues.add(
    `${key}.secret`,
    "is a shared secret, which public-key algorithms cannot use: give public_key or jwks",
  );
  return null;
}

function compileJwksUrl(given: string, key: string, { issues, isProduction }: Scope): JwtKeySource | null {
  const url = parseUrl(given);
  if (typeof url === "string") {
    issues.add(key, url);
    return null;
  }
  if (url.protocol !== "https:" && (isProduction || !isLoopback(url))) {
    issues.add(key, "must be https: whoever changes the keys on the way signs in as anyone");
    return null;
  }
  return { kind: "jwks", url };
}

function compilePublicKeys(
  given: string | Readonly<Record<string, unknown>>,
  algorithms: readonly PublicKeyAlgorithm[],
  key: string,
  scope: Scope,
): JwtKeySource | null {
  let material: string | Readonly<Record<string, unknown>> | null = given;
  if (typeof given === "string" && given.startsWith("secret:")) {
    const name = given.slice("secret:".length);
    if (!/^[A-Z][A-Z0-9_]{0,63}$/.test(name)) {
      scope.issues.add(key, "must be secret:NAME with the NAME of a Worker secret (A-Z, 0-9, _)");
      return null;
    }
    material = readSecret({ name, kind: "public_key", algorithms }, key, scope.secrets, scope.issues);
  }
  const jwks = material === null ? null : readPublicKeys(material, algorithms, key, scope.issues);
  return jwks === null ? null : { kind: "static", jwks };
}
