// Import with `update`: what the origin changed is taken over, in force at once, and nothing beyond what the caller may give.
import { beforeEach, describe, expect, it } from "vitest";
import type { ImportOptions, ImportRows } from "../../../src/store/import-plan.ts";
import { createImports } from "../../../src/store/imports.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addCredential,
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const UNTAGGED = { untagged_keys: true };
const VARS = {
  GATEWAY: { ...GATEWAY, realms: { ...GATEWAY.realms, main: UNTAGGED, gateway: UNTAGGED } },
};
const KEY = "sk-imported0imported0imported0imported0";
const user = { type: "user", realm: "main", id: "7" };
const key = { type: "api_key", realm: "main", user: "7", key: KEY };
const none = { added: 0, present: 0, differing: 0, deleted: 0 };

let gateway = startGateway();
/** Another isolate: it learns of the change from D1. */
let elsewhere = startGateway();
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({ vars: VARS });
  elsewhere = startGateway({ vars: VARS });
});

interface Refusal {
  readonly code: string;
  readonly errors: readonly { readonly field: string; readonly message: string }[];
}

const send = (records: readonly unknown[], query = "", token = ADMIN_TOKEN) =>
  api(gateway, "POST", `admin/import${query}`, { records }, token);
const update = (records: readonly unknown[], token = ADMIN_TOKEN) => send(records, "?update=true", token);

const TABLES = ["users", "passwords", "credentials", "sessions", "revocations", "changes", "audit"];
async function dump(): Promise<unknown> {
  const rows = await Promise.all(TABLES.map((table) => DB.prepare(`SELECT * FROM ${table}`).all()));
  return rows.map(({ results }) => results);
}
const rowOf = (table: "users" | "credentials" | "sessions", id: string) =>
  DB.prepare(`SELECT * FROM ${table} WHERE id = ?`).bind(id).first<Record<string, unknown>>();
const keyRow = () =>
  DB.prepare("SELECT * FROM credentials WHERE kind = 'api_key' AND realm = 'main'").first();
const statusAt = async (path: string, headers: Record<string, string> = {}) => {
  const { status } = await elsewhere.fetch(path, bearer(KEY, headers));
  return status;
};

