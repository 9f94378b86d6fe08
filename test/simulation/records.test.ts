// No request is decided on knowledge older than its bound, and no good credential stays refused. Replay one run with
// `SEED=17 npx vitest run --project node test/simulation`; take more of them with `RUNS=500`.
import { describe, expect, it } from "vitest";
import { loadCode } from "./load-code.ts";
import { RULES } from "./rules.ts";
import { simulate, type Weather } from "./simulation.ts";

const RUNS = Number(process.env.RUNS ?? 5);
const FIRST_SEED = Number(process.env.SEED ?? 1);
const WEATHERS: readonly Weather[] = ["calm", "rough", "unannounced"];
/** How many seeds may pass before a missing rule must have shown. */
const PATIENCE = 40;

const whole = await loadCode(null);

describe.each(WEATHERS)("several isolates in %s weather", (weather) => {
  const seeds = Array.from({ length: process.env.SEED ? 1 : RUNS }, (_, i) => FIRST_SEED + i);

  it.each(seeds)("seed %i: nothing is decided on stale knowledge", async (seed) => {
    const { answered, violations } = await simulate(seed, weather, whole);
    expect(violations).toEqual([]);
    expect(answered).toBeGreaterThan(500);
  });
});

describe("with one rule taken out", () => {
  it.each(RULES)(
    "the simulation fails: $name",
    async (rule) => {
      const broken = await loadCode(rule);
      for (let seed = 1; seed <= PATIENCE; seed += 1) {
        if ((await simulate(seed, rule.weather, broken)).violations.length > 0) return;
      }
      expect.fail(`no seed up to ${PATIENCE} noticed`);
    },
    240_000,
  );
});
