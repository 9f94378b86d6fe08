// The current New API as far as its pages know it: signs in, renews by cookie, revokes, and checks every token by itself.
import { errors, jwtVerify } from "jose";
import { dashboardKey, signDashboardToken } from "./dashboard.ts";

const GRACE_SECONDS = 30;
const SESSION_SECONDS = 2_592_000;

export interface Account {
  readonly id: number;
  readonly username: string;
  readonly password: string;
}

interface Session {
  readonly sid: string;
  readonly createdAtSeconds: number;
  lastActiveAtSeconds: number;
  secret: string;
  before: string;
  rotatedAtSeconds: number;
  isLive: boolean;
}

const nowSeconds = () => Math.floor(Date.now() / 1_000);

const json = (status: number, content: object, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(content), {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
  });
const cookie = (value: string, maxAgeSeconds: number) => ({
  "set-cookie":
    `new_api_refresh=${value}; Path=/api/user/auth; Max-Age=${maxAgeSeconds}; HttpOnly; Secure; ` +
    "SameSite=Strict",
});
const renewalRefusal = (status: number, code: string, message: string) =>
  json(status, { success: false, code, message }, status === 401 ? cookie("", 0) : {});
const gateRefusal = (status: number, code: string) =>
  json(status, { code, message: "Unauthorized, invalid access token", success: false });

/** One user, whose calls it answers by the wire contract, §3.4. Takes the gateway's word where no token is sent. */
export function newApiOrigin({ id, username, password }: Account): (request: Request) => Promise<Response> {
  const sessions = new Map<string, Session>();
  const user = { id, username, display_name: username, role: 1, status: 1, group: "default" };

  async function bundle(session: Session, request: Request): Promise<Response> {
    const now = nowSeconds();
    const endsAtSeconds = session.createdAtSeconds + SESSION_SECONDS;
    const token = await signDashboardToken({ sub: String(id), sid: session.sid, jti: crypto.randomUUID() });
    const data = {
      access_token: token,
      token_type: "Bearer",
      access_expires_at: now + 900,
      user,
      session: {
        sid: session.sid,
        current: true,
        login_method: "password",
        ip: request.headers.get("x-real-ip") ?? "",
        user_agent: request.headers.get("user-agent") ?? "",
        created_at: session.createdAtSeconds,
        last_active_at: session.lastActiveAtSeconds,
        expires_at: endsAtSeconds,
      },
    };
    const value = `${session.sid}.${session.secret}`;
    return json(200, { success: true, message: "", data }, cookie(value, endsAtSeconds - now));
  }

  async function tokenState(token: string): Promise<"live" | "expired" | "revoked" | "bad"> {
    try {
      const currentDate = new Date(Date.now());
      const { payload } = await jwtVerify(token, await dashboardKey(), { clockTolerance: 5, currentDate });
      return sessions.get(String(payload.sid))?.isLive === true ? "live" : "revoked";
    } catch (error) {
      if (error instanceof errors.JWTExpired) return "expired";
      if (error instanceof errors.JOSEError) return "bad";
      throw error;
    }
  }

  async function login(request: Request): Promise<Response> {
    const sent = (await request.json()) as { readonly username: string; readonly password: string };
    if (sent.username !== username || sent.password !== password) {
      const message = "Username or password is incorrect, or user has been banned";
      return json(200, { message, success: false });
    }
    const now = nowSeconds();
    const times = { createdAtSeconds: now, lastActiveAtSeconds: now, rotatedAtSeconds: 0 };
    const session = { sid: crypto.randomUUID(), ...times, secret: secret(), before: "", isLive: true };
    sessions.set(session.sid, session);
    return bundle(session, request);
  }

  async function refresh(request: Request, session: Session | undefined, sent: string): Promise<Response> {
    if (session === undefined) return renewalRefusal(401, "AUTH_UNAUTHORIZED", "Unauthorized");
    const expected = request.headers.get("x-auth-session");
    if (expected !== null && expected !== session.sid) {
      return renewalRefusal(409, "AUTH_SESSION_MISMATCH", "Conflict");
    }
    const now = nowSeconds();
    const isCurrent = sent === session.secret;
    const isLate = sent === session.before && now - session.rotatedAtSeconds <= GRACE_SECONDS;
    if (!session.isLive || !(isCurrent || isLate)) {
      session.isLive = false;
      return renewalRefusal(401, "AUTH_SESSION_REVOKED", "Unauthorized");
    }
    if (isCurrent) {
      const next = { before: session.secret, secret: secret(), rotatedAtSeconds: now };
      Object.assign(session, next, { lastActiveAtSeconds: now });
    }
    return bundle(session, request);
  }

  return async (request) => {
    const route = `${request.method} ${new URL(request.url).pathname}`;
    if (route === "POST /api/user/login") return login(request);
    const [, sid = "", sent = ""] =
      /new_api_refresh=([^.;]*)\.([^;]*)/.exec(request.headers.get("cookie") ?? "") ?? [];
    const session = sessions.get(sid);
    if (route === "POST /api/user/auth/refresh") return refresh(request, session, sent);
    if (route === "POST /api/user/auth/logout") {
      if (session !== undefined) session.isLive = false;
      return json(200, { message: "", success: true }, cookie("", 0));
    }
    const authorization = request.headers.get("authorization");
    if (authorization !== null) {
      const state = await tokenState(authorization.replace(/^bearer +/i, ""));
      if (state === "expired") return gateRefusal(401, "AUTH_TOKEN_EXPIRED");
      if (state === "revoked") return gateRefusal(401, "AUTH_SESSION_REVOKED");
      if (state === "bad") return gateRefusal(401, "AUTH_UNAUTHORIZED");
    } else if (!request.headers.has("x-user-context")) {
      return gateRefusal(401, "AUTH_UNAUTHORIZED");
    }
    if (route === "GET /api/user/self") return json(200, { success: true, message: "", data: user });
    return json(404, {});
  };
}

/** As long as Postern's, so that one pattern fits both. */
function secret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(39));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
