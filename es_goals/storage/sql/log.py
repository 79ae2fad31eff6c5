"""What the engines ask and write in the same SQL: parameters are $1, $2 … in the order in which they first occur."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from itertools import starmap
from typing import Any

import msgspec
from msgspec import structs

from es_goals.events import Event, GoalCreated, Recorded, encode, subject_of
from es_goals.storage.drafts import Draft
from es_goals.storage.errors import BatchConflict, Conflict, CredentialTaken, SubjectTaken, UserNameTaken
from es_goals.storage.log import (
    LONGEST_NAME,
    C,
    Cause,
    Clock,
    Credential,
    Head,
    Identity,
    Password,
    StoredKey,
    StreamHead,
    Token,
    User,
    UserRow,
)
from es_goals.storage.sql.drafts import PUT, REMOVE, SqlDraftReader
from es_goals.values import folded

SCHEMA = 4
"""The log's version, on every engine."""
LARGEST = 2**63 - 1
"""Of positions."""
BASE = 2
"""The version that sqlite/log.sql and postgres/log.sql make; the upgrades from there on make the rest, as they do of an
older log."""


COLUMNS = "position, stream, version, type, subject, at, actor, command, reason, data"
HEAD = "SELECT position, at FROM events ORDER BY position DESC LIMIT 1"
_STREAM_HEAD = "SELECT version, position FROM events WHERE stream = $1 ORDER BY version DESC LIMIT 1"
_BY_POSITION = f"SELECT {COLUMNS} FROM events WHERE position > $1"
# Both partial indexes on subject together hold all of a goal's events.
_BY_SUBJECT = (
    f"SELECT * FROM (SELECT {COLUMNS} FROM events WHERE subject = $1 AND type = 'GoalCreated'"
    f" UNION ALL SELECT {COLUMNS} FROM events WHERE subject = $1 AND type <> 'GoalCreated') AS history"
    " WHERE position > $2"
)
# Finds the version from the stream's end backwards, since readers mostly ask for the newest events.
_UPTO = "coalesce((SELECT version FROM events WHERE stream = $1 AND position <= $2 ORDER BY version DESC LIMIT 1), 0)"
_BY_STREAM = f"SELECT {COLUMNS} FROM events WHERE stream = $1 AND version > {_UPTO}"
_BACK_BY_STREAM = f"SELECT {COLUMNS} FROM events WHERE stream = $1 AND version <= {_UPTO}"
_OWNER = "SELECT stream FROM events WHERE subject = $1 AND type = 'GoalCreated'"
_AT = "SELECT at FROM events WHERE position = $1"
_STORED_KEY = "SELECT stream, key, digest, first, last FROM commands WHERE stream = $1 AND key = $2"
_COMMANDS = (
    "SELECT stream, key, digest, first, last FROM commands WHERE (stream, key) > ($1, $2) ORDER BY stream, key LIMIT $3"
)
_ABOUT_USER = ", ".join(User.__struct_fields__)
_USER = f"SELECT {_ABOUT_USER} FROM users WHERE id = $1"
_USER_NAMED = f"SELECT {_ABOUT_USER} FROM users WHERE folded = $1"
_USERS = f"SELECT {_ABOUT_USER} FROM users WHERE id > $1 ORDER BY id LIMIT $2"
_ADD_USER = f"INSERT INTO users ({_ABOUT_USER}, folded) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
# Whose name an older user has keeps what it is compared by until it is another one.
_CHANGE_USER = (
    "UPDATE users SET name = $1, folded = CASE WHEN name = $1 THEN folded ELSE $2 END, email = $3, disabled_at = $4,"
    " password_at = $5 WHERE id = $6"
)
_USER_ROWS = f"SELECT {_ABOUT_USER}, folded FROM users WHERE id > $1 ORDER BY id LIMIT $2"
_MAY_CHANGE = ("name", "folded", "email", "disabled_at", "password_at")
_COPY_USER = f"{_ADD_USER} ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f"{one} = excluded.{one}" for one in _MAY_CHANGE
)
_TABLES: Mapping[type[Credential], str] = {Password: "passwords", Token: "tokens", Identity: "identities"}
_TOKENS = f"SELECT {', '.join(Token.__struct_fields__)} FROM tokens WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_REVOKE = "UPDATE tokens SET revoked_at = $1 WHERE id = $2"
# A loose index scan: one step an existing stream, however many events it has.
_STREAMS = """
    WITH RECURSIVE found(stream) AS (
        SELECT (SELECT stream FROM events WHERE stream > $1 ORDER BY stream LIMIT 1)
         UNION ALL
        SELECT (SELECT events.stream FROM events WHERE events.stream > found.stream ORDER BY events.stream LIMIT 1)
          FROM found WHERE found.stream IS NOT NULL)
    SELECT stream FROM found WHERE stream IS NOT NULL LIMIT $2
"""

