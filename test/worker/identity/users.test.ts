// Administration of users through the front door: create, find, change, end, and nothing beside it.

import * as v from "valibot";
import { beforeEach, describe, expect, it } from "vitest";
import { User } from "../../../src/control/resources.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../support/worker/gateway.ts";

const PASSWORD = "tandem walnut orbit 29";
const MAIN = "admin/realms/main/users";

type Answer = Awaited<ReturnType<typeof api>>;
type Json = Readonly<Record<string, unknown>>;

let gateway: Gateway;
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
});

const call = (method: string, path: string, body?: unknown, token?: string | null) =>
  api(gateway, method, path, body, token);
const create = (body: unknown, realm = "main") => call("POST", `admin/realms/${realm}/users`, body);
const items = ({ body }: Answer) => (body as { readonly items: readonly Json[] }).items;
const ids = (answer: Answer) => items(answer).map(({ id }) => id);
const nextCursor = ({ body }: Answer) => (body as { readonly next_cursor: string | null }).next_cursor;
const fields = ({ body }: Answer) =>
  ((body as { readonly errors?: readonly { readonly field: string }[] }).errors ?? []).map(
    ({ field }) => field,
  );
const code = ({ body }: Answer) => (body as { readonly code: string }).code;

async function auditRows(): Promise<readonly Json[]> {
  const { results } = await DB.prepare("SELECT * FROM audit ORDER BY seq").all<Json>();
  return results;
}

