// Who may go where, and where a key may stand.
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  addApiKey,
  addPat,
  addUser,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { SESSION_SECRET } from "./dashboard.ts";

let gateway: Gateway;

beforeEach(async () => {
  await emptyStores();
  gateway = startGateway({
    vars: {
      TEST_SESSION_SECRET: SESSION_SECRET,
      SITE_TEST: {
        hosts: ["api.example.com"],
        origin: "service:ORIGIN",
        realm: "main",
        preset: "new-api-current",
        jwt: { secret: "TEST_SESSION_SECRET" },
      },
    },
  });
  await addUser("7");
  await addUser("8", { role: "admin" });
  await addUser("9", { role: "root" });
});

afterEach(() => gateway.settle());

it.each([
  ["GET /api/status", 200, 200, 200, 200],
  ["GET /api/status/test", 401, 403, 200, 200],
  ["GET /api/models", 401, 200, 200, 200],
  ["GET /api/models/", 401, 403, 200, 200],
  ["GET /api/user/groups", 200, 200, 200, 200],
  ["GET /api/user/self/groups", 401, 200, 200, 200],
  ["POST /api/user/topup", 401, 200, 200, 200],
  ["GET /api/user/topup", 401, 403, 200, 200],
  ["POST /api/user/topup/complete", 401, 403, 200, 200],
  ["GET /api/user/2fa/status", 401, 200, 200, 200],
  ["GET /api/user/2fa/stats", 401, 403, 200, 200],
  ["GET /api/user/12", 401, 403, 200, 200],
  ["GET /api/token", 401, 200, 200, 200],
  ["GET /api/token/", 401, 200, 200, 200],
  ["GET /api/log/self", 401, 200, 200, 200],
  ["GET /api/log/", 401, 403, 200, 200],
  ["DELETE /api/log/", 401, 403, 403, 200],
  ["GET /api/channel/1", 401, 403, 200, 200],
  ["POST /api/channel/1/key", 401, 403, 403, 200],
  ["GET /api/option/", 401, 403, 403, 200],
  ["POST /pg/chat/completions", 401, 200, 200, 200],
  ["GET /api/nothing", 404, 404, 404, 404],
  ["GET /api/Option/", 404, 404, 404, 404],
  ["GET /v1/nothing", 404, 404, 404, 404],
  ["POST /v1/chat/completions", 401, 401, 401, 401],
])("%s: nobody %d, a user %d, an admin %d, root %d (New API §3.6)", async (row, ...expected) => {
  const [method = "", path = ""] = row.split(" ");
  const statuses: number[] = [];
  for (const userId of [null, "7", "8", "9"]) {
    const headers = userId === null ? {} : { authorization: await addPat(`pat_${userId}`, { userId }) };
    statuses.push((await gateway.fetch(path, { method, headers })).status);
  }
  expect(statuses).toEqual(expected);
});

it.each([
  ["/v1/chat/completions", "authorization", "Bearer KEY", 200],
  ["/v1/chat/completions", "authorization", "bearer KEY", 200],
  ["/v1/chat/completions", "authorization", "BEARER KEY", 401],
  ["/v1/chat/completions", "authorization", "KEY", 200],
  ["/v1/chat/completions", "x-api-key", "KEY", 401],
  ["/v1/messages", "x-api-key", "KEY", 200],
  ["/v1/models", "x-goog-api-key", "KEY", 200],
  ["/v1beta/models/g:generateContent", "x-goog-api-key", "KEY", 200],
  ["/v1/messages", "x-goog-api-key", "KEY", 401],
  ["/mj/submit/imagine", "mj-api-secret", "KEY", 200],
  ["/v1/realtime", "sec-websocket-protocol", "realtime, openai-insecure-api-key.KEY", 200],
  ["/v1/chat/completions", "authorization", "Bearer KEY-12", 403],
])("a key at %s in %s as %j is %d (New API §3.2)", async (path, name, written, status) => {
  const key = await addApiKey("key_1");
  const response = await gateway.fetch(path, { headers: { [name]: written.replace("KEY", key) } });
  expect(response.status).toBe(status);
});

it("an exhausted key may only ask about itself; a query key goes where Google's clients put it", async () => {
  const authorization = `Bearer ${await addApiKey("key_1", { attributes: { status: 4 } })}`;
  expect((await gateway.fetch("/v1/models", { headers: { authorization } })).status).toBe(401);
  expect((await gateway.fetch("/api/usage/token/", { headers: { authorization } })).status).toBe(200);
  const key = await addApiKey("key_2");
  expect((await gateway.fetch(`/v1beta/models?key=${key}`)).status).toBe(200);
  expect((await gateway.fetch(`/v1/messages?key=${key}`)).status).toBe(401);
});
