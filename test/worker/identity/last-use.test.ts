// When a credential was used last, and sessions that live as long as they are used: to the minute, and never on the way.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  addApiKey,
  addPat,
  addSession,
  addUser,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const NOW = 1_800_000_000;
const DAY = 86_400;
const IDLE = 14 * DAY;
const SESSION = 30 * DAY;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW * 1_000 });
  await emptyStores();
  await addUser("7", { role: "admin" });
});
afterEach(() => {
  vi.useRealTimers();
});

const at = (seconds: number) => vi.setSystemTime(seconds * 1_000);
const run = (query: string, ...values: unknown[]) =>
  DB.prepare(query)
    .bind(...values)
    .run();
const headOfFeed = () => DB.prepare("SELECT MAX(seq) AS seq FROM changes").first<number>("seq");
const lastUsed = (table: string, id: string) =>
  DB.prepare(`SELECT last_used_at_seconds AS at FROM ${table} WHERE id = ?1`)
    .bind(id)
    .first<number | null>("at");
const endOf = (id: string) =>
  DB.prepare("SELECT expires_at_seconds AS at FROM sessions WHERE id = ?1").bind(id).first<number>("at");

async function use(gateway: Gateway, init: RequestInit, path = "/private/x"): Promise<number> {
  const { status, body } = await gateway.fetch(path, init);
  await body?.cancel();
  await gateway.settle();
  return status;
}

const cookie = (value: string): RequestInit => ({ headers: { cookie: `sid=${value}`, "New-Api-User": "7" } });

/** A session of a cookie, created now, that ends then. */
async function aSession(id: string, expiresAtSeconds: number): Promise<RequestInit> {
  const value = await addSession(id);
  await writes.updateSession(id, { expiresAtSeconds }, NOW);
  return cookie(value);
}

const KINDS: readonly (readonly [
  name: string,
  table: string,
  id: string,
  call: () => Promise<RequestInit>,
])[] = [
  ["an API key", "credentials", "k1", async () => bearer(await addApiKey("k1"))],
  ["a PAT", "credentials", "p1", async () => bearer(await addPat("p1"), { "New-Api-User": "7" })],
  ["a session", "sessions", "s1", () => aSession("s1", NOW + IDLE)],
];

describe.each(KINDS)("the last use of %s", (_name, table, id, call) => {
  it("is noted, without a row in the feed", async () => {
    const init = await call();
    const head = await headOfFeed();
    expect(await lastUsed(table, id)).toBeNull();
    expect(await use(startGateway(), init)).toBe(200);
    expect(await lastUsed(table, id)).toBe(NOW);
    expect(await headOfFeed()).toBe(head);
  });

  it("is written once a minute: not at 59 seconds, again at 60", async () => {
    const init = await call();
    const gateway = startGateway();
    await use(gateway, init);
    for (const [second, expected] of [
      [1, 0],
      [59, 0],
      [60, 60],
      [119, 60],
      [120, 120],
    ] as const) {
      at(NOW + second);
      await use(gateway, init);
      expect(await lastUsed(table, id)).toBe(NOW + expected);
    }
  });

  it("is written once a minute by all isolates together", async () => {
    const init = await call();
    await use(startGateway(), init);
    for (const [second, expected] of [
      [59, 0],
      [60, 60],
      [61, 60],
    ] as const) {
      at(NOW + second);
      await use(startGateway(), init);
      expect(await lastUsed(table, id)).toBe(NOW + expected);
    }
  });

  it("costs parallel requests of one isolate one statement", async () => {
    const init = await call();
    const gateway = startGateway();
    await use(gateway, init);
    at(NOW + 60);
    // The feed is followed first, so that only marks are left to count.
    await use(gateway, bearer(await signJwt()), "/now/x");
    gateway.counts.d1 = 0;
    await Promise.all(Array.from({ length: 20 }, () => gateway.fetch("/private/x", init)));
    await gateway.settle();
    expect(gateway.counts.d1).toBe(1);
  });

  it("is not noted when it was refused", async () => {
    const init = await call();
    await writes.updateUser("main", "7", { status: "disabled" }, NOW);
    expect(await use(startGateway(), init)).toBe(401);
    expect(await use(startGateway(), init, "/watched/x")).toBe(200); // observed: goes on as anonymous
    expect(await lastUsed(table, id)).toBeNull();
  });

  it.each(["failing", "hanging"] as const)("is nothing to a request when D1 is %s", async (fault) => {
    const init = await call();
    const gateway = startGateway();
    await use(gateway, init);
    at(NOW + 15);
    await use(gateway, bearer(await signJwt()), "/now/x");
    await run(`UPDATE ${table} SET last_used_at_seconds = NULL`);
    const other = startGateway({
      origin: () => {
        other.faults.d1 = fault;
        return new Response();
      },
    });
    expect(await use(other, init)).toBe(200);
    expect(await lastUsed(table, id)).toBeNull();
    expect(await use(other, init)).toBe(200);
  });
});

