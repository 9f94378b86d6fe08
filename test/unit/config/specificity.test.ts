import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareSpecificity, shapeOf } from "../../../src/config/specificity.ts";
import type { Route } from "../../../src/config/types.ts";
import { aConfig, aRoute, aSite, match } from "../../support/worker/policy.ts";

const segment = fc.constantFrom("a", "b", ":x", "A");
const pattern = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom("", "*"))
  .map(([segments, end]) => `/${[...segments, ...(end === "" ? [] : [end])].join("/")}`);
const row = fc.tuple(pattern, fc.constantFrom<readonly string[]>([], ["GET"], ["POST"]));
const requested = fc
  .array(fc.constantFrom("a", "b", "c"), { maxLength: 4 })
  .map((segments) => `/${segments.join("/")}`);

function matches(route: Route, path: string): boolean {
  const wanted = route.path.slice(1).split("/").filter(Boolean);
  const given = path.slice(1).split("/").filter(Boolean);
  const isOpen = wanted.at(-1) === "*";
  const fixed = isOpen ? wanted.slice(0, -1) : wanted;
  if (isOpen ? given.length < fixed.length : given.length !== fixed.length) return false;
  return fixed.every((part, index) => part.startsWith(":") || part.toLowerCase() === given[index]);
}

describe("requirement 3: the most specific rule wins", () => {
  it.each([
    ["literal over param", "/a/b", "/a/:x"],
    ["param over rest", "/a/:x", "/a/*"],
    ["longer over shorter", "/a/b/*", "/a/*"],
    ["the end over rest", "/a", "/a/*"],
    ["the left segment decides", "/a/:x", "/:x/b"],
  ])("%s", (_, first, second) => {
    expect(compareSpecificity({ path: first, methods: [] }, { path: second, methods: [] })).toBeLessThan(0);
    expect(compareSpecificity({ path: second, methods: [] }, { path: first, methods: [] })).toBeGreaterThan(
      0,
    );
  });

  it("named method over any", () => {
    expect(compareSpecificity({ path: "/a", methods: ["GET"] }, { path: "/a", methods: [] })).toBeLessThan(0);
  });

  it("the printed order is the order in which requests are matched", () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 8 }), requested, (rows, path) => {
        const seen = new Set<string>();
        const routes = rows
          .map(([path, methods]) => aRoute(path, { methods }))
          .filter((route) => {
            const key = `${shapeOf(route.path)} ${route.methods}`;
            return !seen.has(key) && seen.add(key);
          });
        const expected = [...routes]
          .sort(compareSpecificity)
          .find(
            (route) => matches(route, path) && (route.methods.length === 0 || route.methods.includes("GET")),
          );
        const request = new Request(`https://example.com${path}`);
        if (expected === undefined) expect(() => match(aConfig([aSite(routes)]), request)).toThrow();
        else expect(match(aConfig([aSite(routes)]), request).route.path).toBe(expected.path);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["case", "/a/B", "/A/b", true],
    ["names of parameters", "/:id/x", "/:name/X", true],
    ["spellings of one character", "/@me", "/%40Me", true],
    ["a literal that looks like a parameter", "/:x", "/%3Ax", false],
    ["a literal that looks like the rest", "/*", "/%2A", false],
    ["a trailing slash", "/a", "/a/", false],
    ["an encoded slash", "/a%2Fb", "/a/b", false],
  ])("shapes: %s", (_, a, b, isSame) => {
    expect(shapeOf(a) === shapeOf(b)).toBe(isSame);
  });
});
