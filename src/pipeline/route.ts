// Step 1: arrival -> site and route. Host, then base path, then the most specific row.
import type { Config, Route, Site } from "../config/types.ts";
import type { Trace } from "../context.ts";
import { Problem } from "../problem.ts";
import type { Arrival } from "../types.ts";
import { isBarePreflight, isPreflight } from "./cors.ts";
import { METADATA_PATH } from "./mcp.ts";
import { ambiguityNames, foldConfiguredPath, foldPath } from "./path.ts";

export interface Match {
  readonly site: Site;
  readonly route: Route;
  /** The path to forward: the canonical one, less the base path where the site strips it. Starts with one `/`. */
  readonly forwardPath: string;
}

/** Opaque index over all sites; built once per isolate. */
export interface RouteIndex {
  readonly config: Config;
  readonly sitesByHost: ReadonlyMap<string, readonly SiteTable[]>;
  /** For hosts that no site names. */
  readonly anyHost: readonly SiteTable[];
  /** Whether any site has a protected resource whose metadata could be asked for. */
  readonly hasResources: boolean;
}

interface SiteTable {
  readonly site: Site;
  /** Folded like a request's path. */
  readonly basePath: string;
  readonly root: Node;
  /** Paths of rows that are not written as they are folded: a path in lower case need not be theirs. */
  readonly notFolded: ReadonlySet<string>;
  /** What answers for the metadata of a protected resource, by the resource's folded path. */
  readonly metadata: ReadonlyMap<string, Route>;
}

/** What follows one path segment. */
interface Node {
  readonly literals: Map<string, Node>;
  param: Node | null;
  /** Rows that end here, without and with a trailing slash. */
  ending: Rows | null;
  endingInSlash: Rows | null;
  /** Rows that end in `*` here: any rest, also none. */
  rest: Rows | null;
}

/** The rows of one path, by method. */
interface Rows {
  readonly byMethod: Map<string, Route>;
  anyMethod: Route | null;
}

/** TRACE would hand back the headers we add, secrets for the origin included; CONNECT is no request for an origin. */
const UNFORWARDABLE: ReadonlySet<string> = new Set(["TRACE", "TRACK", "CONNECT"]);
const NO_METHOD = "";
/** Of the hosts or base paths there are, in a reason. */
const MAX_NAMED = 4;
const USUAL_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/** Ties are found by `config/`, so building does not fail; of two rows that tie the first one counts. */
export function buildRouteIndex(config: Config): RouteIndex {
  const tables = config.sites.map(siteTable).sort((a, b) => b.basePath.length - a.basePath.length);
  const anyHost = tables.filter((table) => table.site.hosts === null);
  const hosts = new Set(config.sites.flatMap((site) => site.hosts ?? []));
  const sitesByHost = new Map<string, readonly SiteTable[]>();
  for (const host of hosts) {
    // A site that names the host comes first, whatever its base path; what it does not claim is left to the others.
    sitesByHost.set(host, [...tables.filter((table) => table.site.hosts?.includes(host)), ...anyHost]);
  }
  const hasResources = config.sites.some(({ resources }) => resources.length > 0);
  return { config, sitesByHost, anyHost, hasResources };
}

/**
 * Finds the site and the most specific row: compared segment by segment, literal over `:param` over `*`; then a named
 * method over any. A row whose method does not match is passed over, so adding one for GET changes nothing for POST.
 * The cost depends on the depth of the path, not on the number of rows.
 *
 * A preflight counts as the request it asks for. Where the site has `cors`, which answers it, one for what no row covers
 * has a row for nobody: the caller must not forward it. Where the site has no `cors` and no row that names OPTIONS, a bare
 * one goes to the origin as an open request: browsers never authenticate preflights, and this one carries nothing to
 * be authenticated. Metadata of a protected resource stands below the host, whatever the site's base path, and comes
 * first. Fills in `trace.site` and `trace.route`.
 * @throws Problem `path_ambiguous`, `route_not_found`, `method_not_allowed`
 */
