// Policy rows -> compiled routes, and the ties between them.
import type { CredentialKind } from "../types.ts";
import { CREDENTIAL_KINDS } from "../types.ts";
import { weakerFallThroughs } from "./fall-through.ts";
import { compileResource, type McpFacts } from "./mcp.ts";
import { ambiguityBits, pathProblem } from "./names.ts";
import { nearest } from "./read.ts";
import type { RouteInput } from "./schema.ts";
import { findBinding, type Scope } from "./scope.ts";
import type { Row } from "./site-input.ts";
import { shapeOf } from "./specificity.ts";
import type { Limit, Route } from "./types.ts";

/** What the rows of a site are judged by. */
export interface RouteFacts {
  readonly ladder: readonly string[];
  /** Kinds the site can verify, and for each other kind why it cannot. */
  readonly verifiable: readonly CredentialKind[];
  readonly whyNot: (kind: CredentialKind) => string;
  /** Whether anything is known for a time: by the change feed, or from the origin. */
  readonly canAge: boolean;
  readonly forwardCredential: boolean;
  readonly allow: number;
  readonly gatewayFreshnessSeconds: number;
  readonly mcp: McpFacts;
}

const REFUSES_ANONYMOUS = 'refuses everyone without a credential: say auth = "required"';

const ASKS_FOR_NOTHING =
  "asks for nothing: every caller counts as at least the lowest step; put a step below it, such as public, first in roles";

/** Every row, compiled; what is wrong with one goes to the issues and does not hide the next. */
export function compileRoutes(
  rows: readonly Row<RouteInput>[],
  facts: RouteFacts,
  scope: Scope,
): readonly Route[] {
  const routes = rows.map(({ key, value }) => compileRoute(value, key, facts, scope));
  const readable = routes.filter((route) => routePathProblem(route.path, route.allow) === null);
  reportTies(readable, scope);
  for (const { from, to } of weakerFallThroughs(readable)) {
    scope.issues.warn(
      `${from.key}.methods`,
      `leaves other methods of ${from.path} to ${to.key}, which asks for less; name them here or in a row of their own`,
    );
  }
  return routes;
}

/** What `unmatched = "forward"` stands for: anyone, anonymously. */
export function unmatchedRoute(key: string, allow: number, freshnessSeconds: number): Route {
  return {
    key,
    path: "/*",
    methods: [],
    auth: "none",
    answer: null,
    resource: null,
    isUnknown: false,
    letsAnonymousPass: false,
    takesExpiredKeys: false,
    ignoresUserHeader: false,
    accept: [],
    minimumRole: 0,
    scopes: [],
    anyScopes: [],
    permissions: [],
    anyPermissions: [],
    limit: null,
    freshnessSeconds,
    mode: "enforce",
    allow,
    cache: false,
    firstByteSeconds: null,
    maxStreamSeconds: null,
  };
}

function compileRoute(given: RouteInput, key: string, facts: RouteFacts, scope: Scope): Route {
  const { issues } = scope;
  const auth = given.auth ?? "required";
  const allow = facts.allow | ambiguityBits(given.allow ?? []);
  const pathIssue = routePathProblem(given.path, allow);
  if (pathIssue !== null) issues.add(`${key}.path`, pathIssue);
  checkMethods(given.methods ?? [], `${key}.methods`, scope);
  checkDemands(given, auth, key, scope);
  if (given.cache === true && auth !== "none") {
    issues.add(
      `${key}.cache`,
      'is possible only with auth = "none": a cache would serve one caller\'s answer to another',
    );
  }
  if (given.cache === true && facts.forwardCredential) {
    issues.add(
      `${key}.cache`,
      "does not go with forward_credential: the origin's answer to one caller's credential would be served to all",
    );
  }
  if (given.mode === "observe") {
    issues.warn(`${key}.mode`, "observe lets refused requests pass: they are only logged");
  }
  const freshnessSeconds = given.freshness_seconds ?? facts.gatewayFreshnessSeconds;
  if (given.freshness_seconds !== undefined && !facts.canAge) {
    issues.add(`${key}.freshness_seconds`, 'has no meaning on a site with revocation = "none"');
  } else if (freshnessSeconds > facts.gatewayFreshnessSeconds) {
    issues.warn(`${key}.freshness_seconds`, "is weaker than GATEWAY.freshness_seconds promises");
  }
  return {
    key,
    path: given.path,
    methods: [...new Set(given.methods ?? [])],
    auth,
    answer: null,
    resource: compileResource(given, auth, key, facts.mcp, scope),
    isUnknown: false,
    letsAnonymousPass: false,
    takesExpiredKeys: false,
    ignoresUserHeader: false,
    accept: auth === "none" ? [] : compileAccept(given.accept, `${key}.accept`, facts, scope),
    minimumRole: compileRole(given.role, `${key}.role`, facts.ladder, auth, scope),
    scopes: given.scopes ?? [],
    anyScopes: given.any_scopes ?? [],
    permissions: given.permissions ?? [],
    anyPermissions: given.any_permissions ?? [],
    limit: given.limit === undefined ? null : compileLimit(given.limit, `${key}.limit`, auth, scope),
    freshnessSeconds,
    mode: given.mode ?? "enforce",
    allow,
    cache: given.cache ?? false,
    firstByteSeconds: given.first_byte_seconds ?? null,
    maxStreamSeconds: given.max_stream_seconds ?? null,
  };
}

