// One verifier for each kind of credential.
import type { Config } from "../../config/types.ts";
import type { JwksSource } from "../../records/jwks.ts";
import type { Verifier, Verifiers } from "../authenticate.ts";
import { createApiKeyVerifier } from "./api-key.ts";
import { createIntrospectingVerifier, type IntrospectDeps } from "./introspect.ts";
import { createJwtVerifier } from "./jwt.ts";
import { createPatVerifier } from "./pat.ts";
import { createSessionVerifier } from "./session.ts";

export interface VerifiersDeps extends IntrospectDeps {
  readonly config: Config;
  readonly jwks: JwksSource;
}

/** Shared by all issuers of the isolate; at 8 KB a token this is 32 MB in the worst case, typically 4. */
const MAX_REMEMBERED_TOKENS = 4_096;
const MIN_REMEMBERED_TOKENS = 64;

/** Built once per isolate; each verifier holds its own bounded memory. */
export function createVerifiers({ config, jwks, ...deps }: VerifiersDeps): Verifiers {
  const { secrets } = config;
  const issuers = config.sites.reduce((count, site) => count + site.jwtIssuers.length, 0);
  const maxRemembered = Math.max(
    MIN_REMEMBERED_TOKENS,
    Math.floor(MAX_REMEMBERED_TOKENS / Math.max(1, issuers)),
  );
  const { records } = deps;
  const orAsk = (verifier: Verifier) => createIntrospectingVerifier(verifier, deps);
  return {
    jwt: createJwtVerifier({ ...deps, jwks, maxRemembered }),
    api_key: orAsk(createApiKeyVerifier(config.gateway.apiKeyPrefix, { records, secrets })),
    pat: orAsk(createPatVerifier({ records, secrets })),
    session: orAsk(createSessionVerifier({ records, secrets })),
  };
}
