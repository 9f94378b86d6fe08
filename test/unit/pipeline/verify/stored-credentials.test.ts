// What holds for API keys, PATs and sessions alike.
import { describe, expect, it } from "vitest";
import type { Site } from "../../../../src/config/types.ts";
import { mintApiKey, mintPat, mintSessionCookie } from "../../../../src/crypto/credential-format.ts";
import { createApiKeyVerifier } from "../../../../src/pipeline/verify/api-key.ts";
import { createPatVerifier } from "../../../../src/pipeline/verify/pat.ts";
import { createSessionVerifier } from "../../../../src/pipeline/verify/session.ts";
import { Problem } from "../../../../src/problem.ts";
import type { CredentialRecord, Knowledge, Records } from "../../../../src/records/types.ts";
import type { CredentialKind } from "../../../../src/types.ts";
import { someRules } from "../../../support/worker/policy.ts";
import {
  aCredential,
  accepted,
  aMatch,
  aRecord,
  aRequestContext,
  aUser,
  digestOf,
  fakeRecords,
  NOW_SECONDS,
  rejected,
  SECRETS,
  TAG_SECRETS,
} from "./fixtures.ts";

type StoredKind = Exclude<CredentialKind, "jwt">;

interface Setting {
  readonly record?: Partial<CredentialRecord> | null;
  readonly knowledge?: Partial<Knowledge>;
  readonly site?: Partial<Site>;
  readonly claimedUserId?: string | null;
  readonly clientAddress?: string | null;
  readonly records?: Pick<Records, "know">;
}

async function presented(kind: StoredKind): Promise<{ value: string; digest: string; id: string }> {
  if (kind === "session") {
    const { value, secret } = await mintSessionCookie("s1", TAG_SECRETS);
    return { value, digest: await digestOf(secret), id: "s1" };
  }
  const value = kind === "pat" ? await mintPat(TAG_SECRETS) : await mintApiKey("sk-", TAG_SECRETS);
  return { value, digest: await digestOf(value), id: "key-1" };
}

async function verify(kind: StoredKind, setting: Setting = {}) {
  const { value, digest, id } = await presented(kind);
  const credential = setting.record === null ? null : aRecord({ kind, id, digest, ...setting.record });
  const records = setting.records ?? fakeRecords({ credential, ...setting.knowledge });
  const deps = { records, secrets: SECRETS };
  const verifier = {
    api_key: () => createApiKeyVerifier("sk-", deps),
    pat: () => createPatVerifier(deps),
    session: () => createSessionVerifier(deps),
  }[kind]();
  return verifier(
    aCredential(kind, value, setting.claimedUserId ?? null),
    aMatch({ users: "required", revocation: "feed", ...setting.site }),
    aRequestContext({ clientAddress: setting.clientAddress ?? null }),
  );
}

