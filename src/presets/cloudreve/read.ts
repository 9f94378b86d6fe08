// Where Cloudreve's clients put a token: Authorization, with or without `Bearer `, in exactly this spelling.
import { withoutOuterBlanks } from "../../pipeline/credential.ts";
import type { Arrival } from "../../types.ts";
import type { Place, Presented } from "../preset.ts";

const PLACE: Place = { in: "header", name: "authorization" };
export const PLACES: readonly Place[] = [PLACE];

const PREFIX = "Bearer ";
/** What follows signs the request; routes that ask for it check it themselves, and to all others it is nobody. */
const REQUEST_SIGNATURE = "Bearer Cr ";

/** Passed on where it says nothing about a token: a request's signature, or what a server before the origin asks for. */
const FOREIGN = /^(?:Bearer Cr|Basic) [^\s,]+$/;

/** Whatever stands there is a JWT, if often no good one: another spelling of `Bearer` leaves junk that does not parse. */
export function read({ request }: Arrival): Presented | null {
  const field = withoutOuterBlanks(request.headers.get("authorization") ?? "");
  if (field === "" || field.startsWith(REQUEST_SIGNATURE)) return null;
  const value = field.startsWith(PREFIX) ? field.slice(PREFIX.length) : field;
  return { credential: { kind: "jwt", value, suffix: null, claimedUserId: null }, place: PLACE };
}

export const isForeign = (_place: Place, value: string): boolean => FOREIGN.test(withoutOuterBlanks(value));
