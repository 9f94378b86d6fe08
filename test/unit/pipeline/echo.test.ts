import { describe, expect, it } from "vitest";
import { echo } from "../../../src/pipeline/echo.ts";
import { attachUserContext, type Upstream } from "../../../src/pipeline/user-context.ts";
import { aRoute, aSite } from "../../support/worker/policy.ts";
import { aFullContext, aMatch, aPrincipal, aSigningConfig } from "../../support/worker/upstream.ts";

const site = aSite([aRoute("/*")], { origin: { kind: "echo" }, originHeaders: [["X-Origin-Key", "s3cret"]] });

interface Echoed {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly bodyBytes: number;
  readonly userContext: Readonly<Record<string, unknown>> | null;
}

function aRequest(
  url: string,
  init: { method?: string; headers?: HeadersInit; body?: ReadableStream } = {},
): Upstream {
  return { url, method: init.method ?? "GET", headers: new Headers(init.headers), body: init.body ?? null };
}

async function echoed(request: Upstream): Promise<Echoed> {
  return (await echo(request, site)).json();
}

describe("echo", () => {
  it("answers with the request as an origin would have received it, and the user context decoded", async () => {
    const request = new Request("https://files.example/a%20b?x=1&x=2", {
      method: "PUT",
      headers: { "x-custom": "1", "x-user-id": "forged", authorization: "Bearer sk-secret" },
      body: "hello",
    });
    const context = aFullContext(aSigningConfig([site]), request);
    const upstream = await attachUserContext(aPrincipal(), aMatch(site, { forwardPath: "/a%20b" }), context);
    const { method, url, headers, bodyBytes, userContext } = await echoed(upstream);
    expect([method, url, bodyBytes]).toEqual(["PUT", "/a%20b?x=1&x=2", 5]);
    expect(headers).toContainEqual(["x-custom", "1"]);
    expect(headers).toContainEqual(["x-request-id", "request-1"]);
    expect(headers.map(([name]) => name)).not.toContain("x-user-id");
    expect(headers.map(([name]) => name)).not.toContain("authorization");
    expect(userContext).toMatchObject({ sub: "7", aud: "test", auth: { kind: "api_key", id: "k1" } });
  });

  it("shows that the origin's own headers are there, not what they say", async () => {
    const text = await (
      await echo(aRequest("https://a.example/", { headers: { "x-origin-key": "s3cret" } }), site)
    ).text();
    expect(text).toContain("x-origin-key");
    expect(text).not.toContain("s3cret");
  });

  it("has no user context where there is none", async () => {
    expect((await echoed(aRequest("https://a.example/"))).userContext).toBeNull();
  });

  it("is indented JSON that nobody stores", async () => {
    const response = await echo(aRequest("https://a.example/"), site);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.text()).toMatch(/^\{\n {2}"method": "GET",\n.*\}\n$/s);
  });

  it("has no body for HEAD", async () => {
    const response = await echo(aRequest("https://a.example/", { method: "HEAD" }), site);
    expect(response.body).toBeNull();
  });

  it("counts a body as it streams by, without keeping it", async () => {
    const chunk = new Uint8Array(1024 * 1024);
    let left = 256; // more than an isolate may hold
    const body = new ReadableStream({
      type: "bytes",
      pull(controller) {
        if (left-- > 0) controller.enqueue(chunk.slice());
        else controller.close();
      },
    });
    const request = aRequest("https://a.example/", { method: "POST", body });
    expect((await echoed(request)).bodyBytes).toBe(256 * 1024 * 1024);
  });
});
