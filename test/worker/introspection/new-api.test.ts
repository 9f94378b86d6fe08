// In front of a classic New API of which nothing was imported: PATs and sessions beside New-Api-User, keys without.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  addPat,
  addSession,
  addUser,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const NOW_SECONDS = 1_800_000_300;
const PAT = `${"Ab3+/".repeat(6)}x=`;
const COOKIE = `${"MTc4NDQ3-_".repeat(30)}==`;
const KEY = `sk-${"K3y".repeat(16)}`;
const SELF = "/api/user/self";
const QUESTIONS: ReadonlySet<string> = new Set([SELF, "/api/usage/token/", "/v1/models/introspection"]);
const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  preset: "new-api",
  introspect: true,
  users: "none",
} as const;

type Sent = Readonly<Record<string, string>>;
const pat = (id: string | null = "7", value = PAT): Sent => ({
  authorization: `Bearer ${value}`,
  ...(id !== null && { "new-api-user": id }),
});
const session = (id: string | null = "7", value = COOKIE): Sent => ({
  cookie: `theme=dark; session=${value}`,
  ...(id !== null && { "new-api-user": id }),
});
const key: Sent = { authorization: `Bearer ${KEY}` };

const self = (changes: object = {}) => ({
  ...{ id: 7, username: "alice", display_name: "", role: 1, status: 1, group: "vip" },
  ...changes,
});
/** In the order of the original (New API §3.3). */
let user: ReturnType<typeof self>;
let live: Set<string>;
let fault: (() => Response | Promise<Response>) | null;
let language: "en" | "zh" | "zh-TW" | "old";
let asked: Request[];
let gateway: Gateway;

const TEXTS = {
  not_logged_in: [
    "Unauthorized, not logged in and no access token provided",
    "无权进行此操作，未登录且未提供 access token",
    "無權進行此操作，未登入且未提供 access token",
    "无权进行此操作，未登录且未提供 access token",
  ],
  invalid: [
    "Unauthorized, invalid access token",
    "无权进行此操作，access token 无效",
    "無權進行此操作，access token 無效",
    "无权进行此操作，access token 无效",
  ],
  missing: [
    "Unauthorized, New-Api-User header not provided",
    "无权进行此操作，未提供 New-Api-User",
    "無權進行此操作，未提供 New-Api-User",
    "无权进行此操作，未提供 New-Api-User",
  ],
  mismatch: [
    "Unauthorized, New-Api-User does not match logged in user",
    "无权进行此操作，New-Api-User 与登录用户不匹配",
    "無權進行此操作，New-Api-User 與登入使用者不匹配",
    "无权进行此操作，与登录用户不匹配，请重新登录",
  ],
  banned: ["User has been banned", "用户已被封禁", "使用者已被封禁", "用户已被封禁"],
} as const;

function answer(request: Request): Response {
  const { headers } = request;
  const no = (status: number, text: keyof typeof TEXTS) =>
    Response.json(
      { message: TEXTS[text][["en", "zh", "zh-TW", "old"].indexOf(language)], success: false },
      { status },
    );
  const cookie = /session=([^;]+)/.exec(headers.get("cookie") ?? "")?.[1];
  const token = headers.get("authorization")?.replace("Bearer ", "");
  if (new URL(request.url).pathname !== SELF) {
    return token === KEY
      ? Response.json({ error: { code: "model_not_found", type: "invalid_request_error" } })
      : Response.json(
          { error: { code: "", message: "Invalid token", type: "new_api_error" } },
          { status: 401 },
        );
  }
  const isSession = cookie !== undefined && live.has(cookie);
  if (!isSession && token === undefined) return no(401, "not_logged_in");
  if (!isSession && !live.has(token ?? "")) return no(200, "invalid");
  const claimed = headers.get("new-api-user");
  if (claimed === null) return no(401, "missing");
  if (claimed !== String(user.id)) return no(401, "mismatch");
  if (user.status !== 1) return no(200, "banned");
  return Response.json({ data: user, message: "", success: true });
}

function contextOf(request: Request | undefined): Record<string, unknown> {
  const [, payload = ""] = (request?.headers.get("x-user-context") ?? "").split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
}
const isQuestion = (request: Request) =>
  QUESTIONS.has(new URL(request.url).pathname) && contextOf(request).anonymous === true;

