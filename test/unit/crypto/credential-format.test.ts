import { describe, expect, it } from "vitest";
import {
  hasTaggedShape,
  hasValidSessionTag,
  hasValidTag,
  mintApiKey,
  mintPat,
  mintSessionCookie,
  randomBase62,
} from "../../../src/crypto/credential-format.ts";

const secret = (id: string) => ({ id, value: crypto.getRandomValues(new Uint8Array(32)) });
const FIRST = [secret("a")];

describe("requirement 15: keys and PATs hold at least 128 random bits", () => {
  it("mints API keys as the prefix and 48 base62 characters", async () => {
    expect(await mintApiKey("sk-", FIRST)).toMatch(/^sk-[0-9A-Za-z]{48}$/);
    expect(await mintApiKey("nk_", FIRST)).toMatch(/^nk_[0-9A-Za-z]{48}$/);
  });

  it("mints PATs as 32 base62 characters", async () => {
    expect(await mintPat(FIRST)).toMatch(/^[0-9A-Za-z]{32}$/);
  });

  it("mints session cookies as the id, a dot and 40 base62 characters, which are the secret", async () => {
    const { value, secret } = await mintSessionCookie("ses_1", FIRST);
    expect(secret).toMatch(/^[0-9A-Za-z]{40}$/);
    expect(value).toBe(`ses_1.${secret}`);
    expect((await mintSessionCookie("ses_1", FIRST)).secret.slice(0, 32)).not.toBe(secret.slice(0, 32));
  });

  it.each([0, 1, 12, 64, 65, 1_000])("draws %d random characters", (length) => {
    expect(randomBase62(length)).toMatch(new RegExp(`^[0-9A-Za-z]{${length}}$`));
  });

  it("never mints the same one twice, and uses every character at every place about equally often", async () => {
    const keys = await Promise.all(Array.from({ length: 2_000 }, () => mintApiKey("", FIRST)));
    expect(new Set(keys).size).toBe(keys.length);
    const counts = new Map<string, number>();
    for (const key of keys) {
      for (const character of key.slice(0, 40)) counts.set(character, (counts.get(character) ?? 0) + 1);
    }
    const mean = (2_000 * 40) / 62;
    expect(counts.size).toBe(62);
    // Six standard deviations; bytes taken modulo 62 would put the first eight characters 20 % above the others.
    for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(6 * Math.sqrt(mean));
  });

  it("gives the first eight characters of the alphabet no advantage (modulo bias)", async () => {
    const mean = (2_000 * 40) / 62;
    let low = 0;
    for (let i = 0; i < 2_000; i++) {
      for (const character of (await mintApiKey("", FIRST)).slice(0, 40)) if (character < "8") low += 1;
    }
    expect(low / 8 / mean).toBeGreaterThan(0.95);
    expect(low / 8 / mean).toBeLessThan(1.05);
  });

  it("refuses to mint without a tag secret", async () => {
    await expect(mintApiKey("sk-", [])).rejects.toThrow("no tag secret");
    await expect(mintSessionCookie("s1", [])).rejects.toThrow("no tag secret");
  });
});

