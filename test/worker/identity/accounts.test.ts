// Whose account a name is, on a real D1.
import { beforeEach, describe, expect, it } from "vitest";
import { createAccounts } from "../../../src/store/accounts.ts";
import { addUser, DB, emptyStores, writes } from "../../support/worker/gateway.ts";

const accounts = createAccounts(DB);
const PASSWORD = { scheme: "bcrypt", hash: "$2b$10$hash" } as const;
const ALICE = { userId: "7", role: "admin", status: "active", password: PASSWORD } as const;

beforeEach(async () => {
  await emptyStores();
  await writes.createUser(
    {
      realm: "main",
      id: "7",
      username: "Alice",
      email: "Alice@Example.com",
      role: "admin",
      createdAtSeconds: 1,
      updatedAtSeconds: 1,
    },
    PASSWORD,
  );
});

describe("requirement 18: one account, however its name is spelt", () => {
  it.each([
    "alice",
    "Alice",
    "ALICE",
    "  alice\t",
    "ａｌｉｃｅ", // full-width
    "ⓐlice",
    "alice@example.com",
    "ALICE@EXAMPLE.COM ",
    "alice＠example.com", // a full-width @ is one
  ])("%j", async (name) => {
    expect(await accounts.find("main", name)).toEqual(ALICE);
  });

  it.each([
    "",
    " ",
    "7",
    "alic",
    "alice2",
    "al ice",
    "alice@",
    "@example.com",
    "alice@example.co",
    "а\u200blice",
    "%",
    "' OR 1=1 --",
    "x".repeat(5_000),
  ])("nobody: %j", async (name) => {
    expect(await accounts.find("main", name)).toBeNull();
  });

  it("an e-mail address in the username's place finds nobody else, nor the other way round", async () => {
    await DB.prepare(
      "INSERT INTO users (realm, id, username, username_key, email, email_key, created_at_seconds, updated_at_seconds) VALUES ('main', '8', 'b@b', 'b@b', 'bob', 'bob', 1, 1)",
    ).run();
    expect(await accounts.find("main", "b@b")).toBeNull();
    expect(await accounts.find("main", "bob")).toBeNull();
  });
});

describe("an account", () => {
  it("is its realm's alone", async () => {
    await addUser("7", { realm: "other", username: "alice", role: "user" });
    expect(await accounts.find("other", "alice")).toEqual({ ...ALICE, role: "user", password: null });
    expect(await accounts.byId("other", "7")).toEqual({ ...ALICE, role: "user", password: null });
    expect(await accounts.find("main", "alice")).toEqual(ALICE);
    expect(await accounts.find("nowhere", "alice")).toBeNull();
    expect(await accounts.byId("nowhere", "7")).toBeNull();
  });

  it("is found by its id, in that spelling only", async () => {
    await addUser("Bob");
    expect(await accounts.byId("main", "7")).toEqual(ALICE);
    expect(await accounts.byId("main", "Bob")).toEqual({
      userId: "Bob",
      role: "user",
      status: "active",
      password: null,
    });
    for (const id of ["bob", "BOB", "alice", "", "07"]) expect(await accounts.byId("main", id)).toBeNull();
  });

  it.each(["disabled", "pending"] as const)("that is %s says so", async (status) => {
    await writes.updateUser("main", "7", { status }, 2);
    expect(await accounts.find("main", "alice")).toEqual({ ...ALICE, status });
    expect(await accounts.byId("main", "7")).toEqual({ ...ALICE, status });
  });

  it("that was deleted is nobody's, and its name is free for another", async () => {
    await writes.deleteUser("main", "7", 2, 3);
    for (const name of ["alice", "alice@example.com"]) expect(await accounts.find("main", name)).toBeNull();
    expect(await accounts.byId("main", "7")).toBeNull();
    await addUser("9", { username: "ALICE" });
    expect(await accounts.find("main", "alice")).toMatchObject({ userId: "9", password: null });
  });

  it("is found through an index, whatever the realm holds", async () => {
    for (const column of ["username_key", "email_key"]) {
      const { results } = await DB.prepare(
        `EXPLAIN QUERY PLAN SELECT id FROM users WHERE users.realm = ?1 AND users.${column} = ?2 AND status <> 'deleted'`,
      )
        .bind("main", "alice")
        .all<{ detail: string }>();
      expect(results.map(({ detail }) => detail).join()).toMatch(
        /SEARCH users USING (COVERING )?INDEX users_(username|email)/,
      );
    }
  });
});

describe("the blocked passwords", () => {
  it("are the 3,000 used most of at least 8 characters, and more long ones, in the form they are compared in", async () => {
    const { results } = await DB.prepare("SELECT password FROM blocked_passwords").all<{
      password: string;
    }>();
    expect(results.length).toBeGreaterThanOrEqual(3_000);
    for (const { password } of results) {
      expect(password).toMatch(/^[!-~]{8,}$/);
      expect(password).toBe(password.normalize("NFKC").toLowerCase());
    }
  });

  it.each([
    ["password", true],
    ["PassWord", true],
    ["ｐａｓｓｗｏｒｄ", true],
    ["passwordpassword", true],
    ["password ", false],
    ["password%", false],
    ["", false],
    ["' OR 1=1 --", false],
  ])("%j: %s", async (password, isBlocked) => {
    expect(await accounts.isPasswordBlocked(password)).toBe(isBlocked);
  });
});
