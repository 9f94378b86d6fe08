import { describe, expect, it } from "vitest";
import type { Config, Route, Site } from "../../../src/config/types.ts";
import { newTrace } from "../../../src/context.ts";
import { AMBIGUITIES, arrive } from "../../../src/pipeline/path.ts";
import { buildRouteIndex, matchRoute } from "../../../src/pipeline/route.ts";
import {
  aConfig,
  aRoute,
  aSite,
  match,
  problemOf,
  rawRequest,
  someRules,
} from "../../support/worker/policy.ts";

const to = (target: string, method = "GET", headers: Record<string, string> = {}) =>
  rawRequest(`https://a.example${target}`, { host: "a.example", ...headers }, method);

/** `GET,POST /a/:id` as a row. */
function row(text: string, changes: Partial<Route> = {}): Route {
  const [first = "", second] = text.split(" ");
  return second === undefined
    ? aRoute(first, { key: text, ...changes })
    : aRoute(second, { key: text, methods: first.split(","), ...changes });
}

const config = (rows: readonly string[], changes: Partial<Site> = {}) =>
  aConfig([
    aSite(
      rows.map((text) => row(text)),
      changes,
    ),
  ]);

/** Key of the row that a request meets, else the code of the refusal. */
function outcome(rows: readonly string[], target: string, method = "GET"): string {
  try {
    return match(config(rows), to(target, method)).route.key;
  } catch {
    return problemOf(() => match(config(rows), to(target, method))).code;
  }
}

describe("requirement 3: the most specific row wins", () => {
  it.each([
    ["literal over :param", ["/a/:b", "/a/x"], "/a/x", "/a/x"],
    [":param over *", ["/a/*", "/a/:b"], "/a/x", "/a/:b"],
    ["literal over *", ["/a/*", "/a/x"], "/a/x", "/a/x"],
    ["longer over shorter", ["/a/*", "/a/b/*"], "/a/b/c", "/a/b/*"],
    ["the earlier segment decides", ["/:a/b", "/x/*"], "/x/b", "/x/*"],
    ["an end over *", ["/a/*", "/a"], "/a", "/a"],
    ["a named method over any", ["/a", "GET /a"], "/a", "GET /a"],
    ["any where another is named", ["/a", "POST /a"], "/a", "/a"],
    ["the path over the method", ["GET /a/*", "/a/b"], "/a/b", "/a/b"],
    ["declared order means nothing", ["/a/x", "/a/:b", "/a/*"], "/a/y", "/a/:b"],
    ["the root", ["/", "/*"], "/", "/"],
    ["the root falls under *", ["/*"], "/", "/*"],
  ])("%s", (_name, rows, target, expected) => {
    expect(outcome(rows, target)).toBe(expected);
    expect(outcome([...rows].reverse(), target)).toBe(expected);
  });

  it.each([
    ["a literal that leads nowhere falls back to :param", ["/a/x/b", "/:p/x/c"], "/a/x/c", "/:p/x/c"],
    ["a literal that leads nowhere falls back to *", ["/a/b/c", "/a/*"], "/a/b/d", "/a/*"],
    ["from deep inside", ["/a/b/c/d/e", "/:v/b/c/d/:w/f"], "/a/b/c/d/e/f", "/:v/b/c/d/:w/f"],
    ["past a :param to *", ["/a/:b/c", "/a/*"], "/a/x/d", "/a/*"],
    ["to * of an outer level", ["/a/b/:c/d", "/a/*"], "/a/b/x/y", "/a/*"],
    ["by method", ["GET /a/b", "POST /a/*"], "/a/b", "POST /a/*", "POST"],
    ["by method, several levels", ["GET /a/b", "PUT /a/:x", "/*"], "/a/b", "/*", "POST"],
  ])("backtracking: %s", (_name, rows, target, expected, method = "GET") => {
    expect(outcome(rows, target, method)).toBe(expected);
    expect(outcome([...rows].reverse(), target, method)).toBe(expected);
  });

  it("agrees with a plain search for the best of all rows", () => {
    const segments = ["x", "y", ":p"];
    const rows = ["/", "/*"];
    for (const a of segments) {
      rows.push(`/${a}`, `/${a}/*`);
      for (const b of segments) {
        rows.push(`/${a}/${b}`, `/${a}/${b}/*`);
        for (const c of segments) rows.push(`/${a}/${b}/${c}`);
      }
    }
    const rank = (segment: string | undefined) =>
      segment === undefined ? 3 : segment === "*" ? 0 : segment.startsWith(":") ? 1 : 2;
    const split = (path: string) => path.split("/").filter((segment) => segment !== "");
    const covers = (path: string, target: string) => {
      const pattern = split(path);
      const given = split(target);
      const isOpen = pattern.at(-1) === "*";
      const fixed = isOpen ? pattern.slice(0, -1) : pattern;
      if (isOpen ? given.length < fixed.length : given.length !== fixed.length) return false;
      return fixed.every((segment, at) => segment.startsWith(":") || segment === given[at]);
    };
    const compare = (left: string, right: string) => {
      const [a, b] = [split(left), split(right)];
      for (let at = 0; at <= Math.max(a.length, b.length); at++) {
        const difference = rank(b[at]) - rank(a[at]);
        if (difference !== 0) return difference;
      }
      return 0;
    };
    // Every subset with one row of each length left out, over all targets of up to three segments.
    const targets = ["/"];
    for (const a of ["x", "y", "z"]) {
      targets.push(`/${a}`);
      for (const b of ["x", "y", "z"]) {
        targets.push(`/${a}/${b}`);
        for (const c of ["x", "y", "z"]) targets.push(`/${a}/${b}/${c}`);
      }
    }
    let seed = 7;
    for (let round = 0; round < 60; round++) {
      const some = rows.filter(() => {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        return seed / 2_147_483_648 < 0.3;
      });
      const index = buildRouteIndex(config(some));
      for (const target of targets) {
        const best = some.filter((path) => covers(path, target)).sort(compare)[0] ?? "route_not_found";
        let found: string;
        try {
          found = matchRoute(index, arrive(to(target)), newTrace()).route.key;
        } catch {
          found = "route_not_found";
        }
        expect(`${target} ${found}`).toBe(`${target} ${best}`);
      }
    }
  });
});

