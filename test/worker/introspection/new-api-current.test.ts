// In front of a current New API of which nothing was imported: it is asked whose a credential is, and how little.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  addPat,
  addUser,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";
import {
  NOW_MS,
  NOW_SECONDS,
  SESSION_SECRET,
  signDashboardToken,
} from "../presets/new-api-current/dashboard.ts";

const PAT = `${"Ab3+/".repeat(6)}x=`;
const OTHER_PAT = "q".repeat(28);
const KEY = `sk-${"K3y".repeat(16)}`;
const SELF = "/api/user/self";
const QUESTIONS: ReadonlySet<string> = new Set([SELF, "/api/usage/token/", "/v1/models/introspection"]);

const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  preset: "new-api-current",
  introspect: true,
  users: "none",
  jwt: { secret: "TEST_SESSION_SECRET" },
} as const;
const vars = {
  TEST_SESSION_SECRET: SESSION_SECRET,
  GATEWAY: { ...GATEWAY, realms: {} },
  SITE_TEST: SITE,
};

/** The system itself, and what it was asked. */
const users: Map<string, Record<string, unknown>> = new Map();
const sessions: Set<string> = new Set();
let asked: Request[] = [];
/** In the place of its answers to questions. */
let fault: (() => Response | Promise<Response>) | null = null;
let gateway: Gateway;

const SID = "0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11";
const self = (changes: object = {}) => ({
  ...{ id: 7, username: "alice", display_name: "Alice", role: 1, status: 1, group: "vip" },
  ...changes,
});
const refused = (status: number, code: string) =>
  Response.json({ success: false, code, message: "told in words" }, { status });

/** A question is told from a forwarded request by its user context: nobody is calling. */
async function origin(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (!isQuestion(request)) return new Response("from the origin");
  asked.push(request);
  if (fault !== null) return fault();
  const token = request.headers.get("authorization")?.replace(/^Bearer /, "") ?? "";
  if (pathname !== SELF) return keyAnswer(pathname, token);
  if (token.split(".").length === 3) {
    const user = users.get("jwt");
    return sessions.has(SID) && user !== undefined
      ? Response.json({ success: true, message: "", data: user })
      : refused(401, "AUTH_SESSION_REVOKED");
  }
  const user = users.get(token);
  if (user === undefined) return refused(401, "AUTH_UNAUTHORIZED");
  if (user.status !== 1) return refused(401, "AUTH_USER_DISABLED");
  return Response.json({ success: true, message: "", data: user });
}

let keyStatus: "good" | "expired" | "banned" | "address" | "group" | "disabled" = "good";
function keyAnswer(path: string, token: string): Response {
  if (path === "/api/usage/token/") {
    const no = (status: number, message: string) => Response.json({ success: false, message }, { status });
    if (token !== KEY) return no(401, "Invalid token");
    if (keyStatus === "disabled") return no(401, "This token status is unavailable");
    if (keyStatus === "banned") return no(403, "User has been banned");
    return Response.json({ code: true, message: "ok", data: { object: "token_usage", name: "laptop" } });
  }
  const no = (status: number, message: string, code = "") =>
    Response.json({ error: { code, message, type: "new_api_error" } }, { status });
  if (token !== KEY || keyStatus === "expired" || keyStatus === "disabled") return no(401, "Invalid token");
  if (keyStatus === "address") return no(403, "您的 IP 不在令牌允许访问的列表中", "access_denied");
  if (keyStatus === "banned") return no(403, "User has been banned");
  if (keyStatus === "group") return no(403, "无权访问 vip 分组");
  return Response.json({ error: { code: "model_not_found", type: "invalid_request_error" } });
}

/** The user context that came along; its signature is tested elsewhere. */
function contextOf(request: Request | undefined): Record<string, unknown> {
  const [, payload = ""] = (request?.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
}
const isQuestion = (request: Request) =>
  QUESTIONS.has(new URL(request.url).pathname) && contextOf(request).anonymous === true;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
  users.clear();
  users.set(PAT, self()).set("jwt", self());
  sessions.clear();
  sessions.add(SID);
  asked = [];
  fault = null;
  keyStatus = "good";
  gateway = startGateway({ vars, origin });
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);
const call = async (authorization: string, path = "/api/token/", init: RequestInit = {}) => {
  const headers = new Headers(init.headers);
  headers.set("authorization", authorization);
  const response = await gateway.fetch(path, { ...init, headers });
  const body = await response.text();
  return { status: response.status, body, headers: response.headers };
};
const forwarded = () => gateway.received.filter((request) => !isQuestion(request));
const codeOf = ({ status, body }: { readonly status: number; readonly body: string }) =>
  `${status} ${(JSON.parse(body) as { code?: string }).code}`;
