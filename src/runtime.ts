// Builds what an isolate needs, once: the only place where configuration, stores and verifiers meet.
import { loadConfig } from "./config/load.ts";
import type { Config } from "./config/types.ts";
import type { Runtime } from "./context.ts";
import { cutOff } from "./cut-off.ts";
import type { Identity } from "./identity.ts";
import type { Limiter } from "./pipeline/limit.ts";
import { mcpAnswers } from "./pipeline/mcp.ts";
import { buildRouteIndex } from "./pipeline/route.ts";
import { createContextSigner } from "./pipeline/user-context.ts";
import { createVerifiers } from "./pipeline/verify/verifiers.ts";
import { Problem } from "./problem.ts";
import { createIntrospections } from "./records/introspections.ts";
import { createJwksSource } from "./records/jwks.ts";
import { createLastUse, type LastUse, NO_LAST_USE } from "./records/last-use.ts";
import { createRecords } from "./records/records.ts";
import type { Records } from "./records/types.ts";
import { createKvTier } from "./store/kv.ts";
import { createPrimary } from "./store/primary.ts";
import { createLimiter } from "./store/rate-windows.ts";
import { createUseMarks } from "./store/use-marks.ts";
import { createWrites } from "./store/writes.ts";

/** Bindings by their fixed names, and whatever else `wrangler.toml` and the secrets put there. */
export type Env = Readonly<Record<string, unknown>> & {
  readonly DB?: D1Database;
  readonly KV?: KVNamespace;
};

/**
 * @throws Problem `config_invalid` whose reason names every key that is wrong
 */
export function createRuntime(env: Env, identity: Identity | null): Runtime {
  const loaded = loadConfig(env);
  if (!loaded.ok) {
    throw new Problem(
      "config_invalid",
      loaded.issues.map(({ key, message }) => `${key}: ${message}`).join("\n"),
    );
  }
  const { config } = loaded;
  if (identity === null) refuseIssuing(config);
  const kv = env.KV ?? null;
  const records = env.DB === undefined ? createNoRecords() : createLiveRecords(config, env.DB, kv);
  const jwks = createJwksSource({ kv, fetch: (...input) => fetch(...input), nowMs: Date.now });
  const introspections = createIntrospections({
    nowMs: Date.now,
    wait: (ms) => scheduler.wait(ms),
    afterForwarding,
  });
  return {
    config,
    routes: buildRouteIndex(config),
    verifiers: createVerifiers({ config, records, jwks, introspections }),
    lastUse: env.DB === undefined ? NO_LAST_USE : createLiveLastUse(config, env.DB),
    signer: createContextSigner(config),
    limiter: env.DB === undefined ? createNoLimiter() : createLimiter(env.DB),
    answers: { ...mcpAnswers, ...identity?.answers },
    forwarding: { fetch: (...input) => fetch(...input) },
    services:
      env.DB === undefined || identity === null ? null : identity.createServices(config, env.DB, records),
  };
}

/** Nobody would answer what these sites promise. @throws Problem `config_invalid` */
function refuseIssuing({ sites }: Config): void {
  const issuing = sites.filter(({ preset }) => preset?.isIssuing === true);
  if (issuing.length === 0) return;
  throw new Problem(
    "config_invalid",
    issuing
      .map(
        ({ name }) => `SITE_${name.toUpperCase()}.issue: needs the entry src/index.ts; this is src/edge.ts`,
      )
      .join("\n"),
  );
}

function createLiveLastUse({ realms }: Config, database: D1Database): LastUse {
  const writes = createWrites(database);
  return createLastUse({ marks: createUseMarks(database), writes, realms, afterForwarding, cutOff });
}

const afterForwarding = () => scheduler.wait(0);

function createLiveRecords(config: Config, database: D1Database, kv: KVNamespace | null): Records {
  const bounds = config.sites.flatMap(({ routes }) => routes.map(({ freshnessSeconds }) => freshnessSeconds));
  const { freshnessSeconds } = config.gateway;
  return createRecords({
    primary: createPrimary(database),
    kv: kv === null ? null : createKvTier(kv),
    nowMs: Date.now,
    cutOff,
    afterForwarding,
    random: Math.random,
    freshnessSeconds,
    shortestFreshnessSeconds: Math.min(freshnessSeconds, ...bounds.filter((bound) => bound > 0)),
  });
}

/** For gateways whose every site does without D1. `loadConfig` has seen to it that no site needs what is missing. */
function createNoRecords(): Records {
  return {
    followed: () => null,
    know: async () => {
      throw new Problem("store_unavailable", "no D1 database is bound as DB");
    },
  };
}

function createNoLimiter(): Limiter {
  return {
    take: async () => {
      throw new Problem("store_unavailable", "no D1 database is bound as DB");
    },
  };
}
