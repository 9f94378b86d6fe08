// The audit log: what it says, and that nothing done to it afterwards goes unnoticed.
import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../../src/audit.ts";
import { MAX_BLOCK_ROWS } from "../../../src/store/audit-chain.ts";
import { createAuditLog } from "../../../src/store/audit-log.ts";
import { addUser, api, DB, emptyStores, startGateway, writes } from "../../support/worker/gateway.ts";

const pepper = (id: string) => ({ id, value: crypto.getRandomValues(new Uint8Array(32)) });
const OLD = pepper("p0");
const NEW = pepper("p1");
const log = createAuditLog(DB, [NEW, OLD]);
const NOW = 1_800_000_000;

const entry = (id: string, changes: Partial<AuditEntry> = {}): AuditEntry => ({
  atSeconds: NOW,
  actor: { kind: "user", realm: "gateway", id: "root", credentialId: "key_1" },
  action: "user.updated",
  target: { kind: "user", realm: "main", id },
  address: "203.0.113.7",
  requestId: "r1",
  details: { fields: ["role"] },
  ...changes,
});

/** Of the fields that a request to the origin has nothing to do with, one statement a row. */
async function addRows(count: number): Promise<void> {
  await DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
     INSERT INTO audit (at_seconds, action, actor_kind, target_kind, target_realm, target_id, details)
     SELECT ?2, 'user.updated', 'admin_token', 'user', 'main', 'u' || i, '{}' FROM n`,
  )
    .bind(count, NOW)
    .run();
}

const run = (query: string, ...values: unknown[]) =>
  DB.prepare(query)
    .bind(...values)
    .run();

beforeEach(emptyStores);

describe("numbers of rows have no gaps", () => {
  it("when a batch is rolled back its numbers are given again", async () => {
    await log.append(entry("1"));
    const insert = DB.prepare(
      `INSERT INTO audit (at_seconds, action, actor_kind, target_kind, target_realm, target_id)
       VALUES (1, 'user.updated', 'system', 'user', 'main', '2')`,
    );
    const failing = DB.prepare("INSERT INTO meta (key, value) VALUES ('epoch', 'taken')");
    await expect(DB.batch([insert, insert, failing])).rejects.toThrow(/UNIQUE/);
    await log.append(entry("3"));
    const { results } = await DB.prepare("SELECT seq FROM audit ORDER BY seq").all();
    expect(results).toEqual([{ seq: 1 }, { seq: 2 }]);
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, unsealed: 2 });
  });

  it("when writes that change nothing leave no entry", async () => {
    await addUser("7");
    const audited = writes.audited(entry("7"));
    expect(await audited.updateUser("main", "8", { role: "admin" }, NOW)).toBe(false);
    expect(await audited.updateUser("main", "7", { role: "admin" }, NOW)).toBe(true);
    await expect(
      audited.createUser({ realm: "main", id: "7", createdAtSeconds: 1, updatedAtSeconds: 1 }),
    ).rejects.toThrow();
    expect(await audited.updateUser("main", "7", { role: "user" }, NOW)).toBe(true);
    const { results } = await DB.prepare("SELECT seq FROM audit ORDER BY seq").all();
    expect(results).toEqual([{ seq: 1 }, { seq: 2 }]);
  });
});

describe("sealing", () => {
  it("covers every row once, in blocks of at most so many rows", async () => {
    await addRows(7);
    const made = [
      await log.seal(3, NOW),
      await log.seal(3, NOW),
      await log.seal(3, NOW),
      await log.seal(3, NOW),
    ];
    expect(made.map(({ rows, block }) => [rows, block])).toEqual([
      [3, 1],
      [3, 2],
      [1, 3],
      [0, null],
    ]);
    const { results } = await DB.prepare(
      "SELECT first_seq, last_seq FROM audit_blocks ORDER BY number",
    ).all();
    expect(results).toEqual([
      { first_seq: 1, last_seq: 3 },
      { first_seq: 4, last_seq: 6 },
      { first_seq: 7, last_seq: 7 },
    ]);
    const answer = {
      isIntact: true,
      rows: 7,
      blocks: 3,
      unsealed: 0,
      headHash: made[2]?.hash,
      nextBlock: null,
    };
    expect(await log.verify(1, 10)).toEqual(answer);
  });

  it("never makes a block that is longer than verifying reads at once", async () => {
    await addRows(MAX_BLOCK_ROWS + 1);
    expect(await log.seal(10 * MAX_BLOCK_ROWS, NOW)).toMatchObject({ rows: MAX_BLOCK_ROWS });
    expect(await log.seal(10 * MAX_BLOCK_ROWS, NOW)).toMatchObject({ rows: 1 });
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, rows: MAX_BLOCK_ROWS + 1 });
  });

  it("by many at once makes one chain, without forks and without holes", async () => {
    for (let round = 0; round < 5; round += 1) {
      await addRows(4);
      const made = await Promise.all(Array.from({ length: 8 }, () => log.seal(2, NOW)));
      expect(made.filter(({ block }) => block !== null).length).toBeGreaterThan(0);
      expect(await log.verify(1, 100)).toMatchObject({ isIntact: true });
    }
    while ((await log.seal(2, NOW)).block !== null);
    expect(await log.verify(1, 100)).toMatchObject({ isIntact: true, rows: 20, unsealed: 0 });
  });

  it("while rows are written leaves them to a later block", async () => {
    const writers = Array.from({ length: 30 }, (_, i) => log.append(entry(String(i))));
    const sealers = Array.from({ length: 6 }, () => log.seal(4, NOW));
    await Promise.all([...writers, ...sealers]);
    expect(await log.verify(1, 100)).toMatchObject({ isIntact: true });
    while ((await log.seal(4, NOW)).block !== null);
    expect(await log.verify(1, 100)).toMatchObject({ isIntact: true, rows: 30, unsealed: 0 });
  });

  it("loses to a seal that was made between its read and its write", async () => {
    await addRows(2);
    let isFirst = true;
    /** Another cron seals right after this one has read. */
    const overtaken = {
      prepare: (query: string) => DB.prepare(query),
      batch: async (statements: D1PreparedStatement[]) => {
        const answer = await DB.batch(statements);
        if (isFirst) {
          isFirst = false;
          await log.seal(1, NOW);
        }
        return answer;
      },
    } as unknown as D1Database;
    const loser = createAuditLog(overtaken, [NEW]);
    expect(await loser.seal(2, NOW)).toEqual({ rows: 0, block: null, hash: null });
    expect(await loser.seal(2, NOW)).toMatchObject({ rows: 1, block: 2 });
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, rows: 2, blocks: 2 });
  });

  it("goes on after a rotation of peppers, and needs the old one to verify", async () => {
    await addRows(1);
    await createAuditLog(DB, [OLD]).seal(1, NOW);
    await addRows(1);
    await log.seal(1, NOW);
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, rows: 2 });
    expect(await createAuditLog(DB, [NEW]).verify(1, 10)).toEqual({
      isIntact: false,
      problem: expect.stringContaining("block 1 cannot be verified"),
      atSeq: 1,
    });
    expect(await createAuditLog(DB, [pepper("p1"), OLD]).verify(1, 10)).toMatchObject({
      isIntact: false,
      atSeq: 2,
    });
  });

  it("fails where there is something to seal and nothing to seal it with", async () => {
    const bare = createAuditLog(DB, []);
    expect(await bare.seal(1, NOW)).toEqual({ rows: 0, block: null, hash: null });
    await addRows(1);
    await expect(bare.seal(1, NOW)).rejects.toThrow("POSTERN_PEPPERS");
  });
});

/** 9 rows in 3 blocks, 2 rows that no block covers. */
async function fill(): Promise<void> {
  for (let block = 0; block < 3; block += 1) {
    await addRows(3);
    await log.seal(3, NOW + block);
  }
  await addRows(2);
}

describe("whoever writes to D1 past the gateway is noticed", () => {
  const MOVE_ROWS = [
    `UPDATE audit SET seq = -seq WHERE seq >= 5`,
    `UPDATE audit SET seq = 1 - seq WHERE seq < 0`,
  ];
  it.each([
    ["a sealed row removed", ["DELETE FROM audit WHERE seq = 5"], 5],
    ["the very first row removed", ["DELETE FROM audit WHERE seq = 1"], 1],
    ["the last row of a block removed", ["DELETE FROM audit WHERE seq = 6"], 6],
    ["a row removed that was not sealed yet", ["DELETE FROM audit WHERE seq = 10"], 10],
    ["the newest row removed", ["DELETE FROM audit WHERE seq = 11"], 11],
    ["all unsealed rows removed", ["DELETE FROM audit WHERE seq > 9"], 10],
    ["the whole log removed", ["DELETE FROM audit", "DELETE FROM audit_blocks"], 1],
    ["an actor changed", ["UPDATE audit SET actor_kind = 'system' WHERE seq = 5"], 4],
    ["a time changed", ["UPDATE audit SET at_seconds = at_seconds + 1 WHERE seq = 5"], 4],
    ["details spelt in another way", ["UPDATE audit SET details = '{ }' WHERE seq = 5"], 4],
    ["an absent address made an empty one", ["UPDATE audit SET address = '' WHERE seq = 5"], 4],
    ["a row inserted and the others moved up", [...MOVE_ROWS, INSERT(5)], 4],
    ["a row inserted before the first", [INSERT(0)], 0],
    ["a row inserted far behind the last", [INSERT(20)], 12],
    [
      "two rows exchanged",
      [
        "UPDATE audit SET seq = 99 WHERE seq = 4",
        "UPDATE audit SET seq = 4 WHERE seq = 5",
        "UPDATE audit SET seq = 5 WHERE seq = 99",
      ],
      4,
    ],
    ["a row renumbered to the end", ["UPDATE audit SET seq = 12 WHERE seq = 5"], 5],
    ["the first block removed", ["DELETE FROM audit_blocks WHERE number = 1"], 1],
    ["a block in the middle removed", ["DELETE FROM audit_blocks WHERE number = 2"], 4],
    ["the newest block removed", ["DELETE FROM audit_blocks WHERE number = 3"], 7],
    ["every block removed", ["DELETE FROM audit_blocks"], 1],
    [
      "a block and its rows removed",
      ["DELETE FROM audit_blocks WHERE number = 3", "DELETE FROM audit WHERE seq > 6"],
      7,
    ],
    ["a block renumbered", ["UPDATE audit_blocks SET number = 4 WHERE number = 3"], 7],
    [
      "a block before the first",
      ["INSERT INTO audit_blocks SELECT 0, 0, 0, '', '', pepper, 0 FROM audit_blocks WHERE number = 1"],
      0,
    ],
    [
      "a block that was made up",
      ["INSERT INTO audit_blocks SELECT 4, 10, 11, hash, hash, pepper, 0 FROM audit_blocks WHERE number = 3"],
      10,
    ],
    ["a block made longer", ["UPDATE audit_blocks SET last_seq = 10 WHERE number = 3"], 7],
    ["a block sealed at another time", ["UPDATE audit_blocks SET sealed_at_seconds = 1 WHERE number = 2"], 4],
    [
      "a block that names another pepper of ours",
      ["UPDATE audit_blocks SET pepper = 'p0' WHERE number = 2"],
      4,
    ],
    [
      "a block with the hash of another",
      ["UPDATE audit_blocks SET hash = (SELECT hash FROM audit_blocks WHERE number = 1) WHERE number = 3"],
      7,
    ],
    ["the counter of rows set back", ["UPDATE sqlite_sequence SET seq = 5 WHERE name = 'audit'"], 6],
  ] as const)("%s", async (_name, statements, atSeq) => {
    await fill();
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, rows: 9, blocks: 3, unsealed: 2 });
    for (const statement of statements) await run(statement);
    expect(await log.verify(1, 10)).toEqual({ isIntact: false, problem: expect.any(String), atSeq });
    // Sealing what is left hides nothing.
    await log.seal(10, NOW);
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: false });
  });

  it("whatever is done to one row or block of whatever log", async () => {
    const columns = [
      "at_seconds",
      "action",
      "actor_realm",
      "actor_id",
      "actor_credential",
      "target_kind",
      "target_realm",
      "target_id",
      "address",
      "request_id",
      "details",
    ];
    const attacks = {
      remove: "DELETE FROM audit WHERE seq = ?1",
      alter: "", // per column
      renumber: "UPDATE audit SET seq = ?1 + 1000 WHERE seq = ?1",
      unblock: "DELETE FROM audit_blocks WHERE ?1 BETWEEN first_seq AND last_seq",
      reblock: "UPDATE audit_blocks SET hash = previous_hash WHERE ?1 BETWEEN first_seq AND last_seq",
    } as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.constantFrom(...(Object.keys(attacks) as (keyof typeof attacks)[])),
        fc.constantFrom(...columns),
        async (blocks, place, attack, column) => {
          await emptyStores();
          let rows = 0;
          for (const size of blocks) {
            await addRows(size);
            rows += size;
            await log.seal(size, NOW);
          }
          expect(await log.verify(1, 10)).toMatchObject({ isIntact: true, rows, unsealed: 0 });
          const seq = 1 + (place % rows);
          const value = column === "at_seconds" ? 7 : "forged";
          const { meta } =
            attack === "alter"
              ? await run(`UPDATE audit SET ${column} = ?2 WHERE seq = ?1`, seq, value)
              : await run(attacks[attack], seq);
          expect(meta.changes).toBe(1);
          const verification = await log.verify(1, 10);
          expect(verification.isIntact).toBe(false);
          const at = verification.isIntact ? -1 : verification.atSeq;
          // The row itself, or the beginning of its block.
          expect(at).toBeLessThanOrEqual(seq);
          expect(at).toBeGreaterThan(seq - 6);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);

  it("a block of another history of the same log, put where it would fit", async () => {
    await fill();
    await run("CREATE TABLE kept_rows AS SELECT * FROM audit WHERE seq BETWEEN 7 AND 9");
    await run("CREATE TABLE kept_block AS SELECT * FROM audit_blocks WHERE number = 3");
    // Back to the first block, as after a restore; then other things happen.
    await run("DELETE FROM audit_blocks WHERE number > 1");
    await run("DELETE FROM audit WHERE seq > 3");
    await run("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'");
    await run("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'audit_blocks'");
    await addRows(3);
    await log.seal(3, NOW + 9);
    await run("INSERT INTO audit SELECT * FROM kept_rows");
    await run("INSERT INTO audit_blocks SELECT * FROM kept_block");
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: false, atSeq: 7 });
    await run(
      "UPDATE audit_blocks SET previous_hash = (SELECT hash FROM audit_blocks WHERE number = 2) WHERE number = 3",
    );
    expect(await log.verify(1, 10)).toMatchObject({ isIntact: false, atSeq: 7 });
    await run("DROP TABLE kept_rows");
    await run("DROP TABLE kept_block");
  });

  it("but by comparing the head hash only, where rows, blocks and counters were all cut off", async () => {
    await fill();
    await log.seal(10, NOW);
    const kept = await log.verify(1, 10);
    await run("DELETE FROM audit_blocks WHERE number = 4");
    await run("DELETE FROM audit WHERE seq > 9");
    await run("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'audit'");
    await run("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit_blocks'");
    const cut = await log.verify(1, 10);
    expect(cut.isIntact).toBe(true);
    expect(cut.isIntact && kept.isIntact && cut.headHash !== kept.headHash).toBe(true);
  });
});

function INSERT(seq: number): string {
  return `INSERT INTO audit (seq, at_seconds, action, actor_kind, target_kind, target_realm, target_id, details)
    VALUES (${seq}, ${NOW}, 'user.updated', 'admin_token', 'user', 'main', 'u2', '{}')`;
}

describe("verifying in pages", () => {
  it("reads so many blocks at a time, and the pages together are the whole log", async () => {
    await fill();
    const first = await log.verify(1, 2);
    expect(first).toMatchObject({ isIntact: true, rows: 6, blocks: 2, nextBlock: 3 });
    expect(await log.verify(3, 2)).toMatchObject({ isIntact: true, rows: 3, blocks: 1, nextBlock: null });
    expect(await log.verify(4, 2)).toMatchObject({ isIntact: true, rows: 0, blocks: 0, nextBlock: null });
    expect(await log.verify(5, 2)).toMatchObject({ isIntact: false, problem: "block 4 is missing" });
  });

  it("finds what is wrong on the page where it is, and what is missing at the end on the last", async () => {
    await fill();
    await run("UPDATE audit SET target_id = 'x' WHERE seq = 8");
    await run("DELETE FROM audit WHERE seq = 11");
    expect(await log.verify(1, 2)).toMatchObject({ isIntact: true, nextBlock: 3 });
    expect(await log.verify(3, 2)).toMatchObject({ isIntact: false, atSeq: 7 });
    expect(await log.verify(4, 2)).toMatchObject({ isIntact: false, atSeq: 11 });
  });
});

describe("GET admin/audit", () => {
  const gateway = startGateway();
  type List = { items: { seq: number; [key: string]: unknown }[]; next_cursor: string | null };
  const list = async (query: string) => (await api(gateway, "GET", `admin/audit?${query}`)).body as List;
  const seqs = async (query: string) => (await list(query)).items.map(({ seq }) => seq);

  beforeEach(async () => {
    await log.append(entry("7"));
    await log.append(
      entry("8", {
        actor: { kind: "user", realm: "main", id: "7", credentialId: null },
        action: "credential.created",
        target: { kind: "api_key", realm: "main", id: "key_8" },
        atSeconds: NOW + 1,
      }),
    );
    await log.append(
      entry("7", {
        actor: { kind: "admin_token" },
        target: { kind: "user", realm: "other", id: "7" },
        atSeconds: NOW + 2,
      }),
    );
    await log.append(
      entry("", {
        actor: { kind: "anonymous" },
        action: "sign_in.failed",
        address: null,
        requestId: null,
        details: {},
        atSeconds: NOW + 3,
      }),
    );
  });

  it("shows all there is of an entry", async () => {
    expect((await list("target=key_8")).items).toEqual([
      {
        seq: 2,
        at: NOW + 1,
        actor: { kind: "user", realm: "main", id: "7", credential: null },
        action: "credential.created",
        target: { kind: "api_key", realm: "main", id: "key_8" },
        address: "203.0.113.7",
        request_id: "r1",
        details: { fields: ["role"] },
      },
    ]);
    const [newest] = (await list("limit=1")).items;
    const nobody = { realm: null, id: null, credential: null };
    expect(newest).toMatchObject({
      actor: { kind: "anonymous", ...nobody },
      address: null,
      request_id: null,
      details: {},
    });
  });

  it.each([
    ["", [4, 3, 2, 1]],
    ["realm=other", [3]],
    ["realm=gateway", [1]],
    ["user=7", [3, 2, 1]],
    ["realm=main&user=7", [2, 1]],
    ["realm=other&user=root", []],
    ["target=7", [3, 1]],
    ["action=sign_in.failed", [4]],
    [`since=${NOW + 2}`, [4, 3]],
    ["user=%25", []],
  ] as const)("filters: %s", async (query, expected) => {
    expect(await seqs(query)).toEqual(expected);
  });

  describe("of a user", () => {
    const owned = (kind: "api_key" | "pat" | "session", user: unknown, realm = "main") =>
      log.append(
        entry("", {
          actor: { kind: "admin_token" },
          action: "credential.updated",
          target: { kind, realm, id: `${kind}_1` },
          details: { user },
        }),
      );

    it("has what was done to their keys, PATs and sessions by others, and nothing of anybody else", async () => {
      for (const kind of ["api_key", "pat", "session"] as const) await owned(kind, "ben");
      await owned("api_key", "bend");
      await owned("api_key", "ben", "other");
      await owned("api_key", ["ben"]);
      // Of what a user is not the owner, however it is said.
      await log.append(entry("x", { details: { user: "ben" } }));
      await log.append(
        entry("x", { target: { kind: "token", realm: "main", id: "j" }, details: { user: "ben" } }),
      );
      expect(await seqs("realm=main&user=ben")).toEqual([7, 6, 5]);
      expect(await seqs("user=ben")).toEqual([9, 7, 6, 5]);
      expect(await seqs("realm=other&user=ben")).toEqual([9]);
    });

    it("stands among rows whose details somebody spoilt", async () => {
      await owned("api_key", "ben");
      await run("UPDATE audit SET details = '{' WHERE seq < 5");
      await run("UPDATE audit SET target_kind = 'pat' WHERE seq < 5");
      expect(await seqs("realm=main&user=ben")).toEqual([5]);
    });

    it("has everything that an administrator does to a key, in its order", async () => {
      await addUser("ben");
      const keys = "admin/realms/main/keys";
      const { body } = await api(gateway, "POST", keys, { user: "ben" });
      const { id } = body as { id: string };
      await api(gateway, "PATCH", `${keys}/${id}`, { status: "disabled" });
      await api(gateway, "PATCH", `${keys}/${id}`, { status: "active" });
      const next = (await api(gateway, "POST", `${keys}/${id}/rotate`, {})).body as { id: string };
      await api(gateway, "DELETE", `${keys}/${id}`);
      await api(gateway, "POST", "admin/realms/main/revocations", { kind: "key", id: next.id });
      const { items } = await list("realm=main&user=ben");
      expect(items.map(({ action }) => action)).toEqual([
        ...["credential.deleted", "credential.deleted", "credential.rotated"],
        ...["credential.updated", "credential.updated", "credential.created"],
      ]);
    });

    it("is found through indexes, however long the log is", async () => {
      const statements: string[] = [];
      const watching = {
        prepare: (text: string) => {
          statements.push(text);
          return DB.prepare(text);
        },
        batch: (all: D1PreparedStatement[]) => DB.batch(all),
      } as unknown as D1Database;
      const filter = { userId: "ben", targetId: null, action: null, sinceSeconds: null };
      await createAuditLog(watching, [NEW]).entries(
        { ...filter, realm: "main" },
        { limit: 50, cursor: null },
      );
      const { results } = await DB.prepare(`EXPLAIN QUERY PLAN ${statements[0]}`)
        .bind(...["main", "ben", "main", "ben", "main", "ben", 51])
        .all<{ detail: string }>();
      const plan = results.map(({ detail }) => detail).join("\n");
      for (const index of ["audit_by_actor", "audit_by_target", "audit_by_owner"]) {
        expect(plan).toMatch(new RegExp(`SEARCH audit USING INDEX ${index} \\(.+=\\? AND .+=\\?\\)`));
      }
      expect(plan).not.toContain("SCAN");
    });
  });

  it("pages through all of it, and does not repeat or lose an entry while others are written", async () => {
    const seen: number[] = [];
    let cursor = "";
    do {
      const page = await list(`limit=2${cursor}`);
      seen.push(...page.items.map(({ seq }) => seq));
      cursor = page.next_cursor === null ? "" : `&cursor=${page.next_cursor}`;
      await log.append(entry("9"));
    } while (cursor !== "");
    expect(seen).toEqual([4, 3, 2, 1]);
  });

  it.each([
    "cursor=0",
    "cursor=-1",
    "cursor=1%20OR%201",
    "cursor=1e3",
    "cursor=01",
    "cursor=9999999999999999",
    "cursor=",
    "limit=0",
    "limit=201",
    "since=yesterday",
    "action=user.*",
    "realm=%27",
    "nonsense=1",
    "user=7&user=8",
  ])("refuses %s", async (query) => {
    const { status, body } = await api(gateway, "GET", `admin/audit?${query}`);
    expect([status, (body as { code: string }).code]).toEqual([400, "input_invalid"]);
  });

  it("shows a row whose details somebody spoilt, and all others", async () => {
    await run("UPDATE audit SET details = 'no JSON' WHERE seq = 2");
    expect(await seqs("")).toEqual([4, 3, 2, 1]);
    expect((await list("target=key_8")).items[0]?.details).toEqual({ unreadable: true });
  });

  it.each(["admin/audit", "admin/audit/verify"])("%s is for administrators", async (path) => {
    expect((await api(gateway, "GET", path, undefined, null)).status).toBe(401);
    expect((await api(gateway, "GET", path, undefined, "wrong")).status).toBe(401);
    expect((await api(gateway, "DELETE", path)).status).toBe(405);
  });
});

describe("GET admin/audit/verify", () => {
  it("tells what was recomputed, and where it breaks", async () => {
    const gateway = startGateway();
    const verify = async (query = "") => (await api(gateway, "GET", `admin/audit/verify${query}`)).body;
    await addRows(2);
    await gateway.cron();
    await addRows(1);
    const intact = {
      intact: true,
      problem: null,
      at_seq: null,
      rows: 2,
      blocks: 1,
      unsealed: 1,
      next_block: null,
    };
    expect(await verify()).toEqual({ ...intact, head_hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    await run("UPDATE audit SET target_id = 'nobody' WHERE seq = 2");
    const broken = { rows: 0, blocks: 0, unsealed: 0, head_hash: null, next_block: null };
    const problem = "block 1, rows 1 to 2, is not as it was sealed";
    expect(await verify("?from_block=1")).toEqual({ intact: false, problem, at_seq: 1, ...broken });
  });

  it.each(["0", "-1", "x", "1.5", "99999999999999999999"])("refuses from_block=%s", async (from) => {
    const { status } = await api(startGateway(), "GET", `admin/audit/verify?from_block=${from}`);
    expect(status).toBe(400);
  });
});
