// What Cloudreve's clients would not do: other spellings of paths, prefixes that look like another credential, tokens
// that are good for something else, and rows that a site takes away.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../../../src/config/load.ts";
import { addUser, emptyStores, GATEWAY, type Gateway, secrets } from "../../../support/worker/gateway.ts";
import {
  API,
  bearer,
  contextOf,
  expectRefusal,
  FILES,
  LOGIN_REQUIRED,
  MASTER_KEY,
  ME,
  NOT_ADMIN,
  nowSeconds,
  ROUTES,
  send,
  sign,
  signRefresh,
  startCloudreve,
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
  await addUser("lpua");
  await addUser("admn", { role: "admin" });
});

const JWT = await sign();
const REFRESH = await signRefresh();
const protectedRoutes = ROUTES.filter(({ demand }) => demand === "required" || demand === "admin");

describe("spellings of a path", () => {
  it.each(protectedRoutes)("$call has a twin with a slash, which asks for the same", async ({ call }) => {
    const gateway = start();
    const [path = "", query = ""] = call.split("?");
    const twin = `${path}/${query === "" ? "" : `?${query}`}` as typeof call;
    await expectRefusal(await send(gateway, { call: twin }), LOGIN_REQUIRED);
    expect(gateway.received).toHaveLength(0);
    expect((await send(gateway, { call: twin }, bearer(JWT))).status).toBe(200);
  });

  it.each(protectedRoutes)("$call in another case is no path: gin tells them apart", async ({ call }) => {
    const gateway = start();
    const [method = "", path = ""] = call.split(" ");
    const variants = [path.toUpperCase(), path.replace("/api", "/Api"), path.replace("/v4", "/V4")];
    const section = path.split("/")[3] ?? "";
    variants.push(path.replace(`/${section}`, `/${section.slice(0, 1).toUpperCase()}${section.slice(1)}`));
    for (const variant of variants) {
      const response = await gateway.fetch(variant, { method, headers: bearer(JWT) });
      const body = await response.text();
      expect([variant, response.status, JSON.parse(body).code]).toEqual([variant, 404, 404]);
    }
    expect(gateway.received).toHaveLength(0);
  });

  it.each([
    `${API}/admin/summar%79`,
    `${API}/%61dmin/summary`,
    `${API}/./admin/summary`,
    `${API}/site/../admin/summary`,
    `/s/../api/v4/admin/summary`,
    `/dav/%2e%2e/api/v4/admin/summary`,
    "/f/x/%2E./../api/v4/user/me",
  ])("%s is the path that it leads to", async (path) => {
    const gateway = start();
    await expectRefusal(await gateway.fetch(path), LOGIN_REQUIRED);
    expect(gateway.received).toHaveLength(0);
  });

  it.each([
    `${API}//admin/summary`,
    `https://api.example.com/${API}/admin/summary`,
    `${API}/site%2f..%2fadmin/summary`,
    `${API}/site/..;/admin/summary`,
    `/dav/..%2fapi/v4/admin/summary`,
    "/dav/..%5capi/v4/user/me",
    `${API}/admin%00/summary`,
    `${API}/admin;/summary`,
  ])("%s is refused, as origins read it in different ways", async (path) => {
    const gateway = start();
    expect((await gateway.fetch(path, { headers: bearer(JWT) })).status).toBe(400);
    expect(gateway.received).toHaveLength(0);
  });

  it.each(["/api/v4admin/summary", "/api/v40/admin/summary", "/api/v3/user/me", "/apiv4/user/me"])(
    "%s is none of the API, and a page to anybody",
    async (path) => {
      const gateway = start();
      expect((await gateway.fetch(path)).status).toBe(200);
      expect(contextOf(gateway.received[0])).toMatchObject({ anonymous: true });
    },
  );

  it("other methods of a path ask for no less than its group", async () => {
    const gateway = start();
    for (const group of ["admin", "workflow", "devices"]) {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"]) {
        for (const path of [`${API}/${group}`, `${API}/${group}/x/y/z`]) {
          await expectRefusal(await gateway.fetch(path, { method }), LOGIN_REQUIRED);
        }
      }
    }
    expect(gateway.received).toHaveLength(0);
  });

  it("claims of another method or path in headers are not believed", async () => {
    const gateway = start();
    const headers = {
      "x-http-method-override": "GET",
      "x-original-url": `${API}/site/ping`,
      "x-rewrite-url": "/",
    };
    await expectRefusal(await gateway.fetch(`${API}/admin/summary`, { headers }), LOGIN_REQUIRED);
    await gateway.fetch(`${API}/site/ping`, { headers });
    for (const name of Object.keys(headers)) expect(gateway.received[0]?.headers.get(name)).toBeNull();
  });
});

