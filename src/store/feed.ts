// The statements that go into a batch with every change: its row in the feed, and its row in the audit log.
import type { AuditEntry } from "../audit.ts";
import type { Subject } from "../records/types.ts";
import { AUDIT_COLUMNS } from "./columns.ts";
import { insert, NOWHERE, type Sql, sql } from "./sql.ts";

/** Appends to the feed whatever happened before it in the batch. */
export const announce = (subjects: readonly Subject[], what: string, atSeconds: number) =>
  sql`INSERT INTO changes (at_seconds, subjects, what) VALUES (${atSeconds}, ${subjects}, ${what})`;

/** For directly after a statement that may have changed nothing: announces only what really changed. */
export const announceIfChanged = (subjects: readonly Subject[], what: string, atSeconds: number) =>
  announceIf(sql`changes() > 0`, subjects, what, atSeconds);

export const announceIf = (condition: Sql, subjects: readonly Subject[], what: string, atSeconds: number) =>
  sql`INSERT INTO changes (at_seconds, subjects, what) SELECT ${atSeconds}, ${subjects}, ${what} WHERE ${condition}`;

/** The `seq` of the row that was appended last. */
export const NEWEST_SEQ = sql`(SELECT seq FROM sqlite_sequence WHERE name = 'changes')`;

/**
 * Appends to the audit log, on a condition. Directly after another statement, `changes() > 0` asks whether that one did
 * anything.
 * @param known of the entry, where only the database knows it; `from`: one entry for each row of it
 */
export const record = (
  entry: AuditEntry,
  condition: Sql = sql`changes() > 0`,
  known: {
    readonly targetRealm?: Sql;
    readonly targetId?: Sql;
    readonly details?: Sql;
    readonly from?: Sql;
  } = {},
) => {
  const { actor, target } = entry;
  const user = actor.kind === "user" ? actor : null;
  const row = {
    atSeconds: entry.atSeconds,
    action: entry.action,
    actorKind: actor.kind,
    actorRealm: user?.realm,
    actorId: user?.id,
    actorCredential: user?.credentialId,
    targetKind: target.kind,
    targetRealm: known.targetRealm ?? target.realm,
    targetId: known.targetId ?? target.id,
    address: entry.address,
    requestId: entry.requestId,
    details: known.details ?? entry.details,
  };
  return insert("audit", AUDIT_COLUMNS, row, condition, known.from ?? NOWHERE);
};

/**
 * For `created_at_seconds` of what is issued to a user: now, or the second after the latest "everything issued until
 * then" of the user or the realm, so that what is issued next survives it.
 */
export const issuedAt = (realm: string, userId: string, nowSeconds: number) =>
  sql`MAX(${nowSeconds}, COALESCE((SELECT MAX(issued_before_seconds) + 1 FROM revocations
    WHERE realm = ${realm} AND ((kind = 'subject' AND value = ${userId}) OR kind = 'realm')), 0))`;
