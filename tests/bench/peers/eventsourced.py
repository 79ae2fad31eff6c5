"""The Python library "eventsourcing" on a SQLite file or on PostgreSQL, as its documentation uses it and with the
settings it has: on SQLite WAL and its default, which is to sync each commit."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from tests.bench.logs import Author

PAGE = 1000
A_COMMIT = 100  # goals, where no time is taken


class Goal(Aggregate):  # type: ignore[misc]
    """A goal whose events say what ours do."""

    @event("Created")  # type: ignore[untyped-decorator]
    def __init__(self, name: str, start: str, rank: str, parent_id: str | None, description: str | None) -> None:
        self.name, self.start, self.rank = name, start, rank
        self.parent_id, self.description = parent_id, description
        self.end: str | None = None

    @event("Renamed")  # type: ignore[untyped-decorator]
    def rename(self, name: str) -> None:
        """Give it another name."""
        self.name = name

    @event("Completed")  # type: ignore[untyped-decorator]
    def complete(self, end: str) -> None:
        """Reach it."""
        self.end = end


def append(path: Path, events: int) -> float:
    """Events a second, each in a transaction of its own."""
    goals = list(_goals(events))
    with closing(_application(path)) as application:
        began = perf_counter()
        for goal in goals:
            application.save(goal)
        return events / (perf_counter() - began)


def append_to_postgres(url: str, events: int, threads: int) -> float:
    """Events a second, each in a transaction of its own, from so many threads that have a connection each."""
    goals, at = list(_goals(events)), urlsplit(url)
    env = {"PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_DBNAME": at.path[1:], "POSTGRES_PASSWORD": ""}
    env |= {"POSTGRES_HOST": str(at.hostname), "POSTGRES_PORT": str(at.port), "POSTGRES_USER": str(at.username)}
    env |= {"POSTGRES_POOL_SIZE": str(threads)}
    with closing(Application(env=env)) as application, ThreadPoolExecutor(threads) as pool:
        began = perf_counter()
        list(pool.map(application.save, goals))
        return events / (perf_counter() - began)


def read(path: Path, events: int) -> float:
    """Events a second, of a log of so many that is read in pages and decoded."""
    with closing(_application(path)) as application:
        _fill(application, list(_goals(events // 2)))
        began, start, found = perf_counter(), 1, 0
        while notifications := application.recorder.select_notifications(start, PAGE):
            for notification in notifications:
                application.mapper.to_domain_event(notification)
            start = notifications[-1].id + 1
            found += len(notifications)
        return found / (perf_counter() - began)


def _application(path: Path) -> Any:
    return Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})


def _goals(count: int) -> Iterator[Goal]:
    author = Author("eventsourcing")
    parent: str | None = None
    for number in range(count):
        goal = Goal(author.name(), "2024-01-01T00:00:09.876543Z", f"V{number:05}", parent, None)
        parent = str(goal.id)
        yield goal


def _fill(application: Any, goals: Sequence[Goal]) -> None:
    """Two events a goal."""
    for number, goal in enumerate(goals):
        if number % 2:
            goal.rename(f"{goal.name}, renamed")
        else:
            goal.complete("2024-01-02T00:00:09.876543Z")
    for first in range(0, len(goals), A_COMMIT):
        application.save(*goals[first : first + A_COMMIT])
