// Where keys stand in front of both generations of New API (§3.2), which of several counts, and what is no key.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  addPat,
  addSession,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { signDashboardToken } from "../new-api-current/dashboard.ts";
import { addOwners, askingSaid, call as callOf, INVALID, KEY, OTHER } from "./keys.ts";
import { GENERATIONS, SITES, varsOf } from "./sites.ts";

const BARE = KEY.slice(3);
const ORIGIN_COOKIE = "MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVRQUFBel80QUFBUT09fA==";

describe.each(GENERATIONS)("%s", (generation) => {
  let gateway: Gateway;

  beforeEach(async () => {
    await emptyStores();
    gateway = startGateway({ vars: varsOf(generation) });
    await addOwners();
  });

  const call = (path: string, headers: HeadersInit, method = "POST") =>
    callOf(gateway, path, headers, method);

  /** Which key decided: by its owner, as the origin is told. `null`: refused. */
  const decidedBy = async (path: string, headers: HeadersInit, method = "POST") => {
    const { status } = await call(path, headers, method);
    const token = gateway.received.at(-1)?.headers.get("x-user-context");
    if (token == null) return status === 401 ? null : `refused with ${status}`;
    const { sub, auth } = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")));
    return `${sub} by ${auth.kind}`;
  };
  const MINE = "7 by api_key";
  const THEIRS = "8 by api_key";
  it.each<[string, string, Record<string, string>, string | null]>([
    ["Authorization: Bearer", "/v1/chat/completions", { authorization: `Bearer ${KEY}` }, MINE],
    ["Authorization: bearer", "/v1/chat/completions", { authorization: `bearer ${KEY}` }, MINE],
    ["Authorization: BEARER", "/v1/chat/completions", { authorization: `BEARER ${KEY}` }, null],
    ["Authorization: Bearer and more blanks", "/v1/embeddings", { authorization: `Bearer   ${KEY}` }, MINE],
    ["Authorization: Bearer twice", "/v1/embeddings", { authorization: `Bearer Bearer ${KEY}` }, null],
    ["Authorization, raw", "/v1/embeddings", { authorization: KEY }, MINE],
    ["Authorization without sk-", "/v1/embeddings", { authorization: `Bearer ${BARE}` }, MINE],
    ["Authorization, raw and without sk-", "/v1/embeddings", { authorization: BARE }, MINE],
    ["Authorization with sk- twice", "/v1/embeddings", { authorization: `Bearer sk-${KEY}` }, null],
    ["Authorization: Basic", "/v1/embeddings", { authorization: `Basic ${btoa(`:${KEY}`)}` }, null],
    ["two in one Authorization", "/v1/embeddings", { authorization: `Bearer ${KEY}, Bearer ${KEY}` }, null],
    ["another case of the key", "/v1/embeddings", { authorization: `Bearer ${KEY.toLowerCase()}` }, null],
    ["a key that is cut", "/v1/embeddings", { authorization: `Bearer ${KEY.slice(0, -1)}` }, null],
    ["a key and a character", "/v1/embeddings", { authorization: `Bearer ${KEY}x` }, null],
    ["x-api-key at messages", "/v1/messages", { "x-api-key": KEY }, MINE],
    ["x-api-key below messages", "/v1/messages/count_tokens", { "x-api-key": BARE }, MINE],
    ["x-api-key at models", "/v1/models", { "x-api-key": KEY }, MINE],
    ["x-api-key below models", "/v1/models/gpt-4", { "x-api-key": KEY }, MINE],
    ["x-api-key with Bearer", "/v1/messages", { "x-api-key": `Bearer ${KEY}` }, null],
    ["x-api-key elsewhere", "/v1/chat/completions", { "x-api-key": KEY }, null],
    ["x-api-key at Gemini's models", "/v1beta/models", { "x-api-key": KEY }, null],
    ["x-goog-api-key at v1beta", "/v1beta/models/g:generateContent", { "x-goog-api-key": KEY }, MINE],
    ["x-goog-api-key at OpenAI's v1beta", "/v1beta/openai/models", { "x-goog-api-key": KEY }, MINE],
    ["x-goog-api-key below models", "/v1/models/gemini", { "x-goog-api-key": KEY }, MINE],
    ["x-goog-api-key elsewhere", "/v1/messages", { "x-goog-api-key": KEY }, null],
    ["x-goog-api-key at another v1beta", "/v1beta/files", { "x-goog-api-key": KEY }, null],
    ["?key= at v1beta", `/v1beta/models?key=${KEY}`, {}, MINE],
    ["?key= with an escape", `/v1beta/models?%6bey=${KEY.replace("-", "%2D")}`, {}, MINE],
    ["?key= at OpenAI's v1beta", `/v1beta/openai/models?alt=json&key=${KEY}`, {}, MINE],
    ["?key= below models", `/v1/models/gemini?key=${KEY}`, {}, MINE],
    ["?key= elsewhere", `/v1/messages?key=${KEY}`, {}, null],
    ["?Key=", `/v1beta/models?Key=${KEY}`, {}, null],
    ["mj-api-secret", "/mj/submit/imagine", { "mj-api-secret": KEY }, MINE],
    ["mj-api-secret with Bearer", "/mj/submit/imagine", { "mj-api-secret": `Bearer ${KEY}` }, MINE],
    ["mj-api-secret on any path", "/v1/embeddings", { "mj-api-secret": BARE }, MINE],
    [
      "mj-api-secret beside midjourney-proxy",
      "/mj/submit/imagine",
      { authorization: "midjourney-proxy", "mj-api-secret": KEY },
      MINE,
    ],
    [
      "mj-api-secret beside Bearer midjourney-proxy",
      "/mj/submit/imagine",
      { authorization: "Bearer midjourney-proxy", "mj-api-secret": KEY },
      MINE,
    ],
    [
      "mj-api-secret beside anything else",
      "/mj/submit/imagine",
      { authorization: "Bearer x", "mj-api-secret": KEY },
      null,
    ],
    [
      "a subprotocol",
      "/v1/realtime",
      { "sec-websocket-protocol": `realtime, openai-insecure-api-key.${KEY}, openai-beta.realtime-v1` },
      MINE,
    ],
    [
      "a subprotocol on any path",
      "/v1/embeddings",
      { "sec-websocket-protocol": `openai-insecure-api-key.${BARE}` },
      MINE,
    ],
    [
      "a subprotocol in another case",
      "/v1/realtime",
      { "sec-websocket-protocol": `OpenAI-Insecure-Api-Key.${KEY}` },
      null,
    ],
    ["subprotocols that are a key", "/v1/realtime", { "sec-websocket-protocol": KEY }, MINE],
    ["api-key", "/v1/embeddings", { "api-key": KEY }, null],
    ["a cookie", "/v1/embeddings", { cookie: `session=${KEY}` }, null],
    ["New-Api-User beside it", "/v1/embeddings", { authorization: KEY, "new-api-user": "8" }, MINE],
    ["nothing", "/v1/embeddings", {}, null],
    ["an empty Authorization", "/v1/embeddings", { authorization: "" }, null],
    ["Bearer alone", "/v1/embeddings", { authorization: "Bearer " }, null],
  ])("%s (New API §3.2)", async (_where, path, headers, expected) => {
    expect(await decidedBy(path, headers)).toBe(expected);
  });

  const PLACES: Readonly<Record<string, (key: string) => Record<string, string>>> = {
    Authorization: (key) => ({ authorization: `Bearer ${key}` }),
    subprotocol: (key) => ({ "sec-websocket-protocol": `realtime, openai-insecure-api-key.${key}` }),
    "x-api-key": (key) => ({ "x-api-key": key }),
    "x-goog-api-key": (key) => ({ "x-goog-api-key": key }),
    "mj-api-secret": (key) => ({ "mj-api-secret": key }),
  };
  const HOLDERS = [
    "authorization",
    "sec-websocket-protocol",
    "x-api-key",
    "x-goog-api-key",
    "mj-api-secret",
    "cookie",
  ];

  it.each([
    ["/v1/embeddings", "subprotocol", "Authorization"],
    ["/v1/embeddings", "Authorization", "x-api-key"],
    ["/v1/embeddings", "Authorization", "x-goog-api-key"],
    ["/v1/embeddings", "Authorization", "mj-api-secret"],
    ["/v1/messages", "x-api-key", "Authorization"],
    ["/v1/messages", "x-api-key", "subprotocol"],
    ["/v1/models/gemini", "x-goog-api-key", "x-api-key"],
    ["/v1/models/gemini", "x-goog-api-key", "subprotocol"],
    ["/v1beta/models", "x-goog-api-key", "Authorization"],
    ["/v1beta/models", "Authorization", "x-api-key"],
  ])("at %s %s wins over %s, which the origin does not see (New API §3.2)", async (path, winner, loser) => {
    const headers = { ...PLACES[loser]?.(OTHER), ...PLACES[winner]?.(KEY) };
    expect(await decidedBy(path, headers)).toBe(MINE);
    const received = gateway.received[0]?.headers;
    expect(HOLDERS.filter((name) => received?.get(name)?.includes(OTHER.slice(3)))).toEqual([]);
    expect(HOLDERS.filter((name) => received?.get(name)?.includes(BARE))).toHaveLength(1);
  });

  it("?key= wins over Authorization and yields to x-goog-api-key; a loser leaves the URL (New API §3.2)", async () => {
    const query = (key: string) => `/v1beta/models?alt=sse&key=${key}&x=1`;
    expect(await decidedBy(query(KEY), { authorization: OTHER })).toBe(MINE);
    expect(gateway.received[0]?.url).toBe(`https://api.example.com${query(KEY)}`);
    expect(gateway.received[0]?.headers.has("authorization")).toBe(false);
    expect(await decidedBy(query(OTHER), { "x-goog-api-key": KEY })).toBe(MINE);
    expect(gateway.received[1]?.url).toBe("https://api.example.com/v1beta/models?alt=sse&x=1");
  });

  it("exactly /v1/models takes Google's places since August 2026 (New API §3.2)", async () => {
    const expected = generation === "new-api-current" ? MINE : null;
    expect(await decidedBy("/v1/models", { "x-goog-api-key": KEY })).toBe(expected);
    expect(await decidedBy(`/v1/models?key=${KEY}`, {})).toBe(expected);
  });

  it("subprotocols without a key (New API §3.2)", async () => {
    const headers = { authorization: `Bearer ${KEY}`, "sec-websocket-protocol": "realtime" };
    expect(await decidedBy("/v1/realtime", headers)).toBe(generation === "new-api-current" ? MINE : null);
    if (generation === "new-api-current") {
      expect(gateway.received[0]?.headers.get("sec-websocket-protocol")).toBe("realtime");
    }
  });

  it("subprotocols that are a key win over Authorization, as they may at the origin (New API §3.2)", async () => {
    const both = { authorization: `Bearer ${KEY}`, "sec-websocket-protocol": OTHER };
    expect(await decidedBy("/v1/realtime", both)).toBe(THEIRS);
    expect(gateway.received[0]?.headers.has("authorization")).toBe(false);
    const headers = { "x-api-key": KEY, "sec-websocket-protocol": OTHER };
    expect(await decidedBy("/v1/messages", headers)).toBe(MINE);
    expect(gateway.received[1]?.headers.has("sec-websocket-protocol")).toBe(false);
  });

  it.each<[string, string, Record<string, string>, string]>([
    [
      "an entry without a key",
      "/mj/submit/imagine",
      { "mj-api-secret": KEY },
      `openai-insecure-api-key., ${OTHER}`,
    ],
    ["an entry that yields", "/v1/messages", { "x-api-key": KEY }, `openai-insecure-api-key.x, ${OTHER}`],
    [
      "no entry, and one that yields",
      "/v1/messages",
      { "x-api-key": KEY },
      `${OTHER}, openai-insecure-api-key.x`,
    ],
  ])("beside %s a key in the list does not stay in it (New API §3.2)", async (_what, path, headers, list) => {
    expect(await decidedBy(path, { ...headers, "sec-websocket-protocol": list })).toBe(MINE);
    expect(gateway.received[0]?.headers.has("sec-websocket-protocol")).toBe(false);
  });

  it("what else is in the list stays beside the entry that counts (New API §3.2)", async () => {
    const list = `openai-insecure-api-key.${KEY}, ${OTHER}, realtime`;
    expect(await decidedBy("/v1/realtime", { "sec-websocket-protocol": list })).toBe(MINE);
    expect(gateway.received[0]?.headers.get("sec-websocket-protocol")).toBe(list);
  });

  it("lines of a repeated header go on as they were read", async () => {
    const headers = new Headers({ "sec-websocket-protocol": "realtime" });
    headers.append("sec-websocket-protocol", `openai-insecure-api-key.${KEY}`);
    expect(await decidedBy("/v1/realtime", headers)).toBe(MINE);
    for (const name of ["authorization", "x-api-key"]) {
      const twice = new Headers({ [name]: KEY });
      twice.append(name, OTHER);
      const { status } = await call("/v1/messages", twice);
      expect([name, status]).toEqual([name, 401]);
    }
    expect(gateway.received).toHaveLength(1);
  });

  it("only Authorization counts where keys ask about themselves (New API §3.2)", async () => {
    for (const headers of [
      { "x-api-key": KEY },
      { "x-goog-api-key": KEY },
      { "mj-api-secret": KEY },
      { "sec-websocket-protocol": `openai-insecure-api-key.${KEY}` },
      { cookie: `session=${KEY}` },
    ]) {
      for (const path of ["/api/log/token", `/api/log/token?key=${KEY}`, "/api/usage/token/"]) {
        const { status, body } = await call(path, headers, "GET");
        expect([status, body]).toEqual([401, askingSaid("Token not provided")]);
      }
    }
    const both = { authorization: `Bearer ${KEY}`, "mj-api-secret": OTHER, "x-api-key": OTHER };
    expect(await decidedBy("/api/usage/token/", both, "GET")).toBe(MINE);
    expect(gateway.received[0]?.headers.has("mj-api-secret")).toBe(false);
  });

  it("a PAT, a session or a dashboard token is no key (New API §3.8)", async () => {
    const pat = await addPat("pat_1");
    const session = await addSession("ses_1");
    for (const value of [pat, session, await signDashboardToken()]) {
      for (const authorization of [`Bearer ${value}`, value, `Bearer sk-${value}`]) {
        const headers = { authorization, "new-api-user": "7" };
        expect((await call("/v1/models", headers)).body).toMatch(INVALID);
        expect((await call("/api/log/token", headers, "GET")).body).toBe(askingSaid("Invalid token"));
      }
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("a cookie of the origin goes no further beside a key, where it could speak for another (New API §3.5)", async () => {
    if (generation === "new-api-current") return;
    for (const path of ["/v1/videos/t_1/content", "/v1/embeddings"]) {
      const headers = { authorization: `Bearer ${KEY}`, cookie: `a=1; session=${ORIGIN_COOKIE}; b=2` };
      expect(await decidedBy(path, headers, path.endsWith("content") ? "GET" : "POST")).toBe(MINE);
      expect(gateway.received.at(-1)?.headers.get("cookie")).toBe("a=1; b=2");
      const { status } = await call(path, { cookie: `session=${ORIGIN_COOKIE}` }, "GET");
      expect(status).toBe(401);
    }
  });

  it("GET /v1/videos/:task_id/content also takes who is signed in, and nobody has to say who (New API §3.5)", async () => {
    const path = "/v1/videos/t_1/content";
    if (generation === "new-api-current") {
      expect((await call(path, { authorization: await signDashboardToken() }, "GET")).status).toBe(200);
      return;
    }
    gateway = startGateway({ vars: { SITE_TEST: { ...SITES["new-api"], issue: true } } });
    const cookie = `session=${await addSession("ses_1", "7")}`;
    const minted = await addApiKey("key_3", { userId: "8" });
    expect(await decidedBy(path, { cookie }, "GET")).toBe("7 by session");
    expect(gateway.received[0]?.headers.has("cookie")).toBe(false);
    expect(await decidedBy(path, { cookie, authorization: minted }, "GET")).toBe("7 by session");
    expect(await decidedBy(path, { authorization: minted }, "GET")).toBe(THEIRS);
    const before = gateway.received.length;
    expect((await call("/v1/videos/t_1", { cookie }, "GET")).status).toBe(401);
    const forged = { cookie: `session=ses_1.${"x".repeat(40)}` };
    expect((await call(path, forged, "GET")).body).toMatch(INVALID);
    expect(gateway.received).toHaveLength(before);
  });
});
