// The SQL against a real D1: what a read contains, and that no write forgets the feed.
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { createPrimary } from "../../../src/store/primary.ts";
import { createWrites } from "../../../src/store/writes.ts";

const { DB } = env as unknown as { DB: D1Database };
const primary = createPrimary(DB);
const writes = createWrites(DB);
const nowSeconds = 1_800_000_000;

const user = (id: string, overrides = {}) => ({
  realm: "llm",
  id,
  username: `name-${id}`,
  role: "admin",
  permissions: ["logs.read"],
  attributes: { group: "vip" },
  createdAtSeconds: nowSeconds,
  updatedAtSeconds: nowSeconds,
  ...overrides,
});
const key = (id: string, digest: string, overrides = {}) => ({
  id,
  kind: "api_key" as const,
  realm: "llm",
  userId: "7",
  name: "laptop",
  digest,
  pepper: "a",
  scopes: ["files.write"],
  ipAllow: ["10.0.0.0/8"],
  createdAtSeconds: nowSeconds,
  ...overrides,
});
const none = { by: "none" } as const;
const byDigest = (...digests: string[]) =>
  ({ by: "digest", kind: "api_key", realm: "llm", digests }) as const;

async function emptyTables() {
  for (const table of ["credentials", "sessions", "users", "changes", "revocations"]) {
    await DB.prepare(`DELETE FROM ${table}`).run();
  }
  await DB.prepare("DELETE FROM sqlite_sequence").run();
  await DB.prepare("UPDATE meta SET value = '0' WHERE key = 'floor'").run();
}

describe("reading the primary", () => {
  beforeEach(emptyTables);

  it("gives an empty database a random epoch, floor 0 and head 0", async () => {
    const answer = await primary.read({ since: null, lookup: none, nowSeconds });
    expect(answer).toEqual({
      epoch: expect.stringMatching(/^[0-9a-f]{32}$/),
      floor: 0,
      head: 0,
      changes: [],
      denials: [],
      credential: null,
      user: null,
    });
  });

  it("reads a credential with its owner as of one snapshot, and no column more", async () => {
    await writes.createUser(user("7"));
    await writes.createCredential(key("k1", "d1"));
    const answer = await primary.read({ since: null, lookup: byDigest("d0", "d1"), nowSeconds });
    const owner = {
      realm: "llm",
      id: "7",
      username: "name-7",
      name: null,
      role: "admin",
      permissions: ["logs.read"],
      status: "active",
      attributes: { group: "vip" },
    };
    expect(answer.user).toEqual(owner);
    expect(answer.credential).toEqual({
      kind: "api_key",
      id: "k1",
      realm: "llm",
      userId: "7",
      name: "laptop",
      status: "active",
      digest: "d1",
      scopes: ["files.write"],
      createdAtSeconds: nowSeconds,
      expiresAtSeconds: null,
      isReplaced: false,
      ipAllow: ["10.0.0.0/8"],
      attributes: {},
      user: owner,
    });
    expect(answer.head).toBe(2);
  });

  it.each([
    ["another realm", { by: "digest", kind: "api_key", realm: "files", digests: ["d1"] }],
    ["another kind", { by: "digest", kind: "pat", realm: "llm", digests: ["d1"] }],
    ["another digest", byDigest("d2")],
    ["a digest with a wildcard", byDigest("d%")],
    ["a session of that id", { by: "session", realm: "llm", id: "k1" }],
  ] as const)("does not find a key by %s", async (_name, lookup) => {
    await writes.createUser(user("7"));
    await writes.createCredential(key("k1", "d1"));
    const answer = await primary.read({ since: null, lookup, nowSeconds });
    expect([answer.credential, answer.user]).toEqual([null, null]);
  });

  it("prefers the current pepper's digest where a secret is stored under two, and gives that one's owner", async () => {
    await writes.createUser(user("7"));
    await writes.createUser(user("8"));
    await writes.createCredential(key("old", "d-old"));
    await writes.createCredential(key("new", "d-new", { userId: "8" }));
    const answer = await primary.read({ since: null, lookup: byDigest("d-new", "d-old"), nowSeconds });
    expect([answer.credential?.id, answer.credential?.user?.id]).toEqual(["new", "8"]);
  });

  it("reads a session with its owner", async () => {
    await writes.createUser(user("7"));
    const session = { id: "s1", realm: "llm", userId: "7", digest: "d", pepper: "a" };
    await writes.createSession({
      ...session,
      createdAtSeconds: nowSeconds,
      expiresAtSeconds: nowSeconds + 60,
    });
    const answer = await primary.read({
      since: null,
      lookup: { by: "session", realm: "llm", id: "s1" },
      nowSeconds,
    });
    expect(answer.credential).toMatchObject({ kind: "session", id: "s1", ipAllow: [], user: { id: "7" } });
  });

  it("answers changes oldest first and only those after `since`", async () => {
    for (const id of ["1", "2", "3"]) await writes.createUser(user(id));
    const all = await primary.read({ since: null, lookup: none, nowSeconds });
    expect(all.changes).toEqual([1, 2, 3].map((n) => ({ seq: n, subjects: [`user:llm:${n}`] })));
    const later = await primary.read({ since: 2, lookup: none, nowSeconds });
    expect(later.changes?.map(({ seq }) => seq)).toEqual([3]);
    expect(later.head).toBe(3);
  });

  it("keeps the head when every change is pruned, and raises the floor in the same batch", async () => {
    for (const id of ["1", "2", "3"]) await writes.createUser(user(id));
    expect(await writes.pruneChanges(nowSeconds, 10)).toBe(0);
    expect(await writes.pruneChanges(nowSeconds + 1, 2)).toBe(2);
    expect(await writes.pruneChanges(nowSeconds + 1, 10)).toBe(3);
    expect(await writes.pruneChanges(nowSeconds + 1, 10)).toBe(3);
    const answer = await primary.read({ since: null, lookup: none, nowSeconds });
    expect([answer.floor, answer.head, answer.changes]).toEqual([3, 3, []]);
    await writes.createUser(user("4"));
    expect((await primary.read({ since: 3, lookup: none, nowSeconds })).head).toBe(4);
  });

  it("renews the epoch", async () => {
    const before = (await primary.read({ since: null, lookup: none, nowSeconds })).epoch;
    await writes.renewEpoch();
    expect((await primary.read({ since: null, lookup: none, nowSeconds })).epoch).not.toBe(before);
  });
});

