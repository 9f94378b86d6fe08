// Exact rate limits: one row a key, counted by a conditional upsert so that parallel requests cannot overdraw.
import type { Limiter } from "../pipeline/limit.ts";

/** Fixed windows aligned to multiples of `perSeconds`. One D1 write a request: for limits that must not be missed. */
export function createLimiter(database: D1Database): Limiter {
  const statement = database.prepare(
    `INSERT INTO rate_windows (key, started_at_seconds, count) VALUES (?1, ?2, 1)
     ON CONFLICT (key) DO UPDATE SET
       count = CASE WHEN started_at_seconds = excluded.started_at_seconds THEN count + 1 ELSE 1 END,
       started_at_seconds = excluded.started_at_seconds
     WHERE started_at_seconds <> excluded.started_at_seconds OR count < ?3
     RETURNING count`,
  );
  return {
    async take(key, requests, perSeconds, nowSeconds) {
      const startedAtSeconds = nowSeconds - (nowSeconds % perSeconds);
      const taken = await statement.bind(key, startedAtSeconds, requests).first();
      return { success: taken !== null, retryAfterSeconds: startedAtSeconds + perSeconds - nowSeconds };
    },
  };
}
