// What a request must know, no older than its route allows: isolate memory, then KV, then D1. Every rule below bounds
// staleness by the change feed, never by the age of a cache entry; ARCHITECTURE.md says why each stands there.
import { Problem } from "../problem.ts";
import type { KvTier } from "../store/kv.ts";
import type { Primary, PrimaryAnswer } from "../store/primary.ts";
import { createBoundedMap } from "./bounded-map.ts";
import { credentialSubject, realmSubject, sessionSubject, subjectsOfMiss, userSubject } from "./subjects.ts";
import type {
  Bearer,
  CredentialRecord,
  Demand,
  Knowledge,
  Lookup,
  Records,
  Subject,
  UserRecord,
} from "./types.ts";
import { createView, type Stamp } from "./view.ts";

/** A read that has not answered by then is given up. */
const READ_DEADLINE_MS = 2_000;
/** A background refresh started longer ago than this is taken for lost: the request that ran it may be gone. */
const REFRESH_TAKEOVER_MS = 2_000;
const MAX_RECORDS = 10_000;
const MAX_MISSES = 10_000;

type Background = (work: Promise<unknown>) => void;

export interface RecordsDependencies {
  readonly primary: Primary;
  /** `null`: no KV is bound. */
  readonly kv: KvTier | null;
  readonly nowMs: () => number;
  /** Rejects when `work` has not settled within `deadlineMs`. */
  readonly cutOff: <T>(work: Promise<T>, deadlineMs: number) => Promise<T>;
  /** Settles once the current request's own outbound call is on its way. */
  readonly afterForwarding: () => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
  /** The gateway's bound on staleness, seconds; misses are kept this long. */
  readonly freshnessSeconds: number;
  /** The shortest bound of any route that is not 0; sets how often the feed is followed. */
  readonly shortestFreshnessSeconds: number;
}

/** A record as of one snapshot, or the certainty that there was none in it. */
export interface Entry {
  readonly stamp: Stamp;
  readonly subjects: readonly Subject[];
  readonly credential: CredentialRecord | null;
  readonly user: UserRecord | null;
}

interface Miss {
  readonly entry: Entry;
  readonly sentAtMs: number;
}

