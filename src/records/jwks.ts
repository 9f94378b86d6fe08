// Key sets of foreign issuers: memory -> KV -> fetch. Fresh 10 min; stale served up to 24 h while the issuer is down.
import { toHex } from "../crypto/digest.ts";
import type { PublicJwk } from "../crypto/public-jwk.ts";
import { Problem } from "../problem.ts";
import { fetchJwks, readJwks } from "./jwks-fetch.ts";

export interface KeySet {
  /** Changes with every new set, so that whatever was verified with an older one can be told apart. */
  readonly version: number;
  readonly keys: readonly PublicJwk[];
}

export interface JwksSource {
  /**
   * The issuer's public keys. A warm call settles without I/O.
   *
   * @param unknownKid a kid the caller did not find in the set it has; refetches, at most every 10 s
   * @throws Problem `keys_unavailable` when there is no set younger than 24 h, or when nobody could be asked about
   *   `unknownKid`
   */
  keySet(url: URL, unknownKid: string | null, background: (work: Promise<unknown>) => void): Promise<KeySet>;
}

export interface JwksDeps {
  /** Shares sets between isolates; `null`: none bound. */
  readonly kv: Pick<KVNamespace, "get" | "put"> | null;
  readonly fetch: typeof fetch;
  readonly nowMs: () => number;
}

const FRESH_MS = 10 * 60_000;
/** From this age on a caller waits for the refresh instead of being served the old set meanwhile. */
const BACKGROUND_REFRESH_UNTIL_MS = 20 * 60_000;
const LAST_GOOD_MS = 24 * 3_600_000;
const COOL_DOWN_MS = 10_000;
/** Requests cannot await each other's promises on Workers: they look again, and take over a flight this old. */
const TAKE_OVER_MS = 2_000;
const LOOK_AGAIN_MS = 25;
const MAX_WAIT_MS = 7_000;
const KV_TIMEOUT_MS = 2_000;
const KV_SCHEMA_VERSION = 1;

type Background = (work: Promise<unknown>) => void;

interface StoredSet {
  /** When the fetch that brought it was sent. */
  readonly sentAtMs: number;
  readonly keys: readonly PublicJwk[];
}

/** What an isolate knows of one URL. URLs come from the configuration alone, so there are no more than issuers. */
interface UrlState {
  set: (KeySet & StoredSet) | null;
  /** The comparable form of `set.keys`. */
  fingerprint: string;
  flightSentAtMs: number | null;
  lastSentAtMs: number;
  /** Whether the last fetch that ended brought nothing. */
  hasFailed: boolean;
  kvMissedAtMs: number;
}

