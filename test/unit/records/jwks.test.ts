import { beforeEach, describe, expect, it, vi } from "vitest";
import { createJwksSource, type JwksDeps } from "../../../src/records/jwks.ts";

const URL_TEXT = "https://idp.example/jwks";
const MINUTE_MS = 60_000;
const key = (kid: string) => ({ kty: "EC", crv: "P-256", x: `x${kid}`, y: `y${kid}`, kid });
const set = (...kids: string[]) => JSON.stringify({ keys: kids.map(key) });

type Answer = () => Response | Promise<Response>;

/** An issuer, a KV namespace and a clock, all in a test's hand. */
function world() {
  const state = {
    nowMs: 1_800_000_000_000,
    answer: (() => Response.json({ keys: [key("a")] })) as Answer,
    requests: [] as { url: string; init: RequestInit }[],
    kv: new Map<string, string>(),
    kvReads: 0,
    kvPuts: [] as { key: string; options: unknown }[],
  };
  const kv: JwksDeps["kv"] = {
    get: (async (name: string) => {
      state.kvReads += 1;
      return state.kv.get(name) ?? null;
    }) as unknown as KVNamespace["get"],
    put: async (name, value, options) => {
      state.kvPuts.push({ key: name, options });
      state.kv.set(name, value as string);
    },
  };
  const fetcher = (async (url: URL, init: RequestInit) => {
    state.requests.push({ url: String(url), init });
    return state.answer();
  }) as unknown as typeof fetch;
  return { state, kv, fetcher };
}

let { state, kv, fetcher } = world();
let pending: Promise<unknown>[] = [];
const background = (work: Promise<unknown>) => void pending.push(work);
const settle = async () => {
  while (pending.length > 0) await pending.shift();
};

const isSent = (requests: number) => vi.waitUntil(() => state.requests.length === requests);

beforeEach(() => {
  ({ state, kv, fetcher } = world());
  pending = [];
});

function isolate(overrides: Partial<JwksDeps> = {}, url = URL_TEXT) {
  const source = createJwksSource({ kv, fetch: fetcher, nowMs: () => state.nowMs, ...overrides });
  const address = new URL(url);
  const ask = (unknownKid: string | null = null) => source.keySet(address, unknownKid, background);
  const kids = async (unknownKid: string | null = null) => (await ask(unknownKid)).keys.map(({ kid }) => kid);
  return { ask, kids };
}

const answering =
  (body: string, init: ResponseInit = {}) =>
  () =>
    new Response(body, init);
const DOWN: Answer = () => {
  throw new TypeError("network");
};
const UNAVAILABLE = { code: "keys_unavailable", status: 503 };

describe("memory", () => {
  it("serves for ten minutes without asking anyone", async () => {
    const { kids } = isolate();
    expect(await kids()).toEqual(["a"]);
    await settle();
    state.nowMs += 10 * MINUTE_MS - 1;
    expect(await kids()).toEqual(["a"]);
    expect(pending).toEqual([]);
    expect(state.requests).toHaveLength(1);
    expect(state.kvReads).toBe(1);
  });

  it("then serves once more while it refreshes in the background", async () => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 10 * MINUTE_MS;
    state.answer = answering(set("b"));
    expect(await kids()).toEqual(["a"]);
    await settle();
    expect(await kids()).toEqual(["b"]);
    expect(state.requests).toHaveLength(2);
  });

  it("counts a set's age from before its fetch was sent", async () => {
    const { kids } = isolate();
    state.answer = () => {
      state.nowMs += 4_000;
      return new Response(set("a"));
    };
    await kids();
    await settle();
    state.nowMs += 10 * MINUTE_MS - 4_000;
    await kids();
    expect(pending).toHaveLength(1);
    await settle();
  });

  it("makes an idle isolate wait for the refresh, so that a removed key does not verify once more", async () => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 20 * MINUTE_MS;
    state.answer = answering(set("b"));
    expect(await kids()).toEqual(["b"]);
  });

  it("keeps the version of an equal set, and changes it with every other one", async () => {
    const { ask } = isolate();
    const first = await ask();
    await settle();
    state.nowMs += 20 * MINUTE_MS;
    expect((await ask()).version).toBe(first.version);
    await settle();
    state.nowMs += 20 * MINUTE_MS;
    state.answer = answering(set("b"));
    const second = await ask();
    expect(second.version).not.toBe(first.version);
    await settle();
    state.nowMs += 20 * MINUTE_MS;
    state.answer = answering(set("a"));
    const third = await ask();
    expect(third.version).not.toBe(first.version);
    expect(third.version).not.toBe(second.version);
  });

  it("never mixes the sets of two URLs", async () => {
    const source = createJwksSource({ kv, fetch: fetcher, nowMs: () => state.nowMs });
    const one = await source.keySet(new URL("https://one.example/jwks"), null, background);
    state.answer = answering(set("b"));
    const two = await source.keySet(new URL("https://two.example/jwks"), null, background);
    expect(one.keys.map(({ kid }) => kid)).toEqual(["a"]);
    expect(two.keys.map(({ kid }) => kid)).toEqual(["b"]);
    expect(two.version).not.toBe(one.version);
    const again = await source.keySet(new URL("https://one.example/jwks"), null, background);
    expect(again).toBe(one);
  });
});

