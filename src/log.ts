// The one place that writes the log: one JSON line a request and a run of the cron, never a credential, a query or a header.
import type { RequestFacts } from "./context.ts";
import type { Chores } from "./housekeeping.ts";
import { type Problem, toProblem } from "./problem.ts";

/** Facts about one request. The platform adds the time. */
export interface RequestLine {
  /** `error`: the gateway or what it depends on failed; `warn`: refused; `info`: anything else. */
  readonly level: "info" | "warn" | "error";
  readonly requestId: string;
  readonly method: string;
  readonly host: string;
  /** Canonical, without the query: queries may carry credentials. */
  readonly path: string;
  readonly site: string | null;
  readonly route: string | null;
  readonly status: number;
  /** A problem's code; `forwarded`; or `answered`, by the gateway itself. */
  readonly outcome: string;
  /** Why it was refused. */
  readonly reason: string | null;
  /** What an `observe` route would have refused it for. */
  readonly observed: string | null;
  readonly principalId: string | null;
  readonly credentialKind: string | null;
  readonly credentialId: string | null;
  readonly clientAddress: string | null;
  /** Of failures (5xx) only: name and message of what was thrown. */
  readonly cause: string | null;
}

const MAX_LENGTH = 256;

/** Writes one line of JSON, in which control characters are escaped. */
export function logRequest(line: RequestLine): void {
  console.log(JSON.stringify(line));
}

/** The log line of a finished request. `problem`: what it was refused for, or `null`. Long texts are cut. */
export function logOutcome(context: RequestFacts, response: Response, problem: Problem | null): void {
  const { arrival, trace } = context;
  logRequest({
    level: levelOf(problem),
    requestId: context.requestId,
    method: bounded(arrival.method),
    host: bounded(arrival.host),
    path: bounded(arrival.path),
    site: trace.site,
    route: bounded(trace.route),
    status: response.status,
    outcome: problem?.code ?? (trace.isForwarded ? "forwarded" : "answered"),
    reason: bounded(problem?.reason ?? null),
    observed: trace.observed,
    principalId: bounded(trace.principalId),
    credentialKind: trace.credentialKind,
    credentialId: bounded(trace.credentialId),
    clientAddress: bounded(context.clientAddress),
    cause: problem !== null && problem.status >= 500 ? bounded(causeOf(problem)) : null,
  });
}

/**
 * The log line of a run of the cron. `auditBlock` and `auditHash` seal the audit log as it then was: they stand outside
 * D1 here, where whoever shortens the log in D1 cannot change them.
 */
export function logChores({ done, errors }: Chores): void {
  const problems = errors.map(toProblem);
  console.log(
    JSON.stringify({
      level: errors.length > 0 ? "error" : "info",
      outcome: "cron",
      removed: done.removed,
      auditRows: done.sealedRows,
      auditBlock: done.block,
      auditHash: done.hash,
      reason: problems.length > 0 ? bounded(problems.map(({ reason }) => reason).join("\n")) : null,
      cause: problems.length > 0 ? bounded(problems.map(causeOf).join("; ")) : null,
    }),
  );
}

function levelOf(problem: Problem | null): RequestLine["level"] {
  if (problem === null) return "info";
  return problem.status >= 500 ? "error" : "warn";
}

/** Parsers quote what they could not parse, so of a SyntaxError only the name is told. */
function causeOf({ cause }: Problem): string | null {
  if (cause === undefined) return null;
  if (!(cause instanceof Error)) return `not an Error: ${typeof cause}`;
  return cause instanceof SyntaxError ? cause.name : `${cause.name}: ${withoutSecrets(cause.message)}`;
}

/** Messages of the platform may quote URLs; a query, or a word as long as a credential, is not for the log. */
function withoutSecrets(message: string): string {
  return message.replace(/\?[^\s"']*/g, "?…").replace(/[A-Za-z0-9+/=_-]{28,}/g, "…");
}

function bounded<Text extends string | null>(text: Text): Text | string {
  return text !== null && text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 1)}…` : text;
}
