// Who may go where. Cloudreve looks at the token on every path of its API, open ones too, so `known` is its lowest level there;
// what has no row is its pages and short links, which look at nobody.
import type { Level } from "../preset.ts";

/** Names of files and share passwords stand in these paths, and may hold what is ambiguous elsewhere. Dot segments stay refused. */
const FILE_NAMES: Level = { auth: "none", allow: ["encoded_percent", "semicolon"] };

/** Asks for scopes of those who come with any: the file system and shares decide about the anonymous. */
const ifAny = (...scopes: string[]): Level => ({ auth: "optional", letsAnonymousPass: true, scopes });
const withScopes = (...scopes: string[]): Level => ({ scopes });
const admin = (...scopes: string[]): Level => ({ role: "admin", scopes });

/** Of two scopes the first missing one is named, in the order in which Cloudreve asks. */
export const LEVELS: Readonly<Record<string, Level>> = {
  open: { auth: "none" },
  named: FILE_NAMES,
  known: { auth: "optional" },
  login: {},
  renew: ifAny("offline_access"),
  "me.read": withScopes("UserInfo.Read"),
  "me.write": withScopes("UserInfo.Read", "UserInfo.Write"),
  "security.write": withScopes("UserSecurityInfo.Write"),
  content: { ...FILE_NAMES, ...ifAny("Files.Read") },
  "files.read": ifAny("Files.Read"),
  "files.write": ifAny("Files.Read", "Files.Write"),
  "files.login": withScopes("Files.Read"),
  "shares.info": ifAny("Shares.Read"),
  "shares.read": withScopes("Shares.Read"),
  "shares.write": withScopes("Shares.Read", "Shares.Write"),
  "workflow.read": withScopes("Workflow.Read"),
  "workflow.write": withScopes("Workflow.Read", "Workflow.Write"),
  "workflow.admin": admin("Workflow.Read", "Workflow.Write", "Admin.Write"),
  "dav.read": withScopes("DavAccount.Read"),
  "dav.write": withScopes("DavAccount.Read", "DavAccount.Write"),
  "admin.read": admin("Admin.Read"),
  "admin.write": admin("Admin.Read", "Admin.Write"),
  "sign-in": { auth: "optional", answer: "cloudreve.login" },
  "sign-out": { auth: "optional", answer: "cloudreve.logout" },
  prepare: { auth: "optional", answer: "cloudreve.prepare" },
  refresh: { ...ifAny("offline_access"), answer: "cloudreve.refresh" },
  unknown: { auth: "none", isUnknown: true },
};

export const TABLE = `
  open           : /*
  named          : /dav/* /f/* /s/*
  known          /api/v4: /*
  named          /api/v4: /slave/* /callback/*
  renew          /api/v4/session: POST=/token/refresh
  login          /api/v4/session/oauth: /consent/* /userinfo
  security.write /api/v4/session/oauth: /grant/:id
  me.read        /api/v4/user: /me /capacity /search /setting/*
  me.write       /api/v4/user: PATCH=/setting PUT=/setting/avatar
  security.write /api/v4/user: /authn
  files.read     /api/v4/file: /*
  files.write    /api/v4/file: DELETE= POST=/create POST=/rename POST=/move PUT=/content DELETE=/trash DELETE=/lock POST=/restore
  files.write    /api/v4/file: PATCH=/metadata PATCH=/view PUT=/viewerSession /upload/* /pin/* /version/*
  files.login    /api/v4/file: /events /search
  content        /api/v4/file: /content/*
  known          /api/v4/file: /archive/:id/archive.zip
  open           /api/v4/file: /wopi/*
  shares.info    /api/v4/share: /*
  shares.read    /api/v4/share: GET=
  shares.write   /api/v4/share: PUT= DELETE= POST,DELETE=/:id
  workflow.read  /api/v4/workflow: /*
  workflow.write /api/v4/workflow: POST,PUT,PATCH,DELETE=/*
  workflow.admin /api/v4/workflow: POST=/import POST=/rebuildFtsIndex
  dav.read       /api/v4/devices: /*
  dav.write      /api/v4/devices: POST,PUT,PATCH,DELETE=/*
  admin.read     /api/v4/admin: /* POST=/settings POST=/group POST=/queue POST=/policy POST=/node POST=/oauthClient POST=/user
  admin.read     /api/v4/admin: POST=/file POST=/entity POST=/share
  admin.write    /api/v4/admin: POST,PUT,PATCH,DELETE=/* GET=/tool/wopi
`;

/** Who signs in by other ways than a password would have a session that only the origin knows: there are none. */
export const ISSUING_TABLE = `
  unknown  /api/v4/session: /* /oauth/consent/*
  unknown  /api/v4/user: POST= /reset/* /activate/* /authn
  sign-in  /api/v4/session: POST=/token
  sign-out /api/v4/session: DELETE=/token
  refresh  /api/v4/session: POST=/token/refresh
  prepare  /api/v4/session: GET=/prepare
`;
