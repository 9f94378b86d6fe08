// Refusals as NekoHub's clients read them: `{"error":{…}}`, some without any body.
import type { RequestFacts } from "../../context.ts";
import { withoutOuterBlanks } from "../../pipeline/credential.ts";
import { PROBLEMS, type Problem } from "../../problem.ts";
import type { RejectReason } from "../../types.ts";
import type { Dialect } from "../preset.ts";
import { schemeOf } from "./bearer.ts";

type Words = readonly [code: string, message: string];

const UNAUTHORIZED: Words = ["auth_unauthorized", "Authentication is required."];
const KEY_MISSING: Words = ["api_key_missing", "API key is required. Use Authorization: Bearer <API_KEY>."];
const KEY_INVALID: Words = ["api_key_invalid", "API key is invalid."];
const WRONG_PASSWORD: Words = ["auth_invalid_credentials", "Invalid username or password."];
const INACTIVE: Words = ["auth_user_inactive", "User account is inactive."];
const REFRESH_INVALID: Words = ["auth_refresh_token_invalid", "Refresh token is invalid."];
const REFRESH_WORDS: Partial<Readonly<Record<RejectReason, Words>>> = {
  owner_inactive: INACTIVE,
  revoked: ["auth_refresh_token_reused", "Refresh token has already been used."],
  expired: ["auth_refresh_token_expired", "Refresh token has expired."],
};

const JSON_TYPE = "application/json; charset=utf-8";
/** For API keys only: the original's JWT scheme sends no challenge. */
const CHALLENGE = { "www-authenticate": 'Bearer realm="NekoHub"' };
/** What ASP.NET says without a word: the caller may not, there is nothing, or not by this method. */
const BODILESS: ReadonlySet<number> = new Set([403, 404, 405]);

export const dialect: Dialect = (problem, facts) => {
  const { status } = problem;
  if (BODILESS.has(status)) return { status, contentType: "", body: "" };
  const words = status === 401 ? unauthenticated(problem, facts) : otherWords(problem);
  const [code, message] = words;
  const body = JSON.stringify({ error: { code, message, traceId: facts.requestId, status } });
  const isAboutKeys = words === KEY_MISSING || words === KEY_INVALID;
  return { status, contentType: JSON_TYPE, body, ...(isAboutKeys && { headers: CHALLENGE }) };
};

function unauthenticated({ code, details }: Problem, { arrival, trace }: RequestFacts): Words {
  if (code === "sign_in_failed") {
    // Known only to those whose password was right.
    const status = details.about?.status;
    return status === undefined || status === "active" ? WRONG_PASSWORD : INACTIVE;
  }
  const route = trace.matched?.route ?? null;
  if (route?.answer === "nekohub.refresh") {
    return REFRESH_WORDS[details.reject ?? "unknown"] ?? REFRESH_INVALID;
  }
  const field = withoutOuterBlanks(arrival.request.headers.get("authorization") ?? "");
  if (schemeOf(field, route?.accept ?? ["jwt"]) === "jwt") return UNAUTHORIZED;
  return code === "credential_missing" ? KEY_MISSING : KEY_INVALID;
}

function otherWords({ code, details }: Problem): Words {
  const [first] = details.errors ?? [];
  switch (code) {
    case "input_invalid":
      // `malformed`: the field is there, and its content is none.
      return [
        details.reject === "malformed" ? "auth_request_invalid" : "request_invalid",
        first?.message ?? "",
      ];
    case "request_malformed":
      return [first === undefined ? code : "request_invalid", "Invalid request payload."];
    case "internal":
      return ["internal_server_error", "An unexpected error occurred."];
    default:
      return [code, `${PROBLEMS[code].title}.`];
  }
}
