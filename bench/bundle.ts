// Bundles as `wrangler deploy` would upload them.
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { parse, stringify } from "smol-toml";
import { moduleFiles } from "./workerd.ts";

export interface Bundle {
  readonly directory: string;
  readonly entry: string;
  readonly compatibilityDate: string;
  readonly bytes: number;
  readonly gzipBytes: number;
}

/** Budgets of the two entries, gzip (docs/decisions/0013-two-entries.md). */
export const BUNDLE_KB = { edge: 100, whole: 132 } as const;

/** What decides over a bundle and how it runs; the contestants' variables and bindings come from elsewhere. */
const SETTINGS = ["compatibility_date", "compatibility_flags", "minify", "keep_names"] as const;
const WRANGLER = join(createRequire(import.meta.url).resolve("wrangler/package.json"), "../bin/wrangler.js");

/**
 * What `wrangler deploy --dry-run` would upload of a Worker, all of them with the settings of the gateway's own
 * wrangler.toml. The size counts every module, and neither source maps nor wrangler's read-me.
 *
 * @param script the Worker's entry, relative to this folder
 */
export async function bundle(script: string, directory: string): Promise<Bundle> {
  const settings = gatewaySettings();
  mkdirSync(directory, { recursive: true });
  const config = join(directory, "..", "wrangler.toml");
  writeFileSync(config, stringify({ name: "bench", ...settings }));
  const path = fileURLToPath(new URL(script, import.meta.url));
  const args = [WRANGLER, "deploy", path, "--config", config, "--dry-run", "--outdir", directory];
  await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: join(directory, "..", "logs") },
  });
  const entry = `${basename(script, ".ts")}.js`;
  let bytes = 0;
  let gzipBytes = 0;
  for (const name of moduleFiles(directory, entry)) {
    const content = readFileSync(join(directory, name));
    bytes += content.length;
    gzipBytes += gzipSync(content).length;
  }
  return { directory, entry, compatibilityDate: String(settings.compatibility_date), bytes, gzipBytes };
}

function gatewaySettings(): Record<string, unknown> {
  const config = parse(readFileSync(new URL("../wrangler.toml", import.meta.url), "utf8"));
  const given = SETTINGS.filter((name) => config[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, config[name]]));
}
