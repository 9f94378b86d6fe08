import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Cors, Origin, Route, Site } from "../../../src/config/types.ts";
import type { RequestContext } from "../../../src/context.ts";
import { forward } from "../../../src/pipeline/forward.ts";
import { attachUserContext } from "../../../src/pipeline/user-context.ts";
import { aRoute, aSite } from "../../support/worker/policy.ts";
import { aFullContext, aMatch, aSigningConfig } from "../../support/worker/upstream.ts";

interface Given {
  readonly site?: Partial<Site>;
  readonly route?: Partial<Route>;
  readonly request?: Request;
  /** The origin. It sees what would be sent. */
  readonly origin?: (request: Request, init: RequestInit) => Response | Promise<Response>;
}

interface Sent {
  readonly response: Response;
  readonly context: RequestContext;
  /** Every request that reached the origin. */
  readonly calls: readonly { readonly request: Request; readonly init: RequestInit }[];
}

async function send(given: Given, calls: { request: Request; init: RequestInit }[] = []): Promise<Sent> {
  const { request = new Request("https://files.example/x"), origin = () => new Response("ok") } = given;
  const fake = (async (input: string | Request, init: RequestInit) => {
    const received = new Request(input, init);
    calls.push({ request: received, init });
    return origin(received, init);
  }) as unknown as typeof fetch;
  const fetcher = { fetch: fake } as unknown as Fetcher;
  const wanted = given.site?.origin;
  const bound: Partial<Site> =
    wanted?.kind === "service" || wanted?.kind === "mtls" ? { origin: { ...wanted, binding: fetcher } } : {};
  const site = aSite([aRoute("/*", given.route)], { ...given.site, ...bound });
  // Only bindings may use the binding: the global fetch would leave by another way.
  const viaGlobal = (async () => {
    throw new Error("the global fetch was used");
  }) as unknown as typeof fetch;
  const forwarding = { fetch: "origin" in bound ? viaGlobal : fake };
  const context = aFullContext(aSigningConfig([site]), request, { forwarding });
  const match = aMatch(site);
  const response = await forward(await attachUserContext(null, match, context), match, context);
  return { response, context, calls };
}

const codeOf = (given: Given, calls?: { request: Request; init: RequestInit }[]) =>
  send(given, calls).then(
    () => "passed",
    (error) => error.code ?? error,
  );

describe("forward: how a request is sent", () => {
  it.each<[string, Partial<Route>, RequestInit["cache"]]>([
    ["a protected route", { auth: "required" }, "no-store"],
    ["an optional route", { auth: "optional" }, "no-store"],
    ["an open route", { auth: "none" }, "no-store"],
    ["an open route that may be cached", { auth: "none", cache: true }, undefined],
    ["an optional route that says it may be cached", { auth: "optional", cache: true }, "no-store"],
    ["a protected route that says it may be cached", { auth: "required", cache: true }, "no-store"],
  ])("keeps the platform's cache out of %s, as due", async (_name, route, cache) => {
    const { calls } = await send({ route });
    expect(calls.map(({ init }) => [init.cache, init.redirect])).toEqual([[cache, "manual"]]);
  });

  const url = new URL("https://origin.internal");
  it.each<[string, Origin, string]>([
    ["url", { kind: "url", url }, "https://origin.internal/x"],
    ["mtls", { kind: "mtls", binding: {} as Fetcher, bindingName: "M", url }, "https://origin.internal/x"],
    ["service", { kind: "service", binding: {} as Fetcher, bindingName: "S" }, "https://files.example/x"],
    ["self", { kind: "self" }, "https://files.example/x"],
  ])("%s: once, by its own way", async (_kind, origin, expected) => {
    const { calls, response, context } = await send({ site: { origin } });
    expect(calls.map(({ request }) => request.url)).toEqual([expected]);
    expect(calls[0]?.init).toMatchObject({ redirect: "manual", cache: "no-store" });
    expect(await response.text()).toBe("ok");
    expect(context.trace.isForwarded).toBe(true);
  });

  it("echo: answers without an origin", async () => {
    const { calls, response } = await send({ site: { origin: { kind: "echo" } } });
    expect(calls).toEqual([]);
    expect(await response.json()).toMatchObject({
      method: "GET",
      url: "/x",
      userContext: { anonymous: true },
    });
  });

  it("does not repeat a request that failed, and does not say why", async () => {
    const calls: { request: Request; init: RequestInit }[] = [];
    const cause = new TypeError("connect ECONNREFUSED 10.0.0.7");
    const failing = send({ origin: () => Promise.reject(cause) }, calls);
    await expect(failing).rejects.toMatchObject({
      code: "origin_unreachable",
      reason: "fetch failed",
      cause,
    });
    expect(calls).toHaveLength(1);
  });

  it("a port nobody listens on is origin_unreachable, over the real network", async () => {
    const site = aSite([aRoute("/*")], { origin: { kind: "url", url: new URL("http://127.0.0.1:1") } });
    const context = aFullContext(aSigningConfig([site]), new Request("https://files.example/x"), {
      forwarding: { fetch: (...input) => fetch(...input) },
    });
    const upstream = await attachUserContext(null, aMatch(site), context);
    await expect(forward(upstream, aMatch(site), context)).rejects.toMatchObject({
      code: "origin_unreachable",
    });
  });
});

