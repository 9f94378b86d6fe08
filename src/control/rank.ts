// Who may do something to whom: an administrator acts on those below, and gives away no more than they hold.
import { GATEWAY_REALM } from "../config/realms.ts";
import type { Realm } from "../config/types.ts";
import { Problem } from "../problem.ts";
import type { Caller, Power } from "./caller.ts";

export type Administrator = Extract<Caller, { readonly for: "administrator" }>;

/**
 * Heights on one scale. In the gateway's own realm they are the steps of its ladder. In other realms the top role stands
 * level with an administrator, so that only a root or the `ADMIN_TOKEN` hands it out; everyone else stands below.
 */
const POWERS: Readonly<Record<Power, number>> = { admin: 2, root: 3, admin_token: 4 };

function heightOf(realm: Realm, role: string): number {
  const step = realm.roles.indexOf(role);
  if (realm.name === GATEWAY_REALM) return Math.max(0, step);
  // A role that the realm's sites do not share may still be the top of one of them.
  if (step === -1) return POWERS.admin;
  return step > 0 && step === realm.roles.length - 1 ? POWERS.admin : 0;
}

/**
 * For every verb on a user or on what is theirs, and for every role that is to be given.
 * @throws Problem `rank_insufficient` unless the caller stands strictly above
 */
export function demandRank(caller: Administrator, realm: Realm, role: string): void {
  if (POWERS[caller.power] > heightOf(realm, role)) return;
  throw new Problem("rank_insufficient", `${caller.power} does not outrank ${role} of ${realm.name}`);
}

/**
 * Whether a change of role lifts a user out of reach of those who could act on them before. What they have by then,
 * a password or a key, may have been made by one of those.
 */
function isLifted(realm: Realm, from: string, to: string): boolean {
  const height = heightOf(realm, to);
  return height >= POWERS.admin && height > heightOf(realm, from);
}

/** Who may not sign in has no sessions (ASVS 5.0 7.4.2). Who is lifted begins anew, with nothing that others made for them. */
export function endingWith(
  realm: Realm,
  from: { readonly role: string; readonly status: string },
  to: { readonly role: string; readonly status: string },
): "sessions" | "everything" | null {
  if (isLifted(realm, from.role, to.role)) return "everything";
  return to.status !== from.status && to.status !== "active" ? "sessions" : null;
}

/**
 * For what concerns all users of a realm at once, or one that nobody can tell.
 * @throws Problem `rank_insufficient` unless the caller stands strictly above everyone there; a plain administrator never does
 */
export function demandRankOverAll(caller: Administrator, realm: Realm): void {
  const highest = realm.name === GATEWAY_REALM ? POWERS.root : POWERS.admin;
  if (POWERS[caller.power] > highest) return;
  throw new Problem("rank_insufficient", `${caller.power} does not outrank everyone of ${realm.name}`);
}

/**
 * In the gateway's own realm nobody gives scopes or permissions that they do not hold. Rights in other realms are the
 * administrators' to give: they hold none there themselves.
 * @param held `null`: everything
 * @param field of the input, which gives the rights
 * @throws Problem `grant_exceeds_holder` that names them
 */
export function demandHeld(
  realm: Realm,
  granted: readonly string[],
  held: readonly string[] | null,
  field: string,
): void {
  if (realm.name !== GATEWAY_REALM || held === null) return;
  demandSubset(granted, held, field);
}

/** @throws Problem `grant_exceeds_holder` that names what is granted and not held */
export function demandSubset(granted: readonly string[], held: readonly string[], field: string): void {
  const missing = granted.filter((right) => !held.includes(right));
  if (missing.length === 0) return;
  throw new Problem("grant_exceeds_holder", "a right that the caller does not hold", {
    errors: [{ field, message: `gives what the caller does not hold: ${missing.join(", ")}` }],
  });
}
