// What NekoHub's clients would not do: methods and spellings of paths beside the table, credentials of others and of two
// kinds at once, claims about oneself, races, and everything that somebody can still do who may not any more.
import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { storedDigests } from "../../../../src/crypto/digest.ts";
import { createPasswordHasher } from "../../../../src/issuer/password-hasher.ts";
import {
  addApiKey,
  addUser,
  DB,
  emptyStores,
  type Gateway,
  peppers,
  writes,
} from "../../../support/worker/gateway.ts";
import {
  ALL_PERMISSIONS,
  bearer,
  contextOf,
  expectBodiless,
  expectRefusal,
  HOST,
  KEY,
  LONG,
  MANAGED,
  nowSeconds,
  OPEN,
  SECRET,
  type Sent,
  sign,
  startNekohub,
} from "./stand-in.ts";

const NOW_MS = 1_800_000_300_000;
const ASSETS = "/api/v1/assets";
const AUTH = "/api/v1/auth";
const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);

const gateways: Gateway[] = [];
function start(...settings: Parameters<typeof startNekohub>): Gateway {
  const gateway = startNekohub(...settings);
  gateways.push(gateway);
  return gateway;
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  await emptyStores();
});
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.settle();
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(NOW_MS + seconds * 1_000);

/** Rows of the wire contract, §2.7, that take any method, and those that `MANAGED` and `OPEN` leave out. */
const SIGNED_IN = [
  ["GET", `${AUTH}/me`],
  ["POST", `${AUTH}/logout`],
] as const;
const ROWS = [...OPEN, ...MANAGED, ...SIGNED_IN].map(([method, path]) => [method, path] as const);
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];

describe("methods (NekoHub §2.7)", () => {
  /** What the table has at a path, GET standing for HEAD; `:id` takes the literals beside it, too. */
  const methodsAt = (path: string) => {
    const fold = (other: string) => other.toLowerCase().replace(/\/$/, "");
    const beside = ["a1", "p1", "u2", "w1"].map((id) => fold(path).replace(/\/[^/]+$/, `/${id}`));
    const methods = ROWS.filter(([, other]) => [fold(path), ...beside].includes(fold(other)));
    const names = methods.map(([method]) => method);
    return names.includes("GET") ? [...names, "HEAD"] : names;
  };
  const paths = [...new Set(ROWS.map(([, path]) => path))];

  it.each([
    ["guard", false],
    ["issue", true],
  ])("%s: a method that no row has is a 405 without a word, whoever calls", async (_mode, issue) => {
    const gateway = start({ keys: true, site: { issue } });
    for (const path of paths) {
      const known = methodsAt(path);
      for (const method of METHODS.filter((one) => !known.includes(one))) {
        const answer = await gateway.fetch(path, { method, headers: bearer(KEY) });
        expect([method, path, answer.status]).toEqual([method, path, 405]);
        expect(answer.headers.get("allow")).toContain(known.filter((one) => one !== "HEAD")[0]);
        expect(await answer.text()).toBe("");
      }
    }
  });
});

