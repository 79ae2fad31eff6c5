-- What schema 4 added: drafts, beside the accounts, as in sqlite/drafts.sql. Who serves may do all with them.

SET LOCAL search_path TO es_goals, pg_temp;

CREATE TABLE drafts (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    text   COLLATE "C" NOT NULL,
    name       text   COLLATE "C" NOT NULL,
    base       bigint NOT NULL,
    version    bigint NOT NULL,
    revision   bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    applied    bigint,
    commands   text   COLLATE "C" NOT NULL
);
CREATE INDEX drafts_user ON drafts (user_id, id);

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON drafts TO %I',
                   (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'es_goals_views'));
END
$$;
