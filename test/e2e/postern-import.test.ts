// `npm run postern -- import` against a gateway under `wrangler dev`: bad files, other systems' databases, interruptions.
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import Hashids from "hashids";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkRecords, createProblems } from "../../cli/postern/import-check.ts";
import { createLineSource } from "../../cli/postern/import-source.ts";
import { type Finished, type RunOptions, runPostern, startProxy } from "../support/node/postern-cli.ts";
import { startWranglerDev, type WranglerDev } from "../support/node/wrangler-dev.ts";

const TIMEOUT_MS = 120_000;
const scratch = mkdtempSync(join(tmpdir(), "postern-import-"));
let dev: WranglerDev;

const UNTAGGED = { untagged_keys: true };
const site = (realm: string) => ({
  base_path: `/${realm}`,
  origin: "echo",
  realm,
  routes: [{ path: "/*", auth: "required" }],
});
const VARS = {
  GATEWAY: {
    issuer: "https://auth.example",
    environment: "development",
    realms: {
      llm: UNTAGGED,
      guarded: UNTAGGED,
      files: {},
      again: UNTAGGED,
      killed: UNTAGGED,
      flaky: UNTAGGED,
      halted: UNTAGGED,
      failed: UNTAGGED,
    },
  },
  SITE_LLM: site("llm"),
  SITE_GUARDED: {
    ...site("guarded"),
    routes: [
      { path: "/*", auth: "required", freshness_seconds: 0 },
      { path: "/admin/*", auth: "required", role: "admin", freshness_seconds: 0 },
    ],
  },
  SITE_FILES: site("files"),
  SITE_AGAIN: site("again"),
  SITE_KILLED: site("killed"),
  SITE_FLAKY: site("flaky"),
  SITE_HALTED: site("halted"),
  SITE_FAILED: site("failed"),
};

beforeAll(async () => {
  dev = await startWranglerDev({ vars: VARS, seed: async () => {} });
}, TIMEOUT_MS);
afterAll(async () => {
  await dev?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const postern = (args: readonly string[], options: RunOptions = {}, url = dev.address): Promise<Finished> =>
  runPostern(args, { ...options, environment: { POSTERN_URL: url, POSTERN_TOKEN: dev.adminToken } });

let files = 0;
function fileOf(lines: readonly (unknown | string)[]): string {
  const file = join(scratch, `${++files}.jsonl`);
  const texts = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line)));
  writeFileSync(file, texts.map((text) => `${text}\n`).join(""));
  return file;
}

const KEY = `sk-${randomBytes(24).toString("hex")}`;
const user = (realm: string, id: string, more: object = {}) => ({ type: "user", realm, id, ...more });
const key = (realm: string, owner: string, secret: string, more: object = {}) => ({
  ...{ type: "api_key", realm, user: owner, key: secret },
  ...more,
});
const people = (realm: string, users: number, keysEach: number) => [
  ...Array.from({ length: users }, (_, at) =>
    Array.from({ length: keysEach }, (_, n) => key(realm, `u${at}`, `sk-${realm}-of-user-${at}-number-${n}`)),
  ).flat(),
  ...Array.from({ length: users }, (_, at) => user(realm, `u${at}`, { username: `name-${at}` })),
];

/** All that the API shows of a realm. */
async function shown(realm: string): Promise<unknown> {
  const lists = ["users", "keys", "pats"].map(async (what) => {
    const { stdout } = await postern([what, "list", "--realm", realm, "--all", "--json"]);
    return (JSON.parse(stdout) as { items: Record<string, unknown>[] }).items;
  });
  return Promise.all(lists);
}

