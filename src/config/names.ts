// Names as they stand in a configuration: hosts, headers, paths. Pure; each answers what is wrong, or `null`.
import { AMBIGUITIES, type Ambiguity, canonicalize } from "../pipeline/path.ts";

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HOST = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/** Whether this is a field name (RFC 9110 section 5.1). */
export function isHeaderName(name: string): boolean {
  return HEADER_NAME.test(name) && name.length <= 100;
}

/** A header name as an origin may fold it: `X_User.Id` and `x-user-id` are the same to some. */
export function foldHeaderName(name: string): string {
  return name.toLowerCase().replace(/[_.]/g, "-");
}

/** A host name in lower case, without scheme, port or trailing dot; an IPv4 address counts as one. */
export function hostProblem(host: string): string | null {
  if (host.includes("://")) return "must be a host name alone: leave out the scheme";
  if (host.includes("*")) return "must be one host name: wildcards do not exist, list each host";
  if (host.includes("/")) return "must be a host name alone: a path belongs in base_path";
  if (/:\d*$/.test(host)) return "must be a host name alone: leave out the port";
  if (host !== host.toLowerCase()) return "must be in lower case";
  if (host.endsWith(".")) return "must not end with a dot";
  if (!HOST.test(host)) return "is not a host name (write an international name in its xn-- form)";
  return null;
}

/**
 * Whether a path is written the one way in which requests are matched: percent-encoding only where needed, in upper
 * case, no dot segments, none of the ambiguous spellings but those in `allow` (a bit set of `AMBIGUITIES`).
 * Does not look at `:param` and `*`.
 */
export function pathProblem(path: string, allow: number): string | null {
  if (!path.startsWith("/")) return 'must start with "/"';
  if (path.length > 1024) return "must not be longer than 1,024 characters";
  if (/[?#]/.test(path)) return "must be a path alone: no query, no fragment";
  if (path.includes("\\")) return "must not contain a backslash";
  for (const [name, isPresent] of ambiguitiesOf(path)) {
    if (isPresent && (allow & AMBIGUITIES[name]) === 0) {
      return `contains a spelling that is refused before any route is looked up; allow = ["${name}"] would let it in`;
    }
  }
  const canonical = canonicalize(new URL(`http://host${path}`).pathname);
  return canonical === path ? null : `must be written as requests are matched: ${canonical}`;
}

function ambiguitiesOf(path: string): readonly (readonly [Ambiguity, boolean])[] {
  return [
    ["encoded_slash", /%2f/i.test(path)],
    ["encoded_backslash", /%5c/i.test(path)],
    ["encoded_dot", /%2e/i.test(path)],
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
    ["control", /%[01][0-9a-f]|%7f|[\x00-\x1f\x7f]/i.test(path)],
    ["encoded_percent", /%25/.test(path)],
    ["malformed_encoding", !isDecodable(path)],
    ["empty_segment", path.includes("//")],
    ["semicolon", /;|%3b/i.test(path)],
  ];
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** Ambiguity names as the bit set that routes carry. */
export function ambiguityBits(names: readonly Ambiguity[]): number {
  let bits = 0;
  for (const name of names) bits |= AMBIGUITIES[name];
  return bits;
}

/** Whether a URL's host is this machine, where plain HTTP is nobody's business. */
export function isLoopback(url: URL): boolean {
  const host = url.hostname;
  return (
    host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host)
  );
}

/** An absolute http(s) URL without user, password or fragment; the reason why not never repeats it. */
export function parseUrl(text: string): URL | string {
  if (!/^https?:\/\//.test(text)) return "must be a URL that starts with https://";
  if (!URL.canParse(text)) return "is not a URL";
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") return "must not contain a user or password";
  if (text.includes("#")) return "must not contain a fragment";
  return url;
}
