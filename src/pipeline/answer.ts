// Instead of forwarding: what is answered here on a site's own path.
import type { RequestContext } from "../context.ts";
import { Problem } from "../problem.ts";
import type { Principal } from "../types.ts";
import type { Match } from "./route.ts";

/**
 * Has the route's answer given, once its caller may. What an answer knows of D1 failing is no fault of the caller.
 * @throws Problem
 */
export async function answer(
  principal: Principal | null,
  match: Match,
  context: RequestContext,
): Promise<Response> {
  const { answers } = context.runtime;
  const give = match.route.answer === null ? undefined : answers[match.route.answer];
  if (give === undefined) throw new Problem("config_invalid", `nothing answers ${match.route.answer}`);
  try {
    return await give({ principal, match, context });
  } catch (error) {
    throw isOutage(error) ? new Problem("store_unavailable", "D1 failed", { cause: error }) : error;
  }
}

/** D1 throws plain errors; mistakes of ours have other names. */
export function isOutage(error: unknown): boolean {
  if (error instanceof Problem || !(error instanceof Error)) return false;
  return error.name === "Error" || error.name === "D1_ERROR";
}
