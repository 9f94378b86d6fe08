// New API as it is since July 2026: dashboard tokens and personal access tokens for people, keys for programs.
import { Problem } from "../../problem.ts";
import type { Preset, PresetRules } from "../preset.ts";
import { dialect } from "./dialect.ts";
import { dashboardJwt } from "./jwt.ts";
import { isKeyRoute, places, read } from "./read.ts";
import { ISSUING_TABLE, LEVELS, TABLE } from "./routes.ts";

/** Of whoever stands before the origin, and no key or token of its own. */
const FOREIGN_SCHEME = /^(basic|digest|negotiate) /i;

/** A key's status once its quota is used up. */
const EXHAUSTED = 4;

export const newApiCurrent: Preset = {
  name: "new-api-current",
  isCaseSensitive: true,
  canIssue: true,
  defaults: (isIssuing) => ({
    on_invalid: "anonymous",
    user_header: false,
    forward_credential: !isIssuing,
  }),
  jwt: dashboardJwt,
  levels: LEVELS,
  table: TABLE,
  issuingTable: ISSUING_TABLE,
  signIn: { accessSeconds: 900, idleDays: 30, sessionDays: 30, cookie: undefined },
  compile: ({ values, isIssuing }): PresetRules => ({
    name: "new-api-current",
    isIssuing,
    kinds: (users) => (users === "none" ? ["jwt"] : ["jwt", "pat", "api_key"]),
    read,
    places,
    isForeign: (place, value) => place.name === "authorization" && FOREIGN_SCHEME.test(value),
    dialect: values.errors === "problem" ? null : dialect,
    unforgivable: [],
    unforgivableKinds: ["jwt"],
    rejectRecord: ({ kind, attributes }, route) =>
      kind === "api_key" && !route.takesExpiredKeys && attributes.status === EXHAUSTED ? "exhausted" : null,
    restrict,
    configuredKeys: new Set(),
  }),
};

/** @throws Problem for a personal access token where sessions are managed, and for a channel that is not one's to choose */
const restrict: PresetRules["restrict"] = (principal, { kind, suffix }, route) => {
  if (kind === "pat" && route.path.startsWith("/api/user/sessions")) {
    throw new Problem("permission_denied", "a PAT where a session is needed", {
      reject: "kind_not_accepted",
    });
  }
  if (suffix === null || !isKeyRoute(route) || route.takesExpiredKeys) return;
  if (principal.role !== "admin" && principal.role !== "root") {
    throw new Problem("role_insufficient", "only administrators choose channels");
  }
  if (!/^[+-]?[0-9]{1,18}$/.test(suffix)) throw new Problem("input_invalid", "the channel is no number");
};
