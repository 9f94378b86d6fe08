// The SQLite file of another system: only read, and all readings see the same state of it.
import type { DatabaseSync } from "node:sqlite";
import { Failure } from "./failure.ts";
import { createChangeGuard } from "./import-source.ts";

export type SqlRow = Readonly<Record<string, unknown>>;

export interface SqliteFile {
  rows(sql: string, ...values: readonly string[]): Iterable<SqlRow>;
  close(): void;
}

/**
 * @param tables without which it is no database of that system
 * @throws Failure
 */
export async function openSqlite(
  file: string,
  system: string,
  tables: readonly string[],
): Promise<SqliteFile> {
  createChangeGuard(file); // says what is wrong with the path
  const { DatabaseSync } = await import("node:sqlite");
  const names = (database: DatabaseSync) =>
    database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
      .all()
      .map(({ name }) => name);
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    database.exec("BEGIN"); // one snapshot, should the system be running
    const present = names(database);
    const missing = tables.find((table) => !present.includes(table));
    if (missing === undefined) {
      return {
        rows: (sql, ...values) => database.prepare(sql).iterate(...values) as Iterable<SqlRow>,
        close: () => database.close(),
      };
    }
    database.close();
    throw new Failure("refused", `${file} is no database of ${system}: it has no table ${missing}`);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("refused", `${file} is no SQLite database, or cannot be read`);
  }
}

export const textOf = (value: unknown) =>
  typeof value === "string" ? value.trim() : typeof value === "number" ? String(value) : "";

export const numberOf = (value: unknown) => (typeof value === "number" ? value : 0);

/** `null` for an empty text: these systems write one where there is nothing. */
export const textOrNull = (value: unknown) => textOf(value) || null;
