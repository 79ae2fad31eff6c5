"""Drafts in the SQL that the engines share."""

from abc import ABC, abstractmethod
from itertools import starmap
from typing import Any

from es_goals.storage.drafts import PAGE, Draft

_FIELDS = Draft.__struct_fields__
_ALL = ", ".join(_FIELDS)
_DRAFT = f"SELECT {_ALL} FROM drafts WHERE id = $1 AND user_id = $2"
_OF_USER = f"SELECT {', '.join(_FIELDS[:-1])} FROM drafts WHERE user_id = $1 ORDER BY id"
_PAGE = f"SELECT {_ALL} FROM drafts WHERE id > $1 ORDER BY id LIMIT $2"
PUT = (
    f"INSERT INTO drafts ({_ALL}) VALUES ({', '.join(f'${number}' for number in range(1, len(_FIELDS) + 1))})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{one} = excluded.{one}' for one in _FIELDS[2:])}"
)
REMOVE = "DELETE FROM drafts WHERE id = $1"


class SqlDraftReader(ABC):
    """Reads over whatever `_rows` asks."""

    @abstractmethod
    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Return all rows of a question. Raises Unavailable."""

    def draft(self, user_id: str, draft_id: str) -> Draft | None:
        rows = self._rows(_DRAFT, draft_id, user_id)
        return Draft(*rows[0]) if rows else None

    def drafts_of(self, user_id: str) -> list[Draft]:
        return list(starmap(Draft, self._rows(_OF_USER, user_id)))

    def drafts(self, after: str = "", limit: int = PAGE) -> list[Draft]:
        return list(starmap(Draft, self._rows(_PAGE, after, limit)))