describe("forward: self", () => {
  const self = { origin: { kind: "self" } } as const;
  const again = (name: string) => new Request("https://files.example/x", { headers: { [name]: "1" } });

  it("marks what it sends, and stops what comes back with the mark", async () => {
    const { calls } = await send({ site: self });
    expect(calls[0]?.request.headers.get("x-postern-loop")).toBe("1");
    const second: { request: Request; init: RequestInit }[] = [];
    expect(await codeOf({ site: self, request: again("x-postern-loop") }, second)).toBe("loop_detected");
    expect(second).toEqual([]);
  });

  it("other origins neither get the mark nor mind it", async () => {
    const { calls } = await send({ request: again("X-Postern-Loop") });
    expect(calls[0]?.request.headers.has("x-postern-loop")).toBe(false);
  });
});

describe("forward: the answer passes as it is", () => {
  it("is the very response, when nothing was asked for", async () => {
    const answer = new Response("ok", { status: 418, headers: { "x-origin": "1" } });
    expect((await send({ origin: () => answer })).response).toBe(answer);
  });

  it.each([301, 302, 303, 307, 308])("returns a redirect: %s", async (status) => {
    const origin = () => new Response(null, { status, headers: { location: "https://elsewhere.example/" } });
    const { response, calls } = await send({ origin, site: { requestIdOnResponses: true } });
    expect([response.status, response.headers.get("location"), calls.length]).toEqual([
      status,
      "https://elsewhere.example/",
      1,
    ]);
  });

  it("returns an origin's own errors", async () => {
    expect((await send({ origin: () => new Response("down", { status: 503 }) })).response.status).toBe(503);
  });

  const cors: Cors = {
    allowOrigins: ["https://app.example"],
    allowMethods: ["GET"],
    allowHeaders: [],
    exposeHeaders: [],
    allowCredentials: false,
    maxAgeSeconds: 600,
  };
  const fromPage = new Request("https://files.example/x", { headers: { origin: "https://app.example" } });

  it("adds X-Request-Id where the site asks for it, over the origin's", async () => {
    const origin = () => new Response("ok", { headers: { "x-request-id": "theirs" } });
    const { response } = await send({ origin, site: { requestIdOnResponses: true } });
    expect(response.headers.get("x-request-id")).toBe("request-1");
    expect(await response.text()).toBe("ok");
  });

  it("adds CORS headers for a page, where the site has cors", async () => {
    const { response } = await send({ site: { cors }, request: fromPage });
    expect(response.headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(response.headers.has("x-request-id")).toBe(false);
  });

  it("does not wrap answers to requests without Origin, nor on sites without cors", async () => {
    const answer = new Response("ok");
    expect((await send({ origin: () => answer, site: { cors } })).response).toBe(answer);
    expect((await send({ origin: () => answer, request: fromPage })).response).toBe(answer);
  });

  it("wrapping keeps two cookies, status, status text and an absent body", async () => {
    const headers = new Headers([
      ["set-cookie", "a=1; Path=/"],
      ["set-cookie", "b=2; Path=/"],
    ]);
    const origin = () => new Response(null, { status: 204, statusText: "Nothing", headers });
    const { response } = await send({ origin, site: { requestIdOnResponses: true } });
    expect(response.headers.getSetCookie()).toEqual(["a=1; Path=/", "b=2; Path=/"]);
    expect([response.status, response.statusText, response.body]).toEqual([204, "Nothing", null]);
  });

  it("hands a WebSocket over untouched, whatever the site asks for", async () => {
    const [client, server] = Object.values(new WebSocketPair());
    const answer = new Response(null, { status: 101, webSocket: client ?? null });
    const request = new Request("https://files.example/x", {
      headers: { upgrade: "websocket", connection: "Upgrade", origin: "https://app.example" },
    });
    const { response, calls } = await send({
      origin: () => answer,
      request,
      site: { requestIdOnResponses: true, cors },
      route: { maxStreamSeconds: 1 },
    });
    expect(response).toBe(answer);
    expect(calls[0]?.request.headers.get("upgrade")).toBe("websocket");
    server?.accept();
    client?.accept();
    const received = new Promise((resolve) =>
      server?.addEventListener("message", ({ data }) => resolve(data)),
    );
    response.webSocket?.send("hello");
    expect(await received).toBe("hello");
    server?.close();
  });

  it.each([{}, { requestIdOnResponses: true }])("events arrive one by one: %j", async (site) => {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const origin = () => new Response(readable, { headers: { "content-type": "text/event-stream" } });
    const { response } = await send({ origin, site });
    const reader = response.body?.getReader();
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      const written = writer.write(new TextEncoder().encode(event));
      expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(event);
      await written;
    }
    await reader?.cancel();
  });
});

