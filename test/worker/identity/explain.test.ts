// Explaining a decision: it says what the pipeline then does, to administrators alone, and nothing comes of it.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  SITE,
  secrets,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const NOW = () => Math.floor(Date.now() / 1_000);
const AT = "https://api.example.com";
type Json = Readonly<Record<string, unknown>>;
interface Header {
  readonly name: string;
  readonly value: string;
}

const VARS = {
  SITE_TEST: {
    ...SITE,
    routes: [
      ...SITE.routes,
      { path: "/notes/*", methods: ["GET"], scopes: ["notes.read"] },
      { path: "/granted/*", permissions: ["reports"] },
      { path: "/counted/*", limit: { exact: true, requests: 1, per_seconds: 3_600, by: "credential" } },
    ],
  },
  SITE_LLM: {
    hosts: ["llm.example.com"],
    origin: "service:ORIGIN",
    realm: "main",
    preset: "new-api-current",
    jwt: { secret: "TEST_JWT_SECRET" },
  },
};

let gateway: Gateway;
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({ vars: VARS });
  await addUser("7", { name: "Alice", permissions: ["reports"] });
  await addUser("1", { role: "admin" });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await gateway.settle(); // what a test noted must not end up in the next one
});

const authorization = (value: string): readonly Header[] => [
  { name: "Authorization", value: `Bearer ${value}` },
];

async function explain(body: Json, token: string | null = ADMIN_TOKEN) {
  const answer = await api(gateway, "POST", "admin/explain", body, token);
  return { status: answer.status, body: answer.body as Json, text: JSON.stringify(answer.body) };
}
async function explained(url: string, headers: readonly Header[] = [], more: Json = {}): Promise<Json> {
  const { status, body, text } = await explain({ url, headers, ...more });
  expect(status, text).toBe(200);
  return body;
}

