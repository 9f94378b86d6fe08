// Bringing users, keys and PATs over from another system, and telling every isolate that the database was restored.
import * as v from "valibot";
import { GATEWAY_REALM } from "../config/realms.ts";
import { scopesOfRole } from "../config/role-scopes.ts";
import type { NamedSecret } from "../config/secrets.ts";
import type { Config, Realm } from "../config/types.ts";
import { hasValidTag } from "../crypto/credential-format.ts";
import { storedDigestsOfHash, toHex } from "../crypto/digest.ts";
import { type InputError, Problem, type ProblemCode } from "../problem.ts";
import type {
  ImportConflict,
  ImportDifference,
  ImportedCredential,
  ImportedUser,
} from "../store/import-plan.ts";
import { ADMIN_WRITES, type Call, type Endpoint, endpoint, ROOT_WRITES } from "./endpoint.ts";
import {
  DEFAULT_ROLE,
  type ImportedCredentialRecord,
  type ImportedUserRecord,
  ImportRecord,
  MAX_IMPORT_RECORDS,
  secretFieldOf,
  secretOf,
  secretProblem,
} from "./import-records.ts";
import { invalid } from "./input.ts";
import { type Administrator, demandHeld, demandRank, endingWith } from "./rank.ts";
import { denyUntil } from "./realm.ts";

const Body = v.strictObject({
  records: v.pipe(
    v.array(ImportRecord),
    v.maxLength(MAX_IMPORT_RECORDS, `must be at most ${MAX_IMPORT_RECORDS}`),
  ),
});
const Flag = v.optional(
  v.pipe(
    v.picklist(["true", "false"], "must be true or false"),
    v.transform((text) => text === "true"),
  ),
  "false",
);
const Query = v.strictObject({ dry_run: Flag, update: Flag });
/** `differing` of those that are present; `deleted`: of an update, and for good. */
const Count = v.strictObject({
  added: v.number(),
  present: v.number(),
  differing: v.number(),
  deleted: v.number(),
});

type ImportCall = Call<v.InferOutput<typeof Query>, v.InferOutput<typeof Body>, Administrator>;

/** One record, with the row it becomes. */
interface Taken<Row> {
  /** Into `records`. */
  readonly at: number;
  readonly row: Row;
  /** How the input calls what a conflict is about. */
  readonly secretField: string;
}

export const importEndpoints: readonly Endpoint[] = [
  endpoint({
    method: "POST",
    path: "/admin/import",
    id: "import",
    summary:
      "Adds users, API keys and PATs that are not there yet, and with update changes those that differ; all of them, or none where anything stands against one",
    access: ADMIN_WRITES,
    query: Query,
    body: Body,
    status: 200,
    answer: v.strictObject({
      users: Count,
      credentials: Count,
      dry_run: v.boolean(),
      update: v.boolean(),
      /** Which members of a record are not as they are here; with `update` they are taken over. */
      differences: v.array(v.strictObject({ field: v.string(), members: v.array(v.string()) })),
      /** Of a dry run only: otherwise a conflict is a problem. */
      conflicts: v.array(v.strictObject({ field: v.string(), message: v.string() })),
    }),
    handle: importRecords,
  }),
  endpoint({
    method: "POST",
    path: "/admin/epoch",
    id: "renewEpoch",
    summary: "After a restore of the database: every isolate forgets what it read before",
    access: ROOT_WRITES,
    query: null,
    body: null,
    status: 204,
    answer: null,
    async handle({ services, audit }) {
      await services.writes
        .audited(audit("epoch.renewed", { kind: "gateway", realm: GATEWAY_REALM, id: "" }))
        .renewEpoch();
    },
  }),
];