describe("creating a user", () => {
  it("answers the user as stored, with the defaults filled in", async () => {
    const { status, body } = await create({ username: "Alice", email: "Alice@Example.com" });
    expect(status).toBe(201);
    expect(v.is(User, body)).toBe(true);
    const expected = {
      realm: "main",
      username: "Alice",
      email: "Alice@Example.com",
      name: null,
      role: "user",
    };
    expect(body).toMatchObject({ ...expected, permissions: [], status: "active", has_password: false });
    expect((body as Json).id).toMatch(/^[A-Za-z0-9]{12}$/);
  });

  it("keeps everything that is given", async () => {
    const given = {
      id: "42",
      username: "bob",
      email: "bob@example.com",
      name: "Bob \u{1f600}",
      role: "admin",
      permissions: ["files.read"],
      status: "pending",
      attributes: { group: "vip" },
    };
    expect((await create(given)).body).toMatchObject(given);
    expect((await call("GET", `${MAIN}/42`)).body).toMatchObject(given);
  });

  it.each([
    ["id", { id: "1", username: "x" }, { id: "1", username: "y" }],
    ["username", { username: "Alice" }, { username: "alice" }],
    ["username", { username: "\u{212b}ngstr\u{f6}m" }, { username: "\u{e5}NGSTR\u{d6}M" }],
    ["email", { email: "a@example.com" }, { email: "A@EXAMPLE.COM" }],
  ])(
    "with a %s that is taken, in whatever spelling, is 409 and names the field",
    async (field, first, second) => {
      expect((await create(first)).status).toBe(201);
      const answer = await create(second);
      expect([answer.status, code(answer), fields(answer)]).toEqual([409, "already_exists", [field]]);
    },
  );

  it("takes the same names in another realm", async () => {
    expect((await create({ id: "1", username: "alice" })).status).toBe(201);
    expect((await create({ id: "1", username: "alice" }, "gateway")).status).toBe(201);
  });

  it("never takes the id of a deleted user again, while its names are free (ids are not recycled)", async () => {
    await create({ id: "1", username: "alice", email: "a@example.com" });
    expect((await call("DELETE", `${MAIN}/1`)).status).toBe(204);
    expect(fields(await create({ id: "1" }))).toEqual(["id"]);
    expect((await create({ id: "2", username: "alice", email: "a@example.com" })).status).toBe(201);
  });

  it.each([
    ["an unknown member", { admin: true }, ["admin"]],
    ["a realm", { realm: "gateway" }, ["realm"]],
    ["a time of creation", { created_at: 1 }, ["created_at"]],
    ["a password hash", { password_hash: "x" }, ["password_hash"]],
    ["a member of every object", JSON.parse('{"__proto__":{"role":"admin"}}'), ["__proto__"]],
    ["a constructor", { constructor: 1 }, ["constructor"]],
    ["a role that the realm has not", { role: "owner" }, ["role"]],
    ["a role that is empty", { role: "" }, ["role"]],
    ["a status of tombstones", { status: "deleted" }, ["status"]],
    ["an id with a slash", { id: "a/b" }, ["id"]],
    ["an id of another script", { id: "\u{430}dmin" }, ["id"]],
    ["a username like an address", { username: "a@example.com" }, ["username"]],
    ["a username with blanks around", { username: " alice" }, ["username"]],
    ["an address without @", { email: "alice" }, ["email"]],
    ["a name with control characters", { name: "a\u{1b}[2J" }, ["name"]],
    ["permissions that are none", { permissions: ["a b"] }, ["permissions[0]"]],
    ["too many permissions", { permissions: Array(101).fill("a") }, ["permissions"]],
    ["attributes over 8 KB", { attributes: { a: "x".repeat(9_000) } }, ["attributes"]],
    ["attributes that are a list", { attributes: [1] }, ["attributes"]],
    ["a number for a name", { name: 7 }, ["name"]],
    ["several of these", { name: 7, id: "", email: "x" }, ["id", "email", "name"]],
  ])("with %s is 400 and names the field", async (_name, body, expected) => {
    const answer = await create(body);
    expect([answer.status, code(answer)]).toEqual([400, "input_invalid"]);
    expect(fields(answer).sort()).toEqual([...expected].sort());
    expect(ids(await call("GET", MAIN))).toEqual([]);
  });

  it("with attributes nested deeper than can be written is 400, not a failure", async () => {
    const response = await gateway.fetch(`https://auth.example.com/_gateway/${MAIN}`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: `{"attributes":{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}}`,
    });
    expect(response.status).toBe(400);
  });

  it("with a megabyte of wrong items is told one of them", async () => {
    const answer = await create({ permissions: Array(300_000).fill(1) });
    expect([answer.status, fields(answer).length]).toEqual([400, 1]);
  });

  it("never repeats a value that is wrong", async () => {
    const { body } = await create({ username: "secret@value", password: 7, role: "sesame" });
    expect(JSON.stringify(body)).not.toMatch(/secret|value|sesame/);
  });

  it("refuses a query, which it does not read", async () => {
    expect(fields(await call("POST", `${MAIN}?role=root`, {}))).toEqual(["role"]);
  });
});

