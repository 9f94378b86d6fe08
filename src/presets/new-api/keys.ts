// Keys of both generations of New API: the many places where they stand, and what is asked of them beside being good.
import type { Route } from "../../config/types.ts";
import { parameterValues } from "../../pipeline/pieces.ts";
import { isOwnerUnknown } from "../../pipeline/verify/unknown-owner.ts";
import { Problem } from "../../problem.ts";
import type { Arrival } from "../../types.ts";
import type { Place, Presented, PresetRules } from "../preset.ts";

export const AUTHORIZATION: Place = { in: "header", name: "authorization" };
const SUBPROTOCOL: Place = { in: "subprotocol", name: "openai-insecure-api-key." };
const SUBPROTOCOLS: Place = { in: "header", name: "sec-websocket-protocol" };
const X_API_KEY: Place = { in: "header", name: "x-api-key" };
const QUERY_KEY: Place = { in: "query", name: "key" };
const GOOGLE_KEY: Place = { in: "header", name: "x-goog-api-key" };
const MIDJOURNEY_SECRET: Place = { in: "header", name: "mj-api-secret" };

/** Every place from which the system takes keys, on any path. */
export const KEY_PLACES: readonly Place[] = [
  AUTHORIZATION,
  SUBPROTOCOL,
  X_API_KEY,
  QUERY_KEY,
  GOOGLE_KEY,
  MIDJOURNEY_SECRET,
];

/** Of a token's `status` attribute. 1: enabled. */
const ENABLED = 1;
const EXPIRED = 3;
const EXHAUSTED = 4;

const BEARER = /^[Bb]earer /;
/** Behind any blanks: to Go U+0085 is one. */
const ENTRY = /^[\s\u0085]*openai-insecure-api-key\./;
/** What no protocol is called, and every key is. */
const LIKE_KEY = /^[\s\u0085]*(?:[Bb]earer )?(?:sk-|[0-9A-Za-z]{32})/;
/** As the page of one's usage wants it, which takes keys apart once more. */
const ONE_BEARER_WORD = /^bearer [^ ]+$/i;
const USAGE_PATH = "/api/usage/token/";

/** What the generations differ in. */
export interface KeyReading {
  /** Whether subprotocols without an entry for a key are themselves taken for one, whatever they are. */
  readonly takesAnySubprotocol: boolean;
  /** Whether Google's places count at exactly `/v1/models` as well. */
  readonly takesGoogleKeysAtModels: boolean;
}

/** Where the system looks for people alone. */
const MANAGEMENT_PATH = /^\/(?:api(?!\/(?:usage|log)\/token)|pg)(?:\/|$)/;
/** Where it looks for keys, whatever a row of the site's own takes. */
const RELAY_PATH = /^\/(?:v1|v1beta|(?:[^/]+\/)?mj|suno|kling|jimeng|dashboard\/billing)(?:\/|$)/;

/** Keys only, or keys where nobody is signed in. */
export const isKeyRoute = ({ accept }: Route, { path }: Pick<Arrival, "path">): boolean =>
  accept.includes("api_key") && (!accept.includes("pat") || RELAY_PATH.test(path));

/** Whether the system could find a key on this path, also where the row takes none: then no second one may be there. */
export const mayTakeKeys = (route: Route, arrival: Arrival): boolean =>
  isKeyRoute(route, arrival) || !MANAGEMENT_PATH.test(arrival.path);

/** These places, and the list of subprotocols where what is no entry for a key is one itself: elsewhere the list is needed. */
export function withSubprotocols({ request }: Arrival, places: readonly Place[]): readonly Place[] {
  const protocols = request.headers.get(SUBPROTOCOLS.name);
  if (protocols === null) return places;
  const others = protocols.split(",").filter((name) => !isEntry(name));
  return LIKE_KEY.test(others.join(",")) ? [...places, SUBPROTOCOLS] : places;
}

/**
 * The key of a request. Where it asks about itself only Authorization counts; elsewhere later places win over earlier
 * ones, as in the original, whatever stands in them.
 */
