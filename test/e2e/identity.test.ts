// Signing in and managing against `wrangler dev`: many at once, and killed in the middle of it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeScratch } from "../support/node/scratch.ts";
import { startWranglerDev, type WranglerDev, withDatabase } from "../support/node/wrangler-dev.ts";

const VARS = {
  GATEWAY: {
    environment: "development",
    issuer: "http://127.0.0.1:8787",
    realms: { demo: { sign_in: { scopes: ["notes.read"] } } },
  },
  SITE_DEMO: {
    origin: "echo",
    routes: [{ path: "/notes/*", scopes: ["notes.read"], freshness_seconds: 0 }],
  },
};
const PASSWORD = "correct horse battery staple";

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number;
}

async function call(
  { address }: Pick<WranglerDev, "address">,
  method: string,
  path: string,
  body: unknown,
  token: string | null,
): Promise<Answer> {
  const response = await fetch(`${address}${path}`, {
    method,
    headers: {
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(token !== null && { authorization: `Bearer ${token}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const retryAfterSeconds = Number(response.headers.get("retry-after") ?? 0);
  return { status: response.status, body: text === "" ? {} : JSON.parse(text), retryAfterSeconds };
}

const users = "/_gateway/admin/realms/demo/users";
const keys = "/_gateway/admin/realms/demo/keys";

describe("many at once", () => {
  let dev: WranglerDev;

  beforeAll(async () => {
    dev = await startWranglerDev({ vars: VARS, seed: async () => {} });
    const user = { id: "7", username: "alice", password: PASSWORD };
    expect((await call(dev, "POST", users, user, dev.adminToken)).status).toBe(201);
  });
  afterAll(() => dev.stop());

  const signIn = (password = PASSWORD) =>
    call(dev, "POST", "/_gateway/auth/login", { username: "alice", password }, null);
  const refresh = (token: unknown) =>
    call(dev, "POST", "/_gateway/auth/refresh", { refresh_token: token }, null);

  it("50 parallel refreshes of one token leave exactly one live chain", async () => {
    const first = (await signIn()).body;
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(first.refresh_token)));
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
    const chains = new Set(answers.map(({ body }) => body.refresh_token));
    expect(chains.size).toBe(1);
    const [current] = chains;
    const next = await refresh(current);
    expect(next.status).toBe(200);
    expect((await call(dev, "GET", "/notes/1", undefined, String(next.body.access_token))).status).toBe(200);
    const { items } = (
      await call(
        dev,
        "GET",
        `/_gateway/admin/audit?action=session.refresh_repeated&limit=200`,
        undefined,
        dev.adminToken,
      )
    ).body as { items?: unknown[] };
    expect(items).toHaveLength(49);
  });

  it("200 parallel wrong passwords do not get past the throttle, and the user gets in again", async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => signIn(`a wrong password ${i}`)));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    // Five are free, and one more is due with each second that has passed.
    expect(count(401)).toBeLessThanOrEqual(8);
    expect(count(401)).toBeGreaterThanOrEqual(1);
    expect(count(401) + count(429) + count(503)).toBe(200);
    // The user comes back when the answer says so.
    let answer = await signIn();
    for (let tries = 0; answer.status !== 200 && tries < 3; tries++) {
      expect([429, 503]).toContain(answer.status);
      await new Promise((resolve) => setTimeout(resolve, (answer.retryAfterSeconds + 1) * 1_000));
      answer = await signIn();
    }
    expect(answer.status).toBe(200);
  });
});

describe("killed in the middle of writes", () => {
  const { directory, remove } = makeScratch("killed");
  afterAll(remove);

  it("loses nothing that was acknowledged, and leaves nothing half done", { timeout: 300_000 }, async () => {
    const acknowledged = {
      users: new Set<string>(),
      keys: new Set<string>(),
      rotated: new Set<string>(),
      deleted: new Set<string>(),
    };
    for (let round = 0; round < 3; round++) {
      const dev = await startWranglerDev({
        vars: VARS,
        directory,
        ...(round === 0 && { seed: async () => {} }),
      });
      let isOver = false;
      const post = async (method: string, path: string, body?: unknown): Promise<Answer | null> => {
        try {
          return await call(dev, method, path, body, dev.adminToken);
        } catch {
          return null; // killed before it answered: it may have happened, or not
        }
      };
      const work = async (worker: number) => {
        for (let i = 0; !isOver; i++) {
          const id = `u${round}-${worker}-${i}`;
          const made = await post("POST", users, { id, username: id });
          if (made?.status !== 201) continue;
          acknowledged.users.add(id);
          const key = await post("POST", keys, { user: id });
          if (key?.status !== 201) continue;
          acknowledged.keys.add(String(key.body.id));
          const next = await post("POST", `${keys}/${key.body.id}/rotate`, {});
          if (next?.status === 201) acknowledged.rotated.add(`${key.body.id} ${next.body.id}`);
          if (i % 3 === 0 && (await post("DELETE", `${users}/${id}`))?.status === 204)
            acknowledged.deleted.add(id);
        }
      };
      const workers = Array.from({ length: 8 }, (_, worker) => work(worker));
      const before = acknowledged.rotated.size;
      while (acknowledged.rotated.size < before + 15) await new Promise((resolve) => setTimeout(resolve, 20));
      await dev.process.kill();
      isOver = true;
      await Promise.all(workers);
    }

    const { rows, audit, changes } = await withDatabase(directory, async (database) => {
      const all = async <Row>(sql: string) => (await database.prepare(sql).all<Row>()).results;
      return {
        rows: {
          users: await all<{ id: string; status: string }>("SELECT id, status FROM users"),
          keys: await all<{
            id: string;
            userId: string;
            status: string;
            replacedBy: string | null;
            expires: number | null;
          }>(
            "SELECT id, user_id AS userId, status, replaced_by AS replacedBy, expires_at_seconds AS expires FROM credentials",
          ),
        },
        audit: await all<{ action: string; target: string }>("SELECT action, target_id AS target FROM audit"),
        changes: await all<{ what: string; subjects: string }>("SELECT what, subjects FROM changes"),
      };
    });
    const userIds = new Map(rows.users.map((user) => [user.id, user.status]));
    const keysById = new Map(rows.keys.map((key) => [key.id, key]));
    for (const id of acknowledged.users) expect(userIds.has(id), id).toBe(true);
    for (const id of acknowledged.deleted) expect(userIds.get(id), id).toBe("deleted");
    for (const id of acknowledged.keys) expect(keysById.has(id), id).toBe(true);
    for (const pair of acknowledged.rotated) {
      const [old = "", next = ""] = pair.split(" ");
      expect(keysById.get(old)?.replacedBy, pair).toBe(next);
      expect(keysById.has(next), pair).toBe(true);
    }
    // Nothing half done: each row has its entry in the log and in the feed, each entry its row.
    const logged = (action: string) =>
      audit
        .filter((row) => row.action === action)
        .map(({ target }) => target)
        .sort();
    expect(logged("user.created")).toEqual([...userIds.keys()].sort());
    expect(logged("user.deleted")).toEqual(
      rows.users
        .filter(({ status }) => status === "deleted")
        .map(({ id }) => id)
        .sort(),
    );
    const replaced = rows.keys.filter(({ replacedBy }) => replacedBy !== null);
    expect(logged("credential.rotated")).toEqual(replaced.map(({ id }) => id).sort());
    expect(logged("credential.created").length + replaced.length).toBe(rows.keys.length);
    for (const { replacedBy, expires } of replaced) {
      expect(keysById.has(replacedBy ?? "")).toBe(true);
      expect(expires).not.toBeNull();
    }
    for (const { userId, status } of rows.keys)
      expect(status === "deleted").toBe(userIds.get(userId) === "deleted");
    const fed = (what: string) => changes.filter((row) => row.what === what).length;
    expect(fed("user.created")).toBe(userIds.size);
    expect(fed("credential.rotated")).toBe(replaced.length);
  });
});
