// Stores and key sets that fail, hang or answer garbage: 503 or the last good knowledge, never a pass, never a 401.
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  addApiKey,
  addPat,
  addSession,
  addUser,
  bearer,
  emptyStores,
  GATEWAY,
  type Gateway,
  SITE,
  signJwt,
  startGateway,
} from "../support/worker/gateway.ts";

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

const CALLERS: readonly (readonly [name: string, call: () => Promise<RequestInit>])[] = [
  ["a JWT", async () => bearer(await signJwt())],
  ["an API key", async () => bearer(await addApiKey("k1"))],
  ["a PAT", async () => bearer(await addPat("p1"), { "New-Api-User": "7" })],
  ["a session", async () => ({ headers: { cookie: `sid=${await addSession("s1")}`, "New-Api-User": "7" } })],
];

async function answerOf(gateway: Gateway, path: string, init: RequestInit) {
  const response = await gateway.fetch(path, init);
  await gateway.settle();
  const { headers, status } = response;
  const isProblem = headers.get("content-type") === "application/problem+json";
  const { code } = isProblem ? ((await response.json()) as { code: string }) : { code: null };
  return { status, code, retryAfter: headers.get("retry-after"), forwarded: gateway.received.length };
}

const UNAVAILABLE = { status: 503, code: "store_unavailable", retryAfter: "5", forwarded: 0 };

describe.each(CALLERS)("with %s", (_name, call) => {
  it.each(["/private/x", "/optional/x", "/now/x", "/watched/x"])("D1 failing: 503 on %s", async (path) => {
    const init = await call();
    const gateway = startGateway();
    gateway.faults.d1 = "failing";
    expect(await answerOf(gateway, path, init)).toEqual(UNAVAILABLE);
  });

  it("D1 hanging: 503 after the cut-off", async () => {
    const init = await call();
    const gateway = startGateway();
    gateway.faults.d1 = "hanging";
    expect(await answerOf(gateway, "/private/x", init)).toEqual(UNAVAILABLE);
  });

  it("D1 failing after it was asked: the answer stands as long as the route allows, but not with freshness 0", async () => {
    const init = await call();
    const gateway = startGateway();
    expect((await answerOf(gateway, "/private/x", init)).status).toBe(200);
    gateway.faults.d1 = "failing";
    expect((await answerOf(gateway, "/private/x", init)).status).toBe(200);
    expect(await answerOf(gateway, "/now/x", init)).toEqual({ ...UNAVAILABLE, forwarded: 2 });
  });

  it.each(["failing", "hanging"] as const)("KV %s: D1 answers in its place", async (fault) => {
    const init = await call();
    const gateway = startGateway();
    gateway.faults.kv = fault;
    // A miss makes the view fresh, so that KV is asked for the credential next.
    await answerOf(gateway, "/private/x", bearer(await signJwt({ sub: "nobody" })));
    const counted = gateway.counts.kv;
    const response = await gateway.fetch("/private/x", init);
    expect([response.status, gateway.counts.kv - counted]).toEqual([200, expect.any(Number)]);
    expect(gateway.counts.kv).toBeGreaterThan(counted);
  });

  it("KV answering garbage: D1 answers in its place", async () => {
    const init = await call();
    const garbage = { get: async () => ({ credential: { status: "active" } }), put: async () => {} };
    const gateway = startGateway({ kv: garbage as unknown as KVNamespace });
    await answerOf(gateway, "/private/x", bearer(await signJwt({ sub: "nobody" })));
    expect((await answerOf(gateway, "/private/x", init)).status).toBe(200);
  });

  it("no KV at all: D1 answers", async () => {
    const init = await call();
    expect((await answerOf(startGateway({ kv: null }), "/private/x", init)).status).toBe(200);
  });
});

it("open and optional routes without a credential do not notice an outage", async () => {
  const gateway = startGateway();
  gateway.faults.d1 = "failing";
  gateway.faults.kv = "failing";
  expect((await gateway.fetch("/open/x")).status).toBe(200);
  expect((await gateway.fetch("/optional/x")).status).toBe(200);
});

