// Targets and hosts as attackers write them, against the bundle under bare workerd, where nothing mends them first.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttackTarget, type Strike, startAttackTarget } from "../support/node/attack-target.ts";
import { hostileTargets, RUNS } from "../support/node/hostile-targets.ts";
import { rawRequest } from "../support/node/raw-http.ts";
import { areaOf } from "../support/node/readings.ts";

/** One behind each kind of transport; and one that claims to be closed altogether. */
const SITES = {
  SITE_ANY: {},
  SITE_SERVICE: { hosts: ["service.example"], origin: "service:ORIGIN" },
  SITE_VAULT: {
    hosts: ["vault.example"],
    origin: "service:ORIGIN",
    routes: [{ path: "/*", auth: "required", role: "admin" }],
  },
};
const HOSTS = ["any.example", "service.example"] as const;

let target: AttackTarget;
beforeAll(async () => {
  target = await startAttackTarget(SITES);
});
afterAll(async () => {
  await target?.stop();
});

const asAdmin = () => [`Authorization: Bearer ${target.adminToken}`];

function expectRefused({ arrived, status, exchange }: Strike): void {
  expect(arrived).toEqual([]);
  if (status === null) expect(exchange.end).toBe("closed");
  else expect([400, 404, 405, 413, 414, 431]).toContain(status);
}

describe("requirement 2: a path that origins may read differently is refused, whoever asks", () => {
  it.each([
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/%2E./admin/x",
    "/public/x/%2e",
    "/public/..%2fadmin/x",
    "/public/..%2Fadmin/x",
    "/public/%2e%2e%2fadmin%2fx",
    "/public%2f..%2fadmin/x",
    "/public%2Fx",
    "/admin%2fx",
    "/admin%5cx",
    "/public/..%5cadmin/x",
    "/public/..%5Cadmin/x",
    "/public/..\\admin/x",
    "/public\\..\\admin\\x",
    "\\admin/x",
    "/\\admin/x",
    "/public/x\\",
    "/public/%00",
    "/admin%00/x",
    "/public/x%00/../../admin/x",
    "/public/x%0d%0aX-User-Context:%20forged",
    "/public/x%0a",
    "/public/x%09",
    "/public/x%7F",
    "//admin/x",
    "///admin/x",
    "//any.example/admin/x",
    "/public//x",
    "/public/..//admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/public/.;/x",
    "/public;/x",
    "/admin;x/y",
    "/public/%3b/x",
    "/public/..%3Badmin/x",
    "/public/%252e%252e/admin/x",
    "/public/..%252fadmin/x",
    "/public/..%255Cadmin/x",
    "/%2561dmin/x",
    "/public/%2500",
    "/public/%25",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/..%c0%afadmin/x",
    "/public/..%C1%9Cadmin/x",
    "/public/%e0%80%ae%e0%80%ae/admin/x",
    "/public/%ed%a0%80",
    "/public/%ff",
    "/public/%",
    "/public/%4",
    "/public/%zz",
    "/public/%u002e%u002e/admin/x",
    "/public/\tx",
    "/pub\tlic/x",
    "/public/.\t./admin/x",
    "/public/x y",
    "/public/\x00x",
    "/public/\x7fx",
    "/public/\xff",
  ])("%j", async (path) => {
    for (const host of HOSTS) {
      expectRefused(await target.get(path, [], host));
      expectRefused(await target.get(path, asAdmin(), host));
    }
  });
});

