"""PostgreSQL's read models: tables in a schema of their own, beside the log's."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

import psycopg
from psycopg import errors

from es_goals.storage.errors import GenerationGone
from es_goals.storage.postgres.connections import REFUSED, SNAPSHOT, Connections, NoSuchTable, transaction
from es_goals.storage.sql.tables import Cursor
from es_goals.storage.sql.views import SqlViews, as_generation_gone
from es_goals.storage.views import Generation, ReadModel

LEASES = 0x0E5_60A15
_NUMBER = "SELECT nextval(pg_get_serial_sequence('es_goals_views.generations', 'id'))"
# Whoever made it, whoever serves may drop it.
_HAND_OVER = (
    "SELECT format('ALTER TABLE es_goals_views.%I OWNER TO %I', $1::text, pg_get_userbyid(nspowner))"
    " FROM pg_namespace WHERE nspname = 'es_goals_views'"
)
_LEASE = "SELECT pg_try_advisory_lock($1, hashtext($2))"
_RETURN = "SELECT pg_advisory_unlock($1, hashtext($2))"


class PostgresViews(SqlViews):
    """The read models in the database of the log."""

    column_types: ClassVar = {str: 'text COLLATE "C"', int: "bigint"}
    refused = (*REFUSED, errors.DatatypeMismatch)

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._leased: set[str] = set()
        self._leasing = threading.Lock()

    @contextmanager
    def _writing(self, *, without_timeout: bool = False) -> Iterator[Cursor]:
        with self._connections.borrow(without_timeout=without_timeout) as connection, transaction(connection, "BEGIN"):
            connection.execute("SELECT schema FROM source FOR UPDATE")
            yield connection

    @contextmanager
    def _reading(self, *, without_timeout: bool = False) -> Iterator[Cursor]:
        with self._connections.borrow(without_timeout=without_timeout) as connection, transaction(connection, SNAPSHOT):
            yield connection

    def _create(self, cursor: Cursor, table: str, columns: str) -> None:
        cursor.execute(f"CREATE TABLE es_goals_views.{table} ({columns})")
        cursor.execute(cursor.execute(_HAND_OVER, (table[1:-1],)).fetchone()[0])

    def _next_number(self, cursor: Cursor) -> int:
        return int(cursor.execute(_NUMBER).fetchone()[0])

    def _expect_table(self, generation: Generation) -> AbstractContextManager[None]:
        return as_generation_gone(NoSuchTable, "", generation)

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        """Try again where a table is gone: those that are dropped are gone at once, also where a snapshot still shows
        their generation."""
        while True:
            try:
                return super().snapshot(model, generation, user)
            except NoSuchTable as error:
                if generation is not None:
                    raise GenerationGone(f"generation {generation.id} was replaced meanwhile") from error

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        with self._leasing:
            if mine := name not in self._leased:
                self._leased.add(name)
        if not mine:
            yield False
            return
        try:
            with self._connections.borrow() as connection:
                taken = bool(connection.execute(_LEASE, (LEASES, name)).fetchall()[0][0])
                try:
                    yield taken
                finally:
                    if taken:
                        with suppress(psycopg.Error):  # a connection that is lost has let it go
                            connection.execute(_RETURN, (LEASES, name))
        finally:
            self._leased.discard(name)
