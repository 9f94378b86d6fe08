// Stub
import type { Preset } from "../preset.ts";

export const cloudreve: Preset = {
  name: "cloudreve",
  canIssue: true,
  isCaseSensitive: true,
  defaults: () => ({}),
  jwt: null,
  levels: { none: { auth: "none" } },
  table: "none : /*",
  issuingTable: "",
  signIn: { accessSeconds: 900, idleDays: 14, sessionDays: 30, cookie: undefined },
  compile: (_site, _scope) => ({
    name: "cloudreve",
    isIssuing: false,
    kinds: () => [],
    read: () => null,
    places: () => [],
    isForeign: () => false,
    dialect: null,
    unforgivable: [],
    rejectRecord: () => null,
    restrict: () => {},
    configuredKeys: new Set(),
  }),
};