describe("spellings of paths: ASP.NET's routing takes any case, a slash at the end, and escaped letters", () => {
  const spell = (how: (path: string) => string) => ROWS.map(([method, path]) => [method, how(path)] as const);
  const isOpen = (index: number) => index < OPEN.length;

  it.each([
    ["as it stands", (path: string) => path],
    ["in upper case", (path: string) => path.toUpperCase()],
    ["with a slash at the end", (path: string) => `${path.replace(/\/$/, "")}/`],
    ["with a letter escaped", (path: string) => path.replace(/[a-z]/i, (one) => `%${hex(one)}`)],
    ["with every letter escaped", (path: string) => path.replace(/[a-z]/gi, (one) => `%${hex(one)}`)],
    ["with dots in between", (path: string) => `/x/..${path}`],
    ["with an escaped dot segment", (path: string) => `/x/%2e%2E${path}`],
    ["with a query behind", (path: string) => `${path}?x=/api/v1/system/ping`],
  ])("%s every row asks as before, and the same path is forwarded", async (_how, how) => {
    const gateway = start({ keys: true });
    for (const [index, [method, path]] of spell(how).entries()) {
      const nobody = await gateway.fetch(path, { method });
      expect([path, nobody.status]).toEqual([path, isOpen(index) ? 200 : 401]);
      if (!isOpen(index)) continue;
      const forwarded = new URL(gateway.received.at(-1)?.url ?? "").pathname;
      // Segments, not bytes, are what the origin routes by.
      expect(forwarded.toLowerCase()).toBe(canonical(path));
    }
    expect(gateway.received).toHaveLength(OPEN.length);
  });

  it.each([
    ["an empty segment in front", (path: string) => `https://${HOST}/${path}`],
    ["an empty segment inside", (path: string) => path.replace(/^\/([^/]+)\//, "/$1//")],
    ["an escaped slash", (path: string) => path.replace(/^\/([^/]+)\//, "/$1%2f")],
    ["an escaped backslash", (path: string) => path.replace(/^\/([^/]+)\//, "/$1%5C")],
    ["double escapes", (path: string) => path.replace(/^\/([^/]+)\//, "/$1%252f")],
    ["a parameter", (path: string) => path.replace(/^\/([^/]+)\//, "/$1;x=1/")],
    ["NUL at the end", (path: string) => `${path}%00`],
  ])("%s is a 400 on every row, and goes nowhere", async (_how, how) => {
    const gateway = start({ keys: true });
    for (const [method, path] of spell(how)) {
      const answer = await gateway.fetch(path, { method, headers: bearer(KEY) });
      expect([path, answer.status]).toEqual([path, 400]);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("nothing beside the table is reached through a public row", async () => {
    const gateway = start({ keys: true });
    for (const path of [
      "/content/../api/v1/users",
      "/content/%2e%2e/api/v1/users",
      "/api/v1/public/../users",
      "/api/v1/public/assets/../../users",
      "/api/v1/system/ping/../storage/providers",
    ]) {
      await expectRefusal(await gateway.fetch(path), "api_key_missing");
    }
    for (const path of ["/openapi/v1.json/x", "/content", "/api/v1/public/assets/a/b", "/api/v1/system"]) {
      const { status } = await gateway.fetch(path);
      // `/x/*` takes `/x` as well: the origin knows no file of no name.
      expect([path, status]).toEqual([path, path === "/content" ? 200 : 404]);
    }
  });
});

const hex = (letter: string) => letter.charCodeAt(0).toString(16);
const canonical = (path: string) =>
  decodeURIComponent(new URL(path, "https://x.example").pathname).toLowerCase();

describe("claims about oneself", () => {
  it.each([
    ["as they are", ["x-user-context", "x-user-id", "x-user-role", "forwarded", "x-original-url"]],
    ["in other cases", ["X-USER-CONTEXT", "X-User-ID", "x-UsEr-RoLe", "FORWARDED", "X-Rewrite-URL"]],
    ["with underscores", ["x_user_context", "x_user_id", "X_User_Role", "x_original_url"]],
    ["with dots", ["x.user.context", "x.user.id", "X.User.Role", "x.original.url"]],
  ])("%s never reach the origin, whoever calls on whatever row", async (_how, names) => {
    const gateway = start({ keys: true, site: { plain_headers: true } });
    const forged = Object.fromEntries(names.map((name) => [name, "forged"]));
    const calls: readonly (readonly [string, Sent])[] = [
      ["/api/v1/system/ping", {}],
      ["/content/x.png", bearer("rubbish")],
      [ASSETS, bearer(await sign())],
      [ASSETS, bearer(KEY)],
      ["/mcp", bearer(KEY)],
    ];
    for (const [path, credential] of calls) {
      const headers = { ...forged, ...credential, connection: `close, ${names.join(", ")}` };
      expect((await gateway.fetch(path, { headers })).status).toBe(200);
      const got = gateway.received.at(-1);
      expect([...(got?.headers ?? [])].filter(([, value]) => value.includes("forged"))).toEqual([]);
      const { user, anonymous } = contextOf(got) as { user?: { id: string }; anonymous?: boolean };
      expect(user?.id ?? anonymous).toBe(
        credential.authorization === undefined || credential.authorization === "Bearer rubbish"
          ? true
          : credential.authorization === `Bearer ${KEY}`
            ? got?.headers.get("x-user-id")
            : "u1",
      );
    }
  });

  it("naming ours in Connection does not take it away", async () => {
    const gateway = start();
    const headers = { ...bearer(await sign()), connection: "X-User-Context, authorization" };
    expect((await gateway.fetch(ASSETS, { headers })).status).toBe(200);
    expect(contextOf(gateway.received[0])).toMatchObject({ sub: "u1" });
  });
});

describe("credentials of others", () => {
  const other = "another-Auth-Jwt-Secret-of-these-tests-2Wd8";

  it("a token of one site is none of another, by secret, issuer or audience", async () => {
    const site = { hosts: ["two.example.com"], origin: "service:ORIGIN", preset: "nekohub" };
    const vars = {
      SITE_TWO: { ...site, jwt: { secret: "OTHER_SECRET" } },
      OTHER_SECRET: other,
      SITE_THREE: {
        ...site,
        hosts: ["three.example.com"],
        jwt: { secret: "NEKOHUB_SECRET", audience: "NekoHub.Three" },
      },
    };
    const gateway = start({ vars });
    const tokens = {
      "api.example.com": await sign(),
      "two.example.com": await sign({}, { secret: other }),
      "three.example.com": await sign({ aud: "NekoHub.Three" }),
    };
    for (const [of, token] of Object.entries(tokens)) {
      for (const host of Object.keys(tokens)) {
        const { status } = await gateway.fetch(`https://${host}${ASSETS}`, { headers: bearer(token) });
        expect([of, host, status]).toEqual([of, host, of === host ? 200 : 401]);
      }
    }
  });

  it("what the origin is told about a caller is no credential", async () => {
    const gateway = start({ keys: true });
    await gateway.fetch(ASSETS, { headers: bearer(await sign()) });
    const context = gateway.received[0]?.headers.get("x-user-context") ?? "";
    expect(context.split(".")).toHaveLength(3);
    for (const path of [ASSETS, `${AUTH}/me`]) {
      await expectRefusal(await gateway.fetch(path, { headers: bearer(context) }), "auth_unauthorized");
    }
  });

  it("a key of another realm is none, and one with two dots only where nothing but keys is asked for", async () => {
    await addUser("u1", { permissions: ALL_PERMISSIONS });
    await writes.createUser({ ...AT_NOW, realm: "elsewhere", id: "u1", permissions: ALL_PERMISSIONS });
    const elsewhere = await addApiKey("k1", { realm: "elsewhere", userId: "u1" });
    const [digest = ""] = await storedDigests("sk-a.b.c", peppers);
    const row = { id: "k2", kind: "api_key", realm: "main", userId: "u1", digest, pepper: "p1" } as const;
    await writes.createCredential({ ...row, createdAtSeconds: nowSeconds() });
    const gateway = start({
      keys: true,
      site: { users: "required" },
      vars: {
        GATEWAY: {
          issuer: "https://auth.example.com",
          environment: "development",
          realms: { main: { untagged_keys: true } },
        },
      },
    });
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer(elsewhere) }), "api_key_invalid");
    // There is such a record: it is the dots that make it a JWT (§2.1).
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer("sk-a.b.c") }), "auth_unauthorized");
    expect((await gateway.fetch("/mcp", { headers: bearer("sk-a.b.c") })).status).toBe(200);
    await expectRefusal(await gateway.fetch("/mcp", { headers: bearer(elsewhere) }), "api_key_invalid");
  });

  it("two credentials are none: one line or two, either order, in either spelling of the scheme", async () => {
    const gateway = start({ keys: true });
    const jwt = await sign();
    for (const [first, second] of [
      [jwt, KEY],
      [KEY, jwt],
      [KEY, KEY],
      [jwt, jwt],
    ]) {
      for (const scheme of ["Bearer", "bearer"]) {
        const twoLines = new Headers({ authorization: `Bearer ${first}` });
        twoLines.append("Authorization", `${scheme} ${second}`);
        const oneLine = { authorization: `Bearer ${first},${second}` };
        const twoWords = { authorization: `Bearer ${first} ${scheme} ${second}` };
        for (const headers of [twoLines, oneLine, twoWords]) {
          expect((await gateway.fetch(ASSETS, { headers })).status).toBe(401);
        }
      }
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("neither kind is taken for the other: a key cut into three, a token joined into one", async () => {
    const gateway = start({ keys: true });
    const jwt = await sign();
    for (const value of [
      `${KEY}..`,
      `.${KEY}.`,
      `..${KEY}`,
      jwt.replaceAll(".", ""),
      jwt.replace(".", ""),
      `${jwt}.`,
      `.${jwt}`,
      `${jwt}.${KEY}`,
      `${jwt},`,
      `${jwt}=`,
      `"${jwt}"`,
      encodeURIComponent(`${KEY} `),
    ]) {
      const answer = await gateway.fetch(ASSETS, { headers: { authorization: `Bearer ${value}` } });
      expect([value, answer.status]).toEqual([value, 401]);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("8 KB is a credential's most, and what is longer costs no look-up", async () => {
    const gateway = start({ keys: true, site: { users: "required" } });
    for (const value of ["a".repeat(8_193), `${"a".repeat(8_190)}.b.c`]) {
      expect((await gateway.fetch(ASSETS, { headers: bearer(value) })).status).toBe(401);
    }
    expect(gateway.counts.d1).toBe(0);
  });
});

const AT_NOW = { createdAtSeconds: NOW_MS / 1_000, updatedAtSeconds: NOW_MS / 1_000 };

describe("where Postern issues", () => {
  const issuing = () => start({ keys: true, site: { issue: true } });
  const post = (name: string, body: string | object, headers: Sent = {}, via: Gateway) =>
    via.fetch(`${AUTH}/${name}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  async function signIn(via: Gateway, username = "alice") {
    const response = await post("login", { username, password: PASSWORD }, {}, via);
    const { data } = (await response.json()) as {
      data: { readonly accessToken: string; readonly refreshToken: string };
    };
    return data;
  }
  const statusOf = async (via: Gateway, token: string, path = ASSETS, method = "GET") =>
    (await via.fetch(path, { method, headers: bearer(token) })).status;

  beforeEach(() => addUser("0195-1", { username: "alice", permissions: ["assets.read"] }, PASSWORD_HASH));

  it.each([
    ["over a mebibyte", `{"username":"alice","password":"${"x".repeat(1_048_576)}"}`, 413],
    ["lists in lists", "[".repeat(500_000), 400],
    ["objects in objects", '{"a":'.repeat(100_000), 400],
    ["a prototype", '{"__proto__":{"username":"alice","password":"x","refreshToken":"x"}}', 400],
    ["bytes that are no UTF-8", "\ud800".repeat(3), 400],
  ])("a body of %s is refused before anything is hashed or looked up", async (_what, body, status) => {
    const gateway = issuing();
    for (const name of ["login", "refresh"]) {
      const answer = await post(name, body, {}, gateway);
      expect([name, answer.status]).toEqual([name, status]);
      expect(await answer.json()).toMatchObject({ error: { status } });
    }
    expect(gateway.counts.d1).toBe(0);
  });

  it("no spelling of its paths gets past it to the origin, which would sign in by itself", async () => {
    const gateway = issuing();
    const { accessToken } = await signIn(gateway);
    for (const name of [
      "login",
      "Login/",
      "LOGIN",
      "%6Cogin",
      "x/../login",
      "refresh",
      "REFRESH/",
      "logout",
    ]) {
      const answer = await post(name, "{", bearer(accessToken), gateway);
      expect([name, answer.status]).toEqual([name, 400]);
    }
    for (const name of ["me", "ME/", "%6de"]) {
      expect(await statusOf(gateway, accessToken, `${AUTH}/${name}`)).toBe(200);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("signing out asks who is calling before it looks at the body (§2.6)", async () => {
    const gateway = issuing();
    await expectRefusal(await post("logout", "", {}, gateway), "auth_unauthorized");
    const { accessToken } = await signIn(gateway);
    for (const body of ["", "{}", "[]", '{"refreshToken":null}']) {
      const answer = await post("logout", body, bearer(accessToken), gateway);
      expect(await answer.json()).toMatchObject({ error: { code: "request_invalid", status: 400 } });
    }
    expect(await statusOf(gateway, accessToken)).toBe(200);
  });

  it("who cannot sign in is told the same, to the header, whatever it is for", async () => {
    await addUser("0195-2", { username: "off", status: "disabled" }, PASSWORD_HASH);
    await addUser("0195-3", { username: "never" });
    const gateway = issuing();
    const answers = await Promise.all(
      [
        { username: "nobody", password: PASSWORD },
        { username: "alice", password: "wrong" },
        { username: "off", password: "wrong" },
        { username: "never", password: PASSWORD },
        { username: "alice\u0000", password: PASSWORD },
        { username: "", password: "" },
      ].map((body) => post("login", body, {}, gateway)),
    );
    const told = await Promise.all(
      answers.map(async (answer) => {
        const id = answer.headers.get("x-request-id") ?? "";
        const headers = [...answer.headers].filter(([name]) => name !== "x-request-id");
        return JSON.stringify([answer.status, headers, (await answer.text()).replace(id, "ID")]);
      }),
    );
    expect(new Set(told).size).toBe(1);
    expect(told[0]).toContain("auth_invalid_credentials");
  });

  it("of a refresh and a sign-out at once nothing is left alive", async () => {
    const gateway = issuing();
    const second = issuing();
    for (let round = 0; round < 5; round++) {
      const { accessToken, refreshToken } = await signIn(gateway);
      const [refreshed] = await Promise.all([
        post("refresh", { refreshToken }, {}, second),
        post("logout", { refreshToken }, bearer(accessToken), gateway),
      ]);
      const { data } = (await refreshed.json()) as { data?: { accessToken: string; refreshToken: string } };
      expect(await statusOf(issuing(), accessToken)).toBe(401);
      if (data === undefined) continue;
      expect(await statusOf(issuing(), data.accessToken)).toBe(401);
      expect((await post("refresh", { refreshToken: data.refreshToken }, {}, second)).status).toBe(401);
    }
    const live = "SELECT count(*) AS count FROM sessions WHERE status = 'active'";
    expect(await DB.prepare(live).first<number>("count")).toBe(0);
  });

  it.each([
    ["disabled", () => writes.updateUser("main", "0195-1", { status: "disabled" }, nowSeconds()), 401],
    ["deleted", () => writes.deleteUser("main", "0195-1", nowSeconds(), nowSeconds() + 900), 401],
    [
      "without the permission",
      () => writes.updateUser("main", "0195-1", { permissions: [] }, nowSeconds()),
      403,
    ],
  ] as const)(
    "who is %s is refused everywhere within 30 s, and cannot refresh at once",
    async (what, happens, status) => {
      const gateway = issuing();
      const { accessToken, refreshToken } = await signIn(gateway);
      expect(await statusOf(gateway, accessToken)).toBe(200);
      await gateway.settle();
      await happens();
      later(29);
      const meanwhile = await statusOf(gateway, accessToken);
      expect([200, status]).toContain(meanwhile);
      await gateway.settle();
      later(30);
      expect(await statusOf(gateway, accessToken)).toBe(status);
      expect(await statusOf(issuing(), accessToken)).toBe(status);
      const refreshed = await post("refresh", { refreshToken }, {}, gateway);
      if (what === "without the permission") expect(refreshed.status).toBe(200);
      else
        await expectRefusal(
          refreshed,
          what === "disabled" ? "auth_user_inactive" : "auth_refresh_token_invalid",
        );
    },
  );

  it("a demoted super admin has no more than was granted by name", async () => {
    await writes.updateUser("main", "0195-1", { role: "super_admin" }, nowSeconds());
    const gateway = issuing();
    const { accessToken } = await signIn(gateway);
    expect(decodeJwt(accessToken)[LONG.role]).toBe("SuperAdmin");
    expect(await statusOf(gateway, accessToken, "/api/v1/users")).toBe(200);
    await gateway.settle();
    await writes.updateUser("main", "0195-1", { role: "user" }, nowSeconds());
    later(30);
    await expectBodiless(await gateway.fetch("/api/v1/users", { headers: bearer(accessToken) }), 403);
    expect(await statusOf(gateway, accessToken)).toBe(200);
    expect(contextOf(gateway.received.at(-1))).toMatchObject({
      user: { role: "user", permissions: ["assets.read"] },
    });
  });

  it("a token that says more than its user may is worth what the user may", async () => {
    const gateway = issuing();
    const claims = { [LONG.subject]: "0195-1", [LONG.role]: "SuperAdmin", permission: [...ALL_PERMISSIONS] };
    const token = await sign(claims, { secret: SECRET });
    for (const [method, path, permission] of MANAGED) {
      const status = await statusOf(gateway, token, path, method);
      expect([path, status]).toEqual([path, permission === "assets.read" ? 200 : 403]);
    }
  });

  it("nothing of signing in is forwarded, and no answer of it is kept or says who it is to other pages", async () => {
    const gateway = issuing();
    const { accessToken, refreshToken } = await signIn(gateway);
    const answers = [
      await post("refresh", { refreshToken }, {}, gateway),
      await gateway.fetch(`${AUTH}/me`, { headers: bearer(accessToken) }),
      await post("refresh", { refreshToken: "x" }, {}, gateway),
    ];
    for (const { headers } of answers) {
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("set-cookie")).toBeNull();
      expect(headers.get("access-control-allow-credentials")).toBeNull();
    }
    expect(gateway.received).toHaveLength(0);
  });
});

describe("where NekoHub signs in itself", () => {
  it("a token counts until it ends, its user being unknown here: the origin's word is the last", async () => {
    const gateway = start({ origin: () => new Response(null, { status: 403 }) });
    const token = await sign({ [LONG.subject]: "deleted-yesterday" });
    await expectBodiless(await gateway.fetch(ASSETS, { headers: bearer(token) }), 403);
    later(900 + 30);
    await expectRefusal(await gateway.fetch(ASSETS, { headers: bearer(token) }), "auth_unauthorized");
    expect(gateway.received).toHaveLength(1);
  });
});
