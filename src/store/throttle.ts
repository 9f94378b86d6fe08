// How fast somebody may try passwords: attempts are taken before they are made, so that parallel ones count too.

/** What one kind of key may do; see `issuer/throttle-rules.ts`. */
export interface ThrottleRule {
  /** Attempts without any delay. */
  readonly freeAttempts: number;
  /** Delay after the first one beyond them; doubles with each. */
  readonly firstDelaySeconds: number;
  readonly maxDelaySeconds: number;
  /** Without an attempt for so long, counting begins again. Longer than any delay. */
  readonly forgetAfterSeconds: number;
}

export interface Throttle {
  /**
   * Takes an attempt for every key, or for none of them. One that is refused lengthens nothing.
   * @returns 0 when it may be made, else the seconds until the next one may
   */
  take(
    keys: readonly { readonly key: string; readonly rule: ThrottleRule }[],
    nowSeconds: number,
  ): Promise<number>;
  /**
   * Gives the attempt back: it was not made, or it shall not count. The delay that it began ends, as well as that of an
   * attempt that was taken since; the count of that one stays.
   */
  giveBack(keys: readonly string[]): Promise<void>;
  /** Counting begins again: it was the right password. */
  reset(key: string): Promise<void>;
  /** Counts a failure in its window. @returns whether it is the first of the window */
  countFailure(
    failure: { readonly realm: string; readonly account: string; readonly address: string | null },
    windowAtSeconds: number,
  ): Promise<boolean>;
}

/**
 * One statement, so that nothing comes between the look and the count. It reads the rows as they were before it, and
 * does nothing while one of the keys is delayed.
 */
const TAKE = `
  WITH rule AS (
    SELECT value ->> 'key' AS key, value ->> 'freeAttempts' AS free, value ->> 'firstDelaySeconds' AS first,
      value ->> 'maxDelaySeconds' AS most, value ->> 'forgetAfterSeconds' AS forget
    FROM json_each(?1)
  ), taken AS (
    SELECT rule.*, 1 + IIF(?2 - past.updated_at_seconds < forget, past.attempts, 0) AS attempts
    FROM rule LEFT JOIN throttles AS past ON past.key = rule.key
  )
  INSERT INTO throttles (key, attempts, next_at_seconds, updated_at_seconds)
  SELECT key, attempts, ?2 + IIF(attempts <= free, 0, MIN(most, first << MIN(attempts - free - 1, 30))), ?2
  FROM taken
  WHERE NOT EXISTS (SELECT 1 FROM rule JOIN throttles AS past ON past.key = rule.key WHERE past.next_at_seconds > ?2)
  ON CONFLICT (key) DO UPDATE SET attempts = excluded.attempts, next_at_seconds = excluded.next_at_seconds,
    updated_at_seconds = excluded.updated_at_seconds
  RETURNING key`;

const LATEST = `
  SELECT MAX(next_at_seconds) AS at FROM throttles WHERE key IN (SELECT value ->> 'key' FROM json_each(?1))`;

const GIVE_BACK = `
  UPDATE throttles SET attempts = MAX(0, attempts - 1), next_at_seconds = updated_at_seconds
  WHERE key IN (SELECT value FROM json_each(?1))`;

const COUNT = `
  INSERT INTO sign_in_failures (window_at_seconds, realm, account, address, count) VALUES (?1, ?2, ?3, ?4, 1)
  ON CONFLICT (window_at_seconds, realm, account, address) DO UPDATE SET count = count + 1
  RETURNING count`;

export function createThrottle(database: D1Database): Throttle {
  const statement = (query: string, ...values: readonly (string | number)[]) =>
    database.prepare(query).bind(...values);

  return {
    async take(keys, nowSeconds) {
      const rules = JSON.stringify(keys.map(({ key, rule }) => ({ key, ...rule })));
      const [taken, latest] = await database.batch<{ readonly at?: number | null }>([
        statement(TAKE, rules, nowSeconds),
        statement(LATEST, rules),
      ]);
      if (taken !== undefined && taken.results.length > 0) return 0;
      return Math.max(1, (latest?.results[0]?.at ?? 0) - nowSeconds);
    },

    async giveBack(keys) {
      await database.batch([statement(GIVE_BACK, JSON.stringify(keys))]);
    },

    async reset(key) {
      await database.batch([statement("DELETE FROM throttles WHERE key = ?1", key)]);
    },

    async countFailure({ realm, account, address }, windowAtSeconds) {
      const values = [windowAtSeconds, realm, account, address ?? ""] as const;
      const [counted] = await database.batch<{ readonly count: number }>([statement(COUNT, ...values)]);
      return counted?.results[0]?.count === 1;
    },
  };
}
