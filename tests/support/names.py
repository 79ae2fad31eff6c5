"""Users as logs of schema 3 have them, whose names were compared by another rule."""

from typing import cast

from es_goals.events import UserRegistered, account_stream
from es_goals.storage.log import Cause, Log, User, UserRow
from es_goals.storage.sql.log import SqlTransaction
from tests.support.engines import NOW

MEETING = [
    UserRow(User("id-nobody", "\u3164", None, NOW), "\u1160"),
    UserRow(User("id-older", "b\ufe0fob", None, NOW), "b\ufe0fob"),
    UserRow(User("id-young", "Bob", None, NOW + 1), "bob"),
    UserRow(User("id-zoe", "Zo\u034fe", None, NOW), "zo\u034fe"),
]
"""In the order of their ids. Of two that are the same by now, the younger one comes last."""


def compared_before(log: Log) -> None:
    """Make these users in a log that is of schema 3 from then on."""
    with log.writing() as transaction:
        for row in MEETING:
            transaction.copy_user(row)
            transaction.append(account_stream(row.user.id), 0, [UserRegistered(row.user.id)], Cause(row.user.id))
        ask = cast(SqlTransaction, transaction)._ask
        ask("UPDATE log SET schema = 3")
        ask("DROP TABLE drafts")
        if not log.is_local:
            ask("DROP TABLE es_goals_views.tree, es_goals_views.tiles, es_goals_views.verifications")
