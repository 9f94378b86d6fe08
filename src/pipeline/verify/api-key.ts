// API keys: `sk-` + 40 random + 8 tag characters, imported ones of any length, and those that stand in the configuration.
import { createHash } from "node:crypto";
import { createBoundedMap } from "../../records/bounded-map.ts";
import type { Principal } from "../../types.ts";
import type { Verifier } from "../authenticate.ts";
import type { Match } from "../route.ts";
import { createTaggedVerifier, type TaggedCredentialDeps } from "./tagged-credential.ts";

const MAX_REMEMBERED = 4_096;
/** Of the digest, in what its holder is called. */
const FINGERPRINT_LENGTH = 16;

/**
 * Verifies API keys. One that stands in the configuration of a preset's site is good as it is: it is known by its digest
 * alone, belongs to nobody, does not expire, and only a deployment takes it away. Any other one goes by tag and record:
 * status, expiry, owner, address list; where no users are known there is none. Does not ask for a user header.
 *
 * @param prefix `sk-` unless configured
 */
export function createApiKeyVerifier(prefix: string, deps: TaggedCredentialDeps): Verifier {
  const verifyStored = createTaggedVerifier("api_key", prefix, deps);
  /** Digests of keys that stand in a configuration; spares a warm request the hash. */
  const remembered = createBoundedMap<string, string>(MAX_REMEMBERED);

  return async (credential, match, context) => {
    const { preset, users } = match.site;
    if (preset !== null && preset.configuredKeys.size > 0) {
      const { value } = credential;
      const known = remembered.get(value);
      const digest = known ?? createHash("sha256").update(value, "utf8").digest("hex");
      if (preset.configuredKeys.has(digest)) {
        if (known === undefined) remembered.set(value, digest);
        return { kind: "accept", principal: holderOf(digest, match) };
      }
      if (users === "none") return { kind: "reject", reason: "unknown" };
    }
    return verifyStored(credential, match, context);
  };
}

function holderOf(digest: string, { site }: Match): Principal {
  const name = `api-key:${digest.slice(0, FINGERPRINT_LENGTH)}`;
  return {
    realm: site.realm.name,
    id: name,
    name,
    role: site.preset?.keyRights?.role ?? "",
    permissions: site.preset?.keyRights?.permissions ?? [],
    attributes: {},
    // No id: there is no record of it whose use could be noted.
    credential: { kind: "api_key", id: null, scopes: [], expiresAtSeconds: null, sessionId: null },
  };
}
