"""The engine for many machines: the log and the users in a PostgreSQL database, which any number of nodes share."""

import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from typing import Any

import psycopg
import structlog
from psycopg import errors, pq
from psycopg.sql import SQL, Identifier

from es_goals.events import Recorded
from es_goals.storage import (
    Clash,
    Clock,
    Head,
    OutcomeUnknown,
    Progress,
    Remembered,
    StorageFailed,
    StorageFull,
    Unusable,
    copying,
)
from es_goals.storage.postgres_connections import (
    REFUSED,
    SNAPSHOT,
    Connection,
    Connections,
    roll_back,
    transaction,
    translated,
    unbounded,
)
from es_goals.storage.sql import BASE, COLUMNS, SCHEMA, Misfit, SqlReader, SqlTransaction, as_json, statements
from es_goals.storage.sqlite import SqliteLog

CHANNEL = "es_goals"
MIGRATING = 0x0E5_60A15
"""Of an advisory lock: two that make or upgrade the schema at once wait for each other."""
LISTEN_AGAIN_SECONDS = 1.0
FETCH = 2_000  # events of a scan through all of the log

# What makes a log of an older schema one of the next. The first one on PostgreSQL was 2.
_UPGRADES = {2: "postgres_accounts.sql"}
_BEGIN = "BEGIN; SELECT position, at FROM lock_log()"
# What is bytes comes in base64, as msgspec writes it.
_INSERT = (
    f"INSERT INTO events ({COLUMNS}) SELECT position, stream, version, type, subject, at, actor, command, reason,"
    " decode(data, 'base64') FROM json_to_recordset($1::json) AS line(position bigint, stream text, version bigint,"
    " type text, subject text, at bigint, actor text, command text, reason text, data text)"
)
_REMEMBER = (
    "INSERT INTO commands (stream, key, digest, first, last) SELECT stream, key, decode(digest, 'base64'), first, last"
    " FROM json_to_recordset($1::json) AS command(stream text, key text, digest text, first bigint, last bigint)"
)
_RECALL = (
    "SELECT stream, key, digest, first, last FROM commands WHERE (stream, key) IN"
    " (SELECT place->>0, place->>1 FROM json_array_elements($1::json) AS place)"
)
# All goals' streams lie between user: and user; in ASCII.
_BY_STREAM = (
    f"SELECT {COLUMNS} FROM events WHERE stream > greatest($1, 'user:' COLLATE \"C\") AND stream < 'user;'"
    " AND position <= $2 ORDER BY stream, version"
)
# Asked at once: others append meanwhile.
_ENDS = "SELECT position, (SELECT coalesce(max(position), 0) FROM events) FROM counter"
_OWNED = (
    "SELECT pg_has_role(tableowner::name, 'USAGE') FROM pg_tables"
    " WHERE (schemaname, tablename) = ('es_goals', 'events')"
)
_ONES_OWN = "SELECT id, schema FROM es_goals.log"
_THERE = "SELECT to_regclass('es_goals.log') IS NOT NULL"
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

log = structlog.get_logger()


