// Step 5: strip what clients must not say, then tell the origin who is calling.
import type { Config, Origin, PlainHeaderNames, Site } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { createCompactSigner, type PublishedJwk } from "../crypto/context-signer.ts";
import { createBoundedMap } from "../records/bounded-map.ts";
import type { Principal } from "../types.ts";
import { hasContent } from "./cors.ts";
import { removeCredentials } from "./credential.ts";
import { type ProtectedHeaders, protectedHeaders, stripProtectedHeaders } from "./protected-headers.ts";
import type { Match } from "./route.ts";

/** Signs user contexts. Built once per isolate from the gateway's signing keys and the sites' own HMAC secrets. */
export interface ContextSigner {
  /**
   * A compact JWS, typ `user-context+jwt`, over `claims` with `iat` and `exp` added. `exp` is the site's
   * `life_seconds` from now, but never past `expiresAtSeconds`. One that was signed for the same site, claims and
   * expiry is reused for half its life, except where the site binds it to the request.
   *
   * @param claims JSON text of an object that is not empty, without `iat` and `exp`
   * @param expiresAtSeconds of the credential; `null`: it does not expire
   * @throws Problem `config_invalid` when there is no key for the site's algorithm
   */
  sign(claims: string, site: Site, expiresAtSeconds: number | null, nowSeconds: number): Promise<string>;
  /** Public keys, current first, for `/_gateway/jwks.json`. */
  readonly publicJwks: { readonly keys: readonly PublishedJwk[] };
}

interface Signed {
  readonly token: string;
  readonly issuedAtSeconds: number;
  /** From here on another one is signed. */
  readonly staleAtSeconds: number;
}

/** About 2 KB each. */
const MAX_REMEMBERED = 4096;

export function createContextSigner({ secrets }: Config): ContextSigner {
  const signer = createCompactSigner(secrets.signingKeys);
  const remembered = createBoundedMap<string, Signed>(MAX_REMEMBERED);

  return {
    publicJwks: signer.publicJwks,

    async sign(claims, site, expiresAtSeconds, nowSeconds) {
      const { bind, lifeSeconds } = site.userContext;
      const key = `${site.name} ${expiresAtSeconds} ${claims}`;
      const known = bind === "site" ? remembered.get(key) : undefined;
      if (known !== undefined && nowSeconds < known.staleAtSeconds && nowSeconds >= known.issuedAtSeconds) {
        return known.token;
      }
      const fullLifeEnd = nowSeconds + lifeSeconds;
      const end = expiresAtSeconds === null ? fullLifeEnd : Math.min(fullLifeEnd, expiresAtSeconds);
      const payload = `${claims.slice(0, -1)},"iat":${nowSeconds},"exp":${end}}`;
      const token = await signer.sign(payload, site.userContext);
      if (bind === "site") {
        const staleAtSeconds = nowSeconds + (end - nowSeconds) / 2;
        remembered.set(key, { token, issuedAtSeconds: nowSeconds, staleAtSeconds });
      }
      return token;
    },
  };
}

/** A request as the origin will get it. Not a `Request`: `fetch` would copy it at once, and that is felt. */
export interface Upstream {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: ReadableStream<Uint8Array> | null;
}

/**
 * The request as the origin will get it, but for the transport options of `forward`. Method and body are the
 * client's; the URL is built from the configured origin, the canonical path and the client's query only. Behind
 * `service:`, `self` and `echo` there is no configured host: they get the scheme and host the client asked for.
 *
 * Removed, whatever the route's `auth`: everything in `protected-headers.ts`, and credentials. Then set, so that no
 * client copy survives: the origin's own headers, `X-Request-Id`, `X-Forwarded-Proto` and `-Host`, the client's address
 * where it is known (`X-Real-IP`, `X-Forwarded-For`, and the header it was read from), the signed user context (also
 * for anonymous callers, who have `anonymous: true` and no `sub`), and plain headers where the site asks for them.
 *
 * @throws Problem `request_malformed`, `config_invalid`
 */
export async function attachUserContext(
  principal: Principal | null,
  match: Match,
  context: RequestContext,
): Promise<Upstream> {
  const { request, method } = context.arrival;
  const { site } = match;
  const { clientAddressHeader } = context.runtime.config.gateway;
  const outbound = outboundOf(site, clientAddressHeader);
  const isAddressKnown = context.clientAddress !== null;

  const headers = new Headers(request.headers);
  const sighted = stripProtectedHeaders(
    headers,
    outbound.guarded,
    method,
    (name) =>
      outbound.replaced.has(name) ||
      (isAddressKnown && (name === clientAddressHeader || ADDRESS_HEADERS.includes(name))),
  );
  const search = removeCredentials(headers, sighted, principal, match, context);

  // From here on: what `replaced` and `ADDRESS_HEADERS` promise to set, whoever is calling.
  setOurHeaders(headers, match, context);
  const { plainHeaders } = site.userContext;
  if (plainHeaders !== null && principal !== null) setPlainHeaders(headers, principal, plainHeaders);
  headers.set(
    site.userContext.header,
    await signContext(principal, method, match.forwardPath, match, context),
  );
  return {
    url: originUrl(match, context, match.forwardPath + search),
    method,
    headers,
    // What a preflight was let through without is not sent either, whatever its framing says besides.
    body: method === "OPTIONS" && !hasContent(request) ? null : request.body,
  };
}

