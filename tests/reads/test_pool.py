"""The threads of a worker: of which one user has no more than a share, and whose work ends at its deadline."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

import projections
from es_goals.projector import Projector
from es_goals.reads.pool import FairPool
from es_goals.rebuild import Rebuilder
from es_goals.storage import Storage
from es_goals.storage.deadlines import NEVER, Deadline, current
from es_goals.storage.errors import Interrupted
from tests.support.engines import DEADLINE, Engine, endless, wait_until
from tests.support.histories import many, record

SHORT = 0.2


class Reads:
    """Work that takes until it is let go, for threads."""

    def __init__(self, threads: int) -> None:
        self.pool = FairPool(threads)
        self.begun: list[str | None] = []
        self._go = threading.Semaphore(0)

    def ask(self, user: str | None) -> Future[str | None]:
        """One more."""

        def read() -> str | None:
            self.begun.append(user)
            assert self._go.acquire(timeout=DEADLINE)
            return user

        return self.pool.submit_for(user, read)

    def let_go(self, count: int) -> None:
        """So many of them end."""
        self._go.release(count)


@contextmanager
def reading(threads: int) -> Iterator[Reads]:
    reads = Reads(threads)
    try:
        yield reads
    finally:
        reads.let_go(1_000)
        reads.pool.shutdown()


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_a_user_has_half_of_the_threads_at_most_and_the_others_the_rest(threads: int, share: int) -> None:
    with reading(threads) as reads:
        asked = [reads.ask("ann") for _ in range(threads + 3)]
        wait_until(lambda: len(reads.begun) == share)
        others = [reads.ask(f"user {number}") for number in range(threads - share)]
        wait_until(lambda: len(reads.begun) == threads)

        assert reads.begun.count("ann") == share
        reads.let_go(len(asked) + len(others))
        assert {one.result(DEADLINE) for one in asked} == {"ann"}
        assert all(one.result(DEADLINE) for one in others)


def test_what_nobody_asks_for_has_all_threads() -> None:
    with reading(3) as reads:
        for _ in range(3):
            reads.ask(None)

        wait_until(lambda: len(reads.begun) == 3)


def test_with_one_thread_a_users_second_read_comes_behind_another_users_first() -> None:
    with reading(1) as reads:
        first, second, other = reads.ask("ann"), reads.ask("ann"), reads.ask("bob")
        reads.let_go(3)

        assert [one.result(DEADLINE) for one in (first, other, second)] == ["ann", "bob", "ann"]
        assert reads.begun == ["ann", "bob", "ann"]


def test_a_read_that_fails_or_was_given_up_leaves_its_place_to_the_next() -> None:
    with reading(2) as reads:
        failed = reads.pool.submit_for("ann", lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            failed.result(DEADLINE)
        asked = [reads.ask("ann") for _ in range(3)]
        assert asked[1].cancel()
        reads.let_go(2)

        assert [asked[0].result(DEADLINE), asked[2].result(DEADLINE)] == ["ann", "ann"]
        reads.let_go(1)
        assert reads.ask("ann").result(DEADLINE) == "ann"


def test_what_was_taken_before_the_end_is_finished() -> None:
    with reading(2) as reads:
        asked = [reads.ask("ann") for _ in range(5)]
        ending = threading.Thread(target=reads.pool.shutdown)
        ending.start()
        reads.let_go(5)

        assert [one.result(DEADLINE) for one in asked] == ["ann"] * 5
        ending.join()


# Deadlines.


def late(pool: FairPool, work: Callable[[], object], seconds: float = SHORT) -> None:
    """It is given up at its deadline."""
    with pytest.raises(Interrupted):
        asyncio.run(pool.run(work, Deadline.after(seconds), "ann"))


def test_what_has_waited_its_deadline_is_given_up_and_the_next_one_has_all_of_its_own() -> None:
    go, begun = threading.Event(), list[str]()

    with FairPool(1) as pool:
        try:
            late(pool, lambda: go.wait(DEADLINE))
            late(pool, lambda: begun.append("behind it"))
        finally:
            go.set()

        assert asyncio.run(pool.run(lambda: 2, Deadline.after(DEADLINE), "ann")) == 2
    assert begun == []


def test_work_has_the_deadline_of_who_asks_and_the_tick_in_the_same_thread_has_none() -> None:
    deadline = Deadline.after(DEADLINE)

    with FairPool(1) as pool:
        assert asyncio.run(pool.run(current, deadline, "ann")) == deadline
        assert asyncio.run(pool.run(current, deadline, None)) == deadline
        assert pool.submit(current).result(DEADLINE) == NEVER


def free_again(pool: FairPool, storage: Storage) -> int:
    """The head of the log, from the pool's thread."""
    return asyncio.run(pool.run(lambda: storage.log.head().position, Deadline.after(DEADLINE), "ann"))


def test_a_request_is_given_up_at_its_deadline_and_its_thread_is_free_again(engine: Engine) -> None:
    storage = engine.open()
    with FairPool(1) as pool:
        late(pool, lambda: endless(storage))

        assert free_again(pool, storage) == 0


def test_a_scan_of_many_events_that_finds_none_is_given_up_too(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", *many(500))

    def scan() -> None:
        while True:
            storage.log.read(type="UserRegistered")

    with FairPool(1) as pool:
        late(pool, scan)

        assert free_again(pool, storage) == 500


def test_a_rebuild_beside_it_is_not_interrupted(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", *many(50))
    rebuilder = Rebuilder(Projector(storage.log, storage.views, projections.ALL))
    resumed, rebuilt = threading.Event(), list[int]()

    def slowly(done: int, total: int) -> None:
        del done, total
        assert resumed.wait(DEADLINE)

    rebuild = threading.Thread(target=lambda: rebuilt.append(rebuilder.rebuild("goal_tree", slowly).events))
    rebuild.start()
    with FairPool(1) as pool:
        try:
            late(pool, lambda: endless(storage))
            assert free_again(pool, storage) == 50
        finally:
            resumed.set()
            rebuild.join()

    assert rebuilt == [50]
