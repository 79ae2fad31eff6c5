"""The embedded engine: the log and the users in one SQLite file, in WAL mode, every commit on disk."""

import os
import re
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from itertools import starmap
from pathlib import Path
from typing import Any, cast

import apsw
from msgspec import structs

from es_goals.events import Recorded
from es_goals.storage.errors import OutcomeUnknown, StorageFailed, StorageFull, Unusable
from es_goals.storage.log import Clock, Head, Progress, StoredKey
from es_goals.storage.sql.log import (
    BASE,
    COLUMNS,
    HEAD,
    SCHEMA,
    ConstraintViolation,
    SqlReader,
    SqlTransaction,
    as_json,
    statements,
)
from es_goals.storage.sql.upgrades import Step, all_of, refold, take
from es_goals.storage.sqlite.connections import BUSY_MS, CACHE, Connections, connect, translated
from es_goals.storage.sqlite.locks import FileLock

# Older ones can lose commits, or corrupt a WAL database that several connections write and checkpoint.
OLDEST_SQLITE = (3, 51, 3)
# Of the write-ahead log, 4 KiB each: from CHECKPOINT_PAGES on they are moved to the database beside the commands.
# SQLite does it within a commit, which holds the lock up; from PAGES_AT_MOST on it may, where nobody checkpoints.
CHECKPOINT_PAGES = 4_000
PAGES_AT_MOST = 20_000
# What makes a log of an older schema one of the next.
_UPGRADES: Mapping[int, Step] = {
    1: "ALTER TABLE commands DROP COLUMN command",
    2: "sqlite/accounts.sql",
    3: all_of(partial(refold, users="users"), "sqlite/drafts.sql"),
}
APPLICATION_ID = 0x0E5_60A15
PROBE_BUSY_MS = 200  # others wait for the lock meanwhile
# Read from end to end and sorted, in files where there is much: 2.6 µs an event. By the index, whose events lie all
# over the log, it takes 6; the + keeps SQLite from that. All goals' streams lie between user: and user; in ASCII.
_BY_STREAMS = (
    f"SELECT {COLUMNS} FROM events WHERE +stream > max(?, 'user:') AND +stream < 'user;' AND position <= ?"
    " ORDER BY +stream, +version"
)
_INSERT = (
    f"INSERT INTO events ({COLUMNS}) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,"
    " value->>6, value->>7, value->>8, CAST(value->>9 AS BLOB) FROM json_each(?)"
)
TAKEN = "SELECT subject FROM events WHERE type = 'GoalCreated' AND subject IN (SELECT value FROM json_each(?))"
_STORE_KEY = (
    "INSERT INTO commands (stream, key, digest, first, last)"
    " SELECT value->>0, value->>1, unhex(value->>2), value->>3, value->>4 FROM json_each(?)"
)


