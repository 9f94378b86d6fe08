// Every configuration under examples/ is valid as it stands, and warns of nothing but being for this machine.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkPolicy } from "../../cli/check-policy.ts";

const ROOT = join(import.meta.dirname, "../..");
const FILES = globSync("examples/*/*.toml", { cwd: ROOT }).sort();

describe("examples", () => {
  it("are found", () => {
    expect(FILES).toContain(join("examples", "minimal", "wrangler.toml"));
  });

  it.each(FILES)("%s", (fileName) => {
    const text = readFileSync(join(ROOT, fileName), "utf8");
    const none = { environment: null, secrets: {}, secretsFileName: ".dev.vars" };
    const { ok, lines } = checkPolicy({ fileName, text, ...none });
    expect([ok, lines[0]]).toEqual([true, `${fileName}: the configuration is valid`]);
    const start = lines.indexOf("Warnings:");
    const warnings = start === -1 ? [] : lines.slice(start + 1);
    const others = warnings.filter((line) => line !== "" && !line.includes("GATEWAY.environment: "));
    expect(others).toEqual([]);
  });
});
