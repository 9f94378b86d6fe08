// User directories: which there are, what roles their users can have, and how people sign in to them.
import type { Preset } from "../presets/preset.ts";
import type { Issues } from "./issue.ts";
import { nearest } from "./read.ts";
import { type GatewayInput, SIGNING_ALGORITHMS } from "./schema.ts";
import type { SiteSource } from "./site-input.ts";
import type { JwtIssuer, Realm, SignIn } from "./types.ts";

/** Administrators of the gateway are the users of this realm; no site may have it. */
export const GATEWAY_REALM = "gateway";
export const DEFAULT_LADDER: readonly string[] = ["public", "user", "admin", "root"];

const DAY_SECONDS = 86_400;
const DEFAULTS = {
  accessSeconds: 900,
  idleDays: 14,
  sessionDays: 30,
  /** NIST SP 800-63B-4 §3.1.1.2, where the password is the only factor. */
  minPasswordLength: 15,
  cookie: undefined,
};
/** Between our own isolates. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** What every administrator's sign-in carries; a key of theirs may carry less. */
export const GATEWAY_SCOPES = ["gateway.read", "gateway.write"] as const;

type SignInInput = NonNullable<NonNullable<GatewayInput["realms"]>[string]["sign_in"]>;

/** The realm that a site belongs to: the one it names, else one of its own name. */
export const realmNameOf = ({ values, name }: SiteSource): string => values.realm ?? name;

const isIssuing = ({ values, preset }: SiteSource): boolean => values.issue === true && preset !== null;

/**
 * Every realm that is declared, or used by a site.
 * @param ownKeys public halves of the gateway's signing keys; may be filled in later, before anything is verified
 */
export function compileRealms(
  given: GatewayInput,
  sources: readonly SiteSource[],
  ownKeys: readonly JsonWebKey[],
  issues: Issues,
): ReadonlyMap<string, Realm> {
  const declared = new Map(Object.entries(given.realms ?? {}));
  const names = new Set([...declared.keys(), ...sources.map(realmNameOf)]);
  // Where a site's own realm or roles could not be read, nothing follows from the ladders of the others.
  const areLaddersKnown = sources.every(({ failed }) => !failed.has("realm") && !failed.has("roles"));
  const realms = new Map<string, Realm>();
  for (const name of names) {
    const members = sources.filter((source) => realmNameOf(source) === name);
    if (name === GATEWAY_REALM) refuseSites(members, issues);
    else if (members.length === 0) {
      const guess = nearest(name, [...new Set(sources.map(realmNameOf))]);
      const hint = guess === null ? "" : `; did you mean ${guess}?`;
      issues.warn(`GATEWAY.realms.${name}`, `is used by no site${hint}`);
    }
    const settings = declared.get(name) ?? {};
    const roles = name === GATEWAY_REALM ? DEFAULT_LADDER : sharedRoles(members, issues);
    const signIn = settings.sign_in ?? (members.some(isIssuing) ? {} : undefined);
    if (signIn !== undefined && areLaddersKnown) checkScopes(name, signIn, roles, issues);
    realms.set(name, {
      name,
      untaggedKeys: settings.untagged_keys ?? false,
      roles,
      signIn:
        signIn === undefined
          ? null
          : compileSignIn(
              name,
              signIn,
              roles,
              members.find(isIssuing)?.preset ?? null,
              (accessSeconds) => ownIssuer(name, given.issuer ?? "", accessSeconds, ownKeys),
              issues,
            ),
    });
  }
  reportSharedCookies([...realms.values()], issues);
  return realms;
}

function refuseSites(members: readonly SiteSource[], issues: Issues): void {
  for (const source of members) {
    if (source.failed.has("realm")) continue;
    issues.add(
      source.keyOf("realm"),
      `must not be ${GATEWAY_REALM}, whose users administer the gateway: name another realm`,
    );
  }
}

/** What is a step of every ladder, in the order of the first. */
function sharedRoles(members: readonly SiteSource[], issues: Issues): readonly string[] {
  const [first, ...others] = members;
  let shared = first?.values.roles ?? DEFAULT_LADDER;
  for (const { values, keyOf } of others) {
    const ladder = values.roles ?? DEFAULT_LADDER;
    const inOurOrder = shared.filter((role) => ladder.includes(role));
    const inTheirOrder = ladder.filter((role) => shared.includes(role));
    if (inOurOrder.join(" ") !== [...new Set(inTheirOrder)].join(" ")) {
      issues.add(
        keyOf("roles"),
        `puts the roles of the realm in another order than other sites (${inOurOrder.join(" < ")}): agree on one`,
      );
    }
    shared = inOurOrder;
  }
  return shared;
}

