// A site as its owner would run it: an HTTP server of one's own that trusts nothing but the signed user context, behind
// `wrangler dev`, with people and credentials in its database.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createRemoteJWKSet, type JWTPayload, jwtVerify, SignJWT } from "jose";
import type { LocalSecrets } from "../../../cli/local-secrets.ts";
import type { NamedSecret } from "../../../src/config/secrets.ts";
import { mintApiKey, mintPat, mintSessionCookie } from "../../../src/crypto/credential-format.ts";
import { storedDigests } from "../../../src/crypto/digest.ts";
import { createWrites, type NewCredential, type NewUser } from "../../../src/store/writes.ts";
import { close, listen } from "./recording-origin.ts";
import { startWranglerDev, type WranglerDev } from "./wrangler-dev.ts";

const ISSUER = "https://auth.example";
const IDP = "https://idp.example";
const REALM = "people";

export interface GuardedSite {
  readonly dev: WranglerDev;
  readonly origin: Origin;
  readonly mint: Mint;
  stop(): Promise<void>;
}

export interface Origin {
  readonly server: Server;
  readonly address: string;
  /** How many requests came, trusted or not. */
  count(): number;
  /** What the user context of a request says; rejects when there is none that can be trusted. */
  verify(request: IncomingMessage): Promise<JWTPayload>;
}

/** Credentials of the site, in the clear. */
export interface Mint {
  readonly apiKey: Readonly<Record<"user" | "admin" | "disabled" | "expired" | "banned", string>>;
  /** Of user 7. */
  readonly pat: string;
  /** Well-formed and tagged, but of nobody. */
  readonly unknownKey: string;
  /** The value of the cookie `sid`, of user 7. */
  readonly session: string;
  jwt(claims: Readonly<Record<string, unknown>>): Promise<string>;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, claims: JWTPayload) => unknown;

const SITE = {
  realm: REALM,
  users: "required",
  credentials: { cookies: ["sid"] },
  jwt: { algorithms: ["HS256"], secret: "DEMO_JWT_SECRET", issuer: IDP, audience: "api" },
  routes: [
    { path: "/open/*", auth: "none" },
    { path: "/maybe/*", auth: "optional" },
    { path: "/things/*", auth: "required" },
    { path: "/reports/*", methods: ["GET", "PUT"], auth: "required", scopes: ["reports.read"] },
    { path: "/admin/*", auth: "required", role: "admin" },
  ],
};

/** `/down/*` leads to an origin that does not listen. */
const DOWN = { base_path: "/down", origin: "http://127.0.0.1:1", routes: [{ path: "/*", auth: "none" }] };

/** @param handle answers requests whose user context is good; all others get 403 */
export async function startGuardedSite(handle: Handler): Promise<GuardedSite> {
  let count = 0;
  let keys: ReturnType<typeof createRemoteJWKSet> | null = null;
  const verify = async (request: IncomingMessage) => {
    const token = request.headers["x-user-context"];
    if (keys === null || typeof token !== "string") throw new Error("no user context");
    const { payload } = await jwtVerify(token, keys, {
      issuer: ISSUER,
      audience: "api",
      typ: "user-context+jwt",
      algorithms: ["ES256"],
    });
    return payload;
  };
  const { server, port } = await listen(async (request, response) => {
    count += 1;
    const claims = await verify(request).catch(() => null);
    if (claims === null) response.writeHead(403).end("not through the gateway");
    else await handle(request, response, claims);
  });

  const vars = {
    GATEWAY: { issuer: ISSUER, environment: "development" },
    SITE_API: { ...SITE, origin: `http://127.0.0.1:${port}` },
    SITE_DOWN: DOWN,
  };
  let mint: Mint | null = null;
  try {
    const seed = async (database: D1Database, secrets: LocalSecrets) => {
      mint = await fill(database, secrets);
    };
    const dev = await startWranglerDev({ vars, seed });
    keys = createRemoteJWKSet(new URL(`${dev.address}/_gateway/jwks.json`));
    if (mint === null) throw new Error("not seeded");
    const stop = async () => {
      await dev.stop();
      await close(server);
    };
    const origin = { server, address: `http://127.0.0.1:${port}`, count: () => count, verify };
    return { dev, origin, mint, stop };
  } catch (error) {
    await close(server);
    throw error;
  }
}

async function fill(database: D1Database, secrets: LocalSecrets): Promise<Mint> {
  const writes = createWrites(database);
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const tagSecrets = [namedSecret(secrets.POSTERN_TAG_SECRETS)];
  const pepper = namedSecret(secrets.POSTERN_PEPPERS);
  const digestOf = async (secret: string) => (await storedDigests(secret, [pepper]))[0] ?? "";

  const addUser = (id: string, more: Partial<NewUser>) =>
    writes.createUser({
      realm: REALM,
      id,
      createdAtSeconds: nowSeconds,
      updatedAtSeconds: nowSeconds,
      ...more,
    });
  const add = async (kind: "api_key" | "pat", id: string, more: Partial<NewCredential> = {}) => {
    const secret = await (kind === "pat" ? mintPat(tagSecrets) : mintApiKey("sk-", tagSecrets));
    const row = { id, kind, realm: REALM, userId: "7", pepper: pepper.id, createdAtSeconds: nowSeconds };
    await writes.createCredential({ ...row, digest: await digestOf(secret), ...more });
    return secret;
  };

  await addUser("7", { name: "Ada", role: "user" });
  await addUser("1", { name: "Grace", role: "admin" });
  await addUser("13", { status: "disabled" });
  const apiKey = {
    user: await add("api_key", "key-7", { scopes: ["reports.read"] }),
    admin: await add("api_key", "key-1", { userId: "1" }),
    disabled: await add("api_key", "key-disabled", { status: "disabled" }),
    expired: await add("api_key", "key-expired", { expiresAtSeconds: nowSeconds - 1 }),
    banned: await add("api_key", "key-13", { userId: "13" }),
  };
  const session = await mintSessionCookie("session-7", tagSecrets);
  await writes.createSession({
    id: "session-7",
    realm: REALM,
    userId: "7",
    digest: await digestOf(session.secret),
    pepper: pepper.id,
    createdAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 86_400,
  });
  const jwtSecret = new TextEncoder().encode(secrets.DEMO_JWT_SECRET);
  return {
    apiKey,
    pat: await add("pat", "pat-7"),
    unknownKey: await mintApiKey("sk-", tagSecrets),
    session: session.value,
    jwt: (claims) =>
      new SignJWT({ iss: IDP, aud: "api", iat: nowSeconds, exp: nowSeconds + 3_600, ...claims })
        .setProtectedHeader({ alg: "HS256", typ: "JWT" })
        .sign(jwtSecret),
  };
}

function namedSecret(secret: string | undefined): NamedSecret {
  const [id = "", value = ""] = secret?.split(":") ?? [];
  return { id, value: new Uint8Array(Buffer.from(value, "base64url")) };
}
