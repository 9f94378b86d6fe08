// `wrangler.toml` as the Worker would see it: the variables and bindings of one environment, bindings as stand-ins.
import { parse, TomlError } from "smol-toml";

export interface PolicyFile {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Names of bindings to objects that can what a binding of their kind can do, and do nothing. */
  readonly bindings: Readonly<Record<string, unknown>>;
  /** Whether the platform's cache is switched on in front of the Worker. */
  readonly isCached: boolean;
  /** Variables of the top level that a named environment does not inherit. */
  readonly notInherited: readonly string[];
}

/** The file cannot be read as a configuration at all. The message is for the operator. */
export class UnreadablePolicy extends Error {}

type Table = Readonly<Record<string, unknown>>;

/**
 * @param environment the name of an `[env.<name>]` table; `null`: the top level
 * @throws UnreadablePolicy when the text is no TOML (with line and column) or the environment does not exist
 */
export function parsePolicyFile(text: string, environment: string | null): PolicyFile {
  const root = parseToml(text);
  if (environment === null) return policyOf(root, root, []);
  const environments = tableAt(root, "env");
  if (!Object.hasOwn(environments, environment)) {
    const known = Object.keys(environments);
    throw new UnreadablePolicy(
      `there is no [env.${environment}]${known.length > 0 ? `; the environments are ${known.join(", ")}` : ""}`,
    );
  }
  const own = tableAt(environments, environment);
  const variables = tableAt(own, "vars");
  const notInherited = Object.keys(tableAt(root, "vars")).filter((name) => !Object.hasOwn(variables, name));
  return policyOf(own, root, notInherited);
}

function parseToml(text: string): Table {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = "invalid"] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new UnreadablePolicy(`line ${error.line}, column ${error.column}: ${reason}`);
  }
}

/** `vars` and bindings are an environment's own; `cache` is inherited. */
function policyOf(own: Table, root: Table, notInherited: readonly string[]): PolicyFile {
  const fetcher = { fetch: () => undefined };
  const bindings: Record<string, unknown> = {};
  const unsafe = listAt(tableAt(own, "unsafe"), "bindings").filter(({ type }) => type === "ratelimit");
  const sections: readonly (readonly [readonly Table[], string, unknown])[] = [
    [listAt(own, "d1_databases"), "binding", { prepare: () => undefined }],
    [listAt(own, "services"), "binding", fetcher],
    [listAt(own, "mtls_certificates"), "binding", fetcher],
    [listAt(own, "ratelimits"), "name", { limit: () => undefined }],
    [unsafe, "name", { limit: () => undefined }],
  ];
  for (const [entries, nameKey, standIn] of sections) {
    for (const entry of entries) {
      const name = entry[nameKey] ?? entry.binding;
      if (typeof name === "string") bindings[name] = standIn;
    }
  }
  const cache = Object.hasOwn(own, "cache") ? tableAt(own, "cache") : tableAt(root, "cache");
  return { variables: tableAt(own, "vars"), bindings, isCached: cache.enabled === true, notInherited };
}

function tableAt(table: Table, key: string): Table {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : {};
}

function listAt(table: Table, key: string): readonly Table[] {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "object" && entry !== null) : [];
}
