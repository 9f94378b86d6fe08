// The first reading of an import: every record is held against the form, the realms of the gateway, and all records
// before it. Nothing is sent.
import { createHash } from "node:crypto";
import {
  DEFAULT_ROLE,
  type ImportedCredentialRecord,
  type ImportedUserRecord,
  type ImportInput,
  ImportRecord,
  secretFieldOf,
  secretOf,
  secretProblem,
} from "../../src/control/import-records.ts";
import { parse } from "../../src/control/input.ts";
import { hasTaggedShape } from "../../src/crypto/credential-format.ts";
import { type InputError, Problem } from "../../src/problem.ts";
import { accountKey } from "../../src/store/account-name.ts";
import type { Source } from "./import-source.ts";

export interface KnownRealm {
  readonly roles: readonly string[];
  readonly hasUntaggedKeys: boolean;
  readonly apiKeyPrefix: string;
}

/** What is wrong: the first ones in words, all of them counted. */
export interface Problems {
  readonly lines: readonly string[];
  readonly count: number;
  add(place: string, errors: readonly InputError[]): void;
}

export interface Checked {
  readonly users: number;
  readonly credentials: number;
  /** The first credentials of which only the gateway knows whether it made them, and refuses them otherwise. */
  readonly doubtful: readonly { readonly at: number; readonly record: ImportInput }[];
  /** Realm, blank, id of the users that the source holds. */
  readonly userNames: { has(name: string): boolean };
}

const MAX_PROBLEM_LINES = 50;
const MAX_DOUBTFUL = 100;

export function createProblems(): Problems {
  const lines: string[] = [];
  let count = 0;
  return {
    lines,
    get count() {
      return count;
    },
    add(place, errors) {
      for (const { field, message } of errors) {
        count += 1;
        if (lines.length >= MAX_PROBLEM_LINES) continue;
        lines.push(`${place}: ${field === "" ? "" : `${field} `}${message}`);
      }
    },
  };
}

/**
 * @param putInForce what makes a changed configuration count: `deploy`
 * @param onProgress gets 0 to 1
 */
