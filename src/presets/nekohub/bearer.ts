// Where NekoHub's clients put a credential, and which of two it is: a JWT or an API key, both behind `Bearer`.
import { withoutOuterBlanks } from "../../pipeline/credential.ts";
import { Problem } from "../../problem.ts";
import type { Arrival, CredentialKind } from "../../types.ts";
import type { Place, Presented } from "../preset.ts";

const MAX_BYTES = 8192;
const COMMA = 0x2c;
const DOT = 0x2e;

export const AUTHORIZATION: readonly Place[] = [{ in: "header", name: "authorization" }];
const [PLACE = { in: "header", name: "authorization" } as const] = AUTHORIZATION;

/**
 * The credential of a request: what follows `Bearer`, in any case, in the one Authorization header. Of which kind it is
 * goes by `schemeOf`. A route that would take API keys only, where there are none, finds nothing whatever was sent.
 *
 * @param accept what the route takes
 * @throws Problem `credential_invalid` for another scheme, none, or what is not one word; `credential_conflict` for a list,
 *   as which a repeated header arrives
 */
export function readBearer({ request }: Arrival, accept: readonly CredentialKind[]): Presented | null {
  const field = accept.length === 0 ? "" : withoutOuterBlanks(request.headers.get("authorization") ?? "");
  if (field === "") return null;
  const value = bearerToken(field);
  if (value === null || value === "") throw new Problem("credential_invalid", "Authorization: not Bearer");
  if (value.length > MAX_BYTES) throw new Problem("credential_invalid", "over 8 KB");
  for (let at = 0; at < value.length; at++) {
    const char = value.charCodeAt(at);
    if (char === COMMA) throw new Problem("credential_conflict", "a list in Authorization");
    if (char <= 0x20 || char >= 0x7f) throw new Problem("credential_invalid", "not one word of ASCII");
  }
  const credential = { kind: schemeOf(field, accept), value, suffix: null, claimedUserId: null };
  return { credential, place: PLACE };
}

/**
 * The scheme that decides about a request, which also says how it is refused. Where a route takes both: a Bearer value with
 * exactly two dots is a JWT, and everything else (another scheme, a list, nothing at all) is for API keys. A route that
 * takes neither is one for API keys where there are none.
 *
 * @param field Authorization without blanks around it; `""`: there is none
 */
export function schemeOf(field: string, accept: readonly CredentialKind[]): "jwt" | "api_key" {
  if (!accept.includes("jwt")) return "api_key";
  if (!accept.includes("api_key")) return "jwt";
  const value = bearerToken(field) ?? "";
  return hasTwoDots(value) && !value.includes(",") ? "jwt" : "api_key";
}

/** Not more than two, either. */
export function hasTwoDots(value: string): boolean {
  let dots = 0;
  for (let at = 0; at < value.length; at++) if (value.charCodeAt(at) === DOT) dots++;
  return dots === 2;
}

/** What follows `Bearer` and a blank; `""`: nothing does; `null`: another scheme, or none. */
function bearerToken(field: string): string | null {
  if (field.slice(0, 6).toLowerCase() !== "bearer") return null;
  const rest = field.slice(6);
  const token = withoutOuterBlanks(rest);
  return rest === "" || token !== rest ? token : null;
}
