// NekoHub's roles and permissions, under the names that its three places have for them.

export const PERMISSIONS = [
  "assets.read",
  "assets.create",
  "assets.update",
  "assets.delete",
  "providers.read",
  "providers.create",
  "providers.update",
  "providers.delete",
  "aiProviders.read",
  "aiProviders.create",
  "aiProviders.update",
  "aiProviders.delete",
  "settings.read",
  "settings.update",
  "users.read",
  "users.create",
  "users.update",
  "users.disable",
  "users.managePermissions",
] as const;

/** Passes every permission, whatever it was given. */
export const SUPER_ADMIN = "super_admin";
/** Lowest first. */
export const LADDER = ["user", "admin", SUPER_ADMIN] as const;
type Role = (typeof LADDER)[number];

interface RoleNames {
  readonly token: string;
  readonly json: string;
}

const NAMES: Readonly<Record<Role, RoleNames>> = {
  user: { token: "User", json: "user" },
  admin: { token: "Admin", json: "admin" },
  super_admin: { token: "SuperAdmin", json: "superAdmin" },
};

const isRole = (role: string): role is Role => Object.hasOwn(NAMES, role);

/** A role that NekoHub does not have counts as its lowest. */
export const roleNames = (role: string): RoleNames => NAMES[isRole(role) ? role : "user"];

/** Of a token's `role`; what is no name of one stays as it is, and is on no ladder. */
export function roleOfToken(name: unknown): unknown {
  return LADDER.find((role) => NAMES[role].token === name) ?? name;
}

/** Of a user in the JSON API; `""`: no role that NekoHub has. */
export function roleOfJson(name: unknown): string {
  return LADDER.find((role) => NAMES[role].json === name) ?? "";
}

/** As the JSON API lists them: all of them, or those that were given in ordinal order. */
export function permissionsOf(role: string, given: readonly string[]): readonly string[] {
  return role === SUPER_ADMIN ? PERMISSIONS : [...given].sort();
}
