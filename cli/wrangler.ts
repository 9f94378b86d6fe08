// Wrangler as a child process: kept to this machine, silent unless it fails, and gone with all it started when we are.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../node_modules/wrangler/bin/wrangler.js", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STOP_DEADLINE_MS = 5_000;
const MAX_KEPT_LINES = 500;

/** No usage data, no look-up of newer versions, no download of a sample `Request.cf`. */
const ENVIRONMENT = {
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_SEND_ERROR_REPORTS: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_WRITE_LOGS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
};

/** Also for `getPlatformProxy`, which runs in this very process. */
export function keepToThisMachine(): void {
  Object.assign(process.env, ENVIRONMENT);
}

export interface Wrangler {
  /** Everything it printed, the newest lines if there were many. */
  output(): string;
  /** Resolves when a line it prints matches; rejects when it ends before. */
  lineMatching(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Exit code, `null` when a signal ended it. Settles once wrangler is gone. */
  readonly exited: Promise<number | null>;
  /** Ends wrangler and workerd; settles when they are gone. */
  stop(): Promise<void>;
}

/** @param onLine gets every line as it is printed */
export function startWrangler(
  args: readonly string[],
  onLine: (line: string, stream: "stdout" | "stderr") => void = () => {},
): Wrangler {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...ENVIRONMENT, WRANGLER_LOG: "log" },
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own: wrangler starts workerd, and ending wrangler alone can leave workerd on the port.
    detached: true,
  });
  const endWithUs = () => signal(child, "SIGKILL");
  process.once("exit", endWithUs);
  child.once("exit", endWithUs); // whatever of the group outlived wrangler
  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  for (const stream of ["stdout", "stderr"] as const) {
    const input = child[stream];
    if (input === null) continue;
    createInterface({ input }).on("line", (line) => {
      lines.push(line);
      if (lines.length > MAX_KEPT_LINES) lines.shift();
      onLine(line, stream);
      for (const listener of listeners) listener(line);
    });
  }
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    // "close" comes after the last line was read, "exit" may come before.
    child.once("close", resolve);
  });
  const forget = () => process.off("exit", endWithUs);
  exited.then(forget, forget);

  return {
    output: () => lines.join("\n"),
    exited,
    lineMatching(pattern) {
      return new Promise((resolve, reject) => {
        const listener = (line: string) => {
          const match = line.match(pattern);
          if (match !== null) finish(() => resolve(match));
        };
        const finish = (settle: () => void) => {
          listeners.delete(listener);
          settle();
        };
        listeners.add(listener);
        exited.then(() => finish(() => reject(new Error("wrangler ended early"))), reject);
      });
    },
    async stop() {
      signal(child, "SIGTERM");
      const timer = setTimeout(() => signal(child, "SIGKILL"), STOP_DEADLINE_MS);
      await exited.catch(() => {});
      clearTimeout(timer);
    },
  };
}

/** Runs one wrangler command to its end. @throws with all it printed when it fails */
export async function runWrangler(args: readonly string[], isVerbose: boolean): Promise<void> {
  const wrangler = startWrangler(args, isVerbose ? (line) => console.log(line) : undefined);
  const code = await wrangler.exited;
  if (code !== 0) throw new Error(`wrangler ${args.join(" ")} failed:\n${wrangler.output()}`);
}

/** To the whole group. */
function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // Gone already.
  }
}