it("a JWT is looked up and nothing is written of it", async () => {
  const gateway = startGateway();
  expect(await use(gateway, bearer(await signJwt({ jti: "k1", sid: "s1" })))).toBe(200);
  expect(gateway.counts.d1).toBe(1);
});

it("a key and a session of one id are told apart", async () => {
  const key = bearer(await addApiKey("same"));
  const session = await aSession("same", NOW + IDLE);
  const gateway = startGateway();
  await use(gateway, key);
  await use(gateway, session);
  expect([await lastUsed("credentials", "same"), await lastUsed("sessions", "same")]).toEqual([NOW, NOW]);
});

describe("the session of a cookie lives as long as it is used", () => {
  it("is prolonged when less than half of the idle time is left, and not a second earlier", async () => {
    const init = await aSession("s1", NOW + IDLE);
    const gateway = startGateway();
    at(NOW + IDLE / 2);
    expect(await use(gateway, init)).toBe(200);
    expect(await endOf("s1")).toBe(NOW + IDLE);
    at(NOW + IDLE / 2 + 60); // the next mark
    expect(await use(gateway, init)).toBe(200);
    expect(await endOf("s1")).toBe(NOW + IDLE / 2 + 60 + IDLE);
  });

  it("in every isolate: the change is in the feed", async () => {
    const init = await aSession("s1", NOW + 60);
    const other = startGateway();
    at(NOW + 59);
    expect(await use(startGateway(), init)).toBe(200);
    const changes = await DB.prepare("SELECT what, subjects FROM changes ORDER BY seq DESC LIMIT 1").first();
    expect(changes).toEqual({ what: "session.updated", subjects: '["session:s1"]' });
    at(NOW + 60);
    expect(await use(other, init)).toBe(200);
  });

  it("is refused from the very second on that it was not used for so long", async () => {
    const init = await aSession("s1", NOW + IDLE);
    at(NOW + IDLE - 1);
    await run("UPDATE sessions SET last_used_at_seconds = ?1", NOW + IDLE - 1); // as if it had just been marked
    expect(await use(startGateway(), init)).toBe(200);
    at(NOW + IDLE);
    expect(await use(startGateway(), init)).toBe(401);
    expect(await endOf("s1")).toBe(NOW + IDLE);
  });

  it("never beyond what a session lasts at most", async () => {
    const init = await aSession("s1", NOW + SESSION - 5 * DAY);
    at(NOW + SESSION - 6 * DAY);
    await use(startGateway(), init);
    expect(await endOf("s1")).toBe(NOW + SESSION);
    const head = await headOfFeed();
    at(NOW + SESSION - 60);
    expect(await use(startGateway(), init)).toBe(200);
    expect([await endOf("s1"), await headOfFeed()]).toEqual([NOW + SESSION, head]);
    at(NOW + SESSION);
    expect(await use(startGateway(), init)).toBe(401);
  });

  it.each([
    ["ended", "UPDATE sessions SET status = 'deleted'"],
    ["disabled", "UPDATE sessions SET status = 'disabled'"],
    ["cut short", `UPDATE sessions SET expires_at_seconds = ${NOW}`],
  ])("is not brought back when it is %s while a request is under way", async (_name, change) => {
    const init = await aSession("s1", NOW + 60);
    const gateway = startGateway({
      origin: async () => {
        await run(change);
        return new Response();
      },
    });
    expect(await use(gateway, init)).toBe(200);
    expect(await endOf("s1")).toBeLessThanOrEqual(NOW + 60);
    expect(await lastUsed("sessions", "s1")).toBeNull();
  });

  it("is left as it is where nobody signs in to the realm", async () => {
    const init = await aSession("s1", NOW + 60);
    await use(startGateway({ vars: { GATEWAY: { ...GATEWAY, realms: {} } } }), init);
    expect([await endOf("s1"), await lastUsed("sessions", "s1")]).toEqual([NOW + 60, NOW]);
  });
});
