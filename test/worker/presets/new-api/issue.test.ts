// Signing in where Postern issues for New API's classic clients: the cookie, the one token a user has, and their end.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import {
  addPat,
  addSession,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
/** In the middle of a window in which failures are counted. */
const NOW_MS = 1_800_000_300_000;
const NOW_SECONDS = NOW_MS / 1_000;
const JSON_TYPE = { "content-type": "application/json" };
const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  preset: "new-api",
  issue: true,
} as const;

let gateway: Gateway;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  gateway = startGateway({ vars: { SITE_TEST: SITE } });
  await addUser(
    "7",
    {
      username: "alice",
      name: "Alice",
      email: "alice@example.com",
      role: "root",
      attributes: { group: "vip" },
    },
    PASSWORD_HASH,
  );
});

afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const login = (
  given: Readonly<Record<string, unknown>> = {},
  headers: Record<string, string> = {},
  url = "/api/user/login",
) =>
  gateway.fetch(url, {
    method: "POST",
    headers: { ...JSON_TYPE, ...headers },
    body: JSON.stringify({ username: "alice", password: PASSWORD, ...given }),
  });

const get = (path: string, headers: Record<string, string>, method = "GET") =>
  gateway.fetch(`/api/user/${path}`, { method, headers: { "new-api-user": "7", ...headers } });

const cookieOf = (response: Response) => response.headers.get("set-cookie") ?? "";
const signIn = async () => cookieOf(await login()).split(";", 1)[0] ?? "";
const bodyOf = async (response: Response) => ({ status: response.status, body: await response.text() });

const livePats = async () =>
  (
    await DB.prepare(
      "SELECT id FROM credentials WHERE kind = 'pat' AND status <> 'deleted' AND (expires_at_seconds IS NULL OR expires_at_seconds > ?)",
    )
      .bind(Math.floor(Date.now() / 1_000))
      .all()
  ).results.map(({ id }) => id);

const actions = async () =>
  (await DB.prepare("SELECT action FROM audit ORDER BY seq").all()).results.map(({ action }) => action);

async function newToken(headers: Record<string, string>): Promise<string> {
  const response = await get("token", headers);
  const text = await response.text();
  expect(text).toMatch(/^\{"data":"[0-9A-Za-z]{32}","message":"","success":true\}$/);
  expect(response.headers.get("auth-version")).toBe("864b7076dbcd0a3c01b5520316720ebf");
  expect(response.headers.get("cache-control")).toBe("no-store");
  return (JSON.parse(text) as { data: string }).data;
}

const INVALID_TOKEN = {
  status: 200,
  body: '{"message":"Unauthorized, invalid access token","success":false}',
};
const CLEARED = "session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict";