const start = (site: object = {}, vars: object = {}) =>
  startGateway({
    vars: { GATEWAY: { ...GATEWAY, realms: {} }, SITE_TEST: { ...SITE, ...site }, ...vars },
    origin: (request) => {
      if (!isQuestion(request)) return new Response("from the origin");
      asked.push(request);
      return fault === null ? answer(request) : fault();
    },
  });

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_SECONDS * 1_000 });
  await emptyStores();
  user = self();
  live = new Set([PAT, COOKIE]);
  fault = null;
  language = "en";
  asked = [];
  gateway = start();
});
afterEach(async () => {
  await gateway.settle();
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);
const call = async (headers: Sent, path = "/api/token/", method = "GET") => {
  const response = await gateway.fetch(path, { method, headers });
  return { status: response.status, body: await response.text(), headers: response.headers };
};
const forwarded = () => gateway.received.filter((request) => !isQuestion(request));
const PASSED = { status: 200, body: "from the origin" };
const said = (status: number, message: string) => ({
  status,
  body: JSON.stringify({ message, success: false }),
});
const [INVALID] = TEXTS.invalid;
const [NOT_LOGGED_IN] = TEXTS.not_logged_in;

describe("whose it is", () => {
  it.each([
    ["a PAT", "pat", pat()],
    ["a raw PAT", "pat", { authorization: PAT, "new-api-user": "7" }],
    ["a session", "session", session()],
  ])("%s is the user's whom the origin names, and goes on with the header", async (_what, kind, sent) => {
    expect(await call(sent)).toMatchObject(PASSED);
    expect(await call(sent, SELF)).toMatchObject(PASSED);
    expect(asked).toHaveLength(1);
    const [request] = forwarded();
    expect(contextOf(request)).toMatchObject({
      sub: "7",
      user: { name: "alice", role: "user" },
      auth: { kind },
    });
    expect(request?.headers.get("new-api-user")).toBe("7");
  });

  it("a session is sent as a cookie alone, a PAT alone in Authorization", async () => {
    await call({ ...session(), authorization: "Basic eDp5" });
    await call({ ...pat(), cookie: "theme=dark" });
    const [first, second] = asked.map(({ headers }) => Object.fromEntries(headers));
    expect(first).toMatchObject({
      cookie: `session=${COOKIE}`,
      "new-api-user": "7",
      "accept-language": "en",
    });
    expect(first).not.toHaveProperty("authorization");
    expect(second).toMatchObject({ authorization: `Bearer ${PAT}`, "new-api-user": "7" });
    expect(second).not.toHaveProperty("cookie");
  });

  it("a fork's name for the header is what is read, and what is sent", async () => {
    gateway = start({ user_header: "Veloera-User" });
    fault = () => Response.json({ success: true, data: self() });
    const sent = { authorization: PAT, "veloera-user": "7", "new-api-user": "8" };
    expect(await call(sent)).toMatchObject(PASSED);
    expect(asked[0]?.headers.get("veloera-user")).toBe("7");
    expect(asked[0]?.headers.has("new-api-user")).toBe(false);
  });

  it("roles are those of now", async () => {
    user = self({ role: 100 });
    expect((await call(session(), "/api/option/")).status).toBe(200);
    user = self();
    pass(30);
    expect(await call(session(), "/api/option/")).toMatchObject(
      said(200, "Unauthorized, insufficient privileges"),
    );
  });

  it("a key passes relay, with a channel of which the origin decides, and not management", async () => {
    expect(await call(key, "/v1/chat/completions", "POST")).toMatchObject(PASSED);
    expect(await call({ authorization: `Bearer ${KEY}-12` }, "/v1/embeddings", "POST")).toMatchObject(PASSED);
    expect(asked).toHaveLength(1);
    expect(await call({ ...key, "new-api-user": "7" })).toMatchObject(said(200, INVALID));
    expect(asked).toHaveLength(1);
  });

  it("a key in each of its places is asked about alone", async () => {
    expect(await call({ "x-api-key": KEY }, "/v1/messages", "POST")).toMatchObject(PASSED);
    expect(await call({ "x-goog-api-key": KEY }, "/v1beta/models/x")).toMatchObject(PASSED);
    expect(await call({}, `/v1beta/models/x?key=${KEY}`)).toMatchObject(PASSED);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.url).toBe("https://api.example.com/v1/models/introspection");
    expect(asked[0]?.headers.get("authorization")).toBe(`Bearer ${KEY}`);
  });

  it("a page with a session sees a video without saying whose it is", async () => {
    expect(await call(session(null), "/v1/videos/t1/content")).toMatchObject(PASSED);
    expect(contextOf(forwarded()[0]).sub).toMatch(/^session:[0-9a-f]{16}$/);
    live.delete(COOKIE);
    pass(30);
    expect((await call(session(null), "/v1/videos/t1/content")).status).toBe(401);
  });
});

