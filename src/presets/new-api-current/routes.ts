// Who may go where in the current New API.
import { SHARED_LEVELS, SHARED_TABLE } from "../new-api/rows.ts";
import type { Level } from "../preset.ts";

export const LEVELS: Readonly<Record<string, Level>> = {
  ...SHARED_LEVELS,
  known: { auth: "optional", accept: ["jwt", "pat"] },
  user: { accept: ["jwt", "pat"], role: "user" },
  admin: { accept: ["jwt", "pat"], role: "admin" },
  root: { accept: ["jwt", "pat"], role: "root" },
  either: { accept: ["jwt", "api_key"] },
  login: { auth: "none", answer: "new-api-current.login" },
  refresh: { auth: "none", answer: "new-api-current.refresh" },
  logout: { auth: "none", answer: "new-api-current.logout" },
  token: { accept: ["jwt", "pat"], role: "user", answer: "new-api.token" },
};

export const TABLE = `${SHARED_TABLE}
  open    /api/user: POST=/auth/refresh POST=/auth/logout
  known   /api: GET=/pricing GET=/rankings /perf-metrics/*
  user    /api/user: /sessions /sessions/*
`;

export const ISSUING_TABLE = `
  login   /api/user: POST=/login
  refresh /api/user/auth: POST=/refresh
  logout  /api/user/auth: POST=/logout
  token   /api/user: GET=/token
`;
