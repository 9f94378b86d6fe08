// Which request headers never pass from a client to an origin, in whatever spelling.
import type { Site } from "../config/types.ts";
import { Problem } from "../problem.ts";

/** Headers the gateway speaks through, whether or not a site has configured them. */
const OURS = ["x-user-context", "x-user-id", "x-user-name", "x-user-role", "x-auth-method", "x-request-id"];

/** Marks what a `self` site has sent, so that it is known when it comes back. */
export const LOOP_HEADER = "x-postern-loop";

/** Where a request came from: only we say that. */
const ADDRESSES = [
  "cf-connecting-ip",
  "cf-connecting-ipv6",
  "cf-pseudo-ipv4",
  "client-ip",
  "fastly-client-ip",
  "forwarded",
  "forwarded-for",
  "true-client-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-envoy-external-address",
  "x-forwarded",
  "x-original-forwarded-for",
  "x-originating-ip",
  "x-real-ip",
  "x-remote-addr",
  "x-remote-ip",
];

/** Path, host or method other than those the policy was looked up by. */
const OVERRIDES = [
  "x-envoy-original-path",
  "x-host",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-middleware-subrequest",
  "x-original-host",
  "x-original-method",
  "x-original-path",
  "x-original-uri",
  "x-original-url",
  "x-rewrite-uri",
  "x-rewrite-url",
];

/** What other gateways tell an origin about a caller, if no prefix covers it. */
const IDENTITIES = [
  "x-anonymous-consumer",
  "x-apigateway-api-userinfo",
  "x-arr-clientcert",
  "x-auth-email",
  "x-auth-groups",
  "x-auth-user",
  "x-auth-username",
  "x-client-dn",
  "x-client-verify",
  "x-credential-identifier",
  "x-endpoint-api-userinfo",
];

/** Every header beginning so, beside the lists: further addresses and paths, and identities in families. */
const PREFIXES = prefixIndex([
  "cf-access-",
  "proxy-",
  "remote-",
  "ssl-client-",
  "tailscale-user-",
  "wl-proxy-",
  "x-amzn-oidc-",
  "x-auth-request-",
  "x-authenticated-",
  "x-authentik-",
  "x-client-cert",
  "x-consumer-",
  "x-forwarded-",
  "x-goog-authenticated-user-",
  "x-goog-iap-",
  "x-ms-client-principal",
  "x-ms-token-",
  "x-pomerium-",
  "x-remote-",
  "x-ssl-client-",
  "x-vouch-",
  "x-webauth-",
]);

/** RFC 9110 §7.6.1. `Transfer-Encoding` is the platform's own; `Upgrade` passes for WebSockets alone. */
const HOP_BY_HOP = ["connection", "http2-settings", "keep-alive", "proxy", "te", "trailer", "upgrade"];

/** Headers an origin must see in their one spelling or not at all; `_` for `-` would make a second one of them. */
const ONE_SPELLING = [
  "authorization",
  "content-length",
  "content-type",
  "cookie",
  "host",
  "transfer-encoding",
];

/** What `Connection` may not take away: framing, what the platform counts on, and upgrades. */
const NOT_FOR_CONNECTION: ReadonlySet<string> = new Set([
  "cdn-loop",
  "content-length",
  "host",
  "transfer-encoding",
  "upgrade",
]);

/** What `Connection` usually names: nothing that the scan does not see to. */
const USUAL_OPTIONS: ReadonlySet<string> = new Set(["", "close", "keep-alive", "upgrade"]);

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

const NEVER = "";
const MAX_REMEMBERED = 512;
const MAX_REMEMBERED_LENGTH = 64;

type Verdict = "pass" | "remove" | "credential";

/** What a site's origin must not hear from a client. Built once per site. */
export interface ProtectedHeaders {
  /** Folded name to the only spelling that passes; `NEVER`: none does. */
  readonly spellings: ReadonlyMap<string, string>;
  /** Names of headers in which the site takes credentials, or their owner's id. */
  readonly credentials: ReadonlySet<string>;
  /** What was found about names that have come before: the same few come with every request. */
  readonly remembered: Map<string, Verdict>;
}

/**
 * @param site its own header names, `strip_headers` and `origin_headers` are protected beside the built-in ones. A header
 *   it takes credentials from is not another gateway's word: it passes on to `removeCredentials`
 * @param clientAddressHeader the header that says where a request came from; no client may
 */
export function protectedHeaders(site: Site, clientAddressHeader: string | null): ProtectedHeaders {
  const { header, plainHeaders } = site.userContext;
  const plain =
    plainHeaders === null ? [] : [plainHeaders.id, plainHeaders.name, plainHeaders.role, plainHeaders.method];
  const { authorization, cookies, headers, userHeader } = site.credentials;
  const own = [...headers, ...(userHeader === null ? [] : [userHeader])].map((name) => name.toLowerCase());
  const never = [
    ...OURS,
    LOOP_HEADER,
    ...ADDRESSES,
    ...(clientAddressHeader === null ? [] : [clientAddressHeader]),
    ...OVERRIDES,
    ...HOP_BY_HOP,
    header,
    ...plain,
    ...site.stripHeaders,
    ...site.originHeaders.map(([name]) => name),
  ];
  const spellings = new Map<string, string>();
  for (const name of IDENTITIES) spellings.set(name, NEVER);
  for (const name of [...ONE_SPELLING, ...own]) spellings.set(foldedName(name), name);
  for (const name of never) spellings.set(foldedName(name.toLowerCase()), NEVER);
  const credentials = new Set(own);
  if (authorization !== "off") credentials.add("authorization");
  if (cookies.length > 0) credentials.add("cookie");
  return { spellings, credentials, remembered: new Map() };
}

