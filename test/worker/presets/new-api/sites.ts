// Sites of both generations of New API, in guard mode, over one realm that holds tokens made elsewhere.
import { GATEWAY } from "../../../support/worker/gateway.ts";
import { SESSION_SECRET } from "../new-api-current/dashboard.ts";

const ORIGIN = { hosts: ["api.example.com"], origin: "service:ORIGIN", realm: "main" } as const;
const gateway = { ...GATEWAY, realms: { main: { untagged_keys: true } } };

export const SITES = {
  "new-api": { ...ORIGIN, preset: "new-api" },
  "new-api-current": { ...ORIGIN, preset: "new-api-current", jwt: { secret: "TEST_SESSION_SECRET" } },
} as const;
export type Generation = keyof typeof SITES;
export const GENERATIONS = Object.keys(SITES) as Generation[];

export const varsOf = (generation: Generation, changes: object = {}) => ({
  GATEWAY: gateway,
  TEST_SESSION_SECRET: SESSION_SECRET,
  SITE_TEST: { ...SITES[generation], ...changes },
});
