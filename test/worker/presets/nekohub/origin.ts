// NekoHub as far as its clients know it: signs in, rotates, revokes, and checks every credential by itself.
import { errors, jwtVerify } from "jose";
import { KEY, LONG, nowSeconds, OTHER_KEY, SECRET, sign } from "./stand-in.ts";

const ROLES: Readonly<Record<string, string>> = { SuperAdmin: "superAdmin", Admin: "admin", User: "user" };

export interface Account {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  /** As in the token. */
  readonly role: "SuperAdmin" | "Admin" | "User";
  readonly permissions: readonly string[];
}

/** Seconds as .NET writes a DateTimeOffset. */
const utc = (seconds: number) => `${new Date(seconds * 1_000).toISOString().slice(0, 19)}+00:00`;

const json = (status: number, content: object) =>
  new Response(JSON.stringify(content), {
    status,
    headers: { "content-type": "application/json; charset=utf-8" },
  });
const refusal = (status: number, code: string, message: string) =>
  json(status, { error: { code, message, traceId: "0HNABC:00000001", status } });

/** One user, whose calls it answers by the wire contract, §2.3, §2.5 and §2.6. */
export function nekohubOrigin(account: Account): (request: Request) => Promise<Response> {
  const { id, username, password, role, permissions } = account;
  const startedAtSeconds = nowSeconds();
  const isActive = true;
  /** Every refresh token there was, and whether it still counts. */
  const refreshTokens = new Map<string, boolean>();

  const user = () => ({
    id,
    username,
    role: ROLES[role],
    isActive,
    createdAtUtc: utc(startedAtSeconds),
    updatedAtUtc: utc(startedAtSeconds),
    lastLoginAtUtc: utc(startedAtSeconds),
    permissions,
  });

  async function session() {
    const now = nowSeconds();
    const bytes = crypto.getRandomValues(new Uint8Array(64));
    const refreshToken = btoa(String.fromCharCode(...bytes));
    refreshTokens.set(refreshToken, true);
    const claims = { [LONG.subject]: id, [LONG.name]: username, [LONG.role]: role, permission: permissions };
    return {
      accessToken: await sign({ ...claims, jti: crypto.randomUUID() }),
      refreshToken,
      accessTokenExpiresAtUtc: utc(now + 900),
      refreshTokenExpiresAtUtc: utc(now + 30 * 86_400),
      user: user(),
    };
  }

  async function isTokenGood(token: string): Promise<boolean> {
    try {
      const { payload } = await jwtVerify(token, new TextEncoder().encode(SECRET), {
        issuer: "NekoHub",
        audience: "NekoHub.Admin",
        clockTolerance: 30,
        currentDate: new Date(nowSeconds() * 1_000),
      });
      return payload[LONG.subject] === id && isActive;
    } catch (error) {
      if (error instanceof errors.JOSEError) return false;
      throw error;
    }
  }

  return async (request) => {
    const { pathname } = new URL(request.url);
    const route = `${request.method} ${pathname.toLowerCase()}`;
    if (route === "GET /api/v1/system/ping") return json(200, { data: { status: "ok" } });
    if (route === "POST /api/v1/auth/login") {
      const sent = (await request.json()) as { readonly username: string; readonly password: string };
      if (sent.username.trim().toLowerCase() !== username || sent.password !== password) {
        return refusal(401, "auth_invalid_credentials", "Invalid username or password.");
      }
      return json(200, { data: await session() });
    }
    if (route === "POST /api/v1/auth/refresh") {
      const { refreshToken } = (await request.json()) as { readonly refreshToken: string };
      const isLive = refreshTokens.get(refreshToken);
      if (isLive === undefined) {
        return refusal(401, "auth_refresh_token_invalid", "Refresh token is invalid.");
      }
      if (!isLive) {
        for (const token of refreshTokens.keys()) refreshTokens.set(token, false);
        return refusal(401, "auth_refresh_token_reused", "Refresh token has already been used.");
      }
      refreshTokens.set(refreshToken, false);
      return json(200, { data: await session() });
    }
    const bearer = /^bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    const isKey = bearer === KEY || bearer === OTHER_KEY;
    if (pathname === "/mcp") {
      if (!isKey) return refusal(401, "api_key_invalid", "API key is invalid.");
      if (request.method === "GET") return new Response(null, { status: 405, headers: { allow: "POST" } });
      return json(200, { jsonrpc: "2.0", id: 1, result: {} });
    }
    if (!isKey && !(await isTokenGood(bearer))) {
      return refusal(401, "auth_unauthorized", "Authentication is required.");
    }
    if (route === "GET /api/v1/auth/me") return json(200, { data: user() });
    if (route === "POST /api/v1/auth/logout") {
      const { refreshToken } = (await request.json()) as { readonly refreshToken: string };
      if (refreshTokens.has(refreshToken)) refreshTokens.set(refreshToken, false);
      return new Response(null, { status: 204 });
    }
    if (route === "GET /api/v1/assets") {
      return isKey || permissions.includes("assets.read")
        ? json(200, { data: { items: [], page: 1, pageSize: 20, total: 0 } })
        : new Response(null, { status: 403 });
    }
    if (route.startsWith("DELETE /api/v1/assets/")) {
      return isKey || permissions.includes("assets.delete")
        ? json(200, { data: { id: "a1", status: "deleted" } })
        : new Response(null, { status: 403 });
    }
    return new Response(null, { status: 404 });
  };
}
