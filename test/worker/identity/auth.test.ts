// Signing in, refreshing and signing out through the front door, as browsers, programs and attackers do it.
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { createPasswordHasher } from "../../../src/issuer/password-hasher.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  startGateway,
} from "../../support/worker/gateway.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const ANOTHER_HASH = await createPasswordHasher().hash("tandem walnut orbit 29");
/** Failures are counted in windows of ten minutes: one must not end in the middle of a test. */
const MIDDLE_OF_A_WINDOW = 1_800_000_300_000;
const GATEWAY_HOST = "https://auth.example.com/_gateway";

interface Signed {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
  readonly refresh_expires_in: number;
  readonly scope: string;
  readonly user: { readonly id: string };
}

let gateway: Gateway;

// What is still being written to KV must not meet the next test's rows.
afterEach(() => gateway.settle());

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
  await addUser("7", { username: "Alice", email: "Alice@Example.com" }, PASSWORD_HASH);
});

const login = (body: Readonly<Record<string, unknown>>, via = gateway) =>
  api(via, "POST", "auth/login", { realm: "main", password: PASSWORD, ...body }, null);

async function signIn(body: Readonly<Record<string, unknown>> = {}): Promise<Signed> {
  const { status, body: answer } = await login({ username: "alice", ...body });
  expect(status).toBe(200);
  return answer as Signed;
}

const refresh = (refreshToken: string, via = gateway) =>
  api(via, "POST", "auth/refresh", { refresh_token: refreshToken }, null);

const call = async (token: string, path = "/now/x", via = gateway) =>
  (await via.fetch(path, bearer(token))).status;

const codeOf = ({ body }: { readonly body: unknown }) => (body as { readonly code?: string } | null)?.code;

const actions = async () =>
  (
    await DB.prepare(
      "SELECT action, actor_kind, actor_id, target_kind, target_id FROM audit ORDER BY seq",
    ).all()
  ).results;

const claimsOf = (token: string) =>
  JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
const headerOf = (token: string) =>
  JSON.parse(atob((token.split(".")[0] ?? "").replaceAll("-", "+").replaceAll("_", "/")));

describe("signing in", () => {
  it("answers a pair of tokens and who it is", async () => {
    const { status, body, headers } = await login({ username: "alice" });
    expect(status).toBe(200);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(body).toMatchObject({
      token_type: "Bearer",
      expires_in: 900,
      refresh_expires_in: 14 * 86_400,
      scope: "notes.read",
      user: { id: "7", realm: "main", username: "Alice", role: "user" },
    });
    const { access_token, refresh_token } = body as Signed;
    expect(refresh_token).toMatch(/^ses_[A-Za-z0-9]{22}\.0\.[A-Za-z0-9_-]{43}$/);
    expect(headerOf(access_token)).toMatchObject({ typ: "at+jwt", alg: "ES256" });
    expect(claimsOf(access_token)).toMatchObject({
      iss: "https://auth.example.com",
      aud: "main",
      sub: "7",
      token_type: "access",
      scope: "notes.read",
      sid: refresh_token.split(".")[0],
      jti: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
    });
    expect(claimsOf(access_token).exp - claimsOf(access_token).iat).toBe(900);
  });

  it.each([
    [{ username: "ALICE" }],
    [{ username: "alice@example.COM" }],
    [{ email: "ALICE@EXAMPLE.COM" }],
    [{ username: "ａｌｉｃｅ" }],
  ])("knows every spelling of a name: %j", async (name) => {
    expect((await login(name)).status).toBe(200);
  });

  it("gives a token that the realm's sites take, until the session ends", async () => {
    const { access_token } = await signIn();
    expect(await call(access_token)).toBe(200);
    expect(gateway.received[0]?.headers.get("authorization")).toBeNull();
    expect(await call(access_token, "/admin/x")).toBe(403);
  });

  it("gives scopes by role, and fewer where fewer are asked for", async () => {
    await api(gateway, "PATCH", "admin/realms/main/users/7", { role: "admin" });
    expect((await signIn()).scope).toBe("notes.read notes.write");
    expect((await signIn({ scope: "notes.write root.everything" })).scope).toBe("notes.write");
    expect((await signIn({ scope: "" })).scope).toBe("");
  });

  it("is audited without any secret", async () => {
    const { refresh_token } = await signIn();
    expect((await actions()).at(-1)).toEqual({
      action: "session.created",
      actor_kind: "user",
      actor_id: "7",
      target_kind: "session",
      target_id: refresh_token.split(".")[0],
    });
    const dump = JSON.stringify((await DB.prepare("SELECT * FROM audit").all()).results);
    expect(dump).not.toContain(PASSWORD);
    expect(dump).not.toContain(refresh_token.split(".")[2]);
  });
});

