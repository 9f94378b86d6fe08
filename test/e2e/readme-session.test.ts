// The session recorded in the README, run as printed in a shell, against `wrangler dev`.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "smol-toml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../support/node/project.ts";
import { makeScratch } from "../support/node/scratch.ts";
import { startWranglerDev, type WranglerDev } from "../support/node/wrangler-dev.ts";

const DEFAULT_ADDRESS = "http://127.0.0.1:8787";
const README = readFileSync(join(ROOT, "README.md"), "utf8");

/** The shell blocks of one section, in order. */
function shellBlocks(heading: string): readonly string[] {
  const [, section = ""] = README.split(`## ${heading}\n`);
  const [own = ""] = section.split(/^## /m);
  return [...own.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = ""]) => block);
}

describe("the README's session", () => {
  const { directory, remove } = makeScratch("readme");
  let dev: WranglerDev;

  beforeAll(async () => {
    // The demo's own policy: what `npm start` runs.
    const { vars } = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
    dev = await startWranglerDev({ vars: vars as Readonly<Record<string, unknown>>, seed: async () => {} });
  });
  afterAll(async () => {
    await dev.stop();
    remove();
  });

  it("creates a user, signs in, refreshes, makes a key, rotates and revokes it, and shows it in the audit log", {
    timeout: 120_000,
  }, async () => {
    const blocks = shellBlocks("Users, keys and sign-in");
    expect(blocks.length).toBeGreaterThan(0);
    const script = blocks.join("\n").replaceAll(DEFAULT_ADDRESS, dev.address);
    const { stdout, stderr } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], {
      cwd: ROOT,
      env: { ...process.env, POSTERN_URL: dev.address, POSTERN_TOKEN: dev.adminToken, TMPDIR: directory },
    });
    const statuses = [...stdout.matchAll(/^status (\d{3})$/gm)].map(([, status]) => status);
    expect(statuses, stdout + stderr).toEqual(["200", "200", "200", "200", "200", "401"]);
    for (const action of ["user.created", "session.created", "credential.created", "credential.rotated"]) {
      expect(stdout).toContain(action);
    }
    expect(stdout).toMatch(/credential\.(deleted|updated)/);
  });
});
