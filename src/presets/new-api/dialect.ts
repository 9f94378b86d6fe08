// Problems as the classic New API says them: some with a status, most with 200 and `"success":false`.
import type { RequestFacts } from "../../context.ts";
import { PROBLEMS, type Problem } from "../../problem.ts";
import type { RejectReason } from "../../types.ts";
import type { Dialect, Rendered } from "../preset.ts";
import { SAID_NOTHING, said } from "./gin.ts";
import { saidAboutKey, saidAboutNothing } from "./key-dialect.ts";
import { isKeyRoute } from "./keys.ts";
import { inWords, type Word } from "./words.ts";

type Refusal = readonly [status: number, word: Word];

const NOT_LOGGED_IN: Refusal = [401, "not_logged_in"];
const TOKEN_INVALID: Refusal = [200, "token_invalid"];
const BY_REASON: Partial<Readonly<Record<RejectReason, Refusal>>> = {
  subject: [200, "user_invalid"],
  user_header_missing: [401, "user_header_missing"],
  user_header_malformed: [401, "user_header_malformed"],
  user_header_mismatch: [401, "user_header_mismatch"],
  owner_inactive: [200, "banned"],
};

export const dialect: Dialect = (problem, facts) => {
  if (problem.code === "route_not_found") return saidAboutNothing(problem, facts);
  const route = facts.trace.matched?.route ?? null;
  if (route !== null && isKeyRoute(route, facts.arrival)) return saidAboutKey(problem, facts, route);
  if (problem.status === 429) return SAID_NOTHING;
  const refusal = route?.answer === "new-api.login" ? atSignIn(problem) : atGate(problem, facts);
  const [status, word] = refusal ?? [problem.status, null];
  const message = word === null ? PROBLEMS[problem.code].title : inWords(word, problem, facts);
  return refused(status, message);
};

const refused = (status: number, message: string): Rendered => said(status, { message, success: false });

function atSignIn({ code, status }: Problem): Refusal | null {
  switch (code) {
    case "sign_in_failed":
      return [200, "password"];
    case "input_invalid":
    case "request_malformed":
    case "content_type_unsupported":
    case "content_too_large":
      return [200, "parameters"];
    default:
      return code === "store_unavailable" ? [status, "database"] : null;
  }
}

function atGate({ code, status, details }: Problem, { trace }: RequestFacts): Refusal | null {
  switch (code) {
    case "credential_missing":
    case "credential_conflict":
      return NOT_LOGGED_IN;
    case "credential_invalid": {
      const known = details.reject === undefined ? undefined : BY_REASON[details.reject];
      // A cookie that is no session any more holds nobody, which is what the original sees in it.
      return known ?? (trace.credentialKind === "session" ? NOT_LOGGED_IN : TOKEN_INVALID);
    }
    case "role_insufficient":
    case "scope_insufficient":
    case "permission_denied":
      return [200, "privileges"];
    case "store_unavailable":
      return [status, "database"];
    default:
      return null;
  }
}
