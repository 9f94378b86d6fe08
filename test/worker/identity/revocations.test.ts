// One verb that ends anything, through the front door: what is refused afterwards, and what is not.

import * as v from "valibot";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Revocation } from "../../../src/control/resources.ts";
import {
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  type Gateway,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";

const NOW_SECONDS = 1_900_000_000;
const REVOCATIONS = "admin/realms/main/revocations";
type Json = Readonly<Record<string, unknown>>;

let gateway: Gateway;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_SECONDS * 1_000 });
  await emptyStores();
  gateway = startGateway();
  await addUser("7");
  await addUser("8");
});
afterEach(() => {
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);
const revoke = (body: unknown, realm = "main", token?: string) =>
  api(gateway, "POST", `admin/realms/${realm}/revocations`, body, token);
const list = async (query = "") =>
  (await api(gateway, "GET", `${REVOCATIONS}${query}`)).body as {
    readonly items: readonly Json[];
    readonly next_cursor: string | null;
  };
const statusOf = async (init: RequestInit) => (await gateway.fetch("/now/x", init)).status;
const session = (cookie: string, user = "7"): RequestInit => ({
  headers: { cookie: `sid=${cookie}`, "New-Api-User": user },
});
const fields = (body: unknown) =>
  ((body as { readonly errors?: readonly { readonly field: string }[] }).errors ?? []).map(
    ({ field }) => field,
  );

describe("a key, a PAT, a session or a token", () => {
  it.each([
    ["key", "credential.deleted", "api_key", async () => bearer(await addApiKey("x1"))],
    ["pat", "credential.deleted", "pat", async () => bearer(await addPat("x1"), { "New-Api-User": "7" })],
    ["session", "session.ended", "session", async () => session(await addSession("x1"))],
    ["token", "revocation.created", "token", async () => bearer(await signJwt({ jti: "x1" }))],
  ] as const)(
    "%s: revoked by id is refused at once, and the audit log says it",
    async (kind, action, target, make) => {
      const init = await make();
      const other = bearer(await signJwt({ jti: "x2" }));
      expect(await statusOf(init)).toBe(200);
      const answer = await revoke({ kind, id: "x1" });
      expect([answer.status, answer.body]).toEqual([204, null]);
      expect(await statusOf(init)).toBe(401);
      expect(await statusOf(other)).toBe(200);
      const { results } = await DB.prepare(
        "SELECT action, target_kind, target_realm, target_id FROM audit",
      ).all();
      expect(results).toEqual([{ action, target_kind: target, target_realm: "main", target_id: "x1" }]);
    },
  );

  it.each([["key"], ["pat"], ["session"]])(
    "%s: of another realm, of another kind, or unknown, is 404",
    async (kind) => {
      await addApiKey("k1");
      await addPat("p1");
      await addSession("s1");
      await addUser("7", { realm: "gateway" }); // whose id is that of the owner
      for (const id of ["k1", "p1", "s1", "nothing"]) {
        expect((await revoke({ kind, id }, "gateway")).status, id).toBe(404);
        if (!id.startsWith(kind.charAt(0))) expect((await revoke({ kind, id })).status, id).toBe(404);
      }
      expect(await DB.prepare("SELECT COUNT(*) AS n FROM audit").first("n")).toBe(0);
    },
  );

  it("a key that is revoked is gone for good: it cannot be enabled again", async () => {
    await addApiKey("k1");
    await revoke({ kind: "key", id: "k1" });
    expect((await api(gateway, "GET", "admin/realms/main/keys/k1")).status).toBe(404);
    expect((await api(gateway, "PATCH", "admin/realms/main/keys/k1", { status: "active" })).status).toBe(404);
    expect((await revoke({ kind: "key", id: "k1" })).status).toBe(404);
  });
});

describe("a token's denial", () => {
  it("outlasts the longest token there can be, where its end is not given", async () => {
    await revoke({ kind: "token", id: "j1" });
    const { items } = await list();
    expect(items).toEqual([
      { realm: "main", kind: "token", id: "j1", issued_before: null, expires_at: expect.any(Number) },
    ]);
    const token = bearer(await signJwt({ jti: "j1", exp: NOW_SECONDS + 86_400 }));
    expect(Number(items[0]?.expires_at)).toBeGreaterThan(NOW_SECONDS + 86_400);
    for (const seconds of [3_600, 80_000, 2_799, 30]) {
      pass(seconds);
      expect(await statusOf(token)).toBe(401);
    }
  });

  it("given the token's end stands a minute longer, as tokens may be accepted that long", async () => {
    await revoke({ kind: "token", id: "j1", expires_at: NOW_SECONDS + 10 });
    expect((await list()).items[0]).toMatchObject({ expires_at: NOW_SECONDS + 70 });
    pass(69);
    expect((await list()).items).toHaveLength(1);
    pass(1);
    expect((await list()).items).toEqual([]);
  });

  it("for a token that nobody accepts any more is 400", async () => {
    expect(fields((await revoke({ kind: "token", id: "j1", expires_at: NOW_SECONDS - 60 })).body)).toEqual([
      "expires_at",
    ]);
    expect((await revoke({ kind: "token", id: "j1", expires_at: NOW_SECONDS - 59 })).status).toBe(204);
  });

  it("counts in its own realm only", async () => {
    const token = bearer(await signJwt({ jti: "j1" }));
    expect((await revoke({ kind: "token", id: "j1" }, "gateway")).status).toBe(204);
    expect(await statusOf(token)).toBe(200);
  });
});

describe("everything of a user", () => {
  const make = async () => [
    bearer(await addApiKey("k1")),
    bearer(await addPat("p1"), { "New-Api-User": "7" }),
    session(await addSession("s1")),
    bearer(await signJwt({ iat: NOW_SECONDS })),
  ];

  it("issued until now is refused, and what is issued next is not, though in the same second", async () => {
    const before = await make();
    for (const init of before) expect(await statusOf(init)).toBe(200);
    const of8 = bearer(await signJwt({ sub: "8" }));
    expect((await revoke({ kind: "user", id: "7" })).status).toBe(204);
    for (const init of before) expect(await statusOf(init)).toBe(401);
    expect(await statusOf(of8)).toBe(200);
    expect(await statusOf(bearer(await addApiKey("k2")))).toBe(200);
    expect(await statusOf(session(await addSession("s2")))).toBe(200);
    expect((await list()).items).toEqual([
      { realm: "main", kind: "user", id: "7", issued_before: NOW_SECONDS, expires_at: null },
    ]);
  });

  it("issued until a time: that second is the last", async () => {
    const [before, after] = [
      await addApiKey("k1"),
      await addApiKey("k2", { createdAtSeconds: NOW_SECONDS + 1 }),
    ];
    pass(100);
    expect((await revoke({ kind: "user", id: "7", issued_before: NOW_SECONDS })).status).toBe(204);
    expect(await statusOf(bearer(before))).toBe(401);
    expect(await statusOf(bearer(after))).toBe(200);
  });

  it("is never narrowed: an earlier time later changes nothing", async () => {
    const key = bearer(await addApiKey("k1"));
    await revoke({ kind: "user", id: "7" });
    await revoke({ kind: "user", id: "7", issued_before: NOW_SECONDS - 100 });
    expect(await statusOf(key)).toBe(401);
    expect((await list()).items).toMatchObject([{ issued_before: NOW_SECONDS }]);
  });

  it("issued until a time to come is 400: it would refuse what is not issued yet", async () => {
    const answer = await revoke({ kind: "user", id: "7", issued_before: NOW_SECONDS + 1 });
    expect([answer.status, fields(answer.body)]).toEqual([400, ["issued_before"]]);
    expect((await revoke({ kind: "realm", issued_before: NOW_SECONDS + 1 })).status).toBe(400);
  });

  it("of another realm, or of nobody, is 404", async () => {
    expect((await revoke({ kind: "user", id: "7" }, "gateway")).status).toBe(404);
    expect((await revoke({ kind: "user", id: "9" })).status).toBe(404);
    await api(gateway, "DELETE", "admin/realms/main/users/8");
    expect((await revoke({ kind: "user", id: "8" })).status).toBe(404);
  });

  it("of a foreign issuer's subject works where its tokens stand alone", async () => {
    const site = {
      hosts: ["alone.example.com"],
      origin: "service:ORIGIN",
      users: "none",
      jwt: {
        algorithms: ["HS256"],
        secret: "TEST_JWT_SECRET",
        issuer: "https://idp.example.com",
        audience: "api",
      },
      routes: [{ path: "/now/*", auth: "required", freshness_seconds: 0 }],
    };
    gateway = startGateway({ vars: { SITE_ALONE: site } });
    const ask = async (token: string) =>
      (await gateway.fetch("https://alone.example.com/now/x", bearer(token))).status;
    const [token, other] = [await signJwt({ sub: "theirs" }), await signJwt({ sub: "another" })];
    expect(await ask(token)).toBe(200);
    expect((await revoke({ kind: "user", id: "theirs" }, "alone")).status).toBe(204);
    expect(await ask(token)).toBe(401);
    expect(await ask(other)).toBe(200);
  });
});

describe("lists and single reads say what a denial has ended", () => {
  const PATHS = ["keys", "keys/k1", "pats", "pats/p1", "sessions"];
  /** `id: revoked, status` of everything that is shown. */
  const shown = async (prefix: string, token?: string) => {
    const told: Record<string, unknown> = {};
    for (const path of PATHS) {
      if (path.includes("/") && told[path.slice(5)] === undefined) continue;
      const { body } = await api(gateway, "GET", `${prefix}${path}`, undefined, token);
      for (const row of (body as { items?: Json[] }).items ?? [body as Json]) {
        const says = [row.revoked, row.status];
        if (path.includes("/")) expect(says, path).toEqual(told[String(row.id)]);
        told[String(row.id)] = says;
      }
    }
    return told;
  };
  const make = async (userId = "7") => {
    const of = userId === "7" ? "" : userId;
    await addApiKey(`k1${of}`, { userId });
    await addPat(`p1${of}`, { userId });
    await addSession(`s1${of}`, userId);
  };
  const all = (revoked: boolean) => ({
    k1: [revoked, "active"],
    p1: [revoked, "active"],
    s1: [revoked, undefined],
  });

  it.each([
    ["a user", { kind: "user", id: "7" }],
    ["a realm", { kind: "realm" }],
  ])("everything of %s: the stored status stays, and what is issued next is not named", async (_, body) => {
    await make();
    expect(await shown("admin/realms/main/")).toEqual(all(false));
    expect((await revoke(body)).status).toBe(204);
    await addApiKey("k2");
    expect(await shown("admin/realms/main/")).toEqual({ ...all(true), k2: [false, "active"] });
  });

  it("to their owner too, in what is theirs and no other's", async () => {
    await make();
    await make("8");
    await revoke({ kind: "user", id: "7" });
    pass(1);
    const told = await shown("me/", await signIn("7", { sessionId: "new" }));
    expect(told).toEqual({ ...all(true), new: [false, undefined] });
    const of8 = await shown("me/", await signIn("8", { sessionId: "new8" }));
    expect(Object.values(of8)).toEqual([
      [false, "active"],
      [false, "active"],
      [false, undefined],
      [false, undefined],
    ]);
  });

  it("not for another realm, another user, an earlier time, or a denial that is over, at that very second", async () => {
    await make();
    for (const denial of [
      { realm: "gateway", kind: "subject", value: "7" },
      { realm: "gateway", kind: "realm", value: "" },
      { realm: "main", kind: "subject", value: "8" },
      { realm: "main", kind: "token", value: "7" },
      { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: NOW_SECONDS - 1 },
      { realm: "main", kind: "realm", value: "", expiresAtSeconds: NOW_SECONDS + 10 },
    ] as const) {
      await writes.revoke(denial, NOW_SECONDS);
    }
    pass(9);
    expect(await shown("admin/realms/main/")).toEqual(all(true));
    pass(1);
    expect(await shown("admin/realms/main/")).toEqual(all(false));
  });

  it("enabling one again does not bring it back, and says so", async () => {
    await addApiKey("k1");
    await revoke({ kind: "user", id: "7" });
    const { body } = await api(gateway, "PATCH", "admin/realms/main/keys/k1", { status: "active" });
    expect(body).toMatchObject({ status: "active", revoked: true });
  });
});

describe("everything of a realm", () => {
  it("issued until now is refused, whoever's it is, and what is issued next is not", async () => {
    const before = [bearer(await addApiKey("k1")), bearer(await signJwt({ sub: "8" }))];
    for (const init of before) expect(await statusOf(init)).toBe(200);
    expect((await revoke({ kind: "realm" })).status).toBe(204);
    for (const init of before) expect(await statusOf(init)).toBe(401);
    expect(await statusOf(bearer(await addApiKey("k2")))).toBe(200);
    pass(1);
    expect(await statusOf(bearer(await signJwt({})))).toBe(200);
    expect((await list()).items).toEqual([
      { realm: "main", kind: "realm", id: null, issued_before: NOW_SECONDS, expires_at: null },
    ]);
  });
});

it.each([
  ["no kind", {}, ["kind"]],
  ["a kind that is none", { kind: "password", id: "1" }, ["kind"]],
  ["no id", { kind: "key" }, ["id"]],
  ["an id for a realm", { kind: "realm", id: "main" }, ["id"]],
  ["an end for a user", { kind: "user", id: "7", expires_at: 1 }, ["expires_at"]],
  ["a time for a key", { kind: "key", id: "k1", issued_before: 1 }, ["issued_before"]],
  ["a time with a fraction", { kind: "user", id: "7", issued_before: 1.5 }, ["issued_before"]],
  ["a time before 1970", { kind: "user", id: "7", issued_before: -1 }, ["issued_before"]],
  ["a time as text", { kind: "user", id: "7", issued_before: "1" }, ["issued_before"]],
  ["an empty id", { kind: "token", id: "" }, ["id"]],
  ["the empty list", [], [""]],
])("a body with %s is 400 and names the field", async (_name, body, expected) => {
  const answer = await revoke(body);
  expect([answer.status, fields(answer.body)]).toEqual([400, expected]);
  expect((await list()).items).toEqual([]);
});

it("the list is newest first, in pages, even where one change made many", async () => {
  for (const id of ["a", "b", "c"]) await addSession(id);
  await api(gateway, "DELETE", "admin/realms/main/users/7/sessions");
  await revoke({ kind: "token", id: "j1" });
  await writes.revoke({ realm: "gateway", kind: "token", value: "elsewhere" }, NOW_SECONDS);
  await writes.revoke(
    { realm: "main", kind: "token", value: "over", expiresAtSeconds: NOW_SECONDS },
    NOW_SECONDS - 9,
  );
  const seen: unknown[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const page = await list(cursor === "" ? "?limit=1" : `?limit=1&cursor=${cursor}`);
    expect(page.items.every((item) => v.is(Revocation, item))).toBe(true);
    seen.push(...page.items.map(({ id }) => id));
    cursor = page.next_cursor;
  }
  expect(seen).toEqual(["j1", "c", "b", "a"]);
});
