// In front of a NekoHub that is asked whose a token is: role, permissions and account as they are now.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { addUser, emptyStores, type Gateway, writes } from "../../support/worker/gateway.ts";
import {
  ALL_PERMISSIONS,
  bearer,
  contextOf,
  expectBodiless,
  expectRefusal,
  KEY,
  LONG,
  nowSeconds,
  sign,
  startNekohub,
} from "../presets/nekohub/stand-in.ts";

const ME = "/api/v1/auth/me";
const ASSETS = "/api/v1/assets";
const user = (changes: object = {}) => ({
  ...{ id: "u1", username: "alice", role: "user", isActive: true, permissions: ["assets.read"] },
  ...changes,
});
const SAYS_ME = () => Response.json({ data: user() });
const UNAUTHORIZED = () =>
  Response.json(
    {
      error: {
        code: "auth_unauthorized",
        message: "Authentication is required.",
        traceId: "0HN",
        status: 401,
      },
    },
    { status: 401 },
  );

let says: () => Response | Promise<Response>;
let asked: Request[];
let gateway: Gateway;

const isQuestion = (request: Request) =>
  new URL(request.url).pathname === ME && contextOf(request).anonymous === true;
const start = (site: object = {}, keys = false) =>
  startNekohub({
    keys,
    site: { introspect: true, ...site },
    origin: (request) => {
      if (!isQuestion(request)) return new Response("from the origin");
      asked.push(request);
      return says();
    },
  });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_300_000 });
  await emptyStores();
  asked = [];
  says = SAYS_ME;
  gateway = start();
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const call = (token: string, path = ASSETS, method = "GET") =>
  gateway.fetch(path, { method, headers: bearer(token) });
const forwarded = () => gateway.received.filter((request) => !isQuestion(request));
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);

describe("permissions are those of now (NekoHub §2.2)", () => {
  it("what the origin lists passes, what it does not list is 403, by one question", async () => {
    const token = await sign({ permission: ALL_PERMISSIONS });
    expect(await (await call(token)).text()).toBe("from the origin");
    await expectBodiless(await call(token, ASSETS, "POST"), 403);
    await expectBodiless(await call(token, "/api/v1/users"), 403);
    expect(asked).toHaveLength(1);
    expect(contextOf(forwarded()[0])).toMatchObject({
      sub: "u1",
      user: { name: "alice", role: "user", permissions: ["assets.read"] },
    });
  });

  it("one that is given, and one that is taken, count within the bound", async () => {
    const token = await sign();
    await expectBodiless(await call(token, ASSETS, "POST"), 403);
    says = () => Response.json({ data: user({ permissions: ["assets.create"] }) });
    pass(30);
    expect((await call(token, ASSETS, "POST")).status).toBe(200);
    await expectBodiless(await call(token), 403);
  });

  it.each([
    ["SuperAdmin", "superAdmin", "super_admin", 200],
    ["SuperAdmin", "admin", "admin", 403],
    ["SuperAdmin", "user", "user", 403],
    ["User", "superAdmin", "user", 403],
    ["SuperAdmin", "SuperAdmin", "user", 403],
    ["SuperAdmin", 3, "user", 403],
  ])(
    "of %s in the token and %j at the origin the lower one counts: %s",
    async (inToken, there, role, status) => {
      says = () => Response.json({ data: user({ role: there, permissions: ["assets.read"] }) });
      const token = await sign({ [LONG.role]: inToken });
      await call(token);
      expect(contextOf(forwarded()[0])).toMatchObject({ user: { role } });
      expect((await call(token, "/api/v1/users")).status).toBe(status);
    },
  );

  it.each([["nothing"], [undefined], ["assets.create"], [{ 0: "assets.create" }]])(
    "permissions that are %j are none",
    async (permissions) => {
      says = () => Response.json({ data: user({ permissions }) });
      await expectBodiless(await call(await sign(), ASSETS, "POST"), 403);
    },
  );
});

