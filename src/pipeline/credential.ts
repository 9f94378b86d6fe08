// Step 2: request -> credential | null. Looks where the site says; verifies nothing.
import type { CredentialRules } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import type { Credential, CredentialKind } from "../types.ts";
import { cookieValues, parameterValues, withoutCookies, withoutParameters } from "./pieces.ts";
import type { Match } from "./route.ts";

const MAX_CREDENTIAL_BYTES = 8192;

/** Schemes that are somebody else's business where a site also takes secrets without a scheme. */
const FOREIGN_SCHEMES: ReadonlySet<string> = new Set([
  "aws4-hmac-sha256",
  "basic",
  "concealed",
  "digest",
  "hoba",
  "mutual",
  "negotiate",
  "ntlm",
  "oauth",
  "privatetoken",
  "scram-sha-1",
  "scram-sha-256",
  "vapid",
]);

/** Also behind another credential, as lines of a repeated header arrive, and with a tab for the blank. */
const BEARER_ANYWHERE = /(?:^|,)\s*bearer(?:\s|,|$)/i;

const SPACE = 0x20;
const TAB = 0x09;
const COMMA = 0x2c;

interface Presented {
  readonly value: string;
  readonly isCookie: boolean;
}

/**
 * The one credential of a request, from the site's places in this order: Authorization, its headers, its cookies, its
 * query parameters, each list as configured. The same secret in two places is one credential, and counts as of the
 * first. With `conflict = "first"` the first place that holds anything decides alone.
 *
 * Kind goes by shape: what a cookie holds is a session; else two dots make a JWT, the configured prefix an API key,
 * anything else is a PAT. Checks only that it is one value: at most 8 KB of printable ASCII without blank or comma.
 * On a route with `auth = "none"` nothing is looked at, so a bad header cannot close an open route.
 *
 * @returns `null` when none was presented; also for a malformed one on an optional route of a site that says
 * `on_invalid = "anonymous"`
 * @throws Problem `credential_conflict` for two credentials, or twice the same cookie or parameter with different
 * values; `credential_invalid` for an unknown scheme or a list
 * @see RFC 9110 §11.4, RFC 6750 §2
 */
export function extractCredential(match: Match, context: RequestContext): Credential | null {
  const { route, site } = match;
  if (route.auth === "none") return null;
  try {
    return extract(site.credentials, context);
  } catch (error) {
    const isForgiven =
      route.auth === "optional" &&
      site.credentials.onInvalid === "anonymous" &&
      error instanceof Problem &&
      error.code === "credential_invalid";
    if (isForgiven) return null;
    throw error;
  }
}

/**
 * Removes credentials from what goes to the origin: every place the site reads them from and the header that claims
 * their owner, whatever the route's `auth`. Leaves Authorization of another scheme, other cookies and other parameters
 * as they are, byte for byte. Changes `headers` in place; returns the search string without credential parameters.
 */
export function removeCredentials(headers: Headers, search: string, match: Match): string {
  const rules = match.site.credentials;
  if (rules.forwardCredential) return search;
  if (rules.authorization !== "off") removeAuthorization(headers, rules);
  for (const name of rules.headers) headers.delete(name);
  if (rules.userHeader !== null) headers.delete(rules.userHeader);
  if (rules.cookies.length > 0) removeCookies(headers, rules.cookies);
  return rules.query.length > 0 ? withoutParameters(search, rules.query) : search;
}

function extract(rules: CredentialRules, context: RequestContext): Credential | null {
  const { request, url } = context.arrival;
  const presented = readPlaces(rules, request.headers, url.search);
  if (presented === null) return null;
  const claimed = rules.userHeader === null ? null : request.headers.get(rules.userHeader);
  return {
    kind: presented.isCookie
      ? "session"
      : kindOf(presented.value, context.runtime.config.gateway.apiKeyPrefix),
    value: presented.value,
    claimedUserId: claimed === null ? null : withoutOuterBlanks(claimed),
  };
}

function readPlaces(rules: CredentialRules, headers: Headers, search: string): Presented | null {
  let found = rules.authorization === "off" ? null : fromAuthorization(rules, headers);
  for (const name of rules.headers) {
    if (isSettled(found, rules)) return found;
    found = joined(found, fromHeader(headers, name));
  }
  for (const name of rules.cookies) {
    if (isSettled(found, rules)) return found;
    found = joined(found, fromCookie(headers, name));
  }
  for (const name of rules.query) {
    if (isSettled(found, rules)) return found;
    found = joined(found, fromParameter(search, name));
  }
  return found;
}

