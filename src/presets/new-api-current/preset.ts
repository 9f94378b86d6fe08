// New API as it is since July 2026: dashboard tokens and personal access tokens for people, keys for programs.
import { Problem } from "../../problem.ts";
import { isForeign, rejectKey, restrictKey } from "../new-api/keys.ts";
import type { Preset, PresetRules } from "../preset.ts";
import { dialect } from "./dialect.ts";
import { introspection } from "./introspection.ts";
import { dashboardJwt } from "./jwt.ts";
import { places, read } from "./read.ts";
import { ISSUING_TABLE, LEVELS, TABLE } from "./routes.ts";

export const newApiCurrent: Preset = {
  name: "new-api-current",
  isCaseSensitive: true,
  canIssue: true,
  settings: [],
  hasOpaqueCredentials: true,
  defaults: (isIssuing) => ({
    on_invalid: "anonymous",
    user_header: false,
    forward_credential: !isIssuing,
  }),
  jwt: dashboardJwt,
  introspection,
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
    isForeign,
    dialect: values.errors === "problem" ? null : dialect,
    unforgivable: [],
    unforgivableKinds: ["jwt"],
    rejectRecord: rejectKey,
    restrict,
    configuredKeys: new Set(),
  }),
};

/** @throws Problem for a personal access token where sessions are managed, and as `restrictKey` does */
const restrict: PresetRules["restrict"] = (principal, credential, route, arrival) => {
  if (credential.kind === "pat" && route.path.startsWith("/api/user/sessions")) {
    throw new Problem("permission_denied", "a PAT where a session is needed", {
      reject: "kind_not_accepted",
    });
  }
  restrictKey(principal, credential, route, arrival);
};
