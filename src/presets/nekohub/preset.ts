// NekoHub: JWT or API key behind `Bearer`, permissions by name, `{"error":{…}}`.
import type { Principal } from "../../types.ts";
import type { Level, Preset } from "../preset.ts";
import { AUTHORIZATION, readBearer } from "./bearer.ts";
import { renameClaims } from "./claims.ts";
import { readConfiguredKeys } from "./configured-keys.ts";
import { dialect } from "./dialect.ts";
import { introspection } from "./introspection.ts";
import { LADDER, PERMISSIONS, SUPER_ADMIN } from "./rights.ts";

const LEVELS: Readonly<Record<string, Level>> = {
  open: { auth: "none" },
  jwt: { accept: ["jwt"] },
  key: { accept: ["api_key"], mcp: true },
  login: { auth: "none", answer: "nekohub.login" },
  refresh: { auth: "none", answer: "nekohub.refresh" },
  logout: { accept: ["jwt"], answer: "nekohub.logout" },
  me: { accept: ["jwt"], answer: "nekohub.me" },
  ...Object.fromEntries(
    PERMISSIONS.map((permission) => [permission, { accept: ["jwt", "api_key"], permissions: [permission] }]),
  ),
};

const TABLE = `
open /api/v1: GET=/system/ping GET=/system/bootstrap GET=/public/assets GET=/public/assets/:id
open /api/v1/auth: POST=/login POST=/refresh
open : GET=/content/* GET=/openapi/v1.json
jwt /api/v1/auth: POST=/logout GET=/me
assets.read /api/v1/assets: GET= GET=/:id GET=/usage-stats GET=/skills GET=/:id/content GET=/:id/jobs
assets.read /api/v1/assets: GET=/:id/derivatives/:kind/content
assets.create /api/v1/assets: POST= GET=/storage-targets
assets.update /api/v1/assets: PATCH=/:id POST=/:id/skills/:skill/run POST=/:id/workflows/:workflow/run
assets.update /api/v1/assets: GET=/workflows POST=/:id/jobs/:job/retry
assets.delete /api/v1/assets: DELETE=/:id POST=/batch-delete
users.read /api/v1/users: GET= GET=/:id
users.create /api/v1/users: POST=
users.update /api/v1/users: PATCH=/:id POST=/:id/reset-password
users.disable /api/v1/users: POST=/:id/status
users.managePermissions /api/v1/users: PATCH=/:id/permissions
providers.read /api/v1/system/storage/providers: GET= GET=/:id/github-repo/browse
providers.create /api/v1/system/storage/providers: POST=
providers.update /api/v1/system/storage/providers: PATCH=/:id POST=/:id/github-repo/upsert
providers.delete /api/v1/system/storage/providers: DELETE=/:id
settings.update /api/v1/system/storage/providers: POST=/:id/set-default
aiProviders.read /api/v1/system/ai/providers: GET= GET=/active
aiProviders.create /api/v1/system/ai/providers: POST=
aiProviders.update /api/v1/system/ai/providers: PATCH=/:id POST=/test
aiProviders.delete /api/v1/system/ai/providers: DELETE=/:id
settings.read /api/v1/system/workflows: GET= GET=/:id
settings.update /api/v1/system/workflows: POST= PUT,DELETE=/:id PATCH=/:id/autorun
key : /mcp/*
`;

const ISSUING_TABLE = `
login : POST=/api/v1/auth/login
refresh : POST=/api/v1/auth/refresh
logout : POST=/api/v1/auth/logout
me : GET=/api/v1/auth/me
`;

export const nekohub: Preset = {
  name: "nekohub",
  canIssue: true,
  settings: ["api_keys"],
  hasOpaqueCredentials: false,
  isCaseSensitive: false,
  defaults: (isIssuing) => ({
    users: isIssuing ? "required" : "none",
    roles: [...LADDER],
    // The origin checks the same token by the same secret.
    forward_credential: true,
    user_header: false,
    cors: { allow_origins: ["*"], allow_methods: ["*"], allow_headers: ["*"] },
  }),
  jwt: {
    defaults: {
      algorithms: ["HS256"],
      issuer: "NekoHub",
      audience: "NekoHub.Admin",
      rest: { clock_tolerance_seconds: 30, types: ["", "JWT"] },
    },
    rename: renameClaims,
    interpret: null,
  },
  introspection,
  levels: LEVELS,
  table: TABLE,
  issuingTable: ISSUING_TABLE,
  // Each refresh gives another 30 days.
  signIn: { accessSeconds: 900, idleDays: 30, sessionDays: 365, cookie: undefined },
  compile: ({ values, keyOf, isIssuing }, scope) => {
    const { api_keys: secret, errors, roles = LADDER } = values;
    const role = roles.includes("admin") ? "admin" : (roles.at(-2) ?? "");
    return {
      name: "nekohub",
      isIssuing,
      kinds: () => (secret === undefined ? ["jwt"] : ["jwt", "api_key"]),
      read: (arrival, route) => readBearer(arrival, route.accept),
      places: () => AUTHORIZATION,
      isForeign: () => false,
      dialect: errors === "problem" ? null : dialect,
      unforgivable: [],
      rejectRecord: () => null,
      restrict: () => {},
      configuredKeys: secret === undefined ? new Set() : readConfiguredKeys(secret, keyOf("api_keys"), scope),
      keyRights: { role, permissions: PERMISSIONS },
      rightsOf,
    };
  },
};

function rightsOf(principal: Principal): Principal {
  return principal.role === SUPER_ADMIN ? { ...principal, permissions: PERMISSIONS } : principal;
}
