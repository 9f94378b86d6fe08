-- Drafted by drizzle-kit, finished by hand: sign-in, refresh, the life of keys, and the audit log. STRICT tables,
-- parents before children; columns are added, no table is rebuilt.

-- One account a name, whatever its case. Where two names differed in case only, the older account keeps its own.
ALTER TABLE users ADD COLUMN username_key text;
ALTER TABLE users ADD COLUMN email_key text;
UPDATE users SET username_key = lower(username) WHERE username IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM users AS older WHERE older.realm = users.realm AND lower(older.username) = lower(users.username)
    AND older.status <> 'deleted' AND older.rowid < users.rowid);
UPDATE users SET email_key = lower(email) WHERE email IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM users AS older WHERE older.realm = users.realm AND lower(older.email) = lower(users.email)
    AND older.status <> 'deleted' AND older.rowid < users.rowid);
DROP INDEX users_username;
DROP INDEX users_email;
CREATE UNIQUE INDEX users_username ON users (realm,username_key) WHERE status <> 'deleted';
CREATE UNIQUE INDEX users_email ON users (realm,email_key) WHERE status <> 'deleted';

CREATE TABLE passwords (
  realm text NOT NULL,
  user_id text NOT NULL,
  scheme text NOT NULL,
  hash text NOT NULL,
  changed_at_seconds integer NOT NULL,
  PRIMARY KEY(realm, user_id),
  FOREIGN KEY (realm,user_id) REFERENCES users(realm,id),
  CONSTRAINT passwords_scheme CHECK (scheme IN ('scrypt', 'bcrypt', 'cloudreve', 'aspnet-identity'))
) STRICT;

ALTER TABLE credentials ADD COLUMN last_used_at_seconds integer;
ALTER TABLE credentials ADD COLUMN replaced_by text;
CREATE INDEX credentials_by_age ON credentials (realm,kind,created_at_seconds,id);
CREATE INDEX credentials_expiry ON credentials (expires_at_seconds) WHERE expires_at_seconds IS NOT NULL;

ALTER TABLE sessions ADD COLUMN kind text DEFAULT 'cookie' NOT NULL CONSTRAINT sessions_kind CHECK (kind IN ('cookie', 'token'));
ALTER TABLE sessions ADD COLUMN counter integer DEFAULT 0 NOT NULL;
ALTER TABLE sessions ADD COLUMN advanced_at_seconds integer;
ALTER TABLE sessions ADD COLUMN idle_expires_at_seconds integer;
ALTER TABLE sessions ADD COLUMN last_used_at_seconds integer;
ALTER TABLE sessions ADD COLUMN address text;
ALTER TABLE sessions ADD COLUMN user_agent text;
CREATE INDEX sessions_by_age ON sessions (realm,created_at_seconds,id);
CREATE INDEX sessions_expiry ON sessions (expires_at_seconds);

CREATE INDEX revocations_expiry ON revocations (expires_at_seconds) WHERE expires_at_seconds IS NOT NULL;
CREATE INDEX rate_windows_age ON rate_windows (started_at_seconds);

CREATE TABLE throttles (
  key text PRIMARY KEY NOT NULL,
  attempts integer NOT NULL,
  next_at_seconds integer NOT NULL,
  updated_at_seconds integer NOT NULL
) STRICT;
CREATE INDEX throttles_age ON throttles (updated_at_seconds);

CREATE TABLE sign_in_failures (
  window_at_seconds integer NOT NULL,
  realm text NOT NULL,
  account text NOT NULL,
  address text NOT NULL,
  count integer NOT NULL,
  PRIMARY KEY(window_at_seconds, realm, account, address)
) STRICT;

CREATE TABLE audit (
  seq integer PRIMARY KEY AUTOINCREMENT NOT NULL,
  at_seconds integer NOT NULL,
  action text NOT NULL,
  actor_kind text NOT NULL,
  actor_realm text,
  actor_id text,
  actor_credential text,
  target_kind text NOT NULL,
  target_realm text NOT NULL,
  target_id text NOT NULL,
  address text,
  request_id text,
  details text DEFAULT '{}' NOT NULL,
  CONSTRAINT audit_actor_kind CHECK (actor_kind IN ('admin_token', 'user', 'anonymous', 'system'))
) STRICT;
CREATE INDEX audit_by_target ON audit (target_realm,target_id,seq);
CREATE INDEX audit_by_actor ON audit (actor_realm,actor_id,seq);

CREATE TABLE audit_blocks (
  number integer PRIMARY KEY AUTOINCREMENT NOT NULL,
  first_seq integer NOT NULL,
  last_seq integer NOT NULL,
  previous_hash text NOT NULL,
  hash text NOT NULL,
  pepper text NOT NULL,
  sealed_at_seconds integer NOT NULL
) STRICT;

CREATE TABLE blocked_passwords (
  password text PRIMARY KEY NOT NULL
) STRICT;
