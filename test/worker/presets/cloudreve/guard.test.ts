// Cloudreve stays the issuer: which token counts where, what a refusal reads, and what the origin gets.
import { afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { addUser, emptyStores, type Gateway, writes } from "../../../support/worker/gateway.ts";
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
  PING,
  ROUTES,
  type Sent,
  type Signing,
  send,
  sign,
  signRefresh,
  startCloudreve,
  USER_IS_OUT,
  type Words,
  WRONG_USE,
} from "./stand-in.ts";

const gateways: Gateway[] = [];
function start(...settings: Parameters<typeof startCloudreve>): Gateway {
  const gateway = startCloudreve(...settings);
  gateways.push(gateway);
  return gateway;
}
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.settle();
});

beforeAll(async () => {
  await emptyStores();
  await addUser("lpua", { email: "alice@example.com" });
  await addUser("admn", { role: "admin" });
  await addUser("bann", { status: "disabled" });
  await addUser("idle", { status: "pending" });
  await addUser("gone");
  await writes.deleteUser("main", "gone", nowSeconds(), nowSeconds() + 1);
});

const JWT = await sign();
const REFRESH = await signRefresh();
const FORGED = `${JWT.slice(0, -4)}AAAA`;
const EXPIRED = await sign({ nbf: nowSeconds() - 7_200, exp: nowSeconds() - 1 });

/** What came of a request to an optional route, and what the origin saw of its Authorization. */
async function fateOf(gateway: Gateway, headers: Sent, path = FILES): Promise<readonly unknown[]> {
  const response = await gateway.fetch(path, { headers });
  expect([response.status, await response.text()]).toEqual([200, "from the origin"]);
  const got = gateway.received.at(-1);
  const { sub, anonymous } = contextOf(got);
  return [anonymous === true ? "anonymous" : sub, got?.headers.get("authorization") ?? null];
}

describe("the wire contract, where a credential may appear", () => {
  const hmac = "Bearer Cr dGhpc2lzYXNpZ25hdHVyZQ==:1800000000";
  const rows: readonly (readonly [string, Sent, string, string | null])[] = [
    ["1.1 Bearer", bearer(JWT), "lpua", `Bearer ${JWT}`],
    ["1.1 raw", { authorization: JWT }, "lpua", JWT],
    ["1.1 blanks around", { authorization: `  Bearer ${JWT} ` }, "lpua", `Bearer ${JWT}`],
    ["1.1 nothing", {}, "anonymous", null],
    ["1.1 Bearer in lower case", { authorization: `bearer ${JWT}` }, "anonymous", null],
    ["1.1 Bearer in upper case", { authorization: `BEARER ${JWT}` }, "anonymous", null],
    ["1.1 two blanks", { authorization: `Bearer  ${JWT}` }, "anonymous", null],
    ["1.1 a tab", { authorization: `Bearer\t${JWT}` }, "anonymous", null],
    ["1.1 Bearer twice", { authorization: `Bearer Bearer ${JWT}` }, "anonymous", null],
    ["1.1 a request signature", { authorization: hmac }, "anonymous", hmac],
    ["1.1 a request signature in another case", { authorization: `Bearer cr ${JWT}` }, "anonymous", null],
    ["1.1 a JWT behind Cr", { authorization: `Bearer Cr ${JWT}` }, "anonymous", `Bearer Cr ${JWT}`],
    ["1.1 a JWT behind a signature", { authorization: `${hmac}, Bearer ${JWT}` }, "anonymous", null],
    ["1.1 Basic", { authorization: "Basic YTpi" }, "anonymous", "Basic YTpi"],
    ["1.1 a JWT behind Basic", { authorization: `Basic YTpi, Bearer ${JWT}` }, "anonymous", null],
    ["1.1 Token", { authorization: `Token ${JWT}` }, "anonymous", null],
    ["1.1 a list", { authorization: `Bearer ${JWT}, Bearer ${JWT}` }, "anonymous", null],
    ["1.1 X-API-Key", { "x-api-key": JWT }, "anonymous", null],
    ["1.1 the cookie", { cookie: `cloudreve-session=${JWT}` }, "anonymous", null],
  ];
  it.each(rows)("§%s", async (_reference, headers, who, forwarded) => {
    const gateway = start();
    expect(await fateOf(gateway, headers)).toEqual([who, forwarded]);
    const isKnown = who !== "anonymous";
    const atMe = await gateway.fetch(ME, { headers });
    if (isKnown) expect([atMe.status, await atMe.text()]).toEqual([200, "from the origin"]);
    else await expectRefusal(atMe, LOGIN_REQUIRED);
    expect(gateway.received).toHaveLength(isKnown ? 2 : 1);
  });

  it.each([
    `${API}/file/content/e1/0/a.txt?sign=abc-_%3D:0&x=1`,
    `${API}/file/wopi/f1?access_token=s.k`,
    `${API}/share/info/s1?password=p%20w`,
    `${API}/file?uri=cloudreve%3A%2F%2Fid%3Apw%40share%2Fa`,
  ])("§1.1 %s: what stands in a query is the origin's", async (target) => {
    const gateway = start();
    await gateway.fetch(target, { headers: { cookie: "cloudreve-session=x; other=y" } });
    const [got] = gateway.received;
    expect(got?.url.endsWith(target)).toBe(true);
    expect(got?.headers.get("cookie")).toBe("cloudreve-session=x; other=y");
  });

  it("§1.1 no JWT in a query counts", async () => {
    const gateway = start();
    await expectRefusal(await gateway.fetch(`${ME}?access_token=${JWT}`), LOGIN_REQUIRED);
  });
});

