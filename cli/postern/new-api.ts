// New API's SQLite file: users with their access tokens (PATs), and tokens (API keys).
import type { ImportInput } from "../../src/control/import-records.ts";
import type { Item, Source } from "./import-source.ts";
import { numberOf, openSqlite, type SqlRow, textOf, textOrNull } from "./sqlite.ts";

const ROLES: Readonly<Record<number, string>> = { 0: "public", 1: "user", 10: "admin", 100: "root" };
const ENABLED = 1;
/** Enabled, expired, exhausted; 2 is disabled. */
const STILL_KNOWN: readonly number[] = [ENABLED, 3, 4];
/** `expired_time` of a token that never expires. */
const NEVER = -1;

const LIVE_TOKENS =
  "FROM tokens AS t JOIN users AS u ON u.id = t.user_id WHERE t.deleted_at IS NULL AND u.deleted_at IS NULL";

/** @throws Failure where it is no such database */
export async function openNewApi(file: string, realm: string): Promise<Source> {
  const database = await openSqlite(file, "New API", ["users", "tokens"]);
  const count = (sql: string) => Number([...database.rows(`SELECT COUNT(*) AS n ${sql}`)][0]?.n ?? 0);
  const users = count("FROM users WHERE deleted_at IS NULL");
  const tokens = count(LIVE_TOKENS);
  let read = 0;

  return {
    async *items() {
      read = 0;
      for (const row of database.rows("SELECT * FROM users WHERE deleted_at IS NULL ORDER BY id")) {
        read += 1;
        yield userItem(row, realm);
        const token = textOf(row.access_token);
        if (token !== "") {
          const pat: ImportInput = { type: "pat", realm, user: textOf(row.id), name: "access token", token };
          yield { at: numberOf(row.id) * 4 + 1, value: pat };
        }
      }
      for (const row of database.rows(`SELECT t.* ${LIVE_TOKENS} ORDER BY t.id`)) {
        read += 1;
        yield { at: numberOf(row.id) * 4 + 2, value: keyOf(row, realm) };
      }
    },
    placeOf(at) {
      const id = Math.floor(at / 4);
      return ["user ", "access token of user ", "token "][at % 4] + String(id);
    },
    progress: () => read / Math.max(1, users + tokens),
    demandUnchanged: () => {}, // one transaction: it cannot be seen to change
    leftOut: () => [
      ...leftOut(count("FROM users") - users, "deleted users"),
      ...leftOut(count("FROM tokens") - tokens, "deleted tokens, or tokens of deleted users"),
    ],
    close: database.close,
  };
}

const leftOut = (count: number, what: string) => (count === 0 ? [] : [`${count} ${what}`]);

function userItem(row: SqlRow, realm: string): Item {
  const at = numberOf(row.id) * 4;
  const role = ROLES[numberOf(row.role)];
  if (role === undefined) return { at, problem: "role must be 1, 10 or 100, as New API has them" };
  const hash = textOf(row.password);
  const language = languageOf(row.setting);
  const username = textOrNull(row.username);
  // There a username may be an e-mail address; here a name with an @ is one.
  const isAddress = username?.includes("@") === true;
  const user: ImportInput = {
    type: "user",
    realm,
    id: textOf(row.id),
    username: isAddress ? null : username,
    email: textOrNull(row.email) ?? (isAddress ? username : null),
    name: textOrNull(row.display_name),
    role,
    status: row.status === ENABLED ? "active" : "disabled",
    attributes: {
      group: textOf(row.group),
      quota: numberOf(row.quota),
      ...(language !== null && { language }),
    },
    password: hash === "" ? null : { scheme: "bcrypt", hash },
    created_at: numberOf(row.created_at) > 0 ? numberOf(row.created_at) : null,
  };
  return { at, value: user };
}

function languageOf(setting: unknown): string | null {
  try {
    const { language } = JSON.parse(textOf(setting)) as { readonly language?: unknown };
    return typeof language === "string" && language !== "" ? language : null;
  } catch {
    return null;
  }
}

function keyOf(row: SqlRow, realm: string): ImportInput {
  const status = numberOf(row.status);
  const expires = numberOf(row.expired_time);
  const limits = textOf(row.model_limits).split(",").filter(Boolean);
  return {
    type: "api_key",
    realm,
    user: textOf(row.user_id),
    name: textOrNull(row.name),
    key: `sk-${textOf(row.key).replace(/^sk-/, "")}`,
    // What is expired or exhausted may still ask about itself: the attribute says so to the presets.
    status: STILL_KNOWN.includes(status) ? "active" : "disabled",
    expires_at: expires === NEVER ? null : expires,
    ip_allow: textOf(row.allow_ips)
      .split("\n")
      .map((line) => line.replace(/[\s,]/g, ""))
      .filter(Boolean),
    attributes: {
      group: textOf(row.group),
      status,
      remain_quota: numberOf(row.remain_quota),
      unlimited_quota: row.unlimited_quota === 1,
      ...(row.model_limits_enabled === 1 && { model_limits: limits }),
    },
    created_at: numberOf(row.created_time) > 0 ? numberOf(row.created_time) : null,
  };
}
