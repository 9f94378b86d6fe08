// Rate limits a route asks for: a Cloudflare rate-limit binding, or an exact count in D1.
import type { LimitSubject, Route } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { cutOff } from "../cut-off.ts";
import { Problem } from "../problem.ts";
import type { Principal } from "../types.ts";
import type { Match } from "./route.ts";
import { callerNetwork } from "./verify/ip-allow.ts";

/** Counts one request against an exact limit. `retryAfterSeconds`: until the window ends. */
export interface Limiter {
  take(
    key: string,
    requests: number,
    perSeconds: number,
    nowSeconds: number,
  ): Promise<{ readonly success: boolean; readonly retryAfterSeconds: number }>;
}

/** A count that has not come by then is given up. */
const COUNT_DEADLINE_MS = 2_000;

/** The shorter of the two periods a binding can have; which one it has, a Worker cannot see. */
const BINDING_RETRY_AFTER_SECONDS = 10;

/**
 * Counts the request for its route and subject. Without a subject of the kind asked for, the next one in the order
 * credential, principal, address counts; all that have none share one count. Of an IPv6 address its /64 network counts.
 *
 * @throws Problem `rate_limited`; `store_unavailable` when it could not be counted, by either kind of limit
 */
export async function enforceLimit(
  principal: Principal | null,
  match: Match,
  context: RequestContext,
): Promise<void> {
  const { limit } = match.route;
  if (limit === null) return;
  const subject = subjectOf(limit.by, principal, context.clientAddress);
  // JSON, so that no id can contain what separates it from its neighbours.
  const key = JSON.stringify([match.site.name, match.route.key, ...subject]);
  let taken: { readonly success: boolean; readonly retryAfterSeconds: number };
  try {
    const { limiter } = context.runtime;
    taken =
      limit.kind === "exact"
        ? await inTime(limiter.take(key, limit.requests, limit.perSeconds, context.nowSeconds))
        : { ...(await inTime(limit.binding.limit({ key }))), retryAfterSeconds: BINDING_RETRY_AFTER_SECONDS };
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("store_unavailable", "the rate limit could not be counted", { cause: error });
  }
  if (!taken.success) {
    throw new Problem("rate_limited", `by ${subject[0]}`, { retryAfterSeconds: taken.retryAfterSeconds });
  }
}

const inTime = <T>(count: Promise<T>): Promise<T> => cutOff(count, COUNT_DEADLINE_MS);

/**
 * How old knowledge may be when a caller is looked up, seconds: the route's bound, less the time that counting may take
 * afterwards, so that the bound holds when the request is forwarded.
 */
export function freshnessBeforeLimit({ freshnessSeconds, limit }: Route): number {
  return limit === null ? freshnessSeconds : Math.max(0, freshnessSeconds - COUNT_DEADLINE_MS / 1_000);
}

function subjectOf(
  by: LimitSubject,
  principal: Principal | null,
  clientAddress: string | null,
): readonly [kind: string, ...parts: string[]] {
  if (by !== "address" && principal !== null) {
    const { realm, id, credential } = principal;
    // An id of a credential is its issuer's to choose: beside its owner it is nobody else's.
    return by === "credential" && credential.id !== null
      ? ["credential", realm, id, credential.kind, credential.id]
      : ["principal", realm, id];
  }
  return clientAddress === null ? ["anonymous"] : ["address", callerNetwork(clientAddress)];
}
