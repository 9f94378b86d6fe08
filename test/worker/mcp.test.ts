// `mcp = true`: what clients of an MCP server find out from the gateway before they have a token, and what passes after.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  addUser,
  bearer,
  emptyStores,
  type GatewayOptions,
  SITE,
  signJwt,
  startGateway,
} from "../support/worker/gateway.ts";

const AT = "https://api.example.com";
const WELL_KNOWN = "/.well-known/oauth-protected-resource";
const ROUTES = [
  { path: "/mcp/*", mcp: true, scopes: ["tools.use"], any_scopes: ["a", "b"] },
  { path: "/admin/mcp", methods: ["POST"], mcp: true, role: "admin", scopes: ["tools.write"] },
  { path: "/admin/mcp", methods: ["GET"], mcp: true, role: "admin", scopes: ["tools.read"] },
  { path: "/keys", mcp: true, accept: ["api_key"] },
  { path: "/optional", mcp: true, auth: "optional" },
  { path: "/plain", scopes: ["tools.use"] },
  { path: "/open", auth: "none" },
];
const JWT_TABLE = { ...SITE.jwt, issuer: "https://idp.example.com" };

function start(site: object = {}, options: GatewayOptions = {}) {
  const vars = { SITE_TEST: { ...SITE, jwt: JWT_TABLE, routes: ROUTES, ...site }, ...options.vars };
  return startGateway({ ...options, vars });
}

async function metadataAt(url: string, site: object = {}): Promise<unknown> {
  const answer = await start(site).fetch(url);
  expect([url, answer.status]).toEqual([url, 200]);
  return answer.json();
}

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("the metadata of a route (RFC 9728 §3)", () => {
  it("says what the resource is, where tokens come from, and which scopes there are", async () => {
    const gateway = start();
    const answer = await gateway.fetch(`${WELL_KNOWN}/mcp`);
    expect([answer.status, Object.fromEntries(answer.headers)]).toEqual([
      200,
      {
        "access-control-allow-origin": "*",
        "cache-control": "public, max-age=300",
        "content-type": "application/json",
      },
    ]);
    expect(await answer.json()).toEqual({
      resource: `${AT}/mcp`,
      authorization_servers: ["https://idp.example.com"],
      scopes_supported: ["tools.use", "a", "b"],
      bearer_methods_supported: ["header"],
      resource_name: "test",
    });
    expect([gateway.received, gateway.counts.d1, gateway.counts.kv]).toEqual([[], 0, 0]);
  });

  it("§3.2: leaves out what would be an empty list", async () => {
    expect(await metadataAt(`${WELL_KNOWN}/keys`)).toEqual({
      resource: `${AT}/keys`,
      bearer_methods_supported: ["header"],
      resource_name: "test",
    });
  });

  it("has the scopes of all rows of its path", async () => {
    expect(await metadataAt(`${WELL_KNOWN}/admin/mcp`)).toMatchObject({
      scopes_supported: ["tools.write", "tools.read"],
    });
  });

  it.each([
    ["a trailing slash", `${WELL_KNOWN}/mcp/`],
    ["another case", "/.WELL-known/OAuth-protected-resource/MCP"],
    ["escapes that mean nothing", "/.well-known/oauth%2Dprotected-resource/mc%70"],
    ["a query", `${WELL_KNOWN}/mcp?resource=https://evil.example`],
  ])("is found with %s, and calls the resource by its one name", async (_, path) => {
    expect(await metadataAt(path)).toMatchObject({ resource: `${AT}/mcp` });
  });

  it("names the port and the scheme that the client uses", async () => {
    expect(await metadataAt(`http://api.example.com:8443${WELL_KNOWN}/mcp`)).toMatchObject({
      resource: "http://api.example.com:8443/mcp",
    });
  });

  it("names no issuer that is no https URL, and never the gateway, which has no authorization endpoint", async () => {
    const jwt = [
      JWT_TABLE,
      ...["internal", "http://idp.example.com", "https://idp.example.com?x=1"].map((issuer) => ({
        ...SITE.jwt,
        issuer,
      })),
    ];
    // The realm signs people in: the gateway's tokens are good here, and yet nobody can get one by OAuth.
    expect(await metadataAt(`${WELL_KNOWN}/mcp`, { jwt })).toMatchObject({
      authorization_servers: ["https://idp.example.com"],
    });
  });

  it("is open: what else is sent is not looked at", async () => {
    const gateway = start();
    for (const headers of [
      { authorization: "Bearer garbage" },
      { authorization: "Bearer a, Bearer b" },
      { cookie: "sid=x" },
    ]) {
      expect((await gateway.fetch(`${WELL_KNOWN}/mcp`, { headers })).status).toBe(200);
    }
    expect(gateway.counts.d1).toBe(0);
  });

  it("answers HEAD without a body, and other methods with 405", async () => {
    const gateway = start();
    const head = await gateway.fetch(`${WELL_KNOWN}/mcp`, { method: "HEAD" });
    expect([head.status, head.body, head.headers.get("content-type")]).toEqual([
      200,
      null,
      "application/json",
    ]);
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
      const answer = await gateway.fetch(`${WELL_KNOWN}/mcp`, { method });
      expect([method, answer.status, answer.headers.get("allow")]).toEqual([
        method,
        405,
        "GET, HEAD, OPTIONS",
      ]);
    }
    expect(gateway.received).toEqual([]);
  });

  it.each([
    ["without cors", {}],
    ["with cors for other pages", { cors: { allow_origins: ["https://app.example.com"] } }],
  ])("is readable by a page of any origin, preflight included, on a site %s", async (_, site) => {
    const gateway = start(site);
    const preflight = await gateway.fetch(`${WELL_KNOWN}/mcp`, {
      method: "OPTIONS",
      headers: {
        origin: "https://inspector.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "mcp-protocol-version",
      },
    });
    expect([preflight.status, Object.fromEntries(preflight.headers)]).toEqual([
      204,
      {
        "access-control-allow-headers": "*, Authorization",
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-origin": "*",
        "access-control-max-age": "600",
      },
    ]);
    const answer = await gateway.fetch(`${WELL_KNOWN}/mcp`, {
      headers: { origin: "https://inspector.example" },
    });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, "*"]);
    expect(gateway.received).toEqual([]);
  });
});

