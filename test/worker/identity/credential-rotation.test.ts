// Rotating API keys and PATs, how many there can be, and what is left when a write fails or comes too late.
import * as v from "valibot";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KINDS } from "../../../src/control/credential-fields.ts";
import { callOf, type RestOf, rowsOf, statusOfUse } from "../../support/worker/calls.ts";
import {
  addUser,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";

const nowSeconds = () => Math.floor(Date.now() / 1_000);
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);

let gateway: Gateway;
const call = (...rest: RestOf<typeof callOf>) => callOf(gateway, ...rest);
const use = (...rest: RestOf<typeof statusOfUse>) => statusOfUse(gateway, ...rest);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
  await emptyStores();
  await addUser("7");
  gateway = startGateway();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe.each([
  ["api_key", "keys", "key", /^sk-[0-9A-Za-z]{48}$/],
  ["pat", "pats", "token", /^[0-9A-Za-z]{32}$/],
] as const)("%s", (kind, path, member, form) => {
  const all = `admin/realms/main/${path}`;
  const create = async (body: Record<string, unknown> = {}, token?: string) => {
    const { status, body: made } = await call("POST", all, { user: "7", ...body }, token);
    expect([status, made]).toEqual([201, expect.objectContaining({ [member]: expect.stringMatching(form) })]);
    return { ...made, secret: made[member] };
  };
  const patch = (id: string, body: unknown) => call("PATCH", `${all}/${id}`, body);
  const rotate = (id: string, body: unknown = {}) => call("POST", `${all}/${id}/rotate`, body);
  const read = async (id: string) => (await call("GET", `${all}/${id}`)).body;

  describe("rotation", () => {
    it("gives a new one like it, and both work until the grace ends", async () => {
      const settings = { name: "n", scopes: ["x"], ip_allow: [], attributes: { a: 1 } };
      const old = await create({ ...settings, expires_at: nowSeconds() + 1_000 });
      pass(400);
      const { status, body } = await rotate(old.id, { grace_seconds: 100 });
      expect(status).toBe(201);
      expect(v.is(KINDS[kind].minted, body)).toBe(true);
      // The new one lives as long as the old one was to live.
      const times = { created_at: nowSeconds(), expires_at: nowSeconds() + 1_000 };
      expect(body).toMatchObject({ ...settings, ...times, user: "7", status: "active", replaced_by: null });
      expect(body.id).not.toBe(old.id);
      const { [member]: _, ...shown } = body;
      expect(await read(body.id)).toEqual(shown);
      expect(await read(old.id)).toMatchObject({
        replaced_by: body.id,
        expires_at: nowSeconds() + 100,
        last_used_at: null,
      });
      pass(99);
      expect([await use(old.secret), await use(body[member])]).toEqual([200, 200]);
      pass(1);
      expect([await use(old.secret), await use(body[member])]).toEqual([401, 200]);
    });

    it("without a grace ends the old one at once", async () => {
      const old = await create();
      const { body } = await rotate(old.id, { grace_seconds: 0 });
      expect([await use(old.secret), await use(body[member])]).toEqual([401, 200]);
    });

    it("has a grace of a day for keys and none for PATs, unless somebody says", async () => {
      const old = await create();
      await rotate(old.id);
      expect(await read(old.id)).toMatchObject({ expires_at: nowSeconds() + (kind === "pat" ? 0 : 86_400) });
    });

    it("never makes the old one live longer", async () => {
      const old = await create({ expires_at: nowSeconds() + 10 });
      expect((await rotate(old.id, { grace_seconds: 2_592_000 })).status).toBe(201);
      pass(10);
      expect(await use(old.secret)).toBe(401);
    });

    it("cannot be undone by moving the end of the old one; it can end sooner", async () => {
      const old = await create();
      await rotate(old.id, { grace_seconds: 100 });
      for (const expires_at of [null, nowSeconds() + 101]) {
        expect(await patch(old.id, { expires_at })).toMatchObject({
          status: 400,
          body: { errors: [{ field: "expires_at" }] },
        });
      }
      expect((await patch(old.id, { expires_at: nowSeconds() + 50 })).status).toBe(200);
      pass(50);
      expect(await use(old.secret)).toBe(401);
    });

    it("is refused for what was rotated, is disabled, or is over", async () => {
      const old = await create();
      await rotate(old.id, { grace_seconds: 100 });
      expect(await rotate(old.id)).toMatchObject({ status: 409, body: { code: "changed_meanwhile" } });
      const disabled = await create();
      await patch(disabled.id, { status: "disabled" });
      expect(await rotate(disabled.id)).toMatchObject({
        status: 400,
        body: { errors: [{ field: "status" }] },
      });
      const over = await create({ expires_at: nowSeconds() + 1 });
      pass(1);
      expect(await rotate(over.id)).toMatchObject({
        status: 400,
        body: { errors: [{ field: "expires_at" }] },
      });
      expect(await rowsOf("credentials")).toHaveLength(4);
    });

    it("of one by many at the same time makes one", async () => {
      const old = await create();
      const results = await Promise.all(
        Array.from({ length: 8 }, () => rotate(old.id, { grace_seconds: 60 })),
      );
      expect(results.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)]);
      expect(await rowsOf("credentials")).toHaveLength(2);
      expect((await rowsOf("audit")).filter(({ action }) => action === "credential.rotated")).toHaveLength(1);
    });

    it("decides by what is so when it is written, not by what was read", async () => {
      const old = await create({ scopes: ["x", "y"] });
      await patch(old.id, { scopes: ["x"] });
      const next = { id: "k-next", kind, realm: "main", userId: "7", digest: "d", pepper: "p1" } as const;
      const times = { createdAtSeconds: nowSeconds(), expiresAtSeconds: null };
      const attempt = (scopes: readonly string[]) =>
        writes.rotateCredential(old.id, { ...next, ...times }, nowSeconds() + 5, 10, {
          scopes,
          expiresAtSeconds: null,
          replacedBy: null,
        });
      expect(await attempt(["x", "y"])).toBeNull();
      expect(await read(old.id)).toMatchObject({ replaced_by: null, expires_at: null });
      expect(await attempt(["x"])).toBe(nowSeconds());
      expect(await read("k-next")).toMatchObject({ scopes: ["x"] });
    });
  });

  it("a batch that fails in its last statement leaves nothing behind", async () => {
    const first = await create();
    // The same random numbers again: the same id, the same secret, the same digest.
    const random = vi.spyOn(crypto, "getRandomValues").mockImplementation((bytes) => bytes);
    const zeros = await create();
    const before = await Promise.all(["credentials", "changes", "audit"].map(rowsOf));
    expect(await call("POST", all, { user: "7" })).toMatchObject({ status: 503 });
    expect((await rotate(first.id)).status).toBe(503);
    random.mockRestore();
    expect(await Promise.all(["credentials", "changes", "audit"].map(rowsOf))).toEqual(before);
    expect(await read(first.id)).toMatchObject({ replaced_by: null, expires_at: null });
    expect([await use(first.secret), await use(zeros.secret)]).toEqual([200, 200]);
  });

  describe("a user has at most 1,000 that live", () => {
    beforeEach(() =>
      DB.prepare(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
          INSERT INTO credentials (id, kind, realm, user_id, digest, pepper, created_at_seconds)
          SELECT 'seed' || i, ?, 'main', '7', 'd' || i, 'p1', 1 FROM n`,
      )
        .bind(kind)
        .run(),
    );
    const refused = { status: 400, body: { code: "input_invalid" } };

    it("however many are asked for at the same time", async () => {
      const results = await Promise.all([1, 2, 3, 4].map(() => call("POST", all, { user: "7" })));
      expect(results.map(({ status }) => status).sort()).toEqual([201, 400, 400, 400]);
      expect(await rowsOf("credentials")).toHaveLength(1_000);
      expect((await rowsOf("audit")).length).toBe(1);
    });

    it("rotating at the limit works, and does not lead past it", async () => {
      const last = await create();
      expect(await call("POST", all, { user: "7" })).toMatchObject(refused);
      const rotated = await rotate(last.id, { grace_seconds: 60 });
      expect(rotated.status).toBe(201);
      expect(await rotate(rotated.body.id, { grace_seconds: 60 })).toMatchObject(refused);
      expect(await read(rotated.body.id)).toMatchObject({ replaced_by: null });
      pass(60);
      expect((await rotate(rotated.body.id, { grace_seconds: 60 })).status).toBe(201);
    });

    it("what is deleted or over does not count, nor what others have", async () => {
      await addUser("8");
      await create();
      await call("DELETE", `${all}/seed1`);
      expect((await create({ expires_at: nowSeconds() + 1 })).id).toBeDefined();
      expect(await call("POST", all, { user: "7" })).toMatchObject(refused);
      expect((await call("POST", all, { user: "8" })).status).toBe(201);
      pass(1);
      expect((await call("POST", all, { user: "7" })).status).toBe(201);
    });
  });

  it("of an owner who is deleted between the look and the write, none is made", async () => {
    await writes.deleteUser("main", "7", nowSeconds(), nowSeconds() + 60);
    const row = { id: "late", kind, realm: "main", userId: "7", digest: "d", pepper: "p1" } as const;
    const changes = (await rowsOf("changes")).length;
    expect(await writes.createCredential({ ...row, createdAtSeconds: nowSeconds() }, 10)).toBeNull();
    expect(await rowsOf("credentials")).toEqual([]);
    expect(await rowsOf("changes")).toHaveLength(changes);
  });

  it("a change that was decided by what is so no more is not made", async () => {
    const { id } = await create({ scopes: ["x"] });
    const state = { scopes: ["x"], expiresAtSeconds: null, replacedBy: null };
    const attempt = (expected: typeof state) =>
      writes.updateCredential(id, { expiresAtSeconds: null, status: "active" }, nowSeconds(), expected);
    const changes = (await rowsOf("changes")).length;
    expect(await attempt({ ...state, scopes: [] })).toBe(false);
    expect(
      await writes.updateCredential(id, { name: "n" }, nowSeconds(), { ...state, replacedBy: "k2" }),
    ).toBe(false);
    expect(
      await writes.updateCredential(id, { name: "n" }, nowSeconds(), { ...state, expiresAtSeconds: 1 }),
    ).toBe(false);
    expect(await rowsOf("changes")).toHaveLength(changes);
    expect(await attempt(state)).toBe(true);
    await rotate(id, { grace_seconds: 60 });
    expect(await attempt(state)).toBe(false);
    expect(await read(id)).toMatchObject({ expires_at: nowSeconds() + 60 });
  });

  describe("of what another request does between the look and the write", () => {
    /** Right before the next write of the gateway. */
    function meanwhile(work: () => Promise<unknown>): void {
      const batch = DB.batch.bind(DB);
      vi.spyOn(DB, "batch").mockImplementationOnce(async (statements) => {
        await work();
        return batch(statements);
      });
    }
    const changed = { status: 409, body: { code: "changed_meanwhile" } };

    it("a rotation is not undone by a later end", async () => {
      const { id, secret } = await create();
      meanwhile(() => rotate(id, { grace_seconds: 5 }));
      expect(await patch(id, { expires_at: null })).toMatchObject(changed);
      pass(5);
      expect(await use(secret)).toBe(401);
    });

    it("scopes that were taken away do not come back with a rotation", async () => {
      const { id } = await create({ scopes: ["x", "y"] });
      meanwhile(() => patch(id, { scopes: ["x"] }));
      expect(await rotate(id)).toMatchObject(changed);
      expect(await rowsOf("credentials")).toHaveLength(1);
      expect((await rotate(id)).body.scopes).toEqual(["x"]);
    });

    it("scopes that were added are not enabled by who does not hold them", async () => {
      const { id } = await create({ scopes: ["notes.read"] });
      await patch(id, { status: "disabled" });
      const token = await signIn("7", { scopes: ["notes.read"] });
      meanwhile(() => patch(id, { scopes: ["notes.read", "y"] }));
      expect(await call("PATCH", `me/${path}/${id}`, { status: "active" }, token)).toMatchObject(changed);
      expect(await read(id)).toMatchObject({ status: "disabled" });
    });

    it("an end is an end", async () => {
      const { id, secret } = await create();
      for (const attempt of [() => patch(id, { status: "active" }), () => rotate(id)]) {
        meanwhile(() => writes.updateCredential(id, { status: "deleted" }, nowSeconds()));
        expect((await attempt()).status).toBe(404);
      }
      meanwhile(() => writes.deleteUser("main", "7", nowSeconds(), nowSeconds() + 60));
      expect(await call("POST", all, { user: "7" })).toMatchObject({
        status: 400,
        body: { errors: [{ field: "user" }] },
      });
      expect(await rowsOf("credentials")).toHaveLength(1);
      expect(await use(secret)).toBe(401);
    });
  });
});