describe("a password", () => {
  it("set with the user is stored as a digest and never shown", async () => {
    const { status, body } = await create({ id: "1", password: PASSWORD });
    expect(status).toBe(201);
    expect(body).toMatchObject({ has_password: true });
    const stored = await DB.prepare("SELECT scheme, hash FROM passwords").first<{
      scheme: string;
      hash: string;
    }>();
    expect(stored?.scheme).toBe("scrypt");
    expect(JSON.stringify([body, stored])).not.toContain(PASSWORD);
    expect(JSON.stringify(body)).not.toContain(stored?.hash);
  });

  it.each([
    ["too short", "walnut"],
    ["the username", "alicealice"],
    ["over 1 KB", "x".repeat(1_025)],
    ["empty", ""],
  ])("that is %s is 400, and no user is created", async (_name, password) => {
    expect(fields(await create({ id: "1", username: "alice", password }))).toEqual(["password"]);
    expect((await call("GET", `${MAIN}/1`)).status).toBe(404);
  });

  it("in a realm without sign-in is 400: nobody could use it", async () => {
    gateway = startGateway({
      vars: { SITE_OTHER: { hosts: ["other.example.com"], origin: "service:ORIGIN" } },
    });
    expect((await create({ id: "1" }, "other")).status).toBe(201);
    expect(fields(await create({ password: PASSWORD }, "other"))).toEqual(["password"]);
    expect(fields(await call("POST", "admin/realms/other/users/1/password", { password: PASSWORD }))).toEqual(
      ["password"],
    );
  });

  it("set by an administrator ends all sessions of the user, and leaves keys alone", async () => {
    await addUser("7");
    const cookie = await addSession("s1");
    const key = await addApiKey("k1");
    const withCookie = () =>
      gateway.fetch("/now/x", { headers: { cookie: `sid=${cookie}`, "New-Api-User": "7" } });
    expect((await withCookie()).status).toBe(200);
    expect((await call("POST", `${MAIN}/7/password`, { password: PASSWORD })).status).toBe(204);
    expect((await withCookie()).status).toBe(401);
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(200);
    expect(await call("GET", `${MAIN}/7`)).toMatchObject({ body: { has_password: true } });
  });

  it("is not in the audit log, which says that it was set", async () => {
    await addUser("7");
    await call("POST", `${MAIN}/7/password`, { password: PASSWORD });
    const [row] = await auditRows();
    expect(row).toMatchObject({ action: "user.password_changed", actor_kind: "admin_token", target_id: "7" });
    const { hash } = (await DB.prepare("SELECT hash FROM passwords").first<{ hash: string }>()) ?? {
      hash: "",
    };
    expect(hash.length).toBeGreaterThan(20);
    expect(JSON.stringify(row)).not.toContain(PASSWORD);
    expect(JSON.stringify(row)).not.toContain(hash);
  });
});

describe("changing a user", () => {
  beforeEach(() =>
    addUser("7", { username: "alice", email: "a@example.com", name: "Alice", permissions: ["p"] }),
  );
  const change = (body: unknown, id = "7") => call("PATCH", `${MAIN}/${id}`, body);

  it("merges: what is not given stays", async () => {
    const { status, body } = await change({ name: "Alicia" });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      username: "alice",
      email: "a@example.com",
      name: "Alicia",
      permissions: ["p"],
    });
  });

  it("null removes a name", async () => {
    expect((await change({ username: null, email: null, name: null })).body).toMatchObject({
      username: null,
      email: null,
      name: null,
    });
    expect((await create({ username: "alice", email: "a@example.com" })).status).toBe(201);
  });

  it.each([
    ["id", { id: "8" }],
    ["realm", { realm: "gateway" }],
    ["created_at", { created_at: 0 }],
    ["updated_at", { updated_at: 0 }],
    ["password", { password: PASSWORD }],
    ["password_hash", { password_hash: "x" }],
    ["has_password", { has_password: true }],
    ["createdAtSeconds", { createdAtSeconds: 0 }],
    ["usernameKey", { usernameKey: "bob" }],
    ["role", { role: null }],
    ["status", { status: "deleted" }],
  ])("refuses %s beside what may be changed (mass assignment)", async (field, body) => {
    const before = await DB.prepare("SELECT * FROM users").first();
    const answer = await change({ name: "x", ...body });
    expect([answer.status, fields(answer)]).toEqual([400, [field]]);
    expect(await DB.prepare("SELECT * FROM users").first()).toEqual(before);
  });

  it("to a name that is taken is 409 and names it", async () => {
    await addUser("8", { username: "bob", email: "b@example.com" });
    expect(fields(await change({ username: "BOB" }))).toEqual(["username"]);
    expect(fields(await change({ email: "B@example.com" }))).toEqual(["email"]);
    expect((await change({ username: "ALICE", email: "A@example.com" })).status).toBe(200);
  });

  it("nothing given changes nothing and leaves no trace", async () => {
    expect((await change({})).status).toBe(200);
    expect(await auditRows()).toEqual([]);
  });

  it("is in force on the next request where it is asked for, and in the audit log with the fields and the roles", async () => {
    const key = await addApiKey("k1");
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(200);
    expect((await change({ status: "disabled", role: "admin", name: "N" })).status).toBe(200);
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(401);
    const [row] = await auditRows();
    expect(row).toMatchObject({
      action: "user.updated",
      target_kind: "user",
      target_realm: "main",
      target_id: "7",
    });
    expect(JSON.parse(String(row?.details))).toEqual({
      fields: ["role", "status", "name"].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)),
      ended: "sessions",
      role: ["user", "admin"],
      status: ["active", "disabled"],
    });
    expect((await change({ status: "active" })).status).toBe(200);
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(200);
  });
  const ORDER = ["username", "email", "name", "role", "permissions", "status", "attributes"];
});

