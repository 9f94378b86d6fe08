import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { scopesOfRole } from "../../../src/config/role-scopes.ts";
import { GATEWAY, issuesOf, JWT, loaded, SITE, type Table, warningsOf, withEnv } from "./fixtures.ts";

/** `SITE_FILES` in the realm `people`, whose sign-in is this; further variables beside it. */
function withSignIn(signIn: Table, changes: Table = {}, realms: Table = {}): Table {
  return withEnv({
    GATEWAY: { ...GATEWAY, realms: { people: { sign_in: signIn }, ...realms } },
    SITE_FILES: { ...SITE, realm: "people" },
    ...changes,
  });
}

const signInOf = (env: Table, realm = "people") => loaded(env).realms.get(realm)?.signIn;

describe("sign-in of a realm", () => {
  it("is off unless asked for", () => {
    expect(loaded(withEnv({})).realms.get("files")?.signIn).toBeNull();
  });

  it("has every default filled in", () => {
    expect(signInOf(withSignIn({}))).toMatchObject({
      accessSeconds: 900,
      idleSeconds: 14 * 86_400,
      sessionSeconds: 30 * 86_400,
      minPasswordLength: 15,
      scopes: { everyone: [] },
      cookie: "__Host-postern-people",
    });
  });

  it("is what the operator says", () => {
    const given = {
      access_seconds: 60,
      idle_days: 1,
      session_days: 2,
      min_password_length: 8,
      cookie: "__Host-files",
      scopes: ["notes.read"],
    };
    expect(signInOf(withSignIn(given))).toMatchObject({
      accessSeconds: 60,
      idleSeconds: 86_400,
      sessionSeconds: 2 * 86_400,
      minPasswordLength: 8,
      scopes: { everyone: ["notes.read"] },
      cookie: "__Host-files",
    });
  });

  it("lets sessions last as long as they may be idle, where nothing is said about their length", () => {
    expect(signInOf(withSignIn({ idle_days: 90 }))?.sessionSeconds).toBe(90 * 86_400);
    expect(issuesOf(withSignIn({ idle_days: 3, session_days: 2 }))).toEqual([
      "GATEWAY.realms.people.sign_in.idle_days: is longer than session_days, after which every session ends: lower it",
    ]);
    expect(issuesOf(withSignIn({ idle_days: 2, session_days: 2 }))).toEqual([]);
  });

  it.each([
    ["access_seconds", [59, 3_601, 60.5], [60, 3_600]],
    ["idle_days", [0, 401], [1]],
    ["session_days", [0, 401], [14, 400]],
    ["min_password_length", [7, 65, "15"], [8, 64]],
    [
      "cookie",
      ["postern", "__Secure-x", "__host-x", "__Host-", "__Host-a b", "__Host-a=b", true],
      ["__Host-x", false],
    ],
    [
      "scopes",
      ["notes.read", [1], ["a b"], [""], { user: "notes.read" }, { user: ["a b"] }],
      [[], {}, { user: [] }],
    ],
    ["password_length", [15], []],
  ])("refuses values of %s that are out of range", (key, bad, good) => {
    for (const value of bad) {
      const issues = issuesOf(withSignIn({ [key]: value }));
      expect(issues, String(value)).toHaveLength(1);
      expect(issues[0]).toContain(`GATEWAY.realms.people.sign_in.${key}`);
    }
    for (const value of good) expect(issuesOf(withSignIn({ [key]: value })), String(value)).toEqual([]);
  });

  it.each([
    ["D1", "DB"],
    ["a tag secret", "POSTERN_TAG_SECRETS"],
    ["a pepper", "POSTERN_PEPPERS"],
    ["a signing key", "POSTERN_SIGNING_KEYS"],
  ])("needs %s, even where no site does", (_, name) => {
    const open = {
      ...{ origin: "self", user_context: { algorithm: "HS256", secret: "FILES_JWT" } },
      routes: [{ path: "/*", auth: "none" }],
    };
    const realms = { people: { sign_in: {} } };
    const without = { SITE_FILES: open, [name]: undefined };
    expect(issuesOf(withEnv(without))).toEqual([]);
    const issues = issuesOf(withEnv({ ...without, GATEWAY: { ...GATEWAY, realms } }));
    expect(issues).toEqual([expect.stringContaining(`${name}: `)]);
  });

  it("needs a key of the algorithm by which the gateway signs", () => {
    const user_context = { algorithm: "EdDSA" };
    const env = withSignIn({}, { POSTERN_SIGNING_KEYS: undefined });
    const gateway = { ...(env.GATEWAY as Table), user_context };
    expect(issuesOf({ ...withSignIn({}), GATEWAY: gateway })).toEqual([]);
    expect(issuesOf({ ...env, GATEWAY: gateway })[0]).toContain("POSTERN_SIGNING_KEYS");
  });

  it("is for users that are looked up", () => {
    const site = { ...SITE, realm: "people", users: "none" };
    expect(issuesOf(withSignIn({}, { SITE_FILES: site }))).toEqual([
      'SITE_FILES.users: must be "required": people sign in to the realm people, and what they get is theirs',
    ]);
  });
});

