// Postern in Cloudreve's place: signing in, refreshing, signing out, and what of it is over when.
import { decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../../../src/config/load.ts";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import {
  addUser,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  secrets,
  writes,
} from "../../../support/worker/gateway.ts";
import {
  API,
  bearer,
  contextOf,
  expectRefusal,
  FILES,
  LOGIN_REQUIRED,
  lacks,
  MASTER_KEY,
  ME,
  NO_SUCH_USER,
  NOT_ADMIN,
  nowSeconds,
  type Sent,
  SITE_ID,
  sign,
  signRefresh,
  startCloudreve,
  USER_IS_OUT,
  type Words,
  WRONG_USE,
} from "./stand-in.ts";

const PASSWORD = "correct horse battery staple";
const hasher = createPasswordHasher();
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await hasher.hash(PASSWORD);
/** Failures are counted in windows of ten minutes: one must not end in the middle of a test. */
const NOW_MS = 1_800_000_300_000;
const DAY_SECONDS = 86_400;
const EMAIL = "alice@example.com";
const TOKEN = `${API}/session/token`;
const REFRESH = `${TOKEN}/refresh`;
const WRONG_PASSWORD = [40080, "Incorrect password or email address"] as const;
const NO_PAIR = [40020, "Failed to issue token pair"] as const;
const NO_TOKEN = [40020, "Failed to parse token"] as const;

interface Pair {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly access_expires: string;
  readonly refresh_expires: string;
}

let gateway: Gateway;
const issuing = (site: Readonly<Record<string, unknown>> = {}) =>
  startCloudreve({ site: { issue: true, site_id: SITE_ID, ...site } });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  gateway = issuing();
  await addUser(
    "lpua",
    { email: EMAIL, name: "Alice", attributes: { nick: "Al", group: "User" } },
    PASSWORD_HASH,
  );
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

