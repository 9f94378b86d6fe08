// Several isolates over the real records code, one database, one stale KV, and everything that goes wrong between them.
// After each answer an oracle asks: was this ever true within the bound? At the end: is everything seen as it is?
import type { DatabaseSync } from "node:sqlite";
import type { createRecords, Entry } from "../../src/records/records.ts";
import type { Bearer, Demand, Knowledge, Lookup, Records } from "../../src/records/types.ts";
import type { createPrimary } from "../../src/store/primary.ts";
import type { createWrites } from "../../src/store/writes.ts";
import { createSqliteD1, openMigrated } from "../support/node/sqlite-d1.ts";
import { createWorld, type World } from "./world.ts";

/** The code under test: as it stands, or with one rule taken out. */
export interface Code {
  readonly createRecords: typeof createRecords;
  readonly createPrimary: typeof createPrimary;
  readonly createWrites: typeof createWrites;
}

/**
 * - `calm`: D1 is quick and whole, so that no request may be refused.
 * - `rough`: D1 and KV are slow, hang and fail; answers overtake each other.
 * - `unannounced`: a restored database whose epoch nobody has renewed yet; no KV.
 */
export type Weather = "calm" | "rough" | "unannounced";

export interface Outcome {
  readonly answered: number;
  readonly unavailable: number;
  /** What must not have happened; empty when the code holds. */
  readonly violations: readonly string[];
}

const GATEWAY_FRESHNESS_SECONDS = 30;
const REALM = "llm";
const RUN_MS = 240_000;

/** The longest a request may take: two reads of D1 and one of KV, each cut off after 2 s, and a denial look-up. */
const LONGEST_REQUEST_MS = 8_100;

interface Target {
  readonly name: string;
  readonly lookup: Lookup;
  readonly bearer: Bearer | null;
}

const TOKENS = [
  { tokenId: "j1", issuedAtSeconds: 1_000 },
  { tokenId: "j2", issuedAtSeconds: 2_000 },
  { tokenId: "j3", issuedAtSeconds: 3_000 },
] as const;

const TARGETS: readonly Target[] = [
  ...["a", "b", "c"].map((id) => ({
    name: `key ${id}`,
    lookup: { by: "digest", kind: "api_key", realm: REALM, digests: [`${id}-new`, `${id}-old`] } as const,
    bearer: null,
  })),
  { name: "session", lookup: { by: "session", realm: REALM, id: "s1" }, bearer: null },
  {
    name: "jwt of a user",
    lookup: { by: "user", realm: REALM, id: "u1" },
    bearer: { realm: REALM, userId: "u1", tokenId: null, sessionId: "s2", issuedAtSeconds: 2_000 },
  },
  ...TOKENS.map((token) => ({
    name: `jwt ${token.tokenId}`,
    lookup: { by: "none" } as const,
    bearer: { realm: REALM, userId: "u3", sessionId: null, ...token },
  })),
];

