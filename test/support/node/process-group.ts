// Programs under test: each one in a process group of its own, and gone with all it started when we are.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

const STOP_DEADLINE_MS = 5_000;
const MAX_KEPT_LINES = 400;

export interface ProcessGroup {
  /** Everything printed so far, the newest lines if there were many. */
  output(): string;
  /** Resolves with the first match in a line still to come; rejects when the program ends before, or too late. */
  lineMatching(pattern: RegExp, deadlineMs: number): Promise<RegExpMatchArray>;
  /** Ids of the group's living processes whose program has that name. */
  pids(program: string): readonly number[];
  /** Settles when every process of the group is gone. */
  stop(): Promise<void>;
  /** The same, at once: nobody gets to finish anything. */
  kill(): Promise<void>;
}

export interface ProcessOptions {
  readonly directory: string;
  /** Beside our own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Gets every line of standard output, error and descriptor 3. */
  readonly onLine?: (line: string) => void;
}

export function startProcess(
  program: string,
  args: readonly string[],
  { directory, environment, onLine }: ProcessOptions,
): ProcessGroup {
  const child = spawn(program, args, {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    detached: true, // a group of its own: wrangler starts workerd, and ending wrangler alone can leave that behind
  });
  const group = child.pid ?? 0;
  const kill = (signal: NodeJS.Signals) => {
    try {
      if (group !== 0) process.kill(-group, signal);
    } catch {
      // Gone already.
    }
  };
  const endWithUs = () => kill("SIGKILL");
  process.once("exit", endWithUs);

  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  if (onLine !== undefined) listeners.add(onLine);
  for (const descriptor of [1, 2, 3]) {
    createInterface({ input: child.stdio[descriptor] as Readable }).on("line", (line) => {
      lines.push(line);
      if (lines.length > MAX_KEPT_LINES) lines.shift();
      for (const listener of listeners) listener(line);
    });
  }
  const output = () => lines.join("\n");
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(`ended with ${code ?? signal}`));
  });
  void exited.then(endWithUs); // whatever of the group outlived its leader

  return {
    output,

    lineMatching(pattern, deadlineMs) {
      return new Promise((resolve, reject) => {
        const fail = (why: string) =>
          finish(() => reject(new Error(`${program} ${args.join(" ")}: ${why}\n${output()}`)));
        const timer = setTimeout(() => fail(`no ${pattern} within ${deadlineMs} ms`), deadlineMs);
        const listener = (line: string) => {
          const match = line.match(pattern);
          if (match !== null) finish(() => resolve(match));
        };
        const finish = (settle: () => void) => {
          clearTimeout(timer);
          listeners.delete(listener);
          settle();
        };
        listeners.add(listener);
        void exited.then(fail);
      });
    },

    pids: (name) => processes().flatMap((known) => (isOf(known, group, name) ? [known.pid] : [])),

    async stop() {
      kill("SIGTERM");
      const timer = setTimeout(() => kill("SIGKILL"), STOP_DEADLINE_MS);
      await exited;
      clearTimeout(timer);
      kill("SIGKILL");
      process.off("exit", endWithUs);
    },

    async kill() {
      kill("SIGKILL");
      await exited;
      process.off("exit", endWithUs);
    },
  };
}

/** Resident memory of a process now, bytes. Linux only. @throws when the process is gone */
export function residentBytes(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, "utf8").match(/^VmRSS:\s+(\d+) kB$/m) ?? [];
  if (kilobytes === undefined) throw new Error(`process ${pid} is gone`);
  return Number(kilobytes) * 1_024;
}

interface Known {
  readonly pid: number;
  readonly program: string;
  readonly group: number;
}

const isOf = (known: Known, group: number, program: string) =>
  known.group === group && known.program === program;

function processes(): readonly Known[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      // "pid (program) state parent group …", where the program's name may itself contain blanks and brackets.
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const end = stat.lastIndexOf(")");
      const [, , group] = stat.slice(end + 2).split(" ");
      const program = stat.slice(stat.indexOf("(") + 1, end);
      return [{ pid: Number(name), program, group: Number(group) }];
    } catch {
      return []; // Ended meanwhile.
    }
  });
}
