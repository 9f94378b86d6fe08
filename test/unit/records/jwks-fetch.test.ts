import { describe, expect, it, vi } from "vitest";
import { fetchJwks, readJwks } from "../../../src/records/jwks-fetch.ts";

const KEY = { kty: "EC", crv: "P-256", x: "AAAA", y: "BBBB", kid: "a" };
const GOOD = JSON.stringify({ keys: [KEY] });
const IDP = new URL("https://idp.example/jwks");

const serve = (answer: () => Response | Promise<Response>) => vi.fn(async () => answer());
const load = (answer: () => Response | Promise<Response>, url = IDP) =>
  fetchJwks(url, serve(answer) as unknown as typeof fetch);

describe("requirement 14: one fetch of a key set", () => {
  it("reads the set, whatever its media type", async () => {
    expect(await load(() => new Response(GOOD, { headers: { "content-type": "text/plain" } }))).toEqual([
      KEY,
    ]);
  });

  it("neither follows redirects nor uses a cache", async () => {
    const fetcher = serve(() => new Response(GOOD));
    await fetchJwks(IDP, fetcher as unknown as typeof fetch);
    expect(fetcher.mock.calls[0]).toMatchObject([IDP, { redirect: "manual", cache: "no-store" }]);
  });

  it.each([301, 302, 303, 307, 308, 201, 204, 304, 400, 401, 403, 404, 500, 503])(
    "refuses status %s",
    async (status) => {
      const body = status === 204 || status === 304 ? null : GOOD;
      const headers = { location: "https://evil.example/jwks" };
      await expect(load(() => new Response(body, { status, headers }))).rejects.toThrow(`answered ${status}`);
    },
  );

  it.each([
    ["nothing", ""],
    ["HTML", "<html></html>"],
    ["half a set", GOOD.slice(0, -4)],
    ["an array", `[${JSON.stringify(KEY)}]`],
    ["a single key", JSON.stringify(KEY)],
    ["null", "null"],
    ["keys that are no array", '{"keys":{"0":{}}}'],
    ["a byte-order mark", `\ufeff${GOOD}`],
  ])("refuses %s", async (_name, body) => {
    await expect(load(() => new Response(body))).rejects.toThrow();
  });

  it("refuses what is not UTF-8", async () => {
    await expect(load(() => new Response(new Uint8Array([0x7b, 0xff, 0x7d])))).rejects.toThrow();
  });

  it("leaves out what it cannot use, and refuses a set without a usable key", async () => {
    expect(readJwks({ keys: [{ kty: "oct", k: "AAAA" }, null, "x", KEY, { ...KEY, use: "enc" }] })).toEqual([
      KEY,
    ]);
    expect(() => readJwks({ keys: [] })).toThrow("no usable key");
    expect(() => readJwks({ keys: [{ kty: "oct", k: "AAAA" }] })).toThrow("no usable key");
  });

  it("accepts 100 keys and refuses 101", () => {
    expect(readJwks({ keys: Array(100).fill(KEY) })).toHaveLength(100);
    expect(() => readJwks({ keys: Array(101).fill(KEY) })).toThrow("too many");
  });

  it("accepts 256 KB and refuses one byte more", async () => {
    const padded = (bytes: number) => GOOD + " ".repeat(bytes - GOOD.length);
    expect(await load(() => new Response(padded(256 * 1024)))).toEqual([KEY]);
    await expect(load(() => new Response(padded(256 * 1024 + 1)))).rejects.toThrow("too large");
  });

  it("stops reading an endless body", async () => {
    let chunks = 0;
    const endless = new ReadableStream({
      pull(controller) {
        chunks += 1;
        controller.enqueue(new Uint8Array(16 * 1024));
      },
    });
    await expect(load(() => new Response(endless))).rejects.toThrow("too large");
    expect(chunks).toBeLessThan(32);
  });

  it.each([
    "http://idp.example/jwks",
    "ftp://idp.example/jwks",
    "data:application/json,{}",
    "http://localhost.evil.example/jwks",
    "http://127.0.0.1.evil.example/jwks",
  ])("does not fetch %s", async (url) => {
    const fetcher = serve(() => new Response(GOOD));
    await expect(fetchJwks(new URL(url), fetcher as unknown as typeof fetch)).rejects.toThrow("https");
    expect(fetcher).not.toHaveBeenCalled();
  });

  it.each(["http://localhost:8080/jwks", "http://127.0.0.1/jwks", "http://[::1]:3000/jwks"])(
    "fetches from a loopback address without TLS: %s",
    async (url) => {
      expect(await load(() => new Response(GOOD), new URL(url))).toEqual([KEY]);
    },
  );

  it("gives up after five seconds on an answer or a body that does not come", async () => {
    vi.useFakeTimers();
    try {
      const hanging = new ReadableStream({
        start: (controller) => controller.enqueue(new Uint8Array([0x7b])),
      });
      for (const answer of [() => new Promise<Response>(() => undefined), () => new Response(hanging)]) {
        let outcome = "pending";
        const done = load(answer)
          .then(
            () => "read",
            (error: unknown) => String(error),
          )
          .then((text) => {
            outcome = text;
          });
        await vi.advanceTimersByTimeAsync(4_999);
        expect(outcome).toBe("pending");
        await vi.advanceTimersByTimeAsync(1);
        await done;
        expect(outcome).toContain("timed out");
      }
    } finally {
      vi.useRealTimers();
    }
  });

  it("puts nothing the endpoint sent into its errors", async () => {
    const secret = "s3cr3t-in-the-answer";
    for (const answer of [new Response(secret), new Response(`{"keys":"${secret}"}`)]) {
      const error: unknown = await load(() => answer).catch((thrown: unknown) => thrown);
      expect((error as Error).message).not.toContain(secret);
    }
  });
});
