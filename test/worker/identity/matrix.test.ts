// Who may call what: every endpoint that the router mounts, by every kind of caller; then who may act on whom.
import { Hono } from "hono";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { GatewayApp } from "../../../src/app.ts";
import { mountControlPlane } from "../../../src/control/control-plane.ts";
import { ENDPOINTS } from "../../../src/control/endpoints.ts";
import { mountFacts } from "../../../src/control/facts.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  GATEWAY,
  type Gateway,
  secrets,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

/** Some of these ask hundreds of times, and hash passwords. */
vi.setConfig({ testTimeout: 60_000 });

const PASSWORD = "tandem walnut orbit 29";
type Json = Readonly<Record<string, unknown>>;

let gateway: Gateway;
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
});

/** What each endpoint demands, written down a second time: who changes the table has to change this one too. */
const EXPECTED: Readonly<Record<string, keyof typeof LET_IN>> = {
  "POST /auth/login": "anyone",
  "POST /auth/refresh": "anyone",
  "POST /auth/logout": "anyone",
  "POST /oauth/revoke": "anyone",
  "POST /oauth/introspect": "admin reads",
  "GET /me": "user reads",
  "POST /me/password": "user writes",
  "GET /me/sessions": "user reads",
  "DELETE /me/sessions": "user writes",
  "DELETE /me/sessions/:id": "user writes",
  "GET /me/keys": "user reads",
  "POST /me/keys": "user writes",
  "GET /me/keys/:id": "user reads",
  "PATCH /me/keys/:id": "user writes",
  "DELETE /me/keys/:id": "user writes",
  "POST /me/keys/:id/rotate": "user writes",
  "GET /me/pats": "user reads",
  "POST /me/pats": "user writes",
  "GET /me/pats/:id": "user reads",
  "PATCH /me/pats/:id": "user writes",
  "DELETE /me/pats/:id": "user writes",
  "POST /me/pats/:id/rotate": "user writes",
  "GET /admin/realms": "admin reads",
  "GET /admin/realms/:realm/users": "admin reads",
  "POST /admin/realms/:realm/users": "admin writes",
  "GET /admin/realms/:realm/users/:id": "admin reads",
  "PATCH /admin/realms/:realm/users/:id": "admin writes",
  "DELETE /admin/realms/:realm/users/:id": "admin writes",
  "POST /admin/realms/:realm/users/:id/password": "admin writes",
  "DELETE /admin/realms/:realm/users/:id/sessions": "admin writes",
  "GET /admin/realms/:realm/keys": "admin reads",
  "POST /admin/realms/:realm/keys": "admin writes",
  "GET /admin/realms/:realm/keys/:id": "admin reads",
  "PATCH /admin/realms/:realm/keys/:id": "admin writes",
  "DELETE /admin/realms/:realm/keys/:id": "admin writes",
  "POST /admin/realms/:realm/keys/:id/rotate": "admin writes",
  "GET /admin/realms/:realm/pats": "admin reads",
  "POST /admin/realms/:realm/pats": "admin writes",
  "GET /admin/realms/:realm/pats/:id": "admin reads",
  "PATCH /admin/realms/:realm/pats/:id": "admin writes",
  "DELETE /admin/realms/:realm/pats/:id": "admin writes",
  "POST /admin/realms/:realm/pats/:id/rotate": "admin writes",
  "GET /admin/realms/:realm/sessions": "admin reads",
  "DELETE /admin/realms/:realm/sessions/:id": "admin writes",
  "GET /admin/realms/:realm/revocations": "admin reads",
  "POST /admin/realms/:realm/revocations": "admin writes",
  "GET /admin/audit": "admin reads",
  "GET /admin/audit/verify": "admin reads",
  "POST /admin/explain": "admin reads",
  "POST /admin/import": "admin writes",
  "POST /admin/epoch": "root writes",
};
/** What answers everybody alike. */
const PUBLIC = ["/health", "/jwks.json", "/openapi.json"];

