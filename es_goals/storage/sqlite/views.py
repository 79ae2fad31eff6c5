"""The embedded engine's read models: a SQLite file beside the log, which can be deleted and folded again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

import apsw

from es_goals.storage.errors import Unavailable, Unusable
from es_goals.storage.sql import tiles
from es_goals.storage.sql.log import statements
from es_goals.storage.sql.tables import Cursor
from es_goals.storage.sql.views import SqlViews, as_generation_gone, drop, in_state
from es_goals.storage.sqlite.connections import CACHE, Connections, beside, translated
from es_goals.storage.sqlite.locks import FileLock, Lease
from es_goals.storage.views import Generation, ReadModel

SCHEMA = 3  # of views.sql


def views_path(log_path: str) -> str:
    """Return `projections.db` beside `events.db`, `<stem>-projections.db` beside another name."""
    return beside(log_path, "projections")


class SqliteViews(SqlViews):
    """The read models in `path`, of the log with this id. Raises Unusable."""

    column_types: ClassVar = {str: "TEXT", int: "INTEGER"}
    refused = (apsw.ConstraintError, OverflowError, TypeError)

    def __init__(self, path: str, log_id: str) -> None:
        self.path = path
        self._connections = Connections(path, synchronous="normal", cache_size=CACHE)
        self._lock = FileLock(path)
        self._live: dict[ReadModel, tuple[int, Generation]] = {}
        try:
            with self._lock, translated:
                Path(path).touch()
                self._open_or_make(log_id)
        except (Unavailable, OSError) as error:
            raise Unusable(f"{error} ({path}, which may be deleted: it is folded again)") from error

    def _open_or_make(self, log_id: str) -> None:
        connection = self._connections.get()
        with connection:
            if connection.pragma("user_version") != SCHEMA:
                given = _clear(connection)  # of another version of this software: it is all folded again
                connection.pragma("user_version", SCHEMA)
                connection.execute(statements("sqlite/views.sql"))
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('generations', ?)", (given,))
                connection.execute("INSERT INTO source (log) VALUES (?)", (log_id,))
            if connection.execute("SELECT log FROM source").get != log_id:
                drop(connection, connection.execute("SELECT id, name FROM generations").fetchall())
                tiles.clear(connection)
                connection.execute("UPDATE source SET log = ?", (log_id,))

    def close(self) -> None:
        self._connections.close()
        self._lock.close()

    @contextmanager
    def _writing(self, *, without_timeout: bool = False) -> Iterator[Cursor]:
        del without_timeout  # no statement has a timeout here
        connection = self._connections.get()
        with self._lock, translated:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._lock.mark_dirty()
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _reading(self, *, without_timeout: bool = False) -> Iterator[Cursor]:
        del without_timeout
        connection = self._connections.get()
        with translated:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def live(self, model: ReadModel) -> Generation:
        counter = self._lock.change_counter()
        seen, found = self._live.get(model, (-1, None))
        if found is None or counter is None or seen != counter:
            found = super().live(model)
            if counter is not None:
                self._live[model] = (counter, found)
        return found

    def _found(self, model: ReadModel, state: str) -> Generation | None:
        with translated:  # one statement needs no transaction around it
            return in_state(self._connections.get(), model, state)

    def _create(self, cursor: Cursor, table: str, columns: str) -> None:
        cursor.execute(f"CREATE TABLE {table} ({columns}) STRICT, WITHOUT ROWID")

    def _next_number(self, cursor: Cursor) -> int:
        cursor.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'generations'")
        return int(cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'generations'").fetchone()[0])

    def _expect_table(self, generation: Generation) -> AbstractContextManager[None]:
        return as_generation_gone(Unusable, "no such table", generation)

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        lease = Lease(f"{self.path}-rebuild-{name}")
        try:
            yield lease.take()
        finally:
            lease.release()


def _clear(connection: apsw.Connection) -> int:
    """Drop all tables, and return the last generation's number: going on from it, no ETag's generation comes back."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    names = [name for (name,) in tables.fetchall()]
    if not names:
        return 0
    if "generations" not in names:
        raise Unusable("expected read models; found a database of something else")
    given: int = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").get
    for name in names:
        connection.execute(f'DROP TABLE "{name}"')
    return given
