// One call of an endpoint: admit, read the input, do it, answer. Nothing here knows any single endpoint.
import * as v from "valibot";
import { auditEntry } from "../audit.ts";
import type { RequestContext } from "../context.ts";
import { isOutage } from "../pipeline/answer.ts";
import { Problem } from "../problem.ts";
import { admit, type Caller } from "./caller.ts";
import type { Call, Endpoint } from "./endpoint.ts";
import { invalid, parseInput, readInput, readQuery } from "./input.ts";
import { realmOfUsers } from "./realm.ts";
import type { Services } from "./services.ts";

/** @throws Problem */
export async function answer(endpoint: Endpoint, arrived: RequestContext): Promise<Response> {
  const { services } = arrived.runtime;
  if (services === null) throw new Problem("store_unavailable", "no D1 database is bound as DB");
  const { request, search, path } = arrived.arrival;
  const parameters = new URLSearchParams(search);
  // `realm` is an input of every call for users, beside what the endpoint's own query says.
  const named = endpoint.access.for === "user" ? takeOne(parameters, "realm") : null;
  if (endpoint.access.for !== "anyone") demandSomeCredential(request);
  // Before anything is decided: who sends it slowly must not be let in by what was so when it began.
  const input = endpoint.body === null ? null : await readInput(request);
  const context = { ...arrived, nowSeconds: Math.floor(Date.now() / 1_000) };
  const caller = await admit(endpoint.access, () => realmOfUsers(named, context), context);
  const call: Call<unknown, unknown, Caller> = {
    context,
    services,
    caller,
    params: parametersOf(endpoint.path, path),
    query: readQuery(parameters, endpoint.query ?? NO_QUERY),
    body:
      endpoint.body === null
        ? null
        : parseInput(input, request.headers, endpoint.body, endpoint.bodyType ?? "json"),
    audit: (action, target, details = {}) => auditEntry(context, caller.actor, action, target, details),
  };
  const result = await perform(endpoint, call, services);
  if (result instanceof Response) return result;
  const init = { status: endpoint.status, headers: { "cache-control": "no-store" } };
  return endpoint.answer === null ? new Response(null, init) : Response.json(result, init);
}

async function perform(
  endpoint: Endpoint,
  call: Call<unknown, unknown, Caller>,
  services: Services,
): Promise<unknown> {
  try {
    const result = await endpoint.handle(call as never);
    // In force at once where it was done; elsewhere within the bound.
    if (endpoint.method !== "GET") await services.catchUp(call.context.background);
    return result;
  } catch (error) {
    throw isOutage(error) ? new Problem("store_unavailable", "D1 failed", { cause: error }) : error;
  }
}

/** Spares reading the body of whoever presents nothing at all. Whether what is presented is any good, `admit` finds out. */
function demandSomeCredential({ headers }: Request): void {
  if (headers.has("authorization") || headers.has("cookie")) return;
  throw new Problem("credential_missing", "no credential");
}

const NO_QUERY = v.strictObject({});

/** Removes the parameter. @returns its value, `null` where there is none. @throws Problem where there are several */
function takeOne(parameters: URLSearchParams, name: string): string | null {
  const [value = null, ...others] = parameters.getAll(name);
  if (others.length > 0) throw invalid([{ field: name, message: "must stand there once" }]);
  parameters.delete(name);
  return value;
}

/** From the canonical path, whose case is kept: the router matched a folded one. */
function parametersOf(template: string, path: string): Readonly<Record<string, string>> {
  const parameters: Record<string, string> = {};
  const segments = path.split("/").slice(2); // of /_gateway/…
  for (const [index, name] of template.slice(1).split("/").entries()) {
    if (name.startsWith(":")) parameters[name.slice(1)] = decoded(segments[index] ?? "");
  }
  return parameters;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
