// Cloudreve's SQLite file, version 4: its users, under the ids that its tokens carry.
import Hashids from "hashids";
import type { ImportInput } from "../../src/control/import-records.ts";
import { Failure } from "./failure.ts";
import type { Source } from "./import-source.ts";
import { numberOf, openSqlite, type SqlRow, textOf, textOrNull } from "./sqlite.ts";

/** The second number in the id of a user. */
const USER_ID_TYPE = 1;
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
      const sql = `SELECT u.id, u.email, u.nick, u.password, u.status, u.created_at, g.name AS group_name, g.permissions AS group_permissions ${LIVE_USERS} ORDER BY u.id`;
      for (const row of database.rows(sql)) {
        read += 1;
        const at = numberOf(row.id);
        const status = STATUS[textOf(row.status)];
        if (status === undefined) yield { at, problem: "status is none that Cloudreve has" };
        else yield { at, value: userOf(row, realm, hashids.encode([at, USER_ID_TYPE]), status) };
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
  id: string,
  status: "active" | "pending" | "disabled",
): ImportInput {
  const hash = textOf(row.password);
  const permissions = row.group_permissions;
  const isAdmin = permissions instanceof Uint8Array && ((permissions[0] ?? 0) & IS_ADMIN) !== 0;
  return {
    type: "user",
    realm,
    id,
    email: textOrNull(row.email),
    name: textOrNull(row.nick),
    role: isAdmin ? "admin" : "user",
    status,
    attributes: { nick: textOf(row.nick), group: textOf(row.group_name) },
    password: hash === "" ? null : { scheme: "cloudreve", hash },
    created_at: secondsOf(row.created_at),
  };
}

/** As Go writes times into SQLite: `2026-01-02 15:04:05.999999999+08:00`. `null` for anything else. */
function secondsOf(value: unknown): number | null {
  const [, date, time, offset] =
    /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|[+-]\d{2}:\d{2})?/.exec(textOf(value)) ?? [];
  const ms = Date.parse(`${date}T${time}${offset ?? "Z"}`);
  return Number.isNaN(ms) || ms < 0 ? null : Math.floor(ms / 1_000);
}