const cookie = (value: string, origin: string): RequestInit => ({
  headers: { cookie: `__Host-postern-main=${value}`, origin },
});
const OWN_ORIGIN = "https://auth.example.com";

/** An administrator's key: of a user of its own, with this role and these scopes. */
async function adminKey(id: string, role: string, scopes: readonly string[]): Promise<string> {
  await addUser(id, { realm: "gateway", role });
  return addApiKey(`key-${id}`, { realm: "gateway", userId: id, scopes });
}
const READ = ["gateway.read"];
const WRITE = ["gateway.write"];
const BOTH = [...READ, ...WRITE];

async function signIn(realm: string, id: string, role: string, session: "token" | "cookie") {
  await addUser(id, { realm, role, username: id });
  await api(gateway, "POST", `admin/realms/${realm}/users/${id}/password`, { password: PASSWORD });
  const login = { realm, username: id, password: PASSWORD, session };
  return api(gateway, "POST", "auth/login", login, null);
}

async function accessToken(realm: string, id: string, role = "user"): Promise<string> {
  const { body } = await signIn(realm, id, role, "token");
  return (body as { readonly access_token: string }).access_token;
}

async function adminCookie(id: string, origin: string): Promise<RequestInit> {
  const { headers } = await signIn("gateway", id, "admin", "cookie");
  return { headers: { cookie: headers.get("set-cookie")?.split(";")[0] ?? "", origin } };
}

const CALLERS = {
  nobody: async () => ({}),
  "a garbage key": async () => bearer(`sk-${"a".repeat(48)}`),
  "a garbage PAT": async () => bearer("a".repeat(32)),
  "a garbage JWT": async () => bearer("a.b.c"),
  "another scheme": async () => ({ headers: { authorization: `Basic ${btoa(`admin:${ADMIN_TOKEN}`)}` } }),
  "a JWT of a site": async () => bearer(await signJwt({ scope: BOTH.join(" "), role: "root" })),
  "main token": async () => bearer(await accessToken("main", "m1", "root")),
  "main cookie": async () => cookie(await addSession("s1", "m2"), OWN_ORIGIN),
  "main cookie from elsewhere": async () => cookie(await addSession("s2", "m2"), "https://evil.example.com"),
  "main key": async () => bearer(await addApiKey("main-key", { userId: "m2", scopes: BOTH })),
  "main PAT": async () => bearer(await addPat("main-pat", { userId: "m2", scopes: BOTH })),
  "gateway user": async () => bearer(await adminKey("g-user", "user", BOTH)),
  "admin reading": async () => bearer(await adminKey("g-read", "admin", READ)),
  "admin writing": async () => bearer(await adminKey("g-write", "admin", WRITE)),
  admin: async () => bearer(await adminKey("g-admin", "admin", BOTH)),
  "admin without scopes": async () => bearer(await adminKey("g-none", "admin", [])),
  "admin with foreign scopes": async () =>
    bearer(
      await adminKey("g-foreign", "admin", ["gateway", "gateway.*", "GATEWAY.READ", "gateway.readwrite"]),
    ),
  "admin token": async () => bearer(await accessToken("gateway", "g-token", "admin")),
  "admin cookie": () => adminCookie("g-cookie", OWN_ORIGIN),
  "admin cookie from elsewhere": () => adminCookie("g-evil", "https://evil.example.com"),
  "root reading": async () => bearer(await adminKey("g-root-read", "root", READ)),
  root: async () => bearer(await adminKey("g-root", "root", BOTH)),
  "disabled root": async () => {
    const key = await adminKey("g-off", "root", BOTH);
    await writes.updateUser("gateway", "g-off", { status: "disabled" }, Math.floor(Date.now() / 1_000));
    return bearer(key);
  },
  ADMIN_TOKEN: async () => bearer(ADMIN_TOKEN),
  "ADMIN_TOKEN cut short": async () => bearer(ADMIN_TOKEN.slice(0, -1)),
  "ADMIN_TOKEN and more": async () => bearer(`${ADMIN_TOKEN}A`),
  "ADMIN_TOKEN in another case": async () => bearer(ADMIN_TOKEN.toLowerCase()),
  "ADMIN_TOKEN twice": async () => bearer(`${ADMIN_TOKEN}, Bearer ${ADMIN_TOKEN}`),
} satisfies Readonly<Record<string, () => Promise<RequestInit>>>;
type CallerName = keyof typeof CALLERS;

