// `npm run mint`: makes an API key or a PAT, shows it once, and records it in D1, with its owner if asked to.
//   --realm NAME --user ID       the owner
//   --new-user                   the owner is new: --name, --role (default user), --permission …
//   --kind api_key|pat           default api_key
//   --scope …, --expires-days N  of the key; without them: no scopes, no end
//   --remote                     the deployed database instead of the local one; --env NAME as in wrangler.toml
//   --secrets FILE               where POSTERN_TAG_SECRETS and POSTERN_PEPPERS are (default: the local .dev.vars);
//                                the environment counts first
//   --config FILE, --state DIR   as in `npm start`
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { createIssues } from "../src/config/issue.ts";
import { loadConfig } from "../src/config/load.ts";
import { type GatewaySecrets, readGatewaySecrets } from "../src/config/secrets.ts";
import type { Config } from "../src/config/types.ts";
import { mintApiKey, mintPat } from "../src/crypto/credential-format.ts";
import { storedDigests } from "../src/crypto/digest.ts";
import { createWrites } from "../src/store/writes.ts";
import { readFlags } from "./flags.ts";
import { localState } from "./local-state.ts";
import { parsePolicyFile } from "./policy-file.ts";
import { issueLines } from "./policy-table.ts";
import { createSqlRecorder } from "./sql.ts";
import { standIn } from "./stand-ins.ts";
import { keepToThisMachine, runWrangler } from "./wrangler.ts";

const USAGE = `usage: npm run mint -- --realm NAME --user ID [--kind api_key|pat] [--scope SCOPE …] [--expires-days N]
  with a new user:      --new-user [--name NAME] [--role ROLE] [--permission PERMISSION …]
  in the deployed D1:   --remote --env NAME [--secrets FILE]
  elsewhere:            [--config FILE] [--state DIR]`;

const flags = readFlags(
  {
    realm: { type: "string" },
    user: { type: "string" },
    "new-user": { type: "boolean", default: false },
    name: { type: "string" },
    role: { type: "string" },
    permission: { type: "string", multiple: true, default: [] },
    kind: { type: "string", default: "api_key" },
    scope: { type: "string", multiple: true, default: [] },
    "expires-days": { type: "string" },
    remote: { type: "boolean", default: false },
    env: { type: "string" },
    secrets: { type: "string" },
    config: { type: "string" },
    state: { type: "string" },
  },
  USAGE,
);
const local = localState(flags);

