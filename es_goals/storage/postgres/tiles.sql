-- What schema 4 added to views.sql: the Merkle tree over the log, and verifications, as in sqlite/views.sql. They belong
-- to the role that serves.

SET LOCAL search_path TO es_goals_views, pg_temp;

CREATE TABLE tree (size bigint NOT NULL); -- how many events are in it; compared before it is changed
INSERT INTO tree VALUES (0);
CREATE TABLE tiles (
    level  bigint NOT NULL,
    number bigint NOT NULL,
    hashes bytea  NOT NULL,
    PRIMARY KEY (level, number)
);

-- Checks of the log and of the read models; times are µs since 1970.
CREATE TABLE verifications (
    id       text   COLLATE "C" NOT NULL PRIMARY KEY,
    state    text   COLLATE "C" NOT NULL CHECK (state IN ('running', 'sound', 'unsound', 'failed')),
    began_at bigint NOT NULL,
    ended_at bigint,
    step     text   COLLATE "C" NOT NULL, -- what is being checked, done of total of it
    done     bigint NOT NULL,
    total    bigint NOT NULL,
    head     text   COLLATE "C", -- where the log ended: <position>:<digest>
    finding  text   COLLATE "C"
);

DO $$
DECLARE
    serving name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'es_goals_views');
BEGIN
    EXECUTE format('ALTER TABLE tree OWNER TO %I', serving);
    EXECUTE format('ALTER TABLE tiles OWNER TO %I', serving);
    EXECUTE format('ALTER TABLE verifications OWNER TO %I', serving);
END
$$;
