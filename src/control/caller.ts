// Who is calling the control plane, and whether they may: the pipeline's own steps, on sites that exist only here.
import type { Actor } from "../audit.ts";
import { GATEWAY_REALM } from "../config/realms.ts";
import type { Config, Realm, Route, Site } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { isSameSecret } from "../crypto/constant-time.ts";
import { toHex } from "../crypto/digest.ts";
import { authenticate } from "../pipeline/authenticate.ts";
import { authorize } from "../pipeline/authorize.ts";
import { extractCredential } from "../pipeline/credential.ts";
import type { Match } from "../pipeline/route.ts";
import { Problem } from "../problem.ts";
import type { CredentialKind, Principal } from "../types.ts";
import type { Access } from "./endpoint.ts";
import { bearerToken } from "./input.ts";

/** Above every role; see `rank.ts`. */
export type Power = "admin" | "root" | "admin_token";

export type Caller =
  | { readonly for: "anyone"; readonly actor: Actor }
  | {
      readonly for: "user";
      readonly actor: Actor & { readonly kind: "user" };
      readonly realm: Realm;
      readonly principal: Principal;
    }
  | {
      readonly for: "administrator";
      readonly actor: Actor;
      readonly power: Power;
      /** Of the credential; `null`: all there are. */
      readonly scopes: readonly string[] | null;
      /** Of the user; `null`: all there are. */
      readonly permissions: readonly string[] | null;
    };

/**
 * Lets in whom the rule admits. What is looked up is asked of D1 on this very request: who was demoted a moment ago does
 * nothing any more.
 *
 * @param realmOf the realm whose users may call; asked only where the rule is for users
 * @throws Problem `credential_missing`, `credential_invalid`, `credential_conflict`, `role_insufficient`,
 *   `scope_insufficient`, `store_unavailable`, and whatever `realmOf` throws
 */
export async function admit(access: Access, realmOf: () => Realm, context: RequestContext): Promise<Caller> {
  switch (access.for) {
    case "anyone":
      return { for: "anyone", actor: { kind: "anonymous" } };
    case "user": {
      const realm = realmOf();
      const match = matchOf(realm, { accept: access.by });
      const principal = await identify(match, context);
      return { for: "user", realm, principal, actor: actorOf(principal) };
    }
    case "administrator": {
      if (await isAdminToken(context)) {
        context.trace.principalId = "admin_token";
        return {
          for: "administrator",
          actor: { kind: "admin_token" },
          power: "admin_token",
          scopes: null,
          permissions: null,
        };
      }
      const realm = context.runtime.config.realms.get(GATEWAY_REALM);
      if (realm === undefined) throw noAdministrators(context);
      const match = matchOf(realm, {
        accept: ["jwt", "session", "api_key", "pat"],
        minimumRole: realm.roles.indexOf(access.role),
        scopes: [access.scope],
      });
      const principal = await identify(match, context);
      authorize(principal, match);
      return {
        for: "administrator",
        actor: actorOf(principal),
        power: principal.role === "root" ? "root" : "admin",
        scopes: principal.credential.scopes,
        permissions: principal.permissions,
      };
    }
  }
}

async function identify(match: Match, context: RequestContext): Promise<Principal> {
  const principal = await authenticate(extractCredential(match, context), match, context);
  if (principal === null) throw new Problem("credential_missing", "no credential");
  return principal;
}

function actorOf({ realm, id, credential }: Principal): Actor & { readonly kind: "user" } {
  return { kind: "user", realm, id, credentialId: credential.id };
}

/** The one thing that is compared here and not by a verifier: there is no record of it. */
async function isAdminToken({ arrival, runtime }: RequestContext): Promise<boolean> {
  const { adminToken } = runtime.config.secrets;
  const presented = bearerToken(arrival.request);
  if (adminToken === null || presented === null) return false;
  const digest = async (bytes: Uint8Array) =>
    toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
  return isSameSecret(await digest(new TextEncoder().encode(presented)), await digest(adminToken));
}

/** A gateway without administrators has the same 401 for everyone. */
function noAdministrators({ arrival }: RequestContext): Problem {
  const isPresented = arrival.request.headers.has("authorization");
  return new Problem(
    isPresented ? "credential_invalid" : "credential_missing",
    "there is no realm for administrators",
  );
}

/**
 * A realm as a site of its own, which is never forwarded to anywhere. Credentials come in Authorization or in the realm's
 * session cookie; no user header is asked for.
 */
export function matchOf(
  realm: Realm,
  demands: Partial<Route> & { readonly accept: readonly CredentialKind[] },
): Match {
  return { site: siteOf(realm), route: { ...ROUTE, ...demands }, forwardPath: "/" };
}

function siteOf(realm: Realm): Site {
  const cookie = realm.signIn?.cookie ?? null;
  return {
    name: `_gateway/${realm.name}`,
    hosts: null,
    basePath: "",
    stripBasePath: false,
    origin: { kind: "self" },
    originHeaders: [],
    realm,
    preset: null,
    introspection: null,
    isCaseSensitive: false,
    ladder: realm.roles,
    users: "required",
    revocation: "feed",
    credentials: {
      authorization: "bearer",
      headers: [],
      cookies: cookie === null ? [] : [cookie],
      query: [],
      conflict: "refuse",
      onInvalid: "refuse",
      forwardCredential: false,
      userHeader: null,
      userHeaderOnSessions: false,
    },
    jwtIssuers: realm.signIn === null ? [] : [realm.signIn.issuer],
    userContext: NO_CONTEXT,
    stripHeaders: [],
    unmatched: "refuse",
    requestIdOnResponses: false,
    cors: null,
    resources: [],
    routes: [],
    unmatchedRoute: ROUTE,
  };
}

const NO_CONTEXT: Config["gateway"]["userContext"] = {
  algorithm: "ES256",
  secret: null,
  header: "x-user-context",
  bind: "site",
  lifeSeconds: 1,
  plainHeaders: null,
  attributes: [],
};

const ROUTE: Route = {
  key: "_gateway",
  path: "/_gateway/*",
  methods: [],
  auth: "required",
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
  freshnessSeconds: 0,
  mode: "enforce",
  allow: 0,
  cache: false,
  firstByteSeconds: null,
  maxStreamSeconds: null,
};