/**
 * Removes what is protected, and what `Connection` names (RFC 9110 §7.6.1). Changes `headers` in place; one scan over
 * the names. Does not look at values, and not for credentials (`removeCredentials`).
 *
 * `Upgrade: websocket` stays on GET. On any other method it must not: the platform sends whatever carries it as GET,
 * which is not the request that was decided on. The `Sec-WebSocket-` headers mean nothing without it, and pass.
 *
 * @param isReplaced whether the caller will set this very name anyway, which removes what it held: it is left to them
 * @returns names of those headers that may hold credentials of the site
 * @throws Problem `request_malformed` for a name that is no field name
 */
export function stripProtectedHeaders(
  headers: Headers,
  guarded: ProtectedHeaders,
  method: string,
  isReplaced: (name: string) => boolean = () => false,
): readonly string[] {
  const doomed: string[] = [];
  const sighted: string[] = [];
  for (const name of headers.keys()) {
    const verdict = guarded.remembered.get(name) ?? judge(name, guarded);
    if (verdict === "remove") doomed.push(name);
    else if (verdict === "credential") sighted.push(name);
  }
  for (const name of doomed) {
    if (name === "connection") removeNamed(headers);
    if (name === "upgrade" && method === "GET" && isWebSocketUpgrade(headers)) continue;
    if (!isReplaced(name)) headers.delete(name);
  }
  return sighted;
}

function judge(name: string, { spellings, credentials, remembered }: ProtectedHeaders): Verdict {
  const folded = foldedName(name);
  // Some releases let a blank stand before the colon; such a name can be neither deleted nor trusted.
  if (folded !== name && !FIELD_NAME.test(name)) throw new Problem("request_malformed", "header name");
  const spelling = spellings.get(folded);
  const isRemoved = spelling === undefined ? hasProtectedPrefix(folded) : spelling !== name;
  const verdict = isRemoved ? "remove" : credentials.has(name) ? "credential" : "pass";
  // Clients can fill this with names of their own; all they gain is that others are judged anew.
  if (remembered.size < MAX_REMEMBERED && name.length <= MAX_REMEMBERED_LENGTH) remembered.set(name, verdict);
  return verdict;
}

/** By the first character that tells: of names in `x-` the third. All but a few names are done with after one look. */
function prefixIndex(prefixes: readonly string[]): readonly (readonly string[])[] {
  return Array.from({ length: 256 }, (_, place) =>
    prefixes.filter((prefix) => placeInIndex(prefix) === place),
  );
}

function placeInIndex(name: string): number {
  const isX = name.charCodeAt(0) === 0x78 && name.charCodeAt(1) === 0x2d;
  return isX ? 128 + name.charCodeAt(2) : name.charCodeAt(0);
}

function hasProtectedPrefix(folded: string): boolean {
  const prefixes = PREFIXES[placeInIndex(folded)] ?? [];
  for (const prefix of prefixes) if (folded.startsWith(prefix)) return true;
  return false;
}

/**
 * A lower-case header name as the laxest origin reads it: whatever is neither letter nor digit is a dash, since CGI
 * and its descendants make one variable of `x-user`, `x_user` and `x.user`.
 */
export function foldedName(name: string): string {
  for (let at = 0; at < name.length; at++) {
    if (!isPlain(name.charCodeAt(at))) return foldFrom(name, at);
  }
  return name;
}

function foldFrom(name: string, start: number): string {
  let folded = name.slice(0, start);
  for (let at = start; at < name.length; at++) folded += isPlain(name.charCodeAt(at)) ? name[at] : "-";
  return folded;
}

/** a-z, 0-9 or dash. */
function isPlain(char: number): boolean {
  return (char >= 0x61 && char <= 0x7a) || char === 0x2d || (char >= 0x30 && char <= 0x39);
}

function isWebSocketUpgrade(headers: Headers): boolean {
  return headers.get("upgrade")?.trim().toLowerCase() === "websocket";
}

function removeNamed(headers: Headers): void {
  const named = new Set<string>();
  for (const option of (headers.get("connection") ?? "").split(",")) {
    const name = option.trim().toLowerCase();
    if (!USUAL_OPTIONS.has(name) && !NOT_FOR_CONNECTION.has(name)) named.add(name);
  }
  if (named.size === 0) return;
  // Over what is there, not over what is named: that may be thousands of names.
  for (const name of [...headers.keys()]) if (named.has(name)) headers.delete(name);
}
