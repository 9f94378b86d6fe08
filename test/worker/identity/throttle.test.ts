// The throttle on a real D1: against a plain model, under parallel attempts, and at the second.
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { createThrottle, type ThrottleRule } from "../../../src/store/throttle.ts";
import { DB, emptyStores } from "../../support/worker/gateway.ts";

const throttle = createThrottle(DB);
const NOW = 1_800_000_000;
const ACCOUNT: ThrottleRule = {
  freeAttempts: 3,
  firstDelaySeconds: 2,
  maxDelaySeconds: 10,
  forgetAfterSeconds: 60,
};
const ADDRESS: ThrottleRule = {
  freeAttempts: 5,
  firstDelaySeconds: 1,
  maxDelaySeconds: 4,
  forgetAfterSeconds: 30,
};
const account = (key = "a") => ({ key, rule: ACCOUNT });
const address = (key = "n") => ({ key, rule: ADDRESS });

beforeEach(emptyStores);

/** Attempts made as early as each is let in; the seconds from the first one. */
async function timesOf(
  attempts: number,
  keys: Parameters<typeof throttle.take>[0],
): Promise<readonly number[]> {
  const times: number[] = [];
  for (let now = NOW; times.length < attempts; ) {
    const wait = await throttle.take(keys, now);
    if (wait === 0) times.push(now - NOW);
    now += wait;
  }
  return times;
}

describe("requirement 18: attempts are slowed down", () => {
  it("lets the free ones through, and doubles the delay after each one beyond up to the longest", async () => {
    expect(await timesOf(9, [account()])).toEqual([0, 0, 0, 0, 2, 6, 14, 24, 34]);
  });

  it("opens at the very second, not one before, and a refused attempt lengthens nothing", async () => {
    await timesOf(5, [account()]); // the fifth at 2 s, then 4 s of delay
    for (const [second, wait] of [
      [2, 4],
      [3, 3],
      [5, 1],
      [5, 1],
      [6, 0],
      [6, 8],
      [13, 1],
      [14, 0],
    ] as const) {
      expect(await throttle.take([account()], NOW + second)).toBe(wait);
    }
  });

  it("begins again after a time without attempts, refused ones not counted, and not a second before", async () => {
    const last = (await timesOf(6, [account()])).at(-1) ?? 0; // at 6 s, then 8 s of delay
    expect(await throttle.take([account()], NOW + last + 7)).toBe(1);
    expect(await throttle.take([account("b")], NOW + last + 59)).toBe(0);
    const begun = NOW + last + 60;
    for (let i = 0; i < 4; i++) expect(await throttle.take([account()], begun)).toBe(0);
    expect(await throttle.take([account()], begun)).toBe(2);

    await emptyStores();
    await timesOf(6, [account()]);
    expect(await throttle.take([account()], NOW + last + 59)).toBe(0);
    expect(await throttle.take([account()], NOW + last + 59)).toBe(10);
  });

  it("holds for numbers of attempts that no delay could be doubled for", async () => {
    await DB.prepare("INSERT INTO throttles VALUES ('a', 1000000000, ?1, ?1)").bind(NOW).run();
    expect(await throttle.take([account()], NOW)).toBe(0);
    expect(await throttle.take([account()], NOW)).toBe(10);
  });

  it("takes keys for what they are", async () => {
    for (const key of ["'; DROP TABLE throttles; --", '"', "\\", "%", "é\u0000😀"]) {
      for (let i = 0; i < 4; i++) expect(await throttle.take([account(key)], NOW)).toBe(0);
      expect(await throttle.take([account(key)], NOW)).toBe(2);
    }
  });
});

describe("several keys are taken together", () => {
  it("and the longest wait is answered", async () => {
    await timesOf(5, [account("a")]);
    for (let i = 0; i < 6; i++) await throttle.take([address("n")], NOW + 2);
    expect(await throttle.take([account("a"), address("n")], NOW + 2)).toBe(4);
    expect(await throttle.take([address("n"), account("a")], NOW + 2)).toBe(4);
    expect(await throttle.take([account("b"), address("n")], NOW + 2)).toBe(1);
  });

  it("or none of them: one that is delayed spares the others", async () => {
    await timesOf(4, [account("a")]);
    for (let i = 0; i < 20; i++) expect(await throttle.take([address("n"), account("a")], NOW)).toBe(2);
    const { results } = await DB.prepare("SELECT key, attempts FROM throttles").all();
    expect(results).toEqual([{ key: "a", attempts: 4 }]);
  });

  it("each by its own rule", async () => {
    expect(await timesOf(7, [account("a"), address("n")])).toEqual([0, 0, 0, 0, 2, 6, 14]);
    expect(await timesOf(1, [account("b"), address("n")])).toEqual([0 + (14 + 2 - 0)]);
  });

  it("nothing at all for no keys", async () => {
    expect(await throttle.take([], NOW)).toBe(1);
  });
});

describe("parallel attempts never overdraw", () => {
  it("50 at once on one account are let in as often as 50 in a row", async () => {
    const waits = await Promise.all(Array.from({ length: 50 }, () => throttle.take([account()], NOW)));
    expect(waits.filter((wait) => wait === 0)).toHaveLength(4);
    expect(waits.filter((wait) => wait === 2)).toHaveLength(46);
  });

  it("50 at once on 50 accounts from one address, too", async () => {
    const waits = await Promise.all(
      Array.from({ length: 50 }, (_, i) => throttle.take([account(`a${i}`), address()], NOW)),
    );
    expect(waits.filter((wait) => wait === 0)).toHaveLength(6);
    const { results } = await DB.prepare("SELECT SUM(attempts) AS taken FROM throttles").all();
    expect(results).toEqual([{ taken: 12 }]);
  });
});

