// The whole configuration, compiled: the gateway, its realms, its sites, and what holds between them.
import { createCompactSigner } from "../crypto/context-signer.ts";
import { hiddenRows } from "./hidden-rows.ts";
import type { Issues } from "./issue.ts";
import { isLoopback, parseUrl } from "./names.ts";
import { nearest, readPartly } from "./read.ts";
import { compileRealms, GATEWAY_REALM } from "./realms.ts";
import { warnOfSameTokens } from "./same-tokens.ts";
import { type GatewayInput, GatewaySchema, type SigningAlgorithm } from "./schema.ts";
import { findBinding, type Scope } from "./scope.ts";
import { ADMIN_TOKEN, areEqual, readGatewaySecrets, type SecretSource } from "./secrets.ts";
import { compileSite, needsStore } from "./site.ts";
import { parsedIfJson, readSites, type SiteSource } from "./site-input.ts";
import type { Config, GatewayConfig, Site, UserContextSettings } from "./types.ts";
import { compileGatewayUserContext, isHmac } from "./user-context.ts";

const DEFAULT_FRESHNESS_SECONDS = 30;

/** What `GATEWAY` says, as far as it could be read. `null`: it is missing or no table, which is an issue by then. */
export function readGateway(scope: Omit<Scope, "isProduction">): GatewayInput | null {
  const { env, issues } = scope;
  for (const variable of Object.keys(env)) {
    if (!/^gateway__/i.test(variable)) continue;
    issues.add(variable, "is not read: only sites go on in further variables; move it into GATEWAY");
  }
  if (env.GATEWAY === undefined) {
    const guess = nearest("GATEWAY", Object.keys(env));
    const hint = guess === null ? "" : `; there is ${guess}, whose name differs`;
    issues.add("GATEWAY", `is missing: add a [vars.GATEWAY] table${hint}`);
    return null;
  }
  const reading = readPartly(GatewaySchema, parsedIfJson(env.GATEWAY), "GATEWAY", issues);
  if (reading === null) return null;
  if (reading.value.issuer === undefined && !reading.failed.has("issuer")) {
    issues.add("GATEWAY.issuer", "is required: the URL by which origins know this gateway");
  }
  return reading.value;
}

/** Every problem goes to the issues; what comes back is only good when there were none. */
export function compileConfig(given: GatewayInput, { secrets: source, ...rest }: Scope): Config {
  const { issues } = rest;
  const seen = new Map<string, string>();
  const scope: Scope = { ...rest, secrets: noting(source, seen) };
  const gateway = compileGateway(given, scope);
  const sources = readSites(scope.env, issues);
  const ownKeys: JsonWebKey[] = [];
  const realms = compileRealms(given, sources, ownKeys, issues);
  const sites = sources.map((source) => compileSite(source, gateway, realms, scope));
  const signsIn = [...realms.values()].some(({ signIn }) => signIn !== null);
  const looksUp = signsIn || realms.has(GATEWAY_REALM);
  if (sites.length === 0) issues.warn("SITE_<NAME>", "there is no site: every request is answered with 404");
  const placed = sites.filter((_, index) => isPlaceKnown(sources[index], issues));
  reportSharedPlaces(placed, gateway, scope);
  for (const { route, host, by } of hiddenRows(placed)) {
    issues.warn(
      `${route.key}.path`,
      `is never reached on ${host}: SITE_${by.name.toUpperCase()} has ${by.basePath} there; move the row to that site`,
    );
  }
  reportSentSecrets(sources, issues);
  warnOfSameTokens(sites, (index) => `${sources[index]?.keyOf("jwt")}`, issues);
  reportSharedSecrets(sites, (index) => `${sources[index]?.keyOf("user_context")}.secret`, issues);
  if ((looksUp || sites.some(needsStore)) && findBinding(scope.env, "DB", "prepare") === null) {
    issues.add(
      "DB",
      'the D1 binding is missing: add [[d1_databases]] with binding = "DB" (credentials are looked up there)',
    );
  }
  const secrets = readGatewaySecrets(
    {
      stored: looksUp || acceptsStored(sites),
      algorithms: signingAlgorithms(sites, signsIn ? gateway.userContext : null),
    },
    scope.secrets,
    issues,
  );
  reportSharedAdminToken(seen, issues);
  ownKeys.push(...createCompactSigner(secrets.signingKeys).publicJwks.keys);
  return { gateway, sites, realms, secrets, relaxedAnywhere: relaxedAnywhere(sites) };
}