describe("requirement 3: whole segments", () => {
  it.each([
    ["/x/* covers /x", "/x/*", "/x", true],
    ["/x/* covers /x/", "/x/*", "/x/", true],
    ["/x/* covers all below", "/x/*", "/x/a/b/", true],
    ["/x/* does not cover /xy", "/x/*", "/xy", false],
    ["/x/* does not cover /", "/x/*", "/", false],
    [":p is one segment", "/x/:p", "/x/a/b", false],
    [":p is not nothing", "/x/:p", "/x", false],
    [":p is not an empty segment", "/x/:p", "/x/", false],
    ["a trailing slash is the same path", "/x", "/x/", true],
    ["a missing slash is the same path", "/x/", "/x", true],
    [":p with a trailing slash", "/x/:p", "/x/a/", true],
    ["case does not matter", "/Xa/:p", "/xA/B", true],
    ["the root is not a catch-all", "/", "/x", false],
    ["escapes of unreserved characters", "/admin", "/%61dm%69n", true],
    ["escapes of other printable characters", "/@me", "/%40me", true],
    ["and the other way round", "/%40me", "/@me", true],
    ["bytes beyond ASCII, escaped or not", "/café", "/caf%c3%a9", true],
    ["bytes beyond ASCII are not folded", "/É", "/é", false],
    ["an escaped colon is no parameter", "/%3Ap", "/x", false],
    ["a plain dot segment goes before the match", "/admin", "/x/../admin", true],
  ])("%s", (_name, path, target, isMatch) => {
    expect(outcome([path], target)).toBe(isMatch ? path : "route_not_found");
  });

  it("has no parameter for an empty segment, where those are allowed at all", () => {
    const allow = AMBIGUITIES.empty_segment;
    const rows = aConfig([aSite([row("/x/:p/y", { allow }), row("/x/*", { allow })])]);
    expect(match(rows, to("/x//y")).route.key).toBe("/x/*");
    expect(match(rows, to("/x/a/y")).route.key).toBe("/x/:p/y");
  });

  it("tells /x from /x/ where both are declared", () => {
    expect(outcome(["/x", "/x/"], "/x")).toBe("/x");
    expect(outcome(["/x", "/x/"], "/x/")).toBe("/x/");
    expect(outcome(["/", "/*"], "/")).toBe("/");
  });

  it("takes the other spelling for a method that only it declares", () => {
    expect(outcome(["GET /x", "POST /x/"], "/x", "POST")).toBe("POST /x/");
  });
});

