// What clients of the current New API would not do: methods beside the table, credentials of another kind, site or realm,
// claims about oneself, races, large bodies, and everything that somebody can still do who may not any more.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import {
  addApiKey,
  addPat,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
  writes,
} from "../../../support/worker/gateway.ts";
import { dashboardKey, NOW_MS, NOW_SECONDS, SESSION_SECRET, signDashboardToken } from "./dashboard.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const OTHER_SECRET = "another-session-secret-of-new-api-9876543210-ABCDEF";
const JSON_TYPE = { "content-type": "application/json" };
const GATEWAY = {
  issuer: "https://auth.example.com",
  environment: "development",
  freshness_seconds: 30,
  realms: {},
};
const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  preset: "new-api-current",
  jwt: { secret: "TEST_SESSION_SECRET" },
} as const;

const gateways: Gateway[] = [];
function start(site: Readonly<Record<string, unknown>> = {}, more: Readonly<Record<string, unknown>> = {}) {
  const vars = { TEST_SESSION_SECRET: SESSION_SECRET, GATEWAY, SITE_TEST: { ...SITE, ...site }, ...more };
  const gateway = startGateway({ vars });
  gateways.push(gateway);
  return gateway;
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  await addUser("7", { username: "alice" }, PASSWORD_HASH);
});
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);
const as = (value: string) => ({ headers: { authorization: `Bearer ${value}` } });

async function codeOf(gateway: Gateway, path: string, init: RequestInit = {}): Promise<string> {
  const answer = await gateway.fetch(path, init);
  const text = await answer.text();
  const code = /"code":"([A-Z_]+)"/.exec(text)?.[1];
  return code === undefined ? `${answer.status}` : `${answer.status} ${code}`;
}