/** The same source, and every text that it gave, by name. */
function noting(source: SecretSource, seen: Map<string, string>): SecretSource {
  return (need) => {
    const value = source(need);
    if (typeof value === "string") seen.set(need.name, value);
    return value;
  };
}

function compileGateway(given: GatewayInput, scope: Scope): GatewayConfig {
  const { issues, isProduction } = scope;
  const issuer = given.issuer ?? "";
  if (issuer !== "") {
    const url = parseUrl(issuer);
    if (typeof url === "string") issues.add("GATEWAY.issuer", url);
    else if (issuer.includes("?")) issues.add("GATEWAY.issuer", "must not have a query");
    else if (url.protocol === "http:" && (isProduction || !isLoopback(url))) {
      const mend = isLoopback(url) ? '; on this machine http will do with environment = "development"' : "";
      issues.add("GATEWAY.issuer", `must be https${mend}`);
    }
  }
  if (!isProduction) {
    issues.warn("GATEWAY.environment", "is development, which permits the echo origin: not for a deployment");
  }
  if (given.hosts === undefined) {
    issues.warn("GATEWAY.hosts", "is not set: /_gateway answers on every host; name the one it is for");
  }
  const addressHeader = given.client_address_header ?? "CF-Connecting-IP";
  if (isProduction && addressHeader !== false && addressHeader.toLowerCase() !== "cf-connecting-ip") {
    issues.warn(
      "GATEWAY.client_address_header",
      "is one that a client can send: only CF-Connecting-IP is set by Cloudflare",
    );
  }
  return {
    issuer,
    hosts: given.hosts === undefined ? null : new Set(given.hosts),
    freshnessSeconds: given.freshness_seconds ?? DEFAULT_FRESHNESS_SECONDS,
    isProduction,
    clientAddressHeader: addressHeader === false ? null : addressHeader.toLowerCase(),
    apiKeyPrefix: given.api_key_prefix ?? "sk-",
    userContext: compileGatewayUserContext(given.user_context, scope),
  };
}

/** Whether hosts and base path are as written: those of a site with mistakes in them say nothing about other sites. */
function isPlaceKnown(source: SiteSource | undefined, issues: Issues): boolean {
  if (source === undefined || source.failed.has("hosts") || source.failed.has("base_path")) return false;
  return issues.problems.every(({ key }) => key !== source.keyOf("base_path"));
}

/** A request belongs to one site, and `/_gateway` to the control plane, or to those who sign in on the host. */
function reportSharedPlaces(sites: readonly Site[], gateway: GatewayConfig, { issues }: Scope): void {
  const claims = new Map<string, string>();
  const signInHosts = new Set(
    sites.flatMap(({ realm, hosts }) => (realm.signIn === null ? [] : (hosts ?? []))),
  );
  for (const site of sites) {
    const key = `SITE_${site.name.toUpperCase()}`;
    for (const host of site.hosts ?? ["*"]) {
      const place = `${host === "*" ? "any host" : host}${site.basePath}`;
      const other = claims.get(place);
      if (other !== undefined) {
        issues.add(
          key,
          `ties with ${other}: both claim ${place}; give one of them other hosts or a base_path`,
        );
      }
      claims.set(place, key);
    }
    const why = whyShadowed(site, gateway, signInHosts);
    if (why === null) continue;
    for (const route of site.routes) {
      const path = (site.basePath + route.path).toLowerCase();
      if (path === "/_gateway" || path.startsWith("/_gateway/")) issues.add(`${route.key}.path`, why);
    }
  }
}

