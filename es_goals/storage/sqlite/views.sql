-- Read models, folded from the log: nothing here is lost by deleting it. user_version is the version of this file.

CREATE TABLE source (log TEXT NOT NULL) STRICT; -- the UUID of the log that was folded

-- A generation is one folding of a read model, in a table of its own, <name>_<id>.
CREATE TABLE generations (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: readers' ETags hold it
    name      TEXT    NOT NULL,
    revision  INTEGER NOT NULL, -- with the shape: which code's generation it is
    shape     TEXT    NOT NULL, -- digest of the row's fields, key and indexes
    state     TEXT    NOT NULL CHECK (state IN ('live', 'building', 'previous')),
    position  INTEGER NOT NULL, -- the checkpoint: all events up to here are folded
    command   TEXT,             -- the command of the event there, to recognise another log
    failed_at INTEGER,
    error     TEXT,
    writes    INTEGER NOT NULL DEFAULT 0, -- how often rows were changed; compared before they are changed again
    filled    TEXT,             -- while it is filled stream by stream: the last one that is there
    folded    INTEGER NOT NULL DEFAULT 0 -- events of those streams
) STRICT;

-- The Merkle tree over the log, in tiles of 256 hashes of 32 bytes: at level 0 those of events, above each of a full tile.
CREATE TABLE tree (size INTEGER NOT NULL) STRICT; -- how many events are in it; compared before it is changed
INSERT INTO tree VALUES (0);
CREATE TABLE tiles (
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;

-- Checks of the log and of the read models; times are µs since 1970.
CREATE TABLE verifications (
    id       TEXT    PRIMARY KEY,
    state    TEXT    NOT NULL CHECK (state IN ('running', 'sound', 'unsound', 'failed')),
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    step     TEXT    NOT NULL, -- what is being checked, done of total of it
    done     INTEGER NOT NULL,
    total    INTEGER NOT NULL,
    head     TEXT,             -- where the log ended: <position>:<digest>
    finding  TEXT
) STRICT;
