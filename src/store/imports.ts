// Many users, keys and PATs at once: a few statements over JSON, whatever the number of rows, all in one batch.
import { realmSubject } from "../records/subjects.ts";
import { accountKey } from "./account-name.ts";
import { record } from "./feed.ts";
import type { KnownCredential, KnownUser } from "./import-changes.ts";
import {
  type ImportedCredential,
  type ImportedUser,
  type ImportOptions,
  type ImportResult,
  type ImportRows,
  type Known,
  makePlan,
  nameOf,
  type Plan,
} from "./import-plan.ts";
import {
  areCredentialsChanged,
  areUsersChanged,
  auditRow,
  credentialChangeRow,
  endings,
  recordChanges,
  updateCredentials,
  updateUsers,
  userChangeRow,
} from "./import-updates.ts";
import { ALWAYS, runBatch, type Sql, sql } from "./sql.ts";

export interface Imports {
  /**
   * Adds all that is not there yet, and in an update takes over what differs; or, where anything stands against any of
   * it, nothing.
   * @throws when others change the same rows again and again meanwhile
   */
  apply(rows: ImportRows, options: ImportOptions): Promise<ImportResult>;
}

/** D1 takes 2 MB; the rest is for what UTF-8 makes of it. */
export const MAX_PARAMETER_CHARACTERS = 500_000;
const MAX_ATTEMPTS = 3;

export function createImports(database: D1Database): Imports {
  return {
    async apply(rows, options) {
      for (let attempt = 1; ; attempt++) {
        const plan = makePlan(rows, await look(database, rows), options);
        const { result } = plan;
        if (result.conflicts.length > 0 || options.isDryRun) return result;
        const changes = plan.userChanges.length + plan.credentialChanges.length;
        if (plan.users.length + plan.credentials.length + changes === 0) return result;
        try {
          await write(database, plan, options);
          return result;
        } catch (error) {
          // Somebody else added or changed one of them since it was looked at. Nothing was written: look again.
          if (attempt === MAX_ATTEMPTS || !/constraint failed/i.test(String(error))) throw error;
        }
      }
    },
  };
}

/** CROSS JOIN keeps the order: a look-up in the index for each of ours, never a scan of the table. */
const FIND_USERS = `SELECT u.realm, u.id, u.username, u.email, u.name, u.role, u.permissions, u.status, u.attributes
  FROM json_each(?1) AS given
  CROSS JOIN users AS u ON u.realm = given.value->>0 AND u.id = given.value->>1`;
const findNames = (column: "username_key" | "email_key") =>
  `SELECT u.realm, u.${column} AS name, u.id FROM json_each(?1) AS given
  CROSS JOIN users AS u ON u.realm = given.value->>0 AND u.${column} = given.value->>1 AND u.status <> 'deleted'`;
const FIND_CREDENTIALS = `SELECT c.realm, c.kind, c.digest, c.id, c.user_id AS userId, c.replaced_by AS replacedBy,
    c.name, c.status, c.scopes, c.ip_allow, c.attributes, c.expires_at_seconds AS expires_at
  FROM json_each(?1) AS given
  CROSS JOIN credentials AS c
  ON c.realm = given.value->>0 AND c.kind = given.value->>1 AND c.digest = given.value->>2`;

type FoundUser = KnownUser & { readonly realm: string; readonly id: string };
type FoundName = { readonly realm: string; readonly name: string; readonly id: string };
type FoundCredential = KnownCredential & {
  readonly realm: string;
  readonly kind: string;
  readonly digest: string;
};