try {
  await main();
} catch (error) {
  console.error(`postern: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const { realm, user, kind } = flags;
  if (!realm || !user) throw new Error(`--realm and --user are needed\n${USAGE}`);
  if (kind !== "api_key" && kind !== "pat") throw new Error("--kind is api_key or pat");
  refuseUserFlags();
  const config = await readConfig();
  const role = flags.role ?? "user";
  checkOwner(config, realm, flags["new-user"] ? role : null);
  const secrets = await readSecrets();
  const [pepper] = secrets.peppers;
  if (pepper === undefined) throw new Error("POSTERN_PEPPERS is missing");

  const nowSeconds = Math.floor(Date.now() / 1000);
  const credential =
    kind === "pat"
      ? await mintPat(secrets.tagSecrets)
      : await mintApiKey(config.gateway.apiKeyPrefix, secrets.tagSecrets);
  const [digest = ""] = await storedDigests(credential, [pepper]);
  const id = `${kind === "pat" ? "pat" : "key"}_${digest.slice(0, 16)}`;

  const recorder = createSqlRecorder();
  const writes = createWrites(recorder.database);
  if (flags["new-user"]) {
    await writes.createUser({
      realm,
      id: user,
      name: flags.name ?? null,
      role,
      permissions: flags.permission,
      createdAtSeconds: nowSeconds,
      updatedAtSeconds: nowSeconds,
    });
  }
  await writes.createCredential({
    id,
    kind,
    realm,
    userId: user,
    digest,
    pepper: pepper.id,
    scopes: flags.scope,
    createdAtSeconds: nowSeconds,
    expiresAtSeconds: expiry(nowSeconds),
  });
  await execute(recorder.sql()).catch((error: unknown) => {
    throw new Error(refusalInWords(error, realm, user));
  });
  console.log(`${kind} ${id} of ${realm}/${user}, shown this once:\n${credential}`);
}

async function readSecrets(): Promise<GatewaySecrets> {
  const text = await readFile(flags.secrets ?? local.secretsFile, "utf8").catch((error) => {
    if (flags.secrets === undefined) return "";
    throw error;
  });
  const values: Readonly<Record<string, string | undefined>> = { ...parseEnv(text), ...process.env };
  const issues = createIssues();
  const needs = { tags: true, digests: true, algorithms: [] };
  const secrets = readGatewaySecrets(needs, ({ name }) => values[name], issues);
  const [problem] = issues.problems;
  if (problem !== undefined) throw new Error(`${problem.key}: ${problem.message}`);
  return secrets;
}

function refuseUserFlags(): void {
  if (flags["new-user"]) return;
  const given = [
    ...(flags.name === undefined ? [] : ["--name"]),
    ...(flags.role === undefined ? [] : ["--role"]),
    ...(flags.permission.length === 0 ? [] : ["--permission"]),
  ];
  if (given.length > 0) throw new Error(`only a new user takes ${given.join(", ")}: add --new-user`);
}

/** The configuration, with stand-ins for secrets: of a deployment they are not at hand. */
async function readConfig(): Promise<Config> {
  const environment = flags.env ?? null;
  try {
    const { bindings, variables } = parsePolicyFile(await readFile(local.config, "utf8"), environment);
    const loaded = loadConfig({ ...bindings, ...variables }, standIn);
    if (!loaded.ok) throw new Error(["it is not valid", ...issueLines(loaded.issues)].join("\n"));
    return loaded.config;
  } catch (error) {
    throw new Error(`${local.config}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @param role of a new user; it must be a step of the ladder of each site of the realm */
function checkOwner(config: Config, realm: string, role: string | null): void {
  const sites = config.sites.filter((site) => site.realm.name === realm);
  if (sites.length === 0) {
    const known = [...new Set(config.sites.map((site) => site.realm.name))];
    throw new Error(`there is no realm ${realm}; the realms are ${known.join(", ") || "none yet"}`);
  }
  for (const { name, ladder } of sites) {
    if (role === null || ladder.includes(role)) continue;
    throw new Error(`${role} is no role of site ${name}: its ladder is ${ladder.join(" < ")}`);
  }
}

/** What the database refused, as far as it is known why. */
function refusalInWords(error: unknown, realm: string, user: string): string {
  const text = error instanceof Error ? error.message : String(error);
  if (/FOREIGN KEY constraint failed/i.test(text)) {
    return `there is no user ${user} in realm ${realm}: add --new-user`;
  }
  if (/UNIQUE constraint failed: users\./i.test(text)) {
    return `user ${user} exists already in realm ${realm}: leave --new-user out`;
  }
  if (!/no such table/i.test(text)) return text;
  return flags.remote
    ? "the database has no tables: run npx wrangler d1 migrations apply DB --remote first"
    : "the local database has no tables: run npm start or npm run migrate first";
}

function expiry(nowSeconds: number): number | null {
  const days = flags["expires-days"];
  if (days === undefined) return null;
  if (!/^[1-9][0-9]{0,4}$/.test(days)) throw new Error("--expires-days wants a whole number");
  return nowSeconds + Number(days) * 86_400;
}

/** In one file, which D1 takes as a whole or not at all. */
async function execute(sql: string): Promise<void> {
  if (!flags.remote) keepToThisMachine();
  const directory = await mkdtemp(join(tmpdir(), "postern-mint-"));
  try {
    const file = join(directory, "mint.sql");
    await writeFile(file, sql, { mode: 0o600 });
    const environment = flags.env === undefined ? [] : ["--env", flags.env];
    const target = flags.remote ? ["--remote"] : ["--local", "--persist-to", local.dataDirectory];
    const args = ["d1", "execute", "DB", "--yes", "--config", local.config, "--file", file];
    await runWrangler([...args, ...target, ...environment], false);
  } finally {
    await rm(directory, { recursive: true });
  }
}
