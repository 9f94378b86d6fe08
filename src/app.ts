// The Worker around the pipeline: a Hono app that mounts the control plane and hands every other request to `gateway.ts`.
// The preset with the smallest router: patterns are few, and the pipeline has its own.
import { Hono } from "hono/tiny";
import { newTrace, type RequestContext, type RequestFacts, type Runtime } from "./context.ts";
import { mountFacts } from "./control/facts.ts";
import { handle } from "./gateway.ts";
import { NOTHING_DONE } from "./housekeeping.ts";
import type { Identity } from "./identity.ts";
import { logChores, logOutcome } from "./log.ts";
import { arrive, foldPath } from "./pipeline/path.ts";
import { refuse } from "./pipeline/refuse.ts";
import { createRuntime, type Env } from "./runtime.ts";

export type GatewayApp = Hono<{ Bindings: Env }>;
export type ContextOf = (request: Request) => RequestContext;

/**
 * One gateway with the state of one isolate.
 *
 * @param identity signing in and administration; `null`: a Worker that guards, and has them nowhere or in another Worker
 * @param extend puts your own Hono middleware before the pipeline. Its patterns are compared with the path as the
 *   policies compare it: ASCII letters in lower case, printable characters unescaped, without a trailing slash.
 *   `c.req.path` and parameters come in that form; what is forwarded keeps its case.
 */
export function createApp(
  identity: Identity | null,
  extend: (app: GatewayApp) => void = () => {},
): ExportedHandler<Env> {
  /** Requests under way: Hono's `getPath` and the pipeline have to agree on what the path is. */
  const contexts = new WeakMap<Request, RequestContext>();
  const contextOf: ContextOf = (request) => {
    const context = contexts.get(request);
    if (context === undefined) throw new Error("a middleware replaced the request");
    return context;
  };

  const app: GatewayApp = new Hono<{ Bindings: Env }>({
    getPath: (request) => patternPath(contextOf(request).arrival.path),
  });
  extend(app);
  /** With nothing before the pipeline, Hono would only be asked what is known already. */
  const isExtended = app.routes.length > 0;
  identity?.mount(app, contextOf);
  mountFacts(app, contextOf);
  app.all("*", (c) => handle(contextOf(c.req.raw)));
  app.onError((error, c) => refuse(error, null, contextOf(c.req.raw)));

  let runtime: Runtime | null = null;

  return {
    async fetch(request, env, execution) {
      let facts = newFacts(request);
      let response: Response;
      try {
        runtime ??= createRuntime(env, identity);
        const context: RequestContext = {
          arrival: arrive(request), // or 400
          requestId: facts.requestId,
          clientAddress: clientAddress(request, runtime),
          trace: facts.trace,
          runtime,
          nowSeconds: Math.floor(Date.now() / 1_000),
          background: (work) => execution.waitUntil(work),
        };
        facts = context;
        if (isExtended || context.arrival.path.startsWith("/_")) {
          contexts.set(request, context);
          response = await app.fetch(request, env, execution);
        } else {
          response = await handle(context);
        }
      } catch (error) {
        if (runtime === null) facts = withArrival(facts);
        response = refuse(error, null, facts);
      }
      logOutcome(facts, response, facts.trace.problem);
      return response;
    },

    /** @throws what went wrong, when that has been logged: the platform then shows the run as failed. */
    async scheduled(_controller, env) {
      try {
        runtime ??= createRuntime(env, identity);
      } catch (error) {
        logChores({ done: NOTHING_DONE, errors: [error] });
        throw error;
      }
      if (identity === null || runtime.services === null) return;
      const chores = await identity.keepHouse(runtime.services, Math.floor(Date.now() / 1_000));
      logChores(chores);
      if (chores.errors.length > 0) throw chores.errors[0];
    },
  };
}

/** What patterns of a middleware are compared with. One written for `/admin` must not be passed by as `/Admin/`. */
function patternPath(path: string): string {
  const folded = foldPath(path);
  return folded.length > 1 && folded.endsWith("/") ? folded.slice(0, -1) : folded;
}

/** The single address in the configured header. A list could be continued by the client, so it counts as none. */
function clientAddress(request: Request, { config }: Runtime): string | null {
  const header = config.gateway.clientAddressHeader;
  const address = header === null ? null : request.headers.get(header);
  return address === null || /[^0-9a-fA-F:.]/.test(address) ? null : address;
}

/** For the log of a gateway that is not configured, which answers before it looks at anything. */
function withArrival(facts: RequestFacts): RequestFacts {
  try {
    return { ...facts, arrival: arrive(facts.arrival.request) };
  } catch {
    return facts;
  }
}

/** What is known before host and path have been read, and all there is when they cannot be. */
function newFacts(request: Request): RequestFacts {
  return {
    arrival: {
      request,
      method: request.method,
      scheme: "https",
      authority: "",
      host: "",
      path: "",
      search: "",
      ambiguities: 0,
    },
    requestId: crypto.randomUUID(),
    clientAddress: null,
    trace: newTrace(),
  };
}
