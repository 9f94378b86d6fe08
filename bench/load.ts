// The load: a few keep-alive connections that each send a request, wait for the whole answer, and send the next.
import { connect, type Socket } from "node:net";

export interface LoadOptions {
  readonly connections: number;
  readonly milliseconds: number;
  /** Uncounted load before that: the first requests of a slice open connections to the origin. */
  readonly leadInMs: number;
  /** Runs in between: the connections stand, the contestant is at work, nothing is counted yet. */
  readonly onReady: () => void;
}

/**
 * Keeps `connections` requests under way for `milliseconds`, then lets them finish. The requests are sent in turn.
 *
 * @returns how many requests were answered after that
 * @throws when an answer is not 200: a refusal must not be taken for a fast request
 */
export async function applyLoad(port: number, requests: () => Buffer, options: LoadOptions): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: options.connections }, () => open(port)));
  try {
    if (options.leadInMs > 0) await run(sockets, requests, options.leadInMs);
    options.onReady();
    return await run(sockets, requests, options.milliseconds);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

/** Sends the given requests in turn, over and over. */
export function inTurn(requests: readonly Buffer[]): () => Buffer {
  let next = 0;
  return () => {
    const request = requests[next];
    if (request === undefined) throw new Error("no requests");
    next = next + 1 === requests.length ? 0 : next + 1;
    return request;
  };
}

async function run(
  sockets: readonly Socket[],
  requests: () => Buffer,
  milliseconds: number,
): Promise<number> {
  const endsAt = performance.now() + milliseconds;
  const counts = await Promise.all(sockets.map((socket) => runOne(socket, requests, endsAt)));
  return counts.reduce((sum, count) => sum + count, 0);
}

function runOne(socket: Socket, requests: () => Buffer, endsAt: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answered = 0;
    let pending = "";
    const settle = (error: Error | null) => {
      socket.removeAllListeners();
      // A socket that breaks between rounds is noticed by the next one.
      socket.on("error", () => {});
      if (error === null) resolve(answered);
      else reject(error);
    };
    socket.on("data", (chunk) => {
      pending += chunk.toString("latin1");
      if (!isComplete(pending)) return;
      if (!pending.startsWith("HTTP/1.1 200 ")) return settle(new Error(`not 200:\n${pending}`));
      pending = "";
      answered += 1;
      if (performance.now() < endsAt) socket.write(requests());
      else settle(null);
    });
    socket.once("error", settle);
    socket.once("close", () => settle(new Error("the contestant closed a connection")));
    socket.write(requests());
  });
}

/** Answers here are short and always carry their length. */
function isComplete(answer: string): boolean {
  const headEnd = answer.indexOf("\r\n\r\n");
  if (headEnd === -1) return false;
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(answer.slice(0, headEnd + 2));
  if (length === null) throw new Error(`an answer without length:\n${answer}`);
  return answer.length >= headEnd + 4 + Number(length[1]);
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.once("connect", () => {
      socket.removeAllListeners();
      resolve(socket);
    });
    socket.once("error", reject);
  });
}
