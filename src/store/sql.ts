// SQL as a value: text with a `?` for every value, and the values in that order. Only what stands in our source becomes text.

/** What a statement takes as a value. Lists and objects are bound as JSON, which is how JSON columns hold them. */
export type Value =
  | string
  | number
  | boolean
  | null
  | readonly unknown[]
  | { readonly [key: string]: unknown };

/** Names of columns by the names that the code has for them; see `columns.ts`. */
export type Columns<Name extends string> = { readonly [Key in Name]: string };
/** What is to be written; members that are `undefined` are left out. */
export type Given<Name extends string> = { readonly [Key in Name]?: Value | Sql | undefined };

/** As D1 gives it: JSON columns are text still. */
export type Row = Readonly<Record<string, unknown>>;

/** Input is never one, whatever its form: no JSON has a member of this name. */
const MADE_HERE = Symbol("sql");

/** A statement, or a part of one. */
export interface Sql {
  readonly [MADE_HERE]: true;
  readonly text: string;
  readonly values: readonly (string | number | null)[];
}

/**
 * `` sql`UPDATE t SET a = ${value} WHERE ${condition}` ``: another `sql` is put in with its values, all else is bound.
 * Names of tables and columns cannot be put in: they stand in the source.
 * @throws TypeError for a value that SQL has no form for: `undefined`, NaN, infinite
 */
export const sql = (texts: TemplateStringsArray, ...parts: readonly (Value | Sql)[]): Sql =>
  build(texts, parts);

/** Separated by commas, for `IN (…)`. */
export const list = (parts: readonly (Value | Sql)[]): Sql =>
  build(
    parts.map((_, at) => (at === 0 ? "" : ", ")),
    parts,
  );

/** What `SET` takes. @throws TypeError where there is nothing to set */
export function assignments<Name extends string>(columns: Columns<Name>, patch: Given<Name>): Sql {
  const given = pick(columns, patch);
  if (given.length === 0) throw new TypeError("nothing to set");
  return list(given.map(({ column, value }) => build([`${column} = `], [value])));
}

/**
 * Inserts a row where the condition holds; columns that are left out have the table's defaults.
 * @param from ` FROM …`: then a row for each of those
 */
export function insert<Name extends string>(
  table: "users" | "passwords" | "credentials" | "sessions" | "revocations" | "audit",
  columns: Columns<Name>,
  row: Given<Name>,
  condition: Sql = ALWAYS,
  from: Sql = NOWHERE,
): Sql {
  const given = pick(columns, row);
  const names = given.map(({ column }) => column).join(", ");
  return build(
    [`INSERT INTO ${table} (${names}) SELECT `, "", " WHERE "],
    [list(given.map(({ value }) => value)), from, condition],
  );
}

export const ALWAYS = sql`1`;
export const NOWHERE = sql``;

export const toStatement = (database: Pick<D1Database, "prepare">, { text, values }: Sql) =>
  database.prepare(text).bind(...values);

/** One batch, hence one round trip, one transaction and one snapshot. @returns the rows of every statement */
export async function runBatch<const Statements extends readonly Sql[]>(
  database: Pick<D1Database, "prepare" | "batch">,
  statements: Statements,
): Promise<{ readonly [Index in keyof Statements]: readonly Row[] }> {
  const answers = await database.batch<Row>(statements.map((statement) => toStatement(database, statement)));
  return answers.map(({ results }) => results) as { [Index in keyof Statements]: readonly Row[] };
}

/** By the names of the columns, not of what was given: nothing else can be written. */
const pick = <Name extends string>(columns: Columns<Name>, given: Given<Name>) =>
  (Object.keys(columns) as Name[]).flatMap((name) => {
    const value = given[name];
    return value === undefined ? [] : [{ column: columns[name], value }];
  });

/** Each text stands before its part. */
function build(texts: readonly string[], parts: readonly (Value | Sql)[]): Sql {
  let text = "";
  const values: (string | number | null)[] = [];
  for (const [at, before] of texts.entries()) {
    text += before;
    if (at >= parts.length) break; // after the last part
    const part = parts[at];
    if (isSql(part)) values.push(...part.values);
    else values.push(toBound(part));
    text += isSql(part) ? part.text : "?";
  }
  return { [MADE_HERE]: true, text, values };
}

const isSql = (part: unknown): part is Sql => typeof part === "object" && part !== null && MADE_HERE in part;

function toBound(value: unknown): string | number | null {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "object") return JSON.stringify(value);
  throw new TypeError(`SQL has no form for ${typeof value === "number" ? value : typeof value}`);
}
