import { describe, expect, it } from "vitest";
import type { Limit, LimitSubject } from "../../../src/config/types.ts";
import { enforceLimit, type Limiter } from "../../../src/pipeline/limit.ts";
import { Problem } from "../../../src/problem.ts";
import type { Principal } from "../../../src/types.ts";
import { aConfig, aRoute, aSite, NOW_SECONDS } from "../../support/worker/policy.ts";
import { aFullContext, aMatch, aPrincipal } from "../../support/worker/upstream.ts";

interface Case {
  readonly by?: LimitSubject;
  readonly kind?: Limit["kind"];
  readonly principal?: Principal | null;
  readonly clientAddress?: string | null;
  readonly siteName?: string;
  readonly routeKey?: string;
  readonly answer?: () => Promise<{ success: boolean; retryAfterSeconds: number }>;
}

const taken = async () => ({ success: true, retryAfterSeconds: 1 });

/** Enforces once; what the limit was asked, in full. */
async function enforce(given: Case): Promise<readonly unknown[]> {
  const {
    by = "principal",
    kind = "exact",
    principal = null,
    clientAddress = "203.0.113.7",
    answer = taken,
  } = given;
  const asked: unknown[] = [];
  const binding = {
    limit: async (options: RateLimitOptions) => {
      asked.push(options.key);
      return { success: (await answer()).success };
    },
  };
  const limiter: Limiter = {
    take: (...question) => {
      asked.push(...question);
      return answer();
    },
  };
  const limit: Limit =
    kind === "exact"
      ? { kind, by, requests: 10, perSeconds: 3600 }
      : { kind, by, binding: binding as RateLimit, bindingName: "RL" };
  const route = aRoute("/x", { limit, key: given.routeKey ?? "SITE_TEST.routes[0]" });
  const site = aSite([route], { name: given.siteName ?? "test" });
  const context = aFullContext(
    aConfig([site]),
    new Request("https://a.example/x"),
    { limiter },
    { clientAddress },
  );
  await enforceLimit(principal, aMatch(site), context);
  return asked;
}

const keyOf = async (given: Case) => (await enforce(given))[0];

describe("enforceLimit", () => {
  it("asks for the configured count and window, in the request's own time", async () => {
    const [, ...rest] = await enforce({});
    expect(rest).toEqual([10, 3600, NOW_SECONDS]);
  });

  it("counts nothing on a route without a limit", async () => {
    const site = aSite([aRoute("/x")]);
    const context = aFullContext(aConfig([site]), new Request("https://a.example/x"));
    await expect(enforceLimit(null, aMatch(site), context)).resolves.toBeUndefined();
  });

  it.each(["exact", "binding"] as const)("%s: passes below the limit, rate_limited above", async (kind) => {
    await enforce({ kind });
    const refused = enforce({ kind, answer: async () => ({ success: false, retryAfterSeconds: 17 }) });
    await expect(refused).rejects.toMatchObject({
      code: "rate_limited",
      details: { retryAfterSeconds: kind === "exact" ? 17 : 10 },
    });
  });

  it.each(["exact", "binding"] as const)(
    "requirement 20: %s fails closed when it cannot be counted",
    async (kind) => {
      const down = enforce({
        kind,
        answer: async () => {
          throw new Error("D1_ERROR");
        },
      });
      await expect(down).rejects.toMatchObject({ code: "store_unavailable" });
      const named = enforce({
        kind,
        answer: async () => {
          throw new Problem("config_invalid", "no database");
        },
      });
      await expect(named).rejects.toMatchObject({ code: "config_invalid" });
    },
  );

  const alice = aPrincipal();
  it.each<[string, Case, Case, boolean]>([
    ["the same caller", { principal: alice }, { principal: alice }, true],
    [
      "one principal from two addresses",
      { principal: alice },
      { principal: alice, clientAddress: "::1" },
      true,
    ],
    ["two principals at one address", { principal: alice }, { principal: aPrincipal({ id: "8" }) }, false],
    ["the same id in two realms", { principal: alice }, { principal: aPrincipal({ realm: "b" }) }, false],
    [
      "one id split otherwise",
      { principal: aPrincipal({ realm: "a", id: 'b","c' }) },
      { principal: aPrincipal({ realm: 'a","b', id: "c" }) },
      false,
    ],
    [
      "two credentials of one principal, by principal",
      { principal: alice },
      { principal: aPrincipal({}, { id: "k2" }) },
      true,
    ],
    [
      "two credentials of one principal, by credential",
      { by: "credential", principal: alice },
      { by: "credential", principal: aPrincipal({}, { id: "k2" }) },
      false,
    ],
    [
      "two kinds of one credential id",
      { by: "credential", principal: alice },
      { by: "credential", principal: aPrincipal({}, { kind: "pat" }) },
      false,
    ],
    [
      "one credential id of two owners",
      { by: "credential", principal: alice },
      { by: "credential", principal: aPrincipal({ id: "8" }) },
      false,
    ],
    [
      "a credential without id, by credential, and its principal",
      { by: "credential", principal: aPrincipal({}, { id: null }) },
      { principal: alice },
      true,
    ],
    [
      "two principals, by address",
      { by: "address", principal: alice },
      { by: "address", principal: null },
      true,
    ],
    ["two addresses", { by: "address" }, { by: "address", clientAddress: "::1" }, false],
    ["anonymous callers at two addresses, by principal", {}, { clientAddress: "::1" }, false],
    [
      "callers of whom nothing is known",
      { clientAddress: null },
      { by: "credential", clientAddress: null },
      true,
    ],
    [
      "a principal and an address of the same text",
      { principal: aPrincipal({ realm: "x", id: "1.1.1.1" }) },
      { by: "address", clientAddress: "1.1.1.1" },
      false,
    ],
    ["two sites", {}, { siteName: "other" }, false],
    ["two routes", {}, { routeKey: "SITE_TEST.routes[1]" }, false],
  ])("%s: %#", async (_name, one, other, isShared) => {
    expect((await keyOf(one)) === (await keyOf(other))).toBe(isShared);
  });
});