const PASSED = { status: 200, body: "from the origin" };

describe("whose it is", () => {
  it("a PAT is the user's whom the origin names, with the role that it says", async () => {
    expect(await call(PAT)).toMatchObject(PASSED);
    expect(contextOf(forwarded()[0])).toMatchObject({
      sub: "7",
      user: { id: "7", name: "Alice", role: "user" },
      auth: { kind: "pat", id: null, scopes: [] },
    });
    expect(codeOf(await call(PAT, "/api/channel/"))).toBe("403 AUTH_INSUFFICIENT_PRIVILEGE");
    expect(asked).toHaveLength(1);
  });

  it.each([
    [10, "/api/channel/", 200],
    [10, "/api/option/", 403],
    [100, "/api/option/", 200],
    [0, "/api/token/", 403],
    [7, "/api/token/", 403],
    ["100", "/api/option/", 403],
  ])("role %j at %s is %i", async (role, path, status) => {
    users.set(PAT, self({ role }));
    expect((await call(PAT, path)).status).toBe(status);
  });

  it("attributes go into the context where the site names them", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_TEST: { ...SITE, user_context: { attributes: ["group", "quota"] } } },
      origin,
    });
    await call(PAT);
    expect(contextOf(forwarded()[0])).toMatchObject({ user: { attributes: { group: "vip" } } });
  });

  it("a dashboard token is the user's whom it names, if the origin says so too", async () => {
    expect(await call(await signDashboardToken())).toMatchObject(PASSED);
    expect(contextOf(forwarded()[0])).toMatchObject({ sub: "7", user: { role: "user" } });
    users.set("jwt", self({ id: 8 }));
    expect(codeOf(await call(await signDashboardToken({ jti: "another" })))).toBe("401 AUTH_UNAUTHORIZED");
  });

  it("a key stands for itself, and the credential goes on to the origin", async () => {
    expect(await call(`Bearer ${KEY}`, "/v1/chat/completions", { method: "POST" })).toMatchObject(PASSED);
    const [request] = forwarded();
    expect(contextOf(request).sub).toMatch(/^api_key:[0-9a-f]{16}$/);
    expect(request?.headers.get("authorization")).toBe(`Bearer ${KEY}`);
  });

  it.each([
    ["expired", "/v1/chat/completions", 401, "Invalid token"],
    ["disabled", "/v1/chat/completions", 401, "Invalid token"],
    ["banned", "/v1/chat/completions", 403, "User has been banned"],
    ["address", "/v1/chat/completions", 403, "您的 IP 不在令牌允许访问的列表中"],
    ["disabled", "/api/usage/token/", 401, "This token status is unavailable"],
    ["banned", "/api/usage/token/", 403, "User has been banned"],
  ] as const)("a key that is %s at %s is %i (New API §3.5)", async (status, path, expected, text) => {
    keyStatus = status;
    const answer = await call(`Bearer ${KEY}`, path, { headers: { "cf-connecting-ip": "203.0.113.7" } });
    expect([answer.status, answer.body.includes(text)]).toEqual([expected, true]);
    expect(forwarded()).toEqual([]);
  });

  it("an expired key asks about itself, and the origin speaks about groups and channels (New API §3.5)", async () => {
    keyStatus = "expired";
    expect(await call(`Bearer ${KEY}`, "/api/usage/token/")).toMatchObject(PASSED);
    keyStatus = "group";
    expect(await call(`Bearer ${KEY}-12`, "/v1/chat/completions")).toMatchObject(PASSED);
    expect(forwarded().at(-1)?.headers.get("authorization")).toBe(`Bearer ${KEY}-12`);
  });
});

