"""What one user asks of the service, and what the others feel of it: turns, charges, and what stays in memory."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from msgspec import structs

from es_goals import deciding
from es_goals.charges import HistoryBound, Work
from es_goals.deciding import Prepared, RejectedAt, Request
from es_goals.events import GoalCompleted, GoalCreated, GoalEvent, GoalScheduled, Instant, instant, moment
from es_goals.folded import GoalsCache
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    MoveGoal,
)
from es_goals.goals.rules import decide
from es_goals.reads.pool import FairPool
from es_goals.service import Outcome, Service
from es_goals.storage import writer as writer_module
from es_goals.storage.deadlines import Deadline, current
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Cause
from tests.support.engines import DEADLINE, NOW, Engine, FaultyLog, HandClock
from tests.support.limits import EVENTS_LIMIT, LIMITS

PATIENT = 60.0


class Charged:
    """Notes what users are charged for."""

    def __init__(self) -> None:
        self.works: list[tuple[str, Work]] = []

    def __call__(self, user: str, work: Work) -> None:
        self.works.append((user, work))

    def take(self) -> list[tuple[str, Work]]:
        """What was noted since the last time."""
        taken, self.works = self.works, []
        return taken


@contextmanager
def serving(log: FaultyLog, charged: Charged | None = None) -> Iterator[Service]:
    charge = charged or Charged()
    with FairPool(4, charge) as pool:
        service = Service(log.log, pool, 2**30, LIMITS, EVENTS_LIMIT, charge=charge)
        try:
            yield service
        finally:
            service.close()


@pytest.fixture
def log(engine: Engine) -> FaultyLog:
    return FaultyLog(engine.open(HandClock()).log)


def request(user: str, *commands: Command, key: str | None = None) -> Request:
    return Request(user, commands, Cause("a command", user), key, b"\x01" * 32, batch=len(commands) > 1)


def do(service: Service, user: str, *commands: Command) -> Outcome:
    return asyncio.run(service.execute(request(user, *commands)))


def at_once(service: Service, *requests: Request) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(service.execute(one) for one in requests), return_exceptions=True)

    return asyncio.run(all_of_them())


def own(goal_id: str, parent: str | None = None) -> CreateGoal:
    """Of an id that the client brings."""
    return CreateGoal(goal_id, goal_id, parent, brought=True)


# What stays in memory.


def test_a_batch_that_is_refused_half_way_leaves_the_users_goals_in_memory_as_they_were(log: FaultyLog) -> None:
    with serving(log) as service:
        do(service, "ann", own("a"), own("b", "a"))
        log.reads.clear()
        batches: list[list[Command]] = [
            [own("c"), MoveGoal("b", None), DeleteGoal("never")], [ChangeGoal("a", name="x"), own("a")],
        ]  # fmt: skip
        for refused in batches:
            with pytest.raises(RejectedAt):
                do(service, "ann", *refused)
        outcome = do(service, "ann", own("c", "b"), CompleteGoal("a", cascade=True))

    assert log.reads == []
    assert [(one.goal.id, one.goal.parent_id, one.goal.name, one.goal.revision) for one in outcome.results] == [
        ("c", "b", "c", 2), ("a", None, "a", 2),
    ]  # fmt: skip
    assert outcome.version == 6


def test_an_id_that_two_users_bring_at_once_is_refused_to_one_and_nobodys_goals_are_forgotten(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Any] = []
    monkeypatch.setattr(writer_module, "BATCH_SECONDS", PATIENT)
    monkeypatch.setattr(GoalsCache, "forget", lambda _, streams: forgotten.append(streams))
    with serving(log) as service:
        for user in ("ann", "bob", "eve"):
            do(service, user, own(f"first of {user}"))
        log.reads.clear()
        answers = at_once(service, *(request(user, own("the same")) for user in ("ann", "bob", "eve")))
        do(service, "eve", own("mine"))

    assert [type(one) for one in answers] == [Outcome, GoalExists, GoalExists]
    assert (log.reads, forgotten) == ([], [])


def test_of_a_batch_the_id_that_is_taken_is_named_whoever_has_it(log: FaultyLog) -> None:
    with serving(log) as service:
        do(service, "bob", own("taken"))
        do(service, "ann", own("a"))
        for commands in ([own("x"), own("taken")], [ChangeGoal("a", name="b"), own("a")], [own("y"), own("y")]):
            with pytest.raises(RejectedAt) as refused:
                do(service, "ann", *commands)
            assert (refused.value.index, type(refused.value.error)) == (1, GoalExists)
        with pytest.raises(GoalExists):
            do(service, "ann", own("taken"))

    assert log.head().position == 2


def test_a_repeat_reads_what_its_answer_shows_and_not_all_that_the_user_ever_did(log: FaultyLog) -> None:
    with serving(log) as service:
        do(service, "ann", *(own(f"{number}") for number in range(300)))
        for commands in ([own("x", "1")], [ChangeGoal("x", name="y"), own("z", "x")], [MoveGoal("x", None)]):
            first = asyncio.run(service.execute(request("ann", *commands, key=f"key {commands}")))
            do(service, "ann", ChangeGoal("x", name="another name"))
            log.reads.clear()
            again = asyncio.run(service.execute(request("ann", *commands, key=f"key {commands}")))

            assert structs.replace(again, replayed=False) == first
            assert "user:ann" not in log.reads


# What takes long is decided beside the writer.


@contextmanager
def slow(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> Iterator[threading.Event]:
    """Deciding about goals named slow waits for the gate where it is done in a reader's thread, and takes more than a
    slice of the writer's. Yields what tells that a reader waits."""
    begun = threading.Event()

    def slowly(goals: Any, command: Command, *more: Any) -> tuple[GoalEvent, ...]:
        if isinstance(command, CreateGoal) and command.name.startswith("slow"):
            if threading.current_thread().name == "writer":
                raise Interrupted("a slice is over")
            begun.set()
            assert gate.wait(DEADLINE)
        return decide(goals, command, *more)

    with monkeypatch.context() as patch:
        patch.setattr(deciding, "decide", slowly)
        yield begun


