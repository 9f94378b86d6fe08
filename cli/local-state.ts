// Where secrets and data of this machine are: in the project, as `wrangler dev` has them, or all in one folder.
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const CONFIG = join(ROOT, "wrangler.toml");

export interface LocalState {
  readonly secretsFile: string;
  /** What wrangler calls `--persist-to`. */
  readonly dataDirectory: string;
}

export function localState(directory: string | undefined): LocalState {
  return directory === undefined
    ? { secretsFile: join(ROOT, ".dev.vars"), dataDirectory: join(ROOT, ".wrangler", "state") }
    : { secretsFile: resolve(directory, ".dev.vars"), dataDirectory: resolve(directory, "data") };
}
