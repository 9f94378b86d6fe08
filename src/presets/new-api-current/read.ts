// Where credentials stand: one header for people, many places for keys.
import type { Route } from "../../config/types.ts";
import { parameterValues } from "../../pipeline/pieces.ts";
import type { Arrival, CredentialKind } from "../../types.ts";
import type { Place, Presented } from "../preset.ts";
import { REFRESH_COOKIE } from "./cookie.ts";
import { isDashboardJwt } from "./jwt.ts";

const AUTHORIZATION: Place = { in: "header", name: "authorization" };
const SUBPROTOCOL: Place = { in: "subprotocol", name: "openai-insecure-api-key." };
const X_API_KEY: Place = { in: "header", name: "x-api-key" };
const QUERY_KEY: Place = { in: "query", name: "key" };
const GOOGLE_KEY: Place = { in: "header", name: "x-goog-api-key" };
const MIDJOURNEY_SECRET: Place = { in: "header", name: "mj-api-secret" };

const ALL: readonly Place[] = [
  AUTHORIZATION,
  SUBPROTOCOL,
  X_API_KEY,
  QUERY_KEY,
  GOOGLE_KEY,
  MIDJOURNEY_SECRET,
];
const MANAGEMENT: readonly Place[] = [AUTHORIZATION, { in: "cookie", name: REFRESH_COOKIE }];

/** Keys only, or keys where no dashboard token stands. */
export const isKeyRoute = ({ accept }: Route): boolean =>
  accept.includes("api_key") && !accept.includes("pat");

export const places = (_arrival: Arrival, route: Route): readonly Place[] =>
  isKeyRoute(route) ? ALL : MANAGEMENT;

export function read(arrival: Arrival, route: Route): Presented | null {
  if (!isKeyRoute(route)) return readWord(arrival, route);
  if (route.accept.includes("jwt")) {
    const token = readWord(arrival, route);
    if (token?.credential.kind === "jwt") return token;
  }
  return route.takesExpiredKeys
    ? keyOf(arrival.request.headers.get("authorization") ?? "", AUTHORIZATION)
    : readKey(arrival);
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
  return presented(kindOf(value, route), value, null, AUTHORIZATION);
}

/** What cannot be a personal access token is a JWT; where bad ones are overlooked, only the system's own count. */
function kindOf(value: string, { auth }: Route): CredentialKind {
  if (value.startsWith("sk-")) return "api_key";
  const first = value.indexOf(".");
  const isJwt = first !== -1 && value.indexOf(".", first + 1) !== -1;
  return isJwt && (auth === "required" || isDashboardJwt(value)) ? "jwt" : "pat";
}

/** Later places win over earlier ones, as in the original. */
function readKey({ request: { headers }, path, search }: Arrival): Presented | null {
  let sent = headers.get("authorization") ?? "";
  let place = AUTHORIZATION;
  const take = (value: string | null | undefined, from: Place) => {
    if (value == null || value === "") return;
    sent = value;
    place = from;
  };
  const entry = headers
    .get("sec-websocket-protocol")
    ?.split(",")
    .find((name) => name.trim().startsWith(SUBPROTOCOL.name));
  take(entry?.trim().slice(SUBPROTOCOL.name.length), SUBPROTOCOL);
  if (path.includes("/v1/messages") || path.includes("/v1/models")) take(headers.get("x-api-key"), X_API_KEY);
  if (takesGoogleKeys(path)) {
    take(parameterValues(search, "key")[0], QUERY_KEY);
    take(headers.get("x-goog-api-key"), GOOGLE_KEY);
  }
  const bare = sent.replace(/^[Bb]earer /, "").trim();
  if (bare === "" || bare === "midjourney-proxy") {
    return keyOf(headers.get("mj-api-secret") ?? "", MIDJOURNEY_SECRET);
  }
  return keyOf(sent, place);
}

const takesGoogleKeys = (path: string): boolean =>
  path.startsWith("/v1beta/models") ||
  path.startsWith("/v1beta/openai/models") ||
  path === "/v1/models" ||
  path.startsWith("/v1/models/");

/** The part up to the first hyphen is the key, the next one a channel. */
function keyOf(sent: string, place: Place): Presented | null {
  const bare = sent.replace(/^[Bb]earer /, "").trim();
  if (bare === "") return null;
  const [key = "", channel = null] = (bare.startsWith("sk-") ? bare.slice(3) : bare).split("-");
  return presented("api_key", `sk-${key}`, channel, place);
}

const presented = (kind: CredentialKind, value: string, suffix: string | null, place: Place): Presented => ({
  credential: { kind, value, suffix, claimedUserId: null },
  place,
});
