// Signing in where Postern issues for New API's current clients: the token, the cookie that renews it, and its end.
import { jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import { addUser, DB, emptyStores, type Gateway, startGateway } from "../../../support/worker/gateway.ts";
import { dashboardKey, NOW_MS, NOW_SECONDS, SESSION_SECRET } from "./dashboard.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const JSON_TYPE = { "content-type": "application/json" };

const vars = {
  TEST_SESSION_SECRET: SESSION_SECRET,
  SITE_TEST: {
    hosts: ["api.example.com"],
    origin: "service:ORIGIN",
    realm: "main",
    preset: "new-api-current",
    issue: true,
    jwt: { secret: "TEST_SESSION_SECRET" },
  },
};

let gateway: Gateway;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  gateway = startGateway({ vars });
  await addUser(
    "7",
    { username: "alice", name: "Alice", role: "admin", attributes: { group: "vip" } },
    PASSWORD_HASH,
  );
});

afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

const post = (path: string, headers: Record<string, string> = {}, body?: string) =>
  gateway.fetch(`/api/user/${path}`, { method: "POST", headers, ...(body !== undefined && { body }) });

const login = (given: Readonly<Record<string, unknown>> = {}, headers: Record<string, string> = JSON_TYPE) =>
  post("login", headers, JSON.stringify({ username: "alice", password: PASSWORD, ...given }));

const cookieOf = (response: Response) => response.headers.get("set-cookie") ?? "";
const pairOf = (cookie: string) => cookie.split(";", 1)[0] ?? "";
const sidOf = (pair: string) => /=([^.]*)\./.exec(pair)?.[1] ?? "";

interface Bundle {
  readonly data: { readonly access_token: string; readonly session: { readonly sid: string } };
}

async function signIn() {
  const response = await login();
  const { data } = (await response.json()) as Bundle;
  return { token: data.access_token, sid: data.session.sid, pair: pairOf(cookieOf(response)) };
}

const refresh = (pair: string, headers: Record<string, string> = {}) =>
  post("auth/refresh", { cookie: pair, ...headers });

const self = async (token: string) => {
  const response = await gateway.fetch("/api/user/self", { headers: { authorization: `Bearer ${token}` } });
  return {
    status: response.status,
    code: ((await response.json().catch(() => ({}))) as { code?: string }).code,
  };
};

const CLEARED = "new_api_refresh=; Path=/api/user/auth; Max-Age=0; HttpOnly; Secure; SameSite=Strict";
const failure = (code: string, message: string) =>
  `{"success":false,"code":"${code}","message":"${message}"}`;