const send = (method: string, path: string, body: unknown, headers: Sent = {}, via = gateway) =>
  via.fetch(path, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
const login = (body: unknown = { email: EMAIL, password: PASSWORD }, headers: Sent = {}) =>
  send("POST", TOKEN, body, headers);
const refresh = (refresh_token: string, headers: Sent = {}, via = gateway) =>
  send("POST", REFRESH, { refresh_token }, headers, via);
const signOut = (refresh_token: string) => send("DELETE", TOKEN, { refresh_token });
const prepare = (query: string) => gateway.fetch(`${API}/session/prepare${query}`);

async function signIn(): Promise<Pair> {
  const response = await login();
  expect(response.status).toBe(200);
  return ((await response.json()) as { readonly data: { readonly token: Pair } }).data.token;
}
async function refreshed(refreshToken: string): Promise<Pair> {
  const response = await refresh(refreshToken);
  const { code, data } = (await response.json()) as { readonly code: number; readonly data: Pair };
  expect(code).toBe(0);
  return data;
}
/** What the edge makes of an access token: who it is for the origin, or the code of the refusal. */
async function whoIs(accessToken: string, via = gateway): Promise<unknown> {
  const response = await via.fetch(ME, { headers: bearer(accessToken) });
  await via.settle();
  const text = await response.text();
  return text === "from the origin" ? contextOf(via.received.at(-1)).sub : JSON.parse(text).code;
}
const liveSessions = () =>
  DB.prepare("SELECT count(*) AS count FROM sessions WHERE status = 'active'").first<number>("count");

const USER = `{"id":"lpua","email":"alice@example.com","nickname":"Alice","status":"active","created_at":"2027-01-15T08:05:00.000+00:00"}`;

describe("the wire contract §1.5, POST token", () => {
  it("§1.5 answers in the bytes that clients expect", async () => {
    const response = await login();
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("set-cookie")).toBeNull();
    const text = await response.text();
    const { access_token, refresh_token } = JSON.parse(text).data.token as Pair;
    expect(text).toBe(
      `{"code":0,"data":{"user":${USER},"token":{"access_token":"${access_token}","refresh_token":"${refresh_token}",` +
        `"access_expires":"2027-01-15T09:05:00.000+00:00","refresh_expires":"2027-01-29T08:05:00.000+00:00"}},"msg":""}`,
    );
    expect(gateway.received).toHaveLength(0);
  });

  it("§1.5 shows what the import knows of a user", async () => {
    const attributes = {
      ...{ nick: "Al", group: "Admin", group_id: "6gS8", permission: "Af8=", avatar: "gravatar" },
      ...{ preferred_theme: "#1976d2", language: "zh-CN" },
    };
    await writes.updateUser("main", "lpua", { attributes, name: null }, nowSeconds());
    const { data } = (await (await login()).json()) as { readonly data: { readonly user: object } };
    expect(JSON.stringify(data.user)).toBe(
      '{"id":"lpua","email":"alice@example.com","nickname":"Al","status":"active","avatar":"gravatar",' +
        '"created_at":"2027-01-15T08:05:00.000+00:00","preferred_theme":"#1976d2",' +
        '"group":{"id":"6gS8","name":"Admin","permission":"Af8="},"language":"zh-CN"}',
    );
  });

  it("§1.2 signs tokens as the original does, bound to the session", async () => {
    const { access_token, refresh_token } = await signIn();
    const [at, root] = [nowSeconds(), decodeJwt(refresh_token).root_token_id];
    const times = { nbf: at - 5, iat: at };
    for (const token of [access_token, refresh_token]) {
      expect(decodeProtectedHeader(token)).toEqual({ alg: "HS256", typ: "JWT" });
      // As the origin verifies it.
      await jwtVerify(token, new TextEncoder().encode(MASTER_KEY), { currentDate: new Date() });
    }
    expect(root).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(decodeJwt(access_token)).toEqual({
      ...{ token_type: "access", sub: "lpua", exp: at + 3_600, ...times },
      sid: root,
    });
    expect(decodeJwt(refresh_token)).toEqual({
      ...{ token_type: "refresh", sub: "lpua", exp: at + 14 * DAY_SECONDS, ...times },
      state_hash: await stateHash(`${EMAIL}/${PASSWORD_HASH.hash}/${SITE_ID}`),
      root_token_id: root,
    });
    expect(await whoIs(access_token)).toBe("lpua");
    expect(gateway.received.at(-1)?.headers.get("authorization")).toBe(`Bearer ${access_token}`);
  });

  it.each([
    ["§1.5 another spelling of the address", { email: "Alice@Example.COM", password: PASSWORD }, {}],
    ["§1.5 members in another case", { EMAIL, Password: PASSWORD }, {}],
    ["§1.5 members nobody asked for", { email: EMAIL, password: PASSWORD, captcha: "x", ticket: "y" }, {}],
    ["§1.5 another type of content", { email: EMAIL, password: PASSWORD }, { "content-type": "text/plain" }],
    ["§1.3 a bad token beside it", { email: EMAIL, password: PASSWORD }, bearer("wrong")],
  ])("%s", async (_name, body, headers) => {
    expect(await (await login(body, headers)).json()).toMatchObject({ code: 0, msg: "" });
  });

  const rows: readonly (readonly [string, unknown, Words])[] = [
    ["an unknown address", { email: "nobody@example.com", password: PASSWORD }, WRONG_PASSWORD],
    ["a wrong password", { email: EMAIL, password: `${PASSWORD}.` }, WRONG_PASSWORD],
    ["a password in another case", { email: EMAIL, password: PASSWORD.toUpperCase() }, WRONG_PASSWORD],
    ["a password with NUL", { email: EMAIL, password: `${PASSWORD}\0` }, WRONG_PASSWORD],
    ["no address", { password: PASSWORD }, [40001, "Email cannot be empty"]],
    ["an empty address", { email: "", password: PASSWORD }, [40001, "Email cannot be empty"]],
    ["null for an address", { email: null, password: "" }, [40001, "Email cannot be empty"]],
    ["a name for an address", { email: "alice", password: PASSWORD }, [40001, "Email format error"]],
    ["a blank in the address", { email: "a b@example.com", password: "x" }, [40001, "Email format error"]],
    ["half a character", { email: "alice\ud800@example.com", password: "x" }, [40001, "Email format error"]],
    ["no password", { email: EMAIL }, [40001, "Password cannot be empty"]],
    ["an empty password", { email: EMAIL, password: "" }, [40001, "Password cannot be empty"]],
    ["3 characters", { email: EMAIL, password: "абв" }, [40001, "Password too short"]],
    ["4 characters", { email: EMAIL, password: "абвг" }, WRONG_PASSWORD],
    ["128 characters", { email: EMAIL, password: "ы".repeat(128) }, WRONG_PASSWORD],
    ["129 characters", { email: EMAIL, password: "x".repeat(129) }, [40001, "Password too long"]],
    ["no JSON", "{", [40001, "Parameter error"]],
    ["nothing", "", [40001, "Parameter error"]],
    ["a form", "email=alice%40example.com&password=x", [40001, "Parameter error"]],
    ["a number", { email: 7, password: PASSWORD }, [40001, "JSON marshall error"]],
    ["a list", [], [40001, "JSON marshall error"]],
    ["null", null, [40001, "Email cannot be empty"]],
  ];
  it.each(rows)("§1.5 %s", async (_name, body, words) => {
    await expectRefusal(await login(body), words);
    expect(await liveSessions()).toBe(0);
  });

  it.each([
    ["banned", "disabled", [40017, "This account has been blocked"]],
    ["inactive", "pending", [40018, "This account is not activated"]],
  ] as const)("§1.5 %s is told to who knows the password, and nobody else", async (_name, status, words) => {
    await writes.updateUser("main", "lpua", { status }, nowSeconds());
    await expectRefusal(await login(), words);
    await expectRefusal(await login({ email: EMAIL, password: "wrong" }), WRONG_PASSWORD);
    expect(await liveSessions()).toBe(0);
  });

  it("§1.5 without its second factor nobody signs in who has one", async () => {
    await writes.updateUser("main", "lpua", { attributes: { two_factor: true } }, nowSeconds());
    await expectRefusal(await login(), [403, "Two-factor authentication is not available here"]);
    await expectRefusal(await login({ email: EMAIL, password: "wrong" }), WRONG_PASSWORD);
    expect(await liveSessions()).toBe(0);
  });

  it("nor at the gateway's own sign-in, which stands on the same host", async () => {
    await writes.updateUser("main", "lpua", { attributes: { two_factor: true } }, nowSeconds());
    for (const session of ["token", "cookie"]) {
      const body = { email: EMAIL, password: PASSWORD, session };
      const answer = await send("POST", "/_gateway/auth/login", body);
      expect([session, answer.status]).toEqual([session, 403]);
      expect(answer.headers.has("set-cookie")).toBe(false);
    }
    expect(await liveSessions()).toBe(0);
  });

  it("takes a password that Cloudreve has digested, and keeps it as its own", async () => {
    const salt = "s".repeat(32);
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`pa55${salt}`));
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    await addUser("old1", { email: "old@example.com" }, { scheme: "cloudreve", hash: `${salt}:${hex}` });
    const credentials = { email: "old@example.com", password: "pa55" };
    const first = (await (await login(credentials)).json()) as { data: { token: Pair } };
    const row = await DB.prepare("SELECT scheme, hash FROM passwords WHERE user_id = 'old1'").first();
    expect(row).toMatchObject({ scheme: "scrypt" });
    const { state_hash } = decodeJwt(first.data.token.refresh_token);
    expect(state_hash).toBe(await stateHash(`old@example.com/${row?.hash}/${SITE_ID}`));
    await refreshed(first.data.token.refresh_token);
    expect(await (await login(credentials)).json()).toMatchObject({ code: 0 });
  });

  it("slows guessing down, with a status that says so", async () => {
    const statuses: number[] = [];
    for (let tried = 0; tried < 12 && !statuses.includes(429); tried++) {
      statuses.push((await login({ email: EMAIL, password: "wrong" })).status);
    }
    expect(statuses.at(-1)).toBe(429);
    const response = await login();
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    await expectRefusal(response, [429, "Too many requests"], 429);
  });

  it("§1.3 looks at the token beside it, as on every path", async () => {
    const body = { email: EMAIL, password: PASSWORD };
    await expectRefusal(await login(body, bearer(await signRefresh())), WRONG_USE);
    await expectRefusal(await login(body, bearer(await sign({ sub: "none" }))), NO_SUCH_USER);
    await addUser("bann", { status: "disabled" });
    await expectRefusal(await login(body, bearer(await sign({ sub: "bann" }))), USER_IS_OUT);
  });

  it("an outage is 503, and no wrong password", async () => {
    await gateway.fetch("/");
    gateway.faults.d1 = "failing";
    await expectRefusal(await login(), [503, "The gateway cannot check credentials right now"], 503);
  });
});

