// The records layer as it stands, or with one piece of its source replaced.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import type { Rule } from "./rules.ts";
import type { Code } from "./simulation.ts";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const ENTRY = ["records/records", "store/primary", "store/writes"]
  .map((name) => `export * from ${JSON.stringify(join(SOURCE, `${name}.ts`))};`)
  .join("\n");

/** @throws when the rule's code does not stand in its file exactly once: the list of rules is then out of date. */
export async function loadCode(without: Rule | null): Promise<Code> {
  const folder = await mkdtemp(
    join(fileURLToPath(new URL("../../node_modules/", import.meta.url)), ".simulation-"),
  );
  const outfile = join(folder, "code.mjs");
  try {
    await build({
      stdin: { contents: ENTRY, resolveDir: SOURCE },
      bundle: true,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      outfile,
      logLevel: "error",
      plugins: [
        {
          name: "take-a-rule-out",
          setup(setup) {
            setup.onLoad({ filter: /\/src\/(records|store)\/[^/]+\.ts$/ }, async ({ path }) => {
              const source = await readFile(path, "utf8");
              const isHere = without !== null && path.endsWith(without.file);
              return { contents: isHere ? takeOut(source, without) : source, loader: "ts" };
            });
          },
        },
      ],
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function takeOut(source: string, rule: Rule): string {
  const pieces = source.split(rule.code);
  if (pieces.length !== 2)
    throw new Error(`"${rule.name}": its code stands ${pieces.length - 1} times in ${rule.file}`);
  return pieces.join(rule.without);
}