describe("requirement 18: a failed sign-in tells nothing", () => {
  it("has one answer for an unknown name, a wrong password, no password, and a user who is not active", async () => {
    await api(gateway, "POST", "admin/realms/main/users", { id: "8", username: "nopassword" });
    await api(gateway, "POST", "admin/realms/main/users", { id: "9", username: "off", password: PASSWORD });
    await api(gateway, "PATCH", "admin/realms/main/users/9", { status: "disabled" });
    const answers = await Promise.all([
      login({ username: "nobody" }),
      login({ username: "alice", password: "wrong password" }),
      login({ username: "nopassword" }),
      login({ username: "off" }),
    ]);
    const seen = answers.map(({ status, body, headers }) => {
      const { requestId: _, ...rest } = body as Record<string, unknown>;
      return JSON.stringify([status, rest, headers.get("www-authenticate")]);
    });
    expect(new Set(seen).size).toBe(1);
    expect(answers[0]?.status).toBe(401);
    expect(answers.map(codeOf)).toEqual(Array(4).fill("sign_in_failed"));
  });

  it.each([
    ["a password with a blank more", { password: `${PASSWORD} ` }],
    ["a password cut short", { password: PASSWORD.slice(0, -1) }],
    ["another realm", { realm: "gateway" }],
    ["the id instead of a name", { username: "7" }],
    ["a wildcard", { username: "al%" }],
  ])("refuses %s", async (_what, change) => {
    expect(codeOf(await login({ username: "alice", ...change }))).toBe("sign_in_failed");
  });

  it.each([
    ["no password", { username: "alice", password: undefined }, "password"],
    ["an empty password", { username: "alice", password: "" }, "password"],
    ["a password beyond 1,024 bytes", { username: "alice", password: "é".repeat(513) }, "password"],
    ["neither name nor address", {}, "username"],
    ["both", { username: "alice", email: "alice@example.com" }, "username"],
    ["an unknown member", { username: "alice", role: "root" }, "role"],
    ["a realm nobody has", { username: "alice", realm: "elsewhere" }, "realm"],
    ["a number as name", { username: 7 }, "username"],
    ["scopes that are none", { username: "alice", scope: 'a"b' }, "scope"],
  ])("says what is wrong with %s, before anything is looked up", async (_what, body, field) => {
    const before = gateway.counts.d1;
    const answer = await login(body);
    expect([answer.status, codeOf(answer)]).toEqual([400, "input_invalid"]);
    expect((answer.body as { errors: { field: string }[] }).errors.map((error) => error.field)).toContain(
      field,
    );
    expect(JSON.stringify(answer.body)).not.toContain(PASSWORD);
    expect(gateway.counts.d1).toBe(before);
  });

  it("takes JSON only: a form of another page's making is no sign-in", async () => {
    const response = await gateway.fetch(`${GATEWAY_HOST}/auth/login`, {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: JSON.stringify({ realm: "main", username: "alice", password: PASSWORD }),
    });
    expect(response.status).toBe(415);
  });

  it("audits the first failure of a window and counts the others", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: MIDDLE_OF_A_WINDOW });
    onTestFinished(() => void vi.useRealTimers());
    for (let i = 0; i < 3; i++) await login({ username: "alice", password: "wrong password" });
    await login({ username: "my-password-by-mistake", password: "alice" });
    const failed = (await actions()).filter(({ action }) => action === "sign_in.failed");
    expect(failed).toHaveLength(2);
    expect(failed[0]).toMatchObject({ actor_kind: "anonymous", target_id: "7" });
    expect(failed[1]?.target_id).toMatch(/^\?[0-9a-f]{8}$/);
    const { results } = await DB.prepare(
      "SELECT account, count FROM sign_in_failures ORDER BY account DESC",
    ).all();
    expect(results.map(({ count }) => count).sort()).toEqual([1, 3]);
    expect(JSON.stringify(results)).not.toContain("my-password");
  });

  it("slows an account down after a few wrong passwords, the right one included, under any spelling", async () => {
    for (let i = 0; i < 5; i++) await login({ username: "alice", password: `wrong ${i}` });
    await login({ username: "alice", password: "wrong" });
    // Longer than the answers take, which otherwise would outlast the first delay.
    await DB.prepare(
      "UPDATE throttles SET next_at_seconds = next_at_seconds + 60 WHERE next_at_seconds > updated_at_seconds",
    ).run();
    const answer = await login({ email: "ALICE@example.com" });
    expect([answer.status, codeOf(answer)]).toEqual([429, "rate_limited"]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  });

  it("counts parallel attempts too: of 40 at once no more are tried than one after the other", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => login({ username: "alice", password: `wrong ${i}` })),
    );
    const tried = answers.filter(({ status }) => status === 401).length;
    expect(tried).toBeLessThanOrEqual(6);
    expect(answers.every(({ status }) => [401, 429, 503].includes(status))).toBe(true);
  });

  it("asks D1 as often for a name that nobody has: neither failure nor delay takes longer for one that somebody has", async () => {
    gateway = startGateway({ vars: { GATEWAY: { ...GATEWAY, client_address_header: "x-address" } } });
    const attempt = async (username: string, address: string) => {
      const before = gateway.counts.d1;
      const { status } = await gateway.fetch(`${GATEWAY_HOST}/auth/login`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-address": address },
        body: JSON.stringify({ realm: "main", username, password: "wrong password" }),
      });
      await gateway.settle();
      return `${status}, ${gateway.counts.d1 - before} operations`;
    };
    const known: string[] = [];
    const unknown: string[] = [];
    for (let i = 0; i < 3; i++) {
      known.push(await attempt("alice", "192.0.2.1"));
      unknown.push(await attempt("nobody", "192.0.2.2"));
    }
    await DB.prepare("UPDATE throttles SET next_at_seconds = next_at_seconds + 60").run();
    known.push(await attempt("alice", "192.0.2.1"));
    unknown.push(await attempt("nobody", "192.0.2.2"));
    expect(known).toEqual(unknown);
    expect(known.at(-1)).toMatch(/^429, [1-9]/);
  });

  it("forgets failures with the right password", { timeout: 20_000 }, async () => {
    // Five are free: without forgetting, the second round would be delayed.
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 4; i++) await login({ username: "alice", password: "wrong password" });
      expect((await login({ username: "alice" })).status).toBe(200);
    }
  });
});