it("a site whose JWTs stand alone needs no store", async () => {
  const alone = {
    ...SITE,
    realm: "alone",
    users: "none",
    revocation: "none",
    routes: [{ path: "/*", auth: "required", accept: ["jwt"] }],
  };
  const gateway = startGateway({ vars: { SITE_TEST: alone } });
  gateway.faults.d1 = "failing";
  gateway.faults.kv = "failing";
  expect((await gateway.fetch("/private/x", bearer(await signJwt()))).status).toBe(200);
  expect(gateway.counts).toEqual({ d1: 0, kv: 0 });
});

describe("an exact limit", () => {
  const limited = (requests: number) => ({
    SITE_TEST: {
      ...SITE,
      routes: [
        { path: "/*", auth: "none", limit: { exact: true, requests, per_seconds: 3_600, by: "address" } },
      ],
    },
    GATEWAY: { ...GATEWAY, client_address_header: "X-Test-Address" },
  });
  const from = (address: string) => ({ headers: { "X-Test-Address": address } });

  it("lets exactly that many of 30 parallel requests pass, from each address", async () => {
    const gateway = startGateway({ vars: limited(7) });
    const all = Array.from({ length: 30 }, () => gateway.fetch("/x", from("192.0.2.1")));
    const statuses = (await Promise.all(all)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(7);
    expect(statuses.filter((status) => status === 429)).toHaveLength(23);
    expect((await gateway.fetch("/x", from("192.0.2.2"))).status).toBe(200);
  });

  it.each(["failing", "hanging"] as const)(
    "that cannot be counted, D1 %s, is 503 and not a pass",
    async (fault) => {
      const gateway = startGateway({ vars: limited(7) });
      gateway.faults.d1 = fault;
      expect(await answerOf(gateway, "/x", from("192.0.2.1"))).toEqual(UNAVAILABLE);
    },
  );

  it("holds the caller's knowledge to a bound that still holds after the count", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    try {
      const routes = [
        {
          path: "/*",
          auth: "required",
          limit: { exact: true, requests: 9, per_seconds: 60, by: "principal" },
        },
      ];
      const gateway = startGateway({ vars: { SITE_TEST: { ...SITE, routes } } });
      const init = bearer(await addApiKey("k1"));
      expect((await answerOf(gateway, "/x", init)).status).toBe(200);
      const reads = async (afterMs: number) => {
        gateway.counts.d1 = 0;
        vi.setSystemTime(1_800_000_000_000 + afterMs);
        const response = await gateway.fetch("/x", init);
        const count = gateway.counts.d1;
        await gateway.settle();
        return [response.status, count];
      };
      // One count each; at 28 s a read of the record before it.
      expect(await reads(8_000)).toEqual([200, 1]);
      expect(await reads(28_000)).toEqual([200, 2]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a JWKS endpoint", () => {
  const site = {
    ...SITE,
    realm: "alone",
    users: "none",
    revocation: "none",
    jwt: {
      algorithms: ["ES256"],
      jwks: "https://idp.example.com/jwks",
      issuer: "https://idp.example.com",
      audience: "api",
    },
    routes: [{ path: "/*", auth: "required", accept: ["jwt"] }],
  };
  const vars = { SITE_TEST: site };

  it.each([
    ["failing", () => Promise.reject(new Error("no route"))],
    ["answering 500", async () => new Response("oops", { status: 500 })],
    ["answering garbage", async () => new Response("<html>")],
    ["answering no keys", async () => Response.json({ keys: [] })],
    ["redirecting elsewhere", async () => Response.redirect("https://evil.example/jwks")],
  ] as const)("%s: 503, not 401, and nothing is forwarded", async (_name, answer) => {
    const spy = vi.spyOn(globalThis, "fetch").mockImplementation(answer);
    try {
      const token = [
        { alg: "ES256", typ: "JWT", kid: "k1" },
        { iss: "https://idp.example.com", aud: "api", sub: "7", exp: 4e9 },
      ]
        .map((part) =>
          btoa(JSON.stringify(part)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_"),
        )
        .concat("A".repeat(86))
        .join(".");
      const gateway = startGateway({ vars });
      expect(await answerOf(gateway, "/x", bearer(token))).toEqual({
        ...UNAVAILABLE,
        code: "keys_unavailable",
        retryAfter: "10", // the cool-down
      });
    } finally {
      spy.mockRestore();
    }
  });
});
