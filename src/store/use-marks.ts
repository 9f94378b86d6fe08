// When a key, PAT or session was used last. No part of a record, so nothing of it is in the feed.

/** Between two marks of one credential, whichever isolate makes them. */
export const MARK_EVERY_SECONDS = 60;

export interface MarkedSession {
  readonly realm: string;
  readonly createdAtSeconds: number;
  readonly expiresAtSeconds: number;
}

export interface UseMarks {
  /** Does nothing where the mark is younger than a minute. */
  markCredential(id: string, nowSeconds: number): Promise<void>;
  /** @returns the session of a cookie that was marked; `null`: it was not, or is none, or has ended */
  markSession(id: string, nowSeconds: number): Promise<MarkedSession | null>;
}

const IS_DUE = `(last_used_at_seconds IS NULL OR last_used_at_seconds <= ?2 - ${MARK_EVERY_SECONDS})`;
const MARK_CREDENTIAL = `UPDATE credentials SET last_used_at_seconds = ?2 WHERE id = ?1 AND ${IS_DUE}`;
const MARK_SESSION = `UPDATE sessions SET last_used_at_seconds = ?2 WHERE id = ?1 AND ${IS_DUE}
  AND kind = 'cookie' AND status = 'active' AND expires_at_seconds > ?2
  RETURNING realm, created_at_seconds AS createdAtSeconds, expires_at_seconds AS expiresAtSeconds`;

export function createUseMarks(database: D1Database): UseMarks {
  return {
    async markCredential(id, nowSeconds) {
      await database.prepare(MARK_CREDENTIAL).bind(id, nowSeconds).first();
    },
    markSession: (id, nowSeconds) =>
      database.prepare(MARK_SESSION).bind(id, nowSeconds).first<MarkedSession>(),
  };
}
