"""Clients that send commands as fast as they are answered, note what they are told, and read what they wrote."""

import random
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import apsw
import httpx2
import msgspec

from es_goals.events import (
    Event,
    GoalCompleted,
    GoalCreated,
    GoalRenamed,
    Recorded,
    UserRegistered,
    account_stream,
    goals_stream,
)
from es_goals.goals.ranks import between
from es_goals.ids import wall_clock
from es_goals.storage import Storage
from es_goals.storage.log import Cause, Clock, StoredKey, User
from tests.support.engines import open_storage
from tests.support.histories import START
from tests.support.serving import PATIENCE, Served, wait_for

LATER = frozenset({503, 507})
"""What tells a client to send the same again, under the same key."""


@contextmanager
def serving(folder: Path, *, workers: int = 2, db: str = "events.db", env: Mapping[str, str] = {}) -> Iterator[Served]:
    """A service of the test's own, which need not be sound at the end."""
    served = Served(folder, workers=workers, db=db, env=env)
    try:
        yield served
    finally:
        served.end()


@contextmanager
def opened(db: Path, clock: Clock = wall_clock) -> Iterator[Storage]:
    """The storage, as one more process beside those that serve it."""
    storage = open_storage(str(db), clock)
    try:
        yield storage
    finally:
        storage.close()


def history(db: Path) -> list[Recorded]:
    """The whole log, read past all of our own code."""
    columns = ", ".join(Recorded.__struct_fields__)
    with closing(apsw.Connection(str(db), apsw.SQLITE_OPEN_READONLY, "unix")) as connection:
        return [Recorded(*row) for row in connection.execute(f"SELECT {columns} FROM events ORDER BY position")]


def fill(storage: Storage, events: int, *, users: int = 4) -> list[str]:
    """Record so many events or a few more, always the same: users and their trees of goals, every fifth renamed, every
    seventh completed, each command under a key. Answers the users' ids; their names are `user-0`, `user-1` …"""
    chance = random.Random("fill")  # noqa: S311

    def new_id() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    ids = [new_id() for _ in range(users)]
    for number, user_id in enumerate(ids):
        with storage.log.writing() as transaction:
            transaction.append(account_stream(user_id), 0, [UserRegistered(user_id)], Cause(new_id()))
            transaction.add_user(User(user_id, f"user-{number}", None, transaction.at))
    goals: dict[str, list[str]] = {user_id: [] for user_id in ids}
    rank = between(None, None)
    assert rank is not None
    while storage.log.head().position < events:
        for user_id in ids:
            rank = between(rank, None)
            assert rank is not None
            _append_some(storage, user_id, goals[user_id], rank, new_id)
    return ids


