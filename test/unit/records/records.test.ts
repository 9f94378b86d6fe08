// What the records layer costs and when it follows the feed; that it is right is the simulation's to show.
import { describe, expect, it } from "vitest";
import { createRecords, type Entry } from "../../../src/records/records.ts";
import type { Demand, Lookup } from "../../../src/records/types.ts";
import type { PrimaryAnswer, PrimaryQuery } from "../../../src/store/primary.ts";

const USER = {
  realm: "llm",
  id: "7",
  username: null,
  name: null,
  role: "user",
  permissions: [],
  status: "active",
  attributes: {},
} as const;

function isolate() {
  const state = {
    nowMs: 1_000_000,
    answer: { user: USER, denials: [] } as Partial<PrimaryAnswer>,
    reads: [] as PrimaryQuery[],
    denialChecks: 0,
    kvWrites: [] as string[],
    background: [] as Promise<unknown>[],
    loseBackground: false,
  };
  const records = createRecords({
    primary: {
      async read(query) {
        state.reads.push(query);
        const feed = { epoch: "e1", floor: 0, head: 0, changes: [], denials: [], credential: null };
        return { ...feed, user: null, ...state.answer };
      },
      async isDenied() {
        state.denialChecks += 1;
        return true;
      },
    },
    kv: {
      get: async () => null,
      async put(key: string, _entry: Entry) {
        state.kvWrites.push(key);
      },
    },
    nowMs: () => state.nowMs,
    cutOff: (work) => work,
    afterForwarding: () => (state.loseBackground ? new Promise(() => {}) : Promise.resolve()),
    random: () => 0.5,
    freshnessSeconds: 30,
    shortestFreshnessSeconds: 30,
  });
  const ask = async (overrides: Partial<Demand> = {}) => {
    const lookup: Lookup = { by: "user", realm: "llm", id: "7" };
    const demand = { lookup, bearer: null, freshnessSeconds: 30, ...overrides };
    const knowledge = await records.know(demand, (work) => state.background.push(work));
    if (!state.loseBackground) await Promise.all(state.background.splice(0));
    return knowledge;
  };
  return { state, ask };
}

describe("following the feed", () => {
  it("happens in the background after a third of the bound, less some jitter, and not before", async () => {
    const { state, ask } = isolate();
    await ask();
    state.nowMs += 8_999; // 10 s × (0.8 + 0.2 × 0.5)
    await ask();
    expect(state.reads).toHaveLength(1);
    state.nowMs += 1;
    await ask();
    expect(state.reads[1]).toMatchObject({ since: 0, lookup: { by: "none" } });
    await ask();
    expect(state.reads).toHaveLength(2);
  });

  it("is taken over after 2 s where the request that carried it is gone", async () => {
    const { state, ask } = isolate();
    await ask();
    state.loseBackground = true;
    state.nowMs += 15_000;
    await ask();
    await ask();
    expect(state.background).toHaveLength(1);
    state.nowMs += 1_999;
    await ask();
    expect(state.background).toHaveLength(1);
    state.loseBackground = false;
    state.nowMs += 1;
    state.background.length = 0;
    await ask();
    expect(state.reads).toHaveLength(2);
  });
});

describe("a miss", () => {
  it("is kept for the gateway's bound and then confirmed again, though the feed is silent", async () => {
    const { state, ask } = isolate();
    state.answer = {};
    const reads = () => state.reads.filter(({ lookup }) => lookup.by === "user").length;
    for (let passedMs = 0; passedMs < 30_000; passedMs += 5_000) {
      expect((await ask()).user).toBeNull();
      state.nowMs += 5_000;
    }
    expect(reads()).toBe(1);
    await ask();
    expect(reads()).toBe(2);
    expect(state.kvWrites).toEqual([]);
  });
});

describe("KV is written", () => {
  it("once for what is news, not again for what is still known, and never for freshness 0", async () => {
    const { state, ask } = isolate();
    await ask({ freshnessSeconds: 0 });
    expect(state.kvWrites).toEqual([]);
    state.nowMs += 40_000;
    await ask(); // the view is too old, the record is not news
    expect([state.reads.length, state.kvWrites.length]).toEqual([2, 0]);
    const other = isolate();
    await other.ask();
    expect(other.state.kvWrites).toEqual(["user:llm:7"]);
  });
});

describe("denials too many to hold", () => {
  it("are asked of D1 on every request that has someone to be denied", async () => {
    const { state, ask } = isolate();
    state.answer = { user: USER, denials: null };
    const bearer = { realm: "llm", userId: "7", tokenId: "j", sessionId: null, issuedAtSeconds: 1 };
    expect((await ask({ bearer })).isRevoked).toBe(true);
    expect((await ask({ bearer })).isRevoked).toBe(true);
    expect(state.denialChecks).toBe(2);
    expect((await ask()).isRevoked).toBe(false);
  });
});
