// Conversation with the person at the terminal: questions, passwords, progress. All of it on standard error.
import { createInterface } from "node:readline/promises";
import { Failure, wrongUsage } from "./failure.ts";

const isInteractive = () => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** @throws Failure where the answer is not yes, or nobody can be asked and `--yes` was not given */
export async function confirm(question: string, isAgreed: boolean): Promise<void> {
  if (isAgreed) return;
  if (!isInteractive()) throw wrongUsage(`${question}: add --yes to do it without being asked`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question}. Go on? [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Failure("refused", "nothing was changed");
}

/**
 * A new password: the first line of standard input, or typed twice without echo.
 * @throws Failure
 */
export async function readNewPassword(isFromInput: boolean): Promise<string> {
  if (isFromInput) return firstLineOfInput();
  if (!isInteractive()) throw wrongUsage("a password is typed at a terminal, or read with --password-stdin");
  const password = await typeHidden("Password: ");
  if (password === "") throw new Failure("refused", "nothing was typed, and nothing was changed");
  if (password !== (await typeHidden("Once more: ")))
    throw new Failure("refused", "the two are not the same");
  return password;
}

const MAX_PASSWORD_LINE = 10_000;

/** The lines of standard input that are not empty. @throws Failure where there are none, or more than that */
export async function readLines(maxBytes: number): Promise<readonly string[]> {
  const text = await readInput(maxBytes + 1, () => false);
  if (Buffer.byteLength(text) > maxBytes) throw wrongUsage("there is too much on standard input");
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  if (lines.length === 0) throw wrongUsage("there is nothing on standard input");
  return lines;
}

/** Until it ends, a chunk is the last one wanted, or there are that many bytes. */
async function readInput(enoughBytes: number, isLast: (chunk: Buffer) => boolean): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (isLast(chunk) || size >= enoughBytes) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function firstLineOfInput(): Promise<string> {
  const text = await readInput(MAX_PASSWORD_LINE, (chunk) => chunk.includes(0x0a));
  const [line = ""] = text.split("\n", 1);
  const password = line.replace(/\r$/, "");
  if (password === "") throw wrongUsage("--password-stdin: there is nothing on standard input");
  return password;
}

function typeHidden(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  stdin.resume();
  return new Promise((resolve) => {
    let typed = "";
    const done = () => {
      stdin.off("data", onData);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write("\n");
    };
    const onData = (text: string | Buffer) => {
      for (const character of String(text)) {
        if (character === "\r" || character === "\n") {
          done();
          resolve(typed);
          return;
        }
        if (character === "\u0003") {
          done();
          process.exit(130);
        }
        if (character === "\u007f" || character === "\b") typed = [...typed].slice(0, -1).join("");
        else if (character >= " ") typed += character;
      }
    };
    stdin.on("data", onData);
  });
}

export interface Progress {
  /** @param done of `total` */
  at(done: number, total: number): void;
  /** For what has no known end. @param done `rows` so far */
  count(done: number, rows: string): void;
  end(): void;
}

const BAR_WIDTH = 30;
const TTY_EVERY_MS = 100;
const LINE_EVERY_MS = 5_000;

/** A bar that is drawn over, or where nobody watches a line every few seconds. */
export function createProgress(what: string): Progress {
  const isWatched = process.stderr.isTTY === true;
  const everyMs = isWatched ? TTY_EVERY_MS : LINE_EVERY_MS;
  let shownAtMs = isWatched ? 0 : Date.now();
  let isDrawn = false;
  /** Whether it is time to show something again. */
  const isDue = () => {
    const nowMs = Date.now();
    if (nowMs - shownAtMs < everyMs) return false;
    shownAtMs = nowMs;
    return true;
  };
  return {
    at(done, total) {
      if (!isDue()) return;
      const share = total === 0 ? 1 : Math.min(1, done / total);
      const percent = `${Math.floor(share * 100)}%`.padStart(4);
      if (!isWatched) {
        process.stderr.write(`${what}:${percent}\n`);
        return;
      }
      const full = Math.round(share * BAR_WIDTH);
      process.stderr.write(`\r${what} [${"#".repeat(full)}${" ".repeat(BAR_WIDTH - full)}]${percent}`);
      isDrawn = true;
    },
    count(done, rows) {
      if (!isDue()) return;
      process.stderr.write(`${isWatched ? "\r" : ""}${what}: ${done} ${rows}${isWatched ? "" : "\n"}`);
      isDrawn = isWatched;
    },
    end() {
      if (isDrawn) process.stderr.write("\r\u001b[K");
      isDrawn = false;
    },
  };
}