export async function checkRecords(
  source: Source,
  realms: ReadonlyMap<string, KnownRealm>,
  problems: Problems,
  putInForce: string,
  onProgress: (share: number) => void,
): Promise<Checked> {
  // The only things that grow with the number of records: names, and 16 bytes of each secret's digest.
  const ids = new Map<string, number>();
  const names = new Map<string, number>();
  const secrets = new Map<string, Map<string, number>>();
  const doubtful: { at: number; record: ImportInput }[] = [];
  let credentials = 0;

  /** Where the first one stands. */
  const first = (seen: Map<string, number>, name: string, at: number): string | null => {
    const before = seen.get(name);
    if (before === undefined) seen.set(name, at);
    return before === undefined ? null : source.placeOf(before);
  };

  const userErrors = (user: ImportedUserRecord, at: number): readonly InputError[] => {
    const errors: InputError[] = [];
    const twice = (field: "id" | "username" | "email", seen: Map<string, number>, name: string) => {
      const place = first(seen, name, at);
      if (place !== null)
        errors.push({ field, message: `stands at ${place} too: leave one out, or change it` });
    };
    twice("id", ids, `${user.realm} ${user.id}`);
    for (const field of ["username", "email"] as const) {
      const key = accountKey(user[field]);
      if (typeof key === "string") twice(field, names, `${user.realm} ${field} ${key}`);
    }
    return [...errors, ...roleErrors(user.role ?? DEFAULT_ROLE, realms.get(user.realm))];
  };

  const credentialErrors = (record: ImportedCredentialRecord, at: number): readonly InputError[] => {
    credentials += 1;
    const field = secretFieldOf(record);
    const secret = secretOf(record);
    const digest = secret === null ? Buffer.from(record.sha256 ?? "", "hex") : sha256(secret);
    const kind = `${record.realm} ${record.type}`;
    const known = secrets.get(kind) ?? new Map<string, number>();
    secrets.set(kind, known);
    const place = first(known, digest.toString("latin1", 0, 16), at);
    if (place !== null) return [{ field, message: `stands at ${place} too: leave one out` }];
    const realm = realms.get(record.realm);
    const errors = secretErrors(record.type, secret, field, record.realm, realm, putInForce);
    const isDoubtful = errors.length === 0 && realm?.hasUntaggedKeys === false;
    if (isDoubtful && doubtful.length < MAX_DOUBTFUL) doubtful.push({ at, record });
    return errors;
  };

  /** Of a record that has not the right form: what else is wrong with it, so that all is mended in one round. */
  const furtherErrors = (value: unknown, told: readonly InputError[]): readonly InputError[] => {
    if (typeof value !== "object" || value === null) return [];
    const { type, realm: name, role, key, token } = value as Readonly<Record<string, unknown>>;
    const isFine = (field: string) => !told.some((error) => error.field === field);
    if (typeof name !== "string" || !isFine("realm")) return [];
    const realm = realms.get(name);
    if (realm === undefined) return [unknownRealm(realms)];
    if (type === "user") return typeof role === "string" && isFine("role") ? roleErrors(role, realm) : [];
    const field = type === "pat" ? "token" : "key";
    const secret = type === "pat" ? token : key;
    if ((type !== "pat" && type !== "api_key") || typeof secret !== "string" || !isFine(field)) return [];
    return secretErrors(type, secret, field, name, realm, putInForce);
  };

  for await (const { at, value, problem } of source.items()) {
    onProgress(source.progress());
    const place = source.placeOf(at);
    if (problem !== undefined) {
      problems.add(place, [{ field: "", message: problem }]);
      continue;
    }
    const read = readRecord(value);
    if (!("type" in read)) {
      problems.add(place, [...read, ...furtherErrors(value, read)]);
      continue;
    }
    if (!realms.has(read.realm)) {
      problems.add(place, [unknownRealm(realms)]);
      continue;
    }
    problems.add(place, read.type === "user" ? userErrors(read, at) : credentialErrors(read, at));
  }
  return { users: ids.size, credentials, doubtful, userNames: ids };
}

const unknownRealm = (realms: ReadonlyMap<string, KnownRealm>): InputError => ({
  field: "realm",
  message: `must be one of ${[...realms.keys()].join(", ")}`,
});

function roleErrors(role: string, realm: KnownRealm | undefined): readonly InputError[] {
  const roles = realm?.roles ?? [];
  if (roles.includes(role)) return [];
  return [{ field: "role", message: `must be a role of the realm: ${roles.join(", ")}` }];
}

/** Whether it could be used at all, as far as that can be told here. */
function secretErrors(
  type: "api_key" | "pat",
  secret: string | null,
  field: string,
  realmName: string,
  realm: KnownRealm | undefined,
  putInForce: string,
): readonly InputError[] {
  const prefix = realm?.apiKeyPrefix ?? "";
  const problem = secret === null ? null : secretProblem(type, secret, prefix);
  const errors = problem === null ? [] : [{ field, message: problem }];
  if (realm?.hasUntaggedKeys || (problem === null && mayBeTagged(type, secret, prefix))) return errors;
  const mend = `set untagged_keys = true in GATEWAY.realms.${realmName}, and ${putInForce}`;
  return [...errors, { field, message: `was not made by this gateway: ${mend}` }];
}

function readRecord(value: unknown): ImportRecord | readonly InputError[] {
  try {
    return parse(ImportRecord, value) as ImportRecord;
  } catch (error) {
    if (error instanceof Problem) return error.details.errors ?? [];
    throw error;
  }
}

/** The length and alphabet of what the gateway makes: only the gateway can tell more. */
function mayBeTagged(kind: "api_key" | "pat", secret: string | null, prefix: string): boolean {
  if (secret === null) return false;
  return hasTaggedShape(kind, kind === "pat" ? secret : secret.slice(prefix.length));
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();
