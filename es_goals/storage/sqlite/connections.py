"""Connections to SQLite files, and its errors as ours: for the log and for the read models."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import apsw

from es_goals.storage.deadlines import NEVER, current
from es_goals.storage.errors import Interrupted, StorageFailed, StorageFull, Unusable

CACHE = -1_000  # KiB a connection; each thread of a worker has two of them
BUSY_MS = 5_000
STEPS = 50_000  # of SQLite's machine, some 1 ms, between two looks at the deadline


class _Translated:
    """A context that turns SQLite's errors into ours, in one place; a class, since it is on the hot path."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, UnicodeDecodeError):
            raise Unusable(f"expected text in UTF-8; found a damaged one: {error}") from error
        if not isinstance(error, apsw.Error) or isinstance(error, apsw.ConstraintError):
            return
        if isinstance(error, apsw.InterruptError):
            raise Interrupted("expected an answer before the deadline; found a question that takes longer") from error
        if isinstance(error, apsw.FullError):
            raise StorageFull(f"no space is left for the database: {error}") from error
        if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.FormatError | apsw.SQLError):
            raise Unusable(f"expected a sound SQLite database; found a damaged or foreign file: {error}") from error
        raise StorageFailed(f"reading or writing the database failed: {error}") from error


translated = _Translated()


def connect(path: str) -> apsw.Connection:
    """Connect, for the calling thread and process only, to a file that is there: one that was moved away while it
    is used must not be replaced by an empty one."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("foreign_keys", True)
    connection.pragma("trusted_schema", False)
    return connection


def beside(log_path: str, what: str) -> str:
    """Return `<what>.db` beside `events.db`, `<stem>-<what>.db` beside another name."""
    path = Path(log_path).absolute()
    return str(path.with_name(f"{what}.db" if path.name == "events.db" else f"{path.stem}-{what}.db"))


class Connections:
    """One connection a thread, opened on first use: none crosses a fork or a thread. What one asks under a deadline is
    interrupted there."""

    def __init__(self, path: str, **pragmas: str | int) -> None:
        self.path = path
        self._pragmas = pragmas
        self._pid = os.getpid()
        self._mine = threading.local()
        self._all: list[apsw.Connection] = []

    def get(self) -> apsw.Connection:
        """Return this thread's connection."""
        if os.getpid() != self._pid:
            raise Unusable(f"expected {self.path} to be opened in the process that uses it; found a fork of that one")
        if not hasattr(self._mine, "connection"):
            connection = connect(self.path)
            for name, value in self._pragmas.items():
                connection.pragma(name, value)
            self._mine.connection, self._mine.watched = connection, False
            self._all.append(connection)
        mine: apsw.Connection = self._mine.connection
        if (deadline := current()) != NEVER:
            deadline.check()
            if not self._mine.watched:
                # Only threads that ever had a deadline look at the clock: a look takes the interpreter's lock.
                mine.set_progress_handler(lambda: current().expired(), STEPS)
                self._mine.watched = True
        return mine

    def close(self) -> None:
        """Close all of them; nobody may be using one."""
        for connection in self._all:
            with suppress(apsw.Error):
                connection.close()
        self._all.clear()
        self._mine = threading.local()
