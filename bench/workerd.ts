// Contestants: each one is a bare `workerd serve` process of its own, with nothing but its bundle in it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

const { default: workerdPath } = createRequire(import.meta.url)("workerd") as { readonly default: string };

export interface Contestant {
  readonly pid: number;
  readonly port: number;
}

export interface ContestantOptions {
  /** What `wrangler deploy --dry-run --outdir` left, `index.js` or the like being the entry. */
  readonly bundle: string;
  readonly entry: string;
  readonly compatibilityDate: string;
  /** Objects become JSON bindings, as `[vars]` tables do; strings become text, as secrets do. */
  readonly vars: Readonly<Record<string, unknown>>;
  /** Port of the process that answers for D1 (`DB`) and KV (`KV`); `null`: neither is bound. */
  readonly storePort: number | null;
  /** For the generated configuration; made if it is not there. */
  readonly directory: string;
}

const started = new Set<ChildProcess>();
process.on("exit", stopAll);

/** Starts a process and resolves when it listens. It is stopped with `stop`, or when this process ends. */
export async function startContestant(options: ContestantOptions): Promise<Contestant> {
  mkdirSync(options.directory, { recursive: true });
  const configPath = join(options.directory, "config.capnp");
  writeFileSync(configPath, capnp(options));
  const args = ["serve", "--experimental", "--control-fd=3", configPath];
  // The log goes where it costs no more than writing it.
  const child = spawn(workerdPath, args, { stdio: ["ignore", "ignore", "pipe", "pipe"] });
  return await listening(child, 3, (line) => {
    const message = JSON.parse(line) as { event: string; socket?: string; port?: number };
    return message.event === "listen" && message.socket === "http" ? (message.port ?? null) : null;
  });
}

/** Starts a Node program that writes its port to its standard output, on a line of its own. */
export async function startNode(script: string, args: readonly string[]): Promise<Contestant> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  return await listening(child, 1, Number);
}

/** Ends one process, and only one that was started here. */
export async function stop({ pid }: Contestant): Promise<void> {
  for (const child of started) {
    if (child.pid !== pid) continue;
    started.delete(child);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    await ended;
  }
}

export function stopAll(): void {
  for (const child of started) child.kill();
  started.clear();
}

/** CPU time a process has used in all its threads since it started, nanoseconds. Linux only. */
export function cpuNanoseconds(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [onCpu] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ", 1);
    total += Number(onCpu);
  }
  return total;
}

function listening(
  child: ChildProcess,
  descriptor: number,
  portOf: (line: string) => number | null,
): Promise<Contestant> {
  started.add(child);
  return new Promise((resolve, reject) => {
    let errors = "";
    let pending = "";
    child.stderr?.on("data", (chunk) => {
      errors = (errors + chunk).slice(-4_000);
    });
    child.stdio[descriptor]?.on("data", (chunk) => {
      const lines = `${pending}${chunk}`.split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) {
        const port = portOf(line);
        if (port !== null && child.pid !== undefined) resolve({ pid: child.pid, port });
      }
    });
    child.once("error", reject);
    child.once("exit", (code) => {
      reject(new Error(`${child.spawnargs.join(" ")} ended with ${code}\n${errors}`));
    });
  });
}

function capnp(options: ContestantOptions): string {
  const { bundle, entry, compatibilityDate, vars, storePort, directory } = options;
  const modules = moduleFiles(bundle, entry).map(
    (name) => `(name = ${text(name)}, esModule = embed ${text(relative(directory, join(bundle, name)))})`,
  );
  const bindings = Object.entries(vars).map(([name, value]) =>
    typeof value === "string"
      ? `(name = ${text(name)}, text = ${text(value)})`
      : `(name = ${text(name)}, json = ${text(JSON.stringify(value))})`,
  );
  const services = [
    `(name = "main", worker = .main)`,
    `(name = "internet", network = (allow = ["public", "private"]))`,
  ];
  if (storePort !== null) {
    services.push(`(name = "store", external = (address = "127.0.0.1:${storePort}", http = ()))`);
    bindings.push(
      `(name = "DB", wrapped = (moduleName = "cloudflare-internal:d1-api", innerBindings = [(name = "fetcher", service = "store")]))`,
      `(name = "KV", kvNamespace = "store")`,
    );
  }
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [${services.join(", ")}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  compatibilityDate = ${text(compatibilityDate)},
  modules = [${modules.join(", ")}],
  bindings = [${bindings.join(",\n    ")}],
);
`;
}

/** The entry first, as workerd wants it. */
export function moduleFiles(bundle: string, entry: string): readonly string[] {
  const files = readdirSync(bundle, { recursive: true, encoding: "utf8" });
  const others = files.filter((name) => /\.m?js$/.test(name) && name !== entry).sort();
  return [entry, ...others];
}

/** ASCII only: capnp knows `\x..` and no `\u....`. */
function text(value: string): string {
  const bytes = Buffer.from(value, "utf8");
  let quoted = '"';
  for (const byte of bytes) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    quoted += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `${quoted}"`;
}
