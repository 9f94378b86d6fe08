// Folders for one test file each, gone when we are.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch {
  readonly directory: string;
  remove(): void;
}

export function makeScratch(name: string): Scratch {
  const directory = mkdtempSync(join(tmpdir(), `postern-${name}-`));
  const remove = () => {
    process.off("exit", remove);
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", remove);
  return { directory, remove };
}
