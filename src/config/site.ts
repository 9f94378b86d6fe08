// One site, compiled: every default filled in, every key checked against the others.
import { foldConfiguredPath } from "../pipeline/path.ts";
import { checkPreset } from "./check-preset.ts";
import { compileCors } from "./cors.ts";
import { compileCredentialRules, verifiableKinds } from "./credential-rules.ts";
import { compileJwtIssuer } from "./jwt-issuer.ts";
import { mcpFacts } from "./mcp.ts";
import { compileResources } from "./mcp-resources.ts";
import { ambiguityBits, pathProblem } from "./names.ts";
import { compileOrigin, compileOriginHeaders } from "./origin.ts";
import { presetRoutes } from "./preset.ts";
import { DEFAULT_LADDER, realmNameOf } from "./realms.ts";
import { compileRoutes, unmatchedRoute } from "./routes.ts";
import type { Scope } from "./scope.ts";
import type { SiteSource } from "./site-input.ts";
import type { CredentialRules, GatewayConfig, JwtIssuer, Origin, Realm, Route, Site } from "./types.ts";
import { compileUserContext, ownHeaders } from "./user-context.ts";

/** Stands in where there is no such realm, which cannot be: every site's realm is compiled before the site. */
const NO_REALM: Realm = { name: "", untaggedKeys: false, roles: DEFAULT_LADDER, signIn: null };

/** Stands in for an origin that had issues, so that the rest of the site is checked as well. Never leaves a load. */
const NO_ORIGIN: Origin = { kind: "self" };

/** Compiles a site. Every problem goes to the issues; what comes back is only good when there were none. */
export function compileSite(
  source: SiteSource,
  gateway: GatewayConfig,
  realms: ReadonlyMap<string, Realm>,
  scope: Scope,
): Site {
  const { values, keyOf, failed } = source;
  const { issues } = scope;
  const hosts = values.hosts ?? null;
  if (hosts !== null && new Set(hosts).size < hosts.length) issues.add(keyOf("hosts"), "names a host twice");
  const ladder = values.roles ?? DEFAULT_LADDER;
  if (new Set(ladder).size < ladder.length) issues.add(keyOf("roles"), "names a role twice");
  const userContext = compileUserContext(values, gateway.userContext, keyOf, scope);
  const ours = ownHeaders(userContext);
  const realm = realms.get(realmNameOf(source)) ?? NO_REALM;
  const credentials = withSignIn(
    compileCredentialRules(values, ours, keyOf, scope),
    values.user_header !== undefined,
    realm,
  );
  const originHeaders = compileOriginHeaders(
    values.origin_headers ?? {},
    ours,
    keyOf("origin_headers"),
    scope,
  );
  if (credentials.forwardCredential && originHeaders.some(([name]) => isCredentialPlace(name, credentials))) {
    issues.add(
      keyOf("origin_headers"),
      "sets a header in which forward_credential sends the caller's credential",
    );
  }
  if (values.introspect === true && originHeaders.some(([name]) => isAskedWith(name, credentials))) {
    issues.add(
      keyOf("origin_headers"),
      "sets a header in which introspect sends the caller's credential: the origin would speak of somebody else",
    );
  }
  const users = values.users ?? "required";
  const revocation = values.revocation ?? "feed";
  if (revocation === "none" && users === "required" && !failed.has("users")) {
    issues.add(
      keyOf("revocation"),
      'may be "none" only with users = "none": users and keys are always looked up',
    );
  }
  if (realm.signIn !== null && users === "none") {
    issues.add(
      keyOf("users"),
      `must be "required": people sign in to the realm ${realm.name}, and what they get is theirs`,
    );
  }
  checkPreset(source, realm, scope);
  const preset = source.preset?.compile({ values, keyOf, isIssuing: values.issue ?? false }, scope) ?? null;
  const introspection = (values.introspect === true && source.preset?.introspection) || null;
  const jwtIssuers = compileIssuers(source, realm, scope);
  const hasIssuer = source.jwt.length > 0 || failed.has("jwt") || realm.signIn !== null;
  const verifiable = verifiableKinds(credentials, hasIssuer, users, preset, introspection);
  const allow = ambiguityBits(values.allow ?? []);
  const facts = {
    ladder,
    verifiable: verifiable.kinds,
    whyNot: verifiable.whyNot,
    canAge: revocation === "feed" || introspection !== null,
    areRightsKnown: users === "required" || introspection !== null,
    forwardCredential: credentials.forwardCredential,
    allow,
    gatewayFreshnessSeconds: gateway.freshnessSeconds,
    mcp: mcpFacts(source),
  };
  const own = compileRoutes(source.routes, facts, scope);
  const routes =
    source.preset === null
      ? own
      : [...own, ...presetRoutes(source.preset, preset?.isIssuing ?? false, own, facts, scope.issues)];
  const foreignIssuers = jwtIssuers.filter((issuer) => issuer !== realm.signIn?.issuer);
  const resources = compileResources(source, routes, own, foreignIssuers, facts, scope);
  return {
    name: source.name,
    hosts,
    basePath: compileBasePath(source, allow, scope),
    stripBasePath: values.strip_base_path ?? false,
    origin: compileSiteOrigin(source, hosts, scope),
    originHeaders,
    realm,
    preset,
    introspection,
    isCaseSensitive: source.preset?.isCaseSensitive ?? false,
    ladder,
    users,
    revocation,
    credentials,
    jwtIssuers,
    userContext,
    stripHeaders: [...new Set((values.strip_headers ?? []).map((name) => name.toLowerCase()))],
    unmatched: compileUnmatched(source, scope),
    requestIdOnResponses: values.request_id === "always",
    cors:
      values.cors === undefined
        ? null
        : compileCors(values.cors, credentials, resources.length > 0, keyOf("cors"), scope),
    resources,
    routes,
    unmatchedRoute: unmatchedRoute(keyOf("unmatched"), allow, gateway.freshnessSeconds),
  };
}

