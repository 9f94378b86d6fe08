// What the API shows: the form of every answer about users, sessions, denials and realms, and how it is made of a view.
import * as v from "valibot";
import type { Realm } from "../config/types.ts";
import type { ListedSession, RevocationView, UserView } from "../store/directory.ts";
import { UserStatus } from "./fields.ts";

const Text = v.string();
const Texts = v.array(Text);
const MaybeText = v.nullable(Text);
const Seconds = v.pipe(v.number(), v.integer());
const MaybeSeconds = v.nullable(Seconds);

export const RealmSummary = v.strictObject({
  name: Text,
  roles: Texts,
  sign_in: v.boolean(),
  untagged_keys: v.boolean(),
  /** What every API key begins with, also one that is imported. */
  api_key_prefix: Text,
});

export const User = v.strictObject({
  realm: Text,
  id: Text,
  username: MaybeText,
  email: MaybeText,
  name: MaybeText,
  role: Text,
  permissions: Texts,
  status: UserStatus,
  attributes: v.record(Text, v.unknown()),
  has_password: v.boolean(),
  created_at: Seconds,
  updated_at: Seconds,
});

const SESSION_MEMBERS = {
  id: Text,
  realm: Text,
  user: Text,
  kind: v.picklist(["cookie", "token"]),
  scopes: Texts,
  created_at: Seconds,
  expires_at: Seconds,
  idle_expires_at: MaybeSeconds,
  last_used_at: MaybeSeconds,
  address: MaybeText,
  user_agent: MaybeText,
  /** Refused, and refreshed no more: what its owner or the realm was given until a later time was revoked. */
  revoked: v.boolean(),
};

export const Session = v.strictObject(SESSION_MEMBERS);
/** `current`: the session that asks. */
export const OwnSession = v.strictObject({ ...SESSION_MEMBERS, current: v.boolean() });

/** `id`: of the token, session or user; `null` for a whole realm. Without `issued_before`: whenever it was issued. */
export const Revocation = v.strictObject({
  realm: Text,
  kind: v.picklist(["token", "session", "user", "realm"]),
  id: MaybeText,
  issued_before: MaybeSeconds,
  expires_at: MaybeSeconds,
});

export const toRealm = (
  { name, roles, signIn, untaggedKeys }: Realm,
  apiKeyPrefix: string,
): v.InferOutput<typeof RealmSummary> => ({
  name,
  roles: [...roles],
  sign_in: signIn !== null,
  untagged_keys: untaggedKeys,
  api_key_prefix: apiKeyPrefix,
});

export const toUser = (user: UserView): v.InferOutput<typeof User> => ({
  realm: user.realm,
  id: user.id,
  username: user.username,
  email: user.email,
  name: user.name,
  role: user.role,
  permissions: [...user.permissions],
  status: user.status,
  attributes: user.attributes,
  has_password: user.hasPassword,
  created_at: user.createdAtSeconds,
  updated_at: user.updatedAtSeconds,
});

export const toSession = (session: ListedSession): v.InferOutput<typeof Session> => ({
  id: session.id,
  realm: session.realm,
  user: session.userId,
  kind: session.kind,
  scopes: [...session.scopes],
  created_at: session.createdAtSeconds,
  expires_at: session.expiresAtSeconds,
  idle_expires_at: session.idleExpiresAtSeconds,
  last_used_at: session.lastUsedAtSeconds,
  address: session.address,
  user_agent: session.userAgent,
  revoked: session.isRevoked,
});

export const toRevocation = (denial: RevocationView): v.InferOutput<typeof Revocation> => ({
  realm: denial.realm,
  kind: denial.kind === "subject" ? "user" : denial.kind,
  id: denial.kind === "realm" ? null : denial.value,
  issued_before: denial.issuedBeforeSeconds,
  expires_at: denial.expiresAtSeconds,
});
