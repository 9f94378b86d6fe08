// Every migration against a filled database: nothing is lost, the feed's counter goes on, the schema stays strict.
import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";

const { DB, TEST_MIGRATIONS } = env as unknown as { DB: D1Database; TEST_MIGRATIONS: D1Migration[] };

/** Rows for every table of any version, valid when it was made; later columns must have defaults. Parents first. */
const FILLING: Readonly<Record<string, string>> = {
  users: `INSERT INTO users (realm, id, username, created_at_seconds, updated_at_seconds)
    VALUES ('llm', '7', 'alice', 1, 1), ('llm', '8', 'bob', 1, 1)`,
  credentials: `INSERT INTO credentials (id, kind, realm, user_id, digest, pepper, created_at_seconds)
    VALUES ('k1', 'api_key', 'llm', '7', 'd1', 'p', 1), ('p1', 'pat', 'llm', '8', 'd2', 'p', 1)`,
  sessions: `INSERT INTO sessions (id, realm, user_id, digest, pepper, created_at_seconds, expires_at_seconds)
    VALUES ('s1', 'llm', '7', 'd3', 'p', 1, 2)`,
  changes: `INSERT INTO changes (at_seconds, subjects, what) VALUES (1, '[]', 'a'), (1, '[]', 'b'), (1, '[]', 'c')`,
  revocations: `INSERT INTO revocations (realm, kind, value, seq) VALUES ('llm', 'token', 'j1', 2)`,
  rate_windows: `INSERT INTO rate_windows (key, started_at_seconds, count) VALUES ('k', 1, 1)`,
  passwords: `INSERT INTO passwords (realm, user_id, scheme, hash, changed_at_seconds) VALUES ('llm', '7', 'scrypt', 'h', 1)`,
  throttles: `INSERT INTO throttles (key, attempts, next_at_seconds, updated_at_seconds) VALUES ('k', 1, 1, 1)`,
  sign_in_failures: `INSERT INTO sign_in_failures (window_at_seconds, realm, account, address, count) VALUES (1, 'llm', '7', '', 1)`,
  audit: `INSERT INTO audit (at_seconds, action, actor_kind, target_kind, target_realm, target_id)
    VALUES (1, 'user.created', 'system', 'user', 'llm', '7'), (1, 'user.created', 'system', 'user', 'llm', '8')`,
  audit_blocks: `INSERT INTO audit_blocks (number, first_seq, last_seq, previous_hash, hash, pepper, sealed_at_seconds)
    VALUES (1, 1, 2, '', 'h', 'p', 1)`,
  blocked_passwords: `INSERT INTO blocked_passwords (password) VALUES ('of this test alone')`,
};
/** Filled by migrations themselves: later ones may add rows. */
const LISTS: readonly string[] = ["meta", "blocked_passwords"];

async function tableNames(): Promise<readonly string[]> {
  const { results } = await DB.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' AND name <> 'd1_migrations'",
  ).all<{ name: string }>();
  return results.map(({ name }) => name);
}

/** Children before parents, until nothing is left. */
async function dropEverything(): Promise<void> {
  for (let names = await tableNames(); names.length > 0; names = await tableNames()) {
    for (const name of names)
      await DB.prepare(`DROP TABLE IF EXISTS ${name}`)
        .run()
        .catch(() => {});
  }
  await DB.prepare("DROP TABLE IF EXISTS d1_migrations").run();
}

const dump = async (tables: readonly string[]) =>
  Object.fromEntries(
    await Promise.all(
      tables.map(
        async (table) => [table, (await DB.prepare(`SELECT * FROM ${table}`).all()).results] as const,
      ),
    ),
  );

