"""The embedded engine's read models: a SQLite file beside the log, which can be deleted and folded again."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec.inspect
from msgspec import structs

from es_goals.storage import Generation, GenerationGone, Key, ReadModel, RowRefused, Unavailable, Unusable
from es_goals.storage.locks import FileLock, Lease
from es_goals.storage.sqlite_connections import CACHE, Connections, translated

_FIELDS = "id, name, state, position, command, failed_at, error, writes, filled, folded"
SCHEMA = 2  # of sqlite_views.sql
LOT = 64  # rows a statement
_BY_STATE = f"SELECT {_FIELDS} FROM generations WHERE (name, revision, shape, state) = (?, ?, ?, ?)"
_BY_ID = f"SELECT {_FIELDS} FROM generations WHERE id = ?"
_MAKE = "INSERT INTO generations (name, revision, shape, state, position) VALUES (?, ?, ?, ?, 0) RETURNING id"
_ADVANCE = (
    "UPDATE generations SET position = ?, command = ?, failed_at = NULL, error = NULL, writes = writes + 1"
    " WHERE id = ? AND writes = ?"
)
_FILL = (
    "UPDATE generations SET position = ?, command = ?, filled = ?, folded = ?, writes = writes + 1"
    " WHERE id = ? AND writes = ?"
)
_FAIL = "UPDATE generations SET failed_at = ?, error = ? WHERE id = ? AND position = ?"
_SET_STATE = "UPDATE generations SET state = ? WHERE id = ?"
# A rebuild leaves only what it flipped: its own previous generation, and no other code's.
_REPLACED = (
    "SELECT id, name FROM generations WHERE name = ?"
    " AND (state = 'previous' OR (revision, shape) IS NOT (?, ?)) AND id <> ?"
)

T = TypeVar("T")


def views_path(log_path: str) -> str:
    """`projections.db` beside `events.db`, `<stem>-projections.db` beside another name."""
    path = Path(log_path).absolute()
    return str(path.with_name("projections.db" if path.name == "events.db" else f"{path.stem}-projections.db"))


class SqliteViews:
    """The read models in `path`, of the log with this id. Raises Unusable."""

    def __init__(self, path: str, log_id: str) -> None:
        self.path = path
        self._connections = Connections(path, synchronous="normal", cache_size=CACHE)
        self._lock = FileLock(path)
        self._live: dict[ReadModel, tuple[int, Generation]] = {}
        try:
            with self._lock, translated:
                Path(path).touch()
                self._open_or_make(log_id)
        except (Unavailable, OSError) as error:
            raise Unusable(f"{error} ({path}, which may be deleted: it is folded again)") from error

    def _open_or_make(self, log_id: str) -> None:
        connection = self._connections.get()
        with connection:
            if connection.pragma("user_version") != SCHEMA:
                given = _clear(connection)  # of another version of this software: it is all folded again
                connection.pragma("user_version", SCHEMA)
                schema = resources.files("es_goals.storage").joinpath("sqlite_views.sql").read_text("utf-8")
                connection.execute(schema)
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('generations', ?)", (given,))
                connection.execute("INSERT INTO source (log) VALUES (?)", (log_id,))
            if connection.execute("SELECT log FROM source").get != log_id:
                _drop(connection, connection.execute("SELECT id, name FROM generations"))
                connection.execute("UPDATE source SET log = ?", (log_id,))

    def close(self) -> None:
        self._connections.close()
        self._lock.close()

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        connection = self._connections.get()
        with self._lock, translated:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._lock.showing()
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        connection = self._connections.get()
        with translated:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def live(self, model: ReadModel) -> Generation:
        turns = self._lock.turns()
        seen, found = self._live.get(model, (-1, None))
        if found is None or turns is None or seen != turns:
            with translated:
                found = _in_state(self._connections.get(), model, "live") or self._make(model, "live")
            if turns is not None:
                self._live[model] = (turns, found)
        return found

    def building(self, model: ReadModel, *, make: bool = False) -> Generation | None:
        with translated:
            found = _in_state(self._connections.get(), model, "building")
        return self._make(model, "building") if make and found is None else found

    def _make(self, model: ReadModel, state: str) -> Generation:
        with self._writing() as connection:
            found = _in_state(connection, model, state)
            if found is not None:
                return found
            generation = connection.execute(_MAKE, (*_code(model), state)).get
            table = _table(generation, name_of(model))
            connection.execute(f"CREATE TABLE {table} ({_columns(model)}) STRICT, WITHOUT ROWID")
            for number, columns in enumerate(model.INDEXES):
                connection.execute(f'CREATE INDEX "{table[1:-1]}_{number}" ON {table} ({_quoted(columns)})')
            made = _by_id(connection, generation)
            assert made is not None
            return made

    def snapshot(
        self, model: ReadModel, generation: Generation | None = None, user: str | None = None
    ) -> tuple[Generation, list[Any]]:
        with self._reading() as connection:
            # The state is asked for in the same snapshot as the rows: a rebuild may flip at any time.
            found = _in_state(connection, model, "live") if generation is None else _by_id(connection, generation.id)
            if found is not None:
                where, values = ("", ()) if user is None else (' WHERE "user" = ?', (user,))
                sql = f"SELECT * FROM {_table(found.id, found.name)}{where} ORDER BY {_key(model)}"
                return found, [model.Row(*row) for row in connection.execute(sql, values)]
        if generation is not None:
            raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile")
        self.live(model)  # there was none of this code's: it is made, and another process may be filling it already
        return self.snapshot(model, None, user)

    def load(self, model: ReadModel, generation: Generation, keys: Iterable[Key]) -> dict[Key, Any]:
        table = _table(generation.id, generation.name)
        places = [model.Row.__struct_fields__.index(column) for column in model.KEY]
        found: dict[Key, Any] = {}
        with translated, _still_there(generation):
            for lot in _lots(list(keys)):
                sql = f"SELECT * FROM {table} WHERE ({_key(model)}) IN (VALUES {_places(len(lot), len(model.KEY))})"
                rows = self._connections.get().execute(sql, tuple(chain.from_iterable(lot)))
                found.update((tuple(row[place] for place in places), model.Row(*row)) for row in rows)
        return found

    def save(
        self, model: ReadModel, generation: Generation, position: int, command: str, rows: dict[Key, Any | None]
    ) -> Generation | None:
        with self._writing() as connection:
            connection.execute(_ADVANCE, (position, command, generation.id, generation.writes))
            if not connection.changes():
                return None
            table = _table(generation.id, generation.name)
            gone = [key for key, row in rows.items() if row is None]
            _put(connection, table, model, (row for row in rows.values() if row is not None))
            connection.executemany(f"DELETE FROM {table} WHERE {_match(model)}", gone)
            return _by_id(connection, generation.id)

    def fill(self, model: ReadModel, generation: Generation, rows: Iterable[Any]) -> Generation | None:
        with self._writing() as connection:
            place = (generation.position, generation.command, generation.filled, generation.folded)
            connection.execute(_FILL, (*place, generation.id, generation.writes))
            if not connection.changes():
                return None
            _put(connection, _table(generation.id, generation.name), model, rows)
            return _by_id(connection, generation.id)

    def replace_user(self, model: ReadModel, generation: Generation, user: str, rows: Iterable[Any]) -> bool:
        with self._writing() as connection:
            found = _by_id(connection, generation.id)
            if found is None or (found.state, found.writes) != ("live", generation.writes):
                return False
            # Under a new number, so that nothing which readers made of the old rows is taken for these.
            connection.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'generations'")
            number = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'generations'").get
            renumbered = "UPDATE generations SET id = ?, writes = writes + 1 WHERE id = ?"
            connection.execute(renumbered, (number, generation.id))
            table = _table(number, generation.name)
            connection.execute(f"ALTER TABLE {_table(generation.id, generation.name)} RENAME TO {table}")
            connection.execute(f'DELETE FROM {table} WHERE "user" = ?', (user,))
            _put(connection, table, model, rows)
        return True

    def mark_failed(self, generation: Generation, position: int, error: str) -> None:
        with self._writing() as connection:
            connection.execute(_FAIL, (position, error, generation.id, generation.position))

    def clear_failed(self, generation: Generation) -> None:
        with self._writing() as connection:
            connection.execute(_FAIL, (None, None, generation.id, generation.position))

    def discard(self, generation: Generation) -> None:
        with self._writing() as connection:
            _drop(connection, [(generation.id, generation.name)])

    def reset(self, generation: Generation) -> None:
        with self._writing() as connection:
            connection.execute(f"DELETE FROM {_table(generation.id, generation.name)}")
            connection.execute(
                "UPDATE generations SET position = 0, command = NULL, filled = NULL, folded = 0, writes = writes + 1"
                " WHERE id = ?",
                (generation.id,),
            )

    def differences(self, model: ReadModel, old: Generation, new: Generation) -> tuple[int, int, list[Key]] | None:
        left, right = _table(old.id, old.name), _table(new.id, new.name)
        key, same = _key(model), " AND ".join(f'a."{name}" IS b."{name}"' for name in model.Row.__struct_fields__)
        with self._reading() as connection:
            found = [_by_id(connection, generation.id) for generation in (old, new)]
            if None in found or len({generation.position for generation in found if generation}) > 1:
                return None
            stayed = int(connection.execute(f"SELECT count(*) FROM {left} AS a JOIN {right} AS b ON {same}").get)
            gone, came = (int(connection.execute(f"SELECT count(*) FROM {one}").get) - stayed for one in (left, right))
            first = (
                f"SELECT {key} FROM (SELECT * FROM {left} EXCEPT SELECT * FROM {right})"
                f" UNION SELECT {key} FROM (SELECT * FROM {right} EXCEPT SELECT * FROM {left}) ORDER BY {key} LIMIT 10"
            )
            keys: list[Any] = connection.execute(first).fetchall() if gone or came else []
            return gone, came, keys

    def flip(self, model: ReadModel, building: Generation) -> bool:
        with self._writing() as connection:
            live, new = _in_state(connection, model, "live"), _by_id(connection, building.id)
            if new is None or (live and new.position < live.position):
                return False
            _drop(connection, connection.execute(_REPLACED, (*_code(model), building.id)))
            if live:
                connection.execute(_SET_STATE, ("previous", live.id))
            connection.execute(_SET_STATE, ("live", building.id))
        return True

    def roll_back(self, model: ReadModel) -> Generation | None:
        with self._writing() as connection:
            live, previous = (_in_state(connection, model, state) for state in ("live", "previous"))
            if previous is None:
                return None
            connection.execute(_SET_STATE, ("live", previous.id))
            if live:
                connection.execute(_SET_STATE, ("previous", live.id))
            return _by_id(connection, previous.id)

    def count(self, generation: Generation) -> int:
        with translated, _still_there(generation):
            sql = f"SELECT count(*) FROM {_table(generation.id, generation.name)}"
            return int(self._connections.get().execute(sql).get)

    def owners(self, model: ReadModel) -> list[str]:
        live = self.live(model)
        sql = f'SELECT "user" FROM {_table(live.id, live.name)} WHERE "user" > ? ORDER BY "user" LIMIT 1'
        found: list[str] = []
        with translated:
            while row := self._connections.get().execute(sql, (found[-1] if found else "",)).fetchone():
                found.append(str(row[0]))
        return found

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        lease = Lease(f"{self.path}-rebuild-{name}")
        try:
            yield lease.take()
        finally:
            lease.release()


@contextmanager
def _still_there(generation: Generation) -> Iterator[None]:
    try:
        yield
    except apsw.SQLError as error:
        if "no such table" not in str(error):
            raise
        raise GenerationGone(f"generation {generation.id} of {generation.name} was replaced meanwhile") from error


def name_of(model: ReadModel) -> str:
    """A read model's name: that of its file."""
    return model.__name__.rpartition(".")[2]


