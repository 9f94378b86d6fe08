// What NekoHub says of a signed-in user: role and permissions as they are now, and whether the account is active.
import { bearerInquiry, isTable, textOf, textsOf } from "../inquiry.ts";
import type { Introspection } from "../preset.ts";
import { roleOfJson } from "./rights.ts";

/**
 * Asks about tokens only. For an API key every path either reads or changes something, and those that count stand in
 * the configuration.
 */
export const introspection: Introspection = {
  kinds: ["jwt"],
  inquire: ({ value }) => bearerInquiry("/api/v1/auth/me", value, conclude),
};

/** A token that has run out at the origin, or was signed by another secret, is told as one of an inactive user is. */
const conclude: ReturnType<typeof bearerInquiry>["conclude"] = (status, { data, error }) => {
  if (status === 401) {
    const isRefusal = isTable(error) && error.code === "auth_unauthorized";
    return isRefusal ? { kind: "rejected", reason: "revoked" } : null;
  }
  if (status !== 200 || !isTable(data)) return null;
  const { id, username, role, isActive, permissions } = data;
  if (typeof id !== "string" || id === "" || typeof isActive !== "boolean") return null;
  if (!isActive) return { kind: "rejected", reason: "owner_inactive" };
  return {
    kind: "known",
    user: {
      id,
      name: textOf(username),
      role: roleOfJson(role),
      permissions: textsOf(permissions),
      attributes: {},
    },
  };
};