describe("migrations", () => {
  beforeEach(dropEverything);

  it.each(TEST_MIGRATIONS.map(({ name }, i) => [name, i + 1] as const))(
    "from a database that was filled after %s lose nothing",
    async (_name, applied) => {
      await applyD1Migrations(DB, TEST_MIGRATIONS.slice(0, applied));
      const tables = await tableNames();
      for (const [table, filling] of Object.entries(FILLING)) {
        if (tables.includes(table)) await DB.prepare(filling).run();
      }
      const before = await dump(tables);
      await applyD1Migrations(DB, TEST_MIGRATIONS);
      const after = await dump(tables);
      for (const table of tables) {
        const rows = before[table] ?? [];
        expect(rows.length).toBeGreaterThan(0);
        if (LISTS.includes(table)) {
          const texts = new Set(after[table]?.map((row) => JSON.stringify(row)));
          expect(rows.filter((row) => !texts.has(JSON.stringify(row)))).toEqual([]);
        } else {
          expect(after[table]).toEqual(rows.map((row) => expect.objectContaining(row)));
        }
      }
      const head = await DB.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").first("seq");
      expect(head).toBe(3);
    },
  );

  it("leave every table STRICT, and no row that goes when another one is deleted", async () => {
    await applyD1Migrations(DB, TEST_MIGRATIONS);
    const { results } = await DB.prepare("PRAGMA table_list").all<{ name: string; strict: number }>();
    const ours = await tableNames();
    expect(results.filter(({ name, strict }) => ours.includes(name) && strict !== 1)).toEqual([]);
    const schema = await DB.prepare("SELECT group_concat(sql, ' ') AS text FROM sqlite_schema").first("text");
    expect(String(schema)).not.toMatch(/ON DELETE (CASCADE|SET)/i);
    expect(String(schema)).not.toMatch(/CREATE TRIGGER/i);
  });

  it("0001 gives a name, and an address, to the oldest of the accounts that differ in case only", async () => {
    await applyD1Migrations(DB, TEST_MIGRATIONS.slice(0, 1));
    const accounts = [
      ["llm", "1", "Gone", "Gone@x", "deleted"],
      ["llm", "2", "Alice", "A@example.com", "active"],
      ["llm", "3", "alice", "a@EXAMPLE.com", "active"],
      ["llm", "4", "ALICE", "other@example.com", "disabled"],
      ["other", "2", "ALICE", "a@example.com", "active"],
      ["llm", "5", null, null, "active"],
      ["llm", "6", "gone", "gone@X", "active"],
    ] as const;
    for (const account of accounts) {
      await DB.prepare(
        "INSERT INTO users (realm, id, username, email, status, created_at_seconds, updated_at_seconds) VALUES (?1, ?2, ?3, ?4, ?5, 1, 1)",
      )
        .bind(...account)
        .run();
    }
    await applyD1Migrations(DB, TEST_MIGRATIONS);
    const { results } = await DB.prepare(
      "SELECT realm, id, username, username_key, email_key FROM users WHERE status <> 'deleted' ORDER BY rowid",
    ).all();
    expect(results).toEqual([
      { realm: "llm", id: "2", username: "Alice", username_key: "alice", email_key: "a@example.com" },
      { realm: "llm", id: "3", username: "alice", username_key: null, email_key: null },
      { realm: "llm", id: "4", username: "ALICE", username_key: null, email_key: "other@example.com" },
      { realm: "other", id: "2", username: "ALICE", username_key: "alice", email_key: "a@example.com" },
      { realm: "llm", id: "5", username: null, username_key: null, email_key: null },
      { realm: "llm", id: "6", username: "gone", username_key: "gone", email_key: "gone@x" },
    ]);
    const taken = "UPDATE users SET username_key = 'alice' WHERE realm = 'llm' AND id = '5'";
    await expect(DB.prepare(taken).run()).rejects.toThrow(/UNIQUE/);
  });

  it("give every database an epoch of its own", async () => {
    const epochs = new Set<unknown>();
    for (let i = 0; i < 2; i += 1) {
      await dropEverything();
      await applyD1Migrations(DB, TEST_MIGRATIONS);
      epochs.add(await DB.prepare("SELECT value FROM meta WHERE key = 'epoch'").first("value"));
    }
    expect(epochs.size).toBe(2);
  });
});
