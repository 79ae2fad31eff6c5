"""Who is signed in, in the SQL that the engines share: parameters are $1, $2 … in the order of their first use."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from msgspec import structs

from es_goals.storage.sessions import MOST_SESSIONS, USE_INTERVAL, Attempt, Session
from es_goals.storage.sql.log import storable

_PENDING = 30_000_000  # µs after which who looked at a password is taken to be gone, and the password to be wrong
_FIELDS = ", ".join(Session.__struct_fields__)
_SESSION = f"SELECT {_FIELDS} FROM sessions WHERE hash = $1"
_BEGIN = f"INSERT INTO sessions ({_FIELDS}) VALUES ($1, $2, $3, $4, $5, $6)"
_RESTAMP = "UPDATE sessions SET stamp = $1 WHERE hash = $2"
_END = "DELETE FROM sessions WHERE hash = $1"
_END_OLDEST = (
    "DELETE FROM sessions WHERE user_id = $1 AND hash NOT IN"
    " (SELECT hash FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, hash LIMIT $2)"
)
_OF_USER = f"SELECT {_FIELDS} FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, hash LIMIT $2"
_END_OF_USER = "DELETE FROM sessions WHERE user_id = $1 AND hash >= $2 AND hash < $3 RETURNING hash"
_END_ALL = "DELETE FROM sessions WHERE user_id = $1"
_USE = "SELECT at FROM uses WHERE id = $1"
_NOTE = (
    "INSERT INTO uses (id, at) VALUES ($1, $2)"
    f" ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE uses.at <= excluded.at - {USE_INTERVAL}"
)
_KNOWN_HERE = "SELECT 1 FROM sessions WHERE user_id = $1 AND address = $2 AND expires_at > $3 AND stamp = $4 LIMIT 1"
_OF_BOTH = "SELECT at, failed FROM attempts WHERE account = $1 AND address = $2 AND at >= $3 ORDER BY at"
_OF_ACCOUNT = "SELECT at, failed FROM attempts WHERE account = $1 AND at >= $2 ORDER BY at"
_OF_ADDRESS = "SELECT at, failed FROM attempts WHERE address = $1 AND at >= $2 ORDER BY at"
_TRY = "INSERT INTO attempts (id, account, address, at, failed) VALUES ($1, $2, $3, $4, 0)"
_FAILED = "UPDATE attempts SET failed = 1 WHERE id = $1"
_HELD = "DELETE FROM attempts WHERE id = $1 OR (account = $2 AND address = $3 AND (failed = 1 OR at < $4))"

Ask = Callable[..., list[tuple[Any, ...]]]
"""Takes a statement and its values, in a transaction; returns all rows."""


class SqlSessions(ABC):
    """What an engine adds is its transactions."""

    @abstractmethod
    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Return all rows of a question. Raises Unavailable."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Ask]:
        """Begin a transaction that is alone in counting attempts."""

    def session(self, hash: str) -> Session | None:
        rows = self._rows(_SESSION, hash) if storable(hash) else []
        return Session(*rows[0]) if rows else None

    def begin(self, session: Session) -> None:
        with self._writing() as ask:
            ask(_BEGIN, *structs.astuple(session))
            ask(_END_OLDEST, session.user_id, MOST_SESSIONS)

    def restamp(self, hash: str, stamp: int) -> None:
        self._write(_RESTAMP, stamp, hash)

    def end(self, hash: str) -> None:
        self._write(_END, hash)

    def of_user(self, user_id: str, most: int) -> list[Session]:
        return [Session(*row) for row in self._rows(_OF_USER, user_id, most)]

    def end_of_user(self, user_id: str, beginning: str) -> bool:
        with self._writing() as ask:
            return bool(ask(_END_OF_USER, user_id, beginning, beginning + "g"))  # behind all hexadecimal digits

    def end_all(self, user_id: str) -> None:
        self._write(_END_ALL, user_id)

    def clear(self) -> None:
        self._write("DELETE FROM sessions")

    def used(self, id: str) -> int | None:
        rows = self._rows(_USE, id)
        return rows[0][0] if rows else None

    def last_use(self, id: str, made_at: int) -> int:
        rows = (self._rows(_USE, id) if storable(id) else []) or self._rows("SELECT made_at FROM origin")
        return max(made_at, int(rows[0][0]))

    def record_use(self, id: str, at: int) -> None:
        self._write(_NOTE, id, at)

    def _write(self, sql: str, *values: str | int) -> None:
        with self._writing() as ask:
            ask(sql, *values)

    def attempt(self, attempt: Attempt, since: int, most: int) -> int | None:
        account, address, now = attempt.account, attempt.address, attempt.at
        with self._writing() as ask:
            if ask(_KNOWN_HERE, account, address, now, attempt.stamp):
                counted = [ask(_OF_BOTH, account, address, since)]
            else:
                counted = [ask(_OF_ACCOUNT, account, since), ask(_OF_ADDRESS, address, since)]
            failed = [[int(at) for at, failed in rows if failed or at < now - _PENDING] for rows in counted]
            if refused := [times[-most] for times in failed if len(times) >= most]:
                return max(refused)
            if any(len(rows) >= most for rows in counted):
                return None
            ask(_TRY, attempt.id, account, address, now)
            return 0

    def forget(self, attempt: Attempt) -> None:
        self._write("DELETE FROM attempts WHERE id = $1", attempt.id)

    def failed(self, attempt: Attempt) -> None:
        self._write(_FAILED, attempt.id)

    def held(self, attempt: Attempt) -> None:
        self._write(*_held(attempt))

    def sign_in(self, attempt: Attempt, session: Session) -> None:
        with self._writing() as ask:
            ask(*_held(attempt))
            ask(_BEGIN, *structs.astuple(session))
            ask(_END_OLDEST, session.user_id, MOST_SESSIONS)

    def purge_expired(self, now: int, idle: int, since: int) -> None:
        with self._writing() as ask:
            ask("DELETE FROM sessions WHERE expires_at <= $1", now)
            ask("DELETE FROM uses WHERE at < $1", idle)
            ask("DELETE FROM attempts WHERE at < $1", since)


def _held(attempt: Attempt) -> tuple[str, str, str, str, int]:
    return _HELD, attempt.id, attempt.account, attempt.address, attempt.at - _PENDING
