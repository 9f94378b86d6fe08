// What tests of the control plane do all the time: call it, use what it made, look into D1.
import { api, DB, type Gateway } from "./gateway.ts";

/** What a function of a gateway takes beside it. */
export type RestOf<F> = F extends (gateway: Gateway, ...rest: infer Rest) => unknown ? Rest : never;

export type Answer = Readonly<Record<string, unknown>> & { readonly id: string };

export interface Result {
  readonly status: number;
  readonly body: Answer;
  readonly headers: Headers;
}

/** One call of the control plane; without a token by the `ADMIN_TOKEN`, with `null` by nobody. */
export async function callOf(
  gateway: Gateway,
  method: string,
  path: string,
  body?: unknown,
  token?: string | null,
): Promise<Result> {
  return (await api(gateway, method, path, body, token)) as unknown as Result;
}

/** The status that a secret, or an access token, of user 7 gets on a route that asks D1 each time. */
export async function statusOfUse(
  gateway: Gateway,
  secret: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const init = { headers: { authorization: `Bearer ${secret}`, "New-Api-User": "7", ...headers } };
  const { status, body } = await gateway.fetch("/now/x", init);
  await body?.cancel();
  await gateway.settle();
  return status;
}

/** All of a table, in the order of its rows. */
export async function rowsOf(table: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  return (await DB.prepare(`SELECT * FROM ${table} ORDER BY rowid`).all<Record<string, unknown>>()).results;
}
