// The gateway as it is measured: its configuration, its secrets, its database, and credentials that are good there.
import { createHmac, generateKeyPairSync, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { NamedSecret } from "../src/config/secrets.ts";
import { mintApiKey, mintPat } from "../src/crypto/credential-format.ts";
import { storedDigests } from "../src/crypto/digest.ts";

/** How many callers take turns; each has one credential of each kind. */
export const CALLERS = 100;
const REALM = "bench";
const ISSUED_AT_SECONDS = Math.floor(Date.now() / 1_000) - 60;
const TOKEN_LIFE_SECONDS = 3 * 3_600;
const ROWS_A_VARIABLE = 30;

export interface Secrets {
  readonly jwtSecret: string;
  readonly tag: NamedSecret;
  readonly pepper: NamedSecret;
  readonly signingKey: object;
}

export interface Credentials {
  readonly jwts: readonly string[];
  readonly apiKeys: readonly string[];
  readonly pats: readonly { readonly token: string; readonly userId: string }[];
}

export function newSecrets(): Secrets {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    jwtSecret: randomBytes(32).toString("base64url"),
    tag: { id: "t1", value: new Uint8Array(randomBytes(32)) },
    pepper: { id: "p1", value: new Uint8Array(randomBytes(32)) },
    signingKey: { ...privateKey.export({ format: "jwk" }), kid: "s1", alg: "ES256" },
  };
}

/** Variables and secrets of a gateway with one site of so many routes, in front of an origin on this machine. */
export function gatewayVars(
  originPort: number,
  routeCount: number,
  secrets: Secrets,
): Record<string, unknown> {
  const named = ({ id, value }: NamedSecret) => `${id}:${Buffer.from(value).toString("base64url")}`;
  const vars: Record<string, unknown> = {
    GATEWAY: { issuer: "https://auth.example.com", freshness_seconds: 30 },
    SITE_BENCH: {
      hosts: ["api.example.com"],
      origin: `http://127.0.0.1:${originPort}`,
      realm: REALM,
      users: "required",
      jwt: {
        algorithms: ["HS256"],
        secret: "JWT_SECRET",
        issuer: "https://idp.example.com",
        audience: "api",
      },
    },
    JWT_SECRET: secrets.jwtSecret,
    POSTERN_TAG_SECRETS: named(secrets.tag),
    POSTERN_PEPPERS: named(secrets.pepper),
    POSTERN_SIGNING_KEYS: JSON.stringify({ keys: [secrets.signingKey] }),
  };
  // A variable may be 5 KB long; a site with more routes than fit goes on in further ones.
  const rows = routes(routeCount);
  for (let at = 0; at < rows.length; at += ROWS_A_VARIABLE) {
    vars[`SITE_BENCH__ROUTES_${at}`] = { routes: rows.slice(at, at + ROWS_A_VARIABLE) };
  }
  return vars;
}

/** The measured rows stand last; the others are there to be passed by. */
function routes(count: number): readonly object[] {
  const measured = [
    { path: "/api/v1/items/:id", methods: ["GET"], auth: "required", role: "user", scopes: ["read"] },
    { path: "/api/v1/live/:id", methods: ["GET"], auth: "required", role: "user", freshness_seconds: 0 },
    { path: "/api/v1/public/:id", methods: ["GET"], auth: "none" },
  ];
  const others = Array.from({ length: count - measured.length }, (_, index) => ({
    path: `/api/v1/${index % 2 === 0 ? "items" : "things"}/:id/kind-${index}/*`,
    methods: ["GET", "POST"],
    auth: "required",
  }));
  return [...others, ...measured];
}

/**
 * Makes a database with so many API keys, and one user, key and PAT for each caller. Keys beyond the callers' are rows
 * like theirs whose secret nobody knows.
 */
export async function seed(file: string, keyCount: number, secrets: Secrets): Promise<Credentials> {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000");
  const migrations = new URL("../migrations/", import.meta.url);
  for (const name of readdirSync(migrations).sort()) {
    if (name.endsWith(".sql")) database.exec(readFileSync(fileURLToPath(new URL(name, migrations)), "utf8"));
  }
  const addUser = database.prepare(
    "INSERT INTO users (realm, id, username, name, role, created_at_seconds, updated_at_seconds) VALUES (?, ?, ?, ?, 'user', ?, ?)",
  );
  const addCredential = database.prepare(
    `INSERT INTO credentials (id, kind, realm, user_id, name, digest, pepper, scopes, created_at_seconds)
     VALUES (?, ?, ?, ?, 'laptop', ?, ?, '["read"]', ?)`,
  );
  const add = async (kind: "api_key" | "pat", userId: string, value: string) => {
    const [digest = ""] = await storedDigests(value, [secrets.pepper]);
    addCredential.run(`${kind}-${userId}`, kind, REALM, userId, digest, secrets.pepper.id, ISSUED_AT_SECONDS);
  };

  const credentials = {
    jwts: [] as string[],
    apiKeys: [] as string[],
    pats: [] as Credentials["pats"][number][],
  };
  database.exec("BEGIN");
  for (let index = 0; index < CALLERS; index++) {
    const userId = String(index);
    addUser.run(REALM, userId, `user-${index}`, `User ${index}`, ISSUED_AT_SECONDS, ISSUED_AT_SECONDS);
    const apiKey = await mintApiKey("sk-", [secrets.tag]);
    const token = await mintPat([secrets.tag]);
    await add("api_key", userId, apiKey);
    await add("pat", userId, token);
    credentials.jwts.push(jwt(index, secrets.jwtSecret, `token-${index}`));
    credentials.apiKeys.push(apiKey);
    credentials.pats.push({ token, userId });
  }
  if (keyCount > CALLERS) addUnusedKeys(database, keyCount - CALLERS, secrets.pepper.id);
  database.exec("COMMIT");
  database.close();
  return credentials;
}

function addUnusedKeys(database: DatabaseSync, count: number, pepperId: string): void {
  database.exec(`
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count})
    INSERT INTO credentials (id, kind, realm, user_id, name, digest, pepper, scopes, created_at_seconds)
    SELECT 'unused-' || n, 'api_key', '${REALM}', n % ${CALLERS}, 'laptop', lower(hex(randomblob(32))),
      '${pepperId}', '["read"]', ${ISSUED_AT_SECONDS}
    FROM numbers`);
}

let tokenCount = 0;

/** A good token that no gateway has seen. */
export function newToken({ jwtSecret }: Secrets): string {
  return jwt(tokenCount++ % CALLERS, jwtSecret, `new-${tokenCount}`);
}

function jwt(index: number, secret: string, tokenId: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    iss: "https://idp.example.com",
    aud: "api",
    sub: String(index),
    name: `User ${index}`,
    role: "user",
    scope: "read",
    jti: tokenId,
    iat: ISSUED_AT_SECONDS,
    exp: ISSUED_AT_SECONDS + TOKEN_LIFE_SECONDS,
  };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** A request of 14 headers, as a browser's script sends it through Cloudflare. */
export function requestBytes(path: string, credential: readonly string[]): Buffer {
  const filler = ["Priority: u=1, i", "Sec-GPC: 1"].slice(credential.length);
  const lines = [
    `GET ${path} HTTP/1.1`,
    "Host: api.example.com",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Accept: application/json, text/plain, */*",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Origin: https://app.example.com",
    "Referer: https://app.example.com/items",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-site",
    "Cookie: theme=dark; lang=en",
    "CF-Connecting-IP: 203.0.113.7",
    "CF-Ray: 9a1b2c3d4e5f6789-FRA",
    ...credential,
    ...filler,
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}
