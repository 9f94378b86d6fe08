import { describe, expect, it } from "vitest";
import type { Route, Site } from "../../../src/config/types.ts";
import { authenticate } from "../../../src/pipeline/authenticate.ts";
import { Problem } from "../../../src/problem.ts";
import type { Principal, Verdict } from "../../../src/types.ts";
import { someRules } from "../../support/worker/policy.ts";
import { aCredential, aMatch, aRequestContext } from "./verify/fixtures.ts";

const PRINCIPAL: Principal = {
  realm: "test",
  id: "7",
  name: null,
  role: "user",
  permissions: [],
  attributes: {},
  credential: { kind: "jwt", id: "j1", scopes: [], expiresAtSeconds: null, sessionId: null },
};
const ACCEPT: Verdict = { kind: "accept", principal: PRINCIPAL };
const REJECT: Verdict = { kind: "reject", reason: "signature" };

function setUp(
  route: Partial<Route>,
  verdict: Verdict | Error,
  site: Partial<Site> = {},
  headers: Readonly<Record<string, string>> = {},
) {
  let asked = 0;
  const context = aRequestContext({
    request: new Request("https://api.example/thing", { headers }),
    verifiers: {
      jwt: async () => {
        asked += 1;
        if (verdict instanceof Error) throw verdict;
        return verdict;
      },
    },
  });
  const match = aMatch(site, route);
  return {
    context,
    asked: () => asked,
    ask: (isPresented: boolean) =>
      authenticate(isPresented ? aCredential("jwt", "a.b.c") : null, match, context),
  };
}

describe("requirement 8: no credential", () => {
  it("is refused on a required route", async () => {
    const { ask } = setUp({ auth: "required" }, ACCEPT);
    await expect(ask(false)).rejects.toMatchObject({ code: "credential_missing", status: 401 });
  });

  it.each([
    ["x-api-key", "no credential; x-api-key is not a place of this site: see credentials.headers"],
    ["X-Auth-Token", "no credential; x-auth-token is not a place of this site: see credentials.headers"],
    ["x-unheard-of", "no credential"],
  ])("names the header that was meant, and not what it holds: %s", async (name, reason) => {
    const { ask } = setUp({ auth: "required" }, ACCEPT, {}, { [name]: "sk-secret" });
    await expect(ask(false)).rejects.toMatchObject({ code: "credential_missing", reason });
  });

  it("names Authorization where the site does not look there", async () => {
    const rules = someRules({ authorization: "off" });
    const { ask } = setUp(
      { auth: "required" },
      ACCEPT,
      { credentials: rules },
      { authorization: "Bearer x" },
    );
    const reason = expect.stringContaining("authorization is not a place of this site");
    await expect(ask(false)).rejects.toMatchObject({ reason });
  });

  it("is anonymous on an optional and on an open route", async () => {
    expect(await setUp({ auth: "optional" }, ACCEPT).ask(false)).toBeNull();
    expect(await setUp({ auth: "none" }, ACCEPT).ask(false)).toBeNull();
  });
});

describe("requirement 8: a bad credential is 401, also on an optional route", () => {
  it.each(["required", "optional"] as const)("on a route with auth = %s", async (auth) => {
    const { ask, context } = setUp({ auth }, REJECT);
    await expect(ask(true)).rejects.toMatchObject({
      code: "credential_invalid",
      status: 401,
      reason: "jwt: signature",
    });
    expect(context.trace).toMatchObject({ credentialKind: "jwt", principalId: null, credentialId: null });
  });

  it.each(["required", "optional"] as const)(
    "of a kind that the route does not take, unasked: %s",
    async (auth) => {
      const { ask, asked } = setUp({ auth, accept: ["api_key", "pat", "session"] }, ACCEPT);
      await expect(ask(true)).rejects.toMatchObject({
        code: "credential_invalid",
        reason: "jwt: kind_not_accepted",
      });
      expect(asked()).toBe(0);
    },
  );

  it.each([
    ["a detail that the verifier gives", { reason: "claim", detail: "exp: missing" }, "claim (exp: missing)"],
    ["the header that says whose it is", { reason: "user_header_missing" }, "user_header_missing (x-owner)"],
    ["nothing more", { reason: "expired" }, "expired"],
  ] as const)("tells the log %s, and the client nothing", async (_, verdict, told) => {
    const site = { credentials: someRules({ userHeader: "x-owner" }) };
    const problem = await setUp({}, { kind: "reject", ...verdict }, site)
      .ask(true)
      .catch((error: unknown) => error);
    expect(problem).toMatchObject({ code: "credential_invalid", reason: `jwt: ${told}` });
    expect(problem).toMatchObject({ details: { reject: verdict.reason } });
  });

  it("is the same problem for every cause, but for the log", async () => {
    const problems = await Promise.all(
      (["signature", "expired", "revoked", "owner_inactive", "tag"] as const).map((reason) =>
        setUp({}, { kind: "reject", reason })
          .ask(true)
          .catch((error: unknown) => error),
      ),
    );
    for (const problem of problems) {
      expect(problem).toBeInstanceOf(Problem);
      expect(problem).toMatchObject({ code: "credential_invalid", status: 401, details: {} });
    }
  });
});

describe("on_invalid = anonymous", () => {
  const site = { credentials: someRules({ onInvalid: "anonymous" }) };

  it("lets a bad credential pass as anonymous on an optional route", async () => {
    expect(await setUp({ auth: "optional" }, REJECT, site).ask(true)).toBeNull();
    expect(await setUp({ auth: "optional", accept: ["pat"] }, ACCEPT, site).ask(true)).toBeNull();
  });

  it("still refuses it on a required route", async () => {
    await expect(setUp({}, REJECT, site).ask(true)).rejects.toMatchObject({ code: "credential_invalid" });
    await expect(setUp({ accept: [] }, ACCEPT, site).ask(true)).rejects.toMatchObject({
      code: "credential_invalid",
    });
  });

  it("requirement 20: never makes an outage anonymous", async () => {
    const outage = new Problem("store_unavailable", "down");
    await expect(setUp({ auth: "optional" }, outage, site).ask(true)).rejects.toBe(outage);
  });
});

describe("a good credential", () => {
  it.each(["required", "optional"] as const)(
    "gives its principal, and the trace its ids: %s",
    async (auth) => {
      const { ask, context } = setUp({ auth }, ACCEPT);
      expect(await ask(true)).toBe(PRINCIPAL);
      expect(context.trace).toMatchObject({ credentialKind: "jwt", principalId: "7", credentialId: "j1" });
    },
  );

  it("is not looked at on an open route", async () => {
    const { ask, asked } = setUp({ auth: "none" }, REJECT);
    expect(await ask(true)).toBeNull();
    expect(asked()).toBe(0);
  });

  it.each(["store_unavailable", "keys_unavailable"] as const)(
    "is not called bad in an outage: %s",
    async (code) => {
      const outage = new Problem(code, "down");
      for (const auth of ["required", "optional"] as const) {
        await expect(setUp({ auth }, outage).ask(true)).rejects.toBe(outage);
      }
    },
  );
});