describe("how often", () => {
  it("fifty requests at once and fifty after them are one question", async () => {
    const first = await Promise.all(Array.from({ length: 50 }, () => call(PAT)));
    for (let i = 0; i < 50; i += 1) first.push(await call(PAT, i % 2 ? SELF : "/api/log/self"));
    expect(new Set(first.map(({ status }) => status))).toEqual(new Set([200]));
    expect(asked).toHaveLength(1);
  });

  it("a warm request does no storage operation and asks nobody", async () => {
    await call(PAT);
    await gateway.settle();
    const before = { ...gateway.counts };
    for (let i = 0; i < 10; i += 1) await call(PAT);
    expect(gateway.counts).toEqual(before);
    expect(asked).toHaveLength(1);
  });

  it("asked again at the bound, not a second before", async () => {
    await call(PAT);
    fault = () => new Promise(() => {}); // what is asked in the background
    pass(29);
    expect((await call(PAT)).status).toBe(200);
    fault = null;
    users.delete(PAT);
    pass(3); // the hanging one is taken for lost
    expect(codeOf(await call(PAT))).toBe("401 AUTH_UNAUTHORIZED");
  });

  it("asked anew in the background of a request from two thirds of the bound on", async () => {
    await call(PAT);
    pass(20);
    await call(PAT);
    await gateway.settle();
    expect(asked).toHaveLength(2);
    pass(20);
    await call(PAT);
    expect(asked).toHaveLength(2);
  });

  it("with freshness 0 each request asks, and a revocation is in force at once", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_TEST: { ...SITE, routes: [{ path: "/api/token/", freshness_seconds: 0 }] } },
      origin,
    });
    expect((await call(PAT)).status).toBe(200);
    expect((await call(PAT)).status).toBe(200);
    expect(asked).toHaveLength(2);
    users.delete(PAT);
    expect((await call(PAT)).status).toBe(401);
  });

  it("a guess costs one question in a bound, whatever path it is tried at", async () => {
    for (let i = 0; i < 20; i += 1) {
      expect(codeOf(await call(OTHER_PAT, i % 2 ? SELF : "/api/log/self"))).toBe("401 AUTH_UNAUTHORIZED");
    }
    expect(asked).toHaveLength(1);
    pass(29);
    await call(OTHER_PAT);
    await gateway.settle();
    expect(asked).toHaveLength(1);
    pass(1);
    users.set(OTHER_PAT, self({ id: 9 }));
    expect((await call(OTHER_PAT)).status).toBe(200);
    expect(asked).toHaveLength(2);
  });

  it.each([
    ["too short a PAT", "A".repeat(27)],
    ["a PAT of a length that base64 has not", "A".repeat(30)],
    ["too long a PAT", "A".repeat(33)],
    ["other characters", `${"A".repeat(31)}_`],
    ["padding inside", `${"A".repeat(15)}=${"A".repeat(16)}`],
    ["a key where people are", KEY],
    ["a word", "x"],
    ["8 KB", "A".repeat(8_192)],
    ["something with one dot", `${"A".repeat(15)}.${"A".repeat(16)}`],
    ["nothing", "Bearer"],
  ])("%s is refused without a question", async (_what, value) => {
    expect(codeOf(await call(value))).toBe("401 AUTH_UNAUTHORIZED");
    expect(gateway.received).toEqual([]);
  });

  it.each([
    ["too short", `sk-${"A".repeat(47)}`],
    ["too long", `sk-${"A".repeat(49)}`],
    ["with other characters", `sk-${"A".repeat(47)}_`],
    ["a PAT", PAT],
    ["nothing but the prefix", "sk-"],
  ])("a key that is %s is refused without a question", async (_what, value) => {
    expect((await call(`Bearer ${value}`, "/v1/chat/completions")).status).toBe(401);
    expect(gateway.received).toEqual([]);
  });

  it.each([
    ["forged", () => signDashboardToken({}, { key: new Uint8Array(32) })],
    ["expired", () => signDashboardToken({ exp: NOW_SECONDS - 60 })],
    ["for something else", () => signDashboardToken({ token_use: "security_proof" })],
    ["without a session", () => signDashboardToken({ sid: undefined })],
  ])("a token that is %s is refused without a question", async (_what, token) => {
    expect((await call(await token())).status).toBe(401);
    expect(gateway.received).toEqual([]);
  });

  it("open routes ask nobody", async () => {
    expect((await call(PAT, "/api/status")).status).toBe(200);
    expect(asked).toEqual([]);
  });
});

