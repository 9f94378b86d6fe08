// `[vars]`, secrets and bindings -> the compiled Config. The Worker calls it once per isolate, `npm run check` offline.
import { compileConfig, readGateway } from "./compile.ts";
import { type ConfigIssue, createIssues } from "./issue.ts";
import type { SecretSource } from "./secrets.ts";
import type { Config } from "./types.ts";

export type { ConfigIssue } from "./issue.ts";

export type LoadResult =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly ConfigIssue[] }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/**
 * Every problem of the configuration at once, or the compiled configuration, frozen.
 *
 * Reads `GATEWAY`, `SITE_*`, the secrets they name, the gateway's own secrets and the bindings they use; ignores
 * everything else in `env`. Does no I/O: it does not find out whether an origin answers or a key set can be fetched.
 * Nothing in the result or in a message refers back to `env` but the bindings themselves.
 *
 * @param secrets where secrets come from when it is not `env` itself (an offline check)
 */
export function loadConfig(
  env: Readonly<Record<string, unknown>>,
  secrets: SecretSource = (need) => (Object.hasOwn(env, need.name) ? env[need.name] : undefined),
): LoadResult {
  const issues = createIssues();
  const gateway = readGateway({ env, secrets, issues });
  const isProduction = gateway?.environment !== "development";
  const config = compileConfig(gateway ?? {}, { env, secrets, issues, isProduction });
  if (issues.problems.length > 0) return { ok: false, issues: inOrder(issues.problems) };
  return { ok: true, config: deepFreeze(config), warnings: inOrder(issues.warnings) };
}

/** By place, `routes[2]` before `routes[10]`; at one place in the order found. */
function inOrder(issues: readonly ConfigIssue[]): readonly ConfigIssue[] {
  return [...issues].sort((a, b) => a.key.localeCompare(b.key, "en", { numeric: true }));
}

/** Freezes plain objects and lists all the way down; maps, URLs, bytes and bindings are protected by their types only. */
function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== Array.prototype) return value;
  for (const [name, child] of Object.entries(value)) if (name !== "binding") deepFreeze(child);
  return Object.freeze(value);
}