describe("methods", () => {
  it.each([
    ["HEAD falls under GET", ["GET /a"], "HEAD", "GET /a"],
    ["unless it is named", ["GET /a", "HEAD /a"], "HEAD", "HEAD /a"],
    ["HEAD under GET before any", ["/a", "GET /a"], "HEAD", "GET /a"],
    ["GET does not fall under HEAD", ["HEAD /a"], "GET", "method_not_allowed"],
    ["another method of a known path", ["GET /a"], "POST", "method_not_allowed"],
    ["methods are case-sensitive (RFC 9110 §9.1)", ["GET /a"], "get", "method_not_allowed"],
    ["an unknown method on a row for any", ["/a"], "PURGE", "/a"],
    ["TRACE, which would show the origin's own headers", ["/a"], "TRACE", "method_not_allowed"],
    ["TRACE even where it is named", ["TRACE /a"], "TRACE", "method_not_allowed"],
    ["CONNECT", ["/a"], "CONNECT", "method_not_allowed"],
    ["OPTIONS that is no preflight is a method like others", ["GET /a"], "OPTIONS", "method_not_allowed"],
    ["OPTIONS on a row for any", ["/a"], "OPTIONS", "/a"],
  ])("%s", (_name, rows, method, expected) => {
    expect(outcome(rows, "/a", method)).toBe(expected);
  });

  it("lists what every row of the path allows, sorted, HEAD with GET (RFC 9110 §15.5.6)", () => {
    const rows = config(["PUT,GET /a/b", "DELETE /a/:x", "PATCH /a/*", "POST /other"]);
    const problem = problemOf(() => match(rows, to("/a/b", "POST")));
    expect(problem.details.allow).toEqual(["DELETE", "GET", "HEAD", "PATCH", "PUT"]);
  });

  it("names no unforwardable method as allowed", () => {
    const problem = problemOf(() => match(config(["TRACE,GET /a"]), to("/a", "TRACE")));
    expect(problem.details.allow).toEqual(["GET", "HEAD"]);
  });
});

describe("requirement 3: deny by default", () => {
  it("refuses an unknown host", () => {
    const sites = aConfig([aSite([aRoute("/*")], { hosts: ["b.example"] })]);
    expect(problemOf(() => match(sites, to("/"))).code).toBe("route_not_found");
  });

  it("tells the log which hosts, or which base paths, there are", () => {
    const named = (hosts: readonly string[], basePath = "") =>
      aConfig([aSite([aRoute("/*")], { hosts: [...hosts], basePath })]);
    const reason = (sites: Config, url: string) => problemOf(() => match(sites, new Request(url))).reason;
    expect(reason(named(["b.example", "c.example"]), "https://a.example/")).toBe(
      "no site has the host a.example; there is b.example, c.example",
    );
    expect(reason(named(["b.example"], "/api"), "https://b.example/apix")).toBe(
      "no site below this path of b.example; there is /api",
    );
    const many = Array.from({ length: 50 }, (_, index) => `host${index}.example`);
    expect(reason(named(many), "https://a.example/")).toMatch(/host3\.example, …$/);
    expect(reason(aConfig([]), "https://a.example/")).toBe("no site has the host a.example; there is none");
  });

  it("refuses what no row covers", () => {
    expect(problemOf(() => match(config(["/a"]), to("/b"))).code).toBe("route_not_found");
  });

  it("forwards what no row covers where the site says so", () => {
    expect(match(config(["/a"], { unmatched: "forward" }), to("/b")).route.key).toBe("SITE_TEST unmatched");
  });

  it("even there refuses other methods of a declared path, and TRACE", () => {
    const open = config(["GET /a"], { unmatched: "forward" });
    expect(problemOf(() => match(open, to("/a", "POST"))).code).toBe("method_not_allowed");
    expect(problemOf(() => match(open, to("/b", "TRACE"))).code).toBe("method_not_allowed");
  });

  it("notes site and row in the trace, as far as known", () => {
    const index = buildRouteIndex(config(["GET /a"]));
    const trace = newTrace();
    expect(problemOf(() => matchRoute(index, arrive(to("/b")), trace)).code).toBe("route_not_found");
    expect(trace).toMatchObject({ site: "test", route: null });
    matchRoute(index, arrive(to("/a")), trace);
    expect(trace).toMatchObject({ site: "test", route: "GET /a" });
  });
});

