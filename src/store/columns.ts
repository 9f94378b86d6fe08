// The columns of the tables whose rows are written by name. Checked against the schema by type: none is missing, none is
// misspelt, and nothing of the schema is in the bundle.
import type { audit, credentials, passwords, revocations, sessions, users } from "./schema.ts";

type ColumnsOf<Table extends { readonly $inferInsert: object }> = {
  readonly [Key in keyof Table["$inferInsert"] & keyof Table]: Table[Key] extends {
    readonly _: { readonly name: infer Name };
  }
    ? Name
    : never;
};

export const USER_COLUMNS: ColumnsOf<typeof users> = {
  realm: "realm",
  id: "id",
  username: "username",
  email: "email",
  usernameKey: "username_key",
  emailKey: "email_key",
  name: "name",
  role: "role",
  permissions: "permissions",
  status: "status",
  attributes: "attributes",
  createdAtSeconds: "created_at_seconds",
  updatedAtSeconds: "updated_at_seconds",
};

export const PASSWORD_COLUMNS: ColumnsOf<typeof passwords> = {
  realm: "realm",
  userId: "user_id",
  scheme: "scheme",
  hash: "hash",
  changedAtSeconds: "changed_at_seconds",
};

export const CREDENTIAL_COLUMNS: ColumnsOf<typeof credentials> = {
  id: "id",
  kind: "kind",
  realm: "realm",
  userId: "user_id",
  name: "name",
  digest: "digest",
  pepper: "pepper",
  status: "status",
  scopes: "scopes",
  ipAllow: "ip_allow",
  attributes: "attributes",
  createdAtSeconds: "created_at_seconds",
  expiresAtSeconds: "expires_at_seconds",
  lastUsedAtSeconds: "last_used_at_seconds",
  replacedBy: "replaced_by",
};

export const SESSION_COLUMNS: ColumnsOf<typeof sessions> = {
  id: "id",
  realm: "realm",
  userId: "user_id",
  kind: "kind",
  digest: "digest",
  pepper: "pepper",
  status: "status",
  scopes: "scopes",
  createdAtSeconds: "created_at_seconds",
  expiresAtSeconds: "expires_at_seconds",
  counter: "counter",
  advancedAtSeconds: "advanced_at_seconds",
  idleExpiresAtSeconds: "idle_expires_at_seconds",
  lastUsedAtSeconds: "last_used_at_seconds",
  address: "address",
  userAgent: "user_agent",
};

export const REVOCATION_COLUMNS: ColumnsOf<typeof revocations> = {
  realm: "realm",
  kind: "kind",
  value: "value",
  issuedBeforeSeconds: "issued_before_seconds",
  expiresAtSeconds: "expires_at_seconds",
  seq: "seq",
};

export const AUDIT_COLUMNS: ColumnsOf<typeof audit> = {
  seq: "seq",
  atSeconds: "at_seconds",
  action: "action",
  actorKind: "actor_kind",
  actorRealm: "actor_realm",
  actorId: "actor_id",
  actorCredential: "actor_credential",
  targetKind: "target_kind",
  targetRealm: "target_realm",
  targetId: "target_id",
  address: "address",
  requestId: "request_id",
  details: "details",
};
