-- What schema 4 added: drafts, beside the accounts. Times are µs since 1970.

CREATE TABLE drafts (
    id         TEXT    PRIMARY KEY,
    user_id    TEXT    NOT NULL,                   -- of nobody yet where a log is copied: drafts come first
    name       TEXT    NOT NULL,
    base       INTEGER NOT NULL,                   -- the position whose goals its commands are for
    version    INTEGER NOT NULL,                   -- the user's last one there
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    applied    INTEGER,                            -- the position up to which the log has it, once it was applied
    commands   TEXT    NOT NULL                    -- JSON, as the API takes them
) STRICT;
CREATE INDEX drafts_user ON drafts (user_id, id);
