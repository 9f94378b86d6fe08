// What is long or never ends passes through `wrangler dev` as it comes: uploads, downloads, events, sockets. No test
// here measures time: the next part is sent only when the one before has been seen at the other end.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setInterval as ticks } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type GuardedSite, startGuardedSite } from "../support/node/guarded-site.ts";
import { open, send } from "../support/node/http-client.ts";
import { residentBytes } from "../support/node/process-group.ts";

const MEBIBYTE = 1 << 20;
const GIBIBYTE = 1 << 30;
/** A buffered body would be ten times as much. */
const MAX_GROWTH_BYTES = 100 * MEBIBYTE;
const SAMPLE_INTERVAL_MS = 50;
const TRANSFER_DEADLINE_MS = 240_000;

let site: GuardedSite;
let headers: Readonly<Record<string, string>>;
const events = new Map<string, (response: ServerResponse) => void>();
/** Connections of clients that went away, by path. */
const abandoned = new Map<string, () => void>();

beforeAll(async () => {
  site = await startGuardedSite((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://origin");
    if (pathname === "/things/upload") return sum(request).then((seen) => response.end(JSON.stringify(seen)));
    if (pathname === "/things/download") return pour(response, Number(searchParams.get("bytes")));
    if (pathname === "/things/events") return emitEvents(response);
    if (pathname === "/things/confirm") return confirm(searchParams.get("event") ?? "", response);
    if (pathname === "/things/echo") return response.writeHead(200) && request.pipe(response);
    return waitForGoodbye(pathname, request, response);
  });
  headers = { authorization: `Bearer ${site.mint.apiKey.user}` };
  acceptSockets();
});
afterAll(async () => {
  await site?.stop();
});

interface Seen {
  readonly bytes: number;
  readonly sha256: string;
}

/** No two blocks of a stream are alike, so that none can be lost, doubled or swapped unnoticed. */
function* blocks(bytes: number): Generator<Buffer> {
  const noise = randomBytes(MEBIBYTE);
  for (let at = 0; at < bytes; at += MEBIBYTE) {
    const block = Buffer.from(noise);
    block.writeDoubleBE(at);
    yield block;
  }
}

/** Writes no faster than it is read. */
async function write(to: NodeJS.WritableStream, bytes: number): Promise<Seen> {
  const hash = createHash("sha256");
  for (const block of blocks(bytes)) {
    hash.update(block);
    if (!to.write(block)) await once(to, "drain");
  }
  to.end();
  return { bytes, sha256: hash.digest("hex") };
}

async function sum(from: AsyncIterable<Buffer>): Promise<Seen> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of from) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

let poured: Seen | null = null;

async function pour(response: ServerResponse, bytes: number): Promise<void> {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
  poured = await write(response, bytes);
}

/** Most that any workerd of `wrangler dev` has grown by while `work` went on, bytes. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  const before = new Map(site.dev.process.pids("workerd").map((pid) => [pid, residentBytes(pid)]));
  expect(before.size).toBeGreaterThan(0);
  let most = 0;
  const sample = () => {
    for (const [pid, bytes] of before) most = Math.max(most, residentBytes(pid) - bytes);
  };
  const stopped = new AbortController();
  const sampling = (async () => {
    for await (const _ of ticks(SAMPLE_INTERVAL_MS, null, { signal: stopped.signal })) sample();
  })().catch(() => {});
  try {
    await work();
    sample();
  } finally {
    stopped.abort();
    await sampling;
  }
  return most;
}

describe("1 GiB passes with flat memory", () => {
  async function upload(bytes: number): Promise<void> {
    const url = `${site.dev.address}/things/upload`;
    const length = { "content-length": String(bytes) };
    const { sending, answered } = open(url, { method: "POST", headers: { ...headers, ...length } });
    const sent = await write(sending, bytes);
    const response = await answered;
    expect(response.statusCode).toBe(200);
    const [body] = await response.toArray();
    expect(JSON.parse(String(body))).toEqual(sent);
  }

  async function download(bytes: number): Promise<void> {
    const { sending, answered } = open(`${site.dev.address}/things/download?bytes=${bytes}`, { headers });
    sending.end();
    const response = await answered;
    expect([response.statusCode, response.headers["content-length"]]).toEqual([200, String(bytes)]);
    expect(await sum(response)).toEqual(poured);
  }

  it.each([
    ["up", upload],
    ["down", download],
  ])(
    "%s: every byte in its place",
    async (_, transfer) => {
      await transfer(16 * MEBIBYTE); // what is loaded once, is loaded
      const growth = await growthDuring(() => transfer(GIBIBYTE));
      expect(growth).toBeLessThan(MAX_GROWTH_BYTES);
    },
    TRANSFER_DEADLINE_MS,
  );
});

const EVENTS = 5;

/** Sends the next event when the one before has been confirmed by another request. */
async function emitEvents(response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  for (let event = 1; event <= EVENTS; event++) {
    const confirmed = new Promise<ServerResponse>((resolve) => events.set(String(event), resolve));
    response.write(`data: ${event}\n\n`);
    (await confirmed).writeHead(204).end();
  }
  response.end();
}

