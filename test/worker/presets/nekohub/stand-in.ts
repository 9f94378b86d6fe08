// A NekoHub behind the gateway, and what its clients hold: tokens as it signs them, and keys from its environment.
import { SignJWT } from "jose";
import { expect } from "vitest";
import { GATEWAY, type Gateway, startGateway } from "../../../support/worker/gateway.ts";

export const SECRET = "nekohub-Auth-Jwt-Secret-of-these-tests-7Yq2";
export const KEY = "nk-Zq8vR2mX5tLw9cB4";
export const OTHER_KEY = "another.key-3Hf7Pd0sGj";
export const HOST = "api.example.com";

export const LONG = {
  subject: "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier",
  name: "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
  role: "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
} as const;

export const ALL_PERMISSIONS = [
  ...["assets", "providers", "aiProviders"].flatMap((area) =>
    ["read", "create", "update", "delete"].map((verb) => `${area}.${verb}`),
  ),
  "settings.read",
  "settings.update",
  ...["read", "create", "update", "disable", "managePermissions"].map((verb) => `users.${verb}`),
];

export interface Setting {
  readonly keys?: boolean;
  readonly site?: Readonly<Record<string, unknown>>;
  readonly jwt?: Readonly<Record<string, unknown>>;
  readonly vars?: Readonly<Record<string, unknown>>;
  readonly origin?: (request: Request) => Promise<Response> | Response;
}

