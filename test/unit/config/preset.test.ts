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
