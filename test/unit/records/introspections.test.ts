// The memory of what origins said, on a clock that only the test moves.
import { describe, expect, it } from "vitest";
import { Problem } from "../../../src/problem.ts";
import { createIntrospections, type Found } from "../../../src/records/introspections.ts";
import type { Finding } from "../../../src/records/types.ts";

const KNOWN: Finding = { kind: "known", user: null };
const REJECTED: Finding = { kind: "rejected", reason: "unknown" };
const BOUND = 30;

function isolate() {
  let nowMs = 1_000_000;
  const background: Promise<unknown>[] = [];
  const asked: string[] = [];
  /** What the origin says; a question in between waits for it. */
  let answer: () => Promise<Finding> = async () => KNOWN;
  const memory = createIntrospections({
    nowMs: () => nowMs,
    wait: async (ms) => {
      nowMs += ms;
    },
    afterForwarding: async () => {},
  });
  return {
    asked,
    isYoung: memory.isYoung,
    now: () => nowMs,
    pass: (ms: number) => {
      nowMs += ms;
    },
    says: (next: () => Promise<Finding>) => {
      answer = next;
    },
    settle: async () => {
      await Promise.allSettled(background.splice(0));
    },
    learn: (key = "a", freshnessSeconds = BOUND): Found | Promise<Found> =>
      memory.learn(
        key,
        freshnessSeconds,
        () => {
          asked.push(key);
          return answer();
        },
        (work) => background.push(work),
      ),
  };
}

const kindOf = async (found: Found | Promise<Found>) => (await found).finding.kind;
const later = () => {
  let settle: (finding: Finding) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const promise = new Promise<Finding>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  return { promise, settle, fail };
};
const turns = async (count = 20) => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
};

describe("age", () => {
  it("asks once, and then answers without a promise", async () => {
    const { learn, asked } = isolate();
    await learn();
    expect(learn()).not.toBeInstanceOf(Promise);
    expect(asked).toEqual(["a"]);
  });

  it.each([
    ["a known one", KNOWN],
    ["a rejected one", REJECTED],
  ])("%s counts until just before the bound and not at it", async (_what, finding) => {
    const { learn, asked, pass, says, settle } = isolate();
    says(async () => finding);
    await learn();
    await settle();
    says(() => new Promise(() => {})); // whatever is asked in the background has no answer
    pass(BOUND * 1_000 - 1);
    expect(learn()).not.toBeInstanceOf(Promise);
    says(async () => finding);
    const before = asked.length;
    pass(1);
    const found = learn();
    expect(found).toBeInstanceOf(Promise);
    await found;
    expect(asked).toHaveLength(before + 1);
  });

  it("counts from before the question was sent", async () => {
    const { learn, pass, says, isYoung } = isolate();
    says(async () => {
      pass(10_000);
      return KNOWN;
    });
    const found = await learn();
    pass(BOUND * 1_000 - 10_000 - 1);
    expect(isYoung(found, BOUND)).toBe(true);
    pass(1);
    expect(isYoung(found, BOUND)).toBe(false);
  });

  it("is each route's own: what counts for one may be too old for another", async () => {
    const { learn, asked, pass } = isolate();
    await learn();
    pass(10_000);
    await learn("a", 10);
    expect(asked).toEqual(["a", "a"]);
  });

  it("freshness 0 asks each time, and what it learns counts for other routes", async () => {
    const { learn, asked } = isolate();
    await learn("a", 0);
    await learn("a", 0);
    expect(learn()).not.toBeInstanceOf(Promise);
    expect(asked).toEqual(["a", "a"]);
  });

  it("a clock that goes back makes nothing older, nor younger than it is for good", async () => {
    const { learn, asked, pass } = isolate();
    await learn();
    pass(-5_000);
    expect(learn()).not.toBeInstanceOf(Promise);
    pass(5_000 + BOUND * 1_000);
    await learn();
    expect(asked).toEqual(["a", "a"]);
  });
});