describe("the wire contract §1.5, POST token/refresh", () => {
  it("§1.5 answers the token object alone", async () => {
    const { refresh_token: first } = await signIn();
    later(600);
    const response = await refresh(first);
    const text = await response.text();
    const { access_token, refresh_token } = JSON.parse(text).data as Pair;
    expect(text).toBe(
      `{"code":0,"data":{"access_token":"${access_token}","refresh_token":"${refresh_token}",` +
        `"access_expires":"2027-01-15T09:15:00.000+00:00","refresh_expires":"2027-01-29T08:15:00.000+00:00"},"msg":""}`,
    );
    expect(decodeJwt(refresh_token).root_token_id).toBe(decodeJwt(first).root_token_id);
    expect(await whoIs(access_token)).toBe("lpua");
  });

  it("§1.8 is idempotent: any tab, any time, any number of times at once", async () => {
    const { access_token, refresh_token } = await signIn();
    const answers = await Promise.all(Array.from({ length: 20 }, () => refreshed(refresh_token)));
    later(120);
    answers.push(await refreshed(refresh_token));
    for (const pair of answers) expect(await whoIs(pair.access_token)).toBe("lpua");
    expect(await whoIs(access_token)).toBe("lpua");
    for (const pair of answers) await refreshed(pair.refresh_token);
    expect(await liveSessions()).toBe(1);
  });

  it("§1.2 each token counts until its own end, and a session goes on as long as it is refreshed", async () => {
    const { access_token, refresh_token: first } = await signIn();
    later(3_599);
    expect(await whoIs(access_token)).toBe("lpua");
    later(3_600);
    expect(await whoIs(access_token)).toBe(401);
    later(14 * DAY_SECONDS - 1);
    const { refresh_token: second } = await refreshed(first);
    later(14 * DAY_SECONDS);
    await expectRefusal(await refresh(first), NO_PAIR);
    later(28 * DAY_SECONDS - 2);
    const { refresh_token: third } = await refreshed(second);
    expect(decodeJwt(third).exp).toBe(nowSeconds() + 14 * DAY_SECONDS);
    later(28 * DAY_SECONDS - 1);
    await expectRefusal(await refresh(second), NO_PAIR);
    await refreshed(third);
  });

  it("no session lasts longer than the realm says", async () => {
    let { refresh_token: token } = await signIn();
    for (let day = 13; day < 365; day += 13) {
      later(day * DAY_SECONDS);
      token = (await refreshed(token)).refresh_token;
    }
    expect(decodeJwt(token).exp).toBe(NOW_MS / 1_000 + 365 * DAY_SECONDS);
    later(365 * DAY_SECONDS - 1);
    const last = await refreshed(token);
    expect(decodeJwt(last.access_token).exp).toBe(NOW_MS / 1_000 + 365 * DAY_SECONDS);
    later(365 * DAY_SECONDS);
    await expectRefusal(await refresh(last.refresh_token), NO_PAIR);
  });

  const failures: readonly (readonly [string, (pair: Pair) => unknown])[] = [
    ["garbage", () => "abc"],
    ["an access token", ({ access_token }) => access_token],
    ["a forged one", ({ refresh_token }) => `${refresh_token.slice(0, -4)}AAAA`],
    [
      "one of another site",
      ({ refresh_token }) => signRefresh(decodeJwt(refresh_token), { secret: "y".repeat(40) }),
    ],
    ["HS512", ({ refresh_token }) => signRefresh(decodeJwt(refresh_token), { alg: "HS512" })],
    ["no exp", ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), exp: undefined })],
    [
      "no root_token_id",
      ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), root_token_id: undefined }),
    ],
    [
      "no state_hash",
      ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), state_hash: undefined }),
    ],
    [
      "another state_hash",
      ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), state_hash: "x" }),
    ],
    [
      "an unknown session",
      ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), root_token_id: crypto.randomUUID() }),
    ],
    ["somebody else's sub", ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), sub: "admn" })],
    ["a sub that is no text", ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), sub: 7 })],
    [
      "one to come",
      ({ refresh_token }) => signRefresh({ ...decodeJwt(refresh_token), nbf: nowSeconds() + 1 }),
    ],
    ["one of the original", () => signRefresh()],
  ];
  it.each(failures)("§1.5 %s is refused as any other", async (_name, make) => {
    await addUser("admn", { email: "admin@example.com", role: "admin" }, PASSWORD_HASH);
    const pair = await signIn();
    await expectRefusal(await refresh((await make(pair)) as string), NO_PAIR);
    // And ends nothing.
    await refreshed(pair.refresh_token);
  });

  it("a good refresh token of one user opens no session of another", async () => {
    await addUser("admn", { email: "admin@example.com", role: "admin" }, PASSWORD_HASH);
    const mine = decodeJwt((await signIn()).refresh_token);
    const others = (await (await login({ email: "admin@example.com", password: PASSWORD })).json()) as {
      readonly data: { readonly token: Pair };
    };
    const { root_token_id } = decodeJwt(others.data.token.refresh_token);
    await expectRefusal(await refresh(await signRefresh({ ...mine, root_token_id })), NO_PAIR);
  });

  it.each([
    ["no token", {}, [40001, "RefreshToken cannot be empty"]],
    ["an empty one", { refresh_token: "" }, [40001, "RefreshToken cannot be empty"]],
    ["a number", { refresh_token: 7 }, [40001, "JSON marshall error"]],
    ["no JSON", "x", [40001, "Parameter error"]],
  ] as const)("§1.5 %s", async (_name, body, words) => {
    await expectRefusal(await send("POST", REFRESH, body), words);
    await expectRefusal(await send("DELETE", TOKEN, body), words);
  });

  it("§1.5 asks a client's token beside it for offline_access", async () => {
    const { refresh_token } = await signIn();
    const as = async (...scopes: string[]) => bearer(await sign({ client_id: "g1", scopes }));
    await expectRefusal(await refresh(refresh_token, await as("openid")), lacks("offline_access"));
    expect(await (await refresh(refresh_token, await as("offline_access"))).json()).toMatchObject({
      code: 0,
    });
    expect(await (await refresh(refresh_token, bearer("bad"))).json()).toMatchObject({ code: 0 });
    await expectRefusal(await refresh(refresh_token, bearer(refresh_token)), WRONG_USE);
  });

  it("§1.5 ends with the user's being active", async () => {
    const { access_token, refresh_token } = await signIn();
    expect(await whoIs(access_token)).toBe("lpua");
    await writes.updateUser("main", "lpua", { status: "disabled" }, nowSeconds());
    await expectRefusal(await refresh(refresh_token), NO_PAIR);
    later(31);
    expect(await whoIs(access_token)).toBe(50001);
  });

  it("§1.2 ends with the password, and with the e-mail address", async () => {
    const { refresh_token: first } = await signIn();
    await writes.updateUser("main", "lpua", { email: "new@example.com" }, nowSeconds());
    await expectRefusal(await refresh(first), NO_PAIR);
    await writes.updateUser("main", "lpua", { email: EMAIL }, nowSeconds());
    const { refresh_token: second, access_token } = await signIn();
    const { root_token_id: kept } = decodeJwt(second);
    const next = await hasher.hash("another password of hers");
    // Even for the session that changes it, which goes on otherwise.
    await writes.setPassword(
      ...(["main", "lpua", next, { exceptSessionId: String(kept) }] as const),
      ...([nowSeconds(), nowSeconds() + DAY_SECONDS] as const),
    );
    for (const token of [first, second]) await expectRefusal(await refresh(token), NO_PAIR);
    later(31);
    expect(await whoIs(access_token)).toBe("lpua");
  });
});