class PostgresTransaction(SqlTransaction):
    """A write transaction on a connection that has the log's lock. What was written together goes to the server with
    the COMMIT, in one round trip.

    Only the first statement of a pipeline that may fail is prepared: those behind one that failed are skipped by the
    server, and psycopg would take them for prepared from then on.
    """

    def __init__(self, connection: Connection, head: Head, clock: Clock) -> None:
        super().__init__(head, clock)
        self._open = connection
        self._recalled: dict[tuple[str, str], Remembered | None] = {}

    def _ask(self, sql: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        try:
            with translated:
                cursor = self._open.execute(sql, values, binary=True)
                return cursor.fetchall() if cursor.description else []
        except REFUSED as error:
            raise _misfit(error) from error

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return [] if _nowhere(values) else super()._rows(sql, *values)

    def _of_events(self, lines: Sequence[Recorded]) -> tuple[str, str]:
        return _INSERT, as_json(lines).decode()

    def _of_keys(self, keys: Sequence[Remembered]) -> tuple[str, str]:
        return _REMEMBER, as_json(keys).decode()

    def _going_on(self) -> bool:
        return self._open.pgconn.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    def _try(self, sql: str, *values: str | int | None) -> None:
        try:
            with translated:
                with self._open.pipeline():
                    self._open.execute("SAVEPOINT one", prepare=False)
                    self._open.execute(sql, values)
                # By itself: behind a pipeline the server does not count how long a transaction is left idle.
                self._open.execute("RELEASE one")
        except REFUSED as error:
            self._ask("ROLLBACK TO one")
            raise _misfit(error) from error

    def recall(self, places: Sequence[tuple[str, str]]) -> None:
        if places:
            found = [Remembered(*row) for row in self._ask(_RECALL, as_json(places).decode())]
            self._recalled.update(dict.fromkeys(places))
            self._recalled.update({(one.stream, one.key): one for one in found})

    def remembered(self, stream: str, key: str) -> Remembered | None:
        if (stream, key) in self._recalled and (stream, key) not in self._keys:
            return self._recalled[stream, key]
        return super().remembered(stream, key)

    def remember(self, command: Remembered) -> None:
        self._recalled.pop((command.stream, command.key), None)  # it may be undone; the database knows
        super().remember(command)

    def _end_together(self) -> None:
        """They are written by `commit`."""

    def commit(self) -> None:
        """Write what was kept and commit. Raises Clash, StorageFull, StorageFailed, OutcomeUnknown."""
        warned: list[str] = []
        self._open.add_notice_handler(lambda notice: _note(notice, warned))
        try:
            with self._open.pipeline():
                if self._kept:
                    insert, rows = self._of_events(self._kept)
                    self._open.execute(insert, [rows])
                if self._keys:
                    insert, rows = self._of_keys(list(self._keys.values()))
                    self._open.execute(insert, [rows], prepare=False)
                self._open.execute("COMMIT", prepare=False)
        except psycopg.Error as error:
            raise _uncommitted(error) from error
        finally:
            self._open._notice_handlers.clear()
        if warned:
            # The wait for the synchronous standby was cancelled: it is committed here, and perhaps nowhere else.
            raise OutcomeUnknown(f"the commit may not be on the standby: {'; '.join(warned)}")


class PostgresLog(SqlReader):
    """The log in a database, made where there is none and the role may. Raises Unusable."""

    near = False
    resumes = True

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections, self._clock = connections, clock
        self._closed = threading.Event()
        with connections.alone() as connection, translated:
            if not connections.standby:
                _make_or_upgrade(connection, None)
            self.id = _recognised(connection)
            _expect_to_serve(connection)
        connections.open()

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return [] if _nowhere(values) else self._connections.rows(sql, values)

    def close(self) -> None:
        self._closed.set()
        self._connections.close()

    @contextmanager
    def writing(self) -> Iterator[PostgresTransaction]:
        with self._connections.one() as connection:
            try:
                started = connection.execute(_BEGIN)
                started.nextset()
                head = Head(*started.fetchall()[0])
                transaction = PostgresTransaction(connection, head, self._clock)
                yield transaction
                transaction.commit()
            except BaseException:
                roll_back(connection)
                raise

    def by_stream(self, after: str, until: int) -> Generator[Recorded, None, None]:
        with (
            translated,
            self._connections.alone() as connection,
            unbounded(connection),
            transaction(connection, SNAPSHOT),
            psycopg.RawServerCursor(connection, "by_stream") as cursor,
        ):
            cursor.itersize = FETCH
            cursor.execute(_BY_STREAM, (after, until), binary=True)
            yield from starmap(Recorded, cursor)

    def writes(self) -> int | None:
        return None

    def watch(self, wake: Callable[[], None]) -> None:
        threading.Thread(target=self._listen, args=(wake,), name="listener", daemon=True).start()

    def _listen(self, wake: Callable[[], None]) -> None:
        """Until it is closed, whatever becomes of the connection: its end is only told, since followers look anyway."""
        while not self._closed.is_set():
            try:
                with self._connections.alone() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    while not self._closed.is_set():
                        for _ in connection.notifies(timeout=LISTEN_AGAIN_SECONDS, stop_after=1):
                            wake()
            except (psycopg.Error, Unusable) as error:
                log.warning("not_listening", detail=str(error))
                self._closed.wait(LISTEN_AGAIN_SECONDS)

    def tidy(self) -> None:
        """The server does so itself."""

    def probe(self) -> None:
        with self.writing() as transaction:
            transaction._ask("UPDATE probe SET count = count + 1")

    def integrity(self) -> list[str]:
        """Whether the counter and the events agree."""
        counted, found = self._connections.rows(_ENDS, ())[0]
        return [] if counted == found else [f"the counter is at {counted}, and the last event at {found}"]

    def backup_into(self, target: str, progress: Progress) -> Head:
        into = SqliteLog(target, self._clock)
        try:
            return copying.copy(self, into, progress)
        finally:
            into.close()

    def sizes(self) -> dict[str, int]:
        return {"database": int(self._connections.rows("SELECT pg_database_size(current_database())", ())[0][0])}


def migrate(url: str, deadline: float, service: str | None) -> None:
    """Make or upgrade the schema as the role that owns it, and let the role `service` serve. Raises Unusable."""
    with Connections(url, deadline, 1).alone() as connection, translated, unbounded(connection):
        _make_or_upgrade(connection, service)
        _recognised(connection)


def exists(url: str, deadline: float) -> bool:
    """Whether a database has a log. Raises Unusable."""
    with Connections(url, deadline, 1).alone() as connection, translated:
        return bool(connection.execute(_THERE).fetchall()[0][0])


def _make_or_upgrade(connection: Connection, service: str | None) -> None:
    if service is None and _schema(connection) == SCHEMA:
        return
    # Held from before the transaction begins, whose first look is what another one committed meanwhile; let go with the
    # connection.
    connection.execute("SELECT pg_advisory_lock($1)", (MIGRATING,))
    with transaction(connection, "BEGIN"):
        found = _schema(connection)
        if found is None:
            for file in ("postgres.sql", "postgres_views.sql"):
                connection.execute(statements(file))
            connection.execute("INSERT INTO es_goals.log (id, schema) VALUES ($1, $2)", (str(uuid.uuid4()), BASE))
        for schema in range(found or BASE, SCHEMA):
            connection.execute(statements(_UPGRADES[schema]))
            connection.execute("UPDATE es_goals.log SET schema = $1", (schema + 1,))
        if service is not None and (found is None or found <= SCHEMA):
            _let_serve(connection, service)


def _let_serve(connection: Connection, service: str) -> None:
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
    """An upgrade without `service` leaves a role what it had, which is not enough."""
    role, may = connection.execute(_MAY_SERVE).fetchall()[0]
    if not may:
        told = f"let the log's owner run es-goals migrate --service {role}"
        raise Unusable(f"expected a role that may keep accounts and sessions; found {role}, which may not: {told}")


def _schema(connection: Connection) -> int | None:
    if not connection.execute(_THERE).fetchall()[0][0]:
        return None
    return int(connection.execute(_ONES_OWN).fetchall()[0][1])


def _recognised(connection: Connection) -> str:
    if _schema(connection) is None:
        raise Unusable(f"expected a log in {connection.info.dbname}; found none")
    log_id, schema = connection.execute(_ONES_OWN).fetchall()[0]
    if schema > SCHEMA:
        raise Unusable(f"expected a log of schema {SCHEMA} or older; found {schema}: upgrade the service")
    if schema < SCHEMA:  # of a standby that has not followed an upgrade yet
        raise Unusable(f"expected a log of schema {SCHEMA}; found {schema}, which es-goals migrate upgrades")
    return str(log_id)


def _nowhere(values: Sequence[str | int]) -> bool:
    """Whether one holds a NUL, which no row does, and which PostgreSQL refuses in a question too."""
    return any(isinstance(value, str) and "\0" in value for value in values)


def _note(notice: psycopg.errors.Diagnostic, warned: list[str]) -> None:
    if notice.severity_nonlocalized == "WARNING":
        warned.append(notice.message_primary or "a warning")


def _misfit(error: psycopg.Error) -> Misfit:
    return Misfit(error.diag.constraint_name or str(error))


def _uncommitted(error: psycopg.Error) -> Exception:
    """What a failure with the COMMIT under way means: where the server refused a statement, the COMMIT was not done."""
    if isinstance(error, REFUSED):
        return Clash(str(error))
    if isinstance(error, errors.DiskFull):
        return StorageFull(f"no space is left for the database: {error}")
    if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected | errors.ProgrammingError):
        return StorageFailed(f"writing the database failed: {error}")
    return OutcomeUnknown(f"the commit failed, and may or may not be kept: {error}")
