// Problems as responses: RFC 9457 body, RFC 6750 challenge, never a reason.
import type { Route } from "../config/types.ts";
import type { RequestFacts } from "../context.ts";
import type { Dialect } from "../presets/preset.ts";
import { PROBLEMS, Problem, toProblem } from "../problem.ts";
import { addCorsHeaders } from "./cors.ts";
import { resourceParameters } from "./mcp.ts";
import type { Match } from "./route.ts";

const DEFAULT_RETRY_AFTER_SECONDS = 5;

/** Whether an observe route lets the request pass in spite of this error: never an outage, never a 400. */
export function isObservable(error: unknown, route: Route): error is Problem {
  if (route.mode !== "observe" || !(error instanceof Problem)) return false;
  return error.status === 401 || error.status === 403 || error.status === 429;
}

/**
 * The response to whatever was thrown; `match` is null when it happened before a route was known. Notes the problem in
 * the trace, which is where its reason goes. Every refusal carries `X-Request-Id`, is never stored, and has no body
 * for HEAD. Does not throw.
 *
 * @see RFC 9457 §3, RFC 6750 §3, RFC 9110 §10.2.1 (Allow), §10.2.3 (Retry-After)
 */
export function refuse(error: unknown, match: Match | null, context: RequestFacts): Response {
  const problem = toProblem(error);
  context.trace.problem = problem;
  const { request } = context.arrival;
  const site = match?.site ?? context.trace.matched?.site ?? null;
  const dialect = site?.preset?.dialect ?? problemJson;
  const { status, contentType, body, headers: own } = dialect(problem, context);

  const headers = new Headers({
    ...own,
    "content-type": contentType,
    "cache-control": "no-store",
    "x-request-id": context.requestId,
  });
  if (contentType === "") headers.delete("content-type");
  const parameters = resourceParameters(match?.route ?? null, problem, context.arrival);
  const isGeneric = dialect === problemJson || (parameters !== "" && !headers.has("www-authenticate"));
  const challenge = isGeneric ? challengeOf(problem, site?.name ?? null) : headers.get("www-authenticate");
  if (challenge !== null) headers.set("www-authenticate", challenge + parameters);
  if (status === 405) headers.set("allow", (problem.details.allow ?? []).join(", "));
  if (problem.status === 429 || problem.status === 503) headers.set("retry-after", retryAfter(problem));
  // Also where the site has no such path: its pages are to read that, and not a failure of the network.
  if (site !== null && site.cors !== null) addCorsHeaders(headers, { site }, request);
  // An empty text would be given a type.
  return new Response(request.method === "HEAD" || body === "" ? null : body, { status, headers });
}

/** RFC 9457 §3.1, with `code` and `requestId` as extension members. */
const problemJson: Dialect = (problem, { requestId }) => {
  const { status, title } = PROBLEMS[problem.code];
  const type = `urn:postern:problem:${problem.code}`;
  const { errors } = problem.details;
  return {
    status,
    contentType: "application/problem+json",
    body: `${JSON.stringify({ type, title, status, code: problem.code, requestId, errors })}\n`,
  };
};

/** RFC 6750 §3: no error code without a credential; §3.1 for the codes. */
function challengeOf(problem: Problem, siteName: string | null): string | null {
  const realm = `Bearer realm="${siteName ?? "gateway"}"`;
  switch (problem.code) {
    case "credential_missing":
      return realm;
    case "credential_invalid":
      return `${realm}, error="invalid_token"`;
    case "sign_in_failed":
      return realm;
    case "credential_conflict":
      return `${realm}, error="invalid_request"`;
    case "scope_insufficient": {
      const scopes = (problem.details.scopes ?? []).filter(isScopeToken);
      const scope = scopes.length === 0 ? "" : `, scope="${scopes.join(" ")}"`;
      return `${realm}, error="insufficient_scope"${scope}`;
    }
    default:
      return null;
  }
}

/** RFC 6749 §3.3; anything else would break out of the quotes. */
function isScopeToken(scope: string): boolean {
  return /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope);
}

/** Whole seconds, at least one: 0 would ask clients to come back at once. */
function retryAfter({ details }: Problem): string {
  return String(Math.max(1, Math.ceil(details.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS)));
}