def _append_some(storage: Storage, user_id: str, goals: list[str], rank: str, new_id: Callable[[], str]) -> None:
    """About 100 events in one commit."""
    made: list[Event] = []
    for _ in range(75):
        number, goal_id = len(goals), new_id()
        parent_id = goals[number // 3] if number % 10 else None
        text = f"What goal {number} is about, and why it matters. " * (number % 4)
        made.append(GoalCreated(goal_id, f"goal {number}", START, rank, parent_id, text or None))
        goals.append(goal_id)
        if number % 5 == 0:
            made.append(GoalRenamed(goal_id, f"goal {number}, renamed"))
        if number % 7 == 0:
            made.append(GoalCompleted(goal_id, START))
    stream, command = goals_stream(user_id), new_id()
    with storage.log.writing() as transaction:
        version = transaction.stream_head(stream).version
        lines = transaction.append(stream, version, made, Cause(command))
        place = (lines[0].position, lines[-1].position)
        transaction.store_key(StoredKey(stream, f"key-{len(goals)}", bytes(32), *place))


def command_line(db: Path, *arguments: str | Path) -> list[str]:
    """A command of the command line on a database."""
    return [sys.executable, "-m", "es_goals", "--db", str(db), *map(str, arguments)]


class Told(NamedTuple):
    """A command that was acknowledged: its key, which is its reason too, and what was answered."""

    key: str
    position: int
    goal_id: str


class Client(threading.Thread):
    """One user's only client. Whatever happens to a command, it is repeated with its key until it is settled; where
    there are several nodes, at the next one.

    `read_every`: commands between two looks at its own tree. `may_be_cut_off`: whether a read may find nobody.
    `may_be_put_off`: whether it may be told to come later. `patience`: seconds until an answer must be there.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        read_every: int,
        may_be_cut_off: bool,
        may_be_put_off: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(name=name)
        self._nodes = [httpx2.Client(base_url=url, timeout=patience) for url in urls]
        self._node = 0
        self._read_every, self._may_be_cut_off = read_every, may_be_cut_off
        self._may_be_put_off = may_be_put_off
        self._random = random.Random(name)  # noqa: S311
        self.enough = threading.Event()
        self._open: list[str] = []
        self.goals: list[str] = []
        self.told: list[Told] = []
        self.refused: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.cut_off = 0
        self.replayed = 0
        self.reads = 0
        self.error: BaseException | None = None

    def register(self) -> None:
        """Make the user."""
        self.settled("POST", "/v2/users", {"name": self.name}, f"{self.name}.registration")

    def run(self) -> None:
        """Until it is told to stop; every command begun is settled."""
        try:
            while not self.enough.is_set():
                self.command()
                if len(self.told) % self._read_every == 0:
                    self.look()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """Finish the command under way, and end."""
        self.enough.set()
        self.join()
        for node in self._nodes:
            node.close()

    def command(self) -> None:
        """One of several kinds; each records one event, or is refused by the rules."""
        key = f"{self.name}.{len(self.told) + len(self.refused)}"
        dice = self._random.random()
        if not self._open or dice < 0.6:
            parent = self._random.choice([None, *self.goals[-20:]])
            path = f"/v2/users/{self.name}/goals"
            created = self._done("POST", path, {"name": f"goal {key}", "parent_id": parent}, key)
            self.goals.append(created)
            self._open.append(created)
        elif dice < 0.8:
            self._done("PATCH", f"/v2/goals/{self._random.choice(self.goals)}", {"name": f"renamed {key}"}, key)
        elif dice < 0.9:
            goal = self._open.pop(self._random.randrange(len(self._open)))
            self._done("POST", f"/v2/goals/{goal}/complete", {}, key)
        else:
            goal = self._random.choice(self.goals)
            answer = self.settled("POST", f"/v2/goals/{goal}/move", {"parent_id": goal}, key)
            assert answer.status_code == 409, answer.text
            self.refused.append(key)

    def _done(self, method: str, path: str, body: dict[str, Any], key: str) -> str:
        answer = self.settled(method, path, body, key)
        assert answer.status_code in (200, 201), answer.text
        goal_id: str = answer.json()["id"]
        self.told.append(Told(key, int(answer.headers["Position"]), goal_id))
        return goal_id

    def settled(self, method: str, path: str, body: dict[str, Any], key: str) -> httpx2.Response:
        """The answer that says what became of the command."""
        headers = {"Idempotency-Key": key, "X-Reason": key}
        if self._random.random() < 0.2:
            headers["Connection"] = "close"  # lest all clients stay with the workers of a master that was killed
        until = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._next().request(method, path, json=body, headers=headers)
            except httpx2.ReadTimeout:
                raise
            except httpx2.TransportError:
                self.cut_off += 1
            else:
                self.statuses[answer.status_code] += 1
                self.replayed += "Idempotent-Replayed" in answer.headers
                if answer.status_code not in LATER:
                    return answer
                self._put_off(answer)
            assert time.monotonic() < until, f"{key} was not settled within {PATIENCE} s"
            self.enough.wait(0.02)

    def _next(self) -> httpx2.Client:
        """Another node each time."""
        self._node += 1
        return self._nodes[self._node % len(self._nodes)]

    def _put_off(self, answer: httpx2.Response) -> None:
        assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0

    def look(self) -> None:
        """Its own tree holds all that it was told, and nothing else: it is the only one who changes it."""
        try:
            answer = self._next().get(f"/v2/users/{self.name}/goals", params={"view": "flat"})
        except httpx2.ReadTimeout:
            raise
        except httpx2.TransportError:
            assert self._may_be_cut_off
            return
        if self._may_be_put_off and answer.status_code == 503:
            self._put_off(answer)
            return
        assert answer.status_code == 200, answer.text
        tree = answer.json()
        assert tree["version"] == len(self.told)
        assert {goal["id"] for goal in tree["goals"]} == set(self.goals)
        self.reads += 1


class Load:
    """Clients at work from the beginning of a `with` to its end, where the first error of any is raised."""

    def __init__(
        self,
        served: Served | Sequence[Served],
        count: int = 4,
        *,
        name: str = "client",
        read_every: int = 10,
        may_be_cut_off: bool = False,
        may_be_put_off: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        nodes = [served] if isinstance(served, Served) else served
        self.clients = [
            Client(
                [node.url for node in nodes],
                f"{name}-{number}",
                read_every=read_every,
                may_be_cut_off=may_be_cut_off,
                may_be_put_off=may_be_put_off,
                patience=patience,
            )
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.register()
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.enough.set()
        for client in self.clients:
            client.stop()
        self.healthy()

    def healthy(self) -> None:
        """No client met what it should not."""
        for client in self.clients:
            if client.error is not None:
                raise client.error

    def done(self) -> int:
        """Commands that were acknowledged so far."""
        self.healthy()
        return sum(len(client.told) for client in self.clients)

    def wait_for_more(self, commands: int, patience: float = PATIENCE) -> None:
        """Until so many more are acknowledged."""
        enough = self.done() + commands
        wait_for(lambda: self.done() >= enough, f"{commands} more commands to be acknowledged", patience)

    def told(self) -> list[Told]:
        """What was acknowledged, over all clients."""
        return [told for client in self.clients for told in client.told]

    def statuses(self) -> Counter[int]:
        """How often each status was answered to a command."""
        return sum((client.statuses for client in self.clients), Counter())

    def cut_off(self) -> int:
        """How often a command had no answer."""
        return sum(client.cut_off for client in self.clients)

    def replayed(self) -> int:
        """How often a command turned out to be recorded already."""
        return sum(client.replayed for client in self.clients)

    def reads(self) -> int:
        """How often a client looked at its tree."""
        return sum(client.reads for client in self.clients)

    def check(self, log: Iterable[Recorded], *others: "Load") -> None:
        """I1: what was acknowledged, here and by loads before this one, is in the log once, where it was told. I2: what
        was refused never is, and nothing is that nobody sent. I3: no gaps."""
        places: dict[str, list[tuple[int, str | None]]] = {}
        versions: Counter[str] = Counter()
        for number, line in enumerate(log, start=1):
            versions[line.stream] += 1
            assert (line.position, line.version) == (number, versions[line.stream])
            if line.reason is not None and line.subject is not None:
                places.setdefault(line.reason, []).append((line.position, line.subject))

        all_told = [told for load in (self, *others) for told in load.told()]
        assert places == {told.key: [(told.position, told.goal_id)] for told in all_told}


class Follower(threading.Thread):
    """Follows the whole log live on one node. Where the stream ends, it goes on behind what it has."""

    def __init__(self, url: str, *, may_be_cut_off: bool = False) -> None:
        super().__init__(name=f"follower of {url}")
        self._http = httpx2.Client(base_url=url, timeout=PATIENCE)
        self._may_be_cut_off = may_be_cut_off
        self._enough = threading.Event()
        self._socket: socket.socket | None = None
        self.events: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._http.close()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Until it has been told that it is enough."""
        try:
            while not self._enough.is_set():
                self._follow()
        except BaseException as error:
            self.error = error

    def has(self, position: int) -> bool:
        """Whether it has come so far."""
        if self.error is not None:
            raise self.error
        return len(self.events) >= position

    def _follow(self) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(len(self.events))}
        try:
            with self._http.stream("GET", "/v2/events", headers=headers) as answer:
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                assert answer.status_code == 200 or self._may_be_cut_off, answer.status_code
                for line in answer.iter_lines():
                    self._take(line)
        except httpx2.TransportError:
            pass
        assert self._may_be_cut_off or self._enough.is_set(), "the stream ended"
        self._enough.wait(0.05)

    def _take(self, line: str) -> None:
        name, _, value = line.partition(": ")
        if name == "id":
            assert int(value.partition("@")[0]) == len(self.events) + 1
        elif name == "data":
            self.events.append(msgspec.json.decode(value))
