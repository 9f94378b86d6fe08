// What users may do for themselves: with what is theirs, and with no more rights than they came with.
import * as v from "valibot";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { selfEndpoints } from "../../../src/control/self.ts";
import { createPasswordHasher } from "../../../src/issuer/password-hasher.ts";
import { ACCOUNT_RULE } from "../../../src/issuer/throttle-rules.ts";
import type { PasswordHash } from "../../../src/store/writes.ts";
import { type Answer, callOf, rowsOf, statusOfUse } from "../../support/worker/calls.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addUser,
  api,
  emptyStores,
  GATEWAY,
  type Gateway,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";

const nowSeconds = () => Math.floor(Date.now() / 1_000);
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);
const PASSWORD = "correct horse battery staple";
const NEXT = "a different sentence entirely";

let gateway: Gateway;
let hash: PasswordHash;

beforeAll(async () => {
  hash = await createPasswordHasher().hash(PASSWORD);
});
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
  await emptyStores();
  const times = { createdAtSeconds: nowSeconds(), updatedAtSeconds: nowSeconds() };
  await writes.createUser({ realm: "main", id: "7", username: "Alice", ...times }, hash);
  await addUser("8");
  // What the sign-ins of this file carry must be what the role of their user has.
  const signIn = { ...GATEWAY.realms.main.sign_in, scopes: ["a", "b", "c", "notes.read"] };
  gateway = startGateway({
    vars: { GATEWAY: { ...GATEWAY, realms: { ...GATEWAY.realms, main: { sign_in: signIn } } } },
  });
});
afterEach(() => {
  vi.useRealTimers();
});

const call = (token: string | null, method: string, path: string, body?: unknown) =>
  callOf(gateway, method, path, body, token);
const use = (secret: unknown) => statusOfUse(gateway, secret);

const answerOf = (id: string) => {
  const found = selfEndpoints.find((endpoint) => endpoint.id === id)?.answer;
  if (found === null || found === undefined) throw new Error(`${id} has no answer`);
  return found;
};

describe("GET me", () => {
  it.each([
    ["jwt", async () => signIn("7", { scopes: ["notes.read"], sessionId: "s1" }), expect.any(String)],
    ["api_key", async () => addApiKey("k1", { scopes: ["notes.read"] }), "k1"],
    ["pat", async () => addPat("p1", { scopes: ["notes.read"] }), "p1"],
  ] as const)("tells who calls and with what: %s", async (kind, present, id) => {
    const { status, body } = await call(await present(), "GET", "me?realm=main");
    expect(status).toBe(200);
    expect(v.is(answerOf("getMe"), body)).toBe(true);
    expect(body).toMatchObject({
      realm: "main",
      id: "7",
      username: "Alice",
      has_password: true,
      credential: { kind, id, scopes: ["notes.read"] },
    });
    expect(JSON.stringify(body)).not.toMatch(/hash|digest|scrypt/);
  });

  it.each([
    ["nobody", null, "credential_missing"],
    ["the ADMIN_TOKEN, who is no user", ADMIN_TOKEN, "credential_invalid"],
  ])("not %s", async (_name, token, code) => {
    expect(await call(token, "GET", "me?realm=main")).toMatchObject({ status: 401, body: { code } });
  });

  it("not a token of another realm, nor one whose session ended, nor one of a site's own issuer", async () => {
    await addUser("7", { realm: "gateway", role: "admin" });
    const foreign = await signIn("7", { realm: "gateway" });
    expect((await call(foreign, "GET", "me?realm=main")).status).toBe(401);
    expect((await call(foreign, "GET", "me?realm=gateway")).status).toBe(200);
    const ended = await signIn("7", { sessionId: "s1" });
    await writes.endSessions({ realm: "main", id: "s1" }, nowSeconds(), nowSeconds() + 1_000);
    expect((await call(ended, "GET", "me?realm=main")).status).toBe(401);
  });
});

