// Variables -> what was written about each site: `SITE_FILES` and its continuations `SITE_FILES__<ANYTHING>`, merged.
import type * as v from "valibot";
import type { Preset } from "../presets/preset.ts";
import { PRESETS } from "../presets/presets.ts";
import type { Issues } from "./issue.ts";
import { isTable, kindOf, readPartly, readWhole } from "./read.ts";
import {
  type JwtInput,
  JwtSchema,
  type RouteInput,
  RouteSchema,
  type SiteInput,
  SiteSchema,
} from "./schema.ts";
import { parseJson } from "./secrets.ts";

/** A row of a list with the place where it stands: `SITE_FILES__MORE.routes[0]`. */
export interface Row<Value> {
  readonly key: string;
  readonly value: Value;
}

export interface SiteSource {
  /** `files` for `SITE_FILES`. */
  readonly name: string;
  /** As written, over what the preset says. */
  readonly values: SiteInput;
  /** `null`: none is named. */
  readonly preset: Preset | null;
  /** Whether the site itself says it. */
  readonly isGiven: (name: keyof SiteInput) => boolean;
  readonly jwt: readonly Row<JwtInput>[];
  readonly routes: readonly Row<RouteInput>[];
  /** Keys that had issues and are therefore absent from `values`. */
  readonly failed: ReadonlySet<string>;
  /** The place of a key, in whichever variable it stands. */
  readonly keyOf: (name: string) => string;
}

const SITE_VARIABLE = /^SITE_([A-Z0-9]+(?:_[A-Z0-9]+)*)(?:__[A-Z0-9][A-Z0-9_]*)?$/;
const LISTS = new Set(["jwt", "routes"]);

/** Every site of the variables, in the order of their names. Everything wrong with their shape goes to `issues`. */
export function readSites(env: Readonly<Record<string, unknown>>, issues: Issues): readonly SiteSource[] {
  const variables = new Map<string, string[]>();
  for (const variable of Object.keys(env).sort()) {
    if (!/^site_/i.test(variable)) continue;
    const name = SITE_VARIABLE.exec(variable)?.[1]?.toLowerCase();
    if (name === undefined) {
      issues.add(
        variable,
        "is not a name for a site: use SITE_<NAME> or SITE_<NAME>__<ANYTHING> in upper case",
      );
      continue;
    }
    variables.set(name, [...(variables.get(name) ?? []), variable]);
  }
  return [...variables]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, parts]) => readSite(name, parts, env, issues));
}

function readSite(
  name: string,
  variables: readonly string[],
  env: Readonly<Record<string, unknown>>,
  issues: Issues,
): SiteSource {
  const values: Record<string, unknown> = {};
  const jwt: Row<JwtInput>[] = [];
  const routes: Row<RouteInput>[] = [];
  const failed = new Set<string>();
  const places = new Map<string, string>();
  for (const variable of variables) {
    const reading = readPartly(SiteSchema, parsedIfJson(env[variable]), variable, issues);
    if (reading === null) {
      for (const key of ["origin", "hosts", "base_path", "realm", "roles", "jwt", "routes"]) failed.add(key);
      continue;
    }
    for (const key of reading.failed) failed.add(key);
    for (const [key, value] of Object.entries(reading.value)) {
      if (LISTS.has(key)) continue;
      const earlier = places.get(key);
      if (earlier !== undefined) {
        issues.add(`${variable}.${key}`, `is already set in ${earlier}: a site says each key once`);
        continue;
      }
      places.set(key, variable);
      values[key] = value;
    }
    readRows(JwtSchema, reading.value.jwt, `${variable}.jwt`, jwt, "jwt", failed, issues);
    readRows(RouteSchema, reading.value.routes, `${variable}.routes`, routes, "routes", failed, issues);
  }
  const given = values as SiteInput;
  const preset = given.preset === undefined ? null : PRESETS[given.preset];
  return {
    name,
    values: preset === null ? given : { ...preset.defaults(given.issue ?? false), ...given },
    preset,
    isGiven: (key) => Object.hasOwn(given, key),
    jwt,
    routes,
    failed,
    keyOf: (key) => `${places.get(key) ?? variables[0] ?? name}.${key}`,
  };
}

/** A table counts as a list of one, and its place has then no index. Rows with issues are left out. */
function readRows<Schema extends v.GenericSchema<unknown, object>>(
  schema: Schema,
  input: unknown,
  key: string,
  rows: Row<v.InferOutput<Schema>>[],
  name: string,
  failed: Set<string>,
  issues: Issues,
): void {
  if (input === undefined) return;
  if (!Array.isArray(input) && !isTable(input)) {
    issues.add(key, `must be a table or a list of tables, not ${kindOf(input)}`);
    failed.add(name);
    return;
  }
  const list: readonly unknown[] = Array.isArray(input) ? input : [input];
  for (const [index, entry] of list.entries()) {
    const place = Array.isArray(input) ? `${key}[${index}]` : key;
    const value = readWhole(schema, entry, place, issues);
    if (value === null) failed.add(name);
    else rows.push({ key: place, value });
  }
}

/** A variable set as text (`--var`, `.dev.vars`) may hold the table as JSON. */
export function parsedIfJson(value: unknown): unknown {
  if (typeof value !== "string" || !value.trimStart().startsWith("{")) return value;
  return parseJson(value) ?? value;
}
