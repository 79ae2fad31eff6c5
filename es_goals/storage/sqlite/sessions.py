"""The embedded engine's sessions: a SQLite file beside the log, made when somebody first signs in or uses a token."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import apsw

from es_goals.storage.errors import Unavailable, Unusable
from es_goals.storage.log import Clock
from es_goals.storage.sql.log import statements
from es_goals.storage.sql.sessions import Ask, SqlSessions
from es_goals.storage.sqlite.connections import CACHE, Connections, beside, translated
from es_goals.storage.sqlite.locks import FileLock

SCHEMA = 1  # of sessions.sql


class SqliteSessions(SqlSessions):
    """Beside the log at this path, of this id."""

    def __init__(self, log_path: str, log_id: str, clock: Clock) -> None:
        self.path = beside(log_path, "sessions")
        self._log_id, self._clock = log_id, clock
        self._lock = FileLock(self.path)

    @cached_property
    def _connections(self) -> Connections:
        """To a file that is there. Raises Unusable."""
        connections = Connections(self.path, synchronous="full", cache_size=CACHE)
        try:
            with self._lock, translated:
                if not Path(self.path).exists():
                    Path(self.path).touch(0o600)
                self._make_or_clear(connections.get())
        except OSError as error:
            raise self._unwritable(error) from error
        except Unavailable as error:
            raise Unusable(f"{error} ({self.path}, which may be deleted: all must sign in again)") from error
        return connections

    def _make_or_clear(self, connection: apsw.Connection) -> None:
        with connection:
            if connection.pragma("user_version") != SCHEMA:
                tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
                if tables and ("origin",) not in tables:
                    raise Unusable("expected sessions; found a database of something else")
                for (name,) in tables:
                    connection.execute(f'DROP TABLE "{name}"')
                connection.execute(statements("sqlite/sessions.sql"))
                connection.execute("INSERT INTO origin VALUES (?, ?)", (self._log_id, self._clock()))
                connection.pragma("user_version", SCHEMA)
            if connection.execute("SELECT log FROM origin").get != self._log_id:
                for table in ("sessions", "uses", "attempts"):
                    connection.execute(f"DELETE FROM {table}")
                connection.execute("UPDATE origin SET log = ?, made_at = ?", (self._log_id, self._clock()))

    def _unwritable(self, error: OSError) -> Unusable:
        return Unusable(f"expected a writable folder for {self.path}; found: {error.strerror}")

    def change_counter(self) -> int | None:
        try:
            return self._lock.change_counter()
        except OSError as error:
            raise self._unwritable(error) from error

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        with translated:
            return self._connections.get().execute(sql, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[Ask]:
        connection = self._connections.get()
        with self._lock, translated:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda sql, *values: connection.execute(sql, values).fetchall()
                self._lock.mark_dirty()
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close its file; nobody may be using it."""
        if "_connections" in self.__dict__:
            self._connections.close()
        self._lock.close()


def end_all(path: str, log_id: str, clock: Clock) -> None:
    """Forget who is signed in, where the log at this path had sessions. Raises Unusable."""
    sessions = SqliteSessions(path, log_id, clock)
    if Path(sessions.path).exists():
        sessions.clear()
    sessions.close()