describe("an explanation says what then happens", () => {
  const CREDENTIALS: readonly (readonly [name: string, headers: () => Promise<readonly Header[]>])[] = [
    ["nothing", async () => []],
    ["an API key", async () => authorization(await addApiKey("k1", { scopes: ["notes.read"] }))],
    [
      "an API key that ran out",
      async () => authorization(await addApiKey("k2", { expiresAtSeconds: NOW() - 1 })),
    ],
    ["a disabled API key", async () => authorization(await addApiKey("k3", { status: "disabled" }))],
    [
      "an API key for other addresses",
      async () => authorization(await addApiKey("k4", { ipAllow: ["10.0.0.0/8"] })),
    ],
    ["a PAT without its header", async () => authorization(await addPat("p1"))],
    ["a PAT", async () => [...authorization(await addPat("p2")), { name: "New-Api-User", value: "7" }]],
    [
      "a PAT of another",
      async () => [...authorization(await addPat("p3")), { name: "New-Api-User", value: "8" }],
    ],
    ["a JWT", async () => authorization(await signJwt())],
    ["a JWT of an administrator", async () => authorization(await signJwt({ sub: "1", role: "admin" }))],
    ["a JWT that ran out", async () => authorization(await signJwt({ exp: NOW() - 3_600 }))],
    ["a JWT of nobody", async () => authorization(await signJwt({ sub: "nobody" }))],
    ["a session", async () => [{ name: "Cookie", value: `sid=${await addSession("s1")}` }]],
    ["garbage", async () => authorization("garbage")],
    ["a JWT without a signature", async () => authorization((await signJwt()).replace(/[^.]+$/, ""))],
    [
      "two credentials",
      async () => [
        ...authorization(await addApiKey("k5")),
        { name: "Cookie", value: `sid=${await addSession("s2")}` },
      ],
    ],
  ];
  const PATHS = [
    ["GET", "/open/x"],
    ["GET", "/optional/x"],
    ["GET", "/private/x"],
    ["POST", "/private/x"],
    ["GET", "/admin/x"],
    ["GET", "/watched/x"],
    ["GET", "/notes/x"],
    ["POST", "/notes/x"],
    ["GET", "/granted/x"],
    ["GET", "/ADMIN/x"],
    ["GET", "/nowhere"],
    ["GET", "/open//x"],
    ["GET", "/open/%2e%2e%2fadmin"],
    ["GET", "/open/..%2fadmin"],
    ["GET", "/open/;x"],
  ] as const;

  it.each(CREDENTIALS)("with %s, on every route", async (_name, make) => {
    const headers = await make();
    for (const [method, path] of PATHS) {
      const url = `${AT}${path}`;
      const told = await explained(url, headers, { method });
      expect(gateway.received, `${method} ${path}`).toEqual([]);
      const init = { method, headers: headers.map(({ name, value }): [string, string] => [name, value]) };
      const response = await gateway.fetch(url, init);
      const isForwarded = gateway.received.splice(0).length > 0;
      expect([told.outcome, `${method} ${path}`]).toEqual([
        isForwarded ? "forwarded" : "refused",
        `${method} ${path}`,
      ]);
      expect([told.status, `${method} ${path}`]).toEqual([
        isForwarded ? null : response.status,
        `${method} ${path}`,
      ]);
      if (!isForwarded) expect(told.code).toBe(((await response.json()) as Json).code);
    }
  });

  it("which route, which demands, whose credential, and what they lack", async () => {
    const key = await addApiKey("k1", { scopes: ["notes.write"], expiresAtSeconds: 4_000_000_000 });
    expect(await explained(`${AT}/notes/1?secret=1`, authorization(key))).toEqual({
      outcome: "refused",
      status: 403,
      code: "scope_insufficient",
      reason: "not all scopes",
      observed: null,
      site: "test",
      path: "/notes/1",
      route: {
        key: "SITE_TEST.routes[6]",
        path: "/notes/*",
        methods: ["GET"],
        auth: "required",
        accept: ["jwt", "api_key", "pat", "session"],
        role: null,
        scopes: ["notes.read"],
        any_scopes: [],
        permissions: [],
        any_permissions: [],
        limit_by: null,
        freshness_seconds: 30,
        mode: "enforce",
      },
      credential: { kind: "api_key", id: "k1" },
      principal: {
        realm: "main",
        id: "7",
        name: "Alice",
        role: "user",
        permissions: ["reports"],
        scopes: ["notes.write"],
        expires_at: 4_000_000_000,
      },
    });
  });

  it.each([
    ["api_key: expired", async () => addApiKey("k2", { expiresAtSeconds: NOW() - 1 })],
    ["api_key: disabled", async () => addApiKey("k3", { status: "disabled" })],
    ["api_key: address", async () => addApiKey("k4", { ipAllow: ["10.0.0.0/8"] })],
    ["pat: user_header_missing (new-api-user)", async () => addPat("p1")],
    ["jwt: expired", async () => signJwt({ exp: NOW() - 3_600 })],
    ["jwt: issuer", async () => signJwt({ iss: "https://evil.example.com" })],
    ["jwt: owner_missing", async () => signJwt({ sub: "nobody" })],
    ["api_key: tag", async () => `sk-${"a".repeat(48)}`],
  ])("why a credential is refused, which its bearer never learns: %s", async (reason, make) => {
    expect(await explained(`${AT}/private/x`, authorization(await make()))).toMatchObject({
      outcome: "refused",
      status: 401,
      code: "credential_invalid",
      reason,
      principal: null,
    });
  });

  it("from which address it comes", async () => {
    const key = authorization(await addApiKey("k1", { ipAllow: ["10.0.0.0/8"] }));
    const url = `${AT}/private/x`;
    expect(await explained(url, key, { client_address: "10.1.2.3" })).toMatchObject({ outcome: "forwarded" });
    expect(await explained(url, key, { client_address: "11.1.2.3" })).toMatchObject({
      reason: "api_key: address",
    });
  });

  it("what a route in observe mode would have refused", async () => {
    expect(await explained(`${AT}/watched/x`, authorization(await addApiKey("k1")))).toMatchObject({
      outcome: "forwarded",
      observed: "role_insufficient",
      route: { mode: "observe", role: "admin" },
      principal: { id: "7" },
    });
  });

  it("by the words of the site's own system, where it has any", async () => {
    const url = "https://llm.example.com/api/user/self";
    const response = await gateway.fetch(url);
    expect(await response.json()).toHaveProperty("success", false);
    expect(await explained(url)).toMatchObject({
      outcome: "refused",
      site: "llm",
      code: "credential_missing",
      status: response.status,
    });
  });

  it("of a spelling as it is sent, not as a parser would mend it", async () => {
    for (const path of ["/open/..\\admin", "/open/%2e%2e/x", "/open/\tx"]) {
      const told = await explained(`${AT}${path}`);
      expect(told.outcome, path).toBe("refused");
      expect([400, 404], path).toContain(told.status);
    }
    expect(await explained("https://a b/x")).toMatchObject({ status: 400, code: "host_invalid", site: null });
  });
});