export async function simulate(seed: number, weather: Weather, code: Code): Promise<Outcome> {
  const world = createWorld(seed);
  const startMs = world.now();
  const nowSeconds = () => Math.floor(world.now() / 1_000);
  const sqlite = openMigrated();
  const writes = code.createWrites(createSqliteD1(sqlite, async (run) => run()));
  const violations: string[] = [];
  const note = (text: string) =>
    violations.push(`${((world.now() - startMs) / 1_000).toFixed(3)} s: ${text}`);
  let faults = weather === "rough";
  let answered = 0;
  let unavailable = 0;

  // ---- the truth, as it was at every moment

  const history = new Map<string, { readonly fromMs: number; readonly truth: string }[]>();

  function recordTruth(): void {
    for (const target of TARGETS) {
      const truth = truthOf(sqlite, target);
      const past = history.get(target.name) ?? [];
      if (past.at(-1)?.truth !== truth) past.push({ fromMs: world.now(), truth });
      history.set(target.name, past);
    }
  }

  function wasTrueSince(target: Target, observed: string, fromMs: number, isInclusive: boolean): boolean {
    const past = history.get(target.name) ?? [];
    return past.some(({ truth }, i) => {
      const endedMs = past[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
      return truth === observed && (endedMs > fromMs || (isInclusive && endedMs === fromMs));
    });
  }

  // ---- D1 and KV as an isolate meets them

  /** Slow on one side only: the snapshot is then either much newer than the request or much older than its answer. */
  const carryRead = async <T>(run: () => T): Promise<T> => {
    if (faults && world.chance(0.04)) return new Promise<never>(() => {}); // hangs
    const isLate = faults && world.chance(0.15);
    await world.sleep(isLate ? world.between(200, 2_200) : world.between(1, 60));
    if (faults && world.chance(0.04)) throw new Error("D1 is down");
    const result = run();
    await world.sleep(
      faults && !isLate && world.chance(0.2) ? world.between(200, 2_200) : world.between(1, 60),
    );
    return result;
  };

  const kvPast = new Map<string, { readonly atMs: number; readonly text: string }[]>();
  const kvTier = {
    async get(epoch: string, key: string): Promise<Entry | null> {
      if (faults && world.chance(0.03)) return new Promise<never>(() => {});
      await world.sleep(faults && world.chance(0.4) ? world.between(500, 2_200) : world.between(1, 30));
      if (faults && world.chance(0.05)) throw new Error("KV is down");
      const past = kvPast.get(`${epoch}/${key}`) ?? [];
      const seen = past.filter(({ atMs }) => atMs <= world.now() - world.pick([0, 0, 20_000, 90_000]));
      const text = seen.at(-1)?.text;
      return text === undefined ? null : JSON.parse(text);
    },
    async put(key: string, entry: Entry): Promise<void> {
      const name = `${entry.stamp.epoch}/${key}`;
      await world.sleep(world.between(1, 50));
      kvPast.set(name, [...(kvPast.get(name) ?? []), { atMs: world.now(), text: JSON.stringify(entry) }]);
    },
  };

  // ---- isolates

  function startIsolate(): Records {
    const skewMs = world.between(-20_000, 20_000);
    const nowMs = () => world.now() + skewMs;
    return code.createRecords({
      primary: code.createPrimary(createSqliteD1(sqlite, carryRead)),
      kv: weather === "unannounced" ? null : kvTier,
      nowMs,
      cutOff: (work, deadlineMs) =>
        Promise.race([work, world.sleep(deadlineMs).then(() => Promise.reject(new Error("too slow")))]),
      afterForwarding: () => world.sleep(0),
      random: world.random,
      freshnessSeconds: GATEWAY_FRESHNESS_SECONDS,
      shortestFreshnessSeconds: 5,
    });
  }

  const isolates = [startIsolate(), startIsolate(), startIsolate(), startIsolate()];
  /** Now and then the request that carries background work is gone, and its work with it. */
  const background = (work: Promise<unknown>) => void work.catch(() => {});

  async function ask(isolate: number, target: Target, freshnessSeconds: number): Promise<void> {
    const records = isolates[isolate];
    if (records === undefined) return;
    const askedMs = world.now();
    let isSettled = false;
    world.schedule(LONGEST_REQUEST_MS, () => {
      if (!isSettled) note(`${target.name} was left without an answer`);
    });
    const demand: Demand = { lookup: target.lookup, bearer: target.bearer, freshnessSeconds };
    const before = records.followed();
    try {
      const observed = describe(await records.know(demand, background), target);
      answered += 1;
      const bound = freshnessSeconds === 0 ? askedMs : world.now() - freshnessSeconds * 1_000;
      if (!wasTrueSince(target, observed, bound, freshnessSeconds === 0)) {
        note(
          `${target.name} on isolate ${isolate} was seen as ${observed}: not true within ${freshnessSeconds} s`,
        );
      }
    } catch {
      unavailable += 1;
      if (weather === "calm") note(`${target.name} was refused although D1 was well`);
    } finally {
      const after = records.followed();
      if (before !== null && after !== null && before.epoch === after.epoch && weather !== "unannounced") {
        if (after.head < before.head)
          note(`isolate ${isolate} fell back from ${before.head} to ${after.head}`);
        if (after.asOfMs < before.asOfMs) note(`isolate ${isolate} knows less than it did`);
      }
      isSettled = true;
    }
  }

  // ---- what operators do

  await seedRows(writes, nowSeconds());
  recordTruth();

  async function change(): Promise<void> {
    const at = nowSeconds();
    const keyId = world.pick(["a", "b", "c"]);
    const userId = world.pick(["u1", "u1", "u2"]);
    const realm = REALM;
    const issuedBeforeSeconds = world.pick([500, 999, 1_000, 1_500, 2_000]);
    await world.pick<() => Promise<unknown>>([
      () => createKey(writes, keyId, at).catch(() => {}), // it exists already
      () => writes.updateCredential(keyId, { status: world.pick(["active", "disabled", "deleted"]) }, at),
      () => writes.updateCredential(keyId, { scopes: world.pick([[], ["read"], ["read", "write"]]) }, at),
      () => writes.updateUser(realm, userId, { status: world.pick(["active", "active", "disabled"]) }, at),
      () => writes.updateUser(realm, userId, { role: world.pick(["user", "admin"]) }, at),
      () => writes.updateSession("s1", { status: world.pick(["active", "disabled"]) }, at),
      async () => changeRealm(sqlite, world.pick(["user", "admin"]), at),
      () => writes.revoke({ realm, kind: "token", value: world.pick(TOKENS).tokenId }, at),
      () => writes.revoke({ realm, kind: "session", value: world.pick(["s1", "s2"]) }, at),
      () => writes.revoke({ realm, kind: "subject", value: "u3", issuedBeforeSeconds }, at),
      () => writes.revoke({ realm, kind: "realm", value: "", issuedBeforeSeconds }, at),
    ])();
    recordTruth();
  }

  async function burst(): Promise<void> {
    for (let i = world.between(3, 12); i > 0; i -= 1) await change();
  }

  const prune = () => writes.pruneChanges(nowSeconds() - world.pick([0, 5, 60]), world.between(1, 8));

  let backup: Backup | null = null;
  async function restore(): Promise<void> {
    if (backup === null) return;
    putBack(sqlite, backup);
    if (weather !== "unannounced") await writes.renewEpoch();
    recordTruth();
  }

  // ---- the plot

  function every(lowMs: number, highMs: number, act: () => unknown): void {
    const again = () => {
      if (world.now() - startMs > RUN_MS) return;
      act();
      world.schedule(world.between(lowMs, highMs), again);
    };
    world.schedule(world.between(0, highMs), again);
  }

  const freshnesses = weather === "rough" ? [0, 1, 1, 1, 5, 30] : [0, 5, 30];

  /** One who comes back after a while and wants everything: what slept meanwhile must not be taken for the present. */
  function visit(isolate: number): void {
    const freshness = world.pick(freshnesses.slice(1));
    let delayMs = 0;
    for (const target of TARGETS) {
      world.schedule(delayMs, () => void ask(isolate, target, freshness));
      delayMs += world.between(20, 700);
    }
  }

  every(1, 700, () => {
    const target = world.pick(TARGETS);
    const freshness = world.pick(freshnesses);
    void ask(0, target, freshness);
    if (world.chance(0.3)) world.schedule(world.between(0, 40), () => void ask(0, target, freshness));
  });
  every(2_000, 9_000, () => {
    isolates[1] = startIsolate();
    visit(1);
  });
  every(1, 300, () => world.chance(0.2) && void ask(1, world.pick(TARGETS), world.pick(freshnesses)));
  every(6_000, 60_000, () => visit(2));
  every(3_000, 9_000, () => visit(3));
  if (weather === "unannounced") {
    // One restore to an earlier state, then nothing is written: only the feed's head tells.
    for (let atMs = 500; atMs < 20_000; atMs += 1_500) world.schedule(atMs, () => void change());
    world.schedule(8_000, () => {
      backup = takeBackup(sqlite);
    });
    world.schedule(25_000, () => void restore());
  } else {
    every(200, 4_000, () => void change());
    every(30_000, 90_000, () => void burst());
    every(3_000, 30_000, () => void prune());
    every(10_000, 50_000, () => {
      backup = takeBackup(sqlite);
    });
    every(30_000, 70_000, () => {
      // While answers of the database as it was are still on their way.
      visit(1);
      visit(3);
      world.schedule(world.between(0, 2_000), () => void restore());
    });
  }
  await world.run(startMs + RUN_MS + LONGEST_REQUEST_MS);

  // ---- the calm after it: everything is seen as it is, by everyone
  faults = false;
  const calmMs = world.now();
  world.schedule((GATEWAY_FRESHNESS_SECONDS + 1) * 1_000, () => {
    for (const isolate of isolates.keys()) {
      for (const target of TARGETS) {
        world.schedule(world.between(0, 5_000), async () => {
          const before = unavailable;
          await ask(isolate, target, 5);
          if (unavailable > before) note(`${target.name} stays refused on isolate ${isolate}`);
        });
      }
    }
  });
  await world.run(calmMs + 60_000);
  sqlite.close();
  return { answered, unavailable, violations };
}

/** The parts of what is known that decide. */
function describe({ credential, user, isRevoked }: Knowledge, target: Target): string {
  const owner = user === null ? "-" : `${user.role},${user.status}`;
  if (target.lookup.by === "none" || target.lookup.by === "user") return `${owner} ${isRevoked}`;
  if (credential === null) return "-";
  return `${credential.status},${credential.scopes.join("+")} ${owner} ${isRevoked}`;
}

/** The same, straight from the tables. */
function truthOf(sqlite: DatabaseSync, { lookup, bearer }: Target): string {
  const get = (query: string, ...values: (string | number | null)[]) =>
    sqlite.prepare(query).get(...values) as Record<string, string> | undefined;
  const owner = (id: string | undefined) => {
    const row = get("SELECT role, status FROM users WHERE realm = ? AND id = ?", REALM, id ?? "");
    return row === undefined ? "-" : `${row.role},${row.status}`;
  };
  const isDenied = (named: Bearer) =>
    get(
      `SELECT 1 AS yes FROM revocations WHERE realm = ? AND (issued_before_seconds IS NULL OR issued_before_seconds >= ?)
       AND (kind = 'realm' OR (kind = 'subject' AND value = ?) OR (kind = 'token' AND value = ?)
         OR (kind = 'session' AND value = ?))`,
      REALM,
      named.issuedAtSeconds,
      named.userId,
      named.tokenId,
      named.sessionId,
    ) !== undefined;

  if (lookup.by === "none") return `- ${bearer !== null && isDenied(bearer)}`;
  if (lookup.by === "user") return `${owner(lookup.id)} ${bearer !== null && isDenied(bearer)}`;
  const row =
    lookup.by === "session"
      ? get("SELECT * FROM sessions WHERE id = ?", lookup.id)
      : get("SELECT * FROM credentials WHERE digest = ?", lookup.digests[0] ?? "");
  if (row === undefined) return "-";
  const holder = {
    realm: REALM,
    userId: String(row.user_id),
    tokenId: null,
    sessionId: lookup.by === "session" ? lookup.id : null,
    issuedAtSeconds: Number(row.created_at_seconds),
  };
  const scopes = (JSON.parse(String(row.scopes)) as string[]).join("+");
  return `${row.status},${scopes} ${owner(row.user_id)} ${isDenied(holder)}`;
}

type Writes = ReturnType<typeof createWrites>;

async function seedRows(writes: Writes, atSeconds: number): Promise<void> {
  for (const id of ["u1", "u2"]) {
    await writes.createUser({ realm: REALM, id, createdAtSeconds: atSeconds, updatedAtSeconds: atSeconds });
  }
  await createKey(writes, "a", atSeconds);
  await writes.createSession({
    id: "s1",
    realm: REALM,
    userId: "u1",
    digest: "s",
    pepper: "p",
    createdAtSeconds: 1_000,
    expiresAtSeconds: atSeconds + 86_400,
  });
}

const createKey = (writes: Writes, id: string, atSeconds: number) =>
  writes.createCredential({
    id,
    kind: "api_key",
    realm: REALM,
    userId: id === "b" ? "u2" : "u1",
    digest: `${id}-new`,
    pepper: "p",
    createdAtSeconds: atSeconds,
  });

/** A change of every user of a realm, announced by one row that names the realm. */
function changeRealm(sqlite: DatabaseSync, role: string, atSeconds: number): void {
  sqlite.exec("BEGIN");
  sqlite.prepare("UPDATE users SET role = ? WHERE realm = ?").run(role, REALM);
  sqlite
    .prepare("INSERT INTO changes (at_seconds, subjects, what) VALUES (?, ?, 'realm.updated')")
    .run(atSeconds, JSON.stringify([`realm:${REALM}`]));
  sqlite.exec("COMMIT");
}

type Backup = ReadonlyMap<string, readonly Record<string, unknown>[]>;
const TABLES = [
  "users",
  "credentials",
  "sessions",
  "changes",
  "revocations",
  "meta",
  "sqlite_sequence",
] as const;

const takeBackup = (sqlite: DatabaseSync): Backup =>
  new Map(TABLES.map((table) => [table, sqlite.prepare(`SELECT * FROM ${table}`).all()]));

/** What a Time Travel restore does: everything is as it was, the feed's counter included. */
function putBack(sqlite: DatabaseSync, backup: Backup): void {
  sqlite.exec("PRAGMA foreign_keys = OFF; BEGIN");
  for (const table of TABLES) sqlite.exec(`DELETE FROM ${table}`);
  for (const [table, rows] of backup) {
    for (const row of rows) {
      const columns = Object.keys(row);
      sqlite
        .prepare(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`)
        .run(...(Object.values(row) as (string | number | null)[]));
    }
  }
  sqlite.exec("COMMIT; PRAGMA foreign_keys = ON");
}

export type { World };
