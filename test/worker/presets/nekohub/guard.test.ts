// NekoHub stays the issuer: which credential counts where, what a refusal reads, and what the origin gets.
import { afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { addApiKey, addUser, emptyStores, type Gateway, writes } from "../../../support/worker/gateway.ts";
import {
  ALL_PERMISSIONS,
  bearer,
  contextOf,
  expectBodiless,
  expectRefusal,
  KEY,
  LONG,
  MANAGED,
  nowSeconds,
  OPEN,
  OTHER_KEY,
  type Sent,
  type Signing,
  sign,
  startNekohub,
} from "./stand-in.ts";

const ASSETS = "/api/v1/assets";
const ME = "/api/v1/auth/me";
const LOGOUT = "/api/v1/auth/logout";

const gateways: Gateway[] = [];
function start(...settings: Parameters<typeof startNekohub>): Gateway {
  const gateway = startNekohub(...settings);
  gateways.push(gateway);
  return gateway;
}
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.settle();
});

beforeAll(async () => {
  await emptyStores();
  for (const permission of ALL_PERMISSIONS) {
    await addUser(`has ${permission}`, { permissions: [permission] });
    await addUser(`lacks ${permission}`, {
      permissions: ALL_PERMISSIONS.filter((one) => one !== permission),
    });
  }
  await addUser("u1");
  await addUser("super", { role: "super_admin" });
  await addUser("off", { status: "disabled", permissions: ALL_PERMISSIONS });
});

const JWT = await sign();
/** Good but for its signature. */
const FORGED = `${JWT.slice(0, -4)}AAAA`;

type Row = readonly [reference: string, sent: Sent, path: string, outcome: string];

const WITHOUT_KEYS: readonly Row[] = [
  ["2.1 #1 a JWT", bearer(JWT), ASSETS, "passes"],
  ["2.1 scheme in lower case", { authorization: `bearer ${JWT}` }, ASSETS, "passes"],
  ["2.1 scheme in upper case", { authorization: `BEARER ${JWT}` }, ASSETS, "passes"],
  ["2.1 blanks around", { authorization: `  Bearer    ${JWT}   ` }, ASSETS, "passes"],
  ["2.1 nothing", {}, ASSETS, "auth_unauthorized"],
  ["2.1 blank", { authorization: "   " }, ASSETS, "auth_unauthorized"],
  ["2.1 empty parameter", { authorization: "Bearer" }, ASSETS, "auth_unauthorized"],
  ["2.1 a raw JWT", { authorization: JWT }, ASSETS, "auth_unauthorized"],
  ["2.1 Basic", { authorization: `Basic ${JWT}` }, ASSETS, "auth_unauthorized"],
  ["2.1 no blank behind Bearer", { authorization: `Bearer${JWT}` }, ASSETS, "auth_unauthorized"],
  ["2.10 an opaque Bearer is no admin", bearer(KEY), ASSETS, "auth_unauthorized"],
  ["2.1 X-API-Key", { "x-api-key": KEY }, ASSETS, "auth_unauthorized"],
  ["2.1 a list", { authorization: `Bearer ${JWT}, Bearer ${JWT}` }, ASSETS, "auth_unauthorized"],
  ["2.1 two words", { authorization: `Bearer ${JWT} ${JWT}` }, ASSETS, "auth_unauthorized"],
  ["2.1 in the query", {}, `${ASSETS}?access_token=${JWT}`, "auth_unauthorized"],
  ["2.1 in a cookie", { cookie: `access_token=${JWT}` }, ASSETS, "auth_unauthorized"],
  ["2.6 forged", bearer(FORGED), ASSETS, "auth_unauthorized"],
  ["2.7 me", bearer(JWT), ME, "passes"],
  ["2.7 me without anything", {}, ME, "auth_unauthorized"],
  ["2.6 /mcp with nothing", {}, "/mcp", "api_key_missing"],
  ["2.6 /mcp with a JWT", bearer(JWT), "/mcp", "api_key_missing"],
  ["2.6 /mcp with a key", bearer(KEY), "/mcp", "api_key_missing"],
  ["2.6 /mcp with Basic", { authorization: "Basic abc" }, "/mcp/sse", "api_key_missing"],
  ["2.6 /mcp with a list", { authorization: `Bearer ${KEY}, ${KEY}` }, "/mcp/message", "api_key_missing"],
];