describe("nothing comes of an explanation", () => {
  it.each([
    ["a PAT that only the origin knows", `${"Ab3+/".repeat(6)}x=`, "undecided", "introspection_unavailable"],
    ["a key that only the origin knows", `sk-${"K3y".repeat(16)}`, "undecided", "introspection_unavailable"],
    ["what cannot be one of the origin's", "garbage", "refused", "credential_invalid"],
  ])("%s is not sent to it", async (_what, value, outcome, code) => {
    const site = {
      hosts: ["asks.example.com"],
      origin: "service:ORIGIN",
      preset: "new-api",
      introspect: true,
      users: "none",
    };
    gateway = startGateway({ vars: { ...VARS, SITE_ASKS: site } });
    const url = `https://asks.example.com/${value.startsWith("sk-") ? "v1/models" : "api/user/self"}`;
    const headers = [...authorization(value), { name: "New-Api-User", value: "7" }];
    expect(await explained(url, headers)).toMatchObject({ outcome, code, principal: null });
    await gateway.settle();
    expect(gateway.received).toEqual([]);
    // A real one is asked about.
    await gateway.fetch(url, { headers: headers.map(({ name, value }): [string, string] => [name, value]) });
    await gateway.settle();
    expect(gateway.received.length).toBe(outcome === "undecided" ? 1 : 0);
  });

  it("no request, no count, no mark of a use, no entry, no row", async () => {
    const key = await addApiKey("k1");
    const cookie = await addSession("s1");
    const tables = [
      "credentials",
      "sessions",
      "rate_windows",
      "changes",
      "audit",
      "throttles",
      "sign_in_failures",
    ];
    const everything = async () =>
      JSON.stringify(
        await Promise.all(
          tables.map(async (name) => (await DB.prepare(`SELECT * FROM ${name}`).all()).results),
        ),
      );
    const before = await everything();
    for (let i = 0; i < 3; i++) {
      expect(await explained(`${AT}/counted/x`, authorization(key))).toMatchObject({
        outcome: "forwarded",
        route: { limit_by: "credential" },
      });
    }
    await explained(`${AT}/private/x`, [{ name: "Cookie", value: `sid=${cookie}` }]);
    await gateway.settle();
    expect(await everything()).toBe(before);
    expect(gateway.received).toEqual([]);
    // The one request that is due is still due.
    expect((await gateway.fetch("/counted/x", bearer(key))).status).toBe(200);
  });

  it("the log line of the call is the caller's own", async () => {
    const log = vi.spyOn(console, "log");
    await explained(`${AT}/private/x`, authorization(await addApiKey("k1")));
    expect(JSON.parse(log.mock.lastCall?.[0])).toMatchObject({
      path: "/_gateway/admin/explain",
      outcome: "answered",
      site: null,
      principalId: "admin_token",
      credentialId: null,
      reason: null,
    });
  });
});

describe("an explanation shows no secret", () => {
  it("of the request, of what is stored, or of the gateway", async () => {
    const site = { ...VARS.SITE_TEST, origin_headers: { "X-Origin-Key": "secret:ORIGIN_KEY" } };
    gateway = startGateway({ vars: { ...VARS, SITE_TEST: site, ORIGIN_KEY: "what-only-the-origin-knows" } });
    const presented = [
      await addApiKey("k1"),
      await addApiKey("k2", { status: "disabled" }),
      await addPat("p1"),
      await signJwt(),
      (await signJwt()).slice(0, -2),
      "garbage-that-might-be-a-password",
    ];
    const cookie = await addSession("s1");
    const { results } = await DB.prepare(
      "SELECT digest FROM credentials UNION SELECT digest FROM sessions",
    ).all<{ digest: string }>();
    const hidden = [
      ...presented,
      ...presented.flatMap((value) => value.split(".").filter((part) => part.length > 8)),
      ...((cookie.split(".")[1] ?? "").match(/.{20}/g) ?? []),
      ...results.map(({ digest }) => digest),
      ...Object.values(secrets),
      "what-only-the-origin-knows",
      "hunter2",
    ].filter((value) => value !== "");
    for (const path of ["/private/x?token=hunter2", "/optional/x", "/nowhere/hunter1", "/admin/x"]) {
      for (const headers of [...presented.map(authorization), [{ name: "Cookie", value: `sid=${cookie}` }]]) {
        const { status, text } = await explain({ url: `${AT}${path}`, headers });
        expect(status, text).toBe(200);
        for (const secret of hidden) expect(text.includes(secret), `${path} shows ${secret}`).toBe(false);
      }
    }
  });
});

