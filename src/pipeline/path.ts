// Host and path, made unambiguous before anything is looked up by them.
import { Problem } from "../problem.ts";
import type { Arrival } from "../types.ts";

/** Spellings that origins read differently. A site or route may tolerate single ones: `allow = ["semicolon"]`. */
export const AMBIGUITIES = {
  encoded_slash: 1,
  encoded_backslash: 2,
  encoded_dot: 4,
  control: 8,
  encoded_percent: 16,
  malformed_encoding: 32,
  empty_segment: 64,
  semicolon: 128,
} as const;
export type Ambiguity = keyof typeof AMBIGUITIES;

/** `..%2F`, `..;x`: a dot segment to whoever decodes or cuts parameters first. No configuration can tolerate it. */
const DISGUISED_DOT_SEGMENT = 256;

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const QUESTION = 0x3f;
const HASH = 0x23;
const DOT = 0x2e;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const REPLACEMENT_CHARACTER = 0xfffd;

const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** RFC 3986 §2.3: an escape of one of these is the character itself. */
const UNRESERVED = charSet(`${ALPHANUMERIC}-._~`);
/** Characters of a path that need no second look, except for two slashes in a row. */
const PLAIN = charSet(`${ALPHANUMERIC}-._~!$&'()*+,=:@/`);
const HOST_NAME = charSet(`${ALPHANUMERIC}-._`);
const PLAIN_HOST = charSet("abcdefghijklmnopqrstuvwxyz0123456789-._");
/** Characters of a query that a URL parser keeps as they are (URL standard, special-query percent-encode set). */
const PLAIN_QUERY = charSet(`${ALPHANUMERIC}-._~!$&()*+,;=:@/?%[]^_\`{|}\\`);
const IPV6 = charSet("0123456789abcdefABCDEF:.");

const DISGUISES = AMBIGUITIES.encoded_slash | AMBIGUITIES.encoded_backslash | AMBIGUITIES.semicolon;
const DISGUISED_DOTS =
  /(?:^|[/\\;]|%2f|%5c|%3b)\.\.?(?:[;]|%2f|%5c|%3b)|(?:;|%2f|%5c|%3b)\.\.?(?:$|[/\\;]|%2f|%5c|%3b)/i;

/**
 * Reads host and canonical path of a request. Both the Host header and the authority of the URL must be `name[:port]`
 * (an IPv6 address in brackets, without a zone); the URL's decides, for that is what routes a request through a
 * service binding. Numeric hosts read as WHATWG URLs read them (`0x7f.1` is `127.0.0.1`).
 *
 * Looks at the raw target as well as at the parsed one, since parsing hides what it mends: back-slashes, encoded dot
 * segments, tabs. Platforms that mend the target before we see it leave a path that is safe to serve.
 * @throws Problem `host_invalid` or `request_malformed` (no URL, a fragment in the target, `OPTIONS *`). Ambiguous
 * paths do not throw: `arrival.ambiguities` tells.
 * @param target as it was sent, where the request is only told of: building one mends its URL
 * @see RFC 9110 §7.2, RFC 9112 §3.2, RFC 3986 §6.2.2
 */
export function arrive(request: Request, target = request.url): Arrival {
  const hostHeader = request.headers.get("host");
  if (hostHeader !== null && !isAuthority(hostHeader, 0, hostHeader.length)) {
    throw new Problem("host_invalid", "Host header");
  }
  const authorityStart = target.startsWith("https://") ? 8 : target.startsWith("http://") ? 7 : -1;
  if (authorityStart === -1) throw new Problem("request_malformed", "not an http URL");
  const pathStart = endOfAuthority(target, authorityStart);
  if (!isAuthority(target, authorityStart, pathStart)) {
    throw new Problem(hostHeader === null ? "host_invalid" : "request_malformed", "authority of the URL");
  }
  if (target.includes("#")) throw new Problem("request_malformed", "fragment in the target");
  const { method } = request;
  const scheme = authorityStart === 8 ? "https" : "http";
  const spelled = readPlain(target, scheme, authorityStart, pathStart);
  if (spelled !== null) return { request, method, scheme, ...spelled, ambiguities: 0 };

  const url = URL.parse(target);
  if (url === null) throw new Problem("request_malformed", "URL does not parse");
  const isPlain = isPlainPath(target, pathStart);
  const path = isPlain ? url.pathname : canonicalize(url.pathname);
  return {
    request,
    method,
    scheme,
    authority: url.host,
    host: withoutTrailingDot(url.hostname),
    path,
    search: url.search,
    ambiguities: isPlain ? 0 : ambiguitiesOf(rawPath(target, pathStart)) | ambiguitiesOf(path),
  };
}

/**
 * The parts of a target that a URL parser would leave exactly as they are, which is nearly every one; `null` for
 * anything it might change or refuse. Spares such requests the parser.
 */
