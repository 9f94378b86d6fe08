// New API until July 2026, as its documentation has it: sessions and PATs beside `New-Api-User`, keys for programs.
import { DEFAULT_LADDER } from "../../config/realms.ts";
import type { Preset, PresetRules } from "../preset.ts";
import { dialect } from "./dialect.ts";
import { introspection } from "./introspection.ts";
import { ISSUING_TABLE, SIGN_IN } from "./issuing.ts";
import { isForeign, rejectKey, restrictKey } from "./keys.ts";
import { createRead, places, type SessionsOf } from "./read.ts";
import { LEVELS, TABLE } from "./routes.ts";

export const newApi: Preset = {
  name: "new-api",
  isCaseSensitive: true,
  canIssue: true,
  settings: [],
  hasOpaqueCredentials: true,
  defaults: (isIssuing) => ({
    on_invalid: "anonymous",
    user_header: "New-Api-User",
    forward_credential: !isIssuing,
  }),
  jwt: null,
  introspection,
  levels: LEVELS,
  table: TABLE,
  issuingTable: ISSUING_TABLE,
  signIn: SIGN_IN,
  compile: ({ values, keyOf, isIssuing }, { issues }): PresetRules => {
    const isAsking = values.introspect === true;
    const sessionsOf: SessionsOf = isIssuing ? "issued" : isAsking ? "origin" : null;
    const ladder = values.roles ?? DEFAULT_LADDER;
    if (values.users === "none" && !isAsking) {
      issues.add(
        keyOf("users"),
        'must be "required" with the preset new-api, whose clients have no JWTs; or ask the origin: introspect = true',
      );
    }
    return {
      name: "new-api",
      isIssuing,
      kinds: (users) =>
        users === "none" ? [] : sessionsOf === null ? ["pat", "api_key"] : ["session", "pat", "api_key"],
      read: createRead(sessionsOf),
      places,
      isForeign,
      dialect: values.errors === "problem" ? null : dialect,
      unforgivable: [],
      rejectRecord: (record, route) =>
        record.kind !== "api_key" && !ladder.includes(record.user?.role ?? "")
          ? "subject"
          : rejectKey(record, route),
      restrict: restrictKey,
      configuredKeys: new Set(),
    };
  },
};
