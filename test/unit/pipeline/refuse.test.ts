import { describe, expect, it } from "vitest";
import documentation from "../../../docs/errors.md?raw";
import type { Cors } from "../../../src/config/types.ts";
import { isObservable, refuse } from "../../../src/pipeline/refuse.ts";
import { PROBLEMS, Problem, type ProblemCode } from "../../../src/problem.ts";
import { aConfig, aContext, aRoute, aSite, rawRequest } from "../../support/worker/policy.ts";
import { aMatch } from "../../support/worker/upstream.ts";

const CODES = Object.keys(PROBLEMS) as ProblemCode[];
const SECRET = "sk-0123456789abcdef0123456789abcdef0123456789abcdef";
const site = aSite([aRoute("/x")], { name: "files" });
const match = aMatch(site);

function refused(error: unknown, init: RequestInit = {}, where: typeof match | null = match) {
  const context = aContext(aConfig([site]), new Request("https://files.example/x", init));
  return { response: refuse(error, where, context), context };
}

describe("refuse: the body (RFC 9457 §3)", () => {
  it.each(CODES)("%s is told by its table row, and nothing more", async (code) => {
    const { response, context } = refused(
      new Problem(code, `because of ${SECRET}`, { cause: new Error(SECRET) }),
    );
    expect(response.status).toBe(PROBLEMS[code].status);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toEqual({
      type: `urn:postern:problem:${code}`,
      title: PROBLEMS[code].title,
      status: PROBLEMS[code].status,
      code,
      requestId: "request-1",
    });
    expect(JSON.stringify([...response.headers])).not.toContain(SECRET);
    expect(context.trace.problem?.reason).toContain("because of");
  });

  it.each(CODES)("%s is never stored and names the request (requirement 20)", (code) => {
    const { headers } = refused(new Problem(code, "x")).response;
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("x-request-id")).toBe("request-1");
  });

  it.each([new Error(SECRET), new TypeError(SECRET), SECRET, null, undefined, { status: 200 }])(
    "requirement 20: anything else that is thrown is internal, and is not reflected: %#",
    async (thrown) => {
      const { response, context } = refused(thrown);
      expect(response.status).toBe(500);
      expect(await response.text()).not.toContain(SECRET);
      expect(context.trace.problem?.code).toBe("internal");
    },
  );

  it("has no body for HEAD, but the same status and headers", async () => {
    const head = refused(new Problem("credential_missing", "x"), { method: "HEAD" }).response;
    const get = refused(new Problem("credential_missing", "x")).response;
    expect(head.status).toBe(401);
    expect(head.body).toBeNull();
    expect([...head.headers]).toEqual([...get.headers]);
  });
});

describe("refuse: the challenge (RFC 6750 §3)", () => {
  it.each<[ProblemCode, readonly string[], string | null]>([
    ["credential_missing", [], 'Bearer realm="files"'],
    ["credential_invalid", [], 'Bearer realm="files", error="invalid_token"'],
    ["credential_conflict", [], 'Bearer realm="files", error="invalid_request"'],
    ["scope_insufficient", [], 'Bearer realm="files", error="insufficient_scope"'],
    ["scope_insufficient", ["a.b", "c"], 'Bearer realm="files", error="insufficient_scope", scope="a.b c"'],
    [
      "scope_insufficient",
      ['a"', "b", "c d", "\\"],
      'Bearer realm="files", error="insufficient_scope", scope="b"',
    ],
    ["role_insufficient", [], null],
    ["permission_denied", [], null],
    ["rate_limited", [], null],
    ["store_unavailable", [], null],
  ])("%s %j", (code, scopes, challenge) => {
    expect(refused(new Problem(code, "x", { scopes })).response.headers.get("www-authenticate")).toBe(
      challenge,
    );
  });

  it("stands on every 401, also before a site is known (RFC 9110 §15.5.2)", () => {
    for (const code of CODES.filter((each) => PROBLEMS[each].status === 401)) {
      expect(refused(new Problem(code, "x"), {}, null).response.headers.get("www-authenticate")).toMatch(
        /^Bearer realm="/,
      );
    }
  });
});

