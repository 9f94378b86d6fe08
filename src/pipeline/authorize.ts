// Step 4: principal x route -> ok, or 403. Pure.
import type { Route } from "../config/types.ts";
import { Problem } from "../problem.ts";
import type { Principal } from "../types.ts";
import type { Match } from "./route.ts";

/**
 * Checks role, then scopes, then permissions. Whoever is anonymous holds none of them, and is asked to authenticate
 * where the route demands any.
 *
 * @throws Problem `role_insufficient`, `scope_insufficient` (with the scopes that would do), `permission_denied`;
 *   `credential_missing` for the anonymous
 */
export function authorize(principal: Principal | null, { site, route }: Match): void {
  if (principal === null) {
    if (demandsAnything(route) && !route.letsAnonymousPass)
      throw new Problem("credential_missing", "the route demands rights");
    return;
  }
  // A role that is not on the ladder is below the first step's rights, but nobody is asked for those.
  if (route.minimumRole > 0 && site.ladder.indexOf(principal.role) < route.minimumRole) {
    throw new Problem("role_insufficient", `role ${principal.role}`, { about: principal.attributes });
  }
  const { scopes } = principal.credential;
  const missingScope = route.scopes.find((scope) => !scopes.includes(scope));
  if (missingScope !== undefined) {
    throw new Problem("scope_insufficient", "not all scopes", { scopes: route.scopes, missingScope });
  }
  if (!holdsAny(scopes, route.anyScopes)) {
    throw new Problem("scope_insufficient", "none of the scopes", { scopes: route.anyScopes });
  }
  if (!holdsAll(principal.permissions, route.permissions)) {
    throw new Problem("permission_denied", "not all permissions");
  }
  if (!holdsAny(principal.permissions, route.anyPermissions)) {
    throw new Problem("permission_denied", "none of the permissions");
  }
}

function demandsAnything(route: Route): boolean {
  return (
    route.minimumRole > 0 ||
    route.scopes.length > 0 ||
    route.anyScopes.length > 0 ||
    route.permissions.length > 0 ||
    route.anyPermissions.length > 0
  );
}

function holdsAll(held: readonly string[], demanded: readonly string[]): boolean {
  for (const right of demanded) if (!held.includes(right)) return false;
  return true;
}

/** An empty demand is met. */
function holdsAny(held: readonly string[], demanded: readonly string[]): boolean {
  if (demanded.length === 0) return true;
  for (const right of demanded) if (held.includes(right)) return true;
  return false;
}
