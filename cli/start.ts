// `npm start`: everything a first run needs, then the gateway with its demo site on this machine. Safe to repeat.
//   --port N       listen there (default 8787, or a free port when it is taken; 0: any free port)
//   --config FILE  another file than wrangler.toml; its .dev.vars and .wrangler/state are beside it
//   --state DIR    keep secrets and data in DIR instead of .dev.vars and .wrangler/state
//   --verbose      show all that wrangler prints
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { getPlatformProxy } from "wrangler";
import { type ConfigIssue, loadConfig } from "../src/config/load.ts";
import type { SecretNeed } from "../src/config/secrets.ts";
import { DEMO_ADMIN, DEMO_SITE, DEMO_USER, demoCredentials, mintDemoJwt } from "./demo/accounts.ts";
import { demoGuide } from "./demo/guide.ts";
import { seedDemo } from "./demo/seed.ts";
import { readFlags } from "./flags.ts";
import { ensureLocalSecrets, type LocalSecrets } from "./local-secrets.ts";
import { localState } from "./local-state.ts";
import { type PolicyFile, parsePolicyFile, UnreadablePolicy } from "./policy-file.ts";
import { issueLines } from "./policy-table.ts";
import { inBrief, warningLines } from "./start-lines.ts";
import { keepToThisMachine, runWrangler, startWrangler, type Wrangler } from "./wrangler.ts";

const HOST = "127.0.0.1";
const DEFAULT_PORT = 8787;
const READY_DEADLINE_MS = 120_000;

const flags = readFlags(
  {
    port: { type: "string" },
    config: { type: "string" },
    state: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
  "usage: npm start -- [--port N] [--config FILE] [--state DIR] [--verbose]",
);
const isVerbose = flags.verbose;
const { config: configFile, secretsFile, dataDirectory } = localState(flags);

keepToThisMachine();
if (!isVerbose) process.env.WRANGLER_LOG = "warn"; // of what runs in this process
let gateway: Wrangler | null = null;
let isReady = false;
let isStopping = false;
stopWithUs();

try {
  const policy = await readPolicy();
  const port = await choosePort();
  await mkdir(dataDirectory, { recursive: true });
  const { secrets, made } = await ensureLocalSecrets(secretsFile);
  if (made.length > 0) say(`made ${made.length} random local secrets in ${shown(secretsFile)}`);

  for (const line of warningLines(refuseProblems(policy, secrets))) say(line);
  if (Object.hasOwn(policy.bindings, "DB")) {
    await runWrangler(
      ["d1", "migrations", "apply", "DB", "--local", "--config", configFile, "--persist-to", dataDirectory],
      isVerbose,
    );
    say(`D1 is up to date in ${shown(dataDirectory)}`);
  }

  const guide = await prepareDemo(secrets);
  const { address, exited } = await startGateway(port);
  console.log(`\n${guide === null ? "" : `${guide(address)}\n\n`}Postern is ready on ${address}`);
  console.log("Below: one line a request, refusals with their reason. Ctrl-C stops it; the data stays.\n");

  isReady = true;

  const code = await exited;
  if (!isStopping) fail(`wrangler ended by itself (exit code ${code})`);
} catch (error) {
  if (!isStopping) fail(error instanceof Error ? error.message : String(error));
}

/** @throws with line and column where the file is no TOML */
async function readPolicy(): Promise<PolicyFile> {
  try {
    return parsePolicyFile(await readFile(configFile, "utf8"), null);
  } catch (error) {
    if (error instanceof UnreadablePolicy) throw new Error(`${shown(configFile)}: ${error.message}`);
    throw new Error(`${shown(configFile)} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * Before anything is started: the configuration as the Worker would read it, with the local secrets.
 * @returns its warnings
 * @throws with every problem
 */
function refuseProblems({ bindings, variables }: PolicyFile, secrets: LocalSecrets): readonly ConfigIssue[] {
  const missing = new Set<string>();
  const unlisted: readonly SecretNeed["kind"][] = ["list", "signing_keys", "admin_token"]; // made above when missing
  // What is in .dev.vars counts before [vars], as it does for the Worker.
  const env: Readonly<Record<string, unknown>> = { ...bindings, ...variables, ...secrets };
  const loaded = loadConfig(env, ({ name, kind }) => {
    if (!env[name] && !unlisted.includes(kind)) missing.add(name);
    return env[name];
  });
  if (!loaded.ok) throw invalid(loaded.issues, [...missing]);
  return loaded.warnings;
}

function invalid(issues: readonly ConfigIssue[], missingSecrets: readonly string[]): Error {
  return new Error(
    [
      `${shown(configFile)} is not valid:`,
      ...issueLines(issues),
      ...missingSecrets.map((name) => `put \`${name}=…\` into ${shown(secretsFile)}`),
    ].join("\n"),
  );
}

