// The CORS table of a site (Fetch standard, CORS protocol).
import type { SiteInput } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { Cors, CredentialRules } from "./types.ts";

const DEFAULT_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const DEFAULT_MAX_AGE_SECONDS = 600;

/** What MCP clients in a page send, up to the revision of July 2026, and what they have to read. */
const MCP_REQUEST_HEADERS = [
  "last-event-id",
  "mcp-method",
  "mcp-name",
  "mcp-protocol-version",
  "mcp-session-id",
];
const MCP_RESPONSE_HEADERS = ["mcp-session-id", "www-authenticate"];

export function compileCors(
  given: NonNullable<SiteInput["cors"]>,
  credentials: CredentialRules,
  isMcp: boolean,
  key: string,
  { issues }: Scope,
): Cors {
  const { userHeader } = credentials;
  for (const [index, origin] of given.allow_origins.entries()) {
    if (origin !== "*" && !isOrigin(origin)) {
      issues.add(
        `${key}.allow_origins[${index}]`,
        "must be an origin as browsers send it: scheme and host in lower case, a port if not the usual one, nothing after",
      );
    }
  }
  if (given.allow_origins.includes("*")) {
    if (given.allow_origins.length > 1) {
      issues.add(`${key}.allow_origins`, 'must hold "*" alone, or the origins without it');
    }
    if (given.allow_credentials === true) {
      issues.add(`${key}.allow_credentials`, 'does not go with allow_origins = ["*"]: list the origins');
    }
  }
  if (given.allow_headers?.includes("*") && given.allow_credentials === true) {
    issues.add(`${key}.allow_headers`, 'does not go with allow_credentials as ["*"]: list the names');
  }
  if (given.expose_headers?.includes("*"))
    issues.add(`${key}.expose_headers`, 'must list header names: "*" does not cover Authorization');
  const ownHeaders = [
    "authorization",
    "content-type",
    ...credentials.headers,
    ...(isMcp ? MCP_REQUEST_HEADERS : []),
  ];
  return {
    allowOrigins: given.allow_origins,
    allowMethods: given.allow_methods ?? DEFAULT_METHODS,
    allowHeaders:
      given.allow_headers?.map((name) => name.toLowerCase()) ??
      (userHeader === null ? ownHeaders : [...ownHeaders, userHeader]),
    exposeHeaders:
      given.expose_headers?.map((name) => name.toLowerCase()) ?? (isMcp ? MCP_RESPONSE_HEADERS : []),
    allowCredentials: given.allow_credentials ?? false,
    maxAgeSeconds: given.max_age_seconds ?? DEFAULT_MAX_AGE_SECONDS,
  };
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}