describe("sites of a realm with sign-in", () => {
  it("accept its access tokens and its cookie beside their own", () => {
    const credentials = { cookies: ["sid"] };
    const [site] = loaded(withSignIn({}, { SITE_FILES: { ...SITE, realm: "people", credentials } })).sites;
    expect(site?.credentials.cookies).toEqual(["sid", "__Host-postern-people"]);
    expect(site?.routes[0]?.accept).toEqual(["jwt", "api_key", "pat", "session"]);
    expect(site?.jwtIssuers.map(({ id }) => id)).toEqual(["files/0", "_gateway/people"]);
  });

  it("accept them without an issuer of their own", () => {
    const site = { hosts: ["files.example.com"], origin: "self", realm: "people", routes: [{ path: "/*" }] };
    const [compiled] = loaded(withSignIn({}, { SITE_FILES: site })).sites;
    expect(compiled?.routes[0]?.accept).toEqual(["jwt", "api_key", "pat", "session"]);
  });

  it("read no cookie where the realm has none", () => {
    const [site] = loaded(withSignIn({ cookie: false })).sites;
    expect(site?.credentials.cookies).toEqual([]);
    expect(site?.routes[0]?.accept).toEqual(["jwt", "api_key", "pat"]);
  });

  it("name the realm's cookie once", () => {
    const credentials = { cookies: ["__Host-postern-people"] };
    const [site] = loaded(withSignIn({}, { SITE_FILES: { ...SITE, realm: "people", credentials } })).sites;
    expect(site?.credentials.cookies).toEqual(["__Host-postern-people"]);
  });

  it("do not accept what another realm issued: each token is for one realm, and of one type", () => {
    const config = loaded(withSignIn({}, { SITE_OTHER: { ...SITE, hosts: ["other.example.com"] } }));
    const issuer = config.realms.get("people")?.signIn?.issuer;
    expect(config.sites.map(({ jwtIssuers }) => jwtIssuers.includes(issuer as never))).toEqual([true, false]);
    expect(issuer).toMatchObject({
      issuer: "https://auth.example.com",
      audience: ["people"],
      types: ["at+jwt"],
      require: [["token_type", "access"]],
      algorithms: ["ES256", "EdDSA"],
      maxLifetimeSeconds: 900,
      clockToleranceSeconds: 5,
    });
  });

  it("verify tokens by the public halves of the gateway's own keys", () => {
    const { keys } = signInOf(withSignIn({}))?.issuer ?? {};
    expect(keys?.kind === "static" && keys.jwks.map(({ alg, d }) => ({ alg, d }))).toEqual([
      { alg: "ES256", d: undefined },
      { alg: "EdDSA", d: undefined },
    ]);
    expect(JSON.stringify(loaded(withSignIn({})).realms.get("people"))).not.toContain('"d"');
  });

  it("cannot name the gateway as an issuer besides", () => {
    const jwt = { ...JWT, issuer: "https://auth.example.com" };
    expect(issuesOf(withSignIn({}, { SITE_FILES: { ...SITE, realm: "people", jwt } }))).toEqual([
      "SITE_FILES.jwt.issuer: is the gateway itself, whose tokens for the realm people are taken anyway: leave this table out",
    ]);
    expect(issuesOf(withEnv({ SITE_FILES: { ...SITE, jwt } }))).toEqual([]);
  });

  it("may be several, and a realm may have none", () => {
    expect(warningsOf(withSignIn({}, {}, { spare: { sign_in: {} } }))).toEqual([
      "GATEWAY.realms.spare: is used by no site",
    ]);
  });
});

