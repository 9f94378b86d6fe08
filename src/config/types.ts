// The compiled configuration: what `loadConfig` makes of `[vars]` once per isolate, frozen, every default filled in.
import type { Claims, FactsOrReason, TokenFacts } from "../pipeline/verify/claims.ts";
import type { AnswerName } from "../presets/answer.ts";
import type { Introspection, PresetRules } from "../presets/preset.ts";
import type { CredentialKind } from "../types.ts";
import type { GatewaySecrets } from "./secrets.ts";

export interface Config {
  readonly gateway: GatewayConfig;
  /** In the order of their names. Routing goes through `pipeline/route.ts`, which indexes them by host. */
  readonly sites: readonly Site[];
  readonly realms: ReadonlyMap<string, Realm>;
  readonly secrets: GatewaySecrets;
  /** Ambiguities that any site or route relaxes; a path with another one is refused before any look-up. */
  readonly relaxedAnywhere: number;
}

export interface GatewayConfig {
  /** `iss` of everything the gateway signs. */
  readonly issuer: string;
  /** Where `/_gateway/*` answers; `null`: on every host. */
  readonly hosts: ReadonlySet<string> | null;
  readonly freshnessSeconds: number;
  /** `false` permits the `echo` origin and plain-HTTP conveniences; `check` says so. Key: `environment`. */
  readonly isProduction: boolean;
  /** Lower-case name of the header that carries the client's address; `null`: the address is not known. */
  readonly clientAddressHeader: string | null;
  /** Prefix of the API keys minted here, `sk-` unless configured. */
  readonly apiKeyPrefix: string;
  readonly userContext: UserContextSettings;
}

/** A user directory; sites may share one. Key: `GATEWAY.realms.<name>`; a site without one gets a realm of its own name. */
export interface Realm {
  readonly name: string;
  /** Imported keys carry no tag, so every well-formed unknown one costs a look-up. */
  readonly untaggedKeys: boolean;
  /** Roles a user of the realm can have: the steps that all its sites' ladders share, lowest first. */
  readonly roles: readonly string[];
  /** `null`: nobody signs in here. Key: `GATEWAY.realms.<name>.sign_in`. */
  readonly signIn: SignIn | null;
}

/** How people sign in to a realm, and what they get. */
export interface SignIn {
  readonly accessSeconds: number;
  /** A session ends when it was not refreshed, or its cookie not used, for so long. */
  readonly idleSeconds: number;
  /** A session ends so long after it began, whatever happens. */
  readonly sessionSeconds: number;
  /** In code points. */
  readonly minPasswordLength: number;
  /** What users may do with what they sign in for: `byRole` holds all of a role's scopes, for each of `Realm.roles`. */
  readonly scopes: {
    /** Also of a role that is none. */
    readonly everyone: readonly string[];
    readonly byRole: ReadonlyMap<string, readonly string[]>;
  };
  /** Name of the session cookie, with `__Host-`; `null`: no cookies. */
  readonly cookie: string | null;
  /** Verifies the access tokens of this realm: our own keys, `aud` the realm's name, typ `at+jwt`. */
  readonly issuer: JwtIssuer;
}

export interface UserContextSettings {
  /** Names of the Worker secrets that hold keys; see `config/secrets.ts`. */
  readonly algorithm: "ES256" | "EdDSA" | "HS256" | "HS384" | "HS512";
  /** For the HMAC algorithms, the value of the site's own secret; `null` otherwise. */
  readonly secret: Uint8Array | null;
  readonly header: string;
  /** `"request"` adds method and path to what is signed. */
  readonly bind: "site" | "request";
  readonly lifeSeconds: number;
  /** Names of the plain headers, or `null` when the site does not ask for them. */
  readonly plainHeaders: PlainHeaderNames | null;
  /** Names of user attributes that go into the context. */
  readonly attributes: readonly string[];
}

export interface PlainHeaderNames {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly method: string;
}

export type Origin =
  | { readonly kind: "url"; readonly url: URL }
  | { readonly kind: "service"; readonly binding: Fetcher; readonly bindingName: string }
  | { readonly kind: "mtls"; readonly binding: Fetcher; readonly bindingName: string; readonly url: URL }
  | { readonly kind: "self" }
  | { readonly kind: "echo" };

export interface Site {
  /** Lower-case, from the variable: `SITE_FILES` is `files`. `aud` of its user context. */
  readonly name: string;
  /** `null`: any host. Lower-case host names without port. */
  readonly hosts: readonly string[] | null;
  /** Without trailing slash; `""` for the whole host. Case folded. */
  readonly basePath: string;
  readonly stripBasePath: boolean;
  readonly origin: Origin;
  /** Headers the origin demands of us, secrets resolved. */
  readonly originHeaders: readonly (readonly [name: string, value: string])[];
  readonly realm: Realm;
  /** The system whose clients call here; `null`: none in particular. */
  readonly preset: PresetRules | null;
  /** How the origin is asked about credentials that are not known here; `null`: it is not. Key: `introspect`. */
  readonly introspection: Introspection | null;
  /** Whether the origin's paths differ by case. Then a path that differs from its row in it is no path of the site. */
  readonly isCaseSensitive: boolean;
  /** Lowest first. */
  readonly ladder: readonly string[];
  /** What a principal without a role of the ladder counts as: the lowest step. */
  readonly users: "required" | "none";
  readonly revocation: "feed" | "none";
  readonly credentials: CredentialRules;
  readonly jwtIssuers: readonly JwtIssuer[];
  readonly userContext: UserContextSettings;
  /** Lower-case names removed from every forwarded request, beside the built-in ones. */
  readonly stripHeaders: readonly string[];
  readonly unmatched: "refuse" | "forward";
  /** `always`: `X-Request-Id` on forwarded answers too, at the cost of wrapping them. */
  readonly requestIdOnResponses: boolean;
  readonly cors: Cors | null;
  /** What MCP clients are told about; empty: nothing. Key: `mcp`, of the site or of routes. */
  readonly resources: readonly McpResource[];
  readonly routes: readonly Route[];
  /** The route used for `unmatched = "forward"`. */
  readonly unmatchedRoute: Route;
}

