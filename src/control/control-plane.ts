// `/_gateway/*` but for what the gateway says of itself (`facts.ts`): signing in, self-service, administration.
import type { ContextOf, GatewayApp } from "../app.ts";
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import { answer } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { isControlHost, mounter, reading } from "./facts.ts";
import { openApiDocument } from "./openapi.ts";
import { isSignInHost } from "./realm.ts";

/** Mounts the control plane. On other hosts than its own, `/_gateway/*` is a path like any other. */
export function mountControlPlane(app: GatewayApp, contextOf: ContextOf): void {
  const mount = mounter(app, contextOf);
  mount("/openapi.json", isControlHost, reading(openApi));
  for (const [path, endpoints] of byPath(ENDPOINTS)) {
    const isForUsers = endpoints.every(({ access }) => access.for !== "administrator");
    mount(path, isForUsers ? isSignInHost : isControlHost, (context) => choose(endpoints, context));
  }
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

const openApi = ({ runtime }: RequestContext) => openApiDocument(ENDPOINTS, runtime.config);
