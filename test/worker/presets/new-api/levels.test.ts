// Who may go where in front of the classic New API (§3.6): every group of the table, and the traps in it.
import { beforeAll, expect, it } from "vitest";
import {
  addApiKey,
  addPat,
  addUser,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { varsOf } from "./sites.ts";

const OPEN = `
  GET /api/setup|POST /api/setup|GET /api/status|GET /api/status/|HEAD /api/status|GET /api/uptime/status|GET /api/notice
  GET /api/user-agreement|GET /api/privacy-policy|GET /api/about|GET /api/home_page_content|GET /api/ratio_config
  GET /api/verification|GET /api/reset_password|GET /api/oauth/github|GET /api/oauth/state|GET /api/oauth/wechat/bind
  POST /api/stripe/webhook|POST /api/creem/webhook|POST /api/user/epay/notify|GET /api/user/epay/notify
  POST /api/subscription/epay/notify|GET /api/subscription/epay/return
  POST /api/user/register|POST /api/user/login|POST /api/user/login/2fa|POST /api/user/passkey/login/begin
  POST /api/user/passkey/login/finish|POST /api/user/reset|GET /api/user/groups|GET /api/user/groups/|GET /api/user/logout
  GET /api/pricing|GET /api/rankings|GET /api/perf-metrics|GET /api/perf-metrics/summary
  GET /mj/image/1|GET /fast/mj/image/1|GET /|GET /console/token|GET /assets/index.js|GET /apix
`;
const USER = `
  GET /api/models|HEAD /api/models|GET /api/user/self|PUT /api/user/self|DELETE /api/user/self|GET /api/user/self/groups
  GET /api/user/models|GET /api/user/token|GET /api/user/passkey|POST /api/user/passkey/register/begin|DELETE /api/user/passkey
  GET /api/user/aff|GET /api/user/aff/invitees|POST /api/user/aff_transfer|POST /api/user/topup|GET /api/user/topup/info|GET /api/user/topup/self
  POST /api/user/pay|POST /api/user/amount|POST /api/user/stripe/pay|POST /api/user/creem/pay|POST /api/user/waffo/pay
  PUT /api/user/setting|GET /api/user/2fa/status|POST /api/user/2fa/enable|GET /api/user/checkin|POST /api/user/checkin
  GET /api/user/oauth/bindings|DELETE /api/user/oauth/bindings/1
  GET /api/token|GET /api/token/|POST /api/token/|GET /api/token/12|POST /api/token/12/key|DELETE /api/token/12|GET /api/token/search
  GET /api/subscription/plans|GET /api/subscription/self|GET /api/log/self|GET /api/log/self/stat|GET /api/log/self/search
  GET /api/data/self|GET /api/data/flow/self|GET /api/mj/self|GET /api/task/self|POST /api/verify|POST /pg/chat/completions
`;
const ADMIN = `
  GET /api/status/test|GET /api/status/test/|GET /api/models/|POST /api/models|POST /api/models/|GET /api/models/12|GET /api/models/search
  GET /api/user|GET /api/user/|POST /api/user/|PUT /api/user/|GET /api/user/12|DELETE /api/user/12|GET /api/user/search|POST /api/user/manage
  GET /api/user/topup|GET /api/user/topup/|HEAD /api/user/topup|POST /api/user/topup/complete|GET /api/user/2fa/stats|GET /api/user/2fa/stats/
  GET /api/user/login|GET /api/user/register|POST /api/user/logout|POST /api/user/auth/refresh|GET /api/user/sessions|DELETE /api/user/12/2fa|GET /api/user/12/oauth/bindings|DELETE /api/user/12/reset_passkey
  GET /api/subscription/admin/plans|POST /api/subscription/admin/bind|GET /api/channel/|GET /api/channel|GET /api/channel/1|GET /api/channel/1/key
  GET /api/channel/test|PUT /api/channel/tag|GET /api/authz/catalog|GET /api/redemption/|DELETE /api/redemption/invalid
  GET /api/log/|GET /api/log|GET /api/log/stat|GET /api/log/search|GET /api/data/|GET /api/data/users|GET /api/data/flow
  GET /api/group/|GET /api/prefill_group/|GET /api/mj/|GET /api/task/|GET /api/vendors/|GET /api/vendors/search|GET /api/deployments/1/logs
`;
const ROOT = `
  GET /api/option|GET /api/option/|PUT /api/option/|GET /api/custom-oauth-provider/|POST /api/custom-oauth-provider/discovery
  GET /api/performance/stats|POST /api/performance/gc|GET /api/ratio_sync/channels|GET /api/system-task/1|GET /api/system-info/
  DELETE /api/log/|DELETE /api/log|POST /api/channel/1/key|POST /api/channel/1/key/
`;
const KEY = `
  POST /v1/chat/completions|POST /v1/completions|POST /v1/responses|POST /v1/responses/compact|POST /v1/messages|POST /v1/messages/count_tokens
  POST /v1/embeddings|POST /v1/images/generations|POST /v1/images/edits|POST /v1/audio/speech|POST /v1/rerank|POST /v1/moderations
  POST /v1/engines/x/embeddings|GET /v1/models|GET /v1/models/|GET /v1/models/gpt-4|GET /v1/realtime|POST /v1/videos|GET /v1/videos/t_1
  POST /v1/video/generations|GET /v1/video/generations/t_1|GET /v1beta/models|POST /v1beta/models/gemini:generateContent|GET /v1beta/openai/models
  POST /mj/submit/imagine|GET /mj/task/1/fetch|POST /fast/mj/submit/imagine|POST /mj/image/1|POST /suno/submit/music|POST /kling/v1/videos/text2video
  POST /jimeng/|GET /dashboard/billing/usage|GET /v1/dashboard/billing/subscription
  GET /v1/videos/t_1/content|POST /v1/videos/t_1/content|GET /api/usage/token/|GET /api/usage/token|GET /api/log/token|GET /api/log/token/
`;
const NOTHING = `
  GET /api|GET /api/nothing|POST /api/models2|GET /api/Option/|GET /API/status|GET /api/user/Self|GET /v1|GET /v1/nothing|POST /v1/x/y
  GET /V1/models|POST /api/pricing|GET /api/stripe/webhook|GET /api/usage|GET /api/usage/other|GET /api/uptime|GET /v1/Models
`;
const rowsOf = (text: string) =>
  text
    .split(/[|\n]/)
    .map((row) => row.trim())
    .filter(Boolean);

/** What each caller meets: it passes, or the part of the refusal that says which. */
const OUTCOMES = {
  open: ["passes", "passes", "passes", "passes", "passes", "passes"],
  user: ["nobody", "role", "passes", "passes", "passes", "invalid"],
  admin: ["nobody", "role", "role", "passes", "passes", "invalid"],
  root: ["nobody", "role", "role", "role", "passes", "invalid"],
  key: ["no key", "no key", "no key", "no key", "no key", "passes"],
  nothing: ["nothing", "nothing", "nothing", "nothing", "nothing", "nothing"],
} as const;
type LevelName = keyof typeof OUTCOMES;

const LEVELS: Readonly<Record<LevelName, string>> = {
  open: OPEN,
  user: USER,
  admin: ADMIN,
  root: ROOT,
  key: KEY,
  nothing: NOTHING,
};

function outcomeOf(status: number, body: string, wasForwarded: boolean): string {
  if (wasForwarded) return status === 200 ? "passes" : `forwarded, ${status}`;
  const said = `${status} ${body}`;
  if (status === 404 && body.startsWith('{"error":{"message":"Invalid URL (')) return "nothing";
  if (status === 401 && /"message":"(Invalid token|Token not provided)/.test(body)) return "no key";
  return Object.entries(REFUSALS).find(([, refusal]) => refusal === said)?.[0] ?? said;
}

const REFUSALS = {
  nobody: '401 {"message":"Unauthorized, not logged in and no access token provided","success":false}',
  invalid: '200 {"message":"Unauthorized, invalid access token","success":false}',
  role: '200 {"message":"Unauthorized, insufficient privileges","success":false}',
};

let gateway: Gateway;
let callers: readonly (Record<string, string> | null)[] = [];

beforeAll(async () => {
  await emptyStores();
  gateway = startGateway({ vars: varsOf("new-api") });
  const people = Object.entries({ 6: "public", 7: "user", 8: "admin", 9: "root" });
  const tokens = [];
  for (const [userId, role] of people) {
    await addUser(userId, { username: `u${userId}`, role });
    const authorization = `Bearer ${await addPat(`pat_${userId}`, { userId })}`;
    tokens.push({ authorization, "new-api-user": userId });
  }
  const key = `Bearer ${await addApiKey("key_1", { userId: "9" })}`;
  callers = [null, ...tokens, { authorization: key, "new-api-user": "9" }];
});

const rows = Object.entries(LEVELS).flatMap(([level, text]) =>
  rowsOf(text).map((row) => [row, level] as const),
);

it.each(rows)("%s is for %s (New API §3.6)", async (row, level) => {
  const [method = "", path = ""] = row.split(" ");
  const outcomes: string[] = [];
  for (const headers of callers) {
    const before = gateway.received.length;
    const response = await gateway.fetch(path, { method, headers: headers ?? {} });
    const outcome = outcomeOf(response.status, await response.text(), gateway.received.length > before);
    outcomes.push(method === "HEAD" && outcome !== "passes" ? "refused" : outcome);
  }
  const expected = OUTCOMES[level as LevelName];
  expect(outcomes).toEqual(
    expected.map((outcome) => (method === "HEAD" && outcome !== "passes" ? "refused" : outcome)),
  );
});

it("the 404 has the bytes of the original, and escapes as Go does", async () => {
  const response = await gateway.fetch("/v1/a&b<c", { method: "POST" });
  expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
    404,
    "application/json; charset=utf-8",
    '{"error":{"message":"Invalid URL (POST /v1/a\\u0026b%3Cc)","type":"invalid_request_error","param":"","code":""}}',
  ]);
});

it("a role of a path is not had by spelling it otherwise", async () => {
  const user = callers[2] ?? {};
  for (const path of [
    "/api/user/self/../option/",
    "/api/%6fption/",
    "/api/option%2f",
    "/api//option/",
    "/api/option/.",
    "/api/user/self/%2e%2e/12",
    "/api/models/%2e",
  ]) {
    const before = gateway.received.length;
    await gateway.fetch(path, { headers: user });
    expect([path, gateway.received.length]).toEqual([path, before]);
  }
});
