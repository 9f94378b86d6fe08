// Who did what to what: the words of the audit log. No secret, digest or password ever goes into an entry.
import type { RequestContext } from "./context.ts";

/** Who caused a change. */
export type Actor =
  /** The `ADMIN_TOKEN` secret. */
  | { readonly kind: "admin_token" }
  | {
      readonly kind: "user";
      readonly realm: string;
      readonly id: string;
      /** Id of the session, key or PAT that was presented, or a token's `jti`; `null` where it has none. */
      readonly credentialId: string | null;
    }
  /** Somebody who is not signed in: a failed sign-in, a refresh token that was presented twice. */
  | { readonly kind: "anonymous" }
  /** The gateway itself: clean-up, sealing. */
  | { readonly kind: "system" };

export const AUDIT_ACTIONS = [
  "user.created",
  "user.updated",
  "user.deleted",
  "user.password_changed",
  "user.password_rehashed",
  "credential.created",
  "credential.updated",
  "credential.rotated",
  "credential.deleted",
  "session.created",
  "session.refresh_repeated",
  "session.refresh_reused",
  "session.ended",
  "sign_in.failed",
  "revocation.created",
  "import.applied",
  "epoch.renewed",
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export type AuditTargetKind = "user" | "api_key" | "pat" | "session" | "token" | "realm" | "gateway";

export interface AuditEntry {
  readonly atSeconds: number;
  readonly actor: Actor;
  readonly action: AuditAction;
  /** `id` is empty for a whole realm, and for the gateway. */
  readonly target: { readonly kind: AuditTargetKind; readonly realm: string; readonly id: string };
  /** The client's address; `null` where it is not known. */
  readonly address: string | null;
  readonly requestId: string | null;
  /** What changed, by field name, and numbers that explain it; small, never secret. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What was done by a request, now. */
export function auditEntry(
  context: Pick<RequestContext, "nowSeconds" | "clientAddress" | "requestId">,
  actor: Actor,
  action: AuditAction,
  target: AuditEntry["target"],
  details: AuditEntry["details"] = {},
): AuditEntry {
  const { nowSeconds, clientAddress, requestId } = context;
  return { atSeconds: nowSeconds, actor, action, target, address: clientAddress, requestId, details };
}
