// `npm start`: everything a first run needs, then the gateway with its demo site on this machine. Safe to repeat.
//   --port N       listen there (default 8787, or a free port when it is taken; 0: any free port)
//   --config FILE  another file than wrangler.toml; its .dev.vars and .wrangler/state are beside it
//   --state DIR    keep secrets and data in DIR instead of .dev.vars and .wrangler/state
//   --verbose      show all that wrangler prints
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { getPlatformProxy } from "wrangler";
import { loadConfig } from "../src/config/load.ts";
import { DEMO_ADMIN, DEMO_SITE, DEMO_USER, demoCredentials, mintDemoJwt } from "./demo/accounts.ts";
import { demoGuide } from "./demo/guide.ts";
import { seedDemo } from "./demo/seed.ts";
import { readFlags } from "./flags.ts";
import { noteListening } from "./listening.ts";
import { localGateway } from "./local-gateway.ts";
import { judgePolicy, type LocalPolicy } from "./local-policy.ts";
import { ensureLocalSecrets, type LocalSecrets, secretsOf } from "./local-secrets.ts";
import { localState } from "./local-state.ts";
import { parsePolicyFile, UnreadablePolicy } from "./policy-file.ts";
import { choosePort, DEFAULT_PORT, HOST } from "./ports.ts";
import {
  cliFlags,
  controlHostLines,
  firstSteps,
  lostSecretsLines,
  policyCount,
  warningLines,
} from "./start-lines.ts";
import { areSame, type Contents, contentsOf, INTERVAL_MS, whenChanged } from "./watch-files.ts";
import { keepToThisMachine, runWrangler } from "./wrangler.ts";

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
const watched = [configFile, secretsFile];

keepToThisMachine();
if (!isVerbose) process.env.WRANGLER_LOG = "warn"; // of what runs in this process
const gateway = localGateway(
  [
    ...["--config", configFile, "--local", "--persist-to", dataDirectory],
    "--show-interactive-dev-session=false",
    ...(flags.state === undefined ? [] : ["--env-file", secretsFile]),
  ],
  HOST,
  isVerbose,
  ended,
);
let isStopping = false;
/** What the running gateway was started with, and how often it was taken up since. */
let known: Contents = [];
let turns = 0;
stopWithUs();

try {
  const [text] = await contentsOf(watched);
  if (typeof text !== "string") throw new Error(`${shown(configFile)} cannot be read: is it there?`);
  refuseGarbage(text);
  const port = await choosePort(flags.port);
  await mkdir(dataDirectory, { recursive: true });
  const hadData = existsSync(join(dataDirectory, "v3", "d1"));
  const { secrets, made } = await ensureLocalSecrets(secretsFile);
  if (made.length > 0) say(`made ${made.length} random local secrets in ${shown(secretsFile)}`);
  for (const line of hadData ? lostSecretsLines(made, shown(dataDirectory)) : []) say(line);
  const [, secretsText = null] = await contentsOf(watched);
  known = [text, secretsText];

  const policy = judge(text, secrets);
  if (policy.config === null)
    throw new Error([`${shown(configFile)} is not valid:`, ...policy.problems].join("\n"));
  for (const line of warningLines(policy.warnings)) say(line);
  await migrate(policy);

  const guide = await prepareGuide(secrets);
  const { address, status } = await gateway.start(port);
  if (status === 503) {
    throw new Error("the configuration is not valid; `npm run check` says what is wrong with it");
  }
  noteListening(dataDirectory, address);
  console.log(`\n${guide(address)}\n`);
  if (flags.port === undefined && port !== DEFAULT_PORT) {
    console.log(`Port ${DEFAULT_PORT} is taken, perhaps by another program: this gateway is NOT there.`);
  }
  for (const line of controlHostLines(policy.config.gateway)) console.log(line);
  console.log(`Postern is ready on ${address}`);
  console.log("Below: one line a request, refusals with their reason. Ctrl-C stops it; the data stays.\n");

  await follow(policy, Number(new URL(address).port));
} catch (error) {
  if (!isStopping) fail(error instanceof Error ? error.message : String(error));
}

/**
 * Whenever `wrangler.toml` or the secrets have changed, says so, and starts the gateway anew with what is there now: a
 * policy that was taken back must not go on because a notice of the file system was missed. What is no TOML leaves the
 * gateway as it is; what is not valid makes it answer 503. Never returns.
 */
