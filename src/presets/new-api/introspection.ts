// What New API says of its users and keys when it is asked: the classic one, and what both generations share.
import type { Finding } from "../../records/types.ts";
import type { Credential, RejectReason } from "../../types.ts";
import { bearerInquiry, isTable, textOf } from "../inquiry.ts";
import type { Inquiry, Introspection } from "../preset.ts";
import { SESSION_COOKIE } from "./read.ts";

export const SELF_PATH = "/api/user/self";
const USAGE_PATH = "/api/usage/token/";
/** A model that there is not: it is looked for after the key was checked as for any relayed call, and costs nothing. */
const RELAY_PATH = "/v1/models/introspection";

/** Base64 of 21 to 24 bytes. */
const PAT = /^(?=.{28}(?:.{4})?$)[A-Za-z0-9+/]+={0,2}$/;
const KEY = /^sk-[A-Za-z0-9]{48}$/;
/** As gorilla/securecookie writes them: base64url. */
const COOKIE = /^[A-Za-z0-9_-]{64,4096}={0,2}$/;
/** Other spellings are refused here as they are there, or more strictly, so there is nothing to ask. */
const USER_ID = /^[1-9][0-9]{0,14}$/;

export const isPat = (value: string): boolean => PAT.test(value);

export const introspection: Introspection = {
  kinds: ["session", "pat", "api_key"],
  inquire: (credential, route, { userHeader }) => {
    const { kind, value, claimedUserId } = credential;
    if (kind === "api_key") return inquireKey(credential, route);
    const isPossible = kind === "pat" ? PAT.test(value) : kind === "session" && COOKIE.test(value);
    if (!isPossible || userHeader === null) return null;
    const place: Readonly<Record<string, string>> =
      kind === "pat" ? { authorization: `Bearer ${value}` } : { cookie: `${SESSION_COOKIE.name}=${value}` };
    // What is refused is told by its text, which has to be in a language that is read here.
    const headers = { ...place, "accept-language": "en" };
    if (route.ignoresUserHeader) {
      return { path: SELF_PATH, headers, isByAddress: false, conclude: concludeWithoutUser };
    }
    if (claimedUserId === null || !USER_ID.test(claimedUserId)) return null;
    const named = { ...headers, [userHeader]: claimedUserId };
    return { path: SELF_PATH, headers: named, isByAddress: false, conclude: concludeClassic };
  },
};

/** In the languages that it speaks, and as forks say it, who name their own headers. */
const REFUSALS: readonly (readonly [text: RegExp, reason: RejectReason])[] = [
  [/not logged in|未登[录入]|access token/i, "unknown"],
  [/banned|封禁/, "owner_inactive"],
  [/user info|用户信息|使用者資訊/, "owner_missing"],
  [/not provided|未提供/, "user_header_missing"],
  [/format|格式/, "user_header_malformed"],
  [/not match|匹配/, "user_header_mismatch"],
];

/** A refusal may have the status 200, and so may an error of its database: only the texts tell them apart. */
const concludeClassic: Inquiry["conclude"] = (status, body) => {
  if (status === 200 && body.success === true) return knownUser(body);
  if (body.success !== false || (status !== 200 && status !== 401)) return null;
  const message = textOf(body.message) ?? "";
  const reason = REFUSALS.find(([text]) => text.test(message))?.[1];
  if (reason !== undefined) return { kind: "rejected", reason };
  return status === 401 ? { kind: "rejected", reason: "unknown" } : null;
};

/** A credential that it finds fault with only for not saying whose it is, is somebody's. */
const concludeWithoutUser: Inquiry["conclude"] = (status, body) => {
  const finding = concludeClassic(status, body);
  const isGood = finding?.kind === "rejected" && finding.reason === "user_header_missing";
  return isGood ? { kind: "known", user: null } : finding;
};

const ROLES: ReadonlyMap<unknown, string> = new Map([
  [1, "user"],
  [10, "admin"],
  [100, "root"],
]);
const ENABLED = 1;

/** The user of `{"success":true,"data":{…}}`; `null`: there is none. */
export function knownUser({ data }: Readonly<Record<string, unknown>>): Finding | null {
  if (!isTable(data)) return null;
  const { id, username, display_name: displayName, role, status, group } = data;
  if (!Number.isSafeInteger(id) || Number(id) <= 0) return null;
  if (status !== ENABLED) return { kind: "rejected", reason: "owner_inactive" };
  const user = {
    id: String(id),
    name: textOf(displayName) ?? textOf(username),
    role: ROLES.get(role) ?? "",
    permissions: [],
    attributes: textOf(group) === null ? {} : { group },
  };
  return { kind: "known", user };
}

/**
 * Asks about a key. Where keys are for work, by the check that its work will meet, which knows of expiry, quota, allowed addresses
 * and the owner's status; where they ask about themselves, by the one that lets expired keys do so. Neither says whose it is.
 */
export function inquireKey(
  { value }: Credential,
  { takesExpiredKeys }: { readonly takesExpiredKeys: boolean },
): Inquiry | null {
  if (!KEY.test(value)) return null;
  if (takesExpiredKeys) return bearerInquiry(USAGE_PATH, value, concludeUsage);
  return { ...bearerInquiry(RELAY_PATH, value, concludeRelay), isByAddress: true };
}

const KNOWN_KEY: Finding = { kind: "known", user: null };
const UNKNOWN_KEY: Finding = { kind: "rejected", reason: "unknown" };
const BANNED: Finding = { kind: "rejected", reason: "owner_inactive" };

const concludeUsage: Inquiry["conclude"] = (status, { code, data, success, message }) => {
  if (status === 200) return code === true && isTable(data) ? KNOWN_KEY : null;
  if (success !== false) return null;
  if (status === 403) return BANNED;
  if (status !== 401) return null;
  const isDisabled = /status|状态|狀態/.test(textOf(message) ?? "");
  return isDisabled ? { kind: "rejected", reason: "disabled" } : UNKNOWN_KEY;
};

/** The words of refusals for addresses and groups are never translated there. */
const concludeRelay: Inquiry["conclude"] = (status, { error, object }) => {
  if (status === 200 && object === "model") return KNOWN_KEY;
  if (!isTable(error)) return null;
  if ((status === 200 || status === 404) && error.code === "model_not_found") return KNOWN_KEY;
  if (typeof error.type !== "string" || !error.type.endsWith("_api_error")) return null;
  if (status === 401) return UNKNOWN_KEY;
  if (status !== 403) return null;
  const message = textOf(error.message) ?? "";
  if (error.code === "access_denied" || /\bIP\b/.test(message))
    return { kind: "rejected", reason: "address" };
  // The key is good, and what its group may not do is said by the origin.
  return message.includes("分组") ? KNOWN_KEY : BANNED;
};
