// Which scopes a sign-in carries.
import type { Realm } from "../config/types.ts";

/** What everyone gets, and what the steps of the realm's roles add up to this role. A role that is none adds nothing. */
export function scopesOfRole(realm: Realm, role: string): readonly string[] {
  if (realm.signIn === null) return [];
  const { everyone, byRole } = realm.signIn.scopes;
  const steps = realm.roles.slice(0, realm.roles.indexOf(role) + 1);
  return [...new Set([...everyone, ...steps.flatMap((step) => byRole[step] ?? [])])];
}
