// Bundles as `wrangler deploy` would upload them.
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { parse } from "smol-toml";
import { moduleFiles } from "./workerd.ts";

export interface Bundle {
  readonly directory: string;
  readonly entry: string;
  readonly compatibilityDate: string;
  readonly bytes: number;
  readonly gzipBytes: number;
}

const CONFIG = fileURLToPath(new URL("./wrangler.toml", import.meta.url));
const WRANGLER = join(createRequire(import.meta.url).resolve("wrangler/package.json"), "../bin/wrangler.js");

/**
 * What `wrangler deploy --dry-run` would upload of a Worker. The size counts every module, and neither source maps nor
 * wrangler's read-me.
 *
 * @param script the Worker's entry, relative to this folder
 */
export async function bundle(script: string, directory: string): Promise<Bundle> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  // wrangler leaves a folder beside its configuration.
  mkdirSync(directory, { recursive: true });
  const config = join(directory, "..", "wrangler.toml");
  copyFileSync(CONFIG, config);
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
    gzipBytes += gzipSync(content, { level: 9 }).length;
  }
  return { directory, entry, compatibilityDate: compatibilityDate(), bytes, gzipBytes };
}

function compatibilityDate(): string {
  const date = parse(readFileSync(CONFIG, "utf8")).compatibility_date;
  if (typeof date !== "string") throw new Error(`${CONFIG}: compatibility_date`);
  return date;
}
