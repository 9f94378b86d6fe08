// A Cloudreve behind the gateway, the tokens its clients hold, and what is written about its routes.
import { SignJWT } from "jose";
import { expect } from "vitest";
import { GATEWAY, type Gateway, startGateway } from "../../../support/worker/gateway.ts";

export const MASTER_KEY = "q9Xw3LrT7vBzKc2Nf8HsYj5MdQp6UgRe4Aa1VtXkZbWnPoCyJm0GhFiDuEsOlIqS";
export const SITE_ID = "6f1f6d64-6c1d-4f3e-9e0a-1f7c0b9d2e11";
export const HOST = "api.example.com";
export const API = "/api/v4";
export const FILES = `${API}/file`;
export const ME = `${API}/user/me`;
export const PING = `${API}/site/ping`;

export interface Setting {
  readonly site?: Readonly<Record<string, unknown>>;
  readonly jwt?: Readonly<Record<string, unknown>>;
  readonly vars?: Readonly<Record<string, unknown>>;
  readonly origin?: (request: Request) => Promise<Response> | Response;
}

/** One site with the preset alone, as an operator would write it. */
export function startCloudreve({ site = {}, jwt = {}, vars = {}, origin }: Setting = {}): Gateway {
  return startGateway({
    vars: {
      GATEWAY: { ...GATEWAY, realms: {} },
      SITE_TEST: {
        hosts: [HOST],
        origin: "service:ORIGIN",
        preset: "cloudreve",
        realm: "main",
        jwt: { secret: "CLOUDREVE_MASTER_KEY", ...jwt },
        ...site,
      },
      CLOUDREVE_MASTER_KEY: MASTER_KEY,
      ...vars,
    },
    ...(origin !== undefined && { origin }),
  });
}

export const nowSeconds = () => Math.floor(Date.now() / 1_000);

export interface Signing {
  readonly alg?: string;
  readonly secret?: string;
  readonly header?: Readonly<Record<string, unknown>>;
}

/** An access token as Cloudreve signs it, and as its documentation has one made. `undefined` leaves a claim out. */
export function sign(
  claims: Readonly<Record<string, unknown>> = {},
  { alg = "HS256", secret = MASTER_KEY, header = {} }: Signing = {},
): Promise<string> {
  const now = nowSeconds();
  return new SignJWT({ token_type: "access", sub: "lpua", exp: now + 3_600, nbf: now, ...claims })
    .setProtectedHeader({ alg, typ: "JWT", ...header })
    .sign(new TextEncoder().encode(secret));
}

/** A refresh token as Cloudreve signs it, for two weeks. */
export const signRefresh = (claims: Readonly<Record<string, unknown>> = {}, signing: Signing = {}) =>
  sign(
    {
      token_type: "refresh",
      exp: nowSeconds() + 14 * 86_400,
      state_hash: "I58+Rnk+LuiNLAn0jzOJ4n99J+Wxj/Jsn2hEV+Qpaz4=",
      root_token_id: "0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11",
      ...claims,
    },
    signing,
  );

export type Sent = Readonly<Record<string, string>>;
export const bearer = (value: string): Sent => ({ authorization: `Bearer ${value}` });

export const LOGIN_REQUIRED = [401, "Login required"] as const;
export const WRONG_USE = [40020, "Invalid token type"] as const;
export const NO_SUCH_USER = [404, "User not found"] as const;
export const USER_IS_OUT = [50001, "failed to get login user"] as const;
export const NOT_ADMIN = [403, ""] as const;
export const lacks = (scope: string) => [40089, `Insufficient scope: ${scope}`] as const;
export type Words = readonly [code: number, message: string];

/** Compares a refusal to the byte: status, body, headers. Whose parameters are wrong is given no id. */
export async function expectRefusal(response: Response, [code, msg]: Words, status = 200): Promise<void> {
  const id = response.headers.get("x-request-id");
  const tail = code === 40001 ? "" : `,"correlation_id":"${id}"`;
  expect([response.status, await response.text()]).toEqual([
    status,
    `{"code":${code},"msg":${JSON.stringify(msg)}${tail}}`,
  ]);
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("www-authenticate")).toBeNull();
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
}

