// The day of a client, told once and lived twice: with NekoHub signing in behind the gateway, and with Postern in its
// place. What a client reads is the same to the byte, but for what is random.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import { addUser, emptyStores, type Gateway } from "../../../support/worker/gateway.ts";
import { nekohubOrigin } from "./origin.ts";
import { bearer, contextOf, expectBodiless, KEY, type Sent, startNekohub } from "./stand-in.ts";

const NOW_MS = 1_800_000_300_000;
const CONSOLE = "https://console.example.org";
const ACCOUNT = {
  id: "01956f8d-0000-7000-8000-000000000001",
  username: "alice",
  password: "correct horse battery staple",
  role: "Admin",
  permissions: ["assets.read", "users.read"],
} as const;
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(ACCOUNT.password);

interface Session {
  readonly accessToken: string;
  readonly refreshToken: string;
}

let gateway: Gateway;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

const call = (method: string, path: string, headers: Sent = {}, body?: object) =>
  gateway.fetch(path, {
    method,
    headers: { origin: CONSOLE, ...(body && { "content-type": "application/json" }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });

/** The whole answer to a sign-in or refresh, compared with what its two random members make of it. */
async function sessionOf(response: Response, accessEnds: string, refreshEnds: string): Promise<Session> {
  const text = await response.text();
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    "application/json; charset=utf-8",
  ]);
  const accessToken = /"accessToken":"([^"]+)"/.exec(text)?.[1] ?? "";
  const refreshToken = /"refreshToken":"([A-Za-z0-9+/]{86}==)"/.exec(text)?.[1] ?? "";
  expect(text).toBe(
    `{"data":{"accessToken":"${accessToken}","refreshToken":"${refreshToken}",` +
      `"accessTokenExpiresAtUtc":"${accessEnds}","refreshTokenExpiresAtUtc":"${refreshEnds}",` +
      `"user":${USER}}}`,
  );
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  expect(response.headers.get("set-cookie")).toBeNull();
  return { accessToken, refreshToken };
}

const USER =
  '{"id":"01956f8d-0000-7000-8000-000000000001","username":"alice","role":"admin","isActive":true,' +
  '"createdAtUtc":"2027-01-15T08:05:00+00:00","updatedAtUtc":"2027-01-15T08:05:00+00:00",' +
  '"lastLoginAtUtc":"2027-01-15T08:05:00+00:00","permissions":["assets.read","users.read"]}';

async function expectError(response: Response, status: number, code: string, message: string): Promise<void> {
  const text = await response.text();
  const traceId = /"traceId":"([^"]+)"/.exec(text)?.[1] ?? "";
  expect([response.status, text]).toEqual([
    status,
    `{"error":{"code":"${code}","message":"${message}","traceId":"${traceId}","status":${status}}}`,
  ]);
  expect(traceId).not.toBe("");
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  const isAboutKeys = code.startsWith("api_key_");
  expect(response.headers.get("www-authenticate")).toBe(isAboutKeys ? 'Bearer realm="NekoHub"' : null);
}

const UNAUTHORIZED = [401, "auth_unauthorized", "Authentication is required."] as const;
const REUSED = [401, "auth_refresh_token_reused", "Refresh token has already been used."] as const;