describe("methods (New API §3.4, §3.6)", () => {
  const PROTECTED = [
    "/api/user/self",
    "/api/token/",
    "/api/user/",
    "/api/option/",
    "/api/user/sessions",
    "/v1/chat/completions",
    "/api/usage/token/",
    "/v1/videos/1/content",
  ];

  it.each(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "%s reaches nothing without a credential",
    async (method) => {
      const gateway = start();
      for (const path of PROTECTED) {
        const { status } = await gateway.fetch(path, { method });
        expect([path, status]).toEqual([path, 401]);
      }
      expect(gateway.received).toHaveLength(0);
    },
  );

  it.each([
    ["GET", "/api/user/login"],
    ["PUT", "/api/user/login"],
    ["GET", "/api/user/auth/refresh"],
    ["HEAD", "/api/user/auth/refresh"],
    ["GET", "/api/user/auth/logout"],
    ["DELETE", "/api/user/auth/logout"],
    ["POST", "/api/user/auth/refresh/x"],
    ["POST", "/api/user/auth"],
  ])("where Postern issues, %s %s is no way to sign in, renew or end anything", async (method, path) => {
    const gateway = start({ issue: true });
    const signedIn = await gateway.fetch("/api/user/login", {
      method: "POST",
      headers: JSON_TYPE,
      body: JSON.stringify({ username: "alice", password: PASSWORD }),
    });
    const cookie = signedIn.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
    const answer = await gateway.fetch(path, { method, headers: { cookie, ...JSON_TYPE } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("set-cookie")).toBeNull();
    const counter = await DB.prepare("SELECT counter FROM sessions WHERE status = 'active'").first("counter");
    expect(counter).toBe(0);
  });

  it("HEAD of the token page makes no token and ends none", async () => {
    const gateway = start({ issue: true });
    const pat = await addPat("pat_1");
    const answer = await gateway.fetch("/api/user/token", { method: "HEAD", ...as(pat) });
    expect(answer.status).toBe(405);
    expect(await codeOf(gateway, "/api/user/self", as(pat))).toBe("200");
  });
});

describe("credentials of another kind, site or realm", () => {
  it("a dashboard token is one site's: by secret, issuer or audience", async () => {
    const site = { origin: "service:ORIGIN", preset: "new-api-current", realm: "main" };
    const gateway = start(
      {},
      {
        SITE_TWO: { ...site, hosts: ["two.example.com"], jwt: { secret: "OTHER_SECRET" } },
        OTHER_SECRET,
      },
    );
    const one = await signDashboardToken();
    const two = await signDashboardToken({}, { key: await dashboardKey(OTHER_SECRET) });
    for (const [token, host, code] of [
      [one, "api", "200"],
      [one, "two", "401 AUTH_UNAUTHORIZED"],
      [two, "two", "200"],
      [two, "api", "401 AUTH_UNAUTHORIZED"],
    ] as const) {
      expect(await codeOf(gateway, `https://${host}.example.com/api/user/self`, as(token))).toBe(code);
    }
  });

  it("keys and PATs are one realm's", async () => {
    const times = { createdAtSeconds: NOW_SECONDS, updatedAtSeconds: NOW_SECONDS };
    await writes.createUser({ realm: "elsewhere", id: "7", ...times });
    const key = await addApiKey("key_1", { realm: "elsewhere" });
    const pat = await addPat("pat_1", { realm: "elsewhere" });
    const gateway = start();
    expect((await gateway.fetch("/v1/models", as(key))).status).toBe(401);
    expect(await codeOf(gateway, "/api/user/self", as(pat))).toBe("401 AUTH_UNAUTHORIZED");
    const there = start({ realm: "elsewhere" });
    expect((await there.fetch("/v1/models", as(key))).status).toBe(200);
    expect(await codeOf(there, "/api/user/self", as(pat))).toBe("200");
  });

  it("what the origin is told, a refresh cookie and the gateway's own tokens are no dashboard tokens", async () => {
    const gateway = start({ issue: true });
    const signedIn = await gateway.fetch("/api/user/login", {
      method: "POST",
      headers: JSON_TYPE,
      body: JSON.stringify({ username: "alice", password: PASSWORD }),
    });
    const { data } = (await signedIn.json()) as { data: { access_token: string } };
    expect(await codeOf(gateway, "/api/user/self", as(data.access_token))).toBe("200");
    const context = gateway.received[0]?.headers.get("x-user-context") ?? "";
    expect(context.split(".")).toHaveLength(3);
    const cookie = signedIn.headers.get("set-cookie")?.split(";", 1)[0]?.split("=")[1] ?? "";
    for (const value of [context, cookie]) {
      expect(await codeOf(gateway, "/api/user/self", as(value))).toBe("401 AUTH_UNAUTHORIZED");
      expect((await gateway.fetch("/v1/models", as(value))).status).toBe(401);
    }
  });

  it("no value is two things at once: joined, cut, padded, in another alphabet", async () => {
    const gateway = start();
    const token = await signDashboardToken();
    const [pat, key] = [await addPat("pat_1"), await addApiKey("key_1")];
    for (const value of [
      `${token}.`,
      `.${token}`,
      `${token}.${pat}`,
      `${pat}.${token}`,
      `${token}=`,
      `${token},${pat}`,
      // The same bytes in standard base64, where there are any that differ.
      /[-_]/.test(token) ? token.replaceAll("-", "+").replaceAll("_", "/") : `${token}+`,
      `sk-${token}`,
      `sk-${pat}`,
      `${pat}=`,
      pat.slice(0, -1),
      pat.toUpperCase(),
      key.slice(3),
    ]) {
      expect([value, await codeOf(gateway, "/api/user/self", as(value))]).toEqual([
        value,
        "401 AUTH_UNAUTHORIZED",
      ]);
    }
    const twice = new Headers({ authorization: `Bearer ${token}` });
    twice.append("authorization", `Bearer ${pat}`);
    expect(await codeOf(gateway, "/api/user/self", { headers: twice })).toBe("401 AUTH_UNAUTHORIZED");
    expect(gateway.received).toHaveLength(0);
  });
});

describe("claims about oneself", () => {
  it.each([
    ["as they are", ["x-user-context", "x-user-id", "x-user-role", "x-forwarded-for", "x-original-url"]],
    ["in other cases", ["X-USER-CONTEXT", "X-User-ID", "x-UsEr-RoLe", "X-Real-IP", "X-Rewrite-URL"]],
    ["with underscores and dots", ["x_user_context", "x.user.id", "X_User_Role", "x_original_url"]],
  ])("%s never reach the origin, named in Connection or not", async (_how, names) => {
    const gateway = start({ plain_headers: true });
    const forged = Object.fromEntries(names.map((name) => [name, "forged"]));
    for (const [path, authorization] of [
      ["/api/status", ""],
      ["/api/pricing", "Bearer x"],
      ["/api/user/self", `Bearer ${await signDashboardToken()}`],
      ["/v1/models", `Bearer ${await addApiKey("key_1")}`],
    ] as const) {
      const headers = {
        ...forged,
        ...(authorization !== "" && { authorization }),
        connection: `close, x-user-context, ${names.join(", ")}`,
      };
      expect([path, (await gateway.fetch(path, { headers })).status]).toEqual([path, 200]);
      const got = gateway.received.at(-1)?.headers ?? new Headers();
      expect([...got].filter(([, value]) => value.includes("forged"))).toEqual([]);
      expect(got.get("x-user-context")?.split(".")).toHaveLength(3);
    }
  });

  it("New-Api-User says nothing here, and changes nothing for whom the origin takes the caller", async () => {
    const gateway = start();
    const headers = { authorization: await signDashboardToken(), "new-api-user": "1" };
    expect((await gateway.fetch("/api/user/self", { headers })).status).toBe(200);
    const [, payload = ""] = (gateway.received[0]?.headers.get("x-user-context") ?? "").split(".");
    expect(JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))).sub).toBe("7");
  });
});

