// Keys of the current New API: which of many places counts (§3.2), what a refusal reads (§3.5), and who may read it (§3.7).
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  addApiKey,
  addPat,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { NOW_MS, NOW_SECONDS, SESSION_SECRET, signDashboardToken } from "./dashboard.ts";

let gateway: Gateway;
/** Keys of three users, so that the origin can be asked whose one counted. */
let keys: Readonly<Record<string, string>>;

const start = (site: Readonly<Record<string, unknown>> = {}) =>
  startGateway({
    vars: {
      TEST_SESSION_SECRET: SESSION_SECRET,
      SITE_TEST: {
        hosts: ["api.example.com"],
        origin: "service:ORIGIN",
        realm: "main",
        preset: "new-api-current",
        jwt: { secret: "TEST_SESSION_SECRET" },
        ...site,
      },
    },
  });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  gateway = start();
  await addUser("7");
  await addUser("8");
  await addUser("9", { role: "admin" });
  keys = {
    A: await addApiKey("key_a", { userId: "7" }),
    B: await addApiKey("key_b", { userId: "8" }),
    C: await addApiKey("key_c", { userId: "9" }),
  };
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

/** `A`, `B`, `C` for `sk-` and the rest of a key; `a` without `sk-`. */
const written = (text: string) =>
  text.replace(/\b[ABC]\b/g, (name) => keys[name] ?? "").replace(/\ba\b/g, () => keys.A?.slice(3) ?? "");

function subjectOf(request: Request | undefined): unknown {
  const [, payload = ""] = (request?.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))).sub;
}

const CHAT = "/v1/chat/completions";
const GEMINI = "/v1beta/models/g:generateContent";

/** Whose key counts, by id of the user; `null`: nobody's, 401. */
const PLACES: readonly (readonly [path: string, headers: Record<string, string>, counts: string | null])[] = [
  [CHAT, { authorization: "Bearer A" }, "7"],
  [CHAT, { authorization: "bearer A" }, "7"],
  [CHAT, { authorization: "Bearer a" }, "7"],
  [CHAT, { authorization: "A" }, "7"],
  [CHAT, { authorization: "a" }, "7"],
  [CHAT, { authorization: "  Bearer   A  " }, "7"],
  [CHAT, { authorization: "BEARER A" }, null],
  [CHAT, { authorization: "Bearer" }, null],
  [CHAT, { authorization: "Bearer A B" }, null],
  [CHAT, { authorization: "Bearer A,Bearer B" }, null],
  [CHAT, { authorization: "Basic A" }, null],
  [CHAT, {}, null],
  // 1: subprotocol, on any path
  [CHAT, { "sec-websocket-protocol": "realtime, openai-insecure-api-key.A" }, "7"],
  ["/v1/realtime", { "sec-websocket-protocol": "openai-insecure-api-key.a, realtime" }, "7"],
  ["/v1/realtime", { authorization: "Bearer A", "sec-websocket-protocol": "openai-insecure-api-key.B" }, "8"],
  ["/v1/realtime", { authorization: "Bearer A", "sec-websocket-protocol": "openai-beta" }, "7"],
  [
    "/v1/realtime",
    { authorization: "Bearer A", "sec-websocket-protocol": "openai-insecure-api-key.x" },
    null,
  ],
  // 2: Anthropic's
  ["/v1/messages", { "x-api-key": "A" }, "7"],
  ["/v1/messages", { authorization: "Bearer A", "x-api-key": "B" }, "8"],
  ["/v1/messages/count_tokens", { authorization: "Bearer A", "x-api-key": "B" }, "8"],
  ["/v1/models", { "x-api-key": "A" }, "7"],
  ["/v1/models/gpt-4o", { "x-api-key": "A" }, "7"],
  ["/v1/messages", { authorization: "Bearer A", "x-api-key": "wrong" }, null],
  ["/v1/messages", { authorization: "Bearer A", "x-api-key": "" }, "7"],
  [CHAT, { "x-api-key": "A" }, null],
  [CHAT, { authorization: "Bearer A", "x-api-key": "B" }, "7"],
  // 3: Google's
  [`${GEMINI}?key=A`, {}, "7"],
  [`${GEMINI}?key=A`, { authorization: "Bearer B" }, "7"],
  [GEMINI, { "x-goog-api-key": "A" }, "7"],
  [`${GEMINI}?key=A`, { authorization: "Bearer B", "x-goog-api-key": "C" }, "9"],
  ["/v1beta/openai/models?key=A", {}, "7"],
  ["/v1/models/gemini?key=A", {}, "7"],
  ["/v1/models?key=A", { "x-api-key": "B" }, "7"],
  ["/v1/models?key=A", { "x-api-key": "B", "x-goog-api-key": "C" }, "9"],
  [`${CHAT}?key=A`, {}, null],
  [CHAT, { "x-goog-api-key": "A" }, null],
  [`/v1/messages?key=A`, {}, null],
  // 5: Midjourney's, where there is nothing else
  ["/mj/submit/imagine", { "mj-api-secret": "A" }, "7"],
  ["/mj/submit/imagine", { "mj-api-secret": "Bearer A" }, "7"],
  ["/mj/submit/imagine", { authorization: "Bearer midjourney-proxy", "mj-api-secret": "A" }, "7"],
  ["/mj/submit/imagine", { authorization: "midjourney-proxy", "mj-api-secret": "A" }, "7"],
  ["/mj/submit/imagine", { authorization: "Bearer A", "mj-api-secret": "B" }, "7"],
  ["/mj/submit/imagine", { authorization: "Bearer wrong", "mj-api-secret": "B" }, null],
  [CHAT, { "mj-api-secret": "A" }, "7"],
  // no claims beside it
  [CHAT, { authorization: "Bearer A", "new-api-user": "9" }, "7"],
  [CHAT, { cookie: "session=A", "new-api-user": "7" }, null],
];

