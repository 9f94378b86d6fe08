// Who may go where in the classic New API.
import type { Level } from "../preset.ts";
import { ISSUING_LEVELS } from "./issuing.ts";
import { SHARED_LEVELS, SHARED_TABLE } from "./rows.ts";

const PEOPLE = ["session", "pat"] as const;

export const LEVELS: Readonly<Record<string, Level>> = {
  ...SHARED_LEVELS,
  known: { auth: "optional", accept: [...PEOPLE] },
  user: { accept: [...PEOPLE], role: "user" },
  admin: { accept: [...PEOPLE], role: "admin" },
  root: { accept: [...PEOPLE], role: "root" },
  // A page shows what is there, and cannot say beside it whose page it is.
  either: { accept: ["session", "api_key"], ignoresUserHeader: true },
  ...ISSUING_LEVELS,
};

/** What may be open is open here: only the origin knows its switch, and whose view of it a cookie is. */
export const TABLE = `${SHARED_TABLE}
  open    /api: GET=/pricing GET=/rankings /perf-metrics/*
  open    /api/user: GET=/logout
`;
