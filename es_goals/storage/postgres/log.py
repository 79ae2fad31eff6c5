"""The engine for many machines: the log and the users in a PostgreSQL database, which any number of nodes share."""

import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from typing import Any

import psycopg
import structlog
from psycopg import errors, pq

from es_goals.events import Recorded
from es_goals.storage import copying
from es_goals.storage.errors import BatchConflict, OutcomeUnknown, StorageFailed, StorageFull, Unusable
from es_goals.storage.log import Clock, Head, Progress, StoredKey
from es_goals.storage.postgres.connections import (
    REFUSED,
    SNAPSHOT,
    Connection,
    Connections,
    roll_back,
    transaction,
    translated,
    unbounded,
)
from es_goals.storage.postgres.schema import _expect_schema, _expect_to_serve, _make_or_upgrade
from es_goals.storage.sql.log import COLUMNS, ConstraintViolation, SqlReader, SqlTransaction, as_json, statements
from es_goals.storage.sqlite.log import SqliteLog

CHANNEL = "es_goals"
LISTEN_AGAIN_SECONDS = 1.0
FETCH = 2_000  # events of a scan through all of the log
_BEGIN = "BEGIN; SELECT position, at FROM lock_log()"
# What is bytes comes in base64, as msgspec writes it.
_INSERT = (
    f"INSERT INTO events ({COLUMNS}) SELECT position, stream, version, type, subject, at, actor, command, reason,"
    " decode(data, 'base64') FROM json_to_recordset($1::json) AS line(position bigint, stream text, version bigint,"
    " type text, subject text, at bigint, actor text, command text, reason text, data text)"
)
_STORE_KEY = (
    "INSERT INTO commands (stream, key, digest, first, last) SELECT stream, key, decode(digest, 'base64'), first, last"
    " FROM json_to_recordset($1::json) AS command(stream text, key text, digest text, first bigint, last bigint)"
)
_PREFETCH = (
    "SELECT stream, key, digest, first, last FROM commands WHERE (stream, key) IN"
    " (SELECT place->>0, place->>1 FROM json_array_elements($1::json) AS place)"
)
TAKEN = (
    "SELECT subject FROM events WHERE type = 'GoalCreated' AND subject IN (SELECT json_array_elements_text($1::json))"
)
# All goals' streams lie between user: and user; in ASCII.
_BY_STREAM = (
    f"SELECT {COLUMNS} FROM events WHERE stream > greatest($1, 'user:' COLLATE \"C\") AND stream < 'user;'"
    " AND position <= $2 ORDER BY stream, version"
)
# Asked at once: others append meanwhile.
_ENDS = "SELECT position, (SELECT coalesce(max(position), 0) FROM events) FROM counter"
_DEFENCES = (
    "SELECT relname::text, tgname::text, proname::text, tgenabled::text, prosrc FROM pg_trigger"
    " JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid"
    " WHERE NOT tgisinternal AND relnamespace = 'es_goals'::regnamespace"
)
_FUNCTIONS = re.compile(r"CREATE FUNCTION (\w+)\(\) RETURNS trigger\n.*?\nAS \$\$(.*?)\$\$;", re.DOTALL)
_TRIGGERS = re.compile(r"CREATE TRIGGER (\w+) .*? ON (\w+)")
logger = structlog.get_logger()


