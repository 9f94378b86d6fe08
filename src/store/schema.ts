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
    /** What is compared: `store/account-name.ts` makes it of the spelling above. */
    usernameKey: text("username_key"),
    emailKey: text("email_key"),
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
    uniqueIndex("users_username").on(table.realm, table.usernameKey).where(sql`status <> 'deleted'`),
    uniqueIndex("users_email").on(table.realm, table.emailKey).where(sql`status <> 'deleted'`),
    check("users_status", sql`status IN ('active', 'disabled', 'pending', 'deleted')`),
  ],
);

/** One row a user who signs in with a password. No part of a record, so changes of it are not in the feed. */
export const passwords = sqliteTable(
  "passwords",
  {
    realm: text().notNull(),
    userId: text("user_id").notNull(),
    scheme: text({ enum: ["scrypt", "bcrypt", "cloudreve", "aspnet-identity"] }).notNull(),
    /** As the scheme writes it, parameters and salt included. */
    hash: text().notNull(),
    changedAtSeconds: integer("changed_at_seconds").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.realm, table.userId] }),
    foreignKey({ columns: [table.realm, table.userId], foreignColumns: [users.realm, users.id] }),
    check("passwords_scheme", sql`scheme IN ('scrypt', 'bcrypt', 'cloudreve', 'aspnet-identity')`),
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
    /** To the minute. No part of a record. */
    lastUsedAtSeconds: integer("last_used_at_seconds"),
    /** The credential that a rotation put in its place. No part of a record. */
    replacedBy: text("replaced_by"),
  },
  (table) => [
    foreignKey({ columns: [table.realm, table.userId], foreignColumns: [users.realm, users.id] }),
    uniqueIndex("credentials_digest").on(table.realm, table.kind, table.digest),
    index("credentials_owner").on(table.realm, table.userId),
    index("credentials_by_age").on(table.realm, table.kind, table.createdAtSeconds, table.id),
    index("credentials_expiry").on(table.expiresAtSeconds).where(sql`expires_at_seconds IS NOT NULL`),
    check("credentials_kind", sql`kind IN ('api_key', 'pat')`),
    check("credentials_status", sql`status IN ('active', 'disabled', 'deleted')`),
  ],
);

/** One row a signed-in session: of a cookie, or of a chain of refresh tokens. */
export const sessions = sqliteTable(
  "sessions",
  {
    id: text().primaryKey(),
    realm: text().notNull(),
    userId: text("user_id").notNull(),
    kind: text({ enum: ["cookie", "token"] })
      .notNull()
      .default("cookie"),
    /** Of the cookie's secret, made like a credential's. Empty for refresh tokens, which no cookie's digest equals. */
    digest: text().notNull(),
    pepper: text().notNull(),
    status: text({ enum: ["active", "disabled", "deleted"] })
      .notNull()
      .default("active"),
    scopes: text({ mode: "json" }).$type<readonly string[]>().notNull().default(sql`'[]'`),
    createdAtSeconds: integer("created_at_seconds").notNull(),
    expiresAtSeconds: integer("expires_at_seconds").notNull(),
    /** Of refresh tokens: which one is the current one. Like all below, no part of a record. */
    counter: integer().notNull().default(0),
    /** When `counter` was raised last; `null`: never. */
    advancedAtSeconds: integer("advanced_at_seconds"),
    /** Refused from then on unless refreshed before; `expiresAtSeconds` stands in any case. */
    idleExpiresAtSeconds: integer("idle_expires_at_seconds"),
    lastUsedAtSeconds: integer("last_used_at_seconds"),
    /** Where it was begun from. */
    address: text(),
    userAgent: text("user_agent"),
  },
  (table) => [
    foreignKey({ columns: [table.realm, table.userId], foreignColumns: [users.realm, users.id] }),
    index("sessions_by_age").on(table.realm, table.createdAtSeconds, table.id),
    index("sessions_expiry").on(table.expiresAtSeconds),
    index("sessions_owner").on(table.realm, table.userId),
    check("sessions_kind", sql`kind IN ('cookie', 'token')`),
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
    index("revocations_expiry").on(table.expiresAtSeconds).where(sql`expires_at_seconds IS NOT NULL`),
    check("revocations_kind", sql`kind IN ('token', 'session', 'subject', 'realm')`),
  ],
);

