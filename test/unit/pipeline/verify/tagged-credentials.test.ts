// What of an API key or PAT costs a look-up, and what does not.
import { describe, expect, it, vi } from "vitest";
import { hasValidTag, mintApiKey, mintPat } from "../../../../src/crypto/credential-format.ts";
import { storedDigests } from "../../../../src/crypto/digest.ts";
import { createApiKeyVerifier } from "../../../../src/pipeline/verify/api-key.ts";
import { createPatVerifier } from "../../../../src/pipeline/verify/pat.ts";
import { TEST_REALM } from "../../../support/worker/policy.ts";
import {
  aCredential,
  aMatch,
  aRecord,
  aRequestContext,
  digestOf,
  fakeRecords,
  PEPPERS,
  rejected,
  SECRETS,
  TAG_SECRETS,
} from "./fixtures.ts";

const IMPORTING = { realm: { ...TEST_REALM, untaggedKeys: true } } as const;

async function ask(value: string, site = {}, kind: "api_key" | "pat" = "api_key") {
  const credential = aRecord({ kind, digest: await digestOf(value) });
  const records = fakeRecords({ credential });
  const deps = { records, secrets: SECRETS };
  const verifier = kind === "pat" ? createPatVerifier(deps) : createApiKeyVerifier("sk-", deps);
  const verdict = await verifier(aCredential(kind, value), aMatch(site), aRequestContext());
  return { reason: rejected(verdict), demands: records.demands };
}

describe("requirement 15: what the gateway did not mint costs no look-up", () => {
  it("looks a minted key up by its digests, as fresh as the route asks", async () => {
    const key = await mintApiKey("sk-", TAG_SECRETS);
    const records = fakeRecords();
    const verifier = createApiKeyVerifier("sk-", { records, secrets: SECRETS });
    await verifier(aCredential("api_key", key), aMatch({}, { freshnessSeconds: 0 }), aRequestContext());
    expect(records.demands).toEqual([
      {
        lookup: { by: "digest", kind: "api_key", realm: "test", digests: await storedDigests(key, PEPPERS) },
        bearer: null,
        freshnessSeconds: 0,
      },
    ]);
  });

  it.each([
    ["another random part", `sk-${"A".repeat(48)}`, "tag"],
    ["47 characters", `sk-${"A".repeat(47)}`, "tag"],
    ["49 characters", `sk-${"A".repeat(49)}`, "tag"],
    ["48 characters of which one is not base62", `sk-${"A".repeat(47)}-`, "tag"],
    ["no prefix", "A".repeat(48), "malformed"],
    ["another prefix", `pk-${"A".repeat(48)}`, "malformed"],
    ["a prefix in other case", `SK-${"A".repeat(48)}`, "malformed"],
    ["nothing behind the prefix", "sk-", "malformed"],
    ["a blank inside", `sk-${"A".repeat(20)} ${"A".repeat(27)}`, "malformed"],
    ["two keys", `sk-${"A".repeat(48)},sk-${"A".repeat(48)}`, "malformed"],
    ["a character beyond ASCII", `sk-é${"A".repeat(47)}`, "malformed"],
    ["a line feed behind", `sk-${"A".repeat(48)}\n`, "malformed"],
    ["an endless one", `sk-${"A".repeat(100_000)}`, "malformed"],
  ])("refuses %s", async (_name, value, expected) => {
    const { reason, demands } = await ask(value);
    expect(reason).toBe(expected);
    expect(demands).toEqual([]);
  });

  it("refuses every truncation and extension of a minted key", async () => {
    const key = await mintApiKey("sk-", TAG_SECRETS);
    for (const value of [key.slice(0, -1), key.slice(0, 43), `${key}A`, key.replace("sk-", "sk-A")]) {
      expect((await ask(value)).demands).toEqual([]);
    }
  });

  it("refuses a PAT's body behind the key prefix, and a key's body as PAT", async () => {
    const pat = await mintPat(TAG_SECRETS);
    const key = await mintApiKey("", TAG_SECRETS);
    expect((await ask(`sk-${pat}`)).reason).toBe("tag");
    expect((await ask(key, {}, "pat")).reason).toBe("tag");
    expect((await ask(pat, {}, "pat")).reason).toBe("accepted");
    expect(await hasValidTag("api_key", key, TAG_SECRETS)).toBe(true);
  });
});

