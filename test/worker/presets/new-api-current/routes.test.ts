// The route table of New API §3.6, row by row, for everyone who may call: nobody, a user, an admin and root by personal
// access token, a user by dashboard token, and a key.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  addApiKey,
  addPat,
  addUser,
  emptyStores,
  type Gateway,
  startGateway,
} from "../../../support/worker/gateway.ts";
import { SESSION_SECRET, signDashboardToken } from "./dashboard.ts";

/** Statuses of: nobody, user, admin, root, dashboard token of a user, key of a user. */
const LEVELS = {
  public: [200, 200, 200, 200, 200, 200],
  user: [401, 200, 200, 200, 200, 401],
  admin: [401, 403, 200, 200, 403, 401],
  root: [401, 403, 403, 200, 403, 401],
  session: [401, 403, 403, 403, 200, 401],
  key: [401, 401, 401, 401, 401, 200],
  tokenOrKey: [401, 401, 401, 401, 200, 200],
  nothing: [404, 404, 404, 404, 404, 404],
} as const;

const TABLE: Readonly<Record<keyof typeof LEVELS, readonly string[]>> = {
  public: [
    ...["setup", "status", "uptime/status", "notice", "user-agreement", "privacy-policy", "about"].map(
      (name) => `GET /api/${name}`,
    ),
    ...["home_page_content", "ratio_config", "verification", "reset_password"].map(
      (name) => `GET /api/${name}`,
    ),
    ...["pricing", "rankings", "perf-metrics", "perf-metrics/summary"].map((name) => `GET /api/${name}`),
    "POST /api/setup",
    "GET /api/oauth/github",
    "GET /api/oauth/state",
    "POST /api/oauth/oidc",
    "POST /api/stripe/webhook",
    "POST /api/creem/webhook",
    "POST /api/waffo/webhook",
    "GET /api/subscription/epay/return",
    "GET /api/user/epay/notify",
    "POST /api/user/register",
    "POST /api/user/login",
    "POST /api/user/login/2fa",
    "POST /api/user/passkey/login/begin",
    "POST /api/user/passkey/login/finish",
    "POST /api/user/reset",
    "GET /api/user/groups",
    "POST /api/user/auth/refresh",
    "POST /api/user/auth/logout",
    "GET /mj/image/1",
    "GET /fast/mj/image/1",
    "GET /",
    "GET /console/token",
    "GET /static/js/main.js",
  ],
  user: [
    "GET /api/models",
    "GET /api/user/self",
    "PUT /api/user/self",
    "DELETE /api/user/self",
    "GET /api/user/self/groups",
    "GET /api/user/models",
    "GET /api/user/token",
    "GET /api/user/passkey",
    "POST /api/user/passkey/register/begin",
    "GET /api/user/aff",
    "POST /api/user/aff_transfer",
    "POST /api/user/topup",
    "GET /api/user/topup/info",
    "POST /api/user/pay",
    "POST /api/user/amount",
    "POST /api/user/stripe/pay",
    "POST /api/user/creem/pay",
    "POST /api/user/waffo/pay",
    "PUT /api/user/setting",
    "GET /api/user/2fa/status",
    "POST /api/user/2fa/setup",
    "POST /api/user/checkin",
    "GET /api/user/oauth/bindings",
    "DELETE /api/user/oauth/bindings/1",
    "GET /api/token",
    "GET /api/token/",
    "POST /api/token/",
    "GET /api/token/search",
    "GET /api/token/1",
    "DELETE /api/token/1",
    "GET /api/subscription/self",
    "GET /api/log/self",
    "GET /api/log/self/stat",
    "GET /api/data/self",
    "GET /api/data/flow/self",
    "GET /api/mj/self",
    "GET /api/task/self",
    "POST /api/verify",
    "POST /pg/chat/completions",
  ],
  session: ["GET /api/user/sessions", "DELETE /api/user/sessions/0b8f3c1e", "GET /api/user/sessions/"],
  admin: [
    "GET /api/status/test",
    "GET /api/user",
    "GET /api/user/",
    "POST /api/user/",
    "PUT /api/user/",
    "GET /api/user/search",
    "POST /api/user/manage",
    "GET /api/user/12",
    "DELETE /api/user/12",
    "DELETE /api/user/12/2fa",
    "GET /api/user/topup",
    "POST /api/user/topup/complete",
    "GET /api/user/2fa/stats",
    "GET /api/subscription/admin/plans",
    "GET /api/channel/",
    "PUT /api/channel/",
    "GET /api/channel/1",
    "GET /api/channel/1/key",
    "GET /api/authz/catalog",
    "GET /api/redemption/",
    "GET /api/log/",
    "GET /api/log/stat",
    "GET /api/log/search",
    "GET /api/data/",
    "GET /api/data/users",
    "GET /api/data/flow",
    "GET /api/group/",
    "GET /api/prefill_group/",
    "GET /api/mj/",
    "GET /api/task/",
    "GET /api/vendors/",
    "GET /api/models/",
    "GET /api/models/1",
    "POST /api/models/",
    "GET /api/deployments/",
    // Gone from the current one, where what is left of it is `:id` (§3.4).
    "GET /api/user/logout",
  ],
  root: [
    "GET /api/option/",
    "PUT /api/option/",
    "GET /api/custom-oauth-provider/",
    "GET /api/performance/stats",
    "GET /api/ratio_sync/channels",
    "GET /api/system-task/",
    "GET /api/system-info/",
    "DELETE /api/log/",
    "POST /api/channel/1/key",
  ],
  key: [
    "GET /api/usage/token/",
    "GET /api/usage/token",
    "GET /api/log/token",
    ...["chat/completions", "completions", "responses", "messages", "embeddings", "images/generations"].map(
      (name) => `POST /v1/${name}`,
    ),
    ...["audio/speech", "rerank", "moderations", "engines/x/embeddings", "video/generations"].map(
      (name) => `POST /v1/${name}`,
    ),
    "GET /v1/models",
    "GET /v1/models/gpt-4o",
    "GET /v1/realtime",
    "POST /v1/videos",
    "GET /v1/videos/task_1",
    "POST /v1beta/models/gemini:generateContent",
    "GET /v1beta/openai/models",
    "POST /mj/submit/imagine",
    "POST /fast/mj/submit/imagine",
    "POST /suno/submit/music",
    "POST /kling/v1/videos/text2video",
    "POST /jimeng/",
    "GET /dashboard/billing/usage",
    "GET /v1/dashboard/billing/subscription",
  ],
  tokenOrKey: ["GET /v1/videos/task_1/content"],
  nothing: [
    "GET /api",
    "GET /api/nothing",
    "POST /api/nothing/x",
    "GET /v1",
    "GET /v1/nothing",
    "GET /v1/chat2",
  ],
};