const WITH_KEYS: readonly Row[] = [
  ["2.1 #2 two dots", bearer(JWT), ASSETS, "passes"],
  ["2.1 #2 no dots", bearer(KEY), ASSETS, "passes"],
  ["2.1 #2 one dot", bearer(OTHER_KEY), ASSETS, "passes"],
  ["2.1 scheme in upper case", { authorization: `BEARER  ${KEY} ` }, ASSETS, "passes"],
  ["2.1 #2 nothing", {}, ASSETS, "api_key_missing"],
  ["2.1 #2 blank", { authorization: "  " }, ASSETS, "api_key_missing"],
  ["2.1 #2 empty parameter", { authorization: "Bearer" }, ASSETS, "api_key_invalid"],
  ["2.1 #2 another scheme", { authorization: `Basic ${KEY}` }, ASSETS, "api_key_invalid"],
  ["2.1 #2 another scheme with two dots", { authorization: `Token ${JWT}` }, ASSETS, "api_key_invalid"],
  ["2.6 a raw key", { authorization: KEY }, ASSETS, "api_key_invalid"],
  ["2.6 a raw JWT", { authorization: JWT }, ASSETS, "api_key_invalid"],
  ["2.6 a wrong key", bearer(`${KEY}x`), ASSETS, "api_key_invalid"],
  ["2.6 a shorter key", bearer(KEY.slice(0, -1)), ASSETS, "api_key_invalid"],
  ["2.6 a key in another case", bearer(KEY.toUpperCase()), ASSETS, "api_key_invalid"],
  ["2.1 #2 three dots", bearer(`${JWT}.x`), ASSETS, "api_key_invalid"],
  ["2.1 #2 one dot, unknown", bearer("a.b"), ASSETS, "api_key_invalid"],
  ["2.1 #2 two dots, no JWT", bearer("a.b.c"), ASSETS, "auth_unauthorized"],
  ["2.6 forged", bearer(FORGED), ASSETS, "auth_unauthorized"],
  ["2.1 X-API-Key", { "x-api-key": KEY }, ASSETS, "api_key_missing"],
  ["2.1 in the query", {}, `${ASSETS}?api_key=${KEY}`, "api_key_missing"],
  ["2.1 in a cookie", { cookie: `api_key=${KEY}` }, ASSETS, "api_key_missing"],
  ["2.1 the key twice", { authorization: `Bearer ${KEY}, Bearer ${KEY}` }, ASSETS, "api_key_invalid"],
  ["2.1 a key behind a JWT", { authorization: `Bearer ${JWT}, Bearer ${KEY}` }, ASSETS, "api_key_invalid"],
  ["2.7 me takes JWTs", bearer(JWT), ME, "passes"],
  ["2.6 me takes no key", bearer(KEY), ME, "auth_unauthorized"],
  ["2.6 me without anything", {}, ME, "auth_unauthorized"],
  ["2.6 me with Basic", { authorization: "Basic abc" }, ME, "auth_unauthorized"],
  ["2.6 /mcp without anything", {}, "/mcp", "api_key_missing"],
  ["2.6 /mcp takes no JWT", bearer(JWT), "/mcp", "api_key_invalid"],
  ["2.7 /mcp", bearer(KEY), "/mcp", "passes"],
  ["2.7 /mcp/sse", bearer(KEY), "/mcp/sse", "passes"],
  ["2.7 /mcp/message", bearer(KEY), "/mcp/message?sessionId=s1", "passes"],
  ["2.6 /mcp/sse with a wrong key", bearer("nope"), "/mcp/sse", "api_key_invalid"],
];

