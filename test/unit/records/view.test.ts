// The feed's edges that a simulation would meet too rarely: overflow, gaps, order, denials.
import { describe, expect, it, vi } from "vitest";
import { createView, type Read } from "../../../src/records/view.ts";
import type { Denial, PrimaryAnswer } from "../../../src/store/primary.ts";

const answer = (head: number, overrides: Partial<PrimaryAnswer> = {}): PrimaryAnswer => ({
  epoch: "e1",
  floor: 0,
  head,
  changes: Array.from({ length: head }, (_, i) => ({ seq: i + 1, subjects: [`user:llm:${i + 1}`] })),
  denials: [],
  credential: null,
  user: null,
  ...overrides,
});
const since = (from: number, head: number, overrides: Partial<PrimaryAnswer> = {}) =>
  answer(head, { changes: answer(head).changes?.slice(from) ?? null, ...overrides });

/** The nth read of an isolate, sent at n seconds and answered before the next one is sent. */
const read = (n: number, from: number | null): Read => ({
  since: from,
  sentTick: n * 10,
  sentAtMs: n * 1_000,
  arrivedTick: n * 10 + 5,
});
const at = (seq: number, epoch = "e1") => ({ epoch, seq });

function following(head: number, maxEntries?: number) {
  const onDrop = vi.fn();
  const view = createView(onDrop, maxEntries);
  view.apply(answer(head), read(1, null));
  return { view, onDrop };
}

describe("a view", () => {
  it("begins only with a read that asked for everything", () => {
    const view = createView(() => {});
    view.apply(answer(5), read(1, 3));
    expect([view.followed(), view.since(), view.ageMs(9_000), view.isDenied(BEARER, 0)]).toEqual([
      null,
      null,
      null,
      null,
    ]);
    view.apply(answer(5), read(2, null));
    expect(view.followed()).toMatchObject({ epoch: "e1", head: 5, asOfMs: 2_000 });
  });

  it("has an age that counts from before the read was sent and is never negative", () => {
    const { view } = following(3);
    expect([view.ageMs(1_000), view.ageMs(4_500), view.ageMs(500)]).toEqual([0, 3_500, 0]);
  });

  it("lets a record count while no later change names it", () => {
    const { view } = following(3);
    expect(view.counts(at(3), ["user:llm:1"])).toBe(true);
    expect(view.counts(at(2), ["user:llm:3"])).toBe(false);
    expect(view.counts(at(2), ["user:llm:9", "user:llm:2"])).toBe(true);
    expect(view.counts(at(3, "e2"), ["user:llm:9"])).toBe(false);
    view.apply(since(3, 4), read(2, 3));
    expect(view.counts(at(3), ["user:llm:4"])).toBe(false);
    expect(view.counts(at(4), ["user:llm:4"])).toBe(true);
  });

  it("reaches back as far as its first read was whole", () => {
    const view = createView(() => {});
    const changes = [2, 4, 5].map((seq) => ({ seq, subjects: [] })); // 3 is missing
    view.apply(answer(5, { changes }), read(1, null));
    expect([view.counts(at(3), []), view.counts(at(2), [])]).toEqual([true, false]);
  });

  it("whose changes are too many to read begins at the head, and older records do not count", () => {
    const view = createView(() => {});
    view.apply(answer(90_000, { changes: null }), read(1, null));
    expect([view.counts(at(90_000), []), view.counts(at(89_999), [])]).toEqual([true, false]);
  });

  it("that falls too far behind jumps to the head without forgetting a denial", () => {
    const { view, onDrop } = following(3);
    view.apply(since(3, 90_000, { changes: null, denials: [denial("token", "j1")] }), read(2, 3));
    expect(onDrop).not.toHaveBeenCalled();
    expect([view.counts(at(3), []), view.counts(at(90_000), [])]).toEqual([false, true]);
    expect(view.isDenied(BEARER, 0)).toBe(true);
  });

  it("that holds too many changed subjects cuts its tail rather than to believe an old record", () => {
    const { view } = following(3, 5);
    view.apply(since(3, 6), read(2, 3));
    expect(view.counts(at(5), ["user:llm:1"])).toBe(false);
    expect(view.counts(at(6), ["user:llm:1"])).toBe(true);
    view.apply(since(6, 7), read(3, 6));
    expect(view.counts(at(6), ["user:llm:7"])).toBe(false);
    expect(view.counts(at(6), ["user:llm:1"])).toBe(true);
  });

  it.each([
    ["another epoch", since(3, 4, { epoch: "e2" })],
    ["a head that fell back", since(3, 2)],
    ["a floor beyond what was followed", since(3, 9, { floor: 4, changes: [] })],
  ])("drops everything at %s, and begins again with the next whole read", (_name, broken) => {
    const { view, onDrop } = following(3);
    view.apply(broken, read(2, 3));
    expect(onDrop).toHaveBeenCalledOnce();
    expect([view.since(), view.counts(at(3), [])]).toEqual([null, false]);
    view.apply(answer(broken.head, { epoch: broken.epoch }), read(3, null));
    expect(view.followed()).toMatchObject({ epoch: broken.epoch, head: broken.head });
  });

  it("ignores an answer that was sent before the last one taken in, even of another epoch", () => {
    const { view, onDrop } = following(3);
    view.apply(since(3, 6), { since: 3, sentTick: 30, sentAtMs: 3_000, arrivedTick: 31 });
    const late: Read = { since: 3, sentTick: 20, sentAtMs: 2_000, arrivedTick: 32 };
    view.apply(since(3, 4), late);
    view.apply(since(3, 9, { epoch: "e0" }), late);
    view.apply(since(3, 9), late);
    expect(view.followed()).toMatchObject({ epoch: "e1", head: 6, asOfMs: 3_000 });
    expect(onDrop).not.toHaveBeenCalled();
  });

  it("does not take an older snapshot of a read under way at the same time for a restored database", () => {
    const { view, onDrop } = following(3);
    view.apply(since(3, 6), { since: 3, sentTick: 20, sentAtMs: 2_000, arrivedTick: 30 });
    view.apply(since(3, 5), { since: 3, sentTick: 21, sentAtMs: 2_001, arrivedTick: 31 });
    expect(onDrop).not.toHaveBeenCalled();
    expect(view.followed()).toMatchObject({ head: 6, asOfMs: 2_000 });
  });
});

