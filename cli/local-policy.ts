// `wrangler.toml` as the gateway of this machine will read it, with the secrets of this machine: valid, or what is wrong.
import { type ConfigIssue, loadConfig } from "../src/config/load.ts";
import type { SecretNeed } from "../src/config/secrets.ts";
import type { Config } from "../src/config/types.ts";
import type { LocalSecrets } from "./local-secrets.ts";
import { type PolicyFile, parsePolicyFile } from "./policy-file.ts";
import { issueLines } from "./policy-table.ts";

export interface LocalPolicy {
  readonly file: PolicyFile;
  /** `null`: it is not valid. */
  readonly config: Config | null;
  /** What is wrong, a line each, and what to do about missing secrets. */
  readonly problems: readonly string[];
  readonly warnings: readonly ConfigIssue[];
}

/** Made by `npm start` when they are missing, or not needed. */
const UNLISTED: readonly SecretNeed["kind"][] = ["list", "signing_keys", "admin_token"];

/**
 * Judges what a `wrangler.toml` says.
 * @param secretsFileName where missing secrets are to be put, for the lines that say so
 * @throws UnreadablePolicy where it is no TOML
 */
export function judgePolicy(text: string, secrets: LocalSecrets, secretsFileName: string): LocalPolicy {
  const file = parsePolicyFile(text, null);
  const missing = new Set<string>();
  // What is in .dev.vars counts before [vars], as it does for the Worker.
  const env: Readonly<Record<string, unknown>> = { ...file.bindings, ...file.variables, ...secrets };
  const loaded = loadConfig(env, ({ name, kind }) => {
    if (!env[name] && !UNLISTED.includes(kind)) missing.add(name);
    return env[name];
  });
  if (loaded.ok) return { file, config: loaded.config, problems: [], warnings: loaded.warnings };
  const places = [...missing].map((name) => `put \`${name}=…\` into ${secretsFileName}`);
  return { file, config: null, problems: [...issueLines(loaded.issues), ...places], warnings: [] };
}