describe("refuse: Allow and Retry-After (RFC 9110 §10.2)", () => {
  it.each([
    [["GET", "HEAD"], "GET, HEAD"],
    [[], ""],
  ])("a 405 names the methods %j", (allow, value) => {
    expect(refused(new Problem("method_not_allowed", "x", { allow })).response.headers.get("allow")).toBe(
      value,
    );
  });

  it.each<[ProblemCode, number | undefined, string | null]>([
    ["rate_limited", 17, "17"],
    ["rate_limited", 16.2, "17"],
    ["rate_limited", 0, "1"],
    ["rate_limited", -3, "1"],
    ["rate_limited", undefined, "5"],
    ["store_unavailable", undefined, "5"],
    ["keys_unavailable", undefined, "5"],
    ["config_invalid", undefined, "5"],
    ["internal", undefined, null],
    ["credential_invalid", undefined, null],
  ])("%s after %s s", (code, retryAfterSeconds, value) => {
    const details = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    expect(refused(new Problem(code, "x", details)).response.headers.get("retry-after")).toBe(value);
  });
});

describe("refuse: CORS", () => {
  const cors: Cors = {
    allowOrigins: ["https://app.example"],
    allowMethods: ["GET"],
    allowHeaders: [],
    exposeHeaders: [],
    allowCredentials: false,
    maxAgeSeconds: 600,
  };
  const grantOf = (given: Cors | null, origin: string) =>
    refused(
      new Problem("credential_missing", "x"),
      { headers: { origin } },
      aMatch({ ...site, cors: given }),
    ).response.headers.get("access-control-allow-origin");

  it("lets the site's own pages read a refusal, and no others", () => {
    expect(grantOf(cors, "https://app.example")).toBe("https://app.example");
    expect(grantOf(cors, "https://evil.example")).toBeNull();
    expect(grantOf(null, "https://app.example")).toBeNull();
  });

  it("also where the site is known and no route of it", () => {
    const headers = { origin: "https://app.example" };
    const context = aContext(aConfig([]), rawRequest("https://a.example/nothing", headers));
    context.trace.matched = { site: { ...site, cors }, route: null };
    const response = refuse(new Problem("route_not_found", "x"), null, context);
    expect(response.headers.get("access-control-allow-origin")).toBe("https://app.example");
  });
});

describe("isObservable", () => {
  it.each(CODES)("%s passes an observe route only as 401, 403 or 429", (code) => {
    const problem = new Problem(code, "x");
    expect(isObservable(problem, aRoute("/x", { mode: "observe" }))).toBe(
      [401, 403, 429].includes(problem.status),
    );
    expect(isObservable(problem, aRoute("/x", { mode: "enforce" }))).toBe(false);
  });

  it.each([new Error("x"), null, { status: 401, code: "credential_missing" }])(
    "never lets anything pass that is no problem: %#",
    (thrown) => {
      expect(isObservable(thrown, aRoute("/x", { mode: "observe" }))).toBe(false);
    },
  );
});

describe("docs/errors.md", () => {
  const rows = documentation
    .split("\n")
    .filter((line) => /^\| `[a-z_]+` \|/.test(line))
    .map((line) => line.split("|").map((cell) => cell.trim()));

  it("has one row for every code, with its status and its title", () => {
    const documented = rows.map(([, code, status, title]) => [code, status, title]);
    expect(documented).toEqual(
      CODES.map((code) => [`\`${code}\``, String(PROBLEMS[code].status), PROBLEMS[code].title]),
    );
  });

  it("says for each what it means and what the client should do", () => {
    for (const [, code, , , meaning = "", action = ""] of rows) {
      expect([code, meaning.length > 20, action.length > 10]).toEqual([code, true, true]);
    }
  });
});