/** An access token says itself which realm's users it is for; an administrator is one of the realm `gateway`. */
const OWN = ["main token", "main cookie", "admin token"] as const;
const ADMINS_THAT_READ = [
  "admin reading",
  "admin",
  "admin token",
  "admin cookie",
  "root reading",
  "root",
  "ADMIN_TOKEN",
] as const;
const ADMINS_THAT_WRITE = [
  "admin writing",
  "admin",
  "admin token",
  "admin cookie",
  "root",
  "ADMIN_TOKEN",
] as const;

/** By what an endpoint demands: whom it lets in. */
const LET_IN = {
  anyone: Object.keys(CALLERS) as CallerName[],
  "user reads": [...OWN, "main cookie from elsewhere", "main key", "main PAT"],
  "user writes": OWN,
  "admin reads": ADMINS_THAT_READ,
  "admin writes": ADMINS_THAT_WRITE,
  "root writes": ["root", "ADMIN_TOKEN"],
} as const satisfies Readonly<Record<string, readonly CallerName[]>>;

/** Whom the endpoints for administrators know, and refuse for what they lack. Everybody else is a stranger there. */
const KNOWN_TO_ADMIN: readonly CallerName[] = [
  ...ADMINS_THAT_READ,
  ...ADMINS_THAT_WRITE,
  "gateway user",
  "admin without scopes",
  "admin with foreign scopes",
];

function expectedFor(demand: keyof typeof LET_IN, caller: CallerName): string {
  if ((LET_IN[demand] as readonly CallerName[]).includes(caller)) return "let in";
  const isForAdmins = demand.startsWith("admin") || demand.startsWith("root");
  // A page of another origin cannot read what it is answered, and writes nothing at all.
  if (caller === "admin cookie from elsewhere") return demand === "admin reads" ? "let in" : "401";
  return isForAdmins && KNOWN_TO_ADMIN.includes(caller) ? "403" : "401";
}

const PARAMETERS: Readonly<Record<string, string>> = { ":realm": "main", ":id": "nothing" };
const urlOf = (path: string) =>
  `${OWN_ORIGIN}/_gateway${path.replaceAll(/:\w+/g, (name) => PARAMETERS[name] ?? "")}`;

describe("the router and the matrix", () => {
  /** The paths that are really mounted, each for all methods. */
  function mountedPaths(): readonly string[] {
    const app: GatewayApp = new Hono();
    const nobody = () => {
      throw new Error("nothing is called");
    };
    mountControlPlane(app, nobody);
    mountFacts(app, nobody);
    return app.routes.map(({ path }) => path);
  }

  it("know the same endpoints: none is mounted without a row, and no row is left over", () => {
    const rows = Object.keys(EXPECTED);
    expect(ENDPOINTS.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([...rows].sort());
    const paths = [...new Set(rows.map((row) => row.split(" ")[1] ?? "")), ...PUBLIC, "/*"];
    expect([...mountedPaths()].sort()).toEqual(paths.map((path) => `/_gateway${path}`).sort());
  });

  it("know the same methods: any other is 405 with Allow, whoever asks", async () => {
    for (const mounted of mountedPaths()) {
      const path = mounted.slice("/_gateway".length);
      if (path === "/*") continue;
      const known = PUBLIC.includes(path)
        ? ["GET", "HEAD"]
        : Object.keys(EXPECTED)
            .filter((row) => row.endsWith(` ${path}`))
            .map((row) => row.split(" ")[0] ?? "");
      for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"]) {
        if (known.includes(method)) continue;
        const response = await gateway.fetch(urlOf(path), { ...bearer(ADMIN_TOKEN), method });
        expect([response.status, response.headers.get("allow")], `${method} ${path}`).toEqual([
          405,
          known.join(", "),
        ]);
      }
    }
    expect(gateway.received).toEqual([]);
  });

  it("know no other path: it is 404 and reaches no origin", async () => {
    for (const path of [
      "/",
      "/admin",
      "/admin/users",
      "/me/7",
      "/auth",
      "/console/x",
      "/admin/realms/main",
      "/admin/realms/main/users/7/keys",
    ]) {
      const response = await gateway.fetch(urlOf(path), bearer(ADMIN_TOKEN));
      expect(response.status, path).toBe(404);
    }
    expect(gateway.received).toEqual([]);
  });
});

