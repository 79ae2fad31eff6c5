"""PostgreSQL's sessions: tables in a schema of their own, beside the log's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from es_goals.storage.postgres.connections import Connections, transaction
from es_goals.storage.sql.sessions import Ask, SqlSessions


class PostgresSessions(SqlSessions):
    """In the database of the log."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def change_counter(self) -> int | None:
        return None

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return self._connections.rows(sql, values)

    @contextmanager
    def _writing(self) -> Iterator[Ask]:
        with self._connections.borrow() as connection, transaction(connection, "BEGIN"):
            connection.execute("SELECT made_at FROM origin FOR UPDATE")

            def ask(sql: str, *values: str | int) -> list[tuple[Any, ...]]:
                cursor = connection.execute(sql, values, binary=True)
                return cursor.fetchall() if cursor.description else []

            yield ask
