// API keys: `sk-` + 40 random + 8 tag characters, or imported ones of any length.
import type { Verifier } from "../authenticate.ts";
import { createTaggedVerifier, type TaggedCredentialDeps } from "./tagged-credential.ts";

/**
 * Verifies API keys by tag and record: status, expiry, owner, address list. Does not ask for a user header.
 * @param prefix `sk-` unless configured
 */
export function createApiKeyVerifier(prefix: string, deps: TaggedCredentialDeps): Verifier {
  return createTaggedVerifier("api_key", prefix, deps);
}
