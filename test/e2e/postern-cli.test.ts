// The CLI against a gateway under `wrangler dev`: what it prints, what it refuses, and with which exit code.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalSecrets } from "../../cli/local-secrets.ts";
import { type Finished, type RunOptions, runPostern, startProxy } from "../support/node/postern-cli.ts";
import { ROOT } from "../support/node/project.ts";
import { startWranglerDev, type WranglerDev } from "../support/node/wrangler-dev.ts";

const TIMEOUT_MS = 120_000;
const API_SECRET = randomBytes(32).toString("base64url");
const scratch = mkdtempSync(join(tmpdir(), "postern-cli-"));
let dev: WranglerDev;
let jwtSecret = "";

const SITE = {
  origin: "echo",
  realm: "main",
  users: "required",
  jwt: {
    algorithms: ["HS256"],
    secret: "DEMO_JWT_SECRET",
    issuer: "https://idp.example",
    audience: "api",
    require: { tier: "gold" },
    claims: { role: "realm.role", scopes: "scope" },
  },
  routes: [
    { path: "/things/*", auth: "required" },
    { path: "/read/*", auth: "required", scopes: ["things.read"] },
  ],
};
const VARS = {
  GATEWAY: {
    issuer: "https://auth.example",
    environment: "development",
    realms: { main: { sign_in: { min_password_length: 8 } }, gateway: { sign_in: {} } },
  },
  SITE_API: SITE,
};

