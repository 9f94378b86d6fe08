// What API keys, PATs and sessions have in common: a record of the credential, read together with its owner.
import { remainingScopes } from "../../config/role-scopes.ts";
import type { RequestContext } from "../../context.ts";
import type { CredentialRecord, Knowledge, UserRecord } from "../../records/types.ts";
import type { Credential, Principal, RejectReason, Verdict } from "../../types.ts";
import type { Match } from "../route.ts";
import { isAddressAllowed } from "./ip-allow.ts";
import { roleAt, stepOf } from "./role.ts";
import { wrongUserHeader } from "./user-header.ts";

/**
 * Decides about a stored credential by what is known of it. Checks that the record is of the presented kind and of the
 * site's realm; its status; its expiry (refused from that second on); that its owner exists; revocation; what a preset
 * knows of such records; the client's address; for PATs, and sessions where the site says so, the user header; that the
 * owner is active. The order is the one in which existing systems answer, which tell these apart.
 * Does not check that the secret is the record's: callers have.
 */
export function decideByRecord(
  knowledge: Knowledge,
  credential: Credential,
  match: Match,
  context: RequestContext,
): Verdict {
  const record = knowledge.credential;
  if (record === null || record.kind !== credential.kind || record.realm !== match.site.realm.name) {
    return { kind: "reject", reason: "unknown" };
  }
  const { user } = record;
  // Known from here on, accepted or not: the log says whose credential was refused.
  context.trace.credentialId = record.id;
  context.trace.principalId = record.userId;
  if (record.status !== "active") return { kind: "reject", reason: record.status };
  const isExpired = record.expiresAtSeconds !== null && context.nowSeconds >= record.expiresAtSeconds;
  const mayBeExpired = match.route.takesExpiredKeys && !record.isReplaced;
  if (isExpired && !mayBeExpired) return { kind: "reject", reason: "expired" };
  if (!isOwner(user, record)) return { kind: "reject", reason: "owner_missing" };
  if (knowledge.isRevoked) return { kind: "reject", reason: "revoked" };
  const about = user.attributes;
  const unfit = match.site.preset?.rejectRecord(record, match.route) ?? null;
  if (unfit !== null) return { kind: "reject", reason: unfit, about };
  if (!isAddressAllowed(context.clientAddress, record.ipAllow)) {
    return { kind: "reject", reason: "address", about };
  }
  const reason = wrongOwnerClaim(credential, record.userId, match);
  if (reason !== null) return { kind: "reject", reason, about };
  if (user.status !== "active") return { kind: "reject", reason: "owner_inactive", about };
  return { kind: "accept", principal: principalOf(record, user, match) };
}

function isOwner(user: UserRecord | null, record: CredentialRecord): user is UserRecord {
  return (
    user !== null && user.status !== "deleted" && user.id === record.userId && user.realm === record.realm
  );
}

/** Whether the user header beside a credential names its owner, where the site asks for one. `null`: it does. */
export function wrongOwnerClaim(
  credential: Credential,
  ownerId: string,
  { site, route }: Match,
): RejectReason | null {
  const { userHeader, userHeaderOnSessions } = site.credentials;
  if (credential.kind === "api_key" || userHeader === null || route.ignoresUserHeader) return null;
  if (credential.kind === "session" && !userHeaderOnSessions) return null;
  return wrongUserHeader(credential.claimedUserId, ownerId);
}

function principalOf(record: CredentialRecord, user: UserRecord, { site }: Match): Principal {
  return {
    realm: user.realm,
    id: user.id,
    name: user.name ?? user.username,
    role: roleAt(stepOf(user.role, site), site),
    permissions: user.permissions,
    attributes: user.attributes,
    credential: {
      kind: record.kind,
      id: record.id,
      scopes:
        record.kind === "session" ? remainingScopes(record.scopes, site.realm, user.role) : record.scopes,
      expiresAtSeconds: record.expiresAtSeconds,
      sessionId: record.kind === "session" ? record.id : null,
    },
  };
}