describe("the wire contract, verification", () => {
  const claims = (given: Readonly<Record<string, unknown>>, signing: Signing = {}) => sign(given, signing);
  const unsigned = `${btoa('{"alg":"none","typ":"JWT"}').replace(/=+$/, "")}.${JWT.split(".")[1]}.`;
  const forgiven: readonly (readonly [string, string | Promise<string>])[] = [
    ["1.3 exactly `Bearer `", ""],
    ["1.3 unparsable", "abc"],
    ["1.3 two dots and nothing", ".."],
    ["1.3 bad signature", FORGED],
    ["1.3 expired", EXPIRED],
    ["1.3 not yet valid", claims({ nbf: nowSeconds() + 600 })],
    ["1.3 alg none", unsigned],
    ["1.3 alg none with a signature", `${unsigned}${JWT.split(".")[2]}`],
    ["1.3 another site's key", claims({}, { secret: `${"x"}${"the-master-key-of-another-site-4kQ8"}` })],
    ["1.3 an expired refresh token", signRefresh({ exp: nowSeconds() - 1 })],
    ["1.3 a forged refresh token", `${REFRESH.slice(0, -4)}AAAA`],
    ["1.2 HS384", claims({}, { alg: "HS384" })],
    ["1.2 HS512", claims({}, { alg: "HS512" })],
    ["1.2 no exp", claims({ exp: undefined })],
    ["1.2 exp as text", claims({ exp: String(nowSeconds() + 60) })],
    ["1.2 exp further away than a day", claims({ exp: nowSeconds() + 86_460 })],
    ["1.2 another typ", claims({}, { header: { typ: "user-context+jwt" } })],
    ["1.2 crit", claims({}, { header: { crit: ["b64"], b64: true } })],
    ["1.2 token_type as a number", claims({ token_type: 1 })],
    ["1.2 client_id as a list", claims({ client_id: ["x"] })],
    ["1.2 scopes as text", claims({ client_id: "x", scopes: "Admin.Read" })],
    ["1.2 over 8 KB", claims({ filler: "x".repeat(8_000) })],
  ];
  it.each(forgiven)("§%s: anonymous everywhere, and the origin does not see it", async (_reference, made) => {
    const gateway = start();
    const headers = bearer(await made);
    for (const path of [FILES, PING, `${API}/user/info/x`, `${API}/share/info/x`]) {
      expect(await fateOf(gateway, headers, path)).toEqual(["anonymous", null]);
    }
    for (const path of [ME, `${API}/admin/summary`, `${API}/workflow`, `${API}/file/events`]) {
      await expectRefusal(await gateway.fetch(path, { headers }), LOGIN_REQUIRED);
    }
    expect(gateway.received).toHaveLength(4);
  });

  const refused: readonly (readonly [string, string | Promise<string>, Words])[] = [
    ["1.3 a refresh token", REFRESH, WRONG_USE],
    ["1.3 a refresh token of half a year", signRefresh({ exp: nowSeconds() + 180 * 86_400 }), WRONG_USE],
    ["1.3 no token_type", claims({ token_type: undefined }), WRONG_USE],
    ["1.3 an empty token_type", claims({ token_type: "" }), WRONG_USE],
    ["1.3 Access with a capital", claims({ token_type: "Access" }), WRONG_USE],
    ["1.3 no sub", claims({ sub: undefined }), NO_SUCH_USER],
    ["1.3 an empty sub", claims({ sub: "" }), NO_SUCH_USER],
  ];
  const looksAtTokens = ROUTES.filter(({ demand, call }) => demand !== "passed" && !call.startsWith("HEAD"));
  it.each(refused)("§%s is refused on every route that looks at tokens", async (_reference, made, words) => {
    const gateway = start();
    const headers = bearer(await made);
    for (const row of looksAtTokens) await expectRefusal(await send(gateway, row, headers), words);
    expect(gateway.received).toHaveLength(0);
  });

  it("§1.3 a refresh token is none of the gateway's business where nobody is looked at", async () => {
    const gateway = start();
    const passed = ROUTES.filter(({ demand }) => demand === "passed");
    for (const row of passed) {
      expect((await send(gateway, row, bearer(REFRESH))).status).toBe(200);
      expect(gateway.received.at(-1)?.headers.get("authorization")).toBe(`Bearer ${REFRESH}`);
    }
    expect(gateway.received).toHaveLength(passed.length);
  });

  const known: readonly (readonly [string, string, Words | null])[] = [
    ["an active user", "lpua", null],
    ["a deleted user", "gone", USER_IS_OUT],
    ["an inactive user", "idle", USER_IS_OUT],
    ["a banned user", "bann", USER_IS_OUT],
    ["nobody", "none", NO_SUCH_USER],
  ];
  it.each(known)("§1.3 %s, where users are known", async (_name, sub, words) => {
    const gateway = start({ site: { users: "required" } });
    const headers = bearer(await sign({ sub }));
    for (const path of [FILES, PING, ME, `${API}/file/content/e/0/a`, `${API}/session/prepare`]) {
      const response = await gateway.fetch(path, { headers });
      if (words === null) expect(response.status).toBe(200);
      else await expectRefusal(response, words);
    }
    expect(gateway.received).toHaveLength(words === null ? 5 : 0);
  });

  it("§1.3 leaves the status of users to an origin that knows them", async () => {
    const gateway = start();
    for (const sub of ["gone", "idle", "bann", "none"]) {
      expect(await fateOf(gateway, bearer(await sign({ sub })))).toEqual([
        sub,
        expect.stringMatching(/^Bearer /),
      ]);
    }
  });

  it("§1.3 has no leeway: good until the second before exp, and from nbf on", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    onTestFinished(() => void vi.useRealTimers());
    const gateway = start();
    const at = nowSeconds();
    expect((await fateOf(gateway, bearer(await sign({ exp: at + 1 }))))[0]).toBe("lpua");
    expect(await fateOf(gateway, bearer(await sign({ exp: at })))).toEqual(["anonymous", null]);
    expect((await fateOf(gateway, bearer(await sign({ nbf: at }))))[0]).toBe("lpua");
    expect(await fateOf(gateway, bearer(await sign({ nbf: at + 1 })))).toEqual(["anonymous", null]);
    // Remembered, and yet over.
    const token = await sign({ exp: at + 10 });
    expect((await fateOf(gateway, bearer(token)))[0]).toBe("lpua");
    vi.setSystemTime(1_800_000_010_000);
    expect(await fateOf(gateway, bearer(token))).toEqual(["anonymous", null]);
  });

  it.each([
    ["the documented debugging token", {}],
    ["without nbf", { nbf: undefined }],
    ["with claims that other issuers have", { iss: "x", aud: "y", iat: nowSeconds(), jti: "j" }],
    ["with empty client_id and scopes", { client_id: "", scopes: [] }],
    ["with scopes and no client", { scopes: ["profile"] }],
    ["with null for a client", { client_id: null, scopes: null }],
  ])("§1.2 takes %s, for all that its user may", async (_name, given) => {
    const gateway = start();
    const headers = bearer(await sign(given));
    for (const row of ROUTES) expect((await send(gateway, row, headers)).status).toBe(200);
    expect(gateway.received).toHaveLength(ROUTES.length);
  });

  it("takes longer tokens where the site says so", async () => {
    const gateway = start({ jwt: { max_lifetime_seconds: 31_622_400 } });
    const token = await sign({ exp: nowSeconds() + 31_000_000 });
    expect((await fateOf(gateway, bearer(token)))[0]).toBe("lpua");
  });

  it("a revocation counts by nbf where there is no iat", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    onTestFinished(() => void vi.useRealTimers());
    const gateway = start({ site: { routes: [{ path: ME, freshness_seconds: 0 }] } });
    const [at, headers] = [nowSeconds(), bearer(await sign({ sub: "kick" }))];
    const next = bearer(await sign({ sub: "kick", nbf: at + 1 }));
    expect((await gateway.fetch(ME, { headers })).status).toBe(200);
    const denial = {
      kind: "subject",
      value: "kick",
      issuedBeforeSeconds: at,
      expiresAtSeconds: null,
    } as const;
    await writes.revoke({ realm: "main", ...denial }, at);
    await expectRefusal(await gateway.fetch(ME, { headers }), LOGIN_REQUIRED);
    vi.setSystemTime(1_800_000_001_000);
    expect((await gateway.fetch(ME, { headers: next })).status).toBe(200);
  });
});

