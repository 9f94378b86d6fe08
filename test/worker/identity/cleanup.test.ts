// The cron, by the Worker's own handler: what it removes and to the second what it does not, and what it tells of it.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  CLOSE_FAILURES_SECONDS,
  createCleanup,
  KEEP_CHANGES_SECONDS,
  KEEP_ENDED_SECONDS,
  KEEP_THROTTLES_SECONDS,
  MARGIN_SECONDS,
} from "../../../src/store/cleanup.ts";
import {
  addApiKey,
  addUser,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  SITE,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const NOW = 1_800_000_000;
const LIMIT_SECONDS = 7_200;
const cleanup = createCleanup(DB, LIMIT_SECONDS);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW * 1_000 });
  await emptyStores();
  await addUser("7");
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const run = (query: string, ...values: unknown[]) =>
  DB.prepare(query)
    .bind(...values)
    .run();
const count = async (table: string) =>
  Number(await DB.prepare(`SELECT COUNT(*) AS n FROM ${table}`).first("n"));
const all = async (table: string, columns = "*") =>
  (await DB.prepare(`SELECT ${columns} FROM ${table}`).all()).results;

async function forgetChanges(): Promise<void> {
  await run("DELETE FROM changes");
  await run("DELETE FROM sqlite_sequence WHERE name = 'changes'");
}

/** How a row of the table is made that ends, began, or was used last at that time. */
const ROWS: Readonly<Record<string, (id: string, atSeconds: number) => Promise<unknown>>> = {
  sessions: (id, at) =>
    run(
      `INSERT INTO sessions (id, realm, user_id, digest, pepper, created_at_seconds, expires_at_seconds)
       VALUES (?1, 'main', '7', '', 'p1', 1, ?2)`,
      id,
      at,
    ),
  credentials: (id, at) =>
    run(
      `INSERT INTO credentials (id, kind, realm, user_id, digest, pepper, created_at_seconds, expires_at_seconds)
       VALUES (?1, 'api_key', 'main', '7', ?1, 'p1', 1, ?2)`,
      id,
      at,
    ),
  revocations: (id, at) =>
    run(
      "INSERT INTO revocations (realm, kind, value, expires_at_seconds, seq) VALUES ('main', 'token', ?1, ?2, 1)",
      id,
      at,
    ),
  changes: (_id, at) => run("INSERT INTO changes (at_seconds, subjects, what) VALUES (?1, '[]', 'test')", at),
  rate_windows: (id, at) =>
    run("INSERT INTO rate_windows (key, started_at_seconds, count) VALUES (?1, ?2, 1)", id, at),
  throttles: (id, at) =>
    run(
      "INSERT INTO throttles (key, attempts, next_at_seconds, updated_at_seconds) VALUES (?1, 1, ?2, ?2)",
      id,
      at,
    ),
  sign_in_failures: (id, at) =>
    run(
      "INSERT INTO sign_in_failures (window_at_seconds, realm, account, address, count) VALUES (?2, 'main', ?1, '', 2)",
      id,
      at,
    ),
};

/** How old a row of the table has to be to go. */
const AGES: readonly (readonly [table: string, ageSeconds: number])[] = [
  ["sessions", KEEP_ENDED_SECONDS],
  ["credentials", KEEP_ENDED_SECONDS],
  ["revocations", MARGIN_SECONDS],
  ["changes", KEEP_CHANGES_SECONDS + 1], // written before then
  ["rate_windows", LIMIT_SECONDS + MARGIN_SECONDS],
  ["throttles", KEEP_THROTTLES_SECONDS],
  ["sign_in_failures", CLOSE_FAILURES_SECONDS],
];

describe.each(AGES)("%s", (table, ageSeconds) => {
  const add = ROWS[table] ?? (() => Promise.reject(new Error("no such table")));
  beforeEach(forgetChanges);

  it("stay until then, and go at that very second", async () => {
    await add("a", NOW);
    expect((await cleanup.sweep(NOW + ageSeconds - 1, 10))[table]).toBe(0);
    expect(await count(table)).toBe(1);
    expect((await cleanup.sweep(NOW + ageSeconds, 10))[table]).toBe(1);
    expect(await count(table)).toBe(0);
  });

  it("go in batches no larger than asked, and what is too young stays among them", async () => {
    for (let i = 0; i < 5; i += 1) await add(`old${i}`, NOW + i);
    await add("young", NOW + ageSeconds);
    const removed: (number | undefined)[] = [];
    for (let i = 0; i < 4; i += 1) removed.push((await cleanup.sweep(NOW + ageSeconds + 10, 2))[table]);
    expect(removed).toEqual([2, 2, 1, 0]);
    expect(await count(table)).toBe(1);
  });
});

