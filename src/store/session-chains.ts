// Refresh: one row a session, a counter in it, one conditional UPDATE. Whatever arrives in parallel, one counter comes of
// it. Everything that a presented token leads to is decided and done in one batch, which D1 runs as one transaction.
import * as v from "valibot";
import type { AuditEntry } from "../audit.ts";
import { sessionSubject } from "../records/subjects.ts";
import { announceIf, NEWEST_SEQ, record } from "./feed.ts";
import { runBatch, type Sql, sql } from "./sql.ts";

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

export interface SessionFate {
  readonly realm: string;
  readonly userId: string;
  readonly isEnded: boolean;
  readonly counter: number;
  /** When it runs out if it is not refreshed. */
  readonly endsAtSeconds: number;
  /** `deleted` also where there is no such user. */
  readonly ownerStatus: "active" | "disabled" | "pending" | "deleted";
}

export interface SessionChains {
  /**
   * Presents a refresh token. The current one advances the session; the one before it is answered again within the
   * grace, with an entry in the audit log; anything else ends the session, denies the access tokens that name it until
   * `denyUntilSeconds`, and is audited. Does not check the token's HMAC.
   *
   * @param audit the entry for an action on this session; its realm and owner are filled in here, where the row is known
   */
  advance(
    presented: PresentedRefresh,
    times: {
      readonly nowSeconds: number;
      readonly denyUntilSeconds: number;
      /** How long the one before counts; `REFRESH_GRACE_SECONDS` unless given. Negative: not at all. */
      readonly graceSeconds?: number;
    },
    audit: (action: "session.refresh_repeated" | "session.refresh_reused") => AuditEntry,
  ): Promise<Advance>;
  /**
   * For systems whose refresh tokens are good again and again: the session if it is alive, whose idle time begins anew.
   * Its counter stays, so that any number of them at once are all answered.
   */
  keep(presented: PresentedRefresh, nowSeconds: number): Promise<LiveSession | null>;
  /** What has become of a session, as long as there is a row of it: for systems that say how it ended. Changes nothing. */
  fate(sessionId: string): Promise<SessionFate | null>;
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

const FateRow = v.object({
  realm: v.string(),
  userId: v.string(),
  isEnded: v.pipe(
    v.number(),
    v.transform((truth) => truth === 1),
  ),
  counter: v.number(),
  endsAtSeconds: v.number(),
  ownerStatus: v.picklist(["active", "disabled", "pending", "deleted"]),
});

export function createSessionChains(database: D1Database): SessionChains {
  const read = (presented: PresentedRefresh, nowSeconds: number, graceSeconds: number) => {
    const { isAlive, isCurrent, isRepeated, isAboutOwner } = conditionsOf(
      presented,
      nowSeconds,
      graceSeconds,
    );
    return sql`SELECT
        CASE WHEN NOT (${isAlive}) THEN 'dead' WHEN ${isCurrent} THEN 'current' WHEN ${isRepeated} THEN 'repeated'
          ELSE 'reused' END AS outcome,
        sessions.realm AS realm, sessions.user_id AS userId, users.role AS role, sessions.scopes AS scopes,
        counter, expires_at_seconds AS expiresAtSeconds, idle_expires_at_seconds AS idleExpiresAtSeconds,
        ${IDLE_SECONDS} AS idleSeconds,
        MAX(${nowSeconds}, COALESCE((SELECT MAX(issued_before_seconds) + 1 FROM revocations WHERE ${isAboutOwner}), 0))
          AS issuedAtSeconds
      FROM sessions JOIN users ON users.realm = sessions.realm AND users.id = sessions.user_id
      WHERE sessions.id = ${presented.sessionId} AND sessions.kind = 'token'`;
  };

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
    async advance(presented, { nowSeconds, denyUntilSeconds, graceSeconds = REFRESH_GRACE_SECONDS }, audit) {
      const { sessionId } = presented;
      const { isAlive, isCurrent, isRepeated } = conditionsOf(presented, nowSeconds, graceSeconds);
      const isAny = (condition: Sql) => sql`EXISTS (SELECT 1 FROM sessions WHERE ${condition})`;
      const repeated = sql`sessions.id = ${sessionId} AND ${isAlive} AND ${isRepeated}`;
      const reused = sql`sessions.id = ${sessionId} AND ${isAlive} AND NOT (${isCurrent}) AND NOT (${isRepeated})`;
      // Which realm it is, and whose, only the row knows; the log's entries are written by SQL that reads it there.
      const targetRealm = sql`(SELECT realm FROM sessions WHERE id = ${sessionId})`;
      const owner = sql`(SELECT user_id FROM sessions WHERE id = ${sessionId})`;
      const entryFor = (action: "session.refresh_repeated" | "session.refresh_reused", condition: Sql) => {
        const entry = audit(action);
        const details = sql`json_set(${entry.details}, '$.user', ${owner})`;
        return record(entry, condition, { targetRealm, details });
      };

      const [before] = await runBatch(database, [
        read(presented, nowSeconds, graceSeconds),
        entryFor("session.refresh_repeated", isAny(repeated)),
        announceIf(isAny(reused), [sessionSubject(sessionId)], "session.ended", nowSeconds),
        entryFor("session.refresh_reused", isAny(reused)),
        sql`UPDATE sessions SET status = 'deleted' WHERE ${reused}`,
        // Directly after the UPDATE: a session that is over is not alive, so its condition holds no more.
        sql`INSERT INTO revocations (realm, kind, value, issued_before_seconds, expires_at_seconds, seq)
          SELECT realm, 'session', id, NULL, ${denyUntilSeconds}, ${NEWEST_SEQ}
          FROM sessions WHERE id = ${sessionId} AND changes() > 0
          ON CONFLICT DO NOTHING`,
        sql`UPDATE sessions SET counter = counter + 1, advanced_at_seconds = ${nowSeconds},
            last_used_at_seconds = ${nowSeconds}, idle_expires_at_seconds = ${nowSeconds} + ${IDLE_SECONDS}
          WHERE id = ${sessionId} AND ${isCurrent} AND ${isAlive}`,
      ]);

      const found = before[0];
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

    async keep(presented, nowSeconds) {
      const { isAlive, isCurrent } = conditionsOf(presented, nowSeconds, 0);
      const [[found]] = await runBatch(database, [
        read(presented, nowSeconds, 0),
        sql`UPDATE sessions SET advanced_at_seconds = ${nowSeconds}, last_used_at_seconds = ${nowSeconds},
            idle_expires_at_seconds = ${nowSeconds} + ${IDLE_SECONDS}
          WHERE id = ${presented.sessionId} AND ${isCurrent} AND ${isAlive}`,
      ]);
      if (found === undefined) return null;
      const row = v.parse(Row, found);
      if (row.outcome !== "current") return null;
      const idleExpiresAtSeconds = nowSeconds + row.idleSeconds;
      return { ...toLive(row, presented, false, nowSeconds), idleExpiresAtSeconds };
    },

    async fate(sessionId) {
      const [[found]] = await runBatch(database, [
        sql`SELECT sessions.realm AS realm, sessions.user_id AS userId, sessions.status <> 'active' AS isEnded, counter,
            MIN(expires_at_seconds, idle_expires_at_seconds) AS endsAtSeconds, COALESCE(users.status, 'deleted') AS ownerStatus
          FROM sessions LEFT JOIN users ON users.realm = sessions.realm AND users.id = sessions.user_id
          WHERE sessions.id = ${sessionId} AND sessions.kind = 'token'`,
      ]);
      return found === undefined ? null : v.parse(FateRow, found);
    },

    async peek(presented, nowSeconds) {
      const [[found]] = await runBatch(database, [read(presented, nowSeconds, 0)]);
      if (found === undefined) return null;
      const row = v.parse(Row, found);
      return row.outcome === "current" ? toLive(row, presented, false, nowSeconds) : null;
    },
  };
}

/** As long as it was when the session began. */
const IDLE_SECONDS = sql`(sessions.idle_expires_at_seconds - COALESCE(sessions.advanced_at_seconds, sessions.created_at_seconds))`;

/** Conditions over the row of `sessions`. */
function conditionsOf({ counter, pepper }: PresentedRefresh, nowSeconds: number, graceSeconds: number) {
  const isAboutOwner = sql`revocations.realm = sessions.realm AND (revocations.expires_at_seconds IS NULL
    OR revocations.expires_at_seconds > ${nowSeconds})
    AND ((revocations.kind = 'subject' AND revocations.value = sessions.user_id) OR revocations.kind = 'realm')`;

  /** `kind = 'token'`: a cookie's session has no refresh tokens. Times are refused from that second on. */
  const isAlive = sql`sessions.kind = 'token' AND sessions.status = 'active' AND sessions.pepper = ${pepper}
    AND sessions.expires_at_seconds > ${nowSeconds} AND sessions.idle_expires_at_seconds > ${nowSeconds}
    AND EXISTS (SELECT 1 FROM users AS owner WHERE owner.realm = sessions.realm AND owner.id = sessions.user_id
      AND owner.status = 'active')
    AND NOT EXISTS (SELECT 1 FROM revocations WHERE (${isAboutOwner} AND (issued_before_seconds IS NULL
      OR issued_before_seconds >= sessions.created_at_seconds)))
    AND NOT EXISTS (SELECT 1 FROM revocations WHERE revocations.realm = sessions.realm AND revocations.kind = 'session'
      AND revocations.value = sessions.id
      AND (revocations.expires_at_seconds IS NULL OR revocations.expires_at_seconds > ${nowSeconds}))`;

  const isCurrent = sql`sessions.counter = ${counter}`;
  const isRepeated = sql`(sessions.counter = ${counter} + 1
    AND ABS(${nowSeconds} - sessions.advanced_at_seconds) <= ${graceSeconds})`;

  return { isAboutOwner, isAlive, isCurrent, isRepeated };
}
