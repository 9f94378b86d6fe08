// The claims of Cloudreve's access tokens, and what they may do.
import type { Claims, FactsOrReason, TokenFacts } from "../../pipeline/verify/claims.ts";
import type { PresetJwt } from "../preset.ts";

const AREAS = [
  "UserInfo",
  "UserSecurityInfo",
  "Workflow",
  "Admin",
  "Files",
  "Shares",
  "Finance",
  "DavAccount",
];
const ALL_SCOPES: readonly string[] = [
  "profile",
  "email",
  "openid",
  "offline_access",
  ...AREAS.flatMap((area) => [`${area}.Read`, `${area}.Write`]),
];

export const cloudreveJwt: PresetJwt = {
  defaults: {
    algorithms: ["HS256"],
    issuer: null,
    audience: null,
    rest: { clock_tolerance_seconds: 0, types: ["", "JWT"], claims: { scopes: "scopes" } },
  },
  interpret: readAccessClaims,
};

/**
 * Whether it is an access token, and its scopes: those of a token made for an OAuth client bind, where writing includes
 * reading; any other token may do what its user may. A claim of another type is no token of Cloudreve's.
 */
function readAccessClaims(claims: Claims, facts: TokenFacts): FactsOrReason {
  const { token_type: type, client_id: client, scopes } = claims;
  if (![type, client].every((claim) => claim == null || typeof claim === "string"))
    return { reason: "claim" };
  if (scopes != null && !Array.isArray(scopes)) return { reason: "claim" };
  if (type !== "access") return { reason: "token_use" };
  return { facts: { ...facts, scopes: client ? withReading(facts.scopes) : ALL_SCOPES } };
}

function withReading(scopes: readonly string[]): readonly string[] {
  const readable = scopes.filter((scope) => scope.endsWith(".Write"));
  return [...new Set([...scopes, ...readable.map((scope) => scope.replace(/Write$/, "Read"))])];
}
