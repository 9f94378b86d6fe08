import { describe, expect, it } from "vitest";
import { Problem } from "../../../../src/problem.ts";
import type { Records } from "../../../../src/records/types.ts";
import {
  accepted,
  anIssuer,
  aUser,
  fakeRecords,
  type JwtSetting,
  mint,
  NOW_SECONDS,
  rejected,
  verifyJwt,
} from "./fixtures.ts";

describe("requirement 12: a missing role or scope grants nothing", () => {
  const principalOf = async (claims: Record<string, unknown>, setting: JwtSetting = {}) =>
    accepted(await verifyJwt(await mint(claims), setting));

  it.each([
    ["no role", {}, "public"],
    ["a role of the ladder", { role: "admin" }, "admin"],
    ["the highest of several", { role: ["user", "admin", "public"] }, "admin"],
    ["a role that is not on the ladder", { role: "superuser" }, "public"],
    ["a role in other case", { role: "Admin" }, "public"],
    ["a role that is no string", { role: { admin: true } }, "public"],
    ["roles of which some are no strings", { role: [3, "user", null] }, "user"],
    ["an inherited property's name", { role: "constructor" }, "public"],
  ])("%s", async (_name, claims, role) => {
    expect(await principalOf(claims)).toMatchObject({ role });
  });

  it.each([
    ["no scopes", {}, []],
    ["a space-separated string (RFC 8693 §4.2)", { scope: "a  b " }, ["a", "b"]],
    ["an array", { scope: ["a", "b c", 7] }, ["a", "b c"]],
    ["a number", { scope: 7 }, []],
    ["an object", { scope: { a: true } }, []],
  ])("%s", async (_name, claims, scopes) => {
    expect(await principalOf(claims)).toMatchObject({ credential: { scopes } });
  });

  it.each([
    ["no permissions", {}, []],
    ["an array of permissions", { permissions: ["p", 7] }, ["p"]],
    ["a string is no list of permissions", { permissions: "p" }, []],
  ])("%s", async (_name, claims, permissions) => {
    expect(await principalOf(claims)).toMatchObject({ permissions });
  });

  it("reads roles at a dotted path", async () => {
    const claims = { ...anIssuer().claims, role: ["realm_access", "roles"] };
    const token = { realm_access: { roles: ["offline_access", "admin"] } };
    expect(await principalOf(token, { issuer: { claims } })).toMatchObject({ role: "admin" });
    expect(await principalOf({ "realm_access.roles": ["admin"] }, { issuer: { claims } })).toMatchObject({
      role: "public",
    });
  });

  it("names the principal, its credential and its expiry", async () => {
    expect(await principalOf({ jti: "j1", name: "Alice", exp: NOW_SECONDS + 1.5 })).toEqual({
      realm: "test",
      id: "7",
      name: "Alice",
      role: "public",
      permissions: [],
      attributes: {},
      credential: { kind: "jwt", id: "j1", scopes: [], expiresAtSeconds: NOW_SECONDS + 1, sessionId: null },
    });
  });
});