describe.each([
  ["off", false, WITHOUT_KEYS],
  ["on", true, WITH_KEYS],
] as const)("the wire contract, with API keys %s", (_, keys, rows) => {
  it.each(rows)("§%s", async (_reference, headers, path, outcome) => {
    const gateway = start({ keys });
    const response = await gateway.fetch(path, { headers });
    if (outcome === "passes") {
      expect([response.status, await response.text()]).toEqual([200, "from the origin"]);
      // It checks the credential again.
      expect(gateway.received[0]?.headers.get("authorization")).toBe(headers.authorization?.trim());
    } else {
      await expectRefusal(response, outcome);
      expect(gateway.received).toHaveLength(0);
    }
  });

  it("§2.1 sends two Authorization headers nowhere", async () => {
    const gateway = start({ keys });
    const headers = new Headers(bearer(JWT));
    headers.append("authorization", `Bearer ${keys ? KEY : JWT}`);
    const response = await gateway.fetch(ASSETS, { headers });
    expect(response.status).toBe(401);
    expect(gateway.received).toHaveLength(0);
  });

  it.each(OPEN)("§2.7 %s %s is open, whatever Authorization holds, and sends it on", async (method, path) => {
    const gateway = start({ keys });
    for (const authorization of [null, "Bearer wrong", `Bearer ${FORGED}`, "Basic abc", "a.b.c, d"]) {
      const headers: Sent = authorization === null ? {} : { authorization };
      const response = await gateway.fetch(path, { method, headers });
      expect(response.status).toBe(200);
      const got = gateway.received.at(-1);
      expect(got?.headers.get("authorization")).toBe(authorization);
      expect(contextOf(got)).toMatchObject({ anonymous: true });
    }
  });

  it.each(MANAGED)("§2.7 %s %s asks who is calling, and leaves %s to the origin", async (method, path) => {
    const gateway = start({ keys });
    const refused = await gateway.fetch(path, { method });
    if (method === "HEAD") expect([refused.status, await refused.text()]).toEqual([401, ""]);
    else await expectRefusal(refused, keys ? "api_key_missing" : "auth_unauthorized");
    expect(gateway.received).toHaveLength(0);
    for (const credential of keys ? [JWT, KEY] : [JWT]) {
      expect((await gateway.fetch(path, { method, headers: bearer(credential) })).status).toBe(200);
    }
  });

  it("§2.7 POST logout takes JWTs only", async () => {
    const gateway = start({ keys });
    const post = (headers: Sent) => gateway.fetch(LOGOUT, { method: "POST", headers });
    await expectRefusal(await post(bearer(KEY)), "auth_unauthorized");
    await expectRefusal(await post({}), "auth_unauthorized");
    expect((await post(bearer(JWT))).status).toBe(200);
  });

  it("§2.6 knows no other paths, and says so without a body", async () => {
    const gateway = start({ keys });
    for (const path of ["/", "/api/v1/unknown", "/api/v2/assets", "/openapi/v2.json", "/mcpx"]) {
      await expectBodiless(await gateway.fetch(path, { headers: bearer(JWT) }), 404);
    }
    const response = await gateway.fetch(`${ASSETS}/a1`, { method: "PUT", headers: bearer(JWT) });
    expect(response.headers.get("allow")).toBe("DELETE, GET, HEAD, PATCH");
    await expectBodiless(response, 405);
    expect(gateway.received).toHaveLength(0);
  });

  it("§2.8 answers preflights, and lets every origin read refusals", async () => {
    const gateway = start({ keys });
    const origin = "https://console.example.org";
    const none = [
      ["GET", "/api/v1/nothing"],
      ["PUT", ASSETS],
    ] as const;
    for (const [method, path] of [...OPEN, ...MANAGED, ["GET", ME], ["POST", "/mcp"], ...none] as const) {
      const names = "authorization,content-type,x-of-a-client";
      const asked = { "access-control-request-method": method, "access-control-request-headers": names };
      const headers = { origin, ...asked };
      const preflight = await gateway.fetch(path, { method: "OPTIONS", headers });
      expect([path, preflight.status]).toEqual([path, 204]);
      expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
      expect(preflight.headers.get("access-control-allow-methods")).toBe(method);
      expect(preflight.headers.get("access-control-allow-headers")).toBe(names);
      expect(preflight.headers.get("access-control-allow-credentials")).toBeNull();
    }
    for (const [method, path, status] of [
      ["GET", ASSETS, 401],
      ["GET", ME, 401],
      ["GET", "/mcp", 401],
      ["GET", "/api/v1/nothing", 404],
      ["PUT", ASSETS, 405],
    ] as const) {
      const refused = await gateway.fetch(path, { method, headers: { origin } });
      expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([status, "*"]);
      expect(refused.headers.get("access-control-expose-headers")).toBeNull();
    }
    expect(gateway.received).toHaveLength(0);
  });
});