describe("roles and scopes of a realm", () => {
  const site = (host: string, roles?: readonly string[]) => ({
    ...{ hosts: [`${host}.example.com`], origin: "self", realm: "people", routes: [{ path: "/*" }] },
    ...(roles !== undefined && { roles }),
  });

  it("are the steps that all its sites share", () => {
    const env = withSignIn(
      {},
      { SITE_FILES: site("files", ["public", "editor", "admin"]), SITE_WIKI: site("wiki") },
    );
    expect(loaded(env).realms.get("people")?.roles).toEqual(["public", "admin"]);
  });

  it("are the usual ones where no site has the realm", () => {
    const env = withSignIn({ scopes: { root: ["a"] } }, { SITE_FILES: SITE });
    expect(loaded(env).realms.get("people")?.roles).toEqual(["public", "user", "admin", "root"]);
  });

  it("stand in one order", () => {
    const env = withSignIn(
      {},
      { SITE_FILES: site("files", ["public", "user", "admin"]), SITE_WIKI: site("wiki", ["admin", "user"]) },
    );
    expect(issuesOf(env)).toEqual([
      "SITE_WIKI.roles: puts the roles of the realm in another order than other sites (user < admin): agree on one",
    ]);
  });

  it("give a step's scopes to all steps above it", () => {
    const env = withSignIn({ scopes: { user: ["read"], admin: ["write", "read"] } });
    const realm = loaded(env).realms.get("people");
    const scopes = (role: string) => (realm === undefined ? null : scopesOfRole(realm, role));
    expect(["public", "user", "admin", "root", "nobody"].map(scopes)).toEqual([
      [],
      ["read"],
      ["read", "write"],
      ["read", "write"],
      [],
    ]);
  });

  it("find no inherited member under any name", () => {
    const roles = ["public", "constructor", "toString"];
    const env = withSignIn({ scopes: { toString: ["a"] } }, { SITE_FILES: site("files", roles) });
    const realm = loaded(env).realms.get("people");
    expect(roles.map((role) => realm && scopesOfRole(realm, role))).toEqual([[], [], ["a"]]);
  });

  it("refuse scopes of a role that is none, with the one that was meant", () => {
    const env = withSignIn({ scopes: { amdin: ["a"], editor: [] } });
    expect(issuesOf(env)).toEqual([
      'GATEWAY.realms.people.sign_in.scopes.amdin: is no role that all sites of the realm have (public < user < admin < root); did you mean "admin"?',
      "GATEWAY.realms.people.sign_in.scopes.editor: is no role that all sites of the realm have (public < user < admin < root)",
    ]);
  });

  it("say nothing about scopes while a site's roles cannot be read", () => {
    const broken = { ...site("files"), roles: ["edi tor"] };
    const issues = issuesOf(withSignIn({ scopes: { editor: ["a"] } }, { SITE_FILES: broken }));
    expect(issues).toEqual([expect.stringContaining("SITE_FILES.roles[0]")]);
    expect(issuesOf(withSignIn({ scopes: { editor: ["a"] } }, { SITE_FILES: "x" }))).toHaveLength(1);
  });
});

