// Sessions where Postern issues for New API's classic clients: read before everything else, and one client's day.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import {
  addApiKey,
  addPat,
  addSession,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { SITES } from "./sites.ts";

const PASSWORD = "correct horse battery staple";
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const ORIGIN_COOKIE = "MTc1NTE2NTg4MnxEWDhFQVFMX2dBQUJFQUVRQUFBel80QUFBUT09fA==";
const AUTH_VERSION = "864b7076dbcd0a3c01b5520316720ebf";
const vars = { SITE_TEST: { ...SITES["new-api"], issue: true } };

let gateway: Gateway;

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({ vars });
  const attributes = { group: "vip", quota: 500000, used_quota: 12, language: "zh-TW" };
  const alice = { username: "alice", name: "Alice", email: "alice@example.com", role: "admin", attributes };
  await addUser("7", alice, PASSWORD_HASH);
  await addUser("8", { username: "bob" });
});

afterEach(() => gateway.settle());

const call = async (headers: HeadersInit, path = "/api/user/models", method = "GET") => {
  const response = await gateway.fetch(path, { method, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
};
const PASSED = { status: 200, body: "from the origin" };
const said = (status: number, message: string) => ({
  status,
  body: `{"message":"${message}","success":false}`,
});
const NOT_LOGGED_IN = said(401, "Unauthorized, not logged in and no access token provided");
const as8 = { "new-api-user": "8" };
const contextOf = (request: Request | undefined) =>
  JSON.parse(
    atob((request?.headers.get("x-user-context")?.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")),
  );

describe("the cookie comes first (New API §3.2)", () => {
  it.each<[string, () => Promise<Record<string, string>>]>([
    ["a good token of another", async () => ({ authorization: await addPat("pat_1", { userId: "7" }) })],
    ["a bad token", async () => ({ authorization: "Bearer x" })],
    ["a key", async () => ({ authorization: await addApiKey("key_1") })],
  ])("over %s, and neither reaches the origin", async (_what, other) => {
    const cookie = `session=${await addSession("ses_1", "8")}`;
    expect(await call({ ...(await other()), cookie, ...as8 })).toMatchObject(PASSED);
    const received = gateway.received[0];
    expect(contextOf(received)).toMatchObject({ sub: "8", auth: { kind: "session", id: "ses_1" } });
    expect([received?.headers.has("authorization"), received?.headers.has("cookie")]).toEqual([false, false]);
  });

  it("one that the origin made is passed over, and a token beside it counts", async () => {
    const headers = { cookie: `session=${ORIGIN_COOKIE}`, ...as8 };
    expect(await call(headers)).toMatchObject(NOT_LOGGED_IN);
    const authorization = await addPat("pat_1", { userId: "8" });
    expect(await call({ ...headers, authorization })).toMatchObject(PASSED);
    expect(gateway.received[0]?.headers.has("cookie")).toBe(false);
  });

  it("one that the origin made beside one of this gateway: the latter counts", async () => {
    const cookie = `session=${ORIGIN_COOKIE}; session=${await addSession("ses_1", "8")}`;
    expect(await call({ cookie, ...as8 })).toMatchObject(PASSED);
    expect(gateway.received[0]?.headers.has("cookie")).toBe(false);
  });

  it("of two different ones neither counts, twice the same is one", async () => {
    const [mine, other] = [await addSession("ses_1", "8"), await addSession("ses_2", "7")];
    expect(await call({ cookie: `session=${mine}; session=${other}`, ...as8 })).toMatchObject(NOT_LOGGED_IN);
    expect(gateway.received).toHaveLength(0);
    expect(await call({ cookie: `session=${mine}; session=${mine}`, ...as8 })).toMatchObject(PASSED);
  });

  it.each<[string, () => Promise<string>]>([
    ["forged", async () => `ses_1.${"x".repeat(40)}`],
    ["another one's secret", async () => (await addSession("ses_1")).replace("ses_1", "ses_2")],
    ["cut", async () => (await addSession("ses_1", "8")).slice(0, -1)],
    ["not a session at all", async () => "a.b"],
    [
      "ended",
      async () => {
        const value = await addSession("ses_1", "8");
        await DB.prepare("UPDATE sessions SET status = 'deleted'").run();
        return value;
      },
    ],
  ])("%s it is nobody's, and a token beside it does not help", async (_what, make) => {
    const headers = { cookie: `session=${await make()}`, ...as8 };
    expect(await call(headers)).toMatchObject(NOT_LOGGED_IN);
    const authorization = await addPat("pat_1", { userId: "8" });
    expect(await call({ ...headers, authorization })).toMatchObject(NOT_LOGGED_IN);
    expect(gateway.received).toHaveLength(0);
  });
});

describe("checks 4 to 8 for sessions (New API §3.3)", () => {
  it.each<[string, Record<string, string>, string, object]>([
    ["no user is named", {}, "/api/user/models", said(401, "Unauthorized, New-Api-User header not provided")],
    [
      "no user id",
      { "new-api-user": "+8" },
      "/api/user/models",
      said(401, "Unauthorized, New-Api-User header format error"),
    ],
    [
      "another user",
      { "new-api-user": "7" },
      "/api/user/models",
      said(401, "Unauthorized, New-Api-User does not match logged in user"),
    ],
    ["a role too low", as8, "/api/option/", said(200, "Unauthorized, insufficient privileges")],
    ["all is well", as8, "/api/user/models", PASSED],
  ])("%s", async (_what, headers, path, expected) => {
    const cookie = `session=${await addSession("ses_1", "8")}`;
    expect(await call({ cookie, ...headers }, path)).toMatchObject(expected);
  });

  it("a ban and a demotion count at once, where the original waits for the cookie to end", async () => {
    const cookie = `session=${await addSession("ses_1", "7")}`;
    const headers = { cookie, "new-api-user": "7" };
    expect(await call(headers, "/api/channel/")).toMatchObject(PASSED);
    await DB.prepare("UPDATE users SET role = 'user' WHERE id = '7'").run();
    gateway = startGateway({ vars });
    expect(await call(headers, "/api/channel/")).toMatchObject(said(200, "無權進行此操作，權限不足"));
    await DB.prepare("UPDATE users SET status = 'disabled' WHERE id = '7'").run();
    gateway = startGateway({ vars });
    expect(await call(headers, "/api/channel/")).toMatchObject(said(200, "使用者已被封禁"));
  });

  it("a page of another origin is nobody, whatever its visitor's cookie", async () => {
    const cookie = `session=${await addSession("ses_1", "8")}`;
    const headers = { cookie, ...as8, origin: "https://evil.example" };
    expect(await call(headers, "/api/token/", "POST")).toMatchObject(NOT_LOGGED_IN);
    expect(gateway.received).toHaveLength(0);
  });
});

describe("what is open to all is told who is there (New API §3.6)", () => {
  it.each(["/api/pricing", "/api/rankings", "/api/perf-metrics", "/api/perf-metrics/summary"])(
    "%s",
    async (path) => {
      const cookie = `session=${await addSession("ses_1", "8")}`;
      expect(await call({ cookie, ...as8 }, path)).toMatchObject(PASSED);
      expect(contextOf(gateway.received[0])).toMatchObject({ sub: "8" });
      const wrong = [
        {},
        { cookie },
        { cookie: `session=${ORIGIN_COOKIE}`, ...as8 },
        { authorization: "Bearer x" },
        { authorization: await addPat("pat_1", { userId: "8", expiresAtSeconds: 1 }), ...as8 },
        { authorization: await addApiKey("key_1"), ...as8 },
      ];
      for (const headers of wrong) {
        expect(await call(headers, path)).toMatchObject(PASSED);
        const received = gateway.received.at(-1);
        expect(contextOf(received)).toMatchObject({ anonymous: true });
        expect([received?.headers.has("cookie"), received?.headers.has("authorization")]).toEqual([
          false,
          false,
        ]);
      }
    },
  );
});

describe("a flow in issue mode", () => {
  it("sign-in, oneself, a call, a token, a call with it, sign-out, nothing more", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_300_000 });
    const login = await gateway.fetch("/api/user/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: "alice", password: PASSWORD }),
    });
    const cookie = login.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
    const signedIn = { cookie, "new-api-user": "7" };

    const self = await call(signedIn, "/api/user/self");
    expect(self).toMatchObject({
      status: 200,
      body: '{"data":{"display_name":"Alice","email":"alice@example.com","group":"vip","id":7,"quota":500000,"request_count":0,"role":10,"status":1,"used_quota":12,"username":"alice"},"message":"","success":true}',
    });
    expect(self.headers.get("auth-version")).toBe(AUTH_VERSION);
    expect(self.headers.get("cache-control")).toBe("no-store");
    expect(gateway.received).toHaveLength(0);

    expect(await call(signedIn, "/api/channel/1")).toMatchObject(PASSED);
    expect(contextOf(gateway.received[0])).toMatchObject({
      sub: "7",
      user: { id: "7", name: "Alice", role: "admin" },
      auth: { kind: "session" },
    });
    expect(gateway.received[0]?.headers.has("cookie")).toBe(false);

    const { data: token } = JSON.parse((await call(signedIn, "/api/user/token")).body) as { data: string };
    const withToken = { authorization: `Bearer ${token}`, "new-api-user": "7" };
    expect((await call(withToken, "/api/user/self")).body).toBe(self.body);
    expect(await call(withToken, "/api/user/self", "PUT")).toMatchObject(PASSED);
    expect(contextOf(gateway.received.at(-1))).toMatchObject({ sub: "7", auth: { kind: "pat" } });
    expect(gateway.received.at(-1)?.headers.has("authorization")).toBe(false);

    expect(await call({ cookie }, "/api/user/logout")).toMatchObject({
      status: 200,
      body: '{"message":"","success":true}',
    });
    for (const path of ["/api/user/self", "/api/channel/1"]) {
      expect(await call(signedIn, path)).toMatchObject(NOT_LOGGED_IN);
    }
    expect((await call(withToken, "/api/user/self")).status).toBe(200);
    vi.useRealTimers();
  });

  it.each([
    ["nobody", {}, NOT_LOGGED_IN],
    ["no user is named", { cookie: true }, said(401, "Unauthorized, New-Api-User header not provided")],
    [
      "another user is named",
      { cookie: true, "new-api-user": "7" },
      said(401, "Unauthorized, New-Api-User does not match logged in user"),
    ],
  ])("GET /api/user/self, %s", async (_what, given, expected) => {
    const cookie = "cookie" in given ? { cookie: `session=${await addSession("ses_1", "8")}` } : {};
    expect(await call({ ...(given as object), ...cookie }, "/api/user/self")).toMatchObject(expected);
  });

  it("only GET and HEAD of oneself are answered here", async () => {
    const headers = { cookie: `session=${await addSession("ses_1", "8")}`, ...as8 };
    expect(await call(headers, "/api/user/self", "HEAD")).toMatchObject({ status: 200 });
    expect(gateway.received).toHaveLength(0);
    expect(
      await call({ ...headers, origin: "https://api.example.com" }, "/api/user/self", "DELETE"),
    ).toMatchObject(PASSED);
    expect(await call(headers, "/api/user/self/groups")).toMatchObject(PASSED);
  });
});