describe("deleting a user", () => {
  it("ends everything of theirs, and leaves nothing to be read", async () => {
    await addUser("7", { username: "alice", email: "a@example.com" });
    const [key, pat, cookie] = [await addApiKey("k1"), await addPat("p1"), await addSession("s1")];
    await call("POST", `${MAIN}/7/password`, { password: PASSWORD });
    const other = await addSession("s2");
    expect((await call("DELETE", `${MAIN}/7`)).status).toBe(204);
    const requests: readonly RequestInit[] = [
      bearer(key),
      bearer(pat, { "New-Api-User": "7" }),
      ...[cookie, other].map((value) => ({ headers: { cookie: `sid=${value}`, "New-Api-User": "7" } })),
    ];
    for (const init of requests) expect((await gateway.fetch("/now/x", init)).status).toBe(401);
    for (const path of [
      MAIN,
      "admin/realms/main/sessions",
      "admin/realms/main/keys",
      "admin/realms/main/pats",
    ]) {
      expect(items(await call("GET", path)), path).toEqual([]);
    }
    expect(await DB.prepare("SELECT COUNT(*) AS n FROM passwords").first("n")).toBe(0);
    for (const [method, body] of [["GET"], ["PATCH", { name: "x" }], ["DELETE"]] as const) {
      expect((await call(method, `${MAIN}/7`, body)).status, method).toBe(404);
    }
    expect((await call("POST", `${MAIN}/7/password`, { password: PASSWORD })).status).toBe(404);
    expect((await call("DELETE", `${MAIN}/7/sessions`)).status).toBe(404);
  });
});

it("ending all sessions of a user ends those, and no other's", async () => {
  await addUser("7");
  await addUser("8");
  const cookies = [await addSession("s1"), await addSession("s2"), await addSession("s3", "8")];
  expect((await call("DELETE", `${MAIN}/7/sessions`)).status).toBe(204);
  const statuses = [];
  for (const [index, cookie] of cookies.entries()) {
    const headers = { cookie: `sid=${cookie}`, "New-Api-User": index === 2 ? "8" : "7" };
    const { status } = await gateway.fetch("/now/x", { headers });
    statuses.push(status);
  }
  expect(statuses).toEqual([401, 401, 200]);
  expect((await auditRows()).map(({ action, target_id }) => [action, target_id])).toEqual([
    ["session.ended", "7"],
  ]);
  expect((await call("DELETE", `${MAIN}/7/sessions`)).status).toBe(204);
  expect(await auditRows()).toHaveLength(1);
});

