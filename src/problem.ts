// Every way the gateway refuses a request, and nothing else. Presets render the same problems in their own dialect.
import type { RejectReason } from "./types.ts";

interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

/** Codes are public and stable: add, never rename. `docs/errors.md` describes each. */
export const PROBLEMS = {
  host_invalid: { status: 400, title: "The Host header is not a host name" },
  path_ambiguous: { status: 400, title: "The path can be read in more than one way" },
  request_malformed: { status: 400, title: "The request is malformed" },
  input_invalid: { status: 400, title: "The input is not valid" },
  credential_missing: { status: 401, title: "Authentication is required" },
  credential_invalid: { status: 401, title: "The credential was not accepted" },
  sign_in_failed: { status: 401, title: "The name or the password is not right" },
  credential_conflict: { status: 401, title: "More than one credential was presented" },
  role_insufficient: { status: 403, title: "The caller's role does not permit this request" },
  scope_insufficient: { status: 403, title: "The credential's scopes do not permit this request" },
  permission_denied: { status: 403, title: "The caller's permissions do not permit this request" },
  rank_insufficient: { status: 403, title: "The caller does not outrank this user or role" },
  grant_exceeds_holder: { status: 403, title: "Nobody can grant what they do not hold" },
  route_not_found: { status: 404, title: "No route matches this request" },
  resource_not_found: { status: 404, title: "There is no such thing" },
  method_not_allowed: { status: 405, title: "This route does not accept this method" },
  already_exists: { status: 409, title: "Something with this name or id exists already" },
  changed_meanwhile: { status: 409, title: "It was changed by somebody else meanwhile" },
  content_too_large: { status: 413, title: "The body is too large" },
  content_type_unsupported: { status: 415, title: "The body is not of a type that is accepted here" },
  rate_limited: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "The gateway failed" },
  origin_unreachable: { status: 502, title: "The origin did not answer" },
  config_invalid: { status: 503, title: "The gateway is not configured" },
  sign_in_busy: { status: 503, title: "Too many sign-ins at once" },
  store_unavailable: { status: 503, title: "The gateway cannot check credentials right now" },
  introspection_unavailable: { status: 503, title: "The gateway cannot check credentials right now" },
  keys_unavailable: { status: 503, title: "The gateway cannot check credentials right now" },
  origin_timeout: { status: 504, title: "The origin took too long" },
  loop_detected: { status: 508, title: "The request came back to the gateway" },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

/** What is wrong with one field of the input, and the mend. Must not repeat the value. */
export interface InputError {
  /** `scopes[1]`; `""`: the body as a whole. */
  readonly field: string;
  readonly message: string;
}

/** What a refusal carries towards the client beside its code. */
export interface ProblemDetails {
  /** Field values for the `Allow` header of a 405. */
  readonly allow?: readonly string[];
  /** Seconds for `Retry-After`; outages default to 5. */
  readonly retryAfterSeconds?: number;
  /** Scopes a caller would need, for the RFC 6750 challenge. */
  readonly scopes?: readonly string[];
  /** The first of them that the caller has not. */
  readonly missingScope?: string;
  /** Why a credential was refused: for dialects whose clients tell more cases apart than `code` does. */
  readonly reject?: RejectReason;
  /** Attributes of the user concerned, where known. For dialects; never sent. */
  readonly about?: Readonly<Record<string, unknown>>;
  /** On the control plane: the fields that are wrong. */
  readonly errors?: readonly InputError[];
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
