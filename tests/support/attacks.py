"""One user who asks for as much as can be had, and what the others feel meanwhile."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

import msgspec

from es_goals.events import Event
from es_goals.storage.log import Cause, User
from tests.support.histories import created
from tests.support.people import Answer, Wire, behind, issue, register
from tests.support.serving import Served, wait_for


def person(served: Served, name: str, events: Sequence[Event] = ()) -> tuple[User, str]:
    """Somebody new with a history of their own goals, and a token."""
    with behind(served) as storage, storage.log.writing() as transaction:
        user = register(transaction, name)
        secret, _ = issue(transaction, user)
        if events:
            transaction.append(f"user:{user.id}", 0, events, Cause("a history", user.id))
    return user, secret


def chain(goals: int, first: int = 0) -> list[Event]:
    """Each goal under the one before it."""
    ids = [goal_id(number) for number in range(first, first + goals)]
    return [created(one, above) for one, above in zip(ids, [None, *ids], strict=False)]


def goal_id(number: int) -> str:
    """The id of a goal in a history."""
    return f"00000000-0000-4000-8000-{number:012x}"


class Attack:
    """Requests from several connections, each as soon as the one before it is answered, until it ends. `statuses`
    counts answers."""

    def __init__(self, served: Served, ask: Callable[[Wire], Answer], connections: int) -> None:
        self.statuses: Counter[int] = Counter()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(served, ask)) for _ in range(connections)]

    def _go_on(self, served: Served, ask: Callable[[Wire], Answer]) -> None:
        with closing(Wire(served)) as wire:
            while not self._ended.is_set():
                answer = ask(wire)
                self.statuses[answer.status] += 1
                if answer.status == 429:  # as a client would
                    self._ended.wait(0.05)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """And wait for what was asked last."""
        self._ended.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def under_attack(served: Served, ask: Callable[[Wire], Answer], connections: int = 4) -> Iterator[Attack]:
    """While somebody asks, on so many connections."""
    attack = Attack(served, ask, connections)
    attack.start()
    try:
        wait_for(lambda: attack.statuses.total() > 0, "the attack to begin")
        yield attack
    finally:
        attack.end()


class Felt:
    """Somebody's requests, one after the other: how long they took, in seconds, and what was answered."""

    def __init__(self, served: Served, ask: Callable[[Wire], Answer], seconds: float) -> None:
        self.times: list[float] = []
        self.statuses: Counter[int] = Counter()
        until = time.monotonic() + seconds
        with closing(Wire(served)) as wire:
            while time.monotonic() < until:
                begun = time.perf_counter()
                self.statuses[ask(wire).status] += 1
                self.times.append(time.perf_counter() - begun)

    @property
    def median(self) -> float:
        """Half of the requests took as long, at most."""
        return median(self.times)

    @property
    def longest(self) -> float:
        """What the slowest request took."""
        return max(self.times)


def creating(user: User, token: str) -> Callable[[Wire], Answer]:
    """A goal more each time."""

    def ask(wire: Wire) -> Answer:
        return wire("POST", f"/v2/users/{user.id}/goals", token, {"name": "one more"})

    return ask


def batch(commands: Sequence[Any]) -> bytes:
    """The body of several commands."""
    return msgspec.json.encode({"commands": commands})
