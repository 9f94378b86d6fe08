// Refusals as Cloudreve's clients read them: 200, and the reason in the envelope.
import type { RequestFacts } from "../../context.ts";
import { PROBLEMS, type Problem } from "../../problem.ts";
import type { Dialect } from "../preset.ts";

type Words = readonly [code: number, message: string];

const LOGIN_REQUIRED: Words = [401, "Login required"];
const WRONG_USE: Words = [40020, "Invalid token type"];
const NO_SUCH_USER: Words = [404, "User not found"];
const USER_IS_OUT: Words = [50001, "failed to get login user"];
const WRONG_PASSWORD: Words = [40080, "Incorrect password or email address"];
const PARAMETER_ERROR = 40001;
const CREDENTIAL_INVALID = 40020;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What the original has no word for (outages, throttles, ambiguous paths) keeps its status, and has it as its code. */
export const dialect: Dialect = (problem, facts) => {
  const words = wordsOf(problem);
  const [code, msg] = words ?? [problem.status, PROBLEMS[problem.code].title];
  // Left out of what is wrong with parameters.
  const id = code === PARAMETER_ERROR ? undefined : correlationId(facts);
  return {
    status: words === null ? problem.status : 200,
    contentType: "application/json; charset=utf-8",
    body: JSON.stringify({ code, msg, correlation_id: id }),
  };
};

/** `null`: none of its own. */
function wordsOf({ code, details }: Problem): Words | null {
  const message = details.errors?.[0]?.message;
  switch (code) {
    case "credential_missing":
      return LOGIN_REQUIRED;
    case "credential_invalid":
      // A refresh token in a body, not the token of the request.
      return message === undefined ? notAccepted(details) : [CREDENTIAL_INVALID, message];
    case "role_insufficient":
    case "permission_denied":
      return [403, message ?? ""];
    case "scope_insufficient":
      return [40089, `Insufficient scope: ${details.missingScope ?? details.scopes?.[0] ?? ""}`];
    case "sign_in_failed":
      return blocked(details.about?.status) ?? WRONG_PASSWORD;
    case "resource_not_found":
      return NO_SUCH_USER;
    case "request_malformed":
      // Without a message it is the request itself, before any site is known.
      return message === undefined ? null : [PARAMETER_ERROR, "Parameter error"];
    case "input_invalid":
      return [PARAMETER_ERROR, message ?? "Parameter error"];
    default:
      return null;
  }
}

function notAccepted({ reject, about }: Problem["details"]): Words {
  switch (reject) {
    case "token_use":
      return WRONG_USE;
    case "subject":
      return NO_SUCH_USER;
    case "owner_missing":
      // There was one.
      return about === undefined ? NO_SUCH_USER : USER_IS_OUT;
    case "owner_inactive":
      return USER_IS_OUT;
    default:
      return LOGIN_REQUIRED;
  }
}

/** Known only to those whose password was right. */
function blocked(status: unknown): Words | null {
  if (status === "disabled") return [40017, "This account has been blocked"];
  return status === "pending" ? [40018, "This account is not activated"] : null;
}

function correlationId({ arrival, requestId }: RequestFacts): string {
  const sent = arrival.request.headers.get("x-cr-correlation-id") ?? "";
  return UUID.test(sent) ? sent.toLowerCase() : requestId;
}
