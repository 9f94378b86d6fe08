// In front of a Cloudreve that is asked whose a token is: status and group as they are now, in envelopes of status 200.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { emptyStores, type Gateway, writes } from "../../support/worker/gateway.ts";
import {
  API,
  bearer,
  contextOf,
  expectRefusal,
  FILES,
  LOGIN_REQUIRED,
  lacks,
  ME,
  NO_SUCH_USER,
  NOT_ADMIN,
  nowSeconds,
  sign,
  signRefresh,
  startCloudreve,
  USER_IS_OUT,
  WRONG_USE,
} from "../presets/cloudreve/stand-in.ts";

const me = (changes: object = {}) => ({
  ...{ id: "lpua", email: "a@example.com", nickname: "Alice", status: "active" },
  group: { id: "y9cd", name: "User", permission: "/AA=" },
  ...changes,
});
const said = (code: number, msg: string) => () => Response.json({ code, msg, correlation_id: "1" });
const SAYS_ME = () => Response.json({ code: 0, data: me(), msg: "" });
const ADMIN = { group: { id: "g1", name: "Admin", permission: "/wM=" } };

let says: () => Response | Promise<Response>;
let asked: Request[];
let gateway: Gateway;

const isQuestion = (request: Request) =>
  new URL(request.url).pathname === ME && contextOf(request).anonymous === true;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_300_000 });
  await emptyStores();
  asked = [];
  says = SAYS_ME;
  gateway = startCloudreve({
    site: { introspect: true, user_context: { attributes: ["nick", "group"] } },
    origin: (request) => {
      if (!isQuestion(request)) return new Response("from the origin");
      asked.push(request);
      return says();
    },
  });
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const call = (token: string, path = FILES, init: RequestInit = {}) =>
  gateway.fetch(path, { ...init, headers: bearer(token) });
const forwarded = () => gateway.received.filter((request) => !isQuestion(request));
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);

describe("what is learnt", () => {
  it("name, role and group, by one question", async () => {
    const token = await sign();
    for (let i = 0; i < 5; i += 1) expect((await call(token)).status).toBe(200);
    expect(contextOf(forwarded()[0])).toMatchObject({
      sub: "lpua",
      user: { id: "lpua", name: "Alice", role: "user", attributes: { nick: "Alice", group: "User" } },
    });
    expect(asked).toHaveLength(1);
    expect(asked[0]?.headers.get("authorization")).toBe(`Bearer ${token}`);
  });

  it.each([
    ["/wM=", true],
    ["AQ==", true],
    ["/gM=", false],
    ["AA==", false],
    ["", false],
    ["%", false],
    [1, false],
    [undefined, false],
  ])("a group with the permissions %j administers: %j", async (permission, isAdmin) => {
    says = () => Response.json({ code: 0, data: me({ group: { name: "x", permission } }) });
    const response = await call(await sign(), `${API}/admin/summary`);
    if (isAdmin) expect(await response.text()).toBe("from the origin");
    else await expectRefusal(response, NOT_ADMIN);
  });

  it("who is taken out of the administrators is none within the bound", async () => {
    says = () => Response.json({ code: 0, data: me(ADMIN) });
    const token = await sign();
    expect(await (await call(token, `${API}/admin/summary`)).text()).toBe("from the origin");
    says = SAYS_ME;
    pass(30);
    await expectRefusal(await call(token, `${API}/admin/summary`), NOT_ADMIN);
  });

  it("a token that may not ask who it is stands alone, with its own scopes and no role", async () => {
    says = said(40089, "Insufficient scope: UserInfo.Read");
    const token = await sign({ client_id: "393a1839", scopes: ["Files.Read", "Admin.Read"] });
    expect(await (await call(token)).text()).toBe("from the origin");
    await expectRefusal(await call(token, `${API}/user/me`), lacks("UserInfo.Read"));
    await expectRefusal(await call(token, `${API}/admin/summary`), NOT_ADMIN);
    expect(contextOf(forwarded()[0])).toMatchObject({ sub: "lpua" });
    expect(asked).toHaveLength(1);
  });
});

describe("what is refused, in the words of the original", () => {
  it.each([
    ["an account that is out", said(50001, "failed to get login user"), USER_IS_OUT],
    [
      "an account that says so",
      () => Response.json({ code: 0, data: me({ status: "manual_banned" }) }),
      USER_IS_OUT,
    ],
    ["a user who is not there", said(404, "User not found"), NO_SUCH_USER],
    ["somebody else's account", () => Response.json({ code: 0, data: me({ id: "other" }) }), NO_SUCH_USER],
    ["a token of another use", said(40020, "Invalid token type"), WRONG_USE],
  ])("%s, on every route", async (_what, answer, words) => {
    says = answer;
    const token = await sign();
    await expectRefusal(await call(token), words);
    await expectRefusal(await call(token, `${API}/site/ping`), words);
    expect(forwarded()).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it("a token that the origin does not take any more is nobody's", async () => {
    says = said(401, "Login required");
    const token = await sign();
    await expectRefusal(await call(token, `${API}/user/capacity`), LOGIN_REQUIRED);
    expect(await (await call(token)).text()).toBe("from the origin");
    expect(contextOf(forwarded()[0])).toMatchObject({ anonymous: true });
    expect(forwarded()[0]?.headers.has("authorization")).toBe(false);
  });

  it("a user who was revoked here", async () => {
    const token = await sign();
    await call(token, `${API}/user/capacity`);
    const revocation = { realm: "main", kind: "subject", value: "lpua", expiresAtSeconds: null } as const;
    await writes.revoke({ ...revocation, issuedBeforeSeconds: nowSeconds() }, nowSeconds());
    pass(30);
    await expectRefusal(await call(token, `${API}/user/capacity`), LOGIN_REQUIRED);
  });

  it.each([
    ["a refresh token", () => signRefresh()],
    ["a forged one", () => sign({}, { secret: "x".repeat(64) })],
    ["one that has run out", () => sign({ exp: nowSeconds() - 1 })],
    ["a word", async () => "x"],
    ["the signature of another node", async () => "Cr abc"],
  ])("%s is not asked about", async (_what, token) => {
    await (await call(await token())).text();
    expect(asked).toEqual([]);
  });
});

describe("when the origin does not say", () => {
  it.each([
    ["500", () => new Response("no", { status: 500 })],
    ["429", () => new Response(null, { status: 429 })],
    ["a redirect", () => Response.redirect("https://elsewhere.example.com/", 302)],
    ["a page", () => new Response("<html>")],
    ["another code", () => Response.json({ code: 50000, msg: "internal" })],
    ["no code", () => Response.json({ data: me() })],
    ["nobody", () => Response.json({ code: 0, msg: "" })],
    ["the anonymous user", () => Response.json({ code: 0, data: me({ anonymous: true }) })],
    ["an id that is none", () => Response.json({ code: 0, data: me({ id: 7 }) })],
    ["401 of another guard", () => Response.json({ code: 401 }, { status: 401 })],
  ])("%s: 503 on every route, and good again at once", async (_what, answer) => {
    says = answer;
    const token = await sign();
    for (const path of [FILES, `${API}/user/capacity`, `${API}/site/ping`]) {
      const response = await call(token, path);
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(await response.json()).toMatchObject({ code: 503 });
    }
    expect(forwarded()).toEqual([]);
    says = SAYS_ME;
    expect((await call(token)).status).toBe(200);
  });
});
