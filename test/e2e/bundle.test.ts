// What every new isolate has to read and compile: budgets of the two entries, measured as `wrangler deploy` uploads them.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BUNDLE_KB, bundle } from "../../bench/bundle.ts";
import { makeScratch } from "../support/node/scratch.ts";

const KB = 1_024;

describe("the upload, gzip", () => {
  it.each([
    ["src/edge.ts, which guards", "../src/edge.ts", BUNDLE_KB.edge],
    ["src/index.ts, which is everything", "../src/index.ts", BUNDLE_KB.whole],
  ])("of %s stays within its budget", async (_, entry, budgetKb) => {
    const { gzipBytes } = await bundle(entry, join(makeScratch("bundle").directory, "bundle"));
    expect(gzipBytes).toBeLessThanOrEqual(budgetKb * KB);
  });
});
