// The audit log: writing single entries, and reading. What seals it is `audit-chain.ts`.
import type { Actor, AuditAction, AuditEntry, AuditTargetKind } from "../audit.ts";
import type { NamedSecret } from "../config/secrets.ts";
import { Problem } from "../problem.ts";
import { type AuditChain, createAuditChain } from "./audit-chain.ts";
import type { Page, PageQuery } from "./directory.ts";
import { record } from "./feed.ts";
import type { audit } from "./schema.ts";
import { ALWAYS, runBatch, type Sql, sql } from "./sql.ts";

export interface AuditView extends AuditEntry {
  readonly seq: number;
}

export interface AuditFilter {
  /** Of the actor or the target. */
  readonly realm: string | null;
  /** Who did it, whom it was done to, or whose key, PAT or session it was done to. */
  readonly userId: string | null;
  readonly targetId: string | null;
  readonly action: string | null;
  readonly sinceSeconds: number | null;
}

export interface AuditLog extends AuditChain {
  append(entry: AuditEntry): Promise<void>;
  /** Newest first. @throws Problem `input_invalid` for a cursor that is none of ours */
  entries(filter: AuditFilter, page: PageQuery): Promise<Page<AuditView>>;
}

/** @param peppers the first one seals; a block names the one that sealed it */
export function createAuditLog(database: D1Database, peppers: readonly NamedSecret[]): AuditLog {
  return {
    ...createAuditChain(database, peppers),

    async append(entry) {
      await runBatch(database, [record(entry, ALWAYS)]);
    },

    async entries({ realm, userId, targetId, action, sinceSeconds }, page) {
      const where = sql`${page.cursor === null ? ALWAYS : sql`seq < ${readCursor(page.cursor)}`}
        AND ${concerns(realm, userId)}
        AND ${targetId === null ? ALWAYS : sql`target_id = ${targetId}`}
        AND ${action === null ? ALWAYS : sql`action = ${action}`}
        AND ${sinceSeconds === null ? ALWAYS : sql`at_seconds >= ${sinceSeconds}`}`;
      const [found] = await runBatch(database, [
        sql`${ENTRIES} WHERE ${where} ORDER BY seq DESC LIMIT ${page.limit + 1}`,
      ]);
      const rows = found as unknown as readonly Entry[];
      const items = rows.slice(0, page.limit).map(toView);
      const last = items.at(-1);
      const hasMore = rows.length > page.limit && last !== undefined;
      return { items, nextCursor: hasMore ? String(last.seq) : null };
    },
  };
}

function concerns(realm: string | null, userId: string | null): Sql {
  if (realm === null && userId === null) return ALWAYS;
  const isActor = sql`${realm === null ? ALWAYS : sql`actor_realm = ${realm}`}
    AND ${userId === null ? ALWAYS : sql`actor_kind = 'user' AND actor_id = ${userId}`}`;
  const isTarget = sql`${realm === null ? ALWAYS : sql`target_realm = ${realm}`}
    AND ${userId === null ? ALWAYS : sql`target_kind = 'user' AND target_id = ${userId}`}`;
  if (userId === null) return sql`(${isActor} OR ${isTarget})`;
  // As `audit_by_owner` has it, word for word.
  const isOwner = sql`${realm === null ? ALWAYS : sql`target_realm = ${realm}`}
    AND target_kind IN ('api_key', 'pat', 'session')
    AND (CASE WHEN json_valid(details) THEN json_extract(details, '$.user') END) = ${userId}`;
  return sql`((${isActor}) OR (${isTarget}) OR (${isOwner}))`;
}

/** The `seq` of the last entry that was shown, in decimal. */
function readCursor(cursor: string): number {
  const seq = /^[1-9][0-9]{0,15}$/.test(cursor) ? Number(cursor) : Number.NaN;
  if (Number.isSafeInteger(seq)) return seq;
  throw new Problem("input_invalid", "cursor", {
    errors: [{ field: "cursor", message: "must be the next_cursor of an earlier answer" }],
  });
}

const ENTRIES = sql`SELECT seq, at_seconds AS atSeconds, action, actor_kind AS actorKind, actor_realm AS actorRealm,
  actor_id AS actorId, actor_credential AS actorCredential, target_kind AS targetKind, target_realm AS targetRealm,
  target_id AS targetId, address, request_id AS requestId, details FROM audit`;
type Entry = Omit<typeof audit.$inferSelect, "details"> & { readonly details: string };

function toView(row: Entry): AuditView {
  return {
    seq: row.seq,
    atSeconds: row.atSeconds,
    action: row.action as AuditAction,
    actor: actorOf(row),
    target: { kind: row.targetKind as AuditTargetKind, realm: row.targetRealm, id: row.targetId },
    address: row.address,
    requestId: row.requestId,
    details: detailsOf(row.details),
  };
}

function actorOf({ actorKind, actorRealm, actorId, actorCredential }: Entry): Actor {
  if (actorKind !== "user") return { kind: actorKind };
  return { kind: "user", realm: actorRealm ?? "", id: actorId ?? "", credentialId: actorCredential };
}

/** A row that somebody spoilt must not hide the others. */
function detailsOf(text: string): AuditEntry["details"] {
  try {
    const details: unknown = JSON.parse(text);
    if (typeof details === "object" && details !== null && !Array.isArray(details)) return { ...details };
  } catch {}
  return { unreadable: true };
}
