// The second reading of an import: records in chunks, a few requests at a time, users before what is theirs.
import { setTimeout as sleep } from "node:timers/promises";
import type { ImportInput } from "../../src/control/import-records.ts";
import { UNKNOWN_OWNER } from "../../src/store/import-plan.ts";
import { Failure } from "./failure.ts";
import { type Answer, type FieldError, failureOf, type Gateway, type Refusal } from "./gateway.ts";
import type { Checked, Problems } from "./import-check.ts";
import type { Source } from "./import-source.ts";

/** Below what the gateway takes in one request: 1,000 records, 1 MiB. */
export const MAX_CHUNK_RECORDS = 1_000;
export const MAX_CHUNK_BYTES = 900_000;
const MAX_IN_FLIGHT = 3;
const MAX_ATTEMPTS = 8;
const LONGEST_WAIT_SECONDS = 60;
const DRY_RUN = "admin/import?dry_run=true";
const MAX_DIFFERENCES = 50;

export interface Count {
  added: number;
  present: number;
  /** Of those that are present. */
  differing: number;
  deleted: number;
}

export interface Sent {
  readonly users: Count;
  readonly credentials: Count;
  /** The first ones: where they stand, and which members differ. */
  readonly differences: { readonly place: string; readonly members: readonly string[] }[];
}

interface Chunk {
  readonly records: ImportInput[];
  readonly places: number[];
}

interface ChunkAnswer {
  readonly users: Count;
  readonly credentials: Count;
  readonly differences: readonly { readonly field: string; readonly members: readonly string[] }[];
  readonly conflicts: readonly FieldError[];
}

export interface SendOptions {
  readonly isDryRun: boolean;
  /** Takes over what differs. */
  readonly isUpdate: boolean;
  /** @param done records that the gateway has answered for */
  onProgress(done: number): void;
  /** Sends nothing more; what is on its way is waited for. */
  readonly stopping?: AbortSignal;
  /** Overridden by tests. */
  readonly wait?: (ms: number) => Promise<unknown>;
}

/** Asks about what only the gateway can tell, before anything is sent. @throws Failure */
export async function askAboutDoubtful(
  gateway: Gateway,
  source: Source,
  { doubtful }: Checked,
  problems: Problems,
  wait = sleep as (ms: number) => Promise<unknown>,
): Promise<void> {
  if (doubtful.length === 0) return;
  const records = doubtful.map(({ record }) => record);
  const answer = await askPatiently(gateway, DRY_RUN, { records }, wait);
  if (answer.ok) return; // what stands against them is told when they are sent
  if (answer.refusal.errors.length === 0) throw failureOf(answer.refusal);
  for (const { field, message } of answer.refusal.errors) {
    const { index, rest } = placeIn(field);
    const at = doubtful[index]?.at;
    problems.add(at === undefined ? "the gateway says" : source.placeOf(at), [{ field: rest, message }]);
  }
}

/**
 * Sends what was checked. Whatever was sent before is known again, so that the same import can be run as often as need be.
 * In a dry run everything is asked about, and conflicts go to `problems`; otherwise the first refusal ends it.
 * @throws Failure where the gateway is not there any more, after several attempts, or it was stopped
 */
