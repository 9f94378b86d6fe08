// Import over the admin API: all or nothing, the same twice is the same once, and what comes in works.
import { beforeEach, describe, expect, it } from "vitest";
import { mintApiKey } from "../../../src/crypto/credential-format.ts";
import { MAX_PARAMETER_CHARACTERS, parametersOf } from "../../../src/store/imports.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  SITE,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const UNTAGGED_REALM = { untagged_keys: true };
const UNTAGGED = {
  GATEWAY: {
    ...GATEWAY,
    realms: { ...GATEWAY.realms, main: UNTAGGED_REALM, gateway: UNTAGGED_REALM, other: UNTAGGED_REALM },
  },
  SITE_OTHER: { ...SITE, hosts: ["other.example.com"], realm: "other" },
};
const KEY = "sk-imported0imported0imported0imported0";
const SHA256_OF_KEY = [
  ...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(KEY))),
]
  .map((byte) => byte.toString(16).padStart(2, "0"))
  .join("");
const BCRYPT = `$2b$10$${"a".repeat(53)}`;

const alice = { type: "user", realm: "main", id: "7", username: "Alice", email: "alice@example.com" };
const key = { type: "api_key", realm: "main", user: "7", key: KEY };

let gateway = startGateway();
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({ vars: UNTAGGED });
});

interface Answer {
  readonly users: { readonly added: number; readonly present: number };
  readonly credentials: { readonly added: number; readonly present: number };
}
interface Refusal {
  readonly code: string;
  readonly errors: readonly { readonly field: string; readonly message: string }[];
}

const send = (records: readonly unknown[], query = "", token = ADMIN_TOKEN, to = gateway) =>
  api(to, "POST", `admin/import${query}`, { records }, token);
const none = { added: 0, present: 0, differing: 0, deleted: 0 };
const added = (users: number, credentials: number, present = 0) => ({
  users: { ...none, added: users },
  credentials: { ...none, added: credentials, present },
  dry_run: false,
  update: false,
  differences: [],
  conflicts: [],
});

const TABLES = ["users", "passwords", "credentials", "changes", "audit", "sqlite_sequence"];
async function dump(): Promise<unknown> {
  const rows = await Promise.all(TABLES.map((table) => DB.prepare(`SELECT * FROM ${table}`).all()));
  return rows.map(({ results }) => results);
}
const count = async (table: string) =>
  (await DB.prepare(`SELECT COUNT(*) AS n FROM ${table}`).first<{ n: number }>())?.n;

