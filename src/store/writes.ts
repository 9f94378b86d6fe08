// Changes of what records contain. Each one appends its row to the feed in the same batch, so that none can be missed.
import { and, eq, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { credentialSubject, digestSubject, sessionSubject, userSubject } from "../records/subjects.ts";
import type { Subject } from "../records/types.ts";
import { changes, credentials, meta, revocations, sessions, users } from "./schema.ts";

export type NewUser = typeof users.$inferInsert;
export type NewCredential = typeof credentials.$inferInsert;
export type NewSession = typeof sessions.$inferInsert;
export type NewRevocation = Omit<typeof revocations.$inferInsert, "seq">;

export interface Writes {
  createUser(user: NewUser): Promise<void>;
  /** @returns whether there is such a user */
  updateUser(
    realm: string,
    id: string,
    patch: Partial<Omit<NewUser, "realm" | "id" | "createdAtSeconds">>,
    nowSeconds: number,
  ): Promise<boolean>;
  createCredential(credential: NewCredential): Promise<void>;
  /** @returns whether there is such a key or PAT */
  updateCredential(
    id: string,
    patch: Partial<
      Pick<NewCredential, "name" | "status" | "scopes" | "ipAllow" | "attributes" | "expiresAtSeconds">
    >,
    nowSeconds: number,
  ): Promise<boolean>;
  createSession(session: NewSession): Promise<void>;
  /** @returns whether there is such a session */
  updateSession(
    id: string,
    patch: Partial<Pick<NewSession, "status" | "scopes" | "expiresAtSeconds">>,
    nowSeconds: number,
  ): Promise<boolean>;
  /** Denies, or widens an existing denial of the same thing: it is never narrowed. */
  revoke(revocation: NewRevocation, nowSeconds: number): Promise<void>;
  /** Drops at most `maxRows` of the feed's oldest rows written before then. @returns the new floor */
  pruneChanges(beforeSeconds: number, maxRows: number): Promise<number>;
  /** After a restore: whatever was read before is told apart from what is read from now on. */
  renewEpoch(): Promise<void>;
}

export function createWrites(database: D1Database): Writes {
  const db = drizzle(database);

  const announce = (subjects: readonly Subject[], what: string, atSeconds: number) =>
    db.insert(changes).values({ subjects, what, atSeconds });

  /** For an UPDATE that stands directly before it in a batch: announces only what really changed. */
  const announceIfChanged = (subjects: readonly Subject[], what: string, atSeconds: number) =>
    db
      .insert(changes)
      .select(sql`SELECT NULL, ${atSeconds}, ${JSON.stringify(subjects)}, ${what} WHERE changes() > 0`);

  return {
    async createUser(user) {
      await db.batch([
        db.insert(users).values(user),
        announce([userSubject(user.realm, user.id)], "user.created", user.createdAtSeconds),
      ]);
    },

    async updateUser(realm, id, patch, nowSeconds) {
      const [updated] = await db.batch([
        db
          .update(users)
          .set({ ...patch, updatedAtSeconds: nowSeconds })
          .where(and(eq(users.realm, realm), eq(users.id, id)))
          .returning({ id: users.id }),
        announceIfChanged([userSubject(realm, id)], "user.updated", nowSeconds),
      ]);
      return updated.length > 0;
    },

    async createCredential(credential) {
      const subjects = [credentialSubject(credential.id), digestSubject(credential.realm, credential.digest)];
      await db.batch([
        db.insert(credentials).values(credential),
        announce(subjects, "credential.created", credential.createdAtSeconds),
      ]);
    },

    async updateCredential(id, patch, nowSeconds) {
      const [updated] = await db.batch([
        db.update(credentials).set(patch).where(eq(credentials.id, id)).returning({ id: credentials.id }),
        announceIfChanged([credentialSubject(id)], "credential.updated", nowSeconds),
      ]);
      return updated.length > 0;
    },

    async createSession(session) {
      await db.batch([
        db.insert(sessions).values(session),
        announce([sessionSubject(session.id)], "session.created", session.createdAtSeconds),
      ]);
    },

    async updateSession(id, patch, nowSeconds) {
      const [updated] = await db.batch([
        db.update(sessions).set(patch).where(eq(sessions.id, id)).returning({ id: sessions.id }),
        announceIfChanged([sessionSubject(id)], "session.updated", nowSeconds),
      ]);
      return updated.length > 0;
    },

    async revoke(revocation, nowSeconds) {
      const seq = sql<number>`(SELECT seq FROM sqlite_sequence WHERE name = 'changes')`;
      await db.batch([
        announce([], `${revocation.kind}.revoked`, nowSeconds),
        db
          .insert(revocations)
          .values({ ...revocation, seq })
          .onConflictDoUpdate({
            target: [revocations.realm, revocations.kind, revocations.value],
            set: {
              issuedBeforeSeconds: widest(sql`issued_before_seconds`, nowSeconds),
              expiresAtSeconds: widest(sql`expires_at_seconds`, nowSeconds),
              seq: sql`excluded.seq`,
            },
          }),
      ]);
    },

    async pruneChanges(beforeSeconds, maxRows) {
      const [rows] = await db.batch([
        db
          .update(meta)
          .set({
            value: sql`COALESCE((SELECT MAX(seq) FROM (
              SELECT seq FROM changes WHERE at_seconds < ${beforeSeconds} ORDER BY seq LIMIT ${maxRows}
            )), value)`,
          })
          .where(eq(meta.key, "floor"))
          .returning({ floor: meta.value }),
        db.delete(changes).where(sql`seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'floor')`),
      ]);
      return Number(rows[0]?.floor ?? 0);
    },

    async renewEpoch() {
      await db.update(meta).set({ value: sql`lower(hex(randomblob(16)))` }).where(eq(meta.key, "epoch"));
    },
  };
}

/** Of the stored and the new value the one that denies more; NULL denies most. What has run out denies nothing. */
const widest = (column: SQL, nowSeconds: number) =>
  sql`CASE WHEN revocations.expires_at_seconds <= ${nowSeconds} THEN excluded.${column}
      WHEN revocations.${column} IS NULL OR excluded.${column} IS NULL THEN NULL
      ELSE MAX(revocations.${column}, excluded.${column}) END`;
