// What changes in the classic New API's table where Postern issues: who signs in, out, looks at themselves, and asks for a
// token is answered; and what is open to all is told who is there.
import type { Level, Preset } from "../preset.ts";

/** Beside those of the table. */
export const ISSUING_LEVELS: Readonly<Record<string, Level>> = {
  login: { auth: "none", answer: "new-api.login" },
  logout: { auth: "none", answer: "new-api.logout" },
  self: { accept: ["session", "pat"], role: "user", answer: "new-api.self" },
  token: { accept: ["session", "pat"], role: "user", answer: "new-api.token" },
};

export const ISSUING_TABLE = `
  login  /api/user: POST=/login
  logout /api/user: GET=/logout
  self   /api/user: GET=/self
  token  /api/user: GET=/token
  known  /api: GET=/pricing GET=/rankings /perf-metrics/*
`;

/** A cookie lasts 30 days from the sign-in, used or not. */
export const SIGN_IN: Preset["signIn"] = {
  accessSeconds: 900,
  idleDays: 30,
  sessionDays: 30,
  cookie: "session",
};
