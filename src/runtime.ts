// Builds what an isolate needs, once: the only place where configuration, stores and verifiers meet.
import { loadConfig } from "./config/load.ts";
import type { Config } from "./config/types.ts";
import type { Runtime } from "./context.ts";
import { cutOff } from "./cut-off.ts";
import type { Limiter } from "./pipeline/limit.ts";
import { buildRouteIndex } from "./pipeline/route.ts";
import { createContextSigner } from "./pipeline/user-context.ts";
import { createVerifiers } from "./pipeline/verify/verifiers.ts";
import { Problem } from "./problem.ts";
import { createJwksSource } from "./records/jwks.ts";
import { createRecords } from "./records/records.ts";
import type { Records } from "./records/types.ts";
import { createKvTier } from "./store/kv.ts";
import { createPrimary } from "./store/primary.ts";
import { createLimiter } from "./store/rate-windows.ts";

/** Bindings by their fixed names, and whatever else `wrangler.toml` and the secrets put there. */
export type Env = Readonly<Record<string, unknown>> & {
  readonly DB?: D1Database;
  readonly KV?: KVNamespace;
};

/**
 * @throws Problem `config_invalid` whose reason names every key that is wrong
 */
export function createRuntime(env: Env): Runtime {
  const loaded = loadConfig(env);
  if (!loaded.ok) {
    throw new Problem(
      "config_invalid",
      loaded.issues.map(({ key, message }) => `${key}: ${message}`).join("\n"),
    );
  }
  const { config } = loaded;
  const kv = env.KV ?? null;
  const records = env.DB === undefined ? createNoRecords() : createLiveRecords(config, env.DB, kv);
  const jwks = createJwksSource({ kv, fetch: (...input) => fetch(...input), nowMs: Date.now });
  return {
    config,
    routes: buildRouteIndex(config),
    verifiers: createVerifiers({ config, records, jwks }),
    signer: createContextSigner(config),
    limiter: env.DB === undefined ? createNoLimiter() : createLimiter(env.DB),
    forwarding: { fetch: (...input) => fetch(...input) },
  };
}

function createLiveRecords(config: Config, database: D1Database, kv: KVNamespace | null): Records {
  const bounds = config.sites.flatMap(({ routes }) => routes.map(({ freshnessSeconds }) => freshnessSeconds));
  const { freshnessSeconds } = config.gateway;
  return createRecords({
    primary: createPrimary(database),
    kv: kv === null ? null : createKvTier(kv),
    nowMs: Date.now,
    cutOff,
    afterForwarding: () => scheduler.wait(0),
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
