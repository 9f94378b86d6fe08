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
  "x-original-uri",
  "x-original-url",
  "x-rewrite-url",
];

/** RFC 9110 §7.6.1. `Transfer-Encoding` is the platform's own; `Upgrade` is left in place for WebSockets. */
const HOP_BY_HOP = ["connection", "http2-settings", "keep-alive", "proxy", "te", "trailer", "upgrade"];

/** Every header beginning so, beside the lists. */
const FORWARDED_PREFIX = "x-forwarded-";
const PROXY_PREFIX = "proxy-";

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

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

/** What a site's origin must not hear from a client. Built once per site. */
export interface ProtectedHeaders {
  /** Folded names that never pass. */
  readonly names: ReadonlySet<string>;
  /** Folded name to the only spelling that passes. */
  readonly spellings: ReadonlyMap<string, string>;
}

/** @param site its own header names, `strip_headers` and `origin_headers` are protected beside the built-in ones */
export function protectedHeaders(site: Site): ProtectedHeaders {
  const { header, plainHeaders } = site.userContext;
  const plain =
    plainHeaders === null ? [] : [plainHeaders.id, plainHeaders.name, plainHeaders.role, plainHeaders.method];
  const names = [
    ...OURS,
    LOOP_HEADER,
    ...ADDRESSES,
    ...OVERRIDES,
    ...HOP_BY_HOP,
    header,
    ...plain,
    ...site.stripHeaders,
    ...site.originHeaders.map(([name]) => name),
  ];
  const { headers, userHeader } = site.credentials;
  const single = [...ONE_SPELLING, ...headers, ...(userHeader === null ? [] : [userHeader])];
  return {
    names: new Set(names.map((name) => foldedName(name.toLowerCase()))),
    spellings: new Map(single.map((name) => [foldedName(name.toLowerCase()), name.toLowerCase()])),
  };
}

/**
 * Removes what is protected, and what `Connection` names (RFC 9110 §7.6.1). Changes `headers` in place; one scan over
 * the names. A WebSocket's `Upgrade` stays. Does not look at values, and not for credentials (`removeCredentials`).
 * @throws Problem `request_malformed` for a name that is no field name
 */
export function stripProtectedHeaders(headers: Headers, { names, spellings }: ProtectedHeaders): void {
  const doomed: string[] = [];
  for (const name of headers.keys()) {
    const folded = foldedName(name);
    // Some releases let a blank stand before the colon; such a name can be neither deleted nor trusted.
    if (folded !== name && !FIELD_NAME.test(name)) throw new Problem("request_malformed", "header name");
    if (
      names.has(folded) ||
      folded.startsWith(FORWARDED_PREFIX) ||
      folded.startsWith(PROXY_PREFIX) ||
      (folded !== name && isOtherSpelling(name, spellings.get(folded)))
    ) {
      doomed.push(name);
    }
  }
  for (const name of doomed) {
    if (name === "connection") removeNamed(headers);
    if (name !== "upgrade" || !isWebSocketUpgrade(headers)) headers.delete(name);
  }
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

function isOtherSpelling(name: string, spelling: string | undefined): boolean {
  return spelling !== undefined && spelling !== name;
}

function isWebSocketUpgrade(headers: Headers): boolean {
  return headers.get("upgrade")?.trim().toLowerCase() === "websocket";
}

function removeNamed(headers: Headers): void {
  for (const option of (headers.get("connection") ?? "").split(",")) {
    const name = option.trim().toLowerCase();
    if (FIELD_NAME.test(name) && !NOT_FOR_CONNECTION.has(name)) headers.delete(name);
  }
}
