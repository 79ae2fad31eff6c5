"""Deadlines: a request's work stops in the database when its time is over, and nobody else's does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

import projections
from es_goals.ids import wall_clock
from es_goals.projector import Projector
from es_goals.storage import Options, Storage
from es_goals.storage.deadlines import NEVER, Deadline, current
from es_goals.storage.errors import Interrupted
from tests.support.engines import DEADLINE, Engine, endless, open_storage
from tests.support.histories import created, record

SHORT = 0.2


@contextmanager
def opened(engine: Engine) -> Iterator[Storage]:
    storage = open_storage(engine.url, wall_clock, Options(deadline=SHORT, connections=10))
    try:
        yield storage
    finally:
        storage.close()


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
