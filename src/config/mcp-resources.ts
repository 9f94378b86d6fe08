// What MCP clients are told about each protected resource of a site (RFC 9728).
import { METADATA_PATH } from "../pipeline/mcp.ts";
import type { McpFacts } from "./mcp.ts";
import { isLoopback, parseUrl } from "./names.ts";
import { type RouteFacts, unmatchedRoute } from "./routes.ts";
import type { Scope } from "./scope.ts";
import type { SiteSource } from "./site-input.ts";
import type { JwtIssuer, McpResource, Route } from "./types.ts";

/**
 * The resources that the routes belong to, each with what its metadata says. Of authorization servers it names issuers
 * of JWTs whose name is a URL where metadata of theirs can be looked for (RFC 8414 section 3): not the gateway, which
 * signs people in and has no authorization endpoint.
 *
 * @param own the site's own among the routes
 * @param issuers without the gateway itself
 */
export function compileResources(
  source: SiteSource,
  routes: readonly Route[],
  own: readonly Route[],
  issuers: readonly JwtIssuer[],
  facts: RouteFacts,
  scope: Scope,
): readonly McpResource[] {
  const rowsByPath = new Map<string, Route[]>();
  for (const route of routes) {
    if (route.resource !== null)
      rowsByPath.set(route.resource, [...(rowsByPath.get(route.resource) ?? []), route]);
  }
  checkSite(source, [...rowsByPath.values()].flat(), own, facts.mcp, scope);
  const servers = issuers.flatMap(({ issuer }) =>
    issuer !== null && isServer(issuer, scope) ? [issuer] : [],
  );
  const areIssuersKnown = issuers.length === source.jwt.length && !source.failed.has("jwt");
  return [...rowsByPath].map(([path, rows]) => {
    const written = own.find((route) => rows.includes(route) && !isInherited(route, facts.mcp));
    const key = written === undefined ? source.keyOf("mcp") : `${written.key}.mcp`;
    const kinds = new Set(rows.flatMap(({ accept }) => accept));
    const authorizationServers = kinds.has("jwt") ? [...new Set(servers)] : [];
    if (areIssuersKnown && kinds.size > 0 && authorizationServers.length === 0) {
      const hasKeys = kinds.has("api_key") || kinds.has("pat");
      if (!hasKeys) scope.issues.add(key, `${NO_SERVER}, nor are keys accepted: ${MEND}`);
      else if (kinds.has("jwt")) scope.issues.warn(key, `${NO_SERVER}, so they need a key: ${MEND}`);
    }
    const scopes = [...new Set(rows.flatMap((row) => [...row.scopes, ...row.anyScopes]))];
    return { path, authorizationServers, scopes, metadataRoute: metadataRoute(key, path, facts) };
  });
}

const NO_SERVER = "tells MCP clients of no authorization server, as no issuer under jwt is an https URL";
const MEND = "give a jwt table the issuer of an OAuth server";

function isInherited(route: Route, mcp: McpFacts): boolean {
  return mcp.isWholeSite && route.resource === mcp.basePath;
}

/** RFC 8414 section 2: https, no query, no fragment. On this machine, in development, http as well. */
function isServer(issuer: string, { isProduction }: Scope): boolean {
  const url = parseUrl(issuer);
  if (typeof url === "string" || issuer.includes("?")) return false;
  return url.protocol === "https:" || (!isProduction && isLoopback(url));
}

function checkSite(
  { values, preset, failed, keyOf }: SiteSource,
  rows: readonly Route[],
  own: readonly Route[],
  mcp: McpFacts,
  { issues }: Scope,
): void {
  const isAuthorizationOff = preset === null && values.credentials?.authorization === "off";
  if (isAuthorizationOff && rows.length > 0) {
    issues.add(
      `${keyOf("credentials")}.authorization`,
      "must not be off where mcp is true: MCP clients send tokens and keys there",
    );
  }
  if (mcp.isWholeSite && !failed.has("routes") && !rows.some((route) => isInherited(route, mcp))) {
    issues.add(keyOf("mcp"), "protects nothing: no route of the site asks who is calling");
  }
  if (mcp.isPresetEndpoint && rows.every((route) => own.includes(route))) {
    issues.add(
      keyOf("mcp"),
      `has no row of the preset ${preset?.name} to apply to: say mcp = true on a route of your own`,
    );
  }
}

function metadataRoute(key: string, path: string, facts: RouteFacts): Route {
  return {
    ...unmatchedRoute(key, facts.allow, facts.gatewayFreshnessSeconds),
    path: METADATA_PATH + path,
    methods: ["GET", "HEAD", "OPTIONS"],
    answer: "mcp.metadata",
    resource: path,
  };
}
