// What an operator can get wrong with `introspect`, and what it makes of a preset's routes.
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { GATEWAY, secrets } from "../../support/worker/gateway.ts";

const JWT_SECRET = "a-secret-of-another-system-that-is-long-enough-7Yq2";

function load(site: Readonly<Record<string, unknown>>, vars: Readonly<Record<string, unknown>> = {}) {
  return loadConfig({
    ...secrets,
    GATEWAY: { ...GATEWAY, realms: {} },
    SITE_TEST: {
      hosts: ["api.example.com"],
      origin: "https://system.internal",
      jwt: { secret: "THEIR_SECRET" },
      ...site,
    },
    THEIR_SECRET: JWT_SECRET,
    DB: { prepare: () => {} },
    ...vars,
  });
}

const issuesOf = (site: Readonly<Record<string, unknown>>) => {
  const loaded = load(site);
  return loaded.ok ? [] : loaded.issues.map(({ key, message }) => `${key} ${message}`);
};

describe("introspect", () => {
  it.each<readonly [string, Readonly<Record<string, unknown>>, string]>([
    [
      "without a preset",
      {
        jwt: { algorithms: ["HS256"], secret: "THEIR_SECRET", issuer: "a", audience: "b" },
        introspect: true,
      },
      "SITE_TEST.introspect has a meaning only beside preset",
    ],
    [
      "beside issue",
      { preset: "nekohub", introspect: true, issue: true },
      "SITE_TEST.introspect does not go with issue, where Postern knows every credential: leave one of them out",
    ],
    [
      "of an origin that knows nobody",
      { preset: "nekohub", introspect: true, origin: "echo" },
      "SITE_TEST.introspect needs an origin that knows credentials, and echo knows none: leave it out",
    ],
    ...["Authorization", "cookie", "Veloera-User"].map(
      (name) =>
        [
          `beside ${name} of the site's own, which would make every caller the operator`,
          {
            preset: "new-api-current",
            introspect: true,
            forward_credential: false,
            user_header: "Veloera-User",
            origin_headers: { [name]: "x" },
          },
          "SITE_TEST.origin_headers sets a header in which introspect sends the caller's credential: the origin would speak of somebody else",
        ] as const,
    ),
    [
      "as a text",
      { preset: "nekohub", introspect: "yes" },
      "SITE_TEST.introspect must be true or false, not a text",
    ],
  ])("%s is an error that names the mend", (_what, site, issue) => {
    expect(issuesOf(site)).toContain(issue);
  });

  it("false says nothing more than leaving it out", () => {
    for (const introspect of [false, undefined]) {
      const loaded = load({ preset: "nekohub", issue: true, ...(introspect === false && { introspect }) });
      if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
      expect(loaded.config.sites[0]?.introspection).toBeNull();
    }
  });

  it("needs neither D1 nor peppers where nothing is known and nothing is revoked here", () => {
    const site = { preset: "new-api-current", introspect: true, users: "none", revocation: "none" };
    const loaded = load(site, { DB: undefined, POSTERN_PEPPERS: undefined, POSTERN_TAG_SECRETS: undefined });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
    const routes = loaded.config.sites[0]?.routes ?? [];
    const root = routes.find(({ key }) => key.includes("/api/option/"));
    expect(root).toMatchObject({ accept: ["jwt", "pat"], minimumRole: 3 });
    expect(routes.find(({ key }) => key.includes("/v1/chat/"))?.accept).toEqual(["api_key"]);
  });

  it("brings back the rights of users that are not known here", () => {
    const routes = (introspect: boolean) => {
      const loaded = load({ preset: "nekohub", introspect });
      if (!loaded.ok) throw new Error(JSON.stringify(loaded.issues));
      return loaded.config.sites[0]?.routes.flatMap(({ permissions }) => permissions) ?? [];
    };
    expect(routes(false)).toEqual([]);
    expect(new Set(routes(true)).size).toBe(19);
  });
});
