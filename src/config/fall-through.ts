// Rows that name methods say nothing about the others: those fall to the next row that covers the path. Worth a warning
// where that row asks for less.
import { foldConfiguredPath } from "../pipeline/path.ts";
import { compareSpecificity, shapeOf } from "./specificity.ts";
import type { Route } from "./types.ts";

export interface FallThrough {
  readonly from: Route;
  readonly to: Route;
}

const AUTH_RANK = { none: 0, optional: 1, required: 2 } as const;

/** For each row with named methods the row that takes its other methods, where that one is weaker. */
export function weakerFallThroughs(routes: readonly Route[]): readonly FallThrough[] {
  const found: FallThrough[] = [];
  const bySpecificity = [...routes].sort(compareSpecificity);
  for (const from of routes) {
    if (from.methods.length === 0 || from.auth === "none") continue;
    const named = new Set(
      routes.filter(({ path }) => shapeOf(path) === shapeOf(from.path)).flatMap(({ methods }) => methods),
    );
    const to = bySpecificity.find(
      (route) =>
        covers(route.path, from.path) &&
        (route.methods.length === 0 || route.methods.some((method) => !named.has(method))),
    );
    if (to !== undefined && isWeaker(to, from)) found.push({ from, to });
  }
  return found;
}

/** Whether every request path that `narrow` matches is matched by `wide` too. */
function covers(wide: string, narrow: string): boolean {
  const [wideSegments, narrowSegments] = [wide.split("/").slice(1), narrow.split("/").slice(1)];
  for (const [index, segment] of wideSegments.entries()) {
    if (segment === "*") return true;
    const other = narrowSegments[index];
    if (other === undefined || other === "*") return false;
    if (segment.startsWith(":")) continue;
    if (other.startsWith(":") || foldConfiguredPath(`/${segment}`) !== foldConfiguredPath(`/${other}`)) {
      return false;
    }
  }
  return wideSegments.length === narrowSegments.length;
}

function isWeaker(route: Route, than: Route): boolean {
  if (AUTH_RANK[route.auth] !== AUTH_RANK[than.auth]) return AUTH_RANK[route.auth] < AUTH_RANK[than.auth];
  const asks = ({ scopes, anyScopes, permissions, anyPermissions }: Route) =>
    scopes.length + anyScopes.length + permissions.length + anyPermissions.length > 0;
  return route.minimumRole < than.minimumRole || (asks(than) && !asks(route));
}
