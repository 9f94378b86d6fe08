import { afterEach, describe, expect, it, vi } from "vitest";
import { logOutcome } from "../../src/log.ts";
import { refuse } from "../../src/pipeline/refuse.ts";
import { Problem } from "../../src/problem.ts";
import { aConfig, aContext, aRoute, aSite } from "../support/worker/policy.ts";

const SECRET = "sk-0123456789abcdef0123456789abcdef0123456789abcdef";

/** What was written for a request. `act` plays the pipeline. */
function logged(
  act: (context: ReturnType<typeof aContext>) => Response,
  url = `https://files.example/a/b?key=${SECRET}`,
): { text: string; line: Record<string, unknown> } {
  const written: unknown[][] = [];
  vi.spyOn(console, "log").mockImplementation((...entries) => {
    written.push(entries);
  });
  const headers = { authorization: `Bearer ${SECRET}`, cookie: `sid=${SECRET}` };
  const context = aContext(aConfig([aSite([aRoute("/*")])]), new Request(url, { headers }));
  const response = act(context);
  logOutcome(context, response, context.trace.problem);
  expect(written).toHaveLength(1);
  expect(written[0]).toHaveLength(1);
  const text = String(written[0]?.[0]);
  return { text, line: JSON.parse(text) };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("the log line of a request", () => {
  it("names route, outcome, principal and credential, and no secret (requirement 20)", () => {
    const { text, line } = logged((context) => {
      Object.assign(context.trace, {
        site: "files",
        route: "SITE_FILES.routes[0]",
        principalId: "7",
        credentialKind: "api_key",
        credentialId: "k1",
        isForwarded: true,
      });
      return new Response("ok");
    });
    expect(line).toEqual({
      level: "info",
      requestId: "request-1",
      method: "GET",
      host: "files.example",
      path: "/a/b",
      site: "files",
      route: "SITE_FILES.routes[0]",
      status: 200,
      outcome: "forwarded",
      reason: null,
      observed: null,
      principalId: "7",
      credentialKind: "api_key",
      credentialId: "k1",
      clientAddress: "203.0.113.7",
      cause: null,
    });
    expect(text).not.toContain(SECRET);
  });

  it("says why a request was refused, which the client is not told", () => {
    const { line } = logged((context) => refuse(new Problem("credential_invalid", "expired"), null, context));
    expect(line).toMatchObject({
      level: "warn",
      status: 401,
      outcome: "credential_invalid",
      reason: "expired",
    });
  });

  it("tells an answer of the gateway from one of the origin", () => {
    expect(logged(() => new Response(null, { status: 204 })).line).toMatchObject({ outcome: "answered" });
  });

  it("tells what an observe route would have refused", () => {
    const { line } = logged((context) => {
      context.trace.observed = "rate_limited";
      context.trace.isForwarded = true;
      return new Response("ok");
    });
    expect(line).toMatchObject({ level: "info", outcome: "forwarded", observed: "rate_limited" });
  });

  it.each<[string, unknown, string | null]>([
    ["an error", new TypeError("connection reset"), "TypeError: connection reset"],
    ["none", undefined, null],
    ["something that is no error", SECRET, "not an Error: string"],
    ["a parser that quotes its input", new SyntaxError(`"${SECRET}" is not valid JSON`), "SyntaxError"],
    [
      "a platform that quotes a URL",
      new Error("cannot load https://o.example/x?key=abc now"),
      "Error: cannot load https://o.example/x?… now",
    ],
    ["a message with a credential", new Error(`bad ${SECRET}!`), "Error: bad …!"],
    ["a message with 21 bytes in base64", new Error(`bad ${"Ab+/".repeat(7)}!`), "Error: bad …!"],
    [
      "an internal error's reference",
      new Error("internal error; reference = k54ev3hcl4g3l1po424jvqdh"),
      "Error: internal error; reference = k54ev3hcl4g3l1po424jvqdh",
    ],
  ])("has the cause of a failure: %s", (_name, cause, expected) => {
    const { line } = logged((context) =>
      refuse(new Problem("store_unavailable", "x", { cause }), null, context),
    );
    expect(line).toMatchObject({ level: "error", cause: expected });
  });

  it("has no cause below 500: nothing failed", () => {
    const problem = new Problem("credential_invalid", "signature", { cause: new Error("detail") });
    expect(logged((context) => refuse(problem, null, context)).line.cause).toBeNull();
  });

  it("has no cause for an unknown exception but its class and cleaned message", () => {
    const { text, line } = logged((context) => refuse(new Error(`token ${SECRET}`), null, context));
    expect(line).toMatchObject({ outcome: "internal", level: "error", cause: "Error: token …" });
    expect(text).not.toContain(SECRET);
  });

  it("is one line, whatever stands in its parts (log injection)", () => {
    const { text } = logged((context) => {
      context.trace.principalId = 'a"}\n{"level":"info"\u001b[31m\r';
      return refuse(new Problem("credential_invalid", "x\ny"), null, context);
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
    expect(text).not.toMatch(/[\x00-\x1f]/);
  });

  it.each([
    [256, 256],
    [257, 256],
    [10_000, 256],
  ])("is bounded: of %i characters it keeps %i", (length, kept) => {
    const path = `/${"x".repeat(length - 1)}`;
    const { line } = logged((context) => {
      context.trace.credentialId = "y".repeat(length);
      return new Response("ok");
    }, `https://files.example${path}`);
    expect([String(line.path).length, String(line.credentialId).length]).toEqual([kept, kept]);
  });
});