def _in_state(connection: apsw.Connection, model: ReadModel, state: str) -> Generation | None:
    row = connection.execute(_BY_STATE, (*_code(model), state)).fetchone()
    return Generation(*row) if row else None


def _by_id(connection: apsw.Connection, generation: int) -> Generation | None:
    row = connection.execute(_BY_ID, (generation,)).fetchone()
    return Generation(*row) if row else None


@cache
def _code(model: ReadModel) -> tuple[str, int, str]:
    shape = f"{_columns(model)} {model.INDEXES}"
    return name_of(model), model.REVISION, hashlib.sha256(shape.encode()).hexdigest()[:16]


def _table(generation: int, name: str) -> str:
    return f'"{name}_{generation}"'


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _key(model: ReadModel) -> str:
    return _quoted(model.KEY)


def _match(model: ReadModel) -> str:
    return " AND ".join(f'"{column}" = ?' for column in model.KEY)


def _clear(connection: apsw.Connection) -> int:
    """Answers the last generation's number: going on from it, no ETag's generation comes back."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    names = [name for (name,) in tables.fetchall()]
    if not names:
        return 0
    if "generations" not in names:
        raise Unusable("expected read models; found a database of something else")
    given: int = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").get
    for name in names:
        connection.execute(f'DROP TABLE "{name}"')
    return given


def _drop(connection: apsw.Connection, generations: Iterable[tuple[Any, ...]]) -> None:
    for generation, name in list(generations):
        connection.execute(f"DROP TABLE {_table(generation, name)}")
        connection.execute("DELETE FROM generations WHERE id = ?", (generation,))


@cache
def _columns(model: ReadModel) -> str:
    info = msgspec.inspect.type_info(model.Row)
    assert isinstance(info, msgspec.inspect.StructType)
    columns = [f'"{field.name}" {_column_type(field.type)}' for field in info.fields]
    return f"{', '.join(columns)}, PRIMARY KEY ({_key(model)})"


def _column_type(kind: msgspec.inspect.Type) -> str:
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    match [option for option in options if not isinstance(option, msgspec.inspect.NoneType)]:
        case [msgspec.inspect.StrType()]:
            column = "TEXT"
        case [msgspec.inspect.IntType()]:
            column = "INTEGER"
        case _:
            raise TypeError(f"expected str or int, or None besides, as the type of a row's field; found {kind}")
    return column if len(options) > 1 else f"{column} NOT NULL"


def _put(connection: apsw.Connection, table: str, model: ReadModel, rows: Iterable[Any]) -> None:
    values = [structs.astuple(row) for row in rows]
    try:
        for lot in _lots(values):
            places = _places(len(lot), len(model.Row.__struct_fields__))
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES {places}", tuple(chain.from_iterable(lot)))
    except (apsw.ConstraintError, OverflowError, TypeError) as error:
        raise RowRefused(f"expected rows that fit {table}: {error}") from error


def _lots(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """In lots of LOT, and what remains one by one: few statements to prepare, and few steps, each of which gives the
    interpreter's lock away to a loop that is slow to give it back."""
    whole = len(values) - len(values) % LOT
    yield from (values[start : start + LOT] for start in range(0, whole, LOT))
    yield from (values[place : place + 1] for place in range(whole, len(values)))


@cache
def _places(rows: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)
