// Step 2: request -> credential | null. Looks where the site says; verifies nothing.
import type { CredentialRules } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import type { Place, PresetRules } from "../presets/preset.ts";
import { Problem } from "../problem.ts";
import type { Arrival, Credential, CredentialKind, Principal } from "../types.ts";
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

const SUBPROTOCOLS = "sec-websocket-protocol";

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
    return site.preset === null
      ? extract(site.credentials, context)
      : extractAsPreset(site.preset, match, context);
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

function extractAsPreset(
  preset: PresetRules,
  { route, site }: Match,
  context: RequestContext,
): Credential | null {
  const presented = preset.read(context.arrival, route, site.credentials);
  context.trace.place = presented?.place ?? null;
  return presented?.credential ?? null;
}

/** Where a site takes credentials from, or some of these places. */
type Places = Pick<CredentialRules, "authorization" | "headers" | "cookies" | "query" | "userHeader">;

const NO_PLACES: Places = { authorization: "off", headers: [], cookies: [], query: [], userHeader: null };

/**
 * Removes credentials from what goes to the origin: every place the site reads them from and the header that claims
 * their owner, whatever the route's `auth`. Leaves Authorization of another scheme, other cookies and other parameters
 * as they are, byte for byte. Changes `headers` in place; returns the search string without credential parameters.
 *
 * With `forward_credential` what was verified stays, and nothing beside it: not what `conflict = "first"` has passed
 * over, nothing where the caller counts as anonymous, and the claimed owner only where it was compared with the real
 * one (a PAT's or a session's). Where no verdict was asked for (`auth = "none"`) or heeded (a refusal in observe mode)
 * everything stays: there the origin decides by itself, and needs what it was sent.
 *
 * @param sighted names of the headers to look at; those that hold no credential are left alone
 */
export function removeCredentials(
  headers: Headers,
  sighted: readonly string[],
  principal: Principal | null,
  match: Match,
  context: RequestContext,
): string {
  const rules = match.site.credentials;
  if (match.site.preset !== null)
    return removeAsPreset(headers, match.site.preset, principal, match, context);
  const places = rules.forwardCredential ? unverifiedPlaces(principal, match, context) : rules;
  for (const name of sighted) {
    if (places.headers.includes(name) || name === places.userHeader) headers.delete(name);
    else if (name === "authorization") removeAuthorization(headers, places.authorization);
    else if (name === "cookie") removeCookies(headers, places.cookies);
  }
  const { search } = context.arrival;
  return places.query.length > 0 ? withoutParameters(search, places.query) : search;
}

/** The same with a preset's places. What it calls foreign stays. */
function removeAsPreset(
  headers: Headers,
  preset: PresetRules,
  principal: Principal | null,
  { route, site }: Match,
  { arrival, trace }: RequestContext,
): string {
  const { forwardCredential, userHeader } = site.credentials;
  const places = preset.places(arrival, route);
  removeCookies(headers, cookiesOfOurs(site.credentials, places, trace.place));
  if (forwardCredential && (route.auth === "none" || (principal === null && trace.observed !== null))) {
    return arrival.search;
  }
  const kept = forwardCredential && principal !== null ? trace.place : null;
  const parameters: string[] = [];
  for (const place of places) {
    if (kept?.in === "subprotocol" && (place.in === "subprotocol" || place.name === SUBPROTOCOLS)) {
      joinSubprotocols(headers);
      continue;
    }
    if (place.in === kept?.in && place.name === kept.name) continue;
    if (place.in === "query") parameters.push(place.name);
    else if (place.in === "cookie") removeCookies(headers, [place.name]);
    else if (place.in === "subprotocol") removeSubprotocol(headers, place.name);
    else if (!preset.isForeign(place, headers.get(place.name) ?? "")) headers.delete(place.name);
  }
  const kind = principal?.credential.kind;
  if (userHeader !== null && (kept === null || (kind !== "pat" && kind !== "session")))
    headers.delete(userHeader);
  return parameters.length > 0 ? withoutParameters(arrival.search, parameters) : arrival.search;
}

/**
 * The cookie of the realm's own sign-in, where it is none that the system has too. It is good at the gateway alone, so it
 * stays here on every route, unless it decided and the site forwards what did.
 */