describe("the metadata of a site (RFC 9728 §3.1)", () => {
  const WHOLE = { mcp: true, routes: [...ROUTES.slice(5), { path: "/off", mcp: false }] };

  it("stands at the root, for the host as one resource", async () => {
    expect(await metadataAt(WELL_KNOWN, WHOLE)).toEqual({
      resource: AT,
      authorization_servers: ["https://idp.example.com"],
      scopes_supported: ["tools.use"],
      bearer_methods_supported: ["header"],
      resource_name: "test",
    });
    expect(await metadataAt(`${WELL_KNOWN}/`, WHOLE)).toMatchObject({ resource: AT });
  });

  it("of a base path stands at the host's well-known path followed by that", async () => {
    const site = { ...WHOLE, base_path: "/Tools", strip_base_path: true };
    expect(await metadataAt(`${WELL_KNOWN}/Tools`, site)).toMatchObject({ resource: `${AT}/Tools` });
    expect((await start(site).fetch(`/Tools${WELL_KNOWN}`)).status).toBe(404);
    expect((await start(site).fetch(WELL_KNOWN)).status).toBe(404);
    const challenge = (await start(site).fetch("/tools/plain")).headers.get("www-authenticate");
    expect(challenge).toContain(`resource_metadata="${AT}${WELL_KNOWN}/Tools"`);
  });

  it("is that of the site which serves the resource, where sites share a host", async () => {
    const other = {
      ...{ hosts: SITE.hosts, origin: SITE.origin, base_path: "/b", users: "none" },
      jwt: { ...JWT_TABLE, issuer: "https://other.example.com" },
      ...{ mcp: true, routes: [{ path: "/*" }] },
    };
    const gateway = start(WHOLE, { vars: { SITE_OTHER: other } });
    const read = async (path: string) => (await gateway.fetch(path)).json();
    expect(await read(WELL_KNOWN)).toMatchObject({ resource_name: "test" });
    expect(await read(`${WELL_KNOWN}/b`)).toEqual({
      resource: `${AT}/b`,
      authorization_servers: ["https://other.example.com"],
      bearer_methods_supported: ["header"],
      resource_name: "other",
    });
  });

  it("names the site in every 401, but for rows that say mcp = false", async () => {
    const gateway = start(WHOLE);
    const challengeOf = async (path: string) =>
      (await gateway.fetch(path)).headers.get("www-authenticate") ?? "";
    expect(await challengeOf("/plain")).toContain(`resource_metadata="${AT}${WELL_KNOWN}"`);
    expect(await challengeOf("/off")).toBe('Bearer realm="test"');
  });
});

