-- The log, and what must be kept beside it, as in sqlite.sql. Made by the role that owns it; who serves has a role of
-- its own, which may SELECT and INSERT here and nothing more: see `es-goals migrate --service`.
-- Text is compared by its bytes, as SQLite does, whatever the database's own collation is.

CREATE SCHEMA es_goals;
SET LOCAL search_path TO es_goals, pg_temp;

CREATE TABLE log (
    id     text    NOT NULL, -- the log's own UUID
    schema integer NOT NULL
);
CREATE UNIQUE INDEX log_one ON log ((true));

-- One row, where the log ends. It is locked before a command is decided and changed by the append itself: positions are
-- taken in the order of the commits, nobody sees one before those below it, and an append undone leaves no gap.
CREATE TABLE counter (
    position bigint NOT NULL,
    at       bigint NOT NULL
) WITH (fillfactor = 10); -- room for its versions on the page that it is on
CREATE UNIQUE INDEX counter_one ON counter ((true));
INSERT INTO counter VALUES (0, 0);

-- One row an event, in commit order. Rows are added and never changed.
CREATE TABLE events (
    position bigint NOT NULL PRIMARY KEY,           -- 1, 2, 3 ... without a gap
    stream   text   COLLATE "C" NOT NULL,           -- user:<id> for goals, account:<id> for an account's facts
    version  bigint NOT NULL,                       -- 1, 2, 3 ... within the stream
    type     text   COLLATE "C" NOT NULL,
    subject  text   COLLATE "C",                    -- the goal's id
    at       bigint NOT NULL,                       -- µs since 1970 in UTC, never decreasing
    actor    text   COLLATE "C",                    -- who sent the command; NULL where nobody is signed in
    command  text   COLLATE "C" NOT NULL,           -- our UUID of the command
    reason   text   COLLATE "C",                    -- what the client gave as the reason
    data     bytea  NOT NULL,                       -- the event's JSON, the bytes as they were written
    CONSTRAINT events_stream_version UNIQUE (stream, version)
);

-- A goal's id is given once, over all users and for ever.
CREATE UNIQUE INDEX events_goal_created ON events (subject) WHERE type = 'GoalCreated';
-- The rest of a goal's history. Together each event is in one of the two, so that it costs one entry.
CREATE INDEX events_goal_changed ON events (subject) WHERE type <> 'GoalCreated' AND subject IS NOT NULL;

-- Commands that a client gave a key, so that a repeat is answered and not done again.
CREATE TABLE commands (
    stream text   COLLATE "C" NOT NULL,
    key    text   COLLATE "C" NOT NULL,             -- the client's Idempotency-Key
    digest bytea  NOT NULL,                         -- SHA-256 of the request
    first  bigint NOT NULL,                         -- positions of its events
    last   bigint NOT NULL,
    PRIMARY KEY (stream, key)
);

CREATE TABLE users (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    name       text   COLLATE "C" NOT NULL,
    folded     text   COLLATE "C" NOT NULL UNIQUE,  -- the name by NFKC case-folding: what makes two names the same
    email      text   COLLATE "C",
    created_at bigint NOT NULL
);

-- One row, changed to see whether commits work; see Log.probe.
CREATE TABLE probe (count bigint NOT NULL);
INSERT INTO probe VALUES (0);

-- Who wants to append waits here for those before it, and is told where the log ends then. The counter is the owner's:
-- this, and the trigger below, are all that others can do to it.
CREATE FUNCTION lock_log() RETURNS counter
LANGUAGE sql SECURITY DEFINER SET search_path = es_goals, pg_temp
AS $$ SELECT position, at FROM counter FOR UPDATE $$;

-- The database defends the log. All rows of a statement are judged at once: positions follow the counter, versions
-- their stream, times the last one. A row that is there already is the unique indexes' affair.
CREATE FUNCTION events_come_next() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = es_goals, pg_temp
AS $$
DECLARE
    from_position bigint; to_position bigint; lines bigint; from_at bigint; to_at bigint;
BEGIN
    SELECT min(position), max(position), count(*), min(added.at), max(added.at)
      INTO from_position, to_position, lines, from_at, to_at FROM added;
    IF lines = 0 THEN
        RETURN NULL;
    END IF;
    UPDATE counter SET position = to_position, at = to_at
     WHERE counter.position = from_position - 1 AND counter.at <= from_at;
    IF NOT FOUND OR to_position - from_position + 1 <> lines THEN
        RAISE EXCEPTION 'position is not the next one, or at goes back'
            USING DETAIL = format('found positions %s to %s, of %s events', from_position, to_position, lines);
    END IF;
    IF from_at <> to_at AND EXISTS (
        SELECT FROM (SELECT one.at, lag(one.at) OVER (ORDER BY one.position) AS before FROM added AS one) AS times
         WHERE times.at < times.before
    ) THEN
        RAISE EXCEPTION 'at goes back';
    END IF;
    -- Behind the one before it, whether that was there or comes with it. EXISTS might be answered by a scan of all events.
    IF EXISTS (
        SELECT FROM added AS one
         WHERE one.version <> 1
           AND coalesce((SELECT before.position FROM events AS before
                          WHERE before.stream = one.stream AND before.version = one.version - 1),
                        one.position) >= one.position
    ) THEN
        RAISE EXCEPTION 'version is not the next one';
    END IF;
    -- A hint to followers on every node, told when the transaction commits; what they rely on is that they look.
    PERFORM pg_notify('es_goals', to_position::text);
    RETURN NULL;
END $$;
CREATE TRIGGER events_come_next AFTER INSERT ON events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION events_come_next();

CREATE FUNCTION append_only() RETURNS trigger
LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER commands_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON commands
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- Also in a session that says it is a replica's.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_come_next, ENABLE ALWAYS TRIGGER events_stay;
ALTER TABLE commands ENABLE ALWAYS TRIGGER commands_stay;

REVOKE ALL ON FUNCTION lock_log(), events_come_next(), append_only() FROM PUBLIC;