describe("the wire contract, route groups", () => {
  const tokenOf = (sub: string, scopes: readonly string[]) =>
    sign({ sub, client_id: "393a1839-f52e-498e-9972-e77cc2241eee", scopes });

  it.each(ROUTES)("§1.6 $group: $call is $demand", async (row) => {
    const { demand } = row;
    for (const users of ["none", "required"] as const) {
      const gateway = start({ site: { users } });
      const nobody = await send(gateway, row);
      const isOpen = demand === "passed" || demand === "none" || demand === "optional";
      if (isOpen) expect(contextOf(gateway.received.at(-1))).toMatchObject({ anonymous: true });
      else await expectRefusal(nobody, LOGIN_REQUIRED);
      expect(gateway.received).toHaveLength(isOpen ? 1 : 0);

      const somebody = await send(gateway, row, bearer(JWT));
      if (demand === "admin" && users === "required") await expectRefusal(somebody, NOT_ADMIN);
      else {
        expect(somebody.status).toBe(200);
        const who = demand === "passed" ? { anonymous: true } : { sub: "lpua" };
        expect(contextOf(gateway.received.at(-1))).toMatchObject(who);
      }
      const administrator = await send(gateway, row, bearer(await sign({ sub: "admn" })));
      expect(administrator.status).toBe(200);
    }
  });

  it.each(ROUTES.filter(({ scopes }) => scopes.length > 0))(
    "§1.3 $group: $call asks a client's token for $scopes",
    async (row) => {
      const gateway = start({ site: { users: "required" } });
      const as = (scopes: readonly string[]) => tokenOf("admn", scopes).then(bearer);
      const isHead = row.call.startsWith("HEAD");
      for (const [index, scope] of row.scopes.entries()) {
        const response = await send(gateway, row, await as(row.scopes.slice(0, index)));
        if (isHead) expect([response.status, await response.text()]).toEqual([200, ""]);
        else await expectRefusal(response, lacks(scope));
      }
      expect(gateway.received).toHaveLength(0);
      expect((await send(gateway, row, await as(row.scopes))).status).toBe(200);
      // Writing includes reading; the loop above has seen that nothing else does.
      const written = row.scopes.map((scope) => scope.replace(/Read$/, "Write"));
      expect((await send(gateway, row, await as(written))).status).toBe(200);
    },
  );

  it("§1.3 a client's token with no scope goes where none is asked for", async () => {
    const gateway = start();
    const headers = bearer(await tokenOf("lpua", []));
    for (const row of ROUTES.filter(({ scopes }) => scopes.length === 0)) {
      expect([row.call, (await send(gateway, row, headers)).status]).toEqual([row.call, 200]);
    }
  });

  it("tells the origin which scopes a token has", async () => {
    const gateway = start();
    await gateway.fetch(ME, { headers: bearer(await tokenOf("lpua", ["UserInfo.Write", "openid"])) });
    const scopes = ["UserInfo.Write", "openid", "UserInfo.Read"];
    expect(contextOf(gateway.received[0])).toMatchObject({ auth: { kind: "jwt", scopes } });
  });

  it("§1.7 forwards preflights, and adds no CORS headers", async () => {
    const gateway = start({
      origin: () => new Response(null, { status: 204, headers: { "x-origin": "1" } }),
    });
    for (const path of [ME, FILES, `${API}/file/content/e1/0/a.txt`]) {
      const headers = { origin: "https://elsewhere.example", "access-control-request-method": "GET" };
      const response = await gateway.fetch(path, { method: "OPTIONS", headers });
      expect([response.status, response.headers.get("x-origin")]).toEqual([204, "1"]);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect(gateway.received).toHaveLength(3);
  });

  it("§1.8 sends on what it is given: a DELETE with a body, an upload, a signature", async () => {
    const gateway = start({ origin: async (request) => new Response(await request.arrayBuffer()) });
    const bytes = crypto.getRandomValues(new Uint8Array(50_000));
    for (const [method, path, headers] of [
      ["DELETE", `${API}/session/token`, {}],
      ["DELETE", FILES, bearer(JWT)],
      ["PUT", `${FILES}/content?uri=x`, bearer(JWT)],
      ["POST", `${FILES}/upload/s1/0`, bearer(JWT)],
      ["PUT", `${API}/slave/task`, { authorization: "Bearer Cr c2ln:1", "x-cr-node-id": "1" }],
      ["PUT", "/dav/a.bin", { authorization: "Basic YTpi" }],
    ] as const) {
      const response = await gateway.fetch(path, { method, headers, body: bytes });
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
      const got = gateway.received.at(-1);
      expect(got?.method).toBe(method);
      for (const [name, value] of Object.entries(headers)) expect(got?.headers.get(name)).toBe(value);
    }
  });

  it("takes names of files as they are where they stand in paths", async () => {
    const gateway = start();
    for (const path of [
      "/dav/100%25;v=2.txt",
      "/f/abc/50%25%20off;1.pdf",
      "/s/abc/p%25;w",
      `${API}/file/content/e1/0/100%25;a.txt`,
      `${API}/slave/file/content/n/s/0/100%25.txt`,
    ]) {
      expect((await gateway.fetch(path)).status).toBe(200);
      expect(new URL(gateway.received.at(-1)?.url ?? "").pathname).toBe(path);
    }
    for (const path of ["/dav/x/..;/y", `${API}/admin/100%25`, `${API}/user/me;x`, `${API}/file/info%25`]) {
      expect((await gateway.fetch(path)).status).toBe(400);
    }
    expect(gateway.received).toHaveLength(5);
  });
});

describe("the wire contract, the envelope", () => {
  it.each([
    ["0B8F3C1E-6f0e-4a6e-9c5e-3a6f0f5f7b11", "0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11"],
    ["not-a-uuid", null],
    ['0b8f3c1e-6f0e-4a6e-9c5e-3a6f0f5f7b11"', null],
    ["", null],
  ])("§1.4 echoes a correlation id that is one: %s", async (sent, echoed) => {
    const gateway = start();
    const response = await gateway.fetch(ME, { headers: { "x-cr-correlation-id": sent } });
    const id = echoed ?? response.headers.get("x-request-id");
    expect(await response.text()).toBe(`{"code":401,"msg":"Login required","correlation_id":"${id}"}`);
  });

  it("says an outage as one: 503, in the envelope, never as a refusal and never as a pass", async () => {
    const gateway = start({ site: { users: "required" } });
    gateway.faults.d1 = "failing";
    for (const path of [ME, FILES, PING]) {
      const response = await gateway.fetch(path, { headers: bearer(JWT) });
      expect(response.headers.get("retry-after")).toBe("5");
      await expectRefusal(response, [503, "The gateway cannot check credentials right now"], 503);
    }
    expect(gateway.received).toHaveLength(0);
    // Who presents nothing is not looked up.
    expect((await gateway.fetch(PING)).status).toBe(200);
  });

  it("says what Cloudreve has no words for with its own status", async () => {
    const gateway = start();
    await expectRefusal(
      await gateway.fetch(`${API}/user/me;x`),
      [400, "The path can be read in more than one way"],
      400,
    );
  });

  it('says problem documents where errors = "problem"', async () => {
    const gateway = start({ site: { errors: "problem" } });
    const response = await gateway.fetch(ME);
    expect([response.status, response.headers.get("content-type")]).toEqual([
      401,
      "application/problem+json",
    ]);
  });

  it("answers HEAD without a body", async () => {
    const response = await start().fetch(ME, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });
});
