// Compiled configuration as plain objects, everything open and every default filled in, for tests of single steps.
import type {
  Config,
  CredentialRules,
  GatewayConfig,
  Realm,
  Route,
  Site,
} from "../../../src/config/types.ts";
import { newTrace, type RequestContext, type Runtime } from "../../../src/context.ts";
import { arrive } from "../../../src/pipeline/path.ts";
import { buildRouteIndex, type Match, matchRoute } from "../../../src/pipeline/route.ts";
import type { IntrospectDeps } from "../../../src/pipeline/verify/introspect.ts";
import { Problem } from "../../../src/problem.ts";

export const NOW_SECONDS = 1_800_000_000;

export function aRoute(path: string, changes: Partial<Route> = {}): Route {
  return {
    key: `SITE_TEST ${changes.methods?.join(",") ?? ""} ${path}`,
    path,
    methods: [],
    auth: "required",
    answer: null,
    resource: null,
    isUnknown: false,
    letsAnonymousPass: false,
    takesExpiredKeys: false,
    ignoresUserHeader: false,
    accept: ["jwt", "api_key", "pat", "session"],
    minimumRole: 0,
    scopes: [],
    anyScopes: [],
    permissions: [],
    anyPermissions: [],
    limit: null,
    freshnessSeconds: 30,
    mode: "enforce",
    allow: 0,
    cache: false,
    firstByteSeconds: null,
    maxStreamSeconds: null,
    ...changes,
  };
}

export function someRules(changes: Partial<CredentialRules> = {}): CredentialRules {
  return {
    authorization: "bearer",
    headers: [],
    cookies: [],
    query: [],
    conflict: "refuse",
    onInvalid: "refuse",
    forwardCredential: false,
    userHeader: null,
    userHeaderOnSessions: true,
    ...changes,
  };
}

const USER_CONTEXT = {
  algorithm: "ES256",
  secret: null,
  header: "X-User-Context",
  bind: "site",
  lifeSeconds: 60,
  plainHeaders: null,
  attributes: [],
} as const;

export const TEST_REALM: Realm = {
  name: "test",
  untaggedKeys: false,
  roles: ["public", "user", "admin", "root"],
  signIn: null,
};

export function aSite(routes: readonly Route[], changes: Partial<Site> = {}): Site {
  return {
    name: "test",
    hosts: null,
    basePath: "",
    stripBasePath: false,
    origin: { kind: "url", url: new URL("https://origin.internal") },
    originHeaders: [],
    realm: TEST_REALM,
    preset: null,
    introspection: null,
    isCaseSensitive: false,
    ladder: ["public", "user", "admin", "root"],
    users: "required",
    revocation: "feed",
    credentials: someRules(),
    jwtIssuers: [],
    userContext: USER_CONTEXT,
    stripHeaders: [],
    unmatched: "refuse",
    requestIdOnResponses: false,
    cors: null,
    resources: [],
    routes,
    unmatchedRoute: aRoute("/*", { key: "SITE_TEST unmatched", auth: "none" }),
    ...changes,
  };
}

export function aConfig(sites: readonly Site[], gateway: Partial<GatewayConfig> = {}): Config {
  return {
    gateway: {
      issuer: "https://gateway.example",
      hosts: null,
      freshnessSeconds: 30,
      isProduction: true,
      clientAddressHeader: "cf-connecting-ip",
      apiKeyPrefix: "sk-",
      userContext: USER_CONTEXT,
      ...gateway,
    },
    sites,
    realms: new Map(sites.map((site) => [site.realm.name, site.realm])),
    secrets: { tagSecrets: [], peppers: [], signingKeys: [], adminToken: null },
    relaxedAnywhere: sites.reduce(
      (bits, site) => [...site.routes, site.unmatchedRoute].reduce((all, route) => all | route.allow, bits),
      0,
    ),
  };
}

/** A context for the steps up to the credential; what later steps use is absent and throws when touched. */
export function aContext(config: Config, request: Request): RequestContext {
  return {
    arrival: arrive(request),
    runtime: { config, routes: buildRouteIndex(config) } as unknown as Runtime,
    requestId: "request-1",
    nowSeconds: NOW_SECONDS,
    clientAddress: "203.0.113.7",
    background: () => {},
    trace: newTrace(),
  };
}

/** As bare workerd hands it over: the URL exactly as sent. `new Request` would normalize it. */
export function rawRequest(url: string, headers: Record<string, string> = {}, method = "GET"): Request {
  return { url, method, headers: new Headers(headers), body: null } as unknown as Request;
}

export function match(config: Config, request: Request): Match {
  return matchRoute(buildRouteIndex(config), arrive(request), newTrace());
}

/** The problem that `act` throws; fails when it throws nothing or something else. */
export function problemOf(act: () => unknown): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** For sites that do not introspect. */
export const NOBODY_ASKS: Pick<IntrospectDeps, "introspections"> = {
  introspections: {
    learn: () => {
      throw new Error("nobody is asked here");
    },
    isYoung: () => false,
  },
};
