// Refresh against a model: honest clients, lost answers, retries, parallel tabs and a thief, in random order, on real D1.
// SEED= replays, RUNS= lengthens.
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { AuditAction, AuditEntry } from "../../../src/audit.ts";
import {
  type Advance,
  createSessionChains,
  REFRESH_GRACE_SECONDS,
} from "../../../src/store/session-chains.ts";
import { addUser, DB, emptyStores, writes } from "../../support/worker/gateway.ts";

const environment = (import.meta as { readonly env?: Readonly<Record<string, string>> }).env ?? {};
const RUNS = Number(environment.RUNS ?? 1_000);
const SEED = environment.SEED === undefined ? {} : { seed: Number(environment.SEED) };

const chains = createSessionChains(DB);
const START_SECONDS = 1_800_000_000;
const IDLE_SECONDS = 1_000;
const LIFE_SECONDS = 5_000;

/** What the design promises, told without any SQL. */
interface Model {
  counter: number;
  isAlive: boolean;
  advancedAtSeconds: number;
  nowSeconds: number;
  repeats: number;
  reuses: number;
}

type Expected = "advanced" | "repeated" | "reused" | "dead";

function present(model: Model, counter: number): Expected {
  const { nowSeconds } = model;
  const ends = Math.min(START_SECONDS + LIFE_SECONDS, model.advancedAtSeconds + IDLE_SECONDS);
  if (!model.isAlive || nowSeconds >= ends) return "dead";
  if (counter === model.counter) {
    model.counter += 1;
    model.advancedAtSeconds = nowSeconds;
    return "advanced";
  }
  const isRecent = nowSeconds - model.advancedAtSeconds <= REFRESH_GRACE_SECONDS;
  if (counter === model.counter - 1 && isRecent) {
    model.repeats += 1;
    return "repeated";
  }
  model.isAlive = false;
  model.reuses += 1;
  return "reused";
}

const entry = (action: AuditAction, id: string): AuditEntry => ({
  atSeconds: START_SECONDS,
  actor: { kind: "anonymous" },
  action,
  target: { kind: "session", realm: "", id },
  address: null,
  requestId: null,
  details: {},
});

const advance = (id: string, counter: number, nowSeconds: number, pepper = "p1") =>
  chains.advance(
    { sessionId: id, counter, pepper },
    { nowSeconds, denyUntilSeconds: nowSeconds + 3_600 },
    (action) => entry(action, id),
  );

const kindOf = (answer: Advance): Expected =>
  answer.kind === "live" ? (answer.isRepeated ? "repeated" : "advanced") : answer.kind;

let sessions = 0;
async function begin(): Promise<string> {
  sessions += 1;
  const id = `ses_${String(sessions).padStart(20, "0")}`;
  await writes.createSession({
    id,
    realm: "main",
    userId: "7",
    digest: "",
    pepper: "p1",
    kind: "token",
    scopes: ["notes.read"],
    createdAtSeconds: START_SECONDS,
    expiresAtSeconds: START_SECONDS + LIFE_SECONDS,
    idleExpiresAtSeconds: START_SECONDS + IDLE_SECONDS,
  });
  return id;
}

const rowOf = (id: string) =>
  DB.prepare("SELECT counter, status FROM sessions WHERE id = ?").bind(id).first<{
    counter: number;
    status: string;
  }>();

const audited = async (id: string, action: string) =>
  (
    await DB.prepare(
      "SELECT COUNT(*) AS n FROM audit WHERE target_id = ? AND target_realm = 'main' AND action = ?",
    )
      .bind(id, action)
      .first<{ n: number }>()
  )?.n;

const isDenied = async (id: string) =>
  (await DB.prepare("SELECT 1 FROM revocations WHERE kind = 'session' AND value = ?").bind(id).first()) !==
  null;

/** All that is left of it, in one question. */
const stateOf = (id: string) =>
  DB.prepare(
    `SELECT counter, status, (SELECT COUNT(*) FROM revocations WHERE realm = 'main' AND kind = 'session' AND value = ?1)
        AS denials,
      (SELECT COUNT(*) FROM audit WHERE target_id = ?1 AND target_realm = 'main'
        AND action = 'session.refresh_repeated') AS repeats,
      (SELECT COUNT(*) FROM audit WHERE target_id = ?1 AND target_realm = 'main'
        AND action = 'session.refresh_reused') AS reuses
     FROM sessions WHERE id = ?1`,
  )
    .bind(id)
    .first();