function compileSignIn(
  realm: string,
  given: SignInInput,
  roles: readonly string[],
  preset: Preset | null,
  issuerOf: (accessSeconds: number) => JwtIssuer,
  issues: Issues,
): SignIn {
  const key = `GATEWAY.realms.${realm}.sign_in`;
  const usual = preset?.signIn ?? DEFAULTS;
  const idleDays = given.idle_days ?? usual.idleDays;
  const sessionDays = given.session_days ?? Math.max(usual.sessionDays, idleDays);
  const accessSeconds = given.access_seconds ?? usual.accessSeconds;
  if (idleDays > sessionDays) {
    issues.add(`${key}.idle_days`, "is longer than session_days, after which every session ends: lower it");
  }
  return {
    accessSeconds,
    idleSeconds: idleDays * DAY_SECONDS,
    sessionSeconds: sessionDays * DAY_SECONDS,
    minPasswordLength: given.min_password_length ?? DEFAULTS.minPasswordLength,
    scopes: compileScopes(realm, given.scopes, roles),
    cookie: given.cookie === false ? null : (given.cookie ?? usual.cookie ?? `__Host-postern-${realm}`),
    issuer: issuerOf(accessSeconds),
  };
}

/** Each role has its own scopes and those of the roles below it. */
function compileScopes(
  realm: string,
  given: SignInInput["scopes"],
  roles: readonly string[],
): SignIn["scopes"] {
  const perRole: SignInInput["scopes"] = realm === GATEWAY_REALM ? { admin: [...GATEWAY_SCOPES] } : given;
  const everyone = Array.isArray(perRole) ? perRole : [];
  const byRole = new Map<string, readonly string[]>();
  let scopes: readonly string[] = everyone;
  for (const role of roles) {
    const own =
      perRole === undefined || Array.isArray(perRole) || !Object.hasOwn(perRole, role) ? [] : perRole[role];
    scopes = [...new Set([...scopes, ...(own ?? [])])];
    byRole.set(role, scopes);
  }
  return { everyone, byRole };
}

function checkScopes(realm: string, { scopes }: SignInInput, roles: readonly string[], issues: Issues): void {
  if (scopes === undefined) return;
  const key = `GATEWAY.realms.${realm}.sign_in.scopes`;
  if (realm === GATEWAY_REALM) {
    issues.add(key, "are fixed for administrators: leave it out");
  } else if (!Array.isArray(scopes)) {
    for (const role of Object.keys(scopes)) {
      if (roles.includes(role)) continue;
      const guess = nearest(role, roles);
      const hint = guess === null ? "" : `; did you mean "${guess}"?`;
      issues.add(
        `${key}.${role}`,
        `is no role that all sites of the realm have (${roles.join(" < ")})${hint}`,
      );
    }
  }
}

/** The control plane's hosts know the users of every realm, and a browser keeps one cookie of a name. */
function reportSharedCookies(realms: readonly Realm[], issues: Issues): void {
  const owners = new Map<string, string>();
  for (const { name, signIn } of realms) {
    if (signIn === null || signIn.cookie === null) continue;
    const other = owners.get(signIn.cookie);
    if (other !== undefined) {
      issues.add(
        `GATEWAY.realms.${name}.sign_in.cookie`,
        `is also that of the realm ${other}: who signs in to one would be signed out of the other`,
      );
    }
    owners.set(signIn.cookie, name);
  }
}

/** RFC 9068: typ `at+jwt`; `token_type` beside it, for origins that look there. */
function ownIssuer(
  realm: string,
  issuer: string,
  accessSeconds: number,
  jwks: readonly JsonWebKey[],
): JwtIssuer {
  return {
    id: `_gateway/${realm}`,
    algorithms: SIGNING_ALGORITHMS,
    keys: { kind: "static", jwks },
    issuer,
    audience: [realm],
    require: [["token_type", "access"]],
    clockToleranceSeconds: CLOCK_TOLERANCE_SECONDS,
    maxLifetimeSeconds: accessSeconds,
    types: ["at+jwt"],
    interpret: null,
    claims: {
      subject: ["sub"],
      name: ["name"],
      role: [],
      scopes: ["scope"],
      permissions: [],
      session: ["sid"],
    },
  };
}