/**
 * Adds the demo accounts to the local D1.
 *
 * @returns what makes the guide of an address; `null` when `wrangler.toml` has no demo site any more
 * @throws when the configuration is not valid
 */
async function prepareDemo(secrets: LocalSecrets): Promise<((address: string) => string) | null> {
  const platform = await getPlatformProxy<{ DB?: D1Database }>({
    configPath: configFile,
    envFiles: [secretsFile],
    persist: { path: join(dataDirectory, "v3") },
    remoteBindings: false,
  });
  try {
    const loaded = loadConfig(platform.env);
    if (!loaded.ok) throw invalid(loaded.issues, []);

    const site = loaded.config.sites.find(({ name }) => name === DEMO_SITE);
    const issuer = site?.jwtIssuers[0];
    if (site === undefined || issuer?.keys.kind !== "secret" || platform.env.DB === undefined) return null;

    const { tagSecrets, peppers } = loaded.config.secrets;
    const prefix = loaded.config.gateway.apiKeyPrefix;
    const seed = `${secrets.DEMO_JWT_SECRET} ${secrets.POSTERN_PEPPERS} ${secrets.POSTERN_TAG_SECRETS}`;
    const user = await demoCredentials(DEMO_USER, { seed, prefix, tagSecrets });
    const admin = await demoCredentials(DEMO_ADMIN, { seed, prefix, tagSecrets });
    const added = await seedDemo(platform.env.DB, site.realm.name, [user, admin], peppers);
    if (added > 0) say(`seeded the realm "${site.realm.name}" with a user and an admin`);

    const { issuer: iss, audience, keys } = issuer;
    const provider = { issuer: iss ?? "", audience: audience?.[0] ?? "", secret: keys.secret };
    const people = {
      user: { ...user, jwt: await mintDemoJwt(DEMO_USER, provider) },
      admin: { ...admin, jwt: await mintDemoJwt(DEMO_ADMIN, provider) },
    };
    return (address) => demoGuide(address, people);
  } finally {
    await platform.dispose();
  }
}

/** @returns the address it answers on, and its exit code in time */
async function startGateway(port: number): Promise<{ address: string; exited: Promise<number | null> }> {
  const started = startWrangler(
    [
      ...[
        "dev",
        "--config",
        configFile,
        "--local",
        "--ip",
        HOST,
        "--port",
        String(port),
        "--inspector-port",
        "0",
      ],
      ...["--persist-to", dataDirectory, "--show-interactive-dev-session=false"],
      ...(flags.state === undefined ? [] : ["--env-file", secretsFile]),
    ],
    (line) => {
      if (isVerbose) return console.log(line);
      // The gateway's own log lines are JSON; the rest is wrangler's.
      const brief = isReady ? inBrief(line) : null;
      if (brief !== null) console.log(brief);
    },
  );
  gateway = started;
  const timer = setTimeout(() => fail(`no answer within ${READY_DEADLINE_MS / 1000} s`), READY_DEADLINE_MS);
  const [, address = ""] = await started.lineMatching(/Ready on (http:\/\/\S+)/);
  const health = await fetch(`${address}/_gateway/health`);
  clearTimeout(timer);
  if (health.status === 503) {
    throw new Error("the configuration is not valid; `npm run check` says what is wrong with it");
  }
  await health.body?.cancel();
  return { address, exited: started.exited };
}

async function choosePort(): Promise<number> {
  if (flags.port !== undefined) {
    const port = Number(flags.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Error("--port wants a number up to 65535");
    const free = await freePort(port);
    if (free === null)
      throw new Error(`port ${port} is taken; try another one: npm start -- --port ${port + 1}`);
    return free;
  }
  const usual = await freePort(DEFAULT_PORT);
  if (usual !== null) return usual;
  say(`port ${DEFAULT_PORT} is taken, using a free one`);
  return (await freePort(0)) ?? 0;
}

/** The port that was free a moment ago; `null` when it is taken. For 0, any free one. */
function freePort(port: number): Promise<number | null> {
  return new Promise((resolvePort, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolvePort(null);
      else reject(error);
    });
    server.listen(port, HOST, () => {
      const address = server.address();
      server.close(() => resolvePort(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}

/** Ends wrangler and workerd with us: on Ctrl-C, when asked to, and when npm is gone without a word (it `exec`s us). */
function stopWithUs(): void {
  const stop = async () => {
    if (isStopping) return;
    isStopping = true;
    await gateway?.stop();
    process.exit(0);
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, stop);
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event === undefined) return;
  setInterval(() => {
    if (process.ppid !== parent) void stop();
  }, 500).unref();
}

function say(message: string): void {
  console.log(`postern: ${message}`);
}

function fail(message: string): never {
  if (!isVerbose && gateway !== null) console.error(gateway.output());
  console.error(`postern: ${message}`);
  process.exit(1);
}

function shown(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith("..") ? path : fromHere;
}