function routePathProblem(path: string, allow: number): string | null {
  const problem = pathProblem(path, allow);
  if (problem !== null) return problem;
  const segments = path.split("/").slice(1);
  for (const [index, segment] of segments.entries()) {
    if (segment === "*" && index < segments.length - 1) {
      return "may have * only as its last segment; a single segment is :name";
    }
    if (segment.includes("*") && segment !== "*") return "may have * only as a whole segment";
    if (segment.startsWith(":") && !/^:[A-Za-z_][A-Za-z0-9_]*$/.test(segment)) {
      return "has a parameter without a proper name: write :name with letters, digits and _";
    }
  }
  return null;
}

function checkMethods(methods: readonly string[], key: string, { issues }: Scope): void {
  for (const method of ["CONNECT", "TRACE", "TRACK"]) {
    if (methods.includes(method)) issues.add(key, `may not hold ${method}: the platform does not forward it`);
  }
}

/** What can be asked of a caller depends on there being one. */
function checkDemands(given: RouteInput, auth: Route["auth"], key: string, { issues }: Scope): void {
  const demands = ["scopes", "any_scopes", "permissions", "any_permissions"] as const;
  for (const name of auth === "none" ? (["accept", "role", ...demands] as const) : demands) {
    if (given[name] === undefined || auth === "required") continue;
    const reason =
      auth === "none"
        ? 'has no meaning with auth = "none", where nobody is asked who they are'
        : REFUSES_ANONYMOUS;
    if (auth === "none") issues.add(`${key}.${name}`, reason);
    else issues.warn(`${key}.${name}`, reason);
  }
  if (auth === "none" && given.freshness_seconds !== undefined) {
    issues.add(`${key}.freshness_seconds`, 'has no meaning with auth = "none"');
  }
}

function compileAccept(
  given: readonly CredentialKind[] | undefined,
  key: string,
  facts: RouteFacts,
  { issues }: Scope,
): readonly CredentialKind[] {
  if (given === undefined) {
    if (facts.verifiable.length === 0) {
      issues.add(key, "cannot be met: the site has no way to verify any credential");
    }
    return facts.verifiable;
  }
  for (const kind of given) {
    if (!facts.verifiable.includes(kind)) issues.add(key, `holds "${kind}", but ${facts.whyNot(kind)}`);
  }
  return CREDENTIAL_KINDS.filter((kind) => given.includes(kind));
}

function compileRole(
  role: string | undefined,
  key: string,
  ladder: readonly string[],
  auth: Route["auth"],
  { issues }: Scope,
): number {
  if (role === undefined) return 0;
  const step = ladder.indexOf(role);
  if (step < 0) {
    const guess = nearest(role, ladder);
    const hint = guess === null ? "" : `; did you mean "${guess}"?`;
    issues.add(key, `must be a step of the site's ladder (${ladder.join(" < ")})${hint}`);
  } else if (step === 0 && auth !== "none") {
    issues.add(key, ASKS_FOR_NOTHING);
  } else if (auth === "optional") {
    issues.warn(key, REFUSES_ANONYMOUS);
  }
  return Math.max(step, 0);
}

function compileLimit(
  given: NonNullable<RouteInput["limit"]>,
  key: string,
  auth: Route["auth"],
  scope: Scope,
): Limit | null {
  const { issues } = scope;
  const by = given.by ?? (auth === "none" ? "address" : "principal");
  if (auth === "none" && by !== "address") {
    issues.add(`${key}.by`, 'must be "address" with auth = "none", where there is nobody else to count');
  }
  if (given.binding !== undefined) {
    for (const name of ["exact", "requests", "per_seconds"] as const) {
      if (given[name] !== undefined) {
        issues.add(
          `${key}.${name}`,
          "does not go with binding, which has its limit and period in [[ratelimits]]",
        );
      }
    }
    const binding = findBinding(scope.env, given.binding, "limit");
    if (binding === null) {
      issues.add(`${key}.binding`, "is not a rate-limit binding of this Worker: add it under [[ratelimits]]");
      return null;
    }
    return { kind: "binding", by, binding: binding as RateLimit, bindingName: given.binding };
  }
  if (given.exact === undefined) {
    issues.add(key, 'needs binding = "NAME", or exact = true with requests and per_seconds');
    return null;
  }
  for (const name of ["requests", "per_seconds"] as const) {
    if (given[name] === undefined) issues.add(`${key}.${name}`, "is required with exact = true");
  }
  return { kind: "exact", by, requests: given.requests ?? 0, perSeconds: given.per_seconds ?? 0 };
}

/** Two rows tie when one request would match both and neither is more specific. HEAD falls under GET. */
function reportTies(routes: readonly Route[], { issues }: Scope): void {
  const byShape = new Map<string, Route[]>();
  for (const route of routes) {
    const shape = shapeOf(route.path);
    const others = byShape.get(shape) ?? [];
    for (const other of others) {
      const shared = sharedMethods(other, route);
      if (shared !== null) {
        issues.add(
          route.key,
          `ties with ${other.key}: both are for ${shared} ${route.path}; keep one of them`,
        );
      }
    }
    byShape.set(shape, [...others, route]);
  }
}

function sharedMethods(a: Route, b: Route): string | null {
  if (a.methods.length === 0 || b.methods.length === 0) {
    return a.methods.length === b.methods.length ? "any method," : null;
  }
  const shared = a.methods.filter((method) => b.methods.includes(method));
  if (shared.length > 0) return shared.join(", ");
  const isHeadUnderGet = (get: Route, head: Route) =>
    get.methods.includes("GET") && head.methods.includes("HEAD");
  return isHeadUnderGet(a, b) || isHeadUnderGet(b, a) ? "HEAD" : null;
}