describe("what is in force is never removed", () => {
  const FAR = NOW + 100 * KEEP_ENDED_SECONDS;

  it("keys without an end, denials that stand for good, users and their tombstones, however old", async () => {
    await addApiKey("k1");
    await writes.revoke({ realm: "main", kind: "subject", value: "9" }, NOW);
    await addUser("8");
    await writes.deleteUser("main", "8", NOW, NOW + 60);
    await cleanup.sweep(FAR, 100);
    expect(await all("users", "id, status")).toEqual([
      { id: "7", status: "active" },
      { id: "8", status: "deleted" },
    ]);
    expect(await all("credentials", "id")).toEqual([{ id: "k1" }]);
    expect(await all("revocations", "value")).toEqual([{ value: "9" }]);
  });

  it("a throttle whose next attempt lies in the future", async () => {
    await run(
      "INSERT INTO throttles (key, attempts, next_at_seconds, updated_at_seconds) VALUES ('a', 9, ?1, 1)",
      NOW + 1,
    );
    expect((await cleanup.sweep(NOW, 10)).throttles).toBe(0);
  });

  it("the feed stays whole: the floor says what is gone, and the head does not fall back", async () => {
    await forgetChanges();
    for (const at of [NOW, NOW + 1, NOW + 2]) await ROWS.changes?.("", at);
    const head = () =>
      DB.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").first<number>("seq");
    const before = await head();
    await cleanup.sweep(NOW + KEEP_CHANGES_SECONDS + 2, 10);
    expect(await all("changes", "seq")).toEqual([{ seq: before }]);
    expect(await all("meta WHERE key = 'floor'", "value")).toEqual([{ value: String(Number(before) - 1) }]);
    expect(await head()).toBe(before);
  });
});

describe("a tombstone", () => {
  it.each([
    ["of a key that was deleted", () => writes.updateCredential("k1", { status: "deleted" }, NOW)],
    ["of a key whose owner was deleted", () => writes.deleteUser("main", "7", NOW, NOW + 60)],
  ] as const)("%s goes 30 days later, though the key had no end", async (_name, remove) => {
    await addApiKey("k1");
    await remove();
    await cleanup.sweep(NOW + KEEP_ENDED_SECONDS - 1, 10);
    expect(await all("credentials", "status")).toEqual([{ status: "deleted" }]);
    await cleanup.sweep(NOW + KEEP_ENDED_SECONDS, 10);
    expect(await count("credentials")).toBe(0);
  });

  it("of a key that had run out before keeps that end", async () => {
    await addApiKey("k1", { expiresAtSeconds: NOW - 5 });
    await writes.updateCredential("k1", { status: "deleted" }, NOW);
    expect(await all("credentials", "expires_at_seconds")).toEqual([{ expires_at_seconds: NOW - 5 }]);
  });

  it("that is gone is refused by an isolate that remembers the key, and by one that never met it", async () => {
    const key = await addApiKey("k1", { expiresAtSeconds: NOW + 60 });
    const gateway = startGateway();
    const status = async () => (await gateway.fetch("/private/x", bearer(key))).status;
    expect(await status()).toBe(200);
    await gateway.settle();
    await cleanup.sweep(NOW + 60 + KEEP_ENDED_SECONDS, 10);
    expect(await count("credentials")).toBe(0);
    vi.setSystemTime((NOW + 60) * 1_000);
    expect(await status()).toBe(401);
    expect((await startGateway().fetch("/private/x", bearer(key))).status).toBe(401);
  });
});

describe("failed sign-ins", () => {
  const fail = (account: string, address: string, failures: number, windowAt = NOW) =>
    run(
      "INSERT INTO sign_in_failures (window_at_seconds, realm, account, address, count) VALUES (?1, 'main', ?2, ?3, ?4)",
      windowAt,
      account,
      address,
      failures,
    );
  const later = NOW + CLOSE_FAILURES_SECONDS;

  it("of a window that is over become one entry: how many there were beside the first", async () => {
    await fail("7", "203.0.113.7", 5);
    await fail("?abc", "", 2);
    await fail("8", "203.0.113.7", 1); // the first one is in the log since it happened
    await fail("7", "203.0.113.7", 9, NOW + 600); // is not over
    await cleanup.sweep(later, 100);
    const entries = await all(
      "audit",
      "seq, at_seconds, action, actor_kind, target_kind, target_realm, target_id, address, details",
    );
    const same = {
      at_seconds: later,
      action: "sign_in.failed",
      actor_kind: "anonymous",
      target_kind: "user",
      target_realm: "main",
    };
    expect(entries).toEqual([
      { seq: 1, ...same, target_id: "7", address: "203.0.113.7", details: `{"count":4,"window_at":${NOW}}` },
      { seq: 2, ...same, target_id: "?abc", address: null, details: `{"count":1,"window_at":${NOW}}` },
    ]);
    expect(await all("sign_in_failures", "count")).toEqual([{ count: 9 }]);
  });

  it("are neither lost nor told twice, by many sweeps at once and in small batches", async () => {
    for (let i = 0; i < 20; i += 1) await fail(`user${i}`, "", i + 1);
    await Promise.all(Array.from({ length: 5 }, () => cleanup.sweep(later, 3)));
    while ((await cleanup.sweep(later, 3)).sign_in_failures !== 0);
    const told = await DB.prepare(
      "SELECT COUNT(*) AS entries, SUM(json_extract(details, '$.count')) AS failures FROM audit",
    ).first();
    expect(told).toEqual({ entries: 19, failures: 190 });
    expect(await count("sign_in_failures")).toBe(0);
  });
});