describe("what comes between", () => {
  it("a session that was ended at the origin is refused within the bound", async () => {
    const token = await signDashboardToken();
    expect((await call(token)).status).toBe(200);
    sessions.clear();
    pass(29);
    expect((await call(token)).status).toBe(200);
    await gateway.settle();
    expect(codeOf(await call(token))).toBe("401 AUTH_SESSION_REVOKED");
  });

  it("a user who was banned at the origin is refused within the bound", async () => {
    expect((await call(PAT)).status).toBe(200);
    users.set(PAT, self({ status: 2 }));
    pass(30);
    expect(codeOf(await call(PAT))).toBe("401 AUTH_USER_DISABLED");
  });

  it.each([2, 0, "1", undefined])(
    "a user with the status %j is none, however good the answer",
    async (status) => {
      fault = () => Response.json({ success: true, data: self({ status }) });
      expect(codeOf(await call(PAT))).toBe("401 AUTH_USER_DISABLED");
      expect(forwarded()).toEqual([]);
    },
  );

  it("a demotion is in force within the bound", async () => {
    users.set(PAT, self({ role: 10 }));
    expect((await call(PAT, "/api/channel/")).status).toBe(200);
    users.set(PAT, self());
    pass(30);
    expect((await call(PAT, "/api/channel/")).status).toBe(403);
  });

  it.each(["subject", "realm"] as const)(
    "a revocation here of the %s is in force within the bound",
    async (kind) => {
      expect((await call(PAT)).status).toBe(200);
      const token = await signDashboardToken();
      expect((await call(token)).status).toBe(200);
      const value = kind === "subject" ? "7" : "";
      const denial = { realm: "main", kind, value, issuedBeforeSeconds: NOW_SECONDS, expiresAtSeconds: null };
      await writes.revoke(denial, NOW_SECONDS);
      pass(30);
      expect((await call(PAT)).status).toBe(401);
      expect(codeOf(await call(token))).toBe("401 AUTH_SESSION_REVOKED");
      expect((await call(await signDashboardToken({ iat: NOW_SECONDS + 1, jti: "later" }))).status).toBe(200);
    },
  );

  it("a key whose owner nobody knows can be revoked by what it is called", async () => {
    await call(`Bearer ${KEY}`, "/v1/chat/completions");
    const value = String(contextOf(forwarded()[0]).sub);
    const denial = {
      realm: "main",
      kind: "subject",
      value,
      issuedBeforeSeconds: NOW_SECONDS,
      expiresAtSeconds: null,
    } as const;
    await writes.revoke(denial, NOW_SECONDS);
    pass(30);
    expect((await call(`Bearer ${KEY}`, "/v1/chat/completions")).status).toBe(401);
  });
});

