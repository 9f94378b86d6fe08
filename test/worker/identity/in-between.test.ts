// What happens between two steps of something: a slow body, a demotion, a promotion, a password changed meanwhile.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPasswordHasher } from "../../../src/issuer/password-hasher.ts";
import { createWrites } from "../../../src/store/writes.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addUser,
  api,
  bearer,
  DB,
  emptyStores,
  type Gateway,
  SITE,
  startGateway,
  writes,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";

const PASSWORD = "correct horse battery staple";
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const nowSeconds = () => Math.floor(Date.now() / 1_000);

let gateway: Gateway;

afterEach(() => gateway.settle());

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({
    vars: {
      SITE_TEST: {
        ...SITE,
        routes: [...SITE.routes, { path: "/notes/*", scopes: ["notes.write"], freshness_seconds: 0 }],
      },
    },
  });
  await addUser("7", { username: "alice", role: "admin" }, PASSWORD_HASH);
});

/** A request whose body stops halfway until it is told to go on. */
function halfSent(path: string, token: string, body: unknown) {
  const text = new TextEncoder().encode(JSON.stringify(body));
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  void writer.write(text.slice(0, 3));
  const answer = gateway.fetch(`https://auth.example.com/_gateway/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: readable,
  });
  return {
    async finish(): Promise<Response> {
      void writer.write(text.slice(3));
      void writer.close();
      return answer;
    },
  };
}

describe("requirement 16: a body that arrives slowly does not outlive the rights it began with", () => {
  it("makes no PAT for whoever was revoked meanwhile", async () => {
    const token = await signIn("7", { scopes: ["notes.write"] });
    const request = halfSent("me/pats?realm=main", token, { scopes: ["notes.write"] });
    expect(
      (await api(gateway, "POST", "admin/realms/main/revocations", { kind: "user", id: "7" })).status,
    ).toBe(204);
    expect((await request.finish()).status).toBe(401);
    expect(await DB.prepare("SELECT 1 FROM credentials").first()).toBeNull();
  });

  it("makes no user for an administrator who was deleted meanwhile", async () => {
    await addUser("g1", { realm: "gateway", role: "admin" });
    const token = await signIn("g1", { realm: "gateway", scopes: ["gateway.read", "gateway.write"] });
    const request = halfSent("admin/realms/main/users", token, { id: "evil" });
    expect((await api(gateway, "DELETE", "admin/realms/gateway/users/g1")).status).toBe(204);
    expect((await request.finish()).status).toBe(401);
    expect((await api(gateway, "GET", "admin/realms/main/users/evil")).status).toBe(404);
  });

  it("is not read at all for whoever presents nothing", async () => {
    const request = new Request("https://auth.example.com/_gateway/me/pats", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new ReadableStream({ pull: () => new Promise(() => {}) }),
    });
    expect((await gateway.fetch(request.url, request)).status).toBe(401);
  });
});

describe("requirement 16: a demotion takes the scopes of the role, too", () => {
  const demote = () => api(gateway, "PATCH", "admin/realms/main/users/7", { role: "user" });

  it("from an access token that was signed before, and from what it could make", async () => {
    const token = await signIn("7", { scopes: ["notes.read", "notes.write"] });
    const call = async () => (await gateway.fetch("/notes/x", bearer(token))).status;
    expect(await call()).toBe(200);
    await demote();
    expect(await call()).toBe(403);
    const made = await api(gateway, "POST", "me/pats?realm=main", { scopes: ["notes.write"] }, token);
    expect([made.status, (made.body as { code: string }).code]).toEqual([403, "grant_exceeds_holder"]);
    expect((await api(gateway, "POST", "me/pats?realm=main", { scopes: ["notes.read"] }, token)).status).toBe(
      201,
    );
  });

  it("from a session cookie", async () => {
    const login = await api(
      gateway,
      "POST",
      "auth/login",
      { realm: "main", username: "alice", password: PASSWORD, session: "cookie" },
      null,
    );
    const cookie = (login.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
    const call = async () =>
      (await gateway.fetch("/notes/x", { headers: { cookie, "new-api-user": "7" } })).status;
    expect(await call()).toBe(200);
    await demote();
    expect(await call()).toBe(403);
  });

  it("and not from a key, whose scopes an administrator gave it", async () => {
    const key = await addApiKey("k1", { scopes: ["notes.write"] });
    await demote();
    expect((await gateway.fetch("/notes/x", bearer(key))).status).toBe(200);
  });
});

describe("requirement 18: a sign-in counts for the password it was made with", () => {
  it.each([
    [
      "another password",
      () =>
        writes.setPassword(
          "main",
          "7",
          { scheme: "scrypt", hash: "x" },
          { exceptSessionId: null },
          nowSeconds(),
          nowSeconds() + 60,
        ),
    ],
    ["a user who is disabled", () => writes.updateUser("main", "7", { status: "disabled" }, nowSeconds())],
  ])("and begins no session where there is %s by the time", async (_what, meanwhile) => {
    await meanwhile();
    const session = {
      id: "ses_1",
      realm: "main",
      userId: "7",
      digest: "",
      pepper: "p1",
      createdAtSeconds: nowSeconds(),
      expiresAtSeconds: nowSeconds() + 60,
    };
    expect(await createWrites(DB).createSession(session, PASSWORD_HASH.hash)).toBe(false);
    expect(await DB.prepare("SELECT 1 FROM sessions").first()).toBeNull();
  });
});

describe("requirement 19: who is lifted begins anew", () => {
  it("so that nobody holds a key or knows a password of someone above them", async () => {
    await addUser("g1", { realm: "gateway", role: "admin" });
    await addUser("bob", { realm: "gateway", role: "user", username: "bob" }, PASSWORD_HASH);
    const admin = await signIn("g1", { realm: "gateway", scopes: ["gateway.read", "gateway.write"] });
    const made = await api(
      gateway,
      "POST",
      "admin/realms/gateway/pats",
      { user: "bob", scopes: ["gateway.read", "gateway.write"] },
      admin,
    );
    expect(made.status).toBe(201);
    const sleeper = (made.body as { token: string }).token;
    const session = await signIn("bob", { realm: "gateway", scopes: ["gateway.read"] });
    expect((await api(gateway, "PATCH", "admin/realms/gateway/users/bob", { role: "root" })).status).toBe(
      200,
    );
    for (const token of [sleeper, session]) {
      expect((await api(gateway, "GET", "admin/realms", undefined, token)).status).toBe(401);
    }
    const body = { realm: "gateway", username: "bob", password: PASSWORD };
    expect((await api(gateway, "POST", "auth/login", body, null)).status).toBe(401);
    const user = (await api(gateway, "GET", "admin/realms/gateway/users/bob", undefined, ADMIN_TOKEN)).body;
    expect(user).toMatchObject({ role: "root", has_password: false });
  });

  describe("also where it happens between the look and the write", () => {
    const keys = "admin/realms/gateway/keys";
    let admin: string;
    /** Right before the next write. */
    function meanwhile(work: () => Promise<unknown>): void {
      const batch = DB.batch.bind(DB);
      vi.spyOn(DB, "batch").mockImplementationOnce(async (statements) => {
        await work();
        return batch(statements);
      });
    }
    const change = (patch: Parameters<typeof writes.updateUser>[2]) => () =>
      writes.updateUser("gateway", "bob", patch, nowSeconds());
    const live = async () =>
      (await DB.prepare("SELECT id FROM credentials WHERE user_id = 'bob' AND status = 'active'").all())
        .results;

    beforeEach(async () => {
      await addUser("g1", { realm: "gateway", role: "admin" });
      await addUser("bob", { realm: "gateway", role: "user" });
      admin = await addApiKey("g1-key", {
        realm: "gateway",
        userId: "g1",
        scopes: ["gateway.read", "gateway.write"],
      });
    });
    afterEach(() => void vi.restoreAllMocks());

    it.each([
      ["who is lifted", { role: "root" }, { code: "rank_insufficient" }],
      [
        "who is given a permission that the caller has not",
        { permissions: ["p"] },
        { code: "grant_exceeds_holder" },
      ],
      ["who has another role that the caller outranks", { role: "public" }, { code: "changed_meanwhile" }],
    ])("no key is made for one %s", async (_who, patch, expected) => {
      meanwhile(change(patch));
      expect((await api(gateway, "POST", keys, { user: "bob" }, admin)).body).toMatchObject(expected);
      expect(await live()).toEqual([]);
    });

    it.each([
      ["rotated", "POST", "/rotate", {}],
      ["enabled", "PATCH", "", { status: "active" }],
      ["given more", "PATCH", "", { scopes: ["gateway.read"] }],
    ])("no key of one who is given a permission is %s", async (_what, method, path, body) => {
      await addApiKey("b1", { realm: "gateway", userId: "bob" });
      meanwhile(change({ permissions: ["p"] }));
      const refused = await api(gateway, method, `${keys}/b1${path}`, body, admin);
      expect(refused.status).toBeGreaterThanOrEqual(403);
      expect(refused.status).toBeLessThanOrEqual(409);
      expect(await live()).toEqual([{ id: "b1" }]);
      expect((await api(gateway, "GET", `${keys}/b1`)).body).toMatchObject({ scopes: [], replaced_by: null });
    });

    it("no password is set for one who is given a permission", async () => {
      meanwhile(change({ permissions: ["p"] }));
      const path = "admin/realms/gateway/users/bob/password";
      const refused = await api(gateway, "POST", path, { password: "tandem walnut orbit 29" });
      expect(refused).toMatchObject({ status: 409, body: { code: "changed_meanwhile" } });
      expect(await DB.prepare("SELECT 1 FROM passwords WHERE user_id = 'bob'").first()).toBeNull();
      expect((await api(gateway, "POST", path, { password: "tandem walnut orbit 29" })).status).toBe(204);
    });

    it("and where nobody comes between, all of it is done", async () => {
      expect((await api(gateway, "POST", keys, { user: "bob" }, admin)).status).toBe(201);
      await addApiKey("b1", { realm: "gateway", userId: "bob", status: "disabled" });
      expect((await api(gateway, "PATCH", `${keys}/b1`, { status: "active" }, admin)).status).toBe(200);
      expect((await api(gateway, "POST", `${keys}/b1/rotate`, {}, admin)).status).toBe(201);
    });
  });

  it("but not who is lowered, or moved among those whom an administrator may act on", async () => {
    const pat = await addPat("p1");
    await api(gateway, "PATCH", "admin/realms/main/users/7", { role: "user" });
    await api(gateway, "PATCH", "admin/realms/main/users/7", { role: "admin" });
    expect((await gateway.fetch("/now/x", bearer(pat, { "new-api-user": "7" }))).status).toBe(200);
    expect((await api(gateway, "GET", "admin/realms/main/users/7")).body).toMatchObject({
      has_password: true,
    });
  });
});

describe("requirement 16: disabling ends sessions for good (ASVS 5.0 7.4.2)", () => {
  it("so that enabling again does not bring them back, and keys do come back", async () => {
    const token = await signIn("7", { scopes: ["notes.write"] });
    const key = await addApiKey("k1");
    await api(gateway, "PATCH", "admin/realms/main/users/7", { status: "disabled" });
    await api(gateway, "PATCH", "admin/realms/main/users/7", { status: "active" });
    expect((await gateway.fetch("/now/x", bearer(token))).status).toBe(401);
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(200);
    expect((await api(gateway, "GET", "admin/realms/main/sessions")).body).toMatchObject({ items: [] });
  });

  it("and nothing ends where somebody else changed the user meanwhile", async () => {
    const token = await signIn("7");
    const how = {
      expected: { role: "user", status: "active" },
      ending: { what: "everything", denyUntilSeconds: nowSeconds() + 60 },
    } as const;
    expect(await writes.updateUser("main", "7", { status: "disabled" }, nowSeconds(), how)).toBe(false);
    expect((await gateway.fetch("/now/x", bearer(token))).status).toBe(200);
  });
});

describe("two revocations within one second", () => {
  it("end what was issued between them", async () => {
    const revoke = () =>
      writes.revoke(
        { realm: "main", kind: "subject", value: "7", issuedBeforeSeconds: nowSeconds() },
        nowSeconds(),
      );
    await revoke();
    const key = await addApiKey("k1");
    await revoke();
    expect((await gateway.fetch("/now/x", bearer(key))).status).toBe(401);
  });
});

describe("an owner whose password somebody else tries", () => {
  it("gets in from where they signed in before", async () => {
    const from = (address: string, password: string) =>
      gateway.fetch("https://auth.example.com/_gateway/auth/login", {
        method: "POST",
        headers: { "content-type": "application/json", "cf-connecting-ip": address },
        body: JSON.stringify({ realm: "main", username: "alice", password }),
      });
    expect((await from("192.0.2.1", PASSWORD)).status).toBe(200);
    await DB.prepare("INSERT INTO throttles VALUES ('account:main/7', 50, ?1, ?1)")
      .bind(nowSeconds() + 600)
      .run();
    expect((await from("198.51.100.1", PASSWORD)).status).toBe(429);
    expect((await from("192.0.2.1", PASSWORD)).status).toBe(200);
  });
});
