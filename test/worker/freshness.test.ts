// How current every decision is, through the front door: what a request costs, and when a change is in force.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  addApiKey,
  addPat,
  addSession,
  addUser,
  bearer,
  type Counts,
  emptyStores,
  GATEWAY,
  type Gateway,
  KV,
  signJwt,
  startGateway,
  writes,
} from "../support/worker/gateway.ts";

const FRESHNESS_MS = GATEWAY.freshness_seconds * 1_000;
const nowSeconds = () => Math.floor(Date.now() / 1_000);

/** One way to call as user 7, an admin. */
const CALLERS: Readonly<Record<string, () => Promise<RequestInit>>> = {
  "a JWT": async () => bearer(await signJwt({ jti: "j1", sid: "s1" })),
  "an API key": async () => bearer(await addApiKey("k1", { scopes: ["read"] })),
  "a PAT": async () => bearer(await addPat("p1"), { "New-Api-User": "7" }),
  "a session": async () => ({ headers: { cookie: `sid=${await addSession("s1")}`, "New-Api-User": "7" } }),
};
const callers = Object.entries(CALLERS);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
  await emptyStores();
  await addUser("7", { role: "admin" });
});
afterEach(() => {
  vi.useRealTimers();
});

const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

async function statusOf(gateway: Gateway, path: string, init?: RequestInit): Promise<number> {
  const { status, body } = await gateway.fetch(path, init);
  await body?.cancel();
  await gateway.settle();
  return status;
}

/** KV as another location sees it: whatever it held at this moment, for ever. */
async function frozenKv(): Promise<KVNamespace> {
  const held = new Map<string, string | null>();
  for (const { name } of (await KV.list()).keys) held.set(name, await KV.get(name));
  return {
    get: async (name: string) => JSON.parse(held.get(name) ?? "null"),
    put: async () => {},
  } as unknown as KVNamespace;
}

/** A gateway, and what it had asked of its stores when a request reached the origin. */
function startWatched() {
  const whenForwarded: Counts[] = [];
  const gateway = startGateway({
    origin: () => {
      whenForwarded.push({ ...gateway.counts });
      return new Response();
    },
  });
  return { gateway, whenForwarded };
}

describe("a warm request makes no storage operation before it is forwarded", () => {
  it.each(callers)("with %s", async (_name, call) => {
    const init = await call();
    const { gateway, whenForwarded } = startWatched();
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
    gateway.counts.d1 = 0;
    gateway.counts.kv = 0;
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
    expect(gateway.counts).toEqual({ d1: 0, kv: 0 });

    // Old enough to be refreshed, young enough to be used: the refresh waits until the request is on its way.
    pass(FRESHNESS_MS / 2);
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
    expect(whenForwarded.at(-1)).toEqual({ d1: 0, kv: 0 });
    expect(gateway.counts).toEqual({ d1: 1, kv: 0 });
  });

  it.each(callers.filter(([name]) => name !== "a JWT"))(
    "with %s that is due to be marked as used",
    async (_name, call) => {
      const init = await call();
      // A session that is nearer to its end is prolonged, which is a change of its record.
      await writes.updateSession("s1", { expiresAtSeconds: nowSeconds() + 14 * 86_400 }, nowSeconds());
      const { gateway, whenForwarded } = startWatched();
      expect(await statusOf(gateway, "/private/x", init)).toBe(200);
      for (const [ms, after] of [
        [FRESHNESS_MS - 1, 1], // follows the feed
        [FRESHNESS_MS - 1, 1],
        [2, 1], // 60 s after the first use: marks the second
      ] as const) {
        pass(ms);
        gateway.counts.d1 = 0;
        gateway.counts.kv = 0;
        expect(await statusOf(gateway, "/private/x", init)).toBe(200);
        expect([whenForwarded.at(-1), gateway.counts.d1]).toEqual([{ d1: 0, kv: 0 }, after]);
      }
    },
  );

  it.each(["/open/x", "/optional/x"])("without a credential, on %s, not even a cold one", async (path) => {
    const gateway = startGateway();
    expect(await statusOf(gateway, path)).toBe(200);
    expect(gateway.counts).toEqual({ d1: 0, kv: 0 });
  });
});

