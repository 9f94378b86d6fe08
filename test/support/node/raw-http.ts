// An HTTP/1.1 client that sends what it is told, byte for byte, and says what came back.
import { connect } from "node:net";

const CRLF = "\r\n";

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case; of repeated ones the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface RawExchange {
  /** Final answers in order; informational ones (1xx) are left out. */
  readonly answers: readonly RawAnswer[];
  /** `closed`: by the other side. `answered`: it kept the connection. `late`: neither came within the deadline. */
  readonly end: "closed" | "answered" | "late";
}

export interface RawOptions {
  readonly deadlineMs?: number;
  /** How many answers to wait for; unless the other side closes before. */
  readonly answers?: number;
}

/** Header lines with the blank line after them. Nothing is checked: latin1 characters are bytes. */
export function rawRequest(
  requestLine: string,
  headers: readonly string[],
  body: Buffer | string = "",
): Buffer {
  const head = Buffer.from([requestLine, ...headers, "", ""].join(CRLF), "latin1");
  return Buffer.concat([head, Buffer.from(body)]);
}

/** Sends bytes over a connection of their own. Never rejects: a broken connection is an answer, too. */
export function exchange(
  port: number,
  bytes: Buffer,
  { deadlineMs = 5_000, answers: wanted = 1 }: RawOptions = {},
): Promise<RawExchange> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const isHead = bytes.subarray(0, 5).toString("latin1") === "HEAD ";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const timer = setTimeout(() => finish("late"), deadlineMs);
    const finish = (end: RawExchange["end"]) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ answers: parseAnswers(received, isHead, end === "closed"), end });
    };
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (parseAnswers(received, isHead, false).length >= wanted) finish("answered");
    });
    socket.once("close", () => finish("closed"));
    socket.on("error", () => finish("closed"));
  });
}

/** All answers that are whole by now. */
function parseAnswers(received: Buffer, isHead: boolean, isClosed: boolean): readonly RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let at = 0; at < received.length; ) {
    const end = received.indexOf(CRLF + CRLF, at);
    if (end === -1) break;
    const [statusLine = "", ...lines] = received.subarray(at, end).toString("latin1").split(CRLF);
    const status = Number(statusLine.split(" ")[1]);
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    at = end + 4;
    if (status < 200) continue;
    const isBare = isHead || status === 204 || status === 304;
    const body = isBare ? { text: "", end: at } : bodyAt(received, at, headers, isClosed);
    if (body === null) break;
    answers.push({ status, headers, body: body.text });
    at = body.end;
  }
  return answers;
}

interface Body {
  readonly text: string;
  readonly end: number;
}

function bodyAt(
  received: Buffer,
  start: number,
  headers: ReadonlyMap<string, string>,
  isClosed: boolean,
): Body | null {
  if (headers.get("transfer-encoding") === "chunked") return chunkedBodyAt(received, start);
  const length = headers.get("content-length");
  if (length === undefined && !isClosed) return null;
  const end = length === undefined ? received.length : start + Number(length);
  return end > received.length ? null : { text: received.subarray(start, end).toString(), end };
}

function chunkedBodyAt(received: Buffer, start: number): Body | null {
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = received.indexOf(CRLF, at);
    if (lineEnd === -1) return null;
    const size = Number.parseInt(received.subarray(at, lineEnd).toString("latin1"), 16);
    const chunkEnd = lineEnd + 2 + size;
    if (chunkEnd + 2 > received.length) return null;
    at = chunkEnd + 2;
    if (size === 0) return { text: Buffer.concat(chunks).toString(), end: at };
    chunks.push(received.subarray(lineEnd + 2, chunkEnd));
  }
}