describe.each([
  ["api_key", "keys", "key", "Key"],
  ["pat", "pats", "token", "Pat"],
] as const)("own %ss", (kind, path, member, operation) => {
  const all = `me/${path}`;
  const addOther = async (id: string, overrides = {}) =>
    kind === "pat" ? addPat(id, overrides) : addApiKey(id, overrides);
  const exceeded = { status: 403, body: { code: "grant_exceeds_holder" } };

  it("are made, used, changed, rotated, listed and deleted", async () => {
    const token = await signIn("7", { scopes: ["a", "b"] });
    const made = await call(token, "POST", all, { name: "laptop", scopes: ["a"] });
    expect(made).toMatchObject({ status: 201, body: { kind, user: "7", scopes: ["a"], attributes: {} } });
    expect(v.is(answerOf(`createMy${operation}`), made.body)).toBe(true);
    expect(await use(made.body[member])).toBe(200);
    const { id } = made.body;
    expect(await call(token, "PATCH", `${all}/${id}`, { name: "phone" })).toMatchObject({ status: 200 });
    const rotated = await call(token, "POST", `${all}/${id}/rotate`, { grace_seconds: 60 });
    expect(rotated).toMatchObject({ status: 201, body: { name: "phone", scopes: ["a"] } });
    expect([await use(made.body[member]), await use(rotated.body[member])]).toEqual([200, 200]);
    await writes.updateUser("main", "7", { name: "A" }, nowSeconds()); // something in between
    const list = await call(token, "GET", all);
    expect(v.is(answerOf(`listMy${operation}s`), list.body)).toBe(true);
    expect((list.body.items as Answer[]).map((item) => item.id).sort()).toEqual([id, rotated.body.id].sort());
    expect(JSON.stringify(list.body)).not.toContain(String(made.body[member]));
    expect((await call(token, "DELETE", `${all}/${id}`)).status).toBe(204);
    expect([await use(made.body[member]), await use(rotated.body[member])]).toEqual([401, 200]);
    const audit = await rowsOf("audit");
    expect(audit.map(({ action }) => action)).toEqual(
      ["created", "updated", "rotated", "deleted"].map((what) => `credential.${what}`),
    );
    for (const row of audit) {
      expect(row).toMatchObject({ actor_kind: "user", actor_realm: "main", actor_id: "7", target_id: id });
    }
  });

  it("requirement 19: another's are not there, for any verb", async () => {
    const token = await signIn("7", { scopes: ["a"] });
    await addOther("theirs", { userId: "8" });
    await addUser("7", { realm: "gateway" });
    await addOther("elsewhere", { realm: "gateway" });
    const before = await rowsOf("credentials");
    const unknown = await call(token, "GET", `${all}/nothing`);
    for (const id of ["theirs", "elsewhere", "nothing"]) {
      for (const [method, tail, body] of [
        ["GET", "", undefined],
        ["PATCH", "", { status: "disabled" }],
        ["PATCH", "", {}],
        ["DELETE", "", undefined],
        ["POST", "/rotate", {}],
      ] as const) {
        const { status, body: answer } = await call(token, method, `${all}/${id}${tail}`, body);
        expect([status, { ...answer, requestId: "" }]).toEqual([404, { ...unknown.body, requestId: "" }]);
      }
    }
    expect((await call(token, "GET", all)).body.items).toEqual([]);
    expect(await rowsOf("credentials")).toEqual(before);
  });

  it.each([
    ["user", { user: "8" }],
    ["attributes", { attributes: { group: "vip" } }],
    ["realm", { realm: "gateway" }],
    ["digest", { digest: "0".repeat(64) }],
    ["kind", { kind: "session" }],
  ])("%s is not the user's to say", async (field, body) => {
    const token = await signIn("7");
    const refused = { status: 400, body: { errors: [{ field }] } };
    await addOther("mine");
    expect(await call(token, "POST", all, body)).toMatchObject(refused);
    expect(await call(token, "PATCH", `${all}/mine`, body)).toMatchObject(refused);
    expect(await rowsOf("credentials")).toHaveLength(1);
  });

  it("are for the caller, whoever a parameter names", async () => {
    expect((await call(await signIn("7"), "GET", `${all}?user=8`)).status).toBe(400);
  });

  describe("requirement 19: nobody grants what they do not hold", () => {
    it("scopes of a new one are those of the caller's credential, not all of the user's", async () => {
      await signIn("7", { scopes: ["a", "b"] });
      const token = await signIn("7", { scopes: ["a"] });
      for (const scopes of [["b"], ["a", "b"], ["A"], ["a "], ["*"]]) {
        const { status } = await call(token, "POST", all, { scopes });
        expect([scopes, status]).toEqual([scopes, scopes.includes("a ") ? 400 : 403]);
      }
      expect(await call(await signIn("7"), "POST", all, { scopes: ["a"] })).toMatchObject(exceeded);
      expect(await rowsOf("credentials")).toEqual([]);
    });

    it("nor by a change, by enabling, by lengthening, by another address list, by rotating", async () => {
      const token = await signIn("7", { scopes: ["a"] });
      await addOther("wide", { scopes: ["a", "b"], ipAllow: ["192.0.2.1"], status: "disabled" });
      for (const body of [
        { scopes: ["a", "b"] },
        { scopes: ["b"] },
        { status: "active" },
        { expires_at: null },
        { ip_allow: [] },
        { name: "n", ip_allow: ["0.0.0.0/0"] },
      ]) {
        expect(await call(token, "PATCH", `${all}/wide`, body)).toMatchObject(exceeded);
      }
      expect(await call(token, "POST", `${all}/wide/rotate`, {})).toMatchObject(exceeded);
      const [row] = await rowsOf("credentials");
      expect(row).toMatchObject({
        scopes: '["a","b"]',
        ip_allow: '["192.0.2.1"]',
        status: "disabled",
        name: null,
      });
    });

    it("but what is too wide can always be named, disabled, narrowed and deleted", async () => {
      const token = await signIn("7", { scopes: ["a"] });
      await addOther("wide", { scopes: ["a", "b"] });
      for (const body of [{ name: "n" }, { status: "disabled" }, { scopes: ["a"] }, { scopes: [] }]) {
        expect((await call(token, "PATCH", `${all}/wide`, body)).status).toBe(200);
      }
      await addOther("wider", { scopes: ["c"] });
      expect((await call(token, "DELETE", `${all}/wider`)).status).toBe(204);
    });

    it("a rotation keeps attributes that an administrator gave", async () => {
      await addOther("mine", { attributes: { group: "vip" } });
      const { body } = await call(await signIn("7"), "POST", `${all}/mine/rotate`, {});
      expect(body.attributes).toEqual({ group: "vip" });
    });
  });

  it("a key or PAT looks, and makes no more of itself", async () => {
    await addOther("mine");
    for (const token of [await addApiKey("k1", { scopes: ["a"] }), await addPat("p1", { scopes: ["a"] })]) {
      expect((await call(token, "GET", `${all}?realm=main`)).status).toBe(200);
      expect((await call(token, "GET", `${all}/mine?realm=main`)).status).toBe(200);
      for (const [method, tail, body] of [
        ["POST", "", {}],
        ["POST", "/mine/rotate", {}],
        ["PATCH", "/mine", { name: "n" }],
        ["DELETE", "/mine", undefined],
      ] as const) {
        const attempt = await call(token, method, `${all}${tail}?realm=main`, body);
        expect(attempt).toMatchObject({ status: 401, body: { code: "credential_invalid" } });
      }
    }
    expect(await rowsOf("audit")).toEqual([]);
  });
});

