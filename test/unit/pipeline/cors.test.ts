import { describe, expect, it } from "vitest";
import type { Cors } from "../../../src/config/types.ts";
import { addCorsHeaders, answerPreflight } from "../../../src/pipeline/cors.ts";
import type { Match } from "../../../src/pipeline/route.ts";
import { aConfig, aContext, aRoute, aSite, rawRequest } from "../../support/worker/policy.ts";

const ORIGIN = "https://app.example";
const someCors = (changes: Partial<Cors> = {}): Cors => ({
  allowOrigins: [ORIGIN, "https://second.example:8443"],
  allowMethods: ["GET", "PUT"],
  allowHeaders: ["Authorization", "Content-Type"],
  exposeHeaders: [],
  allowCredentials: false,
  maxAgeSeconds: 600,
  ...changes,
});

function preflight(cors: Cors | null, headers: Record<string, string> = {}, method = "OPTIONS") {
  const site = aSite([aRoute("/*")], { cors });
  const request = rawRequest(
    "https://a.example/x",
    { origin: ORIGIN, "access-control-request-method": "PUT", ...headers },
    method,
  );
  const match: Match = { site, route: aRoute("/*"), forwardPath: "/x" };
  return answerPreflight(match, aContext(aConfig([site]), request));
}

const granted = (response: Response | null) =>
  [...(response?.headers ?? [])].filter(([name]) => name.startsWith("access-control-"));

