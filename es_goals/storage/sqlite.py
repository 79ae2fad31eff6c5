"""The embedded engine: the log and the users in one SQLite file, in WAL mode, every commit on disk."""

import os
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import resources
from itertools import starmap
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from msgspec import structs

from es_goals.events import Event, GoalCreated, Recorded, encode, subject_of
from es_goals.names import folded
from es_goals.storage import (
    Cause,
    Clash,
    Clock,
    Conflict,
    Head,
    OutcomeUnknown,
    Progress,
    Remembered,
    StorageFailed,
    StorageFull,
    StreamHead,
    SubjectTaken,
    Unusable,
    User,
    UserNameTaken,
)
from es_goals.storage.locks import FileLock
from es_goals.storage.sqlite_connections import BUSY_MS, CACHE, Connections, connect, translated

# Older ones can lose commits, or corrupt a WAL database that several connections write and checkpoint.
OLDEST_SQLITE = (3, 51, 3)
# Of the write-ahead log, 4 KiB each: from PAGES_TIDIED on they are moved to the database beside the commands. SQLite
# does it within a commit, which holds the lock up; from PAGES_AT_MOST on it may, where nobody tidies.
PAGES_TIDIED = 4_000
PAGES_AT_MOST = 20_000
SCHEMA = 2
# What makes a log of an older schema one of the next.
_UPGRADES = {1: "ALTER TABLE commands DROP COLUMN command"}
APPLICATION_ID = 0x0E5_60A15
PROBE_BUSY_MS = 200  # others wait for the lock meanwhile
# A user's name has 64 characters, and NFKC makes at most 18 of one; folding a longer text could take minutes.
LONGEST_NAME = 64 * 18

_COLUMNS = "position, stream, version, type, subject, at, actor, command, reason, data"
_HEAD = "SELECT position, at FROM events ORDER BY position DESC LIMIT 1"
_STREAM_HEAD = "SELECT version, position FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1"
_BY_POSITION = f"SELECT {_COLUMNS} FROM events WHERE position > :after"
# Both partial indexes on subject together hold all of a goal's events.
_BY_SUBJECT = (
    f"SELECT * FROM (SELECT {_COLUMNS} FROM events WHERE subject = :subject AND type = 'GoalCreated'"
    f" UNION ALL SELECT {_COLUMNS} FROM events WHERE subject = :subject AND type <> 'GoalCreated')"
    " WHERE position > :after"
)
# Finds the version from the stream's end backwards, since readers mostly ask for the newest events.
_BY_STREAM = (
    f"SELECT {_COLUMNS} FROM events WHERE stream = :stream AND version > coalesce((SELECT version FROM events"
    " WHERE stream = :stream AND position <= :after ORDER BY version DESC LIMIT 1), 0)"
)
# Read from end to end and sorted, in files where there is much: 2.6 µs an event. By the index, whose events lie all
# over the log, it takes 6; the + keeps SQLite from that. All goals' streams lie between user: and user; in ASCII.
_BY_STREAMS = (
    f"SELECT {_COLUMNS} FROM events WHERE +stream > max(?, 'user:') AND +stream < 'user;' AND position <= ?"
    " ORDER BY +stream, +version"
)
_OWNER = "SELECT stream FROM events WHERE subject = ? AND type = 'GoalCreated'"
_AT = "SELECT at FROM events WHERE position = ?"
_INSERT = (
    f"INSERT INTO events ({_COLUMNS}) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,"
    " value->>6, value->>7, value->>8, CAST(value->>9 AS BLOB) FROM json_each(?)"
)
_REMEMBERED = "SELECT stream, key, digest, first, last FROM commands WHERE stream = ? AND key = ?"
_REMEMBER = (
    "INSERT INTO commands (stream, key, digest, first, last)"
    " SELECT value->>0, value->>1, unhex(value->>2), value->>3, value->>4 FROM json_each(?)"
)
_USER = "SELECT id, name, email, created_at FROM users WHERE id = ?"
_USER_NAMED = "SELECT id, name, email, created_at FROM users WHERE folded = ?"
_USERS = "SELECT id, name, email, created_at FROM users WHERE id > ? ORDER BY id LIMIT ?"
_ADD_USER = "INSERT INTO users (id, name, folded, email, created_at) VALUES (?, ?, ?, ?, ?)"
# A loose index scan: one step an existing stream, however many events it has.
_NEXT_STREAM = "SELECT stream FROM events WHERE stream > ? ORDER BY stream LIMIT 1"


as_json = msgspec.json.Encoder().encode