describe("when the origin does not answer", () => {
  const json = (body: unknown, status = 200) => Response.json(body, { status });
  const FAULTS: readonly (readonly [string, () => Response | Promise<Response>])[] = [
    ["is unreachable", () => Promise.reject(new Error("connection refused"))],
    ["answers 500", () => json({ success: false, code: "AUTH_INTERNAL_ERROR", message: "db" }, 500)],
    ["answers 502 with a page", () => new Response("<html>", { status: 502 })],
    ["answers 429", () => new Response(null, { status: 429 })],
    ["answers 429 in words", () => json({ success: false, code: "AUTH_UNAUTHORIZED" }, 429)],
    ["redirects", () => Response.redirect("https://elsewhere.example.com/api/user/self", 302)],
    ["answers 304", () => new Response(null, { status: 304 })],
    ["answers 403 with a page of another guard", () => new Response("<html>no</html>", { status: 403 })],
    ["answers 401 with a page of another guard", () => new Response("<html>no</html>", { status: 401 })],
    ["answers 401 of somebody else", () => json({ message: "no key" }, 401)],
    ["answers 401 with a code that is none", () => json({ success: false, code: "AUTH_X" }, 401)],
    ["answers 403 with its own code", () => json({ success: false, code: "AUTH_UNAUTHORIZED" }, 403)],
    ["answers 404", () => json({ error: { message: "Invalid URL (GET /api/user/self)" } }, 404)],
    ["answers 200 without a body", () => new Response(null)],
    ["answers 200 with garbage", () => new Response("{success:true}")],
    ["answers 200 with a list", () => json([{ success: true, data: self() }])],
    ["answers 200 without success", () => json({ data: self() })],
    ["answers 200 with success that is a word", () => json({ success: "true", data: self() })],
    ["answers 200 and no success", () => json({ success: false, message: "record not found" })],
    ["answers 200 with nobody", () => json({ success: true, data: null })],
    ["answers 200 with an id that is none", () => json({ success: true, data: self({ id: 0 }) })],
    ["answers 200 with an id in words", () => json({ success: true, data: self({ id: "7" }) })],
    ["answers 200 with half a number", () => json({ success: true, data: self({ id: 7.5 }) })],
    [
      "names a member twice",
      () => new Response('{"success":false,"success":true,"data":{"id":7,"status":1}}'),
    ],
    ["answers more than 64 KB", () => json({ success: true, data: self({ x: "x".repeat(66_000) }) })],
    ["breaks off", () => new Response(streamOf('{"success":true', new Error("reset")))],
  ];

  it.each(FAULTS)(
    "%s: 503 with Retry-After, nothing forwarded, and good again at once",
    async (_what, happens) => {
      fault = happens;
      for (const credential of [PAT, OTHER_PAT, await signDashboardToken()]) {
        const answer = await call(credential);
        expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
        expect(codeOf(answer)).toBe("503 AUTH_INTERNAL_ERROR");
      }
      expect(forwarded()).toEqual([]);
      fault = null;
      expect((await call(PAT)).status).toBe(200);
      expect((await call(OTHER_PAT)).status).toBe(401);
    },
  );

  it.each([
    ["header", () => new Promise<Response>(() => {})],
    ["body", () => new Response(new ReadableStream({ start: () => {} }))],
  ])(
    "a hanging %s is cut off after 2 s",
    async (_what, hangs) => {
      fault = hangs;
      const startedAt = performance.now();
      expect((await call(PAT)).status).toBe(503);
      const tookMs = performance.now() - startedAt;
      expect(tookMs).toBeLessThan(6_000);
      fault = null;
      expect((await call(PAT)).status).toBe(200);
    },
    15_000,
  );

  it("what was known counts until its bound", async () => {
    await call(PAT);
    fault = () => new Response(null, { status: 500 });
    pass(29);
    expect((await call(PAT)).status).toBe(200);
    await gateway.settle();
    pass(1);
    expect((await call(PAT)).status).toBe(503);
  });

  it("on optional routes, too, where bad credentials are forgiven", async () => {
    expect((await call(OTHER_PAT, "/api/pricing")).status).toBe(200);
    expect(forwarded().at(-1)?.headers.has("authorization")).toBe(false);
    fault = () => new Response(null, { status: 500 });
    expect((await call(PAT, "/api/pricing")).status).toBe(503);
  });

  it("observe mode does not let an outage through", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_TEST: { ...SITE, routes: [{ path: "/api/token/", mode: "observe" }] } },
      origin,
    });
    fault = () => new Response(null, { status: 500 });
    expect((await call(PAT)).status).toBe(503);
  });

  it.each([
    ["answers 200 to a key with a page", () => new Response("<html>")],
    ["answers 401 to a key, of somebody else", () => json({ error: { type: "auth" } }, 401)],
    ["answers 403 to a key, of somebody else", () => json({ error: "no" }, 403)],
    ["answers 200 and no code", () => json({ success: true })],
  ])("%s: 503 in the relay's form", async (_what, happens) => {
    fault = happens;
    const answer = await call(`Bearer ${KEY}`, "/v1/chat/completions");
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(JSON.parse(answer.body)).toMatchObject({ error: { type: "new_api_error" } });
  });

  it("D1 down is 503 too: a revocation could not be seen", async () => {
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    expect((await call(PAT)).status).toBe(503);
    expect(forwarded()).toEqual([]);
  });
});