function isSettled(found: Presented | null, rules: CredentialRules): boolean {
  return found !== null && rules.conflict === "first";
}

function joined(found: Presented | null, next: Presented | null): Presented | null {
  if (found === null || next === null) return found ?? next;
  if (found.value !== next.value) throw new Problem("credential_conflict", "two places");
  return found;
}

function fromAuthorization(rules: CredentialRules, headers: Headers): Presented | null {
  const header = headers.get("authorization");
  if (header === null) return null;
  const field = withoutOuterBlanks(header);
  const token = bearerToken(field);
  if (token !== null) return presented(token, false);
  // A blank inside means a scheme that is not Bearer: `oneValue` refuses it.
  if (rules.authorization === "bearer_or_raw") return presented(field, false);
  throw new Problem("credential_invalid", "Authorization: not Bearer");
}

function fromHeader(headers: Headers, name: string): Presented | null {
  const value = headers.get(name);
  return value === null ? null : presented(withoutOuterBlanks(value), false);
}

/** An emptied cookie is how browsers are left after signing out: no credential. */
function fromCookie(headers: Headers, name: string): Presented | null {
  const header = headers.get("cookie");
  if (header === null) return null;
  const values = cookieValues(header, name);
  const [first] = values;
  if (first === undefined) return null;
  if (values.some((value) => value !== first)) throw new Problem("credential_conflict", `cookie ${name}`);
  return presented(first, true);
}

function fromParameter(search: string, name: string): Presented | null {
  const values = parameterValues(search, name);
  const [first] = values;
  if (first === undefined) return null;
  if (values.some((value) => value !== first)) throw new Problem("credential_conflict", `parameter ${name}`);
  return presented(first ?? "", false);
}

/** @throws Problem `credential_invalid` for what cannot be one secret: empty, too long, or a list. */
function presented(value: string, isCookie: boolean): Presented {
  if (value === "" || value.length > MAX_CREDENTIAL_BYTES) {
    throw new Problem("credential_invalid", value === "" ? "empty" : "over 8 KB");
  }
  for (let at = 0; at < value.length; at++) {
    const char = value.charCodeAt(at);
    if (char <= 0x20 || char >= 0x7f || char === COMMA) {
      throw new Problem("credential_invalid", "more than one word, or not ASCII");
    }
  }
  return { value, isCookie };
}

function kindOf(value: string, apiKeyPrefix: string): CredentialKind {
  const first = value.indexOf(".");
  if (first !== -1) {
    const second = value.indexOf(".", first + 1);
    if (second !== -1 && value.indexOf(".", second + 1) === -1) return "jwt";
  }
  return value.startsWith(apiKeyPrefix) ? "api_key" : "pat";
}

/** What follows the Bearer scheme, in any case, and one or more blanks; `null` for another scheme or none. */
function bearerToken(field: string): string | null {
  if (field.length < 6 || field.slice(0, 6).toLowerCase() !== "bearer") return null;
  let at = 6;
  while (field.charCodeAt(at) === SPACE) at++;
  return at > 6 || field.length === 6 ? field.slice(at) : null;
}

function removeAuthorization(headers: Headers, rules: CredentialRules): void {
  const header = headers.get("authorization");
  if (header === null) return;
  const field = withoutOuterBlanks(header);
  if (bearerToken(field) === null && !BEARER_ANYWHERE.test(field)) {
    const scheme = field.slice(0, Math.max(field.indexOf(" "), 0)).toLowerCase();
    if (rules.authorization === "bearer" || FOREIGN_SCHEMES.has(scheme)) return;
  }
  headers.delete("authorization");
}

function removeCookies(headers: Headers, names: readonly string[]): void {
  const header = headers.get("cookie");
  if (header === null) return;
  const kept = withoutCookies(header, names);
  if (kept === header) return;
  if (kept === "") headers.delete("cookie");
  else headers.set("cookie", kept);
}

/** One release of the platform trims field values, another does not (RFC 9110 §5.5: blanks and tabs around are no part). */
function withoutOuterBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

function isBlank(char: number): boolean {
  return char === SPACE || char === TAB;
}
