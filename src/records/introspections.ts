// What the origin has said of credentials that only it knows: facts in isolate memory, judged by their age alone.
import { Problem } from "../problem.ts";
import { createBoundedMap } from "./bounded-map.ts";
import type { Finding } from "./types.ts";

/** Each of those that are known, and those that are not. */
const MAX_FINDINGS = 4_096;
/** A question that was sent longer ago than this is taken for lost: the request that asked it may be gone. */
const TAKE_OVER_MS = 2_000;
const LOOK_AGAIN_MS = 25;
/** From this part of the bound on, what is in use is asked again in the background. */
const RENEW_AFTER = 2 / 3;

type Background = (work: Promise<unknown>) => void;

/** A finding, and when the question was sent that it answers. */
export interface Found {
  readonly finding: Finding;
  readonly sentAtMs: number;
}

export interface Introspections {
  /**
   * What the origin says under this key, sent less than `freshnessSeconds` ago; 0: asked by this very request. Where memory
   * can answer there is no promise, and no I/O. While another request asks the same, this one waits for its answer, and
   * asks by itself after 2 s.
   *
   * @param key every input of the question; holds no credential
   * @param ask rejects when there is no answer to rely on, which is not remembered
   * @throws Problem `introspection_unavailable` when the one that was waited for had none; what `ask` throws
   */
  learn(
    key: string,
    freshnessSeconds: number,
    ask: () => Promise<Finding>,
    background: Background,
  ): Found | Promise<Found>;
  /** Whether it still counts now, against a bound that is not 0. */
  isYoung(found: Found, freshnessSeconds: number): boolean;
}

export interface IntrospectionsDependencies {
  readonly nowMs: () => number;
  readonly wait: (ms: number) => Promise<unknown>;
  /** Settles once the current request's own outbound call is on its way. */
  readonly afterForwarding: () => Promise<void>;
}

/** A question under way. Shared between requests as a value: a promise of one request must not be awaited by another. */
interface Flight {
  readonly sentAtMs: number;
  state: "under way" | "answered" | "failed";
}

/** One per isolate. */
export function createIntrospections(dependencies: IntrospectionsDependencies): Introspections {
  const { nowMs, wait, afterForwarding } = dependencies;
  /** Apart, so that guesses cannot push out what is good. */
  const known = createBoundedMap<string, Found>(MAX_FINDINGS);
  const rejected = createBoundedMap<string, Found>(MAX_FINDINGS);
  const flights = createBoundedMap<string, Flight>(MAX_FINDINGS);

  const ageMs = (sentAtMs: number) => Math.max(0, nowMs() - sentAtMs);

  function isYoung({ sentAtMs }: Found, freshnessSeconds: number): boolean {
    return ageMs(sentAtMs) < freshnessSeconds * 1_000;
  }

  function recall(key: string, freshnessSeconds: number): Found | null {
    const found = known.get(key) ?? rejected.get(key);
    return found !== undefined && isYoung(found, freshnessSeconds) ? found : null;
  }

  /** An answer to an earlier question than the one that is held is not kept. */
  function keep(key: string, found: Found): void {
    const held = known.get(key) ?? rejected.get(key);
    if (held !== undefined && held.sentAtMs > found.sentAtMs) return;
    const [to, from] = found.finding.kind === "known" ? [known, rejected] : [rejected, known];
    from.delete(key);
    to.set(key, found);
  }

  const isUnderWay = (flight: Flight | undefined): flight is Flight =>
    flight !== undefined && flight.state === "under way" && ageMs(flight.sentAtMs) < TAKE_OVER_MS;

  function begin(key: string): Flight {
    const flight: Flight = { sentAtMs: nowMs(), state: "under way" };
    flights.set(key, flight);
    return flight;
  }

  async function send(flight: Flight, key: string, ask: () => Promise<Finding>): Promise<Found> {
    const { sentAtMs } = flight;
    try {
      const found = { finding: await ask(), sentAtMs };
      keep(key, found);
      flight.state = "answered";
      return found;
    } catch (error) {
      flight.state = "failed";
      throw error;
    } finally {
      if (flights.get(key) === flight) flights.delete(key);
    }
  }

  /** The answer to a question that another request has sent; `null`: none came, or it is too old. */
  async function awaitFlight(flight: Flight, key: string, freshnessSeconds: number): Promise<Found | null> {
    for (
      let waitedMs = 0;
      flight.state === "under way" && waitedMs < TAKE_OVER_MS;
      waitedMs += LOOK_AGAIN_MS
    ) {
      await wait(LOOK_AGAIN_MS);
    }
    if (flight.state === "failed") {
      throw new Problem("introspection_unavailable", "another request had no answer of the origin");
    }
    return recall(key, freshnessSeconds);
  }

  async function findOut(
    key: string,
    freshnessSeconds: number,
    ask: () => Promise<Finding>,
    background: Background,
  ): Promise<Found> {
    const flight = freshnessSeconds === 0 ? undefined : flights.get(key);
    const found = isUnderWay(flight) ? await awaitFlight(flight, key, freshnessSeconds) : null;
    if (found !== null) return found;
    const work = send(begin(key), key, ask);
    // So that it ends, for others too, even if this client leaves.
    background(work.catch(() => {}));
    return work;
  }

  function renew(key: string, ask: () => Promise<Finding>, background: Background): void {
    if (isUnderWay(flights.get(key))) return;
    const flight = begin(key);
    // A failure is nothing: whoever needs it and has none asks by itself, and reports.
    const work = afterForwarding().then(() => send(flight, key, ask));
    background(work.catch(() => {}));
  }

  return {
    isYoung,
    learn(key, freshnessSeconds, ask, background) {
      const found = recall(key, freshnessSeconds);
      if (found === null) return findOut(key, freshnessSeconds, ask, background);
      const isOld = ageMs(found.sentAtMs) >= freshnessSeconds * 1_000 * RENEW_AFTER;
      if (isOld && found.finding.kind === "known") renew(key, ask, background);
      return found;
    },
  };
}