describe("denials", () => {
  beforeEach(emptyTables);
  const bearer = { realm: "llm", userId: "7", tokenId: "j1", sessionId: "s1", issuedAtSeconds: 1_000 };

  it("are read with the feed while they stand, and not a second longer", async () => {
    const denial = { realm: "llm", kind: "token" as const, value: "j1", expiresAtSeconds: nowSeconds + 10 };
    await writes.revoke(denial, nowSeconds);
    const at = async (seconds: number) =>
      (await primary.read({ since: null, lookup: none, nowSeconds: seconds })).denials;
    expect(await at(nowSeconds + 9)).toEqual([{ ...denial, issuedBeforeSeconds: null }]);
    expect(await at(nowSeconds + 10)).toEqual([]);
  });

  it("that are widened are announced again, and are never narrowed", async () => {
    const denial = { realm: "llm", kind: "subject" as const, value: "7" };
    await writes.revoke(
      { ...denial, issuedBeforeSeconds: 1_000, expiresAtSeconds: nowSeconds + 50 },
      nowSeconds,
    );
    await writes.revoke(
      { ...denial, issuedBeforeSeconds: 900, expiresAtSeconds: nowSeconds + 90 },
      nowSeconds,
    );
    const { denials } = await primary.read({ since: 1, lookup: none, nowSeconds });
    expect(denials).toMatchObject([{ issuedBeforeSeconds: 1_000, expiresAtSeconds: nowSeconds + 90 }]);
    await writes.revoke({ ...denial, issuedBeforeSeconds: null, expiresAtSeconds: null }, nowSeconds);
    await writes.revoke({ ...denial, issuedBeforeSeconds: 5, expiresAtSeconds: 5 }, nowSeconds);
    const after = await primary.read({ since: 3, lookup: none, nowSeconds });
    expect(after.denials).toMatchObject([{ issuedBeforeSeconds: null, expiresAtSeconds: null }]);
  });

  it.each([
    ["the token", { kind: "token", value: "j1" }, true],
    ["another token", { kind: "token", value: "j2" }, false],
    ["the session", { kind: "session", value: "s1" }, true],
    ["the session's id as a token", { kind: "token", value: "s1" }, false],
    [
      "the subject, issued at that very second",
      { kind: "subject", value: "7", issuedBeforeSeconds: 1_000 },
      true,
    ],
    ["the subject, issued a second later", { kind: "subject", value: "7", issuedBeforeSeconds: 999 }, false],
    ["the realm", { kind: "realm", value: "", issuedBeforeSeconds: 1_000 }, true],
    ["another realm", { realm: "files", kind: "realm", value: "", issuedBeforeSeconds: 1_000 }, false],
    ["the token, but it has run out", { kind: "token", value: "j1", expiresAtSeconds: nowSeconds }, false],
  ] as const)("asked of D1 directly: %s", async (_name, denial, expected) => {
    await writes.revoke({ realm: "llm", ...denial }, nowSeconds);
    expect(await primary.isDenied(bearer, nowSeconds)).toBe(expected);
  });
});

describe("writes", () => {
  beforeEach(emptyTables);

  it("append to the feed in the same batch, naming what changed", async () => {
    await writes.createUser(user("7"));
    await writes.createCredential(key("k1", "d1"));
    expect(await writes.updateUser("llm", "7", { role: "user" }, nowSeconds)).toBe(true);
    expect(await writes.updateCredential("k1", { status: "disabled" }, nowSeconds)).toBe(true);
    const { changes } = await primary.read({ since: null, lookup: none, nowSeconds });
    expect(changes?.map(({ subjects }) => subjects)).toEqual([
      ["user:llm:7"],
      ["credential:k1", "digest:llm:d1"],
      ["user:llm:7"],
      ["credential:k1"],
    ]);
  });

  it("that change nothing announce nothing", async () => {
    expect(await writes.updateUser("llm", "404", { role: "user" }, nowSeconds)).toBe(false);
    expect(await writes.updateCredential("404", { status: "disabled" }, nowSeconds)).toBe(false);
    expect(await writes.updateSession("404", { status: "disabled" }, nowSeconds)).toBe(false);
    expect((await primary.read({ since: null, lookup: none, nowSeconds })).head).toBe(0);
  });

  it("that fail half-way leave neither a row nor an announcement", async () => {
    await expect(writes.createCredential(key("k1", "d1"))).rejects.toThrow(); // no such owner
    await expect(writes.createUser(user("7", { status: "banned" }))).rejects.toThrow(); // no such status
    const { head, credential } = await primary.read({ since: null, lookup: byDigest("d1"), nowSeconds });
    expect([head, credential]).toEqual([0, null]);
  });

  it("refuse what STRICT tables refuse", async () => {
    const statement = DB.prepare("INSERT INTO changes (at_seconds, subjects, what) VALUES (?, '[]', 'x')");
    await expect(statement.bind("soon").run()).rejects.toThrow();
  });
});