/** Why rows below `/_gateway` are not the site's to have; `null` where they are. */
function whyShadowed(site: Site, { hosts }: GatewayConfig, signInHosts: ReadonlySet<string>): string | null {
  if (hosts === null || (site.hosts ?? [...hosts]).some((host) => hosts.has(host))) {
    return "is never reached: /_gateway is the control plane on this host";
  }
  const host = (site.hosts ?? [...signInHosts]).find((name) => signInHosts.has(name));
  return host === undefined ? null : `is not the site's to have: people sign in at /_gateway on ${host}`;
}

/** An origin that verifies by a shared secret can also sign with it: it must not be able to speak for anyone else. */
function reportSharedSecrets(sites: readonly Site[], keyOf: (index: number) => string, issues: Issues): void {
  const issuerSecrets = sites.flatMap(({ jwtIssuers }) =>
    jwtIssuers.flatMap(({ keys }) => (keys.kind === "secret" ? [keys.secret] : [])),
  );
  for (const [index, { userContext }] of sites.entries()) {
    const { secret } = userContext;
    if (secret === null) continue;
    if (issuerSecrets.some((other) => areEqual(other, secret))) {
      issues.add(
        keyOf(index),
        "is also a JWT issuer's secret, so that the origin could sign credentials: make another one",
      );
    }
    const isShared = sites
      .slice(0, index)
      .some((site) => site.userContext.secret && areEqual(site.userContext.secret, secret));
    if (isShared)
      issues.warn(keyOf(index), "is also that of another site, whose origin could sign for this one");
  }
}

/** What opens the admin API is known to nobody else: no origin, no issuer. */
function reportSharedAdminToken(seen: ReadonlyMap<string, string>, issues: Issues): void {
  const token = seen.get(ADMIN_TOKEN)?.trim();
  if (!token) return;
  for (const [name, text] of seen) {
    if (name === ADMIN_TOKEN) continue;
    // The secret itself, or a value of a list.
    const isShared =
      text.trim() === token ||
      text.split(/[\s,]+/).some((entry) => entry === token || entry.endsWith(`:${token}`));
    if (isShared)
      issues.add(ADMIN_TOKEN, `is also the secret ${name}, which others may know: make another one`);
  }
}

/** A secret that signs or verifies is never sent: whoever receives it can sign. */
function reportSentSecrets(sources: readonly SiteSource[], issues: Issues): void {
  const places = new Map<string, string>();
  for (const { values, jwt, keyOf } of sources) {
    for (const { key, value } of jwt) if (value.secret !== undefined) places.set(value.secret, key);
    const own = values.user_context?.secret;
    if (own !== undefined) places.set(own, keyOf("user_context"));
  }
  for (const { values, keyOf } of sources) {
    for (const [name, text] of Object.entries(values.origin_headers ?? {})) {
      const place = text.startsWith("secret:") ? places.get(text.slice("secret:".length)) : undefined;
      if (place === undefined) continue;
      issues.add(
        `${keyOf("origin_headers")}.${name}`,
        `would send the origin the secret of ${place}, so that it could sign: make another one`,
      );
    }
  }
}

/** Whether anything but JWTs is looked up anywhere. */
function acceptsStored(sites: readonly Site[]): boolean {
  return sites.some(
    ({ users, routes }) =>
      users === "required" && routes.some(({ accept }) => accept.some((kind) => kind !== "jwt")),
  );
}

/** @param own what access tokens are signed with, where any are */
function signingAlgorithms(
  sites: readonly Site[],
  own: UserContextSettings | null,
): readonly SigningAlgorithm[] {
  const algorithms = new Set<SigningAlgorithm>();
  for (const userContext of [...sites.map((site) => site.userContext), ...(own === null ? [] : [own])])
    if (!isHmac(userContext.algorithm)) algorithms.add(userContext.algorithm);
  return [...algorithms];
}

function relaxedAnywhere(sites: readonly Site[]): number {
  let bits = 0;
  for (const site of sites) {
    bits |= site.unmatchedRoute.allow;
    for (const route of site.routes) bits |= route.allow;
  }
  return bits;
}
