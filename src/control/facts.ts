// What the gateway says of itself below `/_gateway/`, and the end of that path. Part of every Worker; never stored.
import type { ContextOf, GatewayApp } from "../app.ts";
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";

type Give = (context: RequestContext) => Response | Promise<Response>;
type Mount = (path: string, isHere: (context: RequestContext) => boolean, give: Give) => void;

/** Mounts below `/_gateway`. Where it is not here, the path is one like any other. */
export function mounter(app: GatewayApp, contextOf: ContextOf): Mount {
  return (path, isHere, give) => {
    app.all(`/_gateway${path}`, (c, next) => {
      const context = contextOf(c.req.raw);
      return isHere(context) ? give(context) : next();
    });
  };
}

/** Comes after everything else that is mounted there: what is left is 404. */
export function mountFacts(app: GatewayApp, contextOf: ContextOf): void {
  const mount = mounter(app, contextOf);
  mount("/health", isControlHost, reading(health));
  mount("/jwks.json", isControlHost, reading(jwks));
  mount("/*", isControlHost, () => {
    throw new Problem("route_not_found", "no such path of the control plane");
  });
}

export function isControlHost({ runtime, arrival }: RequestContext): boolean {
  const { hosts } = runtime.config.gateway;
  return hosts === null || hosts.has(arrival.host);
}

/** The isolate runs and its configuration is valid. Asks no store: an outage there must not restart anything. */
const health = () => ({ status: "ok" });

/** The public keys of user contexts and access tokens (RFC 7517 §5); all that still have to be known after a rotation. */
const jwks = ({ runtime }: RequestContext) => runtime.signer.publicJwks;

/** JSON for GET and HEAD. */
export function reading(content: (context: RequestContext) => unknown): Give {
  return (context) => {
    const { method } = context.arrival.request;
    if (method !== "GET" && method !== "HEAD") {
      throw new Problem("method_not_allowed", `${method} on the control plane`, { allow: ["GET", "HEAD"] });
    }
    return Response.json(content(context), { headers: { "cache-control": "no-store" } });
  };
}