describe("the wire contract §1.5, DELETE token", () => {
  it("§1.5 ends the session, and what was signed for it", async () => {
    const [one, other] = [await signIn(), await signIn()];
    const again = await refreshed(one.refresh_token);
    for (const token of [one, again, other]) expect(await whoIs(token.access_token)).toBe("lpua");
    const response = await signOut(one.refresh_token);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect([response.status, await response.text()]).toEqual([200, '{"code":0,"data":"","msg":""}']);
    // At once where it was done; others learn it within the bound.
    for (const { access_token } of [one, again]) expect(await whoIs(access_token)).toBe(401);
    for (const { refresh_token } of [one, again]) await expectRefusal(await refresh(refresh_token), NO_PAIR);
    expect(await whoIs(other.access_token)).toBe("lpua");
    await refreshed(other.refresh_token);
    expect(await liveSessions()).toBe(1);
    // On an open path it is nobody's, and the origin does not see it.
    expect((await gateway.fetch(FILES, { headers: bearer(one.access_token) })).status).toBe(200);
    expect(gateway.received.at(-1)?.headers.get("authorization")).toBeNull();
  });

  it.each([
    ["the second time", (pair: Pair) => signOut(pair.refresh_token).then(() => pair.refresh_token)],
    ["an access token", async ({ access_token }: Pair) => access_token],
    ["a token of the original", () => signRefresh()],
    [
      "a signed token of somebody else",
      ({ refresh_token }: Pair) => signRefresh({ ...decodeJwt(refresh_token), sub: "x" }),
    ],
    [
      "a root that is no text",
      ({ refresh_token }: Pair) => signRefresh({ ...decodeJwt(refresh_token), root_token_id: 7 }),
    ],
  ] as const)("§1.5 %s: any signed token passes, and ends nothing", async (_name, make) => {
    const [pair, other] = [await signIn(), await signIn()];
    const token = await make(pair);
    const response = await signOut(token);
    expect(await response.text()).toBe('{"code":0,"data":"","msg":""}');
    await refreshed(other.refresh_token);
    if (token !== pair.refresh_token) await refreshed(pair.refresh_token);
  });

  it.each([
    ["unparsable", () => "abc"],
    ["forged", ({ refresh_token }: Pair) => `${refresh_token.slice(0, -4)}AAAA`],
    ["expired", ({ refresh_token }: Pair) => signRefresh({ ...decodeJwt(refresh_token), exp: nowSeconds() })],
    [
      "of another key",
      ({ refresh_token }: Pair) => signRefresh(decodeJwt(refresh_token), { secret: "z".repeat(40) }),
    ],
  ] as const)("§1.5 %s", async (_name, make) => {
    const pair = await signIn();
    await expectRefusal(await signOut(await make(pair)), NO_TOKEN);
    await refreshed(pair.refresh_token);
  });

  it("ends whatever is being refreshed at the same time", async () => {
    const { access_token, refresh_token } = await signIn();
    expect(await whoIs(access_token)).toBe("lpua");
    const calls = Array.from({ length: 20 }, (_, index) =>
      index === 10 ? signOut(refresh_token) : refresh(refresh_token),
    );
    const bodies = await Promise.all(calls.map(async (answer) => (await answer).json()));
    const pairs = (bodies as readonly { readonly code: number; readonly data?: Partial<Pair> }[]).map(
      ({ data }) => data,
    );
    later(31);
    for (const token of [access_token, ...pairs.map((pair) => pair?.access_token)]) {
      if (token !== undefined) expect(await whoIs(token)).toBe(401);
    }
    for (const pair of pairs) {
      if (pair?.refresh_token !== undefined) await expectRefusal(await refresh(pair.refresh_token), NO_PAIR);
    }
    expect(await liveSessions()).toBe(0);
  });

  it("takes no one's word for whose session it is: the realm's other sites are others", async () => {
    const { refresh_token } = await signIn();
    const elsewhere = startCloudreve({ site: { issue: true, site_id: SITE_ID, realm: "second" } });
    await expectRefusal(await refresh(refresh_token, {}, elsewhere), NO_PAIR);
    expect(await (await send("DELETE", TOKEN, { refresh_token }, {}, elsewhere)).json()).toMatchObject({
      code: 0,
    });
    await refreshed(refresh_token);
    await elsewhere.settle();
  });
});

