// Claims of a token whose signature was checked -> the facts a decision needs.
import type { JwtIssuer } from "../../config/types.ts";
import type { RejectReason } from "../../types.ts";

export type Claims = Readonly<Record<string, unknown>>;

/** What a verified token says, free of its issuer's spelling. */
export interface TokenFacts {
  readonly subject: string;
  readonly name: string | null;
  /** `null`: the token says nothing about roles; empty: it says something that grants none. */
  readonly roles: readonly string[] | null;
  readonly scopes: readonly string[];
  /** `null`: the token says nothing about permissions. */
  readonly permissions: readonly string[] | null;
  /** `jti` */
  readonly tokenId: string | null;
  readonly sessionId: string | null;
  /** `iat`, else `nbf`, else 0: what "everything issued before" is measured by. */
  readonly issuedAtSeconds: number;
  readonly notBeforeSeconds: number | null;
  readonly expiresAtSeconds: number;
}

/** Why not; `detail` names the claim, never its value. */
export interface ClaimsRefused {
  readonly reason: RejectReason;
  readonly detail?: string;
}
export type FactsOrReason = { readonly facts: TokenFacts } | ClaimsRefused;

const MAX_TOLERANCE_SECONDS = 60;
/** Tokens issued right after a "revoke everything before now" are dated one second ahead, so that they survive it. */
const ISSUED_AHEAD_SECONDS = 1;
const MAX_ID_LENGTH = 256;

/**
 * Checks the claims against what the issuer is configured to say: `iss`, `aud` and `require` exactly; `exp` present;
 * `nbf`, `iat` numbers when present; the subject a non-empty string; `jti` and session id strings when present; what a
 * preset reads in them; and that `exp` is no further away than `maxLifetimeSeconds`. All times within the issuer's
 * tolerance, at most 60 s.
 * Does not check the signature, role, scopes or revocation.
 *
 * @see RFC 7519 §4.1, RFC 8725 §3.8, §3.9
 */
export function readFacts(claims: Claims, issuer: JwtIssuer, nowSeconds: number): FactsOrReason {
  const { exp, nbf, iat, jti, iss, aud } = claims;
  if (issuer.issuer !== null && iss !== issuer.issuer) return { reason: "issuer" };
  if (issuer.audience !== null && !namesOneOf(aud, issuer.audience)) return { reason: "audience" };
  for (const [claim, value] of issuer.require) {
    if (!Object.hasOwn(claims, claim) || claims[claim] !== value) return wrong(`require ${claim}`);
  }
  if (!isDate(exp)) return wrong(exp === undefined ? "exp: missing" : "exp");
  if (!isDateOrAbsent(nbf)) return wrong("nbf");
  if (!isDateOrAbsent(iat)) return wrong("iat");
  const subject = readClaim(claims, issuer.claims.subject);
  if (!isId(subject)) return { reason: "subject" };
  const sessionId = readClaim(claims, issuer.claims.session);
  if (jti !== undefined && !isId(jti)) return wrong("jti");
  if (sessionId !== undefined && !isId(sessionId)) return wrong("session id");

  const toleranceSeconds = toleranceOf(issuer);
  if (iat !== undefined && iat > nowSeconds + toleranceSeconds + ISSUED_AHEAD_SECONDS) {
    return { reason: "not_yet_valid" };
  }
  const name = readClaim(claims, issuer.claims.name);
  const role = readClaim(claims, issuer.claims.role);
  const permissions = readClaim(claims, issuer.claims.permissions);
  const facts: TokenFacts = {
    subject,
    name: typeof name === "string" && name !== "" ? name : null,
    roles: role === undefined ? null : typeof role === "string" ? [role] : textsOf(role),
    scopes: readScopes(readClaim(claims, issuer.claims.scopes)),
    permissions: permissions === undefined ? null : textsOf(permissions),
    tokenId: jti ?? null,
    sessionId: sessionId ?? null,
    issuedAtSeconds: Math.floor(iat ?? nbf ?? 0),
    notBeforeSeconds: nbf ?? null,
    expiresAtSeconds: exp,
  };
  const reason = untimely(facts, issuer, nowSeconds);
  if (reason !== null) return { reason };
  const read = issuer.interpret === null ? { facts } : issuer.interpret(claims, facts);
  if ("reason" in read) return read;
  // Last: what is no access token may live longer, and that it is none is what its holder is told.
  return exp - nowSeconds > issuer.maxLifetimeSeconds + toleranceSeconds
    ? wrong(`exp: over max_lifetime_seconds, ${issuer.maxLifetimeSeconds}`)
    : read;
}

const wrong = (detail: string): ClaimsRefused => ({ reason: "claim", detail });

/**
 * What time does to facts once read: refused from `exp` on ("on or after", RFC 7519 §4.1.4) and before `nbf`.
 * @returns `null` when they hold now
 */
export function untimely(facts: TokenFacts, issuer: JwtIssuer, nowSeconds: number): RejectReason | null {
  const toleranceSeconds = toleranceOf(issuer);
  if (nowSeconds >= facts.expiresAtSeconds + toleranceSeconds) return "expired";
  if (facts.notBeforeSeconds !== null && nowSeconds + toleranceSeconds < facts.notBeforeSeconds) {
    return "not_yet_valid";
  }
  return null;
}

function toleranceOf(issuer: JwtIssuer): number {
  return Math.min(issuer.clockToleranceSeconds, MAX_TOLERANCE_SECONDS);
}

/** The claim at a path of member names; `undefined` when it is absent. Inherited members are not claims. */
function readClaim(claims: Claims, path: readonly string[]): unknown {
  if (path.length === 0) return undefined;
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

/** NumericDate (RFC 7519 §2), finite: JSON can write numbers that are read as infinite. */
function isDate(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function isDateOrAbsent(value: unknown): value is number | undefined {
  return value === undefined || isDate(value);
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_ID_LENGTH;
}

/** `aud` is a string or an array of strings, compared exactly (RFC 7519 §4.1.3). */
function namesOneOf(aud: unknown, accepted: readonly string[]): boolean {
  if (typeof aud === "string") return accepted.includes(aud);
  if (!Array.isArray(aud) || !aud.every((entry) => typeof entry === "string")) return false;
  return aud.some((entry) => accepted.includes(entry));
}

/** Space-separated (RFC 8693 §4.2) or an array. */
function readScopes(value: unknown): readonly string[] {
  if (typeof value === "string") return value.split(" ").filter((scope) => scope !== "");
  return textsOf(value);
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
}