const BEARER = { realm: "llm", userId: "7", tokenId: "j1", sessionId: "s1", issuedAtSeconds: 1_000 };

const denial = (kind: Denial["kind"], value: string, overrides: Partial<Denial> = {}): Denial => ({
  realm: "llm",
  kind,
  value,
  issuedBeforeSeconds: null,
  expiresAtSeconds: null,
  ...overrides,
});

describe("denials", () => {
  it.each([
    ["the token", denial("token", "j1"), true],
    ["another token", denial("token", "j2"), false],
    ["a token of another realm", denial("token", "j1", { realm: "files" }), false],
    ["the session", denial("session", "s1"), true],
    ["a session of the token's name", denial("session", "j1"), false],
    ["the subject before that second", denial("subject", "7", { issuedBeforeSeconds: 1_000 }), true],
    ["the subject a second earlier", denial("subject", "7", { issuedBeforeSeconds: 999 }), false],
    ["the realm", denial("realm", "", { issuedBeforeSeconds: 1_000 }), true],
    ["the token, one second before the denial ends", denial("token", "j1", { expiresAtSeconds: 51 }), true],
    ["the token, when the denial has ended", denial("token", "j1", { expiresAtSeconds: 50 }), false],
  ])("of %s", (_name, denied, expected) => {
    const view = createView(() => {});
    view.apply(answer(1, { denials: [denied] }), read(1, null));
    expect(view.isDenied(BEARER, 50)).toBe(expected);
  });

  it("of nobody in particular do not touch a token without jti and session", () => {
    const view = createView(() => {});
    view.apply(answer(1, { denials: [denial("token", ""), denial("session", "null")] }), read(1, null));
    expect(view.isDenied({ ...BEARER, tokenId: null, sessionId: null }, 0)).toBe(false);
  });

  it("beyond the bound make room for those that still stand, and only then ask D1", () => {
    const { view } = following(3, 3);
    const ended = [1, 2, 3].map((n) => denial("token", `old${n}`, { expiresAtSeconds: 2 }));
    view.apply(since(3, 3, { denials: ended }), read(2, 3));
    view.apply(since(3, 3, { denials: [denial("token", "j1")] }), read(3, 3));
    expect(view.isDenied(BEARER, 3)).toBe(true);
    const more = [1, 2, 3].map((n) => denial("token", `new${n}`));
    view.apply(since(3, 3, { denials: more }), read(4, 3));
    expect(view.isDenied(BEARER, 3)).toBeNull();
    view.apply(since(3, 3), read(5, 3));
    expect(view.isDenied(BEARER, 3)).toBeNull();
  });

  it("too many to read at once ask D1", () => {
    const view = createView(() => {});
    view.apply(answer(1, { denials: null }), read(1, null));
    expect(view.isDenied(BEARER, 0)).toBeNull();
  });
});
