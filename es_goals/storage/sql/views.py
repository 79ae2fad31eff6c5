"""Read models as tables, in the SQL that the engines share: parameters are $1, $2 … in the order of their first use."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any, ClassVar

from msgspec import structs

from es_goals.storage.errors import GenerationGone, RowRefused
from es_goals.storage.sql.tables import (
    Cursor,
    chunks,
    code,
    columns,
    key_columns,
    key_matches,
    placeholders,
    quoted,
    table_of,
)
from es_goals.storage.sql.tiles import SqlTiles
from es_goals.storage.sql.verifications import SqlVerifications
from es_goals.storage.views import Generation, Key, ReadModel

GENERATION = "id, name, state, position, command, failed_at, error, writes, filled, folded"
_BY_STATE = f"SELECT {GENERATION} FROM generations WHERE (name, revision, shape, state) = ($1, $2, $3, $4)"
_BY_ID = f"SELECT {GENERATION} FROM generations WHERE id = $1"
_MAKE = "INSERT INTO generations (name, revision, shape, state, position) VALUES ($1, $2, $3, $4, 0) RETURNING id"
_ADVANCE = (
    "UPDATE generations SET position = $1, command = $2, failed_at = NULL, error = NULL, writes = writes + 1"
    f" WHERE id = $3 AND writes = $4 RETURNING {GENERATION}"
)
_FILL = (
    "UPDATE generations SET position = $1, command = $2, filled = $3, folded = $4, writes = writes + 1"
    f" WHERE id = $5 AND writes = $6 RETURNING {GENERATION}"
)
_RENUMBER = "UPDATE generations SET id = $1, writes = writes + 1 WHERE id = $2"
_FAIL = "UPDATE generations SET failed_at = $1, error = $2 WHERE id = $3 AND position = $4"
_EMPTY = (
    "UPDATE generations SET position = 0, command = NULL, filled = NULL, folded = 0, writes = writes + 1 WHERE id = $1"
)
_SET_STATE = "UPDATE generations SET state = $1 WHERE id = $2"
# A rebuild leaves only what it flipped: its own previous generation, and no other code's.
_REPLACED = (
    "SELECT id, name FROM generations WHERE name = $1"
    " AND (state = 'previous' OR revision <> $2 OR shape <> $3) AND id <> $4"
)


class SqlViews(ABC):
    """What an engine adds is its transactions, and how it makes and names tables."""

    column_types: ClassVar[dict[type, str]]
    refused: tuple[type[Exception], ...]
    """What is raised for a row that does not fit."""

    @abstractmethod
    def _writing(self, *, without_timeout: bool = False) -> AbstractContextManager[Cursor]:
        """Take the lock of all read models, and begin a transaction. `without_timeout`: whatever time a statement
        takes."""

    @abstractmethod
    def _reading(self, *, without_timeout: bool = False) -> AbstractContextManager[Cursor]:
        """Begin a transaction whose reads show one moment."""

    @abstractmethod
    def _create(self, cursor: Cursor, table: str, columns: str) -> None:
        """Make a generation's table."""

    @abstractmethod
    def _next_number(self, cursor: Cursor) -> int:
        """Return a generation's number that was never given."""

    @abstractmethod
    def _expect_table(self, generation: Generation) -> AbstractContextManager[None]:
        """Raise GenerationGone where its table turns out to be gone."""

    def tiles(self) -> SqlTiles:
        """Return the log's tree hashes, which are stored beside the read models."""
        return SqlTiles(self._reading, self._writing)

    @property
    def verifications(self) -> SqlVerifications:
        return SqlVerifications(self._reading, self._writing)

    def live(self, model: ReadModel) -> Generation:
        return self._found(model, "live") or self._make(model, "live")

    def building(self, model: ReadModel, *, make: bool = False) -> Generation | None:
        found = self._found(model, "building")
        return self._make(model, "building") if make and found is None else found

    def _found(self, model: ReadModel, state: str) -> Generation | None:
        with self._reading() as cursor:
            return in_state(cursor, model, state)

    def _make(self, model: ReadModel, state: str) -> Generation:
        with self._writing() as cursor:
            found = in_state(cursor, model, state)
            if found is not None:
                return found
            number = int(cursor.execute(_MAKE, (*code(model), state)).fetchone()[0])
            table = table_of(number, code(model)[0])
            self._create(cursor, table, columns(model, self.column_types))
            for place, names in enumerate(model.INDEXES):
                cursor.execute(f'CREATE INDEX "{table[1:-1]}_{place}" ON {table} ({quoted(names)})')
            made = _by_id(cursor, number)
            assert made is not None
            return made

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        with self._reading() as cursor:
            # The state is asked for in the same snapshot as the rows: a rebuild may flip at any time.
            found = in_state(cursor, model, "live") if generation is None else _by_id(cursor, generation.id)
            if found is not None:
                where, values = ("", ()) if user is None else (' WHERE "user" = $1', (user,))
                sql = f"SELECT * FROM {table_of(found.id, found.name)}{where} ORDER BY {key_columns(model)}"
                return found, [model.Row(*row) for row in cursor.execute(sql, values)]
        if generation is not None:
            raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile")
        self.live(model)  # there was none of this code's: it is made, and another process may be filling it already
        return self.snapshot(model, None, user)

    def load(self, model: ReadModel, generation: Generation, keys: Iterable[Key]) -> dict[Key, Any]:
        table = table_of(generation.id, generation.name)
        places = [model.Row.__struct_fields__.index(column) for column in model.KEY]
        found: dict[Key, Any] = {}
        with self._expect_table(generation), self._reading() as cursor:
            for chunk in chunks(list(keys)):
                wanted = placeholders(len(chunk), len(model.KEY))
                sql = f"SELECT * FROM {table} WHERE ({key_columns(model)}) IN (VALUES {wanted})"
                rows = cursor.execute(sql, tuple(chain.from_iterable(chunk)))
                found.update((tuple(row[place] for place in places), model.Row(*row)) for row in rows)
        return found

    def save(
        self, model: ReadModel, generation: Generation, position: int, command: str, rows: dict[Key, Any | None]
    ) -> Generation | None:
        with self._writing() as cursor:
            moved = _one(cursor, _ADVANCE, (position, command, generation.id, generation.writes))
            if moved is None:
                return None
            table = table_of(generation.id, generation.name)
            self._put(cursor, table, model, (row for row in rows.values() if row is not None))
            for key in (key for key, row in rows.items() if row is None):
                cursor.execute(f"DELETE FROM {table} WHERE {key_matches(model)}", key)
            return moved

    def fill(self, model: ReadModel, generation: Generation, rows: Iterable[Any]) -> Generation | None:
        place = (generation.position, generation.command, generation.filled, generation.folded)
        with self._writing() as cursor:
            moved = _one(cursor, _FILL, (*place, generation.id, generation.writes))
            if moved is not None:
                self._put(cursor, table_of(generation.id, generation.name), model, rows)
            return moved

    def replace_user(self, model: ReadModel, generation: Generation, user: str, rows: Iterable[Any]) -> bool:
        with self._writing() as cursor:
            found = _by_id(cursor, generation.id)
            if found is None or (found.state, found.writes) != ("live", generation.writes):
                return False
            # Under a new number, so that nothing which readers made of the old rows is taken for these.
            number = self._next_number(cursor)
            cursor.execute(_RENUMBER, (number, generation.id))
            table = table_of(number, generation.name)
            cursor.execute(f"ALTER TABLE {table_of(generation.id, generation.name)} RENAME TO {table}")
            cursor.execute(f'DELETE FROM {table} WHERE "user" = $1', (user,))
            self._put(cursor, table, model, rows)
        return True

    def mark_failed(self, generation: Generation, position: int, error: str) -> None:
        with self._writing() as cursor:
            cursor.execute(_FAIL, (position, error, generation.id, generation.position))

    def clear_failed(self, generation: Generation) -> None:
        with self._writing() as cursor:
            cursor.execute(_FAIL, (None, None, generation.id, generation.position))

    def discard(self, generation: Generation) -> None:
        with self._writing() as cursor:
            drop(cursor, [(generation.id, generation.name)])

    def reset(self, generation: Generation) -> None:
        with self._writing(without_timeout=True) as cursor:
            cursor.execute(f"DELETE FROM {table_of(generation.id, generation.name)}")
            cursor.execute(_EMPTY, (generation.id,))

    def differences(self, model: ReadModel, old: Generation, new: Generation) -> tuple[int, int, list[Key]] | None:
        left, right = table_of(old.id, old.name), table_of(new.id, new.name)
        others = [name for name in model.Row.__struct_fields__ if name not in model.KEY]
        key = key_columns(model)
        same = [f'a."{name}" = b."{name}"' for name in model.KEY]
        same += [f'a."{name}" IS NOT DISTINCT FROM b."{name}"' for name in others]
        with self._reading(without_timeout=True) as cursor:
            found = [_by_id(cursor, generation.id) for generation in (old, new)]
            if None in found or len({generation.position for generation in found if generation}) > 1:
                return None
            stayed = _count(cursor, f"{left} AS a JOIN {right} AS b ON {' AND '.join(same)}")
            gone, came = (_count(cursor, one) - stayed for one in (left, right))
            first = (
                f"SELECT {key} FROM (SELECT * FROM {left} EXCEPT SELECT * FROM {right}) AS gone"
                f" UNION SELECT {key} FROM (SELECT * FROM {right} EXCEPT SELECT * FROM {left}) AS came"
                f" ORDER BY {key} LIMIT 10"
            )
            keys: list[Any] = cursor.execute(first).fetchall() if gone or came else []
            return gone, came, keys

    def flip(self, model: ReadModel, building: Generation) -> bool:
        with self._writing() as cursor:
            live, new = in_state(cursor, model, "live"), _by_id(cursor, building.id)
            if new is None or (live and new.position < live.position):
                return False
            drop(cursor, cursor.execute(_REPLACED, (*code(model), building.id)).fetchall())
            if live:
                cursor.execute(_SET_STATE, ("previous", live.id))
            cursor.execute(_SET_STATE, ("live", building.id))
        return True

    def roll_back(self, model: ReadModel) -> Generation | None:
        with self._writing() as cursor:
            live, previous = (in_state(cursor, model, state) for state in ("live", "previous"))
            if previous is None:
                return None
            cursor.execute(_SET_STATE, ("live", previous.id))
            if live:
                cursor.execute(_SET_STATE, ("previous", live.id))
            return _by_id(cursor, previous.id)

    def count(self, generation: Generation) -> int:
        with self._expect_table(generation), self._reading() as cursor:
            return _count(cursor, table_of(generation.id, generation.name))

    def owners(self, model: ReadModel) -> list[str]:
        live = self.live(model)
        sql = f'SELECT "user" FROM {table_of(live.id, live.name)} WHERE "user" > $1 ORDER BY "user" LIMIT 1'
        found: list[str] = []
        with self._reading() as cursor:
            while row := cursor.execute(sql, (found[-1] if found else "",)).fetchone():
                found.append(str(row[0]))
        return found

    def _put(self, cursor: Cursor, table: str, model: ReadModel, rows: Iterable[Any]) -> None:
        values = [structs.astuple(row) for row in rows]
        names = model.Row.__struct_fields__
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in model.KEY)
        taken = f"ON CONFLICT ({key_columns(model)}) DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"
        try:
            for chunk in chunks(values):
                sql = f"INSERT INTO {table} VALUES {placeholders(len(chunk), len(names))} {taken}"
                cursor.execute(sql, tuple(chain.from_iterable(chunk)))
        except self.refused as error:
            raise RowRefused(f"expected rows that fit {table}: {error}") from error


@contextmanager
def as_generation_gone(refused: type[Exception], says: str, generation: Generation) -> Iterator[None]:
    """Translate an engine's error for a table that is not there into GenerationGone."""
    try:
        yield
    except refused as error:
        if says not in str(error):
            raise
        raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile") from error


def in_state(cursor: Cursor, model: ReadModel, state: str) -> Generation | None:
    """Return this code's generation that is in a state."""
    return _one(cursor, _BY_STATE, (*code(model), state))


def _by_id(cursor: Cursor, number: int) -> Generation | None:
    return _one(cursor, _BY_ID, (number,))


def _one(cursor: Cursor, sql: str, values: Sequence[Any]) -> Generation | None:
    row = cursor.execute(sql, values).fetchone()
    return Generation(*row) if row else None


def _count(cursor: Cursor, table: str) -> int:
    return int(cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def drop(cursor: Cursor, generations: Iterable[tuple[Any, ...]]) -> None:
    """Remove generations, named by number and read model."""
    for generation, name in generations:
        cursor.execute(f"DROP TABLE {table_of(generation, name)}")
        cursor.execute("DELETE FROM generations WHERE id = $1", (generation,))
