// The day of a dashboard, told once and lived twice: with New API signing in behind the gateway, and with Postern in its
// place. What a page reads is the same to the byte, but for what is random.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import { addUser, emptyStores, type Gateway, startGateway } from "../../../support/worker/gateway.ts";
import { NOW_MS, NOW_SECONDS, SESSION_SECRET } from "./dashboard.ts";
import { newApiOrigin } from "./origin.ts";

const ACCOUNT = { id: 7, username: "alice", password: "correct horse battery staple" } as const;
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(ACCOUNT.password);
const DAYS_30 = 2_592_000;
const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const CLEARED = "new_api_refresh=; Path=/api/user/auth; Max-Age=0; HttpOnly; Secure; SameSite=Strict";
const INVALID = "Unauthorized, invalid access token";

let gateway: Gateway;
/** What a browser keeps: it goes to `/api/user/auth` alone. */
let jar: string;

const vars = (site: Readonly<Record<string, unknown>>) => ({
  TEST_SESSION_SECRET: SESSION_SECRET,
  SITE_TEST: {
    hosts: ["api.example.com"],
    origin: "service:ORIGIN",
    realm: "main",
    preset: "new-api-current",
    jwt: { secret: "TEST_SESSION_SECRET" },
    ...site,
  },
  GATEWAY: { issuer: "https://auth.example.com", environment: "development", freshness_seconds: 30 },
});

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  jar = "";
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

/** As the dashboard calls: from a page of this host. */
async function call(
  method: string,
  path: string,
  { token = "", body = "", headers = {} as Record<string, string>, cookie = jar } = {},
) {
  const response = await gateway.fetch(path, {
    method,
    headers: {
      "sec-fetch-site": "same-origin",
      "user-agent": "a browser",
      "cf-connecting-ip": "192.0.2.7",
      ...(method !== "GET" && { origin: "https://api.example.com" }),
      ...(path.startsWith("/api/user/auth/") && cookie !== "" && { cookie }),
      ...(token !== "" && { authorization: `Bearer ${token}` }),
      ...(body !== "" && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== "" && { body }),
  });
  const set = response.headers.get("set-cookie");
  if (set !== null) jar = set.startsWith("new_api_refresh=;") ? "" : (set.split(";", 1)[0] ?? "");
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    text: await response.text(),
    set,
  };
}
type Answer = Awaited<ReturnType<typeof call>>;

const JSON_TYPE = "application/json; charset=utf-8";
const USER = '{"id":7,"username":"alice","display_name":"alice","role":1,"status":1,"group":"default"}';

/** The whole bundle and its cookie, compared with what their random parts make of them. */
function bundleOf(answer: Answer, atSeconds: number, activeAtSeconds = atSeconds) {
  const { text, set } = answer;
  const token = /"access_token":"([^"]+)"/.exec(text)?.[1] ?? "";
  const sid = /"sid":"([^"]+)"/.exec(text)?.[1] ?? "";
  expect({ ...answer, set: null }).toEqual({
    status: 200,
    type: JSON_TYPE,
    text:
      `{"success":true,"message":"","data":{"access_token":"${token}","token_type":"Bearer",` +
      `"access_expires_at":${NOW_SECONDS + atSeconds + 900},"user":${USER},` +
      `"session":{"sid":"${sid}","current":true,"login_method":"password","ip":"192.0.2.7",` +
      `"user_agent":"a browser","created_at":${NOW_SECONDS},"last_active_at":${NOW_SECONDS + activeAtSeconds},` +
      `"expires_at":${NOW_SECONDS + DAYS_30}}}}`,
    set: null,
  });
  expect(sid).toMatch(new RegExp(`^${UUID}$`));
  expect(set).toMatch(
    new RegExp(
      `^new_api_refresh=${sid}\\.[A-Za-z0-9_-]{52}; Path=/api/user/auth; Max-Age=${DAYS_30 - atSeconds}; ` +
        "HttpOnly; Secure; SameSite=Strict$",
    ),
  );
  return { token, sid };
}

