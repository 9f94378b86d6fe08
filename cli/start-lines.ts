// What `npm start` prints beside its guide: requests in brief, and what is worth a second look in the configuration.
import * as v from "valibot";
import type { ConfigIssue } from "../src/config/issue.ts";

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