describe.each(Object.entries(EXPECTED))("%s, for %s:", (row, demand) => {
  it("lets in whom it should, and nobody else", async () => {
    const [method = "", path = ""] = row.split(" ");
    await addUser("7");
    await addUser("m2");
    const outcomes: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const [name, make] of Object.entries(CALLERS)) {
      const isSlow = /token|admin cookie/.test(name);
      // A sign-in costs a password hash; one endpoint of each demand shows what tokens can do.
      if (isSlow && !SHOWN_WITH_TOKENS.includes(row)) continue;
      const response = await gateway.fetch(urlOf(path), { ...(await make()), method });
      const { status } = response;
      const text = await response.text();
      outcomes[name] = status === 401 || status === 403 ? String(status) : "let in";
      expected[name] = expectedFor(demand, name as CallerName);
      // Whoever proves themselves by the body alone is refused for that.
      if (demand === "anyone" && status === 401) outcomes[name] = "let in";
      expect(status, `${name}: ${text}`).toBeLessThan(500);
      expect(response.headers.get("cache-control"), name).toBe("no-store");
      if (status >= 400) {
        expect(response.headers.get("content-type"), name).toBe("application/problem+json");
        expect(JSON.parse(text), name).toMatchObject({ status, code: expect.stringMatching(/^[a-z_]+$/) });
      }
      expect(response.headers.has("www-authenticate"), name).toBe(
        status === 401 || text.includes('"scope_insufficient"'),
      );
    }
    expect(outcomes).toEqual(expected);
    expect(gateway.received).toEqual([]);
  });
});
const SHOWN_WITH_TOKENS = [
  "GET /me",
  "POST /me/keys",
  "GET /admin/realms/:realm/users",
  "POST /admin/realms/:realm/users",
  "POST /admin/epoch",
];

describe("hosts", () => {
  it("of the control plane alone have administration; sites of a realm with sign-in have what its users need", async () => {
    gateway = startGateway({ vars: { GATEWAY: { ...GATEWAY, hosts: ["auth.example.com"] } } });
    await addUser("7");
    const key = await addApiKey("k1");
    const ask = async (host: string, path: string, token: string) =>
      (await gateway.fetch(`https://${host}/_gateway${path}`, bearer(token))).status;
    expect(await ask("auth.example.com", "/admin/realms", ADMIN_TOKEN)).toBe(200);
    expect(await ask("api.example.com", "/admin/realms", ADMIN_TOKEN)).toBe(404);
    expect(await ask("api.example.com", "/openapi.json", ADMIN_TOKEN)).toBe(404);
    expect(await ask("api.example.com", "/me", key)).toBe(200);
    expect(await ask("other.example.com", "/me", key)).toBe(404);
  });
});

