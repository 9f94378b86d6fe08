// The life of a proxied request. Read this file first. Imports are in pipeline order; keep them so.
import { type Match, matchRoute } from "./pipeline/route.ts";
import { answerPreflight } from "./pipeline/cors.ts";
import { extractCredential } from "./pipeline/credential.ts";
import { authenticate } from "./pipeline/authenticate.ts";
import { authorize } from "./pipeline/authorize.ts";
import { enforceLimit } from "./pipeline/limit.ts";
import { answer } from "./pipeline/answer.ts";
import { attachUserContext } from "./pipeline/user-context.ts";
import { forward } from "./pipeline/forward.ts";
import { isObservable, refuse } from "./pipeline/refuse.ts";
import type { RequestContext } from "./context.ts";
import type { Principal } from "./types.ts";

/** Answers one data-plane request. Never throws: every failure becomes a problem response. */
export async function handle(context: RequestContext): Promise<Response> {
  let match: Match | null = null;
  try {
    match = matchRoute(context.runtime.routes, context.arrival, context.trace); // or 400, 404, 405
    const preflight = answerPreflight(match, context);
    if (preflight !== null) return preflight;
    const principal = await decide(match, context); // or 401, 403, 429, 503
    if (match.route.answer !== null) return await answer(principal, match, context); // presets that sign in here
    const upstream = await attachUserContext(principal, match, context); // strip theirs, sign ours
    return await forward(upstream, match, context); // or 502, 504, 508
  } catch (error) {
    return refuse(error, match, context);
  }
}

/**
 * Who is calling, and that they may. `null`: anonymous, where the route permits it.
 * On a route in observe mode a refusal is noted in the trace, and the request goes on with what is known by then.
 * @throws Problem
 */
export async function decide(match: Match, context: RequestContext): Promise<Principal | null> {
  let principal: Principal | null = null;
  try {
    const credential = extractCredential(match, context); // unverified; null when none was presented; or 401
    principal = await authenticate(credential, match, context); // or 401, 503
    authorize(principal, match); // or 403
    await enforceLimit(principal, match, context); // or 429
  } catch (error) {
    if (!isObservable(error, match.route)) throw error;
    context.trace.observed = error.code;
  }
  return principal;
}
