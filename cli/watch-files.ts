// Whether files have changed, by what they hold. No notices of the file system: those follow an inode that an editor has
// replaced, and do not exist on every mount. Two small files read twice a second cost nothing.
import { readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";

/** Of each file what it holds; `null`: it is not there, or cannot be read. */
export type Contents = readonly (string | null)[];

/** How often they are read. */
export const INTERVAL_MS = 500;

export async function contentsOf(files: readonly string[]): Promise<Contents> {
  return Promise.all(files.map((file) => readFile(file, "utf8").catch(() => null)));
}

/** Resolves once the files hold something else than `known`, and have for one interval: nobody is writing them. */
export async function whenChanged(
  files: readonly string[],
  known: Contents,
  intervalMs = INTERVAL_MS,
): Promise<Contents> {
  let before = known;
  for (;;) {
    await wait(intervalMs);
    const now = await contentsOf(files);
    if (!areSame(now, known) && areSame(now, before)) return now;
    before = now;
  }
}

/** Of the same files. */
export function areSame(a: Contents, b: Contents): boolean {
  return a.every((text, index) => text === b[index]);
}