/** `epoch`: random, renewed after a restore. `floor`: highest pruned `changes.seq`. */
export const meta = sqliteTable("meta", { key: text().primaryKey(), value: text().notNull() });

/** Counters of exact rate limits; rows of past windows are rubbish. */
export const rateWindows = sqliteTable(
  "rate_windows",
  {
    key: text().primaryKey(),
    startedAtSeconds: integer("started_at_seconds").notNull(),
    count: integer().notNull(),
  },
  (table) => [index("rate_windows_age").on(table.startedAtSeconds)],
);

/** Attempts at signing in, by account and by address; see `store/throttle.ts`. */
export const throttles = sqliteTable(
  "throttles",
  {
    key: text().primaryKey(),
    attempts: integer().notNull(),
    /** No attempt before then. */
    nextAtSeconds: integer("next_at_seconds").notNull(),
    updatedAtSeconds: integer("updated_at_seconds").notNull(),
  },
  (table) => [index("throttles_age").on(table.updatedAtSeconds)],
);

/** Failed sign-ins, counted per window; clean-up turns finished windows into rows of `audit`. */
export const signInFailures = sqliteTable(
  "sign_in_failures",
  {
    windowAtSeconds: integer("window_at_seconds").notNull(),
    realm: text().notNull(),
    /** User id; for a name nobody has, `?` and a keyed hash of it: people type passwords into the wrong field. */
    account: text().notNull(),
    /** Empty where it is not known. */
    address: text().notNull(),
    count: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.windowAtSeconds, table.realm, table.account, table.address] })],
);

/** Append-only. `seq` has no gaps: an insert that is rolled back gives its number back. */
export const audit = sqliteTable(
  "audit",
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    atSeconds: integer("at_seconds").notNull(),
    action: text().notNull(),
    actorKind: text("actor_kind", { enum: ["admin_token", "user", "anonymous", "system"] }).notNull(),
    actorRealm: text("actor_realm"),
    actorId: text("actor_id"),
    actorCredential: text("actor_credential"),
    targetKind: text("target_kind").notNull(),
    targetRealm: text("target_realm").notNull(),
    targetId: text("target_id").notNull(),
    address: text(),
    requestId: text("request_id"),
    details: text({ mode: "json" }).$type<Readonly<Record<string, unknown>>>().notNull().default(sql`'{}'`),
  },
  (table) => [
    index("audit_by_target").on(table.targetRealm, table.targetId, table.seq),
    index("audit_by_actor").on(table.actorRealm, table.actorId, table.seq),
    // Whose key, PAT or session it was; also where somebody spoilt the details of a row.
    index("audit_by_owner")
      .on(
        table.targetRealm,
        sql`(CASE WHEN json_valid(details) THEN json_extract(details, '$.user') END)`,
        table.seq,
      )
      .where(sql`target_kind IN ('api_key', 'pat', 'session')`),
    check("audit_actor_kind", sql`actor_kind IN ('admin_token', 'user', 'anonymous', 'system')`),
  ],
);

/** Seals over consecutive rows of `audit`; each hash covers the one before. */
export const auditBlocks = sqliteTable("audit_blocks", {
  number: integer().primaryKey({ autoIncrement: true }),
  firstSeq: integer("first_seq").notNull(),
  lastSeq: integer("last_seq").notNull(),
  previousHash: text("previous_hash").notNull(),
  hash: text().notNull(),
  /** The id of the pepper `hash` was made with: who can write to D1 cannot make a chain of their own. */
  pepper: text().notNull(),
  sealedAtSeconds: integer("sealed_at_seconds").notNull(),
});

/** Passwords that too many people use (NIST SP 800-63B §3.1.1.2), in lower case. */
export const blockedPasswords = sqliteTable("blocked_passwords", { password: text().primaryKey() });
