-- What is forgotten without harm: who is signed in, and who tried to be. Times are µs since 1970.

CREATE TABLE origin (
    log     TEXT    NOT NULL,                      -- whose sessions these are
    made_at INTEGER NOT NULL                       -- nothing was noted as used before that
) STRICT;

CREATE TABLE sessions (
    hash       TEXT    PRIMARY KEY,                -- SHA-256 of its token, in hexadecimal digits
    user_id    TEXT    NOT NULL,
    address    TEXT    NOT NULL,                   -- where it was begun
    stamp      INTEGER NOT NULL,                   -- the user's password_at then
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);

-- When a session or an API token was last used, to the minute.
CREATE TABLE uses (id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Passwords that were tried. One that held leaves nothing here.
CREATE TABLE attempts (
    id      TEXT    PRIMARY KEY,
    account TEXT    NOT NULL,                      -- the user's id; for a name that nobody has, its SHA-256
    address TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    failed  INTEGER NOT NULL                       -- 0 while it is being looked at
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_account ON attempts (account, at);
CREATE INDEX attempts_address ON attempts (address, at);
