// Cloudreve v4: JWTs under the site's master key, refusals that are 200 and say so in the body.
import type { Preset, PresetRules } from "../preset.ts";
import { cloudreveJwt } from "./claims.ts";
import { dialect } from "./dialect.ts";
import { introspection } from "./introspection.ts";
import { isForeign, PLACES, read } from "./read.ts";
import { ISSUING_TABLE, LEVELS, TABLE } from "./routes.ts";

export const cloudreve: Preset = {
  name: "cloudreve",
  isCaseSensitive: true,
  canIssue: true,
  settings: ["site_id"],
  hasOpaqueCredentials: false,
  defaults: (isIssuing) => ({
    users: isIssuing ? "required" : "none",
    on_invalid: "anonymous",
    user_header: false,
    // The origin checks the same token by the same key.
    forward_credential: true,
  }),
  jwt: cloudreveJwt,
  introspection,
  levels: LEVELS,
  table: TABLE,
  issuingTable: ISSUING_TABLE,
  // Each refresh gives another two weeks.
  signIn: { accessSeconds: 3_600, idleDays: 14, sessionDays: 365, cookie: undefined },
  compile: ({ values, keyOf, isIssuing }, { issues }): PresetRules => {
    const { site_id: siteId, errors, roles } = values;
    if (isIssuing && siteId === undefined) {
      issues.add(keyOf("site_id"), "is required with issue = true: Cloudreve's own, from its table settings");
    }
    // Whoever has no role counts as the lowest step.
    if (roles?.[0] === "admin") issues.add(keyOf("roles"), "must have a step below admin, such as user");
    return {
      name: "cloudreve",
      isIssuing,
      kinds: () => ["jwt"],
      read,
      places: () => PLACES,
      isForeign,
      dialect: errors === "problem" ? null : dialect,
      // A bad token is nobody. These are good ones, of the wrong kind or of somebody who may not.
      unforgivable: ["token_use", "subject", "owner_missing", "owner_inactive"],
      rejectRecord: () => null,
      restrict: () => {},
      configuredKeys: new Set(),
      ...(siteId !== undefined && { siteId }),
    };
  },
};