describe("the wire contract, JWTs", () => {
  const now = nowSeconds();
  const rows: readonly (readonly [string, Readonly<Record<string, unknown>>, Signing])[] = [
    ["2.2 another secret", {}, { secret: "another-secret-of-these-tests-8Kx1" }],
    ["2.2 HS384", {}, { alg: "HS384" }],
    ["2.2 HS512", {}, { alg: "HS512" }],
    ["2.2 another issuer", { iss: "nekohub" }, {}],
    ["2.2 no issuer", { iss: undefined }, {}],
    ["2.2 another audience", { aud: "NekoHub.Web" }, {}],
    ["2.2 no audience", { aud: undefined }, {}],
    ["2.2 no exp", { exp: undefined }, {}],
    ["2.2 exp as text", { exp: String(now + 900) }, {}],
    ["2.2 exp further away than a day", { exp: now + 2 * 86_400 }, {}],
    ["2.2 expired", { exp: now - 60 }, {}],
    ["2.2 nbf to come", { nbf: now + 120 }, {}],
    ["2.2 nbf as text", { nbf: "soon" }, {}],
    ["2.2 no subject", { [LONG.subject]: undefined }, {}],
    ["2.2 an empty subject", { [LONG.subject]: "" }, {}],
    ["2.2 a number as subject", { [LONG.subject]: 7 }, {}],
    ["2.2 two subjects", { sub: "super" }, {}],
    ["2.2 two subjects, both short", { [LONG.subject]: undefined, sub: "u1", nameid: "super" }, {}],
    ["2.2 a list of subjects", { [LONG.subject]: ["u1", "super"] }, {}],
    ["2.2 two roles", { role: "SuperAdmin" }, {}],
    ["2.2 two names", { unique_name: "bob" }, {}],
    ["2.2 another typ", {}, { header: { typ: "user-context+jwt" } }],
    ["2.2 crit", {}, { header: { crit: ["b64"], b64: true } }],
  ];
  it.each(rows)("§%s is refused", async (_reference, claims, signing) => {
    const gateway = start();
    const response = await gateway.fetch(ASSETS, { headers: bearer(await sign(claims, signing)) });
    await expectRefusal(response, "auth_unauthorized");
    expect(gateway.received).toHaveLength(0);
  });

  it("§2.2 refuses alg none, and a header of its own making", async () => {
    const gateway = start();
    const [, payload = "", signature = ""] = JWT.split(".");
    for (const header of ['{"alg":"none","typ":"JWT"}', '{"alg":"HS256","alg":"none"}', '{"typ":"JWT"}']) {
      const encoded = btoa(header).replace(/=+$/, "");
      for (const last of ["", signature]) {
        const response = await gateway.fetch(ASSETS, { headers: bearer(`${encoded}.${payload}.${last}`) });
        await expectRefusal(response, "auth_unauthorized");
      }
    }
  });

  const accepted: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
    ["2.2 without jti", { jti: undefined }],
    ["2.2 without nbf", { nbf: undefined }],
    ["2.2 without permissions", { permission: undefined }],
    ["2.2 with one permission", { permission: "assets.read" }],
    ["2.2 with several permissions", { permission: ["assets.read", "users.read"] }],
    ["2.2 with sub", { [LONG.subject]: undefined, sub: "u1" }],
    ["2.2 with nameid", { [LONG.subject]: undefined, nameid: "u1" }],
    ["2.2 with every name of it", { sub: "u1", nameid: "u1", unique_name: "alice", role: "User" }],
    [
      "2.2 with short names alone",
      {
        [LONG.subject]: undefined,
        [LONG.name]: undefined,
        [LONG.role]: undefined,
        sub: "u1",
        unique_name: "alice",
        role: "User",
      },
    ],
    ["2.2 with the audience in a list", { aud: ["x", "NekoHub.Admin"] }],
  ];
  it.each(accepted)("§%s is taken, and the origin is told who it is", async (_reference, claims) => {
    const gateway = start();
    const response = await gateway.fetch(ASSETS, { headers: bearer(await sign(claims)) });
    expect(response.status).toBe(200);
    // What a token says of permissions is no right.
    const user = { id: "u1", name: "alice", role: "user", permissions: [] };
    expect(contextOf(gateway.received[0])).toMatchObject({ sub: "u1", user });
  });

  it.each([
    ["SuperAdmin", "super_admin"],
    ["Admin", "admin"],
    ["User", "user"],
    ["Owner", "user"],
    ["superAdmin", "user"],
    [["User", "Admin"], "admin"],
  ])("§2.2 reads the role %j as %s", async (claim, role) => {
    const gateway = start();
    await gateway.fetch(ASSETS, { headers: bearer(await sign({ [LONG.role]: claim })) });
    expect(contextOf(gateway.received[0])).toMatchObject({ user: { role } });
  });

  it("§2.2 allows clocks 30 seconds, and not one more", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    onTestFinished(() => void vi.useRealTimers());
    const gateway = start();
    const at = nowSeconds();
    const status = async (claims: Readonly<Record<string, unknown>>) =>
      (await gateway.fetch(ASSETS, { headers: bearer(await sign({ nbf: undefined, ...claims })) })).status;
    expect(await status({ exp: at - 29 })).toBe(200);
    expect(await status({ exp: at - 30 })).toBe(401);
    expect(await status({ nbf: at + 30 })).toBe(200);
    expect(await status({ nbf: at + 31 })).toBe(401);
    const token = await sign({ exp: at + 10 });
    expect((await gateway.fetch(ASSETS, { headers: bearer(token) })).status).toBe(200);
    vi.setSystemTime(1_800_000_039_000);
    expect((await gateway.fetch(ASSETS, { headers: bearer(token) })).status).toBe(200);
    vi.setSystemTime(1_800_000_040_000);
    expect((await gateway.fetch(ASSETS, { headers: bearer(token) })).status).toBe(401);
  });

  it("takes the issuer and audience that a deployment has of its own", async () => {
    const gateway = start({ jwt: { issuer: "Mine", audience: "NekoHub.Web" } });
    const headers = bearer(await sign({ iss: "Mine", aud: "NekoHub.Web" }));
    expect((await gateway.fetch(ASSETS, { headers })).status).toBe(200);
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer(JWT) }), "auth_unauthorized");
  });
});