describe("an explanation is for administrators (an oracle to anybody else)", () => {
  it.each([
    ["nobody", async () => null, 401],
    ["a user with the very key that is asked about", async () => addApiKey("k1"), 401],
    [
      "a user of the realm gateway",
      async () => administrator("user", ["gateway.read", "gateway.write"]),
      403,
    ],
    ["an administrator who may only write", async () => administrator("admin", ["gateway.write"]), 403],
  ])("not for %s: the answer is the same whatever is asked", async (_name, make, expected) => {
    const token = await make();
    const good = authorization(await addApiKey("k9"));
    const answers = [];
    for (const body of [
      { url: `${AT}/private/x`, headers: good },
      { url: `${AT}/nowhere` },
      { url: "" },
      {},
    ]) {
      const { status, body: answer } = await explain(body, token);
      answers.push({ ...answer, status, requestId: "" });
    }
    expect(answers[0]).toMatchObject({ status: expected });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it("for one who may read", async () => {
    const token = await administrator("admin", ["gateway.read"]);
    expect((await explain({ url: `${AT}/open/x` }, token)).status).toBe(200);
  });

  async function administrator(role: string, scopes: readonly string[]): Promise<string> {
    await addUser(`g-${role}`, { realm: "gateway", role });
    return addApiKey(`key-g-${role}`, { realm: "gateway", userId: `g-${role}`, scopes });
  }
});

describe("what cannot be explained is said by field", () => {
  it.each<readonly [field: string, body: Json]>([
    ["url", {}],
    ["url", { url: "/private/x" }],
    ["url", { url: "ftp://api.example.com/" }],
    ["url", { url: `${AT}/${"a".repeat(8_192)}` }],
    ["url", { url: "https://auth.example.com/_gateway/admin/realms" }],
    ["url", { url: "https://auth.example.com/_GATEWAY/me" }],
    ["method", { url: AT, method: "get" }],
    ["method", { url: AT, method: "CONNECT" }],
    ["method", { url: AT, method: "GET\r\nX: y" }],
    ["headers[0].name", { url: AT, headers: [{ name: "a b", value: "" }] }],
    ["headers[0].value", { url: AT, headers: [{ name: "a", value: "b\r\nc: d" }] }],
    ["headers[0].value", { url: AT, headers: [{ name: "a", value: "b".repeat(16_385) }] }],
    ["headers", { url: AT, headers: Array(101).fill({ name: "a", value: "b" }) }],
    ["client_address", { url: AT, client_address: "10.0.0.0/8" }],
    ["client_address", { url: AT, client_address: "here" }],
    ["body", { url: AT, body: "x" }],
  ])("%s, number %#", async (field, body) => {
    const { status, body: answer } = await explain(body);
    expect(answer).toMatchObject({ code: "input_invalid", errors: [{ field }] });
    expect(status).toBe(400);
  });

  it("D1 that is down is an outage of what is asked about, as it would be for the request", async () => {
    const key = authorization(await addApiKey("k1"));
    gateway.faults.d1 = "failing";
    const { status, body } = await explain({ url: `${AT}/private/x`, headers: key });
    expect([status, body.outcome, body.code]).toEqual([200, "refused", "store_unavailable"]);
  });

  it("paths of the gateway on a host that is not its own are paths of the site", async () => {
    gateway = startGateway({
      vars: { ...VARS, GATEWAY: { ...GATEWAY, hosts: ["auth.example.com"], realms: { gateway: {} } } },
    });
    expect(await explained("https://other.example.com/_gateway/me")).toMatchObject({
      code: "route_not_found",
    });
  });
});

it("a user whose rights were taken a moment ago is explained as they are now", async () => {
  const key = authorization(await addApiKey("k1"));
  const url = `${AT}/now/x`;
  expect(await explained(url, key)).toMatchObject({ outcome: "forwarded" });
  await writes.updateUser("main", "7", { status: "disabled" }, NOW());
  expect(await explained(url, key)).toMatchObject({ outcome: "refused", reason: "api_key: owner_inactive" });
});