describe("where Postern issues", () => {
  const post = (gateway: Gateway, path: string, headers: Record<string, string>, body?: string) =>
    gateway.fetch(`/api/user/${path}`, { method: "POST", headers, ...(body !== undefined && { body }) });
  async function signIn(gateway: Gateway) {
    const body = JSON.stringify({ username: "alice", password: PASSWORD });
    const answer = await post(gateway, "login", JSON_TYPE, body);
    const { data } = (await answer.json()) as { data: { access_token: string } };
    return { token: data.access_token, cookie: answer.headers.get("set-cookie")?.split(";", 1)[0] ?? "" };
  }

  it.each([
    ["over a mebibyte", `{"username":"alice","password":"${"x".repeat(1_048_576)}"}`],
    ["a password over a kilobyte", `{"username":"alice","password":"${"x".repeat(2_000)}"}`],
    ["lists in lists", "[".repeat(500_000)],
    ["a list", '[{"username":"alice"}]'],
    ["nothing", ""],
    ["a number for a name", `{"username":7,"password":"${PASSWORD}"}`],
    ["a prototype", `{"__proto__":{"username":"alice","password":"${PASSWORD}"}}`],
  ])("a body of %s signs nobody in, before anything is hashed or looked up", async (_what, body) => {
    const gateway = start({ issue: true });
    const answer = await post(gateway, "login", JSON_TYPE, body);
    expect([answer.status, await answer.text()]).toEqual([
      200,
      '{"message":"Invalid parameters","success":false}',
    ]);
    expect(answer.headers.get("set-cookie")).toBeNull();
    expect(gateway.counts.d1).toBe(0);
  });

  it("no spelling of its paths gets past it to the origin, which would sign in by itself", async () => {
    const gateway = start({ issue: true });
    for (const path of [
      "login",
      "login/",
      "%6Cogin",
      "x/../login",
      "auth/refresh/",
      "auth/%72efresh",
      "auth/logout/",
    ]) {
      const answer = await post(gateway, path, JSON_TYPE, "{");
      expect([path, answer.status]).toEqual([path, path.includes("efresh") ? 401 : 200]);
      expect((await answer.text()).length).toBeGreaterThan(20);
    }
    for (const path of ["Login", "LOGIN", "auth/Refresh", "login;x", "login%2f"]) {
      expect([400, 404]).toContain((await post(gateway, path, JSON_TYPE, "{")).status);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("who cannot sign in is told the same, to the header, whatever it is for", async () => {
    await addUser("8", { username: "off", status: "disabled" }, PASSWORD_HASH);
    await addUser("9", { username: "never" });
    await addUser("g3cy", { username: "no-number" }, PASSWORD_HASH);
    const gateway = start({ issue: true });
    const told: string[] = [];
    // One after another: of several at once some would be told that too many sign in.
    for (const [username, password] of [
      ["nobody", PASSWORD],
      ["alice", "wrong"],
      ["off", PASSWORD],
      ["off", "wrong"],
      ["never", PASSWORD],
      ["no-number", PASSWORD],
    ]) {
      const answer = await post(gateway, "login", JSON_TYPE, JSON.stringify({ username, password }));
      const id = answer.headers.get("x-request-id") ?? "";
      const headers = [...answer.headers].filter(([name]) => name !== "x-request-id");
      told.push(JSON.stringify([answer.status, headers, (await answer.text()).replace(id, "ID")]));
    }
    expect(new Set(told).size).toBe(1);
    expect(told[0]).toContain("Username or password is incorrect, or user has been banned");
  });

  it("of a renewal and a sign-out at once nothing is left alive", async () => {
    const [gateway, second] = [start({ issue: true }), start({ issue: true })];
    for (let round = 0; round < 5; round++) {
      const { token, cookie } = await signIn(gateway);
      const [renewed] = await Promise.all([
        post(second, "auth/refresh", { cookie }),
        post(gateway, "auth/logout", { cookie }),
      ]);
      const next = renewed.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
      expect(await codeOf(start({ issue: true }), "/api/user/self", as(token))).toBe(
        "401 AUTH_SESSION_REVOKED",
      );
      for (const left of [cookie, next]) {
        expect((await post(second, "auth/refresh", { cookie: left })).status).toBe(401);
      }
    }
    const live = "SELECT count(*) AS count FROM sessions WHERE status = 'active'";
    expect(await DB.prepare(live).first<number>("count")).toBe(0);
  });

  it("fifty renewals at once in three isolates leave one next cookie", async () => {
    const isolates = [start({ issue: true }), start({ issue: true }), start({ issue: true })];
    const [first] = isolates;
    if (first === undefined) throw new Error("no isolate");
    const { cookie } = await signIn(first);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        post(isolates[index % 3] ?? first, "auth/refresh", { cookie }),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ headers }) => headers.get("set-cookie"))).size).toBe(1);
    expect(await DB.prepare("SELECT counter FROM sessions").first("counter")).toBe(1);
  });

  it.each([
    [{ origin: "https://evil.example" }, 403],
    [{ origin: "null" }, 403],
    [{ origin: "http://api.example.com" }, 403],
    [{ origin: "https://api.example.com:444" }, 403],
    [{ origin: "https://api.example.com.evil.example" }, 403],
    [{ origin: "https://api.example.com", "sec-fetch-site": "cross-site" }, 403],
    [{ "sec-fetch-site": "cross-site" }, 403],
    [{ "sec-fetch-site": "same-site" }, 403],
    [{ "sec-fetch-site": "same-origin" }, 200],
    [{ origin: "https://api.example.com" }, 200],
    [{}, 200],
  ] as const)("a renewal or sign-out from %j is %d", async (headers, status) => {
    const gateway = start({ issue: true });
    const { token, cookie } = await signIn(gateway);
    const renewed = await post(gateway, "auth/refresh", { cookie, ...headers });
    expect(renewed.status).toBe(status);
    // Whoever could not renew cannot take the cookie away, either.
    if (status === 403) expect(renewed.headers.get("set-cookie")).toBeNull();
    expect((await post(gateway, "auth/logout", { cookie, ...headers })).status).toBe(status);
    expect(await codeOf(gateway, "/api/user/self", as(token))).toBe(
      status === 403 ? "200" : "401 AUTH_SESSION_REVOKED",
    );
  });
});

