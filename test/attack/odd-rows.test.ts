// Rows that an operator's SQL could leave behind: never a pass, and one bad announcement does not close everything.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  addUser,
  bearer,
  DB,
  emptyStores,
  SITE,
  startGateway,
} from "../support/worker/gateway.ts";

const siteWith = (overrides: object) => ({ vars: { SITE_TEST: { ...SITE, ...overrides } } });
const _nowSeconds = () => Math.floor(Date.now() / 1_000);

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("rows of D1 that are JSON, but not what they should be", () => {
  it("a text is no list of permissions: parts of it grant nothing", async () => {
    const key = await addApiKey("k1");
    await DB.prepare(`UPDATE users SET permissions = '"reports.readonly"'`).run();
    const gateway = startGateway(siteWith({ routes: [{ path: "/x", permissions: ["reports.read"] }] }));
    expect((await gateway.fetch("/x", bearer(key))).status).not.toBe(200);
  });

  it("a text is no list of scopes: parts of it grant nothing", async () => {
    const key = await addApiKey("k1");
    await DB.prepare(`UPDATE credentials SET scopes = '"notes.readonly"'`).run();
    const gateway = startGateway(siteWith({ routes: [{ path: "/x", scopes: ["notes.read"] }] }));
    expect((await gateway.fetch("/x", bearer(key))).status).not.toBe(200);
  });

  it.each(['""', '"10.0.0.0/8"', "null", "{}", "[5]"])("an address list %s is an outage", async (list) => {
    const key = await addApiKey("k1");
    await DB.prepare("UPDATE credentials SET ip_allow = ?").bind(list).run();
    const init = bearer(key, { "cf-connecting-ip": "203.0.113.7" });
    expect((await startGateway().fetch("/private/x", init)).status).toBe(503);
  });

  it.each([
    "users SET permissions",
    "users SET attributes",
    "credentials SET scopes",
    "credentials SET ip_allow",
    "credentials SET attributes",
  ])("UPDATE %s to a text that is no JSON is an outage", async (column) => {
    for (const text of ["", "x", "[", "['a']"]) {
      const key = await addApiKey("k1");
      await DB.prepare(`UPDATE ${column} = ?`).bind(text).run();
      expect((await startGateway().fetch("/private/x", bearer(key))).status).toBe(503);
      await emptyStores();
      await addUser("7");
    }
  });

  it("a change that names its subject without a list is not overlooked", async () => {
    const key = await addApiKey("k1");
    const gateway = startGateway(siteWith({ routes: [{ path: "/x", freshness_seconds: 1 }] }));
    expect((await gateway.fetch("/x", bearer(key))).status).toBe(200);
    await gateway.settle();
    await DB.batch([
      DB.prepare("UPDATE credentials SET status = 'disabled'"),
      DB.prepare(`INSERT INTO changes (at_seconds, subjects, what) VALUES (1, '"credential:k1"', 'x')`),
    ]);
    await scheduler.wait(1_200);
    await gateway.fetch("/x", bearer(await addApiKey("k2"))); // follows the feed
    expect((await gateway.fetch("/x", bearer(key))).status).not.toBe(200);
  });

  it.each(["null", "{}", "5", "x"])(
    "one change with the subjects %s does not close every route",
    async (bad) => {
      const key = await addApiKey("k1");
      await DB.prepare("INSERT INTO changes (at_seconds, subjects, what) VALUES (1, ?, 'x')").bind(bad).run();
      expect((await startGateway().fetch("/private/x", bearer(key))).status).toBe(200);
    },
  );
});
