"""How the rows of a read model are a table: its name, columns and key, and the generation that it belongs to."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count
from typing import Any, Protocol, TypeVar

import msgspec.inspect

from es_goals.storage.views import ReadModel

CHUNK = 64  # rows a statement

T = TypeVar("T")


class Cursor(Protocol):
    """Asks within a transaction, on whatever engine."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Return what has `fetchone` and `fetchall`."""


def name_of(model: ReadModel) -> str:
    """Return a read model's name: that of its file."""
    return model.__name__.rpartition(".")[2]


@cache
def code(model: ReadModel) -> tuple[str, int, str]:
    """Return what a generation is of: a read model's name, its REVISION and a digest of its fields, key and indexes."""
    shape = f"{columns(model, {str: 'TEXT', int: 'INTEGER'})} {model.INDEXES}"
    return name_of(model), model.REVISION, hashlib.sha256(shape.encode()).hexdigest()[:16]


def table_of(generation: int, name: str) -> str:
    """Return the name of a generation's table, quoted."""
    return f'"{name}_{generation}"'


def quoted(names: Iterable[str]) -> str:
    """Return names as SQL writes them, in a list."""
    return ", ".join(f'"{name}"' for name in names)


def key_columns(model: ReadModel) -> str:
    """Return the names of the key's columns, in a list."""
    return quoted(model.KEY)


def key_matches(model: ReadModel) -> str:
    """Return the condition that a row has the key in the parameters."""
    return " AND ".join(f'"{column}" = ${number}' for number, column in enumerate(model.KEY, start=1))


def columns(model: ReadModel, types: dict[type, str]) -> str:
    """Return a read model's columns and key, as CREATE TABLE wants them."""
    info = msgspec.inspect.type_info(model.Row)
    assert isinstance(info, msgspec.inspect.StructType)
    found = [f'"{field.name}" {_column_type(field.type, types)}' for field in info.fields]
    return f"{', '.join(found)}, PRIMARY KEY ({key_columns(model)})"


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


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield chunks of CHUNK, and what remains one by one: few statements to prepare, and few steps, each of which gives
    the interpreter's lock away to a loop that is slow to give it back."""
    whole = len(values) - len(values) % CHUNK
    yield from (values[start : start + CHUNK] for start in range(0, whole, CHUNK))
    yield from (values[place : place + 1] for place in range(whole, len(values)))


@cache
def placeholders(rows: int, width: int) -> str:
    """Return parameters for so many rows of so many columns."""
    numbers = count(1)
    return ", ".join("(" + ", ".join(f"${next(numbers)}" for _ in range(width)) + ")" for _ in range(rows))
