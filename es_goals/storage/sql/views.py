"""Read models as tables, in the SQL that the engines share: parameters are $1, $2 … in the order of their first use."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import chain, count
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec.inspect
from msgspec import structs

from es_goals.storage.errors import GenerationGone, RowRefused
from es_goals.storage.views import Generation, Key, ReadModel

LOT = 64  # rows a statement
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

T = TypeVar("T")


class Session(Protocol):
    """A connection in a transaction, of whatever engine."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """A cursor with `fetchone` and `fetchall`."""


class SqlViews(ABC):
    """What an engine adds is its transactions, and how it makes and names tables."""

    column_types: ClassVar[dict[type, str]]
    refused: tuple[type[Exception], ...]
    """What is raised for a row that does not fit."""

    @abstractmethod
    def _writing(self, *, without_timeout: bool = False) -> AbstractContextManager[Session]:
        """The lock of all read models, and a transaction. `without_timeout`: whatever time a statement takes."""

    @abstractmethod
    def _reading(self, *, without_timeout: bool = False) -> AbstractContextManager[Session]:
        """A transaction whose reads show one moment."""

    @abstractmethod
    def _create(self, session: Session, table: str, columns: str) -> None:
        """Make a generation's table."""

    @abstractmethod
    def _next_number(self, session: Session) -> int:
        """A generation's number that was never given."""

    @abstractmethod
    def _still_there(self, generation: Generation) -> AbstractContextManager[None]:
        """Raises GenerationGone where its table is gone."""

    def live(self, model: ReadModel) -> Generation:
        return self._found(model, "live") or self._make(model, "live")

    def building(self, model: ReadModel, *, make: bool = False) -> Generation | None:
        found = self._found(model, "building")
        return self._make(model, "building") if make and found is None else found

    def _found(self, model: ReadModel, state: str) -> Generation | None:
        with self._reading() as session:
            return in_state(session, model, state)

    def _make(self, model: ReadModel, state: str) -> Generation:
        with self._writing() as session:
            found = in_state(session, model, state)
            if found is not None:
                return found
            number = int(session.execute(_MAKE, (*code(model), state)).fetchone()[0])
            table = table_of(number, name_of(model))
            self._create(session, table, columns(model, self.column_types))
            for place, names in enumerate(model.INDEXES):
                session.execute(f'CREATE INDEX "{table[1:-1]}_{place}" ON {table} ({_quoted(names)})')
            made = _by_id(session, number)
            assert made is not None
            return made

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        with self._reading() as session:
            # The state is asked for in the same snapshot as the rows: a rebuild may flip at any time.
            found = in_state(session, model, "live") if generation is None else _by_id(session, generation.id)
            if found is not None:
                where, values = ("", ()) if user is None else (' WHERE "user" = $1', (user,))
                sql = f"SELECT * FROM {table_of(found.id, found.name)}{where} ORDER BY {_key(model)}"
                return found, [model.Row(*row) for row in session.execute(sql, values)]
        if generation is not None:
            raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile")
        self.live(model)  # there was none of this code's: it is made, and another process may be filling it already
        return self.snapshot(model, None, user)

    def load(self, model: ReadModel, generation: Generation, keys: Iterable[Key]) -> dict[Key, Any]:
        table = table_of(generation.id, generation.name)
        places = [model.Row.__struct_fields__.index(column) for column in model.KEY]
        found: dict[Key, Any] = {}
        with self._still_there(generation), self._reading() as session:
            for lot in _lots(list(keys)):
                sql = f"SELECT * FROM {table} WHERE ({_key(model)}) IN (VALUES {_places(len(lot), len(model.KEY))})"
                rows = session.execute(sql, tuple(chain.from_iterable(lot)))
                found.update((tuple(row[place] for place in places), model.Row(*row)) for row in rows)
        return found

    def save(
        self, model: ReadModel, generation: Generation, position: int, command: str, rows: dict[Key, Any | None]
    ) -> Generation | None:
        with self._writing() as session:
            moved = _one(session, _ADVANCE, (position, command, generation.id, generation.writes))
            if moved is None:
                return None
            table = table_of(generation.id, generation.name)
            self._put(session, table, model, (row for row in rows.values() if row is not None))
            for key in (key for key, row in rows.items() if row is None):
                session.execute(f"DELETE FROM {table} WHERE {_match(model)}", key)
            return moved

    def fill(self, model: ReadModel, generation: Generation, rows: Iterable[Any]) -> Generation | None:
        place = (generation.position, generation.command, generation.filled, generation.folded)
        with self._writing() as session:
            moved = _one(session, _FILL, (*place, generation.id, generation.writes))
            if moved is not None:
                self._put(session, table_of(generation.id, generation.name), model, rows)
            return moved

    def replace_user(self, model: ReadModel, generation: Generation, user: str, rows: Iterable[Any]) -> bool:
        with self._writing() as session:
            found = _by_id(session, generation.id)
            if found is None or (found.state, found.writes) != ("live", generation.writes):
                return False
            # Under a new number, so that nothing which readers made of the old rows is taken for these.
            number = self._next_number(session)
            session.execute(_RENUMBER, (number, generation.id))
            table = table_of(number, generation.name)
            session.execute(f"ALTER TABLE {table_of(generation.id, generation.name)} RENAME TO {table}")
            session.execute(f'DELETE FROM {table} WHERE "user" = $1', (user,))
            self._put(session, table, model, rows)
        return True

    def mark_failed(self, generation: Generation, position: int, error: str) -> None:
        with self._writing() as session:
            session.execute(_FAIL, (position, error, generation.id, generation.position))

    def clear_failed(self, generation: Generation) -> None:
        with self._writing() as session:
            session.execute(_FAIL, (None, None, generation.id, generation.position))

    def discard(self, generation: Generation) -> None:
        with self._writing() as session:
            drop(session, [(generation.id, generation.name)])

    def reset(self, generation: Generation) -> None:
        with self._writing(without_timeout=True) as session:
            session.execute(f"DELETE FROM {table_of(generation.id, generation.name)}")
            session.execute(_EMPTY, (generation.id,))

    def differences(self, model: ReadModel, old: Generation, new: Generation) -> tuple[int, int, list[Key]] | None:
        left, right = table_of(old.id, old.name), table_of(new.id, new.name)
        others = [name for name in model.Row.__struct_fields__ if name not in model.KEY]
        key = _key(model)
        same = [f'a."{name}" = b."{name}"' for name in model.KEY]
        same += [f'a."{name}" IS NOT DISTINCT FROM b."{name}"' for name in others]
        with self._reading(without_timeout=True) as session:
            found = [_by_id(session, generation.id) for generation in (old, new)]
            if None in found or len({generation.position for generation in found if generation}) > 1:
                return None
            stayed = _count(session, f"{left} AS a JOIN {right} AS b ON {' AND '.join(same)}")
            gone, came = (_count(session, one) - stayed for one in (left, right))
            first = (
                f"SELECT {key} FROM (SELECT * FROM {left} EXCEPT SELECT * FROM {right}) AS gone"
                f" UNION SELECT {key} FROM (SELECT * FROM {right} EXCEPT SELECT * FROM {left}) AS came"
                f" ORDER BY {key} LIMIT 10"
            )
            keys: list[Any] = session.execute(first).fetchall() if gone or came else []
            return gone, came, keys

    def flip(self, model: ReadModel, building: Generation) -> bool:
        with self._writing() as session:
            live, new = in_state(session, model, "live"), _by_id(session, building.id)
            if new is None or (live and new.position < live.position):
                return False
            drop(session, session.execute(_REPLACED, (*code(model), building.id)).fetchall())
            if live:
                session.execute(_SET_STATE, ("previous", live.id))
            session.execute(_SET_STATE, ("live", building.id))
        return True

    def roll_back(self, model: ReadModel) -> Generation | None:
        with self._writing() as session:
            live, previous = (in_state(session, model, state) for state in ("live", "previous"))
            if previous is None:
                return None
            session.execute(_SET_STATE, ("live", previous.id))
            if live:
                session.execute(_SET_STATE, ("previous", live.id))
            return _by_id(session, previous.id)

    def count(self, generation: Generation) -> int:
        with self._still_there(generation), self._reading() as session:
            return _count(session, table_of(generation.id, generation.name))

    def owners(self, model: ReadModel) -> list[str]:
        live = self.live(model)
        sql = f'SELECT "user" FROM {table_of(live.id, live.name)} WHERE "user" > $1 ORDER BY "user" LIMIT 1'
        found: list[str] = []
        with self._reading() as session:
            while row := session.execute(sql, (found[-1] if found else "",)).fetchone():
                found.append(str(row[0]))
        return found

    def _put(self, session: Session, table: str, model: ReadModel, rows: Iterable[Any]) -> None:
        values = [structs.astuple(row) for row in rows]
        names = model.Row.__struct_fields__
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in model.KEY)
        taken = f"ON CONFLICT ({_key(model)}) DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"
        try:
            for lot in _lots(values):
                sql = f"INSERT INTO {table} VALUES {_places(len(lot), len(names))} {taken}"
                session.execute(sql, tuple(chain.from_iterable(lot)))
        except self.refused as error:
            raise RowRefused(f"expected rows that fit {table}: {error}") from error


