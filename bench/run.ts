// `npm run bench`: what a request through the gateway costs, beside what it would cost without it. See README.md.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Bundle, bundle } from "./bundle.ts";
import {
  type Credentials,
  gatewayVars,
  newSecrets,
  newToken,
  requestBytes,
  type Secrets,
  seed,
} from "./gateway.ts";
import { inTurn } from "./load.ts";
import { printReport, report } from "./report.ts";
import { measureRound, type RoundOptions, type Samples, type Subject, warmUp } from "./rounds.ts";
import { measureStartUp } from "./start-up.ts";
import {
  type Contestant,
  type ContestantOptions,
  startContestant,
  startNode,
  stop,
  stopAll,
} from "./workerd.ts";

const FEW_KEYS = 100;
const MANY_KEYS = 1_000_000;
const FEW_ROUTES = 10;
const MANY_ROUTES = 1_000;
const ROUNDS_A_PROCESS = 6;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "24" },
    seconds: { type: "string", default: "1" },
    connections: { type: "string", default: "16" },
    /** Also 10^2 against 10^6 keys. */
    keys: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    /** Exit code 1 when a budget is not met. */
    strict: { type: "boolean", default: false },
  },
});

interface Workshop {
  readonly directory: string;
  readonly originPort: number;
  readonly secrets: Secrets;
  readonly bundles: {
    readonly passThrough: Bundle;
    readonly honoJwt: Bundle;
    readonly honoJwtSigned: Bundle;
    readonly postern: Bundle;
  };
}

const progress = (text: string) => process.stderr.write(`${text}\n`);

async function main(directory: string): Promise<void> {
  progress("bundling");
  const bundles = {
    passThrough: await bundle("./peers/pass-through.ts", join(directory, "pass-through")),
    honoJwt: await bundle("./peers/hono-jwt.ts", join(directory, "hono-jwt")),
    honoJwtSigned: await bundle("./peers/hono-jwt-signed.ts", join(directory, "hono-jwt-signed")),
    postern: await bundle("../src/index.ts", join(directory, "postern")),
    edge: await bundle("../src/edge.ts", join(directory, "edge")),
  };
  const origin = await startNode(program("./origin.ts"), []);
  const shop: Workshop = { directory, originPort: origin.port, secrets: newSecrets(), bundles };
  const limits: RoundOptions = {
    rounds: Number(options.rounds),
    secondsPerRound: Number(options.seconds),
    connections: Number(options.connections),
  };

  progress("start-up");
  const few = await makeStore(shop, FEW_KEYS);
  const posternOptions = gatewayOptions(shop, few.store, FEW_ROUTES);
  const startUp = {
    passThrough: await measureStartUp(
      peerOptions(shop, bundles.passThrough, "start"),
      firstOf(few.credentials),
    ),
    postern: await measureStartUp(posternOptions, firstOf(few.credentials)),
  };

  const requests = await measureRequests(shop, few, limits);
  await stop(few.store);
  const keys = options.keys ? await measureKeys(shop, limits) : null;

  const result = report({
    requests,
    keys,
    startUp,
    bundles: { whole: bundles.postern, edge: bundles.edge },
    limits,
  });
  if (options.json) console.log(JSON.stringify(result, null, 2));
  else printReport(result);
  if (options.strict && result.budgets.some(({ isMet }) => !isMet)) process.exitCode = 1;
}

interface Store {
  readonly store: Contestant;
  readonly credentials: Credentials;
}

async function makeStore(shop: Workshop, keyCount: number): Promise<Store> {
  const file = join(mkdtempSync(join(shop.directory, "store-")), "database.sqlite");
  const credentials = await seed(file, keyCount, shop.secrets);
  return { store: await startNode(program("./store.ts"), [file]), credentials };
}

