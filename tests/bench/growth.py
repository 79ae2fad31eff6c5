"""Latency against the length of the log, and against the size of a user's tree."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles

from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.bench.serving import NEW, Connection, connections, folded, goals_of, repeated
from tests.support.serving import Served

LENGTHS = (10_000, 100_000, 1_000_000, 2_000_000)
ALL_GOALS = {"ES_GOALS_CACHED_GOALS": "200000"}
"""For a user of 50,000 goals to stay in memory beside others."""


def measure(bench: Bench) -> Iterator[Sample]:
    """Both."""
    yield from _lengths(bench)
    yield from _users(bench)


def _lengths(bench: Bench) -> Iterator[Sample]:
    """A command of a user with 100 goals, the read that makes the tree anew, and the read that finds it ready: in turns
    on logs of all lengths, each served at the same time."""
    lengths = (500, 1_000) if bench.small else LENGTHS
    with ExitStack() as stack:
        services = {length: stack.enter_context(_served(bench, length)) for length in lengths}
        clients = {length: stack.enter_context(connections(served))[0] for length, served in services.items()}
        found: dict[str, list[float]] = {}
        turns = 5 if bench.small else 320
        for turn in range(-20, turns):  # the first 20, one for each user, bring all into memory
            for length, client in clients.items():
                path = goals_of(f"reader-{turn % 20}")
                times = (client.timed("POST", path, NEW)[0], client.timed("GET", path)[0], client.timed("GET", path)[0])
                for what, ms in zip(("command", "read", "ready"), times, strict=True):
                    found.setdefault(f"growth.{length}.{what}", []).append(ms)
    for name, values in found.items():
        yield from _latency(bench, name, values[20:])


@contextmanager
def _served(bench: Bench, length: int) -> Iterator[Served]:
    log = logs.made_log(bench, length)
    logs.trees(log, 20, 10 if bench.small else 100)
    with folded(log.parent) as served:
        yield served


def _users(bench: Bench) -> Iterator[Sample]:
    """Commands of a user with 50,000 goals: the first one of each worker, what another user notices of it, and later
    ones in turns with those of a user with 10 goals."""
    folder = bench.folder / "users"
    folder.mkdir()
    logs.trees(folder / "events.db", 1, 200 if bench.small else 50_000, "big")
    logs.trees(folder / "events.db", 1, 10, "small")
    first, meanwhile, big, small = list[float](), list[float](), list[float](), list[float]()
    with folded(folder, ALL_GOALS) as served:
        for worker in served.workers():
            with connections(served, worker, 2) as (client, other):
                first.append(_cold(client, other, meanwhile))
                for _ in range(5 if bench.small else 150):
                    big.append(_command(client, "big-0"))
                    small.append(_command(client, "small-0"))
    yield bench.sample("growth.cold_50000", median(first), "ms")
    yield bench.sample("growth.others_meanwhile", max(meanwhile), "ms")
    yield from _latency(bench, "growth.user_50000", big)
    yield from _latency(bench, "growth.user_10", small)


def _cold(client: Connection, other: Connection, meanwhile: list[float]) -> float:
    """The first command of the user with many goals, and those of another user at the same time."""
    with repeated(lambda: meanwhile.append(_command(other, "small-0"))):
        return _command(client, "big-0")


def _command(client: Connection, user: str) -> float:
    return client.timed("POST", goals_of(user), NEW)[0]


def _latency(bench: Bench, name: str, values: Sequence[float]) -> Iterator[Sample]:
    yield bench.sample(name, median(values), "ms")
    yield bench.sample(f"{name}.p99", quantiles(values, n=100, method="inclusive")[98], "ms")