describe("a file of JSON lines", { timeout: TIMEOUT_MS }, () => {
  it("comes in whole, whatever the order, and once only", async () => {
    const file = fileOf([...people("again", 30, 2), "", user("again", "last")]);
    const dry = await postern(["import", file, "--dry-run"]);
    expect(dry).toMatchObject({
      status: 0,
      stdout:
        "Users:         31 would be added, 0 already there\nKeys and PATs: 60 would be added, 0 already there\n",
    });
    expect(await shown("again")).toEqual([[], [], []]);

    const first = await postern(["import", file]);
    expect(first).toMatchObject({
      status: 0,
      stdout: "Users:         31 added, 0 already there\nKeys and PATs: 60 added, 0 already there\n",
    });
    const after = await shown("again");
    const second = await postern(["import", file, "--json"]);
    expect(JSON.parse(second.stdout)).toEqual({
      users: { added: 0, present: 31, differing: 0, deleted: 0 },
      credentials: { added: 0, present: 60, differing: 0, deleted: 0 },
      differences: [],
      dry_run: false,
      update: false,
      problems: 0,
    });
    expect(await shown("again")).toEqual(after);
    const answer = await fetch(`${dev.address}/again/x`, {
      headers: { authorization: "Bearer sk-again-of-user-7-number-1" },
    });
    expect(answer.status).toBe(200);
  });

  it("is refused for every bad line at once, by number, field and mend, before anything is written", async () => {
    const sha256 = createHash("sha256").update(KEY).digest("hex");
    const file = fileOf([
      user("llm", "1", { username: "first" }),
      `{"type":"user","realm":"llm","id":"2","password":"${KEY}"`,
      `[${JSON.stringify(KEY)}]`,
      user("llm", "3", { username: "FIRST" }),
      user("llm", "1"),
      user("mll", "4"),
      user("llm", "5", { role: "boss" }),
      user("llm", "6", { admin: true, password: { scheme: "bcrypt", hash: KEY } }),
      key("llm", "1", KEY),
      key("llm", "1", KEY),
      { type: "api_key", realm: "llm", user: "1", sha256 },
      key("files", "1", `${KEY}_`),
      { type: "thing", realm: "llm" },
      `{"type":"user","realm":"llm","id":"${"7".repeat(300_000)}"}`,
      user("llm", "8", { email: "ok@example.com" }),
      key("llm", "8", `${KEY} `),
    ]);
    appendFileSync(file, Buffer.from([0x7b, 0xff, 0x7d, 0x0a]));
    const { status, stdout, stderr } = await postern(["import", file]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    const lines = stderr
      .trim()
      .split("\n")
      .map((line) => line.trim());
    expect(lines).toEqual([
      "postern: 15 problems:",
      "line 2: is not JSON: it ends too early",
      "line 3: must be a JSON object",
      "line 4: username stands at line 1 too: leave one out, or change it",
      "line 5: id stands at line 1 too: leave one out, or change it",
      expect.stringMatching(/^line 6: realm must be one of .*llm/),
      "line 7: role must be a role of the realm: public, user, admin, root",
      expect.stringMatching(/^line 8: (admin is not known here|password\.hash )/),
      expect.stringMatching(/^line 8: (admin is not known here|password\.hash )/),
      "line 10: key stands at line 9 too: leave one out",
      "line 11: sha256 stands at line 9 too: leave one out",
      expect.stringMatching(/^line 12: key .*untagged_keys = true/),
      "line 13: type must be user, api_key or pat",
      "line 14: is longer than 256 KB",
      "line 16: key must be 16 to 300 letters, digits and . _ ~ + / = -",
      "line 17: is not UTF-8",
      "Nothing was written.",
    ]);
    expect(stderr).not.toContain(KEY.slice(3));
    expect(await shown("llm")).toEqual([[], [], []]);
  });

  it("tells all that is wrong with a line in one round, and the mend that fits this machine", async () => {
    const file = fileOf([
      user("files", "1", { role: "boss", password: "hunter2" }),
      key("files", "1", "my-own-key-0123456789", { scopes: "chat" }),
      { type: "pat", realm: "files", user: "1", token: KEY },
      key("llm", "1", "my-own-key-0123456789"),
      user("mll", "2", { email: "none" }),
    ]);
    const { status, stderr } = await postern(["import", file]);
    expect(status).toBe(1);
    const prefix =
      "must begin with sk-, as keys do here: set api_key_prefix in GATEWAY, or bring it as a pat with token";
    const untagged =
      "was not made by this gateway: set untagged_keys = true in GATEWAY.realms.files, and start it again";
    expect(stderr.split("\n").slice(1, -2)).toEqual([
      '  line 1: password must be an object with scheme and hash, like {"scheme":"bcrypt","hash":"…"}',
      "  line 1: role must be a role of the realm: public, user, admin, root",
      expect.stringMatching(/^ {2}line 2: scopes must be /),
      `  line 2: key ${prefix}`,
      `  line 2: key ${untagged}`,
      "  line 3: token must not begin with sk-, or it would be read as an API key",
      `  line 3: token ${untagged}`,
      `  line 4: key ${prefix}`,
      "  line 5: email must be an e-mail address",
      expect.stringMatching(/^ {2}line 5: realm must be one of /),
    ]);
    expect(stderr).not.toMatch(/hunter2|my-own-key/);
  });

  it("is refused for keys of another gateway that look like ours, before anything is written", async () => {
    const file = fileOf([user("files", "1"), key("files", "1", KEY)]);
    const { status, stderr } = await postern(["import", file]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^ {2}line 2: key was not made by this gateway: set untagged_keys = true/m);
    expect(stderr).toContain("Nothing was written.");
    expect(await shown("files")).toEqual([[], [], []]);
  });

  it.each([
    ['{"type":"user",}', "is not JSON: see column 16"],
    ['  {"type":"user" "id":"1"}', "is not JSON: see column 18"],
    ['{"type":"user"', "is not JSON: it ends too early"],
    ['{"type":"us', "is not JSON: it ends too early"],
    ['{"type":in JSON at position 7', "is not JSON"], // what stands there says nothing
    ["x in JSON at position 7", "is not JSON"],
  ])("is told where %j stops being JSON", async (line, expected) => {
    const items: unknown[] = [];
    for await (const item of createLineSource(fileOf([line])).items()) items.push(item);
    expect(items).toEqual([{ at: 1, problem: expected }]);
  });

  it("does not count in a dry run who was deleted, or whose names are taken twice over", async () => {
    await postern(["users", "create", "--realm", "flaky", "--id", "old"]);
    await postern(["users", "delete", "old", "--realm", "flaky", "--yes"]);
    const names = { username: "mia", email: "mia@example.com" };
    await postern(["import", fileOf([user("flaky", "mia", names)])]);
    const file = fileOf([user("flaky", "old"), user("flaky", "other", names), user("flaky", "mia")]);
    const dry = await postern(["import", file, "--dry-run", "--json"]);
    expect(JSON.parse(dry.stdout)).toMatchObject({ problems: 3, users: { added: 0, present: 1 } });
  });

  it("has the first 50 problems in words, and all of them counted", async () => {
    const file = fileOf(Array.from({ length: 70 }, () => "x"));
    const { status, stderr } = await postern(["import", file]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^postern: 70 problems:$/m);
    expect(stderr.match(/^ {2}line/gm)).toHaveLength(50);
    expect(stderr).toMatch(/^… and 20 more$/m);
  });

  it("is told what is against it on the gateway, in a dry run all of it", async () => {
    await postern(["users", "create", "--realm", "llm", "--id", "taken", "--username", "taken"]);
    const file = fileOf([
      user("llm", "new", { username: "Taken" }),
      key("llm", "new", KEY),
      key("llm", "nobody", `${KEY}0`),
      user("llm", "fine"),
    ]);
    const before = await shown("llm");
    const dry = await postern(["import", file, "--dry-run", "--json"]);
    expect(dry.status).toBe(1);
    // The key of the one who is refused would not be added either.
    expect(JSON.parse(dry.stdout)).toMatchObject({
      dry_run: true,
      problems: 2,
      users: { added: 1, present: 0 },
      credentials: { added: 0, present: 0 },
    });
    expect(dry.stderr).toMatch(/line 1: username belongs to another user/);
    expect(dry.stderr).toMatch(/line 3: there is no such user in the realm: import/);
    const wet = await postern(["import", file]);
    expect(wet.status).toBe(1);
    expect(wet.stderr).toMatch(/line 1: username belongs to another user/);
    expect(await shown("llm")).toEqual(before);
    expect(dry.stdout + dry.stderr + wet.stdout + wet.stderr).not.toContain(KEY.slice(3));
  });

  it.each([
    ["is not there", ["import", "/nowhere/x.jsonl"], 1, "there is no such file"],
    ["is a folder", ["import", tmpdir()], 1, "it is no file"],
    ["is not named", ["import"], 2, "FILE is needed"],
    ["names its realm twice over", ["import", "x", "--realm", "llm"], 2, "--realm is for --from"],
    [
      "is of no known system",
      ["import", "x", "--from", "oracle", "--realm", "llm"],
      2,
      "new-api or cloudreve",
    ],
    ["is for no realm", ["import", "x", "--from", "new-api"], 2, "--realm NAME"],
    [
      "is no database",
      ["import", import.meta.filename, "--from", "new-api", "--realm", "llm"],
      1,
      "no SQLite",
    ],
  ])("%s", async (_, args, code, expected) => {
    const { status, stderr } = await postern(args);
    expect(status).toBe(code);
    expect(stderr).toContain(expected);
  });

  it("that changes between the two readings is not sent any further", async () => {
    const file = fileOf(people("killed", 10, 1));
    const source = createLineSource(file);
    const realms = new Map([["killed", { roles: ["user"], hasUntaggedKeys: true, apiKeyPrefix: "sk-" }]]);
    const problems = createProblems();
    await checkRecords(source, realms, problems, "deploy", () => {});
    expect(problems.count).toBe(0);
    source.demandUnchanged();
    const { atimeMs, mtimeMs } = statSync(file);
    utimesSync(file, atimeMs / 1_000, mtimeMs / 1_000 + 1);
    expect(() => source.demandUnchanged()).toThrow("was changed while it was read");

    // The same from outside: the gateway is asked for its realms between the look at the file and the first reading.
    const changing = fileOf(people("killed", 10, 1));
    const proxy = await startProxy(dev.address, (_request, _response, number) => {
      if (number === 1) appendFileSync(changing, `${JSON.stringify(user("killed", "late"))}\n`);
      return false;
    });
    const { status, stderr } = await postern(["import", changing], {}, proxy.address);
    await proxy.close();
    expect(status).toBe(1);
    expect(stderr).toContain("was changed while it was read");
    expect(await shown("killed")).toEqual([[], [], []]);
  });

  it("goes on where it was after it was killed halfway", async () => {
    const file = fileOf(people("killed", 1_500, 2));
    const killer = new AbortController();
    const proxy = await startProxy(dev.address, (request, _response, number) => {
      if (request.url?.includes("import") && number > 3) killer.abort();
      return false;
    });
    const killed = await postern(["import", file], { signal: killer.signal }, proxy.address);
    await proxy.close();
    expect(killed.status).toBeNull();
    const [users = []] = (await shown("killed")) as unknown[][];
    expect(users.length).toBeGreaterThan(0);

    const { status, stdout } = await postern(["import", file, "--json"]);
    expect(status).toBe(0);
    const { users: count, credentials } = JSON.parse(stdout);
    expect(count.added + count.present).toBe(1_500);
    expect(credentials.added + credentials.present).toBe(3_000);
    expect(count.present + credentials.present).toBeGreaterThan(0);
    const [all = [], keys = []] = (await shown("killed")) as unknown[][];
    expect([all.length, keys.length]).toEqual([1_500, 3_000]);
  });

  it("that is stopped by Ctrl-C says how much the gateway has, and the same command goes on", async () => {
    const file = fileOf(people("halted", 2_000, 2));
    const interrupt = new AbortController();
    const proxy = await startProxy(dev.address, (_request, _response, number) => {
      if (number === 4) interrupt.abort();
      return false;
    });
    const stopped = await postern(["import", file], { interrupt: interrupt.signal }, proxy.address);
    await proxy.close();
    expect(stopped).toMatchObject({ status: 130, stdout: "" });
    const [, count = ""] =
      /^postern: stopped\n {2}the gateway has ([\d,]+) of 6,000 records; the same command goes on/.exec(
        stopped.stderr,
      ) ?? [];
    const [users = [], keys = []] = (await shown("halted")) as unknown[][];
    expect(Number(count.replace(",", ""))).toBe(users.length + keys.length);
    expect(users.length).toBeGreaterThan(0);
    expect(keys.length).toBeLessThan(4_000);
    const { status, stdout } = await postern(["import", file, "--json"]);
    expect(status).toBe(0);
    const { users: people_, credentials } = JSON.parse(stdout);
    expect(people_.present + credentials.present).toBe(users.length + keys.length);
    expect(people_.added + people_.present + credentials.added + credentials.present).toBe(6_000);
  });

  it("whose gateway stops halfway says how much it has, and in a dry run that nothing was written", async () => {
    const file = fileOf(people("failed", 2_000, 1));
    const fails = (_request: unknown, response: ServerResponse, number: number) => {
      if (number < 4) return false;
      response.writeHead(500, { "content-type": "application/json" });
      response.end(JSON.stringify({ code: "internal", title: "The gateway failed" }));
      return true;
    };
    const ended = async (...flags: readonly string[]) => {
      const proxy = await startProxy(dev.address, fails);
      const { status, stderr } = await postern(["import", file, ...flags], {}, proxy.address);
      await proxy.close();
      expect(status).toBe(3);
      return stderr;
    };
    expect(await ended("--dry-run")).toMatch(/of 4,000 records were compared; nothing was written\n$/);
    expect(await shown("failed")).toEqual([[], [], []]);
    const [, count = ""] = /the gateway has ([\d,]+) of 4,000 records; /.exec(await ended()) ?? [];
    const [users = [], keys = []] = (await shown("failed")) as unknown[][];
    expect(Number(count.replace(",", ""))).toBe(users.length + keys.length);
  });

  it("outlasts an outage, a limit and a lost answer", async () => {
    const proxy = await startProxy(dev.address, (request, response, number) => {
      if (!request.url?.includes("import") || number > 4) return false;
      if (number === 4) {
        response.destroy();
        return true;
      }
      const code = number === 2 ? "store_unavailable" : "rate_limited";
      response.writeHead(number === 2 ? 503 : 429, {
        "retry-after": "1",
        "content-type": "application/json",
      });
      response.end(JSON.stringify({ code, title: "not now" }));
      return true;
    });
    const { status, stdout } = await postern(["import", fileOf(people("flaky", 20, 1))], {}, proxy.address);
    await proxy.close();
    expect(status).toBe(0);
    expect(stdout).toContain("Users:         20 added");
  });
});

describe("the SQLite file of New API", { timeout: TIMEOUT_MS }, () => {
  const TOKEN = "0123456789abcdefghijABCDEFGHIJ01";
  const TOKEN_KEY = `${"k".repeat(24)}${"0123456789".repeat(2)}WXYZ`;

  /** As its own migrations make it, without what is not read. */
  function newApi(): string {
    const file = join(scratch, `new-api-${++files}.db`);
    const database = new DatabaseSync(file);
    database.exec(`
      CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT, username text, password text NOT NULL, display_name text,
        role integer DEFAULT 1, status integer DEFAULT 1, email text, access_token char(32), quota integer DEFAULT 0,
        "group" varchar(64) DEFAULT 'default', deleted_at datetime, setting text, created_at integer);
      CREATE TABLE tokens (id integer PRIMARY KEY AUTOINCREMENT, user_id integer, "key" varchar(128), status integer DEFAULT 1,
        name text, created_time bigint, accessed_time bigint, expired_time bigint DEFAULT -1, remain_quota integer DEFAULT 0,
        unlimited_quota numeric, model_limits_enabled numeric, model_limits text, allow_ips text DEFAULT '',
        used_quota integer, "group" text DEFAULT '', deleted_at datetime);
      INSERT INTO users VALUES
        (1, 'root', '$2a$10$${"a".repeat(53)}', 'Root User', 100, 1, '', '${TOKEN}', 500, 'default', NULL, '{"language":"zh"}', 1700000000),
        (2, 'ada', '$2a$10$${"b".repeat(53)}', '', 1, 2, 'ada@example.com', NULL, 0, 'vip', NULL, '', 0),
        (3, 'gone', 'x', '', 1, 1, '', NULL, 0, 'default', '2026-01-01 00:00:00', '', 0);
      INSERT INTO tokens VALUES
        (10, 1, '${TOKEN_KEY}', 1, 'laptop', 1700000001, 0, -1, 5, 0, 1, 'gpt-4o,o3', '10.0.0.1
 192.168.0.0/16,', 0, 'vip', NULL),
        (11, 1, 'sk-${TOKEN_KEY}2', 4, 'used up', 1700000002, 0, 1790000000, 0, 1, 0, '', NULL, 0, '', NULL),
        (12, 1, 'deleted-deleted-deleted', 1, 'x', 1, 0, -1, 0, 0, 0, '', '', 0, '', '2026-01-01 00:00:00'),
        (13, 3, 'of-a-deleted-user-of-a-deleted', 1, 'x', 1, 0, -1, 0, 0, 0, '', '', 0, '', NULL),
        (14, 1, 'sk-${TOKEN_KEY}3', 2, 'switched off', 1700000000, 0, -1, 0, 1, 0, '', '', 0, '', NULL);`);
    database.close();
    return file;
  }

  it("becomes users, PATs and keys, with what its preset understands", async () => {
    const file = newApi();
    const { status, stdout, stderr } = await postern(["import", "--from", "new-api", file, "--realm", "llm"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.split("\n")).toEqual([
      "Users:         2 added, 0 already there",
      "Keys and PATs: 4 added, 0 already there",
      "Left out:      1 deleted users",
      "Left out:      2 deleted tokens, or tokens of deleted users",
      "",
    ]);
    const show = async (...args: readonly string[]) =>
      JSON.parse((await postern([...args, "--realm", "llm", "--json"])).stdout);
    expect(await show("users", "show", "1")).toMatchObject({
      username: "root",
      email: null,
      name: "Root User",
      role: "root",
      status: "active",
      has_password: true,
      attributes: { group: "default", quota: 500, language: "zh" },
      created_at: 1_700_000_000,
    });
    expect(await show("users", "show", "2")).toMatchObject({ status: "disabled", email: "ada@example.com" });
    const { items } = await show("keys", "list", "--user", "1");
    expect(items).toMatchObject([
      {
        name: "used up",
        status: "active",
        expires_at: 1_790_000_000,
        ip_allow: [],
        attributes: { status: 4, unlimited_quota: true },
      },
      {
        name: "laptop",
        status: "active",
        expires_at: null,
        ip_allow: ["10.0.0.1", "192.168.0.0/16"],
        attributes: {
          group: "vip",
          status: 1,
          remain_quota: 5,
          unlimited_quota: false,
          model_limits: ["gpt-4o", "o3"],
        },
      },
      { name: "switched off", status: "disabled", attributes: { status: 2 } },
    ]);
    const pat = await fetch(`${dev.address}/llm/x`, {
      headers: { authorization: `Bearer ${TOKEN}`, "new-api-user": "1" },
    });
    expect(pat.status).toBe(200);
    const again = await postern(["import", "--from", "new-api", file, "--realm", "llm", "--json"]);
    expect(JSON.parse(again.stdout)).toMatchObject({
      users: { added: 0, present: 2 },
      credentials: { added: 0 },
    });
  });

  it("is a copy: a second import says what differs, and with --update takes it over, in force at the edge", async () => {
    const file = newApi();
    const run = (...flags: readonly string[]) =>
      postern(["import", "--from", "new-api", file, "--realm", "guarded", ...flags]);
    expect((await run()).status).toBe(0);
    const leftOut = [
      "Left out:      1 deleted users",
      "Left out:      2 deleted tokens, or tokens of deleted users",
      "",
    ];
    const status = async (path: string, secret: string) =>
      (await fetch(`${dev.address}/guarded${path}`, { headers: { authorization: `Bearer ${secret}` } }))
        .status;
    const [key, switchedOff, banned] = [`sk-${TOKEN_KEY}`, `sk-${TOKEN_KEY}3`, `sk-${TOKEN_KEY}9`];
    expect(await status("/x", switchedOff)).toBe(401);

    // At the origin: one is promoted and let in again, a token switched off and another one on, and a new one is made.
    const database = new DatabaseSync(file);
    database.exec(`UPDATE users SET role = 10, status = 1 WHERE id = 2;
      UPDATE tokens SET status = 1 WHERE id = 14;
      UPDATE tokens SET status = 2 WHERE id = 11;
      INSERT INTO tokens VALUES
        (15, 2, '${TOKEN_KEY}9', 1, 'new', 1700000003, 0, -1, 0, 1, 0, '', '', 0, '', NULL);`);

    expect((await run("--dry-run")).stdout.split("\n")).toEqual([
      "Users:         0 would be added, 2 already there, 1 of them differs",
      "Keys and PATs: 1 would be added, 4 already there, 2 of them differ",
      "3 differ: --update takes them over",
      "  user 2: role, status",
      "  token 11: status, attributes",
      "  token 14: status, attributes",
      ...leftOut,
    ]);
    expect((await run()).stdout.split("\n")).toEqual([
      "Users:         0 added, 2 already there, 1 of them differs",
      "Keys and PATs: 1 added, 4 already there, 2 of them differ",
      "3 differ: --update takes them over",
      ...leftOut,
    ]);
    // Its key came, and is still refused: here its owner is banned.
    expect([await status("/x", banned), await status("/x", switchedOff)]).toEqual([401, 401]);
    const dry = await run("--dry-run", "--update");
    expect(dry.stdout.split("\n").slice(0, 5)).toEqual([
      "Users:         0 would be added, 2 already there, 1 of them would be updated",
      "Keys and PATs: 0 would be added, 5 already there, 2 of them would be updated",
      "  user 2: role, status",
      "  token 11: status, attributes",
      "  token 14: status, attributes",
    ]);
    expect(await status("/x", switchedOff)).toBe(401);

    expect((await run("--update")).stdout.split("\n")).toEqual([
      "Users:         0 added, 2 already there, 1 of them updated",
      "Keys and PATs: 0 added, 5 already there, 2 of them updated",
      ...leftOut,
    ]);
    // The site asks D1 on each request; a promotion opens what is for administrators.
    expect([await status("/x", switchedOff), await status("/x", banned)]).toEqual([200, 200]);
    expect(await status("/admin/x", banned)).toBe(200);
    expect((await run("--update")).stdout.split("\n").slice(0, 2)).toEqual([
      "Users:         0 added, 2 already there",
      "Keys and PATs: 0 added, 5 already there",
    ]);

    // Banned and demoted there; a key that was deleted here does not come back, nor keep the rest from being taken over.
    database.exec("UPDATE users SET role = 1, status = 2 WHERE id = 2");
    database.close();
    const keys = await postern(["keys", "list", "--realm", "guarded", "--user", "1", "--json"]);
    const { id } = JSON.parse(keys.stdout).items.find((one: { name: string }) => one.name === "laptop");
    expect(await status("/x", key)).toBe(401); // its addresses are others
    await postern(["keys", "delete", id, "--realm", "guarded", "--yes"]);
    const last = await run("--update");
    expect(last).toMatchObject({ status: 0, stderr: "" });
    expect(last.stdout.split("\n").slice(0, 2)).toEqual([
      "Users:         0 added, 2 already there, 1 of them updated",
      "Keys and PATs: 0 added, 4 already there, 1 deleted here, and left out",
    ]);
    expect([await status("/x", banned), await status("/admin/x", banned)]).toEqual([401, 401]);
    expect((await postern(["keys", "show", id, "--realm", "guarded"])).status).toBe(1);
  });

  it("is refused where it is another system's, and by row where a row is bad", async () => {
    const file = newApi();
    const other = await postern(["import", "--from", "cloudreve", file, "--realm", "files"]);
    expect(other.stderr).toContain("is no database of Cloudreve: it has no table groups");
    const database = new DatabaseSync(file);
    database.exec(
      "UPDATE users SET role = 7 WHERE id = 2; UPDATE tokens SET allow_ips = 'home' WHERE id = 11",
    );
    database.close();
    const { status, stderr } = await postern(["import", "--from", "new-api", file, "--realm", "llm"]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^ {2}user 2: role must be 1, 10 or 100/m);
    expect(stderr).toMatch(/^ {2}token 11: ip_allow\[0\] must be/m);
    expect(stderr).not.toContain(TOKEN_KEY);
  });
});

describe("the SQLite file of Cloudreve", { timeout: TIMEOUT_MS }, () => {
  it("becomes users under the ids that its tokens carry", async () => {
    const file = join(scratch, "cloudreve.db");
    const database = new DatabaseSync(file);
    const hash = `${"s".repeat(32)}:${createHash("sha256").update("x").digest("hex")}`;
    database.exec(`
      CREATE TABLE settings (id integer PRIMARY KEY, created_at datetime, updated_at datetime, deleted_at datetime, name text, value text);
      CREATE TABLE "groups" (id integer PRIMARY KEY, created_at datetime, deleted_at datetime, name text, permissions blob);
      CREATE TABLE users (id integer PRIMARY KEY, created_at datetime, updated_at datetime, deleted_at datetime, email text,
        nick text, password text, status text DEFAULT 'active', storage integer, two_factor_secret text, avatar text,
        settings json, group_users integer);
      INSERT INTO settings VALUES (1, '', '', NULL, 'hash_id_salt', 'this is my salt');
      INSERT INTO "groups" VALUES (1, '', NULL, 'Admin', x'01ff'), (2, '', NULL, 'User', x'0e');
      INSERT INTO users VALUES
        (1, '2024-05-06 07:08:09.123456789+08:00', '', NULL, 'root@example.com', 'Root', '${hash}', 'active', 0, 'JBSWY3DP', 'gravatar',
          '{"preferred_theme":"#1976d2","language":"zh-CN","version_retention":true}', 1),
        (2, 'x', '', NULL, 'ada@example.com', '阿达', '', 'inactive', 0, '', '', '{}', 2),
        (3, '', '', NULL, 'bad@example.com', 'Bad', NULL, 'sys_banned', 0, NULL, NULL, NULL, 2),
        (4, '', '', '2026-01-01', 'gone@example.com', 'Gone', '', 'active', 0, NULL, NULL, NULL, 2);`);
    database.close();
    const { status, stdout, stderr } = await postern([
      "import",
      "--from",
      "cloudreve",
      file,
      "--realm",
      "files",
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("Users:         3 added");
    expect(stdout).toContain("1 deleted users");
    const [users = []] = (await shown("files")) as Record<string, unknown>[][];
    const byEmail = new Map(users.map((one) => [one.email, one]));
    // hashids.org's own example of this salt: encode(1, 2, 3) is laHquq. Ours are of [id, 1].
    expect(byEmail.get("root@example.com")).toMatchObject({
      id: "6gHV",
      name: "Root",
      role: "admin",
      status: "active",
      has_password: true,
      attributes: {
        nick: "Root",
        group: "Admin",
        avatar: "gravatar",
        preferred_theme: "#1976d2",
        language: "zh-CN",
        group_id: new Hashids("this is my salt").encode([1, 7]),
        permission: "Af8=",
        two_factor: true,
      },
      created_at: Date.parse("2024-05-06T07:08:09+08:00") / 1_000,
    });
    expect(byEmail.get("ada@example.com")).toMatchObject({
      name: "阿达",
      status: "pending",
      has_password: false,
    });
    expect(byEmail.get("ada@example.com")?.attributes).toEqual({
      nick: "阿达",
      group: "User",
      group_id: new Hashids("this is my salt").encode([2, 7]),
      permission: "Dg==",
    });
    expect(byEmail.get("bad@example.com")).toMatchObject({ status: "disabled", role: "user" });
  });
});
