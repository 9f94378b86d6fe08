// A D1 that writes down what it is told, so that the gateway's own writes can be run elsewhere by `wrangler d1 execute`.

export interface SqlRecorder {
  /** Good for writes that read nothing back. */
  readonly database: D1Database;
  /** Everything written so far, one statement a line. */
  sql(): string;
}

export function createSqlRecorder(): SqlRecorder {
  const lines: string[] = [];
  const prepare = (text: string) => ({
    bind: (...values: readonly unknown[]) => ({ line: inlined(text, values) }),
  });
  const batch = async (statements: readonly { readonly line: string }[]) => {
    lines.push(...statements.map(({ line }) => `${line};`));
    return statements.map(() => ({ results: [], success: true, meta: {} }));
  };
  return {
    database: { prepare, batch } as unknown as D1Database,
    sql: () => lines.join("\n"),
  };
}

/** The statement with its values in place of the question marks. */
function inlined(text: string, values: readonly unknown[]): string {
  const parts = text.split("?");
  if (parts.length !== values.length + 1) throw new Error("a statement whose placeholders cannot be told");
  return parts.map((part, index) => part + (index < values.length ? literal(values[index]) : "")).join("");
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  // SQLite ends a text at NUL and knows no escapes but the doubled quote.
  if (typeof value !== "string" || value.includes("\0")) throw new Error("a value that SQL cannot say");
  return `'${value.replaceAll("'", "''")}'`;
}
