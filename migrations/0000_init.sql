-- Drafted by drizzle-kit, finished by hand: STRICT tables, no cascades, parents before children, first rows of meta.

CREATE TABLE users (
  realm text NOT NULL,
  id text NOT NULL,
  username text,
  email text,
  name text,
  role text DEFAULT 'user' NOT NULL,
  permissions text DEFAULT '[]' NOT NULL,
  status text DEFAULT 'active' NOT NULL,
  attributes text DEFAULT '{}' NOT NULL,
  created_at_seconds integer NOT NULL,
  updated_at_seconds integer NOT NULL,
  PRIMARY KEY(realm, id),
  CONSTRAINT users_status CHECK (status IN ('active', 'disabled', 'pending', 'deleted'))
) STRICT;
CREATE UNIQUE INDEX users_username ON users (realm,username) WHERE status <> 'deleted';
CREATE UNIQUE INDEX users_email ON users (realm,email) WHERE status <> 'deleted';

CREATE TABLE credentials (
  id text PRIMARY KEY NOT NULL,
  kind text NOT NULL,
  realm text NOT NULL,
  user_id text NOT NULL,
  name text,
  digest text NOT NULL,
  pepper text NOT NULL,
  status text DEFAULT 'active' NOT NULL,
  scopes text DEFAULT '[]' NOT NULL,
  ip_allow text DEFAULT '[]' NOT NULL,
  attributes text DEFAULT '{}' NOT NULL,
  created_at_seconds integer NOT NULL,
  expires_at_seconds integer,
  FOREIGN KEY (realm,user_id) REFERENCES users(realm,id),
  CONSTRAINT credentials_kind CHECK (kind IN ('api_key', 'pat')),
  CONSTRAINT credentials_status CHECK (status IN ('active', 'disabled', 'deleted'))
) STRICT;
CREATE UNIQUE INDEX credentials_digest ON credentials (realm,kind,digest);
CREATE INDEX credentials_owner ON credentials (realm,user_id);

CREATE TABLE sessions (
  id text PRIMARY KEY NOT NULL,
  realm text NOT NULL,
  user_id text NOT NULL,
  digest text NOT NULL,
  pepper text NOT NULL,
  status text DEFAULT 'active' NOT NULL,
  scopes text DEFAULT '[]' NOT NULL,
  created_at_seconds integer NOT NULL,
  expires_at_seconds integer NOT NULL,
  FOREIGN KEY (realm,user_id) REFERENCES users(realm,id),
  CONSTRAINT sessions_status CHECK (status IN ('active', 'disabled', 'deleted'))
) STRICT;
CREATE INDEX sessions_owner ON sessions (realm,user_id);

CREATE TABLE changes (
  seq integer PRIMARY KEY AUTOINCREMENT NOT NULL,
  at_seconds integer NOT NULL,
  subjects text NOT NULL,
  what text NOT NULL
) STRICT;

CREATE TABLE revocations (
  realm text NOT NULL,
  kind text NOT NULL,
  value text NOT NULL,
  issued_before_seconds integer,
  expires_at_seconds integer,
  seq integer NOT NULL,
  PRIMARY KEY(realm, kind, value),
  CONSTRAINT revocations_kind CHECK (kind IN ('token', 'session', 'subject', 'realm'))
) STRICT;
CREATE INDEX revocations_seq ON revocations (seq);

CREATE TABLE meta (
  key text PRIMARY KEY NOT NULL,
  value text NOT NULL
) STRICT;

CREATE TABLE rate_windows (
  key text PRIMARY KEY NOT NULL,
  started_at_seconds integer NOT NULL,
  count integer NOT NULL
) STRICT;

-- A random epoch tells one database, and one state of it, from another; renewed after a restore.
INSERT INTO meta (key, value) VALUES ('epoch', lower(hex(randomblob(16)))), ('floor', '0');
