// The shared half of API keys and PATs: shape, tag, digests, look-up by digest.
import type { GatewaySecrets } from "../../config/secrets.ts";
import { hasTaggedShape, hasValidTag, type TaggedKind } from "../../crypto/credential-format.ts";
import { storedDigests } from "../../crypto/digest.ts";
import { createBoundedMap } from "../../records/bounded-map.ts";
import type { Records } from "../../records/types.ts";
import type { Credential, Verdict } from "../../types.ts";
import type { Verifier } from "../authenticate.ts";
import { freshnessBeforeLimit } from "../limit.ts";
import { decideByRecord } from "./stored-credential.ts";

export interface TaggedCredentialDeps {
  readonly records: Pick<Records, "know">;
  readonly secrets: Pick<GatewaySecrets, "tagSecrets" | "peppers">;
}

/** What is the same for one secret as long as the isolate lives; computed from the secret alone. */
interface Computed {
  readonly isTagged: boolean;
  readonly digests: readonly string[];
}

const MAX_BODY_LENGTH = 256;
const MAX_REMEMBERED = 4_096;

/**
 * Verifies credentials that are looked up by digest. What the gateway did not mint is refused without a look-up,
 * unless the realm holds imported credentials (`untaggedKeys`). The rest is `decideByRecord`.
 *
 * @param prefix what stands before random part and tag; part of the digest
 */
export function createTaggedVerifier(kind: TaggedKind, prefix: string, deps: TaggedCredentialDeps): Verifier {
  const { records, secrets } = deps;
  /** Secrets of records that exist, so that guesses cannot push them out; spares a warm request its HMACs. */
  const remembered = createBoundedMap<string, Computed>(MAX_REMEMBERED);

  async function compute(value: string, mayBeUntagged: boolean): Promise<Computed | null> {
    const isTagged = await hasValidTag(kind, value.slice(prefix.length), secrets.tagSecrets);
    if (!isTagged && !mayBeUntagged) return null;
    return { isTagged, digests: await storedDigests(value, secrets.peppers) };
  }

  return async (credential: Credential, match, context): Promise<Verdict> => {
    const { value } = credential;
    const { realm } = match.site;
    const known = remembered.get(value);
    if (known === undefined && !hasShape(value, prefix)) return { kind: "reject", reason: "malformed" };
    if (known === undefined && !realm.untaggedKeys && !hasTaggedShape(kind, value.slice(prefix.length))) {
      return { kind: "reject", reason: "tag" };
    }
    const computed = known ?? (await compute(value, realm.untaggedKeys));
    if (computed === null || (!computed.isTagged && !realm.untaggedKeys)) {
      return { kind: "reject", reason: "tag" };
    }
    const { digests } = computed;
    const knowledge = await records.know(
      {
        lookup: { by: "digest", kind, realm: realm.name, digests },
        bearer: null,
        freshnessSeconds: freshnessBeforeLimit(match.route),
      },
      context.background,
    );
    if (knowledge.credential === null || !digests.includes(knowledge.credential.digest)) {
      return { kind: "reject", reason: "unknown" };
    }
    if (known === undefined) remembered.set(value, computed);
    return decideByRecord(knowledge, credential, match, context);
  };
}

/** The prefix, then 1 to 256 characters of a token (RFC 6750 §2.1). */
function hasShape(value: string, prefix: string): boolean {
  const length = value.length - prefix.length;
  if (length < 1 || length > MAX_BODY_LENGTH || !value.startsWith(prefix)) return false;
  return /^[A-Za-z0-9._~+/=-]+$/.test(value.slice(prefix.length));
}