describe("sign-in (New API §3.3, login classic)", () => {
  it("answers the user and the cookie, byte for byte", async () => {
    const response = await login({}, {}, "/api/user/login?turnstile=x");
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(cookieOf(response)).toMatch(
      /^session=ses_[0-9A-Za-z]{22}\.[0-9A-Za-z]{40}; Path=\/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict$/,
    );
    expect(await bodyOf(response)).toEqual({
      status: 200,
      body: '{"message":"","success":true,"data":{"id":7,"username":"alice","display_name":"Alice","role":100,"status":1,"group":"vip"}}',
    });
  });

  it("over plain HTTP the cookie is not Secure", async () => {
    const response = await login({}, {}, "http://api.example.com/api/user/login");
    expect(cookieOf(response)).toMatch(/; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Strict$/);
  });

  it.each([
    ["user", 1],
    ["admin", 10],
    ["root", 100],
  ])("the role %s is %d, by e-mail address too", async (role, number) => {
    await DB.prepare("UPDATE users SET role = ?, name = NULL, attributes = '{}' WHERE id = '7'")
      .bind(role)
      .run();
    const response = await login({ username: "Alice@Example.com" });
    expect(await response.json()).toMatchObject({
      data: { role: number, display_name: "alice", group: "default" },
    });
  });

  const WRONG: Readonly<Record<string, string>> = {
    en: "Username or password is incorrect, or user has been banned",
    "zh-CN": "用户名或密码错误，或用户已被封禁",
    "zh-TW": "使用者名或密碼錯誤，或使用者已被封禁",
  };
  it.each([
    ["a wrong password", { password: "wrong" }, {}, WRONG.en],
    ["nobody", { username: "mallory" }, {}, WRONG.en],
    ["simplified Chinese", { password: "wrong" }, { "accept-language": "zh-CN,zh;q=0.9" }, WRONG["zh-CN"]],
    ["traditional Chinese", { password: "wrong" }, { "accept-language": "zh-TW" }, WRONG["zh-TW"]],
    ["an empty password", { password: "" }, {}, "Invalid parameters"],
    ["an empty password, in Chinese", { password: "" }, { "accept-language": "zh" }, "无效的参数"],
    ["an empty name, in traditional Chinese", { username: "" }, { "accept-language": "zh-TW" }, "無效的參數"],
    ["an empty name", { username: "" }, {}, "Invalid parameters"],
    ["a number for a name", { username: 7 }, {}, "Invalid parameters"],
    ["a form, which any page could send", {}, { "content-type": "text/plain" }, "Invalid parameters"],
    ["a multipart form", {}, { "content-type": "multipart/form-data; boundary=x" }, "Invalid parameters"],
  ])("%s: 200, success false, no cookie", async (_what, given, headers, message) => {
    const response = await login(given, headers);
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(await bodyOf(response)).toEqual({ status: 200, body: `{"message":"${message}","success":false}` });
  });

  it.each(["", "{", "[]", "null", '"alice"'])("a body of %j is invalid", async (body) => {
    const init = { method: "POST", headers: JSON_TYPE, body };
    expect(await bodyOf(await gateway.fetch("/api/user/login", init))).toEqual({
      status: 200,
      body: '{"message":"Invalid parameters","success":false}',
    });
  });

  it("a disabled user is told what a wrong password is told", async () => {
    await DB.prepare("UPDATE users SET status = 'disabled' WHERE id = '7'").run();
    const response = await login();
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(await response.json()).toEqual({ message: WRONG.en, success: false });
  });

  it("a user whose id is no number is not let in", async () => {
    await addUser("g3cy", { username: "bob" }, PASSWORD_HASH);
    const response = await login({ username: "bob" });
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(await response.json()).toEqual({ message: WRONG.en, success: false });
  });

  it("too many tries are 429 with an empty body, and with Retry-After", async () => {
    let response = await login({ password: "wrong" });
    for (let tries = 0; response.status !== 429 && tries < 30; tries++)
      response = await login({ password: "wrong" });
    expect(await bodyOf(response)).toEqual({ status: 429, body: "" });
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  }, 30_000);

  it("D1 down is 503 with Retry-After", async () => {
    gateway.faults.d1 = "failing";
    const response = await login();
    expect(response.status).toBe(503);
    expect(response.headers.has("retry-after")).toBe(true);
  });
});

describe("the session cookie (New API §3.3)", () => {
  it("needs New-Api-User as a token does, and goes no further than this gateway", async () => {
    const cookie = await signIn();
    expect(await bodyOf(await gateway.fetch("/api/user/models", { headers: { cookie } }))).toEqual({
      status: 401,
      body: '{"message":"Unauthorized, New-Api-User header not provided","success":false}',
    });
    const response = await get("models", { cookie: `theme=dark; ${cookie}` });
    expect(response.status).toBe(200);
    expect(gateway.received).toHaveLength(1);
    expect(gateway.received[0]?.headers.get("cookie")).toBe("theme=dark");
    expect(gateway.received[0]?.headers.has("new-api-user")).toBe(false);
    expect(gateway.received[0]?.headers.has("x-user-context")).toBe(true);
  });

  it("lasts 30 days, and not a second longer", async () => {
    const cookie = await signIn();
    vi.setSystemTime(NOW_MS + 2_591_999_000);
    expect((await bodyOf(await get("models", { cookie }))).body).toBe("from the origin");
    vi.setSystemTime(NOW_MS + 2_592_000_000);
    expect((await bodyOf(await get("models", { cookie }))).body).toMatch(/"success":false/);
  });

  it("does nothing for a page of another origin", async () => {
    const cookie = await signIn();
    const foreign = await get("setting", { cookie, origin: "https://evil.example" }, "PUT");
    expect(await foreign.json()).toMatchObject({ success: false });
    expect(gateway.received).toHaveLength(0);
    await get("setting", { cookie, origin: "https://api.example.com" }, "PUT");
    expect(gateway.received).toHaveLength(1);
  });
});

