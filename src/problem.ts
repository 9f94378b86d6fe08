// Every way the gateway refuses a request, and nothing else. Presets render the same problems in their own dialect.

interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

/** Codes are public and stable: add, never rename. `docs/errors.md` describes each. */
export const PROBLEMS = {
  host_invalid: { status: 400, title: "The Host header is not a host name" },
  path_ambiguous: { status: 400, title: "The path can be read in more than one way" },
  request_malformed: { status: 400, title: "The request is malformed" },
  credential_missing: { status: 401, title: "Authentication is required" },
  credential_invalid: { status: 401, title: "The credential was not accepted" },
  credential_conflict: { status: 401, title: "More than one credential was presented" },
  role_insufficient: { status: 403, title: "The caller's role does not permit this request" },
  scope_insufficient: { status: 403, title: "The credential's scopes do not permit this request" },
  permission_denied: { status: 403, title: "The caller's permissions do not permit this request" },
  route_not_found: { status: 404, title: "No route matches this request" },
  method_not_allowed: { status: 405, title: "This route does not accept this method" },
  rate_limited: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "The gateway failed" },
  origin_unreachable: { status: 502, title: "The origin did not answer" },
  config_invalid: { status: 503, title: "The gateway is not configured" },
  store_unavailable: { status: 503, title: "The gateway cannot check credentials right now" },
  keys_unavailable: { status: 503, title: "The gateway cannot check credentials right now" },
  origin_timeout: { status: 504, title: "The origin took too long" },
  loop_detected: { status: 508, title: "The request came back to the gateway" },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

/** What a refusal carries towards the client beside its code. */
export interface ProblemDetails {
  /** Field values for the `Allow` header of a 405. */
  readonly allow?: readonly string[];
  /** Seconds for `Retry-After`; outages default to 5. */
  readonly retryAfterSeconds?: number;
  /** Scopes a caller would need, for the RFC 6750 challenge. */
  readonly scopes?: readonly string[];
}

/**
 * A refusal. `reason` and `cause` go to the log, never to the client.
 */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly reason: string;
  readonly details: ProblemDetails;

  constructor(
    code: ProblemCode,
    reason: string,
    options: ProblemDetails & { readonly cause?: unknown } = {},
  ) {
    super(`${code}: ${reason}`, { cause: options.cause });
    this.code = code;
    this.reason = reason;
    this.details = options;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }
}

/** Whatever was thrown, as a problem. Anything unknown is `internal`, with the cause kept for the log. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem("internal", error instanceof Error ? error.name : "not an Error", { cause: error });
}
