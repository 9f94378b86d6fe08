// What an import would do to what is there: decided here, done by `imports.ts`.
import type { AuditEntry } from "../audit.ts";
import { accountKey } from "./account-name.ts";
import {
  type Difference,
  differenceOfCredential,
  differenceOfUser,
  type KnownCredential,
  type KnownUser,
} from "./import-changes.ts";
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
  /** There already, under the same id or with the same secret. */
  readonly present: number;
  /** Of those: how many say something else than the record. Left as they are, unless it is an update. */
  readonly differing: number;
  /** Of an update: deleted here, or theirs who was. Left out: they do not come back. */
  readonly deleted: number;
}

/** A record that differs from what is there. */
export interface ImportDifference {
  readonly kind: "user" | "credential";
  /** Into what was given. */
  readonly index: number;
  /** As records name them. */
  readonly fields: readonly string[];
}

export interface ImportResult {
  readonly users: ImportCount;
  readonly credentials: ImportCount;
  readonly differences: readonly ImportDifference[];
  /** With any of them nothing is written. */
  readonly conflicts: readonly ImportConflict[];
}

export interface ImportOptions {
  /** Only finds out what would happen. */
  readonly isDryRun: boolean;
  /** Takes over what differs. */
  readonly isUpdate: boolean;
  readonly nowSeconds: number;
  /** Whether the caller may give something to an owner of this role and with these permissions. */
  mayOwn(realm: string, role: string, permissions: readonly string[]): boolean;
  /** Whether the caller may give these scopes. */
  mayGive(realm: string, scopes: readonly string[]): boolean;
  /** What ends when a user is changed so. */
  endingOf(realm: string, from: KnownUser, to: KnownUser): Ending | null;
  /** For the audit log: one entry for each realm that something was written to. */
  explain(realm: string, written: Readonly<Record<string, number>>): AuditEntry;
  /** The same of one row whose rights were changed; which one it was is added. */
  explainChange(kind: "user" | "api_key" | "pat"): AuditEntry;
}

export interface Ending {
  readonly what: "sessions" | "everything";
  readonly denyUntilSeconds: number;
}

export interface UserChange extends Difference<KnownUser> {
  readonly realm: string;
  readonly id: string;
  readonly ending: Ending | null;
}

export interface CredentialChange extends Difference<KnownCredential> {
  readonly kind: "api_key" | "pat";
  readonly realm: string;
  readonly id: string;
  readonly userId: string;
}

/** What was found of the rows; keys are made by `nameOf`. */
export interface Known {
  readonly users: ReadonlyMap<string, KnownUser>;
  /** Who has a username or an e-mail address. */
  readonly names: ReadonlyMap<string, string>;
  readonly credentials: ReadonlyMap<string, KnownCredential>;
}

/** Realms and ids hold no blanks. */
export const nameOf = (...parts: readonly string[]) => parts.join(" ");

export interface Plan {
  readonly users: readonly ImportedUser[];
  readonly credentials: readonly ImportedCredential[];
  /** None unless it is an update. */
  readonly userChanges: readonly UserChange[];
  readonly credentialChanges: readonly CredentialChange[];
  /** Owners that were there before, as they were. */
  readonly owners: readonly (readonly [realm: string, id: string, role: string, permissions: string])[];
  readonly result: ImportResult;
}

/** What the two halves of a decision write down. */
interface Findings {
  readonly conflicts: ImportConflict[];
  readonly differences: ImportDifference[];
}

/** Decides about every row; writes nothing. */
export function makePlan(rows: ImportRows, known: Known, options: ImportOptions): Plan {
  const findings: Findings = { conflicts: [], differences: [] };
  const users = planUsers(rows.users, known, options, findings);
  const credentials = planCredentials(rows, known, options, findings);
  return {
    users: users.added,
    credentials: credentials.added,
    userChanges: users.changes,
    credentialChanges: credentials.changes,
    owners: credentials.owners,
    result: { users: users.count, credentials: credentials.count, ...findings },
  };
}

