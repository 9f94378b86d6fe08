// The claims of NekoHub's access tokens: long names as it writes them, and the short ones that it reads as well.
import type { Claims } from "../../pipeline/verify/claims.ts";
import { roleOfToken } from "./rights.ts";

const IDENTITY = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims";
export const LONG_NAMES = {
  subject: `${IDENTITY}/nameidentifier`,
  name: `${IDENTITY}/name`,
  role: "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
} as const;

/**
 * The claims under the names that every issuer is read by: `sub`, `name`, `role`. Permissions go: what a user may do is
 * looked up, and a token neither gives nor takes any of it.
 *
 * @returns `null` where two names of one claim say different things
 */
export function renameClaims(claims: Claims): Claims | null {
  const subject = agreed(claims, [LONG_NAMES.subject, "sub", "nameid"]);
  const name = agreed(claims, [LONG_NAMES.name, "unique_name"]);
  const role = agreed(claims, [LONG_NAMES.role, "role"]);
  if (subject === null || name === null || role === null) return null;
  const roles = Array.isArray(role.value) ? role.value.map(roleOfToken) : roleOfToken(role.value);
  return { ...claims, sub: subject.value, name: name.value, role: roles, permissions: undefined };
}

/** The one thing that is said under any of the names, `undefined` among them; `null`: there are two. */
function agreed(claims: Claims, names: readonly string[]): { readonly value: unknown } | null {
  const values = names.filter((name) => Object.hasOwn(claims, name)).map((name) => claims[name]);
  const [value] = values;
  const text = JSON.stringify(value);
  return values.every((other) => JSON.stringify(other) === text) ? { value } : null;
}
