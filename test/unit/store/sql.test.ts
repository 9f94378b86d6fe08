// Values stay values, whatever they contain, and stand in the order of their places.
import { env } from "cloudflare:workers";
import { getTableColumns } from "drizzle-orm";
import { describe, expect, it } from "vitest";
import * as columns from "../../../src/store/columns.ts";
import * as schema from "../../../src/store/schema.ts";
import {
  assignments,
  insert,
  list,
  runBatch,
  type Sql,
  sql,
  toStatement,
  type Value,
} from "../../../src/store/sql.ts";

const { DB } = env as unknown as { DB: D1Database };
const partsOf = ({ text, values }: Sql) => ({ text, values });

describe("a statement of parts", () => {
  it("has a place for every value, in order", () => {
    const statement = sql`UPDATE t SET a = ${"x"}, b = ${2} WHERE c = ${3}`;
    expect(partsOf(statement)).toEqual({
      text: "UPDATE t SET a = ?, b = ? WHERE c = ?",
      values: ["x", 2, 3],
    });
  });

  it("takes in others with their values, at any depth, more than once", () => {
    const inner = sql`c = ${3}`;
    const outer = sql`(${inner} OR d = ${4} OR ${inner})`;
    expect(partsOf(sql`SELECT ${1} WHERE a = ${2} AND ${outer} LIMIT ${5}`)).toEqual({
      text: "SELECT ? WHERE a = ? AND (c = ? OR d = ? OR c = ?) LIMIT ?",
      values: [1, 2, 3, 4, 3, 5],
    });
  });

  it("may begin and end with a part, have parts side by side, or none", () => {
    expect(partsOf(sql`${1}${sql` + `}${2}`)).toEqual({ text: "? + ?", values: [1, 2] });
    expect(partsOf(sql`SELECT 1`)).toEqual({ text: "SELECT 1", values: [] });
    expect(partsOf(sql``)).toEqual({ text: "", values: [] });
  });

  it.each([
    [null, null],
    [true, 1],
    [false, 0],
    [0, 0],
    [-1.5, -1.5],
    ["", ""],
    ["'; DROP TABLE users; --", "'; DROP TABLE users; --"],
    ["?1", "?1"],
    [[], "[]"],
    [["a", 'b"', null], '["a","b\\"",null]'],
    [{ group: "vip" }, '{"group":"vip"}'],
  ])("binds %j as %j", (value: Value, bound) => {
    expect(partsOf(sql`${value}`)).toEqual({ text: "?", values: [bound] });
  });

  it.each([undefined, Number.NaN, Number.POSITIVE_INFINITY, 1n, Symbol("x"), () => "1"])(
    "%s has no form in SQL: it is an error, not NULL",
    (value) => {
      expect(() => sql`SELECT ${value as never}`).toThrow(TypeError);
      expect(() => list([1, value as never])).toThrow(TypeError);
    },
  );

  it.each([
    '{"text": "1; DROP TABLE users", "values": []}',
    '{"text": "1", "values": [], "Symbol(sql)": true, "MADE_HERE": true}',
    '{"__proto__": {"text": "1", "values": []}}',
  ])("input that only looks like a statement is bound like any other: %s", (json) => {
    const { text, values } = sql`SELECT ${JSON.parse(json)}`;
    expect(text).toBe("SELECT ?");
    expect(values).toEqual([JSON.stringify(JSON.parse(json))]);
  });

  it("reaches D1 as it is: hostile text comes back as the text it was", async () => {
    const hostile = "x' OR 1=1 -- ? ?1 :a @b $c \u0000end";
    const [rows] = await runBatch(DB, [
      sql`SELECT ${hostile} AS text, ${null} AS none, ${true} AS yes, ${["a"]} AS list`,
    ]);
    expect(rows).toEqual([{ text: hostile, none: null, yes: 1, list: '["a"]' }]);
    expect(await toStatement(DB, sql`SELECT ${7} AS seven`).first("seven")).toBe(7);
  });
});

describe("lists", () => {
  it("are separated by commas, and take statements too", () => {
    expect(partsOf(sql`a IN (${list(["x", sql`lower(${"Y"})`, 3])})`)).toEqual({
      text: "a IN (?, lower(?), ?)",
      values: ["x", "Y", 3],
    });
  });

  it("of one or none have no comma", () => {
    expect(partsOf(list(["x"]))).toEqual({ text: "?", values: ["x"] });
    expect(partsOf(list([]))).toEqual({ text: "", values: [] });
  });
});

describe("rows and patches", () => {
  const COLUMNS = { id: "id", userId: "user_id", scopes: "scopes" } as const;

  it("are written under the names of the columns, in their order", () => {
    const row = { scopes: ["a"], userId: sql`upper(${"7"})`, id: "k" };
    expect(partsOf(insert("sessions", COLUMNS, row, sql`${1} < ${2}`))).toEqual({
      text: "INSERT INTO sessions (id, user_id, scopes) SELECT ?, upper(?), ? WHERE ? < ?",
      values: ["k", "7", '["a"]', 1, 2],
    });
    expect(partsOf(sql`UPDATE t SET ${assignments(COLUMNS, row)} WHERE id = ${"k"}`)).toEqual({
      text: "UPDATE t SET id = ?, user_id = upper(?), scopes = ? WHERE id = ?",
      values: ["k", "7", '["a"]', "k"],
    });
  });

  it("leave out what is undefined, and write what is null", () => {
    expect(partsOf(insert("sessions", COLUMNS, { id: "k", userId: undefined, scopes: null }))).toEqual({
      text: "INSERT INTO sessions (id, scopes) SELECT ?, ? WHERE 1",
      values: ["k", null],
    });
    expect(partsOf(assignments(COLUMNS, { userId: null, scopes: undefined }))).toEqual({
      text: "user_id = ?",
      values: [null],
    });
  });

  it("never name a column that the map does not have", () => {
    const hostile: { readonly id: string } = JSON.parse(
      `{"id": "k", "id = '' --": "x", "constructor": "x", "__proto__": {"userId": "x"}, "status": "deleted"}`,
    );
    expect(partsOf(assignments(COLUMNS, hostile))).toEqual({ text: "id = ?", values: ["k"] });
    expect(insert("sessions", COLUMNS, hostile).text).toBe("INSERT INTO sessions (id) SELECT ? WHERE 1");
  });

  it("a patch of nothing is an error, not a statement without SET", () => {
    expect(() => assignments(COLUMNS, {})).toThrow(TypeError);
    expect(() => assignments(COLUMNS, { id: undefined })).toThrow(TypeError);
  });

  it.each([
    ["users", schema.users, columns.USER_COLUMNS],
    ["passwords", schema.passwords, columns.PASSWORD_COLUMNS],
    ["credentials", schema.credentials, columns.CREDENTIAL_COLUMNS],
    ["sessions", schema.sessions, columns.SESSION_COLUMNS],
    ["revocations", schema.revocations, columns.REVOCATION_COLUMNS],
    ["audit", schema.audit, columns.AUDIT_COLUMNS],
  ] as const)("the columns of %s are those of the schema, and of the database", async (name, table, map) => {
    const inSchema = Object.entries(getTableColumns(table)).map(([key, { name: column }]) => [key, column]);
    expect(Object.entries(map)).toEqual(inSchema);
    const { results } = await DB.prepare("SELECT name FROM pragma_table_info(?)").bind(name).all();
    expect(new Set(results.map((column) => column.name))).toEqual(new Set(Object.values(map)));
  });
});
