// The statements that go into a batch with every change: its row in the feed, and its row in the audit log.
import { type SQL, sql } from "drizzle-orm";
import type { DrizzleD1Database } from "drizzle-orm/d1";
import type { AuditEntry } from "../audit.ts";
import type { Subject } from "../records/types.ts";
import { audit, changes } from "./schema.ts";

/** Appends to the feed whatever happened before it in the batch. */
export const announce = (
  db: DrizzleD1Database,
  subjects: readonly Subject[],
  what: string,
  atSeconds: number,
) => db.insert(changes).values({ subjects, what, atSeconds });

/** For directly after a statement that may have changed nothing: announces only what really changed. */
export const announceIfChanged = (
  db: DrizzleD1Database,
  subjects: readonly Subject[],
  what: string,
  atSeconds: number,
) =>
  db
    .insert(changes)
    .select(sql`SELECT NULL, ${atSeconds}, ${JSON.stringify(subjects)}, ${what} WHERE changes() > 0`);

/**
 * Appends to the audit log, on a condition. Directly after another statement, `changes() > 0` asks whether that one did
 * anything.
 * @param realm of the target, where only the database knows it
 */
export const record = (
  db: DrizzleD1Database,
  entry: AuditEntry,
  condition: SQL = sql`changes() > 0`,
  realm: SQL = sql`${entry.target.realm}`,
) => {
  const { actor, target } = entry;
  const user = actor.kind === "user" ? actor : null;
  return db.insert(audit).select(
    sql`SELECT NULL, ${entry.atSeconds}, ${entry.action}, ${actor.kind}, ${user?.realm ?? null}, ${user?.id ?? null},
      ${user?.credentialId ?? null}, ${target.kind}, ${realm}, ${target.id}, ${entry.address},
      ${entry.requestId}, ${JSON.stringify(entry.details)} WHERE ${condition}`,
  );
};

/**
 * For `created_at_seconds` of what is issued to a user: now, or the second after the latest "everything issued until
 * then" of the user or the realm, so that what is issued next survives it.
 */
export const issuedAt = (realm: string, userId: string, nowSeconds: number) =>
  sql<number>`MAX(${nowSeconds}, COALESCE((SELECT MAX(issued_before_seconds) + 1 FROM revocations
    WHERE realm = ${realm} AND ((kind = 'subject' AND value = ${userId}) OR kind = 'realm')), 0))`;