function streamOf(text: string, error: Error): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
    },
    pull(controller) {
      controller.error(error);
    },
  });
}

describe("what is sent", () => {
  it("the credential, the client's address and ours, whatever the client's request holds", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_TEST: { ...SITE, origin_headers: { "X-Origin-Key": "let me in" } } },
      origin,
    });
    await call(PAT, "/api/token/?key=other&path=/api/user/1", {
      method: "POST",
      body: "a body",
      headers: {
        "cf-connecting-ip": "203.0.113.7",
        "x-forwarded-for": "10.0.0.1",
        "x-user-context": "forged",
        "x-original-url": "/api/user/8",
        "x-http-method-override": "DELETE",
        "new-api-user": "8",
        cookie: "session=stolen",
        "accept-language": "zh",
        "user-agent": "curl",
        referer: "https://a.example",
        "x-request-id": "mine",
        connection: "authorization",
      },
    });
    const [question] = asked;
    expect([question?.method, question?.url, question?.redirect]).toEqual([
      "GET",
      `https://api.example.com${SELF}`,
      "manual",
    ]);
    expect(await question?.text()).toBe("");
    const headers = Object.fromEntries(question?.headers ?? []);
    expect({ ...headers, "x-user-context": "", "x-request-id": "" }).toEqual({
      accept: "application/json",
      authorization: `Bearer ${PAT}`,
      "cf-connecting-ip": "203.0.113.7",
      "user-agent": "Postern",
      "x-forwarded-for": "203.0.113.7",
      "x-forwarded-host": "api.example.com",
      "x-forwarded-proto": "https",
      "x-origin-key": "let me in",
      "x-real-ip": "203.0.113.7",
      "x-request-id": "",
      "x-user-context": "",
    });
    expect(headers["x-request-id"]).not.toBe("mine");
    expect(contextOf(question)).toMatchObject({ aud: "test", anonymous: true });
  });

  it("the credential also where it goes no further than that", async () => {
    gateway = startGateway({ vars: { ...vars, SITE_TEST: { ...SITE, forward_credential: false } }, origin });
    expect((await call(PAT)).status).toBe(200);
    expect(asked[0]?.headers.get("authorization")).toBe(`Bearer ${PAT}`);
    expect(forwarded()[0]?.headers.has("authorization")).toBe(false);
    expect((await call(OTHER_PAT)).status).toBe(401);
  });

  it("a credential with line breaks, lists and blanks is none, and nothing is sent", async () => {
    for (const value of [`${PAT},${PAT}`, `${PAT} ${PAT} ${PAT}`, `Bearer ${PAT} x`]) {
      expect((await call(value)).status).toBe(401);
    }
    expect(gateway.received).toEqual([]);
  });

  it("no line of the log holds it, whatever happens", async () => {
    const lines: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((line) => lines.push(String(line)));
    await call(PAT);
    await call(OTHER_PAT);
    await call(`Bearer ${KEY}`, "/v1/chat/completions");
    fault = () => Promise.reject(new Error(`cannot send authorization: Bearer ${PAT} x`));
    await call(await signDashboardToken());
    pass(40);
    await call(PAT);
    log.mockRestore();
    expect(lines).toHaveLength(5);
    for (const secret of [PAT.slice(0, 20), OTHER_PAT, KEY, KEY.slice(3)]) {
      expect(lines.join("\n")).not.toContain(secret);
    }
    expect(lines.join("\n")).toContain("introspection_unavailable");
  });
});

