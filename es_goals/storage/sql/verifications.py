"""Verifications as a table, in the SQL that the engines share."""

from msgspec import structs

from es_goals.storage.sql.tables import placeholders
from es_goals.storage.sql.tiles import Transactions
from es_goals.storage.views import VERIFICATIONS, Verification

_FIELDS = Verification.__struct_fields__
_SELECT = f"SELECT {', '.join(_FIELDS)} FROM verifications"
_NEWEST = "ORDER BY began_at DESC, id DESC LIMIT"
_DROP = "DELETE FROM verifications WHERE id = $1"
_ADD = f"INSERT INTO verifications ({', '.join(_FIELDS)}) VALUES {placeholders(1, len(_FIELDS))}"
_FORGET = f"DELETE FROM verifications WHERE id NOT IN (SELECT id FROM verifications {_NEWEST} {VERIFICATIONS})"


class SqlVerifications:
    """What an engine adds is its transactions."""

    def __init__(self, reading: Transactions, writing: Transactions) -> None:
        self._reading, self._writing = reading, writing

    def find(self, id: str) -> Verification | None:
        with self._reading() as cursor:
            row = cursor.execute(f"{_SELECT} WHERE id = $1", (id,)).fetchone()
        return Verification(*row) if row else None

    def newest(self) -> Verification | None:
        with self._reading() as cursor:
            row = cursor.execute(f"{_SELECT} {_NEWEST} 1").fetchone()
        return Verification(*row) if row else None

    def put(self, one: Verification) -> None:
        with self._writing() as cursor:
            cursor.execute(_DROP, (one.id,))
            cursor.execute(_ADD, structs.astuple(one))
            cursor.execute(_FORGET)