describe("requirement 1: one canonical path is matched and forwarded", () => {
  it.each([
    ["/public/../admin/x", "/admin/x"],
    ["/public/a/b/../../../admin/x", "/admin/x"],
    ["/../../admin/x", "/admin/x"],
    ["/admin/../public/x", "/public/x"],
    ["/public/./x/.", "/public/x/"],
    ["/public/x/..", "/public/"],
    ["/%61dm%69n/x", "/admin/x"],
    ["/ADMIN/X", "/ADMIN/X"],
    ["/%41%44MIN/x", "/ADMIN/x"],
    ["/Public/%7Ex%2d%5f", "/Public/~x-_"],
    ["/public/%e4%bd%a0%2b%40%20", "/public/%E4%BD%A0%2B%40%20"],
    ["/public/...", "/public/..."],
    ["/public/..x/.y", "/public/..x/.y"],
    ["/public", "/public"],
    ["/public/", "/public/"],
    ["/public/admin/x", "/public/admin/x"],
    ["/public/x#/../../admin", "/public/x"], // the platform ends the target there
    ["/public/x?y#z", "/public/x?y"],
    ["/public#/admin/x", "/public"],
    ["/public/\xc3\xa9", "/public/%C3%A9"], // raw UTF-8
    ["http://evil.example/public/x", "/public/x"],
    ["http://evil.example/public/../admin/x", "/admin/x"],
    ["http://user:password@evil.example:1/admin/x", "/admin/x"],
  ])("%s reaches the origin as %s", async (path, canonical) => {
    for (const host of HOSTS) {
      const { arrived, logged } = await target.get(path, asAdmin(), host);
      expect(arrived.map((one) => one.target)).toEqual([canonical]);
      expect(logged.map((line) => line.host)).toEqual([host]);
    }
  });

  it.each([
    "/public/x?/../../admin/x",
    "/public/x?a=%2e%2e%2f&b=%zz&c=//&d=%00;x&e=\\",
    "/public/x?",
    "/public?x=/admin/",
    "/optional/x?%23",
  ])("%s keeps its query byte for byte", async (path) => {
    const { arrived } = await target.get(path);
    // An empty query is none.
    expect(arrived.map((one) => one.target)).toEqual([path.replace(/\?$/, "")]);
  });

  it.each([1_000, 8_000, 60_000, 120_000, 300_000])("a path of %d characters", async (length) => {
    const path = `/public/${"a".repeat(length)}`;
    const { arrived, status } = await target.get(path);
    if (status === 200) expect(arrived.map((one) => one.target)).toEqual([path]);
    else expect(arrived).toEqual([]);
    expectRefused(await target.get(`${path}/%2e%2e/%2e%2e/admin/x`));
    if (length < 8_001) expect(status).toBe(200);
  });
});

describe("requirement 3: deny by default, by whole segments, in any case", () => {
  it.each([
    "/",
    "/adminx",
    "/xadmin/x",
    "/publicx",
    "/publi",
    "/public.json",
    "/public%20/x",
    "/_gateway/health",
  ])("%s is nobody's", async (path) => {
    const strike = await target.get(path, asAdmin());
    expect([strike.status, strike.arrived]).toEqual([404, []]);
  });

  it.each([
    "/admin",
    "/admin/",
    "/admin/x",
    "/ADMIN/x",
    "/%61dmin/x",
    "/public/../admin/x",
    "/public/../%41DMIN",
    "/./private",
    "http://evil.example/admin/x",
  ])("%s is asked for a credential", async (path) => {
    for (const host of HOSTS) {
      const strike = await target.get(path, [], host);
      expect([strike.status, strike.arrived]).toEqual([401, []]);
    }
  });

  it.each(["/admin/x", "/public/../ADMIN/x"])("%s wants more than a user", async (path) => {
    const strike = await target.get(path, [`Authorization: Bearer ${target.userToken}`]);
    expect([strike.status, strike.arrived]).toEqual([403, []]);
  });
});