const said = (status: number, text: string, set: string | null = null): Answer => ({
  status,
  type: JSON_TYPE,
  text,
  set,
});
const gate = (code: string, status = 401, message = INVALID) =>
  said(status, `{"code":"${code}","message":"${message}","success":false}`);
const renewal = (code: string, status: number, message: string) =>
  said(status, `{"success":false,"code":"${code}","message":"${message}"}`, status === 401 ? CLEARED : null);

describe.each([
  ["guard", {}],
  ["guard without a realm", { users: "none" }],
  ["issue", { issue: true }],
] as const)("%s (New API §3.4)", (mode, site) => {
  beforeEach(async () => {
    await addUser("7", { username: "alice" }, mode === "issue" ? PASSWORD_HASH : undefined);
    gateway = startGateway({ vars: vars(site), origin: newApiOrigin(ACCOUNT) });
  });

  const login = (password: string = ACCOUNT.password) =>
    call("POST", "/api/user/login", { body: JSON.stringify({ username: "alice", password }) });
  const refresh = (headers: Record<string, string> = {}, cookie = jar) =>
    call("POST", "/api/user/auth/refresh", { headers, cookie });
  const self = (token: string) => call("GET", "/api/user/self", { token });

  it("sign-in, call, refresh, call, sign-out", async () => {
    expect(await login("wrong")).toEqual(
      said(200, '{"message":"Username or password is incorrect, or user has been banned","success":false}'),
    );
    const first = bundleOf(await login(), 0);
    expect(await self(first.token)).toEqual(said(200, `{"success":true,"message":"","data":${USER}}`));

    later(905);
    expect(await self(first.token)).toEqual(gate("AUTH_TOKEN_EXPIRED"));
    const second = bundleOf(await refresh({ "x-auth-session": first.sid }), 905);
    expect(second.sid).toBe(first.sid);
    expect(await self(second.token)).toMatchObject({ status: 200 });
    if (mode !== "guard without a realm") {
      const forbidden = await call("GET", "/api/user/", { token: second.token });
      const words = "Unauthorized, insufficient privileges";
      expect(forbidden).toEqual(gate("AUTH_INSUFFICIENT_PRIVILEGE", 403, words));
    }
    expect(await call("GET", "/api/user/self", {})).toEqual(gate("AUTH_UNAUTHORIZED"));

    const kept = jar;
    expect(await call("POST", "/api/user/auth/logout", { token: second.token })).toEqual(
      said(200, '{"message":"","success":true}', CLEARED),
    );
    expect(jar).toBe("");
    expect(await self(second.token)).toEqual(gate("AUTH_SESSION_REVOKED"));
    expect(await refresh({}, kept)).toEqual(renewal("AUTH_SESSION_REVOKED", 401, "Unauthorized"));
    expect(await refresh({}, "")).toEqual(renewal("AUTH_UNAUTHORIZED", 401, "Unauthorized"));
  });

  it("two tabs renew with one cookie; half a minute later it ends the session", async () => {
    const { sid } = bundleOf(await login(), 0);
    const shared = jar;
    later(100);
    bundleOf(await refresh({}, shared), 100);
    const next = jar;
    later(130);
    bundleOf(await refresh({}, shared), 130, 100);
    expect(jar).toBe(next);
    const other = await refresh({
      "x-auth-session": sid.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
    });
    expect(other).toEqual(renewal("AUTH_SESSION_MISMATCH", 409, "Conflict"));
    later(131);
    expect(await refresh({}, shared)).toEqual(renewal("AUTH_SESSION_REVOKED", 401, "Unauthorized"));
    expect(await refresh({}, next)).toEqual(renewal("AUTH_SESSION_REVOKED", 401, "Unauthorized"));
  });
});
