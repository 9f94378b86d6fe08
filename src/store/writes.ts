// Changes of what records contain. Each one appends its row to the feed in the same batch, so that none can be missed,
// and its row to the audit log, so that none goes unexplained.
import { and, eq, ne, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import type { AuditEntry } from "../audit.ts";
import { credentialSubject, digestSubject, sessionSubject, userSubject } from "../records/subjects.ts";
import { accountKey } from "./account-name.ts";
import { announce, announceIfChanged, issuedAt, record } from "./feed.ts";
import { changes, credentials, meta, passwords, revocations, sessions, users } from "./schema.ts";

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
   * @param expected where the row has another role or status by now, nothing is changed
   * @returns whether it was changed
   */
  updateUser(
    realm: string,
    id: string,
    patch: UserPatch,
    nowSeconds: number,
    expected?: { readonly role: string; readonly status: string },
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
   * @param keep.expectedRole where the user has another one by now, nothing is changed; `undefined`: whatever it is
   * @returns whether it was set
   */
  setPassword(
    realm: string,
    userId: string,
    password: PasswordHash,
    keep: {
      readonly exceptSessionId: string | null;
      readonly previousHash?: string;
      readonly expectedRole?: string;
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
   * @returns `created_at_seconds`, which may be later than asked: after any "everything issued until then" of the
   *   owner; `null`: nothing was created
   */
  createCredential(credential: NewCredential, most?: number): Promise<number | null>;
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
  createSession(session: NewSession): Promise<void>;
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
  const db = drizzle(database);
  /** Stands directly after the row of the feed, and is written if that one was. */
  const explained = entry === null ? [] : [record(db, entry)];

  /** Denials of all sessions the condition names; `seq` is that of the feed's newest row, which must name them. */
  const denySessions = (condition: SQL | undefined, denyUntilSeconds: number) =>
    db
      .insert(revocations)
      .select(
        sql`SELECT realm, 'session', id, NULL, MIN(expires_at_seconds, ${denyUntilSeconds}), ${NEWEST_SEQ}
          FROM sessions WHERE ${condition}`,
      )
      .onConflictDoUpdate(wider(0));

  const tombstone = { status: "deleted" } as const;
  const notDeleted = (table: typeof users | typeof credentials | typeof sessions) =>
    ne(table.status, "deleted");

  return {
    async createUser(user, password) {
      const { realm, id, createdAtSeconds } = user;
      const keys = { usernameKey: accountKey(user.username), emailKey: accountKey(user.email) };
      const withPassword =
        password === undefined
          ? []
          : [
              db
                .insert(passwords)
                .values({ ...password, realm, userId: id, changedAtSeconds: createdAtSeconds }),
            ];
      await db.batch([
        db.insert(users).values({ ...user, ...keys }),
        ...withPassword,
        announce(db, [userSubject(realm, id)], "user.created", createdAtSeconds),
        ...explained,
      ]);
    },

    async updateUser(realm, id, patch, nowSeconds, expected) {
      const keys = {
        ...(patch.username !== undefined && { usernameKey: accountKey(patch.username) }),
        ...(patch.email !== undefined && { emailKey: accountKey(patch.email) }),
      };
      const [updated] = await db.batch([
        db
          .update(users)
          .set({ ...patch, ...keys, updatedAtSeconds: nowSeconds })
          .where(and(isUser(realm, id), isAsExpected(expected)))
          .returning({ id: users.id }),
        announceIfChanged(db, [userSubject(realm, id)], "user.updated", nowSeconds),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async deleteUser(realm, id, nowSeconds, denyUntilSeconds, expected) {
      const owned = (table: typeof credentials | typeof sessions) =>
        and(eq(table.realm, realm), eq(table.userId, id), notDeleted(table));
      const isGone = sql`EXISTS (SELECT 1 FROM users WHERE realm = ${realm} AND id = ${id} AND status = 'deleted')`;
      const [deleted] = await db.batch([
        db
          .update(users)
          .set({
            ...tombstone,
            username: null,
            email: null,
            usernameKey: null,
            emailKey: null,
            name: null,
            permissions: [],
            attributes: {},
            updatedAtSeconds: nowSeconds,
          })
          .where(and(isUser(realm, id), notDeleted(users), isAsExpected(expected)))
          .returning({ id: users.id }),
        announceIfChanged(db, [userSubject(realm, id)], "user.deleted", nowSeconds),
        ...explained,
        // What follows is harmless where the user was deleted before, and does nothing where none was deleted.
        db
          .insert(revocations)
          .select(
            sql`SELECT ${realm}, 'subject', ${id}, NULL, ${denyUntilSeconds}, ${NEWEST_SEQ} WHERE ${isGone}`,
          )
          .onConflictDoUpdate(wider(nowSeconds)),
        db
          .update(credentials)
          .set({ ...tombstone, ...endedAt(nowSeconds) })
          .where(and(owned(credentials), isGone)),
        db
          .update(sessions)
          .set(tombstone)
          .where(and(owned(sessions), isGone)),
        db.delete(passwords).where(and(eq(passwords.realm, realm), eq(passwords.userId, id), isGone)),
      ]);
      return deleted.length > 0;
    },

    async setPassword(realm, userId, password, keep, nowSeconds, denyUntilSeconds) {
      const others = and(
        eq(sessions.realm, realm),
        eq(sessions.userId, userId),
        ne(sessions.id, keep.exceptSessionId ?? ""),
        notDeleted(sessions),
      );
      const isSet = sql`EXISTS (SELECT 1 FROM passwords WHERE realm = ${realm} AND user_id = ${userId} AND hash = ${password.hash})`;
      const isFree =
        keep.previousHash === undefined
          ? sql`1`
          : sql`EXISTS (SELECT 1 FROM passwords WHERE realm = ${realm} AND user_id = ${userId} AND hash = ${keep.previousHash})`;
      const [set] = await db.batch([
        db
          .insert(passwords)
          .select(
            sql`SELECT ${realm}, ${userId}, ${password.scheme}, ${password.hash}, ${nowSeconds} WHERE ${isFree}
              AND EXISTS (SELECT 1 FROM users WHERE realm = ${realm} AND id = ${userId} AND status <> 'deleted'
                AND role = COALESCE(${keep.expectedRole ?? null}, role))`,
          )
          .onConflictDoUpdate({
            target: [passwords.realm, passwords.userId],
            set: { ...password, changedAtSeconds: nowSeconds },
          })
          .returning({ id: passwords.userId }),
        // The owner is a subject of every session's record.
        announceIfChanged(db, [userSubject(realm, userId)], "user.password_changed", nowSeconds),
        ...explained,
        denySessions(and(others, isSet), denyUntilSeconds),
        db.update(sessions).set(tombstone).where(and(others, isSet)),
      ]);
      return set.length > 0;
    },

    async rehashPassword(realm, userId, verified, password, nowSeconds) {
      const [updated] = await db.batch([
        db
          .update(passwords)
          .set({ ...password, changedAtSeconds: nowSeconds })
          .where(and(eq(passwords.realm, realm), eq(passwords.userId, userId), eq(passwords.hash, verified)))
          .returning({ id: passwords.userId }),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async createCredential(credential, most) {
      const { realm, userId, createdAtSeconds } = credential;
      const isWanted =
        most === undefined ? sql`1` : sql`${isOwned(credential)} AND ${liveOf(credential)} < ${most}`;
      const [created] = await db.batch([
        db
          .insert(credentials)
          .select(
            sql`SELECT ${credential.id}, ${credential.kind}, ${realm}, ${userId}, ${credential.name ?? null},
              ${credential.digest}, ${credential.pepper}, ${credential.status ?? "active"},
              ${JSON.stringify(credential.scopes ?? [])}, ${JSON.stringify(credential.ipAllow ?? [])},
              ${JSON.stringify(credential.attributes ?? {})}, ${issuedAt(realm, userId, createdAtSeconds)},
              ${credential.expiresAtSeconds ?? null}, ${credential.lastUsedAtSeconds ?? null},
              ${credential.replacedBy ?? null} WHERE ${isWanted}`,
          )
          .returning({ createdAtSeconds: credentials.createdAtSeconds }),
        announceIfChanged(db, subjectsOfNew(credential), "credential.created", createdAtSeconds),
        ...explained,
      ]);
      return created[0]?.createdAtSeconds ?? null;
    },

    async updateCredential(id, patch, nowSeconds, expected) {
      const [updated] = await db.batch([
        db
          .update(credentials)
          .set(patch.status === "deleted" ? { ...patch, ...endedAt(nowSeconds) } : patch)
          .where(and(eq(credentials.id, id), notDeleted(credentials), isInState(expected)))
          .returning({ id: credentials.id }),
        announceIfChanged(db, [credentialSubject(id)], "credential.updated", nowSeconds),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async rotateCredential(id, next, graceEndsAtSeconds, most, expected) {
      const { realm, userId, createdAtSeconds } = next;
      const end = sql`MIN(COALESCE(expires_at_seconds, ${graceEndsAtSeconds}), ${graceEndsAtSeconds})`;
      const [, ...rest] = await db.batch([
        db
          .update(credentials)
          .set({ replacedBy: next.id, expiresAtSeconds: end })
          .where(
            and(
              eq(credentials.id, id),
              eq(credentials.status, "active"),
              sql`replaced_by IS NULL`,
              sql`(expires_at_seconds IS NULL OR expires_at_seconds > ${createdAtSeconds})`,
              isInState(expected),
              most === undefined ? undefined : sql`${liveOf(next)} <= ${most}`,
            ),
          ),
        announceIfChanged(
          db,
          [credentialSubject(id), ...subjectsOfNew(next)],
          "credential.rotated",
          createdAtSeconds,
        ),
        ...explained,
        db
          .insert(credentials)
          .select(
            sql`SELECT ${next.id}, kind, realm, user_id, name, ${next.digest}, ${next.pepper}, 'active', scopes, ip_allow,
              attributes, ${issuedAt(realm, userId, createdAtSeconds)}, ${next.expiresAtSeconds ?? null}, NULL, NULL
              FROM credentials WHERE id = ${id} AND replaced_by = ${next.id}`,
          )
          .returning({ createdAtSeconds: credentials.createdAtSeconds }),
      ]);
      const created = rest.at(-1) as readonly { readonly createdAtSeconds: number }[];
      return created[0]?.createdAtSeconds ?? null;
    },

    async createSession(session) {
      const { realm, userId, createdAtSeconds } = session;
      await db.batch([
        db
          .insert(sessions)
          .values({ ...session, createdAtSeconds: issuedAt(realm, userId, createdAtSeconds) }),
        announce(db, [sessionSubject(session.id)], "session.created", createdAtSeconds),
        ...explained,
      ]);
    },

    async updateSession(id, patch, nowSeconds) {
      const [updated] = await db.batch([
        db
          .update(sessions)
          .set(patch)
          .where(and(eq(sessions.id, id), notDeleted(sessions)))
          .returning({ id: sessions.id }),
        announceIfChanged(db, [sessionSubject(id)], "session.updated", nowSeconds),
        ...explained,
      ]);
      return updated.length > 0;
    },

    async endSessions(choice, nowSeconds, denyUntilSeconds) {
      const named =
        "id" in choice
          ? eq(sessions.id, choice.id)
          : and(eq(sessions.userId, choice.userId), ne(sessions.id, choice.exceptId ?? ""));
      const ended = and(eq(sessions.realm, choice.realm), named, notDeleted(sessions));
      const subject = "id" in choice ? sessionSubject(choice.id) : userSubject(choice.realm, choice.userId);
      const [announced, ...rest] = await db.batch([
        db
          .insert(changes)
          .select(
            sql`SELECT NULL, ${nowSeconds}, ${JSON.stringify([subject])}, 'session.ended'
              WHERE EXISTS (SELECT 1 FROM sessions WHERE ${ended})`,
          )
          .returning({ seq: changes.seq }),
        ...explained,
        denySessions(ended, denyUntilSeconds),
        db.update(sessions).set(tombstone).where(ended).returning({ id: sessions.id }),
      ]);
      const last = rest.at(-1);
      return announced.length > 0 && Array.isArray(last) ? last.length : 0;
    },

    async revoke(revocation, nowSeconds) {
      await db.batch([
        announce(db, [], `${revocation.kind}.revoked`, nowSeconds),
        ...explained,
        db
          .insert(revocations)
          .values({ ...revocation, seq: NEWEST_SEQ })
          .onConflictDoUpdate(wider(nowSeconds)),
      ]);
    },

    async pruneChanges(beforeSeconds, maxRows) {
      const [rows] = await db.batch([
        db
          .update(meta)
          .set({
            value: sql`COALESCE((SELECT MAX(seq) FROM (
              SELECT seq, at_seconds FROM changes ORDER BY seq LIMIT ${maxRows}
            ) WHERE at_seconds < ${beforeSeconds}), value)`,
          })
          .where(eq(meta.key, "floor"))
          .returning({ floor: meta.value }),
        db.delete(changes).where(sql`seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'floor')`),
      ]);
      return Number(rows[0]?.floor ?? 0);
    },

    async renewEpoch() {
      await db.batch([
        db.update(meta).set({ value: sql`lower(hex(randomblob(16)))` }).where(eq(meta.key, "epoch")),
        ...explained,
      ]);
    },

    audited: (next) => createWrites(database, next),
  };
}

const NEWEST_SEQ = sql<number>`(SELECT seq FROM sqlite_sequence WHERE name = 'changes')`;

/** A key's tombstone says since when it is one, so that clean-up knows when it may go. */
const endedAt = (nowSeconds: number) => ({
  expiresAtSeconds: sql`MIN(COALESCE(expires_at_seconds, ${nowSeconds}), ${nowSeconds})`,
});

const isUser = (realm: string, id: string) => and(eq(users.realm, realm), eq(users.id, id));

const isAsExpected = (expected: { readonly role: string; readonly status: string } | undefined) =>
  expected === undefined
    ? ne(users.status, "deleted")
    : and(eq(users.role, expected.role), sql`${users.status} = ${expected.status}`);

const isOwned = ({ realm, userId }: Successor | NewCredential) =>
  sql`EXISTS (SELECT 1 FROM users WHERE realm = ${realm} AND id = ${userId} AND status <> 'deleted')`;

/** How many of the kind the owner has that have not run out. */
const liveOf = ({ kind, realm, userId, createdAtSeconds }: Successor | NewCredential) =>
  sql`(SELECT COUNT(*) FROM credentials WHERE realm = ${realm} AND user_id = ${userId} AND kind = ${kind}
    AND status <> 'deleted' AND (expires_at_seconds IS NULL OR expires_at_seconds > ${createdAtSeconds}))`;

const isInState = (expected: CredentialState | undefined) =>
  expected === undefined
    ? undefined
    : sql`json(scopes) = json(${JSON.stringify(expected.scopes)})
        AND expires_at_seconds IS ${expected.expiresAtSeconds} AND replaced_by IS ${expected.replacedBy}`;

const subjectsOfNew = ({ id, realm, digest }: Pick<NewCredential, "id" | "realm" | "digest">) => [
  credentialSubject(id),
  digestSubject(realm, digest),
];

/** An upsert of a denial that never narrows the one that stands. */
const wider = (nowSeconds: number) => ({
  target: [revocations.realm, revocations.kind, revocations.value],
  set: {
    issuedBeforeSeconds: widest(sql`issued_before_seconds`, nowSeconds),
    expiresAtSeconds: widest(sql`expires_at_seconds`, nowSeconds),
    seq: sql`excluded.seq`,
  },
});

/** Of the stored and the new value the one that denies more; NULL denies most. What has run out denies nothing. */
const widest = (column: SQL, nowSeconds: number) =>
  sql`CASE WHEN revocations.expires_at_seconds <= ${nowSeconds} THEN excluded.${column}
      WHEN revocations.${column} IS NULL OR excluded.${column} IS NULL THEN NULL
      ELSE MAX(revocations.${column}, excluded.${column}) END`;