describe("what one answer is good for", () => {
  it("two sites with the same credential are apart", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_OTHER: { ...SITE, hosts: ["other.example.com"], realm: "other" } },
      origin: (request) =>
        new URL(request.url).hostname === "other.example.com" && isQuestion(request)
          ? refused(401, "AUTH_UNAUTHORIZED")
          : origin(request),
    });
    expect((await call(PAT)).status).toBe(200);
    expect((await call(PAT, "https://other.example.com/api/token/")).status).toBe(401);
    expect((await call(PAT)).status).toBe(200);
  });

  it("two hosts of one site are apart: behind one origin they may be two systems", async () => {
    gateway = startGateway({
      vars: { ...vars, SITE_TEST: { ...SITE, hosts: ["api.example.com", "b.example.com"] } },
      origin: (request) =>
        new URL(request.url).hostname === "b.example.com" && isQuestion(request)
          ? refused(401, "AUTH_UNAUTHORIZED")
          : origin(request),
    });
    expect((await call(PAT)).status).toBe(200);
    expect((await call(PAT, "https://b.example.com/api/token/")).status).toBe(401);
  });

  it("a key's answer holds for the address that it was asked for", async () => {
    const from = (address: string) =>
      call(`Bearer ${KEY}`, "/v1/chat/completions", { headers: { "cf-connecting-ip": address } });
    expect((await from("203.0.113.7")).status).toBe(200);
    keyStatus = "address";
    expect((await from("203.0.113.8")).status).toBe(403);
    expect((await from("203.0.113.7")).status).toBe(200);
    expect(asked).toHaveLength(2);
  });

  it("what says that a key may ask about itself does not say that it may work", async () => {
    keyStatus = "expired";
    expect((await call(`Bearer ${KEY}`, "/api/usage/token/")).status).toBe(200);
    expect((await call(`Bearer ${KEY}`, "/v1/chat/completions")).status).toBe(401);
    expect((await call(`Bearer ${KEY}`, "/api/usage/token/")).status).toBe(200);
  });
});

describe("beside a realm that knows some of them", () => {
  const known = { ...SITE, users: "required" } as const;
  beforeEach(() => {
    gateway = startGateway({ vars: { ...vars, SITE_TEST: known }, origin });
  });

  it("what the realm knows is not asked about", async () => {
    await addUser("7", { username: "alice" });
    expect((await call(await addPat("pat_1"))).status).toBe(200);
    expect((await call(await signDashboardToken())).status).toBe(200);
    expect(asked).toEqual([]);
  });

  it("a token that was signed here is not, not even when its user is gone", async () => {
    gateway = startGateway({ vars: { ...vars, GATEWAY, SITE_TEST: known }, origin });
    await addUser("7", { username: "alice" });
    const token = await signIn("7");
    expect((await call(token)).status).toBe(200);
    await DB.prepare("DELETE FROM sessions").run();
    await DB.prepare("DELETE FROM users").run();
    gateway = startGateway({ vars: { ...vars, GATEWAY, SITE_TEST: known }, origin });
    expect((await call(token)).status).toBe(401);
    expect(asked).toEqual([]);
  });

  it("what it does not know is", async () => {
    expect((await call(PAT)).status).toBe(200);
    expect((await call(await signDashboardToken())).status).toBe(200);
    expect((await call(`Bearer ${KEY}`, "/v1/chat/completions")).status).toBe(200);
    expect(asked).toHaveLength(3);
  });

  it.each([
    ["disabled", "AUTH_USER_DISABLED"],
    ["pending", "AUTH_USER_DISABLED"],
    ["deleted", "AUTH_UNAUTHORIZED"],
  ])("a user who is %s here is refused, whatever the origin says", async (status, code) => {
    await addUser("7", { username: "alice" });
    await DB.prepare("UPDATE users SET status = ?").bind(status).run();
    expect(codeOf(await call(PAT))).toBe(`401 ${code}`);
    expect((await call(await signDashboardToken())).status).toBe(401);
    expect(forwarded()).toEqual([]);
  });

  it.each([
    ["user", 100, "user"],
    ["root", 1, "user"],
    ["root", 10, "admin"],
  ])("of two roles the lower one counts: %s here, %i there", async (role, there, expected) => {
    await addUser("7", { username: "alice", name: "Here", role });
    users.set(PAT, self({ role: there }));
    await call(PAT);
    expect(contextOf(forwarded()[0])).toMatchObject({ user: { name: "Here", role: expected } });
  });

  it.each([
    ["deleted", "UPDATE credentials SET status = 'deleted'"],
    ["disabled", "UPDATE credentials SET status = 'disabled'"],
  ])("a PAT that was %s here is not asked about", async (_what, sql) => {
    await addUser("7", { username: "alice" });
    const pat = await addPat("pat_1");
    await DB.prepare(sql).run();
    users.set(pat, self());
    expect((await call(pat)).status).toBe(401);
    expect(asked).toEqual([]);
  });
});