export function readKey(arrival: Arrival, route: Route, reading: KeyReading): Presented | null {
  const { headers } = arrival.request;
  if (route.takesExpiredKeys) return keyOf(headers.get("authorization"), AUTHORIZATION);
  let sent = headers.get("authorization") ?? "";
  let place = AUTHORIZATION;
  const take = (value: string | null | undefined, from: Place) => {
    if (value == null || value === "") return;
    sent = `Bearer ${value}`;
    place = from;
  };
  const protocols = headers.get(SUBPROTOCOLS.name) ?? "";
  const entry = entryOf(protocols);
  if (entry !== undefined) take(entry, SUBPROTOCOL);
  else if (reading.takesAnySubprotocol || LIKE_KEY.test(protocols)) take(protocols, SUBPROTOCOLS);
  takeByPath(arrival, reading, take);
  const bare = withoutBearer(sent);
  return bare === "" || bare === "midjourney-proxy"
    ? keyOf(headers.get(MIDJOURNEY_SECRET.name), MIDJOURNEY_SECRET)
    : keyOf(sent, place);
}

/**
 * Places that count on some paths only: Anthropic's, then Google's.
 * @throws Problem `credential_conflict` for several parameters: to Go one that holds a semicolon is not there, and the
 *   next one is the first
 */
function takeByPath(
  { request: { headers }, path, search }: Arrival,
  { takesGoogleKeysAtModels }: KeyReading,
  take: (value: string | null | undefined, from: Place) => void,
): void {
  if (path.includes("/v1/messages") || path.includes("/v1/models")) {
    take(headers.get(X_API_KEY.name), X_API_KEY);
  }
  const isGoogle =
    path.startsWith("/v1beta/models") ||
    path.startsWith("/v1beta/openai/models") ||
    path.startsWith("/v1/models/") ||
    (takesGoogleKeysAtModels && path === "/v1/models");
  if (!isGoogle) return;
  const [key, ...others] = parameterValues(search, QUERY_KEY.name);
  if (others.some((other) => other !== key)) throw new Problem("credential_conflict", "parameter key");
  take(key, QUERY_KEY);
  take(headers.get(GOOGLE_KEY.name), GOOGLE_KEY);
}

const isEntry = (name: string): boolean => ENTRY.test(name);

/** The first of the subprotocols that holds a key, without what says so. */
const entryOf = (protocols: string): string | undefined =>
  protocols.split(",").find(isEntry)?.replace(ENTRY, "").trim();

const withoutBearer = (sent: string): string => sent.trim().replace(BEARER, "").trim();

/**
 * The part up to the first hyphen is the key, the next one a channel.
 * @throws Problem `credential_conflict` for several words, which a channel that is overlooked would hide
 */
function keyOf(sent: string | null, place: Place): Presented | null {
  const bare = withoutBearer(sent ?? "");
  if (bare === "") return null;
  if (/[\s,]/.test(bare)) throw new Problem("credential_conflict", "several words where one key belongs");
  const [key = "", suffix = null] = bare.replace(/^sk-/, "").split("-");
  return { credential: { kind: "api_key", value: `sk-${key}`, suffix, claimedUserId: null }, place };
}

/** Of whoever stands before the origin, and no key or token of its own. */
const FOREIGN_SCHEME = /^(basic|digest|negotiate) /i;

export const isForeign: PresetRules["isForeign"] = (place, value) =>
  place.name === AUTHORIZATION.name && FOREIGN_SCHEME.test(value);

/** By the status that the system gave a token. One that is expired or used up may still ask about itself. */
export const rejectKey: PresetRules["rejectRecord"] = ({ kind, attributes: { status } }, route) => {
  if (kind !== "api_key" || typeof status !== "number" || status === ENABLED) return null;
  if (status !== EXPIRED && status !== EXHAUSTED) return "disabled";
  if (route.takesExpiredKeys) return null;
  return status === EXPIRED ? "expired" : "exhausted";
};

/** @throws Problem for a channel that is not one's to choose, and for a raw key where one's usage is told */
export const restrictKey: PresetRules["restrict"] = (principal, { kind, suffix }, route, arrival) => {
  if (kind !== "api_key" || !isKeyRoute(route, arrival)) return;
  if (route.takesExpiredKeys) {
    const { request } = arrival;
    const isBearer = ONE_BEARER_WORD.test((request.headers.get("authorization") ?? "").trim());
    if (route.path !== USAGE_PATH || isBearer) return;
    throw new Problem("credential_invalid", "a key without Bearer", { reject: "kind_not_accepted" });
  }
  // Where nobody here knows whose key it is, the origin says whose channels are.
  if (suffix === null || isOwnerUnknown(principal)) return;
  if (principal.role !== "admin" && principal.role !== "root") {
    throw new Problem("role_insufficient", "only administrators choose channels", {
      about: principal.attributes,
    });
  }
  if (!/^[+-]?[0-9]{1,18}$/.test(suffix)) {
    throw new Problem("input_invalid", "the channel is no number", { about: principal.attributes });
  }
};
