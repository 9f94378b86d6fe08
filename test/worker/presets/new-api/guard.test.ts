// In front of a classic New API that issues its own credentials: refusals 1 to 8 of its management (§3.3), their order and
// languages, where a token stands, and what becomes of cookies that only the origin can read.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  addCredential,
  addPat,
  addSession,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
  writes,
} from "../../../support/worker/gateway.ts";
import { signDashboardToken } from "../new-api-current/dashboard.ts";
import { varsOf } from "./sites.ts";

const PAT = "9b1Zb7Zl0u1f4ZtQ2o8c+/aYw3k1Yg==";
/** gorilla/securecookie: date, content, MAC as base64url, without a dot. */
const ORIGIN_COOKIE = "MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVRQUFBel80QUFBUT09fA==";

let gateway: Gateway;

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({ vars: varsOf("new-api") });
  await addUser("7", { username: "alice" });
  await addCredential("pat", "pat_1", PAT);
});

const call = async (headers: HeadersInit, path = "/api/user/self", method = "GET") => {
  const response = await gateway.fetch(path, { method, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
};
const PASSED = { status: 200, body: "from the origin" };
const said = (status: number, message: string) => ({
  status,
  body: `{"message":"${message}","success":false}`,
});
const NOT_LOGGED_IN = said(401, "Unauthorized, not logged in and no access token provided");
const INVALID = said(200, "Unauthorized, invalid access token");
const FORMAT = said(401, "Unauthorized, New-Api-User header format error");
const MISMATCH = said(401, "Unauthorized, New-Api-User does not match logged in user");
const MISSING = said(401, "Unauthorized, New-Api-User header not provided");
const BANNED = said(200, "User has been banned");
const LOW = said(200, "Unauthorized, insufficient privileges");
const USER_INVALID = said(200, "Unauthorized, invalid user info");

const mine = (headers: Record<string, string> = {}) => ({
  authorization: `Bearer ${PAT}`,
  "new-api-user": "7",
  ...headers,
});
const update = (set: string) => DB.prepare(`UPDATE users SET ${set} WHERE id = '7'`).run();
const contextOf = (request: Request | undefined) =>
  JSON.parse(
    atob((request?.headers.get("x-user-context")?.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")),
  );

interface Case {
  readonly headers: Record<string, string>;
  readonly path?: string;
  readonly sets?: string;
}
const CASES: Readonly<Record<string, Case & { readonly status: number; readonly texts: readonly string[] }>> =
  {
    "1, nothing is presented": {
      headers: { "new-api-user": "7" },
      status: 401,
      texts: [
        "Unauthorized, not logged in and no access token provided",
        "无权进行此操作，未登录且未提供 access token",
        "無權進行此操作，未登入且未提供 access token",
      ],
    },
    "2, the token is unknown": {
      headers: mine({ authorization: "A".repeat(32) }),
      status: 200,
      texts: [
        "Unauthorized, invalid access token",
        "无权进行此操作，access token 无效",
        "無權進行此操作，access token 無效",
      ],
    },
    "3, the user is none of the system": {
      headers: mine(),
      sets: "role = 'owner'",
      status: 200,
      texts: [
        "Unauthorized, invalid user info",
        "无权进行此操作，用户信息无效",
        "無權進行此操作，使用者資訊無效",
      ],
    },
    "4, no user is named": {
      headers: { authorization: PAT },
      status: 401,
      texts: [
        "Unauthorized, New-Api-User header not provided",
        "无权进行此操作，未提供 New-Api-User",
        "無權進行此操作，未提供 New-Api-User",
      ],
    },
    "5, what is named is no user id": {
      headers: mine({ "new-api-user": "alice" }),
      status: 401,
      texts: [
        "Unauthorized, New-Api-User header format error",
        "无权进行此操作，New-Api-User 格式错误",
        "無權進行此操作，New-Api-User 格式錯誤",
      ],
    },
    "6, another user is named": {
      headers: mine({ "new-api-user": "8" }),
      status: 401,
      texts: [
        "Unauthorized, New-Api-User does not match logged in user",
        "无权进行此操作，New-Api-User 与登录用户不匹配",
        "無權進行此操作，New-Api-User 與登入使用者不匹配",
      ],
    },
    "7, the user is disabled": {
      headers: mine(),
      sets: "status = 'disabled'",
      status: 200,
      texts: ["User has been banned", "用户已被封禁", "使用者已被封禁"],
    },
    "8, the role is too low": {
      headers: mine(),
      path: "/api/channel/",
      status: 200,
      texts: [
        "Unauthorized, insufficient privileges",
        "无权进行此操作，权限不足",
        "無權進行此操作，權限不足",
      ],
    },
  };

describe("refusals (New API §3.3)", () => {
  it.each(Object.entries(CASES))("check %s: status, bytes and three languages", async (_what, wrong) => {
    if (wrong.sets !== undefined) await update(wrong.sets);
    const [english = "", simplified = "", traditional = ""] = wrong.texts;
    for (const [language, text] of [
      [null, english],
      ["en-US,en;q=0.9", english],
      ["de,zh-CN;q=0.9", english],
      ["zh", simplified],
      ["zh-CN,zh;q=0.9,en;q=0.8", simplified],
      ["ZH-HANS;q=0.9", simplified],
      ["zh-TW,en", traditional],
    ] as const) {
      const headers = { ...wrong.headers, ...(language !== null && { "accept-language": language }) };
      const answer = await call(headers, wrong.path);
      expect([language, answer.status, answer.body]).toEqual([language, wrong.status, said(0, text).body]);
      expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
      expect(answer.headers.has("www-authenticate")).toBe(false);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it.each([3, 4, 5, 6, 7, 8])("check %d: the language that the user chose counts first", async (number) => {
    const wrong = Object.values(CASES)[number - 1];
    const sets = wrong?.sets === undefined ? "" : `, ${wrong.sets}`;
    for (const [index, language] of ["en", "zh-CN", "zh-TW"].entries()) {
      await update(`attributes = '{"language":"${language}"}'${sets}`);
      gateway = startGateway({ vars: varsOf("new-api") });
      const { body } = await call({ ...wrong?.headers, "accept-language": "zh-CN" }, wrong?.path);
      expect(body).toBe(said(0, wrong?.texts[index] ?? "").body);
    }
  });

  it.each<[string, Case, object]>([
    ["2 over 4 to 8", { headers: { authorization: "A".repeat(32) }, path: "/api/channel/" }, INVALID],
    [
      "2 over 5",
      { headers: { authorization: "bearer x", "new-api-user": "x" }, sets: "status = 'disabled'" },
      INVALID,
    ],
    [
      "3 over 4",
      { headers: { authorization: PAT }, sets: "role = 'owner', status = 'disabled'" },
      USER_INVALID,
    ],
    [
      "4 over 7 and 8",
      { headers: { authorization: PAT }, sets: "status = 'disabled'", path: "/api/channel/" },
      MISSING,
    ],
    [
      "5 over 7 and 8",
      { headers: mine({ "new-api-user": "x" }), sets: "status = 'disabled'", path: "/api/channel/" },
      FORMAT,
    ],
    [
      "6 over 7 and 8",
      { headers: mine({ "new-api-user": "8" }), sets: "status = 'disabled'", path: "/api/channel/" },
      MISMATCH,
    ],
    ["7 over 8", { headers: mine(), sets: "status = 'disabled'", path: "/api/channel/" }, BANNED],
    ["8 alone", { headers: mine(), path: "/api/channel/" }, LOW],
    ["nothing is wrong", { headers: mine() }, PASSED],
  ])("the order: %s", async (_what, { headers, sets, path }, expected) => {
    if (sets !== undefined) await update(sets);
    expect(await call(headers, path)).toMatchObject(expected);
  });

  it.each<[string, () => Promise<string>]>([
    ["a good key", () => addApiKey("key_1")],
    ["a good key with a channel", async () => `${await addApiKey("key_1")}-12`],
    ["a deleted token", () => addPat("pat_2", { status: "deleted" })],
    ["a disabled token", () => addPat("pat_2", { status: "disabled" })],
    ["an expired token", () => addPat("pat_2", { expiresAtSeconds: 1 })],
    ["a token for other addresses", () => addPat("pat_2", { ipAllow: ["192.0.2.0/24"] })],
    [
      "a token of a deleted user",
      async () => {
        await addUser("8");
        const token = await addPat("pat_2", { userId: "8" });
        await writes.deleteUser("main", "8", 1, 2_000_000_000);
        return token;
      },
    ],
    ["a dashboard token of the next generation", () => signDashboardToken()],
    ["a session", () => addSession("ses_1")],
    ["Basic", async () => `Basic ${btoa("7:x")}`],
  ])("%s is an invalid token, 200", async (_what, make) => {
    const authorization = await make();
    expect(await call(mine({ authorization }))).toMatchObject(INVALID);
    expect(await call(mine({ authorization: `Bearer ${authorization}` }))).toMatchObject(INVALID);
    expect(gateway.received).toHaveLength(0);
  });

  it("guesses of another form than a token's cost no look-up, whatever the realm holds", async () => {
    await call(mine());
    const before = gateway.counts.d1;
    for (const length of [1, 27, 29, 31, 33, 48]) await call(mine({ authorization: "A".repeat(length) }));
    expect(gateway.counts.d1).toBe(before);
    await call(mine({ authorization: "A".repeat(32) }));
    expect(gateway.counts.d1).toBe(before + 1);
  });

  it("a counter that is full is 429 with an empty body", async () => {
    const limit = { exact: true, requests: 1, per_seconds: 3_600, by: "credential" };
    const routes = [{ path: "/api/user/models", accept: ["pat"], limit }];
    gateway = startGateway({ vars: varsOf("new-api", { routes }) });
    expect(await call(mine(), "/api/user/models")).toMatchObject(PASSED);
    const full = await call(mine(), "/api/user/models");
    expect([full.status, full.body, full.headers.get("content-type")]).toEqual([429, "", null]);
    expect(full.headers.has("retry-after")).toBe(true);
  });

  it("D1 down is 503 with Retry-After, in three languages, never 401", async () => {
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    for (const [language, text] of [
      ["en", "Database error, please contact the administrator"],
      ["zh-CN", "数据库出错，请联系管理员"],
      ["zh-TW", "資料庫出錯，請聯繫管理員"],
    ] as const) {
      const answer = await call(mine({ "accept-language": language }));
      expect(answer).toMatchObject(said(503, text));
      expect(answer.headers.has("retry-after")).toBe(true);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it('errors = "problem" says the same as problem documents', async () => {
    gateway = startGateway({ vars: varsOf("new-api", { errors: "problem" }) });
    const { status, body } = await call(mine({ "new-api-user": "8" }));
    expect([status, JSON.parse(body)]).toMatchObject([401, { code: "credential_invalid" }]);
  });
});

describe("a token (New API §3.1, §3.2)", () => {
  it.each([
    ["28 characters", "abcDEF0123456789abcDEF012345"],
    ["28 with all that base64 has", "abc+/F0123456789abcDEF01234="],
    ["32 characters", "abcDEF0123456789abcDEF0123456789"],
    ["32 that begin like a scheme", "BearerDEF0123456789abcDEF0123456"],
  ])("of %s passes, with Bearer and raw, and the origin gets it as it came", async (_what, token) => {
    await addCredential("pat", "pat_2", token);
    for (const authorization of [`Bearer ${token}`, token]) {
      expect(await call(mine({ authorization }))).toMatchObject(PASSED);
      const received = gateway.received.at(-1);
      expect(received?.headers.get("authorization")).toBe(authorization);
      expect(received?.headers.get("new-api-user")).toBe("7");
      expect(contextOf(received)).toMatchObject({ sub: "7", auth: { kind: "pat", id: "pat_2" } });
    }
  });

  it.each(["bearer ", "BEARER ", "Bearer  ", "Bearer\t", "Token ", "Bearer Bearer ", "Bearer,"])(
    "behind %j is invalid",
    async (scheme) => {
      expect(await call(mine({ authorization: scheme + PAT }))).toMatchObject(INVALID);
    },
  );

  it("loses the first Bearer wherever it stands, as the original has it", async () => {
    const authorization = `${PAT.slice(0, 5)}Bearer ${PAT.slice(5)}`;
    expect(await call(mine({ authorization }))).toMatchObject(PASSED);
  });

  it.each(["x-api-key", "x-goog-api-key", "mj-api-secret", "api-key", "x-access-token"])(
    "in %s is none",
    async (name) => {
      expect(await call({ [name]: PAT, "new-api-user": "7" })).toMatchObject(NOT_LOGGED_IN);
    },
  );

  it("in the query or a cookie is none", async () => {
    const path = `/api/user/self?access_token=${PAT}&key=${PAT}`;
    expect(await call({ "new-api-user": "7" }, path)).toMatchObject(NOT_LOGGED_IN);
    expect(await call({ "new-api-user": "7", cookie: `session=${PAT}` })).toMatchObject(NOT_LOGGED_IN);
  });

  it("of two lines of Authorization none counts", async () => {
    const headers = new Headers(mine());
    headers.append("authorization", `Bearer ${"A".repeat(32)}`);
    expect(await call(headers)).toMatchObject(INVALID);
  });
});

describe("what the origin is told", () => {
  it.each(["user", "admin", "root"])("the role %s, the group, and whose token it is", async (role) => {
    await update(`role = '${role}', attributes = '{"group":"vip","quota":5,"language":"zh-CN"}'`);
    gateway = startGateway({
      vars: varsOf("new-api", { user_context: { attributes: ["group", "language"] } }),
    });
    expect(await call(mine())).toMatchObject(PASSED);
    expect(contextOf(gateway.received[0])).toMatchObject({
      sub: "7",
      user: { id: "7", name: "alice", role, attributes: { group: "vip", language: "zh-CN" } },
      auth: { kind: "pat", id: "pat_1" },
    });
  });

  it("a role of nobody's is none", async () => {
    await update("role = 'public'");
    expect(await call(mine())).toMatchObject(LOW);
  });
});

describe("New-Api-User (New API §3.3, 4 to 6)", () => {
  it.each<[string, object]>([
    ["7", PASSED],
    ["", MISSING],
    ["8", MISMATCH],
    ["0", MISMATCH],
    ["70", MISMATCH],
    ["+7", FORMAT],
    ["-7", FORMAT],
    ["007", FORMAT],
    ["7.0", FORMAT],
    ["7e0", FORMAT],
    ["0x7", FORMAT],
    ["7,7", FORMAT],
    ["7 7", FORMAT],
    ["alice", FORMAT],
    ["99999999999999999999", FORMAT],
  ])("%j", async (claimed, expected) => {
    expect(await call(mine({ "new-api-user": claimed }))).toMatchObject(expected);
  });

  it("twice is no user id, even the same", async () => {
    const headers = new Headers(mine());
    headers.append("new-api-user", "7");
    expect(await call(headers)).toMatchObject(FORMAT);
  });

  it("may have another name, and may not be asked for at all", async () => {
    gateway = startGateway({ vars: varsOf("new-api", { user_header: "Veloera-User" }) });
    expect(await call(mine())).toMatchObject(MISSING);
    expect(await call({ authorization: PAT, "veloera-user": "7" })).toMatchObject(PASSED);
    gateway = startGateway({ vars: varsOf("new-api", { user_header: false }) });
    expect(await call({ authorization: PAT })).toMatchObject(PASSED);
  });
});

describe("a cookie of the origin, which nobody can verify here (New API §3.2, §3.3)", () => {
  const cookie = `theme=dark; session=${ORIGIN_COOKIE}; lang=en`;

  it.each(["/api/user/self", "/api/channel/", "/api/option/", "/api/models", "/api/user/token"])(
    "opens nothing at %s",
    async (path) => {
      expect(await call({ cookie, "new-api-user": "7" }, path)).toMatchObject(NOT_LOGGED_IN);
      expect(gateway.received).toHaveLength(0);
    },
  );

  it.each([
    ["the origin's", ORIGIN_COOKIE],
    ["one of this gateway's form", `ses_1.${"x".repeat(40)}`],
    ["one that is good elsewhere", "GOOD"],
    ["garbage", '"; session=x'],
  ])("beside a token, %s is passed over, and does not reach the origin", async (_what, value) => {
    const session = value === "GOOD" ? await addSession("ses_1", "7") : value;
    const headers = mine({ cookie: `theme=dark; session=${session}; lang=en` });
    expect(await call(headers)).toMatchObject(PASSED);
    expect(gateway.received[0]?.headers.get("cookie")).not.toContain("session");
    expect(gateway.received[0]?.headers.get("cookie")).toContain("theme=dark");
    expect(contextOf(gateway.received[0])).toMatchObject({ sub: "7", auth: { kind: "pat" } });
  });

  it("goes through where all is open, and whose request that is nobody says", async () => {
    for (const [method, path] of [
      ["GET", "/api/user/logout"],
      ["POST", "/api/user/login/2fa"],
      ["GET", "/api/pricing"],
      ["GET", "/api/perf-metrics/summary"],
      ["GET", "/api/oauth/github"],
      ["GET", "/"],
    ] as const) {
      const headers = { cookie, authorization: "Bearer x", "new-api-user": "8", "x-user-context": "forged" };
      expect(await call(headers, path, method)).toMatchObject(PASSED);
      const received = gateway.received.at(-1);
      expect(received?.headers.get("cookie")).toBe(cookie);
      expect(received?.headers.get("authorization")).toBe("Bearer x");
      expect(contextOf(received)).toMatchObject({ anonymous: true });
      expect(contextOf(received)).not.toHaveProperty("sub");
    }
  });
});

describe("a flow in guard mode: the origin issues, the edge verifies", () => {
  it("sign-in, a token, calls with it, sign-out", async () => {
    const set = `session=${ORIGIN_COOKIE}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict`;
    const user =
      '{"message":"","success":true,"data":{"id":7,"username":"alice","display_name":"Alice","role":1,"status":1,"group":"default"}}';
    gateway = startGateway({
      vars: varsOf("new-api"),
      origin: async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/api/user/login") {
          expect(await request.text()).toBe('{"username":"alice","password":"x"}');
          return new Response(user, { headers: { "set-cookie": set, "auth-version": "864b" } });
        }
        const cleared = { "set-cookie": "session=; Path=/; Max-Age=0" };
        if (pathname === "/api/user/logout") {
          return new Response('{"message":"","success":true}', { headers: cleared });
        }
        return new Response(`${request.method} ${pathname} as ${request.headers.get("authorization")}`);
      },
    });
    const response = await gateway.fetch("/api/user/login?turnstile=x", {
      method: "POST",
      body: '{"username":"alice","password":"x"}',
    });
    expect([await response.text(), response.headers.get("set-cookie")]).toEqual([user, set]);
    expect(response.headers.get("auth-version")).toBe("864b");
    const cookie = `session=${ORIGIN_COOKIE}`;
    expect(await call({ cookie, "new-api-user": "7" })).toMatchObject(NOT_LOGGED_IN);
    expect(await call(mine())).toMatchObject({ body: `GET /api/user/self as Bearer ${PAT}` });
    expect(await call(mine(), "/api/token/", "POST")).toMatchObject({
      body: `POST /api/token/ as Bearer ${PAT}`,
    });
    expect(await call({ cookie }, "/api/user/logout")).toMatchObject({
      body: '{"message":"","success":true}',
    });
    expect(gateway.received.at(-1)?.headers.get("cookie")).toBe(cookie);
  });
});
