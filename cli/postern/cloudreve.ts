// Cloudreve's SQLite file, version 4: its users, under the ids that its tokens carry.
import Hashids from "hashids";
import type { ImportInput } from "../../src/control/import-records.ts";
import { Failure } from "./failure.ts";
import type { Source } from "./import-source.ts";
import { numberOf, openSqlite, type SqlRow, textOf, textOrNull } from "./sqlite.ts";

/** The second number in an id says of what it is. */
const USER_ID_TYPE = 1;
const GROUP_ID_TYPE = 7;
/** The bit of a group's permissions that makes its members administrators. */
const IS_ADMIN = 1;

const STATUS: Readonly<Record<string, "active" | "pending" | "disabled">> = {
  active: "active",
  inactive: "pending",
  manual_banned: "disabled",
  sys_banned: "disabled",
};

const LIVE_USERS = `FROM users AS u LEFT JOIN "groups" AS g ON g.id = u.group_users WHERE u.deleted_at IS NULL`;

/** @throws Failure where it is no such database */
export async function openCloudreve(file: string, realm: string): Promise<Source> {
  const database = await openSqlite(file, "Cloudreve", ["users", "groups", "settings"]);
  const [salt] = database.rows(
    "SELECT value FROM settings WHERE name = 'hash_id_salt' AND deleted_at IS NULL",
  );
  if (salt === undefined) {
    database.close();
    throw new Failure("refused", `${file} has no setting hash_id_salt: is it of Cloudreve 4?`);
  }
  const hashids = new Hashids(typeof salt.value === "string" ? salt.value : "");
  const count = (sql: string) => Number([...database.rows(`SELECT COUNT(*) AS n ${sql}`)][0]?.n ?? 0);
  const users = count(LIVE_USERS);
  let read = 0;

  return {
    async *items() {
      read = 0;
      const sql = `SELECT u.*, g.name AS group_name, g.permissions AS group_permissions ${LIVE_USERS} ORDER BY u.id`;
      for (const row of database.rows(sql)) {
        read += 1;
        const at = numberOf(row.id);
        const status = STATUS[textOf(row.status)];
        if (status === undefined) yield { at, problem: "status is none that Cloudreve has" };
        else yield { at, value: userOf(row, realm, hashids, status) };
      }
    },
    placeOf: (at) => `user ${at}`,
    progress: () => read / Math.max(1, users),
    demandUnchanged: () => {}, // one transaction: it cannot be seen to change
    leftOut() {
      const deleted = count("FROM users") - users;
      return deleted === 0 ? [] : [`${deleted} deleted users`];
    },
    close: database.close,
  };
}

function userOf(
  row: SqlRow,
  realm: string,
  hashids: Hashids,
  status: "active" | "pending" | "disabled",
): ImportInput {
  const hash = textOf(row.password);
  const permissions = row.group_permissions;
  const isAdmin = permissions instanceof Uint8Array && ((permissions[0] ?? 0) & IS_ADMIN) !== 0;
  return {
    type: "user",
    realm,
    id: hashids.encode([numberOf(row.id), USER_ID_TYPE]),
    email: textOrNull(row.email),
    name: textOrNull(row.nick),
    role: isAdmin ? "admin" : "user",
    status,
    attributes: attributesOf(row, hashids),
    password: hash === "" ? null : { scheme: "cloudreve", hash },
    created_at: secondsOf(row.created_at),
  };
}

/** What Cloudreve's clients are told of a user when they sign in, and whether they are asked for a second factor. */
function attributesOf(row: SqlRow, hashids: Hashids): Record<string, unknown> {
  const settings = settingsOf(row.settings);
  const permissions = row.group_permissions instanceof Uint8Array ? row.group_permissions : [];
  const optional = {
    avatar: textOf(row.avatar),
    preferred_theme: textOf(settings.preferred_theme),
    language: textOf(settings.language),
    group_id: row.group_name === null ? "" : hashids.encode([numberOf(row.group_users), GROUP_ID_TYPE]),
    permission: Buffer.from(permissions).toString("base64"),
    two_factor: textOf(row.two_factor_secret) !== "",
  };
  return {
    nick: textOf(row.nick),
    group: textOf(row.group_name),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== "" && value !== false)),
  };
}

function settingsOf(value: unknown): Readonly<Record<string, unknown>> {
  try {
    const text = value instanceof Uint8Array ? new TextDecoder().decode(value) : textOf(value);
    const settings: unknown = JSON.parse(text);
    return typeof settings === "object" && settings !== null ? { ...settings } : {};
  } catch {
    return {};
  }
}

/** As Go writes times into SQLite: `2026-01-02 15:04:05.999999999+08:00`. `null` for anything else. */
function secondsOf(value: unknown): number | null {
  const [, date, time, offset] =
    /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|[+-]\d{2}:\d{2})?/.exec(textOf(value)) ?? [];
  const ms = Date.parse(`${date}T${time}${offset ?? "Z"}`);
  return Number.isNaN(ms) || ms < 0 ? null : Math.floor(ms / 1_000);
}
