// The tables of D1, the one truth. Times are epoch seconds. Nothing is removed by cascade: deleting leaves a tombstone
// (`status = 'deleted'`), so that ids are never reused and every isolate learns of it through `changes`.
import { sql } from "drizzle-orm";
import {
  check,
  foreignKey,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";

/** One row a user of a realm. */
export const users = sqliteTable(
  "users",
  {
    realm: text().notNull(),
    id: text().notNull(),
    username: text(),
    email: text(),
    name: text(),
    role: text().notNull().default("user"),
    permissions: text({ mode: "json" }).$type<readonly string[]>().notNull().default(sql`'[]'`),
    status: text({ enum: ["active", "disabled", "pending", "deleted"] })
      .notNull()
      .default("active"),
    attributes: text({ mode: "json" }).$type<Record<string, unknown>>().notNull().default(sql`'{}'`),
    createdAtSeconds: integer("created_at_seconds").notNull(),
    updatedAtSeconds: integer("updated_at_seconds").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.realm, table.id] }),
    uniqueIndex("users_username").on(table.realm, table.username).where(sql`status <> 'deleted'`),
    uniqueIndex("users_email").on(table.realm, table.email).where(sql`status <> 'deleted'`),
    check("users_status", sql`status IN ('active', 'disabled', 'pending', 'deleted')`),
  ],
);

/** One row an API key or PAT; only a digest of the secret is kept. */
export const credentials = sqliteTable(
  "credentials",
  {
    id: text().primaryKey(),
    kind: text({ enum: ["api_key", "pat"] }).notNull(),
    realm: text().notNull(),
    userId: text("user_id").notNull(),
    name: text(),
    /** HMAC-SHA-256(pepper, SHA-256(secret)), lower-case hex. */
    digest: text().notNull(),
    /** The id of the pepper `digest` was made with. */
    pepper: text().notNull(),
    status: text({ enum: ["active", "disabled", "deleted"] })
      .notNull()
      .default("active"),
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull().default(sql`'[]'`),
    ipAllow: text("ip_allow", { mode: "json" }).$type<readonly string[]>().notNull().default(sql`'[]'`),
    attributes: text({ mode: "json" }).$type<Record<string, unknown>>().notNull().default(sql`'{}'`),
    createdAtSeconds: integer("created_at_seconds").notNull(),
    expiresAtSeconds: integer("expires_at_seconds"),
  },
  (table) => [
    foreignKey({ columns: [table.realm, table.userId], foreignColumns: [users.realm, users.id] }),
    uniqueIndex("credentials_digest").on(table.realm, table.kind, table.digest),
    index("credentials_owner").on(table.realm, table.userId),
    check("credentials_kind", sql`kind IN ('api_key', 'pat')`),
    check("credentials_status", sql`status IN ('active', 'disabled', 'deleted')`),
  ],
);

/** One row a signed-in session. */
export const sessions = sqliteTable(
  "sessions",
  {
    id: text().primaryKey(),
    realm: text().notNull(),
    userId: text("user_id").notNull(),
    /** Digest of the session's secret, made like a credential's. */
    digest: text().notNull(),
    pepper: text().notNull(),
    status: text({ enum: ["active", "disabled", "deleted"] })
      .notNull()
      .default("active"),
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull().default(sql`'[]'`),
    createdAtSeconds: integer("created_at_seconds").notNull(),
    expiresAtSeconds: integer("expires_at_seconds").notNull(),
  },
  (table) => [
    foreignKey({ columns: [table.realm, table.userId], foreignColumns: [users.realm, users.id] }),
    index("sessions_owner").on(table.realm, table.userId),
    check("sessions_status", sql`status IN ('active', 'disabled', 'deleted')`),
  ],
);

/**
 * The change feed. Every change of anything a record contains appends a row in the same batch. Always a contiguous
 * suffix: `meta.floor` is the highest `seq` pruned, `sqlite_sequence` the head. Never rebuild this table.
 */
export const changes = sqliteTable("changes", {
  seq: integer().primaryKey({ autoIncrement: true }),
  atSeconds: integer("at_seconds").notNull(),
  /** JSON array of subjects; see `records/subjects.ts`. */
  subjects: text({ mode: "json" }).$type<readonly string[]>().notNull(),
  what: text().notNull(),
});

/** Live denials, kept until what they deny would have expired. */
export const revocations = sqliteTable(
  "revocations",
  {
    realm: text().notNull(),
    kind: text({ enum: ["token", "session", "subject", "realm"] }).notNull(),
    /** A `jti`, session id or user id; empty for a whole realm. */
    value: text().notNull(),
    /** Refuses what was issued at or before this; `null`: whenever it was issued. */
    issuedBeforeSeconds: integer("issued_before_seconds"),
    /** `null`: stands for good. */
    expiresAtSeconds: integer("expires_at_seconds"),
    /** The row of `changes` that announced it. */
    seq: integer().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.realm, table.kind, table.value] }),
    index("revocations_seq").on(table.seq),
    check("revocations_kind", sql`kind IN ('token', 'session', 'subject', 'realm')`),
  ],
);

/** `epoch`: random, renewed after a restore. `floor`: highest pruned `changes.seq`. */
export const meta = sqliteTable("meta", { key: text().primaryKey(), value: text().notNull() });

/** Counters of exact rate limits; rows of past windows are rubbish. */
export const rateWindows = sqliteTable("rate_windows", {
  key: text().primaryKey(),
  startedAtSeconds: integer("started_at_seconds").notNull(),
  count: integer().notNull(),
});