export function matchRoute(index: RouteIndex, arrival: Arrival, trace: Trace): Match {
  const tables = index.sitesByHost.get(arrival.host) ?? index.anyHost;
  const ambiguity = arrival.ambiguities & ~index.config.relaxedAnywhere;
  if (ambiguity !== 0) {
    trace.matched = wholeHost(tables);
    refuseAmbiguity(ambiguity);
  }
  const folded = foldPath(arrival.path);
  if (index.hasResources && folded.startsWith(METADATA_PATH)) {
    const metadata = matchMetadata(tables, folded, arrival, trace);
    if (metadata !== null) return metadata;
  }
  const table = findSite(tables, folded);
  if (table === null) throw new Problem("route_not_found", whyNoSite(index, tables, arrival));
  trace.site = table.site.name;
  trace.matched = { site: table.site, route: null };

  const route = findRoute(table, folded, arrival);
  trace.route = route.key;
  trace.matched = { site: table.site, route };
  if (table.site.isCaseSensitive && (folded !== arrival.path || table.notFolded.has(route.path))) {
    refuseOtherCase(route.path, arrival.path.slice(table.basePath.length));
  }
  if (route.isUnknown) throw new Problem("route_not_found", "the preset knows no such path");
  refuseAmbiguity(arrival.ambiguities & ~route.allow);

  const forwardPath = table.site.stripBasePath
    ? withoutSegments(arrival.path, countSlashes(table.basePath))
    : arrival.path;
  // Never forwarded, relaxed or not: some would read `//host/path` as a URL without scheme.
  if (forwardPath.startsWith("//")) throw new Problem("path_ambiguous", "empty first segment");
  return { site: table.site, route, forwardPath };
}

/** For the log: what was asked for, and a few of what there is. */
function whyNoSite({ sitesByHost }: RouteIndex, tables: readonly SiteTable[], { host }: Arrival): string {
  const [what, there] =
    tables.length > 0
      ? [`below this path of ${host}`, tables.map(({ basePath }) => basePath)]
      : [`has the host ${host}`, [...sitesByHost.keys()]];
  const more = there.length > MAX_NAMED ? ", …" : "";
  return `no site ${what}; there is ${there.slice(0, MAX_NAMED).join(", ") || "none"}${more}`;
}

/**
 * The path of a resource follows the well-known one, so the metadata belongs to the site that has the resource.
 * @returns `null`: there is no such resource, and the path is one like others
 * @throws Problem `method_not_allowed`
 */
function matchMetadata(
  tables: readonly SiteTable[],
  folded: string,
  arrival: Arrival,
  trace: Trace,
): Match | null {
  const path = folded.slice(METADATA_PATH.length).replace(/\/$/, "");
  const table = findSite(tables, path);
  const route = table?.metadata.get(path);
  if (table === null || route === undefined) return null;
  const { site } = table;
  trace.site = site.name;
  trace.route = route.key;
  trace.matched = { site, route };
  if (!route.methods.includes(arrival.method)) {
    throw new Problem("method_not_allowed", "metadata", { allow: route.methods });
  }
  return { site, route, forwardPath: arrival.path };
}

/**
 * An origin that tells `/Self` from `/self` may have another resource there, behind a row for any segment, with other
 * demands than the row that was found.
 */
function refuseOtherCase(pattern: string, path: string): void {
  const written = pattern.split("/");
  const sent = path.split("/");
  for (const [index, segment] of written.entries()) {
    if (segment === "*" || segment === "" || segment.startsWith(":") || segment === sent[index]) continue;
    throw new Problem("route_not_found", "the path differs in case from its row");
  }
}

/** Whose clients are spoken to before a path could be looked at: known where one site has the whole host. */
function wholeHost([only, ...others]: readonly SiteTable[]): Trace["matched"] {
  return only === undefined || only.basePath !== "" || others.length > 0
    ? null
    : { site: only.site, route: null };
}

function refuseAmbiguity(bits: number): void {
  if (bits !== 0) throw new Problem("path_ambiguous", ambiguityNames(bits).join(", "));
}

function findSite(tables: readonly SiteTable[], folded: string): SiteTable | null {
  for (const table of tables) {
    const { basePath } = table;
    if (basePath === "") return table;
    if (
      folded.startsWith(basePath) &&
      (folded.length === basePath.length || folded[basePath.length] === "/")
    ) {
      return table;
    }
  }
  return null;
}

function findRoute(table: SiteTable, folded: string, { method: sentMethod, request }: Arrival): Route {
  const { site } = table;
  const start = table.basePath.length;
  const refused: Rows[] = [];
  if (sentMethod === "OPTIONS" && isPreflight(request)) {
    const named = site.cors === null ? find(table.root, folded, start, "OPTIONS", []) : null;
    const isOrdinary = site.cors === null && !isBarePreflight(request, site);
    if (!isOrdinary && !named?.methods.includes("OPTIONS")) {
      const requested = request.headers.get("access-control-request-method") ?? NO_METHOD;
      const route = find(table.root, folded, start, forwardable(requested), refused);
      // Answered here, and the request behind it says what is wrong with it: in words that a page may read.
      if (route === null && site.cors !== null) return opened(site.unmatchedRoute);
      return opened(route ?? unmatched(site, forwardable(requested), refused));
    }
  }
  const method = forwardable(sentMethod);
  return find(table.root, folded, start, method, refused) ?? unmatched(site, method, refused);
}

function forwardable(method: string): string {
  return UNFORWARDABLE.has(method) ? NO_METHOD : method;
}

