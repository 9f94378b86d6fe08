// What an import with `update` writes to rows that are there: a few statements over JSON, in the batch of `imports.ts`.
import type { AuditEntry } from "../audit.ts";
import { accountKey } from "./account-name.ts";
import { record } from "./feed.ts";
import type { KnownCredential, KnownUser } from "./import-changes.ts";
import type { CredentialChange, UserChange } from "./import-plan.ts";
import { ALWAYS, type Sql, sql } from "./sql.ts";
import { denySessions, endingBy, IS_THERE } from "./writes.ts";

const userColumns = (user: KnownUser) => [
  user.username,
  user.email,
  user.name,
  user.role,
  user.permissions,
  user.status,
  user.attributes,
];

/** For `areUsersChanged` and `updateUsers`: what was seen in 2 to 8, what it becomes from 9 on. */
export const userChangeRow = ({ realm, id, seen, next }: UserChange) => [
  realm,
  id,
  ...userColumns(seen),
  ...userColumns(next),
  accountKey(next.username),
  accountKey(next.email),
];

const credentialColumns = (credential: KnownCredential) => [
  credential.name,
  credential.status,
  credential.scopes,
  credential.ip_allow,
  credential.attributes,
  credential.expires_at,
];

/** For `areCredentialsChanged` and `updateCredentials`: what was seen in 1 to 7, what it becomes from 8 on. */
export const credentialChangeRow = ({ id, seen, next }: CredentialChange) => [
  id,
  seen.replacedBy,
  ...credentialColumns(seen),
  ...credentialColumns(next),
];

/** Whether any of them is not what the decision was made about any more. */
export const areUsersChanged = (json: string) =>
  sql`EXISTS (SELECT 1 FROM json_each(${json}) AS given WHERE NOT EXISTS (
    SELECT 1 FROM users WHERE users.realm = given.value->>0 AND users.id = given.value->>1
      AND username IS given.value->>2 AND email IS given.value->>3 AND name IS given.value->>4
      AND role = given.value->>5 AND permissions = given.value->>6 AND status = given.value->>7
      AND attributes = given.value->>8))`;

export const areCredentialsChanged = (json: string) =>
  sql`EXISTS (SELECT 1 FROM json_each(${json}) AS given WHERE NOT EXISTS (
    SELECT 1 FROM credentials WHERE credentials.id = given.value->>0 AND replaced_by IS given.value->>1
      AND name IS given.value->>2 AND status = given.value->>3 AND scopes = given.value->>4
      AND ip_allow = given.value->>5 AND attributes = given.value->>6 AND expires_at_seconds IS given.value->>7))`;

export const updateUsers = (json: string, nowSeconds: number) =>
  sql`UPDATE users SET username = given.value->>9, email = given.value->>10, name = given.value->>11,
      role = given.value->>12, permissions = given.value->>13, status = given.value->>14,
      attributes = given.value->>15, username_key = given.value->>16, email_key = given.value->>17,
      updated_at_seconds = ${nowSeconds}
    FROM json_each(${json}) AS given
    WHERE users.realm = given.value->>0 AND users.id = given.value->>1 AND users.status <> 'deleted'`;

/** After `endings`: what ended there stays so. */
export const updateCredentials = (json: string) =>
  sql`UPDATE credentials SET name = given.value->>8, status = given.value->>9, scopes = given.value->>10,
      ip_allow = given.value->>11, attributes = given.value->>12, expires_at_seconds = given.value->>13
    FROM json_each(${json}) AS given WHERE credentials.id = given.value->>0 AND credentials.status <> 'deleted'`;

/** What ends with the changes of users, as with any change; `writes.ts` has the same for one. */
export function endings(changes: readonly UserChange[], nowSeconds: number): readonly Sql[] {
  return [...new Set(changes.map(({ realm }) => realm))].flatMap((realm) => {
    const ended = changes.filter((change) => change.realm === realm && change.ending !== null);
    const denyUntilSeconds = ended[0]?.ending?.denyUntilSeconds;
    if (denyUntilSeconds === undefined) return [];
    const ownedBy = (owners: readonly UserChange[]) =>
      sql`realm = ${realm} AND user_id IN (SELECT value FROM json_each(${owners.map(({ id }) => id)}))`;
    const lifted = ownedBy(ended.filter(({ ending }) => ending?.what === "everything"));
    return [
      denySessions(sql`${ownedBy(ended)} AND ${IS_THERE}`, denyUntilSeconds),
      sql`UPDATE sessions SET status = 'deleted' WHERE ${ownedBy(ended)} AND ${IS_THERE}`,
      sql`UPDATE credentials SET status = 'deleted', expires_at_seconds = ${endingBy(nowSeconds)}
        WHERE ${lifted} AND ${IS_THERE}`,
      sql`DELETE FROM passwords WHERE ${lifted}`,
    ];
  });
}

/** What tells nothing of anyone's rights, and changes with every import: only counted in the audit log. */
const IS_QUIET: Readonly<Record<string, boolean>> = { name: true, attributes: true };

/** For `recordChanges`; none where nothing changes but what is quiet. */
export function auditRow(change: UserChange | CredentialChange): readonly unknown[] {
  const { realm, id, fields, seen, next } = change;
  if (fields.every((field) => IS_QUIET[field])) return [];
  const details = {
    fields,
    import: true,
    ...("userId" in change && { user: change.userId }),
    ...("role" in seen && "role" in next && seen.role !== next.role && { role: [seen.role, next.role] }),
    ...(seen.status !== next.status && { status: [seen.status, next.status] }),
    ...("ending" in change && change.ending !== null && { ended: change.ending.what }),
  };
  return [[realm, id, details]];
}

export const recordChanges = (entry: AuditEntry, json: string) =>
  record(entry, ALWAYS, {
    targetRealm: sql`given.value->>0`,
    targetId: sql`given.value->>1`,
    details: sql`given.value->>2`,
    from: sql` FROM json_each(${json}) AS given`,
  });
