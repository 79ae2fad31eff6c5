"""Accounts made behind a service's back: users and their tokens, good and bad, without a process for each."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from es_goals import accounts
from es_goals.clock import wall_clock
from es_goals.ids import Uuid7
from es_goals.storage import Cause, Storage, Token, Transaction, User, open_storage
from tests.serving import Served

DAY = 86_400_000_000

new_id = Uuid7(wall_clock)


@contextmanager
def behind(served: Served) -> Iterator[Storage]:
    """The service's own storage."""
    with closing(open_storage(served.database, wall_clock)) as storage:
        yield storage


def cause() -> Cause:
    """Of one command."""
    return Cause(new_id(), "test")


def register(transaction: Transaction, name: str, role: str = "user", password: str | None = None) -> User:
    """A user; `password` as it is kept."""
    return accounts.register(transaction, User(new_id(), name, None, 0, role), cause(), password)[0]


def issue(transaction: Transaction, user: User, scope: str = "write", lasting: int = DAY) -> tuple[str, Token]:
    """A token, good for so many µs."""
    secret = accounts.new_secret(accounts.TOKEN)
    token = Token(new_id(), user.id, "a test", scope, accounts.fingerprint(secret), 0, transaction.at + lasting)
    return secret, accounts.issue(transaction, token, cause())[0]


class Answer(NamedTuple):
    """Of a service, as it came; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only one of its name."""
        return next((value for known, value in self.headers if known == name.lower()), None)

    @property
    def problem(self) -> str | None:
        """Its slug, where it is one."""
        kind = self.json.get("type") if self.header("content-type") == "application/problem+json" else None
        return str(kind).removeprefix("/problems/") if kind else None

    @property
    def json(self) -> Any:
        """Decoded."""
        return json.loads(self.body)


class Wire:
    """One connection that is kept: a tenth of the time that httpx2 takes. `address`: whom it comes from."""

    def __init__(self, served: Served, address: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, 20, source_address=(address, 0))

    def __call__(
        self, method: str, path: str, token: str | None = None, body: Any = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """What is answered; a body of bytes is sent as it is."""
        sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} if sent else {}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        self._connection.request(method, path, sent, {**named, **headers})
        answer = self._connection.getresponse()
        found = tuple((name.lower(), value) for name, value in answer.getheaders())
        return Answer(answer.status, found, answer.read())

    def close(self) -> None:
        """End it."""
        self._connection.close()