describe("a cold isolate", () => {
  it.each(callers)("asks D1 once, and KV not at all, with %s", async (_name, call) => {
    const init = await call();
    for (const { gateway, whenForwarded } of [startWatched(), startWatched()]) {
      expect(await statusOf(gateway, "/private/x", init)).toBe(200);
      expect(whenForwarded).toEqual([{ d1: 1, kv: 0 }]);
    }
  });

  it("that follows the feed already takes a credential it has not met from KV", async () => {
    const [first, second] = [await addApiKey("k1"), await addApiKey("k2")];
    const other = startGateway();
    await statusOf(other, "/private/x", bearer(first));
    await statusOf(other, "/private/x", bearer(second));
    const { gateway, whenForwarded } = startWatched();
    await statusOf(gateway, "/private/x", bearer(first));
    gateway.counts.d1 = 0;
    gateway.counts.kv = 0;
    expect(await statusOf(gateway, "/private/x", bearer(second))).toBe(200);
    expect(whenForwarded.at(-1)).toEqual({ d1: 0, kv: 1 });
  });
});

describe("what is changed anywhere is in force everywhere within the bound, KV stale or not", () => {
  const revoke = (kind: "token" | "session" | "subject" | "realm", value: string) => () =>
    writes.revoke({ realm: "main", kind, value, issuedBeforeSeconds: nowSeconds() }, nowSeconds());
  const key = CALLERS["an API key"];
  const jwt = CALLERS["a JWT"];
  const pat = CALLERS["a PAT"];
  const session = CALLERS["a session"];

  it.each([
    ["a disabled key", key, () => writes.updateCredential("k1", { status: "disabled" }, nowSeconds()), 401],
    ["a deleted key", key, () => writes.updateCredential("k1", { status: "deleted" }, nowSeconds()), 401],
    [
      "a key expired early",
      key,
      () => writes.updateCredential("k1", { expiresAtSeconds: 1 }, nowSeconds()),
      401,
    ],
    [
      "a banned owner, key",
      key,
      () => writes.updateUser("main", "7", { status: "disabled" }, nowSeconds()),
      401,
    ],
    [
      "a banned owner, PAT",
      pat,
      () => writes.updateUser("main", "7", { status: "disabled" }, nowSeconds()),
      401,
    ],
    [
      "a banned owner, JWT",
      jwt,
      () => writes.updateUser("main", "7", { status: "disabled" }, nowSeconds()),
      401,
    ],
    [
      "a deleted owner, JWT",
      jwt,
      () => writes.updateUser("main", "7", { status: "deleted" }, nowSeconds()),
      401,
    ],
    ["a lowered role, key", key, () => writes.updateUser("main", "7", { role: "user" }, nowSeconds()), 403],
    ["a lowered role, JWT", jwt, () => writes.updateUser("main", "7", { role: "user" }, nowSeconds()), 403],
    [
      "a disabled session",
      session,
      () => writes.updateSession("s1", { status: "disabled" }, nowSeconds()),
      401,
    ],
    ["a revoked jti", jwt, revoke("token", "j1"), 401],
    ["a revoked session, JWT", jwt, revoke("session", "s1"), 401],
    ["a revoked session, cookie", session, revoke("session", "s1"), 401],
    ["all of a user's tokens revoked", jwt, revoke("subject", "7"), 401],
    ["all of a user's keys revoked", key, revoke("subject", "7"), 401],
    ["all of a realm revoked", pat, revoke("realm", ""), 401],
  ] as const)("%s", async (_name, call, change, expected) => {
    const init = await (call ?? (() => Promise.reject(new Error("no such caller"))))();
    const near = startGateway();
    expect(await statusOf(near, "/admin/x", init)).toBe(200);
    const far = startGateway({ kv: await frozenKv() });
    expect(await statusOf(far, "/admin/x", init)).toBe(200);
    const cold = startGateway({ kv: await frozenKv() });

    await change();
    expect(await statusOf(far, "/now/x", init)).toBe(expected === 401 ? 401 : 200); // asks D1 on this request
    expect(await statusOf(cold, "/admin/x", init)).toBe(expected);
    pass(FRESHNESS_MS);
    expect(await statusOf(near, "/admin/x", init)).toBe(expected);
    expect(await statusOf(far, "/admin/x", init)).toBe(expected);
  });

  it("holds at the very bound: a view as old as the route allows is not used any more", async () => {
    const init = await CALLERS["an API key"]?.();
    const gateway = startGateway({ kv: await frozenKv() });
    gateway.faults.kv = "failing";
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
    gateway.faults.d1 = "failing";
    pass(FRESHNESS_MS - 1);
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
    pass(1);
    expect(await statusOf(gateway, "/private/x", init)).toBe(503);
  });

  it("widens as quickly: a re-enabled key is accepted again", async () => {
    const init = await CALLERS["an API key"]?.();
    const gateway = startGateway();
    await writes.updateCredential("k1", { status: "disabled" }, nowSeconds());
    expect(await statusOf(gateway, "/private/x", init)).toBe(401);
    await writes.updateCredential("k1", { status: "active" }, nowSeconds());
    expect(await statusOf(gateway, "/now/x", init)).toBe(200);
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
  });

  it("a route with freshness 0 refuses on the next request, though other routes may still know better", async () => {
    const init = await CALLERS["an API key"]?.();
    const gateway = startGateway();
    expect(await statusOf(gateway, "/now/x", init)).toBe(200);
    await writes.updateCredential("k1", { status: "disabled" }, nowSeconds());
    expect(await statusOf(gateway, "/now/x", init)).toBe(401);
    expect(gateway.received).toHaveLength(1);
  });
});

