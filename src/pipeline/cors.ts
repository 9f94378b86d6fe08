// CORS for sites that configure it: preflights are answered here, and answers carry the headers (Fetch standard, CORS protocol).
import type { Cors, Site } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import type { Match } from "./route.ts";

/** A list of field names (RFC 9110 §5.1, §5.6.1), and nothing else that could be sent back. */
const FIELD_NAMES = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: *, *[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$/;

/** Whether a request has the form of a CORS preflight. Says nothing about who sent it. */
export function isPreflight(request: Request): boolean {
  return (
    request.method === "OPTIONS" &&
    request.headers.has("origin") &&
    request.headers.has("access-control-request-method")
  );
}

/**
 * Whether a preflight carries nothing but the question: no body, no upgrade and nothing a site would read as a
 * credential or a claimed identity. A browser's preflight never does (Fetch standard, CORS-preflight fetch), so one that
 * does is an ordinary OPTIONS request. Query parameters are not looked at: a preflight repeats the URL.
 */
export function isBarePreflight(request: Request, site: Site): boolean {
  if (!isPreflight(request)) return false;
  const { headers } = request;
  if (headers.has("authorization") || headers.has("cookie") || hasContent(request)) return false;
  if (headers.has("upgrade")) return false;
  const { userHeader } = site.credentials;
  if (userHeader !== null && headers.has(userHeader)) return false;
  return !site.credentials.headers.some((name) => headers.has(name));
}

/** What is declared to be empty counts as none: proxies write that beside an OPTIONS, `wrangler dev` among them. */
export function hasContent({ body, headers }: Request): boolean {
  return body !== null && headers.get("content-length") !== "0";
}

/**
 * The answer to a preflight of a site with `cors`; `null` for anything else. Always 204: a browser that finds no
 * `Access-Control-Allow-*` in it refuses the request itself, which is how an origin or method off the list is told.
 */
export function answerPreflight(match: Match, context: RequestContext): Response | null {
  const { cors } = match.site;
  const { request } = context.arrival;
  if (cors === null || context.arrival.method !== "OPTIONS" || !isPreflight(request)) return null;
  if (match.route.answer === "mcp.metadata") return null; // open to all, whatever the site's answers are

  const headers = new Headers({
    vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
  });
  const granted = grantedOrigin(cors, request.headers.get("origin"));
  const method = request.headers.get("access-control-request-method") ?? "";
  if (granted !== null && permitsMethod(cors, method)) {
    headers.set("access-control-allow-origin", granted);
    headers.set(
      "access-control-allow-methods",
      cors.allowMethods.includes("*") ? method : cors.allowMethods.join(", "),
    );
    const names = permittedHeaders(cors, request.headers.get("access-control-request-headers"));
    if (names !== "") headers.set("access-control-allow-headers", names);
    if (grantsCredentials(cors, granted)) headers.set("access-control-allow-credentials", "true");
    headers.set("access-control-max-age", String(cors.maxAgeSeconds));
  }
  return new Response(null, { status: 204, headers });
}

/**
 * Adds the CORS headers the site grants to the request's Origin. Changes `headers` in place. Where a site has `cors`
 * its word is the only one: what the origin said about origins and credentials is replaced or removed.
 */
export function addCorsHeaders(headers: Headers, { site }: Pick<Match, "site">, request: Request): void {
  const { cors } = site;
  if (cors === null) return;
  addVaryOrigin(headers);
  headers.delete("access-control-allow-origin");
  headers.delete("access-control-allow-credentials");
  const granted = grantedOrigin(cors, request.headers.get("origin"));
  if (granted === null) return;
  headers.set("access-control-allow-origin", granted);
  if (grantsCredentials(cors, granted)) headers.set("access-control-allow-credentials", "true");
  if (cors.exposeHeaders.length > 0) {
    headers.set("access-control-expose-headers", cors.exposeHeaders.join(", "));
  }
}

/** The value for `Access-Control-Allow-Origin`; origins compare exactly, as browsers serialize them. */
function grantedOrigin(cors: Cors, origin: string | null): string | null {
  if (origin === null) return null;
  if (cors.allowOrigins.includes("*")) return "*";
  return cors.allowOrigins.includes(origin) ? origin : null;
}

/** Any origin with credentials would be every site acting for the user: `*` never gets them. */
function grantsCredentials(cors: Cors, granted: string): boolean {
  return cors.allowCredentials && granted !== "*";
}

/** `*` in the list is any method, also where credentials keep a literal `*` from meaning that. */
function permitsMethod(cors: Cors, method: string): boolean {
  return cors.allowMethods.includes(method) || cors.allowMethods.includes("*");
}

/** `*` in the list is whatever is asked for: a literal one would not cover Authorization. */
function permittedHeaders({ allowHeaders }: Cors, requested: string | null): string {
  if (!allowHeaders.includes("*")) return allowHeaders.join(", ");
  return requested !== null && FIELD_NAMES.test(requested) ? requested : "";
}

function addVaryOrigin(headers: Headers): void {
  const names = (headers.get("vary") ?? "").split(",").map((name) => name.trim().toLowerCase());
  if (!names.includes("*") && !names.includes("origin")) headers.append("vary", "Origin");
}