describe("the wire contract §1.5, prepare and other ways to sign in", () => {
  it("§1.5 prepare tells how one can sign in", async () => {
    const response = await prepare("?email=Alice%40example.com");
    expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
      200,
      "application/json; charset=utf-8",
      '{"code":0,"data":{"webauthn_enabled":false,"password_enabled":true},"msg":""}',
    ]);
    await addUser("nopw", { email: "nopw@example.com" });
    expect(await (await prepare("?email=nopw@example.com")).text()).toContain('"password_enabled":false');
  });

  it.each([
    ["nobody", "?email=nobody@example.com", NO_SUCH_USER],
    ["no address", "", [40001, "Email cannot be empty"]],
    ["an empty address", "?email=", [40001, "Email cannot be empty"]],
    ["no address at all", "?email=alice", [40001, "Email format error"]],
  ] as const)("§1.5 prepare for %s", async (_name, query, words) => {
    await expectRefusal(await prepare(query), words);
  });

  it.each([
    ["POST", "session/token/2fa"],
    ["PUT", "session/authn"],
    ["POST", "session/authn"],
    ["GET", "session/oauth/app/g1"],
    ["POST", "session/oauth/consent"],
    ["POST", "session/oauth/consent/deny"],
    ["POST", "session/oauth/token"],
    ["GET", "session/sso/callback"],
    ["POST", "session/sms/login"],
    ["GET", "session/token"],
    ["PUT", "session/token"],
    ["GET", "session/token/refresh"],
    ["POST", "user"],
    ["POST", "user/reset"],
    ["PATCH", "user/reset/lpua"],
    ["GET", "user/activate/lpua?sign=x:0"],
    ["PUT", "user/authn"],
  ])("there is no %s %s: its sessions would be the origin's alone", async (method, path) => {
    const { access_token } = await signIn();
    const response = await gateway.fetch(`${API}/${path}`, { method, headers: bearer(access_token) });
    await expectRefusal(response, [404, "No route matches this request"], 404);
    expect(gateway.received).toHaveLength(0);
  });

  it("what else there is about sessions goes to the origin", async () => {
    const headers = bearer((await signIn()).access_token);
    for (const [method, path] of [
      ["GET", "session/oauth/userinfo"],
      ["DELETE", "session/oauth/grant/g1"],
      ["PATCH", "user/setting"],
    ] as const) {
      await expectRefusal(await gateway.fetch(`${API}/${path}`, { method }), LOGIN_REQUIRED);
      expect((await gateway.fetch(`${API}/${path}`, { method, headers })).status).toBe(200);
    }
    expect(gateway.received).toHaveLength(3);
  });
});