class PostgresTransaction(SqlTransaction):
    """A write transaction on a connection that has the log's lock. What was written together goes to the server with
    the COMMIT, in one round trip.

    Only the first statement of a pipeline that may fail is prepared: those behind one that failed are skipped by the
    server, and psycopg would take them for prepared from then on.
    """

    _TAKEN = TAKEN

    def __init__(self, connection: Connection, head: Head, clock: Clock) -> None:
        super().__init__(head, clock)
        self._open = connection
        self._prefetched: dict[tuple[str, str], StoredKey | None] = {}
        self._prefetched_ids: dict[str, bool] = {}

    def _ask(self, sql: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        try:
            with translated:
                cursor = self._open.execute(sql, values, binary=True)
                return cursor.fetchall() if cursor.description else []
        except REFUSED as error:
            raise _violation(error) from error

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return [] if _has_nul(values) else super()._rows(sql, *values)

    def _insert_events(self, lines: Sequence[Recorded]) -> tuple[str, str]:
        return _INSERT, as_json(lines).decode()

    def _insert_keys(self, keys: Sequence[StoredKey]) -> tuple[str, str]:
        return _STORE_KEY, as_json(keys).decode()

    def _in_transaction(self) -> bool:
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
            raise _violation(error) from error

    def prefetch(self, places: Sequence[tuple[str, str]], goal_ids: Sequence[str]) -> None:
        if goal_ids:
            taken = super()._taken_before(goal_ids)
            self._prefetched_ids.update({goal_id: goal_id in taken for goal_id in goal_ids})
        if places:
            found = [StoredKey(*row) for row in self._ask(_PREFETCH, as_json(places).decode())]
            self._prefetched.update(dict.fromkeys(places))
            self._prefetched.update({(one.stream, one.key): one for one in found})

    def _taken_before(self, goal_ids: Sequence[str]) -> frozenset[str]:
        known = self._prefetched_ids
        if any(goal_id not in known for goal_id in goal_ids):
            return super()._taken_before(goal_ids)
        return frozenset(goal_id for goal_id in goal_ids if known[goal_id])

    def stored_key(self, stream: str, key: str) -> StoredKey | None:
        if (stream, key) in self._prefetched and (stream, key) not in self._pending_keys:
            return self._prefetched[stream, key]
        return super().stored_key(stream, key)

    def store_key(self, command: StoredKey) -> None:
        self._prefetched.pop((command.stream, command.key), None)  # it may be undone; the database knows
        super().store_key(command)

    def _end_batch(self) -> None:
        """Leave them pending: `commit` writes them."""

    def commit(self) -> None:
        """Write what is pending and commit. Raises BatchConflict, StorageFull, StorageFailed, OutcomeUnknown."""
        warned: list[str] = []
        self._open.add_notice_handler(lambda notice: _collect_warning(notice, warned))
        try:
            with self._open.pipeline():
                if self._pending:
                    insert, rows = self._insert_events(self._pending)
                    self._open.execute(insert, [rows])
                if self._pending_keys:
                    insert, rows = self._insert_keys(list(self._pending_keys.values()))
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

    _TAKEN = TAKEN
    is_local = False
    survives_unknown_commit = True

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections, self._clock = connections, clock
        self._closed = threading.Event()
        with connections.unpooled() as connection, translated:
            if not connections.standby:
                _make_or_upgrade(connection, None)
            self.id = _expect_schema(connection)
            _expect_to_serve(connection)
        connections.open()

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return [] if _has_nul(values) else self._connections.rows(sql, values)

    def close(self) -> None:
        self._closed.set()
        self._connections.close()

    @contextmanager
    def writing(self) -> Iterator[PostgresTransaction]:
        with self._connections.borrow() as connection:
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
            self._connections.unpooled() as connection,
            unbounded(connection),
            transaction(connection, SNAPSHOT),
            psycopg.RawServerCursor(connection, "by_stream") as cursor,
        ):
            cursor.itersize = FETCH
            cursor.execute(_BY_STREAM, (after, until), binary=True)
            yield from starmap(Recorded, cursor)

    def change_counter(self) -> int | None:
        return None

    def watch(self, wake: Callable[[], None]) -> None:
        threading.Thread(target=self._listen, args=(wake,), name="listener", daemon=True).start()

    def _listen(self, wake: Callable[[], None]) -> None:
        """Wait for notifications until the log is closed, whatever becomes of the connection: its end is only logged,
        since followers look anyway."""
        while not self._closed.is_set():
            try:
                with self._connections.unpooled() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    while not self._closed.is_set():
                        for _ in connection.notifies(timeout=LISTEN_AGAIN_SECONDS, stop_after=1):
                            wake()
            except (psycopg.Error, Unusable) as error:
                logger.warning("not_listening", detail=str(error))
                self._closed.wait(LISTEN_AGAIN_SECONDS)

    def checkpoint(self) -> None:
        """Do nothing: the server does so itself."""

    def probe(self) -> None:
        with self.writing() as transaction:
            transaction._ask("UPDATE probe SET count = count + 1")

    def integrity(self) -> list[str]:
        """Compare the counter with the events."""
        counted, found = self._connections.rows(_ENDS, ())[0]
        return [] if counted == found else [f"the counter is at {counted}, and the last event at {found}"]

    def schema_faults(self) -> list[str]:
        """Compare the triggers on the log's tables, whether they always fire, and what they do."""
        functions = dict(_FUNCTIONS.findall(statements("postgres/log.sql")))
        own = {
            (table, name): (name if name in functions else "append_only", "A")
            for name, table in _TRIGGERS.findall(statements("postgres/log.sql"))
        }
        own_sources = {place: (*does, " ".join(functions[does[0]].split())) for place, does in own.items()}
        found = {
            (table, name): (function, always, " ".join(source.split()))
            for table, name, function, always, source in self._connections.rows(_DEFENCES, ())
        }
        return [
            f"expected of the table {table} the trigger {name} as it was made; found "
            + ("none" if (table, name) not in found else "another one" if (table, name) in own else "one more")
            for table, name in sorted(own_sources.keys() | found.keys())
            if own_sources.get((table, name)) != found.get((table, name))
        ]

    def backup_into(self, target: str, progress: Progress) -> Head:
        into = SqliteLog(target, self._clock)
        try:
            return copying.copy(self, into, progress)
        finally:
            into.close()

    def sizes(self) -> dict[str, int]:
        return {"database": int(self._connections.rows("SELECT pg_database_size(current_database())", ())[0][0])}


def _has_nul(values: Sequence[str | int]) -> bool:
    """Whether one has a NUL, which no row has, and which PostgreSQL refuses in a question too."""
    return any(isinstance(value, str) and "\0" in value for value in values)


def _collect_warning(notice: psycopg.errors.Diagnostic, warned: list[str]) -> None:
    if notice.severity_nonlocalized == "WARNING":
        warned.append(notice.message_primary or "a warning")


def _violation(error: psycopg.Error) -> ConstraintViolation:
    return ConstraintViolation(error.diag.constraint_name or str(error))


def _uncommitted(error: psycopg.Error) -> Exception:
    """Translate a failure with the COMMIT under way: where the server refused a statement, the COMMIT was not done."""
    if isinstance(error, REFUSED):
        return BatchConflict(str(error))
    if isinstance(error, errors.DiskFull):
        return StorageFull(f"no space is left for the database: {error}")
    if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected | errors.ProgrammingError):
        return StorageFailed(f"writing the database failed: {error}")
    return OutcomeUnknown(f"the commit failed, and may or may not be kept: {error}")