describe("sign-out (New API §3.3)", () => {
  it("empties the cookie and ends the session, so that a copy of it is worth nothing", async () => {
    const cookie = await signIn();
    const response = await get("logout", { cookie });
    expect(cookieOf(response)).toBe(CLEARED);
    expect(await bodyOf(response)).toEqual({ status: 200, body: '{"message":"","success":true}' });
    expect((await bodyOf(await get("models", { cookie }))).body).toMatch(/"success":false/);
    expect(await actions()).toEqual(["session.created", "session.ended"]);
  });

  it.each([
    ["no cookie", ""],
    ["a cookie of the original", "session=MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVR"],
    ["somebody's session with another secret", `session=ses_1.${"x".repeat(40)}`],
  ])("%s: the same answer, and nothing ends", async (_what, cookie) => {
    await addSession("ses_1");
    const response = await gateway.fetch("/api/user/logout", { headers: { cookie } });
    expect(cookieOf(response)).toBe(CLEARED);
    expect(await bodyOf(response)).toEqual({ status: 200, body: '{"message":"","success":true}' });
    expect(await actions()).toEqual([]);
  });

  it.each<[string, Record<string, string>]>([
    ["an image on another port", { "sec-fetch-site": "same-site" }],
    ["an image on another site", { "sec-fetch-site": "cross-site" }],
    ["a script on another origin", { origin: "https://other.example.com", "sec-fetch-site": "same-site" }],
  ])("%s signs nobody out", async (_, headers) => {
    const cookie = await signIn();
    const response = await gateway.fetch("/api/user/logout", { headers: { cookie, ...headers } });
    expect(response.headers.has("set-cookie")).toBe(false);
    expect((await bodyOf(response)).body).toContain("insufficient privileges");
    expect((await bodyOf(await get("models", { cookie }))).body).toBe("from the origin");
  });

  it.each(["same-origin", "none"])("a page of this origin does, or a typed address: %s", async (site) => {
    const cookie = await signIn();
    await gateway.fetch("/api/user/logout", { headers: { cookie, "sec-fetch-site": site } });
    expect((await bodyOf(await get("models", { cookie }))).body).toMatch(/"success":false/);
  });

  it("asks for no New-Api-User, and twice is as good as once", async () => {
    const cookie = await signIn();
    for (let times = 0; times < 2; times++) {
      const response = await gateway.fetch("/api/user/logout", { headers: { cookie } });
      expect(response.status).toBe(200);
    }
    expect((await bodyOf(await get("models", { cookie }))).body).toMatch(/"success":false/);
  });
});

