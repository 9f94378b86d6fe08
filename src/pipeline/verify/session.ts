// Session cookies: `<session id>.<secret>`, the secret 32 random and 8 tag characters.
import type { GatewaySecrets } from "../../config/secrets.ts";
import { isSameSecret } from "../../crypto/constant-time.ts";
import { hasValidSessionTag } from "../../crypto/credential-format.ts";
import { storedDigests } from "../../crypto/digest.ts";
import { createBoundedMap } from "../../records/bounded-map.ts";
import type { Records } from "../../records/types.ts";
import type { Verifier } from "../authenticate.ts";
import { freshnessBeforeLimit } from "../limit.ts";
import { mayUseCookie } from "./same-origin.ts";
import { decideByRecord } from "./stored-credential.ts";

export interface SessionVerifierDeps {
  readonly records: Pick<Records, "know">;
  readonly secrets: Pick<GatewaySecrets, "tagSecrets" | "peppers">;
}

const FORM = /^([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,256})$/;
const MAX_REMEMBERED = 4_096;

/**
 * Verifies session cookies: for anything but GET, HEAD and OPTIONS, and for upgrades, that the request comes from this
 * origin or an allowed one; then the tag, so that what was not minted here costs no look-up; then the secret against the
 * record's digest under any pepper; then `decideByRecord`.
 */
export function createSessionVerifier({ records, secrets }: SessionVerifierDeps): Verifier {
  /** Digests of secrets that once were right, whole cookie as key; spares a warm request its HMACs. */
  const remembered = createBoundedMap<string, readonly string[]>(MAX_REMEMBERED);

  return async (credential, match, context) => {
    const { value } = credential;
    const dot = value.indexOf(".");
    const known = remembered.get(value);
    if (known === undefined && !FORM.test(value)) return { kind: "reject", reason: "malformed" };
    if (!mayUseCookie(match, context)) return { kind: "reject", reason: "cross_site" };
    if (known === undefined && !(await hasValidSessionTag(value, secrets.tagSecrets))) {
      return { kind: "reject", reason: "tag" };
    }
    const knowledge = await records.know(
      {
        lookup: { by: "session", realm: match.site.realm.name, id: value.slice(0, dot) },
        bearer: null,
        freshnessSeconds: freshnessBeforeLimit(match.route),
      },
      context.background,
    );
    const record = knowledge.credential;
    if (record === null) return { kind: "reject", reason: "unknown" };
    const digests = known ?? (await storedDigests(value.slice(dot + 1), secrets.peppers));
    let isRight = false;
    for (const digest of digests) if (isSameSecret(digest, record.digest)) isRight = true;
    if (!isRight || record.id !== value.slice(0, dot)) return { kind: "reject", reason: "unknown" };
    if (known === undefined) remembered.set(value, digests);
    return decideByRecord(knowledge, credential, match, context);
  };
}
