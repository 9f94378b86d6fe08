// Where a site's allowed requests go, and what the origin demands of us.
import { foldHeaderName, isLoopback, parseUrl } from "./names.ts";
import { findBinding, type Scope } from "./scope.ts";
import { readSecret } from "./secrets.ts";
import type { Origin } from "./types.ts";

const FORMS =
  'must be "https://…", "http://…", "service:BINDING", "mtls:BINDING https://…", "self" or "echo"';
const BINDING_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Headers that the transport or the gateway itself sets. */
const RESERVED_HEADERS = new Set([
  "host",
  "connection",
  "content-length",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
  "cf-connecting-ip",
]);

/** @returns `null` after an issue under `key` */
export function compileOrigin(
  given: string,
  hosts: readonly string[] | null,
  key: string,
  scope: Scope,
): Origin | null {
  const { issues } = scope;
  if (given === "self") return { kind: "self" };
  if (given === "echo") {
    if (!scope.isProduction) return { kind: "echo" };
    issues.add(
      key,
      'must not be "echo" in production: it answers with the request itself (set GATEWAY.environment)',
    );
    return null;
  }
  if (given.startsWith("service:")) return compileService(given.slice("service:".length), key, scope);
  if (given.startsWith("mtls:")) return compileMtls(given.slice("mtls:".length), key, scope);
  if (!/^https?:/.test(given)) {
    issues.add(key, FORMS + withScheme(given));
    return null;
  }
  const url = originUrl(given, hosts, key, scope);
  return url === null ? null : { kind: "url", url };
}

/** What was meant by a host without scheme; only where nothing else can be in it. */
function withScheme(given: string): string {
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?$/i.test(given) || !/[.:]|^localhost$/.test(given)) return "";
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+)(:|$)/.test(given);
  return `; did you mean ${isHere ? "http" : "https"}://${given}?`;
}

function compileService(bindingName: string, key: string, scope: Scope): Origin | null {
  const binding = fetcherNamed(bindingName, "[[services]]", key, scope);
  return binding === null ? null : { kind: "service", binding, bindingName };
}

function compileMtls(given: string, key: string, scope: Scope): Origin | null {
  const [bindingName = "", address = "", ...more] = given.split(" ");
  if (!address.startsWith("https://") || more.length > 0) {
    scope.issues.add(key, 'must be "mtls:BINDING https://…", with one blank between');
    return null;
  }
  const binding = fetcherNamed(bindingName, "[[mtls_certificates]]", key, scope);
  const url = originUrl(address, null, key, scope);
  return binding === null || url === null ? null : { kind: "mtls", binding, bindingName, url };
}

function fetcherNamed(name: string, section: string, key: string, scope: Scope): Fetcher | null {
  if (!BINDING_NAME.test(name)) {
    scope.issues.add(key, FORMS);
    return null;
  }
  const binding = findBinding(scope.env, name, "fetch");
  if (binding !== null) return binding as Fetcher;
  scope.issues.add(key, `there is no binding ${name}: add ${section} with binding = "${name}"`);
  return null;
}

function originUrl(
  given: string,
  hosts: readonly string[] | null,
  key: string,
  { issues }: Scope,
): URL | null {
  const url = parseUrl(given);
  if (typeof url === "string") {
    issues.add(key, url);
    return null;
  }
  if (url.pathname !== "/" || given.includes("?")) {
    issues.add(key, "must not have a path or a query: requests keep their own path (see strip_base_path)");
    return null;
  }
  if (hosts?.includes(url.hostname)) {
    issues.add(key, 'is a host of this site, which would loop: use "self" for the zone\'s own origin');
    return null;
  }
  if (url.protocol === "http:" && !isLoopback(url)) {
    issues.warn(key, "is plain http: whoever is on the way reads and changes requests");
  }
  return url;
}

/**
 * Headers for the origin as pairs in lower case, values resolved. `ours`: folded names of the headers that the site's
 * own settings already set.
 */
export function compileOriginHeaders(
  given: Readonly<Record<string, string>>,
  ours: ReadonlySet<string>,
  key: string,
  scope: Scope,
): readonly (readonly [string, string])[] {
  const { issues } = scope;
  const headers: (readonly [string, string])[] = [];
  for (const [name, text] of Object.entries(given)) {
    const place = `${key}.${name}`;
    const lowerName = name.toLowerCase();
    if (RESERVED_HEADERS.has(lowerName) || ours.has(foldHeaderName(name))) {
      issues.add(place, "is a header that the gateway or the transport sets itself");
    } else if (headers.some(([other]) => foldHeaderName(other) === foldHeaderName(name))) {
      issues.add(place, "is given twice: header names differ neither in case nor in - and _");
    } else {
      const value = headerValue(text, lowerName, place, scope);
      if (value !== null) headers.push([lowerName, value]);
    }
  }
  return headers;
}

function headerValue(text: string, lowerName: string, key: string, scope: Scope): string | null {
  const { issues } = scope;
  let value: string | null = text;
  if (text.startsWith("secret:")) {
    const name = text.slice("secret:".length);
    if (!/^[A-Z][A-Z0-9_]{0,63}$/.test(name)) {
      issues.add(key, "must be secret:NAME with the NAME of a Worker secret (A-Z, 0-9, _)");
      return null;
    }
    value = readSecret({ name, kind: "header" }, key, scope.secrets, issues);
    if (value === null) return null;
  } else if (/^(authorization|cookie)$|secret|token|password|key/.test(lowerName)) {
    issues.warn(key, "looks like a secret in clear: put it into a Worker secret and write secret:NAME");
  }
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) return value;
  issues.add(key, "must be visible ASCII that neither begins nor ends with a blank or a line end");
  return null;
}
