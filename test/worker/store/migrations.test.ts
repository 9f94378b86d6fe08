// Every migration against a filled database: nothing is lost, the feed's counter goes on, the schema stays strict.
import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";

const { DB, TEST_MIGRATIONS } = env as unknown as { DB: D1Database; TEST_MIGRATIONS: D1Migration[] };

/** Tables that exist in some version, and rows that were valid when it was made; later columns must have defaults. */
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
};

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
      for (const table of await tableNames()) {
        if (FILLING[table] !== undefined) await DB.prepare(FILLING[table]).run();
      }
      const tables = await tableNames();
      const before = await dump(tables);
      await applyD1Migrations(DB, TEST_MIGRATIONS);
      const after = await dump(tables);
      for (const table of tables) {
        const kept = before[table]?.map((row) => expect.objectContaining(row)) ?? [];
        expect(after[table]).toEqual(kept);
        expect(kept.length).toBeGreaterThan(0);
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
