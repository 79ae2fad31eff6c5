"""The log's tree hashes as tables, in the SQL that the engines share."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from es_goals.storage.sql.tables import Cursor

_SIZE = "SELECT size FROM tree"
_RESIZE = "UPDATE tree SET size = $1 WHERE size = $2 RETURNING size"
_TILE = "SELECT hashes FROM tiles WHERE level = $1 AND number = $2"
_SAVE = (
    "INSERT INTO tiles (level, number, hashes) VALUES ($1, $2, $3)"
    " ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"
)

Transactions = Callable[[], AbstractContextManager[Cursor]]


class SqlTiles:
    """What an engine adds is its transactions: `writing` takes the lock of all read models first."""

    def __init__(self, reading: Transactions, writing: Transactions) -> None:
        self._reading, self._writing = reading, writing

    def size(self) -> int:
        with self._reading() as cursor:
            return int(cursor.execute(_SIZE).fetchone()[0])

    def tile(self, level: int, number: int) -> bytes:
        with self._reading() as cursor:
            row = cursor.execute(_TILE, (level, number)).fetchone()
            return bytes(row[0]) if row else b""

    def save(self, old: int, new: int, tiles: Iterable[tuple[int, int, bytes]]) -> bool:
        with self._writing() as cursor:
            if cursor.execute(_RESIZE, (new, old)).fetchone() is None:
                return False
            for one in tiles:
                cursor.execute(_SAVE, one)
        return True

    def clear(self) -> None:
        with self._writing() as cursor:
            clear(cursor)


def clear(cursor: Cursor) -> None:
    """Forget the tree, within a transaction."""
    cursor.execute("DELETE FROM tiles")
    cursor.execute("UPDATE tree SET size = 0")
