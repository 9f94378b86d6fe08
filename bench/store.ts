// Answers for D1 and KV in a process of its own, as in production: a database file, the migrations, and what is asked
// of them by HTTP. Speaks the protocol of workerd's D1 and KV bindings, as far as the gateway uses it.
// Usage: node store.ts DATABASE_FILE
import { createServer } from "node:http";
import { DatabaseSync, type StatementSync } from "node:sqlite";

interface Query {
  readonly sql: string;
  readonly params?: readonly (string | number | null)[] | null;
}

const [file = ":memory:"] = process.argv.slice(2);
const database = new DatabaseSync(file);
const statements = new Map<string, StatementSync>();
const kv = new Map<string, Buffer>();

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    const path = request.url ?? "/";
    if (path.startsWith("/query")) {
      const queries = JSON.parse(body.toString()) as Query | readonly Query[];
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify(answer(Array.isArray(queries) ? queries : [queries])));
    }
    if (request.method === "PUT") {
      kv.set(new URL(path, "http://kv").pathname, body);
      return response.end();
    }
    const value = kv.get(new URL(path, "http://kv").pathname);
    response.statusCode = value === undefined ? 404 : 200;
    response.end(value);
  });
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address === "object") console.log(address.port);
});

function answer(queries: readonly Query[]): unknown {
  try {
    database.exec("BEGIN");
    const results = queries.map(run);
    database.exec("COMMIT");
    return results;
  } catch (error) {
    database.exec("ROLLBACK");
    return { success: false, error: String(error) };
  }
}

function run({ sql, params }: Query): unknown {
  let statement = statements.get(sql);
  if (statement === undefined) {
    statement = database.prepare(sql);
    statement.setReturnArrays(true);
    statements.set(sql, statement);
  }
  const columns = statement.columns().map(({ name }) => name);
  const rows = statement.all(...(params ?? []));
  return { success: true, results: { columns, rows }, meta: META };
}

const META = {
  served_by: "bench",
  duration: 0,
  changes: 0,
  last_row_id: 0,
  changed_db: false,
  size_after: 0,
  rows_read: 0,
  rows_written: 0,
};
