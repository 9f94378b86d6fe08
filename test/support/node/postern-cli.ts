// The CLI as a script runs it, and a proxy before the gateway that can go wrong.
import { spawn } from "node:child_process";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { ROOT } from "./project.ts";
import { close, listen } from "./recording-origin.ts";

const SCRIPT = join(ROOT, "cli/postern.ts");

export interface Finished {
  /** `null`: a signal ended it. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Beside our own, which has no POSTERN_… in it. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Ends it with SIGKILL. */
  readonly signal?: AbortSignal;
  /** Ctrl-C. */
  readonly interrupt?: AbortSignal;
}

export function runPostern(
  args: readonly string[],
  { environment = {}, input = "", signal, interrupt }: RunOptions = {},
): Promise<Finished> {
  const { POSTERN_URL: _url, POSTERN_TOKEN: _token, ...own } = process.env;
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", SCRIPT, ...args], {
    env: { ...own, ...environment },
  });
  signal?.addEventListener("abort", () => child.kill("SIGKILL"), { once: true });
  interrupt?.addEventListener("abort", () => child.kill("SIGINT"), { once: true });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => {}); // whoever does not read it may be gone
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
}

export interface Proxy {
  readonly address: string;
  close(): Promise<void>;
}

/**
 * @param meddle answers itself, or leaves the request to the gateway by returning `false`; gets the number of the request
 */
export async function startProxy(
  gateway: string,
  meddle: (request: IncomingMessage, response: ServerResponse, number: number) => boolean,
): Promise<Proxy> {
  let number = 0;
  const { server, port } = await listen(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    number += 1;
    if (meddle(request, response, number)) return;
    const answer = await fetch(gateway + request.url, {
      method: request.method ?? "GET",
      headers: {
        authorization: request.headers.authorization ?? "",
        "content-type": request.headers["content-type"] ?? "",
      },
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  return { address: `http://127.0.0.1:${port}`, close: () => close(server) };
}