describe("what is refused, in the words of the original (New API §3.3)", () => {
  const LANGUAGES = ["en", "zh", "zh-TW", "old"] as const;
  it.each(LANGUAGES)("whatever language the origin speaks: %s", async (speaks) => {
    language = speaks;
    live.delete(PAT);
    expect(await call(pat())).toMatchObject(said(200, INVALID));
    live.add(PAT);
    expect(await call(pat("8"))).toMatchObject(said(401, TEXTS.mismatch[0]));
    live.delete(COOKIE);
    expect(await call(session())).toMatchObject(said(401, NOT_LOGGED_IN));
    user = self({ status: 2 });
    pass(30);
    expect(await call(pat())).toMatchObject(said(200, TEXTS.banned[0]));
    expect(forwarded()).toEqual([]);
  });

  it("and in the language that the client asks for", async () => {
    live.delete(PAT);
    expect(await call({ ...pat(), "accept-language": "zh-CN" })).toMatchObject(said(200, TEXTS.invalid[1]));
  });

  it.each([
    ["no header", null, TEXTS.missing[0]],
    ["a name", "alice", "Unauthorized, New-Api-User header format error"],
    ["a sign", "+7", "Unauthorized, New-Api-User header format error"],
    ["a leading zero", "007", "Unauthorized, New-Api-User header format error"],
    ["two", "7, 7", "Unauthorized, New-Api-User header format error"],
  ])("%s beside a PAT or session is told without a question", async (_what, id, message) => {
    expect(await call(pat(id))).toMatchObject(said(401, message));
    expect(await call(session(id))).toMatchObject(said(401, message));
    expect(gateway.received).toEqual([]);
  });

  it("a wrong header is not served by another's answer, nor the right one by a wrong one's", async () => {
    expect((await call(pat())).status).toBe(200);
    expect(await call(pat("8"))).toMatchObject(said(401, TEXTS.mismatch[0]));
    expect((await call(pat())).status).toBe(200);
    expect(asked).toHaveLength(2);
  });

  it("an origin that names somebody else than the header is not believed", async () => {
    fault = () => Response.json({ success: true, data: self({ id: 8 }) });
    expect(await call(pat())).toMatchObject(said(401, TEXTS.mismatch[0]));
    expect(forwarded()).toEqual([]);
  });

  it.each([
    ["a PAT of a wrong length", pat("7", "A".repeat(31)), 200],
    ["a PAT with other characters", pat("7", `${"A".repeat(31)}_`), 200],
    ["a short cookie", session("7", "abc"), 401],
    ["a cookie with a dot, of this gateway's form", session("7", `${"a".repeat(22)}.${"b".repeat(48)}`), 401],
    ["a cookie of 8 KB", session("7", "A".repeat(8_000)), 401],
    ["nothing", {}, 401],
  ])("%s is not asked about", async (_what, sent, status) => {
    expect((await call(sent)).status).toBe(status);
    expect(gateway.received).toEqual([]);
  });

  it("a PAT beside a session that may have run out counts, and goes on alone", async () => {
    live.delete(COOKIE);
    expect(await call({ ...session(), ...pat() })).toMatchObject(PASSED);
    expect(asked).toHaveLength(1);
    expect(forwarded()[0]?.headers.get("cookie")).toBe("theme=dark");
  });

  it("a session that was signed out, or a ban, is refused within the bound, where the original waits for the cookie", async () => {
    expect((await call(session())).status).toBe(200);
    user = self({ status: 2 });
    pass(30);
    expect(await call(session())).toMatchObject(said(200, TEXTS.banned[0]));
  });

  it("a page of another origin changes nothing with its visitor's session", async () => {
    const foreign = { ...session(), origin: "https://evil.example.com", "sec-fetch-site": "cross-site" };
    expect((await call(foreign, "/api/token/", "POST")).status).toBe(401);
    expect((await call({ ...session(), "sec-fetch-site": "same-site" }, "/api/token/", "POST")).status).toBe(
      401,
    );
    expect(gateway.received).toEqual([]);
    const own = { ...session(), origin: "https://api.example.com", "sec-fetch-site": "same-origin" };
    expect((await call(own, "/api/token/", "POST")).status).toBe(200);
    expect((await call(session(), "/api/token/", "POST")).status).toBe(200); // no page: a program
  });

  it("whom the operator revoked here", async () => {
    expect((await call(pat())).status).toBe(200);
    const denial = { realm: "main", kind: "subject", value: "7", expiresAtSeconds: null } as const;
    await writes.revoke({ ...denial, issuedBeforeSeconds: NOW_SECONDS }, NOW_SECONDS);
    pass(30);
    expect(await call(pat())).toMatchObject(said(200, INVALID));
    expect(await call(session())).toMatchObject(said(401, NOT_LOGGED_IN));
  });
});