async function importRecords(call: ImportCall): Promise<unknown> {
  const { services, caller, context, body, query } = call;
  const { config } = services;
  demandRealms(config, body.records);
  const users: Taken<ImportedUser>[] = [];
  const credentials: Taken<ImportedCredential>[] = [];
  const errors: InputError[] = [];
  for (const [at, record] of body.records.entries()) {
    const realm = realmOf(config, record.realm);
    if (record.type === "user") {
      errors.push(...userErrors(record, at, realm));
      demandGrants(caller, realm, record, at);
      users.push({ at, row: userRow(record, context.nowSeconds), secretField: "" });
    } else {
      errors.push(...(await credentialErrors(record, at, realm, config)));
      demandGrants(caller, realm, record, at);
      const row = await credentialRow(record, config.secrets.peppers, context.nowSeconds);
      credentials.push({ at, row, secretField: secretFieldOf(record) });
    }
  }
  if (errors.length > 0) throw invalid(errors);

  const result = await services.imports.apply(
    { users: users.map(({ row }) => row), credentials: credentials.map(({ row }) => row) },
    {
      isDryRun: query.dry_run,
      isUpdate: query.update,
      nowSeconds: context.nowSeconds,
      mayOwn: (realm, role, permissions) => isAbove(caller, realmOf(config, realm), role, permissions),
      mayGive: (realm, scopes) =>
        isAllowed(() => demandHeld(realmOf(config, realm), scopes, caller.scopes, "scopes")),
      endingOf(name, from, to) {
        const realm = realmOf(config, name);
        const what = endingWith(realm, from, to);
        return what === null ? null : { what, denyUntilSeconds: denyUntil(call, realm) };
      },
      explain: (realm, written) => call.audit("import.applied", { kind: "realm", realm, id: "" }, written),
      explainChange: (kind) =>
        call.audit(kind === "user" ? "user.updated" : "credential.updated", { kind, realm: "", id: "" }),
    },
  );
  const taken = { user: users, credential: credentials };
  const conflicts = errorsOf(result.conflicts, taken);
  if (conflicts.length > 0 && !query.dry_run) {
    throw new Problem(codeOf(result.conflicts), `${conflicts.length} conflicts`, { errors: conflicts });
  }
  const differences = result.differences.map(({ kind, index, fields }: ImportDifference) => ({
    field: `records[${taken[kind][index]?.at ?? 0}]`,
    members: fields,
  }));
  return {
    users: result.users,
    credentials: result.credentials,
    dry_run: query.dry_run,
    update: query.update,
    differences,
    conflicts,
  };
}

/** @throws Problem `input_invalid` */
function demandRealms({ realms }: Config, records: readonly ImportRecord[]): void {
  const unknown = records.flatMap(({ realm }, at) =>
    realms.has(realm) ? [] : [errorAt(at, "realm", `must be one of ${[...realms.keys()].join(", ")}`)],
  );
  if (unknown.length > 0) throw invalid(unknown);
}

function realmOf({ realms }: Config, name: string): Realm {
  const realm = realms.get(name);
  if (realm === undefined) throw new Problem("internal", "a realm that was there is gone");
  return realm;
}

function userErrors(
  { role = DEFAULT_ROLE }: ImportedUserRecord,
  at: number,
  realm: Realm,
): readonly InputError[] {
  if (realm.roles.includes(role)) return [];
  return [errorAt(at, "role", `must be a role of the realm: ${realm.roles.join(", ")}`)];
}

/** Whether the secret could be used at all, as far as it is known. */
async function credentialErrors(
  record: ImportedCredentialRecord,
  at: number,
  realm: Realm,
  { gateway, secrets }: Config,
): Promise<readonly InputError[]> {
  const field = secretFieldOf(record);
  const secret = secretOf(record);
  const prefix = gateway.apiKeyPrefix;
  const problem = secret === null ? null : secretProblem(record.type, secret, prefix);
  const errors = problem === null ? [] : [errorAt(at, field, problem)];
  if (realm.untaggedKeys) return errors;
  const body = record.type === "api_key" ? secret?.slice(prefix.length) : secret;
  const isTagged =
    problem === null &&
    typeof body === "string" &&
    (await hasValidTag(record.type, body, secrets.tagSecrets));
  if (isTagged) return errors;
  return [
    ...errors,
    errorAt(
      at,
      field,
      `was not made by this gateway: set untagged_keys = true in GATEWAY.realms.${realm.name}`,
    ),
  ];
}

