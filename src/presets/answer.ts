// Requests that Postern answers by itself on a site's own paths: signing in as the system's clients know it.
import type { RequestContext } from "../context.ts";
import type { Match } from "../pipeline/route.ts";
import type { Principal } from "../types.ts";

export interface AnswerCall {
  readonly match: Match;
  readonly context: RequestContext;
  /** `null`: anonymous. */
  readonly principal: Principal | null;
}

/** @throws Problem, which is then said in the site's dialect */
export type Answer = (call: AnswerCall) => Promise<Response>;

/** Every answer there is; the handlers are in `answers.ts`. */
export const ANSWER_NAMES = [
  "cloudreve.prepare",
  "cloudreve.login",
  "cloudreve.refresh",
  "cloudreve.logout",
  "nekohub.login",
  "nekohub.refresh",
  "nekohub.logout",
  "nekohub.me",
  "new-api.login",
  "new-api.logout",
  "new-api.token",
  "new-api.self",
  "new-api-current.login",
  "new-api-current.refresh",
  "new-api-current.logout",
  "mcp.metadata",
] as const;
export type AnswerName = (typeof ANSWER_NAMES)[number];

/** Those of a Worker; one that only guards has few. */
export type Answers = Readonly<Partial<Record<AnswerName, Answer>>>;