export async function sendRecords(
  gateway: Gateway,
  source: Source,
  checked: Checked,
  problems: Problems,
  {
    isDryRun,
    isUpdate,
    onProgress,
    stopping,
    wait = (ms) => sleep(ms, undefined, { ...(stopping && { signal: stopping }) }),
  }: SendOptions,
): Promise<Sent> {
  const none = { added: 0, present: 0, differing: 0, deleted: 0 };
  const sent: Sent = { users: { ...none }, credentials: { ...none }, differences: [] };
  const path = `admin/import?dry_run=${isDryRun}${isUpdate ? "&update=true" : ""}`;
  const inFlight = new Set<Promise<void>>();
  /** Of a dry run: what is theirs would not be added either. Users come first, all of them. */
  const refusedUsers = new Set<string>();
  let done = 0;
  let failure: unknown = null;

  const sendChunk = async ({ records, places }: Chunk) => {
    const answer = await askPatiently(gateway, path, { records }, wait, stopping);
    if (answer.ok) {
      const { users, credentials, differences, conflicts } = answer.body as ChunkAnswer;
      addTo(sent.users, users);
      addTo(sent.credentials, credentials);
      for (const { field, members } of differences) {
        const at = places[placeIn(field).index];
        if (at === undefined || sent.differences.length >= MAX_DIFFERENCES) continue;
        sent.differences.push({ place: source.placeOf(at), members });
      }
      report({ records, places }, conflicts);
      if (isDryRun) leaveOutRefused(records, conflicts, new Set(differences.map(({ field }) => field)));
    } else {
      const { errors } = answer.refusal;
      if (errors.length === 0) throw failureOf(answer.refusal);
      report({ records, places }, errors);
      if (!isDryRun) return; // nothing of it was taken
    }
    done += records.length;
    onProgress(done);
  };

  /** The gateway counts rows by whether they are there; what it has something against would be neither. */
  const leaveOutRefused = (
    records: readonly ImportInput[],
    conflicts: readonly FieldError[],
    differing: ReadonlySet<string>,
  ) => {
    const refused = new Map(conflicts.map(({ field }) => [placeIn(field).index, placeIn(field).rest]));
    for (const [index, field] of refused) {
      const record = records[index];
      if (record !== undefined && differing.has(`records[${index}]`)) {
        // It is there: only the change is refused.
        sent[record.type === "user" ? "users" : "credentials"].differing -= 1;
        continue;
      }
      if (record?.type === "user") {
        // An id that stands against it is that of a deleted user.
        sent.users[field === "id" ? "present" : "added"] -= 1;
        refusedUsers.add(`${record.realm} ${record.id}`);
      } else if (record !== undefined && field !== "user") sent.credentials.present -= 1;
    }
  };

  /** In a dry run the owner may come with the same file: then the credential would be added. */
  const report = ({ records, places }: Chunk, errors: readonly FieldError[]) => {
    for (const { field, message } of errors) {
      const { index, rest } = placeIn(field);
      const record = records[index];
      const at = places[index];
      if (record === undefined || at === undefined) {
        problems.add("the gateway says", [{ field, message }]);
        continue;
      }
      const isOwnerUnknown = message === UNKNOWN_OWNER;
      const owner = record.type === "user" ? null : `${record.realm} ${record.user}`;
      if (isDryRun && isOwnerUnknown && owner !== null && checked.userNames.has(owner)) {
        if (!refusedUsers.has(owner)) sent.credentials.added += 1;
        continue;
      }
      problems.add(source.placeOf(at), [{ field: isOwnerUnknown ? "" : rest, message }]);
    }
  };

  const hasEnded = () => failure !== null || stopping?.aborted === true || (!isDryRun && problems.count > 0);
  const enqueue = async (chunk: Chunk) => {
    // What is not what was checked is not sent, as far as that can be seen.
    source.demandUnchanged();
    if (chunk.records.length === 0) return;
    const work: Promise<void> = sendChunk(chunk)
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => inFlight.delete(work));
    inFlight.add(work);
    if (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
  };

  for (const isUsers of [true, false]) {
    let chunk: Chunk = { records: [], places: [] };
    let bytes = 0;
    for await (const { at, value } of source.items()) {
      if (hasEnded()) break;
      if (value === undefined) continue; // the file was changed: the next chunk will say so
      const record = value as ImportInput;
      if ((record.type === "user") !== isUsers) continue;
      const size = Buffer.byteLength(JSON.stringify(record)) + 1;
      if (chunk.records.length >= MAX_CHUNK_RECORDS || bytes + size > MAX_CHUNK_BYTES) {
        await enqueue(chunk);
        chunk = { records: [], places: [] };
        bytes = 0;
      }
      chunk.records.push(record);
      chunk.places.push(at);
      bytes += size;
    }
    if (!hasEnded()) await enqueue(chunk);
    await Promise.all(inFlight);
  }
  if (stopping?.aborted === true) throw new Failure("stopped", "stopped");
  if (failure !== null) throw failure;
  return sent;
}

function addTo(sum: Count, count: Count): void {
  sum.added += count.added;
  sum.present += count.present;
  sum.differing += count.differing;
  sum.deleted += count.deleted;
}

/** `records[3].key` is `key` of the fourth one; index -1: something else. */
function placeIn(field: string): { readonly index: number; readonly rest: string } {
  const [, index, rest = ""] = /^records\[(\d+)\](?:\.(.*))?$/.exec(field) ?? [];
  return index === undefined ? { index: -1, rest: field } : { index: Number(index), rest };
}

/** Again after an outage, and when the gateway says to wait; sending twice does no harm. */
async function askPatiently(
  gateway: Gateway,
  path: string,
  body: unknown,
  wait: (ms: number) => Promise<unknown>,
  stopping?: AbortSignal,
): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const isLast = () => attempt === MAX_ATTEMPTS || stopping?.aborted === true;
    const seconds = Math.min(LONGEST_WAIT_SECONDS, 2 ** (attempt - 1));
    try {
      const answer = await gateway.ask("POST", path, body);
      if (answer.ok || !isPassing(answer.refusal)) return answer;
      if (isLast()) return answer;
      const asked = answer.refusal.retryAfterSeconds ?? seconds;
      await wait(1_000 * Math.min(LONGEST_WAIT_SECONDS, Math.max(asked, 1)));
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "unreachable" || isLast()) throw error;
      await wait(1_000 * seconds);
    }
  }
}

const isPassing = ({ status, code }: Refusal) =>
  status === 429 || (status === 503 && code !== "config_invalid");