as_json = msgspec.json.Encoder().encode


def statements(step: str) -> str:
    """Return the statements of a file of storage, if it is the name of one; else the step itself."""
    return resources.files("es_goals.storage").joinpath(step).read_text("utf-8") if step.endswith(".sql") else step


def storable(*values: object) -> bool:
    """Whether rows can have these: PostgreSQL's text holds no NUL, and UTF-8 no half of a surrogate pair."""
    try:
        return not any(isinstance(value, str) and b"\0" in value.encode() for value in values)
    except UnicodeEncodeError:
        return False


class ConstraintViolation(Exception):
    """The database refused rows that do not fit; the message has the constraint's name, or says why."""


class SqlReader(SqlDraftReader):
    """Reads over whatever `_rows` asks."""

    _TAKEN: str
    """Asks for those of a JSON list of ids that goals have."""

    def _one(self, sql: str, *values: str | int) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def head(self) -> Head:
        row = self._one(HEAD)
        return Head(*row) if row else Head()

    def stream_head(self, stream: str) -> StreamHead:
        row = self._one(_STREAM_HEAD, stream)
        return StreamHead(*row) if row else StreamHead()

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        until: int | None = None,
        stream: str | None = None,
        subject: str | None = None,
        type: str | None = None,
        latest: bool = False,
    ) -> list[Recorded]:
        order, also = "position", dict[str, str | int | None]({"position <= ": until, "type = ": type})
        values: list[str | int] = [after]
        sql = _BY_POSITION
        if subject is not None:
            sql, values, also["stream = "] = _BY_SUBJECT, [subject, after], stream
        elif stream is not None and latest:
            sql, values, order = _BACK_BY_STREAM, [stream, LARGEST if until is None else until], "version"
            also = {"position > ": after or None, "type = ": type}
        elif stream is not None:
            sql, values, order = _BY_STREAM, [stream, after], "version"
        for condition, value in also.items():
            if value is not None:
                values.append(value)
                sql += f" AND {condition}${len(values)}"
        sql += f" ORDER BY {order}{' DESC' if latest else ''} LIMIT ${len(values) + 1}"
        return list(starmap(Recorded, self._rows(sql, *values, limit)))

    def owner(self, goal_id: str) -> str | None:
        row = self._one(_OWNER, goal_id)
        return row[0].partition(":")[2] if row else None

    def taken(self, goal_ids: Sequence[str]) -> frozenset[str]:
        if not goal_ids:
            return frozenset()
        return frozenset(goal_id for (goal_id,) in self._rows(self._TAKEN, as_json(goal_ids).decode()))

    def position_at(self, at: int) -> int:
        low, high = 0, self.head().position
        while low < high:
            middle = (low + high + 1) // 2
            row = self._one(_AT, middle)
            if row and row[0] <= at:
                low = middle
            else:
                high = middle - 1
        return low

    def stored_key(self, stream: str, key: str) -> StoredKey | None:
        row = self._one(_STORED_KEY, stream, key)
        return StoredKey(*row) if row else None

    def commands(self, after: tuple[str, str] = ("", ""), limit: int = 1000) -> list[StoredKey]:
        return list(starmap(StoredKey, self._rows(_COMMANDS, *after, limit)))

    def user(self, user_id: str) -> User | None:
        row = self._one(_USER, user_id)
        return User(*row) if row else None

    def user_named(self, name: str) -> User | None:
        if len(name) > LONGEST_NAME or "\0" in name:  # which no name has, and PostgreSQL refuses in a question too
            return None
        row = self._one(_USER_NAMED, folded(name))
        return User(*row) if row else None

    def users(self, after: str = "", limit: int = 1000) -> list[User]:
        return list(starmap(User, self._rows(_USERS, after, limit)))

    def user_rows(self, after: str = "", limit: int = 1000) -> list[UserRow]:
        return [UserRow(User(*about), compared) for *about, compared in self._rows(_USER_ROWS, after, limit)]

    def credentials(self, kind: type[C], after: str = "", limit: int = 1000) -> list[C]:
        first, *_ = fields = kind.__struct_fields__
        sql = f"SELECT {', '.join(fields)} FROM {_TABLES[kind]} WHERE {first} > $1 ORDER BY {first} LIMIT $2"
        return [kind(*row) for row in self._rows(sql, after, limit)]

    def _credential(self, kind: type[C], column: str, value: str) -> C | None:
        if not storable(value):  # it may be whatever somebody sent
            return None
        row = self._one(f"SELECT {', '.join(kind.__struct_fields__)} FROM {_TABLES[kind]} WHERE {column} = $1", value)
        return kind(*row) if row else None

    def password(self, user_id: str) -> Password | None:
        return self._credential(Password, "user_id", user_id)

    def token(self, hash: str) -> Token | None:
        return self._credential(Token, "hash", hash)

    def token_of(self, id: str) -> Token | None:
        return self._credential(Token, "id", id)

    def tokens(self, user_id: str, after: str = "", limit: int = 1000) -> list[Token]:
        return list(starmap(Token, self._rows(_TOKENS, user_id, after, limit)))

    def identity(self, identity: str) -> Identity | None:
        return self._credential(Identity, "identity", identity)

    def streams(self, after: str = "", limit: int = 1000) -> list[str]:
        return [stream for (stream,) in self._rows(_STREAMS, after, limit)]