describe("prefixes that look like another credential", () => {
  const forged = [
    `Bearer Cr ${JWT}`,
    "Bearer Cr x",
    `Bearer Cr ${JWT}:0`,
    "Basic YTpi",
    `Basic ${JWT}`,
    "Bearer Cr",
    "Bearer Cr ",
  ];
  it.each(forged)("%s is nobody where somebody is asked for", async (authorization) => {
    const gateway = start();
    for (const row of protectedRoutes)
      await expectRefusal(await send(gateway, row, { authorization }), LOGIN_REQUIRED);
    expect(gateway.received).toHaveLength(0);
    const open = ROUTES.filter(({ demand }) => demand === "optional" || demand === "none");
    for (const row of open) {
      expect((await send(gateway, row, { authorization })).status).toBe(200);
      expect(contextOf(gateway.received.at(-1))).toMatchObject({ anonymous: true });
    }
  });

  it("two headers are no way to say one thing here and another there", async () => {
    const gateway = start();
    const orders = [
      ["Bearer Cr x", `Bearer ${JWT}`],
      [`Bearer ${JWT}`, "Bearer Cr x"],
      [`Bearer ${JWT}`, `Bearer ${await sign({ sub: "admn" })}`],
      ["Basic YTpi", `Bearer ${JWT}`],
    ];
    for (const values of orders) {
      const headers = new Headers();
      for (const value of values) headers.append("authorization", value);
      await expectRefusal(await gateway.fetch(ME, { headers }), LOGIN_REQUIRED);
      expect((await gateway.fetch(FILES, { headers })).status).toBe(200);
      expect(gateway.received.at(-1)?.headers.get("authorization")).toBeNull();
    }
  });

  it("a user context of the client's own does not pass", async () => {
    const gateway = start();
    const claimed = { "x-user-context": "forged", X_User_Context: "forged", "x-user-id": "admn" };
    await gateway.fetch(FILES, { headers: { ...claimed, ...bearer(JWT) } });
    const [got] = gateway.received;
    expect(contextOf(got)).toMatchObject({ sub: "lpua" });
    expect(got?.headers.get("x_user_context")).toBeNull();
    expect(got?.headers.get("x-user-id")).toBeNull();
  });
});

describe("tokens that are good for something else", () => {
  it("a token that the gateway would not take is not left to an origin that would", async () => {
    const gateway = start();
    for (const made of [
      sign({}, { alg: "HS512" }),
      sign({}, { alg: "HS384" }),
      sign({ exp: undefined }),
      sign({ sub: "admn", client_id: "x", scopes: "Files.Read" }),
    ]) {
      await gateway.fetch(FILES, { headers: bearer(await made) });
      expect(gateway.received.at(-1)?.headers.get("authorization")).toBeNull();
      await expectRefusal(await gateway.fetch(ME, { headers: bearer(await made) }), LOGIN_REQUIRED);
    }
  });

  it("a refresh token is refused whatever else it says", async () => {
    const gateway = start({ site: { users: "required" } });
    for (const claims of [
      {},
      { sub: "admn" },
      { sub: "nobody" },
      { client_id: "x", scopes: ["Admin.Write"] },
    ]) {
      const headers = bearer(await signRefresh(claims));
      for (const path of [FILES, ME, `${API}/admin/summary`, `${API}/session/token`]) {
        await expectRefusal(await gateway.fetch(path, { headers }), WRONG_USE);
      }
    }
    await expectRefusal(await gateway.fetch(FILES, { headers: { authorization: REFRESH } }), WRONG_USE);
    expect(gateway.received).toHaveLength(0);
  });

  it("nobody is an administrator by what a token says", async () => {
    const gateway = start({ site: { users: "required" } });
    const claims = { role: "admin", roles: ["admin"], permissions: ["*"], scope: "Admin.Write", group: 1 };
    const headers = bearer(await sign(claims));
    await expectRefusal(await gateway.fetch(`${API}/admin/summary`, { headers }), NOT_ADMIN);
    await expectRefusal(
      await gateway.fetch(`${API}/workflow/import`, { method: "POST", headers }),
      NOT_ADMIN,
    );
    expect(gateway.received).toHaveLength(0);
  });

  it("a token of an administrator with a low role claim is none of an administrator", async () => {
    const gateway = start({ site: { users: "required" } });
    const headers = bearer(await sign({ sub: "admn", role: "user" }));
    await expectRefusal(await gateway.fetch(`${API}/admin/summary`, { headers }), NOT_ADMIN);
  });

  it("the key of one site opens no other", async () => {
    const other = "Zt4KfW9xQb2LmRv7Ns8HcJy3PdGe6UaTo1XiEwVkBzYq5MnCrD0hSgFjAuOlIpEe";
    const gateway = start({
      vars: {
        OTHER_KEY: other,
        SITE_OTHER: {
          hosts: ["other.example.com"],
          origin: "service:ORIGIN",
          preset: "cloudreve",
          realm: "main",
          jwt: { secret: "OTHER_KEY" },
        },
      },
    });
    const headers = bearer(await sign({}, { secret: other }));
    await expectRefusal(await gateway.fetch(ME, { headers }), LOGIN_REQUIRED);
    expect((await gateway.fetch(`https://other.example.com${ME}`, { headers })).status).toBe(200);
    await expectRefusal(
      await gateway.fetch(`https://other.example.com${ME}`, { headers: bearer(JWT) }),
      LOGIN_REQUIRED,
    );
  });
});

