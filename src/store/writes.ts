// Changes of what records contain. Each one appends its row to the feed in the same batch, so that none can be missed,
// and its row to the audit log, so that none goes unexplained.
import type { AuditEntry } from "../audit.ts";
import { credentialSubject, digestSubject, sessionSubject, userSubject } from "../records/subjects.ts";
import { accountKey } from "./account-name.ts";
import {
  CREDENTIAL_COLUMNS,
  PASSWORD_COLUMNS,
  REVOCATION_COLUMNS,
  SESSION_COLUMNS,
  USER_COLUMNS,
} from "./columns.ts";
import { announce, announceIf, announceIfChanged, issuedAt, NEWEST_SEQ, record } from "./feed.ts";
import type { credentials, passwords, revocations, sessions, users } from "./schema.ts";
import { ALWAYS, assignments, insert, type Row, runBatch, type Sql, sql } from "./sql.ts";

export type NewUser = Omit<typeof users.$inferInsert, "usernameKey" | "emailKey">;
export type NewCredential = typeof credentials.$inferInsert;
export type NewSession = typeof sessions.$inferInsert;
export type NewRevocation = Omit<typeof revocations.$inferInsert, "seq">;
export type PasswordHash = Pick<typeof passwords.$inferInsert, "scheme" | "hash">;

export type UserPatch = Partial<Omit<NewUser, "realm" | "id" | "createdAtSeconds">>;
export type CredentialPatch = Partial<
  Pick<NewCredential, "name" | "status" | "scopes" | "ipAllow" | "attributes" | "expiresAtSeconds">
>;

/** What a decision about a key or PAT rests on; the write is made only while it is so. */
export interface CredentialState {
  readonly scopes: readonly string[];
  readonly expiresAtSeconds: number | null;
  readonly replacedBy: string | null;
  /** `undefined`, `null`: nothing about the owner was asked. */
  readonly owner?: OwnerState | null;
}

/** Whoever holds a key acts with these, so they are part of what was decided. */
export interface OwnerState {
  readonly role: string;
  readonly permissions: readonly string[];
}

/** What a rotation puts in a credential's place; the rest is taken over from the old one as it is then. */
export type Successor = Pick<
  NewCredential,
  "id" | "kind" | "realm" | "userId" | "digest" | "pepper" | "createdAtSeconds" | "expiresAtSeconds"
>;

/** Which sessions: one, or all of a user but one. */
export type SessionChoice =
  | { readonly realm: string; readonly id: string }
  | { readonly realm: string; readonly userId: string; readonly exceptId: string | null };

