// Rows of a site beside those of its preset.
import { describe, expect, it } from "vitest";
import { issuesOf, randomText, type Table, warningsOf, withEnv } from "./fixtures.ts";

const site = (values: Table, ...routes: readonly Table[]) =>
  withEnv({
    SITE_FILES: {
      hosts: ["llm.example.com"],
      origin: "https://llm.internal",
      preset: "new-api-current",
      jwt: { secret: "SESSION_SECRET" },
      routes,
      ...values,
    },
    SESSION_SECRET: randomText(32),
  });

describe("a row where the gateway answers", () => {
  it.each<[string, Table]>([
    ["for the same method", { path: "/api/user/login", methods: ["POST"], auth: "none" }],
    ["for any method", { path: "/api/user/login", auth: "none" }],
    ["for one more method", { path: "/api/user/login", methods: ["GET", "POST"], auth: "none" }],
  ])("%s is warned of: sign-in would go to the origin", (_, route) => {
    expect(issuesOf(site({ issue: true }, route))).toEqual([]);
    expect(warningsOf(site({ issue: true }, route)).join()).toContain(
      "SITE_FILES.routes[0]: takes the place of what the preset new-api-current answers at /api/user/login",
    );
  });

  it.each<[string, Table, Table]>([
    ["guarding, where the origin answers", {}, { path: "/api/user/login", methods: ["POST"], auth: "none" }],
    ["for another method", { issue: true }, { path: "/api/user/login", methods: ["GET"], auth: "none" }],
    ["for paths around it", { issue: true }, { path: "/api/user/*", auth: "none" }],
    ["where nothing is answered", { issue: true }, { path: "/api/user/models", auth: "none" }],
  ])("%s is not", (_, values, route) => {
    expect(warningsOf(site(values, route)).join()).not.toContain("takes the place");
  });
});

describe("keys and tokens that were not made here", () => {
  const warned = (values: Table, realms: Table = {}) =>
    warningsOf({
      ...site(values),
      GATEWAY: { issuer: "https://auth.example.com", hosts: ["auth.example.com"], realms },
    }).join();
  const REFUSED =
    "SITE_FILES.preset: new-api-current makes keys and tokens that nobody here can tell from guesses";

  it("are warned of where nothing says which are good", () => {
    expect(warned({})).toContain(REFUSED);
    expect(warned({}, { files: { untagged_keys: false } })).toContain(REFUSED);
  });

  it.each<[string, Table, Table?]>([
    ["imported", {}, { files: { untagged_keys: true } }],
    ["asked about", { introspect: true }],
    ["made here", { issue: true }],
    ["not taken", { users: "none" }],
  ])("are no matter where they are %s", (_, values, realms) => {
    expect(warned(values, realms)).not.toContain("nobody here can tell");
  });
});

describe("what a preset has no use for", () => {
  it.each<[string, Table, string]>([
    [
      "another system's key",
      { site_id: "6f1f6d64" },
      "SITE_FILES.site_id: has no meaning with the preset new-api-current: leave it out",
    ],
    [
      "algorithms that its tokens are not signed by",
      { jwt: { secret: "SESSION_SECRET", algorithms: ["HS256", "HS512"] } },
      "SITE_FILES.jwt.algorithms: is HS256 with the preset new-api-current: leave it out",
    ],
  ])("is an error: %s", (_, values, said) => {
    expect(issuesOf(site(values))).toContain(said);
  });

  it("is nothing where it says the same", () => {
    expect(issuesOf(site({ jwt: { secret: "SESSION_SECRET", algorithms: ["HS256"] } }))).toEqual([]);
  });
});
