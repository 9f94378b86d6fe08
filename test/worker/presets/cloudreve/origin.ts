// Cloudreve as far as its clients know it: signs in, refreshes, signs out, and checks every token by itself.
import { errors, type JWTPayload, jwtVerify } from "jose";
import { API, MASTER_KEY, nowSeconds, SITE_ID, sign } from "./stand-in.ts";

export interface Account {
  readonly id: string;
  readonly email: string;
  readonly nickname: string;
  readonly password: string;
}

/** Seconds as Go writes a time with a fraction in another zone. */
const time = (seconds: number) => `${new Date(seconds * 1_000).toISOString().slice(0, -1)}+00:00`;

const json = (content: object) =>
  new Response(JSON.stringify(content), { headers: { "content-type": "application/json; charset=utf-8" } });
const success = (data: unknown) => json({ code: 0, data, msg: "" });
const failure = (code: number, msg: string) =>
  json({ code, msg, correlation_id: "c0ffee00-0000-4000-8000-000000000000" });

/** One user, whose calls it answers by the wire contract, §1.3 and §1.5. */
export function cloudreveOrigin(account: Account): (request: Request) => Promise<Response> {
  const startedAtSeconds = nowSeconds();
  const ended = new Set<unknown>();

  async function stateHash(): Promise<string> {
    const state = new TextEncoder().encode(`${account.email}/digest of the password/${SITE_ID}`);
    return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", state))));
  }

  /** `null`: no good one. Any HMAC passes, and there is no leeway. */
  async function claimsOf(token: string): Promise<JWTPayload | null> {
    try {
      const currentDate = new Date(nowSeconds() * 1_000);
      const algorithms = ["HS256", "HS384", "HS512"];
      return (await jwtVerify(token, new TextEncoder().encode(MASTER_KEY), { algorithms, currentDate }))
        .payload;
    } catch (error) {
      if (error instanceof errors.JOSEError) return null;
      throw error;
    }
  }

  async function pair(root: unknown) {
    const [now, sub] = [nowSeconds(), account.id];
    const refreshEnds = now + 14 * 86_400;
    const bound = { state_hash: await stateHash(), root_token_id: root };
    return {
      access_token: await sign({ token_type: "access", sub, nbf: now, exp: now + 3_600 }),
      refresh_token: await sign({ token_type: "refresh", sub, nbf: now, exp: refreshEnds, ...bound }),
      access_expires: time(now + 3_600),
      refresh_expires: time(refreshEnds),
    };
  }

  const user = () => ({
    ...{ id: account.id, email: account.email, nickname: account.nickname, status: "active" },
    created_at: time(startedAtSeconds),
  });

  return async (request) => {
    const { pathname } = new URL(request.url);
    const call = `${request.method} ${pathname.replace(API, "")}`;
    const header = request.headers.get("authorization") ?? "";
    const claims = header.startsWith("Bearer Cr ") ? null : await claimsOf(header.replace(/^Bearer /, ""));
    if (claims !== null && claims.token_type !== "access") return failure(40020, "Invalid token type");
    const isAlice = claims?.sub === account.id;
    if (claims !== null && !isAlice) return failure(404, "User not found");
    const sent = request.body === null ? {} : ((await request.json()) as Readonly<Record<string, string>>);
    const given = await claimsOf(sent.refresh_token ?? "");
    switch (call) {
      case "POST /session/token": {
        const isRight = sent.email === account.email && sent.password === account.password;
        if (!isRight) return failure(40080, "Incorrect password or email address");
        return success({ user: user(), token: await pair(crypto.randomUUID()) });
      }
      case "POST /session/token/refresh": {
        const isGood =
          given?.token_type === "refresh" &&
          given.state_hash === (await stateHash()) &&
          given.root_token_id !== undefined &&
          !ended.has(given.root_token_id);
        return isGood
          ? success(await pair(given.root_token_id))
          : failure(40020, "Failed to issue token pair");
      }
      case "DELETE /session/token":
        if (given === null) return failure(40020, "Failed to parse token");
        ended.add(given.root_token_id);
        return success("");
      case "GET /session/prepare":
        return success({ webauthn_enabled: false, password_enabled: true });
      case "GET /user/me":
        return isAlice ? success(user()) : failure(401, "Login required");
      case "GET /site/ping":
        return success("4.18.0");
      default:
        return success({ signed_in: isAlice });
    }
  };
}