describe("KV", () => {
  it("gives a cold isolate the set of another one", async () => {
    await isolate().kids();
    await settle();
    state.nowMs += 5 * MINUTE_MS;
    expect(await isolate().kids()).toEqual(["a"]);
    expect(state.requests).toHaveLength(1);
  });

  it("does not make a set younger than it is", async () => {
    await isolate().kids();
    await settle();
    state.nowMs += 25 * MINUTE_MS;
    state.answer = answering(set("b"));
    expect(await isolate().kids()).toEqual(["b"]);
  });

  it("names the URL in a digest, keeps entries for a day and holds no secret", async () => {
    await isolate({}, `${URL_TEXT}?token=secret`).kids();
    await settle();
    expect(state.kvPuts).toHaveLength(1);
    expect(state.kvPuts[0]?.key).toMatch(/^jwks:1:[0-9a-f]{64}$/);
    expect(state.kvPuts[0]?.options).toEqual({ expirationTtl: 86_400 });
  });

  it.each([
    ["no JSON", () => "{"],
    ["null", () => "null"],
    ["no time", () => set("evil")],
    ["a time in a string", () => JSON.stringify({ sentAtMs: "0", keys: [key("evil")] })],
    ["a time in the future", () => JSON.stringify({ sentAtMs: state.nowMs + 1, keys: [key("evil")] })],
    ["no keys", () => JSON.stringify({ sentAtMs: state.nowMs })],
  ])("is not believed when it holds %s", async (_name, text) => {
    await isolate().kids();
    await settle();
    for (const name of state.kv.keys()) state.kv.set(name, text());
    expect(await isolate().kids()).toEqual(["a"]);
    expect(state.requests).toHaveLength(2);
  });

  it("drops symmetric and private keys that somebody put there", async () => {
    await isolate().kids();
    await settle();
    const keys = [{ kty: "oct", k: "AAAA", kid: "evil" }, { ...key("private"), d: "AAAA" }, key("good")];
    for (const name of state.kv.keys()) state.kv.set(name, JSON.stringify({ sentAtMs: state.nowMs, keys }));
    expect(await isolate().kids()).toEqual(["good"]);
  });

  it.each([
    ["is not bound", null],
    [
      "fails",
      {
        get: () => Promise.reject(new Error("KV down")),
        put: () => Promise.reject(new Error("KV down")),
      } as unknown as JwksDeps["kv"],
    ],
    [
      "hangs",
      {
        get: () => new Promise(() => undefined),
        put: () => new Promise(() => undefined),
      } as unknown as JwksDeps["kv"],
    ],
  ])("is not missed when it %s", async (_name, broken) => {
    expect(await isolate({ kv: broken }).kids()).toEqual(["a"]);
  });
});

describe("requirement 14: unknown kids", () => {
  it("refetch a fresh set, so that a new key works at once", async () => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 10_000;
    state.answer = answering(set("a", "b"));
    expect(await kids("b")).toEqual(["a", "b"]);
    expect(await kids("b")).toEqual(["a", "b"]);
    expect(state.requests).toHaveLength(2);
  });

  it("refetch at most every ten seconds", async () => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 9_999;
    for (let i = 0; i < 50; i++) expect(await kids(`x${i}`)).toEqual(["a"]);
    expect(state.requests).toHaveLength(1);
    state.nowMs += 1;
    await kids("x");
    await settle();
    for (let i = 0; i < 50; i++) await kids(`y${i}`);
    expect(state.requests).toHaveLength(2);
  });

  it("refetch once under parallel load", async () => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 10_000;
    state.answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      return new Response(set("a", "b"));
    };
    const all = await Promise.all(Array.from({ length: 50 }, () => kids("b")));
    expect(all.every((found) => found.includes("b"))).toBe(true);
    expect(state.requests).toHaveLength(2);
  });

  it("cannot be told from new ones while the issuer is down: then nothing is decided", async () => {
    const { ask, kids } = isolate();
    await kids();
    await settle();
    state.nowMs += 10_000;
    state.answer = DOWN;
    await expect(ask("b")).rejects.toMatchObject(UNAVAILABLE);
    await expect(ask("b")).rejects.toMatchObject(UNAVAILABLE);
    expect(state.requests).toHaveLength(2); // the failure cools down as well
    expect(await kids()).toEqual(["a"]);
    expect(await kids("a")).toEqual(["a"]);
  });

  it("are asked for at the issuer even if KV has a set", async () => {
    await isolate().kids();
    await settle();
    state.answer = answering(set("a", "b"));
    expect(await isolate().kids("b")).toEqual(["a", "b"]);
  });
});

