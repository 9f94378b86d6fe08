// Token revocation (RFC 7009) and introspection (RFC 7662), as tools that know OAuth call them.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mintApiKey } from "../../../src/crypto/credential-format.ts";
import { createPasswordHasher } from "../../../src/issuer/password-hasher.ts";
import {
  ADMIN_TOKEN,
  addApiKey,
  addPat,
  addSession,
  addUser,
  api,
  bearer,
  emptyStores,
  type Gateway,
  signJwt,
  startGateway,
} from "../../support/worker/gateway.ts";

const PASSWORD = "correct horse battery staple";
/** Hashed once: it takes as long as it must. */
const PASSWORD_HASH = await createPasswordHasher().hash(PASSWORD);

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

let gateway: Gateway;
let tokens: Tokens;

// What is still being written to KV must not meet the next test's rows.
afterEach(() => gateway.settle());

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway();
  await addUser("7", { username: "alice" }, PASSWORD_HASH);
  const answer = await api(
    gateway,
    "POST",
    "auth/login",
    { realm: "main", username: "alice", password: PASSWORD },
    null,
  );
  tokens = answer.body as Tokens;
});

async function form(path: string, fields: Readonly<Record<string, string>>, token: string | null) {
  const headers = new Headers({ "content-type": "application/x-www-form-urlencoded" });
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  const body = new URLSearchParams(fields).toString();
  return gateway.fetch(`https://auth.example.com/_gateway/oauth/${path}`, { method: "POST", headers, body });
}

const revoke = (token: string, fields = {}) => form("revoke", { token, ...fields }, null);
const introspect = async (token: string, fields = {}, by: string | null = ADMIN_TOKEN) =>
  (await form("introspect", { token, ...fields }, by)).json();

const call = async (token: string) =>
  (await gateway.fetch("/now/x", bearer(token, { "new-api-user": "7" }))).status;
const refresh = (refresh_token: string) => api(gateway, "POST", "auth/refresh", { refresh_token }, null);

describe("revocation (RFC 7009 §2)", () => {
  it.each([
    ["an API key", () => addApiKey("k1")],
    ["a PAT", () => addPat("p1")],
    ["an access token", async () => tokens.access_token],
  ])("ends %s", async (_what, make) => {
    const token = await make();
    expect(await call(token)).toBe(200);
    const response = await revoke(token);
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect(await call(token)).toBe(401);
  });

  it("of a refresh token ends the session with its access tokens, of an access token that token alone", async () => {
    await revoke(tokens.access_token);
    const next = (await refresh(tokens.refresh_token)).body as Tokens;
    expect(await call(next.access_token)).toBe(200);
    await revoke(next.refresh_token, { token_type_hint: "access_token" });
    expect((await refresh(next.refresh_token)).status).toBe(401);
    expect(await call(next.access_token)).toBe(401);
  });

  it("ends a key that only some addresses may use: who found it is elsewhere", async () => {
    const key = await addApiKey("k1", { ipAllow: ["192.0.2.0/24"] });
    await revoke(key);
    expect(await introspect(key, { client_address: "192.0.2.1" })).toEqual({ active: false });
  });

  it.each([
    ["garbage", async () => "garbage"],
    ["a key that does not exist", () => mintApiKey("sk-", [{ id: "x", value: new Uint8Array(32).fill(7) }])],
    ["a token of somebody else's making", () => signJwt()],
    ["a session cookie", () => addSession("s1")],
    ["a refresh token with a character changed", async () => tokens.refresh_token.replace(/.$/, "-")],
  ])("answers 200 for %s and changes nothing (RFC 7009 §2.2)", async (_what, make) => {
    expect((await revoke(await make())).status).toBe(200);
    expect(await call(tokens.access_token)).toBe(200);
    expect((await refresh(tokens.refresh_token)).status).toBe(200);
  });

  it.each([
    ["no token", {}, 400],
    ["a token twice", null, 400],
  ])("refuses %s", async (_what, fields, status) => {
    const response =
      fields === null
        ? await gateway.fetch("https://auth.example.com/_gateway/oauth/revoke", {
            method: "POST",
            headers: { "content-type": "application/x-www-form-urlencoded" },
            body: "token=a&token=b",
          })
        : await form("revoke", fields, null);
    expect(response.status).toBe(status);
  });
});

describe("introspection (RFC 7662 §2)", () => {
  it("is for administrators", async () => {
    expect((await form("introspect", { token: "x" }, null)).status).toBe(401);
    expect((await form("introspect", { token: "x" }, tokens.access_token)).status).toBe(401);
    expect((await form("introspect", { token: "x" }, await addApiKey("k1"))).status).toBe(401);
  });

  it.each([
    ["an access token", "access_token", async () => tokens.access_token],
    ["a refresh token", "refresh_token", async () => tokens.refresh_token],
    ["an API key", "api_key", () => addApiKey("k1", { scopes: ["notes.read"] })],
    ["a PAT", "pat", () => addPat("p1", { scopes: ["notes.read"] })],
  ])("says whose %s is, until it is revoked", async (_what, type, make) => {
    const token = await make();
    expect(await introspect(token)).toMatchObject({
      active: true,
      token_type: type,
      realm: "main",
      sub: "7",
      scope: "notes.read",
      role: "user",
    });
    await api(gateway, "POST", "admin/realms/main/revocations", { kind: "user", id: "7" });
    expect(await introspect(token)).toEqual({ active: false });
  });

  it("of a refresh token changes nothing, and knows the current one alone", async () => {
    for (let i = 0; i < 3; i++) await introspect(tokens.refresh_token);
    const next = (await refresh(tokens.refresh_token)).body as Tokens;
    expect(await introspect(tokens.refresh_token)).toEqual({ active: false });
    expect(await introspect(next.refresh_token)).toMatchObject({ active: true });
  });

  it("minds the address the token was seen from, where only some may use it", async () => {
    const key = await addApiKey("k1", { ipAllow: ["192.0.2.0/24"] });
    expect(await introspect(key, { client_address: "192.0.2.9" })).toMatchObject({ active: true });
    expect(await introspect(key, { client_address: "198.51.100.1" })).toEqual({ active: false });
    expect(await introspect(key)).toEqual({ active: false });
  });

  it.each([
    ["garbage", async () => "garbage"],
    ["a token of somebody else's making", () => signJwt()],
    [
      "a token for another realm",
      async () =>
        tokens.access_token.replace(/\.[^.]+\./, `.${btoa('{"aud":"gateway"}').replace(/=+$/, "")}.`),
    ],
    ["a session cookie", () => addSession("s1")],
  ])("is inactive, and no more, for %s", async (_what, make) => {
    expect(await introspect(await make())).toEqual({ active: false });
  });

  it("is 503 while D1 is down, never inactive", async () => {
    gateway.faults.d1 = "failing";
    expect((await form("introspect", { token: tokens.access_token }, ADMIN_TOKEN)).status).toBe(503);
  });
});
