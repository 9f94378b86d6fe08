// What an import is made of, one record a user, API key or PAT. Read here and, before anything is sent, by the CLI:
// nothing of the Worker may be imported.
import * as v from "valibot";
import { legacyHashProblem } from "../issuer/legacy-passwords.ts";
import { isAddressBlock } from "../pipeline/verify/ip-allow.ts";
import {
  Attributes,
  CredentialStatus,
  DisplayName,
  EmailAddress,
  EpochSeconds,
  RealmName,
  Role,
  UserId,
  Username,
  UserStatus,
  Words,
} from "./fields.ts";

/** More in one request are refused. */
export const MAX_IMPORT_RECORDS = 1_000;
const MAX_BLOCKS = 100;

/** `undefined`: the record does not say; what is there already stays as it is then. */
const optional = <Schema extends v.GenericSchema>(schema: Schema) => v.nullish(schema);

/** Of a user whose record names none. */
export const DEFAULT_ROLE = "user";

const Password = v.pipe(
  v.strictObject(
    {
      scheme: v.picklist(
        ["scrypt", "bcrypt", "cloudreve", "aspnet-identity"],
        "must be scrypt, bcrypt, cloudreve or aspnet-identity",
      ),
      hash: v.pipe(v.string(), v.maxLength(1_024, "must be at most 1024 characters")),
    },
    'must be an object with scheme and hash, like {"scheme":"bcrypt","hash":"…"}',
  ),
  v.forward(
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const problem = legacyHashProblem(dataset.value.scheme, dataset.value.hash);
      if (problem !== null) addIssue({ message: problem });
    }),
    ["hash"],
  ),
);

export const ImportedUserRecord = v.strictObject({
  type: v.literal("user"),
  realm: RealmName,
  id: UserId,
  username: optional(Username),
  email: optional(EmailAddress),
  name: optional(DisplayName),
  role: v.optional(Role),
  permissions: v.optional(Words),
  status: v.optional(UserStatus),
  attributes: v.optional(Attributes),
  password: optional(Password),
  created_at: optional(EpochSeconds),
});

/** RFC 6750 §2.1; what a key has before it, like `sk-`, counts. */
const Secret = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9._~+/=-]{16,300}$/, "must be 16 to 300 letters, digits and . _ ~ + / = -"),
);
const Sha256 = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{64}$/i, "must be 64 hexadecimal digits"),
  v.transform((hex) => hex.toLowerCase()),
);
const AddressBlocks = v.pipe(
  v.array(v.pipe(v.string(), v.check(isAddressBlock, "must be an IP address or a block like 10.0.0.0/8"))),
  v.maxLength(MAX_BLOCKS, `must be at most ${MAX_BLOCKS}`),
);

const CREDENTIAL_MEMBERS = {
  realm: RealmName,
  user: UserId,
  name: optional(DisplayName),
  sha256: v.optional(Sha256),
  status: v.optional(CredentialStatus),
  expires_at: optional(EpochSeconds),
  ip_allow: v.optional(AddressBlocks),
  scopes: v.optional(Words),
  attributes: v.optional(Attributes),
  created_at: optional(EpochSeconds),
};

export const ImportedKeyRecord = v.pipe(
  v.strictObject({ type: v.literal("api_key"), key: v.optional(Secret), ...CREDENTIAL_MEMBERS }),
  v.forward(
    v.check(({ key, sha256 }) => isOne(key, sha256), "is required, or sha256 instead of it"),
    ["key"],
  ),
);

export const ImportedPatRecord = v.pipe(
  v.strictObject({ type: v.literal("pat"), token: v.optional(Secret), ...CREDENTIAL_MEMBERS }),
  v.forward(
    v.check(({ token, sha256 }) => isOne(token, sha256), "is required, or sha256 instead of it"),
    ["token"],
  ),
);

export const ImportRecord = v.variant(
  "type",
  [ImportedUserRecord, ImportedKeyRecord, ImportedPatRecord],
  "must be user, api_key or pat",
);

export type ImportedUserRecord = v.InferOutput<typeof ImportedUserRecord>;
export type ImportedCredentialRecord =
  | v.InferOutput<typeof ImportedKeyRecord>
  | v.InferOutput<typeof ImportedPatRecord>;
export type ImportRecord = v.InferOutput<typeof ImportRecord>;
/** As it stands in a file. */
export type ImportInput = v.InferInput<typeof ImportRecord>;

/** The secret in the clear; `null`: only its digest is known. */
export const secretOf = (record: ImportedCredentialRecord): string | null =>
  (record.type === "api_key" ? record.key : record.token) ?? null;

/** Under which member it stands, for messages. */
export const secretFieldOf = (record: ImportedCredentialRecord): "key" | "token" | "sha256" => {
  if (record.sha256 !== undefined) return "sha256";
  return record.type === "api_key" ? "key" : "token";
};

/**
 * Why nobody could ever present this secret: the gateway tells kinds apart by their form.
 * @returns the mend; `null`: it can be presented
 */
export function secretProblem(type: "api_key" | "pat", secret: string, keyPrefix: string): string | null {
  if (secret.split(".").length === 3) return "must not have two dots, or it would be read as a JWT";
  if (type === "api_key") {
    if (!secret.startsWith(keyPrefix)) {
      return `must begin with ${keyPrefix}, as keys do here: set api_key_prefix in GATEWAY, or bring it as a pat with token`;
    }
    return secret.length - keyPrefix.length > 256
      ? `must have at most 256 characters after ${keyPrefix}`
      : null;
  }
  if (secret.startsWith(keyPrefix))
    return `must not begin with ${keyPrefix}, or it would be read as an API key`;
  return secret.length > 256 ? "must be at most 256 characters" : null;
}

const isOne = (secret: string | undefined, sha256: string | undefined) =>
  (secret === undefined) !== (sha256 === undefined);