class SqliteReader:
    """Reads over whatever connection `_connection` answers."""

    def _connection(self) -> apsw.Connection:
        raise TypeError("a reader needs a connection")

    def _one(self, sql: str, *values: str | int) -> Any:
        with translated:
            return self._connection().execute(sql, values).fetchone()

    def head(self) -> Head:
        row = self._one(_HEAD)
        return Head(*row) if row else Head()

    def stream_head(self, stream: str) -> StreamHead:
        row = self._one(_STREAM_HEAD, stream)
        return StreamHead(*row) if row else StreamHead()

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        stream: str | None = None,
        subject: str | None = None,
        type: str | None = None,
    ) -> list[Recorded]:
        sql = _BY_SUBJECT if subject is not None else _BY_STREAM if stream is not None else _BY_POSITION
        if subject is not None and stream is not None:
            sql += " AND stream = :stream"
        if until is not None:
            sql += " AND position <= :until"
        if type is not None:
            sql += " AND type = :type"
        sql += " ORDER BY version LIMIT :limit" if sql.startswith(_BY_STREAM) else " ORDER BY position LIMIT :limit"
        values = {"after": after, "limit": limit, "until": until, "stream": stream, "subject": subject, "type": type}
        with translated:
            return list(starmap(Recorded, self._connection().execute(sql, values)))

    def owner(self, goal_id: str) -> str | None:
        row = self._one(_OWNER, goal_id)
        return row[0].partition(":")[2] if row else None

    def position_at(self, at: int) -> int:
        low, high = 0, self.head().position
        while low < high:
            middle = (low + high + 1) // 2
            if self._one(_AT, middle)[0] <= at:
                low = middle
            else:
                high = middle - 1
        return low

    def remembered(self, stream: str, key: str) -> Remembered | None:
        row = self._one(_REMEMBERED, stream, key)
        return Remembered(*row) if row else None

    def user(self, user_id: str) -> User | None:
        row = self._one(_USER, user_id)
        return User(*row) if row else None

    def user_named(self, name: str) -> User | None:
        if len(name) > LONGEST_NAME:
            return None
        row = self._one(_USER_NAMED, folded(name))
        return User(*row) if row else None

    def users(self, after: str = "", limit: int = 1000) -> list[User]:
        with translated:
            return [User(*row) for row in self._connection().execute(_USERS, (after, limit))]

    def streams(self, after: str = "", limit: int = 1000) -> list[str]:
        found: list[str] = []
        while len(found) < limit and (row := self._one(_NEXT_STREAM, found[-1] if found else after)):
            found.append(row[0])
        return found


