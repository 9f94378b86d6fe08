// `npm run check`: every problem of wrangler.toml at once, or the compiled route table. Needs no network and no account.
//   --config FILE  another file than wrangler.toml
//   --env NAME     the variables and bindings of [env.NAME]
// Exit code: 0 valid, 1 problems, 2 the file cannot be read or the call is wrong.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs, parseEnv } from "node:util";
import { checkPolicy } from "./check-policy.ts";
import { UnreadablePolicy } from "./policy-file.ts";

const USAGE = "usage: npm run check -- [--config FILE] [--env NAME]";

process.exitCode = main(process.argv.slice(2));

function main(args: readonly string[]): number {
  const flags = readFlags(args);
  if (flags === null) {
    console.error(USAGE);
    return 2;
  }
  const { config: fileName, env: environment } = flags;
  // A named environment has secrets of its own: those of local development say nothing about them.
  const secretsFileName = environment === null ? ".dev.vars" : `.dev.vars.${environment}`;
  try {
    const text = readIfThere(fileName);
    if (text === null) throw new UnreadablePolicy("there is no such file");
    const secrets = parseEnv(readIfThere(join(dirname(fileName), secretsFileName)) ?? "");
    const report = checkPolicy({ fileName, text, environment, secrets, secretsFileName });
    (report.ok ? console.log : console.error)(report.lines.join("\n"));
    return report.ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UnreadablePolicy)) throw error;
    console.error(`${fileName}: ${error.message}`);
    return 2;
  }
}

function readFlags(args: readonly string[]): { readonly config: string; readonly env: string | null } | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: "string", short: "c" }, env: { type: "string", short: "e" } },
    });
    return { config: values.config ?? "wrangler.toml", env: values.env ?? null };
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return null;
  }
}

/** @throws UnreadablePolicy when the file is there and cannot be read */
function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "unknown";
    if (code === "ENOENT") return null;
    throw new UnreadablePolicy(`cannot be read (${code})`);
  }
}
