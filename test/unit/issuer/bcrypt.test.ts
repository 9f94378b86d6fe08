// bcrypt against the implementation that everybody uses, for whatever passwords; published digests are in legacy-passwords.
import { genSaltSync, hashSync } from "bcryptjs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bcrypt, piWords } from "../../../src/issuer/bcrypt.ts";

const own = (password: string, salt: string) =>
  salt + bcrypt(password, Number(salt.slice(4, 6)), salt.slice(-22));

describe("bcrypt", () => {
  it("begins with the fraction of π, as Blowfish's tables are printed", () => {
    const words = [...piWords()].map((word) => word.toString(16).padStart(8, "0"));
    expect(words).toHaveLength(18 + 4 * 256);
    expect(words.slice(0, 3)).toEqual(["243f6a88", "85a308d3", "13198a2e"]);
    expect(words.slice(16, 20)).toEqual(["9216d5d9", "8979fb1b", "d1310ba6", "98dfb5ac"]);
    expect(words.slice(-2)).toEqual(["578fdfe3", "3ac372e6"]);
  });

  it("makes the digests that bcryptjs makes", { timeout: 120_000 }, () => {
    const password = fc.oneof(
      fc.string({ unit: "binary-ascii", maxLength: 80 }),
      fc.string({ unit: "grapheme", maxLength: 40 }),
      fc.string({ unit: "binary", maxLength: 40 }),
    );
    fc.assert(
      fc.property(
        password.filter((text) => text.isWellFormed() && !text.includes("\0")),
        (text) => {
          const salt = genSaltSync(4);
          expect(own(text, salt)).toBe(hashSync(text, salt));
        },
      ),
      { numRuns: 100 },
    );
  });

  it.each([
    ["nothing", ""],
    ["71 bytes", "a".repeat(71)],
    ["72 bytes", "a".repeat(72)],
    ["73 bytes, of which it reads 72", `${"a".repeat(72)}b`],
    ["a character that is cut in two at 72 bytes", `${"a".repeat(71)}é`],
    ["1,024 bytes", "é".repeat(512)],
    ["bytes beyond 127 (the bug of $2x$)", "\u00a3\u00ff\u00a3 öäü"],
  ])("of %s, too, at other costs", (_what, password) => {
    for (const cost of [4, 5, 6]) {
      const salt = genSaltSync(cost);
      expect(own(password, salt)).toBe(hashSync(password, salt));
    }
  });

  it("leaves its tables as they were: the second digest is as good as the first", () => {
    const salt = genSaltSync(4);
    expect(own("one", salt)).toBe(own("one", salt));
    expect(own("two", salt)).not.toBe(own("one", salt));
  });
});
