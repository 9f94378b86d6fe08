// Goldens: each .toml file here holds a configuration, a line of dashes, and what `npm run check` says about it. The
// file's name is the sentence that it proves. UPDATE_POLICIES=1 writes what is said now; read the difference.
//   `#: env NAME` checks [env.NAME]; `#: secret NAME=VALUE` is a line of .dev.vars; `#: file NAME` says that this file
//   of secrets is there, so that the others are missing from it.
// A file that does not mention [vars.GATEWAY] gets the one below, and a D1 binding.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkPolicy } from "../../cli/check-policy.ts";

const LINE = "# ----------";
const COMMON = `
[[d1_databases]]
binding = "DB"
[vars.GATEWAY]
issuer = "https://auth.example.com"
hosts = ["auth.example.com"]
`;

describe("policy", () => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".toml"));

  it.each(files.sort())("%s", (name) => {
    const file = join(import.meta.dirname, name);
    const [config = "", expected = ""] = readFileSync(file, "utf8").split(`${LINE}\n`);
    const said = `${check(config)}\n`;
    if (process.env.UPDATE_POLICIES === "1") writeFileSync(file, `${config}${LINE}\n${said}`);
    else expect(said).toBe(expected);
  });
});

function check(config: string): string {
  const directives = [...config.matchAll(/^#: (\S+) (.*)$/gm)];
  const environment = directives.find(([, word]) => word === "env")?.[2] ?? null;
  const secretsFile = directives.find(([, word]) => word === "file")?.[2];
  const secrets = directives
    .filter(([, word]) => word === "secret")
    .map(([, , text = ""]) => text.split("="));
  const report = checkPolicy({
    fileName: "wrangler.toml",
    text: config.includes("vars.GATEWAY]") ? config : COMMON + config,
    environment,
    secrets: Object.fromEntries(secrets.map(([name, ...value]) => [name, value.join("=")])),
    secretsFileName: secretsFile ?? ".dev.vars",
    hasSecretsFile: secretsFile !== undefined,
  });
  return report.lines.join("\n");
}
