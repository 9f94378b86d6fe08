// `npm run mint`: makes an API key or a PAT, shows it once, and records it in D1, with its owner if asked to.
//   --realm NAME --user ID       the owner
//   --new-user                   the owner is new: --name, --role (default user), --permission …
//   --kind api_key|pat           default api_key
//   --scope …, --expires-days N  of the key; without them: no scopes, no end
//   --remote                     the deployed database instead of the local one; --env NAME as in wrangler.toml
//   --secrets FILE               where POSTERN_TAG_SECRETS and POSTERN_PEPPERS are (default: the local .dev.vars);
//                                the environment counts first
//   --state DIR                  secrets and data of `npm start -- --state DIR`
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, parseEnv } from "node:util";
import { unstable_readConfig } from "wrangler";
import { createIssues } from "../src/config/issue.ts";
import { type GatewaySecrets, readGatewaySecrets } from "../src/config/secrets.ts";
import { mintApiKey, mintPat } from "../src/crypto/credential-format.ts";
import { storedDigests } from "../src/crypto/digest.ts";
import { createWrites } from "../src/store/writes.ts";
import { CONFIG, localState } from "./local-state.ts";
import { createSqlRecorder } from "./sql.ts";
import { keepToThisMachine, runWrangler } from "./wrangler.ts";

const { values: flags } = parseArgs({
  options: {
    realm: { type: "string" },
    user: { type: "string" },
    "new-user": { type: "boolean", default: false },
    name: { type: "string" },
    role: { type: "string", default: "user" },
    permission: { type: "string", multiple: true, default: [] },
    kind: { type: "string", default: "api_key" },
    scope: { type: "string", multiple: true, default: [] },
    "expires-days": { type: "string" },
    remote: { type: "boolean", default: false },
    env: { type: "string" },
    secrets: { type: "string" },
    state: { type: "string" },
  },
});

const local = localState(flags.state);

try {
  await main();
} catch (error) {
  console.error(`postern: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const { realm, user, kind } = flags;
  if (!realm || !user) throw new Error("--realm and --user are needed");
  if (kind !== "api_key" && kind !== "pat") throw new Error("--kind is api_key or pat");
  const secrets = await readSecrets();
  const [pepper] = secrets.peppers;
  if (pepper === undefined) throw new Error("POSTERN_PEPPERS is missing");

  const nowSeconds = Math.floor(Date.now() / 1000);
  const credential =
    kind === "pat" ? await mintPat(secrets.tagSecrets) : await mintApiKey(apiKeyPrefix(), secrets.tagSecrets);
  const [digest = ""] = await storedDigests(credential, [pepper]);
  const id = `${kind === "pat" ? "pat" : "key"}_${digest.slice(0, 16)}`;

  const recorder = createSqlRecorder();
  const writes = createWrites(recorder.database);
  if (flags["new-user"]) {
    await writes.createUser({
      realm,
      id: user,
      name: flags.name ?? null,
      role: flags.role,
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
  await execute(recorder.sql());
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

function apiKeyPrefix(): string {
  const { vars } = unstable_readConfig({
    config: CONFIG,
    ...(flags.env === undefined ? {} : { env: flags.env }),
  });
  const gateway: unknown = vars.GATEWAY;
  const isTable = typeof gateway === "object" && gateway !== null && "api_key_prefix" in gateway;
  return isTable && typeof gateway.api_key_prefix === "string" ? gateway.api_key_prefix : "sk-";
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
    const args = ["d1", "execute", "DB", "--yes", "--config", CONFIG, "--file", file];
    await runWrangler([...args, ...target, ...environment], false);
  } finally {
    await rm(directory, { recursive: true });
  }
}
