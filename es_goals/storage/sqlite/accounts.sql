-- What schema 3 added to sqlite.sql: accounts, beside the log, since the log forgets nothing. Times are µs since 1970.

ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'auditor', 'administrator'));
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
ALTER TABLE users ADD COLUMN password_at INTEGER NOT NULL DEFAULT 0; -- sessions begun under another one are over

CREATE TABLE passwords (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    hash    TEXT NOT NULL                          -- argon2id, in the form of its reference implementation
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id         TEXT    PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    name       TEXT    NOT NULL,
    scope      TEXT    NOT NULL CHECK (scope IN ('read', 'write')),
    hash       TEXT    NOT NULL UNIQUE,            -- SHA-256 of the token, in hexadecimal digits
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_user ON tokens (user_id);

CREATE TABLE identities (
    identity TEXT PRIMARY KEY,                     -- a provider's issuer, a space, and its subject
    user_id  TEXT NOT NULL REFERENCES users (id)
) STRICT, WITHOUT ROWID;