function confirm(event: string, response: ServerResponse): void {
  const resolve = events.get(event);
  if (resolve === undefined) response.writeHead(409).end();
  else resolve(response);
}

async function nextText(response: AsyncIterator<Buffer>): Promise<string> {
  const { value } = await response.next();
  return String(value);
}

describe("parts arrive one by one", () => {
  it("events of a stream, each before the next one is sent (server-sent events)", async () => {
    const { sending, answered } = open(`${site.dev.address}/things/events`, { headers });
    sending.end();
    const response = await answered;
    expect(response.headers["content-type"]).toBe("text/event-stream");
    const stream = response[Symbol.asyncIterator]();
    for (let event = 1; event <= EVENTS; event++) {
      expect(await nextText(stream)).toBe(`data: ${event}\n\n`);
      const confirmation = `${site.dev.address}/things/confirm?event=${event}`;
      expect((await send(confirmation, { method: "POST", headers })).status).toBe(204);
    }
    expect((await stream.next()).done).toBe(true);
  });

  it("an answer begins before its request ends, and the two go on side by side", async () => {
    const { sending, answered } = open(`${site.dev.address}/things/echo`, {
      method: "POST",
      headers: { ...headers, "transfer-encoding": "chunked" },
    });
    sending.write("one");
    const stream = (await answered)[Symbol.asyncIterator]();
    expect(await nextText(stream)).toBe("one");
    for (const part of ["two", "three"]) {
      sending.write(part);
      expect(await nextText(stream)).toBe(part);
    }
    sending.end();
    expect((await stream.next()).done).toBe(true);
  });
});

/** Begins an answer and never ends it by itself; says when the other side has gone. */
function waitForGoodbye(path: string, request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  response.writeHead(200).write("begun");
  const more = setInterval(() => response.write("more"), 20);
  response.once("close", () => {
    clearInterval(more);
    abandoned.get(path)?.();
  });
}

describe("who goes away is gone at the origin, too", () => {
  it("a client that stops reading an answer", async () => {
    const gone = new Promise<void>((resolve) => abandoned.set("/things/endless", resolve));
    const { sending, answered } = open(`${site.dev.address}/things/endless`, { headers });
    sending.end();
    const response = await answered;
    expect(await nextText(response[Symbol.asyncIterator]())).toMatch(/^begun/);
    sending.destroy();
    await gone;
  });

  it("a client that breaks its upload off", async () => {
    const gone = new Promise<void>((resolve) => abandoned.set("/things/half", resolve));
    const { sending, answered } = open(`${site.dev.address}/things/half`, {
      method: "PUT",
      headers: { ...headers, "content-length": "1000" },
    });
    sending.write("half");
    await answered;
    sending.destroy();
    await gone;
  });
});

let upgrades = 0;

/** Echoes, as what it came; accepts only what was allowed at the gateway. */
function acceptSockets(): void {
  const sockets = new WebSocketServer({ noServer: true });
  sockets.on("connection", (socket: WebSocket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on("close", (code, reason) => lastClose.push([code, String(reason)]));
  });
  site.origin.server.on("upgrade", async (request, socket, head) => {
    upgrades += 1;
    const claims = await site.origin.verify(request).catch(() => null);
    if (claims?.sub !== "7") socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    else sockets.handleUpgrade(request, socket, head, (accepted) => sockets.emit("connection", accepted));
  });
}

const lastClose: (readonly [number, string])[] = [];

describe("a WebSocket (RFC 6455)", () => {
  const connect = (path: string, options: { headers?: Readonly<Record<string, string>> } = {}) =>
    new WebSocket(`${site.dev.address.replace("http", "ws")}${path}`, ["chat"], options);

  it("echoes text and bytes through a route that wants a credential, and ends as it was ended", async () => {
    const socket = connect("/things/socket", { headers });
    await once(socket, "open");
    const bytes = randomBytes(256 * 1_024);
    for (const message of ["text ✓", "", bytes]) {
      socket.send(message);
      const [data, isBinary] = await once(socket, "message");
      expect([isBinary, Buffer.from(message).equals(data)]).toEqual([typeof message !== "string", true]);
    }
    socket.close(4_001, "enough");
    const [code] = await once(socket, "close");
    expect(code).toBe(4_001);
    await expect.poll(() => lastClose).toEqual([[4_001, "enough"]]);
  });

  it.each<[string, Readonly<Record<string, string>>, number]>([
    ["nothing", {}, 401],
    ["garbage", { authorization: "Bearer garbage" }, 401],
    ["a forged user context", { "x-user-context": "forged" }, 401],
  ])("is refused before the origin to who presents %s", async (_, forged, status) => {
    const before = upgrades;
    const socket = connect("/things/socket", { headers: forged });
    const [, response] = await once(socket, "unexpected-response");
    expect([response.statusCode, upgrades]).toEqual([status, before]);
    socket.on("error", () => {});
    socket.terminate();
  });

  it("is refused to a user where an admin is asked for", async () => {
    const before = upgrades;
    const socket = connect("/admin/socket", { headers });
    const [, response] = await once(socket, "unexpected-response");
    expect([response.statusCode, upgrades]).toEqual([403, before]);
    socket.on("error", () => {});
    socket.terminate();
  });
});
