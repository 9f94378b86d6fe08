// Whether a request that carries a cookie was made by a page that may use it (cross-site request forgery).
import type { RequestContext } from "../../context.ts";
import type { Match } from "../route.ts";

/**
 * Whether a request cannot change anything by its method (RFC 9110 §9.2.1). An upgrade can: a WebSocket has no
 * same-origin policy but the server's, so any page could open one with the user's cookie.
 */
export function isSafeRequest(request: Request): boolean {
  const { method } = request;
  const isSafeMethod = method === "GET" || method === "HEAD" || method === "OPTIONS";
  return isSafeMethod && request.headers.get("upgrade") === null;
}

/**
 * Whether the headers a browser sets, and no page can, say that the request comes from this very origin or from one that
 * the site's CORS rules allow with credentials. A request without such headers does not.
 *
 * @see Fetch standard, `Origin`; W3C Fetch Metadata, `Sec-Fetch-Site`
 */
export function isFromAllowedOrigin({ site }: Match, { arrival }: RequestContext): boolean {
  const { headers } = arrival.request;
  const origin = headers.get("origin");
  const fetchSite = headers.get("sec-fetch-site");
  const isSameSiteByMetadata = fetchSite === "same-origin" || fetchSite === "none";
  if (origin === null) return isSameSiteByMetadata;
  if (site.cors?.allowCredentials === true && site.cors.allowOrigins.includes(origin)) return origin !== "*";
  return (
    origin === `${arrival.scheme}://${arrival.authority}` && (fetchSite === null || isSameSiteByMetadata)
  );
}

/**
 * Whether a request may act for whoever its cookie belongs to: it reads only, comes from an allowed page, or comes from no
 * page at all and says beside the cookie whose it is, as programs do where a site demands that header of sessions. No page
 * of another origin can add it unasked, and who reads the cookie compares it with the owner.
 */
export function mayUseCookie(match: Match, context: RequestContext): boolean {
  const { request } = context.arrival;
  if (isSafeRequest(request) || isFromAllowedOrigin(match, context)) return true;
  const { userHeader, userHeaderOnSessions } = match.site.credentials;
  return userHeader !== null && userHeaderOnSessions && !isFromOtherPage(match, context);
}

/** Whether a browser says that a page of another origin made the request. Programs say nothing, and are no pages. */
export function isFromOtherPage(match: Match, context: RequestContext): boolean {
  const { headers } = context.arrival.request;
  const isFromPage = headers.has("origin") || headers.has("sec-fetch-site");
  return isFromPage && !isFromAllowedOrigin(match, context);
}
