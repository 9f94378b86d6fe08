// `/_gateway/*`: what the gateway says of itself, signing in, self-service, administration. Never lets anything be stored.
import type { ContextOf, GatewayApp } from "../app.ts";
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import { answer } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { openApiDocument } from "./openapi.ts";
import { isSignInHost } from "./realm.ts";

type Answer = (context: RequestContext) => Response | Promise<Response>;

/** Mounts the control plane. On other hosts than its own, `/_gateway/*` is a path like any other. */
export function mountControlPlane(app: GatewayApp, contextOf: ContextOf): void {
  const mount = (path: string, isHere: (context: RequestContext) => boolean, give: Answer) => {
    app.all(`/_gateway${path}`, (c, next) => {
      const context = contextOf(c.req.raw);
      return isHere(context) ? give(context) : next();
    });
  };

  mount("/health", isControlHost, reading(health));
  mount("/jwks.json", isControlHost, reading(jwks));
  mount("/openapi.json", isControlHost, reading(openApi));
  for (const [path, endpoints] of byPath(ENDPOINTS)) {
    const isForUsers = endpoints.every(({ access }) => access.for !== "administrator");
    mount(path, isForUsers ? isSignInHost : isControlHost, (context) => choose(endpoints, context));
  }
  mount("/*", isControlHost, () => {
    throw new Problem("route_not_found", "no such path of the control plane");
  });
}

function isControlHost({ runtime, arrival }: RequestContext): boolean {
  const { hosts } = runtime.config.gateway;
  return hosts === null || hosts.has(arrival.host);
}

/** In the order of the table, literal paths before those with parameters. */
function byPath(endpoints: readonly Endpoint[]): ReadonlyMap<string, readonly Endpoint[]> {
  const paths = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const same = paths.get(endpoint.path);
    if (same === undefined) paths.set(endpoint.path, [endpoint]);
    else same.push(endpoint);
  }
  return new Map([...paths].sort(([a], [b]) => Number(a.includes(":")) - Number(b.includes(":"))));
}

function choose(endpoints: readonly Endpoint[], context: RequestContext): Promise<Response> {
  const { method, ambiguities } = context.arrival;
  if (ambiguities !== 0) throw new Problem("path_ambiguous", "an ambiguous path of the control plane");
  const chosen = endpoints.find((endpoint) => endpoint.method === method);
  if (chosen !== undefined) return answer(chosen, context);
  throw new Problem("method_not_allowed", `${method} on the control plane`, {
    allow: endpoints.map((endpoint) => endpoint.method),
  });
}

/** The isolate runs and its configuration is valid. Asks no store: an outage there must not restart anything. */
const health = () => ({ status: "ok" });

/** The public keys of user contexts and access tokens (RFC 7517 §5); all that still have to be known after a rotation. */
const jwks = ({ runtime }: RequestContext) => runtime.signer.publicJwks;

const openApi = ({ runtime }: RequestContext) => openApiDocument(ENDPOINTS, runtime.config);

/** JSON for GET and HEAD. */
function reading(content: (context: RequestContext) => unknown): Answer {
  return (context) => {
    const { method } = context.arrival.request;
    if (method !== "GET" && method !== "HEAD") {
      throw new Problem("method_not_allowed", `${method} on the control plane`, { allow: ["GET", "HEAD"] });
    }
    return Response.json(content(context), { headers: { "cache-control": "no-store" } });
  };
}