describe("sign-in (New API §3.4)", () => {
  it("answers the bundle and the refresh cookie, byte for byte", async () => {
    const response = await login({}, { ...JSON_TYPE, "user-agent": "test", "cf-connecting-ip": "192.0.2.7" });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const cookie = cookieOf(response);
    expect(cookie).toMatch(
      new RegExp(
        `^new_api_refresh=${UUID}\\.[A-Za-z0-9_-]{52}; Path=/api/user/auth; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict$`,
      ),
    );
    const text = await response.text();
    const token = /"access_token":"([^"]+)"/.exec(text)?.[1] ?? "";
    expect(text).toBe(
      `{"success":true,"message":"","data":{"access_token":"${token}","token_type":"Bearer",` +
        `"access_expires_at":${NOW_SECONDS + 900},` +
        `"user":{"id":7,"username":"alice","display_name":"Alice","role":10,"status":1,"group":"vip"},` +
        `"session":{"sid":"${sidOf(cookie)}","current":true,"login_method":"password","ip":"192.0.2.7",` +
        `"user_agent":"test","created_at":${NOW_SECONDS},"last_active_at":${NOW_SECONDS},` +
        `"expires_at":${NOW_SECONDS + 2_592_000}}}}`,
    );
  });

  it("the token is HS256 by the derived key, with every claim that the original's have", async () => {
    const { token, sid } = await signIn();
    const { payload, protectedHeader } = await jwtVerify(token, await dashboardKey(), {
      currentDate: new Date(NOW_MS),
    });
    expect(protectedHeader).toEqual({ alg: "HS256", typ: "JWT" });
    expect(payload).toEqual({
      token_use: "access",
      sid,
      uv: expect.any(Number),
      sv: expect.any(Number),
      iss: "new-api",
      sub: "7",
      aud: ["new-api-dashboard"],
      exp: NOW_SECONDS + 900,
      nbf: NOW_SECONDS - 5,
      iat: NOW_SECONDS,
      jti: expect.stringMatching(new RegExp(`^${UUID}$`)),
    });
  });

  it("over plain HTTP the cookie is not Secure", async () => {
    const response = await gateway.fetch("http://api.example.com/api/user/login", {
      method: "POST",
      headers: JSON_TYPE,
      body: JSON.stringify({ username: "alice", password: PASSWORD }),
    });
    expect(cookieOf(response)).toMatch(/; HttpOnly; SameSite=Strict$/);
  });

  it.each([
    ["a wrong password", { password: "wrong" }],
    ["nobody", { username: "mallory" }],
  ])("%s: 200, success false, no cookie", async (_what, given) => {
    const response = await login(given);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(
      '{"message":"Username or password is incorrect, or user has been banned","success":false}',
    );
    expect(response.headers.has("set-cookie")).toBe(false);
  });

  it("a form, which any page could send, signs nobody in", async () => {
    const response = await login({}, { "content-type": "text/plain" });
    expect(await response.text()).toBe('{"message":"Invalid parameters","success":false}');
    expect(response.headers.has("set-cookie")).toBe(false);
  });

  it("a user whose id is no number is not let in", async () => {
    await addUser("g3cy", { username: "bob" }, PASSWORD_HASH);
    const response = await login({ username: "bob" });
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(await response.json()).toMatchObject({ success: false });
  });

  it("D1 down is 503 with Retry-After", async () => {
    gateway.faults.d1 = "failing";
    const response = await login();
    expect(response.status).toBe(503);
    expect(response.headers.has("retry-after")).toBe(true);
  });
});

