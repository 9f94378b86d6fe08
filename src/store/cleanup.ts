// What time makes worthless, removed in bounded batches. Nothing here is announced: what is removed was refused already.
import { createWrites } from "./writes.ts";

const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 24 * HOUR_SECONDS;

/**
 * For so long people can still see what has run out, and an import cannot bring it back. A record of it in a cache is
 * refused by its expiry, a tombstone's by the feed; ids are random and never come again.
 */
export const KEEP_ENDED_SECONDS = 30 * DAY_SECONDS;
/** An isolate that has not followed the feed for longer reads everything again. */
export const KEEP_CHANGES_SECONDS = 7 * DAY_SECONDS;
/** Clocks differ: what ends at a time on one is in force for a while on another. */
export const MARGIN_SECONDS = HOUR_SECONDS;
/** No throttle remembers an attempt for longer. */
export const KEEP_THROTTLES_SECONDS = 2 * DAY_SECONDS;
/** So long after it began, no window of failed sign-ins is counted in any more. */
export const CLOSE_FAILURES_SECONDS = HOUR_SECONDS;

export interface Cleanup {
  /** One bounded batch of every kind: at most `maxRows` each. @returns rows removed, by table */
  sweep(nowSeconds: number, maxRows: number): Promise<Readonly<Record<string, number>>>;
}

/** `?1`: a point in time; `?2`: how many rows. Users stay for good: a tombstone keeps their id from being used again. */
const REMOVALS = {
  sessions: `DELETE FROM sessions WHERE rowid IN
    (SELECT rowid FROM sessions WHERE expires_at_seconds <= ?1 LIMIT ?2)`,
  // A tombstone has an end as well: when it was deleted, or before.
  credentials: `DELETE FROM credentials WHERE rowid IN
    (SELECT rowid FROM credentials WHERE expires_at_seconds <= ?1 LIMIT ?2)`,
  revocations: `DELETE FROM revocations WHERE rowid IN
    (SELECT rowid FROM revocations WHERE expires_at_seconds <= ?1 LIMIT ?2)`,
  rate_windows: `DELETE FROM rate_windows WHERE rowid IN
    (SELECT rowid FROM rate_windows WHERE started_at_seconds <= ?1 LIMIT ?2)`,
  throttles: `DELETE FROM throttles WHERE rowid IN
    (SELECT rowid FROM throttles WHERE updated_at_seconds <= ?1 AND next_at_seconds <= ?1 LIMIT ?2)`,
} as const;

const FINISHED_WINDOWS = `SELECT rowid FROM sign_in_failures WHERE window_at_seconds <= ?1
  ORDER BY window_at_seconds, realm, account, address LIMIT ?2`;
/** The first failure of a window is in the log since it happened; this counts the others. */
const SUMMARIES = `INSERT INTO audit (at_seconds, action, actor_kind, target_kind, target_realm, target_id, address, details)
  SELECT ?3, 'sign_in.failed', 'anonymous', 'user', realm, account, NULLIF(address, ''),
    json_object('count', count - 1, 'window_at', window_at_seconds)
  FROM sign_in_failures WHERE count > 1 AND rowid IN (${FINISHED_WINDOWS})
  ORDER BY window_at_seconds, realm, account, address`;

/** @param longestLimitSeconds of the exact rate limits: a window of theirs is over after so long */
export function createCleanup(database: D1Database, longestLimitSeconds: number): Cleanup {
  const writes = createWrites(database);

  async function remove(table: keyof typeof REMOVALS, untilSeconds: number, maxRows: number) {
    const { meta } = await database.prepare(REMOVALS[table]).bind(untilSeconds, maxRows).run();
    return meta.changes;
  }

  /** Both or neither: no failure is lost, none is told twice. */
  async function closeWindows(untilSeconds: number, maxRows: number, nowSeconds: number): Promise<number> {
    const results = await database.batch([
      database.prepare(SUMMARIES).bind(untilSeconds, maxRows, nowSeconds),
      database
        .prepare(`DELETE FROM sign_in_failures WHERE rowid IN (${FINISHED_WINDOWS})`)
        .bind(untilSeconds, maxRows),
    ]);
    return results[1]?.meta.changes ?? 0;
  }

  async function pruneFeed(untilSeconds: number, maxRows: number): Promise<number> {
    const floor = await database.prepare("SELECT value FROM meta WHERE key = 'floor'").first<string>("value");
    return (await writes.pruneChanges(untilSeconds, maxRows)) - Number(floor ?? 0);
  }

  return {
    async sweep(nowSeconds, maxRows) {
      const ended = nowSeconds - KEEP_ENDED_SECONDS;
      return {
        sessions: await remove("sessions", ended, maxRows),
        credentials: await remove("credentials", ended, maxRows),
        revocations: await remove("revocations", nowSeconds - MARGIN_SECONDS, maxRows),
        changes: await pruneFeed(nowSeconds - KEEP_CHANGES_SECONDS, maxRows),
        rate_windows: await remove(
          "rate_windows",
          nowSeconds - longestLimitSeconds - MARGIN_SECONDS,
          maxRows,
        ),
        throttles: await remove("throttles", nowSeconds - KEEP_THROTTLES_SECONDS, maxRows),
        sign_in_failures: await closeWindows(nowSeconds - CLOSE_FAILURES_SECONDS, maxRows, nowSeconds),
      };
    },
  };
}