/** One per isolate. */
export function createJwksSource(deps: JwksDeps): JwksSource {
  const states = new Map<string, UrlState>();
  /** Spares the warm path the serialization of the URL. */
  const stateOfUrl = new WeakMap<URL, UrlState>();
  let lastVersion = 0;

  function stateOf(url: URL): UrlState {
    const known = stateOfUrl.get(url);
    if (known !== undefined) return known;
    const state = states.get(url.href) ?? {
      set: null,
      fingerprint: "",
      flightSentAtMs: null,
      lastSentAtMs: Number.NEGATIVE_INFINITY,
      hasFailed: false,
      kvMissedAtMs: Number.NEGATIVE_INFINITY,
    };
    states.set(url.href, state);
    stateOfUrl.set(url, state);
    return state;
  }

  function ageMs(sinceMs: number): number {
    return Math.max(0, deps.nowMs() - sinceMs);
  }

  function setWithin(state: UrlState, maxAgeMs: number): KeySet | null {
    return state.set !== null && ageMs(state.set.sentAtMs) < maxAgeMs ? state.set : null;
  }

  function isInFlight(state: UrlState): boolean {
    return state.flightSentAtMs !== null && ageMs(state.flightSentAtMs) < TAKE_OVER_MS;
  }

  function isCoolingDown(state: UrlState): boolean {
    return ageMs(state.lastSentAtMs) < COOL_DOWN_MS;
  }

  /** An answer to an earlier question than the one we have is ignored. An equal set keeps its version. */
  function adopt(state: UrlState, found: StoredSet): void {
    const known = state.set;
    if (known !== null && found.sentAtMs < known.sentAtMs) return;
    const fingerprint = JSON.stringify(found.keys);
    if (known !== null && fingerprint === state.fingerprint) {
      state.set = { version: known.version, keys: known.keys, sentAtMs: found.sentAtMs };
      return;
    }
    lastVersion += 1;
    state.set = { version: lastVersion, keys: found.keys, sentAtMs: found.sentAtMs };
    state.fingerprint = fingerprint;
  }

  async function loadFromKv(url: URL, state: UrlState): Promise<void> {
    if (deps.kv === null || state.set !== null || ageMs(state.kvMissedAtMs) < COOL_DOWN_MS) return;
    const stored = await readKv(deps.kv, url, deps.nowMs());
    if (stored === null) state.kvMissedAtMs = deps.nowMs();
    else adopt(state, stored);
  }

  /** One fetch, the result of which goes into the state. Never rejects. */
  async function refresh(url: URL, state: UrlState, background: Background): Promise<void> {
    const sentAtMs = deps.nowMs();
    state.flightSentAtMs = sentAtMs;
    state.lastSentAtMs = sentAtMs;
    try {
      const keys = await fetchJwks(url, deps.fetch);
      adopt(state, { sentAtMs, keys });
      state.hasFailed = false;
      if (deps.kv !== null) background(writeKv(deps.kv, url, { sentAtMs, keys }));
    } catch {
      // A flight that was taken over does not speak for its successor.
      if (state.flightSentAtMs === sentAtMs) state.hasFailed = true;
    } finally {
      if (state.flightSentAtMs === sentAtMs) state.flightSentAtMs = null;
    }
  }

  /** Asks the issuer, unless it is being asked or was just now; then waits for what comes of that. */
  async function refreshAndWait(url: URL, state: UrlState, background: Background): Promise<void> {
    for (let waitedMs = 0; isInFlight(state) && waitedMs < MAX_WAIT_MS; waitedMs += LOOK_AGAIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
    if (isInFlight(state)) return;
    // A question that hangs is repeated before its time only if there is no set at all.
    const isLost = state.flightSentAtMs !== null && state.set === null;
    if (isCoolingDown(state) && !isLost) return;
    const work = refresh(url, state, background);
    background(work); // so that it ends even if this client leaves
    await work;
  }

  return {
    async keySet(url, unknownKid, background) {
      const state = stateOf(url);
      if (unknownKid === null || hasKey(state.set, unknownKid)) {
        const fresh = setWithin(state, FRESH_MS);
        if (fresh !== null) return fresh;
      }
      await loadFromKv(url, state);
      if (unknownKid !== null && !hasKey(state.set, unknownKid)) {
        await refreshAndWait(url, state, background);
        const isAsked = !state.hasFailed && state.flightSentAtMs === null;
        if (!isAsked && !hasKey(state.set, unknownKid))
          throw unavailable("nobody answered for an unknown kid");
      } else if (setWithin(state, BACKGROUND_REFRESH_UNTIL_MS) === null) {
        await refreshAndWait(url, state, background);
      } else if (setWithin(state, FRESH_MS) === null && !isInFlight(state) && !isCoolingDown(state)) {
        background(refresh(url, state, background));
      }
      const lastGood = setWithin(state, LAST_GOOD_MS);
      if (lastGood === null) throw unavailable("no key set younger than a day");
      return lastGood;
    },
  };
}

function hasKey(set: KeySet | null, kid: string): boolean {
  return set?.keys.some((key) => key.kid === kid) === true;
}

function unavailable(reason: string): Problem {
  return new Problem("keys_unavailable", reason, { retryAfterSeconds: COOL_DOWN_MS / 1000 });
}

/** `null` for anything but a well-formed entry that is not from the future. Never rejects, never hangs. */
async function readKv(kv: Pick<KVNamespace, "get">, url: URL, nowMs: number): Promise<StoredSet | null> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  try {
    const timeout = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, KV_TIMEOUT_MS, null);
    });
    const text = await Promise.race([kv.get(await kvKey(url)), timeout]);
    if (text === null) return null;
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("sentAtMs" in value)) return null;
    const { sentAtMs } = value;
    if (typeof sentAtMs !== "number" || !(sentAtMs <= nowMs)) return null;
    return { sentAtMs, keys: readJwks(value) };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

/** Never rejects: a failed write costs another isolate a fetch. */
async function writeKv(kv: Pick<KVNamespace, "put">, url: URL, set: StoredSet): Promise<void> {
  try {
    await kv.put(await kvKey(url), JSON.stringify(set), { expirationTtl: LAST_GOOD_MS / 1000 });
  } catch {
    // nothing to do
  }
}

/** Digested: KV keys end at 512 bytes, and URLs may carry what is nobody's business. */
async function kvKey(url: URL): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url.href));
  return `jwks:${KV_SCHEMA_VERSION}:${toHex(new Uint8Array(digest))}`;
}