describe("an import that updates", () => {
  it("takes over what a record says of a user, and leaves what it does not say", async () => {
    await addUser("7", {
      username: "Ada",
      email: "ada@example.com",
      name: "Ada",
      permissions: ["p.q"],
      attributes: { group: "default", quota: 5 },
    });
    const answer = await update([
      { ...user, username: "ADA", role: "admin", email: null, attributes: { group: "vip" } },
    ]);
    expect(answer).toMatchObject({
      status: 200,
      body: {
        users: { ...none, present: 1, differing: 1 },
        update: true,
        differences: [{ field: "records[0]", members: ["username", "email", "role", "attributes"] }],
        conflicts: [],
      },
    });
    expect(await rowOf("users", "7")).toMatchObject({
      ...{ username: "ADA", username_key: "ada", email: null, email_key: null, name: "Ada", role: "admin" },
      ...{ permissions: '["p.q"]', status: "active", attributes: '{"group":"vip"}' },
    });
  });

  it("puts a promotion, a ban and its end in force in another isolate, and ends the banned one's sessions", async () => {
    await send([{ ...user, role: "user" }, key]);
    await addSession("s1");
    await addSession("s2", "7");
    expect(await statusAt("/now/x")).toBe(200);
    expect((await gateway.fetch("/admin/x", bearer(KEY))).status).toBe(403);

    await update([{ ...user, role: "admin" }, key]);
    expect((await gateway.fetch("/admin/x", bearer(KEY))).status).toBe(200);
    expect(await rowOf("sessions", "s1")).toMatchObject({ status: "active" });

    await update([{ ...user, status: "disabled" }, key]);
    expect(await statusAt("/now/x")).toBe(401);
    expect(elsewhere.received).toHaveLength(1);
    expect(await rowOf("sessions", "s1")).toMatchObject({ status: "deleted" });
    expect(
      (await DB.prepare("SELECT value FROM revocations WHERE kind = 'session'").all()).results,
    ).toHaveLength(2);

    await update([{ ...user, status: "active" }, key]);
    expect(await statusAt("/now/x")).toBe(200);
    expect(await rowOf("sessions", "s1")).toMatchObject({ status: "deleted" });
    expect(await rowOf("users", "7")).toMatchObject({ role: "admin" });
  });

  it.each([
    ["disabled", { status: "disabled" }, { status: "active" }],
    ["run out", { expires_at: 1_600_000_000 }, { expires_at: null }],
    ["for other addresses", { ip_allow: ["192.0.2.0/24"] }, { ip_allow: [] }],
  ])("has a key that is %s at the origin refused, and accepted again afterwards", async (_, change, back) => {
    await send([user, { ...key, scopes: ["a.read"], name: "laptop" }]);
    const before = await keyRow();
    expect(await statusAt("/now/x")).toBe(200);
    const members = Object.keys(change);
    expect((await update([{ ...key, ...change }])).body).toMatchObject({
      credentials: { ...none, present: 1, differing: 1 },
      differences: [{ field: "records[0]", members }],
    });
    expect(await statusAt("/now/x")).toBe(401);
    await update([{ ...key, ...back }]);
    expect(await statusAt("/now/x")).toBe(200);
    expect(await keyRow()).toEqual(before);
  });

  it("is one row in the feed; in the audit log one, and one for each whose rights were changed", async () => {
    await send([user, { ...user, id: "8" }, key]);
    await DB.batch([DB.prepare("DELETE FROM changes"), DB.prepare("DELETE FROM audit")]);
    await update([
      { ...user, role: "admin", status: "disabled", name: "Ada" },
      { ...user, id: "8", attributes: { quota: 4 } },
      { ...user, id: "9" },
      { ...key, scopes: ["a.read"] },
    ]);
    const feed = await DB.prepare("SELECT subjects, what FROM changes").all();
    expect(feed.results).toEqual([{ subjects: '["realm:main"]', what: "import.applied" }]);
    const audit = await DB.prepare("SELECT * FROM audit ORDER BY seq").all();
    const { id } = (await keyRow()) ?? {};
    expect(
      audit.results.map(({ action, actor_kind, target_kind, target_realm, target_id, details }) => [
        ...[action, actor_kind, target_kind, target_realm, target_id],
        JSON.parse(String(details)),
      ]),
    ).toEqual([
      [
        ...["import.applied", "admin_token", "realm", "main", ""],
        { users: 1, credentials: 0, users_updated: 2, credentials_updated: 1 },
      ],
      [
        ...["user.updated", "admin_token", "user", "main", "7"],
        {
          fields: ["name", "role", "status"],
          import: true,
          role: ["user", "admin"],
          status: ["active", "disabled"],
          ended: "sessions",
        },
      ],
      [
        ...["credential.updated", "admin_token", "api_key", "main", id],
        { fields: ["scopes"], import: true, user: "7" },
      ],
    ]);
  });

  it("writes nothing the second time, whatever the order of attributes", async () => {
    await send([user, key]);
    const records = [
      {
        ...user,
        username: "Ada",
        role: "admin",
        permissions: ["p.q"],
        attributes: { a: { x: 1, y: [2] }, b: 2 },
      },
      { ...key, status: "disabled", expires_at: 1_900_000_000, ip_allow: ["10.0.0.0/8"], scopes: ["a.read"] },
    ];
    await update(records);
    const before = await dump();
    const again = [{ ...records[0], attributes: { b: 2, a: { y: [2], x: 1 } } }, records[1]];
    expect((await update(again)).body).toMatchObject({
      users: { ...none, present: 1 },
      credentials: { ...none, present: 1 },
      differences: [],
    });
    expect(await dump()).toEqual(before);
  });

  it("says in a dry run what it would change, without a value, and changes nothing", async () => {
    await addUser("7");
    await addUser("8", { username: "taken" });
    const before = await dump();
    const answer = await send(
      [
        { ...user, role: "admin" },
        { ...user, id: "8" },
        { ...user, id: "9", username: "Taken" },
      ],
      "?dry_run=true&update=true",
    );
    expect(answer.body).toMatchObject({
      dry_run: true,
      users: { added: 1, present: 2, differing: 1, deleted: 0 },
      differences: [{ field: "records[0]", members: ["role"] }],
      conflicts: [{ field: "records[2].username" }],
    });
    expect(await dump()).toEqual(before);
  });

  it("leaves passwords as they are", async () => {
    const hash = (letter: string) => ({ scheme: "bcrypt" as const, hash: `$2b$10$${letter.repeat(53)}` });
    await addUser("7", {}, hash("a"));
    await addUser("8");
    await update([
      { ...user, name: "Ada", password: hash("b") },
      { ...user, id: "8", name: "Bob", password: hash("b") },
    ]);
    const { results } = await DB.prepare("SELECT user_id, hash FROM passwords").all();
    expect(results).toEqual([{ user_id: "7", hash: hash("a").hash }]);
  });

  it("refuses a name that somebody else has, and changes nothing of the rest", async () => {
    await addUser("7", { username: "ada" });
    await addUser("8", { username: "bob", email: "bob@example.com" });
    const before = await dump();
    const records = [
      { ...user, username: "BOB", email: "bob@example.com" },
      { ...user, id: "8", role: "admin" },
    ];
    const { status, body } = await update(records);
    expect([status, (body as Refusal).errors.map(({ field }) => field)]).toEqual([
      409,
      ["records[0].username", "records[0].email"],
    ]);
    expect(await dump()).toEqual(before);
  });

  it("does not take back the end of a key that was rotated here", async () => {
    await send([user, key]);
    await DB.prepare(
      "UPDATE credentials SET replaced_by = 'key_next', expires_at_seconds = 1600000000",
    ).run();
    expect((await update([{ ...key, expires_at: null }])).body).toMatchObject({ differences: [] });
    expect(await statusAt("/now/x")).toBe(401);
  });
});

