// Who outranks whom, and what may be given away.
import { describe, expect, it } from "vitest";
import type { Power } from "../../../src/control/caller.ts";
import {
  type Administrator,
  demandHeld,
  demandRank,
  demandRankOverAll,
  demandSubset,
} from "../../../src/control/rank.ts";
import { problemOf, TEST_REALM } from "../../support/worker/policy.ts";

const LADDER = ["public", "user", "admin", "root"];
const GATEWAY = { ...TEST_REALM, name: "gateway", roles: LADDER };
const realm = (...roles: readonly string[]) => ({ ...TEST_REALM, roles });

function caller(power: Power): Administrator {
  const actor = { kind: "user", realm: "gateway", id: "1", credentialId: null } as const;
  return { for: "administrator", actor, power, scopes: [], permissions: [] };
}

function outcome(act: () => void): string {
  let isDone = false;
  const attempt = () => {
    act();
    isDone = true;
    throw new Error("done");
  };
  try {
    return problemOf(attempt).code;
  } catch {
    return isDone ? "yes" : "failed";
  }
}

describe("requirement 19: the actor must outrank the target", () => {
  it.each([
    ["public", ["admin", "root", "admin_token"]],
    ["user", ["admin", "root", "admin_token"]],
    ["admin", ["root", "admin_token"]],
    ["root", ["admin_token"]],
    ["", ["admin", "root", "admin_token"]],
    ["ROOT", ["admin", "root", "admin_token"]],
  ] as const)("among administrators, %s is outranked by %j alone", (role, expected) => {
    for (const power of ["admin", "root", "admin_token"] as const) {
      const isExpected = (expected as readonly string[]).includes(power);
      expect(
        outcome(() => demandRank(caller(power), GATEWAY, role)),
        power,
      ).toBe(isExpected ? "yes" : "rank_insufficient");
    }
  });

  it.each([
    ["the top of a ladder", realm(...LADDER), "root", false],
    ["a step below the top, whatever it is called", realm("user", "root", "owner"), "root", true],
    ["the top of two steps", realm("guest", "member"), "member", false],
    ["the only step", realm("user"), "user", true],
    ["the lowest step", realm("guest", "member"), "guest", true],
    ["a role that the realm's sites do not share", realm("public", "user"), "root", false],
    ["any role where they share none", realm(), "user", false],
    ["no role", realm(...LADDER), "", false],
  ] as const)("in another realm, a plain administrator over %s: %s", (_name, where, role, isAllowed) => {
    expect(outcome(() => demandRank(caller("admin"), where, role))).toBe(
      isAllowed ? "yes" : "rank_insufficient",
    );
    expect(outcome(() => demandRank(caller("root"), where, role))).toBe("yes");
    expect(outcome(() => demandRank(caller("admin_token"), where, role))).toBe("yes");
  });

  it.each([
    ["admin", GATEWAY, false],
    ["root", GATEWAY, false],
    ["admin_token", GATEWAY, true],
    ["admin", realm(...LADDER), false],
    ["admin", realm("user"), false],
    ["root", realm(...LADDER), true],
    ["admin_token", realm(...LADDER), true],
  ] as const)("%s over everyone of a realm at once", (power, where, isAllowed) => {
    expect(outcome(() => demandRankOverAll(caller(power), where))).toBe(
      isAllowed ? "yes" : "rank_insufficient",
    );
  });
});

describe("nobody gives what they do not hold", () => {
  it.each([
    ["all of it", ["a", "b"], ["a", "b", "c"], "yes"],
    ["nothing", [], [], "yes"],
    ["one too many", ["a", "c"], ["a", "b"], "grant_exceeds_holder"],
    ["a word that a held one begins with", ["a"], ["ab"], "grant_exceeds_holder"],
    ["another case", ["A"], ["a"], "grant_exceeds_holder"],
    ["anything while holding nothing", ["a"], [], "grant_exceeds_holder"],
  ] as const)("%s", (_name, granted, held, expected) => {
    expect(outcome(() => demandSubset(granted, held, "scopes"))).toBe(expected);
    expect(outcome(() => demandHeld(GATEWAY, granted, held, "scopes"))).toBe(expected);
  });

  it("but who holds everything may give anything, and rights of other realms are no administrator's own", () => {
    expect(outcome(() => demandHeld(GATEWAY, ["a"], null, "scopes"))).toBe("yes");
    expect(outcome(() => demandHeld(realm(...LADDER), ["a"], [], "scopes"))).toBe("yes");
  });
});