describe("the cron", () => {
  function watchLog(): Record<string, unknown>[] {
    const lines: Record<string, unknown>[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(JSON.parse(line)));
    return lines;
  }
  const expired = NOW - KEEP_ENDED_SECONDS;

  it("removes, seals, and says so in one line whose hash is that of the newest block", async () => {
    const lines = watchLog();
    await ROWS.sessions?.("s1", expired);
    await run("INSERT INTO sign_in_failures VALUES (?1, 'main', '7', '', 3)", NOW - CLOSE_FAILURES_SECONDS);
    await startGateway().cron();
    const block = await DB.prepare("SELECT number, hash FROM audit_blocks").first();
    expect(lines).toEqual([
      {
        level: "info",
        outcome: "cron",
        removed: {
          sessions: 1,
          credentials: 0,
          revocations: 0,
          changes: 0,
          rate_windows: 0,
          throttles: 0,
          sign_in_failures: 1,
        },
        auditRows: 1,
        auditBlock: block?.number,
        auditHash: block?.hash,
        reason: null,
        cause: null,
      },
    ]);
  });

  it("goes on while there is something left, up to a bound, and the next run goes on from there", async () => {
    const lines = watchLog();
    await run(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10300)
       INSERT INTO throttles (key, attempts, next_at_seconds, updated_at_seconds) SELECT 'k' || i, 1, 1, 1 FROM n`,
    );
    const gateway = startGateway();
    await gateway.cron();
    expect(await count("throttles")).toBe(300);
    await gateway.cron();
    expect(await count("throttles")).toBe(0);
    expect(lines.map(({ removed }) => (removed as { throttles: number }).throttles)).toEqual([10_000, 300]);
  });

  it("two at once do everything once", async () => {
    watchLog();
    for (let i = 0; i < 30; i += 1) await ROWS.sign_in_failures?.(`u${i}`, NOW - CLOSE_FAILURES_SECONDS);
    await Promise.all([startGateway().cron(), startGateway().cron()]);
    expect([await count("sign_in_failures"), await count("audit")]).toEqual([0, 30]);
  });

  it("keeps counters of an exact limit for as long as the longest window of the configuration", async () => {
    watchLog();
    const limit = { exact: true, requests: 1, per_seconds: 86_400, by: "address" };
    const routes = [{ path: "/*", auth: "none", limit }];
    const started = NOW - 86_400 - MARGIN_SECONDS;
    await ROWS.rate_windows?.("young", started + 1);
    await ROWS.rate_windows?.("old", started);
    await startGateway({ vars: { SITE_TEST: { ...SITE, routes } } }).cron();
    expect(await all("rate_windows", "key")).toEqual([{ key: "young" }]);
  });

  it("that fails is logged, and shown as failed by the platform", async () => {
    const lines = watchLog();
    const gateway = startGateway();
    gateway.faults.d1 = "failing";
    await expect(gateway.cron()).rejects.toThrow("d1 is down");
    expect(lines).toMatchObject([
      { level: "error", outcome: "cron", cause: expect.stringContaining("d1 is down") },
    ]);
  });

  it("seals even where clean-up fails", async () => {
    const lines = watchLog();
    await run(
      "INSERT INTO audit (at_seconds, action, actor_kind, target_kind, target_realm, target_id) VALUES (1, 'user.updated', 'system', 'user', 'main', '7')",
    );
    await run("ALTER TABLE throttles RENAME TO throttles_away");
    try {
      await expect(startGateway().cron()).rejects.toThrow("throttles");
    } finally {
      await run("ALTER TABLE throttles_away RENAME TO throttles");
    }
    expect(lines).toMatchObject([{ level: "error", auditRows: 1, auditBlock: 1 }]);
  });

  it("with a configuration that is not valid says what is wrong, and fails", async () => {
    const lines = watchLog();
    const gateway = startGateway({ vars: { GATEWAY: { ...GATEWAY, nonsense: true } } });
    await expect(gateway.cron()).rejects.toMatchObject({ code: "config_invalid" });
    expect(lines).toMatchObject([
      { level: "error", outcome: "cron", reason: expect.stringContaining("nonsense") },
    ]);
  });
});
