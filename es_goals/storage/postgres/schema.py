"""The schema in a PostgreSQL database: made, upgraded, recognised, and let to a role that serves."""

import uuid
from collections.abc import Mapping
from functools import partial

from psycopg.sql import SQL, Identifier

from es_goals.storage.errors import Unusable
from es_goals.storage.postgres.connections import Connection, Connections, transaction, translated, unbounded
from es_goals.storage.sql.log import BASE, SCHEMA, statements
from es_goals.storage.sql.upgrades import Step, all_of, refold, take

MIGRATING = 0x0E5_60A15
"""Of an advisory lock: two that make or upgrade the schema at once wait for each other."""
# What makes a log of an older schema one of the next. The first one on PostgreSQL was 2.
_UPGRADES: Mapping[int, Step] = {
    2: "postgres/accounts.sql",
    3: all_of(partial(refold, users="es_goals.users"), "postgres/tiles.sql", "postgres/drafts.sql"),
}
_OWNED = (
    "SELECT pg_has_role(tableowner::name, 'USAGE') FROM pg_tables"
    " WHERE (schemaname, tablename) = ('es_goals', 'events')"
)
_ID_AND_SCHEMA = "SELECT id, schema FROM es_goals.log"
_EXISTS = "SELECT to_regclass('es_goals.log') IS NOT NULL"
_MAY_SERVE = (
    "SELECT current_user::text, has_schema_privilege('es_goals_sessions', 'USAGE')"
    " AND has_table_privilege('es_goals.tokens', 'INSERT')"
)
_SERVICE = """
    GRANT USAGE ON SCHEMA es_goals TO {role};
    GRANT SELECT ON es_goals.log, es_goals.counter, es_goals.probe TO {role};
    GRANT SELECT, INSERT ON es_goals.events, es_goals.commands TO {role};
    GRANT SELECT, INSERT ON es_goals.users, es_goals.passwords, es_goals.tokens, es_goals.identities TO {role};
    GRANT UPDATE (name, folded, email, disabled_at, password_at) ON es_goals.users TO {role};
    GRANT UPDATE (hash) ON es_goals.passwords TO {role};
    GRANT UPDATE (revoked_at) ON es_goals.tokens TO {role};
    GRANT UPDATE ON es_goals.probe TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON es_goals.drafts TO {role};
    GRANT EXECUTE ON FUNCTION es_goals.lock_log() TO {role};
    ALTER SCHEMA es_goals_views OWNER TO {role};
    ALTER TABLE es_goals_views.source OWNER TO {role};
    ALTER TABLE es_goals_views.generations OWNER TO {role};
    ALTER SCHEMA es_goals_sessions OWNER TO {role};
    ALTER TABLE es_goals_sessions.origin OWNER TO {role};
    ALTER TABLE es_goals_sessions.sessions OWNER TO {role};
    ALTER TABLE es_goals_sessions.uses OWNER TO {role};
    ALTER TABLE es_goals_sessions.attempts OWNER TO {role};
"""
# Those that the owner made when it served itself, or restored a backup.
_GENERATIONS = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'es_goals_views' AND tablename NOT IN ('source', 'generations')"
)


def migrate(url: str, deadline: float, service: str | None) -> None:
    """Make or upgrade the schema as the role that owns it, and let the role `service` serve. Raises Unusable."""
    with Connections(url, deadline, 1).unpooled() as connection, translated, unbounded(connection):
        _make_or_upgrade(connection, service)
        _expect_schema(connection)


def exists(url: str, deadline: float) -> bool:
    """Whether a database has a log. Raises Unusable."""
    with Connections(url, deadline, 1).unpooled() as connection, translated:
        return bool(connection.execute(_EXISTS).fetchall()[0][0])


def _make_or_upgrade(connection: Connection, service: str | None) -> None:
    if service is None and _schema(connection) == SCHEMA:
        return
    # Held from before the transaction begins, whose first look is what another one committed meanwhile; let go with the
    # connection.
    connection.execute("SELECT pg_advisory_lock($1)", (MIGRATING,))
    with transaction(connection, "BEGIN"):
        found = _schema(connection)
        if found is None:
            for file in ("postgres/log.sql", "postgres/views.sql"):
                connection.execute(statements(file))
            connection.execute("INSERT INTO es_goals.log (id, schema) VALUES ($1, $2)", (str(uuid.uuid4()), BASE))
        for schema in range(found or BASE, SCHEMA):
            # First, since this is what only the owner may.
            connection.execute("UPDATE es_goals.log SET schema = $1", (schema + 1,))
            take(_UPGRADES[schema], connection)
        if service is not None and (found is None or found <= SCHEMA):
            _grant(connection, service)


def _grant(connection: Connection, service: str) -> None:
    if not connection.execute("SELECT FROM pg_roles WHERE rolname = $1", (service,)).fetchall():
        raise Unusable(f"expected a role that there is; found {service}")
    if not connection.execute(_OWNED).fetchall()[0][0]:
        raise Unusable("expected the role that owns the log's tables, which may let another one serve; found another")
    role = Identifier(service)
    connection.execute(SQL(_SERVICE).format(role=role).as_string(connection))
    for (table,) in connection.execute(_GENERATIONS).fetchall():
        hand_over = SQL("ALTER TABLE es_goals_views.{table} OWNER TO {role}")
        connection.execute(hand_over.format(table=Identifier(table), role=role).as_string(connection))


def _expect_to_serve(connection: Connection) -> None:
    """Raise Unusable where an upgrade without `service` left a role what it had, which is not enough."""
    role, may = connection.execute(_MAY_SERVE).fetchall()[0]
    if not may:
        advice = f"let the log's owner run es-goals migrate --service {role}"
        raise Unusable(f"expected a role that may keep accounts and sessions; found {role}, which may not: {advice}")


def _schema(connection: Connection) -> int | None:
    if not connection.execute(_EXISTS).fetchall()[0][0]:
        return None
    return int(connection.execute(_ID_AND_SCHEMA).fetchall()[0][1])


def _expect_schema(connection: Connection) -> str:
    if _schema(connection) is None:
        raise Unusable(f"expected a log in {connection.info.dbname}; found none")
    log_id, schema = connection.execute(_ID_AND_SCHEMA).fetchall()[0]
    if schema > SCHEMA:
        raise Unusable(f"expected a log of schema {SCHEMA} or older; found {schema}: upgrade the service")
    if schema < SCHEMA:  # of a standby that has not followed an upgrade yet
        raise Unusable(f"expected a log of schema {SCHEMA}; found {schema}, which es-goals migrate upgrades")
    return str(log_id)
