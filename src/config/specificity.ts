// Which of two routes a request belongs to when both match: literal over `:param` over `*`, named method over any.
import { foldConfiguredPath } from "../pipeline/path.ts";

/** The part of a route that decides; `path` as written in the configuration. */
export interface RoutePattern {
  readonly path: string;
  /** Upper-case; empty: any method. */
  readonly methods: readonly string[];
}

/**
 * Orders routes of one site, most specific first. Segment by segment from the left a literal comes before a `:param`,
 * a `:param` before `*`; the end of a path comes before `*`, a longer path before a shorter one; then named methods
 * before any method. 0 only for routes that overlap in shape, which a valid configuration has only with different methods.
 */
export function compareSpecificity(a: RoutePattern, b: RoutePattern): number {
  const left = segmentsOf(a.path);
  const right = segmentsOf(b.path);
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index++) {
    const difference = rank(left[index] ?? "") - rank(right[index] ?? "");
    if (difference !== 0) return difference;
  }
  if (left.length !== right.length) {
    const next = left.length > right.length ? left[shared] : right[shared];
    const longerFirst = next === "*" ? 1 : -1;
    return left.length > right.length ? longerFirst : -longerFirst;
  }
  return Number(a.methods.length === 0) - Number(b.methods.length === 0);
}

/**
 * A path by what it matches: folded as requests are, names of parameters left out. Two routes of one shape match the
 * very same paths. Takes a path that `pathProblem` has nothing against.
 */
export function shapeOf(path: string): string {
  return segmentsOf(path)
    .map((segment) => {
      if (rank(segment) === 2) return "rest";
      return rank(segment) === 1 ? "param" : foldConfiguredPath(`/${segment}`);
    })
    .join("\n");
}

function segmentsOf(path: string): readonly string[] {
  return path.slice(1).split("/");
}

function rank(segment: string): number {
  if (segment === "*") return 2;
  return segment.startsWith(":") ? 1 : 0;
}
