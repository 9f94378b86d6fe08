// What a new isolate costs before it can answer, and what its first request costs.
import { applyLoad, inTurn } from "./load.ts";
import { median } from "./rounds.ts";
import { type ContestantOptions, cpuNanoseconds, startContestant, stop } from "./workerd.ts";

export interface StartUp {
  /** CPU from the start of the process until it listens, its script evaluated; milliseconds. */
  readonly listeningMs: number;
  /** CPU from there until the first request is answered: configuration and first reads included; milliseconds. */
  readonly firstRequestMs: number;
}

const STARTS = 9;

/** The median of several starts. Both figures contain the process itself: compare them with an empty Worker's. */
export async function measureStartUp(options: ContestantOptions, request: Buffer): Promise<StartUp> {
  const listening: number[] = [];
  const answered: number[] = [];
  for (let start = 0; start < STARTS; start++) {
    const contestant = await startContestant(options);
    const before = cpuNanoseconds(contestant.pid);
    await applyLoad(contestant.port, inTurn([request]), {
      connections: 1,
      milliseconds: 0,
      leadInMs: 0,
      onReady: () => {},
    });
    answered.push((cpuNanoseconds(contestant.pid) - before) / 1e6);
    listening.push(before / 1e6);
    await stop(contestant);
  }
  return { listeningMs: median(listening), firstRequestMs: median(answered) };
}