class SqliteTransaction(SqliteReader):
    """A write transaction on the connection it is given."""

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self._open = connection
        self._kept: list[Recorded] = []
        self._keys: dict[tuple[str, str], Remembered] = {}
        self._together = False
        head = self.head()
        self.position = head.position
        self.at = max(clock(), head.at)

    def _connection(self) -> apsw.Connection:
        self._write_kept()
        return self._open

    def append(self, stream: str, expected: int, events: Sequence[Event], cause: Cause) -> list[Recorded]:
        lines = [
            Recorded(
                self.position + number,
                stream,
                expected + number,
                type(event).__name__,
                subject_of(event),
                self.at,
                cause.actor,
                cause.command,
                cause.reason,
                encode(event),
            )
            for number, event in enumerate(events, start=1)
        ]
        if self._together:
            self._kept += lines
        else:
            self._insert(lines)
        self.position += len(lines)
        return lines

    def _insert(self, lines: list[Recorded]) -> None:
        # The triggers and unique indexes judge, so that what holds here holds for every writer there may be.
        # One statement, whatever the number of events: all or none of them, and the interpreter's lock, which each step
        # of a statement gives away, is given away once.
        rows = [(*structs.astuple(line)[:-1], line.data.decode()) for line in lines]
        try:
            with translated:
                self._open.execute(_INSERT, (as_json(rows).decode(),))
        except apsw.ConstraintError as error:
            raise self._misfit(lines, str(error)) from error

    def _misfit(self, lines: list[Recorded], error: str) -> Conflict | SubjectTaken:
        if "events.subject" not in error:
            found = self.stream_head(lines[0].stream).version
            return Conflict(f"expected {lines[0].stream} at version {lines[0].version - 1}; found {found}")
        made: set[str | None] = set()
        for line in lines:
            if line.type == GoalCreated.__name__:
                if line.subject in made or self.owner(str(line.subject)):
                    return SubjectTaken(str(line.subject))
                made.add(line.subject)
        raise AssertionError(f"expected a subject that is taken: {error}")

    def remember(self, command: Remembered) -> None:
        place = (command.stream, command.key)
        if place in self._keys:
            raise Clash(f"expected a key that its stream has not used; found {command.key!r}")
        self._keys[place] = command
        if not self._together:
            self._insert_keys()

    def _insert_keys(self) -> None:
        keys, self._keys = self._keys, {}
        rows = [(one.stream, one.key, one.digest.hex(), one.first, one.last) for one in keys.values()]
        try:
            with translated:
                self._open.execute(_REMEMBER, (as_json(rows).decode(),))
        except apsw.ConstraintError as error:
            found = ", ".join(repr(one.key) for one in keys.values())
            raise Conflict(f"expected a key that its stream has not used; found {found}") from error

    def remembered(self, stream: str, key: str) -> Remembered | None:
        return self._keys.get((stream, key)) or super().remembered(stream, key)

    def add_user(self, user: User) -> None:
        try:
            with translated:
                self._open.execute(_ADD_USER, (user.id, user.name, folded(user.name), user.email, user.created_at))
        except apsw.ConstraintError as error:
            raise UserNameTaken(f"expected a name that no user has; found {user.name!r}, which is taken") from error

    @contextmanager
    def together(self) -> Iterator[None]:
        self._together = True
        yield
        self._write_kept()
        self._together = False

    def _write_kept(self) -> None:
        try:
            if self._kept:
                lines, self._kept = self._kept, []
                self._insert(lines)
            if self._keys:
                self._insert_keys()
        except (Conflict, SubjectTaken) as error:
            raise Clash(str(error)) from error

    @contextmanager
    def attempt(self) -> Iterator[None]:
        position = self.position
        with translated:
            self._connection().execute("SAVEPOINT attempt")
        try:
            yield
            self._write_kept()
        except BaseException:
            self._kept, self._keys = [], {}
            # An I/O error or a full disk has rolled all of the transaction back already.
            if self._open.in_transaction:
                with translated:
                    self._open.execute("ROLLBACK TO attempt")
                    self._open.execute("RELEASE attempt")
            self.position = position
            raise
        with translated:
            self._open.execute("RELEASE attempt")


class SqliteLog(SqliteReader):
    """The log in `path`, made where there is none. Raises Unusable."""

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
        self._lock.showing()
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

    def writes(self) -> int | None:
        return self._lock.turns()

    def probe(self) -> None:
        self._begin_wal_anew()
        with self.writing() as transaction:
            transaction._connection().execute("UPDATE probe SET count = count + 1")

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

    def tidy(self) -> None:
        with translated:
            connection = self._connection()
            if _left(connection, "NOOP") < PAGES_TIDIED or _left(connection, "PASSIVE") >= PAGES_TIDIED:
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
            for schema in range(int(connection.execute("SELECT schema FROM log").get), SCHEMA):
                connection.execute(_UPGRADES[schema])
                connection.execute("UPDATE log SET schema = ?", (schema + 1,))

    def backup_into(self, target: str, progress: Progress) -> Head:
        """A consistent copy into a new file, page by page while others write. Answers the copy's head."""
        source, copy = connect(self.path), apsw.Connection(target)
        try:
            # Held open, the read transaction keeps every page as of now; otherwise each write starts the copy again.
            source.execute("BEGIN")
            row = source.execute(_HEAD).fetchone()
            with translated, copy.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(1000)
                    progress(backup.page_count - backup.remaining, backup.page_count)
            copy.pragma("journal_mode", "delete")
            return Head(*row) if row else Head()
        finally:
            copy.close()
            source.close()

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file, up to 10 sentences."""
        try:
            rows = self._connection().execute("PRAGMA integrity_check(10)")
            lines = [line for row in rows for line in str(row[0]).splitlines()]
            return [line for line in lines if line != "ok" and not line.startswith("***")]
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
            return [str(error)]


def _left(connection: apsw.Connection, mode: str) -> int:
    """Pages of the write-ahead log that a checkpoint of this mode leaves there."""
    _, pages, moved = cast(tuple[int, int, int], connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()[0])
    return pages - moved


def _make(connection: apsw.Connection) -> None:
    schema = resources.files("es_goals.storage").joinpath("sqlite.sql").read_text("utf-8")
    with connection:
        connection.execute(schema)
        connection.execute("INSERT INTO log (id, schema) VALUES (?, ?)", (str(uuid.uuid4()), SCHEMA))
        connection.pragma("application_id", APPLICATION_ID)
