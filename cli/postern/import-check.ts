// The first reading of an import: every record is held against the form, the realms of the gateway, and all records
// before it. Nothing is sent.
import { createHash } from "node:crypto";
import {
  type ImportedCredentialRecord,
  type ImportedUserRecord,
  type ImportInput,
  ImportRecord,
  secretFieldOf,
  secretOf,
} from "../../src/control/import-records.ts";
import { parse } from "../../src/control/input.ts";
import { hasTaggedShape } from "../../src/crypto/credential-format.ts";
import { type InputError, Problem } from "../../src/problem.ts";
import { accountKey } from "../../src/store/account-name.ts";
import type { Source } from "./import-source.ts";

export interface KnownRealm {
  readonly roles: readonly string[];
  readonly hasUntaggedKeys: boolean;
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

/** @param onProgress gets 0 to 1 */
export async function checkRecords(
  source: Source,
  realms: ReadonlyMap<string, KnownRealm>,
  problems: Problems,
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
    const roles = realms.get(user.realm)?.roles ?? [];
    if (!roles.includes(user.role)) {
      errors.push({ field: "role", message: `must be a role of the realm: ${roles.join(", ")}` });
    }
    return errors;
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
    if (realms.get(record.realm)?.hasUntaggedKeys) return [];
    if (mayBeTagged(record.type, secret)) {
      if (doubtful.length < MAX_DOUBTFUL) doubtful.push({ at, record });
      return [];
    }
    const mend = `set untagged_keys = true in GATEWAY.realms.${record.realm}`;
    return [{ field, message: `was not made by this gateway: ${mend}, and deploy` }];
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
      problems.add(place, read);
      continue;
    }
    if (!realms.has(read.realm)) {
      problems.add(place, [{ field: "realm", message: `must be one of ${[...realms.keys()].join(", ")}` }]);
      continue;
    }
    problems.add(place, read.type === "user" ? userErrors(read, at) : credentialErrors(read, at));
  }
  return { users: ids.size, credentials, doubtful, userNames: ids };
}

function readRecord(value: unknown): ImportRecord | readonly InputError[] {
  try {
    return parse(ImportRecord, value) as ImportRecord;
  } catch (error) {
    if (error instanceof Problem) return error.details.errors ?? [];
    throw error;
  }
}

/** The length and alphabet of what the gateway makes, whatever its prefix is: only the gateway can tell more. */
function mayBeTagged(kind: "api_key" | "pat", secret: string | null): boolean {
  if (secret === null) return false;
  return hasTaggedShape(kind, kind === "pat" ? secret : secret.slice(-48));
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();