describe("what is kept", () => {
  it("keys are apart", async () => {
    const { learn, says } = isolate();
    await learn("a");
    says(async () => REJECTED);
    expect(await kindOf(learn("b"))).toBe("rejected");
    expect(await kindOf(learn("a"))).toBe("known");
  });

  it("the newest answer stands, either way", async () => {
    const { learn, says, pass } = isolate();
    for (const finding of [KNOWN, REJECTED, KNOWN]) {
      says(async () => finding);
      pass(1);
      await learn("a", 0);
      expect(await kindOf(learn("a"))).toBe(finding.kind);
    }
  });

  it("an answer to an earlier question does not replace that to a later one", async () => {
    const { learn, says, pass } = isolate();
    const slow = later();
    says(() => slow.promise);
    const first = learn("a", 0);
    pass(100);
    says(async () => REJECTED);
    await learn("a", 0);
    slow.settle(KNOWN);
    await first;
    expect(await kindOf(learn("a"))).toBe("rejected");
  });

  it("100,000 guesses push out no good one, and no guess is kept for ever", async () => {
    const { learn, says, asked } = isolate();
    await learn("good");
    says(async () => REJECTED);
    for (let guess = 0; guess < 100_000; guess += 1) await learn(`guess ${guess}`);
    asked.length = 0;
    expect(learn("good")).not.toBeInstanceOf(Promise);
    expect(learn("guess 99999")).not.toBeInstanceOf(Promise);
    await learn("guess 0");
    expect(asked).toEqual(["guess 0"]);
  });

  it("no answer is not remembered, and what was known goes on until its bound", async () => {
    const { learn, says, pass, settle } = isolate();
    await learn();
    says(() => Promise.reject(new Error("down")));
    pass(BOUND * 1_000 - 1);
    expect(await kindOf(learn())).toBe("known");
    await settle();
    pass(1);
    await expect(async () => learn()).rejects.toThrow("down");
    await settle();
    says(async () => KNOWN);
    expect(await kindOf(learn())).toBe("known");
  });
});

describe("renewal in the background", () => {
  it("begins at two thirds of the bound, once, and a credential in use then never waits", async () => {
    const { learn, asked, pass, settle } = isolate();
    await learn();
    pass(19_999);
    learn();
    expect(asked).toHaveLength(1);
    pass(1);
    learn();
    learn();
    await settle();
    expect(asked).toHaveLength(2);
    for (let round = 0; round < 10; round += 1) {
      pass(20_000);
      expect(learn()).not.toBeInstanceOf(Promise);
      await settle();
    }
    expect(asked).toHaveLength(12);
  });

  it("is not for what was rejected: a guess costs one question in a bound", async () => {
    const { learn, asked, pass, says, settle } = isolate();
    says(async () => REJECTED);
    await learn();
    pass(BOUND * 1_000 - 1);
    learn();
    await settle();
    expect(asked).toHaveLength(1);
  });

  it("learns of a revocation", async () => {
    const { learn, pass, says, settle } = isolate();
    await learn();
    says(async () => REJECTED);
    pass(20_000);
    expect(await kindOf(learn())).toBe("known");
    await settle();
    expect(await kindOf(learn())).toBe("rejected");
  });
});

describe("many at once", () => {
  it("fifty requests are one question, and each has its own promise", async () => {
    const { learn, asked, says } = isolate();
    const slow = later();
    says(() => slow.promise);
    const all = Array.from({ length: 50 }, () => learn());
    await turns();
    slow.settle(KNOWN);
    expect(new Set(all).size).toBe(50);
    expect(new Set(await Promise.all(all.map(kindOf)))).toEqual(new Set(["known"]));
    expect(asked).toEqual(["a"]);
  });

  it("all are told of an outage", async () => {
    const { learn, asked, says } = isolate();
    const slow = later();
    says(() => slow.promise);
    const all = Array.from({ length: 5 }, async () => learn());
    await turns();
    slow.fail(new Error("down"));
    const results = await Promise.allSettled(all);
    expect(results.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    const [, waited] = results;
    const reason = waited?.status === "rejected" ? waited.reason : null;
    expect(reason).toBeInstanceOf(Problem);
    expect(reason).toMatchObject({ code: "introspection_unavailable" });
    expect(asked).toEqual(["a"]);
  });

  it("a question whose request was lost is asked again after 2 s", async () => {
    const { learn, asked, says, pass } = isolate();
    says(() => new Promise(() => {}));
    void learn();
    says(async () => KNOWN);
    expect(await kindOf(learn())).toBe("known");
    expect(asked).toEqual(["a", "a"]);
    pass(1);
    expect(learn()).not.toBeInstanceOf(Promise);
  });

  it("freshness 0 does not make do with another request's question", async () => {
    const { learn, asked, says, now } = isolate();
    const slow = later();
    says(() => slow.promise);
    const first = learn("a", 0);
    says(async () => REJECTED);
    const before = now();
    expect(await kindOf(learn("a", 0))).toBe("rejected");
    expect(now()).toBe(before); // nor does it wait for it
    slow.settle(KNOWN);
    expect(await kindOf(first)).toBe("known");
    expect(asked).toEqual(["a", "a"]);
  });

  it("does not wait for an answer that would be too old", async () => {
    const { learn, asked, says, pass } = isolate();
    const slow = later();
    says(() => slow.promise);
    void learn("a", 1);
    pass(990);
    says(async () => REJECTED);
    const second = learn("a", 1);
    await turns(5);
    slow.settle(KNOWN);
    expect(await kindOf(second)).toBe("rejected");
    expect(asked).toEqual(["a", "a"]);
  });
});
