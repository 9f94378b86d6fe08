// Where the project is, and what it is deployed as.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "smol-toml";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const WRANGLER = join(
  createRequire(import.meta.url).resolve("wrangler/package.json"),
  "../bin/wrangler.js",
);
export const COMPATIBILITY_DATE = String(
  parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8")).compatibility_date,
);
