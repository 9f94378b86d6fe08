// Cookie headers and query strings, piece by piece: what is not asked for stays byte for byte as it was.
// Every function takes time in proportion to its text, however that is cut.

const EQUALS = 0x3d;

/**
 * The non-empty values of a cookie, in order. Names match exactly. Lines of a repeated Cookie header reach a Worker
 * joined by commas, so a comma that a `name=` follows separates too; any other comma belongs to the value.
 * @see RFC 6265 §5.4
 */
export function cookieValues(header: string, name: string): readonly string[] {
  const values: string[] = [];
  for (let start = 0; start <= header.length; ) {
    const end = endOfCookie(header, start);
    const equals = indexOfEquals(header, start, end);
    if (equals !== -1 && header.slice(start, equals).trim() === name) {
      const value = header.slice(equals + 1, end).trim();
      if (value !== "") values.push(value);
    }
    start = end + 1;
  }
  return values;
}

/** The header without the cookies of these names; `""` when no other was in it. */
export function withoutCookies(header: string, names: readonly string[]): string {
  let kept = "";
  let isChanged = false;
  for (let start = 0; start <= header.length; ) {
    const end = endOfCookie(header, start);
    const cookie = header.slice(start, end);
    const equals = cookie.indexOf("=");
    const name = (equals === -1 ? cookie : cookie.slice(0, equals)).trim();
    if (names.includes(name)) isChanged = true;
    else if (kept === "") kept = cookie.trimStart();
    else kept += header.slice(start - 1, end);
    start = end + 1;
  }
  return isChanged ? kept : header;
}

function endOfCookie(header: string, start: number): number {
  for (let at = start; at < header.length; at++) {
    const char = header[at];
    if (char === ";" || (char === "," && beginsCookie(header, at + 1))) return at;
  }
  return header.length;
}

function beginsCookie(header: string, start: number): boolean {
  for (let at = start; at < header.length; at++) {
    const char = header[at];
    if (char === "=") return true;
    if (char === ";" || char === ",") return false;
  }
  return false;
}

/**
 * The non-empty values of a query parameter, decoded, in order; `null` for one whose escapes do not decode. Names are
 * compared decoded, as an origin would.
 * @param search begins with `?`, or is empty
 */
export function parameterValues(search: string, name: string): readonly (string | null)[] {
  const values: (string | null)[] = [];
  for (let start = 1; start < search.length; ) {
    const end = endOfParameter(search, start);
    if (nameOfParameter(search, start, end) === name) {
      const equals = indexOfEquals(search, start, end);
      const value = equals === -1 ? "" : decoded(search.slice(equals + 1, end));
      if (value !== "") values.push(value);
    }
    start = end + 1;
  }
  return values;
}

/** The search string without the parameters of these names, in any spelling; `""` when no other was in it. */
export function withoutParameters(search: string, names: readonly string[]): string {
  let kept = "";
  let isChanged = false;
  for (let start = 1; start < search.length; ) {
    const end = endOfParameter(search, start);
    const name = nameOfParameter(search, start, end);
    if (name !== null && names.includes(name)) isChanged = true;
    else kept += (kept === "" ? "?" : "&") + search.slice(start, end);
    start = end + 1;
  }
  return isChanged ? kept : search;
}

function endOfParameter(search: string, start: number): number {
  const end = search.indexOf("&", start);
  return end === -1 ? search.length : end;
}

function nameOfParameter(search: string, start: number, end: number): string | null {
  const equals = indexOfEquals(search, start, end);
  return decoded(search.slice(start, equals === -1 ? end : equals));
}

/** Looks no further than `end`: a search of the rest for each of many pieces would cost their number squared. */
function indexOfEquals(text: string, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    if (text.charCodeAt(at) === EQUALS) return at;
  }
  return -1;
}

function decoded(text: string): string | null {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return null;
  }
}