/** The user context that the origin got; its signature is tested elsewhere. */
export function contextOf(request: Request | undefined): Readonly<Record<string, unknown>> {
  const [, payload = ""] = (request?.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
}

/**
 * What a row asks for. `passed`: nobody is looked at. `none` and `optional`: a token counts, and nobody needs one.
 * `required`: one that is good. `admin`: of an administrator.
 */
export type Demand = "passed" | "none" | "optional" | "required" | "admin";
export interface RouteRow {
  readonly group: string;
  readonly demand: Demand;
  readonly call: `${string} ${string}`;
  /** What a token for an OAuth client needs, in the order in which it is asked for. */
  readonly scopes: readonly string[];
}

/** The route groups of the wire contract, §1.6: group, level, scopes, then calls. */
const GROUPS: readonly (readonly [string, Demand, string, ...string[]])[] = [
  ["site", "none", "", "GET site/ping", "GET site/captcha", "GET site/config/basic"],
  ["session", "none", "", "POST session/token", "POST session/token/2fa", "DELETE session/token"],
  ["session", "none", "", "GET session/prepare?email=a@b.c", "PUT session/authn", "POST session/authn"],
  ["session refresh", "none", "offline_access", "POST session/token/refresh"],
  ["session/oauth", "none", "", "GET session/oauth/app/g1", "POST session/oauth/token"],
  ["session/oauth", "required", "", "POST session/oauth/consent", "GET session/oauth/userinfo"],
  ["session/oauth", "required", "UserSecurityInfo.Write", "DELETE session/oauth/grant/g1"],
  ["user", "none", "", "POST user", "POST user/reset", "PATCH user/reset/lpua"],
  ["user/activate", "none", "", "GET user/activate/lpua?sign=abc:0", "GET user/session/copy/lpua?sign=abc:0"],
  ["user public", "optional", "", "GET user/avatar/lpua", "GET user/info/lpua", "GET user/shares/lpua"],
  ["user/me", "required", "UserInfo.Read", "GET user/me", "GET user/capacity", "GET user/search?keyword=a"],
  [
    "user/authn",
    "required",
    "UserSecurityInfo.Write",
    "PUT user/authn",
    "POST user/authn",
    "DELETE user/authn",
  ],
  ["user/setting", "required", "UserInfo.Read", "GET user/setting", "GET user/setting/2fa"],
  [
    "user/setting",
    "required",
    "UserInfo.Read UserInfo.Write",
    "PATCH user/setting",
    "PUT user/setting/avatar",
  ],
  ["file", "optional", "Files.Read", "GET file?uri=x", "POST file/url", "GET file/thumb", "GET file/info"],
  ["file", "optional", "Files.Read", "PUT file/source", "DELETE file/source/s1"],
  ["file", "optional", "Files.Read Files.Write", "POST file/create", "POST file/rename", "POST file/move"],
  [
    "file",
    "optional",
    "Files.Read Files.Write",
    "PUT file/content?uri=x",
    "DELETE file",
    "DELETE file/trash",
  ],
  ["file", "optional", "Files.Read Files.Write", "DELETE file/lock", "POST file/restore", "PATCH file/view"],
  ["file", "optional", "Files.Read Files.Write", "PATCH file/metadata", "PUT file/viewerSession"],
  [
    "file/upload",
    "optional",
    "Files.Read Files.Write",
    "PUT file/upload",
    "POST file/upload/s1/0",
    "DELETE file/upload",
  ],
  ["file/pin", "optional", "Files.Read Files.Write", "PUT file/pin", "DELETE file/pin"],
  ["file/version", "optional", "Files.Read Files.Write", "POST file/version/current", "DELETE file/version"],
  [
    "file/content",
    "optional",
    "Files.Read",
    "GET file/content/e1/0/a.txt?sign=abc:0",
    "HEAD file/content/e1/0/a.txt",
  ],
  ["file/content", "optional", "Files.Read", "OPTIONS file/content/e1/0/a.txt"],
  ["file/archive", "none", "", "GET file/archive/s1/archive.zip?sign=abc:0"],
  ["file login", "required", "Files.Read", "GET file/events", "GET file/search?query=a"],
  [
    "file/wopi",
    "passed",
    "",
    "GET file/wopi/f1?access_token=s.k",
    "POST file/wopi/f1",
    "GET file/wopi/f1/contents",
  ],
  ["file/wopi", "passed", "", "POST file/wopi/f1/contents?access_token=s.k"],
  ["share", "required", "Shares.Read", "GET share"],
  [
    "share",
    "required",
    "Shares.Read Shares.Write",
    "PUT share",
    "POST share/s1",
    "DELETE share/s1",
    "DELETE share",
  ],
  ["share/info", "optional", "Shares.Read", "GET share/info/s1?password=p"],
  ["workflow", "required", "Workflow.Read", "GET workflow", "GET workflow/progress/t1"],
  ["workflow", "required", "Workflow.Read Workflow.Write", "POST workflow/archive", "POST workflow/extract"],
  [
    "workflow",
    "required",
    "Workflow.Read Workflow.Write",
    "POST workflow/download",
    "PATCH workflow/download/t1",
  ],
  ["workflow", "required", "Workflow.Read Workflow.Write", "DELETE workflow/download/t1"],
  ["workflow admin", "admin", "Workflow.Read Workflow.Write Admin.Write", "POST workflow/import"],
  ["workflow admin", "admin", "Workflow.Read Workflow.Write Admin.Write", "POST workflow/rebuildFtsIndex"],
  ["devices", "required", "DavAccount.Read", "GET devices/dav"],
  ["devices", "required", "DavAccount.Read DavAccount.Write", "PUT devices/dav", "PATCH devices/dav/d1"],
  ["devices", "required", "DavAccount.Read DavAccount.Write", "DELETE devices/dav/d1"],
  [
    "admin",
    "admin",
    "Admin.Read",
    "GET admin/summary",
    "POST admin/settings",
    "POST admin/user",
    "GET admin/user/1",
  ],
  [
    "admin",
    "admin",
    "Admin.Read",
    "POST admin/group",
    "POST admin/queue",
    "POST admin/policy",
    "POST admin/node",
  ],
  [
    "admin",
    "admin",
    "Admin.Read",
    "POST admin/file",
    "POST admin/entity",
    "POST admin/share",
    "GET admin/queue/metrics",
  ],
  [
    "admin",
    "admin",
    "Admin.Read Admin.Write",
    "PATCH admin/settings",
    "PUT admin/user/1",
    "DELETE admin/policy/1",
  ],
  ["admin", "admin", "Admin.Read Admin.Write", "POST admin/user/batch/delete", "POST admin/node/test"],
  [
    "admin",
    "admin",
    "Admin.Read Admin.Write",
    "GET admin/tool/wopi",
    "POST admin/tool/mail",
    "POST admin/policy/cors",
  ],
  ["slave", "passed", "", "POST slave/ping", "GET slave/file/content/n1/c3Jj/0/a.txt", "DELETE slave/file"],
  [
    "callback",
    "passed",
    "",
    "POST callback/remote/s1/k1",
    "GET callback/s3/s1/k1",
    "POST callback/qiniu/s1/k1",
  ],
  ["static", "passed", "", "GET /", "GET /assets/index.js", "GET /manifest.json", "GET /home"],
  ["short links", "passed", "", "GET /s/abc", "GET /s/abc/pass", "GET /f/abc/a.txt", "GET /f/d/abc/a.txt"],
  [
    "dav",
    "passed",
    "",
    "GET /dav",
    "PROPFIND /dav/a%20b/",
    "MKCOL /dav/x",
    "PUT /dav/x/y.txt",
    "LOCK /dav/x/y.txt",
  ],
];

export const ROUTES: readonly RouteRow[] = GROUPS.flatMap(([group, demand, scopes, ...calls]) =>
  calls.map((call) => {
    const [method = "", target = ""] = call.split(" ");
    const path = target.startsWith("/") ? target : `${API}/${target}`;
    return {
      group,
      demand,
      call: `${method} ${path}`,
      scopes: scopes === "" ? [] : scopes.split(" "),
    } as const;
  }),
);

/** The calls of a row, as `fetch` takes them. */
export function send(gateway: Gateway, { call }: Pick<RouteRow, "call">, headers: Sent = {}) {
  const [method = "", path = ""] = call.split(" ");
  return gateway.fetch(path, { method, headers });
}
