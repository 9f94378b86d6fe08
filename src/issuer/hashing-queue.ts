// Who may compute a password digest now. It blocks the isolate, so what has to be bounded is how many wait for it.
import { Problem } from "../problem.ts";

export interface QueueTools {
  nowMs(): number;
  /** Lets others go on meanwhile. */
  wait(milliseconds: number): Promise<unknown>;
}

/** A digest that began so recently may be holding up requests that are ready to go on. */
const CROWDED_MS = 500;
const STEP_BACK_MS = 25;
const MAX_WAIT_MS = 1_500;
const MAX_WAITING = 8;

/**
 * Digests are computed synchronously, hence one at a time; without a bound, all who come meanwhile would line up in the
 * event loop for as long as that takes. Whoever comes soon after another began has to step back once, with at most 7
 * others, and goes on in the order of coming, unless 1.5 s have passed by then.
 *
 * Nobody holds anything that has to be given back: a request that the client abandons simply stops, and its place runs
 * out by itself. Nobody awaits another's promise either, for which the platform would end the request.
 *
 * @returns settles when the caller may compute, synchronously from then on
 * @throws Problem `sign_in_busy`
 */
export function createHashingQueue({ nowMs, wait }: QueueTools): () => Promise<void> {
  let lastBeganAtMs = Number.NEGATIVE_INFINITY;
  const waiting = new Set<{ readonly untilMs: number }>();

  return async () => {
    const cameAtMs = nowMs();
    for (const place of waiting) if (place.untilMs <= cameAtMs) waiting.delete(place);
    if (waiting.size > 0 || cameAtMs - lastBeganAtMs < CROWDED_MS) {
      if (waiting.size >= MAX_WAITING) throw busy("too many wait already");
      const place = { untilMs: cameAtMs + MAX_WAIT_MS };
      waiting.add(place);
      await wait(STEP_BACK_MS);
      waiting.delete(place);
      if (nowMs() >= place.untilMs) throw busy("waited too long");
    }
    lastBeganAtMs = nowMs();
  };
}

const busy = (reason: string) =>
  new Problem("sign_in_busy", `password digests: ${reason}`, { retryAfterSeconds: 1 });