it("a new denial does not bring back one that has run out", async () => {
  const denial = { realm: "main", kind: "subject", value: "7" } as const;
  await writes.revoke({ ...denial, expiresAtSeconds: nowSeconds() - 50 }, nowSeconds());
  const times = { issuedBeforeSeconds: nowSeconds() - 1_000, expiresAtSeconds: nowSeconds() + 500 };
  await writes.revoke({ ...denial, ...times }, nowSeconds());
  expect(await statusOf(startGateway(), "/private/x", bearer(await signJwt()))).toBe(200);
});

describe("a new credential", () => {
  it("works on its first use in every isolate", async () => {
    const gateway = startGateway();
    expect(await statusOf(gateway, "/private/x", bearer(await addApiKey("k1")))).toBe(200);
    expect(await statusOf(gateway, "/private/x", bearer(await addApiKey("k2")))).toBe(200);
  });

  it("of a user who was looked for in vain is accepted within the bound, and misses cost D1 once", async () => {
    const init = bearer(await signJwt({ sub: "8" }));
    const gateway = startGateway();
    expect(await statusOf(gateway, "/private/x", init)).toBe(401);
    expect(await statusOf(gateway, "/private/x", init)).toBe(401);
    expect(gateway.counts.d1).toBe(1);
    await addUser("8");
    expect(await statusOf(gateway, "/now/x", init)).toBe(200);
    expect(await statusOf(gateway, "/private/x", init)).toBe(200);
  });
});

it("garbage in the shape of a key costs no look-up", async () => {
  const gateway = startGateway();
  const right = await addApiKey("k1");
  for (const wrong of [`${right.slice(0, -1)}?`, right.slice(0, -1), `${right}0`, `sk-${"a".repeat(48)}`]) {
    expect(await statusOf(gateway, "/private/x", bearer(wrong))).toBe(401);
  }
  expect(gateway.counts).toEqual({ d1: 0, kv: 0 });
});
