// Middleware put before the pipeline meets the paths that the policies meet, whatever the target looked like.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttackTarget, startAttackTarget } from "../support/node/attack-target.ts";
import { hostileTargets, RUNS } from "../support/node/hostile-targets.ts";
import { areaOf } from "../support/node/readings.ts";

let target: AttackTarget;
beforeAll(async () => {
  target = await startAttackTarget({ SITE_ANY: {} }, "test/support/node/teapot-worker.ts");
});
afterAll(async () => {
  await target?.stop();
});

const getAsAdmin = (path: string) => target.get(path, [`Authorization: Bearer ${target.adminToken}`]);

describe("requirement 1: middleware on /admin/* runs for every request the pipeline would serve there", () => {
  it.each([
    "/admin/y",
    "/admin",
    "/admin/",
    "/x/../admin/y",
    "/public/../admin/y",
    "/public/a/../../admin/y",
    "/./admin/y",
    "/%61dmin/y",
    "/%61%64%6d%69%6E/y",
    "/x/../%61dmin",
    "http://evil.example/admin/y",
    "http://evil.example/x/../admin/y",
    "/admin/y?z=/../public",
    "/ADMIN/y",
    "/Admin",
    "/x/../aDmIn/y",
    "/%41dmin/y",
    "/@me/y",
    "/%40me/y",
    "/%40ME",
  ])("%s", async (path) => {
    const { status, exchange, arrived } = await getAsAdmin(path);
    expect([status, exchange.answers[0]?.body, arrived]).toEqual([418, "the middleware's answer", []]);
  });

  it.each([
    "/x/%2e%2e/admin/y",
    "/x/..%2fadmin/y",
    "/x/..\\admin/y",
    "//admin/y",
    "/admin;x/y",
    "/admin%2fy",
  ])("%s is served by neither", async (path) => {
    const { status, arrived } = await getAsAdmin(path);
    expect(arrived).toEqual([]);
    expect([400, 418]).toContain(status);
  });

  it.each(["/public/admin/y", "/public/x?/admin/", "/private/../public/x"])(
    "%s is not its business",
    async (path) => {
      expect((await getAsAdmin(path)).status).toBe(200);
    },
  );

  it(`random targets: none is served under /admin without it (SEED=${RUNS.seed})`, async () => {
    let forwarded = 0;
    await fc.assert(
      fc.asyncProperty(hostileTargets, async (path) => {
        const { arrived } = await getAsAdmin(path);
        forwarded += arrived.length;
        for (const one of arrived) expect(areaOf(one.target.split("?", 1)[0] ?? "")).not.toBe("admin");
      }),
      RUNS,
    );
    expect(forwarded).toBeGreaterThan(RUNS.numRuns / 20);
  });
});