describe("what was deleted here", () => {
  it("stays deleted, is counted, and does not keep the rest from being updated", async () => {
    const others = [
      { ...user, id: "8" },
      { ...key, user: "8", key: `${KEY}-8` },
      { ...key, key: `${KEY}-7` },
    ];
    await send([user, { ...key, name: "gone" }, ...others]);
    const { id = "" } =
      (await DB.prepare("SELECT id FROM credentials WHERE name = 'gone'").first<{ id: string }>()) ?? {};
    await writes.updateCredential(id, { status: "deleted" }, 1);
    await writes.deleteUser("main", "8", 1, 2);
    const gone = [await rowOf("credentials", id), await rowOf("users", "8")];
    const answer = await update([{ ...user, role: "admin" }, { ...key, status: "active" }, ...others]);
    expect(answer).toMatchObject({
      status: 200,
      body: {
        users: { added: 0, present: 1, differing: 1, deleted: 1 },
        credentials: { added: 0, present: 1, differing: 0, deleted: 2 },
        differences: [{ field: "records[0]", members: ["role"] }],
      },
    });
    expect([await rowOf("credentials", id), await rowOf("users", "8")]).toEqual(gone);
    for (const secret of [KEY, `${KEY}-8`]) {
      expect((await elsewhere.fetch("/now/x", bearer(secret))).status).toBe(401);
    }
  });

  it("is a key of somebody who is lifted to the top role, which the next import leaves alone (decision 0008)", async () => {
    await addUser("7", {}, { scheme: "bcrypt", hash: `$2b$10$${"a".repeat(53)}` });
    await addUser("8");
    await send([key, { ...key, user: "8", key: `${KEY}-8` }]);
    await addSession("s1");
    expect(await statusAt("/now/x")).toBe(200);
    expect(
      (
        await update([
          { ...user, role: "root" },
          { ...key, name: "mine" },
        ])
      ).status,
    ).toBe(200);
    expect(await rowOf("users", "7")).toMatchObject({ role: "root" });
    expect(await statusAt("/now/x")).toBe(401);
    expect(await rowOf("sessions", "s1")).toMatchObject({ status: "deleted" });
    expect((await DB.prepare("SELECT * FROM passwords").all()).results).toEqual([]);
    expect((await update([{ ...user, role: "root" }, key])).body).toMatchObject({
      users: { ...none, present: 1 },
      credentials: { ...none, deleted: 1 },
    });
    expect(await statusAt("/now/x")).toBe(401);
    expect((await elsewhere.fetch("/now/x", bearer(`${KEY}-8`))).status).toBe(200);
  });
});