/** Deleted users, credentials and sessions are not there for any of these. */
export interface Writes {
  /** @throws when id, username or e-mail address is taken */
  createUser(user: NewUser, password?: PasswordHash): Promise<void>;
  /**
   * @param how.expected where the row has another role or status by now, nothing is changed
   * @param how.ending what of the user's ends with it: the sessions, or keys, PATs and password as well
   * @returns whether it was changed
   */
  updateUser(
    realm: string,
    id: string,
    patch: UserPatch,
    nowSeconds: number,
    how?: {
      readonly expected?: { readonly role: string; readonly status: string };
      readonly ending?: { readonly what: "sessions" | "everything"; readonly denyUntilSeconds: number };
    },
  ): Promise<boolean>;
  /**
   * Leaves a tombstone: the id is never used again, name and address are free. Ends the user's keys, PATs and sessions,
   * and denies every token issued to the user until now.
   * @param denyUntilSeconds when the last of those tokens has expired
   * @returns whether there was such a user
   */
  deleteUser(
    realm: string,
    id: string,
    nowSeconds: number,
    denyUntilSeconds: number,
    expected?: { readonly role: string; readonly status: string },
  ): Promise<boolean>;
  /**
   * Sets the password and ends the user's sessions but one.
   * @param keep.previousHash where the row holds another one by now, nothing is changed; `undefined`: whatever it holds
   * @param keep.owner where the user has another role or other permissions by now, nothing is changed; `undefined`: not asked
   * @returns whether it was set
   */
  setPassword(
    realm: string,
    userId: string,
    password: PasswordHash,
    keep: {
      readonly exceptSessionId: string | null;
      readonly previousHash?: string;
      readonly owner?: OwnerState;
    },
    nowSeconds: number,
    denyUntilSeconds: number,
  ): Promise<boolean>;
  /** The same password under a better scheme; nothing ends. Only where the stored hash is still the one that was verified. */
  rehashPassword(
    realm: string,
    userId: string,
    verified: string,
    password: PasswordHash,
    nowSeconds: number,
  ): Promise<boolean>;
  /**
   * @param most where the owner is deleted, or has so many of the kind that have not run out, nothing is created;
   *   `undefined`: neither is asked
   * @param owner where the owner has another role or other permissions by now, nothing is created; `null`: not asked
   * @returns `created_at_seconds`, which may be later than asked: after any "everything issued until then" of the
   *   owner; `null`: nothing was created
   */
  createCredential(
    credential: NewCredential,
    most?: number,
    owner?: OwnerState | null,
  ): Promise<number | null>;
  /** @returns whether there is such a key or PAT, in the state that was expected */
  updateCredential(
    id: string,
    patch: CredentialPatch,
    nowSeconds: number,
    expected?: CredentialState,
  ): Promise<boolean>;
  /**
   * Puts a new credential in the place of an active one, which goes on until `graceEndsAtSeconds` or its own end.
   * @param most as with `createCredential`, without the one that is replaced
   * @returns as `createCredential`; `null` also where there was none in the state that was expected
   */
  rotateCredential(
    id: string,
    next: Successor,
    graceEndsAtSeconds: number,
    most?: number,
    expected?: CredentialState,
  ): Promise<number | null>;
  /**
   * @param verifiedHash where the user is not active, or has another password by now, nothing is created; `undefined`:
   *   neither is asked
   * @returns whether it was created
   */
  createSession(session: NewSession, verifiedHash?: string): Promise<boolean>;
  /** @returns whether there is such a session */
  updateSession(
    id: string,
    patch: Partial<Pick<NewSession, "status" | "scopes" | "expiresAtSeconds">>,
    nowSeconds: number,
  ): Promise<boolean>;
  /**
   * Ends sessions, and denies the tokens that name them.
   * @param denyUntilSeconds when the last of those tokens has expired
   * @returns how many were ended
   */
  endSessions(choice: SessionChoice, nowSeconds: number, denyUntilSeconds: number): Promise<number>;
  /** Denies, or widens an existing denial of the same thing: it is never narrowed. */
  revoke(revocation: NewRevocation, nowSeconds: number): Promise<void>;
  /** Drops at most `maxRows` of the feed's oldest rows written before then. @returns the new floor */
  pruneChanges(beforeSeconds: number, maxRows: number): Promise<number>;
  /** After a restore: whatever was read before is told apart from what is read from now on. */
  renewEpoch(): Promise<void>;
  /** The same writes, each with this entry in the audit log; a write that changes nothing leaves none. */
  audited(entry: AuditEntry): Writes;
}

