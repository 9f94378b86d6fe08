// What changes in the classic New API's table where Postern issues: who signs in, out, and asks for a token is answered.
import type { Level, Preset } from "../preset.ts";

/** Beside those of the table. */
export const ISSUING_LEVELS: Readonly<Record<string, Level>> = {
  login: { auth: "none", answer: "new-api.login" },
  logout: { auth: "none", answer: "new-api.logout" },
  token: { auth: "required", accept: ["session", "pat"], role: "user", answer: "new-api.token" },
};

export const ISSUING_TABLE = `
  login  /api/user: POST=/login
  logout /api/user: GET=/logout
  token  /api/user: GET=/token
`;

/** A cookie lasts 30 days from the sign-in, used or not. */
export const SIGN_IN: Preset["signIn"] = {
  accessSeconds: 900,
  idleDays: 30,
  sessionDays: 30,
  cookie: "session",
};
