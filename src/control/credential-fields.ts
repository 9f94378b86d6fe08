// Keys and PATs as inputs have them and as answers show them. The same for both kinds, but for the name of the secret.
import * as v from "valibot";
import { isAddressBlock } from "../pipeline/verify/ip-allow.ts";
import type { CredentialView } from "../store/directory.ts";
import { Attributes, CredentialStatus, DisplayName, EpochSeconds, Words } from "./fields.ts";

export type CredentialKind = CredentialView["kind"];

const MAX_GRACE_SECONDS = 2_592_000;

/** What verifies addresses says what a block is: an entry that it would not understand would allow nobody. */
const AddressBlocks = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check(isAddressBlock, "must be an address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32"),
    ),
  ),
  v.maxLength(100, "must be at most 100"),
);

const SETTINGS = {
  name: v.optional(v.nullable(DisplayName)),
  scopes: v.optional(Words),
  /** `null`: never. */
  expires_at: v.optional(v.nullable(EpochSeconds)),
  ip_allow: v.optional(AddressBlocks),
};

/** What a user may say of a key of their own; attributes are what the gateway tells origins, and not theirs to set. */
export const NEW_CREDENTIAL_MEMBERS = SETTINGS;
export const OwnCredentialPatch = v.strictObject({ ...SETTINGS, status: v.optional(CredentialStatus) });
export const CredentialPatch = v.strictObject({
  ...OwnCredentialPatch.entries,
  attributes: v.optional(Attributes),
});

export const Rotation = v.strictObject({
  grace_seconds: v.optional(
    v.pipe(
      v.number(),
      v.integer("must be whole seconds"),
      v.minValue(0, "must not be negative"),
      v.maxValue(MAX_GRACE_SECONDS, "must be at most 30 days"),
    ),
  ),
});

export type CredentialInput = v.InferOutput<typeof CredentialPatch>;

const MEMBERS = {
  id: v.string(),
  realm: v.string(),
  user: v.string(),
  name: v.nullable(v.string()),
  status: CredentialStatus,
  scopes: v.array(v.string()),
  ip_allow: v.array(v.string()),
  attributes: v.record(v.string(), v.unknown()),
  created_at: v.number(),
  expires_at: v.nullable(v.number()),
  last_used_at: v.nullable(v.number()),
  /** The id of what a rotation put in its place. */
  replaced_by: v.nullable(v.string()),
  /** Refused for good, whatever `status` says: what its owner or the realm was given until a later time was revoked. */
  revoked: v.boolean(),
};

const ApiKey = v.strictObject({ ...MEMBERS, kind: v.literal("api_key") });
const Pat = v.strictObject({ ...MEMBERS, kind: v.literal("pat") });

/** What the two kinds differ in: words of the API, and how long a rotated one goes on unless somebody says. */
export const KINDS = {
  api_key: {
    path: "keys",
    one: "API key",
    many: "API keys",
    operation: "Key",
    idPrefix: "key_",
    secretMember: "key",
    graceSeconds: 86_400,
    resource: ApiKey,
    /** The one answer that holds the secret. */
    minted: v.strictObject({ ...ApiKey.entries, key: v.string() }),
  },
  pat: {
    path: "pats",
    one: "PAT",
    many: "PATs",
    operation: "Pat",
    idPrefix: "pat_",
    secretMember: "token",
    graceSeconds: 0,
    resource: Pat,
    minted: v.strictObject({ ...Pat.entries, token: v.string() }),
  },
} as const;

export const toCredential = (credential: CredentialView) => ({
  id: credential.id,
  kind: credential.kind,
  realm: credential.realm,
  user: credential.userId,
  name: credential.name,
  status: credential.status,
  scopes: credential.scopes,
  ip_allow: credential.ipAllow,
  attributes: credential.attributes,
  created_at: credential.createdAtSeconds,
  expires_at: credential.expiresAtSeconds,
  last_used_at: credential.lastUsedAtSeconds,
  replaced_by: credential.replacedBy,
  revoked: credential.isRevoked,
});
