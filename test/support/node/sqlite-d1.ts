// D1 over Node's own SQLite, for tests that must decide when a statement runs and when its answer arrives.
import { readdirSync, readFileSync } from "node:fs";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

const MIGRATIONS = new URL("../../../migrations/", import.meta.url);

/** An in-memory database with every migration applied and foreign keys enforced, as D1 does. */
export function openMigrated(): DatabaseSync {
  const sqlite = new DatabaseSync(":memory:", { enableForeignKeyConstraints: true });
  for (const file of readdirSync(MIGRATIONS).sort()) {
    if (file.endsWith(".sql")) sqlite.exec(readFileSync(new URL(file, MIGRATIONS), "utf8"));
  }
  return sqlite;
}

/** Runs a batch, or fails it, at a time of the caller's choosing. */
export type Carrier = <T>(run: () => T) => Promise<T>;

interface Statement {
  readonly query: string;
  readonly parameters: readonly SQLInputValue[];
}

/** As much of D1's API as the store uses. Batches are transactions. */
export function createSqliteD1(sqlite: DatabaseSync, carry: Carrier): D1Database {
  const runOne = ({ query, parameters }: Statement) => ({
    success: true,
    meta: {},
    results: sqlite.prepare(query).all(...parameters),
  });

  function runBatch(statements: readonly Statement[]) {
    sqlite.exec("BEGIN IMMEDIATE");
    try {
      const results = statements.map(runOne);
      sqlite.exec("COMMIT");
      return results;
    } catch (error) {
      sqlite.exec("ROLLBACK");
      throw error;
    }
  }

  const prepare = (query: string, parameters: readonly SQLInputValue[] = []) => ({
    query,
    parameters,
    bind: (...values: SQLInputValue[]) => prepare(query, values),
    all: () => carry(() => runOne({ query, parameters })),
    run: () => carry(() => runOne({ query, parameters })),
    first: () => carry(() => runOne({ query, parameters }).results[0] ?? null),
  });

  const database = {
    prepare,
    batch: (statements: readonly Statement[]) => carry(() => runBatch(statements)),
    withSession: () => database,
  };
  return database as unknown as D1Database;
}
