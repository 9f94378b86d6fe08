// `unknown` -> a table a schema has named. Turns valibot's issues into sentences that name the key and the mend.
import * as v from "valibot";
import type { Issues } from "./issue.ts";

/**
 * A table with exactly these keys. Messages never repeat a value, because any value may be a secret in the wrong place.
 */
export function table<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.strictObject(entries, (issue) => {
    if (issue.expected === "never") return unknownKey(String(issue.input), Object.keys(entries));
    return issue.expected === "Object" ? "must be a table" : "is required";
  });
}

/** A table whose keys the operator chooses. */
export function tableOf<
  const Key extends v.GenericSchema<string, string>,
  const Value extends v.GenericSchema,
>(key: Key, value: Value) {
  return v.pipe(v.custom<Record<string, unknown>>(isReadable, UNREADABLE_KEY), v.record(key, value));
}

/** A record drops these keys without a word, and with them what they demand. */
const DROPPED_KEYS = ["constructor", "prototype", "__proto__"];
const UNREADABLE_KEY = "must not have a key named constructor, prototype or __proto__: it would not be read";

function isReadable(input: unknown): boolean {
  return !isTable(input) || DROPPED_KEYS.every((key) => !Object.hasOwn(input, key));
}

/** A table read by a schema: what was right of it, and the keys that were not. */
export interface Reading<Output> {
  readonly value: Output;
  readonly failed: ReadonlySet<string>;
}

type TableSchema = v.GenericSchema<unknown, object>;

/**
 * Reads a table whose keys are all optional and goes on without the ones that are wrong, so that one bad key does not
 * hide the problems of the others. Every problem goes to `issues` under `key`.
 * @returns `null` when the input is no table at all.
 */
export function readPartly<Schema extends TableSchema>(
  schema: Schema,
  input: unknown,
  key: string,
  issues: Issues,
): Reading<v.InferOutput<Schema>> | null {
  return parse(schema, input, key, issues, true);
}

/** Reads a table as a whole. Every problem goes to `issues` under `key`, and the answer is then `null`. */
export function readWhole<Schema extends TableSchema>(
  schema: Schema,
  input: unknown,
  key: string,
  issues: Issues,
): v.InferOutput<Schema> | null {
  const reading = parse(schema, input, key, issues, false);
  return reading === null || reading.failed.size > 0 ? null : reading.value;
}

function parse<Schema extends TableSchema>(
  schema: Schema,
  input: unknown,
  key: string,
  issues: Issues,
  isPartial: boolean,
): Reading<v.InferOutput<Schema>> | null {
  if (!isTable(input)) {
    issues.add(key, `must be a table, not ${kindOf(input)}`);
    return null;
  }
  const failed = new Set<string>();
  let rest: unknown = input;
  for (;;) {
    const result = v.safeParse(schema, rest, { abortPipeEarly: true });
    if (result.success) return { value: result.output, failed };
    // A strict table names one unknown key at a time: take those out and look again, so that all of them are reported.
    const unknown = result.issues.filter(isUnknownKey);
    for (const issue of unknown.length > 0 ? unknown : result.issues) {
      const path = pathOf(issue);
      issues.add(join(key, path), explain(issue));
      failed.add(String(path[0]));
      rest = without(rest, unknown.length > 0 ? path : path.slice(0, 1));
    }
    if (unknown.length === 0 && !isPartial) return null;
  }
}

function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === "strict_object" && issue.expected === "never";
}

function pathOf(issue: v.BaseIssue<unknown>): PropertyKey[] {
  return (issue.path ?? []).map((item) => item.key as PropertyKey);
}

/** `SITE_FILES` + ["routes", 3, "auth"] -> `SITE_FILES.routes[3].auth` */
function join(key: string, path: readonly PropertyKey[]): string {
  let text = key;
  for (const part of path) text += typeof part === "number" ? `[${part}]` : `.${String(part)}`;
  return text;
}

function without(value: unknown, path: readonly PropertyKey[]): unknown {
  const [head, ...rest] = path;
  if (head === undefined || typeof value !== "object" || value === null) return value;
  const copy = (Array.isArray(value) ? value.slice() : { ...value }) as Record<PropertyKey, unknown>;
  if (rest.length === 0) delete copy[head];
  else copy[head] = without(copy[head], rest);
  return copy;
}

function explain(issue: v.BaseIssue<unknown>): string {
  switch (issue.type) {
    case "string":
      return `must be a text in quotes, not ${kindOf(issue.input)}`;
    case "boolean":
      return `must be true or false, not ${kindOf(issue.input)}`;
    case "number":
      return `must be a number, not ${kindOf(issue.input)}`;
    case "array":
      return `must be a list, not ${kindOf(issue.input)}`;
    case "record":
      return `must be a table, not ${kindOf(issue.input)}`;
    case "integer":
      return "must be a whole number";
    case "min_value":
      return `must be at least ${issue.requirement}`;
    case "max_value":
      return `must be at most ${issue.requirement}`;
    case "min_length":
      return "must not be empty";
    default:
      // Valibot's own messages repeat what was received, which may be a secret in the wrong place.
      return issue.message.startsWith("Invalid ") ? "is not valid" : issue.message;
  }
}

/** One of a few words. The message lists them, and the nearest one to what was written. */
export function oneOf<const Options extends readonly string[]>(options: Options) {
  return v.picklist(options, (issue) => {
    const allowed = `must be one of ${options.map((option) => JSON.stringify(option)).join(", ")}`;
    const guess = typeof issue.input === "string" ? nearest(issue.input, options) : null;
    return guess === null ? allowed : `${allowed}; did you mean "${guess}"?`;
  });
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a table";
  if (typeof value === "string") return "a text";
  if (Number.isNaN(value)) return "nan";
  return typeof value === "boolean" ? "true or false" : `a ${typeof value}`;
}

function unknownKey(name: string, known: readonly string[]): string {
  const guess = nearest(name, known);
  if (guess !== null) return `is not a known key; did you mean ${guess}?`;
  return `is not a known key; the keys here are ${known.join(", ")}`;
}

/** The word that differs least, if it differs by no more than a slip of the pen would make it. */
export function nearest(word: string, words: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(Math.min(word.length, 30) / 3)) + 1;
  for (const candidate of words) {
    const distance = editDistance(word.slice(0, 40).toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Letters put in, left out, mistaken, or swapped with the next one: each counts one. */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? (before[j - 2] ?? 0) + 1 : substituted;
      next.push(Math.min(substituted, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
