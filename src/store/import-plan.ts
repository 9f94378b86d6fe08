// What an import would do to what is there: decided here, done by `imports.ts`.
import type { AuditEntry } from "../audit.ts";
import { accountKey } from "./account-name.ts";
import type { NewCredential, NewUser, PasswordHash } from "./writes.ts";

export interface ImportedUser extends NewUser {
  readonly password: PasswordHash | null;
}

export interface ImportedCredential extends NewCredential {
  /** Of the secret under every pepper; the row's own is one of them. */
  readonly digests: readonly string[];
  /** Whether it was made at `createdAtSeconds`, or is issued with the import: then it outlives earlier revocations. */
  readonly isIssuedNow: boolean;
}

export interface ImportRows {
  readonly users: readonly ImportedUser[];
  readonly credentials: readonly ImportedCredential[];
}

/** What stands against a row. */
export interface ImportConflict {
  readonly kind: "user" | "credential";
  /** Into what was given. */
  readonly index: number;
  readonly field: "id" | "username" | "email" | "user" | "secret" | "rank";
  /** Does not repeat a value. */
  readonly message: string;
}

/** Said of credentials whose owner is neither there nor among what was given. */
export const UNKNOWN_OWNER = "there is no such user in the realm: import the user first, or leave this out";

export interface ImportCount {
  readonly added: number;
  /** There already, under the same id or with the same secret; left as they are. */
  readonly present: number;
}

export interface ImportResult {
  readonly users: ImportCount;
  readonly credentials: ImportCount;
  /** With any of them nothing is written. */
  readonly conflicts: readonly ImportConflict[];
}

export interface ImportOptions {
  /** Only finds out what would happen. */
  readonly isDryRun: boolean;
  readonly nowSeconds: number;
  /** Whether the caller may give something to an owner of this role and with these permissions. */
  mayOwn(realm: string, role: string, permissions: readonly string[]): boolean;
  /** For the audit log: one entry for each realm that something was added to. */
  explain(realm: string, added: { readonly users: number; readonly credentials: number }): AuditEntry;
}

/** `permissions`: the JSON that is stored. */
export interface KnownUser {
  readonly role: string;
  readonly permissions: string;
  readonly status: string;
}

/** What was found of the rows; keys are made by `nameOf`. */
export interface Known {
  readonly users: ReadonlyMap<string, KnownUser>;
  /** Who has a username or an e-mail address. */
  readonly names: ReadonlyMap<string, string>;
  readonly credentials: ReadonlyMap<string, { readonly userId: string; readonly status: string }>;
}

/** Realms and ids hold no blanks. */
export const nameOf = (...parts: readonly string[]) => parts.join(" ");

export interface Plan {
  readonly users: readonly ImportedUser[];
  readonly credentials: readonly ImportedCredential[];
  /** Owners that were there before, as they were. */
  readonly owners: readonly (readonly [realm: string, id: string, role: string, permissions: string])[];
  readonly result: ImportResult;
}

/** Decides about every row; writes nothing. */
export function makePlan(rows: ImportRows, known: Known, options: ImportOptions): Plan {
  const conflicts: ImportConflict[] = [];
  const newUsers = planUsers(rows.users, known, conflicts);
  const { added, present, owners } = planCredentials(rows, known, options, conflicts);
  const presentUsers = rows.users.filter(({ realm, id }) => known.users.has(nameOf(realm, id)));
  return {
    users: newUsers,
    credentials: added,
    owners,
    result: {
      users: { added: newUsers.length, present: presentUsers.length },
      credentials: { added: added.length, present },
      conflicts,
    },
  };
}

function planUsers(
  given: readonly ImportedUser[],
  known: Known,
  conflicts: ImportConflict[],
): readonly ImportedUser[] {
  const ids = new Set<string>();
  const names = new Set<string>();
  const added: ImportedUser[] = [];
  for (const [index, user] of given.entries()) {
    const refuse = (field: ImportConflict["field"], message: string) =>
      conflicts.push({ kind: "user", index, field, message });
    const id = nameOf(user.realm, user.id);
    if (ids.has(id)) refuse("id", "stands there twice: leave one out");
    ids.add(id);
    const there = known.users.get(id);
    if (there?.status === "deleted") {
      refuse("id", "belonged to a user who was deleted here, and is never used again: leave the user out");
    }
    if (there !== undefined) continue;
    for (const field of ["username", "email"] as const) {
      const key = accountKey(user[field]);
      if (typeof key !== "string") continue;
      const name = nameOf(user.realm, key);
      if (names.has(name)) refuse(field, "stands there twice, as names are compared: change one");
      else if (known.names.has(name))
        refuse(field, "belongs to another user of the realm: change one of them");
      names.add(name);
    }
    added.push(user);
  }
  return added;
}

function planCredentials(
  rows: ImportRows,
  known: Known,
  options: ImportOptions,
  conflicts: ImportConflict[],
): Pick<Plan, "owners"> & { readonly added: readonly ImportedCredential[]; readonly present: number } {
  const given = new Map(rows.users.map((user) => [nameOf(user.realm, user.id), user]));
  const secrets = new Set<string>();
  const owners = new Map<string, Plan["owners"][number]>();
  const added: ImportedCredential[] = [];
  let present = 0;
  for (const [index, credential] of rows.credentials.entries()) {
    const { realm, kind, userId, digest } = credential;
    const refuse = (field: ImportConflict["field"], message: string) =>
      conflicts.push({ kind: "credential", index, field, message });
    const secret = nameOf(realm, kind, digest);
    if (secrets.has(secret)) refuse("secret", "stands there twice: leave one out");
    secrets.add(secret);

    const id = nameOf(realm, userId);
    const owner = known.users.get(id);
    const named = owner ?? given.get(id);
    if (named === undefined || owner?.status === "deleted") {
      refuse("user", UNKNOWN_OWNER);
      continue;
    }
    const role = named.role ?? "user";
    if (!options.mayOwn(realm, role, listOf(named.permissions))) {
      refuse("rank", "has a role or permissions that the caller does not stand above: ask somebody who does");
    }
    const there = credential.digests
      .map((one) => known.credentials.get(nameOf(realm, kind, one)))
      .find((one) => one !== undefined);
    if (there !== undefined) present += 1;
    if (there === undefined) {
      added.push(credential);
      if (owner !== undefined) owners.set(id, [realm, userId, role, owner.permissions]);
    } else if (there.userId !== userId) {
      refuse("secret", "belongs to another user of the realm: leave this out, or delete the other one");
    } else if (there.status === "deleted") {
      refuse("secret", "was deleted here, and does not come back: leave this out");
    }
  }
  return { added, present, owners: [...owners.values()] };
}

/** @throws where the stored text is no JSON */
function listOf(permissions: string | readonly string[] | undefined): readonly string[] {
  return typeof permissions === "string"
    ? (JSON.parse(permissions) as readonly string[])
    : (permissions ?? []);
}
