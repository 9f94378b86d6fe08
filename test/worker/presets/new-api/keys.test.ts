// How both generations of New API refuse keys (§3.5), and whom they let ask about themselves.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
  writes,
} from "../../../support/worker/gateway.ts";
import { addOwners, askingSaid, call as callOf, INVALID, KEY, relaySaid } from "./keys.ts";
import { GENERATIONS, varsOf } from "./sites.ts";

const nowSeconds = () => Math.floor(Date.now() / 1_000);

describe.each(GENERATIONS)("%s", (generation) => {
  let gateway: Gateway;

  beforeEach(async () => {
    await emptyStores();
    gateway = startGateway({ vars: varsOf(generation) });
    await addOwners();
  });

  const call = (path: string, headers: HeadersInit, method = "POST") =>
    callOf(gateway, path, headers, method);

  it.each<[string, object, number, RegExp]>([
    ["disabled", { status: "disabled" }, 401, INVALID],
    ["disabled by import", { attributes: { status: 2 } }, 401, INVALID],
    ["expired by import", { attributes: { status: 3 } }, 401, INVALID],
    ["exhausted by import", { attributes: { status: 4 } }, 401, INVALID],
    ["of a status that there is not", { attributes: { status: 5 } }, 401, INVALID],
    ["expired now", { expiresAtSeconds: nowSeconds() }, 401, INVALID],
    ["of nobody", { userId: "99" }, 500, relaySaid("Database error, please contact the administrator")],
    [
      "for other addresses",
      { ipAllow: ["192.0.2.0/24"] },
      403,
      relaySaid("您的 IP 不在令牌允许访问的列表中", "access_denied"),
    ],
  ])(
    "a key that is %s is refused in relay's words (New API §3.5)",
    async (_what, overrides, status, body) => {
      const headers = {
        authorization: await addApiKey("bad", overrides),
        "cf-connecting-ip": "198.51.100.1",
      };
      const answer = await call("/v1/chat/completions", headers);
      expect([answer.status, answer.body]).toEqual([status, expect.stringMatching(body)]);
      expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
      expect(answer.headers.get("x-oneapi-request-id")).toBe(body.exec(answer.body)?.[1]);
      expect(gateway.received).toHaveLength(0);
    },
  );

  it.each([
    ["enabled by import", { attributes: { status: 1 } }],
    ["without a status", {}],
    [
      "with quota that is known to be used up, which only the origin is sure of",
      { attributes: { quota: 0 } },
    ],
    ["for this address", { ipAllow: ["192.0.2.0/24", "198.51.100.1"] }],
    ["about to expire", { expiresAtSeconds: nowSeconds() + 600 }],
  ])("a key that is %s passes (New API §3.5)", async (_what, overrides) => {
    const headers = { authorization: await addApiKey("good", overrides), "cf-connecting-ip": "198.51.100.1" };
    expect((await call("/v1/chat/completions", headers)).body).toBe("from the origin");
  });

  it.each([undefined, "unknown", "300.1.1.1"])(
    "the address %j cannot be read (New API §3.5)",
    async (address) => {
      const authorization = await addApiKey("limited", { ipAllow: ["0.0.0.0/0"] });
      const headers = { authorization, ...(address !== undefined && { "cf-connecting-ip": address }) };
      const { status, body } = await call("/v1/chat/completions", headers);
      expect([status, body]).toEqual([403, expect.stringMatching(relaySaid("无法解析客户端 IP 地址"))]);
    },
  );

  it("the order: state, then address, then owner, then channel (New API §3.5)", async () => {
    await DB.prepare("UPDATE users SET status = 'disabled' WHERE id = '7'").run();
    const ipAllow = ["192.0.2.0/24"];
    const expired = await addApiKey("k3", { ipAllow, expiresAtSeconds: nowSeconds() });
    const elsewhere = await addApiKey("k4", { ipAllow });
    const owned = await addApiKey("k5");
    const at = async (key: string) =>
      (await call("/v1/embeddings", { authorization: `${key}-12`, "cf-connecting-ip": "198.51.100.1" })).body;
    expect(await at(expired)).toMatch(INVALID);
    expect(await at(elsewhere)).toMatch(relaySaid("您的 IP 不在令牌允许访问的列表中", "access_denied"));
    expect(await at(owned)).toMatch(relaySaid("User has been banned"));
    await DB.prepare("UPDATE users SET status = 'active' WHERE id = '7'").run();
    gateway = startGateway({ vars: varsOf(generation) });
    expect(await at(owned)).toMatch(relaySaid("普通用户不支持指定渠道"));
  });

  it.each([
    ["user", "12", 403, relaySaid("普通用户不支持指定渠道")],
    ["user", "", 403, relaySaid("普通用户不支持指定渠道")],
    ["admin", "12", 200, /^from the origin$/],
    ["root", "12", 200, /^from the origin$/],
    ["root", "12-x", 200, /^from the origin$/],
    ["admin", "+12", 200, /^from the origin$/],
    ["admin", "", 400, relaySaid("Invalid channel ID")],
    ["admin", "x", 400, relaySaid("Invalid channel ID")],
    ["admin", "1.5", 400, relaySaid("Invalid channel ID")],
    ["admin", "99999999999999999999", 400, relaySaid("Invalid channel ID")],
  ])("%s with the channel %j is %d (New API §3.5)", async (role, channel, status, body) => {
    await DB.prepare("UPDATE users SET role = ? WHERE id = '7'").bind(role).run();
    const answer = await call("/v1/chat/completions", { authorization: `Bearer ${KEY}-${channel}` });
    expect([answer.status, answer.body]).toEqual([status, expect.stringMatching(body)]);
    expect(answer.headers.get("specific_channel_version")).toBe(
      status === 403 ? "701e3ae1dc3f7975556d354e0675168d004891c8" : null,
    );
    if (status === 200) {
      expect(gateway.received[0]?.headers.get("authorization")).toBe(`Bearer ${KEY}-${channel}`);
    }
  });

  it.each<[string, string, object, number, string]>([
    ["nothing", "", {}, 401, askingSaid("Token not provided")],
    ["a key", "Bearer KEY", {}, 200, "from the origin"],
    ["a key in lower case", "bearer KEY", {}, 200, "from the origin"],
    ["a key with a channel, which is passed over", "Bearer KEY-12", {}, 200, "from the origin"],
    ["an expired key", "Bearer KEY", { expiresAtSeconds: 1 }, 200, "from the origin"],
    [
      "a key that the system calls expired",
      "Bearer KEY",
      { attributes: { status: 3 } },
      200,
      "from the origin",
    ],
    ["an exhausted key", "Bearer KEY", { attributes: { status: 4 } }, 200, "from the origin"],
    [
      "a disabled key",
      "Bearer KEY",
      { status: "disabled" },
      401,
      askingSaid("This token status is unavailable"),
    ],
    [
      "a key that the system calls disabled",
      "Bearer KEY",
      { attributes: { status: 2 } },
      401,
      askingSaid("This token status is unavailable"),
    ],
    ["a deleted key", "Bearer KEY", { status: "deleted" }, 401, askingSaid("Invalid token")],
    [
      "a key of nobody",
      "Bearer KEY",
      { userId: "99" },
      500,
      askingSaid("Database error, please contact the administrator"),
    ],
    ["an unknown key", `Bearer sk-${"q".repeat(48)}`, {}, 401, askingSaid("Invalid token")],
    ["another word", "BEARER KEY", {}, 401, askingSaid("Invalid token")],
    ["two keys", "Bearer KEY, Bearer KEY", {}, 401, askingSaid("Invalid token")],
  ])("%s asks about itself (New API §3.2, §3.5)", async (_what, written, overrides, status, body) => {
    const key = await addApiKey("asking", overrides);
    for (const path of ["/api/usage/token/", "/api/usage/token", "/api/log/token", "/api/log/token/"]) {
      const authorization = written.replaceAll("KEY", key);
      const answer = await call(
        path,
        { ...(written !== "" && { authorization }), "new-api-user": "x" },
        "GET",
      );
      expect([path, answer.status, answer.body]).toEqual([path, status, body]);
    }
    expect(gateway.received).toHaveLength(status === 200 ? 4 : 0);
  });

  it("a key that was rotated away, as one that leaked is, asks for nothing once its grace is over", async () => {
    const old = await addApiKey("leaked");
    const times = { createdAtSeconds: nowSeconds(), expiresAtSeconds: null };
    const next = {
      id: "next",
      kind: "api_key",
      realm: "main",
      userId: "7",
      digest: "d",
      pepper: "p1",
    } as const;
    await writes.rotateCredential("leaked", { ...next, ...times }, nowSeconds() + 600);
    const ask = (path: string) => call(path, { authorization: `Bearer ${old}` }, "GET");
    expect((await ask("/api/log/token")).status).toBe(200);
    await writes.updateCredential("leaked", { expiresAtSeconds: nowSeconds() }, nowSeconds());
    gateway = startGateway({ vars: varsOf(generation) });
    for (const path of ["/api/usage/token/", "/api/log/token"]) {
      const { status, body } = await ask(path);
      expect([path, status, body]).toEqual([path, 401, askingSaid("Invalid token")]);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("a raw key asks for its log, and not for its usage (New API §3.2)", async () => {
    expect(await call("/api/log/token", { authorization: KEY }, "GET")).toMatchObject({ status: 200 });
    const usage = await call("/api/usage/token/", { authorization: KEY }, "GET");
    expect([usage.status, usage.body]).toEqual([401, askingSaid("Invalid Bearer token")]);
    const unknown = await call("/api/usage/token/", { authorization: "x".repeat(48) }, "GET");
    expect([unknown.status, unknown.body]).toEqual([401, askingSaid("Invalid token")]);
  });

  it("a disabled owner is told so, after all else (New API §3.5)", async () => {
    await DB.prepare("UPDATE users SET status = 'disabled' WHERE id = '7'").run();
    const usage = await call("/api/usage/token/", { authorization: `Bearer ${KEY}` }, "GET");
    expect([usage.status, usage.body]).toEqual([403, askingSaid("User has been banned")]);
    const relay = await call("/v1/models", { authorization: `Bearer ${KEY}` }, "GET");
    expect([relay.status, relay.body]).toEqual([
      403,
      expect.stringMatching(relaySaid("User has been banned")),
    ]);
  });

  it("a deleted user's keys are unknown", async () => {
    await writes.deleteUser("main", "7", nowSeconds(), nowSeconds() + 900);
    for (const path of ["/v1/models", "/api/usage/token/"]) {
      expect((await call(path, { authorization: `Bearer ${KEY}` }, "GET")).status).toBe(401);
    }
  });

  it.each([
    ["zh-CN,zh;q=0.9", "无效的令牌", "未提供令牌"],
    ["zh-TW", "無效的令牌", "未提供令牌"],
    ["fr, zh;q=0.5", "Invalid token", "Token not provided"],
  ])("in %s", async (language, invalid, missing) => {
    const headers = { "accept-language": language };
    expect((await call("/v1/embeddings", headers)).body).toMatch(relaySaid(invalid));
    expect((await call("/api/log/token", headers, "GET")).body).toBe(askingSaid(missing));
  });

  it.each(["/v1/chat/completions", "/api/usage/token/", "/api/log/token", "/dashboard/billing/usage"])(
    "a page of another origin can read refusals at %s, and asks the origin beforehand (New API §3.7)",
    async (path) => {
      const answer = await call(path, { origin: "https://app.example" });
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(answer.headers.get("access-control-allow-credentials")).toBe("true");
      const own = await call(path, { origin: "https://api.example.com" });
      expect(own.headers.has("access-control-allow-origin")).toBe(false);
      expect((await call(path, {})).headers.has("access-control-allow-origin")).toBe(false);
      expect(gateway.received).toHaveLength(0);
      const asking = { origin: "https://app.example", "access-control-request-method": "POST" };
      expect((await call(path, asking, "OPTIONS")).status).toBe(200);
      expect(gateway.received).toHaveLength(1);
    },
  );

  it("management says nothing to pages of other origins (New API §3.7)", async () => {
    const answer = await call("/api/user/self", { origin: "https://app.example" }, "GET");
    expect(answer.headers.has("access-control-allow-origin")).toBe(false);
  });

  it("what a site says about CORS counts instead", async () => {
    gateway = startGateway({
      vars: varsOf(generation, { cors: { allow_origins: ["https://app.example"] } }),
    });
    const answer = await call("/v1/embeddings", { origin: "https://evil.example" });
    expect(answer.headers.has("access-control-allow-origin")).toBe(false);
    expect(answer.headers.has("access-control-allow-credentials")).toBe(false);
  });

  it("D1 down is 503 with Retry-After in the envelope, never 401 (New API §3.5)", async () => {
    gateway = startGateway({ vars: varsOf(generation) });
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    const relay = await call("/v1/embeddings", { authorization: `Bearer ${KEY}` });
    expect([relay.status, relay.body]).toEqual([
      503,
      expect.stringMatching(relaySaid("Database error, please contact the administrator")),
    ]);
    expect(relay.headers.has("retry-after")).toBe(true);
    const usage = await call("/api/usage/token/", { authorization: `Bearer ${KEY}` }, "GET");
    expect([usage.status, usage.body]).toEqual([
      503,
      askingSaid("Database error, please contact the administrator"),
    ]);
    expect(usage.headers.has("retry-after")).toBe(true);
    expect(gateway.received).toHaveLength(0);
  });
});