describe("an attempt that is given back", () => {
  it("was not made: the next one is let in at once, and the delays go on as they were", async () => {
    await timesOf(5, [account(), address()]);
    expect(await throttle.take([account(), address()], NOW + 6)).toBe(0);
    expect(await throttle.take([account(), address()], NOW + 6)).toBe(8);
    await throttle.giveBack(["a", "n"]);
    expect(await throttle.take([account(), address()], NOW + 6)).toBe(0);
    expect(await throttle.take([account(), address()], NOW + 6)).toBe(8);
  });

  it("any number of times takes nothing below none", async () => {
    await throttle.take([account()], NOW);
    for (let i = 0; i < 5; i++) await throttle.giveBack(["a", "unknown"]);
    await throttle.giveBack([]);
    expect(await timesOf(5, [account()])).toEqual([0, 0, 0, 0, 2]);
    expect((await DB.prepare("SELECT key FROM throttles").all()).results).toEqual([{ key: "a" }]);
  });

  it("does not take back what others took meanwhile", async () => {
    for (let i = 0; i < 3; i++) await throttle.take([account()], NOW);
    await Promise.all(
      [1, 2, 3].map(() => throttle.giveBack(["a"]).then(() => throttle.take([account()], NOW))),
    );
    expect(await throttle.take([account()], NOW)).toBe(0);
    expect(await throttle.take([account()], NOW)).toBe(2);
  });
});

it("reset forgets one key and no other", async () => {
  await timesOf(6, [account("a"), address("n")]);
  await throttle.reset("a");
  expect(await timesOf(4, [account("a")])).toEqual([0, 0, 0, 0]);
  expect(await throttle.take([address("n")], NOW)).toBeGreaterThan(0);
});

it("behaves like a plain model of it, whatever is done in whatever order", async () => {
  const rules = { a: ACCOUNT, b: ACCOUNT, n: ADDRESS } as const;
  type Key = keyof typeof rules;
  const keys = fc.subarray<Key>(["a", "b", "n"], { minLength: 1 });
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("take" as const), keys }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("giveBack" as const), keys }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const), keys }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("pass" as const),
        seconds: fc.constantFrom(1, 2, 3, 7, 29, 30, 60),
      }),
    },
  );
  interface Row {
    taken: number;
    lastAt: number;
    opensAt: number;
  }

  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      await DB.prepare("DELETE FROM throttles").run();
      const model = new Map<Key, Row>();
      let now = NOW;
      for (const one of steps) {
        if (one.do === "pass") {
          now += one.seconds;
        } else if (one.do === "reset") {
          for (const key of one.keys) {
            await throttle.reset(key);
            model.delete(key);
          }
        } else if (one.do === "giveBack") {
          await throttle.giveBack(one.keys);
          for (const key of one.keys) {
            const row = model.get(key);
            if (row !== undefined)
              model.set(key, { ...row, taken: Math.max(0, row.taken - 1), opensAt: row.lastAt });
          }
        } else {
          const waits = one.keys.map((key) => (model.get(key)?.opensAt ?? now) - now);
          const wait = Math.max(0, ...waits);
          expect(
            await throttle.take(
              one.keys.map((key) => ({ key, rule: rules[key] })),
              now,
            ),
          ).toBe(wait);
          if (wait > 0) continue;
          for (const key of one.keys) {
            const rule = rules[key];
            const row = model.get(key);
            const isForgotten = row === undefined || now - row.lastAt >= rule.forgetAfterSeconds;
            const taken = isForgotten ? 1 : row.taken + 1;
            let delay = taken > rule.freeAttempts ? rule.firstDelaySeconds : 0;
            for (let i = rule.freeAttempts + 1; i < taken; i++)
              delay = Math.min(rule.maxDelaySeconds, delay * 2);
            model.set(key, { taken, lastAt: now, opensAt: now + delay });
          }
        }
      }
    }),
    { numRuns: 100 },
  );
});

describe("failures are counted per window", () => {
  const failure = { realm: "main", account: "7", address: "192.0.2.1" } as const;

  it("and only the first of each is told, whoever comes at once", async () => {
    const firsts = await Promise.all(Array.from({ length: 20 }, () => throttle.countFailure(failure, NOW)));
    expect(firsts.filter((isFirst) => isFirst)).toHaveLength(1);
    expect(await throttle.countFailure(failure, NOW + 600)).toBe(true);
    expect((await DB.prepare("SELECT window_at_seconds, count FROM sign_in_failures").all()).results).toEqual(
      [
        { window_at_seconds: NOW, count: 20 },
        { window_at_seconds: NOW + 600, count: 1 },
      ],
    );
  });

  it("apart by realm, account and address, also where that is not known", async () => {
    for (const other of [{}, { realm: "b" }, { account: "8" }, { address: "192.0.2.2" }, { address: null }]) {
      expect(await throttle.countFailure({ ...failure, ...other }, NOW)).toBe(true);
      expect(await throttle.countFailure({ ...failure, ...other }, NOW)).toBe(false);
    }
  });
});
