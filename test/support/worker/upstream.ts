// What the last steps need: a principal, a signer with keys of its own, and contexts that carry both.
import type { Config, Site } from "../../../src/config/types.ts";
import type { RequestContext, Runtime } from "../../../src/context.ts";
import type { Match } from "../../../src/pipeline/route.ts";
import { createContextSigner } from "../../../src/pipeline/user-context.ts";
import type { Principal } from "../../../src/types.ts";
import { aConfig, aContext, aRoute } from "./policy.ts";

export function aPrincipal(
  changes: Partial<Omit<Principal, "credential">> = {},
  credential: Partial<Principal["credential"]> = {},
): Principal {
  return {
    realm: "test",
    id: "7",
    name: "alice",
    role: "user",
    permissions: ["files.share"],
    attributes: {},
    credential: {
      kind: "api_key",
      id: "k1",
      scopes: ["files.read"],
      expiresAtSeconds: null,
      sessionId: null,
      ...credential,
    },
    ...changes,
  };
}

async function aPrivateJwk(alg: "ES256" | "EdDSA", kid: string): Promise<JsonWebKey> {
  const algorithm = alg === "ES256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: "Ed25519" };
  const pair = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  const jwk = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as JsonWebKey;
  return Object.assign(jwk, { kid, alg });
}

/** Private keys `e1`, `d1`, `e2`, `d2`: two of each algorithm, in this order. */
export const SIGNING_KEYS: readonly JsonWebKey[] = [
  await aPrivateJwk("ES256", "e1"),
  await aPrivateJwk("EdDSA", "d1"),
  await aPrivateJwk("ES256", "e2"),
  await aPrivateJwk("EdDSA", "d2"),
];

export function aSigningConfig(sites: readonly Site[]): Config {
  return {
    ...aConfig(sites),
    secrets: { tagSecrets: [], peppers: [], signingKeys: SIGNING_KEYS, adminToken: null },
  };
}

export function aMatch(site: Site, changes: Partial<Match> = {}): Match {
  return { site, route: site.routes[0] ?? aRoute("/*"), forwardPath: "/x", ...changes };
}

/** A context for every step; whoever uses a part of the runtime that is not given gets an exception. */
export function aFullContext(
  config: Config,
  request: Request,
  runtime: Partial<Runtime> = {},
  changes: Partial<RequestContext> = {},
): RequestContext {
  const context = aContext(config, request);
  return {
    ...context,
    runtime: { ...context.runtime, signer: createContextSigner(config), ...runtime },
    ...changes,
  };
}