describe("a realm of imported keys (untaggedKeys)", () => {
  it.each([
    ["a key without tag", `sk-${"A".repeat(48)}`],
    ["a short key", "sk-a"],
    ["the longest key", `sk-${"a".repeat(256)}`],
    ["all characters of a token (RFC 6750 §2.1)", "sk-aZ09-._~+/="],
  ])("pays a look-up for %s", async (_name, value) => {
    const { reason, demands } = await ask(value, IMPORTING);
    expect(reason).toBe("accepted");
    expect(demands).toHaveLength(1);
  });

  it.each(["sk-", `sk-${"a".repeat(257)}`, "sk-a b", "sk-a,b", 'sk-"', "sk-a\0", "other"])(
    "still pays none for what is no key at all: %j",
    async (value) => {
      const { reason, demands } = await ask(value, IMPORTING);
      expect(reason).toBe("malformed");
      expect(demands).toEqual([]);
    },
  );

  it("does not open other realms to keys that it remembers", async () => {
    const value = `sk-${"A".repeat(48)}`;
    const credential = aRecord({ digest: await digestOf(value) });
    const records = fakeRecords({ credential });
    const verifier = createApiKeyVerifier("sk-", { records, secrets: SECRETS });
    const presented = aCredential("api_key", value);
    expect(rejected(await verifier(presented, aMatch(IMPORTING), aRequestContext()))).toBe("accepted");
    expect(rejected(await verifier(presented, aMatch(), aRequestContext()))).toBe("tag");
    expect(records.demands).toHaveLength(1);
  });
});

describe("what was computed from a secret is remembered", () => {
  const sign = vi.spyOn(crypto.subtle, "sign");
  const digest = vi.spyOn(crypto.subtle, "digest");
  const cryptoCalls = () => sign.mock.calls.length + digest.mock.calls.length;

  it.each(["api_key", "pat"] as const)(
    "so that a warm %s computes nothing, and is decided anew",
    async (kind) => {
      const value = kind === "pat" ? await mintPat(TAG_SECRETS) : await mintApiKey("sk-", TAG_SECRETS);
      const record = aRecord({ kind, digest: await digestOf(value) });
      const knowledge = { credential: record, user: null, isRevoked: false };
      const answers = [knowledge, knowledge, { ...knowledge, isRevoked: true }];
      const deps = { records: { know: async () => answers.shift() ?? knowledge }, secrets: SECRETS };
      const verifier = kind === "pat" ? createPatVerifier(deps) : createApiKeyVerifier("sk-", deps);
      const once = () => verifier(aCredential(kind, value), aMatch(), aRequestContext());
      const before = cryptoCalls();
      expect(rejected(await once())).toBe("accepted");
      const cold = cryptoCalls();
      expect(cold).toBe(before + 3); // tag, SHA-256, HMAC
      expect(rejected(await once())).toBe("accepted");
      expect(rejected(await once())).toBe("revoked");
      expect(cryptoCalls()).toBe(cold);
    },
  );

  it("but not of secrets that no record has, so that guesses push nothing out", async () => {
    const value = await mintApiKey("sk-", TAG_SECRETS);
    const verifier = createApiKeyVerifier("sk-", { records: fakeRecords(), secrets: SECRETS });
    const once = () => verifier(aCredential("api_key", value), aMatch(), aRequestContext());
    await once();
    const before = cryptoCalls();
    await once();
    expect(cryptoCalls()).toBe(before + 3);
  });
});