/** @throws Problem `rank_insufficient`, `grant_exceeds_holder` that name the record */
function demandGrants(
  caller: Administrator,
  realm: Realm,
  record: ImportedUserRecord | ImportedCredentialRecord,
  at: number,
): void {
  if (record.type === "user") {
    const { role = DEFAULT_ROLE, permissions = [], password = null } = record;
    naming(at, "role", "must be below the caller's own", () => demandRank(caller, realm, role));
    if (password !== null) {
      naming(at, "password", "must be left out: the caller does not hold what signing in gives", () =>
        demandHeld(realm, scopesOfRole(realm, role), caller.scopes, "password"),
      );
    }
    naming(at, "permissions", "must be permissions that the caller has", () =>
      demandHeld(realm, permissions, caller.permissions, "permissions"),
    );
  } else {
    naming(at, "scopes", "must be scopes that the caller's credential has", () =>
      demandHeld(realm, record.scopes ?? [], caller.scopes, "scopes"),
    );
  }
}

function naming(at: number, field: string, message: string, demand: () => void): void {
  try {
    demand();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(error.code, error.reason, { errors: [errorAt(at, field, message)] });
  }
}

/** Whoever holds a key acts with its owner's role and permissions. */
function isAbove(caller: Administrator, realm: Realm, role: string, permissions: readonly string[]): boolean {
  return isAllowed(() => {
    demandRank(caller, realm, role);
    demandHeld(realm, permissions, caller.permissions, "permissions");
  });
}

function isAllowed(demand: () => void): boolean {
  try {
    demand();
    return true;
  } catch (error) {
    if (error instanceof Problem) return false;
    throw error;
  }
}

function userRow(record: ImportedUserRecord, nowSeconds: number): ImportedUser {
  const { created_at: createdAt, type: _, password = null, ...user } = record;
  return {
    ...user,
    password,
    createdAtSeconds: Math.min(createdAt ?? nowSeconds, nowSeconds),
    updatedAtSeconds: nowSeconds,
  };
}

/** The id follows from the secret, so that importing it again finds the same credential. */
async function credentialRow(
  record: ImportedCredentialRecord,
  peppers: readonly NamedSecret[],
  nowSeconds: number,
): Promise<ImportedCredential> {
  const secret = secretOf(record);
  const hash = secret === null ? fromHex(record.sha256 ?? "") : await sha256(secret);
  const digests = await storedDigestsOfHash(hash, peppers);
  const [pepper] = peppers;
  const [digest] = digests;
  if (pepper === undefined || digest === undefined) {
    throw new Problem("config_invalid", "POSTERN_PEPPERS is missing");
  }
  const { type: kind, realm, user, name, status, scopes, ip_allow: ipAllow, attributes } = record;
  return {
    id: `${kind === "pat" ? "pat" : "key"}_${toHex(await sha256(`${realm} ${kind} ${digest}`)).slice(0, 24)}`,
    kind,
    realm,
    userId: user,
    name,
    digest,
    pepper: pepper.id,
    status,
    scopes,
    ipAllow,
    attributes,
    createdAtSeconds: Math.min(record.created_at ?? nowSeconds, nowSeconds),
    expiresAtSeconds: record.expires_at,
    digests,
    isIssuedNow: (record.created_at ?? null) === null,
  };
}

const sha256 = async (text: string) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));

const fromHex = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

const errorAt = (at: number, field: string, message: string): InputError => ({
  field: `records[${at}].${field}`,
  message,
});

function errorsOf(
  conflicts: readonly ImportConflict[],
  taken: Readonly<Record<ImportConflict["kind"], readonly Taken<unknown>[]>>,
): readonly InputError[] {
  return conflicts.map(({ kind, index, field, message }) => {
    const { at = 0, secretField = "" } = taken[kind][index] ?? {};
    const ofRank = kind === "user" ? "id" : "user";
    return errorAt(at, field === "secret" ? secretField : field === "rank" ? ofRank : field, message);
  });
}

function codeOf(conflicts: readonly ImportConflict[]): ProblemCode {
  const fields = new Set(conflicts.map(({ field }) => field));
  if (fields.has("rank")) return "rank_insufficient";
  return fields.has("user") ? "input_invalid" : "already_exists";
}
