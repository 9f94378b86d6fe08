// Administration of sessions: which are listed, and that ending one ends it.

import * as v from "valibot";
import { beforeEach, describe, expect, it } from "vitest";
import { Session } from "../../../src/control/resources.ts";
import {
  addSession,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  type Gateway,
  signJwt,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";

const SESSIONS = "admin/realms/main/sessions";
type Json = Readonly<Record<string, unknown>>;

let gateway: Gateway;
beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
  await addUser("7");
  await addUser("8");
});

const nowSeconds = () => Math.floor(Date.now() / 1_000);
const list = async (query = "") =>
  (await api(gateway, "GET", `${SESSIONS}${query}`)).body as {
    readonly items: readonly Json[];
    readonly next_cursor: string | null;
  };
const ids = async (query = "") => (await list(query)).items.map(({ id }) => id);
const withCookie = async (cookie: string, user = "7") =>
  (await gateway.fetch("/now/x", { headers: { cookie: `sid=${cookie}`, "New-Api-User": user } })).status;

async function addSessionRow(id: string, times: { created?: number; ends?: number; idleEnds?: number }) {
  const [createdAtSeconds, expiresAtSeconds] = [
    times.created ?? nowSeconds(),
    times.ends ?? nowSeconds() + 100,
  ];
  const idle = times.idleEnds === undefined ? {} : { idleExpiresAtSeconds: times.idleEnds };
  const row = { id, realm: "main", userId: "7", digest: `digest of ${id}`, pepper: "p1" };
  await writes.createSession({ ...row, createdAtSeconds, expiresAtSeconds, ...idle });
}

describe("the list", () => {
  it("shows who signed in when and from where, and nothing of the secret", async () => {
    await writes.createSession({
      id: "s1",
      realm: "main",
      userId: "7",
      kind: "token",
      digest: "a digest",
      pepper: "p1",
      scopes: ["notes.read"],
      createdAtSeconds: 1_700_000_000,
      expiresAtSeconds: nowSeconds() + 100,
      idleExpiresAtSeconds: nowSeconds() + 50,
      counter: 3,
      address: "203.0.113.7",
      userAgent: "a browser",
    });
    const { items } = await list();
    expect(items.every((item) => v.is(Session, item))).toBe(true);
    expect(items[0]).toMatchObject({
      id: "s1",
      realm: "main",
      user: "7",
      kind: "token",
      scopes: ["notes.read"],
      created_at: 1_700_000_000,
      last_used_at: null,
      address: "203.0.113.7",
      user_agent: "a browser",
    });
    expect(JSON.stringify(items)).not.toMatch(/digest|p1|counter/);
  });

  it("leaves out what has run out, at that very second, and what was ended", async () => {
    const now = nowSeconds();
    await addSessionRow("live", { ends: now + 60, idleEnds: now + 60 });
    await addSessionRow("over", { ends: now });
    await addSessionRow("idle", { ends: now + 60, idleEnds: now });
    await addSessionRow("ended", {});
    await api(gateway, "DELETE", `${SESSIONS}/ended`);
    expect(await ids()).toEqual(["live"]);
  });

  it("is newest first, in pages, with equal times told apart by id", async () => {
    for (const [id, created] of [
      ["a", 100],
      ["b", 300],
      ["c", 200],
      ["d", 200],
      ["e", 200],
    ] as const) {
      await addSessionRow(id, { created });
    }
    const first = await list("?limit=2");
    await addSessionRow("new", { created: 400 });
    const second = await list(`?limit=2&cursor=${first.next_cursor}`);
    const third = await list(`?limit=2&cursor=${second.next_cursor}`);
    expect([first, second, third].map(({ items }) => items.map(({ id }) => id))).toEqual([
      ["b", "e"],
      ["d", "c"],
      ["a"],
    ]);
    expect(third.next_cursor).toBeNull();
  });

  it("can be of one user, and knows no other realm's", async () => {
    await addSession("s1");
    await addSession("s2", "8");
    await addUser("7", { realm: "gateway" });
    const row = { realm: "gateway", userId: "7", digest: "d", pepper: "p1", createdAtSeconds: 1 };
    await writes.createSession({ ...row, id: "s3", expiresAtSeconds: nowSeconds() + 60 });
    expect(await ids("?user=7")).toEqual(["s1"]);
    expect(await ids("?user=nobody")).toEqual([]);
    expect((await ids()).toSorted()).toEqual(["s1", "s2"]);
  });

  it.each([["[1]"], ['["1","s"]'], ['[1.5,"s"]'], ['[1,"s",2]'], ["{}"], ["null"]])(
    "refuses %s as a cursor",
    async (key) => {
      const answer = await api(gateway, "GET", `${SESSIONS}?cursor=${btoa(key).replaceAll("=", "")}`);
      expect([answer.status, JSON.stringify(answer.body)]).toEqual([
        400,
        expect.stringContaining('"cursor"'),
      ]);
    },
  );
});

describe("ending a session", () => {
  it("ends its cookie and the tokens that name it, at once, and no other", async () => {
    const [one, other] = [await addSession("s1"), await addSession("s2")];
    const token = bearer(await signJwt({ sid: "s1" }));
    expect(await withCookie(one)).toBe(200);
    expect((await gateway.fetch("/now/x", token)).status).toBe(200);
    expect((await api(gateway, "DELETE", `${SESSIONS}/s1`)).status).toBe(204);
    expect(await withCookie(one)).toBe(401);
    expect((await gateway.fetch("/now/x", token)).status).toBe(401);
    expect(await withCookie(other)).toBe(200);
    const row = await DB.prepare("SELECT action, target_kind, target_id, details FROM audit").first<Json>();
    expect(row).toEqual({
      action: "session.ended",
      target_kind: "session",
      target_id: "s1",
      details: '{"user":"7"}',
    });
  });

  it("of another realm, twice, or one that never was, is the same 404", async () => {
    await addSession("s1");
    await addUser("7", { realm: "gateway" }); // whose id is that of the owner
    const answers = [await api(gateway, "DELETE", "admin/realms/gateway/sessions/s1")];
    expect((await api(gateway, "DELETE", `${SESSIONS}/s1`)).status).toBe(204);
    answers.push(
      await api(gateway, "DELETE", `${SESSIONS}/s1`),
      await api(gateway, "DELETE", `${SESSIONS}/s9`),
    );
    const bodies = answers.map(({ status, body }) => ({ ...(body as Json), status, requestId: "" }));
    expect(bodies[0]).toMatchObject({ status: 404, code: "resource_not_found" });
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1);
  });
});