describe("where nothing is said about mcp, nothing changes", () => {
  it.each([
    ["a host without a site", `https://other.example.com${WELL_KNOWN}/mcp`, {}],
    ["a site without mcp", `${WELL_KNOWN}/open`, { routes: [{ path: "/open", auth: "none" }] }],
    ["a route without mcp", `${WELL_KNOWN}/plain`, {}],
    ["the root, where a route has mcp", WELL_KNOWN, {}],
    ["below a resource", `${WELL_KNOWN}/mcp/deeper`, {}],
    ["a longer name", `${WELL_KNOWN}s/mcp`, {}],
    ["a path that only begins like a resource", `${WELL_KNOWN}/mcpx`, {}],
    ["a name without its slash", `${WELL_KNOWN}mcp`, {}],
  ])("%s: 404", async (_, path, site) => {
    const gateway = start(site);
    expect((await gateway.fetch(path)).status).toBe(404);
    expect(gateway.received).toEqual([]);
  });

  it.each([
    ["a row for everything", { routes: [...ROUTES, { path: "/*", auth: "none" }] }],
    ["unmatched = forward", { unmatched: "forward" }],
  ])("%s: forwarded, as before", async (_, site) => {
    const gateway = start(site);
    for (const path of [WELL_KNOWN, `${WELL_KNOWN}/plain`, `${WELL_KNOWN}/mcpx`]) {
      expect([path, await (await gateway.fetch(path)).text()]).toEqual([path, "from the origin"]);
    }
    // What is a resource is answered here, whatever the rows say.
    expect((await (await gateway.fetch(`${WELL_KNOWN}/mcp`)).json()) as object).toHaveProperty("resource");
    expect(gateway.received).toHaveLength(3);
  });

  it.each([
    `${WELL_KNOWN}//mcp`,
    `${WELL_KNOWN}/x%2f..%2fmcp`,
    `${WELL_KNOWN}/mcp;x`,
    `${WELL_KNOWN}/mcp%00`,
  ])("%s is ambiguous: 400", async (path) => {
    expect((await start().fetch(path)).status).toBe(400);
  });
});

describe("a challenge (RFC 9728 §5.1, RFC 6750 §3)", () => {
  const METADATA = `resource_metadata="${AT}${WELL_KNOWN}/mcp"`;
  const SCOPE = 'scope="tools.use a b"';

  async function challengeAt(path: string, init?: RequestInit) {
    const gateway = start();
    const { status, headers } = await gateway.fetch(path, init);
    expect(gateway.received).toEqual([]);
    return [status, headers.get("www-authenticate")];
  }

  it("of nobody has no error, the metadata and the scopes", async () => {
    const expected = [401, `Bearer realm="test", ${METADATA}, ${SCOPE}`];
    expect(await challengeAt("/mcp")).toEqual(expected);
    expect(await challengeAt("/mcp/sse", { method: "POST" })).toEqual(expected);
  });

  it("of a bad key or token has invalid_token", async () => {
    const expected = [401, `Bearer realm="test", error="invalid_token", ${METADATA}, ${SCOPE}`];
    expect(await challengeAt("/mcp", bearer("garbage"))).toEqual(expected);
    expect(await challengeAt("/mcp", bearer(await signJwt({ aud: `${AT}/other` })))).toEqual(expected);
  });

  it("of two credentials has invalid_request", async () => {
    const headers = { authorization: "Bearer a", cookie: "sid=b" };
    expect(await challengeAt("/mcp", { headers })).toEqual([
      401,
      `Bearer realm="test", error="invalid_request", ${METADATA}, ${SCOPE}`,
    ]);
  });

  it("of too few scopes is 403 with insufficient_scope and the scopes that would do", async () => {
    const key = await addApiKey("k1", { scopes: ["a"] });
    expect(await challengeAt("/mcp", bearer(key))).toEqual([
      403,
      `Bearer realm="test", error="insufficient_scope", scope="tools.use", ${METADATA}`,
    ]);
    const other = await addApiKey("k2", { scopes: ["tools.use"] });
    expect(await challengeAt("/mcp", bearer(other))).toEqual([
      403,
      `Bearer realm="test", error="insufficient_scope", scope="a b", ${METADATA}`,
    ]);
  });

  it("has no scope where none is asked for, and is that of the row's own resource", async () => {
    expect(await challengeAt("/keys")).toEqual([
      401,
      `Bearer realm="test", resource_metadata="${AT}${WELL_KNOWN}/keys"`,
    ]);
    expect(await challengeAt("/admin/mcp")).toEqual([
      401,
      `Bearer realm="test", resource_metadata="${AT}${WELL_KNOWN}/admin/mcp", scope="tools.read"`,
    ]);
    expect(await challengeAt("/optional", bearer("garbage"))).toEqual([
      401,
      `Bearer realm="test", error="invalid_token", resource_metadata="${AT}${WELL_KNOWN}/optional"`,
    ]);
  });

  it("is not there where signing in again would not help, and without mcp is as ever", async () => {
    const key = await addApiKey("k1", { scopes: ["tools.read", "tools.write"] });
    expect(await challengeAt("/admin/mcp", bearer(key))).toEqual([403, null]);
    expect(await challengeAt("/plain")).toEqual([401, 'Bearer realm="test"']);
    expect(await challengeAt(`${WELL_KNOWN}/mcp`, { method: "POST" })).toEqual([405, null]);
  });
});