export interface CredentialRules {
  /** Scheme words accepted in Authorization, lower-case; empty: the header is not looked at. */
  readonly authorization: "bearer" | "bearer_or_raw" | "off";
  /** Lower-case header names that may carry a credential. */
  readonly headers: readonly string[];
  /** Cookie names that may carry a session. */
  readonly cookies: readonly string[];
  /** Query parameters, only where the site opted in. */
  readonly query: readonly string[];
  readonly conflict: "refuse" | "first";
  readonly onInvalid: "refuse" | "anonymous";
  readonly forwardCredential: boolean;
  /** Lower-case header that must carry the owner's id beside a PAT or session; `null`: not asked for. */
  readonly userHeader: string | null;
  /** Whether a session needs that header as well: not where people sign in here, unless the site names the header. */
  readonly userHeaderOnSessions: boolean;
}

export interface JwtIssuer {
  /** Stable within the isolate: `files/0`. Part of every cache key. */
  readonly id: string;
  readonly algorithms: readonly string[];
  readonly keys: JwtKeySource;
  /** `null` only where a preset says that its tokens carry none. */
  readonly issuer: string | null;
  readonly audience: readonly string[] | null;
  /** Claims that must equal. */
  readonly require: readonly (readonly [claim: string, value: string | number | boolean])[];
  readonly clockToleranceSeconds: number;
  /** Longest accepted `exp − now`, seconds. */
  readonly maxLifetimeSeconds: number;
  /** Accepted `typ` header values, lower-case without `application/`; tokens without `typ` pass if it holds `""`. */
  readonly types: readonly string[];
  /** The claims under the names that `claims` has, where a preset's tokens spell them otherwise; `null`: they contradict each other. */
  readonly rename?: (claims: Claims) => Claims | null;
  /** A preset's own reading of claims that are good so far; `null`: none. */
  readonly interpret: ((claims: Claims, facts: TokenFacts) => FactsOrReason) | null;
  readonly claims: {
    readonly subject: readonly string[];
    readonly name: readonly string[];
    readonly role: readonly string[];
    readonly scopes: readonly string[];
    readonly permissions: readonly string[];
    readonly session: readonly string[];
  };
}

export type JwtKeySource =
  | { readonly kind: "secret"; readonly secret: Uint8Array }
  /** SPKI PEM, a JWK, or a JWK set, given inline or by secret name; public keys only. */
  | { readonly kind: "static"; readonly jwks: readonly JsonWebKey[] }
  | { readonly kind: "jwks"; readonly url: URL };

export interface Cors {
  /** Exact origins, or `"*"`. */
  readonly allowOrigins: readonly string[];
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly allowCredentials: boolean;
  readonly maxAgeSeconds: number;
}

/** A protected resource whose metadata tells MCP clients where tokens for it come from (RFC 9728). */
export interface McpResource {
  /** What of its URL follows the host; `""`: the whole host. Without trailing slash, as configured. */
  readonly path: string;
  /** Issuers where a client can get a token for it. Empty: none, so it needs a key. */
  readonly authorizationServers: readonly string[];
  readonly scopes: readonly string[];
  /** Answers for the metadata. */
  readonly metadataRoute: Route;
}

export interface Route {
  /** How an operator would name it: `SITE_FILES.routes[3]`. */
  readonly key: string;
  /** As written, base path not included. */
  readonly path: string;
  /** Upper-case; empty: any method. */
  readonly methods: readonly string[];
  readonly auth: "none" | "optional" | "required";
  /** Answered here and not forwarded, once the caller may; `null`: forwarded. */
  readonly answer: AnswerName | null;
  /** `path` of the protected resource whose metadata its refusals name; `null`: none. */
  readonly resource: string | null;
  /** The row exists to say that nothing is there. */
  readonly isUnknown: boolean;
  /** Whether what the row demands is demanded of those who present a credential only. */
  readonly letsAnonymousPass: boolean;
  readonly takesExpiredKeys: boolean;
  /** Whether nobody has to say here whose session or PAT they present. */
  readonly ignoresUserHeader: boolean;
  readonly accept: readonly CredentialKind[];
  /** Index into the site's ladder; 0: any. */
  readonly minimumRole: number;
  readonly scopes: readonly string[];
  readonly anyScopes: readonly string[];
  readonly permissions: readonly string[];
  readonly anyPermissions: readonly string[];
  readonly limit: Limit | null;
  readonly freshnessSeconds: number;
  readonly mode: "enforce" | "observe";
  /** Ambiguities this route (or its site) tolerates; a bit set. */
  readonly allow: number;
  /** Cloudflare's cache may serve it; only with `auth = "none"`. */
  readonly cache: boolean;
  readonly firstByteSeconds: number | null;
  readonly maxStreamSeconds: number | null;
}

export type LimitSubject = "principal" | "credential" | "address";

export type Limit =
  | {
      readonly kind: "binding";
      readonly by: LimitSubject;
      readonly binding: RateLimit;
      readonly bindingName: string;
    }
  | {
      readonly kind: "exact";
      readonly by: LimitSubject;
      readonly requests: number;
      readonly perSeconds: number;
    };