async function look(database: D1Database, rows: ImportRows): Promise<Known> {
  const ids = new Map<string, readonly string[]>();
  for (const { realm, id } of rows.users) ids.set(nameOf(realm, id), [realm, id]);
  for (const { realm, userId } of rows.credentials) ids.set(nameOf(realm, userId), [realm, userId]);
  const usernames = rows.users.flatMap((user) => pair(user.realm, user.username));
  const addresses = rows.users.flatMap((user) => pair(user.realm, user.email));
  const secrets = rows.credentials.flatMap(({ realm, kind, digests }) =>
    digests.map((digest) => [realm, kind, digest]),
  );

  const asked: { readonly what: keyof Known; readonly statement: D1PreparedStatement }[] = [];
  const ask = (what: keyof Known, text: string, given: readonly unknown[]) => {
    for (const json of parametersOf(given)) {
      asked.push({ what, statement: database.prepare(text).bind(json) });
    }
  };
  ask("users", FIND_USERS, [...ids.values()]);
  ask("names", findNames("username_key"), usernames);
  ask("names", findNames("email_key"), addresses);
  ask("credentials", FIND_CREDENTIALS, secrets);

  const known = {
    users: new Map<string, KnownUser>(),
    names: new Map<string, string>(),
    credentials: new Map<string, KnownCredential>(),
  };
  if (asked.length === 0) return known;
  const answers = await database.batch(asked.map(({ statement }) => statement));
  for (const [at, { results }] of answers.entries()) {
    const what = asked[at]?.what;
    // As the statements above name their columns.
    if (what === "users") {
      for (const { realm, id, ...user } of results as FoundUser[]) known.users.set(nameOf(realm, id), user);
    } else if (what === "names") {
      for (const { realm, name, id } of results as FoundName[]) known.names.set(nameOf(realm, name), id);
    } else {
      for (const { realm, kind, digest, ...credential } of results as FoundCredential[]) {
        known.credentials.set(nameOf(realm, kind, digest), credential);
      }
    }
  }
  return known;
}

const pair = (realm: string, name: string | null | undefined) =>
  typeof name === "string" ? [[realm, accountKey(name)]] : [];

/**
 * One batch, all of it or nothing. Plain inserts: what was not there when it was looked for must not be there now. What is
 * changed must be as it was seen.
 * @throws "constraint failed" where that is no longer so
 */
async function write(database: D1Database, plan: Plan, options: ImportOptions): Promise<void> {
  const { nowSeconds } = options;
  const { userChanges, credentialChanges } = plan;
  const written = [...plan.users, ...plan.credentials, ...userChanges, ...credentialChanges];
  const realms = [...new Set(written.map(({ realm }) => realm))];
  const userRows = parametersOf(plan.users.map((user) => userRow(user)));
  const passwordRows = parametersOf(plan.users.flatMap((user) => passwordRow(user, nowSeconds)));
  const credentialRows = parametersOf(plan.credentials.map(credentialRow));
  const userChangeRows = parametersOf(userChanges.map(userChangeRow));
  const credentialChangeRows = parametersOf(credentialChanges.map(credentialChangeRow));
  const isOutdated = [
    ...parametersOf(plan.owners).map(areOwnersChanged),
    ...userChangeRows.map(areUsersChanged),
    ...credentialChangeRows.map(areCredentialsChanged),
  ];
  await runBatch(database, [
    announceAll(realms, isOutdated, nowSeconds),
    ...realms.map((realm) => {
      const count = (rows: readonly { readonly realm: string }[]) =>
        rows.filter((row) => row.realm === realm).length;
      const [users, credentials] = [count(plan.users), count(plan.credentials)];
      const updated = {
        users_updated: count(userChanges),
        credentials_updated: count(credentialChanges),
      };
      const entry = options.explain(realm, { users, credentials, ...(options.isUpdate && updated) });
      return record(entry, ALWAYS);
    }),
    ...(["user", "api_key", "pat"] as const).flatMap((kind) => {
      const changes =
        kind === "user" ? userChanges : credentialChanges.filter((change) => change.kind === kind);
      return parametersOf(changes.flatMap(auditRow)).map((json) =>
        recordChanges(options.explainChange(kind), json),
      );
    }),
    ...userChangeRows.map((json) => updateUsers(json, nowSeconds)),
    ...endings(userChanges, nowSeconds),
    ...credentialChangeRows.map(updateCredentials),
    ...userRows.map(insertUsers),
    ...passwordRows.map(insertPasswords),
    ...credentialRows.map(insertCredentials),
  ]);
}

