"""Many writers on one log: two processes of four authors each, twenty streams, thousands of events."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from es_goals.events import GoalRenamed, Recorded
from es_goals.ids import wall_clock
from es_goals.storage.log import Cause, Log, Transaction, all_lines
from es_goals.storage.writer import Writer
from tests.support.engines import Engine, hear, open_storage, say, start, tell

PROCESSES, AUTHORS, STREAMS = 2, 4, 20
GROUP = 20


def append_some(
    transaction: Transaction, author: str, numbers: Iterable[int], chance: random.Random
) -> Iterator[Recorded]:
    """The author's next events, to any stream."""
    stream = f"user:{chance.randrange(STREAMS)}"
    version = transaction.stream_head(stream).version
    for place, number in enumerate(numbers):
        event, cause = GoalRenamed(author, str(number)), Cause(f"{author} {number}")
        yield transaction.append(stream, version + place, [event], cause)[0]


def append_in_groups(log: Log, author: str, count: int) -> list[int]:
    """The positions that were acknowledged."""
    chance, positions = random.Random(author), list[int]()  # noqa: S311
    for first in range(0, count, GROUP):
        with log.writing() as transaction, transaction.batch():
            lines = list(append_some(transaction, author, range(first, first + GROUP), chance))
        positions += [line.position for line in lines]
    return positions


def append_from_threads(url: str, process: str, count: str) -> None:
    storage = open_storage(url, wall_clock)
    authors = [f"{process}-{thread}" for thread in range(AUTHORS)]
    say("ready")
    input()
    with ThreadPoolExecutor(AUTHORS) as pool:
        for positions in pool.map(lambda author: append_in_groups(storage.log, author, int(count)), authors):
            say(" ".join(map(str, positions)))


async def append_one_by_one(writer: Writer, author: str, count: int) -> list[int]:
    """The positions that were acknowledged, each command sent after the answer to the one before it."""
    chance, positions = random.Random(author), list[int]()  # noqa: S311

    def work(transaction: Transaction) -> int:
        return next(append_some(transaction, author, [len(positions)], chance)).position

    for _ in range(count):
        positions.append(await writer.submit(work))
    return positions


def append_through_a_writer(url: str, process: str, count: str) -> None:
    storage = open_storage(url, wall_clock)
    writer = Writer(storage.log, lambda _: None, lambda _: None, lambda: None, lambda _: None)
    authors = [f"{process}-{task}" for task in range(AUTHORS)]

    async def append_all() -> list[list[int]]:
        return await asyncio.gather(*(append_one_by_one(writer, author, int(count)) for author in authors))

    say("ready")
    input()
    for positions in asyncio.run(append_all()):
        say(" ".join(map(str, positions)))
    writer.close()


@pytest.mark.parametrize(("work", "events"), [(append_from_threads, 8_000), (append_through_a_writer, 800)])
def test_every_event_of_many_writers_is_there_once_without_a_gap_and_in_order(
    engine: Engine, work: Callable[[str, str, str], None], events: int
) -> None:
    log, each = engine.open().log, events // PROCESSES // AUTHORS
    with ExitStack() as stack:
        children = [
            stack.enter_context(start(work, engine.url, str(process), str(each))) for process in range(PROCESSES)
        ]
        assert [hear(child) for child in children] == ["ready"] * PROCESSES
        for child in children:
            tell(child, "go")
        acknowledged = {
            f"{process}-{author}": [int(position) for position in hear(child).split()]
            for process, child in enumerate(children)
            for author in range(AUTHORS)
        }
        assert [child.wait() for child in children] == [0] * PROCESSES

    lines = list(all_lines(log))
    versions, by_author = defaultdict[str, list[int]](list), defaultdict[str, list[Recorded]](list)
    for line in lines:
        versions[line.stream].append(line.version)
        by_author[str(line.subject)].append(line)
    assert [line.position for line in lines] == list(range(1, events + 1))
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert len(versions) == STREAMS
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert {author: [line.position for line in theirs] for author, theirs in by_author.items()} == acknowledged
    assert all([line.event for line in theirs] == history(author, each) for author, theirs in by_author.items())
    # The processes were at it at once.
    spans = [
        (min(positions[0] for positions in theirs), max(positions[-1] for positions in theirs))
        for theirs in (
            [acknowledged[f"{process}-{author}"] for author in range(AUTHORS)] for process in range(PROCESSES)
        )
    ]
    assert max(first for first, _ in spans) < min(last for _, last in spans)


def history(author: str, count: int) -> list[GoalRenamed]:
    return [GoalRenamed(author, str(number)) for number in range(count)]
