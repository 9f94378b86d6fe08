// `/_gateway/*`: what the gateway says of itself. Answers only on the control hosts, and never lets anything be stored.
import type { Handler } from "hono";
import type { ContextOf, GatewayApp } from "../app.ts";
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";

/** Mounts the control plane. On other hosts than its own, `/_gateway/*` is a path like any other. */
export function mountControlPlane(app: GatewayApp, contextOf: ContextOf): void {
  const onControlHost =
    (answer: (context: RequestContext) => Response): Handler =>
    (c, next) => {
      const context = contextOf(c.req.raw);
      const { hosts } = context.runtime.config.gateway;
      return hosts === null || hosts.has(context.arrival.host) ? answer(context) : next();
    };

  app.all("/_gateway/health", onControlHost(reading(health)));
  app.all("/_gateway/jwks.json", onControlHost(reading(jwks)));
  app.all(
    "/_gateway/*",
    onControlHost(() => {
      throw new Problem("route_not_found", "no such path of the control plane");
    }),
  );
}

/** The isolate runs and its configuration is valid. Asks no store: an outage there must not restart anything. */
const health = () => ({ status: "ok" });

/** The public keys of user contexts (RFC 7517 §5); all that are in use or still have to be known after a rotation. */
const jwks = ({ runtime }: RequestContext) => runtime.signer.publicJwks;

/** JSON for GET and HEAD. */
function reading(content: (context: RequestContext) => unknown): (context: RequestContext) => Response {
  return (context) => {
    const { method } = context.arrival.request;
    if (method !== "GET" && method !== "HEAD") {
      throw new Problem("method_not_allowed", `${method} on the control plane`, { allow: ["GET", "HEAD"] });
    }
    return Response.json(content(context), { headers: { "cache-control": "no-store" } });
  };
}
