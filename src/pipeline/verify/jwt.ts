// Compact JWS access tokens, ours or of a foreign issuer.
import { compactVerify, errors } from "jose";
import { remainingScopes } from "../../config/role-scopes.ts";
import type { JwtIssuer, Site } from "../../config/types.ts";
import { hmacKey } from "../../crypto/hmac.ts";
import { algorithmOfKey, type PublicJwk, readPublicJwk } from "../../crypto/public-jwk.ts";
import { type BoundedMap, createBoundedMap } from "../../records/bounded-map.ts";
import type { JwksSource, KeySet } from "../../records/jwks.ts";
import type { Demand, FoundUser, Knowledge, UserRecord } from "../../records/types.ts";
import type { Principal, RejectReason, Verdict } from "../../types.ts";
import type { Verifier } from "../authenticate.ts";
import { freshnessBeforeLimit } from "../limit.ts";
import type { Match } from "../route.ts";
import {
  type Claims,
  type ClaimsRefused,
  type FactsOrReason,
  readFacts,
  type TokenFacts,
  untimely,
} from "./claims.ts";
import { type CompactJws, readCompactJws } from "./compact-jws.ts";
import { type IntrospectDeps, learn, NOTHING_KNOWN } from "./introspect.ts";
import { highestStep, roleAt, stepOf } from "./role.ts";
import { readStrictObject } from "./strict-json.ts";

export interface JwtVerifierDeps extends IntrospectDeps {
  readonly jwks: JwksSource;
  /** How many verified tokens are remembered for each issuer. */
  readonly maxRemembered: number;
}

type Background = (work: Promise<unknown>) => void;
type Verified = { readonly facts: TokenFacts; readonly issuer: JwtIssuer } | ClaimsRefused;

/** What is kept for one issuer. Verified facts only, never verdicts; forgotten when the issuer's key set changes. */
interface IssuerMemory {
  readonly tokens: BoundedMap<string, { readonly keysVersion: number; readonly facts: TokenFacts }>;
  readonly staticKeys: KeySet;
}

/** A token that names no key is tried with this many at most. */
const MAX_KEYS_TRIED = 4;
const HMAC_HASHES = { HS256: "SHA-256", HS384: "SHA-384", HS512: "SHA-512" } as const;

/**
 * Verifies JWTs.
 *
 * Checks, in this order: strict compact form (`readCompactJws`); the issuer, chosen by `iss` where the site has several;
 * `alg` and `typ` on that issuer's lists; the signature, by a key that serves exactly this algorithm; the claims
 * (`readFacts`); then, unless the site does without, revocation and the user's record.
 * A token whose signature was checked once is not checked again while the issuer's keys stay the same; its times are.
 *
 * Rights: with `users = "none"` those of the token. With `users = "required"` those of the user now, and a role or
 * permissions claim can only lower them; a token without such a claim does not. Scopes are the token's; of our own
 * tokens those that the user's role still has. Whom the realm does not know, the origin is asked about where the site
 * introspects, with the token itself, and what it says stands for the record; where it says no more than that the token
 * is good, the token stands alone, if users are not required.
 *
 * @see RFC 7519 §7.2, RFC 8725 §3
 */
