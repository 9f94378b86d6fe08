// The Worker as it is deployed, under `workerd serve` alone: nothing mends a request before the gateway sees it.
import { execFile } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "smol-toml";
import { keepToThisMachine } from "../../../cli/wrangler.ts";
import type { RequestLine } from "../../../src/log.ts";
import { type ProcessGroup, startProcess } from "./process-group.ts";
import { COMPATIBILITY_DATE, ROOT, WRANGLER } from "./project.ts";
import { makeScratch } from "./scratch.ts";

const { default: WORKERD } = createRequire(import.meta.url)("workerd") as { readonly default: string };
const READY_DEADLINE_MS = 60_000;
const LOG_DEADLINE_MS = 10_000;

export interface BareWorkerd {
  readonly port: number;
  readonly process: ProcessGroup;
  /** What the gateway logged of a request, waiting for it if need be. */
  logged(requestId: string): Promise<RequestLine>;
  stop(): Promise<void>;
}

export interface BareOptions {
  /** The Worker's entry, relative to the project. */
  readonly entry: string;
  /** Objects become JSON bindings, as `[vars]` tables do; strings become text, as secrets do. */
  readonly vars: Readonly<Record<string, unknown>>;
  /** HTTP servers of this machine by the name of their service binding. */
  readonly services?: Readonly<Record<string, number>>;
}

/** Bundles the entry as `wrangler deploy` would, and serves it. No D1, no KV. */
export async function startBareWorkerd({ entry, vars, services = {} }: BareOptions): Promise<BareWorkerd> {
  const { directory, remove } = makeScratch("bare");
  const log = new Map<string, RequestLine>();
  const waiting = new Map<string, (line: RequestLine) => void>();
  const onLine = (text: string) => {
    const line = requestLine(text);
    if (line === null) return;
    log.set(line.requestId, line);
    waiting.get(line.requestId)?.(line);
  };
  let started: ProcessGroup | null = null;
  const stop = async () => {
    await started?.stop();
    remove();
  };
  try {
    await bundle(join(ROOT, entry), directory);
    const config = join(directory, "config.capnp");
    writeFileSync(config, capnp(basename(entry, ".ts"), directory, vars, services));
    started = startProcess(WORKERD, ["serve", "--control-fd=3", config], { directory, onLine });
    const [, port] = await started.lineMatching(
      /^\{"event":"listen","socket":"http","port":(\d+)\}$/,
      READY_DEADLINE_MS,
    );
    return {
      port: Number(port),
      process: started,
      logged(requestId) {
        const line = log.get(requestId);
        if (line !== undefined) return Promise.resolve(line);
        return new Promise((resolve, reject) => {
          const timer = setTimeout(
            () => reject(new Error(`nothing in the log about ${requestId}`)),
            LOG_DEADLINE_MS,
          );
          waiting.set(requestId, (found) => {
            clearTimeout(timer);
            resolve(found);
          });
        });
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function bundle(entry: string, directory: string): Promise<void> {
  keepToThisMachine();
  const config = join(directory, "wrangler.toml");
  writeFileSync(
    config,
    stringify({ name: "bare", main: entry, compatibility_date: COMPATIBILITY_DATE, send_metrics: false }),
  );
  const out = join(directory, "bundle");
  const args = [WRANGLER, "deploy", "--config", config, "--dry-run", "--outdir", out];
  await promisify(execFile)(process.execPath, args, { cwd: directory });
}

function requestLine(text: string): RequestLine | null {
  if (!text.startsWith("{") || !text.includes('"requestId"')) return null;
  return JSON.parse(text) as RequestLine;
}

function capnp(
  entry: string,
  directory: string,
  vars: Readonly<Record<string, unknown>>,
  servers: Readonly<Record<string, number>>,
): string {
  const main = `${entry}.js`;
  const others = readdirSync(join(directory, "bundle")).filter(
    (name) => /\.m?js$/.test(name) && name !== main,
  );
  const modules = [main, ...others].map(
    (name) => `(name = ${text(name)}, esModule = embed ${text(`bundle/${name}`)})`,
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
  for (const [name, port] of Object.entries(servers)) {
    services.push(`(name = ${text(name)}, external = (address = "127.0.0.1:${port}", http = ()))`);
    bindings.push(`(name = ${text(name)}, service = ${text(name)})`);
  }
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [${services.join(", ")}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  modules = [${modules.join(", ")}],
  bindings = [${bindings.join(",\n    ")}],
);
`;
}

/** ASCII only: capnp knows `\x..` and no `\u....`. */
function text(value: string): string {
  let quoted = '"';
  for (const byte of Buffer.from(value, "utf8")) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    quoted += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `${quoted}"`;
}