describe("a password of the system that users came from", () => {
  it("is good in two tabs at once, and hashed anew once", async () => {
    await addUser("8", { username: "bob" }, { scheme: "cloudreve", hash: await cloudreveHash() });
    const answers = await Promise.all([1, 2, 3].map(() => login({ username: "bob" })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const row = await DB.prepare("SELECT scheme FROM passwords WHERE user_id = '8'").first();
    expect(row).toEqual({ scheme: "scrypt" });
    expect((await actions()).filter(({ action }) => action === "user.password_rehashed")).toHaveLength(1);
    expect((await login({ username: "bob", password: "another password" })).status).toBe(401);
    expect((await login({ username: "bob" })).status).toBe(200);
  });

  it.each([
    ["is hashed anew, and good", PASSWORD_HASH, 200],
    ["is another one, and not good", ANOTHER_HASH, 401],
    ["is gone, and not good", null, 401],
  ])("that between look and session %s", async (_what, meanwhile, expected) => {
    await addUser("8", { username: "bob" }, { scheme: "cloudreve", hash: await cloudreveHash() });
    const batch = DB.batch.bind(DB);
    vi.spyOn(DB, "batch").mockImplementation(async (statements) => {
      // Right before the digest is replaced by what was made of it: this one is faster.
      if (JSON.stringify(statements).includes("UPDATE passwords SET")) {
        vi.mocked(DB.batch).mockRestore();
        await (meanwhile === null
          ? DB.prepare("DELETE FROM passwords WHERE user_id = '8'")
          : DB.prepare("UPDATE passwords SET scheme = ?, hash = ? WHERE user_id = '8'").bind(
              meanwhile.scheme,
              meanwhile.hash,
            )
        ).run();
      }
      return batch(statements);
    });
    expect((await login({ username: "bob" })).status).toBe(expected);
    expect((await DB.prepare("SELECT id FROM sessions").all()).results).toHaveLength(
      expected === 200 ? 1 : 0,
    );
  });

  async function cloudreveHash(): Promise<string> {
    const salt = "0123456789abcdef";
    const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(PASSWORD + salt));
    const hex = [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0"));
    return `${salt}:${hex.join("")}`;
  }
});

describe("a browser's session cookie", () => {
  const cookieLogin = () => login({ username: "alice", session: "cookie" });

  it("is bound to the host, unreadable for scripts, and good for the realm's sites there", async () => {
    const { body, headers } = await cookieLogin();
    const cookie = headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(
      /^__Host-postern-main=ses_[A-Za-z0-9]{22}\.[A-Za-z0-9]{40}; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000$/,
    );
    expect(JSON.stringify(body)).not.toContain(cookie.split(/[=;]/)[1]?.split(".")[1]);
    const pair = cookie.split(";")[0] ?? "";
    const get = (headersOfCall: Record<string, string>, method = "GET") =>
      gateway.fetch("/now/x", { method, headers: { cookie: pair, ...headersOfCall } });
    expect((await get({})).status).toBe(200);
    expect(gateway.received[0]?.headers.get("cookie")).toBeNull();
    expect((await get({}, "POST")).status).toBe(401);
    expect((await get({ origin: "https://evil.example" }, "POST")).status).toBe(401);
    expect((await get({ origin: "https://api.example.com" }, "POST")).status).toBe(200);
  });

  it("ends with signing out, which takes it from the browser too", async () => {
    const { headers } = await cookieLogin();
    const cookie = (headers.get("set-cookie") ?? "").split(";")[0] ?? "";
    const signOut = (origin: string) =>
      gateway.fetch(`${GATEWAY_HOST}/auth/logout?`, { method: "POST", headers: { cookie, origin } });
    expect((await signOut("https://evil.example")).status).toBe(401);
    const response = await signOut("https://auth.example.com");
    expect(response.status).toBe(204);
    expect(response.headers.get("set-cookie")).toMatch(/^__Host-postern-main=; .*Max-Age=0$/);
    const after = await gateway.fetch("/now/x", { headers: { cookie, "new-api-user": "7" } });
    expect(after.status).toBe(401);
  });

  it("is no refresh token, and has none", async () => {
    const { body } = await cookieLogin();
    expect(body).not.toHaveProperty("refresh_token");
    const { session_id: id } = body as { session_id: string };
    expect((await refresh(`${id}.0.${"A".repeat(43)}`)).status).toBe(401);
  });
});

describe("refreshing", () => {
  it("answers a new pair, and the old refresh token is good for a retry only", async () => {
    const first = await signIn();
    const second = (await refresh(first.refresh_token)).body as Signed;
    expect(second.refresh_token.split(".").slice(0, 2)).toEqual([first.refresh_token.split(".")[0], "1"]);
    expect(await call(second.access_token)).toBe(200);
    const again = (await refresh(first.refresh_token)).body as Signed;
    expect(again.refresh_token).toBe(second.refresh_token);
    expect((await actions()).map(({ action }) => action)).toContain("session.refresh_repeated");
  });

  it("is refused, like anything bad, with one 401; reuse ends the session and its access tokens", async () => {
    const first = await signIn();
    const second = (await refresh(first.refresh_token)).body as Signed;
    await DB.prepare("UPDATE sessions SET advanced_at_seconds = advanced_at_seconds - 11").run();
    const reused = await refresh(first.refresh_token);
    const dead = await refresh(second.refresh_token);
    expect([reused.status, dead.status]).toEqual([401, 401]);
    expect([codeOf(reused), codeOf(dead)]).toEqual(["credential_invalid", "credential_invalid"]);
    expect(await call(second.access_token)).toBe(401);
    expect(await call(first.access_token)).toBe(401);
    expect((await actions()).at(-1)).toMatchObject({
      action: "session.refresh_reused",
      target_id: first.refresh_token.split(".")[0],
    });
    // Whose session it was only the row knew: it is among what was done to its user.
    const path = "admin/audit?realm=main&user=7&action=session.refresh_reused";
    const { items } = (await api(gateway, "GET", path)).body as { items: unknown[] };
    expect(items).toMatchObject([{ actor: { kind: "anonymous" }, details: { user: "7" } }]);
  });

  it("costs no look-up for what the gateway did not make: every truncation and every changed character", async () => {
    const { refresh_token: token } = await signIn();
    const before = gateway.counts.d1;
    const flipped = (i: number) => `${token.slice(0, i)}${token[i] === "A" ? "B" : "A"}${token.slice(i + 1)}`;
    const forged = [
      ...Array.from({ length: token.length }, (_, i) => token.slice(0, i)),
      ...Array.from({ length: token.length - 1 }, (_, i) => flipped(i)),
      `${token}A`,
      token.replace(".0.", ".1."),
      token.replace(".0.", ".00."),
      token.replace(".0.", ".-0."),
      ` ${token}`,
    ];
    for (const bad of forged) expect((await refresh(bad)).status, bad).toBe(bad === "" ? 401 : 401);
    expect(gateway.counts.d1).toBe(before);
    expect((await refresh(token)).status).toBe(200);
  });

  it("gives no more scopes than the user's role has by now", async () => {
    await api(gateway, "PATCH", "admin/realms/main/users/7", { role: "admin" });
    const { refresh_token } = await signIn();
    await api(gateway, "PATCH", "admin/realms/main/users/7", { role: "user" });
    expect(((await refresh(refresh_token)).body as Signed).scope).toBe("notes.read");
  });

  it("does not prolong a session beyond its absolute end", async () => {
    const { refresh_token } = await signIn();
    const now = Math.floor(Date.now() / 1_000);
    await DB.prepare("UPDATE sessions SET expires_at_seconds = ?")
      .bind(now + 100)
      .run();
    const { body } = await refresh(refresh_token);
    expect((body as Signed).refresh_expires_in).toBeLessThanOrEqual(100);
    expect((body as Signed).expires_in).toBeLessThanOrEqual(100);
  });

  it.each([
    ["disabled", () => api(gateway, "PATCH", "admin/realms/main/users/7", { status: "disabled" })],
    ["deleted", () => api(gateway, "DELETE", "admin/realms/main/users/7")],
    [
      "given another password",
      () => api(gateway, "POST", "admin/realms/main/users/7/password", { password: "a new good password" }),
    ],
    ["signed out everywhere", () => api(gateway, "DELETE", "admin/realms/main/users/7/sessions")],
    ["revoked", () => api(gateway, "POST", "admin/realms/main/revocations", { kind: "user", id: "7" })],
  ])("and everything else ends when the user is %s", async (_what, end) => {
    const { refresh_token, access_token } = await signIn();
    expect(await call(access_token)).toBe(200);
    expect((await end()).status).toBeLessThan(300);
    expect((await refresh(refresh_token)).status).toBe(401);
    expect(await call(access_token)).toBe(401);
  });

  it("goes on in another isolate, for one chain alone", async () => {
    const other = startGateway();
    const { refresh_token } = await signIn();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => refresh(refresh_token, i % 2 === 0 ? gateway : other)),
    );
    expect(new Set(answers.map(({ body }) => (body as Signed).refresh_token)).size).toBe(1);
  });
});

