// Where credentials stand in the classic New API: a cookie, then one header, beside it the user's id; and keys.
import type { CredentialRules } from "../../config/types.ts";
import { withoutOuterBlanks } from "../../pipeline/credential.ts";
import { cookieValues } from "../../pipeline/pieces.ts";
import { Problem } from "../../problem.ts";
import type { Arrival, Credential, CredentialKind } from "../../types.ts";
import type { Place, Presented, PresetRules } from "../preset.ts";
import {
  AUTHORIZATION,
  isKeyRoute,
  KEY_PLACES,
  type KeyReading,
  mayTakeKeys,
  readKey,
  withSubprotocols,
} from "./keys.ts";

/** The system's own, read before everything else, whoever issues. */
export const SESSION_COOKIE: Place = { in: "cookie", name: "session" };
const WITH_KEYS: readonly Place[] = [...KEY_PLACES, SESSION_COOKIE];
const MANAGEMENT: readonly Place[] = [SESSION_COOKIE, AUTHORIZATION];

const KEY_READING: KeyReading = { takesAnySubprotocol: true, takesGoogleKeysAtModels: false };

/** Base64 of 21 to 24 bytes, of which ours are a part. */
const PAT = /^(?:[A-Za-z0-9+/=]{28}|[A-Za-z0-9+/=]{32})$/;
/** Within 64 bits; what is longer is no integer to the original. */
const USER_ID = /^(?:0|[1-9][0-9]{0,17})$/;
/** No user id, in any reading of one. */
const NO_USER_ID = "";

/** Whose sessions are verified: `issued`: those made here. `origin`: the origin's own, by asking it. `null`: nobody's. */
export type SessionsOf = "issued" | "origin" | null;

/** A dot parts a session made here from its secret; the original's cookies, base64url as a whole, have none. */
const isIssued = (value: string): boolean => value.includes(".");

export const places: PresetRules["places"] = (arrival, route) =>
  mayTakeKeys(route, arrival) ? withSubprotocols(arrival, WITH_KEYS) : MANAGEMENT;

/**
 * Reads what the original reads, in its order: the cookie, and only without one Authorization. A cookie that nobody here
 * can verify counts as the original counts one in which nobody is signed in: it is passed over, and goes no further once
 * something else has decided. So does one of the origin's beside a PAT: it may have run out, which cannot be seen.
 */
export function createRead(sessionsOf: SessionsOf): PresetRules["read"] {
  return (arrival, route, rules) => {
    if (route.takesExpiredKeys) return readKey(arrival, route, KEY_READING);
    const takesSessions = sessionsOf !== null && route.accept.includes("session");
    const session = takesSessions ? readSession(arrival, rules, sessionsOf) : null;
    const isAlone = sessionsOf !== "origin" || isKeyRoute(route, arrival) || !hasPat(arrival);
    if (session !== null && isAlone) return session;
    return isKeyRoute(route, arrival) ? readKey(arrival, route, KEY_READING) : readToken(arrival, rules);
  };
}

/** @throws Problem `credential_conflict` for two different sessions */
function readSession(
  arrival: Arrival,
  rules: CredentialRules,
  sessionsOf: "issued" | "origin",
): Presented | null {
  const header = arrival.request.headers.get("cookie");
  if (header === null) return null;
  const names = sessionsOf === "issued" ? rules.cookies : [SESSION_COOKIE.name];
  for (const name of names) {
    const values = cookieValues(header, name).filter(
      (value) => isIssued(value) === (sessionsOf === "issued"),
    );
    const [first] = values;
    if (first === undefined) continue;
    if (values.some((value) => value !== first)) throw new Problem("credential_conflict", `cookie ${name}`);
    return { credential: credentialOf("session", first, arrival, rules), place: { in: "cookie", name } };
  }
  return null;
}

const hasPat = ({ request }: Arrival): boolean =>
  PAT.test(bareValue(withoutOuterBlanks(request.headers.get("authorization") ?? "")));

const bareValue = (field: string): string => field.replace("Bearer ", "");

/** What is left of Authorization without `Bearer `, wherever that stands in it. @throws Problem `credential_invalid` */
function readToken(arrival: Arrival, rules: CredentialRules): Presented | null {
  const header = withoutOuterBlanks(arrival.request.headers.get("authorization") ?? "");
  if (header === "") return null;
  const value = bareValue(header);
  const isKey = value.startsWith("sk-");
  // Anything else is refused without a look-up, however many such tokens the realm may hold.
  if (!isKey && !PAT.test(value)) throw new Problem("credential_invalid", "no PAT", { reject: "malformed" });
  return {
    credential: credentialOf(isKey ? "api_key" : "pat", value, arrival, rules),
    place: AUTHORIZATION,
  };
}

function credentialOf(
  kind: CredentialKind,
  value: string,
  { request }: Arrival,
  { userHeader }: CredentialRules,
): Credential {
  const claimed = withoutOuterBlanks((userHeader === null ? null : request.headers.get(userHeader)) ?? "");
  return { kind, value, suffix: null, claimedUserId: claimed === "" ? null : userIdOf(claimed) };
}

/** Go reads `+7` and `007` as 7; here they are as wrong as a name. */
const userIdOf = (claimed: string): string => (USER_ID.test(claimed) ? claimed : NO_USER_ID);
