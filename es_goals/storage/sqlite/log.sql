-- The log, and what must be kept beside it. `log.schema` is the version of this file.

CREATE TABLE log (
    id     TEXT    NOT NULL, -- the log's own UUID
    schema INTEGER NOT NULL
) STRICT;

-- One row an event, in commit order. Rows are added and never changed.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,  -- 1, 2, 3 ... without a gap
    stream   TEXT    NOT NULL,     -- user:<id> for goals, account:<id> for an account's facts
    version  INTEGER NOT NULL,     -- 1, 2, 3 ... within the stream
    type     TEXT    NOT NULL,
    subject  TEXT,                 -- the goal's id
    at       INTEGER NOT NULL,     -- µs since 1970 in UTC, never decreasing
    actor    TEXT,                 -- who sent the command; NULL where nobody is signed in
    command  TEXT    NOT NULL,     -- our UUID of the command
    reason   TEXT,                 -- what the client gave as the reason
    data     BLOB    NOT NULL,     -- the event's JSON
    UNIQUE (stream, version)
) STRICT;

-- A goal's id is given once, over all users and for ever.
CREATE UNIQUE INDEX events_goal_created ON events (subject) WHERE type = 'GoalCreated';
-- The rest of a goal's history. Together each event is in one of the two, so that it costs one entry.
CREATE INDEX events_goal_changed ON events (subject) WHERE type <> 'GoalCreated' AND subject IS NOT NULL;

-- The database defends the log. INSERT OR REPLACE gets past triggers on UPDATE and DELETE, but not past this one.
CREATE TRIGGER events_come_next BEFORE INSERT ON events BEGIN
    SELECT RAISE(ABORT, 'position is not the next one')
     WHERE NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM events);
    SELECT RAISE(ABORT, 'version is not the next one')
     WHERE NEW.version IS NOT (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream = NEW.stream);
    SELECT RAISE(ABORT, 'at goes back')
     WHERE NEW.at < (SELECT at FROM events ORDER BY position DESC LIMIT 1);
    SELECT RAISE(ABORT, 'events.subject: a goal has this id')
     WHERE NEW.type = 'GoalCreated'
       AND EXISTS (SELECT 1 FROM events WHERE subject = NEW.subject AND type = 'GoalCreated');
END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Commands that a client gave a key, so that a repeat is answered and not done again.
CREATE TABLE commands (
    stream  TEXT    NOT NULL,
    key     TEXT    NOT NULL,      -- the client's Idempotency-Key
    digest  BLOB    NOT NULL,      -- SHA-256 of the request
    first   INTEGER NOT NULL,      -- positions of its events
    last    INTEGER NOT NULL,
    PRIMARY KEY (stream, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER commands_once BEFORE INSERT ON commands
WHEN EXISTS (SELECT 1 FROM commands WHERE stream = NEW.stream AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'the key is taken'); END;
CREATE TRIGGER commands_stay BEFORE UPDATE ON commands BEGIN SELECT RAISE(ABORT, 'commands are append-only'); END;
CREATE TRIGGER commands_last BEFORE DELETE ON commands BEGIN SELECT RAISE(ABORT, 'commands are append-only'); END;

CREATE TABLE users (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    folded     TEXT    NOT NULL UNIQUE, -- the name by NFKC case-folding: what makes two names the same
    email      TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row, changed to see whether commits work; see Log.probe.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