@contextmanager
def gone_where(refused: type[Exception], says: str, generation: Generation) -> Iterator[None]:
    """Turns an engine's word for a table that is not there into GenerationGone."""
    try:
        yield
    except refused as error:
        if says not in str(error):
            raise
        raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile") from error


def name_of(model: ReadModel) -> str:
    """A read model's name: that of its file."""
    return model.__name__.rpartition(".")[2]


def in_state(session: Session, model: ReadModel, state: str) -> Generation | None:
    """This code's generation that is in a state."""
    return _one(session, _BY_STATE, (*code(model), state))


def _by_id(session: Session, number: int) -> Generation | None:
    return _one(session, _BY_ID, (number,))


def _one(session: Session, sql: str, values: Sequence[Any]) -> Generation | None:
    row = session.execute(sql, values).fetchone()
    return Generation(*row) if row else None


def _count(session: Session, table: str) -> int:
    return int(session.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@cache
def code(model: ReadModel) -> tuple[str, int, str]:
    """Whose generation it is: a read model's name, its REVISION and a digest of its fields, key and indexes."""
    shape = f"{columns(model, {str: 'TEXT', int: 'INTEGER'})} {model.INDEXES}"
    return name_of(model), model.REVISION, hashlib.sha256(shape.encode()).hexdigest()[:16]


def table_of(generation: int, name: str) -> str:
    """The name of a generation's table, quoted."""
    return f'"{name}_{generation}"'


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _key(model: ReadModel) -> str:
    return _quoted(model.KEY)


def _match(model: ReadModel) -> str:
    return " AND ".join(f'"{column}" = ${number}' for number, column in enumerate(model.KEY, start=1))


def drop(session: Session, generations: Iterable[tuple[Any, ...]]) -> None:
    """Remove generations, named by number and read model."""
    for generation, name in generations:
        session.execute(f"DROP TABLE {table_of(generation, name)}")
        session.execute("DELETE FROM generations WHERE id = $1", (generation,))


def columns(model: ReadModel, types: dict[type, str]) -> str:
    """A read model's columns and key, as CREATE TABLE wants them."""
    info = msgspec.inspect.type_info(model.Row)
    assert isinstance(info, msgspec.inspect.StructType)
    found = [f'"{field.name}" {_column_type(field.type, types)}' for field in info.fields]
    return f"{', '.join(found)}, PRIMARY KEY ({_key(model)})"


def _column_type(kind: msgspec.inspect.Type, types: dict[type, str]) -> str:
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    match [option for option in options if not isinstance(option, msgspec.inspect.NoneType)]:
        case [msgspec.inspect.StrType()]:
            column = types[str]
        case [msgspec.inspect.IntType()]:
            column = types[int]
        case _:
            raise TypeError(f"expected str or int, or None besides, as the type of a row's field; found {kind}")
    return column if len(options) > 1 else f"{column} NOT NULL"


def _lots(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """In lots of LOT, and what remains one by one: few statements to prepare, and few steps, each of which gives the
    interpreter's lock away to a loop that is slow to give it back."""
    whole = len(values) - len(values) % LOT
    yield from (values[start : start + LOT] for start in range(0, whole, LOT))
    yield from (values[place : place + 1] for place in range(whole, len(values)))


@cache
def _places(rows: int, width: int) -> str:
    numbers = count(1)
    return ", ".join("(" + ", ".join(f"${next(numbers)}" for _ in range(width)) + ")" for _ in range(rows))