describe("the wire contract, permissions of users who are known here", () => {
  const known = { keys: true, site: { users: "required" } };
  const tokenOf = (id: string, role = "User") =>
    sign({ [LONG.subject]: id, [LONG.role]: role, permission: "users.read" });

  it.each(MANAGED)("§2.7 %s %s takes %s", async (method, path, permission) => {
    const gateway = start(known);
    const call = async (token: string) => gateway.fetch(path, { method, headers: bearer(token) });
    expect((await call(await tokenOf(`has ${permission}`))).status).toBe(200);
    expect((await call(await tokenOf("super", "SuperAdmin"))).status).toBe(200);
    expect((await call(KEY)).status).toBe(200);
    const passed = gateway.received.length;
    await expectBodiless(await call(await tokenOf(`lacks ${permission}`)), 403);
    await expectBodiless(await call(await tokenOf("u1", "SuperAdmin")), 403);
    expect(gateway.received).toHaveLength(passed);
  });

  it("§2.2 refuses users who are not there or not active", async () => {
    const gateway = start(known);
    for (const id of ["nobody", "off"]) {
      await expectRefusal(
        await gateway.fetch(ASSETS, { headers: bearer(await tokenOf(id)) }),
        "auth_unauthorized",
      );
      await expectRefusal(
        await gateway.fetch(ME, { headers: bearer(await tokenOf(id)) }),
        "auth_unauthorized",
      );
    }
  });

  it("§2.2 looks permissions up now: what was granted counts, what was taken away does not", async () => {
    await addUser("changing", { permissions: [] });
    const token = await sign({ [LONG.subject]: "changing", permission: ["assets.read"] });
    const status = async () => (await start(known).fetch(ASSETS, { headers: bearer(token) })).status;
    expect(await status()).toBe(403);
    await writes.updateUser("main", "changing", { permissions: ["assets.read"] }, nowSeconds());
    expect(await status()).toBe(200);
    await writes.updateUser("main", "changing", { permissions: [] }, nowSeconds());
    expect(await status()).toBe(403);
    // A role above takes all of them along, and is gone as soon.
    const asSuper = await sign({ [LONG.subject]: "changing", [LONG.role]: "SuperAdmin" });
    const asSuperStatus = async () => (await start(known).fetch(ASSETS, { headers: bearer(asSuper) })).status;
    expect(await asSuperStatus()).toBe(403);
    await writes.updateUser("main", "changing", { role: "super_admin" }, nowSeconds());
    expect(await asSuperStatus()).toBe(200);
  });

  it("§2.4 a configured key is a machine admin, and no user", async () => {
    const gateway = start(known);
    await gateway.fetch("/api/v1/users", { method: "POST", headers: bearer(KEY) });
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(KEY));
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const id = `api-key:${hex.slice(0, 16)}`;
    expect(contextOf(gateway.received[0])).toMatchObject({
      sub: id,
      user: { id, name: id, role: "admin", permissions: ALL_PERMISSIONS },
      auth: { kind: "api_key" },
    });
  });

  it("takes a key of the realm with the rights of its owner, on /mcp as well", async () => {
    const reads = await addApiKey("k1", { userId: "has assets.read" });
    const nothing = await addApiKey("k2", { userId: "u1" });
    const off = await addApiKey("k3", { userId: "off" });
    const gateway = start(known);
    const call = (key: string, path: string) => gateway.fetch(path, { headers: bearer(key) });
    expect((await call(reads, ASSETS)).status).toBe(200);
    expect((await call(reads, "/mcp")).status).toBe(200);
    await expectBodiless(await call(nothing, ASSETS), 403);
    await expectRefusal(await call(off, ASSETS), "api_key_invalid");
    await expectRefusal(await call(reads, ME), "auth_unauthorized");
    // Not where the configuration says nothing of keys.
    const without = start({ site: { users: "required" } });
    await expectRefusal(await without.fetch(ASSETS, { headers: bearer(reads) }), "auth_unauthorized");
    await expectRefusal(await without.fetch("/mcp", { headers: bearer(reads) }), "api_key_missing");
    // Nor where no users are known.
    const guarding = start({ keys: true });
    await expectRefusal(await guarding.fetch(ASSETS, { headers: bearer(reads) }), "api_key_invalid");
  });

  it("says an outage as an outage, and takes a configured key in spite of it", async () => {
    const gateway = start(known);
    gateway.faults.d1 = "failing";
    gateway.faults.kv = "failing";
    const response = await gateway.fetch(ASSETS, { headers: bearer(await tokenOf("has assets.read")) });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await response.json()).toMatchObject({ error: { code: "store_unavailable", status: 503 } });
    expect((await gateway.fetch(ASSETS, { headers: bearer(KEY) })).status).toBe(200);
  });
});

