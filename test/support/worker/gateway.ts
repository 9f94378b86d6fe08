// A gateway under test: the whole app over real D1 and KV, with an origin that records what reaches it.
import { createExecutionContext, createScheduledController, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { base64url, SignJWT } from "jose";
import { createApp } from "../../../src/app.ts";
import { mintApiKey, mintPat, mintSessionCookie } from "../../../src/crypto/credential-format.ts";
import { storedDigests } from "../../../src/crypto/digest.ts";
import { IDENTITY, type Identity } from "../../../src/identity.ts";
import {
  createWrites,
  type NewCredential,
  type NewUser,
  type PasswordHash,
} from "../../../src/store/writes.ts";

export const { DB, KV } = env as unknown as { DB: D1Database; KV: KVNamespace };
export const writes = createWrites(DB);

const text = new TextEncoder();
const randomBytes = () => crypto.getRandomValues(new Uint8Array(32));
const tagSecrets = [{ id: "t1", value: randomBytes() }] as const;
export const peppers = [{ id: "p1", value: randomBytes() }] as const;
export const JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough-1234567890";
export const JWT_ISSUER = "https://idp.example.com";

const signingKey = await (async () => {
  const pair = (await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  const jwk = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as JsonWebKey;
  return { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, d: jwk.d, kid: "k1", alg: "ES256" };
})();

/** Opens the admin API. */
export const ADMIN_TOKEN = base64url.encode(randomBytes());

export const secrets = {
  ADMIN_TOKEN,
  POSTERN_TAG_SECRETS: `t1:${base64url.encode(tagSecrets[0].value)}`,
  POSTERN_PEPPERS: `p1:${base64url.encode(peppers[0].value)}`,
  POSTERN_SIGNING_KEYS: JSON.stringify({ keys: [signingKey] }),
  TEST_JWT_SECRET: JWT_SECRET,
};

/** A site behind `api.example.com` whose routes cover what most tests need. */
export const SITE = {
  hosts: ["api.example.com"],
  origin: "service:ORIGIN",
  realm: "main",
  users: "required",
  credentials: { authorization: "bearer", cookies: ["sid"] },
  jwt: { algorithms: ["HS256"], secret: "TEST_JWT_SECRET", issuer: JWT_ISSUER, audience: "api" },
  routes: [
    { path: "/open/*", auth: "none" },
    { path: "/optional/*", auth: "optional" },
    { path: "/private/*", auth: "required" },
    { path: "/admin/*", auth: "required", role: "admin" },
    { path: "/now/*", auth: "required", freshness_seconds: 0 },
    { path: "/watched/*", auth: "required", role: "admin", mode: "observe" },
  ],
} as const;

export const GATEWAY = {
  issuer: "https://auth.example.com",
  environment: "development",
  freshness_seconds: 30,
  realms: {
    main: { sign_in: { min_password_length: 8, scopes: { user: ["notes.read"], admin: ["notes.write"] } } },
    gateway: { sign_in: { min_password_length: 8 } },
  },
};

/** What stands between the app and its stores: counts every operation, and fails or hangs on demand. */
export interface Faults {
  d1: "well" | "failing" | "hanging";
  kv: "well" | "failing" | "hanging";
}
export interface Counts {
  d1: number;
  kv: number;
}

export interface Gateway {
  /** The answer; work in the background goes on unless `settle` is awaited. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Waits for all background work. */
  settle(): Promise<void>;
  /** A run of the cron. */
  cron(): Promise<void>;
  /** What the origin was sent, oldest first. */
  readonly received: Request[];
  readonly faults: Faults;
  readonly counts: Counts;
}

export interface GatewayOptions {
  readonly vars?: Readonly<Record<string, unknown>>;
  /** `null`: none bound. */
  readonly kv?: KVNamespace | null;
  /** `null`: a Worker that only guards. */
  readonly identity?: Identity | null;
  readonly origin?: (request: Request) => Promise<Response> | Response;
}

/** An isolate of its own: nothing is shared with another gateway but D1 and KV. */
export function startGateway({
  vars = {},
  kv = KV,
  identity = IDENTITY,
  origin,
}: GatewayOptions = {}): Gateway {
  const received: Request[] = [];
  const faults: Faults = { d1: "well", kv: "well" };
  const counts: Counts = { d1: 0, kv: 0 };
  const pending: ExecutionContext[] = [];
  const app = createApp(identity);

  async function through<T>(store: keyof Faults, work: () => Promise<T>): Promise<T> {
    counts[store] += 1;
    if (faults[store] === "failing") throw new Error(`${store} is down`);
    if (faults[store] === "hanging") return new Promise<never>(() => {});
    return work();
  }

  /** Statements of a batch have to be D1's own, so each watched one remembers which it stands for. */
  const originals = new WeakMap<object, D1PreparedStatement>();
  const watchedStatement = (statement: D1PreparedStatement): D1PreparedStatement => {
    const watched = {
      bind: (...values: unknown[]) => watchedStatement(statement.bind(...values)),
      first: (column?: string) =>
        through("d1", () => (column === undefined ? statement.first() : statement.first(column))),
      all: () => through("d1", () => statement.all()),
      run: () => through("d1", () => statement.run()),
      raw: () => through("d1", () => statement.raw()),
    } as unknown as D1PreparedStatement;
    originals.set(watched, statement);
    return watched;
  };
  const watchedD1 = (database: D1Database | D1DatabaseSession) => ({
    prepare: (query: string) => watchedStatement(database.prepare(query)),
    batch: (statements: D1PreparedStatement[]) =>
      through("d1", () =>
        database.batch(statements.map((statement) => originals.get(statement) ?? statement)),
      ),
    withSession: (bookmark: string) => watchedD1((database as D1Database).withSession(bookmark)),
  });
  const bindings = {
    GATEWAY,
    SITE_TEST: SITE,
    ...secrets,
    ...vars,
    ORIGIN: {
      fetch: async (request: Request, init?: RequestInit) => {
        const outbound = new Request(request, init);
        received.push(outbound);
        return origin === undefined ? new Response("from the origin") : origin(outbound);
      },
    },
    DB: watchedD1(DB),
    ...(kv !== null && {
      KV: {
        get: (key: string, type: "json") => through("kv", () => kv.get(key, type)),
        put: (key: string, value: string, options: KVNamespacePutOptions) =>
          through("kv", () => kv.put(key, value, options)),
      },
    }),
  };

  return {
    received,
    faults,
    counts,
    async fetch(path, init) {
      const execution = createExecutionContext();
      pending.push(execution);
      const request = new Request(new URL(path, "https://api.example.com"), init);
      if (app.fetch === undefined) throw new Error("the app has no fetch");
      return app.fetch(request as Parameters<typeof app.fetch>[0], bindings as never, execution);
    },
    async cron() {
      if (app.scheduled === undefined) throw new Error("the app has no scheduled");
      await app.scheduled(createScheduledController(), bindings as never, createExecutionContext());
    },
    async settle() {
      for (const execution of pending.splice(0)) await waitOnExecutionContext(execution);
    },
  };
}

/** One call of the control plane, JSON both ways. `body` is `null` where the answer has none. */
export async function api(
  gateway: Gateway,
  method: string,
  path: string,
  body?: unknown,
  token: string | null = ADMIN_TOKEN,
): Promise<{ readonly status: number; readonly body: unknown; readonly headers: Headers }> {
  const headers = new Headers();
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  if (body !== undefined) headers.set("content-type", "application/json");
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await gateway.fetch(`https://auth.example.com/_gateway/${path}`, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? null : JSON.parse(text) };
}

const TABLES = [
  "credentials",
  "sessions",
  "passwords",
  "users",
  "changes",
  "revocations",
  "rate_windows",
  "throttles",
  "sign_in_failures",
  "audit",
  "audit_blocks",
];

/** Empties every table and all of KV. */
export async function emptyStores(): Promise<void> {
  for (const table of TABLES) {
    await DB.prepare(`DELETE FROM ${table}`).run();
  }
  await DB.prepare("DELETE FROM sqlite_sequence").run();
  await DB.prepare("UPDATE meta SET value = '0' WHERE key = 'floor'").run();
  for (const { name } of (await KV.list()).keys) await KV.delete(name);
}

const nowSeconds = () => Math.floor(Date.now() / 1_000);

export async function addUser(
  id: string,
  overrides: Partial<NewUser> = {},
  password?: PasswordHash,
): Promise<void> {
  const times = { createdAtSeconds: nowSeconds(), updatedAtSeconds: nowSeconds() };
  await writes.createUser({ realm: "main", id, ...times, ...overrides }, password);
}

/** One that was made elsewhere, in the clear. */
export async function addCredential(
  kind: "api_key" | "pat",
  id: string,
  secret: string,
  overrides: Partial<NewCredential> = {},
): Promise<string> {
  const [digest = ""] = await storedDigests(secret, peppers);
  const row = { id, kind, realm: "main", userId: "7", digest, pepper: "p1", createdAtSeconds: nowSeconds() };
  await writes.createCredential({ ...row, ...overrides });
  return secret;
}

/** @returns the key in the clear */
export async function addApiKey(id: string, overrides: Partial<NewCredential> = {}): Promise<string> {
  return addCredential("api_key", id, await mintApiKey("sk-", tagSecrets), overrides);
}

/** @returns the PAT in the clear */
export async function addPat(id: string, overrides: Partial<NewCredential> = {}): Promise<string> {
  return addCredential("pat", id, await mintPat(tagSecrets), overrides);
}

/** @returns the value of the cookie */
export async function addSession(id: string, userId = "7"): Promise<string> {
  const { value, secret } = await mintSessionCookie(id, tagSecrets);
  const [digest = ""] = await storedDigests(secret, peppers);
  const row = { id, realm: "main", userId, digest, pepper: "p1", createdAtSeconds: nowSeconds() };
  await writes.createSession({ ...row, expiresAtSeconds: nowSeconds() + 86_400 });
  return value;
}

/** A JWT that the test site accepts. `undefined` among the claims leaves a claim out. */
export function signJwt(claims: Record<string, unknown> = {}): Promise<string> {
  const times = { iat: nowSeconds(), exp: nowSeconds() + 3_600 };
  return new SignJWT({ iss: JWT_ISSUER, aud: "api", sub: "7", ...times, ...claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(text.encode(JWT_SECRET));
}

export const bearer = (token: string, headers: Record<string, string> = {}): RequestInit => ({
  headers: { authorization: `Bearer ${token}`, ...headers },
});
