// The lines that `npm start` prints, without starting anything.
import { expect, it } from "vitest";
import { DEMO_ADMIN, DEMO_USER, type DemoAccount } from "../../cli/demo/accounts.ts";
import { demoGuide } from "../../cli/demo/guide.ts";
import {
  cliFlags,
  controlHostLines,
  firstSteps,
  inBrief,
  isOwnProbe,
  lostSecretsLines,
  warningLines,
} from "../../cli/start-lines.ts";
import type { GatewayConfig, Site } from "../../src/config/types.ts";

const LINE = {
  ...{ level: "info", status: 200, method: "GET", path: "/x", outcome: "answered" },
  ...{ reason: null, principalId: null, credentialKind: null },
};
const brief = (more: object) => inBrief(JSON.stringify({ ...LINE, ...more }));

it.each([
  ["nobody", {}, "200 GET /x  answered"],
  ["a user", { principalId: "7", credentialKind: "pat" }, "200 GET /x  answered  user 7 by pat"],
  ["a user who signs in", { principalId: "7" }, "200 GET /x  answered  user 7"],
  ["ADMIN_TOKEN", { principalId: "admin_token" }, "200 GET /x  answered  by ADMIN_TOKEN"],
  [
    "a user who is called so",
    { principalId: "admin_token", credentialKind: "jwt" },
    "200 GET /x  answered  user admin_token by jwt",
  ],
])("requests by %s", (_, more, expected) => {
  expect(brief(more)).toBe(expected);
});

it("what is no line of the gateway's own is not shown", () => {
  expect(inBrief("Ready on http://127.0.0.1:8787")).toBeNull();
  expect(inBrief('{"level":"info"}')).toBeNull();
});

it("warnings of the configuration, but those that every gateway on a developer's machine gets", () => {
  const warnings = [
    { key: "GATEWAY.environment", message: "is development" },
    { key: "GATEWAY.hosts", message: "is not set" },
    { key: "GATEWAY.realms.apii", message: "is used by no site" },
  ];
  expect(warningLines(warnings)).toEqual(["warning: GATEWAY.realms.apii: is used by no site"]);
});

it.each([
  ["the usual place", "http://127.0.0.1:8787", {}, ""],
  ["another port", "http://127.0.0.1:9166", {}, " --url http://127.0.0.1:9166"],
  ["another state", "http://127.0.0.1:8787", { state: "/tmp/a b" }, " --state '/tmp/a b'"],
  ["another file", "http://127.0.0.1:8787", { config: "own.toml" }, " --config own.toml"],
])("the CLI is told where the gateway is: %s", (_, address, flags, expected) => {
  expect(cliFlags(address, flags)).toBe(expected);
});

const person = (account: DemoAccount) => ({
  ...{ account, apiKey: "sk-x", pat: "p", sessionId: "s", jwt: "j" },
  session: { id: "s", secret: "x", value: "s.x" },
});

it("lines to paste carry the host of a site that has one, and the place of the gateway", () => {
  const people = { user: person(DEMO_USER), admin: person(DEMO_ADMIN) };
  const hosted = demoGuide(
    "http://127.0.0.1:9166",
    people,
    "api.example.com",
    " --url http://127.0.0.1:9166",
  );
  const curls = hosted.split("\n").filter((line) => line.startsWith("curl"));
  expect(curls.length).toBeGreaterThan(10);
  for (const line of curls) expect(line).toMatch(/^curl -i( -X POST)? -H 'Host: api.example.com' /);
  expect(hosted).toContain("users list --realm demo --url http://127.0.0.1:9166");
  expect(demoGuide("http://127.0.0.1:8787", people, null, "")).not.toContain("Host:");
});

it("one's own sites: where they are, and how the first user is made", () => {
  const site = (name: string, users: Site["users"], hosts: readonly string[] | null) =>
    ({ name, users, hosts, basePath: "/v2", realm: { name: "people" } }) as unknown as Site;
  const sites = [site("api", "required", ["api.example.com"]), site("more", "required", null)];
  expect(firstSteps(sites, "http://127.0.0.1:9000", " --url http://127.0.0.1:9000")).toEqual([
    "# the site api",
    "curl -i -H 'Host: api.example.com' http://127.0.0.1:9000/v2/",
    "# the site more",
    "curl -i http://127.0.0.1:9000/v2/",
    "# the first user of the realm people, and a key of theirs, from another terminal",
    "npm run postern -- users create --realm people --id 1 --username me --url http://127.0.0.1:9000",
    "npm run postern -- keys create --realm people --user 1 --name first --url http://127.0.0.1:9000",
  ]);
  expect(firstSteps([site("api", "none", null)], "http://127.0.0.1:8787", "").join()).not.toContain("users");
});

it("the control plane on named hosts only: the CLI would not reach it", () => {
  const lines = (...hosts: string[]) =>
    controlHostLines({ hosts: new Set(hosts) } as unknown as GatewayConfig);
  expect(lines("auth.example.com").join()).toContain('add "127.0.0.1"');
  expect(lines("auth.example.com", "127.0.0.1")).toEqual([]);
  expect(controlHostLines({ hosts: null } as unknown as GatewayConfig)).toEqual([]);
});

it("a request of our own is told from those of others", () => {
  const line = (more: object) => JSON.stringify({ ...LINE, ...more });
  expect(isOwnProbe(line({ path: "/_gateway/health" }), "/_gateway/health")).toBe(true);
  expect(isOwnProbe(line({ path: "/x" }), "/_gateway/health")).toBe(false);
  expect(isOwnProbe(line({ path: "/_gateway/health", method: "HEAD" }), "/_gateway/health")).toBe(false);
  expect(isOwnProbe("/_gateway/health", "/_gateway/health")).toBe(false);
});

it("secrets that were lost: what they made is dead, and only then", () => {
  expect(lostSecretsLines(["POSTERN_PEPPERS", "ADMIN_TOKEN"], "data").join("\n")).toMatch(
    /POSTERN_PEPPERS had to be made anew.* dead\n.*rm -r data$/,
  );
  expect(lostSecretsLines(["ADMIN_TOKEN"], "data")).toEqual([]);
});