/** Every kind of credential, and few routes against many. */
async function measureRequests(shop: Workshop, few: Store, limits: RoundOptions): Promise<Samples> {
  const { passThrough, honoJwt, honoJwtSigned } = shop.bundles;
  const { jwts, apiKeys, pats } = few.credentials;
  const path = "/api/v1/items/4711?expand=owner";
  const jwt = inTurn(jwts.map((token) => bearer(path, token)));
  const newJwt = () => bearer(path, newToken(shop.secrets));
  const apiKey = inTurn(apiKeys.map((key) => bearer(path, key)));
  const pat = inTurn(
    pats.map(({ token, userId }) =>
      requestBytes(path, [`Authorization: Bearer ${token}`, `New-Api-User: ${userId}`]),
    ),
  );
  const anonymous = inTurn([requestBytes("/api/v1/public/4711?expand=owner", [])]);
  const peer = (bundle: Bundle, name: string) => startContestant(peerOptions(shop, bundle, name));
  const gateway = (routeCount: number) => startContestant(gatewayOptions(shop, few.store, routeCount));

  return await measureAll(limits, async () => {
    const postern = await gateway(FEW_ROUTES);
    return [
      { name: "bare", contestant: await peer(passThrough, "bare"), requests: jwt },
      { name: "bare, a second process", contestant: await peer(passThrough, "bare-2"), requests: jwt },
      { name: "hono/jwt", contestant: await peer(honoJwt, "hono-jwt"), requests: jwt },
      {
        name: "hono/jwt, signed header",
        contestant: await peer(honoJwtSigned, "hono-jwt-signed"),
        requests: jwt,
      },
      { name: "JWT", contestant: postern, requests: jwt },
      { name: "JWT, never seen before", contestant: postern, requests: newJwt },
      { name: "API key", contestant: postern, requests: apiKey },
      { name: "PAT", contestant: postern, requests: pat },
      { name: "anonymous", contestant: postern, requests: anonymous },
      { name: `${FEW_ROUTES} routes`, contestant: await gateway(FEW_ROUTES), requests: jwt },
      { name: `${MANY_ROUTES} routes`, contestant: await gateway(MANY_ROUTES), requests: jwt },
    ];
  });
}

/** Few keys against many, from memory and asked of D1 on every request. */
async function measureKeys(shop: Workshop, limits: RoundOptions): Promise<Samples> {
  const stores: (readonly [count: number, store: Store])[] = [];
  for (const count of [FEW_KEYS, MANY_KEYS]) {
    progress(`a database of ${count} keys`);
    stores.push([count, await makeStore(shop, count)]);
  }
  return await measureAll(limits, async () => {
    const subjects: Subject[] = [];
    for (const [count, { store, credentials }] of stores) {
      const contestant = await startContestant(gatewayOptions(shop, store, FEW_ROUTES));
      const requests = (path: string) => inTurn(credentials.apiKeys.map((key) => bearer(path, key)));
      subjects.push({ name: `${count} keys, warm`, contestant, requests: requests("/api/v1/items/4711") });
      subjects.push({ name: `${count} keys, cold`, contestant, requests: requests("/api/v1/live/4711") });
    }
    return subjects;
  });
}

/** All rounds, with new processes every few of them: one process of a kind can be faster than the next for good. */
async function measureAll(limits: RoundOptions, start: () => Promise<readonly Subject[]>): Promise<Samples> {
  const samples = new Map<string, number[]>();
  for (let firstRound = 1; firstRound <= limits.rounds; firstRound += ROUNDS_A_PROCESS) {
    progress("new processes, warming up");
    const subjects = await start();
    await warmUp(subjects, limits.connections);
    const lastRound = Math.min(firstRound + ROUNDS_A_PROCESS - 1, limits.rounds);
    for (let round = firstRound; round <= lastRound; round++) {
      progress(`round ${round} of ${limits.rounds}`);
      for (const [name, microseconds] of await measureRound(subjects, limits)) {
        samples.set(name, [...(samples.get(name) ?? []), microseconds]);
      }
    }
    for (const contestant of new Set(subjects.map((subject) => subject.contestant))) await stop(contestant);
  }
  return samples;
}

function peerOptions(shop: Workshop, { directory, ...rest }: Bundle, name: string): ContestantOptions {
  return {
    ...rest,
    bundle: directory,
    vars: {
      ORIGIN: `http://127.0.0.1:${shop.originPort}`,
      JWT_SECRET: shop.secrets.jwtSecret,
      ORIGIN_SECRET: shop.secrets.jwtSecret,
    },
    storePort: null,
    directory: join(shop.directory, `config-${name}`),
  };
}

function gatewayOptions(shop: Workshop, store: Contestant, routeCount: number): ContestantOptions {
  const { directory, ...rest } = shop.bundles.postern;
  return {
    ...rest,
    bundle: directory,
    vars: gatewayVars(shop.originPort, routeCount, shop.secrets),
    storePort: store.port,
    directory: join(shop.directory, `config-postern-${routeCount}-${store.port}`),
  };
}

function firstOf({ jwts }: Credentials): Buffer {
  return bearer("/api/v1/items/4711", jwts[0] ?? "");
}

function bearer(path: string, token: string): Buffer {
  return requestBytes(path, [`Authorization: Bearer ${token}`]);
}

function program(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

const directory = mkdtempSync(join(tmpdir(), "postern-bench-"));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
process.once("exit", () => {
  stopAll();
  rmSync(directory, { recursive: true, force: true });
});
await main(directory);
process.exit();
