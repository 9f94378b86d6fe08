// Refresh: one row a session, a counter in it, one conditional UPDATE. Whatever arrives in parallel, one counter comes of
// it. Everything that a presented token leads to is decided and done in one batch, which D1 runs as one transaction.
import { type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import * as v from "valibot";
import type { AuditEntry } from "../audit.ts";
import { sessionSubject } from "../records/subjects.ts";
import { record } from "./feed.ts";
import { changes, revocations, sessions } from "./schema.ts";

/** For an answer that got lost, and for a second tab. */
export const REFRESH_GRACE_SECONDS = 10;

/** A refresh token whose HMAC was right. */
export interface PresentedRefresh {
  readonly sessionId: string;
  readonly counter: number;
  /** The pepper its HMAC was right under. */
  readonly pepper: string;
}

/** A session whose refresh token is the current one, or was a moment ago. */
export interface LiveSession {
  readonly id: string;
  readonly realm: string;
  readonly userId: string;
  readonly role: string;
  readonly scopes: readonly string[];
  readonly pepper: string;
  /** The current one, after what was just done. */
  readonly counter: number;
  readonly expiresAtSeconds: number;
  readonly idleExpiresAtSeconds: number;
  /** Now, or the second after the latest "everything issued until then". */
  readonly issuedAtSeconds: number;
}

export type Advance =
  /** `isRepeated`: the one before the current one, within the grace; what is current is answered again. */
  | { readonly kind: "live"; readonly session: LiveSession; readonly isRepeated: boolean }
  /** Used after its time: the session was alive until now and has been ended. */
  | { readonly kind: "reused"; readonly realm: string; readonly userId: string }
  /** Ended, run out, revoked, or its user may not sign in. */
  | { readonly kind: "dead" };

export interface SessionChains {
  /**
   * Presents a refresh token. The current one advances the session; the one before it is answered again within the
   * grace, with an entry in the audit log; anything else ends the session, denies the access tokens that name it until
   * `denyUntilSeconds`, and is audited. Does not check the token's HMAC.
   *
   * @param audit the entry for an action on this session
   */
  advance(
    presented: PresentedRefresh,
    times: { readonly nowSeconds: number; readonly denyUntilSeconds: number },
    audit: (
      action: "session.refresh_repeated" | "session.refresh_reused",
      target: { readonly realm: string },
    ) => AuditEntry,
  ): Promise<Advance>;
  /** The session if this is its current refresh token and it could be used now. Changes nothing. */
  peek(presented: PresentedRefresh, nowSeconds: number): Promise<LiveSession | null>;
}

const Row = v.object({
  outcome: v.picklist(["dead", "current", "repeated", "reused"]),
  realm: v.string(),
  userId: v.string(),
  role: v.string(),
  scopes: v.pipe(v.string(), v.parseJson(), v.array(v.string())),
  counter: v.number(),
  expiresAtSeconds: v.number(),
  idleExpiresAtSeconds: v.number(),
  idleSeconds: v.number(),
  issuedAtSeconds: v.number(),
});
type Row = v.InferOutput<typeof Row>;

export function createSessionChains(database: D1Database): SessionChains {
  const db = drizzle(database);

  /** As D1 takes it: inside a batch, drizzle would lose the values of a statement of its own making. */
  const statement = (query: { readonly sql: string; readonly params: readonly unknown[] }) =>
    database.prepare(query.sql).bind(...query.params);

  const read = ({ sessionId, counter, pepper }: PresentedRefresh, nowSeconds: number) =>
    database
      .prepare(
        `SELECT
           CASE WHEN NOT (${ALIVE}) THEN 'dead' WHEN ${CURRENT} THEN 'current' WHEN ${REPEATED} THEN 'repeated'
             ELSE 'reused' END AS outcome,
           sessions.realm AS realm, sessions.user_id AS userId, users.role AS role, sessions.scopes AS scopes,
           counter, expires_at_seconds AS expiresAtSeconds, idle_expires_at_seconds AS idleExpiresAtSeconds,
           ${IDLE_SECONDS} AS idleSeconds,
           MAX(?3, COALESCE((SELECT MAX(issued_before_seconds) + 1 FROM revocations WHERE ${ABOUT_OWNER}), 0))
             AS issuedAtSeconds
         FROM sessions JOIN users ON users.realm = sessions.realm AND users.id = sessions.user_id
         WHERE sessions.id = ?1 AND sessions.kind = 'token'`,
      )
      .bind(sessionId, counter, nowSeconds, pepper);

  const toLive = (
    row: Row,
    presented: PresentedRefresh,
    isAdvanced: boolean,
    nowSeconds: number,
  ): LiveSession => ({
    id: presented.sessionId,
    realm: row.realm,
    userId: row.userId,
    role: row.role,
    scopes: row.scopes,
    pepper: presented.pepper,
    counter: isAdvanced ? row.counter + 1 : row.counter,
    expiresAtSeconds: row.expiresAtSeconds,
    idleExpiresAtSeconds: isAdvanced ? nowSeconds + row.idleSeconds : row.idleExpiresAtSeconds,
    issuedAtSeconds: row.issuedAtSeconds,
  });

  return {
    async advance(presented, { nowSeconds, denyUntilSeconds }, audit) {
      const { sessionId, counter, pepper } = presented;
      const values = [sessionId, counter, nowSeconds, pepper];
      // Which realm it is only the row knows; the log's entries are written by SQL that reads it there.
      const entryFor = (action: "session.refresh_repeated" | "session.refresh_reused", condition: SQL) =>
        record(db, audit(action, { realm: "" }), condition, REALM_OF(sessionId)).toSQL();
      const isRepeated = sql`EXISTS (SELECT 1 FROM sessions WHERE id = ${sessionId} AND ${fill(`${ALIVE} AND ${REPEATED}`, values)})`;
      const reused = fill(`sessions.id = ?1 AND ${ALIVE} AND NOT (${CURRENT}) AND NOT (${REPEATED})`, values);
      const isReused = sql`EXISTS (SELECT 1 FROM sessions WHERE ${reused})`;

      const [before] = await database.batch([
        read(presented, nowSeconds),
        statement(entryFor("session.refresh_repeated", isRepeated)),
        statement(
          db
            .insert(changes)
            .select(
              sql`SELECT NULL, ${nowSeconds}, ${JSON.stringify([sessionSubject(sessionId)])}, 'session.ended' WHERE ${isReused}`,
            )
            .toSQL(),
        ),
        statement(entryFor("session.refresh_reused", isReused)),
        statement(db.update(sessions).set({ status: "deleted" }).where(reused).toSQL()),
        // Directly after the UPDATE: a session that is over is not alive, so its condition holds no more.
        statement(
          db
            .insert(revocations)
            .select(
              sql`SELECT realm, 'session', id, NULL, ${denyUntilSeconds},
                (SELECT seq FROM sqlite_sequence WHERE name = 'changes') FROM sessions WHERE id = ${sessionId} AND changes() > 0`,
            )
            .onConflictDoNothing()
            .toSQL(),
        ),
        database
          .prepare(
            `UPDATE sessions SET counter = counter + 1, advanced_at_seconds = ?3, last_used_at_seconds = ?3,
               idle_expires_at_seconds = ?3 + ${IDLE_SECONDS}
             WHERE id = ?1 AND ${CURRENT} AND ${ALIVE}`,
          )
          .bind(...values),
      ]);

      const [found] = before?.results ?? [];
      if (found === undefined) return { kind: "dead" };
      const row = v.parse(Row, found);
      switch (row.outcome) {
        case "dead":
          return { kind: "dead" };
        case "reused":
          return { kind: "reused", realm: row.realm, userId: row.userId };
        default: {
          const isAdvanced = row.outcome === "current";
          const session = toLive(row, presented, isAdvanced, nowSeconds);
          return { kind: "live", session, isRepeated: !isAdvanced };
        }
      }
    },

    async peek(presented, nowSeconds) {
      const found = await read(presented, nowSeconds).first();
      if (found === null) return null;
      const row = v.parse(Row, found);
      return row.outcome === "current" ? toLive(row, presented, false, nowSeconds) : null;
    },
  };
}

// What follows is SQL over the row of `sessions`. ?1: its id, ?2: the presented counter, ?3: now, ?4: the pepper.

const ABOUT_OWNER = `revocations.realm = sessions.realm AND (revocations.expires_at_seconds IS NULL
  OR revocations.expires_at_seconds > ?3) AND ((revocations.kind = 'subject' AND revocations.value = sessions.user_id)
  OR revocations.kind = 'realm')`;

/** `kind = 'token'`: a cookie's session has no refresh tokens. Times are refused from that second on. */
const ALIVE = `sessions.kind = 'token' AND sessions.status = 'active' AND sessions.pepper = ?4
  AND sessions.expires_at_seconds > ?3 AND sessions.idle_expires_at_seconds > ?3
  AND EXISTS (SELECT 1 FROM users AS owner WHERE owner.realm = sessions.realm AND owner.id = sessions.user_id
    AND owner.status = 'active')
  AND NOT EXISTS (SELECT 1 FROM revocations WHERE (${ABOUT_OWNER} AND (issued_before_seconds IS NULL
    OR issued_before_seconds >= sessions.created_at_seconds)))
  AND NOT EXISTS (SELECT 1 FROM revocations WHERE revocations.realm = sessions.realm AND revocations.kind = 'session'
    AND revocations.value = sessions.id
    AND (revocations.expires_at_seconds IS NULL OR revocations.expires_at_seconds > ?3))`;

const CURRENT = "sessions.counter = ?2";
const REPEATED = `(sessions.counter = ?2 + 1 AND ?3 - sessions.advanced_at_seconds <= ${REFRESH_GRACE_SECONDS})`;

/** As long as it was when the session began. */
const IDLE_SECONDS =
  "(sessions.idle_expires_at_seconds - COALESCE(sessions.advanced_at_seconds, sessions.created_at_seconds))";

const REALM_OF = (sessionId: string) => sql`(SELECT realm FROM sessions WHERE id = ${sessionId})`;

/** SQL with numbered places as drizzle takes it. */
function fill(text: string, values: readonly unknown[]): SQL {
  const parts = text.split(/\?([1-4])/);
  return sql.join(
    parts.map((part, index) => (index % 2 === 0 ? sql.raw(part) : sql`${values[Number(part) - 1]}`)),
  );
}
