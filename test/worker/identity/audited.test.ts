// No change without its entry in the audit log: every endpoint that changes something, made from the router's own table.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ENDPOINTS } from "../../../src/control/endpoints.ts";
import { createPasswordHasher } from "../../../src/issuer/password-hasher.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  DB,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../support/worker/gateway.ts";
import { signIn } from "../../support/worker/signed-in.ts";

const PASSWORD = "correct horse battery staple";
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);
const ADDRESS = "192.0.2.7";
const OF_MAIN = "admin/realms/main";

type Json = Readonly<Record<string, unknown>>;
/** A call that changes something: with what, and what the log then says. `as`: the user 7 instead of the `ADMIN_TOKEN`. */
interface Change {
  readonly path: string;
  readonly body?: Json;
  readonly form?: Readonly<Record<string, string>>;
  readonly as?: "7" | "nobody";
  /** `null`: there is nothing to tell, as the call changes nothing that anybody could miss. */
  readonly action: string | null;
  readonly target?: string;
}

let gateway: Gateway;
let key: string;
let token: string;

afterEach(() => gateway.settle());

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
  await addUser("7", { username: "alice" }, PASSWORD_HASH);
  key = await addApiKey("k1");
  await addPat("p1");
  await addSession("s1");
  token = await signIn("7", { sessionId: "s7" });
});

const CHANGES: Readonly<Record<string, () => Promise<Change>>> = {
  signIn: async () => ({
    path: "auth/login",
    body: { realm: "main", username: "alice", password: PASSWORD },
    as: "nobody",
    action: "session.created",
  }),
  // The chain goes on: only what should not be is told.
  refresh: async () => ({
    path: "auth/refresh",
    body: { refresh_token: await newRefreshToken() },
    as: "nobody",
    action: null,
  }),
  signOut: async () => ({ path: "auth/logout", as: "7", action: "session.ended", target: "s7" }),
  revokeToken: async () => ({
    path: "oauth/revoke",
    form: { token: key },
    as: "nobody",
    action: "credential.deleted",
    target: "k1",
  }),
  introspectToken: async () => ({ path: "oauth/introspect", form: { token: key }, action: null }),
  explain: async () => ({
    path: "admin/explain",
    body: { url: "https://api.example.com/open" },
    action: null,
  }),
  changeMyPassword: async () => ({
    path: "me/password",
    body: { current_password: PASSWORD, new_password: `${PASSWORD} 2` },
    as: "7",
    action: "user.password_changed",
    target: "7",
  }),
  endMyOtherSessions: async () => ({ path: "me/sessions", as: "7", action: "session.ended", target: "7" }),
  endMySession: async () => ({ path: "me/sessions/s1", as: "7", action: "session.ended", target: "s1" }),
  createMyKey: async () => ({ path: "me/keys", body: {}, as: "7", action: "credential.created" }),
  updateMyKey: async () => ({
    path: "me/keys/k1",
    body: { name: "n" },
    as: "7",
    action: "credential.updated",
    target: "k1",
  }),
  deleteMyKey: async () => ({ path: "me/keys/k1", as: "7", action: "credential.deleted", target: "k1" }),
  rotateMyKey: async () => ({
    path: "me/keys/k1/rotate",
    body: {},
    as: "7",
    action: "credential.rotated",
    target: "k1",
  }),
  createMyPat: async () => ({ path: "me/pats", body: {}, as: "7", action: "credential.created" }),
  updateMyPat: async () => ({
    path: "me/pats/p1",
    body: { status: "disabled" },
    as: "7",
    action: "credential.updated",
    target: "p1",
  }),
  deleteMyPat: async () => ({ path: "me/pats/p1", as: "7", action: "credential.deleted", target: "p1" }),
  rotateMyPat: async () => ({
    path: "me/pats/p1/rotate",
    body: {},
    as: "7",
    action: "credential.rotated",
    target: "p1",
  }),
  createUser: async () => ({
    path: `${OF_MAIN}/users`,
    body: { id: "8" },
    action: "user.created",
    target: "8",
  }),
  updateUser: async () => ({
    path: `${OF_MAIN}/users/7`,
    body: { name: "n" },
    action: "user.updated",
    target: "7",
  }),
  deleteUser: async () => ({ path: `${OF_MAIN}/users/7`, action: "user.deleted", target: "7" }),
  setUserPassword: async () => ({
    path: `${OF_MAIN}/users/7/password`,
    body: { password: `${PASSWORD} 2` },
    action: "user.password_changed",
    target: "7",
  }),
  endUserSessions: async () => ({
    path: `${OF_MAIN}/users/7/sessions`,
    action: "session.ended",
    target: "7",
  }),
  createKey: async () => ({ path: `${OF_MAIN}/keys`, body: { user: "7" }, action: "credential.created" }),
  updateKey: async () => ({
    path: `${OF_MAIN}/keys/k1`,
    body: { scopes: ["a"] },
    action: "credential.updated",
    target: "k1",
  }),
  deleteKey: async () => ({ path: `${OF_MAIN}/keys/k1`, action: "credential.deleted", target: "k1" }),
  rotateKey: async () => ({
    path: `${OF_MAIN}/keys/k1/rotate`,
    body: {},
    action: "credential.rotated",
    target: "k1",
  }),
  createPat: async () => ({ path: `${OF_MAIN}/pats`, body: { user: "7" }, action: "credential.created" }),
  updatePat: async () => ({
    path: `${OF_MAIN}/pats/p1`,
    body: { ip_allow: ["10.0.0.1"] },
    action: "credential.updated",
    target: "p1",
  }),
  deletePat: async () => ({ path: `${OF_MAIN}/pats/p1`, action: "credential.deleted", target: "p1" }),
  rotatePat: async () => ({
    path: `${OF_MAIN}/pats/p1/rotate`,
    body: {},
    action: "credential.rotated",
    target: "p1",
  }),
  endSession: async () => ({ path: `${OF_MAIN}/sessions/s1`, action: "session.ended", target: "s1" }),
  revoke: async () => ({
    path: `${OF_MAIN}/revocations`,
    body: { kind: "user", id: "7" },
    action: "revocation.created",
    target: "7",
  }),
  import: async () => ({
    path: "admin/import",
    body: { records: [{ type: "user", realm: "main", id: "9" }] },
    action: "import.applied",
    target: "",
  }),
  renewEpoch: async () => ({ path: "admin/epoch", action: "epoch.renewed", target: "" }),
};

