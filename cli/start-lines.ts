// What `npm start` prints beside its guide: requests in brief, and what is worth a second look in the configuration.
import * as v from "valibot";
import type { ConfigIssue } from "../src/config/issue.ts";
import type { Config, GatewayConfig, Site } from "../src/config/types.ts";
import { DEFAULT_PORT } from "./ports.ts";

/** What is shown of a line of `src/log.ts`. */
const LogLine = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    status: v.number(),
    method: v.string(),
    path: v.string(),
    outcome: v.string(),
    reason: v.nullable(v.string()),
    principalId: v.nullable(v.string()),
    credentialKind: v.nullable(v.string()),
  }),
);

/** What every gateway on a developer's machine is warned of. */
const EXPECTED_WARNINGS: readonly string[] = ["GATEWAY.environment", "GATEWAY.hosts"];

/** The part of a log line that one looks for first, `null` for any other line. `--verbose` shows all as they are. */
export function inBrief(line: string): string | null {
  const parsed = v.safeParse(LogLine, line);
  if (!parsed.success) return null;
  const { status, method, path, outcome, reason, principalId, credentialKind } = parsed.output;
  const why = reason === null ? outcome : `${outcome} (${reason})`;
  return `${status} ${method} ${path}  ${why}${whoIn(principalId, credentialKind)}`;
}

/** Whether this is the log line of a request to a path that only we ask for. */
export function isOwnProbe(line: string, path: string): boolean {
  const parsed = v.safeParse(LogLine, line);
  return parsed.success && parsed.output.method === "GET" && parsed.output.path === path;
}

function whoIn(principalId: string | null, credentialKind: string | null): string {
  if (principalId === null) return "";
  // `caller.ts` calls whoever has that secret so, and no credential of a user is without a kind.
  if (principalId === "admin_token" && credentialKind === null) return "  by ADMIN_TOKEN";
  return `  user ${principalId}${credentialKind === null ? "" : ` by ${credentialKind}`}`;
}

/** One line each, without those that are expected on this machine. */
export function warningLines(warnings: readonly ConfigIssue[]): readonly string[] {
  return warnings
    .filter(({ key }) => !EXPECTED_WARNINGS.includes(key))
    .map(({ key, message }) => `warning: ${key}: ${message}`);
}

/** `2 sites, 12 routes` */
export function policyCount({ sites }: Config): string {
  const routes = sites.reduce((sum, site) => sum + site.routes.length, 0);
  return `${sites.length} ${sites.length === 1 ? "site" : "sites"}, ${routes} ${routes === 1 ? "route" : "routes"}`;
}

/** What the CLI has to be told to reach this gateway: nothing where it is at the usual place. Begins with a blank. */
export function cliFlags(
  address: string,
  { config, state }: { readonly config?: string | undefined; readonly state?: string | undefined },
): string {
  const given = [
    new URL(address).port === String(DEFAULT_PORT) ? "" : ` --url ${address}`,
    config === undefined ? "" : ` --config ${quoted(config)}`,
    state === undefined ? "" : ` --state ${quoted(state)}`,
  ];
  return given.join("");
}

function quoted(text: string): string {
  return /^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** For somebody's own sites: how to reach one, and how its first user and key are made. */
export function firstSteps(sites: readonly Site[], address: string, flags: string): readonly string[] {
  const lines: string[] = [];
  for (const { name, hosts, basePath } of sites) {
    const host = hosts === null ? "" : ` -H 'Host: ${hosts[0]}'`;
    lines.push(`# the site ${name}`, `curl -i${host} ${address}${basePath}/`);
  }
  const realms = new Set(sites.filter(({ users }) => users === "required").map(({ realm }) => realm.name));
  for (const realm of realms) {
    lines.push(
      `# the first user of the realm ${realm}, and a key of theirs, from another terminal`,
      `npm run postern -- users create --realm ${realm} --id 1 --username me${flags}`,
      `npm run postern -- keys create --realm ${realm} --user 1 --name first${flags}`,
    );
  }
  return lines;
}

/** The CLI calls the gateway by its address, which is then no name of the control plane. */
export function controlHostLines({ hosts }: GatewayConfig): readonly string[] {
  if (hosts === null || hosts.has("127.0.0.1")) return [];
  return [
    `GATEWAY.hosts: /_gateway answers to ${[...hosts].join(", ")} alone. For npm run postern to reach it here, add "127.0.0.1".`,
  ];
}

/** Where data was found and the secrets it was made under were not: nothing of it can be verified any more. */
export function lostSecretsLines(made: readonly string[], dataDirectory: string): readonly string[] {
  const lost = made.filter((name) => name === "POSTERN_TAG_SECRETS" || name === "POSTERN_PEPPERS");
  if (lost.length === 0) return [];
  return [
    `warning: ${lost.join(" and ")} had to be made anew, and ${dataDirectory} is older: its keys, PATs and sessions are dead`,
    `put the old secrets back, or make new keys; to begin anew altogether: rm -r ${quoted(dataDirectory)}`,
  ];
}
