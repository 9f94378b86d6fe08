// What `npm run check` says about a configuration. No files here: text in, text out.
import { createIssues, type Issues } from "../src/config/issue.ts";
import { loadConfig } from "../src/config/load.ts";
import { isTable, nearest } from "../src/config/read.ts";
import type { SecretNeed } from "../src/config/secrets.ts";
import { type PolicyFile, parsePolicyFile } from "./policy-file.ts";
import { aligned, issueLines, policyTable } from "./policy-table.ts";
import { standIn } from "./stand-ins.ts";

/** Cloudflare's caps; `wrangler deploy --dry-run` does not know them. */
const MAX_VARIABLE_BYTES = 5_000;
const MAX_VARIABLES_FREE = 64;
const MAX_VARIABLES_PAID = 128;

export interface PolicySource {
  /** How the file is called in what is printed. */
  readonly fileName: string;
  readonly text: string;
  /** `null`: the top level. */
  readonly environment: string | null;
  /** Secrets known here, from `.dev.vars`. Others get stand-ins, and are listed. */
  readonly secrets: Readonly<Record<string, string | undefined>>;
  readonly secretsFileName: string;
  /** Whether that file is there, so that a secret can be missing from it. */
  readonly hasSecretsFile?: boolean;
}

export interface Report {
  readonly ok: boolean;
  readonly lines: readonly string[];
}

/**
 * Every problem at once, or the compiled route table, the secrets that must exist, and warnings.
 * @throws UnreadablePolicy
 */
export function checkPolicy(source: PolicySource): Report {
  const policy = parsePolicyFile(source.text, source.environment);
  const asked = new Set<string>();
  const needed = new Set<string>();
  /** One secret for one name, as it will be. */
  const made = new Map<string, string | undefined>();
  const standInFor = (need: SecretNeed) => {
    const key = JSON.stringify(need);
    if (!made.has(key)) made.set(key, standIn(need));
    return made.get(key);
  };
  const result = loadConfig({ ...policy.bindings, ...policy.variables }, (need) => {
    asked.add(need.name);
    const secret = source.secrets[need.name] ?? standInFor(need);
    if (secret !== undefined && need.kind !== "admin_token") needed.add(need.name);
    return secret;
  });
  const platform = checkPlatform(policy, needed.size, source.environment);
  for (const [name, value] of Object.entries(policy.variables)) {
    const meant = isTable(value) ? variableMeant(name) : null;
    // Where there is no GATEWAY, the loader names the one that is nearly called so.
    if (meant === "GATEWAY" && !Object.hasOwn(policy.variables, meant)) continue;
    if (meant !== null) platform.add(name, `is no variable of Postern; did you mean ${meant}?`);
  }
  for (const name of asked) {
    if (!Object.hasOwn(policy.variables, name)) continue;
    platform.add(
      name,
      "is a secret, and [vars] is no place for it: use .dev.vars here and wrangler secret put there",
    );
  }
  const title =
    source.environment === null ? source.fileName : `${source.fileName} [env.${source.environment}]`;
  const problems = [...(result.ok ? [] : result.issues), ...platform.problems].map(({ key, message }) => ({
    key,
    message: inEnvironment(message, source.environment),
  }));
  if (!result.ok || problems.length > 0) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    const notes = section("Warnings:", issueLines(platform.warnings));
    return { ok: false, lines: [`${title}: ${count}`, ...issueLines(problems), ...notes] };
  }
  const warnings = [...result.warnings, ...platform.warnings];
  return {
    ok: true,
    lines: [
      `${title}: the configuration is valid`,
      ...section("", policyTable(result.config)),
      ...section("Secrets this configuration needs:", secretLines([...needed], source)),
      ...section("Warnings:", issueLines(warnings)),
    ],
  };
}