describe("the list of users", () => {
  it("comes in pages by id, each user once, while others are added and deleted", async () => {
    for (const id of ["a", "b", "c", "d", "e", "f"]) await addUser(id);
    await addUser("a", { realm: "gateway" });
    const first = await call("GET", `${MAIN}?limit=2`);
    expect(ids(first)).toEqual(["a", "b"]);
    await addUser("aa");
    await addUser("cc");
    await call("DELETE", `${MAIN}/b`);
    const second = await call("GET", `${MAIN}?limit=2&cursor=${nextCursor(first)}`);
    expect(ids(second)).toEqual(["c", "cc"]);
    const third = await call("GET", `${MAIN}?limit=3&cursor=${nextCursor(second)}`);
    expect([ids(third), nextCursor(third)]).toEqual([["d", "e", "f"], null]);
  });

  it.each([
    ["0", "limit"],
    ["201", "limit"],
    ["-1", "limit"],
    ["1e1", "limit"],
    ["", "limit"],
  ])("refuses limit=%s", async (limit, field) => {
    expect(fields(await call("GET", `${MAIN}?limit=${limit}`))).toEqual([field]);
  });

  it("refuses parameters it does not know, and those that stand there twice", async () => {
    expect(fields(await call("GET", `${MAIN}?offset=1`))).toEqual(["offset"]);
    expect(fields(await call("GET", `${MAIN}?__proto__=1`))).toEqual(["__proto__"]);
    expect(fields(await call("GET", `${MAIN}?limit=1&limit=2`))).toEqual(["limit"]);
  });

  const encoded = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  it.each([
    ["garbage", "x"],
    ["no base64url", "****"],
    ["no JSON", btoa("hello")],
    ["an object", encoded({ id: "a" })],
    ["too many parts", encoded(["a", "b"])],
    ["a number for a text", encoded([1])],
    ["nothing", encoded([])],
    ["SQL where none is read", encoded(["a' OR 1=1 --", 1])],
    ["padding", `${encoded(["ab"])}=`],
    ["another spelling of the same", encoded(["a"]).replace(/0$/, "1")],
    ["the same with a blank", btoa('["a" ]').replaceAll("=", "")],
    ["a list in the list", encoded([["a"]])],
    ["a cursor of sessions", encoded([1_800_000_000, "s1"])],
  ])("refuses a cursor that is %s (SQL through page tokens)", async (_name, cursor) => {
    await addUser("a");
    const answer = await call("GET", `${MAIN}?cursor=${encodeURIComponent(cursor)}`);
    expect([answer.status, fields(answer)]).toEqual([400, ["cursor"]]);
  });

  it("takes a cursor's text as a text", async () => {
    for (const id of ["a", "b"]) await addUser(id);
    const answer = await call("GET", `${MAIN}?cursor=${encoded(["a' OR '1'='1"])}`);
    expect([answer.status, ids(answer)]).toEqual([200, ["b"]]);
  });

  it("filters by role and status", async () => {
    await addUser("a", { role: "admin" });
    await addUser("b", { status: "disabled" });
    await addUser("c", { role: "admin", status: "disabled" });
    expect(ids(await call("GET", `${MAIN}?role=admin`))).toEqual(["a", "c"]);
    expect(ids(await call("GET", `${MAIN}?status=disabled`))).toEqual(["b", "c"]);
    expect(ids(await call("GET", `${MAIN}?role=admin&status=active`))).toEqual(["a"]);
    expect(fields(await call("GET", `${MAIN}?status=deleted`))).toEqual(["status"]);
  });

  describe("searched", () => {
    beforeEach(async () => {
      await addUser("a1", { username: "Alice", email: "alice@example.com", name: "Alice Ärmel" });
      await addUser("b1", { username: "50%_off", email: "bob@example.org", name: "Bob" });
      await addUser("c1", { username: "caf\u{e9}", name: 'it\'s \\ "quoted"' });
    });
    it.each([
      ["ALICE", ["a1"]],
      ["ärm", []],
      ["Ärm", ["a1"]],
      ["@example.", ["a1", "b1"]],
      ["b1", ["b1"]],
      ["B1", ["b1"]],
      ["cafe\u{301}", ["c1"]],
      ["CAF\u{c9}", ["c1"]],
      ["%", ["b1"]],
      ["_", ["b1"]],
      ["%_", ["b1"]],
      ["a%", []],
      ["a_", []],
      ["al_ce", []],
      ["*", []],
      ["\\", ["c1"]],
      ["'", ["c1"]],
      ["' OR 1=1 --", []],
      ["x".repeat(200), []],
    ])("finds parts of id, username, address and name, literally: %s", async (search, expected) => {
      const answer = await call("GET", `${MAIN}?search=${encodeURIComponent(search)}`);
      expect([answer.status, ids(answer)]).toEqual([200, expected]);
    });
    it("in pages of the same search", async () => {
      const first = await call("GET", `${MAIN}?search=example&limit=1`);
      const second = await call("GET", `${MAIN}?search=example&limit=1&cursor=${nextCursor(first)}`);
      expect([ids(first), ids(second), nextCursor(second)]).toEqual([["a1"], ["b1"], null]);
    });
    it.each([
      ["alice", ["a1"]],
      ["ALICE", ["a1"]],
      ["Alice@Example.com", ["a1"]],
      ["cafe\u{301}", ["c1"]],
      ["alic", []],
      ["a1", []],
      ["Bob", []],
      ["", null],
    ])("finds the one whose whole username or address it is: %s", async (account, expected) => {
      await addUser("2", { username: "alicelike", email: "alice@example.com.example.org", name: "alice" });
      await addUser("3", { realm: "gateway", username: "alice", email: "alice@example.com" });
      const answer = await call("GET", `${MAIN}?account=${encodeURIComponent(account)}`);
      if (expected === null) return expect(fields(answer)).toEqual(["account"]);
      expect(ids(answer)).toEqual(expected);
    });

    it("refuses an empty search", async () => {
      expect(fields(await call("GET", `${MAIN}?search=`))).toEqual(["search"]);
    });
  });
});