beforeAll(async () => {
  const seed = async (_: D1Database, secrets: LocalSecrets) => {
    jwtSecret = secrets.DEMO_JWT_SECRET ?? "";
  };
  dev = await startWranglerDev({ vars: VARS, seed });
}, TIMEOUT_MS);
afterAll(async () => {
  await dev?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const postern = (args: readonly string[], options: RunOptions = {}): Promise<Finished> =>
  runPostern(args, {
    ...options,
    environment: { POSTERN_URL: dev.address, POSTERN_TOKEN: dev.adminToken, ...options.environment },
  });

/** Runs it, and fails the test where it fails. */
async function done(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await postern(args);
  expect({ args, status, stderr }).toMatchObject({ status: 0 });
  return stdout;
}
const json = async (...args: readonly string[]) => JSON.parse(await done(...args, "--json"));
const REALM = ["--realm", "main"];

/** The shell blocks of a section, in their order. */
function shellBlocks(file: string, heading: string): readonly string[] {
  const [, section = ""] = readFileSync(join(ROOT, file), "utf8").split(`# ${heading}\n`);
  const [own = ""] = section.split(/^##+ /m);
  return [...own.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

const things = (token: string, path = "/things/1") =>
  fetch(`${dev.address}${path}`, { headers: { authorization: `Bearer ${token}`, "new-api-user": "7" } });

describe("npm run postern", { timeout: TIMEOUT_MS }, () => {
  it("shows the realms and their roles", async () => {
    expect(await done("realms", "list")).toMatch(
      /^NAME +ROLES +SIGN-IN\n(gateway|main) +public,user,admin,root +yes\n/,
    );
  });

  it("keeps users: create, show, list, search, update, password, delete", async () => {
    expect(await done("users", "list", ...REALM, "--search", "nobody-at-all")).toBe("No users.\n");
    const created = await done(
      ...["users", "create", ...REALM, "--id", "7", "--username", "alice", "--email", "alice@example.com"],
      ...["--name", "Alice", "--permission", "a.b", "--permission", "c.d", "--attributes", '{"group":"vip"}'],
    );
    expect(created).toMatch(/^id +7$/m);
    expect(created).toMatch(/^permissions +a\.b,c\.d$/m);
    expect(created).toMatch(/^attributes +\{"group":"vip"\}$/m);
    await done("users", "create", ...REALM, "--username", "bob");

    expect(await done("users", "list", ...REALM, "--search", "ALI")).toMatch(
      /^ID +USERNAME +EMAIL +NAME +ROLE +STATUS\n7 +alice +alice@example\.com +Alice +user +active\n$/,
    );
    const first = await postern(["users", "list", ...REALM, "--limit", "1"]);
    expect(first.stdout.trim().split("\n")).toHaveLength(2);
    const [, cursor = ""] = /--cursor (\S+), or --all/.exec(first.stderr) ?? [];
    const next = await postern(["users", "list", ...REALM, "--limit", "1", "--cursor", cursor]);
    expect(next).toMatchObject({ status: 0, stderr: "" });
    const all = await json("users", "list", ...REALM, "--all");
    expect(all).toMatchObject({ next_cursor: null, items: [{}, {}] });

    expect(await done("users", "update", "7", ...REALM, "--name", "", "--no-permissions")).toMatch(
      /^name +-$/m,
    );
    expect(await json("users", "show", "7", ...REALM)).toMatchObject({ name: null, permissions: [] });

    const set = await postern(["users", "password", "7", ...REALM, "--password-stdin"], {
      input: "correct horse battery\nignored",
    });
    expect(set).toMatchObject({
      status: 0,
      stdout: "The password is set; all sessions of the user are ended.\n",
    });
    expect(await json("users", "show", "7", ...REALM)).toMatchObject({ has_password: true });

    const { items } = all as { items: { id: string; username: string }[] };
    const bob = items.find(({ username }) => username === "bob")?.id ?? "";
    expect(await done("users", "delete", bob, ...REALM, "--yes")).toContain("is deleted");
    expect((await postern(["users", "show", bob, ...REALM])).status).toBe(1);
  });

  it.each(["keys", "pats"])(
    "keeps %s: create, use, list, update, disable, enable, rotate, delete",
    async (kind) => {
      const made = await postern([
        ...[kind, "create", ...REALM, "--user", "7", "--name", "laptop"],
        ...["--scope", "things.read", "--expires", "90d"],
      ]);
      expect(made.status).toBe(0);
      const secret = made.stdout.trim();
      expect(secret).toMatch(/^\S{32,51}$/);
      expect(made.stderr).toContain("shown this once");
      expect(made.stderr).not.toContain(secret);
      const [, id = ""] = /^id +(\S+)$/m.exec(made.stderr) ?? [];
      expect((await things(secret, "/read/1")).status).toBe(200);

      const shown = await json(kind, "show", id, ...REALM);
      expect(shown.expires_at).toBeGreaterThan(Date.now() / 1_000 + 89 * 86_400);
      const list = await done(kind, "list", ...REALM, "--user", "7");
      expect(list).toMatch(new RegExp(`^${id} +7 +laptop +active +things\\.read +20`, "m"));
      expect(list + JSON.stringify(shown)).not.toContain(secret);

      await done(kind, "update", id, ...REALM, "--expires", "never", "--ip", "127.0.0.0/8", "--ip", "::1");
      expect(await json(kind, "show", id, ...REALM)).toMatchObject({
        expires_at: null,
        ip_allow: ["127.0.0.0/8", "::1"],
      });
      await done(kind, "update", id, ...REALM, "--no-ips");
      expect(await done(kind, "disable", id, ...REALM)).toMatch(/^status +disabled$/m);
      expect(await done(kind, "enable", id, ...REALM)).toMatch(/^status +active$/m);

      const rotated = await json(kind, "rotate", id, ...REALM, "--grace", "1h");
      expect(await json(kind, "show", id, ...REALM)).toMatchObject({ replaced_by: rotated.id });
      expect(await done(kind, "delete", id, ...REALM, "--yes")).toBe(`${id} is deleted.\n`);
      expect((await things(rotated[kind === "keys" ? "key" : "token"], "/read/1")).status).toBe(200);
    },
  );

  it("revokes, lists and ends", async () => {
    expect(await done("sessions", "list", ...REALM)).toBe("No sessions.\n");
    expect(await done("revoke", "token", "jti-1", ...REALM, "--expires", "10m", "--yes")).toBe(
      "Revoked: token jti-1.\n",
    );
    expect(await done("revoke", "user", "7", ...REALM, "--before", "2h", "--yes")).toBe("Revoked: user 7.\n");
    const { id } = await json("keys", "create", ...REALM, "--user", "7");
    await done("revoke", "user", "7", ...REALM, "--yes");
    expect(await done("keys", "list", ...REALM, "--user", "7")).toMatch(
      new RegExp(`^${id} +7 +- +revoked `, "m"),
    );
    expect(await done("keys", "show", id, ...REALM)).toMatch(/^status +revoked$/m);
    const list = await done("revocations", "list", ...REALM);
    expect(list).toMatch(/^KIND +ID +ISSUED BEFORE +UNTIL$/m);
    expect(list).toMatch(/^token +jti-1 +- +20/m);
    expect(list).toMatch(/^user +7 +20/m);
    expect(await done("revoke", "realm", ...REALM, "--before", "2020-01-01", "--yes")).toBe(
      "Revoked: realm main.\n",
    );
    expect(await done("sessions", "end", ...REALM, "--user", "7", "--all", "--yes")).toContain("are ended");
  });

  it("shows and verifies the audit log", async () => {
    const list = await done("audit", "list", ...REALM, "--since", "1h", "--action", "user.created");
    expect(list).toMatch(/^WHEN +ACTION +BY +TO +FROM +DETAILS$/m);
    expect(list).toMatch(/^20\S+ \S+Z +user\.created +admin_token +user main\/7 +/m);
    expect(await done("audit", "verify")).toMatch(
      /^Intact: \d+ rows in \d+ blocks; \d+ rows are not sealed yet\.$/m,
    );
    const [, curl = ""] = /: curl (\S+)$/m.exec(await done("audit", "verify")) ?? [];
    expect(curl).toBe(`${dev.address}/cdn-cgi/local/scheduled`);
    expect((await fetch(curl)).status).toBe(200);
    const sealed = await done("audit", "verify");
    expect(sealed).toMatch(/; 0 rows are not sealed yet\.\nHash of the newest block: \w{64}\n$/);
  });

  it("tells the gateway of a restore", async () => {
    expect(await done("db", "restored", "--yes")).toContain("Done");
    expect(await done("audit", "list", "--action", "epoch.renewed")).toContain("epoch.renewed");
  });

  it("explains what a request would be decided as, without showing or sending what it was told", async () => {
    await done("users", "create", ...REALM, "--id", "ex", "--name", "Ex");
    const { id, key } = await json("keys", "create", ...REALM, "--user", "ex", "--scope", "things.write");
    const url = "http://127.0.0.1:8787/read/1";
    const told = await postern(["explain", url, "--headers-stdin"], {
      input: `Authorization: Bearer ${key}\n`,
    });
    expect(told.stderr).toBe("");
    expect(told.stdout).toBe(
      [
        "outcome     refused 403 scope_insufficient",
        "reason      not all scopes",
        "site        api",
        "path        /read/1",
        "route       SITE_API.routes[1]  any method /read/*",
        "demands     auth required; by jwt,api_key,pat,session; scopes things.read",
        `credential  api_key ${id}`,
        "caller      main/ex, role user; scopes things.write",
        "",
      ].join("\n"),
    );
    expect(await done("explain", "http://127.0.0.1:8787/nowhere", "--method", "post")).toMatch(
      /^outcome +refused 404 route_not_found\n(.*\n)*route +-\n/,
    );
    const ok = await json(
      "explain",
      "http://127.0.0.1:8787/things/1",
      "--header",
      `Authorization: Bearer ${key}`,
    );
    expect(ok).toMatchObject({ outcome: "forwarded", status: null, principal: { id: "ex" } });
    expect(await json("keys", "show", id, ...REALM)).toMatchObject({ last_used_at: null });

    const bad = await postern(["explain", url, "--header", `Bearer ${key}`]);
    expect(bad).toMatchObject({ status: 2, stdout: "" });
    expect(bad.stderr).not.toContain(key);
    const own = await postern(["explain", `${dev.address}/_gateway/me`]);
    expect(own).toMatchObject({ status: 1, stderr: expect.stringContaining("a path of the gateway itself") });
  });

  it("takes a username or an e-mail address for a user, but an id before them", async () => {
    await done("users", "create", ...REALM, "--id", "n1", "--username", "Nora", "--email", "n@example.com");
    await done("users", "create", ...REALM, "--id", "n2", "--username", "n1");
    for (const name of ["n1", "nora", "N@example.com"]) {
      expect(await json("users", "show", name, ...REALM)).toMatchObject({ id: "n1" });
    }
    const { id, user } = await json("keys", "create", ...REALM, "--user", "nora");
    expect(user).toBe("n1");
    expect((await json("keys", "list", ...REALM, "--user", "n@example.com")).items).toMatchObject([{ id }]);
    expect(await done("users", "disable", "nora", ...REALM)).toMatch(/^status +disabled$/m);
    expect(await done("users", "enable", "nora", ...REALM)).toMatch(/^status +active$/m);
    expect(await done("revoke", "user", "nora", ...REALM, "--yes")).toBe("Revoked: user n1.\n");
    expect((await json("keys", "show", id, ...REALM)).revoked).toBe(true);
    const audit = await postern(["audit", "list", ...REALM, "--user", "nora"]);
    expect(audit.stderr).toBe('"nora" is the user with the id n1\n');
    expect(audit.stdout).toMatch(/user\.created .* user main\/n1 /);
    for (const name of ["n2", "nora"]) await done("users", "delete", name, ...REALM, "--yes");
    // Whom nobody knows by name may be somebody who is deleted: what was done to them is still told by their id.
    expect(await done("audit", "list", ...REALM, "--user", "n1")).toContain("user.deleted");
  });

  it("sends no token that nobody chose to what is not a gateway", async () => {
    const told: string[] = [];
    const stranger = await startProxy(dev.address, (request, response) => {
      told.push(`${request.url} ${request.headers.authorization}`);
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ items: [], status: "up" }));
      return true;
    });
    writeFileSync(join(scratch, ".dev.vars"), `ADMIN_TOKEN='${dev.adminToken}'\n`);
    const args = ["realms", "list", "--state", scratch];
    const { status, stderr } = await runPostern([...args, "--url", stranger.address]);
    await stranger.close();
    expect(status).toBe(3);
    expect(stderr).toContain(`${stranger.address} answered 200, and not as a gateway does`);
    expect(told).toEqual(["/_gateway/health undefined"]);
  });

  it("takes the ADMIN_TOKEN of this machine for a gateway on it", async () => {
    writeFileSync(join(scratch, ".dev.vars"), `ADMIN_TOKEN='${dev.adminToken}'\n`);
    const { status } = await runPostern(["realms", "list", "--url", dev.address, "--state", scratch]);
    expect(status).toBe(0);
  });

  it("lets no name steer the terminal", async () => {
    await done("users", "create", ...REALM, "--id", "odd", "--name", "a\u202eb\u2066");
    const list = await done("users", "list", ...REALM, "--search", "odd");
    expect(list).toContain("a\\u202eb\\u2066");
    await done("users", "delete", "odd", ...REALM, "--yes");
  });
});

describe("exit codes", { timeout: TIMEOUT_MS }, () => {
  it("1: refused, with every field that is wrong and its mend", async () => {
    const wrong = await postern([
      "users",
      "create",
      ...REALM,
      "--id",
      "a b",
      "--role",
      "boss",
      "--email",
      "x",
    ]);
    expect(wrong).toMatchObject({ status: 1, stdout: "" });
    expect(wrong.stderr).toMatch(/^postern: The input is not valid \(input_invalid\)$/m);
    expect(wrong.stderr).toMatch(/^ {2}id: must be 1 to 128 letters/m);
    expect(wrong.stderr).toMatch(/^ {2}--email: must be an e-mail address$/m);
  });

  it.each([
    ["--expires", ["--expires", "2020-01-01"], /^ {2}--expires: must be in the future/m],
    ["--ip", ["--ip", "127.0.0.1", "--ip", "home"], /^ {2}--ip: must be an address or a CIDR block/m],
    ["--scope", ["--scope", "a b"], /^ {2}--scope: must be visible ASCII/m],
  ])("1: names the flag, and not the member it becomes: %s", async (_, flags, expected) => {
    const { status, stderr } = await postern(["keys", "create", ...REALM, "--user", "7", ...flags]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(expected) });
  });

  it.each([
    [["keys", "show", "key_none"], 'API key "key_none"'],
    [["keys", "disable", "key_none"], 'API key "key_none"'],
    [["keys", "rotate", "key_none"], 'API key "key_none"'],
    [["pats", "delete", "pat_none", "--yes"], 'PAT "pat_none"'],
    [["revoke", "key", "key_none", "--yes"], 'API key "key_none"'],
    [["revoke", "session", "ses_none", "--yes"], 'session "ses_none"'],
    [["revoke", "user", "nobody", "--yes"], 'user "nobody"'],
    [["sessions", "end", "ses_none", "--yes"], 'session "ses_none"'],
  ])("1: %j names what is not there, and the realm", async (args, what) => {
    const { status, stderr } = await postern([...args, ...REALM]);
    expect(status).toBe(1);
    expect(stderr).toBe(
      `postern: there is no ${what} in realm main: not any more, or it never was (resource_not_found)\n`,
    );
  });

  it.each([
    ["users", "show", "nobody"],
    ["users", "disable", "nobody"],
    ["users", "delete", "nobody", "--yes"],
    ["keys", "create", "--user", "nobody"],
    ["pats", "list", "--user", "nobody"],
    ["sessions", "list", "--user", "nobody"],
    ["sessions", "end", "--user", "nobody", "--all", "--yes"],
  ])("1: a user whom nobody knows is named, with how to look: %s %s %s", async (...args) => {
    const { status, stdout, stderr } = await postern([...args, ...REALM]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toContain('there is no user "nobody" in realm main');
    expect(stderr).toContain("users list --realm main --search nobody");
  });

  it("1: a token that is not accepted, without showing it", async () => {
    const token = "x".repeat(40);
    const { status, stderr } = await postern(["realms", "list"], { environment: { POSTERN_TOKEN: token } });
    expect(status).toBe(1);
    expect(stderr).toContain("(credential_invalid)");
    expect(stderr).toContain("POSTERN_TOKEN");
    expect(stderr).not.toContain(token);
  });

  it.each([
    ["no command", ["nothing"], "there is no command"],
    ["a mistyped command", ["user", "list"], "did you mean users list?"],
    ["half a command", ["users"], "which one?"],
    ["a mistyped flag", ["users", "list", "--relam", "x"], "did you mean --realm?"],
    ["no realm", ["users", "list"], "--realm is needed"],
    ["no id", ["users", "show", ...REALM], "USER is needed"],
    ["too much", ["users", "show", "1", "2", ...REALM], '"2" is too much'],
    ["a time of none", ["keys", "create", ...REALM, "--user", "7", "--expires", "soon"], "--expires wants"],
    [
      "a date that is none",
      ["keys", "create", ...REALM, "--user", "7", "--expires", "2026-02-30"],
      "--expires wants",
    ],
    ["a local time", ["audit", "list", "--since", "2026-01-01T00:00:00"], "--since wants"],
    [
      "attributes that are no object",
      ["users", "update", "7", ...REALM, "--attributes", "[1]"],
      "JSON object",
    ],
    ["nothing to change", ["users", "update", "7", ...REALM], "nothing is to be changed"],
    ["a kind of none", ["revoke", "everything", "7", ...REALM], "KIND must be one of"],
    ["--before for a key", ["revoke", "key", "7", ...REALM, "--before", "1h"], "--before is for"],
    ["an ID for a realm", ["revoke", "realm", "main", ...REALM], "named by --realm alone"],
    ["--all and --limit", ["users", "list", ...REALM, "--all", "--limit", "5"], "--all takes neither"],
    ["no password", ["users", "password", "7", ...REALM], "--password-stdin"],
    [
      "an empty password",
      ["users", "password", "7", ...REALM, "--password-stdin"],
      "nothing on standard input",
    ],
    ["users delete without --yes", ["users", "delete", "7", ...REALM], "add --yes"],
    ["keys delete without --yes", ["keys", "delete", "key_1", ...REALM], "add --yes"],
    ["revoke key without --yes", ["revoke", "key", "key_1", ...REALM], "add --yes"],
    ["revoke token without --yes", ["revoke", "token", "jti-1", ...REALM], "add --yes"],
    ["sessions end without --yes", ["sessions", "end", "ses_1", ...REALM], "add --yes"],
    ["revoke user without --yes", ["revoke", "user", "7", ...REALM], "add --yes"],
    ["revoke realm without --yes", ["revoke", "realm", ...REALM], "add --yes"],
    ["sessions end --all without --yes", ["sessions", "end", ...REALM, "--user", "7", "--all"], "add --yes"],
    ["db restored without --yes", ["db", "restored"], "add --yes"],
    ["http to elsewhere", ["realms", "list", "--url", "http://auth.example.com"], "must be https"],
    [
      "http to what looks like here",
      ["realms", "list", "--url", "http://127.0.0.1.example.com"],
      "must be https",
    ],
    [
      "a password in the URL",
      ["realms", "list", "--url", "https://a:b@example.com"],
      "must not hold a password",
    ],
    ["no URL", ["realms", "list", "--url", "here"], "must be a URL"],
  ])("2: %s", async (_, args, expected) => {
    const { status, stdout, stderr } = await postern(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(expected);
  });

  it("2: no token for a gateway elsewhere", async () => {
    const { status, stderr } = await runPostern(["realms", "list", "--url", "https://auth.example.com"]);
    expect(status).toBe(2);
    expect(stderr).toContain("there is no token");
  });

  it.each(["", " ", "\t \n"])(
    "2: a token that is set, but empty (%j), and never another in its place",
    async (token) => {
      writeFileSync(join(scratch, ".dev.vars"), `ADMIN_TOKEN='${dev.adminToken}'\n`);
      const { status, stdout, stderr } = await postern(["realms", "list", "--state", scratch], {
        environment: { POSTERN_TOKEN: token },
      });
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(stderr).toContain("POSTERN_TOKEN is set, but empty");
    },
  );

  it.each([
    ["of a path", ["users", "list", "--realm", "mian"]],
    ["of a new key", ["keys", "create", "--realm", "mian", "--user", "7"]],
    ["that narrows the audit log", ["audit", "list", "--realm", "mian"]],
  ])("1: a realm %s that is not there, with the flag and the realms there are", async (_, args) => {
    const { status, stdout, stderr } = await postern(args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^ {2}--realm: must be one of (main, gateway|gateway, main)$/m);
  });

  it("3: a gateway that is not configured, which no waiting mends", async () => {
    const broken = await startProxy(dev.address, (_, response) => {
      response.writeHead(503, { "content-type": "application/problem+json", "retry-after": "5" });
      response.end(JSON.stringify({ code: "config_invalid", title: "The gateway is not configured" }));
      return true;
    });
    const { status, stderr } = await postern(["realms", "list", "--url", broken.address]);
    await broken.close();
    expect(status).toBe(3);
    expect(stderr).toMatch(/^postern: The gateway is not configured \(config_invalid\)\n/);
    expect(stderr).toContain("npm run check");
  });

  it("3: nobody there, and nobody who is a gateway", async () => {
    const nobody = await postern(["realms", "list", "--url", "http://127.0.0.1:9"]);
    expect(nobody.status).toBe(3);
    expect(nobody.stderr).toContain("cannot be reached: its port is one that is never used for HTTP");
  });

  it("2: a flag without its value, or with one too many, in words of our own", async () => {
    const lacking = await postern(["users", "list", "--realm"]);
    expect(lacking).toMatchObject({ status: 2, stdout: "" });
    expect(lacking.stderr).toContain("postern: --realm needs a value");
    const dashed = await postern(["users", "list", "--realm", "--json"]);
    expect(dashed.stderr).toContain("postern: --realm needs a value");
    const surplus = await postern(["users", "list", "--json=1"]);
    expect(surplus.stderr).toContain("postern: --json takes no value");
    for (const { stderr } of [lacking, dashed, surplus]) expect(stderr).not.toMatch(/argument|Option/);
  });

  it("3: what nobody has named and is no gateway is not sent a token", async () => {
    const directory = mkdtempSync(join(scratch, "note-"));
    const seen: (string | undefined)[] = [];
    const foreign = await startProxy(dev.address, (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"status":"fine"}');
      return true;
    });
    mkdirSync(join(directory, "data"));
    const note = (url: string) =>
      writeFileSync(join(directory, "data/listening.json"), JSON.stringify({ url, pid: process.pid }));
    const run = () =>
      runPostern(["realms", "list", "--state", directory], {
        environment: { POSTERN_TOKEN: dev.adminToken },
      });

    note(foreign.address);
    const refused = await run();
    await foreign.close();
    expect(refused).toMatchObject({ status: 3, stdout: "" });
    expect(refused.stderr).toContain(`${foreign.address} answered 200, and not as a gateway does`);
    expect(seen).toEqual([undefined]);

    note(dev.address);
    expect(await run()).toMatchObject({ status: 0, stderr: "" });
  });

  it("0: --help, for all and for one", async () => {
    expect(await done("--help")).toContain("users create");
    expect(await done("keys", "--help")).not.toContain("users create");
    expect(await done("keys", "rotate", "--help")).toContain("--grace DURATION");
  });
});

describe("an administrator's own keys", { timeout: TIMEOUT_MS }, () => {
  const PASSWORD = "ten green bottles on a wall";
  const [make = "", rotate = ""] = shellBlocks("docs/operations.md", "An administrator's own keys");
  /** @returns what the variables `key` and `POSTERN_TOKEN` are then */
  const shell = async (script: string) => {
    const run = promisify(execFile)(
      "bash",
      ["-euo", "pipefail", "-c", `${script}\nprintf '%s\\n' "$key" "$POSTERN_TOKEN"`],
      { env: { ...process.env, POSTERN_URL: dev.address, POSTERN_TOKEN: "" } },
    );
    run.child.stdin?.end(`${PASSWORD}\n`);
    const lines = (await run).stdout.trim().split("\n");
    return { key: JSON.parse(lines[0] ?? ""), token: lines[1] ?? "" };
  };
  const asAda = (token: string, ...args: readonly string[]) =>
    postern(args, { environment: { POSTERN_TOKEN: token } });

  it("are made and rotated as docs/operations.md shows, and not by the commands, which say so", async () => {
    const created = await postern(
      [
        "users",
        "create",
        "--realm",
        "gateway",
        "--username",
        "ada",
        "--role",
        "root",
        "--password-stdin",
        "--json",
      ],
      { input: PASSWORD },
    );
    const { id } = JSON.parse(created.stdout) as { id: string };
    const { key, token } = await shell(make);
    expect(token).toBe(key.key);
    expect(key).toMatchObject({ realm: "gateway", scopes: ["gateway.read", "gateway.write"] });
    expect(key.expires_at - Date.now() / 1_000).toBeGreaterThan(89 * 86_400);
    expect(await asAda(token, "users", "create", ...REALM)).toMatchObject({ status: 0 });

    const own = ["--realm", "gateway"];
    for (const args of [
      ["keys", "create", ...own, "--user", id],
      ["keys", "rotate", key.id, ...own],
    ]) {
      const { status, stderr } = await asAda(token, ...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(/\(rank_insufficient\)$/m);
      expect(stderr).toContain("POST /_gateway/me/keys?realm=gateway");
    }

    expect(rotate).toContain("/key_…/");
    const next = await shell(`${make}\n${rotate.replace("key_…", key.id)}`);
    expect(next.token).not.toBe(token);
    expect(next.key.expires_at).toBeGreaterThanOrEqual(key.expires_at);
    expect(await json("keys", "show", key.id, ...own)).toMatchObject({ replaced_by: next.key.id });
    expect(await asAda(next.token, "realms", "list")).toMatchObject({ status: 0 });
  });

  it("without gateway.write look and change nothing: the refusal names the scope", async () => {
    const made = await json("users", "create", "--realm", "gateway", "--username", "bea", "--role", "admin");
    const scope = ["--scope", "gateway.read"];
    const { key } = await json("keys", "create", "--realm", "gateway", "--user", made.id, ...scope);
    expect(await asAda(key, "realms", "list")).toMatchObject({ status: 0 });
    const { status, stderr } = await asAda(key, "users", "create", ...REALM);
    expect(status).toBe(1);
    expect(stderr).toMatch(/\(scope_insufficient\)\n {2}the token in POSTERN_TOKEN lacks gateway\.write$/m);
  });
});

describe("npm run postern -- token", { timeout: TIMEOUT_MS }, () => {
  const state = () => {
    const directory = mkdtempSync(join(scratch, "token-"));
    const toml = (site: string, jwt: string) => `
[vars.SITE_${site}]
base_path = "/${site.toLowerCase()}"
origin = "echo"
routes = [{ path = "/*" }]
[vars.SITE_${site}.jwt]
issuer = "https://idp.example"
audience = "api"
${jwt}`;
    writeFileSync(
      join(directory, "wrangler.toml"),
      `name = "token"
[[d1_databases]]
binding = "DB"
[vars.GATEWAY]
issuer = "https://auth.example"
environment = "development"
${toml("API", 'algorithms = ["HS256"]\nsecret = "API_SECRET"\nrequire = { tier = "gold" }\nclaims = { role = "realm.role" }')}
${toml("FAR", 'algorithms = ["ES256"]\njwks = "https://idp.example/jwks.json"')}
${toml("LOST", 'algorithms = ["HS512"]\nsecret = "LOST_SECRET"')}`,
    );
    writeFileSync(join(directory, ".dev.vars"), `API_SECRET='${API_SECRET}'\n`);
    return ["--config", join(directory, "wrangler.toml")];
  };
  const token = (...args: readonly string[]) => runPostern(["token", "--user", "lUpa", ...state(), ...args]);

  it("makes the token that the site's issuer would, and says that it is for debugging only", async () => {
    const { status, stdout, stderr } = await token("--site", "api", "--ttl", "10m", "--role", "admin");
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(/For debugging only, and not to be used in production/);
    const key = new TextEncoder().encode(API_SECRET);
    const { payload, protectedHeader } = await jwtVerify(stdout.trim(), key, {
      algorithms: ["HS256"],
      issuer: "https://idp.example",
      audience: "api",
      subject: "lUpa",
    });
    expect(protectedHeader).toEqual({ alg: "HS256", typ: "JWT" });
    expect(payload).toEqual({
      token_type: "access",
      sub: "lUpa",
      nbf: expect.any(Number),
      exp: (payload.nbf ?? 0) + 600,
      iss: "https://idp.example",
      aud: "api",
      tier: "gold",
      realm: { role: "admin" },
    });
    expect(stderr + stdout).not.toContain(API_SECRET);
  });

  it.each([
    ["whose issuer has a key pair", ["--site", "far"], 1, "signs with ES256"],
    ["whose secret is not here", ["--site", "lost"], 1, "put LOST_SECRET=… into"],
    ["that is not there", ["--site", "apj"], 2, "did you mean api?"],
    ["that is not named, of several", [], 2, "--site is needed: api, lost"],
    ["for longer than it takes", ["--site", "api", "--ttl", "9999d"], 2, "--ttl"],
    ["for no time", ["--site", "api", "--ttl", "0s"], 2, "--ttl"],
  ])("refuses a site %s", async (_, args, code, expected) => {
    const { status, stdout, stderr } = await token(...args);
    expect({ status, stdout }).toEqual({ status: code, stdout: "" });
    expect(stderr).toContain(expected);
  });

  it("is accepted by the gateway", async () => {
    const file = join(scratch, "wrangler.toml");
    writeFileSync(
      file,
      `name = "e2e"
[[d1_databases]]
binding = "DB"
[vars]
GATEWAY = { issuer = "https://auth.example", environment = "development" }
[vars.SITE_API]
origin = "echo"
users = "required"
routes = [{ path = "/things/*" }]
jwt = { algorithms = ["HS256"], secret = "DEMO_JWT_SECRET", issuer = "https://idp.example", audience = "api", require = { tier = "gold" } }
`,
    );
    await done("users", "create", ...REALM, "--id", "debugged");
    const { stdout } = await runPostern(["token", "--user", "debugged", "--config", file], {
      environment: { DEMO_JWT_SECRET: jwtSecret },
    });
    expect((await things(stdout.trim())).status).toBe(200);
  });
});