async function follow(policy: LocalPolicy, port: number): Promise<never> {
  let running = policy;
  for (;;) {
    const before = known;
    known = await whenChanged(watched, before);
    turns += 1;
    const [text = null, secretsText = null] = known;
    const what = shown(text === before[0] ? secretsFile : configFile);
    try {
      if (text === null) throw new UnreadablePolicy("it is gone, or cannot be read");
      const next = judge(text, secretsOf(secretsText ?? ""));
      if (next.config === null) say(`${what} changed, and is not valid:\n${next.problems.join("\n")}`);
      else for (const line of warningLines(next.warnings)) say(line);
      await gateway.stop();
      if (JSON.stringify(next.file.databases) !== JSON.stringify(running.file.databases)) await migrate(next);
      const { status } = await gateway.start(port);
      running = next;
      say(
        next.config === null || status === 503
          ? "everything is answered with 503 until it is mended"
          : `${what} changed, and is in force: ${policyCount(next.config)}`,
      );
    } catch (error) {
      if (isStopping) continue;
      if (error instanceof UnreadablePolicy) {
        say(`${what} changed, and cannot be read: ${error.message}; the policy of before still counts`);
      } else {
        console.error(gateway.output());
        say(`nothing is served until ${what} is mended: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
}

/** Wrangler reads the file too, and may end over what is new in it before that is ours to see. Else it is the end. */
async function ended(code: number | null): Promise<void> {
  const turn = turns;
  do {
    await wait(4 * INTERVAL_MS);
    if (isStopping || turns !== turn) return;
  } while (!areSame(await contentsOf(watched), known));
  fail(`wrangler ended by itself (exit code ${code})`);
}

/** Before anything is made. @throws with line and column where it is no TOML */
function refuseGarbage(text: string): void {
  try {
    parsePolicyFile(text, null);
  } catch (error) {
    if (error instanceof UnreadablePolicy) throw new Error(`${shown(configFile)}: ${error.message}`);
    throw error;
  }
}

/** @throws UnreadablePolicy with line and column where it is no TOML */
function judge(text: string, secrets: LocalSecrets): LocalPolicy {
  return judgePolicy(text, secrets, shown(secretsFile));
}

async function migrate({ file }: LocalPolicy): Promise<void> {
  if (!Object.hasOwn(file.bindings, "DB")) return;
  await runWrangler(
    ["d1", "migrations", "apply", "DB", "--local", "--config", configFile, "--persist-to", dataDirectory],
    isVerbose,
  );
  say(`D1 is up to date in ${shown(dataDirectory)}`);
}

/**
 * What to try, for an address. Where there is the demo site, adds its accounts to the local D1.
 * @throws when the configuration is not valid
 */
async function prepareGuide(secrets: LocalSecrets): Promise<(address: string) => string> {
  const platform = await getPlatformProxy<{ DB?: D1Database }>({
    configPath: configFile,
    envFiles: [secretsFile],
    persist: { path: join(dataDirectory, "v3") },
    remoteBindings: false,
  });
  try {
    const loaded = loadConfig(platform.env);
    if (!loaded.ok)
      throw new Error("the configuration is not valid; `npm run check` says what is wrong with it");
    const cli = (address: string) => cliFlags(address, flags);

    const site = loaded.config.sites.find(({ name }) => name === DEMO_SITE);
    const issuer = site?.jwtIssuers[0];
    if (site === undefined || issuer?.keys.kind !== "secret" || platform.env.DB === undefined) {
      const { sites } = loaded.config;
      return (address) => firstSteps(sites, address, cli(address)).join("\n");
    }

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
    const host = site.hosts?.[0] ?? null;
    return (address) => demoGuide(address, people, host, cli(address));
  } finally {
    await platform.dispose();
  }
}

/** Ends wrangler and workerd with us: on Ctrl-C, when asked to, and when npm is gone without a word (it `exec`s us). */
function stopWithUs(): void {
  const stop = async () => {
    if (isStopping) return;
    isStopping = true;
    await gateway.stop();
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
  if (!isVerbose && gateway.output() !== "") console.error(gateway.output());
  console.error(`postern: ${message}`);
  process.exit(1);
}

function shown(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith("..") ? path : fromHere;
}
