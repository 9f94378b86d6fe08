// What the steps of one request share: the isolate's runtime on one side, the facts for the log line on the other.
import type { Config, Route, Site } from "./config/types.ts";
import type { Services } from "./control/services.ts";
import type { Verifiers } from "./pipeline/authenticate.ts";
import type { ForwardOptions } from "./pipeline/forward.ts";
import type { Limiter } from "./pipeline/limit.ts";
import type { RouteIndex } from "./pipeline/route.ts";
import type { ContextSigner } from "./pipeline/user-context.ts";
import type { Answers } from "./presets/answer.ts";
import type { Place } from "./presets/preset.ts";
import type { Problem } from "./problem.ts";
import type { LastUse } from "./records/last-use.ts";
import type { Arrival } from "./types.ts";

/** Built once per isolate by `runtime.ts`; holds no request data. */
export interface Runtime {
  readonly config: Config;
  readonly routes: RouteIndex;
  readonly verifiers: Verifiers;
  readonly lastUse: LastUse;
  readonly signer: ContextSigner;
  readonly limiter: Limiter;
  readonly forwarding: ForwardOptions;
  /** What is answered here on a site's own paths. */
  readonly answers: Answers;
  /** `null`: no D1 is bound, so nobody signs in and there is nothing to administer. */
  readonly services: Services | null;
}

/** What is known of every request, even one that is refused before anything could be looked up. */
export interface RequestFacts {
  readonly arrival: Arrival;
  readonly requestId: string;
  /** The client's address, or `null` where no trustworthy header carries it. */
  readonly clientAddress: string | null;
  /** Filled in as the steps go; ends up in the log line. */
  readonly trace: Trace;
}

/** One request on its way through the pipeline. */
export interface RequestContext extends RequestFacts {
  readonly runtime: Runtime;
  readonly nowSeconds: number;
  readonly background: (work: Promise<unknown>) => void;
}

export interface Trace {
  /** As far as it was found out; a path without a row still belongs to a site, whose clients are told in its dialect. */
  matched: { readonly site: Site; readonly route: Route | null } | null;
  /** Where the credential stood, on sites with a preset. */
  place: Place | null;
  site: string | null;
  route: string | null;
  principalId: string | null;
  credentialKind: string | null;
  credentialId: string | null;
  /** Problem code of what an `observe` route would have refused. */
  observed: string | null;
  /** Whether the request was sent to the origin. */
  isForwarded: boolean;
  /** What the request was refused for. */
  problem: Problem | null;
}

/** Of a request about which nothing is known yet. */
export const newTrace = (): Trace => ({
  matched: null,
  place: null,
  site: null,
  route: null,
  principalId: null,
  credentialKind: null,
  credentialId: null,
  observed: null,
  isForwarded: false,
  problem: null,
});