describe("hosts and base paths", () => {
  const named = (name: string, changes: Partial<Site>) => aSite([aRoute("/*")], { name, ...changes });
  const sites = aConfig([
    named("any", {}),
    named("any-deep", { basePath: "/api/deep" }),
    named("host", { hosts: ["a.example", "c.example"], basePath: "/api" }),
    named("host-v2", { hosts: ["a.example"], basePath: "/api/v2" }),
  ]);
  const siteAt = (url: string) => match(sites, rawRequest(url)).site.name;

  it.each([
    ["https://a.example/api/x", "host"],
    ["https://a.example/api", "host"],
    ["https://a.example/API/x", "host"],
    ["https://A.EXAMPLE.:444/api/x", "host"],
    ["https://a.example/api/v2/x", "host-v2"],
    ["https://a.example/api/v2", "host-v2"],
    ["https://a.example/api/v22", "host"],
    ["https://a.example/apix", "any"],
    ["https://a.example/", "any"],
    ["https://a.example/api/deep/x", "host"],
    ["https://b.example/api/deep/x", "any-deep"],
    ["https://c.example/api/v2", "host"],
    ["https://b.example/api", "any"],
    ["https://a.example.evil/api", "any"],
  ])("%s belongs to %s", (url, name) => {
    expect(siteAt(url)).toBe(name);
  });

  it("matches rows below the base path", () => {
    const based = aConfig([aSite([row("/x"), row("/")], { basePath: "/base" })]);
    expect(match(based, to("/base/x")).route.key).toBe("/x");
    expect(match(based, to("/base")).route.key).toBe("/");
    expect(problemOf(() => match(based, to("/x"))).code).toBe("route_not_found");
  });

  it.each([
    ["/base/a/B", "/a/B"],
    ["/BASE/a", "/a"],
    ["/b%61se/a", "/a"],
    ["/base", "/"],
    ["/base/", "/"],
    ["/x/../base/a", "/a"],
  ])("strips it from %s: %s", (target, forwardPath) => {
    const stripping = aConfig([aSite([aRoute("/*")], { basePath: "/base", stripBasePath: true })]);
    const keeping = aConfig([aSite([aRoute("/*")], { basePath: "/base" })]);
    expect(match(stripping, to(target)).forwardPath).toBe(forwardPath);
    expect(match(keeping, to(target)).forwardPath).toBe(arrive(to(target)).path);
  });

  it("strips by segments, however the base path was spelt", () => {
    const stripping = aConfig([aSite([aRoute("/*")], { basePath: "/@a/b c", stripBasePath: true })]);
    expect(match(stripping, to("/%40A/b%20c/%40x")).forwardPath).toBe("/%40x");
  });

  it("never forwards a path that begins with two slashes, even where empty segments are allowed", () => {
    const allow = AMBIGUITIES.empty_segment;
    const stripping = aConfig([aSite([aRoute("/*", { allow })], { basePath: "/base", stripBasePath: true })]);
    expect(match(stripping, to("/base/a//b")).forwardPath).toBe("/a//b");
    expect(problemOf(() => match(stripping, to("/base//evil.example/x"))).code).toBe("path_ambiguous");
    const whole = aConfig([aSite([aRoute("/*", { allow })])]);
    expect(problemOf(() => match(whole, to("//evil.example/x"))).code).toBe("path_ambiguous");
  });
});

