// Limits that take their time, and callers with more addresses than a limit can count.
import { beforeEach, describe, expect, it } from "vitest";
import {
  addApiKey,
  addUser,
  bearer,
  emptyStores,
  SITE,
  startGateway,
  writes,
} from "../support/worker/gateway.ts";

const siteWith = (overrides: object) => ({ vars: { SITE_TEST: { ...SITE, ...overrides } } });
const nowSeconds = () => Math.floor(Date.now() / 1_000);

beforeEach(async () => {
  await emptyStores();
  await addUser("7");
});

describe("requirement 16: the bound holds where a limit is counted after the look-up", () => {
  it("by a binding that takes its time", async () => {
    const RL = {
      limit: async () => {
        await scheduler.wait(3_000);
        return { success: true };
      },
    };
    const routes = [
      { path: "/warm/*" },
      { path: "/private/*", freshness_seconds: 4, limit: { binding: "RL" } },
    ];
    const gateway = startGateway({ vars: { RL, SITE_TEST: { ...SITE, routes } } });
    const key = await addApiKey("k1");
    expect((await gateway.fetch("/warm/x", bearer(key))).status).toBe(200);
    await gateway.settle();
    await writes.updateCredential("k1", { status: "disabled" }, nowSeconds());
    const disabledAtMs = Date.now();
    await scheduler.wait(1_200);
    const { status } = await gateway.fetch("/private/x", bearer(key));
    expect([status, Date.now() - disabledAtMs > 4_000]).not.toEqual([200, true]);
  }, 15_000);
});

describe("an address limit", () => {
  it("takes the addresses of one IPv6 network for one caller", async () => {
    const limit = { exact: true, requests: 1, per_seconds: 3_600 };
    const gateway = startGateway(siteWith({ routes: [{ path: "/x", auth: "none", limit }] }));
    const statuses: number[] = [];
    for (const address of ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"]) {
      statuses.push((await gateway.fetch("/x", { headers: { "cf-connecting-ip": address } })).status);
    }
    expect(statuses).toEqual([200, 429, 429]);
  });
});