describe("refresh (New API §3.4)", () => {
  it("answers a new token and the next cookie, which is the same for whoever asks again within 30 s", async () => {
    const first = await signIn();
    later(10);
    const one = await refresh(first.pair);
    expect(one.status).toBe(200);
    const text = await one.text();
    expect(text).toMatch(/^\{"success":true,"message":"","data":\{"access_token":"/);
    expect(text).toContain(`"access_expires_at":${NOW_SECONDS + 910},"user":{"id":7,`);
    expect(text).toContain(`"last_active_at":${NOW_SECONDS + 10},"expires_at":${NOW_SECONDS + 2_592_000}}`);
    const next = pairOf(cookieOf(one));
    expect(next).not.toBe(first.pair);
    expect(sidOf(next)).toBe(first.sid);

    later(40);
    const again = await refresh(first.pair);
    expect(again.status).toBe(200);
    expect(pairOf(cookieOf(again))).toBe(next);
    expect((await refresh(next)).status).toBe(200);
  });

  it("the cookie ends when the session does, however often it is renewed", async () => {
    const { pair } = await signIn();
    later(1_000);
    const response = await refresh(pair);
    expect(cookieOf(response)).toContain("; Max-Age=2591000;");
    later(2_592_000);
    const over = await refresh(pairOf(cookieOf(response)));
    expect(over.status).toBe(401);
    expect(await over.text()).toBe(failure("AUTH_SESSION_REVOKED", "Unauthorized"));
  });

  it("used a second time after 30 s, it ends the session for everyone", async () => {
    const first = await signIn();
    const next = pairOf(cookieOf(await refresh(first.pair)));
    later(31);
    const reused = await refresh(first.pair);
    expect(reused.status).toBe(401);
    expect(await reused.text()).toBe(failure("AUTH_SESSION_REVOKED", "Unauthorized"));
    expect(cookieOf(reused)).toBe(CLEARED);
    const after = await refresh(next);
    expect(await after.text()).toBe(failure("AUTH_SESSION_REVOKED", "Unauthorized"));
    expect(await self(first.token)).toEqual({ status: 401, code: "AUTH_SESSION_REVOKED" });
  });

  it("many at a time get one and the same next cookie", async () => {
    const { pair } = await signIn();
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(pair)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(new Set(answers.map((answer) => pairOf(cookieOf(answer)))).size).toBe(1);
  });

  it("X-Auth-Session of this session is welcome, of another one is 409 and changes nothing", async () => {
    const { pair, sid } = await signIn();
    const mismatch = await refresh(pair, { "x-auth-session": crypto.randomUUID() });
    expect(mismatch.status).toBe(409);
    expect(await mismatch.text()).toBe(failure("AUTH_SESSION_MISMATCH", "Conflict"));
    expect(mismatch.headers.has("set-cookie")).toBe(false);
    later(60);
    expect((await refresh(pair, { "x-auth-session": sid })).status).toBe(200);
  });

  it("a page of another origin is 403, a page of this one is not", async () => {
    const { pair } = await signIn();
    const foreign = await refresh(pair, { origin: "https://evil.example" });
    expect(foreign.status).toBe(403);
    expect(await foreign.text()).toBe(failure("AUTH_ORIGIN_FORBIDDEN", "Forbidden"));
    expect((await refresh(pair, { "sec-fetch-site": "cross-site" })).status).toBe(403);
    expect((await refresh(pair, { origin: "https://api.example.com" })).status).toBe(200);
  });

  it("what was not made here is 401, cleared, and costs no look-up", async () => {
    const { pair } = await signIn();
    const otherSid = pair.replace(/=[0-9a-f]{8}/, "=00000000");
    const flipped = pair.slice(0, -1) + (pair.endsWith("A") ? "B" : "A");
    const dot = pair.indexOf(".") + 1;
    /** The same HMAC beside counter 1. */
    const otherCounter = `${pair.slice(0, dot)}AAAAAAAAA${"Q"}${pair.slice(dot + 10)}`;
    const bad = [
      "",
      "new_api_refresh=",
      "new_api_refresh=x",
      "new_api_refresh=x.y",
      otherSid,
      otherCounter,
      flipped,
      `${pair}A`,
      pair.toUpperCase(),
      `${pair}; new_api_refresh=x`,
      pair.replace("new_api_refresh", "New_Api_Refresh"),
    ];
    await gateway.settle();
    const before = gateway.counts.d1;
    for (const cookie of bad) {
      const response = await refresh(cookie);
      expect(`${response.status} ${await response.text()}`, cookie).toBe(
        `401 ${failure("AUTH_UNAUTHORIZED", "Unauthorized")}`,
      );
      expect(cookieOf(response)).toBe(CLEARED);
    }
    expect(gateway.counts.d1).toBe(before);
  });

  it("the cookie is worth nothing as a token, nor the token as a cookie", async () => {
    const { pair, token, sid } = await signIn();
    expect((await self(pair.slice("new_api_refresh=".length))).status).toBe(401);
    expect((await refresh(`new_api_refresh=${token}`)).status).toBe(401);
    expect((await refresh(`new_api_refresh=${sid}.${token}`)).status).toBe(401);
  });

  it("a user who was disabled meanwhile is refused", async () => {
    const { pair, token } = await signIn();
    await DB.prepare("UPDATE users SET status = 'disabled' WHERE id = '7'").run();
    expect((await refresh(pair)).status).toBe(401);
    const second = startGateway({ vars });
    const response = await second.fetch("/api/user/self", { headers: { authorization: token } });
    expect(await response.json()).toMatchObject({ code: "AUTH_SESSION_REVOKED" });
    await second.settle();
  });

  it("D1 down is 503 with Retry-After, and the cookie stays", async () => {
    const { pair } = await signIn();
    gateway.faults.d1 = "failing";
    const response = await refresh(pair);
    expect(response.status).toBe(503);
    expect(response.headers.has("retry-after")).toBe(true);
    expect(response.headers.has("set-cookie")).toBe(false);
  });

  it("a cookie of another realm is not one of ours", async () => {
    const { pair } = await signIn();
    const other = startGateway({
      vars: { ...vars, SITE_TEST: { ...vars.SITE_TEST, realm: "elsewhere" } },
    });
    const response = await other.fetch("/api/user/auth/refresh", {
      method: "POST",
      headers: { cookie: pair },
    });
    expect(await response.json()).toMatchObject({ code: "AUTH_UNAUTHORIZED" });
    await other.settle();
    expect((await refresh(pair)).status).toBe(200);
  });
});

describe("sign-out (New API §3.4)", () => {
  it("ends the session and its tokens, and empties the cookie", async () => {
    const { pair, token } = await signIn();
    expect((await self(token)).status).toBe(200);
    const response = await post("auth/logout", { cookie: pair });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('{"message":"","success":true}');
    expect(cookieOf(response)).toBe(CLEARED);
    expect(await self(token)).toEqual({ status: 401, code: "AUTH_SESSION_REVOKED" });
    expect(await (await refresh(pair)).text()).toBe(failure("AUTH_SESSION_REVOKED", "Unauthorized"));
    const { results } = await DB.prepare("SELECT action FROM audit ORDER BY seq").all();
    expect(results.map(({ action }) => action)).toEqual(["session.created", "session.ended"]);
  });

  it("is 200 without a cookie, with a bad one and twice", async () => {
    const { pair } = await signIn();
    for (const cookie of ["", "new_api_refresh=x", pair, pair]) {
      const response = await post("auth/logout", { cookie });
      expect(response.status).toBe(200);
      expect(cookieOf(response)).toBe(CLEARED);
    }
  });

  it("X-Auth-Session of another session is 409, and nothing ends", async () => {
    const { pair, token } = await signIn();
    const response = await post("auth/logout", { cookie: pair, "x-auth-session": crypto.randomUUID() });
    expect(response.status).toBe(409);
    expect(await response.text()).toBe(failure("AUTH_SESSION_MISMATCH", "Conflict"));
    expect((await self(token)).status).toBe(200);
  });
});

describe("the personal access token (New API §3.1), for who holds a dashboard token", () => {
  const tokenPage = (value: string) =>
    gateway.fetch("/api/user/token", { headers: { authorization: `Bearer ${value}` } });

  it("is a new one each time, and the one before is over", async () => {
    const { token } = await signIn();
    const made: string[] = [];
    for (const value of [token, token]) {
      const response = await tokenPage(value);
      const text = await response.text();
      const pat = /"data":"([0-9A-Za-z]{32})"/.exec(text)?.[1] ?? "";
      expect([response.status, text]).toEqual([200, `{"data":"${pat}","message":"","success":true}`]);
      expect(response.headers.get("cache-control")).toBe("no-store");
      made.push(pat);
    }
    const [old = "", current = ""] = made;
    expect((await self(current)).status).toBe(200);
    expect(await self(old)).toEqual({ status: 401, code: "AUTH_UNAUTHORIZED" });
    // It outlives the session that it was made in, and makes its own successor.
    expect((await tokenPage(current)).status).toBe(200);
    expect(await self(current)).toEqual({ status: 401, code: "AUTH_UNAUTHORIZED" });
  });

  it("takes a credential, and no key", async () => {
    expect((await gateway.fetch("/api/user/token")).status).toBe(401);
    expect((await tokenPage(`sk-${"x".repeat(48)}`)).status).toBe(401);
    expect(gateway.received).toHaveLength(0);
  });
});

describe("a flow in issue mode: sign-in, call, refresh, sign-out", () => {
  it("the origin gets the user context and no credential of any kind", async () => {
    const { token, pair } = await signIn();
    const headers = { authorization: `Bearer ${token}`, cookie: `${pair}; theme=dark`, "new-api-user": "1" };
    expect((await gateway.fetch("/api/user/self", { headers })).status).toBe(200);
    const [received] = gateway.received;
    expect(received?.headers.has("authorization")).toBe(false);
    expect(received?.headers.get("cookie")).toBe("theme=dark");
    const context = received?.headers.get("x-user-context") ?? "";
    expect(
      JSON.parse(atob((context.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"))),
    ).toMatchObject({
      sub: "7",
      user: { role: "admin" },
    });

    later(900 + 4);
    expect((await self(token)).status).toBe(200);
    later(900 + 5);
    expect(await self(token)).toEqual({ status: 401, code: "AUTH_TOKEN_EXPIRED" });
    const renewed = (await (await refresh(pair)).json()) as Bundle;
    expect((await self(renewed.data.access_token)).status).toBe(200);
    await post("auth/logout", { cookie: pair });
    expect((await self(renewed.data.access_token)).status).toBe(401);
    expect(gateway.received.every(({ url }) => new URL(url).pathname === "/api/user/self")).toBe(true);
  });
});