it("administrators have keys of their own too, with no more scopes than they signed in with", async () => {
  await addUser("root", { realm: "gateway", role: "root" });
  const token = await signIn("root", { realm: "gateway", scopes: ["gateway.read"] });
  const make = (scopes: string[]) => call(token, "POST", "me/keys?realm=gateway", { scopes });
  expect((await make(["gateway.write"])).status).toBe(403);
  const { body } = await make(["gateway.read"]);
  const key = String(body.key);
  expect((await call(key, "GET", "admin/realms/main/keys")).status).toBe(200);
  expect(await call(key, "POST", "admin/realms/main/keys", { user: "7" })).toMatchObject({
    status: 403,
    body: { code: "scope_insufficient" },
  });
});

describe("POST me/password", () => {
  const change = (token: string, current: unknown, next: unknown) =>
    call(token, "POST", "me/password", { current_password: current, new_password: next });
  const login = (password: string) =>
    api(gateway, "POST", "auth/login", { realm: "main", username: "alice", password }, null);

  it("sets the password and ends every other session, also those of tokens already out", async () => {
    const [mine, other] = [
      await signIn("7", { sessionId: "mine" }),
      await signIn("7", { sessionId: "other" }),
    ];
    const theirs = await signIn("8", { sessionId: "theirs" });
    expect([await use(mine), await use(other)]).toEqual([200, 200]);
    const me = (token: string) => call(token, "GET", "me");
    expect(await change(mine, PASSWORD, NEXT)).toMatchObject({ status: 204, body: null });
    expect([await use(mine), await use(other), await use(theirs)]).toEqual([200, 401, 200]);
    expect((await me(mine)).status).toBe(200);
    expect((await me(other)).status).toBe(401);
    expect((await login(PASSWORD)).status).toBe(401);
    expect((await login(NEXT)).status).toBe(200);
    const changed = (await rowsOf("audit")).filter(({ action }) => action === "user.password_changed");
    expect(changed).toMatchObject([{ actor_id: "7", target_kind: "user", target_id: "7" }]);
    expect(JSON.stringify(await rowsOf("audit"))).not.toContain(NEXT);
  });

  it("is refused for a wrong password: nothing changes, nothing ends, it is counted and audited", async () => {
    const [mine, other] = [await signIn("7"), await signIn("7")];
    const before = await rowsOf("passwords");
    const refused = await change(mine, `${PASSWORD} `, NEXT);
    expect(refused).toMatchObject({ status: 401, body: { code: "sign_in_failed" } });
    expect(await rowsOf("passwords")).toEqual(before);
    expect((await call(other, "GET", "me")).status).toBe(200);
    expect(await rowsOf("sign_in_failures")).toMatchObject([{ realm: "main", account: "7", count: 1 }]);
    expect(await rowsOf("audit")).toMatchObject([
      { action: "sign_in.failed", actor_id: "7", target_id: "7" },
    ]);
  });

  it.each([
    ["too short", "short"],
    ["well known", "iloveyou2"],
    ["the user's own name", "alicealice"],
  ])("tells what is wrong with a new one that is %s, at no attempt's cost", async (_name, next) => {
    const token = await signIn("7");
    const { status, body } = await change(token, PASSWORD, next);
    expect([status, body.errors]).toEqual([400, [expect.objectContaining({ field: "new_password" })]]);
    expect(JSON.stringify(body)).not.toContain(next);
    expect(await rowsOf("throttles")).toEqual([]);
  });

  it.each([
    ["current_password", ["", NEXT]],
    ["current_password", ["x".repeat(1_025), NEXT]],
    ["new_password", [PASSWORD, "é".repeat(513)]],
    ["new_password", [PASSWORD, 12345678]],
    ["current_password", [undefined, NEXT]],
    ["new_password", [PASSWORD, `${NEXT}\ud800`]],
  ])("hashes nothing for a %s that cannot be one", async (field, [current, next]) => {
    expect(await change(await signIn("7"), current, next)).toMatchObject({
      status: 400,
      body: { errors: [{ field }] },
    });
  });

  it("requirement 18: a stolen session guesses no faster than at the sign-in, and with the same count", async () => {
    const token = await signIn("7");
    const guesses = await Promise.all(Array.from({ length: 10 }, () => change(token, "wrong", NEXT)));
    // Those that found the isolate busy were not tried and do not count.
    do {
      guesses.push(await change(token, "wrong", NEXT));
    } while (guesses.at(-1)?.status !== 429);
    const tried = guesses.filter(({ status }) => status === 401);
    expect(tried).toHaveLength(ACCOUNT_RULE.freeAttempts + 1);
    expect(Number(guesses.at(-1)?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await change(token, PASSWORD, NEXT)).status).toBe(429);
    expect((await login(PASSWORD)).status).toBe(429);
    pass(86_400);
    expect((await change(await signIn("7"), PASSWORD, NEXT)).status).toBe(204);
  }, 60_000);

  it("of two changes at the same time one is told", async () => {
    const [first, second] = [await signIn("7"), await signIn("7")];
    const results = await Promise.all([change(first, PASSWORD, NEXT), change(second, PASSWORD, `${NEXT} 2`)]);
    const statuses = results.map(({ status }) => status);
    // The loser finds its session ended, its password old, or the row changed, as far as it had come.
    expect(statuses.filter((status) => status === 204)).toHaveLength(1);
    expect(await rowsOf("passwords")).toHaveLength(1);
  });

  it("is not for those without a password", async () => {
    expect(await change(await signIn("8"), "anything", NEXT)).toMatchObject({ status: 401 });
    expect(await rowsOf("passwords")).toHaveLength(1);
  });

  it("is not for keys and PATs", async () => {
    for (const token of [await addApiKey("k1"), await addPat("p1")]) {
      const body = { current_password: PASSWORD, new_password: NEXT };
      expect((await call(token, "POST", "me/password?realm=main", body)).status).toBe(401);
    }
  });
});