describe("who may not any more", () => {
  const disabled = () => writes.updateUser("main", "7", { status: "disabled" }, NOW_SECONDS);
  const deleted = () => writes.deleteUser("main", "7", NOW_SECONDS, NOW_SECONDS + 900);
  const demoted = () => writes.updateUser("main", "7", { role: "user" }, NOW_SECONDS);

  it.each([
    ["disabled", "a dashboard token", disabled, "401 AUTH_SESSION_REVOKED"],
    ["disabled", "a PAT", disabled, "401 AUTH_USER_DISABLED"],
    ["deleted", "a dashboard token", deleted, "401 AUTH_UNAUTHORIZED"],
    ["deleted", "a PAT", deleted, "401 AUTH_UNAUTHORIZED"],
    ["demoted", "a dashboard token", demoted, "403 AUTH_INSUFFICIENT_PRIVILEGE"],
    ["demoted", "a PAT", demoted, "403 AUTH_INSUFFICIENT_PRIVILEGE"],
  ] as const)("%s, with %s: refused everywhere within 30 s", async (_what, credential, happens, code) => {
    await writes.updateUser("main", "7", { role: "admin" }, NOW_SECONDS);
    const gateway = start();
    const value = credential === "a PAT" ? await addPat("pat_1") : await signDashboardToken();
    expect(await codeOf(gateway, "/api/user/", as(value))).toBe("200");
    await gateway.settle();
    await happens();
    later(30);
    expect(await codeOf(gateway, "/api/user/", as(value))).toBe(code);
    expect(await codeOf(start(), "/api/user/", as(value))).toBe(code);
  });

  it.each([
    ["disabled", disabled, 403],
    ["deleted", deleted, 401],
  ] as const)("a key whose owner is %s: refused within 30 s", async (_what, happens, status) => {
    const gateway = start();
    const key = await addApiKey("key_1");
    expect((await gateway.fetch("/v1/models", as(key))).status).toBe(200);
    await gateway.settle();
    await happens();
    later(30);
    // A deleted owner's keys are deleted with them; one whose owner alone is gone is the original's 500 (§3.5).
    expect((await gateway.fetch("/v1/models", as(key))).status).toBe(status);
  });

  it("without a realm a token counts until it ends: whether its session is alive the origin says", async () => {
    const gateway = start({ users: "none" });
    await disabled();
    const token = await signDashboardToken({ sub: "99" });
    expect(await codeOf(gateway, "/api/user/", as(token))).toBe("200");
    expect(gateway.received[0]?.headers.get("authorization")).toBe(`Bearer ${token}`);
    later(905);
    expect(await codeOf(gateway, "/api/user/", as(token))).toBe("401 AUTH_TOKEN_EXPIRED");
  });
});
