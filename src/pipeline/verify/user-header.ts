// The header by which a caller says whose PAT or session it presents, as `New-Api-User` does.
import type { RejectReason } from "../../types.ts";

const MAX_LENGTH = 256;

/**
 * Whether the claimed user id is the owner's, character by character: `+7`, `007`, ` 7` and `7, 7` are not `7`.
 * @returns `null` when it is
 */
export function wrongUserHeader(claimedUserId: string | null, ownerId: string): RejectReason | null {
  if (claimedUserId === null) return "user_header_missing";
  if (!isCanonical(claimedUserId)) return "user_header_malformed";
  return claimedUserId === ownerId ? null : "user_header_mismatch";
}

/** Visible ASCII but for the comma, which is how two header fields arrive as one; numbers without sign or leading zero. */
function isCanonical(id: string): boolean {
  if (id.length === 0 || id.length > MAX_LENGTH) return false;
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code === 0x2c) return false;
  }
  return !/^(0[0-9]|[+-][0-9])[0-9]*$/.test(id);
}
