// A world on virtual time: one event after the other, every delay and fault drawn from one seed.

export interface World {
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** A whole number in [low, high]. */
  between(low: number, high: number): number;
  pick<T>(choices: readonly T[]): T;
  chance(probability: number): boolean;
  /** Calls `event` after so many milliseconds. */
  schedule(delayMs: number, event: () => void): void;
  sleep(delayMs: number): Promise<void>;
  /** Lets events happen until none is left or the time is up. */
  run(untilMs: number): Promise<void>;
}

/** mulberry32: small, and the same on every machine. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly happen: () => void;
}

export function createWorld(seed: number): World {
  const random = createRandom(seed);
  const events: Event[] = [];
  let nowMs = 1_800_000_000_000;
  let order = 0;

  function takeNext(): Event | undefined {
    let next = 0;
    for (let i = 1; i < events.length; i += 1) {
      const [a, b] = [events[i], events[next]];
      if (a && b && (a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order))) next = i;
    }
    return events.splice(next, 1)[0];
  }

  const world: World = {
    now: () => nowMs,
    random,
    between: (low, high) => low + Math.floor(random() * (high - low + 1)),
    pick(choices) {
      const chosen = choices[Math.floor(random() * choices.length)];
      if (chosen === undefined) throw new Error("nothing to pick from");
      return chosen;
    },
    chance: (probability) => random() < probability,
    schedule(delayMs, happen) {
      order += 1;
      events.push({ atMs: nowMs + Math.max(0, delayMs), order, happen });
    },
    sleep: (delayMs) => new Promise((resolve) => world.schedule(delayMs, resolve)),
    async run(untilMs) {
      for (;;) {
        const event = takeNext();
        if (event === undefined) return;
        if (event.atMs > untilMs) {
          events.push(event);
          return;
        }
        nowMs = event.atMs;
        event.happen();
        await new Promise(setImmediate); // every promise that this event settled has run its course
      }
    },
  };
  return world;
}