function checkPlatform(policy: PolicyFile, secretCount: number, environment: string | null) {
  const issues = createIssues();
  // The top level is what runs on this machine, where an id is a name like any other.
  if (environment !== null) checkIds(policy, issues);
  for (const [name, value] of Object.entries(policy.variables)) {
    const bytes = Buffer.byteLength(typeof value === "string" ? value : JSON.stringify(value));
    if (bytes <= MAX_VARIABLE_BYTES) continue;
    const mend = /^SITE_[A-Z0-9_]+$/.test(name) ? `; move rows into ${name.replace(/__.*/, "")}__MORE` : "";
    issues.add(name, `is ${bytes} bytes of JSON, and Cloudflare takes ${MAX_VARIABLE_BYTES}${mend}`);
  }
  const count = Object.keys(policy.variables).length + secretCount;
  if (count > MAX_VARIABLES_PAID) {
    issues.add(
      "vars",
      `there are ${count} variables and secrets, and Cloudflare takes ${MAX_VARIABLES_PAID}`,
    );
  } else if (count > MAX_VARIABLES_FREE) {
    issues.warn(
      "vars",
      `there are ${count} variables and secrets: the free plan takes ${MAX_VARIABLES_FREE}`,
    );
  }
  if (policy.isCached) {
    issues.add(
      "cache.enabled",
      "must not be true: a cache in front of the gateway answers one caller with another's data",
    );
  }
  const missing = policy.notInherited.filter((name) => /^(GATEWAY|SITE_)/.test(name));
  if (missing.length > 0) {
    issues.warn("vars", `not inherited from the top level, as [env.*] has its own: ${missing.join(", ")}`);
  }
  return issues;
}

const IDS = [
  ["databases", "d1_databases", "database_id", /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "d1 create"],
  ["namespaces", "kv_namespaces", "id", /^[0-9a-f]{32}$/i, "kv namespace create"],
] as const;

/** `wrangler deploy` would find out only after the upload, and for what is left of a template not in these words. */
function checkIds(policy: PolicyFile, issues: Issues): void {
  for (const [list, section, name, form, command] of IDS) {
    for (const [index, block] of policy[list].entries()) {
      const id = block[name];
      if (id === undefined || (typeof id === "string" && form.test(id))) continue;
      const message = `is no id of Cloudflare's: put there what \`npx wrangler ${command} …\` prints`;
      const isPlaceholder = typeof id !== "string" || !/^[\w-]+$/.test(id) || /^x+$|^your|local$/i.test(id);
      const key = `${section}[${index}].${name}`;
      // Another word may be the id of an environment that is never deployed.
      if (isPlaceholder) issues.add(key, message);
      else issues.warn(key, message);
    }
  }
}

/** Nothing of the top level counts in an environment: a table that is to be added goes below it. */
function inEnvironment(message: string, environment: string | null): string {
  if (environment === null) return message;
  return message
    .replace(/\[\[([a-z]\w*)\]\]/g, `[[env.${environment}.$1]]`)
    .replace(/wrangler secret put \w+$/, `$& --env ${environment}`)
    .replace(/\[vars(\.[A-Z]\w*)?\]/g, `[env.${environment}.vars$1]`);
}

/** The variable that was meant by a name that is nearly one; `null` for a right name, and for one of something else. */
function variableMeant(name: string): string | null {
  if (name === "GATEWAY" || /^SITE_/i.test(name)) return null; // the loader's to judge
  const plain = name.toUpperCase().replace(/[^A-Z0-9]+/g, "_");
  const [, site] = /^SITES?_([A-Z0-9].*)$/.exec(plain) ?? [];
  if (site !== undefined) return `SITE_${site}`;
  return nearest(plain, ["GATEWAY"]);
}

function secretLines(names: readonly string[], source: PolicySource): readonly string[] {
  return aligned(names.toSorted().map((name) => [name, whereSecretIs(name, source)]));
}

function whereSecretIs(name: string, source: PolicySource): string {
  const { secretsFileName, environment } = source;
  if (source.secrets[name] !== undefined) return `checked: ${secretsFileName}`;
  const put = `npx wrangler secret put ${name}${environment === null ? "" : ` --env ${environment}`}`;
  if (source.hasSecretsFile !== true) return `not checked: ${put}`;
  return `MISSING from ${secretsFileName}: ${howToMake(name, environment)}; ${put} for a deployment`;
}

/** `npm start` knows the top level only. */
function howToMake(name: string, environment: string | null): string {
  if (environment !== null) return `put ${name}=… there for wrangler dev`;
  return name.startsWith("POSTERN_") ? "npm start makes one" : `put ${name}=… there for npm start`;
}

function section(heading: string, lines: readonly string[]): readonly string[] {
  if (lines.length === 0) return [];
  return heading === "" ? ["", ...lines] : ["", heading, ...lines];
}
