"""What makes a log of an older schema one of the next, on every engine."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from es_goals.storage.sql.log import statements
from es_goals.values import refolded

logger = structlog.get_logger()


class Rows(Protocol):
    """What a statement returned."""

    def fetchall(self) -> list[Any]:
        """Return all of it."""


class Connection(Protocol):
    """An open connection to either engine."""

    def execute(self, sql: str, values: Sequence[str] = ..., /) -> Rows:
        """Run a statement."""


Step = str | Callable[[Connection], None]
"""Statements, the name of a file of storage that has them, or what is done on a connection in a transaction."""


def take(step: Step, connection: Connection) -> None:
    """Do what the step says."""
    if isinstance(step, str):
        connection.execute(statements(step))
    else:
        step(connection)


def all_of(*steps: Step) -> Step:
    """Return what does one step after the other."""

    def do(connection: Connection) -> None:
        for step in steps:
            take(step, connection)

    return do


def refold(connection: Connection, users: str) -> None:
    """Compare the names in the table `users` as `folded` does now."""
    changes = refolded(connection.execute(f"SELECT id, name, created_at, folded FROM {users}").fetchall())
    write = f"UPDATE {users} SET folded = $1 WHERE id = $2"
    for one in changes:  # values that others take then; nothing that is compared has capitals
        connection.execute(write, (f"ID {one.user_id}", one.user_id))
    for one in changes:
        connection.execute(write, (one.folded, one.user_id))
        if one.keeper is not None:
            logger.warning("name_shared", user=one.user_id, older=one.keeper)
