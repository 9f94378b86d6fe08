// Where secrets and data of this machine are: in the project, as `wrangler dev` has them, or all in one folder.
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

export interface LocalState {
  /** The `wrangler.toml`. */
  readonly config: string;
  readonly secretsFile: string;
  /** What wrangler calls `--persist-to`. */
  readonly dataDirectory: string;
}

/** @param flags `--config` and `--state`; without them the project's own `wrangler.toml`, and the places beside it */
export function localState(flags: {
  readonly config?: string | undefined;
  readonly state?: string | undefined;
}): LocalState {
  const config = flags.config === undefined ? join(ROOT, "wrangler.toml") : resolve(flags.config);
  if (flags.state === undefined) {
    const beside = dirname(config);
    return {
      config,
      secretsFile: join(beside, ".dev.vars"),
      dataDirectory: join(beside, ".wrangler", "state"),
    };
  }
  return {
    config,
    secretsFile: resolve(flags.state, ".dev.vars"),
    dataDirectory: resolve(flags.state, "data"),
  };
}
