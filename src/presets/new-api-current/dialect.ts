// Problems as the current New API says them: a status that means what it says, and a code.
import type { RequestFacts } from "../../context.ts";
import { PROBLEMS, type Problem } from "../../problem.ts";
import { SAID_NOTHING, said } from "../new-api/gin.ts";
import { saidAboutKey, saidAboutNothing } from "../new-api/key-dialect.ts";
import { isKeyRoute } from "../new-api/keys.ts";
import type { Dialect, Rendered } from "../preset.ts";
import { refreshCookie } from "./cookie.ts";

const NOT_ACCEPTED = "AUTH_UNAUTHORIZED";

export const dialect: Dialect = (problem, facts) => {
  if (problem.code === "route_not_found") return saidAboutNothing(problem, facts);
  const route = facts.trace.matched?.route ?? null;
  if (route !== null && isKeyRoute(route, facts.arrival)) return saidAboutKey(problem, facts, route);
  const answer = route?.answer ?? null;
  if (answer === "new-api-current.login" || answer === "new-api.token") return atSignIn(problem, facts);
  const isRenewal = answer === "new-api-current.refresh" || answer === "new-api-current.logout";
  return isRenewal ? atRenewal(problem, facts) : atGate(problem, facts);
};

function atSignIn(problem: Problem, facts: RequestFacts): Rendered {
  switch (problem.code) {
    case "sign_in_failed":
      return said(200, {
        message: "Username or password is incorrect, or user has been banned",
        success: false,
      });
    case "input_invalid":
    case "request_malformed":
    case "content_type_unsupported":
    case "content_too_large":
      return said(200, { message: "Invalid parameters", success: false });
    default:
      return atGate(problem, facts);
  }
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  403: "Forbidden",
  409: "Conflict",
};

/** A 401 takes the cookie away: a page must not try again with it. */
function atRenewal(problem: Problem, facts: RequestFacts): Rendered {
  const { status } = problem;
  const text = STATUS_TEXTS[status];
  const site = facts.trace.matched?.site;
  if (text === undefined || site === undefined) return atGate(problem, facts);
  const rendered = said(status, { success: false, code: codeOf(problem, facts), message: text });
  if (status !== 401) return rendered;
  return { ...rendered, headers: { "set-cookie": refreshCookie(site, "", 0, facts.arrival.scheme) } };
}

function atGate(problem: Problem, facts: RequestFacts): Rendered {
  if (problem.status === 429) return SAID_NOTHING;
  const code = codeOf(problem, facts);
  return said(problem.status, { code, message: messageOf(code, problem), success: false });
}

function codeOf(problem: Problem, { trace }: RequestFacts): string {
  const { reject } = problem.details;
  switch (problem.code) {
    case "credential_missing":
    case "credential_conflict":
    case "sign_in_failed":
      return NOT_ACCEPTED;
    case "credential_invalid":
      if (trace.credentialKind === "pat")
        return reject === "owner_inactive" ? "AUTH_USER_DISABLED" : NOT_ACCEPTED;
      if (reject === "expired") return "AUTH_TOKEN_EXPIRED";
      return reject === "revoked" || reject === "owner_inactive" ? "AUTH_SESSION_REVOKED" : NOT_ACCEPTED;
    case "permission_denied":
      if (reject === "cross_site") return "AUTH_ORIGIN_FORBIDDEN";
      return reject === "kind_not_accepted" ? "AUTH_SESSION_REQUIRED" : "AUTH_INSUFFICIENT_PRIVILEGE";
    case "role_insufficient":
    case "scope_insufficient":
      return "AUTH_INSUFFICIENT_PRIVILEGE";
    case "changed_meanwhile":
      return "AUTH_SESSION_MISMATCH";
    default:
      // What is wrong with the request is no failure of theirs, and they have no word for it.
      return problem.status < 500 ? problem.code : "AUTH_INTERNAL_ERROR";
  }
}

const MESSAGES: Readonly<Record<string, string>> = {
  AUTH_USER_DISABLED: "User has been banned",
  AUTH_INSUFFICIENT_PRIVILEGE: "Unauthorized, insufficient privileges",
  AUTH_SESSION_REQUIRED: "Forbidden",
  AUTH_ORIGIN_FORBIDDEN: "Forbidden",
  AUTH_SESSION_MISMATCH: "Conflict",
};

function messageOf(code: string, { status, code: problem }: Problem): string {
  return MESSAGES[code] ?? (status === 401 ? "Unauthorized, invalid access token" : PROBLEMS[problem].title);
}
