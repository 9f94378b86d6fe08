// Every write: its row, its line in the feed and its line in the audit log, all of them or none.
import { beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../../src/audit.ts";
import { createWrites, type NewCredential, type Writes } from "../../../src/store/writes.ts";
import { addUser, DB, emptyStores } from "../../support/worker/gateway.ts";

const NOW_SECONDS = 1_800_000_000;
const LATER_SECONDS = NOW_SECONDS + 3_600;

const ENTRY: AuditEntry = {
  atSeconds: NOW_SECONDS,
  actor: { kind: "user", realm: "gateway", id: "root", credentialId: "ses_1" },
  action: "user.updated",
  target: { kind: "user", realm: "main", id: "7" },
  address: "192.0.2.1",
  requestId: "r1",
  details: { fields: ["role"] },
};

const writes = createWrites(DB).audited(ENTRY);

const aCredential = (id: string, changes: Partial<NewCredential> = {}): NewCredential => ({
  id,
  kind: "api_key",
  realm: "main",
  userId: "7",
  digest: `digest of ${id}`,
  pepper: "p1",
  createdAtSeconds: NOW_SECONDS,
  ...changes,
});

const aSession = (id: string) => ({
  id,
  realm: "main",
  userId: "7",
  digest: "",
  pepper: "p1",
  kind: "token" as const,
  createdAtSeconds: NOW_SECONDS,
  expiresAtSeconds: LATER_SECONDS,
});

const rows = async (sql: string) => (await DB.prepare(sql).all<Record<string, unknown>>()).results;
const count = async (table: string) => Number((await rows(`SELECT COUNT(*) AS n FROM ${table}`))[0]?.n);

/** How many lines a piece of work adds to the feed and to the log. */
async function linesOf(
  work: () => Promise<unknown>,
): Promise<{ readonly feed: number; readonly log: number }> {
  const before = [await count("changes"), await count("audit")];
  await work().catch(() => {});
  return {
    feed: (await count("changes")) - (before[0] ?? 0),
    log: (await count("audit")) - (before[1] ?? 0),
  };
}

beforeEach(async () => {
  await emptyStores();
  await addUser("7", { username: "Alice", email: "alice@example.com" });
  await writes.createCredential(aCredential("k1"));
  await writes.createSession(aSession("s1"));
});

const CHANGES: readonly (readonly [string, (on: Writes) => Promise<unknown>])[] = [
  ["createUser", (on) => on.createUser({ realm: "main", id: "8", createdAtSeconds: 1, updatedAtSeconds: 1 })],
  ["updateUser", (on) => on.updateUser("main", "7", { role: "admin" }, NOW_SECONDS)],
  ["deleteUser", (on) => on.deleteUser("main", "7", NOW_SECONDS, LATER_SECONDS)],
  [
    "setPassword",
    (on) =>
      on.setPassword(
        "main",
        "7",
        { scheme: "scrypt", hash: "h" },
        { exceptSessionId: null },
        NOW_SECONDS,
        LATER_SECONDS,
      ),
  ],
  ["createCredential", (on) => on.createCredential(aCredential("k2"))],
  ["updateCredential", (on) => on.updateCredential("k1", { name: "laptop" }, NOW_SECONDS)],
  ["rotateCredential", (on) => on.rotateCredential("k1", aCredential("k3"), LATER_SECONDS)],
  ["createSession", (on) => on.createSession(aSession("s2"))],
  ["updateSession", (on) => on.updateSession("s1", { scopes: ["a"] }, NOW_SECONDS)],
  ["endSessions", (on) => on.endSessions({ realm: "main", id: "s1" }, NOW_SECONDS, LATER_SECONDS)],
  ["revoke", (on) => on.revoke({ realm: "main", kind: "token", value: "j1" }, NOW_SECONDS)],
];

describe("a write that changes something", () => {
  it.each(CHANGES)("%s leaves one line in the feed and one in the log", async (_name, change) => {
    expect(await linesOf(() => change(writes))).toEqual({ feed: 1, log: 1 });
    expect((await rows("SELECT * FROM audit ORDER BY seq DESC LIMIT 1"))[0]).toMatchObject({
      at_seconds: NOW_SECONDS,
      action: "user.updated",
      actor_kind: "user",
      actor_realm: "gateway",
      actor_id: "root",
      actor_credential: "ses_1",
      target_kind: "user",
      target_realm: "main",
      target_id: "7",
      address: "192.0.2.1",
      request_id: "r1",
      details: '{"fields":["role"]}',
    });
  });
});

/** The state that `k1` is in. */
const AS_IT_WAS = { scopes: [], expiresAtSeconds: null, replacedBy: null } as const;

const NOTHING: readonly (readonly [string, () => Promise<unknown>])[] = [
  [
    "an id that is taken",
    () => writes.createUser({ realm: "main", id: "7", createdAtSeconds: 1, updatedAtSeconds: 1 }),
  ],
  [
    "a name that is taken in another spelling",
    () =>
      writes.createUser({
        realm: "main",
        id: "8",
        username: "ALICE",
        createdAtSeconds: 1,
        updatedAtSeconds: 1,
      }),
  ],
  [
    "an address that is taken in another spelling",
    () =>
      writes.createUser({
        realm: "main",
        id: "8",
        email: "Alice@EXAMPLE.com",
        createdAtSeconds: 1,
        updatedAtSeconds: 1,
      }),
  ],
  ["a user who does not exist", () => writes.updateUser("main", "9", { role: "admin" }, NOW_SECONDS)],
  ["a user of another realm", () => writes.updateUser("other", "7", { role: "admin" }, NOW_SECONDS)],
  [
    "a user whose role is another by now",
    () =>
      writes.updateUser("main", "7", { name: "x" }, NOW_SECONDS, {
        expected: { role: "root", status: "active" },
      }),
  ],
  [
    "deleting a user whose status is another by now",
    () => writes.deleteUser("main", "7", NOW_SECONDS, LATER_SECONDS, { role: "user", status: "disabled" }),
  ],
  ["deleting nobody", () => writes.deleteUser("main", "9", NOW_SECONDS, LATER_SECONDS)],
  [
    "a password of nobody",
    () =>
      writes.setPassword(
        "main",
        "9",
        { scheme: "scrypt", hash: "h" },
        { exceptSessionId: null },
        NOW_SECONDS,
        LATER_SECONDS,
      ),
  ],
  [
    "a password that was changed meanwhile",
    () =>
      writes.setPassword(
        "main",
        "7",
        { scheme: "scrypt", hash: "h" },
        { exceptSessionId: null, previousHash: "another" },
        NOW_SECONDS,
        LATER_SECONDS,
      ),
  ],
  [
    "a password of a user whose role is another by now",
    () =>
      writes.setPassword(
        "main",
        "7",
        { scheme: "scrypt", hash: "h" },
        { exceptSessionId: null, owner: { role: "root", permissions: [] } },
        NOW_SECONDS,
        LATER_SECONDS,
      ),
  ],
  [
    "rehashing what is not there",
    () => writes.rehashPassword("main", "7", "x", { scheme: "scrypt", hash: "h" }, NOW_SECONDS),
  ],
  ["a key that does not exist", () => writes.updateCredential("k9", { name: "x" }, NOW_SECONDS)],
  [
    "a key whose digest is taken",
    () => writes.createCredential(aCredential("k2", { digest: "digest of k1" })),
  ],
  ["a key of nobody", () => writes.createCredential(aCredential("k2", { userId: "9" }))],
  ["one key more than may live", () => writes.createCredential(aCredential("k2"), 1)],
  [
    "a key whose scopes are others by now",
    () => writes.updateCredential("k1", { name: "x" }, NOW_SECONDS, { ...AS_IT_WAS, scopes: ["old"] }),
  ],
  [
    "a key that ends at another time by now",
    () => writes.updateCredential("k1", { name: "x" }, NOW_SECONDS, { ...AS_IT_WAS, expiresAtSeconds: 5 }),
  ],
  [
    "a key that was thought to be replaced",
    () => writes.updateCredential("k1", { name: "x" }, NOW_SECONDS, { ...AS_IT_WAS, replacedBy: "k0" }),
  ],
  [
    "rotating while there are more than may live",
    () => writes.rotateCredential("k1", aCredential("k3"), LATER_SECONDS, 0),
  ],
  [
    "rotating a key whose scopes are others by now",
    () =>
      writes.rotateCredential("k1", aCredential("k3"), LATER_SECONDS, 1, { ...AS_IT_WAS, scopes: ["old"] }),
  ],
  ["rotating what does not exist", () => writes.rotateCredential("k9", aCredential("k3"), LATER_SECONDS)],
  [
    "rotating to a digest that is taken",
    () => writes.rotateCredential("k1", aCredential("k3", { digest: "digest of k1" }), LATER_SECONDS),
  ],
  ["a session that does not exist", () => writes.updateSession("s9", { scopes: [] }, NOW_SECONDS)],
  [
    "ending a session of another realm",
    () => writes.endSessions({ realm: "other", id: "s1" }, NOW_SECONDS, LATER_SECONDS),
  ],
];

describe("a write that changes nothing", () => {
  it.each(NOTHING)("leaves no line: %s", async (_what, change) => {
    const dump = async () =>
      Promise.all(
        ["users", "credentials", "sessions", "revocations", "passwords"].map((table) =>
          rows(`SELECT * FROM ${table}`),
        ),
      );
    const before = await dump();
    expect(await linesOf(change)).toEqual({ feed: 0, log: 0 });
    expect(await dump()).toEqual(before);
  });

  it.each([
    [
      "a key",
      () => writes.updateCredential("k1", { status: "deleted" }, NOW_SECONDS),
      () => writes.updateCredential("k1", { status: "active" }, NOW_SECONDS),
    ],
    [
      "a session",
      () => writes.endSessions({ realm: "main", id: "s1" }, NOW_SECONDS, LATER_SECONDS),
      () => writes.updateSession("s1", { status: "active" }, NOW_SECONDS),
    ],
    [
      "a user",
      () => writes.deleteUser("main", "7", NOW_SECONDS, LATER_SECONDS),
      () => writes.updateUser("main", "7", { status: "active" }, NOW_SECONDS),
    ],
    [
      "a rotated key",
      () => writes.rotateCredential("k1", aCredential("k3"), LATER_SECONDS),
      () => writes.rotateCredential("k1", aCredential("k4"), LATER_SECONDS),
    ],
  ])("cannot bring back %s", async (_what, end, bringBack) => {
    await end();
    expect(await linesOf(bringBack)).toEqual({ feed: 0, log: 0 });
  });
});

describe("deleting a user", () => {
  beforeEach(async () => {
    await writes.setPassword(
      "main",
      "7",
      { scheme: "scrypt", hash: "h" },
      { exceptSessionId: "s1" },
      NOW_SECONDS,
      LATER_SECONDS,
    );
    await addUser("8");
    await writes.createCredential(aCredential("k8", { userId: "8" }));
    await writes.deleteUser("main", "7", NOW_SECONDS, LATER_SECONDS);
  });

  it("ends everything of theirs and of nobody else", async () => {
    expect(await rows("SELECT id, status FROM credentials ORDER BY id")).toEqual([
      { id: "k1", status: "deleted" },
      { id: "k8", status: "active" },
    ]);
    expect(await rows("SELECT status FROM sessions")).toEqual([{ status: "deleted" }]);
    expect(await rows("SELECT * FROM passwords")).toEqual([]);
    expect(
      await rows("SELECT kind, value, issued_before_seconds, expires_at_seconds FROM revocations"),
    ).toEqual([
      { kind: "subject", value: "7", issued_before_seconds: null, expires_at_seconds: LATER_SECONDS },
    ]);
  });

  it("frees the name and keeps nothing personal, and the id stays taken", async () => {
    expect(
      await rows(
        "SELECT username, email, name, username_key, email_key, attributes FROM users WHERE id = '7'",
      ),
    ).toEqual([
      { username: null, email: null, name: null, username_key: null, email_key: null, attributes: "{}" },
    ]);
    await writes.createUser({
      realm: "main",
      id: "9",
      username: "alice",
      createdAtSeconds: 1,
      updatedAtSeconds: 1,
    });
    await expect(
      writes.createUser({ realm: "main", id: "7", createdAtSeconds: 1, updatedAtSeconds: 1 }),
    ).rejects.toThrow(/UNIQUE/);
  });
});

describe("setting a password", () => {
  it("ends the user's other sessions and denies their tokens, and keeps the one it was set from", async () => {
    await writes.createSession(aSession("s2"));
    await writes.setPassword(
      "main",
      "7",
      { scheme: "scrypt", hash: "h" },
      { exceptSessionId: "s2" },
      NOW_SECONDS,
      LATER_SECONDS,
    );
    expect(await rows("SELECT id, status FROM sessions ORDER BY id")).toEqual([
      { id: "s1", status: "deleted" },
      { id: "s2", status: "active" },
    ]);
    expect(await rows("SELECT kind, value FROM revocations")).toEqual([{ kind: "session", value: "s1" }]);
  });
});

describe("rotating", () => {
  it("ends the old one with the grace, or before where it ended before", async () => {
    await writes.rotateCredential("k1", aCredential("k3"), NOW_SECONDS + 60);
    await writes.createCredential(aCredential("k4", { expiresAtSeconds: NOW_SECONDS + 5 }));
    await writes.rotateCredential("k4", aCredential("k5"), NOW_SECONDS + 60);
    expect(
      await rows("SELECT id, expires_at_seconds AS ends, replaced_by AS next FROM credentials ORDER BY id"),
    ).toEqual([
      { id: "k1", ends: NOW_SECONDS + 60, next: "k3" },
      { id: "k3", ends: null, next: null },
      { id: "k4", ends: NOW_SECONDS + 5, next: "k5" },
      { id: "k5", ends: null, next: null },
    ]);
  });
});

describe("what is issued after 'everything issued until T' was revoked in the same second", () => {
  it("is dated after T, key and session alike", async () => {
    await writes.revoke(
      { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: NOW_SECONDS },
      NOW_SECONDS,
    );
    await writes.createCredential(aCredential("k2"));
    await writes.rotateCredential("k2", aCredential("k3"), LATER_SECONDS);
    await writes.createSession(aSession("s2"));
    expect(
      await rows(`SELECT id, created_at_seconds AS at FROM credentials WHERE id <> 'k1'
        UNION ALL SELECT id, created_at_seconds FROM sessions WHERE id = 's2'`),
    ).toEqual([
      { id: "k2", at: NOW_SECONDS + 1 },
      { id: "k3", at: NOW_SECONDS + 1 },
      { id: "s2", at: NOW_SECONDS + 1 },
    ]);
  });
});