describe("requirement 15: a tag proves that the gateway minted the characters before it", () => {
  it("accepts what it minted", async () => {
    expect(await hasValidTag("api_key", await mintApiKey("", FIRST), FIRST)).toBe(true);
    expect(await hasValidTag("pat", await mintPat(FIRST), FIRST)).toBe(true);
  });

  it("accepts tags under every secret of the list, so that secrets can be rotated", async () => {
    const key = await mintApiKey("", FIRST);
    expect(await hasValidTag("api_key", key, [secret("new"), ...FIRST])).toBe(true);
    expect(await hasValidTag("api_key", key, [secret("new")])).toBe(false);
    expect(await hasValidTag("api_key", key, [])).toBe(false);
  });

  it("refuses every change of a single character", async () => {
    const key = await mintPat(FIRST);
    for (let i = 0; i < key.length; i++) {
      const changed = key.slice(0, i) + (key[i] === "A" ? "B" : "A") + key.slice(i + 1);
      expect(await hasValidTag("pat", changed, FIRST), `character ${i}`).toBe(false);
    }
  });

  it("refuses every truncation and every extension", async () => {
    const key = await mintApiKey("", FIRST);
    for (let length = 0; length < key.length; length++) {
      expect(await hasValidTag("api_key", key.slice(0, length), FIRST)).toBe(false);
    }
    expect(await hasValidTag("api_key", `${key}A`, FIRST)).toBe(false);
    expect(await hasValidTag("api_key", `A${key}`, FIRST)).toBe(false);
  });

  it("refuses other alphabets, also of the right length", async () => {
    const key = await mintPat(FIRST);
    for (const bad of ["-", "_", " ", "é", "\0"]) {
      expect(hasTaggedShape("pat", bad + key.slice(1))).toBe(false);
    }
  });

  // Made with another implementation (OpenSSL through node:crypto). Should these change, every key in use turns invalid.
  it.each([
    ["api_key", 40, "G1reluVX"],
    ["pat", 24, "QEvDIsbH"],
  ] as const)("makes the tag of %s as every earlier version did", async (kind, length, tag) => {
    const fixed = [{ id: "a", value: new TextEncoder().encode("a".repeat(32)) }];
    expect(await hasValidTag(kind, "A".repeat(length) + tag, fixed)).toBe(true);
    expect(await hasValidTag(kind, "A".repeat(length) + tag.toLowerCase(), fixed)).toBe(false);
  });

  it("does not let the tag of one kind serve for the other", async () => {
    const pat = await mintPat(FIRST);
    const random = pat.slice(0, 24);
    const key = await mintApiKey("", FIRST);
    expect(await hasValidTag("pat", random + key.slice(-8), FIRST)).toBe(false);
    expect(await hasValidTag("api_key", pat, FIRST)).toBe(false);
    expect(await hasValidTag("pat", key, FIRST)).toBe(false);
  });
});

describe("requirement 15: the tag of a session cookie covers its id as well", () => {
  it("accepts what it minted, under every secret of the list", async () => {
    const { value } = await mintSessionCookie("ses_1", FIRST);
    expect(await hasValidSessionTag(value, FIRST)).toBe(true);
    expect(await hasValidSessionTag(value, [secret("new"), ...FIRST])).toBe(true);
    expect(await hasValidSessionTag(value, [secret("new")])).toBe(false);
    expect(await hasValidSessionTag(value, [])).toBe(false);
  });

  it("refuses the secret under another id, without an id, and by itself", async () => {
    const { value, secret } = await mintSessionCookie("ses_1", FIRST);
    for (const changed of [`ses_2.${secret}`, `ses_1..${secret}`, `s.${value}`, `.${secret}`, secret, ""]) {
      expect(await hasValidSessionTag(changed, FIRST), changed).toBe(false);
    }
  });

  it("does not let a tag of keys or PATs serve, nor this one for them", async () => {
    const key = await mintApiKey("", FIRST);
    const pat = await mintPat(FIRST);
    const { secret } = await mintSessionCookie("s", FIRST);
    expect(await hasValidSessionTag(`s.${key.slice(-40)}`, FIRST)).toBe(false);
    expect(await hasValidSessionTag(`s.${"0".repeat(8)}${pat}`, FIRST)).toBe(false);
    expect(await hasValidTag("api_key", "0".repeat(8) + secret, FIRST)).toBe(false);
    expect(await hasValidTag("pat", secret.slice(-32), FIRST)).toBe(false);
  });

  // Made with another implementation (OpenSSL through node:crypto). Should it change, everybody is signed out.
  it("makes the tag as every earlier version did", async () => {
    const fixed = [{ id: "a", value: new TextEncoder().encode("a".repeat(32)) }];
    expect(await hasValidSessionTag(`ses_1.${"A".repeat(32)}sbbRteI2`, fixed)).toBe(true);
  });
});