describe("answerPreflight (Fetch standard, CORS protocol)", () => {
  it("grants what is configured", () => {
    const response = preflight(someCors(), { "access-control-request-headers": "authorization" });
    expect(response?.status).toBe(204);
    expect(response?.body).toBeNull();
    expect(Object.fromEntries(response?.headers ?? [])).toEqual({
      "access-control-allow-origin": ORIGIN,
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "Authorization, Content-Type",
      "access-control-max-age": "600",
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
  });

  it.each([
    ["another origin", { origin: "https://evil.example" }],
    ["an origin that only begins alike", { origin: `${ORIGIN}.evil.example` }],
    ["an origin that only ends alike", { origin: "https://not-app.example" }],
    ["another port", { origin: `${ORIGIN}:444` }],
    ["another scheme", { origin: "http://app.example" }],
    ["another case", { origin: "https://APP.example" }],
    ["the null origin", { origin: "null" }],
    ["a literal asterisk", { origin: "*" }],
    ["two origins", { origin: `${ORIGIN}, https://second.example:8443` }],
    ["another method", { "access-control-request-method": "DELETE" }],
    ["a method in another case", { "access-control-request-method": "put" }],
  ])("answers 204 and grants nothing to %s", (_name, headers) => {
    const response = preflight(someCors(), headers);
    expect(response?.status).toBe(204);
    expect(granted(response)).toEqual([]);
    expect(response?.headers.get("vary")).toContain("Origin");
  });

  it("grants credentials to a listed origin", () => {
    const { headers } = preflight(someCors({ allowCredentials: true })) ?? {};
    expect(headers?.get("access-control-allow-credentials")).toBe("true");
  });

  it("never grants credentials to any origin, and then echoes none", () => {
    const cors = someCors({ allowOrigins: ["*"], allowCredentials: true });
    const { headers } = preflight(cors, { origin: "https://evil.example" }) ?? {};
    expect(headers?.get("access-control-allow-origin")).toBe("*");
    expect(headers?.has("access-control-allow-credentials")).toBe(false);
  });

  it("grants the null origin only by name or to all", () => {
    const byName = preflight(someCors({ allowOrigins: ["null"] }), { origin: "null" });
    expect(byName?.headers.get("access-control-allow-origin")).toBe("null");
  });

  it("reads * for methods as whatever is asked for", () => {
    const cors = someCors({ allowMethods: ["*"], allowCredentials: true });
    const { headers } = preflight(cors, { "access-control-request-method": "DELETE" }) ?? {};
    expect(headers?.get("access-control-allow-methods")).toBe("DELETE");
  });

  it.each([
    ["authorization,x-one", "authorization,x-one"],
    ["authorization", "authorization"],
    ["x-one , x-two", "x-one , x-two"],
    [null, null],
    ["x-one\tx-two", null],
    ["x-one; x-two", null],
    ["x-one,", null],
    ["", null],
  ])("reads * for headers as whatever is asked for: %j", (asked, allowed) => {
    const headers: Record<string, string> = asked === null ? {} : { "access-control-request-headers": asked };
    const answer = preflight(someCors({ allowHeaders: ["*"] }), headers);
    expect(answer?.headers.get("access-control-allow-headers")).toBe(allowed);
  });

  it("leaves out empty header lists", () => {
    expect(preflight(someCors({ allowHeaders: [] }))?.headers.has("access-control-allow-headers")).toBe(
      false,
    );
  });

  it("leaves anything else to the pipeline", () => {
    expect(preflight(null)).toBeNull();
    expect(preflight(someCors(), {}, "PUT")).toBeNull();
    const site = aSite([aRoute("/*")], { cors: someCors() });
    for (const headers of [{ origin: ORIGIN }, { "access-control-request-method": "PUT" }]) {
      const request = rawRequest("https://a.example/x", headers as Record<string, string>, "OPTIONS");
      const match: Match = { site, route: aRoute("/*"), forwardPath: "/x" };
      expect(answerPreflight(match, aContext(aConfig([site]), request))).toBeNull();
    }
  });
});

describe("addCorsHeaders", () => {
  function added(cors: Cors | null, sent: Record<string, string>, origin: string | null = ORIGIN) {
    const headers = new Headers(sent);
    const site = aSite([aRoute("/*")], { cors });
    const request = rawRequest("https://a.example/x", origin === null ? {} : { origin });
    addCorsHeaders(headers, { site }, request);
    return Object.fromEntries(headers);
  }

  it("echoes a listed origin and varies by it", () => {
    expect(added(someCors(), {})).toEqual({ "access-control-allow-origin": ORIGIN, vary: "Origin" });
  });

  it("varies by origin even when it grants nothing, or caches would mix answers", () => {
    expect(added(someCors(), {}, "https://evil.example")).toEqual({ vary: "Origin" });
    expect(added(someCors(), {}, null)).toEqual({ vary: "Origin" });
  });

  it.each([
    ["Accept-Encoding", "Accept-Encoding, Origin"],
    ["origin", "origin"],
    ["Accept, ORIGIN", "Accept, ORIGIN"],
    ["*", "*"],
    ["X-Origin", "X-Origin, Origin"],
  ])("adds to Vary: %s once", (vary, expected) => {
    expect(added(someCors(), { vary }).vary).toBe(expected);
  });

  it("replaces what the origin granted instead of doubling it", () => {
    const sent = {
      "access-control-allow-origin": "*",
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "X-A",
    };
    expect(added(someCors({ exposeHeaders: ["X-B", "X-C"] }), sent)).toEqual({
      "access-control-allow-origin": ORIGIN,
      "access-control-expose-headers": "X-B, X-C",
      vary: "Origin",
    });
    expect(added(someCors(), sent, "https://evil.example")).not.toHaveProperty("access-control-allow-origin");
    expect(added(someCors(), sent, "https://evil.example")).not.toHaveProperty(
      "access-control-allow-credentials",
    );
  });

  it("grants credentials to listed origins only", () => {
    const listed = added(someCors({ allowCredentials: true }), {});
    expect(listed["access-control-allow-credentials"]).toBe("true");
    const any = added(someCors({ allowOrigins: ["*"], allowCredentials: true }), {});
    expect(any).toEqual({ "access-control-allow-origin": "*", vary: "Origin" });
  });

  it("changes nothing for a site without cors", () => {
    const sent = { "access-control-allow-origin": "*", vary: "Accept" };
    expect(added(null, sent)).toEqual(sent);
  });
});
