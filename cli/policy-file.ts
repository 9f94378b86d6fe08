// `wrangler.toml` as the Worker would see it: the variables and bindings of one environment, bindings as stand-ins.
import { parse, TomlError } from "smol-toml";

type Table = Readonly<Record<string, unknown>>;

export interface PolicyFile {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Names of bindings to objects that can what a binding of their kind can do, and do nothing. */
  readonly bindings: Readonly<Record<string, unknown>>;
  /** Whether the platform's cache is switched on in front of the Worker. */
  readonly isCached: boolean;
  /** Variables of the top level that a named environment does not inherit. */
  readonly notInherited: readonly string[];
  /** The blocks of D1 and of KV, as they stand. */
  readonly databases: readonly Table[];
  readonly namespaces: readonly Table[];
}

/** The file cannot be read as a configuration at all. The message is for the operator. */
export class UnreadablePolicy extends Error {}

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
    const others = known.length > 0 ? `; the environments are ${known.join(", ")}` : "";
    throw new UnreadablePolicy(`there is no [env.${environment}]${others}${templateHint(text, environment)}`);
  }
  const own = tableAt(environments, environment);
  const variables = tableAt(own, "vars");
  const notInherited = Object.keys(tableAt(root, "vars")).filter((name) => !Object.hasOwn(variables, name));
  return policyOf(own, root, notInherited);
}

/** Where the environment stands in comments, as in the file that comes with the project. */
function templateHint(text: string, environment: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const at = lines.findIndex((line) => /^#\s*\[/.test(line) && line.includes(`[env.${environment}]`));
  return at === -1 ? "" : `; its template begins in line ${at + 1}: take the # away and fill it in`;
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
  const databases = listAt(own, "d1_databases");
  const namespaces = listAt(own, "kv_namespaces");
  const sections: readonly (readonly [readonly Table[], string, unknown])[] = [
    [databases, "binding", { prepare: () => undefined }],
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
  const isCached = cache.enabled === true;
  return { variables: tableAt(own, "vars"), bindings, isCached, notInherited, databases, namespaces };
}

function tableAt(table: Table, key: string): Table {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : {};
}

function listAt(table: Table, key: string): readonly Table[] {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "object" && entry !== null) : [];
}