describe("an administrator is out on the next request", () => {
  const list = (key: string) => api(gateway, "GET", "admin/realms/main/users", undefined, key);
  it.each([
    ["demoted", "PATCH", "users/g1", { role: "user" }, 403],
    ["disabled", "PATCH", "users/g1", { status: "disabled" }, 401],
    ["pending", "PATCH", "users/g1", { status: "pending" }, 401],
    ["deleted", "DELETE", "users/g1", undefined, 401],
    ["whose key lost its scopes", "PATCH", "keys/key-g1", { scopes: [] }, 403],
    ["whose key is disabled", "PATCH", "keys/key-g1", { status: "disabled" }, 401],
    ["whose key is deleted", "DELETE", "keys/key-g1", undefined, 401],
    ["whose key is revoked", "POST", "revocations", { kind: "key", id: "key-g1" }, 401],
    ["of whom all is revoked", "POST", "revocations", { kind: "user", id: "g1" }, 401],
    ["of whose realm all is revoked", "POST", "revocations", { kind: "realm" }, 401],
  ] as const)("%s", async (_name, method, path, body, expected) => {
    const key = await adminKey("g1", "admin", BOTH);
    expect((await list(key)).status).toBe(200);
    const elsewhere = startGateway();
    const answer = await api(elsewhere, method, `admin/realms/gateway/${path}`, body);
    expect([200, 204]).toContain(answer.status);
    expect((await list(key)).status).toBe(expected);
  });
});

/** Everything that is asked of a user's things, in an order that each can be done after the one before. */
const verbs = (
  realm: string,
  id: string,
): readonly (readonly [method: string, path: string, body?: unknown])[] => {
  const at = `admin/realms/${realm}`;
  return [
    ["PATCH", `${at}/users/${id}`, { name: "changed" }],
    ["PATCH", `${at}/users/${id}`, { permissions: [] }],
    ["PATCH", `${at}/users/${id}`, { role: "user" }],
    ["POST", `${at}/keys`, { user: id }],
    ["PATCH", `${at}/keys/k-${id}`, { name: "changed" }],
    ["POST", `${at}/keys/k-${id}/rotate`, {}],
    ["DELETE", `${at}/keys/k-${id}`],
    ["POST", `${at}/pats`, { user: id }],
    ["PATCH", `${at}/pats/p-${id}`, { name: "changed" }],
    ["POST", `${at}/pats/p-${id}/rotate`, {}],
    ["DELETE", `${at}/pats/p-${id}`],
    ["DELETE", `${at}/sessions/s-${id}`],
    ["POST", `${at}/revocations`, { kind: "key", id: `k2-${id}` }],
    ["POST", `${at}/revocations`, { kind: "pat", id: `p2-${id}` }],
    ["POST", `${at}/revocations`, { kind: "session", id: `s2-${id}` }],
    ["DELETE", `${at}/users/${id}/sessions`],
    ["PATCH", `${at}/users/${id}`, { status: "disabled" }],
    ["POST", `${at}/users/${id}/password`, { password: PASSWORD }],
    ["POST", `${at}/revocations`, { kind: "user", id }],
    ["DELETE", `${at}/users/${id}`],
  ];
};

async function addTarget(realm: string, id: string, role: string): Promise<void> {
  await addUser(id, { realm, role });
  for (const n of ["", "2", "3"]) {
    await addApiKey(`k${n}-${id}`, { realm, userId: id });
    await addPat(`p${n}-${id}`, { realm, userId: id });
    const row = { id: `s${n}-${id}`, realm, userId: id, digest: "d", pepper: "p1" };
    const now = Math.floor(Date.now() / 1_000);
    await writes.createSession({ ...row, createdAtSeconds: now, expiresAtSeconds: now + 1_000 });
  }
}

async function snapshot(): Promise<string> {
  const tables = ["users", "passwords", "credentials", "sessions", "revocations", "changes", "audit"];
  const answers = await DB.batch(tables.map((table) => DB.prepare(`SELECT * FROM ${table}`)));
  return JSON.stringify(answers.map(({ results }) => results));
}

