// Which passwords may be set. The blocked list is the deployed one.
import { describe, expect, it } from "vitest";
import { type PasswordContext, passwordErrors } from "../../../src/issuer/password-policy.ts";
import { createAccounts } from "../../../src/store/accounts.ts";
import { DB } from "../../support/worker/gateway.ts";

const accounts = createAccounts(DB);
const CONTEXT: PasswordContext = {
  minLength: 8,
  words: ["alice.smith", "asmith@mail.example.com", "wonderland", "x"],
  accounts,
};

async function messageFor(password: string, context: Partial<PasswordContext> = {}): Promise<string | null> {
  const errors = await passwordErrors(password, "new_password", { ...CONTEXT, ...context });
  expect(errors.length).toBeLessThan(2);
  for (const { field, message } of errors) {
    expect(field).toBe("new_password");
    if (password.length > 3) expect(message).not.toContain(password);
  }
  return errors[0]?.message ?? null;
}

describe("length (NIST SP 800-63B-4 §3.1.1.2)", () => {
  it.each([
    ["one below the minimum", "kvz wmq", "at least 8 characters"],
    ["the minimum", "kvz wmqo", null],
    ["seven emoji, each of two code units", "😀🦊🌵🍩🎈🧭🪁", "at least 8 characters"],
    ["eight emoji", "😀🦊🌵🍩🎈🧭🪁🫖", null],
    [
      "seven characters, decomposed into twelve",
      "a\u0301e\u0302o\u0308u\u0300i\u0303zk",
      "at least 8 characters",
    ],
    ["nothing", "", "at least 8 characters"],
    ["blanks and characters of any script", "  добрый 日本 ", null],
    ["1,024 bytes", "kvz wmqo".repeat(128), null],
    ["1,025 bytes", `${"kvz wmqo".repeat(128)}x`, "at most 1024 bytes"],
    ["1,026 bytes in 513 characters", "é".repeat(513), "at most 1024 bytes"],
    ["half a surrogate pair", "kvz wmqo\udc00", "must be text"],
    ["a NUL", "kvz\0\0\0\0\0\0\0\0", "NUL"],
  ])("%s", async (_name, password, message) => {
    const answer = await messageFor(password);
    if (message === null) expect(answer).toBeNull();
    else expect(answer).toContain(message);
  });

  it("is counted before the list is asked, and nothing is asked about what is too long", async () => {
    let asked = 0;
    const counting = {
      async isPasswordBlocked() {
        asked += 1;
        return true;
      },
    };
    for (const password of ["short", "a".repeat(1_025), "12345678"]) {
      expect(await messageFor(password, { accounts: counting })).not.toBeNull();
    }
    expect(asked).toBe(0);
  });
});

describe("no rules of composition", () => {
  it.each(["kvzwmqopr", "KVZWMQOPR", "8306195274", "        k      ", "correct horse battery staple"])(
    "%j is taken",
    async (password) => {
      expect(await messageFor(password)).toBeNull();
    },
  );
});

describe("passwords that are used most", () => {
  it.each([
    "trustno1",
    "TrustNo1",
    "TRUSTNO1",
    "ｔｒｕｓｔｎｏ１", // full-width forms
    "1qaz2wsx3edc4rfv",
    "iloveyou",
    "trustno1trustno1",
  ])("%s is refused", async (password) => {
    expect(await messageFor(password)).toContain("used most");
  });

  it.each(["trustno1 no more", "my iloveyou", "trustno1trustno2"])(
    "%s is taken: only the whole of it counts",
    async (password) => {
      expect(await messageFor(password)).toBeNull();
    },
  );
});

describe("patterns", () => {
  it.each([
    "aaaaaaaa",
    "abababab",
    "abcabcabcab",
    "12345678901234567890",
    "98765432",
    "abcdefghijklmnop",
    "QWERTYUIOP123456",
    "aaaa1111bbbb",
    "1234abcdASDF",
    "🦊🦊🦊🦊🦊🦊🦊🦊",
    "🦊🌵🦊🌵🦊🌵🦊🌵",
  ])("%s is refused", async (password) => {
    expect(await messageFor(password)).toMatch(/repeat or count|used most/);
  });

  it.each(["abcdxkefgh", "1234 is 5678", "aabbccddeeff", "qwertz-asdf-k"])(
    "%s is taken",
    async (password) => {
      expect(await messageFor(password)).toBeNull();
    },
  );
});

describe("what stands in the account", () => {
  it.each([
    ["the username", "alice.smith"],
    ["in another case", "Alice.SMITH"],
    ["a part of it, with something behind", "smith123!"],
    ["with a year and a sign", "alicesmith2026!"],
    ["with a date", "alice20261122"],
    ["the e-mail address", "asmith@mail.example.com"],
    ["its local part, twice", "asmithasmith"],
    ["the realm", "wonderland"],
    ["the realm with a pattern behind", "wonderlandabcdefghijkl"],
    ["the gateway's own name", "Postern12345"],
    ["with four letters behind", "wonderlandkvzw"],
    ["full-width", "ｗｏｎｄｅｒｌａｎｄ"],
  ])("%s is refused", async (_name, password) => {
    expect(await messageFor(password)).toContain("must not be made of the username");
  });

  it.each([
    ["a word of the account among others", "alice meets a rabbit"],
    ["a word with five letters more", "wonderlandkvzwm"],
    ["words of one or two characters", "xkxvxzxwx"],
  ])("%s is taken", async (_name, password) => {
    expect(await messageFor(password)).toBeNull();
  });

  it("empty words refuse nothing", async () => {
    expect(await messageFor("kvz wmqo", { words: ["", "@", " ", "\0"] })).toBeNull();
  });
});
