// Where credentials stand: one header for people, many places for keys.
import type { Route } from "../../config/types.ts";
import type { Arrival, CredentialKind } from "../../types.ts";
import {
  AUTHORIZATION,
  isKeyRoute,
  KEY_PLACES,
  type KeyReading,
  mayTakeKeys,
  readKey,
  withSubprotocols,
} from "../new-api/keys.ts";
import type { Place, Presented } from "../preset.ts";
import { REFRESH_COOKIE } from "./cookie.ts";
import { isDashboardJwt } from "./jwt.ts";

/** Subprotocols without a key stay what they are, as in its newest releases, unless one is a key all the same. */
const KEY_READING: KeyReading = { takesAnySubprotocol: false, takesGoogleKeysAtModels: true };
const REFRESH: Place = { in: "cookie", name: REFRESH_COOKIE };
const MANAGEMENT: readonly Place[] = [AUTHORIZATION, REFRESH];
const WITH_KEYS: readonly Place[] = [...KEY_PLACES, REFRESH];

export const places = (arrival: Arrival, route: Route): readonly Place[] =>
  mayTakeKeys(route, arrival) ? withSubprotocols(arrival, WITH_KEYS) : MANAGEMENT;

export function read(arrival: Arrival, route: Route): Presented | null {
  if (!isKeyRoute(route, arrival)) return readWord(arrival, route);
  if (route.accept.includes("jwt")) {
    const token = readWord(arrival, route);
    if (token?.credential.kind === "jwt") return token;
  }
  return readKey(arrival, route, KEY_READING);
}

/** One raw word, or one after Bearer in any case. Anything else is no credential. */
function readWord({ request }: Arrival, route: Route): Presented | null {
  const header = request.headers.get("authorization");
  if (header === null) return null;
  const words = header.trim().split(/\s+/);
  const [first = "", second] = words;
  const value = words.length === 1 ? first : second;
  const isWord = words.length === 1 || (words.length === 2 && first.toLowerCase() === "bearer");
  if (!isWord || value === undefined || value === "" || value.toLowerCase() === "bearer") return null;
  return presented(kindOf(value, route), value);
}

/** What cannot be a personal access token is a JWT; where bad ones are overlooked, only the system's own count. */
function kindOf(value: string, { auth }: Route): CredentialKind {
  if (value.startsWith("sk-")) return "api_key";
  const first = value.indexOf(".");
  const isJwt = first !== -1 && value.indexOf(".", first + 1) !== -1;
  return isJwt && (auth === "required" || isDashboardJwt(value)) ? "jwt" : "pat";
}

const presented = (kind: CredentialKind, value: string): Presented => ({
  credential: { kind, value, suffix: null, claimedUserId: null },
  place: AUTHORIZATION,
});
