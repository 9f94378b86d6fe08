// From samples to what is printed.
import { cpus } from "node:os";
import { BUNDLE_KB, type Bundle } from "./bundle.ts";
import { type Estimate, estimate, type RoundOptions, ratio, type Samples } from "./rounds.ts";
import type { StartUp } from "./start-up.ts";

export interface Measured {
  readonly requests: Samples;
  /** `null`: not asked for. */
  readonly keys: Samples | null;
  readonly startUp: { readonly passThrough: StartUp; readonly postern: StartUp };
  readonly bundles: { readonly whole: Bundle; readonly edge: Bundle };
  readonly limits: RoundOptions;
}

export interface Row {
  readonly name: string;
  readonly microseconds: Estimate;
  readonly overBare: Estimate | null;
  readonly overHono: Estimate | null;
}

export interface Budget {
  readonly what: string;
  readonly value: number;
  /** `null`: one measurement, nothing to resample. */
  readonly interval: readonly [number, number] | null;
  readonly limit: number;
  readonly unit: "×" | "KB";
  readonly isMet: boolean;
}

export interface Report {
  readonly machine: string;
  readonly method: string;
  readonly rows: readonly Row[];
  readonly budgets: readonly Budget[];
  readonly startUp: Measured["startUp"];
  readonly bundles: Readonly<
    Record<"whole" | "edge", { readonly bytes: number; readonly gzipBytes: number }>
  >;
}

const KINDS = ["JWT", "API key", "PAT", "anonymous"];
const OVER_BARE = 1.35;
const OVER_HONO = 0.7;
const GROWTH = 1.05;

export function report({ requests, keys, startUp, bundles, limits }: Measured): Report {
  const budgets = KINDS.flatMap((kind) => [
    budget(`${kind}, against bare`, ratio(requests, kind, "bare"), OVER_BARE),
    budget(`${kind}, against hono/jwt`, ratio(requests, kind, "hono/jwt"), OVER_HONO),
  ]);
  budgets.push(budget("1,000 routes, against 10", ratio(requests, "1000 routes", "10 routes"), GROWTH));
  const rows = [...requests].map(
    ([name, values]): Row => ({
      name,
      microseconds: estimate(values),
      overBare: name === "bare" ? null : ratio(requests, name, "bare"),
      overHono: name === "hono/jwt" ? null : ratio(requests, name, "hono/jwt"),
    }),
  );
  if (keys !== null) {
    for (const [name, values] of keys) {
      rows.push({ name, microseconds: estimate(values), overBare: null, overHono: null });
    }
    for (const warmth of ["warm", "cold"]) {
      const grown = ratio(keys, `1000000 keys, ${warmth}`, `100 keys, ${warmth}`);
      budgets.push(budget(`10⁶ keys, against 10², ${warmth}`, grown, GROWTH));
    }
  }
  for (const entry of ["edge", "whole"] as const) {
    const kilobytes = bundles[entry].gzipBytes / 1_024;
    const limit = BUNDLE_KB[entry];
    const what = `bundle, gzip, ${entry}`;
    budgets.push({ what, value: kilobytes, interval: null, limit, unit: "KB", isMet: kilobytes <= limit });
  }
  const { rounds, secondsPerRound, connections } = limits;
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}, Node ${process.versions.node}`,
    method: `${rounds} rounds of ${secondsPerRound} s each, ${connections} connections`,
    rows,
    budgets,
    startUp,
    bundles: { whole: sizesOf(bundles.whole), edge: sizesOf(bundles.edge) },
  };
}

const sizesOf = ({ bytes, gzipBytes }: Bundle) => ({ bytes, gzipBytes });

function budget(what: string, { median, low, high }: Estimate, limit: number): Budget {
  return { what, value: median, interval: [low, high], limit, unit: "×", isMet: median <= limit };
}

export function printReport({ machine, method, rows, budgets, startUp, bundles }: Report): void {
  console.log(`\n${machine}\n${method}; medians, and 95 % intervals in brackets\n`);
  printTable(
    ["CPU a request", "µs", "× bare", "× hono/jwt"],
    rows.map(({ name, microseconds, overBare, overHono }) => [
      name,
      microseconds.median.toFixed(0),
      overBare === null ? "" : withInterval(overBare.median, [overBare.low, overBare.high], 2),
      overHono === null ? "" : withInterval(overHono.median, [overHono.low, overHono.high], 2),
    ]),
  );
  const { passThrough, postern } = startUp;
  console.log("");
  printTable(
    ["Start-up, CPU ms", "bare", "Postern", "difference"],
    [
      timings("until it listens", passThrough.listeningMs, postern.listeningMs),
      timings("first request", passThrough.firstRequestMs, postern.firstRequestMs),
    ],
  );
  console.log("");
  printTable(
    ["Budget", "measured", "limit", ""],
    budgets.map(({ what, value, interval, limit, unit, isMet }) => [
      what,
      `${interval === null ? value.toFixed(1) : withInterval(value, interval, 3)} ${unit}`,
      `≤ ${limit} ${unit}`,
      verdict(isMet, interval, limit),
    ]),
  );
  for (const [entry, { bytes, gzipBytes }] of Object.entries(bundles)) {
    console.log(
      `\nBundle, ${entry}: ${(bytes / 1_024).toFixed(1)} KB, gzip ${(gzipBytes / 1_024).toFixed(1)} KB`,
    );
  }
}

function verdict(isMet: boolean, interval: readonly [number, number] | null, limit: number): string {
  const isClose = interval !== null && interval[0] <= limit && limit <= interval[1];
  return `${isMet ? "met" : "not met"}${isClose ? ", too close to tell" : ""}`;
}

function withInterval(value: number, [low, high]: readonly [number, number], digits: number): string {
  return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

function timings(name: string, bare: number, postern: number): readonly string[] {
  return [name, bare.toFixed(1), postern.toFixed(1), (postern - bare).toFixed(1)];
}

function printTable(head: readonly string[], body: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...body.map((cells) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  console.log(line(head));
  console.log(widths.map((width) => "-".repeat(width)).join("  "));
  for (const cells of body) console.log(line(cells));
}
