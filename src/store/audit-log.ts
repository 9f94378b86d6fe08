// The audit log: writing single entries, and reading. What seals it is `audit-chain.ts`.
import { and, desc, eq, gte, lt, or, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import type { Actor, AuditAction, AuditEntry, AuditTargetKind } from "../audit.ts";
import type { NamedSecret } from "../config/secrets.ts";
import { Problem } from "../problem.ts";
import { type AuditChain, createAuditChain } from "./audit-chain.ts";
import type { Page, PageQuery } from "./directory.ts";
import { record } from "./feed.ts";
import { audit } from "./schema.ts";

export interface AuditView extends AuditEntry {
  readonly seq: number;
}

export interface AuditFilter {
  /** Of the actor or the target, like the user. */
  readonly realm: string | null;
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
  const db = drizzle(database);
  return {
    ...createAuditChain(database, peppers),

    async append(entry) {
      await record(db, entry, sql`1`);
    },

    async entries(filter, page) {
      const rows = await db
        .select(COLUMNS)
        .from(audit)
        .where(
          and(
            page.cursor === null ? undefined : lt(audit.seq, readCursor(page.cursor)),
            concerns(filter.realm, filter.userId),
            filter.targetId === null ? undefined : eq(audit.targetId, filter.targetId),
            filter.action === null ? undefined : eq(audit.action, filter.action),
            filter.sinceSeconds === null ? undefined : gte(audit.atSeconds, filter.sinceSeconds),
          ),
        )
        .orderBy(desc(audit.seq))
        .limit(page.limit + 1);
      const items = rows.slice(0, page.limit).map(toView);
      const last = items.at(-1);
      const hasMore = rows.length > page.limit && last !== undefined;
      return { items, nextCursor: hasMore ? String(last.seq) : null };
    },
  };
}

function concerns(realm: string | null, userId: string | null): SQL | undefined {
  const isActor = and(
    realm === null ? undefined : eq(audit.actorRealm, realm),
    userId === null ? undefined : and(eq(audit.actorKind, "user"), eq(audit.actorId, userId)),
  );
  const isTarget = and(
    realm === null ? undefined : eq(audit.targetRealm, realm),
    userId === null ? undefined : and(eq(audit.targetKind, "user"), eq(audit.targetId, userId)),
  );
  return or(isActor, isTarget);
}

/** The `seq` of the last entry that was shown, in decimal. */
function readCursor(cursor: string): number {
  const seq = /^[1-9][0-9]{0,15}$/.test(cursor) ? Number(cursor) : Number.NaN;
  if (Number.isSafeInteger(seq)) return seq;
  throw new Problem("input_invalid", "cursor", {
    errors: [{ field: "cursor", message: "must be the next_cursor of an earlier answer" }],
  });
}

const COLUMNS = {
  seq: audit.seq,
  atSeconds: audit.atSeconds,
  action: audit.action,
  actorKind: audit.actorKind,
  actorRealm: audit.actorRealm,
  actorId: audit.actorId,
  actorCredential: audit.actorCredential,
  targetKind: audit.targetKind,
  targetRealm: audit.targetRealm,
  targetId: audit.targetId,
  address: audit.address,
  requestId: audit.requestId,
  details: sql<string>`${audit.details}`,
};
type Row = Omit<typeof audit.$inferSelect, "details"> & { readonly details: string };

function toView(row: Row): AuditView {
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

function actorOf({ actorKind, actorRealm, actorId, actorCredential }: Row): Actor {
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