async function newRefreshToken(): Promise<unknown> {
  const login = { realm: "main", username: "alice", password: PASSWORD };
  const { body } = await api(gateway, "POST", "auth/login", login, null);
  return (body as Json).refresh_token;
}

const entries = async () =>
  (
    await DB.prepare(
      `SELECT seq, at_seconds AS at, action, actor_kind AS kind, actor_id AS actor, target_id AS target, address,
        request_id AS request, details FROM audit ORDER BY seq`,
    ).all<Json & { readonly seq: number }>()
  ).results;

describe("every endpoint that could change something", () => {
  const writing = ENDPOINTS.filter(({ method }) => method !== "GET");

  it("has its change here, and nothing else has", () => {
    expect(Object.keys(CHANGES).sort()).toEqual(writing.map(({ id }) => id).sort());
  });

  it.each(writing.map(({ id, method }) => [id, method] as const))(
    "%s leaves one entry that says who, what, to what, when and from where, and no secret",
    async (id, method) => {
      const change = await CHANGES[id]?.();
      if (change === undefined) throw new Error("has no change here");
      const before = (await entries()).length;
      const by = change.as === undefined ? ADMIN_TOKEN : change.as === "7" ? token : null;
      const headers = new Headers({ "cf-connecting-ip": ADDRESS });
      if (by !== null) headers.set("authorization", `Bearer ${by}`);
      let body: string | undefined;
      if (change.form !== undefined) body = new URLSearchParams(change.form).toString();
      if (change.body !== undefined) body = JSON.stringify(change.body);
      if (body !== undefined) {
        const type = change.form === undefined ? "json" : "x-www-form-urlencoded";
        headers.set("content-type", `application/${type}`);
      }
      const beganAtSeconds = Math.floor(Date.now() / 1_000);
      const url = `https://auth.example.com/_gateway/${change.path}`;
      const response = await gateway.fetch(url, { method, headers, ...(body !== undefined && { body }) });
      const text = await response.text();
      expect([200, 201, 204], text).toContain(response.status);

      const made = (await entries()).slice(before);
      if (change.action === null) {
        expect(made).toEqual([]);
        return;
      }
      expect(made).toHaveLength(1);
      const [entry] = made;
      expect(entry).toMatchObject({ action: change.action, address: ADDRESS });
      expect(entry?.request).toMatch(/^[0-9a-f-]{36}$/);
      expect(entry?.at).toBeGreaterThanOrEqual(beganAtSeconds);
      expect(entry?.at).toBeLessThanOrEqual(beganAtSeconds + 60);
      if (change.target !== undefined) expect(entry?.target).toBe(change.target);
      else expect(entry?.target).not.toBe("");
      // Who signs in, or holds a token of theirs, is told as the user.
      const who = change.as === undefined ? ["admin_token", null] : ["user", "7"];
      expect([entry?.kind, entry?.actor]).toEqual(who);
      const answered = text.startsWith("{") ? (JSON.parse(text) as Json) : {};
      const secrets = [
        PASSWORD,
        key,
        token,
        answered.refresh_token,
        answered.key,
        answered.token,
        answered.access_token,
      ];
      for (const secret of secrets) {
        if (typeof secret === "string") expect(JSON.stringify(entry)).not.toContain(secret);
      }
    },
  );
});