function planUsers(
  given: readonly ImportedUser[],
  known: Known,
  options: ImportOptions,
  { conflicts, differences }: Findings,
) {
  const ids = new Set<string>();
  const names = new Set<string>();
  const added: ImportedUser[] = [];
  const changes: UserChange[] = [];
  const count = { present: 0, differing: 0, deleted: 0 };
  for (const [index, user] of given.entries()) {
    const { realm } = user;
    const refuse = (field: ImportConflict["field"], message: string) =>
      conflicts.push({ kind: "user", index, field, message });
    const demandFree = (field: "username" | "email") => {
      const key = accountKey(user[field]);
      if (typeof key !== "string") return;
      const name = nameOf(realm, key);
      const holder = known.names.get(name);
      if (names.has(name)) refuse(field, "stands there twice, as names are compared: change one");
      else if (holder !== undefined && holder !== user.id)
        refuse(field, "belongs to another user of the realm: change one of them");
      names.add(name);
    };
    const id = nameOf(realm, user.id);
    if (ids.has(id)) refuse("id", "stands there twice: leave one out");
    ids.add(id);
    const there = known.users.get(id);
    if (there === undefined) {
      demandFree("username");
      demandFree("email");
      added.push(user);
    } else if (there.status === "deleted" && options.isUpdate) {
      count.deleted += 1;
    } else {
      count.present += 1;
      if (there.status === "deleted") {
        refuse("id", "belonged to a user who was deleted here, and is never used again: leave the user out");
        continue;
      }
      const difference = differenceOfUser(user, there);
      if (difference === null) continue;
      const { fields, next } = difference;
      count.differing += 1;
      differences.push({ kind: "user", index, fields });
      if (!options.isUpdate) continue;
      if (fields.includes("username")) demandFree("username");
      if (fields.includes("email")) demandFree("email");
      if (!options.mayOwn(realm, there.role, []) || !options.mayOwn(realm, next.role, [])) {
        refuse("rank", "is of somebody whom the caller does not outrank: ask somebody who does");
      }
      changes.push({ ...difference, realm, id: user.id, ending: options.endingOf(realm, there, next) });
    }
  }
  return { added, changes, count: { added: added.length, ...count } };
}

function planCredentials(
  rows: ImportRows,
  known: Known,
  options: ImportOptions,
  { conflicts, differences }: Findings,
) {
  const given = new Map(rows.users.map((user) => [nameOf(user.realm, user.id), user]));
  const secrets = new Set<string>();
  const owners = new Map<string, Plan["owners"][number]>();
  const added: ImportedCredential[] = [];
  const changes: CredentialChange[] = [];
  const count = { present: 0, differing: 0, deleted: 0 };
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
    if (owner?.status === "deleted" && options.isUpdate) {
      count.deleted += 1;
      continue;
    }
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
    if (there?.status === "deleted" && there.userId === userId && options.isUpdate) {
      count.deleted += 1;
      continue;
    }
    if (there === undefined) added.push(credential);
    else count.present += 1;
    if (there !== undefined && there.userId !== userId) {
      refuse("secret", "belongs to another user of the realm: leave this out, or delete the other one");
      continue;
    }
    if (there?.status === "deleted") {
      refuse("secret", "was deleted here, and does not come back: leave this out");
      continue;
    }
    const difference = there === undefined ? null : differenceOfCredential(credential, there);
    if (there !== undefined && difference !== null) {
      count.differing += 1;
      differences.push({ kind: "credential", index, fields: difference.fields });
      if (options.isUpdate) changes.push({ ...difference, kind, realm, id: there.id, userId });
      // It may come to life by it, and then all that it has counts.
      if (options.isUpdate && !options.mayGive(realm, listOf(difference.next.scopes))) {
        refuse("rank", "has a key or PAT with scopes that the caller does not hold: ask somebody who does");
      }
    }
    const isWritten = there === undefined || (options.isUpdate && difference !== null);
    if (isWritten && owner !== undefined) owners.set(id, [realm, userId, role, owner.permissions]);
  }
  return { added, changes, owners: [...owners.values()], count: { added: added.length, ...count } };
}

/** @throws where the stored text is no JSON */
function listOf(permissions: string | readonly string[] | undefined): readonly string[] {
  return typeof permissions === "string"
    ? (JSON.parse(permissions) as readonly string[])
    : (permissions ?? []);
}
