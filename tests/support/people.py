"""Accounts made behind a service's back, without a process for each; and quick ways to ask as somebody."""

import asyncio
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx2
import msgspec

from es_goals.accounts import changes
from es_goals.accounts.caller import TOKEN, fingerprint, new_secret
from es_goals.app import create_app
from es_goals.events import moment
from es_goals.http.edge.rates import Rates
from es_goals.ids import Uuid7, wall_clock
from es_goals.settings import Settings
from es_goals.storage import Storage
from es_goals.storage.log import Cause, Token, Transaction, User
from tests.support.engines import HandClock, open_storage
from tests.support.serving import Served

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
    return changes.register(transaction, User(new_id(), name, None, 0, role), cause(), password)[0]


def issue(transaction: Transaction, user: User, scope: str = "write", lasting: int = DAY) -> tuple[str, Token]:
    """A token, good for so many µs."""
    secret = new_secret(TOKEN)
    token = Token(new_id(), user.id, "a test", scope, fingerprint(secret), 0, transaction.at + lasting)
    return secret, changes.issue(transaction, token, cause())[0]


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

    @property
    def closed(self) -> bool:
        """Whether the service has said that it ends; the next request would begin another one."""
        return self._connection.sock is None

    def close(self) -> None:
        """End it."""
        self._connection.close()


class Inside:
    """A service of this process, whose clock stands still, with an administrator whose token is `root`; `rates` counts
    its requests."""

    def __init__(self, folder: Path, rates: Rates | None = None, **settings: Any) -> None:
        self.clock = HandClock()
        self._settings = Settings(str(folder / "events.db"), **settings)
        self.root = self.person("root", role="administrator")
        self._app = create_app(self._settings, self.clock, rates=rates)
        self.sessions = self._app.worker.storage.sessions
        self._loop = asyncio.new_event_loop()

    def __call__(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        address: str = "127.0.0.1",
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """What is answered to a client at this address, and all that follows from it."""
        named = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._loop.run_until_complete(self._answer(method, path, body, address, {**named, **headers}))

    async def _answer(self, method: str, path: str, body: Any, address: str, headers: Mapping[str, str]) -> Answer:
        transport = httpx2.ASGITransport(cast(Any, self._app), client=(address, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(method, path, json=body, headers=headers)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        found = tuple((name.lower(), value) for name, value in answer.headers.multi_items())
        return Answer(answer.status_code, found, answer.content)

    def sign_in(self, name: str, password: str, address: str = "127.0.0.1") -> Answer:
        """What is answered."""
        return self("POST", "/v2/sessions", None, {"user": name, "password": password}, address)

    def session(self, name: str, password: str) -> str:
        """A new session's token."""
        answer = self.sign_in(name, password)
        assert answer.status == 201, answer
        token: str = answer.json["token"]
        return token

    def person(self, name: str, password: str | None = None, role: str = "user") -> str:
        """Somebody new; `password` as it is kept. Answers a token."""
        with self._changing() as transaction:
            return issue(transaction, register(transaction, name, role, password), lasting=90 * DAY)[0]

    def token_of(self, name: str, seconds: int) -> str:
        """Another token of somebody, good for so many seconds."""
        with self._changing() as transaction:
            user = transaction.user_named(name)
            assert user is not None
            return issue(transaction, user, lasting=seconds * 1_000_000)[0]

    def set_disabled(self, name: str) -> None:
        """Disable somebody."""
        with self._changing() as transaction:
            user = transaction.user_named(name)
            assert user is not None
            changes.set_disabled(transaction, user.id, True, cause())

    def set_password(self, name: str, kept: str) -> None:
        """Give somebody another password."""
        with self._changing() as transaction:
            user = transaction.user_named(name)
            assert user is not None
            changes.set_password(transaction, user.id, kept, cause())

    @contextmanager
    def _changing(self) -> Iterator[Transaction]:
        with closing(open_storage(self._settings.db, self.clock)) as storage, storage.log.writing() as transaction:
            yield transaction

    def pass_(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.now += seconds * 1_000_000

    def later(self, seconds: int) -> str:
        """The time so much later than now, as it is answered."""
        return msgspec.json.decode(msgspec.json.encode(moment(self.clock.now + seconds * 1_000_000)), type=str)

    def close(self) -> None:
        """End it."""
        self._app.worker.service.close()
        self._app.worker.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
