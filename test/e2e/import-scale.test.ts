// Many records through the CLI into a gateway under `wrangler dev`. The full size takes minutes:
//   USERS=100000 KEYS=1000000 npx vitest run --project node test/e2e/import-scale.test.ts
import { createHash } from "node:crypto";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, expect, it } from "vitest";
import { runPostern } from "../support/node/postern-cli.ts";
import { startWranglerDev } from "../support/node/wrangler-dev.ts";

const USERS = Number(process.env.USERS ?? 2_500);
const KEYS = Number(process.env.KEYS ?? 10_000);
const TIMEOUT_MS = 120_000 + (USERS + KEYS) * 10;
const scratch = mkdtempSync(join(tmpdir(), "postern-scale-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const VARS = {
  GATEWAY: {
    issuer: "https://auth.example",
    environment: "development",
    realms: { many: { untagged_keys: true } },
  },
  SITE_MANY: { origin: "echo", realm: "many", routes: [{ path: "/*", auth: "required" }] },
};

const secretOf = (at: number) => `sk-${createHash("sha256").update(`key ${at}`).digest("base64url")}`;

function* lines(): Generator<string> {
  for (let at = 0; at < USERS; at++) {
    const person = { username: `user-${at}`, email: `user-${at}@example.com`, name: `User number ${at}` };
    const password =
      at % 10 === 0 ? { password: { scheme: "bcrypt", hash: `$2b$10$${"a".repeat(53)}` } } : {};
    yield `${JSON.stringify({ type: "user", realm: "many", id: `u${at}`, ...person, ...password })}\n`;
  }
  for (let at = 0; at < KEYS; at++) {
    const more = { name: `key ${at}`, scopes: ["chat", "models.read"], attributes: { group: "default" } };
    const owner = `u${at % USERS}`;
    yield `${JSON.stringify({ type: "api_key", realm: "many", user: owner, key: secretOf(at), ...more })}\n`;
  }
}

it(
  `takes ${USERS} users and ${KEYS} keys, every one of them once`,
  async () => {
    const file = join(scratch, "many.jsonl");
    await pipeline(Readable.from(lines()), createWriteStream(file));
    const dev = await startWranglerDev({ vars: VARS, seed: async () => {} });
    try {
      const environment = { POSTERN_URL: dev.address, POSTERN_TOKEN: dev.adminToken };
      const beganMs = Date.now();
      const first = await runPostern(["import", file, "--json"], { environment });
      const tookMs = Date.now() - beganMs;
      expect(first).toMatchObject({ status: 0 });
      const { users, credentials } = JSON.parse(first.stdout);
      // A chunk whose answer was lost is sent again, and is there already then.
      expect([users.added + users.present, credentials.added + credentials.present]).toEqual([USERS, KEYS]);
      const perSecond = Math.round((1_000 * (USERS + KEYS)) / tookMs);
      process.stderr.write(`import: ${USERS + KEYS} records in ${tookMs} ms, ${perSecond} a second\n`);

      for (const at of [0, Math.floor(KEYS / 2), KEYS - 1]) {
        const answer = await fetch(`${dev.address}/x`, {
          headers: { authorization: `Bearer ${secretOf(at)}` },
        });
        expect(answer.status).toBe(200);
      }
      const { stdout } = await runPostern(
        ["audit", "list", "--action", "import.applied", "--all", "--json"],
        {
          environment,
        },
      );
      const entries = (JSON.parse(stdout) as { items: { details: Record<string, number> }[] }).items;
      const total = (what: string) => entries.reduce((sum, { details }) => sum + (details[what] ?? 0), 0);
      expect([total("users"), total("credentials")]).toEqual([USERS, KEYS]);
      expect(entries.length).toBe(Math.ceil(USERS / 1_000) + Math.ceil(KEYS / 1_000));

      if (USERS + KEYS <= 50_000) {
        const second = await runPostern(["import", file, "--json"], { environment });
        expect(JSON.parse(second.stdout)).toMatchObject({
          users: { added: 0, present: USERS },
          credentials: { added: 0, present: KEYS },
        });
      }
    } finally {
      await dev.stop();
    }
  },
  TIMEOUT_MS,
);