describe("what the site says otherwise", () => {
  it('reads problems where errors = "problem"', async () => {
    const response = await start({ site: { errors: "problem" } }).fetch(ASSETS);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="test"');
  });

  it("calls a list a conflict there, not a bad credential", async () => {
    const gateway = start({ site: { errors: "problem" } });
    const codeOf = async (authorization: string) =>
      ((await (await gateway.fetch(ASSETS, { headers: { authorization } })).json()) as { code: string }).code;
    expect(await codeOf(`Bearer ${JWT},${JWT}`)).toBe("credential_conflict");
    expect(await codeOf(`Bearer ${JWT}, Bearer ${JWT}`)).toBe("credential_conflict");
    expect(await codeOf(`Bearer ${FORGED}`)).toBe("credential_invalid");
  });

  it('passes on what the table does not know where unmatched = "forward", and what it knows stays as it is', async () => {
    const gateway = start({ site: { unmatched: "forward" } });
    expect((await gateway.fetch("/api/v2/new", { method: "POST", headers: bearer("any") })).status).toBe(200);
    expect(gateway.received[0]?.headers.get("authorization")).toBe("Bearer any");
    expect(contextOf(gateway.received[0])).toMatchObject({ anonymous: true });
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer("any") }), "auth_unauthorized");
    await expectBodiless(await gateway.fetch(ASSETS, { method: "PUT", headers: bearer(JWT) }), 405);
    expect(gateway.received).toHaveLength(1);
  });

  it("has rows of its own beside the preset's, or in their place", async () => {
    const routes = [
      { path: "/api/v2/new", methods: ["GET"], accept: ["jwt"] },
      { path: "/api/v1/assets", methods: ["GET"], accept: ["jwt"] },
    ];
    const gateway = start({ keys: true, site: { routes } });
    expect((await gateway.fetch("/api/v2/new", { headers: bearer(JWT) })).status).toBe(200);
    await expectRefusal(await gateway.fetch("/api/v2/new", { headers: bearer(KEY) }), "auth_unauthorized");
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer(KEY) }), "auth_unauthorized");
    expect((await gateway.fetch(ASSETS, { method: "POST", headers: bearer(KEY) })).status).toBe(200);
  });

  it("keeps the credential from the origin where forward_credential = false", async () => {
    const gateway = start({ keys: true, site: { forward_credential: false } });
    for (const [value, path] of [
      [JWT, ASSETS],
      [KEY, ASSETS],
      [KEY, "/mcp"],
      ["rubbish", "/api/v1/system/ping"],
    ] as const) {
      expect((await gateway.fetch(path, { headers: bearer(value) })).status).toBe(200);
      expect(gateway.received.at(-1)?.headers.get("authorization")).toBeNull();
    }
  });

  it("needs no D1, and no secrets of its own but the signing key, with revocation = none", async () => {
    const vars = { DB: undefined, POSTERN_PEPPERS: undefined, POSTERN_TAG_SECRETS: undefined };
    const gateway = start({ keys: true, site: { revocation: "none" }, vars });
    for (const value of [JWT, KEY]) {
      expect((await gateway.fetch(ASSETS, { headers: bearer(value) })).status).toBe(200);
    }
    expect(gateway.counts.d1).toBe(0);
  });
});
