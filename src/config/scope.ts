// What compiling one part of the configuration may look at.
import type { Issues } from "./issue.ts";
import type { SecretSource } from "./secrets.ts";

export interface Scope {
  /** Variables and bindings. Secrets are read through `secrets` only. */
  readonly env: Readonly<Record<string, unknown>>;
  readonly secrets: SecretSource;
  readonly issues: Issues;
  readonly isProduction: boolean;
}

/** The binding of that name if it can do what its kind must be able to do; `null` when it is missing or another kind. */
export function findBinding(env: Scope["env"], name: string, method: "fetch" | "limit" | "prepare"): unknown {
  const binding = Object.hasOwn(env, name) ? env[name] : undefined;
  if (typeof binding !== "object" || binding === null) return null;
  return typeof (binding as Readonly<Record<string, unknown>>)[method] === "function" ? binding : null;
}