/** A declared path refuses other methods even where undeclared ones are forwarded. */
function unmatched(site: Site, method: string, refused: readonly Rows[]): Route {
  if (refused.length > 0) {
    throw new Problem("method_not_allowed", "path known", { allow: allowedMethods(refused) });
  }
  if (site.unmatched === "refuse") throw new Problem("route_not_found", "no row");
  if (method === NO_METHOD) throw new Problem("method_not_allowed", "method", { allow: USUAL_METHODS });
  return site.unmatchedRoute;
}

/** The row for a preflight of what the row covers: nobody to identify, nothing to demand. */
function opened(route: Route): Route {
  return {
    ...route,
    auth: "none",
    answer: null,
    accept: [],
    minimumRole: 0,
    scopes: [],
    anyScopes: [],
    permissions: [],
    anyPermissions: [],
    limit: route.limit?.by === "address" ? route.limit : null,
    cache: false,
  };
}

/**
 * The best row for the rest of the path from the slash at `start`. Depth first, better branches first: the first row
 * found is the most specific. `refused` collects rows of other methods.
 */
function find(node: Node, path: string, start: number, method: string, refused: Rows[]): Route | null {
  if (start >= path.length - 1) {
    const hasSlash = start < path.length;
    return (
      pick(hasSlash ? node.endingInSlash : node.ending, method, refused) ??
      pick(hasSlash ? node.ending : node.endingInSlash, method, refused) ??
      pick(node.rest, method, refused)
    );
  }
  const next = path.indexOf("/", start + 1);
  const end = next === -1 ? path.length : next;
  const segment = path.slice(start + 1, end);
  const literal = node.literals.get(segment);
  if (literal !== undefined) {
    const route = find(literal, path, end, method, refused);
    if (route !== null) return route;
  }
  if (node.param !== null && segment !== "") {
    const route = find(node.param, path, end, method, refused);
    if (route !== null) return route;
  }
  return pick(node.rest, method, refused);
}

function pick(rows: Rows | null, method: string, refused: Rows[]): Route | null {
  if (rows === null) return null;
  if (method !== NO_METHOD) {
    const named = rows.byMethod.get(method) ?? (method === "HEAD" ? rows.byMethod.get("GET") : undefined);
    const route = named ?? rows.anyMethod;
    if (route !== null) return route;
  }
  refused.push(rows);
  return null;
}

function allowedMethods(refused: readonly Rows[]): readonly string[] {
  const methods = new Set<string>();
  for (const rows of refused) {
    for (const method of rows.anyMethod === null ? rows.byMethod.keys() : USUAL_METHODS) methods.add(method);
  }
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods].filter((method) => !UNFORWARDABLE.has(method)).sort();
}

function siteTable(site: Site): SiteTable {
  const root = emptyNode();
  for (const route of site.routes) {
    const rows = rowsFor(root, route.path);
    if (route.methods.length === 0) rows.anyMethod ??= route;
    for (const method of route.methods) {
      if (!rows.byMethod.has(method)) rows.byMethod.set(method, route);
    }
  }
  const metadata = new Map(
    site.resources.map(({ path, metadataRoute }) => [foldConfiguredPath(path), metadataRoute]),
  );
  const notFolded = new Set(
    site.routes.map(({ path }) => path).filter((path) => path !== foldConfiguredPath(path)),
  );
  return { site, basePath: foldConfiguredPath(site.basePath), root, notFolded, metadata };
}

/** Walks a path as configured (`/a/:b/*`), making nodes where there are none. */
function rowsFor(root: Node, path: string): Rows {
  const segments = path.split("/").slice(1);
  const last = segments.pop() ?? "";
  const isOpenEnd = last === "*" || last === "";
  let node = root;
  for (const segment of isOpenEnd ? segments : [...segments, last]) node = childFor(node, segment);
  const place = last === "*" ? "rest" : last === "" ? "endingInSlash" : "ending";
  const rows = node[place] ?? { byMethod: new Map(), anyMethod: null };
  node[place] = rows;
  return rows;
}

function childFor(node: Node, segment: string): Node {
  if (segment.startsWith(":")) {
    node.param ??= emptyNode();
    return node.param;
  }
  const name = foldConfiguredPath(`/${segment}`).slice(1);
  const child = node.literals.get(name) ?? emptyNode();
  node.literals.set(name, child);
  return child;
}

function emptyNode(): Node {
  return { literals: new Map(), param: null, ending: null, endingInSlash: null, rest: null };
}

/** The path behind its first `count` segments; both spellings of a path have the same segments. */
function withoutSegments(path: string, count: number): string {
  let at = 0;
  for (let passed = 0; passed < count && at !== -1; passed++) at = path.indexOf("/", at + 1);
  return at === -1 ? "/" : path.slice(at);
}

function countSlashes(path: string): number {
  return path === "" ? 0 : path.split("/").length - 1;
}