class SqliteTransaction(SqlTransaction):
    """A write transaction on the connection it is given."""

    _TAKEN = TAKEN

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self._open = connection
        with translated:
            row = connection.execute(HEAD).fetchone()
        super().__init__(Head(*row) if row else Head(), clock)

    def _ask(self, sql: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        try:
            with translated:
                return self._open.execute(sql, values).fetchall()
        except apsw.ConstraintError as error:
            raise ConstraintViolation(str(error)) from error

    def _insert_events(self, lines: Sequence[Recorded]) -> tuple[str, str]:
        # The interpreter's lock, which each step of a statement gives away, is given away once.
        return _INSERT, as_json([(*structs.astuple(line)[:-1], line.data.decode()) for line in lines]).decode()

    def _insert_keys(self, keys: Sequence[StoredKey]) -> tuple[str, str]:
        return _STORE_KEY, as_json(
            [(one.stream, one.key, one.digest.hex(), one.first, one.last) for one in keys]
        ).decode()

    def _in_transaction(self) -> bool:
        return self._open.in_transaction


class SqliteLog(SqlReader):
    """The log in `path`, made where there is none. Raises Unusable."""

    _TAKEN = TAKEN
    is_local = True
    # After an fsync that failed, what it held counts as written: only a new process may go on.
    survives_unknown_commit = False

    def __init__(self, path: str, clock: Clock) -> None:
        if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")[:3]) < OLDEST_SQLITE:
            raise Unusable(f"expected SQLite {OLDEST_SQLITE} or newer inside apsw; found {apsw.sqlite_lib_version()}")
        self.path = str(Path(path).absolute())
        self._clock = clock
        self._connections = Connections(
            self.path, synchronous="full", wal_autocheckpoint=PAGES_AT_MOST, cache_size=CACHE
        )
        self._lock = FileLock(self.path)
        try:
            with translated:
                self.id = self._open_or_make()
        except (StorageFailed, Unusable) as error:
            raise Unusable(f"{error} ({self.path})") from error

    def _connection(self) -> apsw.Connection:
        return self._connections.get()

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        with translated:
            return self._connection().execute(sql, values).fetchall()

    def close(self) -> None:
        self._connections.close()
        self._lock.close()

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        with translated:
            connection = self._connection()
        with self._lock:
            with translated:
                connection.execute("BEGIN IMMEDIATE")
            try:
                with translated:
                    yield SqliteTransaction(connection, self._clock)
                self._commit(connection)
            finally:
                if connection.in_transaction:
                    with suppress(apsw.Error):  # what failed before is what matters
                        connection.execute("ROLLBACK")

    def _commit(self, connection: apsw.Connection) -> None:
        self._lock.mark_dirty()
        try:
            connection.execute("COMMIT")
        except apsw.FullError as error:
            raise StorageFull(f"no space is left for the database: {error}") from error
        except apsw.Error as error:
            # The WAL may hold the commit although its fsync failed: it was seen to come back after a restart.
            raise OutcomeUnknown(f"the commit failed, and may or may not be on disk: {error}") from error

    def by_stream(self, after: str, until: int) -> Generator[Recorded, None, None]:
        with translated, closing(self._connection().cursor()) as cursor:
            yield from starmap(Recorded, cursor.execute(_BY_STREAMS, (after, until)))

    def change_counter(self) -> int | None:
        return self._lock.change_counter()

    def watch(self, wake: Callable[[], None]) -> None:
        """Do nothing: nobody notifies, and a look costs next to nothing."""

    def probe(self) -> None:
        self._begin_wal_anew()
        with self.writing() as transaction:
            transaction._open.execute("UPDATE probe SET count = count + 1")

    def _begin_wal_anew(self) -> None:
        # After an fsync that failed its pages count as clean: a later one that works does not write them, and what
        # is appended behind them is lost with them at a power cut. So all of it goes to the database first.
        with translated:
            connection = self._connection()
        with self._lock, translated:
            connection.set_busy_timeout(PROBE_BUSY_MS)
            try:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()[0]
            finally:
                connection.set_busy_timeout(BUSY_MS)
        if busy:
            raise StorageFailed("a long read, as of a backup or a rebuild, keeps the log from being begun anew")

    def checkpoint(self) -> None:
        with translated:
            connection = self._connection()
            if _left(connection, "NOOP") < CHECKPOINT_PAGES or _left(connection, "PASSIVE") >= CHECKPOINT_PAGES:
                return  # too few, or a long read keeps them
            with self._lock:  # what came meanwhile; only where all has moved is the file begun anew
                _left(connection, "PASSIVE")

    def sizes(self) -> dict[str, int]:
        disk = os.statvfs(Path(self.path).parent)
        wal = Path(f"{self.path}-wal")
        return {
            "database": Path(self.path).stat().st_size,
            "wal": wal.stat().st_size if wal.exists() else 0,
            "free": disk.f_bavail * disk.f_frsize,
        }

    def _open_or_make(self) -> str:
        # Under the lock, so that two processes which start together do not both make the tables.
        try:
            with self._lock:
                file = Path(self.path)
                if file.exists() and not file.stat().st_size:
                    raise Unusable("expected a log; found an empty file: restore a backup, or delete it to start anew")
                with closing(apsw.Connection(self.path)) as plain:  # which changes nothing of somebody else's
                    plain.set_busy_timeout(BUSY_MS)
                    empty = not plain.execute("SELECT count(*) FROM sqlite_schema").get
                    if not empty and plain.pragma("application_id") != APPLICATION_ID:
                        raise Unusable("expected an Over Achiever log; found a database of something else")
                    if empty:
                        _make(plain)
                    plain.pragma("journal_mode", "wal")  # two that do so at once do not wait for each other
        except OSError as error:
            raise Unusable(f"expected a writable folder for {self.path}; found: {error.strerror}") from error
        row = self._one("SELECT id, schema FROM log")
        if row is None:
            raise Unusable("expected the log's own id; found none")
        log_id, schema = row
        if schema > SCHEMA:
            raise Unusable(f"expected a log of schema {SCHEMA} or older; {self.path} has {schema}: upgrade the service")
        if schema < SCHEMA:
            self._upgrade()
        return str(log_id)

    def _upgrade(self) -> None:
        connection = self._connection()
        with self._lock, connection:
            _upgrade(connection)

    def backup_into(self, target: str, progress: Progress) -> Head:
        """Make a consistent copy in a new file, page by page while others write. Returns the copy's head."""
        source, copy = connect(self.path), apsw.Connection(target)
        try:
            # Held open, the read transaction keeps every page as of now; otherwise each write starts the copy again.
            source.execute("BEGIN")
            row = source.execute(HEAD).fetchone()
            with translated, copy.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(1000)
                    progress(backup.page_count - backup.remaining, backup.page_count)
            copy.pragma("journal_mode", "delete")
            return Head(*row) if row else Head()
        finally:
            copy.close()
            source.close()

    def schema_faults(self) -> list[str]:
        own, found = _own_defences(), _defences(self._connection())
        names = sorted(own.keys() | found.keys())
        return [
            f"expected {own.get(name, f'nothing named {name}')!r}; found {found.get(name)!r}"
            for name in names
            if own.get(name) != found.get(name)
        ]

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the file, up to 10 sentences."""
        try:
            rows = self._connection().execute("PRAGMA integrity_check(10)")
            lines = [line for row in rows for line in str(row[0]).splitlines()]
            return [line for line in lines if line != "ok" and not line.startswith("***")]
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
            return [str(error)]


_SCHEMA = "SELECT name, sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL"


def _defences(connection: apsw.Connection) -> dict[str, str]:
    """Triggers, indexes and views by name, without comments and line breaks."""
    return {name: " ".join(re.sub(r"--[^\n]*", "", sql).split()) for name, sql in connection.execute(_SCHEMA)}


@cache
def _own_defences() -> Mapping[str, str]:
    with closing(apsw.Connection(":memory:")) as connection:
        _make(connection)
        return _defences(connection)


def _left(connection: apsw.Connection, mode: str) -> int:
    """Return how many pages of the write-ahead log a checkpoint of this mode leaves there."""
    _, pages, moved = cast(tuple[int, int, int], connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()[0])
    return pages - moved


def _make(connection: apsw.Connection) -> None:
    with connection:
        connection.execute(statements("sqlite/log.sql"))
        connection.execute("INSERT INTO log (id, schema) VALUES (?, ?)", (str(uuid.uuid4()), BASE))
        _upgrade(connection)
        connection.pragma("application_id", APPLICATION_ID)


def _upgrade(connection: apsw.Connection) -> None:
    for schema in range(int(connection.execute("SELECT schema FROM log").get), SCHEMA):
        take(_UPGRADES[schema], connection)
        connection.execute("UPDATE log SET schema = ?", (schema + 1,))