describe("own sessions", () => {
  const list = async (token: string) => {
    const { body } = await call(token, "GET", "me/sessions");
    expect(v.is(answerOf("listMySessions"), body)).toBe(true);
    return (body.items as (Answer & { current: boolean })[]).map(({ id, current }) => [id, current]).sort();
  };

  it("are listed, and the one that asks is marked; keys have none", async () => {
    const first = await signIn("7", { sessionId: "s1" });
    const second = await signIn("7", { sessionId: "s2" });
    await signIn("8", { sessionId: "s3" });
    expect(await list(first)).toEqual([
      ["s1", true],
      ["s2", false],
    ]);
    expect(await list(second)).toEqual([
      ["s1", false],
      ["s2", true],
    ]);
    const { body } = await call(await addApiKey("k1"), "GET", "me/sessions?realm=main");
    expect(body.items).toMatchObject([{ current: false }, { current: false }]);
  });

  it("are ended one by one, the caller's own too, and their tokens with them", async () => {
    const first = await signIn("7", { sessionId: "s1" });
    const second = await signIn("7", { sessionId: "s2" });
    expect((await call(first, "DELETE", "me/sessions/s2")).status).toBe(204);
    expect((await call(second, "GET", "me")).status).toBe(401);
    expect((await call(first, "DELETE", "me/sessions/s2")).status).toBe(404);
    expect((await call(first, "DELETE", "me/sessions/s1")).status).toBe(204);
    expect((await call(first, "GET", "me")).status).toBe(401);
    const target = { action: "session.ended", actor_id: "7", target_kind: "session" };
    expect(await rowsOf("audit")).toMatchObject([
      { ...target, target_id: "s2" },
      { ...target, target_id: "s1" },
    ]);
  });

  it("requirement 19: another's are not there", async () => {
    const token = await signIn("7");
    const theirs = await signIn("8", { sessionId: "theirs" });
    await addUser("7", { realm: "gateway" });
    await signIn("7", { realm: "gateway", sessionId: "elsewhere" });
    for (const id of ["theirs", "elsewhere", "nothing"]) {
      expect(await call(token, "DELETE", `me/sessions/${id}`)).toMatchObject({
        status: 404,
        body: { code: "resource_not_found" },
      });
    }
    expect((await call(theirs, "GET", "me")).status).toBe(200);
    expect(await rowsOf("revocations")).toEqual([]);
  });

  it("all others are ended at once; those of others, and keys, are not", async () => {
    const mine = await signIn("7", { sessionId: "s1" });
    const others = [await signIn("7", { sessionId: "s2" }), await signIn("7", { sessionId: "s3" })];
    const theirs = await signIn("8");
    const key = await addApiKey("k1");
    expect((await call(mine, "DELETE", "me/sessions")).status).toBe(204);
    expect(await list(mine)).toEqual([["s1", true]]);
    for (const token of others) expect((await call(token, "GET", "me")).status).toBe(401);
    expect((await call(theirs, "GET", "me")).status).toBe(200);
    expect(await use(key)).toBe(200);
    expect((await call(mine, "DELETE", "me/sessions")).status).toBe(204);
    expect(await rowsOf("audit")).toHaveLength(1);
  });

  it("a cookie's is the one that asks, and no other site's page ends any", async () => {
    await signIn("7", { sessionId: "s1" });
    const body = { realm: "main", username: "alice", password: PASSWORD, session: "cookie" };
    const { headers } = await callOf(gateway, "POST", "auth/login", body, null);
    const cookie = headers.get("set-cookie")?.split(";", 1)[0] ?? "";
    const send = async (method: string, more: Record<string, string>) => {
      const init = { method, headers: { cookie, ...more } };
      const { status, body } = await gateway.fetch("https://auth.example.com/_gateway/me/sessions", init);
      return { status, text: await new Response(body).text() };
    };
    const { items } = JSON.parse((await send("GET", {})).text);
    const currentOf = (kind: string) => items.find((item: { kind: string }) => item.kind === kind)?.current;
    expect([currentOf("cookie"), currentOf("token")]).toEqual([true, false]);
    for (const origin of ["https://evil.example", "null"]) {
      expect((await send("DELETE", { origin, "sec-fetch-site": "cross-site" })).status).toBe(401);
    }
    expect((await send("DELETE", { origin: "https://auth.example.com" })).status).toBe(204);
    const left = (await rowsOf("sessions")).filter(({ status }) => status === "active");
    expect(left).toMatchObject([{ kind: "cookie" }]);
    expect((await send("GET", {})).status).toBe(200);
  });

  it("are not ended by keys and PATs", async () => {
    await signIn("7", { sessionId: "s1" });
    const key = await addApiKey("k1");
    expect((await call(key, "DELETE", "me/sessions/s1?realm=main")).status).toBe(401);
    expect((await call(key, "DELETE", "me/sessions?realm=main")).status).toBe(401);
  });
});