/** One site with the preset alone, as an operator would write it. */
export function startNekohub({
  keys = false,
  site = {},
  jwt = {},
  vars = {},
  origin,
}: Setting = {}): Gateway {
  return startGateway({
    vars: {
      GATEWAY: { ...GATEWAY, realms: {} },
      SITE_TEST: {
        hosts: [HOST],
        origin: "service:ORIGIN",
        preset: "nekohub",
        realm: "main",
        jwt: { secret: "NEKOHUB_SECRET", ...jwt },
        ...(keys && { api_keys: "NEKOHUB_KEYS" }),
        ...site,
      },
      NEKOHUB_SECRET: SECRET,
      NEKOHUB_KEYS: ` ${OTHER_KEY} \n${KEY},\n`,
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

/** An access token as NekoHub signs it. `undefined` among the claims leaves a claim out. */
export function sign(
  claims: Readonly<Record<string, unknown>> = {},
  { alg = "HS256", secret = SECRET, header = {} }: Signing = {},
): Promise<string> {
  const now = nowSeconds();
  const all = {
    [LONG.subject]: "u1",
    [LONG.name]: "alice",
    [LONG.role]: "User",
    jti: "0195-1",
    nbf: now,
    exp: now + 900,
    iss: "NekoHub",
    aud: "NekoHub.Admin",
    ...claims,
  };
  return new SignJWT(all)
    .setProtectedHeader({ alg, typ: "JWT", ...header })
    .sign(new TextEncoder().encode(secret));
}

export type Sent = Readonly<Record<string, string>>;
export const bearer = (value: string): Sent => ({ authorization: `Bearer ${value}` });

const MESSAGES: Readonly<Record<string, string>> = {
  api_key_missing: "API key is required. Use Authorization: Bearer <API_KEY>.",
  api_key_invalid: "API key is invalid.",
  auth_unauthorized: "Authentication is required.",
  auth_invalid_credentials: "Invalid username or password.",
  auth_user_inactive: "User account is inactive.",
  auth_refresh_token_invalid: "Refresh token is invalid.",
  auth_refresh_token_reused: "Refresh token has already been used.",
  auth_refresh_token_expired: "Refresh token has expired.",
  auth_request_invalid: "refreshToken is required.",
};

/** Compares a refusal to the byte: body, type, challenge. */
export async function expectRefusal(response: Response, code: string, status = 401): Promise<void> {
  const traceId = response.headers.get("x-request-id");
  const body = JSON.stringify({ error: { code, message: MESSAGES[code], traceId, status } });
  expect([response.status, await response.text()]).toEqual([status, body]);
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  const isAboutKeys = code.startsWith("api_key_");
  expect(response.headers.get("www-authenticate")).toBe(isAboutKeys ? 'Bearer realm="NekoHub"' : null);
}

export async function expectBodiless(response: Response, status: number): Promise<void> {
  expect([response.status, await response.text()]).toEqual([status, ""]);
  expect(response.headers.get("content-type")).toBeNull();
  expect(response.headers.get("www-authenticate")).toBeNull();
}

/** The user context that the origin got; its signature is tested elsewhere. */
export function contextOf(request: Request | undefined): Readonly<Record<string, unknown>> {
  const [, payload = ""] = (request?.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
}

/** The route table of the wire contract, §2.7: method, path, and the permission it takes. */
export const MANAGED: readonly (readonly [method: string, path: string, permission: string])[] = [
  ["GET", "/api/v1/assets", "assets.read"],
  ["HEAD", "/api/v1/assets", "assets.read"],
  ["GET", "/api/v1/assets/a1", "assets.read"],
  ["GET", "/API/V1/Assets/a1/", "assets.read"],
  ["GET", "/api/v1/assets/usage-stats", "assets.read"],
  ["GET", "/api/v1/assets/a1/content", "assets.read"],
  ["GET", "/api/v1/assets/skills", "assets.read"],
  ["GET", "/api/v1/assets/a1/jobs", "assets.read"],
  ["GET", "/api/v1/assets/a1/derivatives/thumb/content", "assets.read"],
  ["POST", "/api/v1/assets", "assets.create"],
  ["GET", "/api/v1/assets/storage-targets", "assets.create"],
  ["PATCH", "/api/v1/assets/a1", "assets.update"],
  ["POST", "/api/v1/assets/a1/skills/caption/run", "assets.update"],
  ["POST", "/api/v1/assets/a1/workflows/w1/run", "assets.update"],
  ["POST", "/api/v1/assets/a1/jobs/j1/retry", "assets.update"],
  ["GET", "/api/v1/assets/workflows", "assets.update"],
  ["DELETE", "/api/v1/assets/a1", "assets.delete"],
  ["POST", "/api/v1/assets/batch-delete", "assets.delete"],
  ["GET", "/api/v1/users", "users.read"],
  ["GET", "/api/v1/users/u2", "users.read"],
  ["POST", "/api/v1/users", "users.create"],
  ["PATCH", "/api/v1/users/u2", "users.update"],
  ["POST", "/api/v1/users/u2/reset-password", "users.update"],
  ["POST", "/api/v1/users/u2/status", "users.disable"],
  ["PATCH", "/api/v1/users/u2/permissions", "users.managePermissions"],
  ["GET", "/api/v1/system/storage/providers", "providers.read"],
  ["GET", "/api/v1/system/storage/providers/p1/github-repo/browse", "providers.read"],
  ["POST", "/api/v1/system/storage/providers", "providers.create"],
  ["PATCH", "/api/v1/system/storage/providers/p1", "providers.update"],
  ["POST", "/api/v1/system/storage/providers/p1/github-repo/upsert", "providers.update"],
  ["DELETE", "/api/v1/system/storage/providers/p1", "providers.delete"],
  ["POST", "/api/v1/system/storage/providers/p1/set-default", "settings.update"],
  ["GET", "/api/v1/system/ai/providers", "aiProviders.read"],
  ["GET", "/api/v1/system/ai/providers/active", "aiProviders.read"],
  ["POST", "/api/v1/system/ai/providers", "aiProviders.create"],
  ["PATCH", "/api/v1/system/ai/providers/p1", "aiProviders.update"],
  ["POST", "/api/v1/system/ai/providers/test", "aiProviders.update"],
  ["DELETE", "/api/v1/system/ai/providers/p1", "aiProviders.delete"],
  ["GET", "/api/v1/system/workflows", "settings.read"],
  ["GET", "/api/v1/system/workflows/w1", "settings.read"],
  ["POST", "/api/v1/system/workflows", "settings.update"],
  ["PUT", "/api/v1/system/workflows/w1", "settings.update"],
  ["PATCH", "/api/v1/system/workflows/w1/autorun", "settings.update"],
  ["DELETE", "/api/v1/system/workflows/w1", "settings.update"],
];

/** §2.7, first row: nobody is asked who they are. */
export const OPEN: readonly (readonly [method: string, path: string])[] = [
  ["GET", "/api/v1/system/ping"],
  ["GET", "/api/v1/system/bootstrap"],
  ["GET", "/api/v1/public/assets"],
  ["GET", "/api/v1/public/assets/a1"],
  ["GET", "/content/2026/03/kitten.png"],
  ["HEAD", "/content/2026/03/kitten.png"],
  ["GET", "/openapi/v1.json"],
  ["POST", "/api/v1/auth/login"],
  ["POST", "/api/v1/auth/refresh"],
];
