import { describe, expect, it } from "vitest";
import { isSameSecret } from "../../../src/crypto/constant-time.ts";
import { storedDigests, storedDigestsOfHash } from "../../../src/crypto/digest.ts";

const pepper = (id: string) => ({ id, value: crypto.getRandomValues(new Uint8Array(32)) });

describe("requirement 15: only a digest is stored", () => {
  // Made with another implementation (OpenSSL through node:crypto).
  const SECRET = "sk-secret é";
  const SHA256 = "658b9495a9217763d574b530d404d53f8a2db2d53b78cbacf63ca26f9eb67319";
  const PEPPERS = ["a", "b"].map((id) => ({ id, value: new TextEncoder().encode(id.repeat(32)) }));
  const DIGESTS = [
    "f4b266824ad5b3cbf84eb3281b0eed5fbb6c8e9df955fe4c937992e5577eb9b5",
    "c583743cb35980bfdc84e70664746db0871ec449580c4ecd295057f726d0dd99",
  ];

  it("is HMAC-SHA-256(pepper, SHA-256(secret)) in lower-case hex, under each pepper in order", async () => {
    expect(await storedDigests(SECRET, PEPPERS)).toEqual(DIGESTS);
    expect(await storedDigests(SECRET, PEPPERS)).toEqual(DIGESTS);
    expect(await storedDigests(SECRET, PEPPERS.toReversed())).toEqual(DIGESTS.toReversed());
  });

  it("comes out the same from the SHA-256 alone", async () => {
    const sha256 = new Uint8Array((SHA256.match(/../g) ?? []).map((hex) => Number.parseInt(hex, 16)));
    expect(await storedDigestsOfHash(sha256, PEPPERS)).toEqual(DIGESTS);
  });

  it("differs for secrets that differ in one character, and for the same secret under another pepper", async () => {
    const peppers = [pepper("a")];
    const [digest] = await storedDigests("sk-secret", peppers);
    expect(await storedDigests("sk-secreT", peppers)).not.toEqual([digest]);
    expect(await storedDigests("sk-secret", [pepper("a")])).not.toEqual([digest]);
  });

  it("is empty without peppers", async () => {
    expect(await storedDigests("sk-secret", [])).toEqual([]);
  });
});

describe("isSameSecret", () => {
  it.each([
    ["", "", true],
    ["abc", "abc", true],
    ["abc", "abd", false],
    ["abc", "bbc", false],
    ["abc", "ab", false],
    ["", "a", false],
    ["\u0141", "A", false],
  ])("%j and %j: %s", (a, b, expected) => {
    expect(isSameSecret(a, b)).toBe(expected);
  });
});
