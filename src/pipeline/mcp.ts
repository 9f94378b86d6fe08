// What MCP clients are told about a protected resource: where its metadata is, and what that says (RFC 9728).
import type { Route } from "../config/types.ts";
import type { AnswerCall, Answers } from "../presets/answer.ts";
import type { Problem } from "../problem.ts";
import type { Arrival } from "../types.ts";

/** Followed by the path of the resource (RFC 9728 §3.1). */
export const METADATA_PATH = "/.well-known/oauth-protected-resource";

const MAX_AGE_SECONDS = 300;

/** Public, and the same for everyone: pages of any origin may read it, and ask first with whatever header they like. */
const OPEN_TO_PAGES = { "access-control-allow-origin": "*" };

export const mcpAnswers: Answers = { "mcp.metadata": answerMetadata };

/**
 * What a challenge says beside its realm and error: where the metadata is, and in a 401 the scopes that the route asks
 * for, which a 403 names by itself. `""` where the route belongs to no resource.
 *
 * @see RFC 9728 §5.1; MCP authorization, "Protected Resource Metadata Discovery" and "Scope Challenge Handling"
 */
export function resourceParameters(route: Route | null, problem: Problem, arrival: Arrival): string {
  if (route === null || route.resource === null) return "";
  const scopes = problem.status === 401 ? [...route.scopes, ...route.anyScopes] : [];
  const scope = scopes.length === 0 ? "" : `, scope="${scopes.join(" ")}"`;
  return `, resource_metadata="${rootOf(arrival)}${METADATA_PATH}${route.resource}"${scope}`;
}

/** As the client sees it: the host is one that the site claims, where it claims any. */
function rootOf({ scheme, authority }: Arrival): string {
  return `${scheme}://${authority}`;
}

/**
 * The metadata of the resource that the matched route is for. Lists that would be empty are left out (RFC 9728 §3.2).
 * Preflights are answered as well; everybody may know.
 */
async function answerMetadata({ match, context }: AnswerCall): Promise<Response> {
  const { arrival } = context;
  if (arrival.method === "OPTIONS") return new Response(null, { status: 204, headers: PREFLIGHT });
  const resource = match.site.resources.find(({ path }) => path === match.route.resource);
  const { path = "", authorizationServers = [], scopes = [] } = resource ?? {};
  const body = {
    resource: rootOf(arrival) + path,
    ...(authorizationServers.length > 0 && { authorization_servers: authorizationServers }),
    ...(scopes.length > 0 && { scopes_supported: scopes }),
    bearer_methods_supported: ["header"],
    resource_name: match.site.name,
  };
  const headers = {
    ...OPEN_TO_PAGES,
    "content-type": "application/json",
    "cache-control": `public, max-age=${MAX_AGE_SECONDS}`,
  };
  return new Response(arrival.method === "HEAD" ? null : `${JSON.stringify(body)}\n`, { headers });
}

const PREFLIGHT = {
  ...OPEN_TO_PAGES,
  "access-control-allow-methods": "GET, HEAD",
  // Authorization has to be named: `*` does not cover it.
  "access-control-allow-headers": "*, Authorization",
  "access-control-max-age": "600",
};
