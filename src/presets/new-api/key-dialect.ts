// Problems as both generations of New API say them where keys are used, and where there is nothing.
import type { Route } from "../../config/types.ts";
import type { RequestFacts } from "../../context.ts";
import { isAddressBlock } from "../../pipeline/verify/ip-allow.ts";
import { PROBLEMS, type Problem } from "../../problem.ts";
import type { Rendered } from "../preset.ts";
import { SAID_NOTHING, said } from "./gin.ts";
import { inWords, type Word } from "./words.ts";

/** Which of the original's rules about channels refused: beside every such refusal. */
const CHANNEL_RULES = { specific_channel_version: "701e3ae1dc3f7975556d354e0675168d004891c8" };

/** On a route for keys. */
export function saidAboutKey(problem: Problem, facts: RequestFacts, route: Route): Rendered {
  const rendered = route.takesExpiredKeys ? atAsking(problem, facts) : atRelay(problem, facts);
  return { ...rendered, headers: { ...rendered.headers, ...corsHeaders(facts) } };
}

/** The words of the original for a path that it does not have. */
export function saidAboutNothing(problem: Problem, facts: RequestFacts): Rendered {
  const { method, path } = facts.arrival;
  const message = `Invalid URL (${method} ${path})`;
  const error = { message, type: "invalid_request_error", param: "", code: "" };
  return said(problem.status, { error }, path.startsWith("/v1") ? corsHeaders(facts) : {});
}

/** Any page may call with a key. Nothing is said to a page of this very host. */
function corsHeaders({ arrival: { request, authority } }: RequestFacts): Record<string, string> {
  const origin = request.headers.get("origin");
  if (origin === null || origin === `https://${authority}` || origin === `http://${authority}`) return {};
  return { "access-control-allow-origin": "*", "access-control-allow-credentials": "true" };
}

/** Where keys ask about themselves. */
function atAsking(problem: Problem, facts: RequestFacts): Rendered {
  const { code, status, details } = problem;
  if (status === 429) return SAID_NOTHING;
  const refused = (as: number, word: Word) =>
    said(as, { message: inWords(word, problem, facts), success: false });
  if (code === "credential_missing") return refused(401, "key_missing");
  if (code === "store_unavailable") return refused(status, "database");
  if (status !== 401) return said(status, { message: PROBLEMS[code].title, success: false });
  switch (details.reject) {
    case "owner_missing":
      return refused(500, "database");
    case "owner_inactive":
      return refused(403, "banned");
    case "disabled":
      return refused(401, "key_unavailable");
    case "kind_not_accepted":
      return said(401, { message: "Invalid Bearer token", success: false });
    default:
      return refused(401, "key_invalid");
  }
}

function atRelay(problem: Problem, facts: RequestFacts): Rendered {
  const { requestId, clientAddress } = facts;
  const error = (status: number, text: string, code = "", headers = {}) =>
    said(
      status,
      { error: { code, message: `${text} (request id: ${requestId})`, type: "new_api_error" } },
      { "x-oneapi-request-id": requestId, ...headers },
    );
  const refused = (status: number, word: Word) => error(status, inWords(word, problem, facts));
  switch (problem.code) {
    case "credential_missing":
    case "credential_conflict":
      return refused(401, "key_invalid");
    case "credential_invalid":
      switch (problem.details.reject) {
        case "address":
          return clientAddress === null || !isAddressBlock(clientAddress)
            ? error(403, "无法解析客户端 IP 地址")
            : error(403, "您的 IP 不在令牌允许访问的列表中", "access_denied");
        case "owner_missing":
          return refused(500, "database");
        case "owner_inactive":
          return refused(403, "banned");
        default:
          return refused(401, "key_invalid");
      }
    case "role_insufficient":
      return error(403, "普通用户不支持指定渠道", "", CHANNEL_RULES);
    case "input_invalid":
      return refused(400, "channel_invalid");
    case "store_unavailable":
      return refused(problem.status, "database");
    default:
      return error(problem.status, PROBLEMS[problem.code].title);
  }
}
