// API keys and PATs through the admin API: what is made works, what is ended does not, and nothing is told twice.
import * as v from "valibot";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KINDS } from "../../../src/control/credential-fields.ts";
import { type Answer, callOf, type RestOf, rowsOf, statusOfUse } from "../../support/worker/calls.ts";
import {
  addApiKey,
  addUser,
  emptyStores,
  type Gateway,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signInAdmin } from "../../support/worker/signed-in.ts";

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

  it("that was made works at once, with what was asked for", async () => {
    const settings = {
      name: "laptop",
      scopes: ["notes.read", "notes.write"],
      ip_allow: [],
      attributes: { group: "vip" },
      expires_at: nowSeconds() + 3_600,
    };
    const { secret, ...made } = await create(settings);
    expect(v.is(KINDS[kind].minted, made)).toBe(true);
    expect(made).toMatchObject({ ...settings, kind, realm: "main", user: "7", status: "active" });
    expect(made.id).toMatch(kind === "pat" ? /^pat_[0-9A-Za-z]{20}$/ : /^key_[0-9A-Za-z]{20}$/);
    const { [member]: _, ...shown } = made as Answer;
    expect(await read(made.id)).toEqual(shown);
    expect(v.is(KINDS[kind].resource, shown)).toBe(true);
    expect(await use(secret)).toBe(200);
  });

  it("carries no rights and never ends unless somebody says so", async () => {
    expect(await create()).toMatchObject({
      name: null,
      scopes: [],
      ip_allow: [],
      attributes: {},
      expires_at: null,
    });
  });

  it("is another one each time", async () => {
    const made = [await create(), await create(), await create()];
    expect(new Set(made.map(({ id }) => id)).size).toBe(3);
    expect(new Set(made.map(({ secret }) => secret)).size).toBe(3);
  });

  describe("requirement 15: a secret is shown once and stored as a digest only", () => {
    it("stands in the answer that made it, and nowhere else", async () => {
      const made = await create({ name: "n" });
      const rotated = await rotate(made.id, { grace_seconds: 60 });
      expect(rotated.status).toBe(201);
      const secrets = [String(made.secret), String(rotated.body[member])];
      expect(new Set(secrets).size).toBe(2);
      const elsewhere = JSON.stringify([
        await call("GET", all),
        await call("GET", `${all}?user=7`),
        await call("GET", `${all}/${made.id}`),
        await patch(made.id, { name: "m" }),
        await call("GET", "admin/realms/main/users/7"),
        ...(await Promise.all(["credentials", "changes", "audit", "users"].map(rowsOf))),
      ]);
      for (const secret of secrets) {
        expect(elsewhere).not.toContain(secret);
        expect(elsewhere).not.toContain(secret.slice(3, -8));
      }
    });

    it("digests and peppers stand in no answer", async () => {
      const made = await create();
      const rotated = await rotate(made.id, { grace_seconds: 60 });
      const stored = (await rowsOf("credentials")) as { digest: string }[];
      expect(stored).toHaveLength(2);
      const answers = JSON.stringify([made, rotated, await call("GET", all), await read(made.id)]);
      for (const { digest } of stored) expect(answers).not.toContain(digest);
      expect(answers).not.toMatch(/digest|pepper/);
    });

    it.each([
      ["a character less", (secret: string) => secret.slice(0, -1)],
      ["a character more", (secret: string) => `${secret}0`],
      ["another case", (secret: string) => secret.toUpperCase()],
      [
        "its last character changed",
        (secret: string) => secret.slice(0, -1) + (secret.endsWith("0") ? "1" : "0"),
      ],
    ])("only the exact secret is accepted: %s is not", async (_name, alter) => {
      const { secret } = await create();
      expect(await use(alter(String(secret)))).toBe(401);
    });
  });

  describe("ends", () => {
    it("while it is disabled, and works again when it is enabled", async () => {
      const { id, secret } = await create();
      expect(await patch(id, { status: "disabled" })).toMatchObject({
        status: 200,
        body: { status: "disabled" },
      });
      expect(await use(secret)).toBe(401);
      expect((await patch(id, { status: "active" })).status).toBe(200);
      expect(await use(secret)).toBe(200);
    });

    it("for good when it is deleted, and is not there for any verb", async () => {
      const { id, secret } = await create();
      expect(await use(secret)).toBe(200);
      expect(await call("DELETE", `${all}/${id}`)).toMatchObject({ status: 204, body: null });
      expect(await use(secret)).toBe(401);
      for (const attempt of [
        await call("GET", `${all}/${id}`),
        await patch(id, { status: "active" }),
        await rotate(id),
        await call("DELETE", `${all}/${id}`),
      ]) {
        expect(attempt).toMatchObject({ status: 404, body: { code: "resource_not_found" } });
      }
      expect((await call("GET", all)).body.items).toEqual([]);
      expect(await use(secret)).toBe(401);
    });

    it("at the very second of its expiry", async () => {
      const { id, secret } = await create({ expires_at: nowSeconds() + 100 });
      pass(99);
      expect(await use(secret)).toBe(200);
      pass(1);
      expect(await use(secret)).toBe(401);
      expect((await patch(id, { expires_at: null })).status).toBe(200);
      expect(await use(secret)).toBe(200);
    });

    it("with its owner", async () => {
      const { id, secret } = await create();
      await writes.deleteUser("main", "7", nowSeconds(), nowSeconds() + 60);
      expect(await use(secret)).toBe(401);
      expect((await patch(id, { name: "n" })).status).toBe(404);
    });
  });

  it("is good from the addresses on its list only", async () => {
    const { id, secret } = await create({ ip_allow: ["203.0.113.0/24", "2001:db8::/32", "192.0.2.7"] });
    const from = (address: string) => use(secret, { "cf-connecting-ip": address });
    expect(await from("203.0.113.255")).toBe(200);
    expect(await from("2001:db8:1::1")).toBe(200);
    expect(await from("192.0.2.7")).toBe(200);
    expect(await from("192.0.2.8")).toBe(401);
    expect(await from("203.0.114.0")).toBe(401);
    expect(await from("2001:db9::1")).toBe(401);
    expect(await use(secret)).toBe(401); // unknown
    expect((await patch(id, { ip_allow: [] })).status).toBe(200);
    expect(await from("192.0.2.8")).toBe(200);
  });

  it("is changed where something is given, and left alone where nothing is", async () => {
    const made = await create({ name: "a", scopes: ["x"], ip_allow: ["10.0.0.0/8"], attributes: { a: 1 } });
    const { secret: _, [member]: __, ...before } = made as Answer & { secret: unknown };
    expect((await patch(made.id, {})).body).toEqual(before);
    expect((await patch(made.id, { name: null })).body).toEqual({ ...before, name: null });
    const next = {
      scopes: ["y"],
      ip_allow: ["10.0.0.1"],
      attributes: { b: 2 },
      expires_at: nowSeconds() + 5,
    };
    expect((await patch(made.id, next)).body).toEqual({ ...before, name: null, ...next });
    expect(await read(made.id)).toEqual({ ...before, name: null, ...next });
    expect(await use(made.secret, { "cf-connecting-ip": "10.0.0.1" })).toBe(200);
  });

  describe("input that is refused by name", () => {
    it.each([
      ["expires_at", { expires_at: 1_800_000_000 }],
      ["expires_at", { expires_at: 1 }],
      ["expires_at", { expires_at: 1_800_000_000.5 }],
      ["expires_at", { expires_at: "1900000000" }],
      ["expires_at", { expires_at: 1_900_000_000_000 }],
      ["ip_allow[1]", { ip_allow: ["10.0.0.0/8", "10.0.0.0/33"] }],
      ["ip_allow[0]", { ip_allow: ["010.0.0.1"] }],
      ["ip_allow[0]", { ip_allow: ["10.0.0"] }],
      ["ip_allow[0]", { ip_allow: ["example.com"] }],
      ["ip_allow[0]", { ip_allow: ["*"] }],
      ["ip_allow[0]", { ip_allow: ["::ffff:0:0/90"] }],
      ["ip_allow[0]", { ip_allow: [""] }],
      ["ip_allow", { ip_allow: Array(101).fill("10.0.0.1") }],
      ["ip_allow", { ip_allow: "10.0.0.1" }],
      ["scopes[0]", { scopes: ["a b"] }],
      ["scopes[1]", { scopes: ["a", ""] }],
      ["scopes", { scopes: Array(101).fill("a") }],
      ["name", { name: "a\u0000b" }],
      ["name", { name: "" }],
      ["name", { name: "n".repeat(257) }],
      ["attributes", { attributes: { a: "x".repeat(8_192) } }],
      ["digest", { digest: "0".repeat(64) }],
      ["realm", { realm: "gateway" }],
      ["id", { id: "key_mine" }],
      ["key", { key: "sk-mine" }],
    ])("%s of %j", async (field, body) => {
      const { id } = await create();
      const refused = { status: 400, body: { code: "input_invalid", errors: [{ field }] } };
      expect(await call("POST", all, { user: "7", ...body })).toMatchObject(refused);
      expect(await patch(id, body)).toMatchObject(refused);
      expect(await rowsOf("credentials")).toHaveLength(1);
    });

    it.each([-1, 2_592_001, 1.5, "60", null])("a grace of %s", async (grace_seconds) => {
      const { id } = await create();
      expect(await rotate(id, { grace_seconds })).toMatchObject({
        status: 400,
        body: { errors: [{ field: "grace_seconds" }] },
      });
      expect(await rowsOf("credentials")).toHaveLength(1);
    });

    it.each([
      ["another user by a change", "PATCH", { user: "8" }],
      ["a rotation's mark by a change", "PATCH", { replaced_by: null }],
      ["a deletion by a change", "PATCH", { status: "deleted" }],
    ])("%s", async (_name, method, body) => {
      await addUser("8");
      const { id } = await create();
      expect((await call(method, `${all}/${id}`, body)).status).toBe(400);
    });

    it("an owner who is not there, is deleted, or is of another realm", async () => {
      await addUser("8", { status: "deleted" });
      await addUser("9", { realm: "gateway" });
      for (const user of ["404", "8", "9"]) {
        expect(await call("POST", all, { user })).toMatchObject({
          status: 400,
          body: { errors: [{ field: "user" }] },
        });
      }
      expect((await call("POST", all, {})).status).toBe(400);
      expect(await rowsOf("credentials")).toEqual([]);
    });
  });

  it("is not there for another realm or under the other kind, whatever the verb", async () => {
    const { id, secret } = await create();
    const other = kind === "pat" ? "keys" : "pats";
    for (const elsewhere of [`admin/realms/gateway/${path}/${id}`, `admin/realms/main/${other}/${id}`]) {
      for (const [method, tail, body] of [
        ["GET", "", undefined],
        ["PATCH", "", { status: "disabled" }],
        ["DELETE", "", undefined],
        ["POST", "/rotate", {}],
      ] as const) {
        expect(await call(method, elsewhere + tail, body)).toMatchObject({
          status: 404,
          body: { code: "resource_not_found" },
        });
      }
    }
    expect((await call("GET", `admin/realms/nowhere/${path}`)).status).toBe(404);
    expect(await use(secret)).toBe(200);
  });

  describe("requirement 19: the actor outranks the owner, on every verb that changes something", () => {
    async function verbs(realm: string, user: string, id: string, token: string): Promise<unknown[]> {
      const base = `admin/realms/${realm}/${path}`;
      const results = [
        await call("POST", base, { user }, token),
        await call("PATCH", `${base}/${id}`, { status: "disabled" }, token),
        await call("PATCH", `${base}/${id}`, {}, token),
        await call("POST", `${base}/${id}/rotate`, {}, token),
        await call("DELETE", `${base}/${id}`, undefined, token),
      ];
      return results.map(({ status, body }) => body?.code ?? status);
    }
    const refusedFor = (code: string) => Array(5).fill(code);

    it.each([
      ["an admin and a realm's top role", "admin", "main", "root"],
      ["an admin and another admin", "admin", "gateway", "admin"],
      ["an admin and a root", "admin", "gateway", "root"],
      ["a root and another root", "root", "gateway", "root"],
    ] as const)("not %s", async (_name, power, realm, role) => {
      const token = await signInAdmin("actor", power);
      await addUser("target", { realm, role });
      const made = await call("POST", `admin/realms/${realm}/${path}`, { user: "target" });
      const before = await rowsOf("credentials");
      expect(await verbs(realm, "target", made.body.id, token)).toEqual(refusedFor("rank_insufficient"));
      expect(await rowsOf("credentials")).toEqual(before);
      expect(
        (await call("GET", `admin/realms/${realm}/${path}/${made.body.id}`, undefined, token)).status,
      ).toBe(200);
    });

    it.each([
      ["an admin and a user", "admin", "main", "user"],
      ["an admin and a step below the top", "admin", "main", "admin"],
      ["a root and an admin", "root", "gateway", "admin"],
      ["a root and a realm's top role", "root", "main", "root"],
    ] as const)("but %s", async (_name, power, realm, role) => {
      const token = await signInAdmin("actor", power);
      await addUser("target", { realm, role });
      const made = await call("POST", `admin/realms/${realm}/${path}`, { user: "target" });
      await call("PATCH", `admin/realms/${realm}/${path}/${made.body.id}`, { status: "active" });
      const [created, ...rest] = await verbs(realm, "target", made.body.id, token);
      expect([created, ...rest]).toEqual([201, 200, 200, "input_invalid", 204]);
    });

    it("an administrator who is none any more changes nothing", async () => {
      const token = await signInAdmin("actor");
      const { id } = await create();
      await writes.updateUser("gateway", "actor", { role: "user" }, nowSeconds());
      expect(await verbs("main", "7", id, token)).toEqual(refusedFor("role_insufficient"));
    });

    it("nobody hands out scopes or permissions of the gateway that they do not hold", async () => {
      const token = await signInAdmin("actor");
      await addUser("u1", { realm: "gateway" });
      await addUser("u2", { realm: "gateway", permissions: ["gateway.secret"] });
      const base = `admin/realms/gateway/${path}`;
      const exceeded = { status: 403, body: { code: "grant_exceeds_holder" } };
      expect(await call("POST", base, { user: "u1", scopes: ["gateway.other"] }, token)).toMatchObject(
        exceeded,
      );
      expect(await call("POST", base, { user: "u2" }, token)).toMatchObject(exceeded);
      const within = await call("POST", base, { user: "u1", scopes: ["gateway.read"] }, token);
      expect(within.status).toBe(201);
      const wide = await call("POST", base, { user: "u1", scopes: ["gateway.other"] });
      for (const body of [
        { scopes: ["gateway.other"] },
        { status: "active" },
        { expires_at: null },
        { ip_allow: [] },
      ]) {
        expect(await call("PATCH", `${base}/${wide.body.id}`, body, token)).toMatchObject(exceeded);
      }
      expect(
        await call("PATCH", `${base}/${within.body.id}`, { scopes: ["gateway.other"] }, token),
      ).toMatchObject(exceeded);
      expect(await call("POST", `${base}/${wide.body.id}/rotate`, {}, token)).toMatchObject(exceeded);
      expect(await call("PATCH", `${base}/${wide.body.id}`, { status: "disabled" }, token)).toMatchObject({
        status: 200,
      });
    });
  });

  it("requirement 20: every change is in the audit log, with who did it to what, and no secret", async () => {
    const token = await signInAdmin("actor");
    const made = await create({}, token);
    await call("PATCH", `${all}/${made.id}`, { name: "n", scopes: [] }, token);
    const rotated = await call("POST", `${all}/${made.id}/rotate`, { grace_seconds: 5 }, token);
    await call("DELETE", `${all}/${made.id}`, undefined, token);
    // None of these changes anything.
    await call("PATCH", `${all}/${made.id}`, { name: "n" }, token);
    await call("DELETE", `${all}/${made.id}`, undefined, token);
    await call("POST", all, { user: "404" }, token);
    const rows = await rowsOf("audit");
    const common = { actor_kind: "user", actor_realm: "gateway", actor_id: "actor" };
    const target = { target_kind: kind, target_realm: "main", target_id: made.id };
    expect(rows).toMatchObject(
      ["created", "updated", "rotated", "deleted"].map((what) => ({
        action: `credential.${what}`,
        ...common,
        ...target,
      })),
    );
    expect(rows.map(({ details }) => JSON.parse(String(details)))).toEqual([
      { user: "7" },
      { user: "7", fields: ["name", "scopes"] },
      { user: "7", replaced_by: rotated.body.id, grace_seconds: 5 },
      { user: "7" },
    ]);
  });

  it("the ADMIN_TOKEN is named as what it is", async () => {
    await create();
    expect(await rowsOf("audit")).toMatchObject([{ actor_kind: "admin_token", actor_id: null }]);
  });
});

it("lists are of one kind, of one realm, and of one user where one is named", async () => {
  await addUser("8");
  await addUser("9", { realm: "gateway" });
  await addApiKey("k7");
  await addApiKey("k8", { userId: "8" });
  await addApiKey("k9", { userId: "9", realm: "gateway" });
  const ids = async (path: string) =>
    ((await call("GET", path)).body.items as readonly Answer[]).map(({ id }) => id).sort();
  expect(await ids("admin/realms/main/keys")).toEqual(["k7", "k8"]);
  expect(await ids("admin/realms/main/keys?user=8")).toEqual(["k8"]);
  expect(await ids("admin/realms/main/keys?user=9")).toEqual([]);
  expect(await ids("admin/realms/main/pats")).toEqual([]);
  expect(await ids("admin/realms/gateway/keys")).toEqual(["k9"]);
  expect((await call("GET", "admin/realms/main/keys?role=user")).status).toBe(400);
});
