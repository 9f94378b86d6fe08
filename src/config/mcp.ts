// `mcp = true`: which rows are protected resources for MCP clients, or belong to one.
import type { RouteInput } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { SiteSource } from "./site-input.ts";
import type { Route } from "./types.ts";

/** What `mcp` of a site means for its rows. */
export interface McpFacts {
  /** As written, as clients write it. */
  readonly basePath: string;
  /** Whether every row that asks who is calling belongs to one resource, the site. */
  readonly isWholeSite: boolean;
  /** Whether those rows of the preset are resources that lead to an MCP server. */
  readonly isPresetEndpoint: boolean;
}

export function mcpFacts({ values, preset }: SiteSource): McpFacts {
  const isOn = values.mcp ?? false;
  return {
    basePath: values.base_path ?? "",
    isWholeSite: isOn && preset === null,
    isPresetEndpoint: isOn && preset !== null,
  };
}

/** The path of the resource that a row of this path is. */
export function resourcePath({ basePath }: McpFacts, path: string): string {
  return `${basePath}${path.replace(/\/\*?$/, "")}`;
}

/** The path of the resource that the row is, or belongs to. */
export function compileResource(
  given: RouteInput,
  auth: Route["auth"],
  key: string,
  mcp: McpFacts,
  { issues }: Scope,
): string | null {
  if (given.mcp !== true) {
    return mcp.isWholeSite && given.mcp === undefined && auth !== "none" ? mcp.basePath : null;
  }
  if (auth === "none") {
    issues.add(`${key}.mcp`, 'has no meaning with auth = "none", where nobody is asked who they are');
  } else if (given.path.includes("/:")) {
    issues.add(
      `${key}.mcp`,
      "needs a path without :name: metadata is about one URL; say it on the site, or on a row for that path",
    );
  } else return resourcePath(mcp, given.path);
  return null;
}