describe("signing out", () => {
  it.each([
    [
      "by the refresh token",
      (tokens: Signed) => api(gateway, "POST", "auth/logout", { refresh_token: tokens.refresh_token }, null),
    ],
    [
      "by the access token",
      (tokens: Signed) => api(gateway, "POST", "auth/logout", { realm: "main" }, tokens.access_token),
    ],
  ])("%s ends the session, its refresh tokens and its access tokens", async (_how, signOut) => {
    const tokens = await signIn();
    const other = await signIn();
    expect((await signOut(tokens)).status).toBe(204);
    expect((await refresh(tokens.refresh_token)).status).toBe(401);
    expect(await call(tokens.access_token)).toBe(401);
    expect(await call(other.access_token)).toBe(200);
    expect((await actions()).at(-1)).toMatchObject({ action: "session.ended", actor_id: "7" });
  });

  it("takes an access token and no body, and knows the realm by the token", async () => {
    const tokens = await signIn();
    const root = await api(gateway, "POST", "admin/realms/gateway/users", {
      id: "r",
      username: "r",
      password: PASSWORD,
    });
    expect(root.status).toBe(201);
    const { body } = await login({ realm: "gateway", username: "r" });
    for (const token of [tokens.access_token, (body as Signed).access_token]) {
      expect((await api(gateway, "GET", "me", undefined, token)).status).toBe(200);
      const empty = await gateway.fetch(`${GATEWAY_HOST}/auth/logout`, {
        ...bearer(token),
        method: "POST",
        body: "",
      });
      expect(empty.status).toBe(204);
      expect((await api(gateway, "GET", "me", undefined, token)).status).toBe(401);
    }
  });

  it("needs to know whose session it is", async () => {
    expect((await api(gateway, "POST", "auth/logout", { realm: "main" }, null)).status).toBe(401);
    expect((await api(gateway, "POST", "auth/logout", { refresh_token: "x" }, null)).status).toBe(401);
    expect((await api(gateway, "POST", "auth/logout", { realm: "main" }, ADMIN_TOKEN)).status).toBe(401);
    const key = await addApiKey("k1", {});
    expect((await api(gateway, "POST", "auth/logout", { realm: "main" }, key)).status).toBe(401);
  });
});

