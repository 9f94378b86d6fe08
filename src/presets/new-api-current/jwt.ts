// Dashboard tokens: the JWTs of signed-in users, by a key that comes of the system's session secret.
import { createHmac } from "node:crypto";
import { base64url } from "jose";
import type { Claims, FactsOrReason, TokenFacts } from "../../pipeline/verify/claims.ts";
import type { PresetJwt } from "../preset.ts";

export const DASHBOARD_ISSUER = "new-api";
export const DASHBOARD_AUDIENCE = "new-api-dashboard";
const KEY_LABEL = "new-api/auth/access/v1";
const ACCESS_SECONDS = 900;
const DECIMAL = /^[1-9][0-9]{0,14}$/;

export const dashboardJwt: PresetJwt = {
  defaults: {
    algorithms: ["HS256"],
    issuer: DASHBOARD_ISSUER,
    audience: DASHBOARD_AUDIENCE,
    rest: {
      clock_tolerance_seconds: 5,
      // What the origin's clock may be ahead of ours is on top.
      max_lifetime_seconds: ACCESS_SECONDS + 60,
      types: ["", "jwt"],
    },
  },
  deriveKey,
  interpret: readDashboardClaims,
};

/** HMAC-SHA-256 of a fixed label under the session secret: the 32 bytes that sign, which the secret itself never does. */
function deriveKey(sessionSecret: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac("sha256", sessionSecret).update(KEY_LABEL, "utf8").digest());
}

/**
 * What a dashboard token says beside the generic claims: that it is for access, whose session it is of, and in which
 * version. All have to be there. Does not compare the versions: who keeps the sessions does.
 */
function readDashboardClaims(claims: Claims, facts: TokenFacts): FactsOrReason {
  if (claims.token_use !== "access") return { reason: "token_use" };
  if (!DECIMAL.test(facts.subject)) return { reason: "subject" };
  const isComplete =
    isVersion(claims.uv) &&
    isVersion(claims.sv) &&
    claims.nbf !== undefined &&
    claims.iat !== undefined &&
    facts.tokenId !== null &&
    facts.sessionId !== null;
  return isComplete ? { facts } : { reason: "claim" };
}

const isVersion = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * Whether a value claims to be one of the system's own tokens, for access or as a proof. Nothing about it is verified;
 * such a value is never taken for a personal access token, however wrong it is.
 */
export function isDashboardJwt(value: string): boolean {
  const parts = value.split(".");
  if (parts.length !== 3) return false;
  try {
    const claims = JSON.parse(new TextDecoder().decode(base64url.decode(parts[1] ?? "")));
    const { iss, aud, token_use: use } = claims;
    const isForUs = Array.isArray(aud) ? aud.includes(DASHBOARD_AUDIENCE) : aud === DASHBOARD_AUDIENCE;
    return iss === DASHBOARD_ISSUER && isForUs && (use === "access" || use === "security_proof");
  } catch {
    return false;
  }
}