export function createRecords(dependencies: RecordsDependencies): Records {
  const { primary, kv, nowMs, cutOff, random } = dependencies;
  const found = createBoundedMap<string, Entry>(MAX_RECORDS);
  const misses = createBoundedMap<string, Miss>(MAX_MISSES);
  const view = createView(() => {
    found.clear();
    misses.clear();
  });
  const followEveryMs = Math.max(1_000, (dependencies.shortestFreshnessSeconds * 1_000) / 3);

  let tick = 0;
  let refreshAtMs = 0;
  let refreshStartedAtMs: number | null = null;

  /** One round trip: the feed since what is known, and the record in the same snapshot. */
  async function readPrimary(lookup: Lookup): Promise<Entry> {
    const sentAtMs = nowMs();
    const since = view.since();
    tick += 1;
    const sentTick = tick;
    const work = primary.read({ since, lookup, nowSeconds: Math.floor(sentAtMs / 1_000) });
    const answer = await cutOff(work, READ_DEADLINE_MS);
    tick += 1;
    view.apply(answer, { since, sentTick, sentAtMs, arrivedTick: tick });
    refreshAtMs = sentAtMs + followEveryMs * (0.8 + 0.2 * random());

    const entry = toEntry(answer, lookup);
    const key = lookupKey(lookup);
    if (key !== null) {
      if (isFound(entry)) {
        found.set(key, entry);
        misses.delete(key);
      } else {
        found.delete(key);
        misses.set(key, { entry, sentAtMs });
      }
    }
    return entry;
  }

  function isFresh(freshnessSeconds: number): boolean {
    const ageMs = view.ageMs(nowMs());
    return ageMs !== null && ageMs < freshnessSeconds * 1_000;
  }

  const counts = (entry: Entry) => view.counts(entry.stamp, entry.subjects);

  function fromMemory(key: string): Entry | null {
    const entry = found.get(key);
    if (entry !== undefined && counts(entry)) return entry;
    const miss = misses.get(key);
    if (miss === undefined || !counts(miss.entry)) return null;
    return nowMs() - miss.sentAtMs < dependencies.freshnessSeconds * 1_000 ? miss.entry : null;
  }

  async function fromKv(key: string): Promise<Entry | null> {
    const epoch = view.epoch();
    if (kv === null || epoch === null) return null;
    // A KV that fails or hangs is no reason to refuse: D1 is asked instead.
    const entry = await cutOff(kv.get(epoch, key), READ_DEADLINE_MS).catch(() => null);
    if (entry === null || !counts(entry)) return null;
    found.set(key, entry);
    return entry;
  }

  /** Follows the feed while requests come in, so that they need not wait for it. */
  function keepFollowing(background: Background): void {
    const now = nowMs();
    if (now < refreshAtMs) return;
    if (refreshStartedAtMs !== null && now - refreshStartedAtMs < REFRESH_TAKEOVER_MS) return;
    refreshStartedAtMs = now;
    background(
      dependencies
        .afterForwarding()
        .then(() => readPrimary(NO_LOOKUP))
        .catch(() => {}) // the next request that needs it reads by itself, and reports
        .finally(() => {
          refreshStartedAtMs = null;
        }),
    );
  }

  /** `null`: there are too many denials to hold, D1 has to be asked. */
  function isDeniedNow(bearer: Bearer | null): boolean | null {
    return bearer === null ? false : view.isDenied(bearer, Math.floor(nowMs() / 1_000));
  }

  async function isDenied(bearer: Bearer | null): Promise<boolean> {
    const known = isDeniedNow(bearer);
    if (known !== null || bearer === null) return known === true;
    return cutOff(primary.isDenied(bearer, Math.floor(nowMs() / 1_000)), READ_DEADLINE_MS);
  }

  async function conclude(entry: Entry, demand: Demand): Promise<Knowledge> {
    return toKnowledge(entry, await isDenied(demand.bearer ?? bearerOf(entry)));
  }

  /** The answer of isolate memory; `null`: it has none. */
  function recall(demand: Demand, background: Background): Knowledge | null {
    if (demand.freshnessSeconds === 0 || !isFresh(demand.freshnessSeconds)) return null;
    const key = lookupKey(demand.lookup);
    const entry = key === null ? NOTHING : fromMemory(key);
    if (entry === null) return null;
    const isRevoked = isDeniedNow(demand.bearer ?? bearerOf(entry));
    if (isRevoked === null) return null;
    keepFollowing(background);
    return toKnowledge(entry, isRevoked);
  }

  async function findOut(demand: Demand, background: Background): Promise<Knowledge> {
    const { lookup, freshnessSeconds } = demand;
    const key = lookupKey(lookup);
    const mayReuse = freshnessSeconds > 0;
    if (mayReuse && isFresh(freshnessSeconds)) {
      const entry = key === null ? NOTHING : (fromMemory(key) ?? (await fromKv(key)));
      const knowledge = entry === null ? null : await conclude(entry, demand);
      // KV may have taken its time: what is known must still be young enough now.
      if (knowledge !== null && isFresh(freshnessSeconds)) {
        keepFollowing(background);
        return knowledge;
      }
    }

    const isNews = key !== null && fromMemory(key) === null;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const entry = await readPrimary(lookup);
      if (view.epoch() === null || (key !== null && !counts(entry))) continue;
      const knowledge = await conclude(entry, demand);
      if (mayReuse && !isFresh(freshnessSeconds)) continue;
      if (kv !== null && key !== null && isNews && mayReuse && isFound(entry)) {
        // A failed write costs another isolate a read of D1, nothing more.
        const keep = () => kv.put(key, entry).catch(() => {});
        background(dependencies.afterForwarding().then(keep));
      }
      return knowledge;
    }
    throw new Problem("store_unavailable", "no answer of D1 was recent enough");
  }

  async function knowOrRefuse(demand: Demand, background: Background): Promise<Knowledge> {
    try {
      return await findOut(demand, background);
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem("store_unavailable", "D1 could not be read", { cause: error });
    }
  }

  return {
    followed: view.followed,
    know: (demand, background) => recall(demand, background) ?? knowOrRefuse(demand, background),
  };
}

const NO_LOOKUP: Lookup = { by: "none" };
const NOTHING: Entry = { stamp: { epoch: "", seq: 0 }, subjects: [], credential: null, user: null };

const toKnowledge = ({ credential, user }: Entry, isRevoked: boolean): Knowledge => ({
  credential,
  user,
  isRevoked,
});

const isFound = (entry: Entry) => entry.credential !== null || entry.user !== null;

function toEntry({ epoch, head, credential, user }: PrimaryAnswer, lookup: Lookup): Entry {
  const subjects: Subject[] = [];
  if (credential !== null) {
    const { kind, id, realm, userId } = credential;
    subjects.push(kind === "session" ? sessionSubject(id) : credentialSubject(id));
    subjects.push(userSubject(realm, userId), realmSubject(realm));
  } else if (user !== null) {
    subjects.push(userSubject(user.realm, user.id), realmSubject(user.realm));
  } else if (lookup.by !== "none") {
    subjects.push(...subjectsOfMiss(lookup), realmSubject(lookup.realm));
  }
  return { stamp: { epoch, seq: head }, subjects, credential, user };
}

/** Every input of the look-up; realm and kind hold no colon. Digests, never secrets: this also names the entry in KV. */
function lookupKey(lookup: Lookup): string | null {
  switch (lookup.by) {
    case "digest":
      return `${lookup.kind}:${lookup.realm}:${lookup.digests.join(",")}`;
    case "session":
    case "user":
      return `${lookup.by}:${lookup.realm}:${lookup.id}`;
    case "none":
      return null;
  }
}

function bearerOf({ credential }: Entry): Bearer | null {
  if (credential === null) return null;
  return {
    realm: credential.realm,
    userId: credential.userId,
    tokenId: null,
    sessionId: credential.kind === "session" ? credential.id : null,
    issuedAtSeconds: credential.createdAtSeconds,
  };
}
