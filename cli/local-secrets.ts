// Random secrets for development, in the `.dev.vars` file that `wrangler dev` reads. Production has its own: see the README.
import { randomBytes } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";

export type LocalSecrets = Readonly<Record<string, string>>;

const GENERATORS: Readonly<Record<string, () => string | Promise<string>>> = {
  POSTERN_TAG_SECRETS: namedSecret,
  POSTERN_PEPPERS: namedSecret,
  POSTERN_SIGNING_KEYS: signingKeys,
  ADMIN_TOKEN: randomText,
  DEMO_JWT_SECRET: randomText,
};

const HEADING = `# Random secrets of this machine, made by \`npm start\`. Kept out of git; never use them in production.
`;

/**
 * The secrets in `file`. Missing ones are made and appended, with the file if need be; what is there stays as it is.
 *
 * @returns all secrets of the file, and the names of the new ones
 */
export async function ensureLocalSecrets(
  file: string,
): Promise<{ readonly secrets: LocalSecrets; readonly made: readonly string[] }> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const present = parseEnv(text);
  const made = Object.keys(GENERATORS).filter((name) => !present[name]);
  let added = text === "" ? HEADING : text.endsWith("\n") ? "" : "\n";
  for (const name of made) added += `${name}='${await GENERATORS[name]?.()}'\n`;
  if (made.length > 0) await appendFile(file, added, { mode: 0o600 });

  return { secrets: secretsOf(text + added), made };
}

/** What a `.dev.vars` file says. */
export function secretsOf(text: string): LocalSecrets {
  const secrets: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseEnv(text))) secrets[name] = value ?? "";
  return secrets;
}

function randomText(): string {
  return randomBytes(32).toString("base64url");
}

function namedSecret(): string {
  return `local:${randomText()}`;
}

/** A private JWK set with one ES256 key. */
async function signingKeys(): Promise<string> {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = await exportJWK(privateKey);
  return JSON.stringify({
    keys: [{ ...jwk, kid: await calculateJwkThumbprint(jwk), alg: "ES256", use: "sig" }],
  });
}