describe.each(["api_key", "pat", "session"] as const)("requirement 15: a stored %s", (kind) => {
  const other = kind === "pat" ? "api_key" : "pat";

  it("is accepted with the rights of its owner and its own scopes", async () => {
    const verdict = await verify(kind, { record: { scopes: ["a"], expiresAtSeconds: NOW_SECONDS + 1 } });
    expect(accepted(verdict)).toEqual({
      realm: "test",
      id: "7",
      name: "Alice",
      role: "user",
      permissions: ["files.read"],
      attributes: { group: "vip" },
      credential: {
        kind,
        id: kind === "session" ? "s1" : "key-1",
        scopes: ["a"],
        expiresAtSeconds: NOW_SECONDS + 1,
        sessionId: kind === "session" ? "s1" : null,
      },
    });
  });

  it.each([
    ["no record", null, "unknown"],
    ["a record of another kind", { kind: other }, "unknown"],
    ["a record of another realm", { realm: "other" }, "unknown"],
    ["a record of another secret", { digest: "0".repeat(64) }, "unknown"],
    ["a record without digest", { digest: "" }, "unknown"],
    ["a disabled credential", { status: "disabled" }, "disabled"],
    ["a deleted credential", { status: "deleted" }, "deleted"],
    ["expiry now", { expiresAtSeconds: NOW_SECONDS }, "expired"],
    ["expiry at the beginning of time", { expiresAtSeconds: 0 }, "expired"],
    ["no owner", { user: null }, "owner_missing"],
    ["a deleted owner", { user: aUser({ status: "deleted" }) }, "owner_missing"],
    ["a disabled owner", { user: aUser({ status: "disabled" }) }, "owner_inactive"],
    ["a pending owner", { user: aUser({ status: "pending" }) }, "owner_inactive"],
    ["somebody else's record as owner", { user: aUser({ id: "8" }) }, "owner_missing"],
    ["an owner of another realm", { user: aUser({ realm: "other" }) }, "owner_missing"],
  ] as const)("is rejected for %s", async (_name, record, expected) => {
    expect(rejected(await verify(kind, { record }))).toBe(expected);
  });

  it("is rejected when revoked", async () => {
    expect(rejected(await verify(kind, { knowledge: { isRevoked: true } }))).toBe("revoked");
  });

  it.each([
    ["an address in the list", "10.1.2.3", "accepted"],
    ["an address outside it", "11.1.2.3", "address"],
    ["an unknown address", null, "address"],
  ])("asks for the address where there is a list: %s", async (_name, clientAddress, expected) => {
    expect(rejected(await verify(kind, { record: { ipAllow: ["10.0.0.0/8"] }, clientAddress }))).toBe(
      expected,
    );
  });

  it("counts a role that is not on the ladder as the lowest step, and falls back to the user name", async () => {
    const user = aUser({ role: "superuser", name: null });
    expect(accepted(await verify(kind, { record: { user } }))).toMatchObject({
      role: "public",
      name: "alice",
    });
  });

  it("requirement 20: throws when nobody could be asked", async () => {
    const records = {
      know: async () => {
        throw new Problem("store_unavailable", "down");
      },
    };
    await expect(verify(kind, { records })).rejects.toMatchObject({ code: "store_unavailable" });
  });
});

describe.each(["pat", "session"] as const)("requirement 15: the user header beside a %s", (kind) => {
  const site = { credentials: someRules({ userHeader: "new-api-user" }) };
  const ask = async (claimedUserId: string | null, record: Partial<CredentialRecord> = {}) =>
    rejected(await verify(kind, { site, claimedUserId, record }));

  it.each([
    ["the owner's id", "7", "accepted"],
    ["absent", null, "user_header_missing"],
    ["somebody else's id", "8", "user_header_mismatch"],
    ["empty", "", "user_header_malformed"],
    ["with a sign", "+7", "user_header_malformed"],
    ["negative", "-7", "user_header_malformed"],
    ["with leading zeros", "007", "user_header_malformed"],
    ["with a leading zero", "07", "user_header_malformed"],
    ["with a blank before", " 7", "user_header_malformed"],
    ["with a blank behind", "7 ", "user_header_malformed"],
    ["twice", "7, 7", "user_header_malformed"],
    ["twice without blank", "7,7", "user_header_malformed"],
    ["with NUL", "7\0", "user_header_malformed"],
    ["in full-width digits", "７", "user_header_malformed"],
    ["as a fraction", "7.0", "user_header_mismatch"],
    ["in exponent form", "7e0", "user_header_mismatch"],
    ["in hexadecimal", "0x7", "user_header_mismatch"],
    ["longer than the id", "77", "user_header_mismatch"],
    ["endless", "7".repeat(10_000), "user_header_malformed"],
  ])("%s", async (_name, claimed, expected) => {
    expect(await ask(claimed)).toBe(expected);
  });

  it("compares ids that are no numbers by case", async () => {
    const record = { userId: "g3cY", user: aUser({ id: "g3cY" }) };
    expect(await ask("g3cY", record)).toBe("accepted");
    expect(await ask("g3cy", record)).toBe("user_header_mismatch");
    const zero = { userId: "0", user: aUser({ id: "0" }) };
    expect(await ask("0", zero)).toBe("accepted");
  });

  it("is not asked for where the site does without", async () => {
    expect(rejected(await verify(kind, { claimedUserId: "8" }))).toBe("accepted");
  });
});

describe("the user header beside an API key", () => {
  it("is not asked for: a key is no PAT", async () => {
    const site = { credentials: someRules({ userHeader: "new-api-user" }) };
    expect(rejected(await verify("api_key", { site }))).toBe("accepted");
  });
});
