// A site with a base path takes everything below it, also what rows of another site on the same host were written for.
import { foldConfiguredPath } from "../pipeline/path.ts";
import type { Route, Site } from "./types.ts";

export interface HiddenRow {
  readonly route: Route;
  /** Where it is hidden; the row may be reached on other hosts of its site. */
  readonly host: string;
  readonly by: Site;
}

/**
 * Rows no path of which reaches their site on some host, once for each site that hides them. A site without hosts is
 * compared with others without hosts only: it is there for what sites that name a host leave.
 */
export function hiddenRows(sites: readonly Site[]): readonly HiddenRow[] {
  const found: HiddenRow[] = [];
  for (const site of sites) {
    for (const by of sites) {
      const isInside = by.basePath !== site.basePath && isBelow(by.basePath, site.basePath);
      const host = isInside ? sharedHost(site, by) : null;
      if (host === null) continue;
      for (const route of site.routes) {
        const isRead = route.path.startsWith("/");
        if (isRead && isBelow(foldConfiguredPath(site.basePath + route.path), by.basePath)) {
          found.push({ route, host, by });
        }
      }
    }
  }
  return found;
}

function isBelow(path: string, base: string): boolean {
  return path === base || path.startsWith(`${base}/`);
}

function sharedHost(a: Site, b: Site): string | null {
  if (a.hosts === null) return b.hosts === null ? "any host" : null;
  return a.hosts.find((host) => b.hosts?.includes(host)) ?? null;
}