let gateway: Gateway;
let callers: readonly Readonly<Record<string, string>>[];

beforeAll(async () => {
  await emptyStores();
  for (const [id, role] of [
    ["7", "user"],
    ["8", "admin"],
    ["9", "root"],
  ] as const) {
    await addUser(id, { role });
  }
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
  callers = [
    {},
    { authorization: `Bearer ${await addPat("pat_7", { userId: "7" })}` },
    { authorization: await addPat("pat_8", { userId: "8" }) },
    { authorization: `bearer ${await addPat("pat_9", { userId: "9" })}` },
    { authorization: `Bearer ${await signDashboardToken()}` },
    { authorization: `Bearer ${await addApiKey("key_7", { userId: "7" })}` },
  ];
});
afterAll(() => gateway.settle());

describe.each(Object.entries(TABLE))("%s (New API §3.6)", (level, rows) => {
  it.each(rows)("%s", async (row) => {
    const [method = "", path = ""] = row.split(" ");
    const statuses: number[] = [];
    for (const headers of callers) {
      const sent = gateway.received.length;
      const { status } = await gateway.fetch(path, { method, headers });
      expect(gateway.received.length - sent).toBe(status === 200 ? 1 : 0);
      statuses.push(status);
    }
    expect(statuses).toEqual(LEVELS[level as keyof typeof LEVELS]);
  });
});

describe("spellings: gin tells paths apart by case, and takes a slash at the end or none", () => {
  const protectedRows = [...TABLE.user, ...TABLE.admin, ...TABLE.root, ...TABLE.key];

  it.each(protectedRows)("%s asks in every spelling that reaches it", async (row) => {
    const [method = "", path = ""] = row.split(" ");
    // The one pair of paths that differ in their last slash (§3.6, traps).
    const isPair = path.startsWith("/api/models");
    const slashed = path.endsWith("/") ? path.slice(0, -1) : `${path}/`;
    const escaped = path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
    for (const spelling of [path, slashed, escaped, `/console/..${path}`, `/%2e${path}`]) {
      const { status } = await gateway.fetch(spelling, { method });
      expect([spelling, status]).toEqual([spelling, isPair ? expect.any(Number) : 401]);
      expect(status).not.toBe(200);
    }
    for (const ambiguous of [`https://api.example.com/${path}`, path.replace("/", "/%2f"), `${path};x`]) {
      const { status } = await gateway.fetch(ambiguous, { method });
      expect([400, 401, 404]).toContain(status);
    }
    // Of `/:mode/mj` it is the second word that has a case.
    const shout = (word: string) => word.toUpperCase();
    const shouted = path.startsWith("/fast") ? path.replace("mj", shout) : path.replace(/[a-z]+/, shout);
    const { status } = await gateway.fetch(shouted, { method });
    expect([shouted, status]).toEqual([shouted, 404]);
  });

  it("the pair of /api/models is two rows, in each of their spellings", async () => {
    const statusOf = async (path: string) =>
      (await gateway.fetch(path, { headers: callers[1] ?? {} })).status;
    expect(await statusOf("/api/models")).toBe(200);
    for (const admin of ["/api/models/", "/api/%6dodels/", "/api/x/../models/"]) {
      expect([admin, await statusOf(admin)]).toEqual([admin, 403]);
    }
  });
});
