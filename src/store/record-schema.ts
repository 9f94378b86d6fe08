// The form of records, whether they come from D1 or from KV: neither is believed without a look.
import * as v from "valibot";

const Attributes = v.record(v.string(), v.unknown());
const Texts = v.array(v.string());

export const StoredUser = v.object({
  realm: v.string(),
  id: v.string(),
  username: v.nullable(v.string()),
  name: v.nullable(v.string()),
  role: v.string(),
  permissions: Texts,
  status: v.picklist(["active", "disabled", "pending", "deleted"]),
  attributes: Attributes,
});

export const StoredCredential = v.object({
  kind: v.picklist(["api_key", "pat", "session"]),
  id: v.string(),
  realm: v.string(),
  userId: v.string(),
  name: v.nullable(v.string()),
  status: v.picklist(["active", "disabled", "deleted"]),
  digest: v.string(),
  scopes: Texts,
  createdAtSeconds: v.number(),
  expiresAtSeconds: v.nullable(v.number()),
  isReplaced: v.boolean(),
  ipAllow: Texts,
  attributes: Attributes,
  user: v.nullable(StoredUser),
});

export const StoredEntry = v.object({
  stamp: v.object({ epoch: v.string(), seq: v.number() }),
  subjects: Texts,
  credential: v.nullable(StoredCredential),
  user: v.nullable(StoredUser),
});

export const SubjectList = Texts;