describe("users = required: rights are the user's now, and the token can only lower them", () => {
  const required = async (claims: Record<string, unknown>, user: Parameters<typeof aUser>[0] | null) =>
    verifyJwt(await mint(claims), {
      site: { users: "required", revocation: "feed" },
      records: fakeRecords({ user: user === null ? null : aUser(user) }),
    });

  it.each([
    ["rejects a user that does not exist", null, "owner_missing"],
    ["rejects a deleted user", { status: "deleted" }, "owner_missing"],
    ["rejects a disabled user", { status: "disabled" }, "owner_inactive"],
    ["rejects a pending user", { status: "pending" }, "owner_inactive"],
    ["rejects another user's record", { id: "8" }, "owner_missing"],
    ["rejects the same id in another realm", { realm: "other" }, "owner_missing"],
    ["accepts an active user", {}, "accepted"],
  ] as const)("%s", async (_name, user, expected) => {
    expect(rejected(await required({}, user))).toBe(expected);
  });

  it.each([
    ["the user's role where the token names none", {}, "admin", "admin"],
    ["the token's where it is lower", { role: "user" }, "admin", "user"],
    ["the user's where the token's is higher", { role: "root" }, "user", "user"],
    ["the lowest where the token's is not on the ladder", { role: "superuser" }, "admin", "public"],
    ["the lowest where the user's is not on the ladder", {}, "superuser", "public"],
  ])("%s", async (_name, claims, role, expected) => {
    expect(accepted(await required(claims, { role }))).toMatchObject({ role: expected });
  });

  it.each([
    ["the user's permissions where the token names none", {}, ["a", "b"]],
    ["those that both have", { permissions: ["b", "c"] }, ["b"]],
    ["none where the token says none", { permissions: [] }, []],
  ])("%s", async (_name, claims, expected) => {
    expect(accepted(await required(claims, { permissions: ["a", "b"] }))).toMatchObject({
      permissions: expected,
    });
  });

  it("does not take an inherited property for a role claim that lowers anything", async () => {
    const claims = { ...anIssuer().claims, role: ["constructor"], permissions: ["valueOf"] };
    const verdict = await verifyJwt(await mint(), {
      issuer: { claims },
      site: { users: "required" },
      records: fakeRecords({ user: aUser({ role: "admin", permissions: ["a"] }) }),
    });
    expect(accepted(verdict)).toMatchObject({ role: "admin", permissions: ["a"] });
  });

  it("takes name and attributes from the record, the user name where there is no name", async () => {
    const user = { name: null, username: "alice", attributes: { group: "vip" } };
    expect(accepted(await required({ name: "Mallory" }, user))).toMatchObject({
      name: "alice",
      attributes: { group: "vip" },
    });
  });
});

describe("requirement 16: revocation is asked for by every name a token has", () => {
  const bearer = { realm: "test", userId: "7", tokenId: "j1", sessionId: "s1" };
  const claims = { jti: "j1", sid: "s1" };

  it.each([
    ["iat", { ...claims, iat: NOW_SECONDS - 10, nbf: NOW_SECONDS - 20 }, NOW_SECONDS - 10],
    ["nbf without iat", { ...claims, nbf: NOW_SECONDS - 20 }, NOW_SECONDS - 20],
    ["0 without either", claims, 0],
    ["the second an iat lies in", { ...claims, iat: NOW_SECONDS - 9.5 }, NOW_SECONDS - 10],
  ])("counts a token's age by %s", async (_name, all, issuedAtSeconds) => {
    const records = fakeRecords();
    await verifyJwt(await mint(all), { records, site: { revocation: "feed" } });
    expect(records.demands).toEqual([
      { lookup: { by: "none" }, bearer: { ...bearer, issuedAtSeconds }, freshnessSeconds: 30 },
    ]);
  });

  it("looks the user up where users are required", async () => {
    const records = fakeRecords({ user: aUser() });
    await verifyJwt(await mint(), { records, site: { users: "required", revocation: "none" } });
    expect(records.demands[0]).toMatchObject({ lookup: { by: "user", realm: "test", id: "7" } });
  });

  it("rejects what is revoked, with and without users", async () => {
    const records = fakeRecords({ user: aUser(), isRevoked: true });
    for (const users of ["none", "required"] as const) {
      const site = { users, revocation: "feed" } as const;
      expect(rejected(await verifyJwt(await mint(), { records, site }))).toBe("revoked");
    }
  });

  it("asks nobody where the site does without users and revocation", async () => {
    const records = fakeRecords({ isRevoked: true });
    expect(rejected(await verifyJwt(await mint(), { records }))).toBe("accepted");
    expect(records.demands).toEqual([]);
  });

  it("asks nobody about a token that is not good", async () => {
    const records = fakeRecords();
    await verifyJwt(await mint({ exp: 1 }), { records, site: { revocation: "feed" } });
    expect(records.demands).toEqual([]);
  });

  it("requirement 20: throws when nobody could be asked", async () => {
    const records: Pick<Records, "know"> = {
      know: async () => {
        throw new Problem("store_unavailable", "down");
      },
    };
    await expect(verifyJwt(await mint(), { records, site: { revocation: "feed" } })).rejects.toMatchObject({
      code: "store_unavailable",
    });
  });
});