describe.each([
  [
    "guard",
    async () => {
      gateway = startNekohub({ keys: true, origin: nekohubOrigin(ACCOUNT) });
    },
  ],
  [
    "guard, users known here",
    async () => {
      const { id, username, permissions } = ACCOUNT;
      await addUser(id, { username, role: "admin", permissions });
      gateway = startNekohub({
        keys: true,
        site: { users: "required" },
        origin: nekohubOrigin(ACCOUNT),
      });
    },
  ],
  [
    "issue",
    async () => {
      const { id, username, permissions } = ACCOUNT;
      await addUser(id, { username, role: "admin", permissions }, PASSWORD_HASH);
      gateway = startNekohub({ keys: true, site: { issue: true }, origin: nekohubOrigin(ACCOUNT) });
    },
  ],
] as const)("%s (NekoHub §2.3, §2.5, §2.6)", (_mode, begin) => {
  it("sign-in, call, refresh, call, sign-out", async () => {
    await begin();
    // A console that was open yesterday asks with what it still has.
    const ping = await call("GET", "/api/v1/system/ping", bearer("old.and.stale"));
    expect([ping.status, await ping.text()]).toEqual([200, '{"data":{"status":"ok"}}']);

    const credentials = { username: " Alice ", password: ACCOUNT.password };
    await expectError(
      await call("POST", "/api/v1/auth/login", {}, { ...credentials, password: "wrong" }),
      401,
      "auth_invalid_credentials",
      "Invalid username or password.",
    );
    const signedIn = await call("POST", "/api/v1/auth/login", bearer("old.and.stale"), credentials);
    const first = await sessionOf(signedIn, "2027-01-15T08:20:00+00:00", "2027-02-14T08:05:00+00:00");

    const list = await call("GET", "/api/v1/assets?page=1", bearer(first.accessToken));
    expect([list.status, await list.text()]).toEqual([
      200,
      '{"data":{"items":[],"page":1,"pageSize":20,"total":0}}',
    ]);
    expect(gateway.received.at(-1)?.headers.get("authorization")).toBe(`Bearer ${first.accessToken}`);
    expect(contextOf(gateway.received.at(-1))).toMatchObject({ sub: ACCOUNT.id, auth: { kind: "jwt" } });
    const me = await call("GET", "/api/v1/auth/me", bearer(first.accessToken));
    expect([me.status, await me.text()]).toEqual([200, `{"data":${USER}}`]);
    await expectBodiless(await call("DELETE", "/api/v1/assets/a1", bearer(first.accessToken)), 403);

    later(900 + 30);
    await expectError(await call("GET", "/api/v1/assets", bearer(first.accessToken)), ...UNAUTHORIZED);
    const refresh = (token: string) => call("POST", "/api/v1/auth/refresh", {}, { refreshToken: token });
    const second = await sessionOf(
      await refresh(first.refreshToken),
      "2027-01-15T08:35:30+00:00",
      "2027-02-14T08:20:30+00:00",
    );
    expect((await call("GET", "/api/v1/assets", bearer(second.accessToken))).status).toBe(200);

    const { refreshToken } = second;
    const out = await call("POST", "/api/v1/auth/logout", bearer(second.accessToken), { refreshToken });
    await expectBodiless(out, 204);
    await expectError(await refresh(refreshToken), ...REUSED);
  });

  it("a reused refresh token ends its successor; one that never was is invalid", async () => {
    await begin();
    const { username, password } = ACCOUNT;
    const signedIn = await call("POST", "/api/v1/auth/login", {}, { username, password });
    const ends = ["2027-01-15T08:20:00+00:00", "2027-02-14T08:05:00+00:00"] as const;
    const first = await sessionOf(signedIn, ...ends);
    const refresh = (token: string) => call("POST", "/api/v1/auth/refresh", {}, { refreshToken: token });
    const second = await sessionOf(await refresh(first.refreshToken), ...ends);
    await expectError(await refresh(first.refreshToken), ...REUSED);
    await expectError(await refresh(second.refreshToken), ...REUSED);
    await expectError(
      await refresh(btoa("x".repeat(64))),
      401,
      "auth_refresh_token_invalid",
      "Refresh token is invalid.",
    );
  });

  it("a script and an MCP client, by key", async () => {
    await begin();
    const key = bearer(KEY);
    expect((await call("GET", "/api/v1/assets", key)).status).toBe(200);
    expect((await call("DELETE", "/api/v1/assets/a1", key)).status).toBe(200);
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    const answer = await call("POST", "/mcp", key, ping);
    expect([answer.status, await answer.text()]).toEqual([200, '{"jsonrpc":"2.0","id":1,"result":{}}']);
    expect(await gateway.received.at(-1)?.headers.get("authorization")).toBe(`Bearer ${KEY}`);
    const stream = await call("GET", "/mcp", key);
    expect([stream.status, stream.headers.get("allow")]).toEqual([405, "POST"]);
    await expectError(await call("GET", "/api/v1/auth/me", key), ...UNAUTHORIZED);
    await expectError(
      await call("POST", "/mcp", bearer(`${KEY}.`), ping),
      401,
      "api_key_invalid",
      "API key is invalid.",
    );
    await expectError(
      await call("POST", "/mcp", {}, ping),
      401,
      "api_key_missing",
      "API key is required. Use Authorization: Bearer <API_KEY>.",
    );
  });
});