/** A path of the origin. Behind `service:`, `self` and `echo` it is on the host that the client asked for. */
export function originUrl({ site }: Match, { arrival, runtime }: RequestContext, path: string): string {
  const { base } = outboundOf(site, runtime.config.gateway.clientAddressHeader);
  return (base ?? `${arrival.scheme}://${arrival.authority}`) + path;
}

/** What every request to the origin carries, in the place of whatever is there; all of it but who is calling. */
export function setOurHeaders(headers: Headers, { site }: Match, context: RequestContext): void {
  for (const [name, value] of site.originHeaders) headers.set(name, value);
  headers.set("x-request-id", context.requestId);
  headers.set("x-forwarded-proto", context.arrival.scheme);
  headers.set("x-forwarded-host", context.arrival.authority);
  setClientAddress(headers, context);
}

/** The user context for a request by this method to this path of the origin; `null`: anonymous. */
export function signContext(
  principal: Principal | null,
  method: string,
  path: string,
  { site }: Match,
  { runtime, nowSeconds }: RequestContext,
): Promise<string> {
  const claims = claimsOf(principal, method, path, site, runtime.config.gateway.issuer);
  const expiresAtSeconds = principal === null ? null : principal.credential.expiresAtSeconds;
  return runtime.signer.sign(claims, site, expiresAtSeconds, nowSeconds);
}

interface Outbound {
  /** Scheme and host of the origin; `null`: those of the request. */
  readonly base: string | null;
  readonly guarded: ProtectedHeaders;
  /** Names in lower case that every request is given. */
  readonly replaced: ReadonlySet<string>;
}

const ALWAYS_SET = ["x-request-id", "x-forwarded-proto", "x-forwarded-host"];
/** Set where the client's address is known. */
const ADDRESS_HEADERS: readonly string[] = ["x-real-ip", "x-forwarded-for"];

const outbounds = new WeakMap<Site, Outbound>();

function outboundOf(site: Site, clientAddressHeader: string | null): Outbound {
  const known = outbounds.get(site);
  if (known !== undefined) return known;
  const ofSite = [site.userContext.header, ...site.originHeaders.map(([name]) => name)];
  const outbound = {
    base: baseOf(site.origin),
    guarded: protectedHeaders(site, clientAddressHeader),
    replaced: new Set([...ALWAYS_SET, ...ofSite.map((name) => name.toLowerCase())]),
  };
  outbounds.set(site, outbound);
  return outbound;
}

function baseOf(origin: Origin): string | null {
  return origin.kind === "url" || origin.kind === "mtls" ? origin.url.origin : null;
}

function setClientAddress(headers: Headers, { clientAddress, runtime }: RequestContext): void {
  if (clientAddress === null) return;
  for (const name of ADDRESS_HEADERS) headers.set(name, clientAddress);
  const { clientAddressHeader } = runtime.config.gateway;
  // Mostly it is still there, and its only value: then asking is all it costs.
  if (clientAddressHeader !== null && headers.get(clientAddressHeader) !== clientAddress) {
    headers.set(clientAddressHeader, clientAddress);
  }
}

/** Everything that is signed but the times, which `sign` adds: JSON text. */
function claimsOf(
  principal: Principal | null,
  sentMethod: string,
  sentPath: string,
  site: Site,
  iss: string,
): string {
  const { attributes, bind } = site.userContext;
  // `undefined` leaves a member out. What is signed is the path as forwarded, without the query.
  const method = bind === "request" ? sentMethod : undefined;
  const path = bind === "request" ? sentPath : undefined;
  if (principal === null) {
    return JSON.stringify({ iss, aud: site.name, site: site.name, anonymous: true, method, path });
  }
  const { id, name, role, permissions, credential } = principal;
  return JSON.stringify({
    iss,
    aud: site.name,
    sub: id,
    site: site.name,
    user: {
      id,
      name,
      role,
      permissions,
      attributes: attributes.length === 0 ? undefined : chosen(principal.attributes, attributes),
    },
    auth: { kind: credential.kind, id: credential.id, scopes: credential.scopes },
    method,
    path,
  });
}

function chosen(attributes: Readonly<Record<string, unknown>>, names: readonly string[]): object {
  const pairs = names
    .filter((name) => Object.hasOwn(attributes, name))
    .map((name) => [name, attributes[name]]);
  return Object.fromEntries(pairs);
}

function setPlainHeaders(headers: Headers, principal: Principal, names: PlainHeaderNames): void {
  headers.set(names.id, headerText(principal.id));
  if (principal.name !== null) headers.set(names.name, headerText(principal.name));
  headers.set(names.role, headerText(principal.role));
  headers.set(names.method, principal.credential.kind);
}

const encoder = new TextEncoder();

/**
 * Text as a field value: visible ASCII and blanks inside stay, every other byte of its UTF-8 form, `%`, and blanks at
 * either end are percent-encoded, so that decoding gives exactly the text back (RFC 3986 §2.1).
 */
export function headerText(text: string): string {
  for (let at = 0; at < text.length; at++) {
    if (!isVerbatim(text.charCodeAt(at), at, text.length)) return percentEncoded(text);
  }
  return text;
}

function percentEncoded(text: string): string {
  const bytes = encoder.encode(text);
  let encoded = "";
  for (const [at, byte] of bytes.entries()) {
    encoded += isVerbatim(byte, at, bytes.length)
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

function isVerbatim(char: number, at: number, length: number): boolean {
  if (char === 0x20) return at > 0 && at < length - 1;
  return char > 0x20 && char < 0x7f && char !== 0x25;
}