describe("an import", () => {
  it("brings users, passwords, keys and PATs that work on their first use", async () => {
    const records = [
      key,
      {
        type: "pat",
        realm: "main",
        user: "7",
        token: "0123456789abcdef0123456789abcdef",
        scopes: ["a.read"],
      },
      { ...alice, name: "Alice", permissions: ["p.q"], attributes: { group: "vip" } },
      { ...alice, id: "8", username: "bob", email: null, password: { scheme: "bcrypt", hash: BCRYPT } },
    ];
    expect((await gateway.fetch("/now/x", bearer(KEY))).status).toBe(401);

    const answer = await send(records);
    expect(answer).toMatchObject({ status: 200, body: added(2, 2) });
    expect((await gateway.fetch("/now/x", bearer(KEY))).status).toBe(200);
    const pat = bearer("0123456789abcdef0123456789abcdef", { "new-api-user": "7" });
    expect((await gateway.fetch("/private/x", pat)).status).toBe(200);
    expect(await DB.prepare("SELECT * FROM passwords").all()).toMatchObject({
      results: [{ realm: "main", user_id: "8", scheme: "bcrypt", hash: BCRYPT }],
    });
    expect(
      await DB.prepare("SELECT username_key, permissions, attributes FROM users WHERE id = '7'").first(),
    ).toEqual({ username_key: "alice", permissions: '["p.q"]', attributes: '{"group":"vip"}' });
  });

  it("is one row in the feed and one in the audit log, with counts and without secrets", async () => {
    await send([alice, key]);
    const { results } = await DB.prepare("SELECT subjects, what FROM changes").all();
    expect(results).toEqual([{ subjects: '["realm:main"]', what: "import.applied" }]);
    const audit = await DB.prepare("SELECT * FROM audit").all();
    expect(audit.results).toMatchObject([
      {
        action: "import.applied",
        actor_kind: "admin_token",
        target_kind: "realm",
        target_realm: "main",
        details: '{"users":1,"credentials":1}',
      },
    ]);
    expect(JSON.stringify(await dump())).not.toContain(KEY);
  });

  it("ends what is remembered of a key that nobody had", async () => {
    await addUser("7");
    expect((await gateway.fetch("/now/x", bearer(KEY))).status).toBe(401);
    await send([key]);
    expect((await gateway.fetch("/now/x", bearer(KEY))).status).toBe(200);
  });

  it("names each realm of a request once", async () => {
    const elsewhere = { ...alice, realm: "other" };
    expect((await send([alice, elsewhere, key, { ...key, realm: "other" }])).body).toEqual(added(2, 2));
    const { results } = await DB.prepare("SELECT subjects FROM changes").all();
    expect(results).toEqual([{ subjects: '["realm:main","realm:other"]' }]);
    const audit = await DB.prepare("SELECT target_realm AS realm FROM audit ORDER BY realm").all();
    expect(audit.results).toEqual([{ realm: "main" }, { realm: "other" }]);
  });

  it("adds nothing the second time, and leaves what was changed meanwhile as it is", async () => {
    const records = [{ ...alice, role: "user", password: { scheme: "bcrypt", hash: BCRYPT } }, key];
    await send(records);
    await writes.updateUser("main", "7", { role: "admin" }, 1);
    await DB.prepare("DELETE FROM passwords").run();
    const before = await dump();
    expect((await send(records)).body).toEqual({
      users: { ...none, present: 1, differing: 1 },
      credentials: { ...none, present: 1 },
      dry_run: false,
      update: false,
      differences: [{ field: "records[0]", members: ["role"] }],
      conflicts: [],
    });
    expect(await dump()).toEqual(before);
  });

  it("knows a secret again by its SHA-256", async () => {
    await send([alice, key]);
    const { key: _, ...rest } = key;
    const again = await send([{ ...rest, sha256: SHA256_OF_KEY.toUpperCase() }]);
    expect(again.body).toMatchObject({ credentials: { added: 0, present: 1 } });
    expect((await gateway.fetch("/private/x", bearer(KEY))).status).toBe(200);
  });

  it("takes a key in that it made itself, where untagged ones are not accepted", async () => {
    await addUser("7");
    const own = await addApiKey("key_own");
    await DB.prepare("DELETE FROM credentials").run();
    const strict = startGateway();
    expect((await send([{ ...key, key: own }], "", ADMIN_TOKEN, strict)).body).toEqual(added(0, 1));
    expect((await strict.fetch("/private/x", bearer(own))).status).toBe(200);
  });

  it("counts and writes nothing with dry_run", async () => {
    await addUser("8");
    const before = await dump();
    const answer = await send(
      [alice, key, { ...alice, id: "8", username: "x", email: null }],
      "?dry_run=true",
    );
    expect(answer.body).toEqual({
      users: { ...none, added: 1, present: 1, differing: 1 },
      credentials: { ...none, added: 1 },
      dry_run: true,
      update: false,
      differences: [{ field: "records[2]", members: ["username"] }],
      conflicts: [],
    });
    expect(await dump()).toEqual(before);
  });

  it("issues now what has no date, so that it outlives an earlier revocation, and leaves dates as they are", async () => {
    await addUser("7");
    const nowSeconds = Math.floor(Date.now() / 1_000);
    await writes.revoke(
      {
        realm: "main",
        kind: "realm",
        value: "",
        issuedBeforeSeconds: nowSeconds + 5,
        expiresAtSeconds: null,
      },
      nowSeconds,
    );
    await send([key, { ...key, key: `${KEY}-old`, created_at: 1_600_000_000 }]);
    expect((await gateway.fetch("/private/x", bearer(KEY))).status).toBe(200);
    expect((await gateway.fetch("/private/x", bearer(`${KEY}-old`))).status).toBe(401);
  });

  it("adds each record once when two imports of the same run side by side", async () => {
    const records = [alice, ...Array.from({ length: 50 }, (_, at) => ({ ...key, key: `${KEY}-${at}` }))];
    const answers = await Promise.all([send(records), send(records), send(records)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const sum = answers.reduce((total, { body }) => total + (body as Answer).credentials.added, 0);
    expect(sum).toBe(50);
    expect(await count("credentials")).toBe(50);
    expect(await count("changes")).toBe(1);
  });
});

describe("an import with something against it writes nothing", () => {
  const CONFLICTS: readonly [string, readonly unknown[], string, readonly [string, RegExp][]][] = [
    [
      "an id twice",
      [alice, { ...alice, username: "b", email: null }],
      "already_exists",
      [["records[1].id", /twice/]],
    ],
    [
      "a username twice, in another spelling",
      [alice, { ...alice, id: "8", username: "ＡＬＩＣＥ", email: null }],
      "already_exists",
      [["records[1].username", /twice/]],
    ],
    [
      "a username of somebody else, in another case",
      [{ ...alice, username: "TAKEN" }],
      "already_exists",
      [["records[0].username", /another user/]],
    ],
    [
      "an address of somebody else",
      [{ ...alice, email: "Taken@Example.com" }],
      "already_exists",
      [["records[0].email", /another user/]],
    ],
    ["an id of a deleted user", [{ ...alice, id: "gone" }], "already_exists", [["records[0].id", /deleted/]]],
    [
      "an unknown owner",
      [alice, { ...key, user: "9" }],
      "input_invalid",
      [["records[1].user", /no such user/]],
    ],
    ["a deleted owner", [{ ...key, user: "gone" }], "input_invalid", [["records[0].user", /no such user/]]],
    ["a secret twice", [alice, key, key], "already_exists", [["records[2].key", /twice/]]],
    [
      "a secret in the clear and as its SHA-256",
      [alice, key, { type: "api_key", realm: "main", user: "7", sha256: SHA256_OF_KEY }],
      "already_exists",
      [["records[2].sha256", /twice/]],
    ],
    [
      "a secret of somebody else",
      [alice, { ...key, key: "sk-taken-taken-taken-taken" }],
      "already_exists",
      [["records[1].key", /another user/]],
    ],
    [
      "a secret that was deleted",
      [{ ...key, user: "1", key: "sk-deleted-deleted-deleted" }],
      "already_exists",
      [["records[0].key", /deleted/]],
    ],
    [
      "an unknown realm",
      [{ ...alice, realm: "mian" }],
      "input_invalid",
      [["records[0].realm", /must be one of/]],
    ],
    ["an unknown role", [{ ...alice, role: "boss" }], "input_invalid", [["records[0].role", /public, user/]]],
    [
      "several at once",
      [
        { ...alice, username: "taken" },
        { ...key, user: "9" },
      ],
      "input_invalid",
      [
        ["records[0].username", /another/],
        ["records[1].user", /no such/],
      ],
    ],
  ];

  beforeEach(async () => {
    await addUser("1", { username: "taken", email: "taken@example.com" });
    await addUser("gone");
    await writes.deleteUser("main", "gone", 1, 2);
    await send([
      { ...key, user: "1", key: "sk-taken-taken-taken-taken" },
      { ...key, user: "1", key: "sk-deleted-deleted-deleted" },
    ]);
    const row = await DB.prepare("SELECT id FROM credentials ORDER BY rowid DESC").first<{ id: string }>();
    await writes.updateCredential(row?.id ?? "", { status: "deleted" }, 1);
  });

  it.each(CONFLICTS)("%s", async (_, records, code, expected) => {
    const before = await dump();
    const { status, body } = await send(records);
    const { code: given, errors } = body as Refusal;
    expect([status, given]).toEqual([code === "input_invalid" ? 400 : 409, code]);
    expect(errors.map(({ field }) => field)).toEqual(expected.map(([field]) => field));
    for (const [at, [, message]] of expected.entries()) expect(errors[at]?.message).toMatch(message);
    expect(await send(records, "?dry_run=true")).toMatchObject(
      code === "input_invalid" && errors.some(({ field }) => /realm|role/.test(field))
        ? { status: 400, body: { errors } }
        : { status: 200, body: { conflicts: errors } },
    );
    expect(await dump()).toEqual(before);
  });
});

describe("requirement 18: what an import may give", () => {
  it.each([
    ["a user of the top role", { ...alice, role: "root" }, "records[0].role"],
    ["an administrator of the gateway", { ...alice, realm: "gateway", role: "admin" }, "records[0].role"],
    ["a key for one of the top role", { ...key, user: "1" }, "records[0].user"],
    [
      "a key for one with permissions of the gateway that the caller lacks",
      { ...key, realm: "gateway", user: "3" },
      "records[0].user",
    ],
    [
      "a scope of the gateway that the caller lacks",
      { ...key, realm: "gateway", user: "2", scopes: ["gateway.root"] },
      "records[0].scopes",
    ],
  ])("is not %s, by an admin", async (_, record, field) => {
    await addUser("1", { role: "root" });
    await addUser("2", { realm: "gateway" });
    await addUser("3", { realm: "gateway", permissions: ["more"] });
    await addUser("9", { realm: "gateway", role: "admin" });
    const token = await addApiKey("key_admin", {
      realm: "gateway",
      userId: "9",
      scopes: ["gateway.read", "gateway.write"],
    });
    const before = await dump();
    const { status, body } = await send([record], "", token);
    expect([status, (body as Refusal).errors.map((error) => error.field)]).toEqual([403, [field]]);
    expect(await dump()).toEqual(before);
  });

  it("takes it from whoever may write only", async () => {
    await addUser("9", { realm: "gateway", role: "admin" });
    const reader = await addApiKey("key_reader", { realm: "gateway", userId: "9", scopes: ["gateway.read"] });
    const writer = await addApiKey("key_writer", {
      realm: "gateway",
      userId: "9",
      scopes: ["gateway.write"],
    });
    expect((await send([alice], "?dry_run=true", reader)).status).toBe(403);
    expect((await send([alice], "", writer)).status).toBe(200);
    expect((await api(gateway, "POST", "admin/epoch", undefined, writer)).status).toBe(403);
  });

  it("gives no password to a sign-in that would carry more than the caller's credential", async () => {
    await addUser("9", { realm: "gateway", role: "root" });
    const writer = await addApiKey("key_writer", {
      realm: "gateway",
      userId: "9",
      scopes: ["gateway.write"],
    });
    const admin = { type: "user", realm: "gateway", id: "new", username: "new", role: "admin" };
    const password = { scheme: "cloudreve", hash: `${"s".repeat(32)}:${"0".repeat(64)}` };
    const withSignIn = startGateway();
    const refused = await send([{ ...admin, password }], "", writer, withSignIn);
    expect(refused.status).toBe(403);
    expect((refused.body as Refusal).errors[0]?.field).toBe("records[0].password");
    expect((await send([admin], "", writer, withSignIn)).status).toBe(200);
  });

  it("tells what a realm without untagged keys refuses, and how to mend it", async () => {
    const strict = startGateway();
    const foreign = await mintApiKey("sk-", [{ id: "x", value: crypto.getRandomValues(new Uint8Array(32)) }]);
    await addUser("7");
    for (const record of [key, { ...key, key: foreign }]) {
      const { status, body } = await send([record], "", ADMIN_TOKEN, strict);
      expect(status).toBe(400);
      expect((body as Refusal).errors).toEqual([
        { field: "records[0].key", message: expect.stringContaining("untagged_keys = true") },
      ]);
    }
    const { key: _, ...rest } = key;
    const hashed = await send([{ ...rest, sha256: SHA256_OF_KEY }], "", ADMIN_TOKEN, strict);
    expect((hashed.body as Refusal).errors[0]?.field).toBe("records[0].sha256");
  });
});

describe("records that are not of their form", () => {
  const SECRET = "sk-this-secret-is-never-repeated";
  it.each([
    ["no type", { realm: "main", id: "7" }, "type"],
    ["another type", { ...alice, type: "session" }, "type"],
    ["an unknown member", { ...alice, admin: true }, "admin"],
    ["no id", { type: "user", realm: "main" }, "id"],
    ["an id with a blank", { ...alice, id: "a b" }, "id"],
    ["a number as id", { ...alice, id: 7 }, "id"],
    ["an @ in a username", { ...alice, username: "a@b" }, "username"],
    ["no address", { ...alice, email: "alice" }, "email"],
    ["a status of none", { ...alice, status: "deleted" }, "status"],
    ["a scheme of none", { ...alice, password: { scheme: "md5", hash: SECRET } }, "password.scheme"],
    ["a digest of no scheme", { ...alice, password: { scheme: "bcrypt", hash: SECRET } }, "password.hash"],
    ["a password in the clear", { ...alice, password: SECRET }, "password"],
    ["neither key nor sha256", { ...key, key: undefined }, "key"],
    ["key and sha256", { ...key, sha256: SHA256_OF_KEY }, "key"],
    ["a short key", { ...key, key: "sk-a" }, "key"],
    ["a key without its prefix", { ...key, key: SECRET.slice(3) }, "key"],
    ["a key like a JWT", { ...key, key: `${SECRET}.a.b` }, "key"],
    ["a key with a blank", { ...key, key: `${SECRET} ` }, "key"],
    ["a PAT like a key", { type: "pat", realm: "main", user: "7", token: SECRET }, "token"],
    ["a key in the place of a PAT", { type: "pat", realm: "main", user: "7", key: SECRET }, "key"],
    ["a digest that is too short", { ...key, key: undefined, sha256: "abc" }, "sha256"],
    ["a pending key", { ...key, status: "pending" }, "status"],
    ["a time of day", { ...key, expires_at: "2026-01-01" }, "expires_at"],
    ["milliseconds", { ...key, expires_at: 1_790_000_000_000_000 }, "expires_at"],
    ["no address block", { ...key, ip_allow: ["10.0.0.0/33"] }, "ip_allow[0]"],
    ["a scope with a blank", { ...key, scopes: ["a b"] }, "scopes[0]"],
    ["attributes over 8 KB", { ...key, attributes: { a: "x".repeat(8_192) } }, "attributes"],
  ])("%s", async (_, record, field) => {
    const { status, body } = await send([alice, record]);
    expect([status, (body as Refusal).code]).toEqual([400, "input_invalid"]);
    expect((body as Refusal).errors.map((error) => error.field)).toContain(`records[1].${field}`);
    expect(JSON.stringify(body)).not.toContain(SECRET.slice(3));
    expect(await count("users")).toBe(0);
  });

  it("more than 1,000 of them", async () => {
    const users = Array.from({ length: 1_001 }, (_, at) => ({ type: "user", realm: "main", id: `${at}` }));
    expect(((await send(users)).body as Refusal).errors[0]?.field).toBe("records");
    expect((await send(users.slice(1))).status).toBe(200);
    expect(await count("users")).toBe(1_000);
  });
});

describe("D1's limits", () => {
  /** Cloudflare: 2 MB a string, 100 parameters a query, 100 KB a statement. */
  const MAX_STRING_BYTES = 2_000_000;

  it.each([
    ["101 parameters", `SELECT ${Array.from({ length: 101 }, (_, at) => `?${at + 1}`).join()}`, 101, 1],
    ["a statement of over 100 KB", `SELECT '${"x".repeat(100_001)}'`, 0, 0],
  ])("are kept by the local D1 too: it refuses %s", async (_, text, count, length) => {
    const statement = DB.prepare(text).bind(...Array.from({ length: count }, () => "x".repeat(length)));
    await expect(statement.all()).rejects.toThrow();
  });

  it("hold for a full request, whatever is in it", async () => {
    const widest = "\u{FB03}".repeat(128); // three bytes, and its key is three letters
    const rows = Array.from({ length: 2_000 }, () => [widest, widest, "€".repeat(256)]);
    const parameters = parametersOf(rows);
    expect(parameters.flatMap((json) => JSON.parse(json))).toEqual(rows);
    for (const json of parameters) {
      expect(new TextEncoder().encode(json).length).toBeLessThan(MAX_STRING_BYTES);
      expect(json.length).toBeLessThanOrEqual(MAX_PARAMETER_CHARACTERS + 1_000);
    }
    expect(parametersOf([])).toEqual([]);
  });

  it("hold for what is really bound", async () => {
    const seen: { readonly text: string; readonly values: readonly unknown[] }[] = [];
    const watched = {
      prepare: (text: string) => {
        const statement = DB.prepare(text);
        return {
          bind: (...values: unknown[]) => {
            seen.push({ text, values });
            return statement.bind(...values);
          },
        };
      },
      batch: (statements: D1PreparedStatement[]) => DB.batch(statements),
    };
    const { createImports } = await import("../../../src/store/imports.ts");
    const name = "\u{FB03}".repeat(100);
    const users = Array.from({ length: 1_000 }, (_, at) => ({
      realm: "main",
      id: `u${at}`,
      username: `${name}${at}`,
      name: "€".repeat(256),
      attributes: { text: "€".repeat(300) },
      createdAtSeconds: 1,
      updatedAtSeconds: 1,
      password: { scheme: "bcrypt" as const, hash: BCRYPT },
    }));
    const result = await createImports(watched as unknown as D1Database).apply(
      { users, credentials: [] },
      {
        isDryRun: false,
        isUpdate: false,
        nowSeconds: 1,
        mayOwn: () => true,
        mayGive: () => true,
        endingOf: () => null,
        explainChange: () => {
          throw new Error("nothing is changed");
        },
        explain: (realm) => ({
          atSeconds: 1,
          actor: { kind: "system" },
          action: "import.applied",
          target: { kind: "realm", realm, id: "" },
          address: null,
          requestId: null,
          details: {},
        }),
      },
    );
    expect(result.users).toEqual({ ...none, added: 1_000 });
    expect(seen.filter(({ text }) => text.startsWith("INSERT INTO users")).length).toBeGreaterThan(1);
    for (const { text, values } of seen) {
      expect(text.length).toBeLessThan(100_000);
      expect(values.length).toBeLessThanOrEqual(100);
      for (const value of values) {
        expect(new TextEncoder().encode(String(value)).length).toBeLessThan(MAX_STRING_BYTES);
      }
    }
  });
});

describe("POST admin/epoch", () => {
  it("renews the epoch, and says so in the audit log", async () => {
    const epoch = () => DB.prepare("SELECT value FROM meta WHERE key = 'epoch'").first("value");
    const before = await epoch();
    expect((await api(gateway, "POST", "admin/epoch")).status).toBe(204);
    expect(await epoch()).not.toBe(before);
    const { results } = await DB.prepare("SELECT action, target_kind FROM audit").all();
    expect(results).toEqual([{ action: "epoch.renewed", target_kind: "gateway" }]);
  });
});
