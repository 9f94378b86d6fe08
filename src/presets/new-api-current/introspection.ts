// What the current New API says of whoever holds a token: a session that was ended is told apart from one that is alive.
import type { RejectReason } from "../../types.ts";
import { bearerInquiry } from "../inquiry.ts";
import { inquireKey, isPat, knownUser, SELF_PATH } from "../new-api/introspection.ts";
import type { Inquiry, Introspection } from "../preset.ts";

export const introspection: Introspection = {
  kinds: ["jwt", "pat", "api_key"],
  inquire: (credential, route) => {
    const { kind, value } = credential;
    if (kind === "api_key") return inquireKey(credential, route);
    return kind === "jwt" || isPat(value) ? bearerInquiry(SELF_PATH, value, conclude) : null;
  },
};

const REFUSALS: ReadonlyMap<unknown, RejectReason> = new Map([
  ["AUTH_UNAUTHORIZED", "unknown"],
  ["AUTH_TOKEN_EXPIRED", "expired"],
  ["AUTH_SESSION_REVOKED", "revoked"],
  ["AUTH_USER_DISABLED", "owner_inactive"],
  ["AUTH_USER_INVALID", "owner_missing"],
]);

const conclude: Inquiry["conclude"] = (status, body) => {
  if (status === 200 && body.success === true) return knownUser(body);
  const reason = status === 401 && body.success === false ? REFUSALS.get(body.code) : undefined;
  return reason === undefined ? null : { kind: "rejected", reason };
};
