// Where the records of an import come from. A source can be read from the beginning as often as need be, and says when
// it is no longer what it was.
import { createReadStream, type Stats, statSync } from "node:fs";
import { Failure } from "./failure.ts";

export interface Item {
  /** What `placeOf` makes words of. */
  readonly at: number;
  /** What stands there; `undefined` beside a problem. */
  readonly value?: unknown;
  /** Why nothing can be read there. Never repeats what stands there. */
  readonly problem?: string;
}

export interface Source {
  items(): AsyncIterable<Item>;
  /** `line 12` */
  placeOf(at: number): string;
  /** How much of it the present reading has covered, 0 to 1. */
  progress(): number;
  /** @throws Failure where it was changed since the source was made */
  demandUnchanged(): void;
  /** What was left out on purpose, in words. */
  leftOut(): readonly string[];
  close(): void;
}

const MAX_LINE_BYTES = 262_144;
const LF = 0x0a;

/** One JSON object a line. Empty lines are none. */
export function createLineSource(file: string): Source {
  const unchanged = createChangeGuard(file);
  let read = 0;
  return {
    async *items() {
      read = 0;
      let at = 0;
      for await (const line of linesOf(file, (bytes) => (read += bytes))) {
        at += 1;
        if (line === null) {
          yield { at, problem: `is longer than ${MAX_LINE_BYTES / 1_024} KB` };
          continue;
        }
        const item = readLine(line);
        if (item !== null) yield { at, ...item };
      }
    },
    placeOf: (at) => `line ${at}`,
    progress: () => (unchanged.size === 0 ? 1 : read / unchanged.size),
    demandUnchanged: unchanged.demand,
    leftOut: () => [],
    close: () => {},
  };
}

/** @throws Failure where the file cannot be read */
export function createChangeGuard(file: string): { readonly size: number; demand(): void } {
  const first = look(file);
  return {
    size: first.size,
    demand() {
      const now = look(file);
      if (now.size === first.size && now.mtimeMs === first.mtimeMs && now.ino === first.ino) return;
      throw new Failure("refused", `${file} was changed while it was read: run the import again`);
    },
  };
}

function look(file: string): Stats {
  try {
    const stats = statSync(file);
    if (stats.isFile()) return stats;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : error;
    throw new Failure(
      "refused",
      `${file} cannot be read: ${code === "ENOENT" ? "there is no such file" : code}`,
    );
  }
  throw new Failure("refused", `${file} cannot be read: it is no file`);
}

/** Split at line feeds only: JSON texts may hold U+2028. `null`: a line that is too long. */
async function* linesOf(file: string, onBytes: (count: number) => void): AsyncGenerator<Buffer | null> {
  let pieces: Buffer[] = [];
  let length = 0;
  const take = () => {
    const line = length > MAX_LINE_BYTES ? null : Buffer.concat(pieces);
    pieces = [];
    length = 0;
    return line;
  };
  const add = (piece: Buffer) => {
    length += piece.length;
    if (length <= MAX_LINE_BYTES) pieces.push(piece);
    else pieces = [];
  };
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    onBytes(chunk.length);
    let from = 0;
    for (let to = chunk.indexOf(LF); to !== -1; to = chunk.indexOf(LF, from)) {
      add(chunk.subarray(from, to));
      yield take();
      from = to + 1;
    }
    add(chunk.subarray(from));
  }
  if (length > 0) yield take();
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** `null`: an empty line. */
function readLine(line: Buffer): Omit<Item, "at"> | null {
  let text: string;
  try {
    text = utf8.decode(line).trimEnd();
  } catch {
    return { problem: "is not UTF-8" };
  }
  if (text === "") return null;
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? { value } : { problem: "must be a JSON object" };
  } catch (error) {
    return { problem: `is not JSON${placeOfError(error, text)}` };
  }
}

/** Where the parser stopped, as far as it says. Nothing else of its message: that repeats what stands there. */
function placeOfError(error: unknown, text: string): string {
  const message = error instanceof Error ? error.message : "";
  const [, position] = / in JSON at position (\d+)(?: \(line \d+ column \d+\))?$/.exec(message) ?? [];
  const isCutOff =
    position === undefined ? /^Unexpected end of JSON/.test(message) : +position >= text.length;
  if (isCutOff) return ": it ends too early";
  return position === undefined ? "" : `: see column ${+position + 1}`;
}