describe("an administrator outranks whom they act on, on every verb (CVE-2026-64866 of new-api)", () => {
  const token = async (caller: "admin" | "root" | "ADMIN_TOKEN") =>
    caller === "ADMIN_TOKEN" ? ADMIN_TOKEN : adminKey("actor", caller, BOTH);

  const TABLE = [
    ["admin", "gateway", "public", true],
    ["admin", "gateway", "user", true],
    ["admin", "gateway", "admin", false],
    ["admin", "gateway", "root", false],
    ["admin", "main", "user", true],
    ["admin", "main", "admin", true],
    ["admin", "main", "root", false],
    ["admin", "main", "a role of one site only", false],
    ["root", "gateway", "admin", true],
    ["root", "gateway", "root", false],
    ["root", "main", "root", true],
    ["ADMIN_TOKEN", "gateway", "root", true],
    ["ADMIN_TOKEN", "main", "root", true],
  ] as const;

  it.each(TABLE)("%s over %s's %s: %s", async (caller, realm, role, isAllowed) => {
    const key = await token(caller);
    await addTarget(realm, "target", role);
    for (const [method, path, body] of verbs(realm, "target")) {
      const before = await snapshot();
      const answer = await api(gateway, method, path, body, key);
      const what = `${method} ${path} ${JSON.stringify(body)} ${JSON.stringify(answer.body)}`;
      if (isAllowed) {
        expect([200, 201, 204], what).toContain(answer.status);
        expect(await snapshot(), what).not.toBe(before);
      } else {
        expect([answer.status, (answer.body as Json).code], what).toEqual([403, "rank_insufficient"]);
        expect(await snapshot(), what).toBe(before);
      }
    }
  });

  it.each(TABLE.filter(([, , role]) => !role.includes(" ")))(
    "%s gives %s's %s: %s",
    async (caller, realm, role, isAllowed) => {
      const key = await token(caller);
      const created = await api(gateway, "POST", `admin/realms/${realm}/users`, { id: "new", role }, key);
      expect(created.status).toBe(isAllowed ? 201 : 403);
      await addTarget(realm, "target", "public");
      const raised = await api(gateway, "PATCH", `admin/realms/${realm}/users/target`, { role }, key);
      expect(raised.status).toBe(isAllowed || role === "public" ? 200 : 403);
      const imported = { type: "user", realm, id: "imported", role };
      const answer = await api(gateway, "POST", "admin/import", { records: [imported] }, key);
      expect(answer.status < 300, JSON.stringify(answer.body)).toBe(isAllowed);
      const added = await api(gateway, "GET", `admin/realms/${realm}/users/imported`);
      expect(added.status).toBe(isAllowed ? 200 : 404);
    },
  );

  it("also on their own account: nobody outranks themselves", async () => {
    const key = await token("admin");
    expect(
      (await api(gateway, "PATCH", "admin/realms/gateway/users/actor", { role: "root" }, key)).status,
    ).toBe(403);
    expect((await api(gateway, "PATCH", "admin/realms/gateway/users/actor", { name: "x" }, key)).status).toBe(
      403,
    );
  });

  it.each([
    ["admin", "main", 403],
    ["admin", "gateway", 403],
    ["root", "main", 204],
    ["root", "gateway", 403],
    ["ADMIN_TOKEN", "main", 204],
    ["ADMIN_TOKEN", "gateway", 204],
  ] as const)("%s revoking all of %s: %s", async (caller, realm, status) => {
    const key = await token(caller);
    expect(
      (await api(gateway, "POST", `admin/realms/${realm}/revocations`, { kind: "realm" }, key)).status,
    ).toBe(status);
  });

  it.each([
    ["admin", "main", 204],
    ["admin", "gateway", 403],
    ["root", "gateway", 204],
    ["ADMIN_TOKEN", "gateway", 204],
  ] as const)("%s revoking a token of %s, whosever it is: %s", async (caller, realm, status) => {
    const key = await token(caller);
    const body = { kind: "token", id: "j1" };
    expect((await api(gateway, "POST", `admin/realms/${realm}/revocations`, body, key)).status).toBe(status);
  });
});

