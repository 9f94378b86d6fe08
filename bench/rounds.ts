// Paired rounds: in each one every subject gets the same time under load, in slices of random order.
import { applyLoad } from "./load.ts";
import { type Contestant, cpuNanoseconds } from "./workerd.ts";

export interface Subject {
  readonly name: string;
  readonly contestant: Contestant;
  /** The next request to send. */
  readonly requests: () => Buffer;
}

export interface RoundOptions {
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly connections: number;
}

/** Of each subject, by name: CPU microseconds a request, one value a round. */
export type Samples = ReadonlyMap<string, readonly number[]>;

/** Short, so that whatever else the machine is doing meets all subjects of a round alike. */
const SLICES = 10;
const LEAD_IN_MS = 30;

/** One round. @returns of each subject, by name: CPU microseconds a request */
export async function measureRound(
  subjects: readonly Subject[],
  { secondsPerRound, connections }: RoundOptions,
): Promise<ReadonlyMap<string, number>> {
  const totals = new Map(subjects.map(({ name }) => [name, { nanoseconds: 0, requests: 0 }]));
  for (let slice = 0; slice < SLICES; slice++) {
    for (const { name, contestant, requests } of shuffled(subjects)) {
      let before = 0;
      const answered = await applyLoad(contestant.port, requests, {
        connections,
        milliseconds: (secondsPerRound * 1_000) / SLICES,
        leadInMs: LEAD_IN_MS,
        onReady: () => {
          before = cpuNanoseconds(contestant.pid);
        },
      });
      const total = totals.get(name);
      if (total === undefined) continue;
      total.nanoseconds += cpuNanoseconds(contestant.pid) - before;
      total.requests += answered;
    }
  }
  return new Map(
    [...totals].map(([name, { nanoseconds, requests }]) => [name, nanoseconds / requests / 1_000]),
  );
}

/** Until the just-in-time compiler has settled: the same time for every process, shared by its subjects. */
export async function warmUp(subjects: readonly Subject[], connections: number): Promise<void> {
  for (const { contestant, requests } of subjects) {
    const sharing = subjects.filter((other) => other.contestant === contestant).length;
    await applyLoad(contestant.port, requests, {
      connections,
      milliseconds: WARM_UP_MS / sharing,
      leadInMs: 0,
      onReady: () => {},
    });
  }
}

const WARM_UP_MS = 6_000;

export interface Estimate {
  readonly median: number;
  /** 95 % interval of the median, from resampled rounds. */
  readonly low: number;
  readonly high: number;
}

/** The median over the rounds of `of / against`, each pair taken in the same round. */
export function ratio(samples: Samples, of: string, against: string): Estimate {
  const numerators = samples.get(of) ?? [];
  const denominators = samples.get(against) ?? [];
  return estimate(numerators.map((value, round) => value / (denominators[round] ?? Number.NaN)));
}

export function estimate(values: readonly number[]): Estimate {
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(Math.random() * values.length)] ?? Number.NaN)),
  ).sort((a, b) => a - b);
  const at = (share: number) => medians[Math.floor(share * (RESAMPLES - 1))] ?? Number.NaN;
  return { median: median(values), low: at(0.025), high: at(0.975) };
}

const RESAMPLES = 2_000;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    const moved = result[last];
    const there = result[other];
    if (moved === undefined || there === undefined) continue;
    result[last] = there;
    result[other] = moved;
  }
  return result;
}
