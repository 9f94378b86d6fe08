// Where the gateway of this machine listens, as `npm start` leaves it beside its data for the CLI to find.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";

const Note = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ url: v.pipe(v.string(), v.url()), pid: v.pipe(v.number(), v.integer(), v.minValue(1)) }),
);

const fileIn = (dataDirectory: string) => join(dataDirectory, "listening.json");

/** Says that this process has a gateway there, until the process ends. */
export function noteListening(dataDirectory: string, url: string): void {
  writeFileSync(fileIn(dataDirectory), `${JSON.stringify({ url, pid: process.pid })}\n`);
  process.once("exit", () => {
    if (read(dataDirectory)?.pid === process.pid) rmSync(fileIn(dataDirectory), { force: true });
  });
}

/** @returns `null` where no `npm start` with this data is running: a note of a process that is gone counts for nothing */
export function listeningAt(dataDirectory: string): string | null {
  const note = read(dataDirectory);
  return note !== null && isAlive(note.pid) ? note.url : null;
}

function read(dataDirectory: string): v.InferOutput<typeof Note> | null {
  try {
    const parsed = v.safeParse(Note, readFileSync(fileIn(dataDirectory), "utf8"));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process cannot be signalled, and is there.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