/** Whether one of them has another role, other permissions, or is gone since the decision was made. */
const areOwnersChanged = (json: string) =>
  sql`EXISTS (SELECT 1 FROM json_each(${json}) AS owner WHERE NOT EXISTS (
    SELECT 1 FROM users WHERE realm = owner.value->>0 AND id = owner.value->>1 AND role = owner.value->>2
      AND permissions = owner.value->>3 AND status <> 'deleted'))`;

/** The row of the feed. Its time is NULL, which the table refuses and the whole batch with it, if anything is outdated. */
function announceAll(realms: readonly string[], outdated: readonly Sql[], nowSeconds: number) {
  const isAny = outdated.reduce((any, one) => sql`${any} OR ${one}`, sql`0`);
  return sql`INSERT INTO changes (at_seconds, subjects, what)
    SELECT CASE WHEN ${isAny} THEN NULL ELSE ${nowSeconds} END, ${realms.map(realmSubject)}, 'import.applied'`;
}

/** In the order of `insertUsers`; so are the next two. */
const userRow = (user: ImportedUser) => [
  user.realm,
  user.id,
  user.username ?? null,
  user.email ?? null,
  accountKey(user.username ?? null),
  accountKey(user.email ?? null),
  user.name ?? null,
  user.role ?? "user",
  JSON.stringify(user.permissions ?? []),
  user.status ?? "active",
  JSON.stringify(user.attributes ?? {}),
  user.createdAtSeconds,
  user.updatedAtSeconds,
];

const passwordRow = ({ realm, id, password }: ImportedUser, nowSeconds: number) =>
  password === null ? [] : [[realm, id, password.scheme, password.hash, nowSeconds]];

const credentialRow = (row: ImportedCredential) => [
  row.id,
  row.kind,
  row.realm,
  row.userId,
  row.name ?? null,
  row.digest,
  row.pepper,
  row.status ?? "active",
  JSON.stringify(row.scopes ?? []),
  JSON.stringify(row.ipAllow ?? []),
  JSON.stringify(row.attributes ?? {}),
  row.createdAtSeconds,
  row.expiresAtSeconds ?? null,
  row.isIssuedNow ? 1 : 0,
];

const insertUsers = (json: string) =>
  sql`INSERT INTO users (realm, id, username, email, username_key, email_key, name, role, permissions, status,
      attributes, created_at_seconds, updated_at_seconds)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, value->>9,
      value->>10, value->>11, value->>12
    FROM json_each(${json})`;

const insertPasswords = (json: string) =>
  sql`INSERT INTO passwords (realm, user_id, scheme, hash, changed_at_seconds)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(${json})`;

/** As `issuedAt` of `feed.ts` has it: what is issued now survives an "everything issued until then". */
const insertCredentials = (json: string) =>
  sql`INSERT INTO credentials (id, kind, realm, user_id, name, digest, pepper, status, scopes, ip_allow, attributes,
      created_at_seconds, expires_at_seconds)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8, value->>9,
      value->>10, CASE WHEN value->>13 THEN MAX(value->>11, COALESCE(
        (SELECT MAX(issued_before_seconds) + 1 FROM revocations WHERE realm = given.value->>2
          AND ((kind = 'subject' AND revocations.value = given.value->>3) OR kind = 'realm')), 0))
        ELSE value->>11 END, value->>12
    FROM json_each(${json}) AS given`;

/** JSON lists of the rows, each short enough to be one parameter. */
export function parametersOf(rows: readonly unknown[]): readonly string[] {
  const parameters: string[] = [];
  let items: string[] = [];
  let length = 0;
  for (const row of rows) {
    const item = JSON.stringify(row);
    if (items.length > 0 && length + item.length > MAX_PARAMETER_CHARACTERS) {
      parameters.push(`[${items.join(",")}]`);
      items = [];
      length = 0;
    }
    items.push(item);
    length += item.length + 1;
  }
  return items.length === 0 ? parameters : [...parameters, `[${items.join(",")}]`];
}
