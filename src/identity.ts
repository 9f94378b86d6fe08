// Everything about signing in and administration, as one part that a Worker has or has not.
import type { ContextOf, GatewayApp } from "./app.ts";
import type { Config } from "./config/types.ts";
import { mountControlPlane } from "./control/control-plane.ts";
import type { Services } from "./control/services.ts";
import { createCompactSigner } from "./crypto/context-signer.ts";
import { type Chores, keepHouse } from "./housekeeping.ts";
import { createPasswordHasher } from "./issuer/password-hasher.ts";
import type { Answers } from "./presets/answer.ts";
import { ANSWERS } from "./presets/answers.ts";
import type { Records } from "./records/types.ts";
import { createAccounts } from "./store/accounts.ts";
import { createAuditLog } from "./store/audit-log.ts";
import { createCleanup } from "./store/cleanup.ts";
import { createDirectory } from "./store/directory.ts";
import { createImports } from "./store/imports.ts";
import { createSessionChains } from "./store/session-chains.ts";
import { createThrottle } from "./store/throttle.ts";
import { createTokenLookUp } from "./store/token-look-up.ts";
import { createWrites } from "./store/writes.ts";

export interface Identity {
  readonly mount: (app: GatewayApp, contextOf: ContextOf) => void;
  readonly createServices: (config: Config, database: D1Database, records: Records) => Services;
  /** What presets answer on sites that say `issue = true`. */
  readonly answers: Answers;
  readonly keepHouse: (services: Services, nowSeconds: number) => Promise<Chores>;
}

export const IDENTITY: Identity = {
  mount: mountControlPlane,
  createServices,
  answers: ANSWERS,
  keepHouse,
};

function createServices(config: Config, database: D1Database, records: Records): Services {
  const { peppers, signingKeys } = config.secrets;
  return {
    config,
    writes: createWrites(database),
    directory: createDirectory(database),
    accounts: createAccounts(database),
    throttle: createThrottle(database),
    chains: createSessionChains(database),
    auditLog: createAuditLog(database, peppers),
    cleanup: createCleanup(database, longestLimitSeconds(config)),
    imports: createImports(database),
    tokens: createTokenLookUp(database),
    hasher: createPasswordHasher(),
    signer: createCompactSigner(signingKeys),
    async catchUp(background) {
      const demand = { lookup: { by: "none" }, bearer: null, freshnessSeconds: 0 } as const;
      await Promise.resolve(records.know(demand, background)).catch(() => {});
    },
  };
}

function longestLimitSeconds({ sites }: Config): number {
  const limits = sites.flatMap(({ routes }) => routes.map(({ limit }) => limit));
  return Math.max(0, ...limits.map((limit) => (limit?.kind === "exact" ? limit.perSeconds : 0)));
}
