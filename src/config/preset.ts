// A site's preset: its table as compiled routes, and what of the site's own rows stands in their place.
import type { Level, Preset } from "../presets/preset.ts";
import { readTable, type TableRow } from "../presets/table.ts";
import { CREDENTIAL_KINDS } from "../types.ts";
import type { Issues } from "./issue.ts";
import { resourcePath } from "./mcp.ts";
import { ambiguityBits } from "./names.ts";
import type { RouteFacts } from "./routes.ts";
import { shapeOf } from "./specificity.ts";
import type { Route } from "./types.ts";

/**
 * The rows of a preset that the site's own do not replace. One of its rows gives way to a row of the same path: as a whole to
 * one for any method, else the methods that it names. Where users are neither known here (`users = "none"`) nor asked
 * about, what is a right of the user is left to the origin.
 */
export function presetRoutes(
  preset: Preset,
  isIssuing: boolean,
  own: readonly Route[],
  facts: RouteFacts & { readonly areRightsKnown: boolean },
  issues: Issues,
): readonly Route[] {
  const rows = readTable(preset.table, preset.levels);
  const issuing = isIssuing ? readTable(preset.issuingTable, preset.levels) : [];
  reportSilenced(preset, issuing, own, issues);
  const base = withoutReplaced(rows, issuing);
  return withoutReplaced([...base, ...issuing], own).map((row) => {
    const level = preset.levels[row.level];
    if (level === undefined) throw new Error(`no level ${row.level}`);
    return compileRow(preset.name, row, level, facts);
  });
}

/** A row of the site's own where the gateway would answer forwards instead, which is hardly what is meant. */
function reportSilenced(
  { name, levels }: Preset,
  issuing: readonly TableRow[],
  own: readonly Route[],
  issues: Issues,
): void {
  const answered = issuing.filter(({ level }) => levels[level]?.answer !== undefined);
  for (const route of own) {
    const isSilencing = answered.some(
      (row) => withoutReplaced([row], [route])[0]?.methods.length !== row.methods.length,
    );
    if (!isSilencing) continue;
    issues.warn(
      route.key,
      `takes the place of what the preset ${name} answers at ${route.path}: such requests go to the origin; leave it out`,
    );
  }
}

type Pattern = Pick<Route, "path" | "methods">;

function withoutReplaced(rows: readonly TableRow[], others: readonly Pattern[]): readonly TableRow[] {
  const byShape = new Map<string, Pattern[]>();
  for (const other of others) {
    const shape = shapeOf(other.path);
    byShape.set(shape, [...(byShape.get(shape) ?? []), other]);
  }
  return rows.flatMap((row) => {
    const replacing = byShape.get(shapeOf(row.path)) ?? [];
    if (replacing.some(({ methods }) => methods.length === 0)) return [];
    // A row for any method yields by itself: a named one is more specific.
    if (row.methods.length === 0) return [row];
    const methods = row.methods.filter((name) => !replacing.some((other) => other.methods.includes(name)));
    return methods.length === 0 ? [] : [{ ...row, methods }];
  });
}

function compileRow(
  preset: string,
  { path, methods, level: name }: TableRow,
  level: Level,
  facts: RouteFacts & { readonly areRightsKnown: boolean },
): Route {
  const { areRightsKnown } = facts;
  const auth = level.auth ?? "required";
  const accept = level.accept ?? CREDENTIAL_KINDS;
  return {
    key: `${preset} ${name} ${methods.join(",")}${methods.length > 0 ? " " : ""}${path}`,
    path,
    methods,
    auth,
    answer: level.answer ?? null,
    resource: level.mcp === true && facts.mcp.isPresetEndpoint ? resourcePath(facts.mcp, path) : null,
    isUnknown: level.isUnknown ?? false,
    letsAnonymousPass: level.letsAnonymousPass ?? false,
    takesExpiredKeys: level.takesExpiredKeys ?? false,
    ignoresUserHeader: level.ignoresUserHeader ?? false,
    accept: auth === "none" ? [] : accept.filter((kind) => facts.verifiable.includes(kind)),
    minimumRole: areRightsKnown && level.role !== undefined ? facts.ladder.indexOf(level.role) : 0,
    scopes: level.scopes ?? [],
    anyScopes: level.any_scopes ?? [],
    permissions: areRightsKnown ? (level.permissions ?? []) : [],
    anyPermissions: areRightsKnown ? (level.any_permissions ?? []) : [],
    limit: null,
    freshnessSeconds: level.freshness_seconds ?? facts.gatewayFreshnessSeconds,
    mode: "enforce",
    allow: facts.allow | ambiguityBits(level.allow ?? []),
    cache: false,
    firstByteSeconds: null,
    maxStreamSeconds: null,
  };
}
