// What attempts are counted by, and how slow the rules make them.
import { describe, expect, it } from "vitest";
import { ACCOUNT_RULE, ADDRESS_RULE, throttleKeys } from "../../../src/issuer/throttle-rules.ts";

const NOW = 1_800_000_000;
const keysOf = (realm: string, subject: string, address: string | null, nowSeconds = NOW) =>
  throttleKeys(realm, subject, { address, isKnown: false }, nowSeconds).map(({ key }) => key);

describe("requirement 18: the keys of the throttle", () => {
  it("are the account's first, then the address's", () => {
    expect(throttleKeys("main", "7", { address: "192.0.2.1", isKnown: false }, NOW)).toEqual([
      { key: "account:main/7", rule: ACCOUNT_RULE },
      { key: "address:3000000/192.0.2.1", rule: ADDRESS_RULE },
    ]);
    expect(keysOf("main", "7", null)).toEqual(["account:main/7"]);
  });

  it.each([
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true],
    ["2001:db8:1:2::1", "2001:0DB8:0001:0002:0:0:0:9", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["192.0.2.1", "::ffff:192.0.2.1", true],
    ["192.0.2.1", "192.0.2.2", false],
  ])("take %s and %s for one caller: %s", (one, other, isSame) => {
    expect(keysOf("main", "7", one)[1] === keysOf("main", "7", other)[1]).toBe(isSame);
  });

  it("count an address anew every ten minutes, and an account never", () => {
    const [account, address] = keysOf("main", "7", "192.0.2.1");
    expect(keysOf("main", "7", "192.0.2.1", NOW + 599)).toEqual([account, address]);
    const [later, next] = keysOf("main", "7", "192.0.2.1", NOW + 600);
    expect(later).toBe(account);
    expect(next).not.toBe(address);
  });

  it("count an account apart where its user signed in from before", () => {
    const keys = (address: string, isKnown: boolean) =>
      throttleKeys("main", "7", { address, isKnown }, NOW).map(({ key }) => key);
    const [anywhere, address] = keys("192.0.2.1", false);
    const [there, sameAddress] = keys("192.0.2.1", true);
    expect(there).not.toBe(anywhere);
    expect(sameAddress).toBe(address);
    expect(keys("192.0.2.2", true)[0]).not.toBe(there);
    expect(keys("192.0.2.2", false)[0]).toBe(anywhere);
  });

  it("tell realms apart, and accounts from addresses", () => {
    const all = [
      ...keysOf("a", "b", "192.0.2.1"),
      ...keysOf("b", "b", null),
      ...keysOf("a", "192.0.2.1", null),
    ];
    expect(new Set(all).size).toBe(4);
    expect(keysOf("a", "7", "192.0.2.1")[1]).toBe(keysOf("b", "8", "192.0.2.1")[1]);
  });
});

describe("the rules", () => {
  const delaysOf = ({ freeAttempts, firstDelaySeconds, maxDelaySeconds }: typeof ACCOUNT_RULE) =>
    Array.from({ length: 99 }, (_, i) =>
      i < freeAttempts ? 0 : Math.min(maxDelaySeconds, firstDelaySeconds * 2 ** (i - freeAttempts)),
    );

  it("let 100 failures in a row take longer than a day for one account (NIST SP 800-63B-4 §3.2.2)", () => {
    const total = delaysOf(ACCOUNT_RULE).reduce((sum, delay) => sum + delay, 0);
    expect(total).toBeGreaterThan(86_400);
  });

  it("make it no shortcut to wait until all is forgotten: a day brings fewer tries than going on does", () => {
    const perDay = 86_400 / ACCOUNT_RULE.maxDelaySeconds;
    const triesUntilSlowest = delaysOf(ACCOUNT_RULE).indexOf(ACCOUNT_RULE.maxDelaySeconds);
    expect(ACCOUNT_RULE.forgetAfterSeconds).toBeGreaterThanOrEqual(86_400);
    expect(triesUntilSlowest + 1).toBeLessThan(perDay);
  });

  it("never keep anybody out for longer than 20 minutes, and forget later than the longest delay", () => {
    for (const rule of [ACCOUNT_RULE, ADDRESS_RULE]) {
      expect(rule.maxDelaySeconds).toBeLessThanOrEqual(1_200);
      expect(rule.forgetAfterSeconds).toBeGreaterThan(rule.maxDelaySeconds);
    }
  });
});
