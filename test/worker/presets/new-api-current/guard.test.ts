// In front of a current New API that issues its own credentials: dashboard tokens, personal access tokens, keys.
import { base64url } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
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

const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  preset: "new-api-current",
  jwt: { secret: "TEST_SESSION_SECRET" },
} as const;
const vars = {
  TEST_SESSION_SECRET: SESSION_SECRET,
  SITE_TEST: SITE,
  GATEWAY: { issuer: "https://auth.example.com", environment: "development", freshness_seconds: 30 },
};

let gateway: Gateway;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  gateway = startGateway({ vars });
  await addUser("7", { username: "alice" });
});

afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const call = async (authorization: string | null, path = "/api/user/self", init: RequestInit = {}) => {
  const headers = new Headers(init.headers);
  if (authorization !== null) headers.set("authorization", authorization);
  const response = await gateway.fetch(path, { ...init, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
};

const PASSED = { status: 200, body: "from the origin" };
const said = (status: number, code: string, message: string) => ({
  status,
  body: JSON.stringify({ code, message, success: false }),
});
const INVALID = "Unauthorized, invalid access token";
const UNAUTHORIZED = said(401, "AUTH_UNAUTHORIZED", INVALID);
const codeOf = ({ status, body }: { readonly status: number; readonly body: string }) =>
  `${status} ${(JSON.parse(body) as { code?: string }).code}`;

const without = async (claim: string) => signDashboardToken({ [claim]: undefined });
const otherHeader = (token: string, header: object) =>
  [base64url.encode(JSON.stringify(header)), ...token.split(".").slice(1)].join(".");

describe("rejections (New API §3.4)", () => {
  it.each<[string, () => Promise<string | null>]>([
    ["no credential", async () => null],
    ["an empty header", async () => ""],
    ["a scheme without a word", async () => "Bearer"],
    ["an unknown opaque value", async () => "Bearer x"],
    ["an opaque value of a PAT's length", async () => "A".repeat(32)],
    ["another scheme", async () => "Basic YWxpY2U6eA=="],
    ["three words", async () => `Bearer ${await signDashboardToken()} x`],
    ["three words of a good PAT", async () => `Bearer ${await addPat("pat_1")} x`],
    ["a scheme that only begins like one", async () => `Bearers ${await signDashboardToken()}`],
    ["two headers in one", async () => `${await signDashboardToken()},${await signDashboardToken()}`],
    ["a good key", async () => `Bearer ${await addApiKey("key_1")}`],
    ["a forged token", async () => signDashboardToken({}, { key: new Uint8Array(32) })],
    [
      "a token by the session secret itself",
      async () => signDashboardToken({}, { key: new TextEncoder().encode(SESSION_SECRET) }),
    ],
    [
      "a token by the key of another label",
      async () =>
        signDashboardToken({}, { key: await dashboardKey(SESSION_SECRET, "new-api/auth/refresh/v1") }),
    ],
    ["HS512 by the right key", async () => signDashboardToken({}, { alg: "HS512", key: await longKey() })],
    [
      "HS512 in the header only",
      async () => otherHeader(await signDashboardToken(), { alg: "HS512", typ: "JWT" }),
    ],
    ["alg none", async () => otherHeader(await signDashboardToken(), { alg: "none", typ: "JWT" })],
    [
      "alg none without a signature",
      async () =>
        `${otherHeader(await signDashboardToken(), { alg: "none" })
          .split(".")
          .slice(0, 2)
          .join(".")}.`,
    ],
    ["a user that the realm does not know", async () => signDashboardToken({ sub: "8" })],
    [
      "a deleted user",
      async () => {
        await writes.deleteUser("main", "7", NOW_SECONDS, NOW_SECONDS + 900);
        return signDashboardToken();
      },
    ],
    ["a proof for sensitive calls", async () => signDashboardToken({ token_use: "security_proof" })],
    ["a refresh token", async () => signDashboardToken({ token_use: "refresh" })],
    ["no use", () => without("token_use")],
    ["no issuer", () => without("iss")],
    ["another issuer", async () => signDashboardToken({ iss: "new-api2" })],
    ["no audience", () => without("aud")],
    ["another audience", async () => signDashboardToken({ aud: ["new-api-security"] })],
    ["no session", () => without("sid")],
    ["an empty session", async () => signDashboardToken({ sid: "" })],
    ["no user version", () => without("uv")],
    ["a user version that is text", async () => signDashboardToken({ uv: "3" })],
    ["no session version", () => without("sv")],
    ["a negative session version", async () => signDashboardToken({ sv: -1 })],
    ["a session version with a fraction", async () => signDashboardToken({ sv: 1.5 })],
    ["no subject", () => without("sub")],
    ["a subject that is no number", async () => signDashboardToken({ sub: "alice" })],
    ["a subject with a leading zero", async () => signDashboardToken({ sub: "07" })],
    ["a subject that is a JSON number", async () => signDashboardToken({ sub: 7 })],
    ["no expiry", () => without("exp")],
    ["an expiry that is too far away", async () => signDashboardToken({ exp: NOW_SECONDS + 3_600 })],
    ["no nbf", () => without("nbf")],
    ["no iat", () => without("iat")],
    ["no jti", () => without("jti")],
  ])("%s is AUTH_UNAUTHORIZED", async (_what, credential) => {
    expect(await call(await credential())).toMatchObject(UNAUTHORIZED);
    expect(gateway.received).toHaveLength(0);
  });

  it("a good token passes, so that each of these is refused for what it says", async () => {
    expect(await call(`Bearer ${await signDashboardToken()}`)).toMatchObject(PASSED);
    expect(await call(await signDashboardToken({ aud: "new-api-dashboard" }))).toMatchObject(PASSED);
  });

  it.each([
    ["expiry, a second before it counts", { exp: NOW_SECONDS - 4 }, "200"],
    ["expiry, from then on", { exp: NOW_SECONDS - 5 }, "401 AUTH_TOKEN_EXPIRED"],
    ["nbf as far ahead as is tolerated", { nbf: NOW_SECONDS + 5 }, "200"],
    ["nbf a second further", { nbf: NOW_SECONDS + 6 }, "401 AUTH_UNAUTHORIZED"],
  ])("5 s of tolerance: %s", async (_what, claims, expected) => {
    const answer = await call(await signDashboardToken(claims));
    expect(answer.status === 200 ? "200" : codeOf(answer)).toBe(expected);
  });

  it("the cached token expires with the clock", async () => {
    const token = await signDashboardToken();
    vi.setSystemTime(NOW_MS + 904_000);
    expect(await call(token)).toMatchObject(PASSED);
    vi.setSystemTime(NOW_MS + 905_000);
    expect(await call(token)).toMatchObject(said(401, "AUTH_TOKEN_EXPIRED", INVALID));
  });

  it("a forged token that has expired says nothing of its expiry", async () => {
    const forged = await signDashboardToken({ exp: NOW_SECONDS - 100 }, { key: new Uint8Array(32) });
    expect(await call(forged)).toMatchObject(UNAUTHORIZED);
  });

  it.each<[string, () => Promise<unknown>]>([
    ["a disabled user", () => DB.prepare("UPDATE users SET status = 'disabled'").run()],
    [
      "a session that was revoked here",
      () =>
        writes.revoke(
          {
            realm: "main",
            kind: "session",
            value: "0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11",
            expiresAtSeconds: NOW_SECONDS + 2_000,
          },
          NOW_SECONDS,
        ),
    ],
    [
      "a user whose tokens were all revoked",
      () =>
        writes.revoke(
          {
            realm: "main",
            kind: "subject",
            value: "7",
            issuedBeforeSeconds: NOW_SECONDS,
            expiresAtSeconds: null,
          },
          NOW_SECONDS,
        ),
    ],
  ])("a token of %s is AUTH_SESSION_REVOKED", async (_what, happens) => {
    await happens();
    expect(codeOf(await call(await signDashboardToken()))).toBe("401 AUTH_SESSION_REVOKED");
  });

  it("a PAT of a disabled user is AUTH_USER_DISABLED", async () => {
    const pat = await addPat("pat_1");
    await DB.prepare("UPDATE users SET status = 'disabled'").run();
    expect(codeOf(await call(pat))).toBe("401 AUTH_USER_DISABLED");
  });

  it.each([
    ["/api/user/", "GET"],
    ["/api/channel/", "GET"],
    ["/api/option/", "GET"],
    ["/api/log/", "DELETE"],
  ])("a role too low for %s is 403 AUTH_INSUFFICIENT_PRIVILEGE", async (path, method) => {
    const expected = said(403, "AUTH_INSUFFICIENT_PRIVILEGE", "Unauthorized, insufficient privileges");
    expect(await call(await signDashboardToken(), path, { method })).toMatchObject(expected);
    expect(await call(await addPat("pat_1"), path, { method })).toMatchObject(expected);
  });

  it.each([
    "/api/user/sessions",
    "/api/user/sessions/",
    "/api/user/sessions/0b8f3c1e",
    "/api/user/sessions/a/b",
  ])("a PAT at %s is 403 AUTH_SESSION_REQUIRED, a bad one 401, a token passes", async (path) => {
    expect(codeOf(await call(await addPat("pat_1"), path))).toBe("403 AUTH_SESSION_REQUIRED");
    expect(codeOf(await call("A".repeat(32), path))).toBe("401 AUTH_UNAUTHORIZED");
    expect(codeOf(await call(await addApiKey("key_1"), path))).toBe("401 AUTH_UNAUTHORIZED");
    expect(await call(await signDashboardToken(), path)).toMatchObject(PASSED);
  });

  it("D1 down is 503 with Retry-After, never 401", async () => {
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    for (const credential of [await signDashboardToken(), `${"A".repeat(24)}BBBBBBBB`]) {
      const { status, headers } = await call(credential);
      if (status === 401) continue; // an opaque value without our tag costs no look-up
      expect(status).toBe(503);
      expect(headers.has("retry-after")).toBe(true);
    }
    expect((await call(await signDashboardToken())).status).toBe(503);
  });
});

describe("what the original has no word for", () => {
  it("is told by our own: a path that another site may have relaxed, and this one has not", async () => {
    const other = { hosts: ["b.example.com"], origin: "service:ORIGIN", allow: ["semicolon"] };
    gateway = startGateway({
      vars: { ...vars, SITE_OTHER: { ...other, realm: "main", routes: [{ path: "/*", auth: "none" }] } },
    });
    expect(await call(await signDashboardToken(), "/api/user/self;x/y")).toMatchObject(
      said(400, "path_ambiguous", "The path can be read in more than one way"),
    );
    expect(gateway.received).toHaveLength(0);
  });

  it("an outage has its word", async () => {
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    const answer = await call(await signDashboardToken());
    expect(codeOf(answer)).toBe("503 AUTH_INTERNAL_ERROR");
  });
});

describe("places (New API §3.2)", () => {
  it.each([
    ["Bearer", (value: string) => `Bearer ${value}`],
    ["bearer", (value: string) => `bearer ${value}`],
    ["BEARER and more blanks", (value: string) => `BEARER   ${value}`],
    ["a single raw word", (value: string) => value],
  ])("%s, and the origin gets it as it came", async (_what, written) => {
    for (const value of [await signDashboardToken(), await addPat(`pat_${crypto.randomUUID()}`)]) {
      expect(await call(written(value))).toMatchObject(PASSED);
      expect(gateway.received.at(-1)?.headers.get("authorization")).toBe(written(value));
      expect(gateway.received.at(-1)?.headers.has("x-user-context")).toBe(true);
    }
  });

  it.each([
    ["x-api-key", "header"],
    ["mj-api-secret", "header"],
    ["x-goog-api-key", "header"],
    ["new_api_refresh", "cookie"],
    ["session", "cookie"],
    ["key", "query"],
  ])("%s as a %s is no place for a token or PAT", async (name, where) => {
    for (const value of [await signDashboardToken(), await addPat(`pat_${crypto.randomUUID()}`)]) {
      const headers =
        where === "header" ? { [name]: value } : where === "cookie" ? { cookie: `${name}=${value}` } : {};
      const path = where === "query" ? `/api/user/self?${name}=${value}` : "/api/user/self";
      expect(await call(null, path, { headers })).toMatchObject(UNAUTHORIZED);
    }
  });

  it.each(["7", "8", "alice", ""])("New-Api-User %j is ignored", async (claimed) => {
    const init = { headers: { "new-api-user": claimed } };
    expect(await call(await signDashboardToken(), "/api/user/self", init)).toMatchObject(PASSED);
    expect(await call(await addPat("pat_1"), "/api/user/self", init)).toMatchObject(PASSED);
  });
});

describe("routes that need no credential (New API §3.6, section 4)", () => {
  it.each(["/api/pricing", "/api/rankings", "/api/perf-metrics", "/api/perf-metrics/x"])(
    "%s: opaque bad values are ignored and go no further, an own bad token is refused",
    async (path) => {
      expect(await call(null, path)).toMatchObject(PASSED);
      for (const opaque of ["Bearer x", "A".repeat(32), "sk-x", "Basic eDp5", "a b c", foreignJwt()]) {
        expect(await call(opaque, path)).toMatchObject(PASSED);
        expect(gateway.received.at(-1)?.headers.get("authorization") ?? "Basic eDp5").toBe("Basic eDp5");
      }
      expect(codeOf(await call(await signDashboardToken({ exp: NOW_SECONDS - 60 }), path))).toBe(
        "401 AUTH_TOKEN_EXPIRED",
      );
      for (const claims of [{ sub: "8" }, { jti: undefined }, { token_use: "security_proof" }]) {
        expect(codeOf(await call(await signDashboardToken(claims), path))).toBe("401 AUTH_UNAUTHORIZED");
      }
      const forged = await signDashboardToken({}, { key: new Uint8Array(32) });
      expect(codeOf(await call(forged, path))).toBe("401 AUTH_UNAUTHORIZED");
      expect(await call(await signDashboardToken(), path)).toMatchObject(PASSED);
    },
  );

  it("an expired PAT is opaque too", async () => {
    const pat = await addPat("pat_1", { expiresAtSeconds: NOW_SECONDS });
    expect(await call(pat, "/api/pricing")).toMatchObject(PASSED);
  });

  it.each([
    ["POST", "/api/user/login"],
    ["POST", "/api/user/login/2fa"],
    ["POST", "/api/user/auth/refresh"],
    ["POST", "/api/user/auth/logout"],
    ["GET", "/api/status"],
    ["GET", "/api/setup"],
  ])("%s %s goes to the origin with all that it carries", async (method, path) => {
    const headers = { cookie: "new_api_refresh=a.b", "x-auth-session": "a" };
    expect(await call("Bearer x", path, { method, headers })).toMatchObject(PASSED);
    const received = gateway.received[0]?.headers;
    expect(received?.get("cookie")).toBe("new_api_refresh=a.b");
    expect(received?.get("x-auth-session")).toBe("a");
    expect(received?.get("authorization")).toBe("Bearer x");
  });
});

describe("keys stay where keys are, tokens where tokens are (New API §3.5, §3.8)", () => {
  it("a token or PAT is no key, in relay's own words", async () => {
    for (const value of [await signDashboardToken(), await addPat("pat_1")]) {
      const { status, body } = await call(`Bearer ${value}`, "/v1/models");
      expect(status).toBe(401);
      expect(body).toMatch(
        /^\{"error":\{"code":"","message":"Invalid token \(request id: [^)]+\)","type":"new_api_error"\}\}$/,
      );
    }
  });

  it("a key passes relay and asks about itself", async () => {
    const key = await addApiKey("key_1");
    expect(await call(`Bearer ${key}`, "/v1/chat/completions", { method: "POST" })).toMatchObject(PASSED);
    expect(await call(`Bearer ${key}`, "/api/usage/token/")).toMatchObject(PASSED);
  });

  it("GET /v1/videos/:id/content takes a token or a key, and no PAT", async () => {
    const path = "/v1/videos/task_1/content";
    expect(await call(`Bearer ${await signDashboardToken()}`, path)).toMatchObject(PASSED);
    expect(await call(`Bearer ${await addApiKey("key_1")}`, path)).toMatchObject(PASSED);
    expect((await call(`Bearer ${await addPat("pat_1")}`, path)).status).toBe(401);
    expect((await call(`Bearer ${await signDashboardToken()}`, "/v1/videos/task_1")).status).toBe(401);
  });
});

describe("a flow in guard mode: the origin issues, the edge verifies", () => {
  it("sign-in, call, refresh, sign-out", async () => {
    let refreshes = 0;
    gateway = startGateway({
      vars,
      origin: async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/api/user/self") {
          return Response.json({ authorization: request.headers.get("authorization") });
        }
        if (pathname === "/api/user/auth/logout") return Response.json({ message: "", success: true });
        refreshes += 1;
        const token = await signDashboardToken({ jti: crypto.randomUUID() });
        const cookie = `new_api_refresh=0b8f3c1e.${refreshes}; Path=/api/user/auth; HttpOnly; SameSite=Strict`;
        return Response.json(
          { success: true, data: { access_token: token } },
          { headers: { "set-cookie": cookie } },
        );
      },
    });
    const issued = async (path: string, headers: Record<string, string> = {}) => {
      const response = await gateway.fetch(path, { method: "POST", headers });
      const { data } = (await response.json()) as { data: { access_token: string } };
      return { token: data.access_token, cookie: response.headers.get("set-cookie")?.split(";")[0] ?? "" };
    };
    const first = await issued("/api/user/login");
    expect(first.cookie).toBe("new_api_refresh=0b8f3c1e.1");
    const self = await call(`Bearer ${first.token}`);
    expect(JSON.parse(self.body)).toEqual({ authorization: `Bearer ${first.token}` });

    vi.setSystemTime(NOW_MS + 1_000_000);
    expect(codeOf(await call(`Bearer ${first.token}`))).toBe("401 AUTH_TOKEN_EXPIRED");
    const second = await issued("/api/user/auth/refresh", { cookie: first.cookie });
    expect(gateway.received.at(-1)?.headers.get("cookie")).toBe(first.cookie);
    expect((await call(`Bearer ${second.token}`)).status).toBe(200);
    expect((await call(null, "/api/user/auth/logout", { method: "POST" })).body).toBe(
      '{"message":"","success":true}',
    );
  });
});

/** HS512 takes keys of 64 bytes; the derived one, padded with zeros, is the same HMAC key (RFC 2104 section 2). */
async function longKey(): Promise<Uint8Array> {
  const key = new Uint8Array(64);
  key.set(await dashboardKey());
  return key;
}

function foreignJwt(): string {
  const part = (content: object) => base64url.encode(JSON.stringify(content));
  return `${part({ alg: "HS256" })}.${part({ iss: "https://idp.example.com", sub: "7" })}.${"A".repeat(43)}`;
}