describe("nobody gives what they do not hold, in the realm of administrators", () => {
  const code = ({ body }: { readonly body: unknown }) => (body as Json | null)?.code;

  it("permissions", async () => {
    const key = await adminKey("actor", "root", BOTH);
    await writes.updateUser("gateway", "actor", { permissions: ["held"] }, 1);
    const users = "admin/realms/gateway/users";
    const give = (permissions: readonly string[]) =>
      api(gateway, "POST", users, { role: "admin", permissions }, key);
    expect((await give(["held"])).status).toBe(201);
    const refused = await give(["held", "other", "more"]);
    expect(code(refused)).toBe("grant_exceeds_holder");
    expect((refused.body as Json).errors).toEqual([
      { field: "permissions", message: "gives what the caller does not hold: other, more" },
    ]);
    await addUser("target", { realm: "gateway" });
    const change = await api(gateway, "PATCH", `${users}/target`, { permissions: ["other"] }, key);
    expect(code(change)).toBe("grant_exceeds_holder");
    const elsewhere = { permissions: ["other"] };
    expect((await api(gateway, "POST", "admin/realms/main/users", elsewhere, key)).status).toBe(201);
  });

  it("a password, which gives what signing in gives", async () => {
    const key = await adminKey("actor", "root", WRITE);
    const users = "admin/realms/gateway/users";
    const create = (role: string) => api(gateway, "POST", users, { role, password: PASSWORD }, key);
    expect(code(await create("admin"))).toBe("grant_exceeds_holder");
    await addUser("target", { realm: "gateway", role: "admin" });
    const set = () => api(gateway, "POST", `${users}/target/password`, { password: PASSWORD }, key);
    expect(code(await set())).toBe("grant_exceeds_holder");
    expect((await create("user")).status).toBe(201);
    await writes.updateUser("gateway", "target", { role: "user", permissions: ["more"] }, 1);
    expect(code(await set())).toBe("grant_exceeds_holder");
  });
});

