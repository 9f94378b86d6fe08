// Personal access tokens: 24 random + 8 tag characters, beside a header that names the owner.
import type { Verifier } from "../authenticate.ts";
import { createTaggedVerifier, type TaggedCredentialDeps } from "./tagged-credential.ts";

/** Verifies PATs by tag and record, and where the site asks for it the user header against the owner's id. */
export function createPatVerifier(deps: TaggedCredentialDeps): Verifier {
  return createTaggedVerifier("pat", "", deps);
}
