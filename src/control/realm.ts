// Which realm a call is about, where it is about one.
import { GATEWAY_REALM } from "../config/realms.ts";
import type { Config, Realm } from "../config/types.ts";
import type { RequestContext } from "../context.ts";
import { readCompactJws } from "../pipeline/verify/compact-jws.ts";
import { readStrictObject } from "../pipeline/verify/strict-json.ts";
import { Problem } from "../problem.ts";
import { bearerToken, invalid } from "./input.ts";
import type { Services } from "./services.ts";

/** For administrators: the refusal names all realms. @throws Problem `resource_not_found` */
export function realmNamed(config: Config, name: string): Realm {
  const realm = config.realms.get(name);
  if (realm === undefined) {
    throw new Problem("resource_not_found", "no such realm", {
      errors: [{ field: "realm", message: `must be one of ${[...config.realms.keys()].join(", ")}` }],
    });
  }
  return realm;
}

/**
 * The realm whose users a call of `auth/*` or `me/*` is for: the one that is named; else the one that the access token
 * says it is for; else that of the host's sites; else the only one with sign-in beside the gateway's own.
 * @throws Problem `input_invalid` where that leaves none, or several
 */
export function realmOfUsers(named: string | null, { runtime, arrival }: RequestContext): Realm {
  const { realms, sites } = runtime.config;
  const error = (message: string) => invalid([{ field: "realm", message }]);
  if (named !== null) {
    const realm = realms.get(named);
    if (realm === undefined) throw error("must be the name of a realm");
    return realm;
  }
  const token = bearerToken(arrival.request);
  const ofToken = token === null ? null : realmNamedByToken(runtime.config, token);
  if (ofToken !== null) return ofToken;
  const onHost = sites.filter(({ hosts, realm }) => hosts?.includes(arrival.host) && realm.signIn !== null);
  const candidates = new Set(
    onHost.length > 0 ? onHost.map(({ realm }) => realm) : [...realms.values()].filter(hasSignIn),
  );
  const [only] = candidates;
  if (only === undefined) throw error("is required: no realm here has sign_in");
  if (candidates.size > 1) throw error("is required: there is more than one with sign_in");
  return only;
}

const hasSignIn = ({ name, signIn }: Realm) => signIn !== null && name !== GATEWAY_REALM;

/**
 * The realm with sign-in that a token's `aud` names. Nothing about the token is verified by this; `null`: it names none.
 */
export function realmNamedByToken({ realms }: Config, token: string): Realm | null {
  const jws = readCompactJws(token);
  const claims = jws === null ? null : readStrictObject(jws.payload);
  const realm = typeof claims?.aud === "string" ? realms.get(claims.aud) : undefined;
  return realm === undefined || realm.signIn === null ? null : realm;
}

/** Whether people sign in on this host: where the control plane is, and where a site with such a realm is. */
export function isSignInHost({ runtime, arrival }: RequestContext): boolean {
  const { gateway, sites } = runtime.config;
  if (gateway.hosts === null || gateway.hosts.has(arrival.host)) return true;
  return sites.some(({ hosts, realm }) => realm.signIn !== null && hosts?.includes(arrival.host));
}

/** When the last token that the realm's users can have now has run out: until then a denial has to stand. */
export function denyUntil(
  {
    context,
    services,
  }: { readonly context: Pick<RequestContext, "nowSeconds">; readonly services: Pick<Services, "config"> },
  realm: Realm,
): number {
  return context.nowSeconds + longestTokenSeconds(services.config, realm);
}

/** How long a token of the realm's users may live at most, seconds from now. */
export function longestTokenSeconds(config: Config, realm: Realm): number {
  const issuers = config.sites.filter((site) => site.realm === realm).flatMap((site) => site.jwtIssuers);
  const own = realm.signIn === null ? [] : [realm.signIn.issuer];
  const lives = [...issuers, ...own].map(
    ({ maxLifetimeSeconds, clockToleranceSeconds }) => maxLifetimeSeconds + 2 * clockToleranceSeconds,
  );
  return Math.max(60, ...lives);
}