describe("who is refused", () => {
  it.each([
    ["a session that was ended, or an account that is off (NekoHub §2.2)", UNAUTHORIZED],
    ["an account that is off", () => Response.json({ data: user({ isActive: false }) })],
    ["somebody else's account", () => Response.json({ data: user({ id: "u2" }) })],
  ])("%s: 401 without a challenge", async (_what, answer) => {
    says = answer;
    await expectRefusal(await call(await sign()), "auth_unauthorized");
    expect(forwarded()).toEqual([]);
  });

  it("signing out at the origin counts within the bound, and not before", async () => {
    const token = await sign();
    await call(token);
    says = UNAUTHORIZED;
    pass(29);
    expect((await call(token)).status).toBe(200);
    await gateway.settle();
    await expectRefusal(await call(token), "auth_unauthorized");
  });

  it("whom the operator revoked here, without another question", async () => {
    const token = await sign();
    await call(token);
    const denial = { realm: "main", kind: "subject", value: "u1", expiresAtSeconds: null } as const;
    await writes.revoke({ ...denial, issuedBeforeSeconds: nowSeconds() }, nowSeconds());
    pass(30);
    await expectRefusal(await call(token), "auth_unauthorized");
    expect(asked).toHaveLength(1); // and is not asked about any more
  });

  it.each([
    ["a forged token", () => sign({}, { secret: "another-secret-of-the-right-length-8Kd3" })],
    ["one that has run out", () => sign({ exp: nowSeconds() - 60 })],
    ["one of another issuer", () => sign({ iss: "other" })],
    ["a word", async () => "x"],
    ["an unknown key", async () => "nk-0000000000000000"],
  ])("%s is not asked about", async (_what, token) => {
    gateway = start({}, true);
    expect((await call(await token())).status).toBe(401);
    expect(asked).toEqual([]);
  });

  it("a key of the configuration passes everything and is not asked about", async () => {
    gateway = start({}, true);
    expect((await call(KEY, "/api/v1/users")).status).toBe(200);
    expect((await call(KEY, "/mcp", "POST")).status).toBe(200);
    expect(asked).toEqual([]);
  });

  it("a user whom the realm knows is decided by the realm", async () => {
    gateway = start({ users: "required" });
    await addUser("u1", { username: "alice", role: "user", permissions: ["assets.read"] });
    expect((await call(await sign())).status).toBe(200);
    expect(asked).toEqual([]);
    says = () => Response.json({ data: user({ id: "u2", permissions: ["assets.create"] }) });
    expect((await call(await sign({ [LONG.subject]: "u2" }), ASSETS, "POST")).status).toBe(200);
    expect(asked).toHaveLength(1);
  });
});

describe("when the origin does not say", () => {
  it.each([
    ["500", () => new Response("no", { status: 500 })],
    ["429", () => new Response(null, { status: 429 })],
    ["a redirect", () => Response.redirect("https://elsewhere.example.com/", 302)],
    ["a page", () => new Response("<html>")],
    ["401 of another guard", () => Response.json({ error: "no" }, { status: 401 })],
    ["401 with another code", () => Response.json({ error: { code: "api_key_invalid" } }, { status: 401 })],
    ["403", () => new Response(null, { status: 403 })],
    ["404", () => new Response(null, { status: 404 })],
    ["no data", () => Response.json({ user: user() })],
    ["no id", () => Response.json({ data: user({ id: "" }) })],
    ["no word of the account", () => Response.json({ data: user({ isActive: "true" }) })],
  ])("%s: 503 in its envelope, and good again at once", async (_what, answer) => {
    says = answer;
    const token = await sign();
    const response = await call(token);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await response.json()).toMatchObject({
      error: { code: "introspection_unavailable", status: 503 },
    });
    expect(forwarded()).toEqual([]);
    says = SAYS_ME;
    expect((await call(token)).status).toBe(200);
  });
});
