// `npm run check`: every problem of wrangler.toml at once, or the compiled route table. Needs no network and no account.
//   --config FILE  another file than wrangler.toml
//   --env NAME     the variables and bindings of [env.NAME]
// Exit code: 0 valid, 1 problems, 2 the file cannot be read or the call is wrong.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { checkPolicy } from "./check-policy.ts";
import { readFlags } from "./flags.ts";
import { UnreadablePolicy } from "./policy-file.ts";

const flags = readFlags(
  { config: { type: "string", short: "c" }, env: { type: "string", short: "e" } },
  "usage: npm run check -- [--config FILE] [--env NAME]",
);

process.exitCode = main(flags.config ?? "wrangler.toml", flags.env ?? null);

function main(fileName: string, environment: string | null): number {
  // A named environment has secrets of its own: those of local development say nothing about them.
  const secretsFileName = environment === null ? ".dev.vars" : `.dev.vars.${environment}`;
  try {
    const text = readIfThere(fileName);
    if (text === null) throw new UnreadablePolicy("there is no such file");
    const secretsText = readIfThere(join(dirname(fileName), secretsFileName));
    const report = checkPolicy({
      ...{ fileName, text, environment, secretsFileName },
      secrets: parseEnv(secretsText ?? ""),
      hasSecretsFile: secretsText !== null,
    });
    (report.ok ? console.log : console.error)(report.lines.join("\n"));
    return report.ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UnreadablePolicy)) throw error;
    console.error(`${fileName}: ${error.message}`);
    return 2;
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
