// Who may hash a password now, on an event loop of the test's own: a digest takes its time, and nothing else any.
import { describe, expect, it } from "vitest";
import { createHashingQueue } from "../../../src/issuer/hashing-queue.ts";

const DIGEST_MS = 130;

interface Outcome {
  readonly name: string;
  readonly what: "hashed" | "busy";
  readonly atMs: number;
}

function startLoop(digestMs = DIGEST_MS) {
  let nowMs = 1_000_000;
  const timers: { readonly atMs: number; readonly go: () => void }[] = [];
  const outcomes: Outcome[] = [];
  const myTurn = createHashingQueue({
    nowMs: () => nowMs,
    wait: (ms) => new Promise<void>((resolve) => timers.push({ atMs: nowMs + ms, go: resolve })),
  });
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };

  return {
    outcomes,
    names: (what: Outcome["what"]) => outcomes.filter((one) => one.what === what).map(({ name }) => name),
    /** A request that gets as far as hashing now. `abandoned`: the client leaves, and its code never goes on. */
    async come(name: string, isAbandoned = false): Promise<void> {
      const timersBefore = timers.length;
      void myTurn().then(
        () => {
          outcomes.push({ name, what: "hashed", atMs: nowMs });
          nowMs += digestMs;
        },
        () => outcomes.push({ name, what: "busy", atMs: nowMs }),
      );
      await settle();
      if (isAbandoned) timers.splice(timersBefore);
    },
    /** Runs what is due until then, in order. */
    async run(ms: number): Promise<void> {
      const untilMs = nowMs + ms;
      for (;;) {
        timers.sort((a, b) => a.atMs - b.atMs);
        const next = timers[0];
        if (next === undefined || next.atMs > untilMs) break;
        timers.shift();
        nowMs = Math.max(nowMs, next.atMs);
        next.go();
        await settle();
      }
      nowMs = Math.max(nowMs, untilMs);
    },
  };
}

describe("hashing in turn", () => {
  it("lets the first one go on at once", async () => {
    const loop = startLoop();
    await loop.come("a");
    expect(loop.outcomes).toEqual([{ name: "a", what: "hashed", atMs: 1_000_000 }]);
  });

  it("lets 8 wait while others hash, in the order they came, and refuses all beyond", async () => {
    const loop = startLoop();
    for (let i = 0; i < 50; i++) await loop.come(`r${i}`);
    expect(loop.names("busy")).toHaveLength(41);
    await loop.run(2_000);
    expect(loop.names("hashed")).toEqual(Array.from({ length: 9 }, (_, i) => `r${i}`));
  });

  it.each([
    ["the 6th has its turn 1,495 ms after it came", 294, 6],
    ["1,500 ms are too long", 295, 5],
  ])("refuses whoever waited for 1.5 s, without hashing: %s", async (_name, digestMs, hashed) => {
    const loop = startLoop(digestMs);
    await loop.come("first");
    for (let i = 0; i < 8; i++) await loop.come(`r${i}`);
    await loop.run(5_000);
    expect(loop.names("hashed")).toHaveLength(1 + hashed);
    expect(loop.names("busy")).toHaveLength(8 - hashed);
  });

  it("does not make anybody wait who comes half a second after the last one began", async () => {
    const loop = startLoop();
    await loop.come("a");
    await loop.run(500 - DIGEST_MS - 1);
    await loop.come("b"); // at 499 ms
    expect(loop.names("hashed")).toEqual(["a"]);
    await loop.run(600);
    await loop.come("c"); // later than 500 ms after b
    expect(loop.names("hashed")).toEqual(["a", "b", "c"]);
    await loop.run(500 - DIGEST_MS);
    await loop.come("d"); // at 500 ms
    expect(loop.names("hashed")).toEqual(["a", "b", "c", "d"]);
  });

  it("is not held up by requests that clients abandon, while they hash or while they wait", async () => {
    const loop = startLoop();
    await loop.come("a");
    for (let i = 0; i < 8; i++) await loop.come(`gone${i}`, true);
    await loop.come("b");
    expect(loop.names("busy")).toEqual(["b"]); // their places are taken for as long as they might have waited
    await loop.run(1_499);
    await loop.come("c");
    expect(loop.names("busy")).toEqual(["b", "c"]);
    await loop.run(1);
    for (let i = 0; i < 9; i++) await loop.come(`d${i}`);
    await loop.run(2_000);
    expect(loop.names("hashed").filter((name) => name.startsWith("d"))).toHaveLength(9);
  });
});
