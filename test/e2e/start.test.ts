// What a newcomer runs: `npm start`, the curl lines it prints, Ctrl-C, and `npm start` again.
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { runPostern } from "../support/node/postern-cli.ts";

const SCRIPT = fileURLToPath(new URL("../../cli/start.ts", import.meta.url));
const POSTERN = fileURLToPath(new URL("../../cli/postern.ts", import.meta.url));
const TIMEOUT_MS = 300_000;
const state = mkdtempSync(join(tmpdir(), "postern-start-"));
const started: ChildProcess[] = [];

interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly address: string;
  /** Everything printed so far. */
  readonly output: () => string;
}

interface CurlLine {
  readonly status: number;
  readonly why: string;
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
}

const start = (...args: readonly string[]) => startIn(state, ...args);

async function startIn(directory: string, ...args: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [SCRIPT, "--state", directory, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  started.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += chunk));
  const exited = once(child, "close").then(([code]) => code as number | null);
  const ready = new Promise<string>((resolve) => {
    child.stdout?.on("data", () => {
      const address = output.match(/Postern is ready on (http:\S+)/)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
  const address = await Promise.race([
    ready,
    exited.then((code) => Promise.reject(new Error(`exit code ${code}:\n${output}`))),
  ]);
  return { child, exited, address, output: () => output };
}

/** Takes a printed line apart as a shell would: words, and words in single quotes. */
function parseCurlLines(output: string): readonly CurlLine[] {
  return [...output.matchAll(/^# (\d{3}) {2}(.*)\ncurl (.*)$/gm)].map(
    ([, status = "", why = "", line = ""]) => {
      const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
      let method = "GET";
      const headers: (readonly [string, string])[] = [];
      let url = "";
      for (let at = 0; at < words.length; at += 1) {
        const word = words[at] ?? "";
        if (word === "-i") continue;
        if (word === "-X") method = words[++at] ?? "";
        else if (word === "-H") {
          const [name = "", value = ""] = (words[++at] ?? "").split(/: (.*)/);
          headers.push([name, value]);
        } else url = word;
      }
      return { status: Number(status), why, method, url, headers };
    },
  );
}

const request = ({ url, method, headers }: CurlLine) =>
  fetch(url, { method, headers: headers.map(([name, value]) => [name, value] as [string, string]) });

/** A command of the CLI, for a gateway on this machine whose token is among the local secrets. @returns its output */
async function postern(address: string, ...args: readonly string[]): Promise<string> {
  const command = [POSTERN, ...args, "--url", address, "--state", state];
  const { stdout } = await promisify(execFile)(process.execPath, command, {
    env: { ...process.env, POSTERN_TOKEN: undefined },
  });
  return stdout.trim();
}

function isListening(address: string): Promise<boolean> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** Process ids of everything below a process, from /proc. */
function descendants(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // Ended meanwhile.
    }
  }
  const children = [...parents].filter(([, parent]) => parent === pid).map(([child]) => child);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

const isAlive = (pid: number) => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

afterAll(() => {
  for (const child of started) child.kill("SIGKILL");
  rmSync(state, { recursive: true, force: true });
});

describe("npm start", () => {
  let firstLines: readonly CurlLine[] = [];
  let firstSecrets = "";

  it(
    "prints curl lines whose answers are what it says",
    async () => {
      const running = await start("--port", "0");
      firstLines = parseCurlLines(running.output());
      firstSecrets = readFileSync(join(state, ".dev.vars"), "utf8");

      expect(new Set(firstLines.map(({ status }) => status))).toEqual(new Set([200, 401, 403, 404]));
      for (const line of firstLines) {
        const response = await request(line);
        const body = (await response.json()) as Record<string, unknown>;
        expect({ why: line.why, status: response.status, body }).toMatchObject({ status: line.status });
        if (line.status === 401) expect(response.headers.get("www-authenticate")).toMatch(/^Bearer/);
      }

      const below = descendants(running.child.pid ?? 0);
      expect(below.length).toBeGreaterThan(1);
      running.child.kill("SIGINT");
      expect(await running.exited).toBe(0);
      expect(await isListening(running.address)).toBe(false);
      expect(below.filter(isAlive)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    "keeps data and credentials over a restart, and stores none of them in the clear",
    async () => {
      const running = await start("--port", "0");
      expect(readFileSync(join(state, ".dev.vars"), "utf8")).toBe(firstSecrets);
      expect(running.output()).not.toContain("seeded");
      expect(running.output()).not.toContain("had to be made anew");
      // The CLI finds it by itself, wherever it listens.
      expect(running.output()).toContain(`users list --realm demo --url ${running.address} --state ${state}`);
      const found = await runPostern(["realms", "list", "--state", state]);
      expect(found).toMatchObject({ status: 0, stderr: "" });

      const { origin } = new URL(running.address);
      const old = firstLines.filter(({ status, why }) => status === 200 && !why.includes("JWT"));
      for (const line of old) {
        const response = await request({ ...line, url: origin + new URL(line.url).pathname });
        expect({ why: line.why, status: response.status }).toEqual({ why: line.why, status: 200 });
        await response.body?.cancel();
      }

      const REALM = ["--realm", "demo"];
      await postern(origin, "users", "create", ...REALM, "--id", "8");
      const pat = await postern(origin, "pats", "create", ...REALM, "--user", "8", "--scope", "notes.read");
      const minted = await fetch(`${origin}/notes`, {
        headers: { authorization: `Bearer ${pat}`, "new-api-user": "8" },
      });
      expect(await minted.json()).toMatchObject({
        userContext: { sub: "8", auth: { scopes: ["notes.read"] } },
      });

      const files = readdirSync(state, { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      );
      const stored = files.map((file) => readFileSync(join(file.parentPath, file.name), "latin1")).join("\n");
      const secrets = [
        pat,
        ...old.flatMap(({ headers }) =>
          headers
            .filter(([name]) => name !== "New-Api-User")
            .map(([, value]) => value.split(/[ .]/).at(-1) ?? ""),
        ),
      ];
      expect(secrets.length).toBeGreaterThan(3);
      for (const secret of secrets) expect(stored.includes(secret)).toBe(false);

      const [wrangler = 0] = descendants(running.child.pid ?? 0);
      const below = descendants(running.child.pid ?? 0);
      process.kill(wrangler, "SIGKILL");
      expect(await running.exited).toBe(1);
      expect(running.output()).toContain("wrangler ended by itself");
      // Workerd is killed by then; when its port is free is the system's affair.
      await expect.poll(() => isListening(running.address), { timeout: 10_000 }).toBe(false);
      await expect.poll(() => below.filter(isAlive), { timeout: 10_000 }).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    "says what is dead when the secrets were lost and the data was not",
    async () => {
      rmSync(join(state, ".dev.vars"));
      const running = await start("--port", "0");
      expect(running.output()).toContain("POSTERN_TAG_SECRETS and POSTERN_PEPPERS had to be made anew");
      expect(running.output()).toContain(`rm -r ${join(state, "data")}`);
      running.child.kill("SIGINT");
      expect(await running.exited).toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    "refuses a port that is taken, and leaves nothing behind",
    async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      await expect(start("--port", String(port))).rejects.toThrow(`port ${port} is taken`);
      server.close();
    },
    TIMEOUT_MS,
  );
});

describe("a wrangler.toml that is edited while its gateway runs", () => {
  const OWN = `
name = "own"
main = ${JSON.stringify(fileURLToPath(new URL("../../src/index.ts", import.meta.url)))}
compatibility_date = "2026-11-01"
[vars.GATEWAY]
issuer = "http://127.0.0.1:8787"
environment = "development"
[vars.SITE_API]
origin = "echo"
users = "none"
revocation = "none"
user_context = { algorithm = "HS256", secret = "API_CONTEXT" }
jwt = { algorithms = ["HS256"], secret = "API_JWT", issuer = "x", audience = "api" }
routes = [{ path = "/health", auth = "none" }, { path = "/v1/*" }]
`;
  const directory = mkdtempSync(join(state, "edited-"));
  const file = join(directory, "wrangler.toml");
  const secret = () => randomBytes(48).toString("base64");
  writeFileSync(file, OWN);
  writeFileSync(join(directory, ".dev.vars"), `API_CONTEXT='${secret()}'\nAPI_JWT='${secret()}'\n`);

  /** As `sed -i` and many editors do it: the file is another one afterwards. */
  const replace = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };

  it(
    "is what counts, however it was written, and the terminal says so",
    async () => {
      const { child, address, output, exited } = await startIn(directory, "--config", file, "--port", "0");
      expect(output()).toContain(`curl -i ${address}/`);
      let seen = output().length;
      /** What is said of a change, once that is there. */
      const said = async (edit: () => void, text: string) => {
        seen = output().length;
        edit();
        const options = { timeout: 60_000, interval: 100 };
        await expect.poll(() => output().slice(seen), options).toContain(text);
      };
      const status = async (path: string) => (await fetch(address + path)).status;
      const edited = OWN.replace('"/health"', '"/healthy"');
      const inForce = "wrangler.toml changed, and is in force: 1 site, 2 routes";

      writeFileSync(file, OWN);
      await said(() => replace(edited), inForce);
      expect([await status("/health"), await status("/healthy")]).toEqual([404, 200]);
      await said(() => writeFileSync(file, OWN), inForce);
      expect([await status("/health"), await status("/healthy")]).toEqual([200, 404]);

      await said(() => replace(`${OWN}[oops`), "cannot be read: line 15, column 2");
      expect(output()).toContain("the policy of before still counts");
      expect(await status("/health")).toBe(200);

      const wrong = OWN.replace('"/v1/*"', '"/v1/*", auth = "opne"');
      await said(() => replace(wrong), "everything is answered with 503 until it is mended");
      expect(output()).toMatch(/changed, and is not valid:\n {2}SITE_API\.routes\[1\]\.auth: must be one of/);
      expect(await status("/health")).toBe(503);
      await expect.poll(output).toMatch(/^503 GET \/health {2}config_invalid/m);

      const gone = OWN.replace("src/index.ts", "src/none.ts");
      await said(() => replace(gone), "nothing is served until");
      await said(() => replace(OWN), inForce);
      expect(await status("/health")).toBe(200);

      const secretsFile = join(directory, ".dev.vars");
      const secrets = readFileSync(secretsFile, "utf8").replace(/^API_JWT=.*\n/m, "");
      await said(() => writeFileSync(secretsFile, secrets), "put `API_JWT=…` into");
      await said(
        () => writeFileSync(secretsFile, `${secrets}API_JWT='${secret()}'\n`),
        ".dev.vars changed, and is in force",
      );
      expect(await status("/health")).toBe(200);

      expect(output()).not.toContain("/_gateway/health");
      const below = descendants(child.pid ?? 0);
      child.kill("SIGINT");
      expect(await exited).toBe(0);
      expect(below.filter(isAlive)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Runs a command that ends by itself; `config` is a wrangler.toml of its own. */
function run(script: string, config: string | null, ...args: readonly string[]) {
  const directory = mkdtempSync(join(state, "run-"));
  const file = join(directory, "wrangler.toml");
  if (config !== null) writeFileSync(file, config);
  const own = config === null ? [] : ["--config", file, "--state", directory];
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...own, ...args], {
    encoding: "utf8",
  });
  expect(stderr).not.toMatch(/^ {4}at /m);
  return { status, stdout, stderr };
}

const INVALID = `
name = "invalid"
[[d1_databases]]
binding = "DB"
[vars.GATEWAY]
issuer = "http://127.0.0.1:8787"
environment = "development"
[vars.SITE_API]
origin = "echo"
routes = [{ path = "/a", role = "amdin" }, { path = "/b", auth = "open" }]
jwt = { algorithms = ["HS256"], secret = "API_JWT_SECRET", issuer = "x", audience = "api" }
`;

describe("npm start, called or configured wrongly", () => {
  it("prints every issue of an invalid configuration with its key, and where a missing secret goes", () => {
    const { status, stderr } = run(SCRIPT, INVALID, "--port", "0");
    expect(status).toBe(1);
    expect(stderr).toContain("wrangler.toml is not valid:");
    expect(stderr).toMatch(/^ {2}SITE_API\.routes\[0\]\.role: must be a step of the site/m);
    expect(stderr).toMatch(/^ {2}SITE_API\.routes\[1\]\.auth: must be one of/m);
    expect(stderr).toMatch(/^ {2}SITE_API\.jwt\S*: the Worker secret API_JWT_SECRET is missing/m);
    expect(stderr).toMatch(/^put `API_JWT_SECRET=…` into \S*\.dev\.vars$/m);
  });

  it("names line and column of what is no TOML", () => {
    const { status, stderr } = run(SCRIPT, "name = 'x'\n[vars\n");
    expect(status).toBe(1);
    expect(stderr).toMatch(/wrangler\.toml: line 2, column \d+: /);
  });

  it.each([[SCRIPT, "--prot", "--port"]])(
    "%s: answers 2 for an unknown flag, with the one that was meant, and 0 for --help",
    (script, flag, meant) => {
      const wrong = run(script, null, flag, "x");
      expect(wrong).toMatchObject({ status: 2, stdout: "" });
      expect(wrong.stderr).toContain(`unknown option ${flag}; did you mean ${meant}?\nusage: npm `);
      const help = run(script, null, "--help");
      expect(help).toMatchObject({ status: 0, stderr: "" });
      expect(help.stdout).toMatch(/^usage: npm /);
    },
  );
});