describe("tokens that were not made here", () => {
  it.each([
    ["§1.8 the documented debugging token", {}],
    ["§1.8 without nbf", { nbf: undefined }],
  ])("%s counts for a user of the realm", async (_name, claims) => {
    expect(await whoIs(await sign(claims))).toBe("lpua");
    expect(await whoIs(await sign({ ...claims, sub: "none" }))).toBe(404);
  });

  it("administrators are those of the realm", async () => {
    await addUser("admn", { role: "admin" });
    const summary = async (sub: string) =>
      gateway.fetch(`${API}/admin/summary`, { headers: bearer(await sign({ sub })) });
    await expectRefusal(await summary("lpua"), NOT_ADMIN);
    expect((await summary("admn")).status).toBe(200);
  });
});

describe("what an operator can get wrong", () => {
  const load = (site: Readonly<Record<string, unknown>>) =>
    loadConfig({
      ...secrets,
      GATEWAY: { ...GATEWAY, realms: {} },
      SITE_TEST: {
        hosts: ["api.example.com"],
        origin: "https://cloudreve.internal",
        preset: "cloudreve",
        issue: true,
        jwt: { secret: "CLOUDREVE_MASTER_KEY" },
        ...site,
      },
      CLOUDREVE_MASTER_KEY: MASTER_KEY,
      DB: { prepare: () => {} },
    });
  const issuesOf = (site: Readonly<Record<string, unknown>>) => {
    const loaded = load(site);
    return loaded.ok ? [] : loaded.issues.map(({ key, message }) => `${key} ${message}`);
  };

  it("issue needs the site's id, and knows its users", () => {
    expect(issuesOf({ site_id: SITE_ID })).toEqual([]);
    expect(issuesOf({})).toEqual([
      expect.stringContaining("SITE_TEST.site_id is required with issue = true"),
    ]);
    expect(issuesOf({ site_id: SITE_ID, users: "none" })).toEqual([
      expect.stringContaining('SITE_TEST.users must be "required"'),
    ]);
  });

  it("its realm has the times of Cloudreve", () => {
    const loaded = load({ site_id: SITE_ID });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
    expect(loaded.config.realms.get("test")?.signIn).toMatchObject({
      accessSeconds: 3_600,
      idleSeconds: 14 * DAY_SECONDS,
      sessionSeconds: 365 * DAY_SECONDS,
    });
  });
});

async function stateHash(state: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(state));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}
