import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Route } from "../../../src/config/types.ts";
import { authorize } from "../../../src/pipeline/authorize.ts";
import { Problem } from "../../../src/problem.ts";
import type { Principal } from "../../../src/types.ts";
import { aMatch } from "./verify/fixtures.ts";

interface Rights {
  readonly role?: string;
  readonly permissions?: readonly string[];
  readonly scopes?: readonly string[];
}

const holding = ({ role = "user", permissions = [], scopes = [] }: Rights): Principal => ({
  realm: "test",
  id: "7",
  name: null,
  role,
  permissions,
  attributes: {},
  credential: { kind: "api_key", id: "key-1", scopes, expiresAtSeconds: null, sessionId: null },
});

/** The code of the refusal; `null`: allowed. */
function refusal(principal: Principal | null, route: Partial<Route>): Problem | null {
  try {
    authorize(principal, aMatch({}, route));
    return null;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

const codeOf = (rights: Rights, route: Partial<Route>) => refusal(holding(rights), route)?.code ?? null;

describe("role: at least this step of the ladder public < user < admin < root", () => {
  const ladder = ["public", "user", "admin", "root"];
  for (const [held, role] of ladder.entries()) {
    for (const minimumRole of ladder.keys()) {
      const expected = held >= minimumRole ? null : "role_insufficient";
      it(`${role} where ${ladder[minimumRole]} is asked for: ${expected ?? "allowed"}`, () => {
        expect(codeOf({ role }, { minimumRole })).toBe(expected);
      });
    }
  }

  it.each(["superuser", "Admin", "admin ", "", "__proto__"])(
    "requirement 12: a role that is not on the ladder grants nothing: %j",
    (role) => {
      expect(codeOf({ role }, { minimumRole: 1 })).toBe("role_insufficient");
      expect(codeOf({ role }, { minimumRole: 0 })).toBeNull();
    },
  );
});

describe("scopes are rights of the credential", () => {
  it.each([
    ["all of them", ["a", "b", "c"], { scopes: ["a", "b"] }, null],
    ["not all of them", ["a"], { scopes: ["a", "b"] }, "scope_insufficient"],
    [
      "none at all (requirement 12: missing scope grants nothing)",
      [],
      { scopes: ["a"] },
      "scope_insufficient",
    ],
    ["one of several", ["b"], { anyScopes: ["a", "b"] }, null],
    ["none of several", ["c"], { anyScopes: ["a", "b"] }, "scope_insufficient"],
    ["nothing of several", [], { anyScopes: ["a"] }, "scope_insufficient"],
    ["both demands met", ["a", "x"], { scopes: ["a"], anyScopes: ["x", "y"] }, null],
    ["the second demand unmet", ["a"], { scopes: ["a"], anyScopes: ["x", "y"] }, "scope_insufficient"],
    ["another case", ["A"], { scopes: ["a"] }, "scope_insufficient"],
    ["a longer name", ["a.write"], { scopes: ["a"] }, "scope_insufficient"],
    ["both names in one", ["a b"], { scopes: ["a"] }, "scope_insufficient"],
  ])("%s", (_name, scopes, route, expected) => {
    expect(codeOf({ scopes }, route)).toBe(expected);
  });

  it("says which ones would do, for the challenge (RFC 6750 §3)", () => {
    expect(refusal(holding({ scopes: ["a"] }), { scopes: ["a", "b"] })?.details.scopes).toEqual(["a", "b"]);
    expect(refusal(holding({}), { anyScopes: ["x", "y"] })?.details.scopes).toEqual(["x", "y"]);
  });

  it("are not held by permissions or role of the user", () => {
    expect(codeOf({ role: "root", permissions: ["a"] }, { scopes: ["a"] })).toBe("scope_insufficient");
  });
});

describe("permissions are rights of the user", () => {
  it.each([
    ["all of them", ["a", "b"], { permissions: ["a", "b"] }, null],
    ["not all of them", ["a"], { permissions: ["a", "b"] }, "permission_denied"],
    ["one of several", ["b"], { anyPermissions: ["a", "b"] }, null],
    ["none of several", ["c"], { anyPermissions: ["a", "b"] }, "permission_denied"],
    ["none at all", [], { anyPermissions: ["a"] }, "permission_denied"],
  ])("%s", (_name, permissions, route, expected) => {
    expect(codeOf({ permissions }, route)).toBe(expected);
  });

  it("are not held by scopes of the credential", () => {
    expect(codeOf({ scopes: ["a"] }, { permissions: ["a"] })).toBe("permission_denied");
  });
});

describe("anonymous", () => {
  it("may do what demands nothing", () => {
    expect(refusal(null, {})).toBeNull();
  });

  it.each([
    ["a role", { minimumRole: 1 }],
    ["scopes", { scopes: ["a"] }],
    ["any scope", { anyScopes: ["a"] }],
    ["permissions", { permissions: ["a"] }],
    ["any permission", { anyPermissions: ["a"] }],
  ])("is asked to authenticate where the route demands %s, whatever its auth", (_name, demand) => {
    for (const auth of ["none", "optional", "required"] as const) {
      expect(refusal(null, { ...demand, auth })?.code).toBe("credential_missing");
    }
  });
});

describe("more rights never allow less", () => {
  const right = fc.constantFrom("a", "b", "c", "d");
  const rights = fc.array(right, { maxLength: 4 });

  it("for random demands and holdings", () => {
    fc.assert(
      fc.property(
        fc.record({ scopes: rights, anyScopes: rights, permissions: rights, anyPermissions: rights }),
        rights,
        rights,
        right,
        (demand, scopes, permissions, more) => {
          if (codeOf({ scopes, permissions }, demand) !== null) return;
          expect(
            codeOf({ scopes: [...scopes, more], permissions: [...permissions, more] }, demand),
          ).toBeNull();
        },
      ),
    );
  });
});
