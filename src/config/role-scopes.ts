// Which scopes a role has in a realm that people sign in to.
import type { Realm } from "./types.ts";

const NONE: readonly string[] = [];

/** All scopes that a sign-in with this role can carry; none where nobody signs in. */
export function scopesOfRole({ signIn }: Realm, role: string): readonly string[] {
  if (signIn === null) return NONE;
  return signIn.scopes.byRole.get(role) ?? signIn.scopes.everyone;
}

/**
 * What is left of the scopes of a sign-in now that the user has this role: a demotion takes effect on what was issued
 * before it, too. In a realm where nobody signs in, sessions carry what whoever made them gave them.
 */
export function remainingScopes(scopes: readonly string[], realm: Realm, role: string): readonly string[] {
  if (realm.signIn === null) return scopes;
  const possible = scopesOfRole(realm, role);
  return scopes.every((scope) => possible.includes(scope))
    ? scopes
    : scopes.filter((scope) => possible.includes(scope));
}