describe("requirement 19: an administrator who updates by import", () => {
  const PAT = "0123456789abcdef0123456789abcdef";
  it.each([
    ["lifts nobody to the top role", { ...user, role: "root" }, "records[0].role"],
    ["does not touch who has it", { ...user, id: "1", status: "disabled" }, "records[0].id"],
    ["does not take it", { ...user, id: "1", role: "user" }, "records[0].id"],
    ["does not touch keys of who has it", { ...key, user: "1", status: "disabled" }, "records[0].user"],
    ["does not touch equals", { ...user, realm: "gateway", id: "9", status: "disabled" }, "records[0].id"],
    [
      "gives no permission of the gateway that they lack",
      { ...user, realm: "gateway", id: "2", permissions: ["more"] },
      "records[0].permissions",
    ],
    [
      "gives no scope of the gateway that they lack",
      { type: "pat", realm: "gateway", user: "2", token: PAT, scopes: ["gateway.root"] },
      "records[0].scopes",
    ],
    [
      "does not bring a key to life that has such a scope",
      { type: "pat", realm: "gateway", user: "2", token: PAT, status: "active" },
      "records[0].user",
    ],
  ])("%s", async (_, record, field) => {
    await addUser("7");
    await addUser("1", { role: "root" });
    await addCredential("api_key", "key_root", KEY, { userId: "1" });
    await addUser("2", { realm: "gateway" });
    await addCredential("pat", "pat_2", PAT, {
      ...{ realm: "gateway", userId: "2", status: "disabled", scopes: ["gateway.root"] },
    });
    await addUser("9", { realm: "gateway", role: "admin" });
    const scopes = ["gateway.read", "gateway.write"];
    const token = await addApiKey("key_admin", { realm: "gateway", userId: "9", scopes });
    const before = await dump();
    const { status, body } = await update([record, { ...user, name: "beside it" }], token);
    expect([status, (body as Refusal).errors.map((error) => error.field)]).toEqual([403, [field]]);
    expect(await dump()).toEqual(before);
    expect((await update([{ ...user, role: "admin" }], token)).status).toBe(200);
  });
});

describe("what changes between the look and the write", () => {
  const options: ImportOptions = {
    isDryRun: false,
    isUpdate: true,
    nowSeconds: 5,
    mayOwn: (_realm, role) => role !== "root",
    mayGive: () => true,
    endingOf: () => null,
    explain: (realm) => entry({ kind: "realm", realm, id: "" }),
    explainChange: (kind) => entry({ kind, realm: "", id: "" }),
  };
  const entry = (target: { kind: "realm" | "user" | "api_key" | "pat"; realm: string; id: string }) => ({
    ...({ atSeconds: 5, actor: { kind: "system" }, action: "import.applied", target } as const),
    ...{ address: null, requestId: null, details: {} },
  });
  const given = {
    realm: "main",
    id: "7",
    name: "Ada",
    createdAtSeconds: 1,
    updatedAtSeconds: 1,
    password: null,
  };

  /** Does something before the second batch, which is the first write. */
  const applying = (
    meanwhile: () => Promise<unknown>,
    rows: ImportRows = { users: [given], credentials: [] },
  ) => {
    let batches = 0;
    const database = {
      prepare: (text: string) => DB.prepare(text),
      async batch(statements: D1PreparedStatement[]) {
        batches += 1;
        if (batches === 2) await meanwhile();
        return DB.batch(statements);
      },
    };
    return createImports(database as unknown as D1Database).apply(rows, options);
  };

  it("is not undone: somebody banned in that moment stays banned", async () => {
    await addUser("7");
    const result = await applying(() => writes.updateUser("main", "7", { status: "disabled" }, 2));
    expect(result.users).toEqual({ ...none, present: 1, differing: 1 });
    expect(await rowOf("users", "7")).toMatchObject({ name: "Ada", status: "disabled" });
    expect((await DB.prepare("SELECT what FROM changes ORDER BY seq DESC LIMIT 1").first())?.what).toBe(
      "import.applied",
    );
  });

  it("is not undone: a key disabled in that moment stays disabled", async () => {
    await addUser("7");
    await addCredential("api_key", "key_1", KEY);
    const { digest } = (await rowOf("credentials", "key_1")) as { digest: string };
    const row = {
      ...({ realm: "main", kind: "api_key", userId: "7", name: "laptop", pepper: "p1" } as const),
    };
    const credential = {
      ...row,
      id: "key_new",
      createdAtSeconds: 1,
      digest,
      digests: [digest],
      isIssuedNow: false,
    };
    const result = await applying(() => writes.updateCredential("key_1", { status: "disabled" }, 2), {
      users: [],
      credentials: [credential],
    });
    expect(result.credentials).toEqual({ ...none, present: 1, differing: 1 });
    expect(await rowOf("credentials", "key_1")).toMatchObject({ name: "laptop", status: "disabled" });
  });

  it("is held against the caller's rank: who was lifted in that moment is not touched", async () => {
    await addUser("7");
    const result = await applying(() => writes.updateUser("main", "7", { role: "root" }, 2));
    expect(result.conflicts).toMatchObject([{ kind: "user", index: 0, field: "rank" }]);
    expect(await rowOf("users", "7")).toMatchObject({ name: null, role: "root" });
  });

  it("is a tombstone for good", async () => {
    await addUser("7");
    const result = await applying(() => writes.deleteUser("main", "7", 2, 3));
    expect(result.users).toEqual({ ...none, deleted: 1 });
    expect(await rowOf("users", "7")).toMatchObject({ status: "deleted", name: null });
  });
});