describe("realms", () => {
  it("are listed by name with their roles, in pages", async () => {
    const all = await call("GET", "admin/realms");
    const roles = ["public", "user", "admin", "root"];
    expect(all.body).toEqual({
      items: [
        { name: "gateway", roles, sign_in: true, untagged_keys: false, api_key_prefix: "sk-" },
        { name: "main", roles, sign_in: true, untagged_keys: false, api_key_prefix: "sk-" },
      ],
      next_cursor: null,
    });
    const first = await call("GET", "admin/realms?limit=1");
    expect(nextCursor(first)).toBe("gateway");
    const second = await call("GET", "admin/realms?limit=1&cursor=gateway");
    expect([items(second).map(({ name }) => name), nextCursor(second)]).toEqual([["main"], null]);
  });

  it("that there are not are 404, on every path", async () => {
    for (const [method, path, body] of [
      ["GET", "users"],
      ["POST", "users", {}],
      ["GET", "users/7"],
      ["PATCH", "users/7", {}],
      ["DELETE", "users/7"],
      ["POST", "users/7/password", { password: PASSWORD }],
      ["DELETE", "users/7/sessions"],
      ["GET", "sessions"],
      ["GET", "revocations"],
      ["POST", "revocations", { kind: "realm" }],
    ] as const) {
      for (const realm of ["other", "MAIN", "__proto__", "constructor", "main%20", ".main"]) {
        const { status } = await call(method, `admin/realms/${realm}/${path}`, body);
        expect(status, `${method} ${realm} ${path}`).toBe(404);
      }
    }
  });
});

it("when D1 fails every call is 503, and nothing of the statement is told", async () => {
  gateway.faults.d1 = "failing";
  for (const [method, path, body] of [
    ["GET", `${MAIN}?search=someone`],
    ["GET", `${MAIN}/1`],
    ["POST", MAIN, { id: "1", email: "someone@example.com" }],
    ["POST", "admin/realms/main/revocations", { kind: "realm" }],
  ] as const) {
    const answer = await call(method, path, body);
    expect([answer.status, code(answer)]).toEqual([503, "store_unavailable"]);
    expect(JSON.stringify(answer.body)).not.toMatch(/insert|select|someone|d1 /i);
  }
});
