"""Deadlines: a request's work stops in the database when its time is over, and nobody else's does."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from es_goals.http.context import Context

import projections
from es_goals.app import create_app
from es_goals.ids import wall_clock
from es_goals.projector import Projector
from es_goals.rebuild import Rebuilder
from es_goals.settings import Settings
from es_goals.storage import Options, Storage
from es_goals.storage.deadlines import NEVER, Deadline, current
from es_goals.storage.errors import Interrupted
from tests.support.engines import DEADLINE, Engine, open_storage, wait_until
from tests.support.histories import created, many, record

SHORT = 0.2
ENDLESS = (
    "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1)"
    " SELECT count(*) FROM counted"
)
EVER = 10**12


@contextmanager
def serving(engine: Engine, **settings: float) -> Iterator[Context]:
    """A process that serves, without its server."""
    context = create_app(Settings(engine.url, **settings)).context  # type: ignore[arg-type]
    try:
        yield context
    finally:
        context.service.close()
        context.close()


@contextmanager
def opened(engine: Engine) -> Iterator[Storage]:
    storage = open_storage(engine.url, wall_clock, Options(deadline=SHORT, connections=10))
    try:
        yield storage
    finally:
        storage.close()


def endless(storage: Storage) -> object:
    """A question that is never answered."""
    return storage.log._rows(ENDLESS, EVER)  # type: ignore[attr-defined]


def test_a_question_that_takes_too_long_is_interrupted_and_the_next_one_is_not(engine: Engine) -> None:
    with opened(engine) as storage:
        record(storage.log, "ann", created("a"))

        with pytest.raises(Interrupted, match=r"expected .* before the deadline; found"):
            Deadline.after(SHORT).run(lambda: endless(storage))
        assert len(storage.log.read()) == 1
        assert Deadline.after(DEADLINE).run(storage.log.head).position == 1


def test_a_fold_stops_between_two_questions(engine: Engine) -> None:
    asked = 0

    def questions(storage: Storage) -> None:
        nonlocal asked
        while True:
            storage.log.read()
            asked += 1

    with opened(engine) as storage, pytest.raises(Interrupted):
        Deadline.after(SHORT).run(lambda: questions(storage))

    assert asked


def test_read_models_too_are_asked_in_time_only(engine: Engine) -> None:
    with opened(engine) as storage:
        projector = Projector(storage.log, storage.views, projections.ALL)
        record(storage.log, "ann", created("a"))

        reads: list[Callable[[], object]] = [
            lambda: projector.read("goal_tree", "ann"),
            lambda: projector.read_all("goal_tree"),
        ]
        for read in reads:
            assert Deadline.after(DEADLINE).run(read)
            with pytest.raises(Interrupted):
                Deadline.after(SHORT).run(partial(all, iter(read, None)))


def test_what_is_late_is_not_begun() -> None:
    begun = []

    with pytest.raises(Interrupted):
        Deadline.after(-0.001).run(lambda: begun.append(1))

    assert begun == []


def test_a_deadline_ends_with_its_work_also_where_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        Deadline.after(DEADLINE).run(lambda: 1 // 0)

    assert current() == NEVER


def test_a_deadline_is_its_own_threads() -> None:
    seen = list[Deadline]()

    def elsewhere() -> None:
        other = threading.Thread(target=lambda: seen.append(current()))
        other.start()
        other.join()

    Deadline.after(DEADLINE).run(elsewhere)

    assert seen == [NEVER]


def test_the_work_of_a_thread_has_the_deadline_that_it_was_begun_with() -> None:
    outer, inner = Deadline.after(DEADLINE), Deadline.after(2 * DEADLINE)

    assert outer.run(lambda: (current(), inner.run(current), current())) == (outer, inner, outer)
    assert outer.run(lambda: NEVER.run(current)) == NEVER


def test_a_deadline_is_over_when_its_seconds_have_passed() -> None:
    early, late = Deadline.after(-1), Deadline.after(DEADLINE)

    assert (early.expired(), late.expired(), NEVER.expired()) == (True, False, False)
    assert early.later(DEADLINE).left() > 0 >= early.left()
    assert 0 < late.left() <= DEADLINE
    late.check()
    with pytest.raises(Interrupted):
        early.check()


async def _given_up_then_asked(context: Context, long: Callable[[], object]) -> int:
    context.begin()
    with pytest.raises(Interrupted):
        await context.in_thread(long)
    context.begin()
    return await context.in_thread(lambda: context.log.head().position)


def test_a_request_is_given_up_at_its_deadline_and_its_thread_is_free_again(engine: Engine) -> None:
    with serving(engine, deadline=SHORT, threads=1) as context:
        context.begin()

        assert asyncio.run(_given_up_then_asked(context, lambda: endless(context.storage))) == 0


def test_a_scan_of_many_events_that_finds_none_is_given_up_too(engine: Engine) -> None:
    with serving(engine, deadline=SHORT, threads=1) as context:
        record(context.log, "ann", *many(500))

        def scan() -> None:
            while True:
                context.log.read(type="UserRegistered")

        assert asyncio.run(_given_up_then_asked(context, scan)) == 500


def test_a_rebuild_beside_it_is_not_interrupted(engine: Engine) -> None:
    with serving(engine, deadline=SHORT, threads=1) as context:
        record(context.log, "ann", *many(50))
        resumed = threading.Event()

        def slowly(done: int, total: int) -> None:
            del done, total
            assert resumed.wait(DEADLINE)

        rebuilt = list[int]()
        rebuild = threading.Thread(
            target=lambda: rebuilt.append(Rebuilder(context.projector).rebuild("goal_tree", slowly).events)
        )
        rebuild.start()
        try:
            assert asyncio.run(_given_up_then_asked(context, lambda: endless(context.storage))) == 50
        finally:
            resumed.set()
            rebuild.join()

    assert rebuilt == [50]


def test_the_tick_in_a_readers_thread_has_no_deadline(engine: Engine) -> None:
    with serving(engine, deadline=SHORT, threads=1) as context:

        async def tick_after_a_read() -> Deadline:
            context.begin()
            assert await context.in_thread(current) != NEVER
            return await asyncio.get_running_loop().run_in_executor(context.pool, current)

        assert asyncio.run(tick_after_a_read()) == NEVER
        wait_until(lambda: context.service.writer.trouble is None)
