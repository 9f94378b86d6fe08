// A gateway under test: the whole app over real D1 and KV, with an origin that records what reaches it.
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { base64url, SignJWT } from "jose";
import { createApp } from "../../../src/app.ts";
import { mintApiKey, mintPat } from "../../../src/crypto/credential-format.ts";
import { storedDigests } from "../../../src/crypto/digest.ts";
import { createWrites, type NewCredential, type NewUser } from "../../../src/store/writes.ts";

export const { DB, KV } = env as unknown as { DB: D1Database; KV: KVNamespace };
export const writes = createWrites(DB);

const text = new TextEncoder();
const randomBytes = () => crypto.getRandomValues(new Uint8Array(32));
const tagSecrets = [{ id: "t1", value: randomBytes() }] as const;
const peppers = [{ id: "p1", value: randomBytes() }] as const;
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

export const secrets = {
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
  /** What the origin was sent, oldest first. */
  readonly received: Request[];
  readonly faults: Faults;
  readonly counts: Counts;
}

export interface GatewayOptions {
  readonly vars?: Readonly<Record<string, unknown>>;
  /** `null`: none bound. */
  readonly kv?: KVNamespace | null;
  readonly origin?: (request: Request) => Promise<Response> | Response;
}

/** An isolate of its own: nothing is shared with another gateway but D1 and KV. */
export function startGateway({ vars = {}, kv = KV, origin }: GatewayOptions = {}): Gateway {
  const received: Request[] = [];
  const faults: Faults = { d1: "well", kv: "well" };
  const counts: Counts = { d1: 0, kv: 0 };
  const pending: ExecutionContext[] = [];
  const app = createApp();

  async function through<T>(store: keyof Faults, work: () => Promise<T>): Promise<T> {
    counts[store] += 1;
    if (faults[store] === "failing") throw new Error(`${store} is down`);
    if (faults[store] === "hanging") return new Promise<never>(() => {});
    return work();
  }

  /** Statements of a batch have to be D1's own; those run by themselves are counted one by one. */
  const watchedStatement = (statement: D1PreparedStatement): object => ({
    bind: (...values: unknown[]) => watchedStatement(statement.bind(...values)),
    first: () => through("d1", () => statement.first()),
  });
  const watchedD1 = (database: D1Database | D1DatabaseSession) => ({
    prepare: (query: string) => {
      const statement = database.prepare(query);
      return query.startsWith("INSERT INTO rate_windows") ? watchedStatement(statement) : statement;
    },
    batch: (statements: D1PreparedStatement[]) => through("d1", () => database.batch(statements)),
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
    async settle() {
      for (const execution of pending.splice(0)) await waitOnExecutionContext(execution);
    },
  };
}

/** Empties every table and all of KV. */
export async function emptyStores(): Promise<void> {
  for (const table of ["credentials", "sessions", "users", "changes", "revocations", "rate_windows"]) {
    await DB.prepare(`DELETE FROM ${table}`).run();
  }
  await DB.prepare("DELETE FROM sqlite_sequence").run();
  await DB.prepare("UPDATE meta SET value = '0' WHERE key = 'floor'").run();
  for (const { name } of (await KV.list()).keys) await KV.delete(name);
}

const nowSeconds = () => Math.floor(Date.now() / 1_000);

export async function addUser(id: string, overrides: Partial<NewUser> = {}): Promise<void> {
  const times = { createdAtSeconds: nowSeconds(), updatedAtSeconds: nowSeconds() };
  await writes.createUser({ realm: "main", id, ...times, ...overrides });
}

async function addCredential(
  kind: "api_key" | "pat",
  id: string,
  secret: string,
  overrides: Partial<NewCredential>,
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
  const secret = "s".repeat(32);
  const [digest = ""] = await storedDigests(secret, peppers);
  const row = { id, realm: "main", userId, digest, pepper: "p1", createdAtSeconds: nowSeconds() };
  await writes.createSession({ ...row, expiresAtSeconds: nowSeconds() + 86_400 });
  return `${id}.${secret}`;
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
