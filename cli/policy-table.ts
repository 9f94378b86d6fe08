// The compiled policy as people read it: routes of each site in match order, most specific first.
import type { ConfigIssue } from "../src/config/issue.ts";
import { compareSpecificity } from "../src/config/specificity.ts";
import type { Config, Limit, Origin, Route, Site } from "../src/config/types.ts";
import { ambiguityNames } from "../src/pipeline/path.ts";

const HEADINGS = ["METHOD", "PATH", "AUTH", "ACCEPT", "FRESHNESS", "MODE", "ROUTE", "DEMANDS"];

/** Every site with its routes, as lines. */
export function policyTable(config: Config): readonly string[] {
  return config.sites.flatMap((site, index) => [...(index === 0 ? [] : [""]), ...siteTable(site)]);
}

/** `key: message` for each issue, as lines. */
export function issueLines(issues: readonly ConfigIssue[]): readonly string[] {
  return issues.map(({ key, message }) => `  ${key}: ${message}`);
}

/** Columns as wide as their widest cell, two blanks apart. */
export function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd(),
  );
}

function siteTable(site: Site): readonly string[] {
  const place = `${site.hosts?.join(", ") ?? "any host"}${site.basePath}`;
  const facts = [
    `realm ${site.realm.name}`,
    ...(site.users === "none" ? ["users none"] : []),
    ...(site.revocation === "none" ? ["revocation none"] : []),
    ...(site.stripBasePath ? ["base path removed"] : []),
  ];
  const routes = [...site.routes].sort(
    (a, b) =>
      compareSpecificity(a, b) || compareText(a.path, b.path) || compareText(methodsOf(a), methodsOf(b)),
  );
  const isCovered = site.routes.some((route) => route.path === "/*" && route.methods.length === 0);
  const rest = site.unmatched === "forward" ? row(site, site.unmatchedRoute) : refusedRow(site);
  return [
    `site ${site.name}: ${place} -> ${originText(site.origin)} (${facts.join(", ")})`,
    ...aligned([
      HEADINGS,
      ...routes.map((route) => row(site, route)),
      ...(isCovered ? [] : [rest]),
      ...site.resources.map(({ metadataRoute }) => row({ ...site, basePath: "" }, metadataRoute)),
    ]),
  ];
}

function row(site: Site, route: Route): readonly string[] {
  const isAsked = route.auth !== "none";
  return [
    methodsOf(route),
    site.basePath + route.path,
    route.isUnknown ? "404" : route.auth,
    route.accept.join(" ") || "-",
    isAsked && site.revocation === "feed" ? `${route.freshnessSeconds} s` : "-",
    route.mode,
    route.key,
    demandsOf(site, route).join("; "),
  ];
}

function refusedRow(site: Site): readonly string[] {
  return ["any", `${site.basePath}/*`, "404", "-", "-", "-", "(everything else)", ""];
}

function methodsOf(route: Route): string {
  return route.methods.join(",") || "any";
}

function demandsOf(site: Site, route: Route): readonly string[] {
  const demands: string[] = route.answer === null ? [] : ["answered here"];
  const list = (label: string, values: readonly string[]) => {
    if (values.length > 0) demands.push(`${label} ${values.join(" ")}`);
  };
  if (route.minimumRole > 0) demands.push(`role ${site.ladder[route.minimumRole]}`);
  list("scopes", route.scopes);
  list("any scope of", route.anyScopes);
  list("permissions", route.permissions);
  list("any permission of", route.anyPermissions);
  if (route.limit !== null) demands.push(limitText(route.limit));
  list("allow", ambiguityNames(route.allow));
  if (route.cache) demands.push("cache");
  if (route.firstByteSeconds !== null) demands.push(`first byte ${route.firstByteSeconds} s`);
  if (route.maxStreamSeconds !== null) demands.push(`stream ${route.maxStreamSeconds} s`);
  return demands;
}

function limitText(limit: Limit): string {
  const amount = limit.kind === "binding" ? limit.bindingName : `${limit.requests} in ${limit.perSeconds} s`;
  return `limit ${amount} by ${limit.by}`;
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case "url":
      return origin.url.origin;
    case "service":
      return `service ${origin.bindingName}`;
    case "mtls":
      return `${origin.url.origin} with certificate ${origin.bindingName}`;
    default:
      return origin.kind;
  }
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