describe("forward: time limits", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  /** An origin that answers only when told to, or when it is given up on. */
  function aSlowOrigin() {
    let answer: (response: Response) => void = () => {};
    const answered = new Promise<Response>((resolve) => {
      answer = resolve;
    });
    let isGivenUp = false;
    let isAsked = () => {};
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    const origin = async (request: Request, init: RequestInit) => {
      const givenUp = new Promise<never>((_, reject) => {
        init.signal?.addEventListener("abort", () => {
          isGivenUp = true;
          reject(init.signal?.reason);
        });
      });
      isAsked();
      const whole = request.arrayBuffer().then(() => answered);
      return Promise.race([whole, givenUp]);
    };
    return { origin, asked, answer: (response: Response) => answer(response), isGivenUp: () => isGivenUp };
  }

  /** A body that the test hands out piece by piece. */
  function aStream() {
    let isCancelled = false;
    let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
    const stream = new ReadableStream<Uint8Array>({
      start(own) {
        controller = own;
      },
      cancel() {
        isCancelled = true;
      },
    });
    return {
      stream,
      push: (chunk: Uint8Array) => controller?.enqueue(chunk),
      end: () => controller?.close(),
      fail: () => controller?.error(new Error("the client left")),
      isCancelled: () => isCancelled,
    };
  }

  const SETTLED = Symbol("settled");
  /** Whether a promise is still open once everything that could happen without time passing has happened. */
  async function isOpen(promise: Promise<unknown>): Promise<boolean> {
    const settled = promise.then(
      () => SETTLED,
      () => SETTLED,
    );
    await scheduler.wait(1);
    return (await Promise.race([settled, Promise.resolve()])) !== SETTLED;
  }

  it("sets no timer and no signal unless asked to", async () => {
    const { calls } = await send({
      origin: () => {
        expect(vi.getTimerCount()).toBe(0);
        return new Response("ok");
      },
    });
    expect(calls[0]?.init.signal).toBeUndefined();
  });

  it("first_byte_seconds: waits until the last millisecond, then gives up with origin_timeout", async () => {
    const slow = aSlowOrigin();
    const code = codeOf({ origin: slow.origin, route: { firstByteSeconds: 2 } });
    await slow.asked;
    vi.advanceTimersByTime(1999);
    expect(await isOpen(code)).toBe(true);
    expect(slow.isGivenUp()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await code).toBe("origin_timeout");
    expect(slow.isGivenUp()).toBe(true);
  });

  it("first_byte_seconds: an answer in time is not cut off later", async () => {
    const slow = aSlowOrigin();
    const sent = send({ origin: slow.origin, route: { firstByteSeconds: 2 } });
    await slow.asked;
    vi.advanceTimersByTime(1999);
    slow.answer(new Response("ok"));
    const { response } = await sent;
    vi.advanceTimersByTime(60_000);
    expect(slow.isGivenUp()).toBe(false);
    expect(await response.text()).toBe("ok");
  });

  it("first_byte_seconds: a failure before the time is origin_unreachable", async () => {
    const origin = () => Promise.reject(new Error("reset"));
    expect(await codeOf({ origin, route: { firstByteSeconds: 2 } })).toBe("origin_unreachable");
  });

  it("first_byte_seconds: counts from the end of the request body", async () => {
    const upload = aStream();
    const request = new Request("https://files.example/x", { method: "PUT", body: upload.stream });
    const slow = aSlowOrigin();
    const code = codeOf({ origin: slow.origin, request, route: { firstByteSeconds: 2 } });
    await slow.asked;
    upload.push(new Uint8Array(10));
    vi.advanceTimersByTime(60_000);
    expect(await isOpen(code)).toBe(true);
    upload.end();
    await vi.waitUntil(() => vi.getTimerCount() === 1);
    vi.advanceTimersByTime(2000);
    expect(await code).toBe("origin_timeout");
  });

  it("first_byte_seconds: an answer before the end of the body stops the clock", async () => {
    const upload = aStream();
    const request = new Request("https://files.example/x", { method: "PUT", body: upload.stream });
    const { response, calls } = await send({
      origin: () => new Response("early", { status: 413 }),
      request,
      route: { firstByteSeconds: 2 },
    });
    expect(response.status).toBe(413);
    const rest = calls[0]?.request.arrayBuffer();
    upload.end();
    await rest;
    await scheduler.wait(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("first_byte_seconds: a body that breaks off is a failure, not a wait", async () => {
    const upload = aStream();
    const request = new Request("https://files.example/x", { method: "PUT", body: upload.stream });
    const slow = aSlowOrigin();
    const code = codeOf({ origin: slow.origin, request, route: { firstByteSeconds: 2 } });
    await slow.asked;
    upload.push(new Uint8Array(10));
    upload.fail();
    expect(await code).toBe("origin_unreachable");
  });

  it("first_byte_seconds: the body arrives whole, with the length it was announced with", async () => {
    const request = new Request("https://files.example/x", {
      method: "POST",
      body: "hello",
      headers: { "content-length": "5" },
    });
    const origin = async (received: Request) =>
      new Response(`${received.headers.get("content-length")} ${await received.text()}`);
    const { response } = await send({ origin, request, route: { firstByteSeconds: 2 } });
    expect(await response.text()).toBe("5 hello");
  });

  it.each(["9007199254740993", "18446744073709551615", "5, 5", "-5", "0x5"])(
    "first_byte_seconds: a Content-Length that no body can have (%s) is none",
    async (length) => {
      const headers = { "content-length": length };
      const request = new Request("https://files.example/x", { method: "POST", body: "hello", headers });
      const origin = async (received: Request) => new Response(await received.text());
      const { response } = await send({ origin, request, route: { firstByteSeconds: 2 } });
      expect(await response.text()).toBe("hello");
    },
  );

  it("first_byte_seconds: a body that ends short of its announced length is a failure, not a request", async () => {
    const upload = aStream();
    const request = new Request("https://files.example/x", {
      method: "PUT",
      body: upload.stream,
      headers: { "content-length": "10" },
    });
    upload.push(new Uint8Array(3));
    upload.end();
    expect(await codeOf({ origin: aSlowOrigin().origin, request, route: { firstByteSeconds: 2 } })).toBe(
      "origin_unreachable",
    );
  });

  it("max_stream_seconds: passes an answer that ends in time, whole", async () => {
    const { response } = await send({
      origin: () => new Response("x".repeat(100_000), { headers: { "content-length": "100000" } }),
      route: { maxStreamSeconds: 2 },
    });
    expect(await response.text()).toHaveLength(100_000);
    await vi.waitUntil(() => vi.getTimerCount() === 0);
  });

  it("max_stream_seconds: breaks a longer one off, so that it does not look whole", async () => {
    const download = aStream();
    const { response } = await send({
      origin: () => new Response(download.stream),
      route: { maxStreamSeconds: 2 },
    });
    const reader = response.body?.getReader();
    download.push(new Uint8Array(3));
    expect((await reader?.read())?.value).toHaveLength(3);
    vi.advanceTimersByTime(1999);
    download.push(new Uint8Array(4));
    expect((await reader?.read())?.value).toHaveLength(4);
    vi.advanceTimersByTime(1);
    download.push(new Uint8Array(5));
    await expect(reader?.read()).rejects.toThrow("max_stream_seconds");
    await vi.waitUntil(() => download.isCancelled());
    await vi.waitUntil(() => vi.getTimerCount() === 0);
  });

  it("max_stream_seconds: leaves an answer without a body alone", async () => {
    const { response } = await send({
      origin: () => new Response(null, { status: 304 }),
      route: { maxStreamSeconds: 2 },
    });
    expect([response.status, response.body]).toEqual([304, null]);
  });
});
