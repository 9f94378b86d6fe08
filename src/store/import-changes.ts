// In what a record says otherwise than the row that is there. What it leaves out it says nothing about. Decides nothing.
import type { ImportedCredential, ImportedUser } from "./import-plan.ts";

/** As it is stored: lists and attributes are JSON. Members that can change have the names that records have for them. */
export interface KnownUser {
  readonly username: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string;
  readonly permissions: string;
  readonly status: string;
  readonly attributes: string;
}

export interface KnownCredential {
  readonly id: string;
  readonly userId: string;
  /** What a rotation put in its place. */
  readonly replacedBy: string | null;
  readonly name: string | null;
  readonly status: string;
  readonly scopes: string;
  readonly ip_allow: string;
  readonly attributes: string;
  readonly expires_at: number | null;
}

export interface Difference<Known> {
  /** Never empty. */
  readonly fields: readonly string[];
  readonly seen: Known;
  /** What the record makes of it. */
  readonly next: Known;
}

/** Passwords are not compared: what people sign in with here is theirs. */
export function differenceOfUser(given: ImportedUser, seen: KnownUser): Difference<KnownUser> | null {
  const { username, email, name, role, status } = given;
  return differenceOf(seen, {
    username,
    email,
    name,
    role,
    permissions: jsonOf(given.permissions),
    status,
    attributes: isSameJson(given.attributes, seen.attributes) ? undefined : jsonOf(given.attributes),
  });
}

/** The end of one that was rotated here is that of its grace, whatever the record says. */
export function differenceOfCredential(
  given: ImportedCredential,
  seen: KnownCredential,
): Difference<KnownCredential> | null {
  const { name, status } = given;
  return differenceOf(seen, {
    name,
    status,
    scopes: jsonOf(given.scopes),
    ip_allow: jsonOf(given.ipAllow),
    attributes: isSameJson(given.attributes, seen.attributes) ? undefined : jsonOf(given.attributes),
    expires_at: seen.replacedBy === null ? given.expiresAtSeconds : undefined,
  });
}

function differenceOf<Known extends object>(
  seen: Known,
  said: { readonly [Key in keyof Known]?: Known[Key] | undefined },
): Difference<Known> | null {
  const fields = (Object.keys(said) as (keyof Known & string)[]).filter(
    (field) => said[field] !== undefined && said[field] !== seen[field],
  );
  if (fields.length === 0) return null;
  const changed = Object.fromEntries(fields.map((field) => [field, said[field]]));
  return { fields, seen, next: { ...seen, ...changed } };
}

const jsonOf = (value: unknown) => (value === undefined ? undefined : JSON.stringify(value));

/** Whatever the order of members. */
const isSameJson = (given: unknown, stored: string) =>
  inOrder(given) === inOrder(JSON.parse(stored) as unknown);

const inOrder = (value: unknown) =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
