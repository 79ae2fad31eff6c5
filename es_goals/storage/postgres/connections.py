"""Connections to PostgreSQL: bounded, each statement with a deadline on both sides; and its errors as ours."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from es_goals.storage.deadlines import NEVER, current
from es_goals.storage.errors import Interrupted, StorageFailed, StorageFull, Unusable
from es_goals.storage.place import shown

OLDEST_POSTGRES = 150_000
WITHOUT_TIMEOUT_SECONDS = 86_400.0
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""The statement that begins a transaction whose reads show one moment."""
LEAST_CONNECT_SECONDS = 2  # libpq takes no less for a host of several
STANDBY_SECONDS = 0.5  # who waits for a connection to one that is gone still has the primary to ask
SCHEMAS = "es_goals, es_goals_views, es_goals_sessions"
# What the server raises where a statement was refused for what it says: nothing of it was stored.
REFUSED = (errors.IntegrityError, errors.RaiseException, errors.DataError)

_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
# Set once a connection. Strings are bound, so that none of them can be more than a setting.
_SETTINGS = {
    "search_path": f"{SCHEMAS}, pg_temp",
    "application_name": "es-goals",
    "jit": "off",  # compiling costs more than all of our statements
    # Plans are cached, those too that were made when a table was so small that reading all of it was cheaper.
    "enable_seqscan": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",  # a node that is gone lets its locks go after some 10 s
    "client_min_messages": "warning",
}
# A commit is acknowledged only when it is on disk, here and on the synchronous standby. Whoever asks for more gets it.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)

T = TypeVar("T")

# Its warnings repeat, in plain text, what exceptions say.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)


class Rows(psycopg.RawCursor[tuple[Any, ...]]):
    """A cursor whose parameters are $1, $2 … as the server counts them, and whose results come in binary."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose server may fall silent: what takes longer than `deadline` seconds ends it."""

    deadline: float

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait as psycopg does, but never for ever."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.deadline)
        except errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(f"no answer from the server within {self.deadline} s") from error


class NoSuchTable(StorageFailed):
    """A generation's table was dropped meanwhile."""


class _Translated:
    """A context that turns PostgreSQL's errors into ours, in one place, but for what REFUSED has."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, psycopg.Error) or isinstance(error, REFUSED):
            return
        found = " ".join(str(error).split())
        if isinstance(error, PoolTimeout | PoolClosed):
            raise StorageFailed(f"the database cannot be reached: {found}") from error
        if isinstance(error, errors.QueryCanceled) and current() != NEVER:
            raise Interrupted("expected an answer before the deadline; found a question that takes longer") from error
        if isinstance(error, errors.DiskFull):
            raise StorageFull(f"no space is left for the database: {found}") from error
        if isinstance(error, errors.UndefinedTable):
            raise NoSuchTable(found) from error
        if isinstance(error, errors.InsufficientPrivilege):
            raise Unusable(f"expected a role that may do this: {found}; see es-goals migrate --service") from error
        if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
            raise Unusable(f"expected a sound database; found a damaged one: {found}") from error
        raise StorageFailed(f"reading or writing the database failed: {found}") from error


translated = _Translated()


class Connections:
    """At most `most` connections of this process to the first server of `url` that takes writes, or with `standby` to
    any server. Whoever waits for one, or for the server, waits `deadline` seconds at most; for one to a standby, which
    need not be there, half a second."""

    def __init__(self, url: str, deadline: float, most: int, *, standby: bool = False) -> None:
        self.url, self.deadline, self.standby = shown(url), deadline, standby
        self._conninfo = _conninfo(url, deadline, standby)
        self._kind: type[Connection] = type("Connection", (Connection,), {"deadline": deadline})
        self._pid = os.getpid()
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            self._conninfo,
            connection_class=self._kind,
            kwargs={"autocommit": True, "cursor_factory": Rows},
            configure=self._configure,
            min_size=1,
            max_size=most,
            timeout=min(deadline, STANDBY_SECONDS) if standby else deadline,
            reconnect_timeout=deadline,
            open=False,
        )

    def _configure(self, connection: Connection) -> None:
        # The server gives up a little before we do, and says why.
        milliseconds = str(max(1, math.ceil(self.deadline * 900)))
        settings = {**_SETTINGS, **dict.fromkeys(_LIMITS, milliseconds)}
        calls = ", ".join(f"set_config(${2 * n + 1}, ${2 * n + 2}, false)" for n in range(len(settings)))
        with connection.pipeline():
            connection.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])
            connection.execute(_DURABLE)

    def open(self) -> None:
        """Begin to connect, once the schema is there: PostgreSQL 15 was seen to miss for good one that was made while a
        connection looked its search path up."""
        self._pool.open()

    @contextmanager
    def unpooled(self) -> Iterator[Connection]:
        """Connect outside the pool, and close the connection at the end. Raises Unusable."""
        try:
            connection = self._kind.connect(self._conninfo, autocommit=True, cursor_factory=Rows)
        except psycopg.Error as error:
            found = " ".join(str(error).split())
            raise Unusable(f"expected a PostgreSQL database at {self.url}; found: {found}") from error
        try:
            _expect_our_kind(connection.info)
            with translated:
                self._configure(connection)
            yield connection
        finally:
            connection.close()

    @contextmanager
    def borrow(self, *, without_timeout: bool = False) -> Iterator[Connection]:
        """Take a connection from the pool, for as long as the context lasts; `without_timeout`, whose statements take
        what time they need. Raises StorageFailed."""
        if os.getpid() != self._pid:
            raise Unusable(f"expected {self.url} to be opened in the process that uses it; found a fork of that one")
        current().check()
        with translated, self._pool.connection() as connection:
            if not without_timeout:
                yield connection
                return
            with unbounded(connection):
                yield connection

    def rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a statement that only reads. Connections which a restart of the server broke are not
        noticed before they are used, so where one is broken the next one is asked."""
        until = monotonic() + self.deadline
        while True:
            with self.borrow() as connection:
                try:
                    return connection.execute(sql, values, binary=True).fetchall()
                except psycopg.OperationalError:
                    if not connection.broken or monotonic() > until:
                        raise

    def close(self) -> None:
        """Close all of them; nobody may be using one."""
        self._pool.close()


