import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const GOOD = `
[[d1_databases]]
binding = "DB"
[vars.GATEWAY]
issuer = "https://auth.example.com"
hosts = ["auth.example.com"]
[vars.SITE_FILES]
origin = "https://files.internal"
routes = [{ path = "/*" }]
[env.staging.vars.GATEWAY]
issuer = "https://staging.example.com"
`;
const directories: string[] = [];

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true });
});

/** Files of a directory of their own, whose name is returned. */
function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), "postern-check-"));
  directories.push(directory);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

function check(directory: string, ...args: readonly string[]) {
  const run = spawnSync(process.execPath, [join(ROOT, "cli/check.ts"), ...args], {
    cwd: directory,
    encoding: "utf8",
  });
  return { code: run.status, stdout: run.stdout, stderr: run.stderr };
}

describe("npm run check", () => {
  it("answers 0 and the route table for a good file", () => {
    const { code, stdout, stderr } = check(directoryWith({ "wrangler.toml": GOOD }));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("wrangler.toml: the configuration is valid");
    expect(stdout).toContain("SITE_FILES.routes[0]");
  });

  it("answers 1 and every problem for a bad one", () => {
    const bad = GOOD.replace('"/*"', '"x", auth = "open"');
    const { code, stdout, stderr } = check(directoryWith({ "other.toml": bad }), "--config", "other.toml");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("other.toml: 1 problem\n  SITE_FILES.routes[0].auth: must be one of");
  });

  it("judges an environment by its own variables", () => {
    const { code, stderr } = check(directoryWith({ "wrangler.toml": GOOD }), "--env", "staging");
    expect(code).toBe(0);
    expect(stderr).toBe("");
  });

  it("judges the secrets of .dev.vars, and those of an environment by its own file", () => {
    const directory = directoryWith({ "wrangler.toml": GOOD, ".dev.vars": "POSTERN_PEPPERS=a:weak\n" });
    const { code, stderr } = check(directory);
    expect(code).toBe(1);
    expect(stderr).toContain("POSTERN_PEPPERS: entry 1 is too short");
    expect(stderr).not.toContain("weak");
    expect(check(directory, "--env", "staging").code).toBe(0);
  });

  it.each([
    ["a file that is not there", ["--config", "none.toml"], "none.toml: there is no such file"],
    ["a directory", ["--config", "."], ".: cannot be read (EISDIR)"],
    [
      "an environment that is not there",
      ["--env", "prod"],
      "there is no [env.prod]; the environments are staging",
    ],
    [
      "an environment named like a prototype member",
      ["--env", "constructor"],
      "there is no [env.constructor]",
    ],
    ["an unknown flag", ["--confg", "x"], "usage: npm run check"],
    ["an argument too many", ["x"], "usage: npm run check"],
  ])("answers 2 for %s", (_, args, expected) => {
    const { code, stdout, stderr } = check(directoryWith({ "wrangler.toml": GOOD }), ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(expected);
    expect(stderr).not.toContain("    at ");
  });

  it("answers 2 for an environment that stands there in comments, with its line", () => {
    const text = `${GOOD}\n#   npm run check -- --env production\n# [env.production.vars.SITE_X]\n# [env.production]\n`;
    const { code, stderr } = check(directoryWith({ "wrangler.toml": text }), "--env", "production");
    expect(code).toBe(2);
    expect(stderr).toContain("the environments are staging; its template begins in line 15: take the # away");
  });

  it("answers 2 with line and column for what is no TOML", () => {
    const { code, stderr } = check(directoryWith({ "wrangler.toml": "name = 'x'\n[vars\n" }));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^wrangler\.toml: line 2, column \d+: /);
  });
});