describe("what an operator can get wrong", () => {
  const issuesOf = (site: Readonly<Record<string, unknown>>, key: unknown = MASTER_KEY) => {
    const loaded = loadConfig({
      ...secrets,
      GATEWAY: { ...GATEWAY, realms: {} },
      SITE_TEST: {
        hosts: ["api.example.com"],
        origin: "https://cloudreve.internal",
        preset: "cloudreve",
        jwt: { secret: "CLOUDREVE_MASTER_KEY" },
        ...site,
      },
      CLOUDREVE_MASTER_KEY: key,
      DB: { prepare: () => {} },
    });
    return loaded.ok ? [] : loaded.issues.map((issue) => `${issue.key} ${issue.message}`);
  };

  it("one line and a jwt table are a site", () => {
    expect(issuesOf({})).toEqual([]);
    expect(issuesOf({ users: "required" })).toEqual([]);
    expect(issuesOf({ revocation: "none" })).toEqual([]);
  });

  it.each([
    [{ roles: ["user", "staff"] }, "SITE_TEST.roles must hold the steps that cloudreve asks for: admin"],
    [{ roles: ["admin", "root"] }, "SITE_TEST.roles must have a step below admin"],
    [{ jwt: undefined }, "SITE_TEST.jwt is required with the preset cloudreve"],
    [{ on_invalid: "refuse" }, "SITE_TEST.on_invalid is what the preset cloudreve says itself"],
    [{ credentials: { query: ["token"] } }, "SITE_TEST.credentials is what the preset cloudreve says itself"],
    [{ base_path: "/cloud" }, "SITE_TEST.base_path does not go with a preset"],
    [
      { jwt: { secret: "CLOUDREVE_MASTER_KEY", algorithms: ["HS256", "RS256"] } },
      "SITE_TEST.jwt.algorithms is HS256 with the preset cloudreve",
    ],
  ])("%j is an issue", (site, issue) => {
    expect(issuesOf(site)).toEqual([expect.stringContaining(issue)]);
  });

  it("a short key is none", () => {
    expect(issuesOf({}, "short-Zq8vR2mX5tLw9c")).toEqual([expect.stringContaining("too short: 32 bytes")]);
  });

  it("a row of the site's own stands in for the preset's, and asks by its own words", async () => {
    const gateway = start({
      site: { routes: [{ path: "/api/v4/pro/*", auth: "required", scopes: ["Finance.Read"] }] },
    });
    await expectRefusal(await gateway.fetch(`${API}/pro/orders`), LOGIN_REQUIRED);
    expect((await gateway.fetch(`${API}/pro/orders`, { headers: bearer(JWT) })).status).toBe(200);
    const exp = nowSeconds() + 60;
    const scoped = bearer(await sign({ client_id: "x", scopes: ["Files.Write"], exp }));
    await expectRefusal(await gateway.fetch(`${API}/pro/orders`, { headers: scoped }), [
      40089,
      "Insufficient scope: Finance.Read",
    ]);
  });
});