describe("ids of another realm or another user are the same 404 as those of nobody (IDOR)", () => {
  it("for administrators, on every verb", async () => {
    await addTarget("main", "target", "user");
    await addTarget("gateway", "else", "user");
    for (const [realm, id] of [
      ["gateway", "target"],
      ["main", "else"],
    ] as const) {
      const reads = ["users", "keys", "pats"].map(
        (path) =>
          [
            "GET",
            `admin/realms/${realm}/${path}/${path === "users" ? "" : `${path.charAt(0)}-`}${id}`,
          ] as const,
      );
      for (const [method, path, body] of [...reads, ...verbs(realm, id)]) {
        const before = await snapshot();
        const answer = await api(gateway, method, path, body);
        const isNamedInBody = method === "POST" && /\/(keys|pats)$/.test(path);
        expect(answer.status, `${method} ${path}`).toBe(isNamedInBody ? answer.status : 404);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(await snapshot(), `${method} ${path}`).toBe(before);
      }
    }
  });

  it("also where the owner has a namesake in the other realm", async () => {
    await addTarget("main", "twin", "user");
    await addUser("twin", { realm: "gateway" });
    const ofThings = verbs("gateway", "twin").filter(
      ([, path, body]) => /-twin/.test(path) || /-twin/.test(JSON.stringify(body ?? "")),
    );
    expect(ofThings).toHaveLength(10);
    for (const [method, path, body] of ofThings) {
      const before = await snapshot();
      expect((await api(gateway, method, path, body)).status, `${method} ${path}`).toBe(404);
      expect(await snapshot(), `${method} ${path}`).toBe(before);
    }
  });

  it("for users, on what is another's", async () => {
    await addTarget("main", "me", "user");
    await addTarget("main", "other", "user");
    const mine = cookie(await addSession("mine", "me"), OWN_ORIGIN);
    const init = (method: string, body?: unknown): RequestInit => ({
      method,
      headers: { ...(mine.headers as Record<string, string>), "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    for (const [method, path, body] of [
      ["GET", "keys/k-other"],
      ["PATCH", "keys/k-other", { name: "x" }],
      ["POST", "keys/k-other/rotate", {}],
      ["DELETE", "keys/k-other"],
      ["GET", "keys/p-me"],
      ["GET", "pats/p-other"],
      ["PATCH", "pats/p-other", { name: "x" }],
      ["POST", "pats/p-other/rotate", {}],
      ["DELETE", "pats/p-other"],
      ["DELETE", "sessions/s-other"],
    ] as const) {
      const before = await snapshot();
      const { status } = await gateway.fetch(`${OWN_ORIGIN}/_gateway/me/${path}`, init(method, body));
      expect(status, `${method} ${path}`).toBe(404);
      expect(await snapshot()).toBe(before);
    }
    expect((await gateway.fetch(`${OWN_ORIGIN}/_gateway/me/keys/k-me`, init("GET"))).status).toBe(200);
  });
});

describe("reads never show a secret or a digest (CVE-2026-64859 of new-api)", () => {
  /** Every name of a member, anywhere. */
  function* names(value: unknown): Generator<string> {
    if (typeof value !== "object" || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (!Array.isArray(value)) yield name;
      yield* names(member);
    }
  }

  it("whatever is stored, on every endpoint that reads", async () => {
    const init = bearer(await accessToken("main", "7"));
    const at = "admin/realms/main";
    const minted: string[] = [];
    const make = async (path: string) => {
      const { status, body } = await api(gateway, "POST", path, path.endsWith("rotate") ? {} : { user: "7" });
      expect(status).toBe(201);
      const { id, key, token } = body as {
        readonly id: string;
        readonly key?: string;
        readonly token?: string;
      };
      minted.push(String(key ?? token));
      return id;
    };
    const ids = { keys: await make(`${at}/keys`), pats: await make(`${at}/pats`) };
    await make(`${at}/keys/${ids.keys}/rotate`);
    await addSession("s1");
    await api(gateway, "POST", `${at}/revocations`, { kind: "token", id: "j1" });
    await gateway.cron(); // seals the audit log

    const stored = [...minted, ...Object.values(secrets), ADMIN_TOKEN, PASSWORD];
    for (const [table, column] of [
      ["credentials", "digest"],
      ["sessions", "digest"],
      ["passwords", "hash"],
    ] as const) {
      const { results } = await DB.prepare(`SELECT ${column} AS value FROM ${table}`).all<{
        value: string;
      }>();
      expect(results.length, table).toBeGreaterThan(0);
      // Of a PHC string, each part that is salt or hash.
      stored.push(
        ...results.flatMap(({ value }) => [value, ...value.split("$").filter((part) => part.length > 15)]),
      );
    }
    const wanted = stored.filter((value) => value !== "");
    expect(wanted.length).toBeGreaterThan(10);

    for (const { method, path, access, id } of ENDPOINTS) {
      if (method !== "GET") continue;
      const kind = path.includes("/pats") ? ids.pats : path.includes("/keys") ? ids.keys : "7";
      const url = `${OWN_ORIGIN}/_gateway${path.replace(":realm", "main").replace(":id", kind)}`;
      const response = await gateway.fetch(url, access.for === "user" ? init : bearer(ADMIN_TOKEN));
      const text = await response.text();
      expect([id, response.status]).toEqual([id, 200]);
      for (const secret of wanted)
        expect(text.includes(secret), `${id} shows ${secret.slice(0, 6)}…`).toBe(false);
      const suspicious = [...names(JSON.parse(text))].filter(
        (name) => /digest|pepper|secret|password|hash|counter/i.test(name) && !ALLOWED_NAMES.includes(name),
      );
      expect(suspicious, id).toEqual([]);
    }
  });
  /** `head_hash` is of the audit log's newest block, to be kept elsewhere. */
  const ALLOWED_NAMES = ["has_password", "head_hash"];
});