export function createJwtVerifier(deps: JwtVerifierDeps): Verifier {
  const memories = new WeakMap<JwtIssuer, IssuerMemory>();

  function memoryOf(issuer: JwtIssuer): IssuerMemory {
    let memory = memories.get(issuer);
    if (memory === undefined) {
      const keys = issuer.keys.kind === "static" ? issuer.keys.jwks.map(readPublicJwk) : [];
      memory = {
        tokens: createBoundedMap(deps.maxRemembered),
        staticKeys: { version: 0, keys: keys.filter((key) => key !== null) },
      };
      memories.set(issuer, memory);
    }
    return memory;
  }

  /** `null`: not remembered, or verified with keys that are no longer the issuer's. A promise only for a JWKS. */
  function recall(
    token: string,
    issuer: JwtIssuer,
    background: Background,
  ): TokenFacts | null | Promise<TokenFacts | null> {
    const known = memoryOf(issuer).tokens.get(token);
    if (known === undefined) return null;
    if (issuer.keys.kind !== "jwks") return known.facts;
    const current = deps.jwks.keySet(issuer.keys.url, null, background);
    return current.then(({ version }) => (known.keysVersion === version ? known.facts : null));
  }

  /** The keys to try, with the version of the set they came from. */
  async function keysFor(
    jws: CompactJws,
    issuer: JwtIssuer,
    background: Background,
  ): Promise<{ readonly version: number; readonly keys: readonly (PublicJwk | CryptoKey)[] }> {
    const source = issuer.keys;
    if (source.kind === "secret") {
      const hash = HMAC_HASHES[jws.algorithm as keyof typeof HMAC_HASHES];
      return { version: 0, keys: hash === undefined ? [] : [await hmacKey(source.secret, hash)] };
    }
    if (source.kind === "static") return fittingKeys(memoryOf(issuer).staticKeys, jws, issuer);
    let set = await deps.jwks.keySet(source.url, null, background);
    const { keyId } = jws;
    if (keyId !== null && !set.keys.some((key) => key.kid === keyId)) {
      set = await deps.jwks.keySet(source.url, keyId, background);
    }
    return fittingKeys(set, jws, issuer);
  }

  async function verify(
    token: string,
    jws: CompactJws,
    issuer: JwtIssuer,
    nowSeconds: number,
    background: Background,
  ): Promise<Verified> {
    if (!issuer.algorithms.includes(jws.algorithm)) return { reason: "algorithm" };
    if (!issuer.types.includes(jws.type)) return { reason: "claim", detail: "typ" };
    const { version, keys } = await keysFor(jws, issuer, background);
    const payload = await verifySignature(token, jws, keys);
    if (typeof payload === "string") return { reason: payload };
    const claims = readStrictObject(payload);
    if (claims === null) return { reason: "malformed" };
    const read = readFactsOf(claims, issuer, nowSeconds);
    if ("reason" in read) return read;
    memoryOf(issuer).tokens.set(token, { keysVersion: version, facts: read.facts });
    return { facts: read.facts, issuer };
  }

  /** The facts of a good token, whether remembered or verified now. */
  async function factsOf(
    token: string,
    site: Site,
    nowSeconds: number,
    background: Background,
  ): Promise<Verified> {
    for (const issuer of site.jwtIssuers) {
      const facts = await recall(token, issuer, background);
      if (facts === null) continue;
      const reason = untimely(facts, issuer, nowSeconds);
      return reason === null ? { facts, issuer } : { reason };
    }
    const jws = readCompactJws(token);
    if (jws === null) return { reason: "malformed" };
    const issuer = chooseIssuer(site.jwtIssuers, jws);
    return issuer === null ? { reason: "issuer" } : verify(token, jws, issuer, nowSeconds, background);
  }

  return async (credential, match, context): Promise<Verdict> => {
    const { site } = match;
    const { background } = context;
    const verified = await factsOf(credential.value, site, context.nowSeconds, background);
    if ("reason" in verified) return { kind: "reject", ...verified };
    const { facts, issuer } = verified;
    const demand = demandFor(facts, match);
    const knowledge = demand === null ? NOTHING_KNOWN : await deps.records.know(demand, background);
    const { introspection } = site;
    const isOurs = issuer === site.realm.signIn?.issuer;
    if (introspection === null || isOurs || knowledge.user !== null || knowledge.isRevoked) {
      return decide(facts, issuer, knowledge, site);
    }
    const inquiry = introspection.inquire(credential, match.route, site.credentials);
    if (inquiry === null) return decide(facts, issuer, knowledge, site);
    const learnt = await learn(deps, inquiry, match, context, () => demand);
    const { finding } = learnt;
    if (finding.kind === "rejected") return { kind: "reject", reason: finding.reason };
    const found = finding.user === null ? null : recordOf(finding.user, site);
    const user = learnt.knowledge.user ?? found;
    return decide(facts, issuer, { ...learnt.knowledge, user }, site);
  };
}

/** `null`: nothing is looked up here. */
function demandFor(facts: TokenFacts, { site, route }: Match): Demand | null {
  if (site.users === "none" && site.revocation === "none") return null;
  const realm = site.realm.name;
  return {
    lookup: site.users === "required" ? { by: "user", realm, id: facts.subject } : { by: "none" },
    bearer: {
      realm,
      userId: facts.subject,
      tokenId: facts.tokenId,
      sessionId: facts.sessionId,
      issuedAtSeconds: facts.issuedAtSeconds,
    },
    freshnessSeconds: freshnessBeforeLimit(route),
  };
}

/** Somebody whom the origin alone knows, as the realm would know them. */
function recordOf(found: FoundUser, { realm }: Site): UserRecord {
  return { ...found, realm: realm.name, username: null, status: "active" };
}

