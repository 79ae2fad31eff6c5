-- What schema 3 added to postgres.sql: accounts, beside the log, as in sqlite_accounts.sql.

SET LOCAL search_path TO es_goals, pg_temp;

ALTER TABLE users ADD COLUMN role text COLLATE "C" NOT NULL DEFAULT 'user'
    CHECK (role IN ('user', 'auditor', 'administrator'));
ALTER TABLE users ADD COLUMN disabled_at bigint;
ALTER TABLE users ADD COLUMN password_at bigint NOT NULL DEFAULT 0;

CREATE TABLE passwords (
    user_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id),
    hash    text COLLATE "C" NOT NULL
);

CREATE TABLE tokens (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    text   COLLATE "C" NOT NULL REFERENCES users (id),
    name       text   COLLATE "C" NOT NULL,
    scope      text   COLLATE "C" NOT NULL CHECK (scope IN ('read', 'write')),
    hash       text   COLLATE "C" NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint
);
CREATE INDEX tokens_user ON tokens (user_id);

CREATE TABLE identities (
    identity text COLLATE "C" NOT NULL PRIMARY KEY,
    user_id  text COLLATE "C" NOT NULL REFERENCES users (id)
);

-- What is forgotten without harm, as in sqlite_sessions.sql. It belongs to the role that serves.

CREATE SCHEMA es_goals_sessions;
SET LOCAL search_path TO es_goals_sessions, pg_temp;

-- Who counts attempts locks this row first.
CREATE TABLE origin (made_at bigint NOT NULL);
INSERT INTO origin VALUES ((extract(epoch FROM now()) * 1000000)::bigint);

CREATE TABLE sessions (
    hash       text   COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    text   COLLATE "C" NOT NULL,
    address    text   COLLATE "C" NOT NULL,
    stamp      bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE uses (id text COLLATE "C" NOT NULL PRIMARY KEY, at bigint NOT NULL);

CREATE TABLE attempts (
    id      text   COLLATE "C" NOT NULL PRIMARY KEY,
    account text   COLLATE "C" NOT NULL,
    address text   COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    failed  bigint NOT NULL
);
CREATE INDEX attempts_account ON attempts (account, at);
CREATE INDEX attempts_address ON attempts (address, at);