describe("beside a realm that knows some of them", () => {
  beforeEach(async () => {
    gateway = start({ users: "required" });
    await addUser("7", { username: "alice", role: "user" });
  });

  it("a PAT of the realm is not asked about, another one is", async () => {
    const known = await addPat("pat_1");
    expect((await call(pat("7", known))).status).toBe(200);
    expect(asked).toEqual([]);
    expect((await call(pat())).status).toBe(200);
    expect(asked).toHaveLength(1);
  });

  it("the gateway's own session stays here, whichever session decides", async () => {
    const realms = { main: { sign_in: { cookie: "__Host-own" } } };
    gateway = start({ users: "required" }, { GATEWAY: { ...GATEWAY, realms } });
    const own = `__Host-own=${await addSession("ses_1")}`;
    const both = { ...session(), cookie: `theme=dark; ${own}; session=${COOKIE}` };
    expect(await call(both)).toMatchObject(PASSED);
    for (const path of ["/", "/api/user/logout", "/api/pricing"])
      expect((await call(both, path)).status).toBe(200);
    expect(await call({ ...pat(), cookie: own })).toMatchObject(PASSED);
    const [cookie, left] = ["theme=dark; session=", forwarded().map(({ headers }) => headers.get("cookie"))];
    expect(left).toEqual([...Array(4).fill(cookie + COOKIE), null]);
  });

  it("whoever is disabled here is banned", async () => {
    await DB.prepare("UPDATE users SET status = 'disabled'").run();
    expect(await call(pat())).toMatchObject(said(200, TEXTS.banned[0]));
    expect(await call(session())).toMatchObject(said(200, TEXTS.banned[0]));
  });
});

describe("when the origin does not say", () => {
  const json =
    (body: unknown, status = 200) =>
    () =>
      Response.json(body, { status });
  it.each([
    ["500", () => new Response("no", { status: 500 })],
    ["429 without a body, as it limits", () => new Response(null, { status: 429 })],
    ["a redirect to sign in", () => Response.redirect("https://llm.example.com/login", 302)],
    ["a page", () => new Response("<html>")],
    [
      "a database error with 200",
      json({ success: false, message: "Database error, please contact the administrator" }),
    ],
    ["record not found with 200", json({ success: false, message: "record not found" })],
    ["no message with 200", json({ success: false })],
    ["403 of another guard", json({ success: false, message: "blocked" }, 403)],
    ["success without a user", json({ success: true, message: "" })],
  ])("%s: 503 in its envelope, and good again at once", async (_what, happens) => {
    fault = happens;
    for (const sent of [pat(), session()]) {
      const refusal = await call(sent);
      expect([refusal.status, refusal.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(JSON.parse(refusal.body)).toMatchObject({ success: false });
    }
    expect((await call(key, "/v1/chat/completions")).status).toBe(503);
    expect(forwarded()).toEqual([]);
    fault = null;
    expect((await call(pat())).status).toBe(200);
    expect((await call(session())).status).toBe(200);
  });
});