describe("requirement 4: the host chooses a site, and nothing else does", () => {
  const strikeHosts = (hosts: readonly string[], path = "/public/x") =>
    target.strike(
      rawRequest(
        `GET ${path} HTTP/1.1`,
        hosts.map((host) => `Host: ${host}`),
      ),
    );

  it.each([
    "a b",
    "a/x?",
    "vault.example/",
    "u@evil",
    "any.example@vault.example",
    "any.example#",
    "any.example?x",
    "any.example\\x",
    "any.example:",
    "any.example:x",
    "any.example:-1",
    "any.example:65536",
    "any.example:80:80",
    "any..example",
    ".",
    ".any.example",
    "any.example..",
    "[::1",
    "::1",
    "[]",
    "[::1]x",
    "[::1%25eth0]",
    "[1:2]",
    "any.example,vault.example",
    "any.example, vault.example",
    "any%2eexample",
    "any\texample",
    "xn--any\xff",
    "a".repeat(300),
    "",
  ])("Host: %j is refused", async (host) => {
    expectRefused(await strikeHosts([host]));
    expectRefused(await strikeHosts([host], "/public/../admin/x"));
  });

  it("refuses two Host headers, different or not, and none at all", async () => {
    expectRefused(await strikeHosts(["any.example", "vault.example"]));
    expectRefused(await strikeHosts(["any.example", "any.example"]));
    expectRefused(await strikeHosts([]));
  });

  it.each([
    "vault.example",
    "VAULT.Example",
    "vault.example.",
    "vault.example:80",
    "vault.example:443",
    "vault.example:8080",
    "Vault.EXAMPLE.:65535",
    " vault.example",
    "vault.example\t",
  ])("Host: %j is the vault, or refused", async (host) => {
    const strike = await strikeHosts([host]);
    expect(strike.arrived).toEqual([]);
    expect([400, 401]).toContain(strike.status);
  });

  it.each([
    "[::1]",
    "[::1]:8080",
    "127.0.0.1",
    "0x7f.1",
    "evil.example",
    "vault.example.evil",
    "xvault.example",
  ])("Host: %s is some host", async (host) => {
    const { status, logged } = await strikeHosts([host]);
    expect([status, logged.map(({ site }) => site)]).toEqual([200, ["any"]]);
  });

  it.each([
    "http://any.example/public/x",
    "http://any.example:80/public/x",
    "HTTP://any.example/public/x",
    "https://any.example/public/x",
    "ws://any.example/public/x",
    "ftp://any.example/public/x",
    "http://any.example",
    "http:///public/x",
    "http:/public/x",
    "http:\\\\any.example\\public/x",
    "http://any.example\\@vault.example/public/x",
    "javascript:alert(1)",
    "//any.example/public/x",
  ])("the vault stays closed to the target %s", async (path) => {
    const strike = await strikeHosts(["vault.example"], path);
    expect(strike.arrived).toEqual([]);
    if (strike.status === null) expect(strike.exchange.end).toBe("closed");
    else expect([400, 401, 404, 501]).toContain(strike.status);
  });
});

describe(`requirements 1 to 4: random targets (SEED=${RUNS.seed})`, () => {
  it("nothing reaches the origin but what policy permits, spelled as policy saw it; no admin path without a token", async () => {
    const seen = { refused: 0, forwarded: 0 };
    await fc.assert(
      fc.asyncProperty(
        hostileTargets,
        fc.constantFrom(...HOSTS),
        fc.boolean(),
        async (path, host, isAdmin) => {
          // What strike checks of every request at the origin is the property.
          const { arrived, status } = await target.get(path, isAdmin ? asAdmin() : [], host);
          seen[arrived.length === 0 ? "refused" : "forwarded"] += 1;
          expect(arrived.length).toBeLessThanOrEqual(1);
          if (arrived.length === 0) expect(status ?? 400).toBeGreaterThanOrEqual(400);
          expect(status ?? 400).toBeLessThan(500);
          for (const one of arrived) {
            const area = areaOf(one.target.split("?", 1)[0] ?? "");
            expect(isAdmin ? ["public", "private", "admin"] : ["public"]).toContain(area);
          }
        },
      ),
      RUNS,
    );
    // Neither way is empty, or nothing has been tried.
    expect(seen.refused).toBeGreaterThan(RUNS.numRuns / 20);
    expect(seen.forwarded).toBeGreaterThan(RUNS.numRuns / 20);
  });
});