/**
 * The session cookie of the realm is read wherever the realm's users are, and stands alone there: a page cannot add a
 * header to every request it causes, and what the header is for, the cookie's own rules see to.
 */
function withSignIn(rules: CredentialRules, isHeaderNamed: boolean, { signIn }: Realm): CredentialRules {
  if (signIn === null) return rules;
  const isKnown = signIn.cookie === null || rules.cookies.includes(signIn.cookie);
  const cookies = isKnown ? rules.cookies : [...rules.cookies, signIn.cookie ?? ""];
  return { ...rules, cookies, userHeaderOnSessions: isHeaderNamed };
}

/** Whether any route may lead to a look-up of users, keys or revocations, which needs D1. */
export function needsStore(site: Site): boolean {
  const isChecked = (route: Route) =>
    route.auth !== "none" && (site.users === "required" || site.revocation === "feed");
  return site.routes.some((route) => isChecked(route) || route.limit?.kind === "exact");
}

function compileSiteOrigin(source: SiteSource, hosts: readonly string[] | null, scope: Scope): Origin {
  const { origin } = source.values;
  if (origin !== undefined) return compileOrigin(origin, hosts, source.keyOf("origin"), scope) ?? NO_ORIGIN;
  if (!source.failed.has("origin")) {
    scope.issues.add(source.keyOf("origin"), "is required: where allowed requests go");
  }
  return NO_ORIGIN;
}

function compileBasePath(source: SiteSource, allow: number, { issues }: Scope): string {
  const { base_path: basePath, strip_base_path: isStripped } = source.values;
  const key = source.keyOf("base_path");
  if (basePath === undefined) {
    if (isStripped === true && !source.failed.has("base_path")) {
      issues.add(source.keyOf("strip_base_path"), "has a meaning only beside base_path");
    }
    return "";
  }
  const problem = pathProblem(basePath, allow);
  if (basePath === "/") issues.add(key, 'must not be "/": leave it out for the whole host');
  else if (problem !== null) issues.add(key, problem);
  else if (basePath.endsWith("/")) issues.add(key, "must not end with a slash");
  else if (/(^|\/)(:|[^/]*\*)/.test(basePath)) issues.add(key, "must be literal, without :param and *");
  else if (basePath.toLowerCase() === "/_gateway" || basePath.toLowerCase().startsWith("/_gateway/")) {
    issues.add(key, "is the control plane's own: choose another path");
  } else return foldConfiguredPath(basePath);
  return "";
}

function compileUnmatched(source: SiteSource, { issues }: Scope): Site["unmatched"] {
  const unmatched = source.values.unmatched ?? "refuse";
  if (unmatched === "forward") {
    issues.warn(
      source.keyOf("unmatched"),
      "forward sends every request without a route to the origin, as anonymous",
    );
  } else if (source.routes.length === 0 && source.preset === null && !source.failed.has("routes")) {
    issues.warn(source.keyOf("routes"), "there are none: every request to this site is answered with 404");
  }
  return unmatched;
}

/** The site's own, then the gateway itself where people sign in to the realm. */
function compileIssuers(source: SiteSource, { name, signIn }: Realm, scope: Scope): readonly JwtIssuer[] {
  const issuers: JwtIssuer[] = [];
  const places = new Map<string, string>();
  for (const [index, { key, value }] of source.jwt.entries()) {
    const issuedBy = value.issuer ?? source.preset?.jwt?.defaults.issuer ?? "";
    const earlier = places.get(issuedBy);
    if (earlier !== undefined) {
      scope.issues.add(`${key}.issuer`, `is also that of ${earlier}: issuers are told apart by it`);
    }
    if (signIn !== null && value.issuer === signIn.issuer.issuer) {
      scope.issues.add(
        `${key}.issuer`,
        `is the gateway itself, whose tokens for the realm ${name} are taken anyway: leave this table out`,
      );
    }
    places.set(issuedBy, key);
    const issuer = compileJwtIssuer(value, `${source.name}/${index}`, key, source.preset?.jwt ?? null, scope);
    if (issuer !== null) issuers.push(issuer);
  }
  return signIn === null ? issuers : [...issuers, signIn.issuer];
}

function isAskedWith(name: string, { userHeader }: Site["credentials"]): boolean {
  return name === "authorization" || name === "cookie" || name === userHeader;
}

function isCredentialPlace(name: string, credentials: Site["credentials"]): boolean {
  if (name === "authorization") return credentials.authorization !== "off";
  return name === "cookie" ? credentials.cookies.length > 0 : credentials.headers.includes(name);
}