@contextmanager
def unbounded(connection: Connection) -> Iterator[None]:
    """Let statements take what time they need, on both sides, and read all of a table."""
    before, connection.deadline = connection.deadline, WITHOUT_TIMEOUT_SECONDS
    limits = ", ".join(f"set_config('{name}', $1, false)" for name in _LIMITS)
    old = connection.execute("SELECT current_setting('statement_timeout')").fetchall()[0][0]
    connection.execute(f"SELECT {limits}, set_config('enable_seqscan', 'on', false)", ("0",))
    try:
        yield
    finally:
        connection.deadline = before
        if not connection.closed:
            connection.execute(f"SELECT {limits}, set_config('enable_seqscan', 'off', false)", (old,))


@contextmanager
def transaction(connection: Connection, begin: str) -> Iterator[Connection]:
    """Begin a transaction, committed at the end, rolled back on an exception. A connection in doubt is closed."""
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: Connection) -> None:
    """Roll back. What failed before is what matters: where this fails too, the connection is given up, and the server
    undoes it."""
    try:
        if not connection.closed and connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()


def _expect_our_kind(server: psycopg.ConnectionInfo) -> None:
    if server.server_version < OLDEST_POSTGRES:
        found = server.server_version // 10_000
        raise Unusable(f"expected PostgreSQL {OLDEST_POSTGRES // 10_000} or newer; found {found}")
    encoding = server.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unusable(f"expected a database whose encoding is UTF8; found {encoding}")


def _conninfo(url: str, deadline: float, standby: bool) -> str:
    # Why it is refused is not said, since what libpq would name may be a part of the password.
    bad = Unusable(f"expected a PostgreSQL URL, with %40 for @ in a password and so on; found {shown(url)}")
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise bad from None
    if "@" in str(given.get("host")):
        raise bad
    defaults: dict[str, Any] = {
        "connect_timeout": max(LEAST_CONNECT_SECONDS, math.floor(deadline / 2)),
        "target_session_attrs": "any" if standby else "read-write",
        "tcp_user_timeout": math.ceil(deadline * 1000),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    return make_conninfo("", **{**defaults, **given})