describe("requirement 2: ambiguous paths are refused before any look-up", () => {
  it("whatever the host, the path and the method", () => {
    const trace = newTrace();
    const index = buildRouteIndex(config(["GET /a"]));
    for (const target of ["/nowhere/%2f", "/a;b", "/a/%2e%2e/a"]) {
      const problem = problemOf(() => matchRoute(index, arrive(to(target, "POST")), trace));
      expect(problem.code).toBe("path_ambiguous");
    }
    expect(trace.site).toBeNull();
  });

  it("unless the matched row tolerates every ambiguity of the path", () => {
    const rows = aConfig([
      aSite([
        row("/files/*", { allow: AMBIGUITIES.encoded_percent | AMBIGUITIES.semicolon }),
        row("/other/*", { allow: AMBIGUITIES.encoded_slash }),
      ]),
    ]);
    expect(match(rows, to("/files/100%25;v")).forwardPath).toBe("/files/100%25;v");
    expect(match(rows, to("/other/a%2fb")).forwardPath).toBe("/other/a%2Fb");
    for (const target of ["/files/a%2fb", "/other/a;b", "/files/a;b%2f", "/files/%00"]) {
      expect(problemOf(() => match(rows, to(target))).code).toBe("path_ambiguous");
    }
  });

  it("and never where a dot segment hides behind a tolerated one", () => {
    const all = Object.values(AMBIGUITIES).reduce((bits, bit) => bits | bit, 0);
    const rows = aConfig([aSite([row("/files/*", { allow: all })])]);
    for (const target of [
      "/files/..%2fadmin",
      "/files/..;/admin",
      "/files/a%5c..%5cb",
      "/files/%2e%2e%2fadmin",
    ]) {
      expect(problemOf(() => match(rows, to(target))).code).toBe("path_ambiguous");
    }
  });

  it("also on a site that forwards what no row covers", () => {
    const relaxed = aSite([row("/x", { allow: AMBIGUITIES.semicolon })], { hosts: ["b.example"], name: "b" });
    const open = aConfig([aSite([], { unmatched: "forward" }), relaxed]);
    expect(problemOf(() => match(open, to("/a;b"))).code).toBe("path_ambiguous");
  });
});

describe("preflights", () => {
  const cors = {
    allowOrigins: ["https://app.example"],
    allowMethods: ["GET", "PUT"],
    allowHeaders: [],
    exposeHeaders: [],
    allowCredentials: false,
    maxAgeSeconds: 600,
  };
  const asking = (method: string, headers: Record<string, string> = {}) =>
    to("/a", "OPTIONS", {
      origin: "https://app.example",
      "access-control-request-method": method,
      ...headers,
    });
  const strict = row("PUT /a", {
    minimumRole: 2,
    scopes: ["write"],
    anyScopes: ["x"],
    permissions: ["p"],
    anyPermissions: ["q"],
  });

  it("count as the method they ask for where the site answers them", () => {
    const rows = aConfig([aSite([strict], { cors })]);
    expect(match(rows, asking("PUT")).route.key).toBe("PUT /a");
  });

  it("are nobody's where the site answers them and has no such row: the request behind is refused", () => {
    const rows = aConfig([aSite([strict], { cors })]);
    for (const method of ["DELETE", "TRACE"]) {
      expect(match(rows, asking(method)).route).toMatchObject({ auth: "none", answer: null, accept: [] });
    }
    const origin = "https://app.example";
    const elsewhere = to("/b", "OPTIONS", { origin, "access-control-request-method": "GET" });
    expect(match(rows, elsewhere).route.auth).toBe("none");
    expect(problemOf(() => match(rows, to("/a", "DELETE"))).code).toBe("method_not_allowed");
    expect(problemOf(() => match(rows, to("/b"))).code).toBe("route_not_found");
  });

  it("go to the origin as an open request where it does not", () => {
    const { route } = match(aConfig([aSite([strict])]), asking("PUT"));
    expect(route).toMatchObject({
      key: "PUT /a",
      auth: "none",
      accept: [],
      minimumRole: 0,
      scopes: [],
      anyScopes: [],
      permissions: [],
      anyPermissions: [],
      cache: false,
    });
  });

  it.each([
    ["Authorization", { authorization: "Bearer x" }],
    ["a cookie", { cookie: "a=b" }],
    ["a header of the site's", { "x-api-key": "sk-1" }],
    ["a claimed owner", { "new-api-user": "7" }],
  ])("are ordinary OPTIONS requests when they carry %s", (_name, headers) => {
    const credentials = someRules({ headers: ["x-api-key"], userHeader: "new-api-user" });
    const rows = aConfig([aSite([strict, row("/b")], { credentials })]);
    expect(problemOf(() => match(rows, asking("PUT", headers))).code).toBe("method_not_allowed");
    const anyMethod = aConfig([aSite([row("/a")], { credentials })]);
    expect(match(anyMethod, asking("PUT", headers)).route.auth).toBe("required");
  });

  it("are ordinary OPTIONS requests when they have a body", () => {
    const request = { ...asking("PUT"), body: {} } as Request;
    expect(problemOf(() => match(aConfig([aSite([strict])]), request)).code).toBe("method_not_allowed");
  });

  it.each([
    ["0", "none"],
    ["00", "required"],
    ["1", "required"],
    ["0, 1", "required"],
  ])("whose body is declared to be of length %s are for auth = %s", (length, auth) => {
    const request = { ...asking("PUT", { "content-length": length }), body: {} } as Request;
    expect(match(aConfig([aSite([row("/a")])]), request).route.auth).toBe(auth);
  });

  it.each([
    ["no Origin", { "access-control-request-method": "PUT" }],
    ["no method asked for", { origin: "https://app.example" }],
  ])("need both headers: %s", (_name, headers) => {
    const rows = aConfig([aSite([strict])]);
    expect(problemOf(() => match(rows, to("/a", "OPTIONS", headers))).code).toBe("method_not_allowed");
  });

  it("meet a row that names OPTIONS as it is", () => {
    const rows = aConfig([aSite([strict, row("OPTIONS /a")])]);
    expect(match(rows, asking("PUT")).route).toMatchObject({ key: "OPTIONS /a", auth: "required" });
  });

  it("open nothing for a method that no row has", () => {
    const rows = aConfig([aSite([strict])]);
    expect(problemOf(() => match(rows, asking("DELETE"))).code).toBe("method_not_allowed");
    expect(problemOf(() => match(rows, asking(""))).code).toBe("method_not_allowed");
    expect(problemOf(() => match(aConfig([aSite([])]), asking("PUT"))).code).toBe("route_not_found");
  });

  it("are told from other methods: a GET with both headers is a GET", () => {
    const headers = { origin: "https://app.example", "access-control-request-method": "PUT" };
    const rows = aConfig([aSite([strict])]);
    expect(problemOf(() => match(rows, to("/a", "GET", headers))).code).toBe("method_not_allowed");
  });

  it("keep a limit by address and no other", () => {
    const limited = (by: "address" | "principal") =>
      aConfig([aSite([{ ...strict, limit: { kind: "exact", by, requests: 1, perSeconds: 60 } }])]);
    expect(match(limited("address"), asking("PUT")).route.limit).not.toBeNull();
    expect(match(limited("principal"), asking("PUT")).route.limit).toBeNull();
  });
});