def in_turn(service: Service, begun: threading.Event, work: Callable[[], Any], late: Request) -> Outcome:
    """What the late request answers; the work is done while it is decided."""

    async def ask() -> Outcome:
        asked = asyncio.create_task(service.execute(late, Deadline.after(PATIENT)))
        assert await asyncio.to_thread(begun.wait, DEADLINE)
        await asyncio.to_thread(work)
        return await asked

    return asyncio.run(ask())


def test_while_a_long_batch_is_decided_others_commands_are_answered(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    batch = request("eve", own("slow 1"), own("under it", "slow 1"), CompleteGoal("under it"))
    with serving(log) as service, slow(monkeypatch, gate) as begun:

        def others() -> None:
            assert do(service, "ann", own("a")).position == 1
            gate.set()

        outcome = in_turn(service, begun, others, batch)

    assert (outcome.position, outcome.version, outcome.events) == (4, 3, 3)
    assert [line.stream for line in log.log.read()] == ["user:ann", "user:eve", "user:eve", "user:eve"]


def test_a_long_batch_whose_goals_were_changed_meanwhile_is_decided_anew_on_what_they_are_now(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    with serving(log) as service, slow(monkeypatch, gate) as begun:
        do(service, "eve", own("a"))

        def change() -> None:
            do(service, "eve", DeleteGoal("a"))
            gate.set()

        with pytest.raises(RejectedAt) as refused:
            in_turn(service, begun, change, request("eve", own("slow"), ChangeGoal("a", name="b")))

    assert (refused.value.index, type(refused.value.error)) == (1, GoalNotFound)
    assert log.head().position == 2


def test_an_id_that_was_taken_while_a_long_batch_was_decided_is_refused(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    with serving(log) as service, slow(monkeypatch, gate) as begun:

        def take() -> None:
            do(service, "bob", own("mine"))
            gate.set()

        with pytest.raises(RejectedAt) as refused:
            in_turn(service, begun, take, request("eve", own("slow"), own("mine")))

    assert (refused.value.index, type(refused.value.error)) == (1, GoalExists)
    assert log.log.streams() == ["user:bob"]


def test_what_is_decided_beside_the_writer_begins_when_it_is_recorded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, gate = HandClock(), threading.Event()
    log = FaultyLog(engine.open(clock).log)
    with serving(log) as service, slow(monkeypatch, gate) as begun:

        def wait() -> None:
            clock.now += 3_000_000
            gate.set()

        outcome = in_turn(service, begun, wait, request("eve", own("slow"), CompleteGoal("slow")))

    goal = outcome.results[0].goal
    assert goal.created_at == NOW + 3_000_000
    assert goal.start == goal.end == instant(moment(goal.created_at))
    assert {line.at for line in log.log.read()} == {goal.created_at}


@pytest.mark.parametrize(("second", "same"), [(-1, True), (0, True), (1, False), (2, False), (3, True)])
def test_where_a_time_that_was_given_has_come_meanwhile_it_is_decided_anew(second: int, same: bool) -> None:
    at = 1_700_000_000_000_000
    given = instant(moment(at + second * 1_000_000))
    events: list[GoalEvent] = [GoalCreated("a", "a", given, "V"), GoalScheduled("a", given), GoalCompleted("a", given)]
    for event in events:
        found = Prepared([event], 1, at).at_time(at + 2_000_000)

        assert (found is not None) == same


def test_only_what_nobody_gave_a_time_is_moved() -> None:
    at, now = 1_700_000_000_000_000, 1_700_000_000_500_000
    then, early = instant(moment(at)), Instant("2020-01-01T00:00:00Z")
    events: list[GoalEvent] = [
        GoalCreated("a", "a", then, "V"),
        GoalCompleted("a", then),
        GoalCreated("b", "b", early, "V"),
    ]

    assert Prepared(events, 1, at).at_time(now) == [
        GoalCreated("a", "a", instant(moment(now)), "V"), GoalCompleted("a", instant(moment(now))), events[2],
    ]  # fmt: skip


# Charges.


def seconds_of(works: Sequence[tuple[str, Work]], user: str) -> float:
    return sum(work.seconds for one, work in works if one == user)


def test_time_is_charged_to_who_asks_whether_it_is_recorded_refused_tried_or_a_repeat(log: FaultyLog) -> None:
    charged = Charged()
    several: list[Command] = [own(f"{number}") for number in range(300)]
    renamed: list[Command] = [ChangeGoal(f"{number}", name="x") for number in range(300)]
    with serving(log, charged) as service:
        do(service, "ann", *several)
        recorded = charged.take()
        with pytest.raises(RejectedAt):
            do(service, "ann", *renamed, DeleteGoal("never"))
        refused = charged.take()
        asyncio.run(service.dry_run(request("ann", CompleteGoal("1")), NOW, Deadline.after(PATIENT)))
        tried = charged.take()
        for _ in range(2):
            asyncio.run(service.execute(request("ann", CompleteGoal("1"), key="k")))
        repeated = charged.take()

    assert all(seconds_of(works, "ann") > 0 for works in (recorded, refused, tried, repeated))
    assert seconds_of(refused, "ann") > seconds_of(recorded, "ann") / 10
    assert sum(work.events for _, work in recorded) == 300
    assert sum(work.events for _, work in [*refused, *tried]) == 0
    assert {user for user, _ in [*recorded, *refused, *tried, *repeated]} == {"ann"}


def test_bytes_are_charged_with_their_reason_and_key(log: FaultyLog) -> None:
    charged = Charged()
    with serving(log, charged) as service:
        do(service, "ann", own("a"))
        small = sum(work.size for _, work in charged.take())
        cause = Cause("another command", "ann", "w" * 1_000)
        asyncio.run(service.execute(Request("ann", [own("b")], cause, "k" * 200, b"\x01" * 32)))
        large = sum(work.size for _, work in charged.take())

    assert 200 < small < 600
    assert large - small > 1_200


@contextmanager
def bounded(log: FaultyLog, history: int) -> Iterator[Service]:
    bound = HistoryBound(history)
    with FairPool(4) as pool, closing(Service(log.log, pool, 2**30, LIMITS, EVENTS_LIMIT, history=bound)) as service:
        yield service


def test_a_history_is_as_long_as_it_may_be_and_operators_are_warned_before(
    log: FaultyLog, capsys: pytest.CaptureFixture[str]
) -> None:
    with bounded(log, 4_000) as service:
        for number in range(20):
            try:
                do(service, "ann", own(f"{number}"))
            except LimitReached as reached:
                refused = str(reached)
                break
        do(service, "bob", own("of bob"))
    with bounded(log, 4_000) as later, pytest.raises(LimitReached):
        do(later, "ann", own("after a restart"))

    assert "expected at most 4000 bytes of history of one user; found 4" in refused
    assert 10 <= number <= 16
    assert capsys.readouterr().out.count("history_nearly_full") == 1


def test_what_a_client_that_went_away_asked_for_ends_and_is_charged() -> None:
    charged, begun, ended = Charged(), threading.Event(), threading.Event()

    def read() -> None:
        begun.set()
        try:
            while True:
                current().check()
        finally:
            ended.set()

    async def leave(pool: FairPool) -> None:
        asked = asyncio.create_task(pool.run(read, Deadline.after(PATIENT), "ann"))
        assert await asyncio.to_thread(begun.wait, DEADLINE)
        asked.cancel()
        assert await asyncio.to_thread(ended.wait, DEADLINE)

    with FairPool(2, charged) as pool:
        asyncio.run(leave(pool))

    assert seconds_of(charged.works, "ann") > 0
