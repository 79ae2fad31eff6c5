-- What schema 4 added: drafts, beside the accounts, as in sqlite/drafts.sql.

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