describe("cost", () => {
  it("looks at as many rows with 2,000 of them as with 2", () => {
    const reads = (count: number) => {
      const rows = Array.from({ length: count }, (_, at) => `/r${at}/:id/x`);
      const index = buildRouteIndex(config(rows));
      const before = Map.prototype.get;
      let gets = 0;
      Map.prototype.get = function counted(key: unknown) {
        gets++;
        return before.call(this, key);
      };
      try {
        matchRoute(index, arrive(to("/r1/5/x")), newTrace());
      } finally {
        Map.prototype.get = before;
      }
      return gets;
    };
    expect(reads(2000)).toBe(reads(2));
  });
});

describe("an origin whose paths differ by case", () => {
  const rows = ["/api/user/self", "/api/user/:id", "/api/user/", "/api/files/*", "/api/Admin/:id", "/*"];
  const found = (target: string, isCaseSensitive: boolean) => {
    const site = config(rows, { isCaseSensitive });
    try {
      return match(site, to(target)).route.key;
    } catch {
      return problemOf(() => match(site, to(target))).code;
    }
  };

  it.each([
    ["/api/user/self", "/api/user/self"],
    ["/api/user/self/", "/api/user/self"],
    ["/api/user/7aB", "/api/user/:id"],
    ["/api/files/A/B.TXT", "/api/files/*"],
    ["/Home", "/*"],
    ["/api/user/Self", "route_not_found"],
    ["/api/User/self", "route_not_found"],
    ["/API/user/7", "route_not_found"],
    ["/Api/files/x", "route_not_found"],
    ["/api/user/sel%46", "route_not_found"],
    ["/api/Admin/x", "/api/Admin/:id"],
    ["/api/admin/x", "route_not_found"],
  ])("is asked for %s only by the row as written: %s", (target, expected) => {
    expect(found(target, true)).toBe(expected);
  });

  it("changes nothing elsewhere", () => {
    expect(found("/API/user/Self", false)).toBe("/api/user/self");
  });
});