function cookiesOfOurs(
  { cookies, forwardCredential }: CredentialRules,
  places: readonly Place[],
  decided: Place | null,
): readonly string[] {
  if (cookies.length === 0) return cookies;
  const isTheirs = (name: string) => places.some((place) => place.in === "cookie" && place.name === name);
  const isKept = (name: string) => forwardCredential && decided?.in === "cookie" && decided.name === name;
  return cookies.filter((name) => !isTheirs(name) && !isKept(name));
}

/** Takes the entries that hold `prefix`, behind whatever an origin passes over, out of the list; others stay (RFC 6455 §11.3.4). */
function removeSubprotocol(headers: Headers, prefix: string): void {
  const entries = headers.get(SUBPROTOCOLS)?.split(",") ?? [];
  const kept = entries.filter((entry) => !entry.includes(prefix));
  if (kept.length === entries.length) return;
  if (kept.length === 0) headers.delete(SUBPROTOCOLS);
  else headers.set(SUBPROTOCOLS, kept.map((entry) => entry.trim()).join(", "));
}

/** One line of them, as they were read here: an origin that looks at the first line only would find another entry there. */
function joinSubprotocols(headers: Headers): void {
  headers.set(SUBPROTOCOLS, headers.get(SUBPROTOCOLS) ?? "");
}

function unverifiedPlaces(principal: Principal | null, match: Match, context: RequestContext): Places {
  const rules = match.site.credentials;
  if (match.route.auth === "none") return NO_PLACES;
  if (principal === null) return context.trace.observed === null ? rules : NO_PLACES;
  const { kind } = principal.credential;
  const userHeader = kind === "pat" || kind === "session" ? null : rules.userHeader;
  // Elsewhere every place that holds anything holds the same secret.
  if (rules.conflict !== "first") return { ...NO_PLACES, userHeader };
  return { ...placesAfterFirst(rules, context.arrival), userHeader };
}

/** The places behind the one that decided, which is looked for in the request as it came. */
function placesAfterFirst(rules: CredentialRules, { request, search }: Arrival): Places {
  const { headers } = request;
  const { authorization, cookies, query } = rules;
  if (authorization !== "off" && headers.has("authorization")) return { ...rules, authorization: "off" };
  const header = rules.headers.findIndex((name) => headers.has(name));
  if (header !== -1) return { ...NO_PLACES, headers: rules.headers.slice(header + 1), cookies, query };
  const sent = headers.get("cookie") ?? "";
  const cookie = cookies.findIndex((name) => cookieValues(sent, name).length > 0);
  if (cookie !== -1) return { ...NO_PLACES, cookies: cookies.slice(cookie + 1), query };
  const parameter = query.findIndex((name) => parameterValues(search, name).length > 0);
  return { ...NO_PLACES, query: query.slice(parameter + 1) };
}

function extract(rules: CredentialRules, context: RequestContext): Credential | null {
  const { request, search } = context.arrival;
  const presented = readPlaces(rules, request.headers, search);
  if (presented === null) return null;
  const claimed = rules.userHeader === null ? null : request.headers.get(rules.userHeader);
  return {
    kind: presented.isCookie
      ? "session"
      : kindOf(presented.value, context.runtime.config.gateway.apiKeyPrefix),
    value: presented.value,
    suffix: null,
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

function removeAuthorization(headers: Headers, form: CredentialRules["authorization"]): void {
  const header = form === "off" ? null : headers.get("authorization");
  if (header === null) return;
  const field = withoutOuterBlanks(header);
  if (bearerToken(field) === null && !BEARER_ANYWHERE.test(field)) {
    const scheme = field.slice(0, Math.max(field.indexOf(" "), 0)).toLowerCase();
    if (form === "bearer" || FOREIGN_SCHEMES.has(scheme)) return;
  }
  headers.delete("authorization");
}

function removeCookies(headers: Headers, names: readonly string[]): void {
  const header = names.length === 0 ? null : headers.get("cookie");
  if (header === null) return;
  const kept = withoutCookies(header, names);
  if (kept === header) return;
  if (kept === "") headers.delete("cookie");
  else headers.set("cookie", kept);
}

/** One release of the platform trims field values, another does not (RFC 9110 §5.5: blanks and tabs around are no part). */
export function withoutOuterBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

function isBlank(char: number): boolean {
  return char === SPACE || char === TAB;
}
