// A configuration that loads, with real random secrets, and ways to change single parts of it.
import { type ConfigIssue, type LoadResult, loadConfig } from "../../../src/config/load.ts";
import type { Config } from "../../../src/config/types.ts";

export type Table = Readonly<Record<string, unknown>>;

export const JWT_SECRET = randomText(32);

const binding = { prepare: () => undefined, fetch: () => undefined, limit: () => undefined };

export function randomText(bytes: number): string {
  return base64Url(crypto.getRandomValues(new Uint8Array(bytes)));
}

export function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

export async function privateJwk(algorithm: "ES256" | "EdDSA", kid: string): Promise<JsonWebKey> {
  const name = algorithm === "ES256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: "Ed25519" };
  const pair = (await crypto.subtle.generateKey(name, true, ["sign", "verify"])) as CryptoKeyPair;
  const { kty, crv, x, y, d } = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as unknown as Record<
    string,
    string
  >;
  return { kty, crv, x, ...(y === undefined ? {} : { y }), d, kid, alg: algorithm } as JsonWebKey;
}

const signingKeys = JSON.stringify({
  keys: [await privateJwk("ES256", "k1"), await privateJwk("EdDSA", "k2")],
});

export const GATEWAY: Table = { issuer: "https://auth.example.com", hosts: ["auth.example.com"] };

export const JWT: Table = {
  algorithms: ["HS256"],
  secret: "FILES_JWT",
  issuer: "https://idp.example.com",
  audience: "files",
};

export const SITE: Table = {
  hosts: ["files.example.com"],
  origin: "https://files.internal",
  jwt: JWT,
  routes: [{ path: "/*" }],
};

export const ENV: Table = {
  GATEWAY,
  SITE_FILES: SITE,
  DB: binding,
  FILES_JWT: JWT_SECRET,
  POSTERN_TAG_SECRETS: `t1:${randomText(32)}`,
  POSTERN_PEPPERS: `p1:${randomText(32)}`,
  POSTERN_SIGNING_KEYS: signingKeys,
  SERVICE: binding,
  RL: binding,
};

/** The environment with some variables changed; `undefined` takes one out. */
export function withEnv(changes: Table): Table {
  const env: Record<string, unknown> = { ...ENV, ...changes };
  for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name];
  return env;
}

export function withSite(changes: Table): Table {
  return withEnv({ SITE_FILES: { ...SITE, ...changes } });
}

export function withJwt(changes: Table): Table {
  return withSite({ jwt: { ...JWT, ...changes } });
}

export function loaded(env: Table): Config {
  const result = loadConfig(env);
  if (!result.ok) throw new Error(texts(result.issues).join("\n"));
  return result.config;
}

export function warningsOf(env: Table): readonly string[] {
  const result = loadConfig(env);
  if (!result.ok) throw new Error(texts(result.issues).join("\n"));
  return texts(result.warnings);
}

/** Issues as `key: message`; empty when the configuration loads. */
export function issuesOf(env: Table): readonly string[] {
  const result: LoadResult = loadConfig(env);
  return result.ok ? [] : texts(result.issues);
}

function texts(issues: readonly ConfigIssue[]): readonly string[] {
  return issues.map(({ key, message }) => `${key}: ${message}`);
}