function readPlain(
  target: string,
  scheme: "http" | "https",
  authorityStart: number,
  pathStart: number,
): Pick<Arrival, "authority" | "host" | "path" | "search"> | null {
  const authority = target.slice(authorityStart, pathStart);
  const host = plainHost(authority, scheme);
  if (host === null || target.charCodeAt(pathStart) !== SLASH) return null;
  let at = pathStart + 1;
  let previous = SLASH;
  for (; at < target.length; at++) {
    const char = target.charCodeAt(at);
    if (char === QUESTION) break;
    if (PLAIN[char] !== 1 || (previous === SLASH && (char === SLASH || char === DOT))) return null;
    previous = char;
  }
  const path = target.slice(pathStart, at);
  for (let query = at + 1; query < target.length; query++) {
    if (PLAIN_QUERY[target.charCodeAt(query)] !== 1) return null;
  }
  return { authority, host, path, search: at + 1 < target.length ? target.slice(at) : "" };
}

/** The host of an authority in its normal form; `null` for any other, for numbers (an address?) and for Punycode. */
function plainHost(authority: string, scheme: "http" | "https"): string | null {
  let end = authority.indexOf(":");
  if (end === -1) end = authority.length;
  else {
    const port = authority.slice(end + 1);
    if (port.startsWith("0") || port === "" || port === (scheme === "https" ? "443" : "80")) return null;
  }
  let label = 0;
  for (let at = 0; at < end; at++) {
    const char = authority.charCodeAt(at);
    if (PLAIN_HOST[char] !== 1) return null;
    if (char === DOT) label = at + 1;
  }
  const first = authority.charCodeAt(label);
  const isName = first >= 0x61 && first <= 0x7a && !authority.includes("xn--");
  return isName ? authority.slice(0, end) : null;
}

/**
 * The canonical spelling of a path that a WHATWG URL parser has normalized: escapes of unreserved characters decoded,
 * the hex digits of all others in upper case, a `%` that begins no escape written `%25`. Applying it twice changes
 * nothing more, nor does parsing the result. Decodes no byte that separates or ends anything.
 */
export function canonicalize(pathname: string): string {
  let percent = pathname.indexOf("%");
  if (percent === -1) return pathname;
  let canonical = "";
  let copied = 0;
  while (percent !== -1) {
    const byte = byteOfEscape(pathname, percent);
    canonical += pathname.slice(copied, percent) + spelling(byte);
    copied = percent + (byte === -1 ? 1 : 3);
    percent = pathname.indexOf("%", copied);
  }
  return canonical + pathname.slice(copied);
}

/**
 * What paths are compared by: ASCII letters in lower case, and every printable ASCII character in its plain spelling,
 * so that `/%40Me` and `/@me` meet the same policy. Slashes, back-slashes and percent signs stay encoded, hence
 * segments stay the same segments. The four letters beyond ASCII whose other case is an ASCII letter are that letter;
 * all others compare exactly: `Ä` and `ä` differ.
 * Takes a canonical path; the result is for comparison and never forwarded.
 */
export function foldPath(path: string): string {
  let percent = path.indexOf("%");
  if (percent === -1) return path.toLowerCase();
  let folded = "";
  let copied = 0;
  while (percent !== -1) {
    const byte = byteOfEscape(path, percent);
    const letter = byte >= 0x80 ? letterFoldingToAscii(path, percent) : undefined;
    const isSame = byte >= 0x20 && byte < 0x7f && byte !== SLASH && byte !== BACKSLASH && byte !== PERCENT;
    folded += path.slice(copied, percent);
    folded += letter?.ascii ?? (isSame ? String.fromCharCode(byte) : spelling(byte));
    copied = percent + (letter?.escapes.length ?? (byte === -1 ? 1 : 3));
    percent = path.indexOf("%", copied);
  }
  return (folded + path.slice(copied)).toLowerCase();
}

/** The Kelvin sign, the long s, the dotted I and the dotless i: who ignores case in Unicode takes them for k, s and i. */
const FOLDING_TO_ASCII = [
  { escapes: "%E2%84%AA", ascii: "k" },
  { escapes: "%C5%BF", ascii: "s" },
  { escapes: "%C4%B0", ascii: "i" },
  { escapes: "%C4%B1", ascii: "i" },
] as const;

function letterFoldingToAscii(path: string, percent: number): (typeof FOLDING_TO_ASCII)[number] | undefined {
  return FOLDING_TO_ASCII.find(({ escapes }) => path.startsWith(escapes, percent));
}

/** A path as an operator writes it (no query, no fragment), folded like a request's. */
export function foldConfiguredPath(path: string): string {
  if (path === "") return "";
  const encoded = path.replaceAll("?", "%3F").replaceAll("#", "%23");
  return foldPath(canonicalize(new URL(`http://configured${encoded}`).pathname));
}

/** Names of the bits, for logs and messages. */
export function ambiguityNames(bits: number): readonly string[] {
  const names = Object.entries(AMBIGUITIES).flatMap(([name, bit]) => (bits & bit ? [name] : []));
  return bits & DISGUISED_DOT_SEGMENT ? [...names, "dot_segment"] : names;
}

