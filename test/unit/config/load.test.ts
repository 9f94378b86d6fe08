import { env as workerEnv } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { AMBIGUITIES } from "../../../src/pipeline/path.ts";
import {
  ENV,
  GATEWAY,
  issuesOf,
  JWT,
  loaded,
  SITE,
  warningsOf,
  withEnv,
  withJwt,
  withSite,
} from "./fixtures.ts";

describe("a configuration that loads", () => {
  it("has every default filled in", () => {
    const { gateway, sites, realms, relaxedAnywhere } = loaded(ENV);
    const site = sites[0];

    expect(gateway).toMatchObject({
      freshnessSeconds: 30,
      isProduction: true,
      clientAddressHeader: "cf-connecting-ip",
      apiKeyPrefix: "sk-",
    });
    expect(gateway.userContext).toEqual({
      algorithm: "ES256",
      secret: null,
      header: "x-user-context",
      bind: "site",
      lifeSeconds: 60,
      plainHeaders: null,
      attributes: [],
    });
    expect(site).toMatchObject({
      name: "files",
      basePath: "",
      stripBasePath: false,
      realm: { name: "files", untaggedKeys: false },
      ladder: ["public", "user", "admin", "root"],
      users: "required",
      revocation: "feed",
      credentials: {
        authorization: "bearer",
        headers: [],
        cookies: [],
        query: [],
        conflict: "refuse",
        onInvalid: "refuse",
        forwardCredential: false,
        userHeader: "new-api-user",
      },
      unmatched: "refuse",
      requestIdOnResponses: false,
      cors: null,
    });
    expect(site?.jwtIssuers[0]).toMatchObject({
      id: "files/0",
      audience: ["files"],
      clockToleranceSeconds: 30,
      maxLifetimeSeconds: 86_400,
      types: ["", "jwt", "at+jwt"],
      claims: {
        subject: ["sub"],
        role: ["role"],
        scopes: ["scope"],
        permissions: ["permissions"],
        session: ["sid"],
      },
    });
    expect(site?.routes[0]).toMatchObject({
      key: "SITE_FILES.routes[0]",
      auth: "required",
      accept: ["jwt", "api_key", "pat"],
      minimumRole: 0,
      limit: null,
      freshnessSeconds: 30,
      mode: "enforce",
      allow: 0,
      cache: false,
    });
    expect([...realms.keys()]).toEqual(["files"]);
    expect(relaxedAnywhere).toBe(0);
  });

  it("is frozen all the way down", () => {
    const config = loaded(ENV);
    for (const part of [
      config,
      config.sites,
      config.sites[0],
      config.sites[0]?.routes[0]?.accept,
      config.gateway,
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it("does not change when the variables change afterwards", () => {
    const routes = [{ path: "/a", scopes: ["read"] }];
    const config = loaded(withSite({ routes }));
    routes[0]?.scopes.push("write");
    expect(config.sites[0]?.routes[0]?.scopes).toEqual(["read"]);
  });

  it("leaves bindings as they are", () => {
    const config = loaded(
      withSite({ origin: "service:SERVICE", routes: [{ path: "/*", limit: { binding: "RL" } }] }),
    );
    const site = config.sites[0];
    expect(site?.origin).toMatchObject({ kind: "service", bindingName: "SERVICE" });
    expect(site?.origin.kind === "service" && site.origin.binding).toBe(ENV.SERVICE);
    expect(Object.isFrozen(ENV.SERVICE)).toBe(false);
    expect(site?.routes[0]?.limit).toMatchObject({ kind: "binding", by: "principal", bindingName: "RL" });
  });

  it("takes the real D1 binding of a Worker", () => {
    expect(issuesOf(withEnv({ DB: (workerEnv as unknown as Record<string, unknown>).DB }))).toEqual([]);
  });

  it("resolves headers for the origin, secrets included, in lower case", () => {
    const originHeaders = { "CF-Access-Client-Id": "secret:ORIGIN_ID", "X-Plain": "a b" };
    const env = { ...withSite({ origin_headers: originHeaders }), ORIGIN_ID: "id.access" };
    expect(loaded(env).sites[0]?.originHeaders).toEqual([
      ["cf-access-client-id", "id.access"],
      ["x-plain", "a b"],
    ]);
  });

  it("folds base path, headers and types, and sorts sites by name", () => {
    const env = withEnv({
      SITE_ZED: { origin: "self", base_path: "/Zed", strip_headers: ["X-Foo", "x-foo"], user_header: false },
      SITE_ALPHA: { ...SITE, hosts: ["a.example.com"], jwt: { ...JWT, types: ["application/AT+JWT"] } },
    });
    const { sites } = loaded(env);
    expect(sites.map(({ name }) => name)).toEqual(["alpha", "files", "zed"]);
    expect(sites[0]?.jwtIssuers[0]?.types).toEqual(["at+jwt"]);
    expect(sites[2]).toMatchObject({
      basePath: "/zed",
      stripHeaders: ["x-foo"],
      credentials: { userHeader: null },
    });
  });

  it("reads dotted claim paths, and lists as literal names", () => {
    const env = withJwt({ claims: { role: "realm_access.roles", scopes: ["https://example.com/scopes"] } });
    expect(loaded(env).sites[0]?.jwtIssuers[0]?.claims).toMatchObject({
      role: ["realm_access", "roles"],
      scopes: ["https://example.com/scopes"],
    });
  });

  it("adds a site's allowed spellings to its routes', and knows the union of all", () => {
    const env = withSite({
      allow: ["semicolon"],
      routes: [{ path: "/a", allow: ["encoded_slash"] }, { path: "/b" }],
    });
    const config = loaded(env);
    const both = AMBIGUITIES.semicolon | AMBIGUITIES.encoded_slash;
    expect(config.sites[0]?.routes.map(({ allow }) => allow)).toEqual([both, AMBIGUITIES.semicolon]);
    expect(config.sites[0]?.unmatchedRoute).toMatchObject({ auth: "none", allow: AMBIGUITIES.semicolon });
    expect(config.relaxedAnywhere).toBe(both);
  });

  it("shares a realm between sites and keeps what the gateway says about it", () => {
    const env = withEnv({
      GATEWAY: { ...GATEWAY, realms: { people: { untagged_keys: true } } },
      SITE_FILES: { ...SITE, realm: "people" },
      SITE_OTHER: { origin: "self", realm: "people" },
    });
    const { sites, realms } = loaded(env);
    expect(sites[0]?.realm).toBe(sites[1]?.realm);
    expect(realms.get("people")).toEqual({
      name: "people",
      untaggedKeys: true,
      roles: ["public", "user", "admin", "root"],
      signIn: null,
    });
  });

  it("names plain headers by default or as told", () => {
    expect(loaded(withSite({ plain_headers: true })).sites[0]?.userContext.plainHeaders).toEqual({
      id: "x-user-id",
      name: "x-user-name",
      role: "x-user-role",
      method: "x-auth-method",
    });
    expect(loaded(withSite({ plain_headers: { id: "X-Uid" } })).sites[0]?.userContext.plainHeaders?.id).toBe(
      "x-uid",
    );
    expect(loaded(withSite({ plain_headers: false })).sites[0]?.userContext.plainHeaders).toBeNull();
  });

  it("fills in what a CORS preflight may ask for from where credentials are", () => {
    const cors = { allow_origins: ["https://app.example.com"] };
    expect(loaded(withSite({ cors, credentials: { headers: ["X-Api-Key"] } })).sites[0]?.cors).toMatchObject({
      allowHeaders: ["authorization", "content-type", "x-api-key", "new-api-user"],
      allowCredentials: false,
      maxAgeSeconds: 600,
    });
  });
});

describe("requirement 3: default deny, an unknown configuration refuses everything", () => {
  it.each([
    ["no GATEWAY", { GATEWAY: undefined }, "GATEWAY: is missing"],
    ["GATEWAY as a text", { GATEWAY: "x" }, "GATEWAY: must be a table, not a text"],
    ["GATEWAY as a list", { GATEWAY: [] }, "GATEWAY: must be a table, not a list"],
    [
      "an unknown key of the gateway",
      { GATEWAY: { ...GATEWAY, debug: true } },
      "GATEWAY.debug: is not a known key",
    ],
    ["no issuer", { GATEWAY: {} }, "GATEWAY.issuer: is required"],
    ["a site as a text", { SITE_FILES: "x" }, "SITE_FILES: must be a table, not a text"],
    ["a site as null", { SITE_FILES: null }, "SITE_FILES: must be a table, not nothing"],
    ["a site in lower case", { site_x: SITE }, "site_x: is not a name for a site"],
    ["no D1 where keys are looked up", { DB: undefined }, "DB: the D1 binding is missing"],
    ["a text in place of D1", { DB: "x" }, "DB: the D1 binding is missing"],
  ])("refuses %s", (_, changes, expected) => {
    const issues = issuesOf(withEnv(changes));
    expect(issues.length).toBeGreaterThan(0);
    expect(issues[0]).toContain(expected);
  });

  it("reports what is wrong in every row, not only in the first", () => {
    const routes = [
      { path: "/a", auth: "open" },
      { path: "/b", mode: "off" },
      { path: "c" },
      { path: "/d", x: 1, y: 1 },
    ];
    expect(issuesOf(withSite({ routes })).map((issue) => issue.split(":")[0])).toEqual([
      "SITE_FILES.routes[0].auth",
      "SITE_FILES.routes[1].mode",
      "SITE_FILES.routes[2].path",
      "SITE_FILES.routes[3].x",
      "SITE_FILES.routes[3].y",
    ]);
  });

  it.each([
    ["functions", { GATEWAY: () => {} }],
    [
      "deep nonsense",
      { SITE_FILES: { ...SITE, routes: [[[]]], jwt: [null, 1, "x"], cors: [], hosts: [{}] } },
    ],
    [
      "numbers everywhere",
      { SITE_FILES: { ...SITE, origin: 1, routes: 2, jwt: 3, cors: 4, credentials: 5 } },
    ],
    [
      "prototype names",
      { SITE_FILES: JSON.parse('{"__proto__":{"origin":"self"},"constructor":1,"toString":2}') },
    ],
    ["a very long list", { SITE_FILES: { ...SITE, routes: Array.from({ length: 2000 }, () => 1) } }],
    [
      "a path the URL parser refuses",
      { SITE_FILES: { ...SITE, routes: [{ path: "x:y" }], base_path: ":80" } },
    ],
    ["lone surrogates", { SITE_FILES: { ...SITE, routes: [{ path: "/\ud800" }] } }],
  ])("never throws: %s", (_, changes) => {
    expect(loadConfig(withEnv(changes)).ok).toBe(false);
  });
});

describe("requirement 10: the algorithm comes from the configuration", () => {
  it.each([
    ["none", { algorithms: ["none"] }, "algorithms[0]: must be one of"],
    ["an empty list", { algorithms: [] }, "algorithms: must not be empty"],
    ["no list", { algorithms: undefined }, "algorithms: "],
    ["HMAC mixed with public keys", { algorithms: ["HS256", "ES256"] }, "algorithms: mixes HMAC"],
    [
      "a JWKS for HMAC",
      { secret: undefined, jwks: "https://idp.example.com/jwks" },
      "algorithms: are HMAC ones",
    ],
    ["a shared secret for RS256", { algorithms: ["RS256"] }, "secret: is a shared secret"],
    ["two sources of keys", { jwks: "https://idp.example.com/jwks" }, "needs exactly one of"],
    [
      "a JWKS over plain http",
      { algorithms: ["RS256"], secret: undefined, jwks: "http://idp.example.com" },
      "must be https",
    ],
  ])("refuses %s", (_, changes, expected) => {
    expect(issuesOf(withJwt(changes)).join("\n")).toContain(expected);
  });

  it("tells issuers apart by iss, so two with the same one are refused", () => {
    const issues = issuesOf(withSite({ jwt: [JWT, { ...JWT, audience: "other" }] }));
    expect(issues).toEqual([
      "SITE_FILES.jwt[1].issuer: is also that of SITE_FILES.jwt[0]: issuers are told apart by it",
    ]);
  });

  it("permits a JWKS on this machine in development only", () => {
    const jwt = { ...JWT, algorithms: ["RS256"], secret: undefined, jwks: "http://127.0.0.1:9/jwks" };
    const { secret: _, ...site } = jwt;
    const development = { ...GATEWAY, environment: "development" };
    expect(issuesOf(withEnv({ GATEWAY: development, SITE_FILES: { ...SITE, jwt: site } }))).toEqual([]);
    expect(issuesOf(withSite({ jwt: site }))).not.toEqual([]);
  });
});

describe("requirement 12: kinds of credential are mutually exclusive", () => {
  it("refuses user contexts as credentials", () => {
    expect(issuesOf(withJwt({ types: ["User-Context+JWT"] })).join()).toContain("types: must not hold");
  });

  it("refuses a user context signed with an issuer's secret, under whatever name", () => {
    const env = {
      ...withSite({ user_context: { algorithm: "HS256", secret: "SAME" } }),
      SAME: ENV.FILES_JWT,
    };
    expect(issuesOf(env).join()).toContain("SITE_FILES.user_context.secret: is also a JWT issuer's secret");
  });

  it("warns when two origins could sign for each other", () => {
    const userContext = { algorithm: "HS256", secret: "SHARED" };
    const env = withEnv({
      SITE_FILES: { ...SITE, user_context: userContext },
      SITE_OTHER: { origin: "self", routes: [{ path: "/" }], user_context: userContext },
      SHARED: `x${String(ENV.FILES_JWT).slice(1)}`,
    });
    expect(warningsOf(env).join()).toContain("SITE_OTHER.user_context.secret: is also that of another site");
  });
});

describe("a secret has one use", () => {
  const jwk = (value: unknown) => ({ secret: undefined, algorithms: ["ES256"], public_key: value });

  it.each(["POSTERN_PEPPERS", "POSTERN_TAG_SECRETS", "POSTERN_SIGNING_KEYS", "POSTERN_OTHER"])(
    "and no key of a site may name %s",
    (name) => {
      const reason = `must not be ${name}: secrets that begin with POSTERN_ are the gateway's own`;
      const { secret: _, ...publicKey } = { ...JWT, ...jwk(`secret:${name}`) };
      expect(issuesOf(withSite({ origin_headers: { "X-Pass": `secret:${name}` } }))).toEqual([
        `SITE_FILES.origin_headers.X-Pass: ${reason}`,
      ]);
      expect(issuesOf(withSite({ user_context: { algorithm: "HS256", secret: name } }))).toEqual([
        `SITE_FILES.user_context.secret: ${reason}`,
      ]);
      expect(issuesOf(withJwt({ secret: name }))).toEqual([`SITE_FILES.jwt.secret: ${reason}`]);
      expect(issuesOf(withSite({ jwt: publicKey }))).toEqual([`SITE_FILES.jwt.public_key: ${reason}`]);
    },
  );

  it("and none may name ADMIN_TOKEN", () => {
    const reason = "must not be ADMIN_TOKEN, which opens the admin API and has no other use";
    const { secret: _, ...publicKey } = { ...JWT, ...jwk("secret:ADMIN_TOKEN") };
    expect(issuesOf(withSite({ origin_headers: { "X-Pass": "secret:ADMIN_TOKEN" } }))).toEqual([
      `SITE_FILES.origin_headers.X-Pass: ${reason}`,
    ]);
    expect(issuesOf(withSite({ user_context: { algorithm: "HS256", secret: "ADMIN_TOKEN" } }))).toEqual([
      `SITE_FILES.user_context.secret: ${reason}`,
    ]);
    expect(issuesOf(withJwt({ secret: "ADMIN_TOKEN" }))).toEqual([`SITE_FILES.jwt.secret: ${reason}`]);
    expect(issuesOf(withSite({ jwt: publicKey }))).toEqual([`SITE_FILES.jwt.public_key: ${reason}`]);
  });

  it.each([
    ["an issuer's secret", "FILES_JWT", "SITE_FILES.jwt"],
    ["the secret of a site's user context", "OTHER_CONTEXT", "SITE_OTHER.user_context"],
  ])("and %s is not sent to any origin", (_, name, place) => {
    const other = {
      hosts: ["other.example.com"],
      origin: "https://other.internal",
      user_context: { algorithm: "HS256", secret: "OTHER_CONTEXT" },
      origin_headers: { "X-Pass": `secret:${name}` },
      routes: [{ path: "/*" }],
    };
    const env = { ...withEnv({ SITE_OTHER: other }), OTHER_CONTEXT: `x${String(ENV.FILES_JWT).slice(1)}` };
    expect(issuesOf(env)).toEqual([
      `SITE_OTHER.origin_headers.X-Pass: would send the origin the secret of ${place}, so that it could sign: make another one`,
    ]);
  });
});

describe("requirement 12: a missing role grants nothing", () => {
  it("so the lowest step of the ladder is no demand, whatever it is called", () => {
    for (const roles of [["editor", "admin"], ["admin"]]) {
      const [lowest] = roles;
      for (const auth of ["required", "optional"]) {
        const issues = issuesOf(withSite({ roles, routes: [{ path: "/*", auth, role: lowest }] }));
        expect(issues).toEqual([expect.stringContaining("SITE_FILES.routes[0].role: asks for nothing")]);
      }
    }
    expect(issuesOf(withSite({ routes: [{ path: "/*", role: "public" }] }))).not.toEqual([]);
  });

  it("and the one above it is", () => {
    const site = { roles: ["public", "editor", "admin"], routes: [{ path: "/*", role: "editor" }] };
    expect(loaded(withSite(site)).sites[0]?.routes[0]?.minimumRole).toBe(1);
  });
});

describe("nothing is ignored in silence", () => {
  it.each(["constructor", "prototype", "__proto__"])("a key called %s", (name) => {
    const table = JSON.parse(`{"${name}": "x", "other": "y"}`);
    const expected = "must not have a key named constructor, prototype or __proto__: it would not be read";
    expect(issuesOf(withJwt({ require: table }))).toEqual([`SITE_FILES.jwt.require: ${expected}`]);
    expect(issuesOf(withSite({ origin_headers: table }))).toEqual([`SITE_FILES.origin_headers: ${expected}`]);
    const realms = JSON.parse(`{"${name}": {"untagged_keys": true}}`);
    expect(issuesOf(withEnv({ GATEWAY: { ...GATEWAY, realms } }))).toEqual([`GATEWAY.realms: ${expected}`]);
    expect(issuesOf(withSite(table)).join()).toContain(`SITE_FILES.${name}: is not a known key`);
  });

  it.each(["toString", "hasOwnProperty", "valueOf"])("but a claim called %s is required", (claim) => {
    const config = loaded(withJwt({ require: { [claim]: "x" } }));
    expect(config.sites[0]?.jwtIssuers[0]?.require).toEqual([[claim, "x"]]);
  });

  it.each(["GATEWAY__MORE", "GATEWAY__", "gateway__more"])("a variable %s", (variable) => {
    expect(issuesOf(withEnv({ [variable]: { hosts: ["x.example.com"] } }))).toEqual([
      `${variable}: is not read: only sites go on in further variables; move it into GATEWAY`,
    ]);
  });
});

describe("users and revocation", () => {
  it("a site of stand-alone tokens needs neither D1 nor key secrets", () => {
    const env = withEnv({
      SITE_FILES: { ...SITE, users: "none", revocation: "none" },
      DB: undefined,
      POSTERN_TAG_SECRETS: undefined,
      POSTERN_PEPPERS: undefined,
    });
    expect(loaded(env).sites[0]?.routes[0]?.accept).toEqual(["jwt"]);
  });

  it.each([
    ["revocation none with users", { revocation: "none" }, "SITE_FILES.revocation"],
    [
      "keys without users",
      { users: "none", routes: [{ path: "/", accept: ["api_key"] }] },
      "routes[0].accept",
    ],
    [
      "an exact limit without D1",
      {
        users: "none",
        revocation: "none",
        routes: [{ path: "/", limit: { exact: true, requests: 1, per_seconds: 1 } }],
      },
      "DB",
    ],
  ])("refuses %s", (_, changes, expected) => {
    expect(issuesOf({ ...withSite(changes), DB: undefined }).join("\n")).toContain(expected);
  });

  it("revocation without users still needs D1", () => {
    expect(issuesOf({ ...withSite({ users: "none" }), DB: undefined }).join()).toContain("DB");
  });
});