describe("places (New API §3.2)", () => {
  it.each(PLACES)("%s with %j counts for %j", async (path, headers, counts) => {
    const sent = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, written(value)] as const),
    );
    const answer = await gateway.fetch(written(path), { method: "POST", headers: sent });
    expect(answer.status).toBe(counts === null ? 401 : 200);
    if (counts === null) {
      expect(gateway.received).toHaveLength(0);
      return;
    }
    const [got] = gateway.received;
    expect(subjectOf(got)).toBe(counts);
    // The origin finds this one key, wherever it looks.
    const whole = JSON.stringify([got?.url, ...(got?.headers ?? [])]);
    for (const [name, id] of [
      ["A", "7"],
      ["B", "8"],
      ["C", "9"],
    ] as const) {
      const secret = keys[name]?.slice(3) ?? "";
      expect([name, whole.includes(secret)]).toEqual([name, id === counts]);
    }
  });

  it.each([
    ["/api/log/token", "Bearer A", "7"],
    ["/api/log/token", "a", "7"],
    ["/api/log/token", "Bearer A-12", "7"],
    ["/api/log/token?key=A", "", null],
    ["/api/usage/token/", "Bearer A", "7"],
    ["/api/usage/token/", "bearer A", "7"],
    ["/api/usage/token/", "A", null],
    ["/api/log/token", "Bearer A,Bearer B", null],
    ["/api/log/token", "Bearer A-,Bearer B", null],
    ["/api/log/token", "Bearer A-1 B", null],
    ["/api/usage/token/", "Bearer A-,Bearer B", null],
  ])("a key that asks about itself at %s as %j counts for %j", async (path, authorization, counts) => {
    const headers: Record<string, string> =
      authorization === "" ? { "x-api-key": keys.A ?? "" } : { authorization: written(authorization) };
    const answer = await gateway.fetch(written(path), { headers });
    expect(answer.status).toBe(counts === null ? 401 : 200);
    if (counts !== null) expect(subjectOf(gateway.received[0])).toBe(counts);
    else expect(gateway.received).toHaveLength(0);
  });
});

const ADDRESS = { "cf-connecting-ip": "192.0.2.7" };
type Case = [what: string, prepare: () => Promise<string>, status: number, text: string, code?: string];

const CASES: Case[] = [
  ["no key", async () => "", 401, "Invalid token"],
  ["an unknown key", async () => `Bearer sk-${"x".repeat(48)}`, 401, "Invalid token"],
  ["a key that is switched off", () => keyOf({ status: "disabled" }), 401, "Invalid token"],
  ["a key with the system's own status 2", () => keyOf({ attributes: { status: 2 } }), 401, "Invalid token"],
  ["a key with status 3, expired", () => keyOf({ attributes: { status: 3 } }), 401, "Invalid token"],
  ["a key with status 4, used up", () => keyOf({ attributes: { status: 4 } }), 401, "Invalid token"],
  ["a key that has expired", () => keyOf({ expiresAtSeconds: NOW_SECONDS }), 401, "Invalid token"],
  [
    "an address that is not on the key's list",
    () => keyOf({ ipAllow: ["198.51.100.0/24"] }),
    403,
    "您的 IP 不在令牌允许访问的列表中",
    "access_denied",
  ],
  [
    "an owner who is off, and an address off the list: the address first",
    async () => {
      const key = await keyOf({ ipAllow: ["198.51.100.0/24"] });
      await DB.prepare("UPDATE users SET status = 'disabled'").run();
      return key;
    },
    403,
    "您的 IP 不在令牌允许访问的列表中",
    "access_denied",
  ],
  [
    "an owner who is off",
    async () => {
      const key = await keyOf({});
      await DB.prepare("UPDATE users SET status = 'disabled'").run();
      return key;
    },
    403,
    "User has been banned",
  ],
  [
    "an owner who is gone",
    async () => {
      const key = await keyOf({});
      await DB.prepare("UPDATE users SET status = 'deleted'").run();
      return key;
    },
    500,
    "Database error, please contact the administrator",
  ],
  ["a channel, of a user", async () => `Bearer ${keys.A}-12`, 403, "普通用户不支持指定渠道"],
  ["a channel that is none, of a user", async () => `Bearer ${keys.A}-x`, 403, "普通用户不支持指定渠道"],
  ["a channel that is none, of an admin", async () => `Bearer ${keys.C}-x`, 400, "Invalid channel ID"],
  ["a PAT", async () => `Bearer ${await addPat("pat_1")}`, 401, "Invalid token"],
  ["a dashboard token", async () => `Bearer ${await signDashboardToken()}`, 401, "Invalid token"],
];

