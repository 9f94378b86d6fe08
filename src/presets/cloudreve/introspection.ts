// What Cloudreve says of a signed-in user: whether the account is active, and whether its group administers.
import type { RejectReason } from "../../types.ts";
import { bearerInquiry, isTable, textOf } from "../inquiry.ts";
import type { Inquiry, Introspection } from "../preset.ts";

export const introspection: Introspection = {
  kinds: ["jwt"],
  inquire: ({ value }) => bearerInquiry("/api/v4/user/me", value, conclude),
};

/** What it says of a token, always with the status 200. Its word for an account that is out is that for a failing database. */
const REFUSALS: ReadonlyMap<unknown, RejectReason> = new Map([
  [401, "revoked"],
  [40020, "token_use"],
  [404, "subject"],
  [50001, "owner_inactive"],
]);
/** Said of a good token for an OAuth client, which may not ask who it is. */
const SCOPE_MISSING = 40089;

const conclude: Inquiry["conclude"] = (status, { code, data }) => {
  if (status !== 200) return null;
  const reason = REFUSALS.get(code);
  if (reason !== undefined) return { kind: "rejected", reason };
  if (code === SCOPE_MISSING) return { kind: "known", user: null };
  if (code !== 0 || !isTable(data)) return null;
  const id = textOf(data.id);
  if (id === null || data.anonymous === true) return null;
  if (data.status !== undefined && data.status !== "active")
    return { kind: "rejected", reason: "owner_inactive" };
  const group = isTable(data.group) ? data.group : {};
  const nickname = textOf(data.nickname);
  const user = {
    id,
    name: nickname,
    role: isAdmin(group.permission) ? "admin" : "user",
    permissions: [],
    attributes: { nick: nickname ?? "", group: textOf(group.name) ?? "" },
  };
  return { kind: "known", user };
};

/** The first of a set of bits, which comes in base64. */
function isAdmin(permission: unknown): boolean {
  try {
    return typeof permission === "string" && (atob(permission).charCodeAt(0) & 1) === 1;
  } catch {
    return false;
  }
}