describe("the personal access token (New API §3.1, GET /api/user/token)", () => {
  it("is a new one each time, and the one before is worth nothing from then on", async () => {
    const cookie = await signIn();
    const first = await newToken({ cookie });
    expect((await bodyOf(await get("models", { authorization: first }))).body).toBe("from the origin");
    const second = await newToken({ cookie });
    expect(second).not.toBe(first);
    expect(await bodyOf(await get("models", { authorization: `Bearer ${first}` }))).toEqual(INVALID_TOKEN);
    expect((await bodyOf(await get("models", { authorization: `Bearer ${second}` }))).body).toBe(
      "from the origin",
    );
    expect(await livePats()).toHaveLength(1);
    expect(await actions()).toEqual(["session.created", "credential.created", "credential.rotated"]);
  });

  it("can be asked for with the token itself", async () => {
    const first = await newToken({ cookie: await signIn() });
    const second = await newToken({ authorization: first });
    expect(await bodyOf(await get("token", { authorization: first }))).toEqual(INVALID_TOKEN);
    expect((await bodyOf(await get("models", { authorization: second }))).body).toBe("from the origin");
  });

  it("puts an end to every other one the user has, disabled ones too, and to nobody else's", async () => {
    await addUser("8");
    await addPat("pat_of_8", { userId: "8" });
    const older = await addPat("pat_1");
    const newer = await addPat("pat_2");
    await addPat("pat_3", { status: "disabled" });
    const token = await newToken({ cookie: await signIn() });
    for (const old of [older, newer]) {
      expect(await bodyOf(await get("models", { authorization: old }))).toEqual(INVALID_TOKEN);
    }
    expect((await bodyOf(await get("models", { authorization: token }))).body).toBe("from the origin");
    expect(await livePats()).toHaveLength(2);
    expect(await livePats()).toContain("pat_of_8");
  });

  it("a token that ends makes none that does not, and the addresses it is for stay", async () => {
    const limited = await addPat("pat_1", { expiresAtSeconds: NOW_SECONDS + 60, ipAllow: ["192.0.2.0/24"] });
    await newToken({ authorization: limited, "cf-connecting-ip": "192.0.2.7" });
    const row = await DB.prepare(
      "SELECT expires_at_seconds, ip_allow FROM credentials WHERE id <> 'pat_1'",
    ).first();
    expect(row).toEqual({ expires_at_seconds: NOW_SECONDS + 60, ip_allow: '["192.0.2.0/24"]' });
  });

  it("many at a time leave exactly one, and it is one that was answered", async () => {
    const cookie = await signIn();
    const answers = await Promise.all(Array.from({ length: 6 }, () => get("token", { cookie })));
    const tokens: string[] = [];
    for (const answer of answers) {
      if (answer.status === 200) tokens.push(((await answer.json()) as { data: string }).data);
    }
    expect(tokens.length).toBeGreaterThan(0);
    expect(await livePats()).toHaveLength(1);
    const works = [];
    for (const authorization of tokens) {
      const { body } = await bodyOf(await get("models", { authorization }));
      if (body === "from the origin") works.push(authorization);
    }
    expect(works).toHaveLength(1);
  });

  it("the 22nd within minutes is 429 with an empty body, and makes nothing; another user's is not", async () => {
    const cookie = await signIn();
    let authorization = "";
    for (let made = 0; made < 21; made++) authorization = await newToken({ cookie });
    const before = await actions();
    const slowed = await get("token", { authorization });
    expect(await bodyOf(slowed)).toEqual({ status: 429, body: "" });
    expect(slowed.headers.get("retry-after")).toBe("60");
    expect(await actions()).toEqual(before);
    expect((await bodyOf(await get("models", { authorization }))).body).toBe("from the origin");
    await addUser("8");
    const other = { authorization: await addPat("pat_of_8", { userId: "8" }), "new-api-user": "8" };
    expect((await gateway.fetch("/api/user/token", { headers: other })).status).toBe(200);
    vi.setSystemTime(NOW_MS + 59_000);
    expect((await get("token", { authorization })).status).toBe(429);
    vi.setSystemTime(NOW_MS + 60_000);
    expect((await get("token", { authorization })).status).toBe(200);
  });

  it("HEAD makes none", async () => {
    const cookie = await signIn();
    const token = await newToken({ cookie });
    expect((await get("token", { cookie }, "HEAD")).status).toBe(405);
    expect((await bodyOf(await get("models", { authorization: token }))).body).toBe("from the origin");
  });

  it("nobody gets one without signing in, nor without New-Api-User", async () => {
    const cookie = await signIn();
    expect((await gateway.fetch("/api/user/token")).status).toBe(401);
    expect((await gateway.fetch("/api/user/token", { headers: { cookie } })).status).toBe(401);
    expect((await get("token", { cookie, "new-api-user": "8" })).status).toBe(401);
    expect(await livePats()).toEqual([]);
  });

  it("D1 down is 503 with Retry-After, and the old one stays", async () => {
    const cookie = await signIn();
    const token = await newToken({ cookie });
    gateway.faults.d1 = "failing";
    const response = await get("token", { cookie });
    expect(response.status).toBe(503);
    expect(response.headers.has("retry-after")).toBe(true);
    gateway.faults.d1 = "well";
    expect((await bodyOf(await get("models", { authorization: token }))).body).toBe("from the origin");
  });
});