describe("one fetch at a time", () => {
  it("for a cold isolate under parallel load", async () => {
    const { kids } = isolate({ kv: null });
    state.answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      return new Response(set("a"));
    };
    const all = await Promise.all(Array.from({ length: 50 }, () => kids()));
    expect(all).toEqual(Array.from({ length: 50 }, () => ["a"]));
    expect(state.requests).toHaveLength(1);
  });

  it("that is taken over after two seconds, since the request that sent it may be gone", async () => {
    const { kids } = isolate({ kv: null });
    state.answer = () => new Promise(() => undefined);
    void kids().catch(() => undefined);
    await isSent(1);
    state.nowMs += 2_000;
    state.answer = answering(set("a"));
    expect(await kids()).toEqual(["a"]);
    expect(state.requests).toHaveLength(2);
  });

  it("of which one alone is repeated, however many wait", async () => {
    const { kids } = isolate({ kv: null });
    state.answer = () => new Promise(() => undefined);
    void kids().catch(() => undefined);
    await isSent(1);
    const waiting = Array.from({ length: 20 }, () => kids());
    state.answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      return new Response(set("a"));
    };
    state.nowMs += 2_000;
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => ["a"]));
    expect(state.requests).toHaveLength(2);
  });

  it("whose late answer does not replace a younger one", async () => {
    const { kids } = isolate({ kv: null });
    let answerLate: (response: Response) => void = () => undefined;
    state.answer = () =>
      new Promise((resolve) => {
        answerLate = resolve;
      });
    const first = kids();
    await isSent(1);
    state.nowMs += 2_000;
    state.answer = answering(set("new"));
    expect(await kids()).toEqual(["new"]);
    answerLate(new Response(set("old")));
    expect(await first).toEqual(["new"]);
    expect(await kids()).toEqual(["new"]);
  });
});

describe("requirement 14: an issuer that is down", () => {
  it.each([
    ["for 24 hours less one millisecond serves its last good set", 24 * 60 * MINUTE_MS - 1, ["a"]],
    ["for 24 hours is unavailable", 24 * 60 * MINUTE_MS, null],
  ])("%s", async (_name, ageMs, expected) => {
    const { kids } = isolate();
    await kids();
    await settle();
    state.nowMs += ageMs;
    state.answer = DOWN;
    if (expected === null) await expect(kids()).rejects.toMatchObject(UNAVAILABLE);
    else expect(await kids()).toEqual(expected);
  });

  it("serves a cold isolate from KV", async () => {
    await isolate().kids();
    await settle();
    state.nowMs += 23 * 60 * MINUTE_MS;
    state.answer = DOWN;
    expect(await isolate().kids()).toEqual(["a"]);
  });

  it("is asked every ten seconds at most, with a set and without", async () => {
    state.answer = DOWN;
    const cold = isolate({ kv: null });
    for (let i = 0; i < 20; i++) await expect(cold.ask()).rejects.toMatchObject(UNAVAILABLE);
    expect(state.requests).toHaveLength(1);
    state.nowMs += 10_000;
    state.answer = answering(set("a"));
    expect(await cold.kids()).toEqual(["a"]);
    state.nowMs += 60 * MINUTE_MS;
    state.answer = DOWN;
    for (let i = 0; i < 20; i++) expect(await cold.kids()).toEqual(["a"]);
    expect(state.requests).toHaveLength(3);
  });

  it("recovers by itself", async () => {
    const { kids } = isolate();
    await kids();
    state.nowMs += 30 * MINUTE_MS;
    state.answer = DOWN;
    expect(await kids()).toEqual(["a"]);
    state.nowMs += 10_000;
    state.answer = answering(set("b"));
    expect(await kids()).toEqual(["b"]);
  });

  it("asks KV no oftener than the issuer", async () => {
    state.answer = DOWN;
    const { ask } = isolate();
    for (let i = 0; i < 20; i++) await expect(ask()).rejects.toMatchObject(UNAVAILABLE);
    expect(state.kvReads).toBe(1);
  });

  it("says when to come again", async () => {
    state.answer = DOWN;
    await expect(isolate().ask()).rejects.toMatchObject({ details: { retryAfterSeconds: 10 } });
  });
});