/** Who does what next. A client that does not hear the answer goes on with the token it has. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ who: fc.constant("client"), isAnswerLost: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ who: fc.constant("second tab"), tab: fc.nat({ max: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ who: fc.constant("thief copies") }) },
  { weight: 1, arbitrary: fc.record({ who: fc.constant("thief presents") }) },
  { weight: 1, arbitrary: fc.record({ who: fc.constant("stale"), back: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ who: fc.constant("parallel"), times: fc.integer({ min: 2, max: 5 }) }),
  },
  { weight: 2, arbitrary: fc.record({ who: fc.constant("client and thief at once") }) },
  {
    weight: 5,
    arbitrary: fc.record({
      who: fc.constant("time"),
      seconds: fc.oneof(
        fc.constantFrom(1, REFRESH_GRACE_SECONDS - 1, REFRESH_GRACE_SECONDS, REFRESH_GRACE_SECONDS + 1),
        fc.integer({ min: 0, max: 400 }),
      ),
    }),
  },
);
type Step = {
  readonly who: string;
  readonly isAnswerLost?: boolean;
  readonly tab?: number;
  readonly back?: number;
  readonly times?: number;
  readonly seconds?: number;
};

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("requirement 17: refresh is single use through one atomic update", () => {
  it("in every order of clients, lost answers, tabs and thieves", { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step as fc.Arbitrary<Step>, { minLength: 3, maxLength: 14 }),
        async (steps) => {
          const id = await begin();
          const model: Model = {
            counter: 0,
            isAlive: true,
            advancedAtSeconds: START_SECONDS,
            nowSeconds: START_SECONDS,
            repeats: 0,
            reuses: 0,
          };
          /** What each holder believes to be current. */
          const held = { client: 0, tabs: [0, 0, 0], thief: 0 };

          const presentBoth = async (
            counter: number,
          ): Promise<{ kind: Expected; counter: number | null }> => {
            const expected = present(model, counter);
            const answer = await advance(id, counter, model.nowSeconds);
            expect(kindOf(answer), JSON.stringify(steps)).toBe(expected);
            if (answer.kind === "live") expect(answer.session.counter).toBe(model.counter);
            return { kind: expected, counter: answer.kind === "live" ? answer.session.counter : null };
          };

          /** D1 puts them in one order or the other: what it answers and leaves behind must be that of one of them. */
          const race = async (mine: number, theirs: number): Promise<readonly Advance[]> => {
            const one = { ...model };
            const other = { ...model };
            const firstMine = [present(one, mine), present(one, theirs)];
            const firstTheirs = [present(other, theirs), present(other, mine)].reverse();
            const answers = await Promise.all([
              advance(id, mine, model.nowSeconds),
              advance(id, theirs, model.nowSeconds),
            ]);
            const kinds = answers.map(kindOf);
            expect([firstMine, firstTheirs], JSON.stringify(steps)).toContainEqual(kinds);
            const row = await rowOf(id);
            const isLeft = ({ counter, isAlive }: Model) =>
              row?.counter === counter && (row.status === "active") === isAlive;
            const left = [
              ...(String(kinds) === String(firstMine) ? [one] : []),
              ...(String(kinds) === String(firstTheirs) ? [other] : []),
            ].find(isLeft);
            expect(left, JSON.stringify(steps)).toBeDefined();
            Object.assign(model, left);
            return answers;
          };

          for (const { who, isAnswerLost, tab = 0, back = 1, times = 2, seconds = 0 } of steps) {
            if (who === "time") model.nowSeconds += seconds;
            else if (who === "thief copies") held.thief = held.client;
            else if (who === "client") {
              const { counter } = await presentBoth(held.client);
              if (counter !== null && isAnswerLost !== true) held.client = counter;
            } else if (who === "second tab") {
              const { counter } = await presentBoth(held.tabs[tab] ?? 0);
              if (counter !== null) held.tabs[tab] = counter;
            } else if (who === "thief presents") {
              const { counter } = await presentBoth(held.thief);
              if (counter !== null) held.thief = counter;
            } else if (who === "client and thief at once") {
              const [mine, theirs] = await race(held.client, held.thief);
              if (mine?.kind === "live") held.client = mine.session.counter;
              if (theirs?.kind === "live") held.thief = theirs.session.counter;
            } else if (who === "stale") {
              await presentBoth(Math.max(0, model.counter - back));
            } else {
              // D1 puts them in some order; of equal requests every order is the same to the model.
              const expected = Array.from({ length: times }, () => present(model, held.client)).sort();
              const answers = await Promise.all(
                Array.from({ length: times }, () => advance(id, held.client, model.nowSeconds)),
              );
              expect(answers.map(kindOf).sort(), JSON.stringify(steps)).toEqual(expected);
              for (const answer of answers) if (answer.kind === "live") held.client = answer.session.counter;
            }
          }
          expect(await stateOf(id)).toEqual({
            counter: model.counter,
            status: model.isAlive ? "active" : "deleted",
            repeats: model.repeats,
            reuses: model.reuses,
            denials: model.reuses > 0 ? 1 : 0,
          });
        },
      ),
      { numRuns: RUNS, ...SEED },
    );
  });

  it("tabs that share their tokens, lose answers and retry within the grace are never signed out", {
    timeout: 300_000,
  }, async () => {
    /** Presentations of what is stored, after so many seconds of the first; which answers are heard. */
    const round = fc.record({
      pauseSeconds: fc.integer({
        min: REFRESH_GRACE_SECONDS + 1,
        max: IDLE_SECONDS - REFRESH_GRACE_SECONDS - 1,
      }),
      tabs: fc.array(
        fc.record({
          afterSeconds: fc.integer({ min: 0, max: REFRESH_GRACE_SECONDS }),
          isHeard: fc.boolean(),
        }),
        { minLength: 1, maxLength: 5 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
        const id = await begin();
        let stored = 0;
        let nowSeconds = START_SECONDS;
        for (const { pauseSeconds, tabs } of rounds) {
          nowSeconds += pauseSeconds;
          const presented = stored;
          // Whoever hears nothing tries once more, at the very end of the grace.
          const all = [
            { afterSeconds: 0, isHeard: false },
            ...tabs,
            { afterSeconds: REFRESH_GRACE_SECONDS, isHeard: true },
          ];
          const answers = await Promise.all(
            all.map(({ afterSeconds }) => advance(id, presented, nowSeconds + afterSeconds)),
          );
          for (const [index, answer] of answers.entries()) {
            expect(answer.kind, JSON.stringify(rounds)).toBe("live");
            if (answer.kind !== "live") return;
            expect(answer.session.counter).toBe(presented + 1);
            if (all[index]?.isHeard) stored = answer.session.counter;
          }
          nowSeconds += REFRESH_GRACE_SECONDS;
        }
        expect(await rowOf(id)).toEqual({ counter: rounds.length, status: "active" });
        expect(await audited(id, "session.refresh_reused")).toBe(0);
      }),
      { numRuns: Math.ceil(RUNS / 10), ...SEED },
    );
  });

  it("of an owner and a thief who both go on, none does for long, whoever is first", {
    timeout: 300_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 3 }),
        fc.boolean(),
        fc.array(fc.integer({ min: REFRESH_GRACE_SECONDS + 1, max: 300 }), { minLength: 3, maxLength: 3 }),
        async (refreshesBefore, isThiefFirst, pauses) => {
          const id = await begin();
          let nowSeconds = START_SECONDS;
          for (let counter = 0; counter < refreshesBefore; counter++) {
            nowSeconds += 20;
            await advance(id, counter, nowSeconds);
          }
          const held = { owner: refreshesBefore, thief: refreshesBefore };
          const order = isThiefFirst ? (["thief", "owner"] as const) : (["owner", "thief"] as const);
          const outcomes: Expected[] = [];
          for (const [at, pause] of pauses.entries()) {
            nowSeconds += pause;
            const who = order[at % 2] ?? "owner";
            const answer = await advance(id, held[who], nowSeconds);
            outcomes.push(kindOf(answer));
            if (answer.kind === "live") held[who] = answer.session.counter;
          }
          expect(outcomes).toEqual(["advanced", "reused", "dead"]);
          expect(await rowOf(id)).toMatchObject({ status: "deleted" });
          expect(await isDenied(id)).toBe(true);
        },
      ),
      { numRuns: Math.ceil(RUNS / 20), ...SEED },
    );
  });

  it("an honest client whose retry comes within the grace is never signed out", async () => {
    const id = await begin();
    let nowSeconds = START_SECONDS;
    for (let counter = 0; counter < 20; counter++) {
      nowSeconds += 100;
      expect(kindOf(await advance(id, counter, nowSeconds))).toBe("advanced");
      for (const waited of [0, 1, REFRESH_GRACE_SECONDS]) {
        const retry = await advance(id, counter, nowSeconds + waited);
        expect(retry).toMatchObject({ kind: "live", isRepeated: true, session: { counter: counter + 1 } });
      }
    }
  });

  it("a stolen token used after the grace ends the session for both", async () => {
    const id = await begin();
    await advance(id, 0, START_SECONDS + 1);
    const late = START_SECONDS + 1 + REFRESH_GRACE_SECONDS + 1;
    expect(await advance(id, 0, late)).toEqual({ kind: "reused", realm: "main", userId: "7" });
    expect(kindOf(await advance(id, 1, late))).toBe("dead");
    expect(kindOf(await advance(id, 0, late))).toBe("dead");
    expect(await isDenied(id)).toBe(true);
    expect(await audited(id, "session.refresh_reused")).toBe(1);
  });

  it.each([
    ["at its idle end", async (_id: string) => {}, START_SECONDS + IDLE_SECONDS],
    [
      "at its absolute end, however lively it was",
      async (id: string) => {
        await DB.prepare("UPDATE sessions SET idle_expires_at_seconds = ? WHERE id = ?")
          .bind(START_SECONDS + 10 * LIFE_SECONDS, id)
          .run();
      },
      START_SECONDS + LIFE_SECONDS,
    ],
  ])("a session is dead %s, and alive the second before", async (_when, prepare, end) => {
    const id = await begin();
    await prepare(id);
    expect(kindOf(await advance(id, 0, end))).toBe("dead");
    expect(kindOf(await advance(id, 0, end - 1))).toBe("advanced");
  });

  it.each([
    ["its user was disabled", () => writes.updateUser("main", "7", { status: "disabled" }, START_SECONDS)],
    ["its user was deleted", () => writes.deleteUser("main", "7", START_SECONDS, START_SECONDS + 60)],
    [
      "all of its user was revoked",
      () =>
        writes.revoke(
          { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: START_SECONDS },
          START_SECONDS,
        ),
    ],
    [
      "all of its realm was revoked",
      () =>
        writes.revoke(
          { realm: "main", kind: "realm", value: "", issuedBeforeSeconds: START_SECONDS },
          START_SECONDS,
        ),
    ],
    [
      "it was revoked",
      (id: string) => writes.revoke({ realm: "main", kind: "session", value: id }, START_SECONDS),
    ],
    [
      "it was ended",
      (id: string) => writes.endSessions({ realm: "main", id }, START_SECONDS, START_SECONDS + 60),
    ],
    [
      "the password was changed",
      () =>
        writes.setPassword(
          "main",
          "7",
          { scheme: "scrypt", hash: "x" },
          { exceptSessionId: null },
          START_SECONDS,
          START_SECONDS + 60,
        ),
    ],
  ])("a session is dead once %s, and no use of it is called reuse", async (_why, end) => {
    const id = await begin();
    await advance(id, 0, START_SECONDS + 1);
    await end(id);
    for (const counter of [0, 1, 2])
      expect(kindOf(await advance(id, counter, START_SECONDS + 2))).toBe("dead");
    expect(await audited(id, "session.refresh_reused")).toBe(0);
  });

  it("what was revoked until a moment before it began does not concern it", async () => {
    await writes.revoke(
      { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: START_SECONDS - 1 },
      START_SECONDS,
    );
    expect(kindOf(await advance(await begin(), 0, START_SECONDS + 1))).toBe("advanced");
  });

  it("a session begun in the very second of a revocation is dated after it, and so are its tokens", async () => {
    await writes.revoke(
      { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: START_SECONDS },
      START_SECONDS,
    );
    const answer = await advance(await begin(), 0, START_SECONDS);
    expect(answer).toMatchObject({ kind: "live", session: { issuedAtSeconds: START_SECONDS + 1 } });
  });

  it.each([
    ["another pepper than the session's", { pepper: "p2" }],
    ["a session that does not exist", { id: "ses_99999999999999999999" }],
  ])(
    "a token under %s is dead and ends nothing",
    async (_what, { pepper = "p1", id: other }: { pepper?: string; id?: string }) => {
      const id = await begin();
      expect(kindOf(await advance(other ?? id, 5, START_SECONDS, pepper))).toBe("dead");
      expect(await rowOf(id)).toEqual({ counter: 0, status: "active" });
    },
  );

  it("a counter from the future ends the session: the database was set back, or somebody forges", async () => {
    const id = await begin();
    expect(kindOf(await advance(id, 3, START_SECONDS))).toBe("reused");
  });

  it("50 parallel refreshes of one token leave one counter", async () => {
    const id = await begin();
    const answers = await Promise.all(Array.from({ length: 50 }, () => advance(id, 0, START_SECONDS)));
    const kinds = answers.map(kindOf);
    expect(kinds.filter((kind) => kind === "advanced")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "repeated")).toHaveLength(49);
    expect(await rowOf(id)).toEqual({ counter: 1, status: "active" });
    expect(await audited(id, "session.refresh_repeated")).toBe(49);
  });
});