def _taken(user: User) -> UserNameTaken:
    return UserNameTaken(f"expected a name that no user has; found {user.name!r}, which is taken")


class SqlTransaction(SqlReader):
    """A write transaction. What is written together is pending until something is read, or the end."""

    def __init__(self, head: Head, clock: Clock) -> None:
        self._pending: list[Recorded] = []
        self._pending_keys: dict[tuple[str, str], StoredKey] = {}
        self._batching = False
        self._made: set[str] = set()  # ids of goals, whether they are pending or written
        self.position = head.position
        self.at = max(clock(), head.at)
        self.changes = 0

    @abstractmethod
    def _ask(self, sql: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        """Return all rows of a statement in the transaction. Raises ConstraintViolation, Unavailable."""

    @abstractmethod
    def _insert_events(self, lines: Sequence[Recorded]) -> tuple[str, str]:
        """Return the statement that inserts events, whatever their number, all or none of them; and its parameter."""

    @abstractmethod
    def _insert_keys(self, keys: Sequence[StoredKey]) -> tuple[str, str]:
        """Return the same for commands."""

    @abstractmethod
    def _in_transaction(self) -> bool:
        """Whether the transaction is still there, to be undone in part."""

    def _try(self, sql: str, *values: str | int | None) -> None:
        """Run a statement that may be refused without the transaction being lost.

        Raises ConstraintViolation, Unavailable.
        """
        self._ask(sql, *values)

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        self._write_pending()
        return self._ask(sql, *values)

    def append(self, stream: str, expected: int, events: Sequence[Event], cause: Cause) -> list[Recorded]:
        lines = [
            Recorded(
                self.position + number,
                stream,
                expected + number,
                type(event).__name__,
                subject_of(event),
                self.at,
                cause.actor,
                cause.command,
                cause.reason,
                encode(event),
            )
            for number, event in enumerate(events, start=1)
        ]
        if self._batching:
            self._pending += lines
        else:
            self._insert_alone(lines)
        self._made.update(event.goal_id for event in events if isinstance(event, GoalCreated))
        self.position += len(lines)
        self.changes += 1
        return lines

    def _insert_alone(self, lines: Sequence[Recorded]) -> None:
        # The triggers and unique indexes decide, so that what holds here holds for every writer there may be.
        self._write_pending()
        try:
            self._try(*self._insert_events(lines))
        except ConstraintViolation as violation:
            raise self._translated_violation(lines, str(violation)) from violation

    def _translated_violation(self, lines: Sequence[Recorded], error: str) -> Conflict | SubjectTaken:
        if "events_goal_created" not in error and "events.subject" not in error:
            found = self.stream_head(lines[0].stream).version
            return Conflict(f"expected {lines[0].stream} at version {lines[0].version - 1}; found {found}")
        made: set[str | None] = set()
        for line in lines:
            if line.type == GoalCreated.__name__:
                if line.subject in made or self.owner(str(line.subject)):
                    return SubjectTaken(str(line.subject))
                made.add(line.subject)
        raise AssertionError(f"expected a subject that is taken: {error}")

    def copy(self, lines: Sequence[Recorded], commands: Sequence[StoredKey]) -> None:
        try:
            if lines:
                self._try(*self._insert_events(lines))
                self.position = lines[-1].position
            if commands:
                self._try(*self._insert_keys(commands))
        except ConstraintViolation as violation:
            raise Conflict(f"expected what follows position {self.position}: {violation}") from violation

    def store_key(self, command: StoredKey) -> None:
        place = (command.stream, command.key)
        if place in self._pending_keys:
            raise BatchConflict(f"expected a key that its stream has not used; found {command.key!r}")
        if self._batching:
            self._pending_keys[place] = command
            return
        self._write_pending()
        try:
            self._try(*self._insert_keys([command]))
        except ConstraintViolation as violation:
            raise Conflict(f"expected a key that its stream has not used; found {command.key!r}") from violation

    def prefetch(self, places: Sequence[tuple[str, str]], goal_ids: Sequence[str]) -> None:
        del places, goal_ids

    def taken(self, goal_ids: Sequence[str]) -> frozenset[str]:
        made = self._made.intersection(goal_ids)
        unknown = [goal_id for goal_id in goal_ids if goal_id not in made]
        return frozenset(made) | (self._taken_before(unknown) if unknown else frozenset())

    def _taken_before(self, goal_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(goal_id for (goal_id,) in self._ask(self._TAKEN, as_json(goal_ids).decode()))

    def stored_key(self, stream: str, key: str) -> StoredKey | None:
        if (pending := self._pending_keys.get((stream, key))) is not None:
            return pending
        rows = self._ask(_STORED_KEY, stream, key)
        return StoredKey(*rows[0]) if rows else None

    def add_user(self, user: User) -> None:
        self._write_user(user, _ADD_USER, *structs.astuple(user), folded(user.name))

    def change_user(self, user: User) -> None:
        values = (user.name, folded(user.name), user.email, user.disabled_at, user.password_at, user.id)
        self._write_user(user, _CHANGE_USER, *values)

    def copy_user(self, row: UserRow) -> None:
        self._write_user(row.user, _COPY_USER, *structs.astuple(row.user), row.folded)

    def _write_user(self, user: User, sql: str, *values: str | int | None) -> None:
        self._write_pending()
        try:
            self._try(sql, *values)
        except ConstraintViolation as violation:
            raise _taken(user) from violation
        self.changes += 1

    def add(self, credential: Credential) -> None:
        self._write_pending()
        fields = credential.__struct_fields__
        places = ", ".join(f"${number}" for number in range(1, len(fields) + 1))
        sql = f"INSERT INTO {_TABLES[type(credential)]} ({', '.join(fields)}) VALUES ({places})"
        if isinstance(credential, Password):
            sql += " ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash"
        values = structs.astuple(credential)
        refused = CredentialTaken(f"expected a new {type(credential).__name__.lower()}; found one that is taken")
        if not storable(*values):
            raise refused
        try:
            self._try(sql, *values)
        except ConstraintViolation as violation:  # whose message would hold the row
            raise refused from violation
        self.changes += 1

    def revoke(self, token_id: str, at: int) -> None:
        self._rows(_REVOKE, at, token_id)
        self.changes += 1

    def put_draft(self, draft: Draft) -> None:
        self._write_pending()
        self._ask(PUT, *structs.astuple(draft))
        self.changes += 1

    def remove_draft(self, draft_id: str) -> None:
        self._rows(REMOVE, draft_id)
        self.changes += 1

    @contextmanager
    def batch(self) -> Iterator[None]:
        self._batching = True
        yield
        self._end_batch()
        self._batching = False

    def _end_batch(self) -> None:
        self._write_pending()

    def _write_pending(self) -> None:
        lines, self._pending = self._pending, []
        keys, self._pending_keys = self._pending_keys, {}
        try:
            if lines:
                self._ask(*self._insert_events(lines))
            if keys:
                self._ask(*self._insert_keys(list(keys.values())))
        except ConstraintViolation as violation:
            raise BatchConflict(str(violation)) from violation

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        position, made = self.position, set(self._made)
        self._write_pending()
        self._ask("SAVEPOINT part")
        try:
            yield
            self._write_pending()
        except BaseException:
            self._pending, self._pending_keys = [], {}
            # An I/O error or a full disk has rolled all of the transaction back already.
            if self._in_transaction():
                self._ask("ROLLBACK TO part")
                self._ask("RELEASE part")
            self.position, self._made = position, made
            raise
        self._ask("RELEASE part")
