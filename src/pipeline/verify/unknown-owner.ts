// Credentials of which the origin does not say whose they are: each stands for itself.
import { createHash } from "node:crypto";
import type { Credential, Principal } from "../../types.ts";

/** Of the digest. */
const FINGERPRINT_LENGTH = 16;

/**
 * What the owner of such a credential goes by: no secret, and always the same, in any case of its letters. An origin's
 * database may find it in any (MySQL does, unless told otherwise): in other letters it would be another one to limits
 * and revocations here.
 */
export function nameOfUnknownOwner({ kind, value }: Credential): string {
  const digest = createHash("sha256").update(value.toLowerCase(), "utf8").digest("hex");
  return `${kind}:${digest.slice(0, FINGERPRINT_LENGTH)}`;
}

/** Whether nobody here can say what the owner may do; the origin can, and does. */
export function isOwnerUnknown({ id, credential }: Principal): boolean {
  return credential.id === null && id.startsWith(`${credential.kind}:`);
}