describe("requirement 12: kinds of tokens exclude each other", () => {
  it("a refresh token opens no route, an access token refreshes nothing, the origin's token is neither", async () => {
    const { access_token, refresh_token } = await signIn();
    expect(await call(refresh_token)).toBe(401);
    expect((await refresh(access_token)).status).toBe(401);
    await call(access_token);
    const context = gateway.received[0]?.headers.get("x-user-context") ?? "";
    expect(context).not.toBe("");
    expect(await call(context)).toBe(401);
  });

  it("a token of one realm is worth nothing in another", async () => {
    const root = { id: "r", username: "root", password: PASSWORD, role: "admin" };
    await api(gateway, "POST", "admin/realms/gateway/users", root);
    const { body } = await login({ realm: "gateway", username: "root" });
    expect(await call((body as Signed).access_token)).toBe(401);
    const { access_token } = await signIn();
    expect((await api(gateway, "GET", "admin/realms/main/users", undefined, access_token)).status).toBe(401);
  });
});

describe("requirement 20: when D1 is down", () => {
  it.each([["auth/login"], ["auth/refresh"]])("%s is 503, never 401", async (path) => {
    const { refresh_token } = await signIn();
    gateway.faults.d1 = "failing";
    const body =
      path === "auth/login" ? { realm: "main", username: "alice", password: PASSWORD } : { refresh_token };
    const answer = await api(gateway, "POST", path, body, null);
    expect(answer.status).toBe(503);
    gateway.faults.d1 = "well";
    expect((await api(gateway, "POST", path, body, null)).status).toBe(200);
  });
});

describe("requirement 16: what is ended is ended at once where it was done", () => {
  const onWarmRoute = async (token: string) => (await gateway.fetch("/private/x", bearer(token))).status;

  it.each([
    [
      "by signing out",
      (tokens: Signed) => api(gateway, "POST", "auth/logout", { refresh_token: tokens.refresh_token }, null),
    ],
    [
      "by disabling the user",
      () => api(gateway, "PATCH", "admin/realms/main/users/7", { status: "disabled" }),
    ],
    ["by revoking", () => api(gateway, "POST", "admin/realms/main/revocations", { kind: "user", id: "7" })],
    [
      "by a refresh token that was used too late",
      async (tokens: Signed) => {
        await refresh(tokens.refresh_token);
        await DB.prepare("UPDATE sessions SET advanced_at_seconds = advanced_at_seconds - 11").run();
        await refresh(tokens.refresh_token);
      },
    ],
  ])("%s, on a route that need not ask D1", async (_how, end) => {
    const tokens = await signIn();
    expect(await onWarmRoute(tokens.access_token)).toBe(200);
    await end(tokens);
    expect(await onWarmRoute(tokens.access_token)).toBe(401);
  });
});