/** Which ambiguous spellings a path contains, raw or canonical. Plain dot segments are none: parsing resolves them. */
function ambiguitiesOf(path: string): number {
  let bits = 0;
  let wasSeparator = false;
  let hasHighByte = false;
  for (let at = 0; at < path.length; at++) {
    const char = path.charCodeAt(at);
    const isSeparator = char === SLASH || char === BACKSLASH;
    if (isSeparator && wasSeparator) bits |= AMBIGUITIES.empty_segment;
    wasSeparator = isSeparator;
    if (char === PERCENT) {
      const byte = byteOfEscape(path, at);
      if (byte >= 0x80) hasHighByte = true;
      bits |= byte === -1 ? AMBIGUITIES.malformed_encoding : ambiguityOfEscape(byte);
      if (byte !== -1) at += 2;
    } else if (char === BACKSLASH) bits |= AMBIGUITIES.encoded_backslash;
    else if (char === SEMICOLON) bits |= AMBIGUITIES.semicolon;
    else if (char <= 0x20 || char === 0x7f) bits |= AMBIGUITIES.control;
    // Bytes that were no UTF-8 read as this: the path is not the one that was sent.
    else if (char === REPLACEMENT_CHARACTER) bits |= AMBIGUITIES.malformed_encoding;
  }
  if (hasHighByte && !isUtf8(path)) bits |= AMBIGUITIES.malformed_encoding;
  if (bits & DISGUISES && DISGUISED_DOTS.test(path)) bits |= DISGUISED_DOT_SEGMENT;
  return bits;
}

function ambiguityOfEscape(byte: number): number {
  if (byte < 0x20 || byte === 0x7f) return AMBIGUITIES.control;
  if (byte === SLASH) return AMBIGUITIES.encoded_slash;
  if (byte === BACKSLASH) return AMBIGUITIES.encoded_backslash;
  if (byte === DOT) return AMBIGUITIES.encoded_dot;
  if (byte === PERCENT) return AMBIGUITIES.encoded_percent;
  if (byte === SEMICOLON) return AMBIGUITIES.semicolon;
  return 0;
}

/** Whether the escapes decode to UTF-8; overlong forms and surrogates do not (RFC 3629 §3). */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** Whether the path needs no closer look than the URL parser's; plain dot segments do not. */
function isPlainPath(target: string, start: number): boolean {
  let previous = 0;
  for (let at = start; at < target.length; at++) {
    const char = target.charCodeAt(at);
    if (char === QUESTION) return true;
    if (PLAIN[char] !== 1) return false;
    if (char === SLASH && previous === SLASH) return false;
    previous = char;
  }
  return true;
}

function rawPath(target: string, start: number): string {
  const query = target.indexOf("?", start);
  return query === -1 ? target.slice(start) : target.slice(start, query);
}

function endOfAuthority(target: string, start: number): number {
  for (let at = start; at < target.length; at++) {
    const char = target.charCodeAt(at);
    if (char === SLASH || char === QUESTION || char === HASH || char === BACKSLASH) return at;
  }
  return target.length;
}

/** `name`, `name:port`, `[address]` or `[address]:port`; a name has no empty label but may end in a dot. */
function isAuthority(text: string, start: number, end: number): boolean {
  let at = start;
  if (text[at] === "[") {
    at++;
    while (at < end && IPV6[text.charCodeAt(at)] === 1) at++;
    if (at === start + 1 || text[at] !== "]") return false;
    at++;
  } else {
    let previous = DOT;
    while (at < end && HOST_NAME[text.charCodeAt(at)] === 1) {
      const char = text.charCodeAt(at);
      if (char === DOT && previous === DOT) return false;
      previous = char;
      at++;
    }
    if (at === start || at - start > 255) return false;
  }
  return at === end || (text.charCodeAt(at) === COLON && isPort(text.slice(at + 1, end)));
}

function isPort(text: string): boolean {
  return /^[0-9]{1,5}$/.test(text) && Number(text) <= 65_535;
}

function withoutTrailingDot(host: string): string {
  return host.endsWith(".") ? host.slice(0, -1) : host;
}

/** The byte an escape at `percent` stands for; -1 when it is none. */
function byteOfEscape(text: string, percent: number): number {
  const high = hexDigit(text.charCodeAt(percent + 1));
  const low = hexDigit(text.charCodeAt(percent + 2));
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}

function hexDigit(char: number): number {
  if (char >= 0x30 && char <= 0x39) return char - 0x30;
  const lower = char | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function spelling(byte: number): string {
  if (byte === -1) return "%25";
  if (UNRESERVED[byte] === 1) return String.fromCharCode(byte);
  return `%${byte < 16 ? "0" : ""}${byte.toString(16).toUpperCase()}`;
}

function charSet(chars: string): Uint8Array {
  const set = new Uint8Array(128);
  for (let at = 0; at < chars.length; at++) set[chars.charCodeAt(at)] = 1;
  return set;
}