function readFactsOf(signed: Claims, issuer: JwtIssuer, nowSeconds: number): FactsOrReason {
  const claims = issuer.rename === undefined ? signed : issuer.rename(signed);
  if (claims === null) return { reason: "claim" };
  return readFacts(claims, issuer, nowSeconds);
}

/** By the unverified `iss` where there are several; the one chosen is then verified, `iss` included (RFC 8725 §3.8). */
function chooseIssuer(issuers: readonly JwtIssuer[], jws: CompactJws): JwtIssuer | null {
  const [only] = issuers;
  if (issuers.length <= 1) return only ?? null;
  const claims = readStrictObject(jws.payload);
  if (claims === null) return null;
  const named = Object.hasOwn(claims, "iss") ? claims.iss : null;
  const candidates = issuers.filter(({ issuer }) => issuer === named);
  return candidates.find(({ algorithms }) => algorithms.includes(jws.algorithm)) ?? candidates[0] ?? null;
}

/** Keys that serve the token's algorithm, and have its `kid`; keys without one stand in when none has. */
function fittingKeys(
  set: KeySet,
  jws: CompactJws,
  issuer: JwtIssuer,
): { readonly version: number; readonly keys: readonly PublicJwk[] } {
  const serving = set.keys.filter((key) => algorithmOfKey(key, issuer.algorithms) === jws.algorithm);
  if (jws.keyId === null) return { version: set.version, keys: serving };
  const named = serving.filter((key) => key.kid === jws.keyId);
  const keys = named.length > 0 ? named : serving.filter((key) => key.kid === undefined);
  return { version: set.version, keys };
}

/** @returns the payload under the first key that verifies, or why none does */
async function verifySignature(
  token: string,
  jws: CompactJws,
  keys: readonly (PublicJwk | CryptoKey)[],
): Promise<Uint8Array | RejectReason> {
  let reason: RejectReason = "unknown_key";
  for (const key of keys.slice(0, MAX_KEYS_TRIED)) {
    try {
      return (await compactVerify(token, key, { algorithms: [jws.algorithm] })).payload;
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  return reason;
}

/** jose's texts stay here: they are no business of anyone's. A key that cannot be imported is as good as none. */
function reasonOf(error: unknown): RejectReason {
  if (error instanceof errors.JWSSignatureVerificationFailed) return "signature";
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return "algorithm";
  if (error instanceof errors.JWSInvalid) return "malformed";
  return "unknown_key";
}

function decide(facts: TokenFacts, issuer: JwtIssuer, knowledge: Knowledge, site: Site): Verdict {
  const { user } = knowledge;
  if (user === null && site.users === "none") {
    if (knowledge.isRevoked) return { kind: "reject", reason: "revoked" };
    return { kind: "accept", principal: standAlone(facts, site) };
  }
  if (user === null) return { kind: "reject", reason: "owner_missing" };
  if (user.status === "deleted") return { kind: "reject", reason: "owner_missing", about: user.attributes };
  if (user.id !== facts.subject || user.realm !== site.realm.name) {
    return { kind: "reject", reason: "owner_missing" };
  }
  if (user.status !== "active") {
    return { kind: "reject", reason: "owner_inactive", about: user.attributes };
  }
  if (knowledge.isRevoked) return { kind: "reject", reason: "revoked" };
  const own = stepOf(user.role, site);
  const step = facts.roles === null ? own : Math.min(own, highestStep(facts.roles, site));
  const { permissions } = facts;
  const isOurs = issuer === site.realm.signIn?.issuer;
  const scopes = isOurs ? remainingScopes(facts.scopes, site.realm, user.role) : facts.scopes;
  const principal: Principal = {
    realm: user.realm,
    id: user.id,
    name: user.name ?? user.username,
    role: roleAt(step, site),
    permissions:
      permissions === null ? user.permissions : user.permissions.filter((own) => permissions.includes(own)),
    attributes: user.attributes,
    credential: credentialOf(facts, scopes),
  };
  return { kind: "accept", principal };
}

function standAlone(facts: TokenFacts, site: Site): Principal {
  return {
    realm: site.realm.name,
    id: facts.subject,
    name: facts.name,
    role: roleAt(facts.roles === null ? 0 : highestStep(facts.roles, site), site),
    permissions: facts.permissions ?? [],
    attributes: {},
    credential: credentialOf(facts, facts.scopes),
  };
}

function credentialOf(facts: TokenFacts, scopes: readonly string[]): Principal["credential"] {
  return {
    kind: "jwt",
    id: facts.tokenId,
    scopes,
    expiresAtSeconds: Math.floor(facts.expiresAtSeconds),
    sessionId: facts.sessionId,
  };
}
