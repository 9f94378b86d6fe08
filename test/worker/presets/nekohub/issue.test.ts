// Postern in NekoHub's place: signing in, refreshing, signing out, and what of it is over when.
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import { addUser, DB, emptyStores, GATEWAY, type Gateway, writes } from "../../../support/worker/gateway.ts";
import {
  ALL_PERMISSIONS,
  bearer,
  contextOf,
  expectRefusal,
  HOST,
  KEY,
  LONG,
  nowSeconds,
  SECRET,
  type Sent,
  sign,
  startNekohub,
} from "./stand-in.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
/** Failures are counted in windows of ten minutes: one must not end in the middle of a test. */
const MIDDLE_OF_A_WINDOW_MS = 1_800_000_300_000;
const DAY_MS = 86_400_000;
const ASSETS = "/api/v1/assets";
const AUTH = "/api/v1/auth";

interface Session {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly accessTokenExpiresAtUtc: string;
  readonly refreshTokenExpiresAtUtc: string;
  readonly user: Readonly<Record<string, unknown>>;
}

let gateway: Gateway;
const issuing = (
  site: Readonly<Record<string, unknown>> = {},
  vars: Readonly<Record<string, unknown>> = {},
) => startNekohub({ keys: true, site: { issue: true, ...site }, vars });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: MIDDLE_OF_A_WINDOW_MS });
  await emptyStores();
  gateway = issuing();
  const permissions = ["users.read", "assets.read"];
  await addUser("0195-1", { username: "alice", role: "admin", permissions }, PASSWORD_HASH);
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const post = (name: string, body: unknown, headers: Sent = {}, via = gateway) =>
  via.fetch(`${AUTH}/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

const login = (body: unknown = { username: "alice", password: PASSWORD }) => post("login", body);
const refresh = (refreshToken: string, via = gateway) => post("refresh", { refreshToken }, {}, via);
const logout = (session: Session, refreshToken = session.refreshToken) =>
  post("logout", { refreshToken }, bearer(session.accessToken));

async function dataOf<Data = Session>(response: Response): Promise<Data> {
  expect(response.status).toBe(200);
  return ((await response.json()) as { readonly data: Data }).data;
}
const signIn = async () => dataOf(await login());
const statusOf = async (accessToken: string, path = ASSETS, via = gateway) =>
  (await via.fetch(path, { headers: bearer(accessToken) })).status;
const liveSessions = () =>
  DB.prepare("SELECT count(*) AS count FROM sessions WHERE status = 'active'").first<number>("count");

const ALICE = {
  id: "0195-1",
  username: "alice",
  role: "admin",
  isActive: true,
  createdAtUtc: "2027-01-15T08:05:00+00:00",
  updatedAtUtc: "2027-01-15T08:05:00+00:00",
  lastLoginAtUtc: "2027-01-15T08:05:00+00:00",
  permissions: ["assets.read", "users.read"],
};

describe("the wire contract §2.5, signing in", () => {
  it("answers in the bytes that clients expect", async () => {
    const response = await login();
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("set-cookie")).toBeNull();
    const text = await response.text();
    const { data } = JSON.parse(text) as { readonly data: Session };
    const { accessToken, refreshToken } = data;
    expect(text).toBe(
      JSON.stringify({
        data: {
          accessToken,
          refreshToken,
          accessTokenExpiresAtUtc: "2027-01-15T08:20:00+00:00",
          refreshTokenExpiresAtUtc: "2027-02-14T08:05:00+00:00",
          user: ALICE,
        },
      }),
    );
    expect(refreshToken).toMatch(/^[A-Za-z0-9+/]{86}==$/);
    expect(gateway.received).toHaveLength(0);
  });

  it("§2.2 signs access tokens as the original does, with the session beside it", async () => {
    const { accessToken } = await signIn();
    expect(decodeProtectedHeader(accessToken)).toEqual({ alg: "HS256", typ: "JWT" });
    expect(decodeJwt(accessToken)).toEqual({
      [LONG.subject]: "0195-1",
      [LONG.name]: "alice",
      [LONG.role]: "Admin",
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      permission: ["assets.read", "users.read"],
      sid: expect.stringMatching(/^ses_[0-9a-f]{32}$/),
      nbf: nowSeconds(),
      exp: nowSeconds() + 900,
      iss: "NekoHub",
      aud: "NekoHub.Admin",
    });
    // As a verifier of that system sees it.
    const [signed, mac] = [
      accessToken.slice(0, accessToken.lastIndexOf(".")),
      accessToken.split(".")[2] ?? "",
    ];
    const key = await crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode(SECRET),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["verify"],
    );
    const bytes = Uint8Array.from(atob(mac.replaceAll("-", "+").replaceAll("_", "/")), (char) =>
      char.charCodeAt(0),
    );
    expect(await crypto.subtle.verify("HMAC", key, bytes, new TextEncoder().encode(signed))).toBe(true);
  });

  it.each([
    ["user", [], "User", "user", undefined, []],
    ["user", ["assets.read"], "User", "user", "assets.read", ["assets.read"]],
    ["super_admin", [], "SuperAdmin", "superAdmin", ALL_PERMISSIONS, ALL_PERMISSIONS],
    [
      "user",
      ["users.read", "Users.read", "assets.read"],
      "User",
      "user",
      ["Users.read", "assets.read", "users.read"],
      null,
    ],
  ] as const)("writes the role %s with %j", async (role, permissions, inToken, inJson, claim, listed) => {
    await writes.updateUser("main", "0195-1", { role, permissions: [...permissions] }, nowSeconds());
    const { accessToken, user } = await signIn();
    expect(decodeJwt(accessToken)).toMatchObject({ [LONG.role]: inToken });
    expect(decodeJwt(accessToken).permission).toEqual(claim);
    expect(user).toMatchObject({ role: inJson, permissions: listed ?? claim });
  });

  it.each([
    ["another case and blanks", { username: "  ALICE ", password: PASSWORD }],
    ["members in another case", { USERNAME: "alice", passWord: PASSWORD }],
    ["members nobody asked for", { username: "alice", password: PASSWORD, remember: true }],
  ])("takes %s", async (_, body) => {
    expect((await login(body)).status).toBe(200);
  });

  it("ignores Authorization", async () => {
    const response = await post("login", { username: "alice", password: PASSWORD }, bearer("wrong"));
    expect(response.status).toBe(200);
  });

  it("lets the console of another origin read the answers", async () => {
    const origin = "https://console.example.org";
    const headers = { origin };
    const signedIn = await post("login", { username: "alice", password: PASSWORD }, headers);
    const wrong = await post("login", { username: "alice", password: "" }, headers);
    for (const response of [signedIn, wrong]) {
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
    }
  });
});

describe("the wire contract §2.6, refusals of signing in", () => {
  it.each([
    ["an unknown name", { username: "nobody", password: PASSWORD }],
    ["a wrong password", { username: "alice", password: `${PASSWORD}.` }],
    ["an empty name", { username: "", password: PASSWORD }],
    ["a blank name", { username: "  ", password: PASSWORD }],
    ["a name that is no text", { username: "alice\ud800", password: PASSWORD }],
    ["a name with NUL", { username: "alice\0", password: PASSWORD }],
    ["a name longer than any", { username: "a".repeat(1_000), password: PASSWORD }],
    ["an empty password", { username: "alice", password: "" }],
    ["a password that cannot be one", { username: "alice", password: "x".repeat(2_000) }],
  ])("%s is auth_invalid_credentials", async (_, body) => {
    await expectRefusal(await login(body), "auth_invalid_credentials");
  });

  it("tells who knows the password that the account is inactive, and nobody else", async () => {
    await writes.updateUser("main", "0195-1", { status: "disabled" }, nowSeconds());
    await expectRefusal(await login(), "auth_user_inactive");
    await expectRefusal(await login({ username: "alice", password: "wrong" }), "auth_invalid_credentials");
  });

  it.each([
    ["login", "", "A non-empty request body is required."],
    ["login", "{", "Invalid request payload."],
    ["login", "[]", "Invalid request payload."],
    ["login", "null", "Invalid request payload."],
    ["login", { password: PASSWORD }, "The Username field is required."],
    ["login", { username: "alice" }, "The Password field is required."],
    ["login", { username: "alice", password: null }, "The Password field is required."],
    ["login", { username: 7, password: PASSWORD }, "Invalid request payload."],
    ["refresh", "", "A non-empty request body is required."],
    ["refresh", {}, "The RefreshToken field is required."],
    ["refresh", { refreshToken: null }, "The RefreshToken field is required."],
    ["refresh", { refreshToken: ["x"] }, "Invalid request payload."],
  ])("%s with %j is request_invalid", async (name, body, message) => {
    const response = await post(name, body);
    expect([response.status, await response.json()]).toEqual([
      400,
      {
        error: {
          code: "request_invalid",
          message,
          traceId: response.headers.get("x-request-id"),
          status: 400,
        },
      },
    ]);
  });

  it("takes no form, as a page of another origin could send it", async () => {
    const body = `username=alice&password=${encodeURIComponent(PASSWORD)}`;
    const response = await post("login", body, { "content-type": "application/x-www-form-urlencoded" });
    expect(response.status).toBe(415);
  });

  it("slows guessing down", async () => {
    const codes: number[] = [];
    for (let tried = 0; tried < 12 && !codes.includes(429); tried++) {
      codes.push((await login({ username: "alice", password: "wrong" })).status);
    }
    expect(codes.at(-1)).toBe(429);
    const response = await login();
    expect(response.status).toBe(429);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await response.json()).toMatchObject({ error: { code: "rate_limited", status: 429 } });
  });
});

describe("the wire contract §2.5, me and signing out", () => {
  it("me answers with the user alone", async () => {
    const { accessToken } = await signIn();
    const response = await gateway.fetch(`${AUTH}/me`, { headers: bearer(accessToken) });
    expect(await response.text()).toBe(JSON.stringify({ data: ALICE }));
    const head = await gateway.fetch(`${AUTH}/me`, { method: "HEAD", headers: bearer(accessToken) });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    for (const wrong of [KEY, "a.b.c", `${accessToken}x`]) {
      await expectRefusal(await gateway.fetch(`${AUTH}/me`, { headers: bearer(wrong) }), "auth_unauthorized");
    }
  });

  it("signing out ends the session, its access token at once, and says so without a body", async () => {
    const session = await signIn();
    const other = await signIn();
    const response = await logout(session);
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect(await statusOf(session.accessToken)).toBe(401);
    expect(await statusOf(other.accessToken)).toBe(200);
    // An isolate that knows nothing yet, too.
    expect(await statusOf(session.accessToken, ASSETS, issuing())).toBe(401);
  });

  it("signing out answers 204 for what is unknown, blank, over or another user's, and ends none of it", async () => {
    await addUser("0195-2", { username: "bob" }, PASSWORD_HASH);
    const bob = await dataOf(await login({ username: "bob", password: PASSWORD }));
    const session = await signIn();
    for (const token of ["unknown", "", bob.refreshToken]) {
      expect((await logout(session, token)).status).toBe(204);
    }
    expect(await statusOf(session.accessToken)).toBe(200);
    expect((await refresh(bob.refreshToken)).status).toBe(200);
  });

  it("signing out takes a JWT", async () => {
    const { refreshToken } = await signIn();
    for (const headers of [{}, bearer(KEY)]) {
      await expectRefusal(await post("logout", { refreshToken }, headers), "auth_unauthorized");
    }
    expect((await refresh(refreshToken)).status).toBe(200);
  });
});

describe("the wire contract §2.3, refreshing", () => {
  it("gives a new pair for the same session, and another 30 days", async () => {
    const first = await signIn();
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 20 * DAY_MS);
    const second = await dataOf(await refresh(first.refreshToken));
    expect(second.refreshToken).toMatch(/^[A-Za-z0-9+/]{86}==$/);
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect(second).toMatchObject({
      accessTokenExpiresAtUtc: "2027-02-04T08:20:00+00:00",
      refreshTokenExpiresAtUtc: "2027-03-06T08:05:00+00:00",
      user: ALICE,
    });
    expect(decodeJwt(second.accessToken).sid).toBe(decodeJwt(first.accessToken).sid);
    expect(await statusOf(second.accessToken)).toBe(200);
    expect(await liveSessions()).toBe(1);
  });

  it("keeps an access token through a rotation of its session", async () => {
    const first = await signIn();
    await refresh(first.refreshToken);
    expect(await statusOf(first.accessToken)).toBe(200);
  });

  it("takes blanks around, as the original does", async () => {
    const { refreshToken } = await signIn();
    expect((await refresh(` ${refreshToken}\n`)).status).toBe(200);
  });

  it.each([
    ["used before, in the same second", 0],
    ["used before, a minute ago", 60_000],
  ])("%s: auth_refresh_token_reused, and nobody is signed in any more", async (_, laterMs) => {
    const first = await signIn();
    const other = await signIn();
    const second = await dataOf(await refresh(first.refreshToken));
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + laterMs);
    await expectRefusal(await refresh(first.refreshToken), "auth_refresh_token_reused");
    for (const { accessToken } of [second, other]) {
      expect(await statusOf(accessToken)).toBe(401);
      expect(await statusOf(accessToken, ASSETS, issuing())).toBe(401);
    }
    expect(await liveSessions()).toBe(0);
    for (const token of [second.refreshToken, other.refreshToken, first.refreshToken]) {
      await expectRefusal(await refresh(token), "auth_refresh_token_reused");
    }
    expect((await login()).status).toBe(200);
  });

  it("of a session that was signed out: auth_refresh_token_reused, and nobody is signed in any more", async () => {
    const session = await signIn();
    const other = await signIn();
    await logout(session);
    await expectRefusal(await refresh(session.refreshToken), "auth_refresh_token_reused");
    expect(await statusOf(other.accessToken)).toBe(401);
    expect(await liveSessions()).toBe(0);
  });

  it("issued before everything was revoked: auth_refresh_token_reused, and sessions begun since are over", async () => {
    const old = await signIn();
    const denial = { realm: "main", kind: "subject", value: "0195-1", expiresAtSeconds: null } as const;
    await writes.revoke({ ...denial, issuedBeforeSeconds: nowSeconds() }, nowSeconds());
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 5_000);
    const since = await dataOf(await post("login", { username: "alice", password: PASSWORD }, {}, issuing()));
    await expectRefusal(await refresh(old.refreshToken), "auth_refresh_token_reused");
    await expectRefusal(await refresh(since.refreshToken), "auth_refresh_token_reused");
    expect(await liveSessions()).toBe(0);
  });

  it("ends nothing of other users", async () => {
    await addUser("0195-2", { username: "bob", permissions: ["assets.read"] }, PASSWORD_HASH);
    const bob = await dataOf(await login({ username: "bob", password: PASSWORD }));
    const { refreshToken } = await signIn();
    await refresh(refreshToken);
    await refresh(refreshToken);
    expect(await statusOf(bob.accessToken)).toBe(200);
    expect((await refresh(bob.refreshToken)).status).toBe(200);
  });

  it("of fifty at once one is the first, and no second chain comes of it", async () => {
    const { refreshToken } = await signIn();
    const others = [gateway, issuing(), issuing()];
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => refresh(refreshToken, others[index % 3])),
    );
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners).toHaveLength(1);
    for (const answer of answers) {
      if (answer !== winners[0]) await expectRefusal(answer, "auth_refresh_token_reused");
    }
    // Forty-nine have presented what was used: so the first one's is over, too.
    const [winner] = winners;
    if (winner === undefined) throw new Error("nobody won");
    const { refreshToken: next } = await dataOf(winner);
    await expectRefusal(await refresh(next), "auth_refresh_token_reused");
    expect(await liveSessions()).toBe(0);
    for (const other of others) await other.settle();
  });

  it("expires after 30 days without use, and not a second earlier", async () => {
    const [first, second] = [await signIn(), await signIn()];
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 30 * DAY_MS - 1_000);
    expect((await refresh(first.refreshToken)).status).toBe(200);
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 30 * DAY_MS);
    await expectRefusal(await refresh(second.refreshToken), "auth_refresh_token_expired");
    // It had only run out: nobody else is signed out.
    expect(await liveSessions()).toBe(2);
  });

  it("says used before expired", async () => {
    const { refreshToken } = await signIn();
    await refresh(refreshToken);
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 40 * DAY_MS);
    await expectRefusal(await refresh(refreshToken), "auth_refresh_token_reused");
  });

  it("says ended before expired", async () => {
    const session = await signIn();
    await logout(session);
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 40 * DAY_MS);
    await expectRefusal(await refresh(session.refreshToken), "auth_refresh_token_reused");
  });

  it("says inactive before used", async () => {
    const { refreshToken } = await signIn();
    await refresh(refreshToken);
    await writes.updateUser("main", "0195-1", { status: "disabled" }, nowSeconds());
    await expectRefusal(await refresh(refreshToken), "auth_user_inactive");
  });

  it("of a user who is gone is unknown, and so is one whose row is gone", async () => {
    const { refreshToken } = await signIn();
    await writes.deleteUser("main", "0195-1", nowSeconds(), nowSeconds() + 900);
    await expectRefusal(await refresh(refreshToken), "auth_refresh_token_invalid");
    await DB.prepare("DELETE FROM sessions").run();
    await expectRefusal(await refresh(refreshToken), "auth_refresh_token_invalid");
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 30 * DAY_MS);
    await expectRefusal(await refresh(refreshToken), "auth_refresh_token_expired");
  });

  it("refuses what was not made here, without a look-up", async () => {
    const { refreshToken, accessToken } = await signIn();
    const bytes = Uint8Array.from(atob(refreshToken), (char) => char.charCodeAt(0));
    const changed = [0, 15, 16, 19, 20, 23, 24, 63].map((at) =>
      btoa(String.fromCharCode(...bytes.map((byte, index) => (index === at ? byte ^ 1 : byte)))),
    );
    const garbage = [
      "x",
      btoa("x".repeat(64)),
      refreshToken.slice(0, -1),
      `${refreshToken}=`,
      `${refreshToken.slice(0, 84)}${"ABCDEFGH".replace(refreshToken[84] ?? "", "")[0]}${refreshToken.slice(85)}`,
      refreshToken.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""),
      accessToken,
      KEY,
    ];
    const before = gateway.counts.d1;
    for (const token of [...changed, ...garbage]) {
      await expectRefusal(await refresh(token), "auth_refresh_token_invalid");
    }
    expect(gateway.counts.d1).toBe(before);
    expect((await refresh(refreshToken)).status).toBe(200);
  });

  it("is good for the realm that it was made for, and no other", async () => {
    const { refreshToken } = await signIn();
    const elsewhere = issuing({ realm: "other" });
    await expectRefusal(await refresh(refreshToken, elsewhere), "auth_refresh_token_invalid");
    expect((await refresh(refreshToken)).status).toBe(200);
    await elsewhere.settle();
  });

  it("a blank one is auth_request_invalid", async () => {
    await expectRefusal(await refresh(""), "auth_request_invalid", 400);
    await expectRefusal(await refresh(" \t"), "auth_request_invalid", 400);
  });

  it("no refresh token is an access token", async () => {
    const { refreshToken } = await signIn();
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer(refreshToken) }), "api_key_invalid");
    await expectRefusal(
      await gateway.fetch(`${AUTH}/me`, { headers: bearer(refreshToken) }),
      "auth_unauthorized",
    );
  });

  it("says an outage as an outage", async () => {
    const { refreshToken } = await signIn();
    gateway.faults.d1 = "failing";
    for (const response of [await refresh(refreshToken), await login()]) {
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(await response.json()).toMatchObject({ error: { code: "store_unavailable", status: 503 } });
    }
    gateway.faults.d1 = "well";
    expect((await refresh(refreshToken)).status).toBe(200);
  });
});

describe("signed in here", () => {
  it("the origin gets the access token, which it checks by the same secret, and who it is", async () => {
    const { accessToken } = await signIn();
    expect(await statusOf(accessToken)).toBe(200);
    const [got] = gateway.received;
    expect(got?.headers.get("authorization")).toBe(`Bearer ${accessToken}`);
    const user = { id: "0195-1", role: "admin", permissions: ["users.read", "assets.read"] };
    expect(contextOf(got)).toMatchObject({ sub: "0195-1", user });
  });

  it("permissions and the role count as they are now", async () => {
    const { accessToken } = await signIn();
    await writes.updateUser("main", "0195-1", { permissions: [] }, nowSeconds());
    expect(await statusOf(accessToken, ASSETS, issuing())).toBe(403);
  });

  it("a whole day: sign in, call, refresh, call, sign out", async () => {
    const first = await signIn();
    expect(await statusOf(first.accessToken)).toBe(200);
    vi.setSystemTime(MIDDLE_OF_A_WINDOW_MS + 900_000 + 30_000);
    await expectRefusal(
      await gateway.fetch(ASSETS, { headers: bearer(first.accessToken) }),
      "auth_unauthorized",
    );
    const second = await dataOf(await refresh(first.refreshToken));
    expect(await statusOf(second.accessToken)).toBe(200);
    expect((await logout(second)).status).toBe(204);
    await expectRefusal(
      await gateway.fetch(ASSETS, { headers: bearer(second.accessToken) }),
      "auth_unauthorized",
    );
  });

  it("a token of the same form without a session counts for as long as it says, as the system's own do", async () => {
    expect(await statusOf(await sign({ [LONG.subject]: "0195-1" }))).toBe(200);
  });
});

describe("guarding: the system signs in itself", () => {
  /** Answers as NekoHub does, as far as the flow goes. */
  function nekohub() {
    let current = 0;
    return async (request: Request): Promise<Response> => {
      const { pathname } = new URL(request.url);
      const authorization = request.headers.get("authorization");
      if (pathname === `${AUTH}/login` || pathname === `${AUTH}/refresh`) {
        const sent = (await request.json()) as { readonly refreshToken?: string };
        if (sent.refreshToken !== undefined && sent.refreshToken !== `refresh-${current}`) {
          return Response.json(
            { error: { code: "auth_refresh_token_reused", status: 401 } },
            { status: 401 },
          );
        }
        current += 1;
        return Response.json({ data: { accessToken: await sign(), refreshToken: `refresh-${current}` } });
      }
      if (authorization === null) return new Response(null, { status: 500 });
      if (pathname === `${AUTH}/logout`) return new Response(null, { status: 204 });
      return Response.json({ data: { seen: authorization } });
    };
  }

  it("sign in, call, refresh, call with the new one, sign out; a reused token is the system's to refuse", async () => {
    const guarding = startNekohub({ origin: nekohub() });
    onTestFinished(() => guarding.settle());
    const credentials = { username: "alice", password: PASSWORD };
    const first = await dataOf(await post("login", credentials, bearer("old.and.bad"), guarding));
    const call = async (token: string) => guarding.fetch(ASSETS, { headers: bearer(token) });
    expect(await dataOf(await call(first.accessToken))).toEqual({ seen: `Bearer ${first.accessToken}` });
    const second = await dataOf(await refresh(first.refreshToken, guarding));
    expect((await call(second.accessToken)).status).toBe(200);
    const again = await refresh(first.refreshToken, guarding);
    expect([again.status, await again.json()]).toMatchObject([
      401,
      { error: { code: "auth_refresh_token_reused" } },
    ]);
    const out = await post(
      "logout",
      { refreshToken: second.refreshToken },
      bearer(second.accessToken),
      guarding,
    );
    expect(out.status).toBe(204);
  });
});

describe("beside the gateway's own sign-in", () => {
  it("takes the realm's own access tokens and none of its refresh tokens", async () => {
    const both = issuing({}, { GATEWAY: { ...GATEWAY, hosts: ["auth.example.com"] } });
    onTestFinished(() => both.settle());
    const own = await both.fetch(`https://${HOST}/_gateway/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: "alice", password: PASSWORD }),
    });
    const tokens = (await own.json()) as { readonly access_token: string; readonly refresh_token: string };
    expect(await statusOf(tokens.access_token, ASSETS, both)).toBe(200);
    await expectRefusal(await refresh(tokens.refresh_token, both), "auth_refresh_token_invalid");
  });
});
