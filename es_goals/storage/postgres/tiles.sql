-- What schema 4 added to views.sql: the Merkle tree over the log, as in sqlite/views.sql. It belongs to the role that serves.

SET LOCAL search_path TO es_goals_views, pg_temp;

CREATE TABLE tree (size bigint NOT NULL); -- how many events are in it; compared before it is changed
INSERT INTO tree VALUES (0);
CREATE TABLE tiles (
    level  bigint NOT NULL,
    number bigint NOT NULL,
    hashes bytea  NOT NULL,
    PRIMARY KEY (level, number)
);

DO $$
DECLARE
    serving name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'es_goals_views');
BEGIN
    EXECUTE format('ALTER TABLE tree OWNER TO %I', serving);
    EXECUTE format('ALTER TABLE tiles OWNER TO %I', serving);
END
$$;