export function createWrites(database: D1Database, entry: AuditEntry | null = null): Writes {
  const run = <const Statements extends readonly Sql[]>(statements: Statements) =>
    runBatch(database, statements);
  /** Stands directly after the row of the feed, and is written if that one was. */
  const explained = entry === null ? [] : [record(entry)];

  return {
    async createUser(user, password) {
      const { realm, id, createdAtSeconds } = user;
      const keys = { usernameKey: accountKey(user.username), emailKey: accountKey(user.email) };
      const owned = { ...password, realm, userId: id, changedAtSeconds: createdAtSeconds };
      await run([
        insert("users", USER_COLUMNS, { ...user, ...keys }),
        ...(password === undefined ? [] : [insert("passwords", PASSWORD_COLUMNS, owned)]),
        announce([userSubject(realm, id)], "user.created", createdAtSeconds),
        ...explained,
      ]);
    },

    async updateUser(realm, id, patch, nowSeconds, { expected, ending } = {}) {
      const keys = {
        ...(patch.username !== undefined && { usernameKey: accountKey(patch.username) }),
        ...(patch.email !== undefined && { emailKey: accountKey(patch.email) }),
      };
      const changed = assignments(USER_COLUMNS, { ...patch, ...keys, updatedAtSeconds: nowSeconds });
      const [updated] = await run([
        sql`UPDATE users SET ${changed} WHERE ${isUser(realm, id)} AND ${isAsExpected(expected)} RETURNING id`,
        announceIfChanged([userSubject(realm, id)], "user.updated", nowSeconds),
        ...explained,
        ...(ending === undefined ? [] : endings(realm, id, patch, ending, nowSeconds)),
      ]);
      return updated.length > 0;
    },

    async deleteUser(realm, id, nowSeconds, denyUntilSeconds, expected) {
      const isGone = sql`EXISTS (SELECT 1 FROM users WHERE ${isUser(realm, id)} AND status = 'deleted')`;
      const isOwnedStill = sql`realm = ${realm} AND user_id = ${id} AND ${IS_THERE} AND ${isGone}`;
      const [deleted] = await run([
        sql`UPDATE users SET status = 'deleted', username = NULL, email = NULL, username_key = NULL, email_key = NULL,
            name = NULL, permissions = '[]', attributes = '{}', updated_at_seconds = ${nowSeconds}
          WHERE ${isUser(realm, id)} AND ${IS_THERE} AND ${isAsExpected(expected)} RETURNING id`,
        announceIfChanged([userSubject(realm, id)], "user.deleted", nowSeconds),
        ...explained,
        // What follows is harmless where the user was deleted before, and does nothing where none was deleted.
        sql`INSERT INTO revocations (realm, kind, value, issued_before_seconds, expires_at_seconds, seq)
          SELECT ${realm}, 'subject', ${id}, NULL, ${denyUntilSeconds}, ${NEWEST_SEQ} WHERE ${isGone}
          ${orWiden(nowSeconds)}`,
        sql`UPDATE credentials SET status = 'deleted', expires_at_seconds = ${endingBy(nowSeconds)}
          WHERE ${isOwnedStill}`,
        sql`UPDATE sessions SET status = 'deleted' WHERE ${isOwnedStill}`,
        sql`DELETE FROM passwords WHERE realm = ${realm} AND user_id = ${id} AND ${isGone}`,
      ]);
      return deleted.length > 0;
    },

    async setPassword(realm, userId, password, keep, nowSeconds, denyUntilSeconds) {
      const holds = (hash: string) =>
        sql`EXISTS (SELECT 1 FROM passwords WHERE realm = ${realm} AND user_id = ${userId} AND hash = ${hash})`;
      const others = sql`realm = ${realm} AND user_id = ${userId} AND id <> ${keep.exceptSessionId ?? ""}
        AND ${IS_THERE} AND ${holds(password.hash)}`;
      const isFree = keep.previousHash === undefined ? ALWAYS : holds(keep.previousHash);
      const isExpected = isOwned({ realm, userId }, keep.owner);
      const row = { ...password, realm, userId, changedAtSeconds: nowSeconds };
      const [set] = await run([
        sql`${insert("passwords", PASSWORD_COLUMNS, row, sql`${isFree} AND ${isExpected}`)}
          ON CONFLICT (realm, user_id) DO UPDATE SET scheme = excluded.scheme, hash = excluded.hash,
            changed_at_seconds = excluded.changed_at_seconds
          RETURNING user_id`,
        // The owner is a subject of every session's record.
        announceIfChanged([userSubject(realm, userId)], "user.password_changed", nowSeconds),
        ...explained,
        denySessions(others, denyUntilSeconds),
        sql`UPDATE sessions SET status = 'deleted' WHERE ${others}`,
      ]);
      return set.length > 0;
    },

    async rehashPassword(realm, userId, verified, password, nowSeconds) {
      const changed = assignments(PASSWORD_COLUMNS, { ...password, changedAtSeconds: nowSeconds });
      const [updated] = await run([
        sql`UPDATE passwords SET ${changed} WHERE realm = ${realm} AND user_id = ${userId} AND hash = ${verified}
          RETURNING user_id`,
        ...explained,
      ]);
      return updated.length > 0;
    },

    async createCredential(credential, most, owner) {
      const { realm, userId, createdAtSeconds } = credential;
      const row = { ...credential, createdAtSeconds: issuedAt(realm, userId, createdAtSeconds) };
      const isWanted =
        most === undefined ? ALWAYS : sql`${isOwned(credential, owner)} AND ${liveOf(credential)} < ${most}`;
      const [created] = await run([
        sql`${insert("credentials", CREDENTIAL_COLUMNS, row, isWanted)} RETURNING created_at_seconds`,
        announceIfChanged(subjectsOfNew(credential), "credential.created", createdAtSeconds),
        ...explained,
      ]);
      return createdAt(created);
    },

    async updateCredential(id, patch, nowSeconds, expected) {
      const end = patch.status === "deleted" ? { expiresAtSeconds: endingBy(nowSeconds) } : {};
      const changed = assignments(CREDENTIAL_COLUMNS, { ...patch, ...end });
      const [updated] = await run([
        sql`UPDATE credentials SET ${changed} WHERE id = ${id} AND ${IS_THERE} AND ${isInState(expected)} RETURNING id`,
        announceIfChanged([credentialSubject(id)], "credential.updated", nowSeconds),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async rotateCredential(id, next, graceEndsAtSeconds, most, expected) {
      const { realm, userId, createdAtSeconds } = next;
      const isFree = most === undefined ? ALWAYS : sql`${liveOf(next)} <= ${most}`;
      const [, ...rest] = await run([
        sql`UPDATE credentials SET replaced_by = ${next.id}, expires_at_seconds = ${endingBy(graceEndsAtSeconds)}
          WHERE id = ${id} AND status = 'active' AND replaced_by IS NULL
            AND (expires_at_seconds IS NULL OR expires_at_seconds > ${createdAtSeconds})
            AND ${isInState(expected)} AND ${isFree}`,
        announceIfChanged(
          [credentialSubject(id), ...subjectsOfNew(next)],
          "credential.rotated",
          createdAtSeconds,
        ),
        ...explained,
        sql`INSERT INTO credentials (id, kind, realm, user_id, name, digest, pepper, status, scopes, ip_allow, attributes,
            created_at_seconds, expires_at_seconds)
          SELECT ${next.id}, kind, realm, user_id, name, ${next.digest}, ${next.pepper}, 'active', scopes, ip_allow,
            attributes, ${issuedAt(realm, userId, createdAtSeconds)}, ${next.expiresAtSeconds ?? null}
          FROM credentials WHERE id = ${id} AND replaced_by = ${next.id}
          RETURNING created_at_seconds`,
      ]);
      return createdAt(rest.at(-1) ?? []);
    },

    async createSession(session, verifiedHash) {
      const { realm, userId, createdAtSeconds } = session;
      const row = { ...session, createdAtSeconds: issuedAt(realm, userId, createdAtSeconds) };
      const isStillSo =
        verifiedHash === undefined
          ? ALWAYS
          : sql`EXISTS (SELECT 1 FROM users WHERE ${isUser(realm, userId)} AND status = 'active') AND EXISTS (
              SELECT 1 FROM passwords WHERE realm = ${realm} AND user_id = ${userId} AND hash = ${verifiedHash})`;
      const [created] = await run([
        sql`${insert("sessions", SESSION_COLUMNS, row, isStillSo)} RETURNING id`,
        announceIfChanged([sessionSubject(session.id)], "session.created", createdAtSeconds),
        ...explained,
      ]);
      return created.length > 0;
    },

    async updateSession(id, patch, nowSeconds) {
      const changed = assignments(SESSION_COLUMNS, patch);
      const [updated] = await run([
        sql`UPDATE sessions SET ${changed} WHERE id = ${id} AND ${IS_THERE} RETURNING id`,
        announceIfChanged([sessionSubject(id)], "session.updated", nowSeconds),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async endSessions(choice, nowSeconds, denyUntilSeconds) {
      const named =
        "id" in choice
          ? sql`id = ${choice.id}`
          : sql`user_id = ${choice.userId} AND id <> ${choice.exceptId ?? ""}`;
      const ended = sql`realm = ${choice.realm} AND ${named} AND ${IS_THERE}`;
      const isAny = sql`EXISTS (SELECT 1 FROM sessions WHERE ${ended})`;
      const subject = "id" in choice ? sessionSubject(choice.id) : userSubject(choice.realm, choice.userId);
      const answers = await run([
        announceIf(isAny, [subject], "session.ended", nowSeconds),
        ...explained,
        denySessions(ended, denyUntilSeconds),
        sql`UPDATE sessions SET status = 'deleted' WHERE ${ended} RETURNING id`,
      ]);
      return answers.at(-1)?.length ?? 0;
    },

    async revoke(revocation, nowSeconds) {
      await run([
        announce([], `${revocation.kind}.revoked`, nowSeconds),
        ...explained,
        sql`${insert("revocations", REVOCATION_COLUMNS, { ...revocation, seq: NEWEST_SEQ })} ${orWiden(nowSeconds)}`,
      ]);
    },

    async pruneChanges(beforeSeconds, maxRows) {
      const [rows] = await run([
        sql`UPDATE meta SET value = COALESCE((SELECT MAX(seq) FROM (
              SELECT seq, at_seconds FROM changes ORDER BY seq LIMIT ${maxRows}
            ) WHERE at_seconds < ${beforeSeconds}), value)
          WHERE key = 'floor' RETURNING value`,
        sql`DELETE FROM changes WHERE seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'floor')`,
      ]);
      return Number(rows[0]?.value ?? 0);
    },

    async renewEpoch() {
      await run([sql`UPDATE meta SET value = lower(hex(randomblob(16))) WHERE key = 'epoch'`, ...explained]);
    },

    audited: (next) => createWrites(database, next),
  };
}

const createdAt = ([row]: readonly Row[]) =>
  typeof row?.created_at_seconds === "number" ? row.created_at_seconds : null;

/** What ends with a change of the user, if the change was made: then the row is as the patch says. */
function endings(
  realm: string,
  id: string,
  { role, status }: UserPatch,
  { what, denyUntilSeconds }: { readonly what: "sessions" | "everything"; readonly denyUntilSeconds: number },
  nowSeconds: number,
): readonly Sql[] {
  const isChanged = sql`EXISTS (SELECT 1 FROM users WHERE ${isUser(realm, id)} AND updated_at_seconds = ${nowSeconds}
    AND role = COALESCE(${role ?? null}, role) AND status = COALESCE(${status ?? null}, status))`;
  const owned = sql`realm = ${realm} AND user_id = ${id} AND ${isChanged}`;
  const sessionsEnd = [
    denySessions(sql`${owned} AND ${IS_THERE}`, denyUntilSeconds),
    sql`UPDATE sessions SET status = 'deleted' WHERE ${owned} AND ${IS_THERE}`,
  ];
  if (what === "sessions") return sessionsEnd;
  return [
    ...sessionsEnd,
    sql`UPDATE credentials SET status = 'deleted', expires_at_seconds = ${endingBy(nowSeconds)}
      WHERE ${owned} AND ${IS_THERE}`,
    sql`DELETE FROM passwords WHERE ${owned}`,
  ];
}

/** Of a user, credential or session. */
export const IS_THERE = sql`status <> 'deleted'`;

/** Brings a key's end forward. So a tombstone says since when it is one, and clean-up knows when it may go. */
export const endingBy = (seconds: number) => sql`MIN(COALESCE(expires_at_seconds, ${seconds}), ${seconds})`;

const isUser = (realm: string, id: string) => sql`realm = ${realm} AND id = ${id}`;

const isAsExpected = (expected: { readonly role: string; readonly status: string } | undefined) =>
  expected === undefined ? IS_THERE : sql`role = ${expected.role} AND status = ${expected.status}`;

const isOwned = (
  { realm, userId }: Pick<NewCredential, "realm" | "userId">,
  owner: OwnerState | null = null,
) => sql`EXISTS (SELECT 1 FROM users WHERE ${isUser(realm, userId)} AND ${IS_THERE} AND ${isOwner(owner)})`;

/** Over the row of `users`. */
const isOwner = (owner: OwnerState | null) =>
  owner === null ? ALWAYS : sql`role = ${owner.role} AND json(permissions) = json(${owner.permissions})`;

/** How many of the kind the owner has that have not run out. */
const liveOf = ({ kind, realm, userId, createdAtSeconds }: Successor | NewCredential) =>
  sql`(SELECT COUNT(*) FROM credentials WHERE realm = ${realm} AND user_id = ${userId} AND kind = ${kind}
    AND ${IS_THERE} AND (expires_at_seconds IS NULL OR expires_at_seconds > ${createdAtSeconds}))`;

const isInState = (expected: CredentialState | undefined) =>
  expected === undefined
    ? ALWAYS
    : sql`json(scopes) = json(${expected.scopes})
        AND expires_at_seconds IS ${expected.expiresAtSeconds} AND replaced_by IS ${expected.replacedBy}
        AND EXISTS (SELECT 1 FROM users WHERE realm = credentials.realm AND id = credentials.user_id
          AND ${isOwner(expected.owner ?? null)})`;

const subjectsOfNew = ({ id, realm, digest }: Pick<NewCredential, "id" | "realm" | "digest">) => [
  credentialSubject(id),
  digestSubject(realm, digest),
];

/** Tokens count a little longer than they say (RFC 7519 §4.1.4), and so must what denies them. */
const TOLERANCE_SECONDS = 60;

/** Denials of all sessions the condition names; `seq` is that of the feed's newest row, which must name them. */
export const denySessions = (condition: Sql, denyUntilSeconds: number) =>
  sql`INSERT INTO revocations (realm, kind, value, issued_before_seconds, expires_at_seconds, seq)
    SELECT realm, 'session', id, NULL, MIN(expires_at_seconds + ${TOLERANCE_SECONDS}, ${denyUntilSeconds}), ${NEWEST_SEQ}
    FROM sessions WHERE ${condition} ${orWiden(0)}`;

/** Makes an upsert of a denial, which never narrows the one that stands. */
const orWiden = (nowSeconds: number) =>
  sql`ON CONFLICT (realm, kind, value) DO UPDATE SET
    issued_before_seconds = ${widest(sql`issued_before_seconds`, nowSeconds)} + ${isRepeatedNow(nowSeconds)},
    expires_at_seconds = ${widest(sql`expires_at_seconds`, nowSeconds)},
    seq = excluded.seq`;

/**
 * 1 for a second "everything until now" within one second: what was issued between the two is dated after the first one,
 * and has to end as well.
 */
const isRepeatedNow = (nowSeconds: number) =>
  sql`COALESCE(revocations.issued_before_seconds >= excluded.issued_before_seconds
    AND excluded.issued_before_seconds >= ${nowSeconds}, 0)`;

/** Of the stored and the new value the one that denies more; NULL denies most. What has run out denies nothing. */
const widest = (column: Sql, nowSeconds: number) =>
  sql`CASE WHEN revocations.expires_at_seconds <= ${nowSeconds} THEN excluded.${column}
      WHEN revocations.${column} IS NULL OR excluded.${column} IS NULL THEN NULL
      ELSE MAX(revocations.${column}, excluded.${column}) END`;