let made = 0;
const keyOf = async (overrides: Parameters<typeof addApiKey>[1]) =>
  `Bearer ${await addApiKey(`key_${made++}`, { userId: "7", ...overrides })}`;

describe("refusals where keys are used (New API §3.5, §3.7)", () => {
  it.each<Case>(CASES)("%s", async (_what, prepare, status, text, code = "") => {
    const authorization = await prepare();
    const origin = { origin: "https://chat.example.org" };
    const headers = { ...ADDRESS, ...origin, ...(authorization !== "" && { authorization }) };
    const answer = await gateway.fetch(CHAT, { method: "POST", headers });
    const id = answer.headers.get("x-oneapi-request-id");
    expect([answer.status, await answer.text()]).toEqual([
      status,
      `{"error":{"code":"${code}","message":"${text} (request id: ${id})","type":"new_api_error"}}`,
    ]);
    expect(id).toMatch(/.{8}/);
    expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(answer.headers.get("www-authenticate")).toBeNull();
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("specific_channel_version")).toBe(
      text === "普通用户不支持指定渠道" ? "701e3ae1dc3f7975556d354e0675168d004891c8" : null,
    );
    expect(gateway.received).toHaveLength(0);
  });

  it("an admin's channel goes to the origin with the key", async () => {
    const authorization = `Bearer ${keys.C}-12`;
    const answer = await gateway.fetch(CHAT, { method: "POST", headers: { authorization } });
    expect(answer.status).toBe(200);
    expect(gateway.received[0]?.headers.get("authorization")).toBe(authorization);
  });

  it.each<Case>([
    ["nothing", async () => "", 401, "Token not provided"],
    ["an unknown key", async () => `Bearer sk-${"x".repeat(48)}`, 401, "Invalid token"],
    ["a PAT", async () => `Bearer ${await addPat("pat_1")}`, 401, "Invalid token"],
    [
      "a key that is switched off",
      () => keyOf({ status: "disabled" }),
      401,
      "This token status is unavailable",
    ],
    [
      "a key with status 2",
      () => keyOf({ attributes: { status: 2 } }),
      401,
      "This token status is unavailable",
    ],
    [
      "an owner who is off",
      async () => {
        const key = await keyOf({});
        await DB.prepare("UPDATE users SET status = 'disabled'").run();
        return key;
      },
      403,
      "User has been banned",
    ],
  ])("asking about itself, %s (§3.5, read-only)", async (_what, prepare, status, message) => {
    const authorization = await prepare();
    for (const path of ["/api/usage/token/", "/api/log/token"]) {
      const answer = await gateway.fetch(path, { headers: authorization === "" ? {} : { authorization } });
      expect([path, answer.status, await answer.text()]).toEqual([
        path,
        status,
        JSON.stringify({ message, success: false }),
      ]);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it.each([
    ["expired", () => keyOf({ expiresAtSeconds: NOW_SECONDS - 60 })],
    ["of status 3", () => keyOf({ attributes: { status: 3 } })],
    ["of status 4", () => keyOf({ attributes: { status: 4 } })],
  ] as const)("a key that is %s may still ask about itself", async (_what, prepare) => {
    const headers = { authorization: await prepare() };
    for (const path of ["/api/usage/token/", "/api/log/token"]) {
      expect((await gateway.fetch(path, { headers })).status).toBe(200);
    }
  });

  it("management tells no page of another origin anything (§3.7)", async () => {
    const headers = { origin: "https://chat.example.org" };
    for (const path of ["/api/user/self", "/api/token/", "/api/nothing"]) {
      const answer = await gateway.fetch(path, { headers });
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    }
  });

  it("a preflight goes to the origin, which answers it before it asks who is calling (§3.7)", async () => {
    const headers = { origin: "https://chat.example.org", "access-control-request-method": "POST" };
    for (const path of [CHAT, "/api/usage/token/", "/v1/dashboard/billing/usage"]) {
      expect((await gateway.fetch(path, { method: "OPTIONS", headers })).status).toBe(200);
      const asked = { ...headers, authorization: `Bearer ${"x".repeat(48)}` };
      expect((await gateway.fetch(path, { method: "OPTIONS", headers: asked })).status).toBe(401);
    }
  });
});