describe("on sites with a preset", () => {
  const NEKOHUB_KEY = "a-key-of-nekohub-that-is-long-enough";
  const NEKOHUB = {
    ...{ hosts: SITE.hosts, origin: SITE.origin, preset: "nekohub" },
    ...{ jwt: { secret: "TEST_JWT_SECRET" }, api_keys: "NEKOHUB_API_KEYS" },
  };
  const startNekohub = (site: object) =>
    startGateway({ vars: { SITE_TEST: { ...NEKOHUB, ...site }, NEKOHUB_API_KEYS: NEKOHUB_KEY } });
  const words = { code: "api_key_missing", status: 401 };

  it("nekohub: the challenge that its clients know goes on with the metadata of /mcp", async () => {
    const gateway = startNekohub({ mcp: true });
    const answer = await gateway.fetch("/mcp", { method: "POST" });
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer realm="NekoHub", resource_metadata="${AT}${WELL_KNOWN}/mcp"`,
    ]);
    expect(await answer.json()).toMatchObject({ error: words });
    // No authorization server: its MCP takes keys only.
    expect(await (await gateway.fetch(`${WELL_KNOWN}/mcp`)).json()).toEqual({
      resource: `${AT}/mcp`,
      bearer_methods_supported: ["header"],
      resource_name: "test",
    });
    expect((await gateway.fetch("/mcp", bearer(NEKOHUB_KEY))).status).toBe(200);
    // No other path of it is an MCP server.
    const assets = await gateway.fetch("/api/v1/assets");
    expect([assets.status, assets.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="NekoHub"']);
  });

  it("nekohub without mcp: as its clients know it", async () => {
    const gateway = startNekohub({});
    const answer = await gateway.fetch("/mcp", { method: "POST" });
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="NekoHub"');
    expect((await gateway.fetch(`${WELL_KNOWN}/mcp`)).status).toBe(404);
  });

  it("a route of the site's own: a challenge where the dialect has none, in the dialect's words", async () => {
    const site = {
      ...{ hosts: SITE.hosts, origin: SITE.origin, realm: "main", preset: "new-api-current" },
      ...{ jwt: { secret: "TEST_JWT_SECRET" }, routes: [{ path: "/mcp", accept: ["api_key"], mcp: true }] },
    };
    const gateway = startGateway({ vars: { SITE_TEST: site } });
    const answer = await gateway.fetch("/mcp", bearer("sk-garbage"));
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer realm="test", error="invalid_token", resource_metadata="${AT}${WELL_KNOWN}/mcp"`,
    ]);
    expect(await answer.json()).toMatchObject({ error: { type: "new_api_error" } });
    expect((await gateway.fetch("/mcp", bearer(await addApiKey("k1")))).status).toBe(200);
    const relay = await gateway.fetch("/v1/models", bearer("sk-garbage"));
    expect([relay.status, relay.headers.get("www-authenticate")]).toEqual([401, null]);
  });
});

describe("what an MCP client and its server say to each other (MCP transports, Streamable HTTP)", () => {
  it("session, protocol version and the last event pass, both ways; the key does not", async () => {
    const gateway = start({}, { origin: () => new Response("{}", { headers: { "mcp-session-id": "s-1" } }) });
    const key = await addApiKey("k1", { scopes: ["tools.use", "a"] });
    const sent = {
      "mcp-session-id": "s-1",
      "mcp-protocol-version": "2025-11-25",
      "last-event-id": "9",
      accept: "application/json, text/event-stream",
    };
    const answer = await gateway.fetch("/mcp", {
      method: "POST",
      headers: { ...sent, authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    });
    expect([answer.status, answer.headers.get("mcp-session-id")]).toEqual([200, "s-1"]);
    const headers = Object.fromEntries(gateway.received[0]?.headers ?? []);
    expect(headers).toMatchObject(sent);
    expect(headers.authorization).toBeUndefined();
    expect(await gateway.received[0]?.text()).toBe('{"jsonrpc":"2.0","id":1,"method":"ping"}');
  });

  it("pages may send what MCP clients send and read what they need, where the site has cors", async () => {
    const gateway = start({ cors: { allow_origins: ["https://app.example.com"] } });
    const origin = "https://app.example.com";
    const preflight = await gateway.fetch("/mcp", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    expect(preflight.headers.get("access-control-allow-headers")).toBe(
      "authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id, new-api-user",
    );
    const refused = await gateway.fetch("/mcp", { headers: { origin } });
    expect(refused.headers.get("access-control-expose-headers")).toBe("mcp-session-id, www-authenticate");
  });

  it("works in the Worker that only guards", async () => {
    const gateway = start({}, { identity: null });
    expect((await gateway.fetch(`${WELL_KNOWN}/mcp`)).status).toBe(200);
    expect((await gateway.fetch("/mcp")).headers.get("www-authenticate")).toContain("resource_metadata=");
  });
});