describe("requirement 19: the realm of those who administer the gateway", () => {
  const gateway = (settings: Table) => withEnv({ GATEWAY: { ...GATEWAY, realms: { gateway: settings } } });

  it("has the usual roles, and fixed scopes from admin on", () => {
    const realm = loaded(gateway({ sign_in: {} })).realms.get("gateway");
    expect(realm?.roles).toEqual(["public", "user", "admin", "root"]);
    expect(realm?.roles.map((role) => scopesOfRole(realm, role))).toEqual([
      [],
      [],
      ["gateway.read", "gateway.write"],
      ["gateway.read", "gateway.write"],
    ]);
    expect(issuesOf(gateway({ sign_in: { scopes: ["x"] } }))).toEqual([
      "GATEWAY.realms.gateway.sign_in.scopes: are fixed for administrators: leave it out",
    ]);
  });

  it("belongs to no site, and does not have to", () => {
    expect(warningsOf(gateway({ sign_in: {} }))).toEqual([]);
    const reason = "must not be gateway, whose users administer the gateway: name another realm";
    expect(issuesOf(withEnv({ SITE_FILES: { ...SITE, realm: "gateway" } }))).toEqual([
      `SITE_FILES.realm: ${reason}`,
    ]);
    expect(issuesOf(withEnv({ SITE_GATEWAY: { ...SITE, hosts: ["g.example.com"] } }))).toEqual([
      `SITE_GATEWAY.realm: ${reason}`,
    ]);
    const named = { ...SITE, hosts: ["g.example.com"], realm: "people" };
    expect(issuesOf(withEnv({ SITE_GATEWAY: named }))).toEqual([]);
  });

  it("needs D1 and the secrets of keys also without sign-in: administrators may have keys", () => {
    const site = { ...SITE, users: "none", revocation: "none" };
    const env: Table = { ...gateway({}), SITE_FILES: site };
    expect(issuesOf(env)).toEqual([]);
    for (const name of ["DB", "POSTERN_TAG_SECRETS", "POSTERN_PEPPERS"]) {
      const { [name]: _, ...without } = env;
      expect(issuesOf(without)).toEqual([expect.stringContaining(`${name}: `)]);
    }
  });
});

describe("cookies of realms", () => {
  it("have different names", () => {
    const realms = { other: { sign_in: { cookie: "__Host-postern-people" } } };
    expect(issuesOf(withSignIn({}, {}, realms))).toEqual([
      "GATEWAY.realms.other.sign_in.cookie: is also that of the realm people: who signs in to one would be signed out of the other",
    ]);
    expect(issuesOf(withSignIn({ cookie: false }, {}, { other: { sign_in: { cookie: false } } }))).toEqual(
      [],
    );
  });
});

describe("requirement 3: nobody else answers where people sign in", () => {
  const shadowed = (site: Table, hosts: readonly string[] | undefined) => {
    const env = withSignIn(
      {},
      { SITE_OTHER: { origin: "self", routes: [{ path: "/_Gateway/x" }], ...site } },
    );
    const gateway = { ...(env.GATEWAY as Table), hosts };
    const result = loadConfig({ ...env, GATEWAY: gateway });
    return result.ok ? [] : result.issues.map(({ key, message }) => `${key}: ${message}`);
  };
  const path = "SITE_OTHER.routes[0].path";

  it.each([
    [
      "a site on a host of the realm",
      { base_path: "/other", hosts: ["files.example.com"], routes: [{ path: "/_gateway/x" }] },
      [],
    ],
    [
      "the whole host of the realm",
      { realm: "people", hosts: ["b.example.com"] },
      [`${path}: is not the site's to have: people sign in at /_gateway on b.example.com`],
    ],
    [
      "another realm's site on any host",
      {},
      [`${path}: is never reached: /_gateway is the control plane on this host`],
    ],
    ["another host", { hosts: ["c.example.com"] }, []],
  ])("%s", (_, site, expected) => {
    expect(shadowed(site, ["auth.example.com"])).toEqual(expected);
  });

  it("where the gateway answers on every host, every site is concerned", () => {
    expect(shadowed({ hosts: ["c.example.com"] }, undefined)).toEqual([
      `${path}: is never reached: /_gateway is the control plane on this host`,
    ]);
  });
});
