"""The service: each command decided once, on the newest goals, and answered the same way ever after."""

import asyncio
import copy
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec import structs

from es_goals import deciding
from es_goals.deciding import Changed, Expected, RejectedAt, Request
from es_goals.events import GoalEvent, UserRegistered, instant, moment
from es_goals.folded import GOAL_BYTES
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    Limits,
    MoveGoal,
    Named,
    ReopenGoal,
    RestoreGoal,
    UnderItself,
)
from es_goals.goals.outcome import Result
from es_goals.goals.rules import decide
from es_goals.goals.state import Goal, Goals, evolve
from es_goals.reads.pool import FairPool
from es_goals.service import KeyReused, Outcome, Registered, Service
from es_goals.storage import deadlines
from es_goals.storage import writer as writer_module
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted, OutcomeUnknown, StorageError, StorageFull, UserNameTaken
from es_goals.storage.log import Cause, Head, Log, User, all_lines
from es_goals.values import InvalidValue, Rejected
from tests.support.engines import NOW, Engine, FaultyLog, HandClock, wait_until
from tests.support.limits import EVENTS_LIMIT, LIMITS, limited

CAUSE = Cause("command-1", "ann", "because")
DIGEST, OTHER_DIGEST = b"\x01" * 32, b"\x02" * 32
ROOMY = 2**30
"""Bytes, of which no test uses up as many."""


@contextmanager
def serving(
    log: Log, cache: int = ROOMY, limits: Limits = LIMITS, events: int = EVENTS_LIMIT, **told: Any
) -> Iterator[Service]:
    with FairPool(4) as pool:
        service = Service(log, pool, cache, limits, events, **told)
        try:
            yield service
        finally:
            service.close()


@pytest.fixture
def log(engine: Engine) -> FaultyLog:
    return FaultyLog(engine.open().log)


@pytest.fixture
def service(log: FaultyLog) -> Iterator[Service]:
    with serving(log.log) as service:
        yield service


@pytest.fixture
def other(engine: Engine) -> Iterator[Service]:
    """Another process's service on the same database."""
    with serving(engine.open().log) as service:
        yield service


def request(
    user: str, *commands: Command, key: str | None = None, digest: bytes = DIGEST, expected: Expected | None = None
) -> Request:
    return Request(user, commands, CAUSE, key, digest, expected)


def run(service: Service, request: Request) -> Outcome:
    return asyncio.run(service.execute(request))


def do(service: Service, user: str, *commands: Command) -> Outcome:
    return run(service, request(user, *commands))


Answer = Outcome | BaseException


async def _at_once(requests: Sequence[tuple[Service, Request]]) -> list[Answer]:
    return await asyncio.gather(*(service.execute(one) for service, one in requests), return_exceptions=True)


def at_once(*requests: tuple[Service, Request]) -> list[Answer]:
    """The answers or errors, in order, of requests that are all under way together."""
    return asyncio.run(_at_once(requests))


def new(goal_id: str, parent: str | None = None) -> CreateGoal:
    return CreateGoal(goal_id, f"goal {goal_id}", parent)


def rename(goal_id: str, name: str) -> ChangeGoal:
    return ChangeGoal(goal_id, name=name)


def folded(log: Log, user: str, until: int | None = None) -> Goals:
    goals = Goals()
    for line in all_lines(log, stream=f"user:{user}"):
        if until is None or line.position <= until:
            evolve(goals, cast(GoalEvent, line.event), line.at)
    return goals


def once(outcome: Answer) -> Outcome:
    """The outcome, whether it was answered for the first time or not."""
    assert isinstance(outcome, Outcome), outcome
    return structs.replace(outcome, replayed=False)


# What is answered.


def test_a_command_is_recorded_with_its_cause_and_answered_with_its_goal(engine: Engine) -> None:
    log = engine.open(HandClock(NOW)).log
    with serving(log) as service:
        outcome = do(service, "ann", CreateGoal("run", "Run"))

    (line,) = log.read()
    event = line.event
    rank = folded(log, "ann").known["run"].rank
    goal = Goal("run", None, "Run", None, instant(NOW), None, rank, NOW, NOW)
    assert outcome == Outcome(1, 1, [Result(goal)], events=1, command="command-1")
    assert structs.astuple(line)[:9] == (
        1, "user:ann", 1, "GoalCreated", "run", NOW, "ann", "command-1", "because"
    )  # fmt: skip
    assert isinstance(event, GoalEvent)


def test_a_command_that_changes_nothing_is_answered_as_of_the_users_last_event(service: Service) -> None:
    do(service, "ann", new("run"))
    do(service, "bob", new("swim"))
    outcome = do(service, "ann", rename("run", "goal run"))

    assert (outcome.position, outcome.version, outcome.results[0].goal.revision) == (1, 1, 1)


def test_deleting_and_completing_count_what_they_touched(service: Service) -> None:
    do(service, "ann", new("top"), new("left", "top"), new("right", "top"), new("leaf", "left"))
    completed = do(service, "ann", CompleteGoal("left"))
    cascaded = do(service, "ann", CompleteGoal("left", cascade=True))
    deleted = do(service, "ann", DeleteGoal("top"))

    assert completed.results[0].open_sub_goals == 1
    assert cascaded.results[0].open_sub_goals == 0
    assert (deleted.results[0].deleted, deleted.version, deleted.position) == (4, 10, 10)


def test_an_answer_does_not_change_with_the_goals(service: Service) -> None:
    first = do(service, "ann", new("run"))
    do(service, "ann", rename("run", "other"))

    assert first.results[0].goal.name == "goal run"


def test_a_goal_is_unknown_to_everybody_but_its_user(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("run"))
    for command in (rename("run", "mine"), DeleteGoal("run"), new("sub", "run"), MoveGoal("run", None)):
        with pytest.raises(GoalNotFound):
            do(service, "bob", command)

    assert log.head().position == 1


def test_an_id_that_another_user_gave_to_a_goal_is_taken(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("run"), new("gone"))
    do(service, "ann", DeleteGoal("gone"))
    for goal_id in ("run", "gone"):
        for user in ("ann", "bob"):
            with pytest.raises(GoalExists, match=goal_id):
                do(service, user, new(goal_id))

    assert do(service, "bob", new("swim")).version == 1
    assert log.streams() == ["user:ann", "user:bob"]


# Commands are recorded once.


def test_a_repeat_with_the_same_key_is_answered_again_and_not_done_again(service: Service, log: FaultyLog) -> None:
    first = run(service, request("ann", new("run"), key="k"))
    second = run(service, request("ann", new("another id"), key="k"))

    assert (first.replayed, second.replayed) == (False, True)
    assert once(second) == first
    assert log.head().position == 1


def test_a_repeat_is_answered_as_of_the_first_time_whatever_came_after(service: Service) -> None:
    do(service, "ann", new("top"), new("left", "top"))
    requests = [
        request("ann", new("leaf", "left"), key="create"),
        request("ann", rename("leaf", "first"), key="rename"),
        request("ann", CompleteGoal("top"), key="complete"),
        request("ann", DeleteGoal("left"), key="delete"),
        request("ann", RestoreGoal("left"), key="restore"),
        request("ann", MoveGoal("leaf", None), new("more"), rename("more", "less"), key="batch"),
    ]
    firsts = [run(service, one) for one in requests]
    do(service, "ann", rename("leaf", "second"))
    do(service, "ann", ReopenGoal("top"))
    do(service, "ann", DeleteGoal("top"))
    do(service, "ann", DeleteGoal("leaf"))

    assert [once(run(service, one)) for one in requests] == firsts
    assert firsts[3].results[0].deleted == 2


def test_a_repeat_after_a_restart_is_answered_the_same(engine: Engine) -> None:
    first_storage = engine.open()
    with serving(first_storage.log) as service:
        do(service, "ann", new("top"))
        first = run(service, request("ann", new("run", "top"), key="k"))
        do(service, "ann", rename("run", "later"))
    first_storage.close()

    log = engine.open().log
    with serving(log) as service:
        again = run(service, request("ann", new("run", "top"), key="k"))
        assert again.replayed
        assert once(again) == first
    assert log.head().position == 3


def test_a_key_with_another_request_is_refused(service: Service, log: FaultyLog) -> None:
    run(service, request("ann", new("run"), key="k"))
    with pytest.raises(KeyReused, match="'k'"):
        run(service, request("ann", new("swim"), key="k", digest=OTHER_DIGEST))

    assert log.head().position == 1


def test_keys_of_different_users_do_not_meet(service: Service, log: FaultyLog) -> None:
    ann = run(service, request("ann", new("run"), key="k"))
    bob = run(service, request("bob", new("swim"), key="k", digest=OTHER_DIGEST))

    assert not ann.replayed
    assert not bob.replayed
    assert [line.subject for line in log.read()] == ["run", "swim"]


@pytest.mark.parametrize("services", [1, 2], ids=["one process", "two processes"])
def test_one_command_five_times_at_once_is_one_append_and_one_answer(
    service: Service, other: Service, log: FaultyLog, services: int
) -> None:
    do(service, "ann", new("top"))
    for attempt in range(10):
        key = f"k{attempt}"
        answers = at_once(
            *(
                ((service, other)[number % services], request("ann", new(f"{attempt}-{number}", "top"), key=key))
                for number in range(5)
            )
        )

        assert [once(answer) for answer in answers] == [once(answers[0])] * 5
        assert sorted(cast(Outcome, answer).replayed for answer in answers) == [False, True, True, True, True]
        assert log.head().position == 2 + attempt


def test_of_different_requests_with_one_key_at_once_one_is_taken(service: Service, log: FaultyLog) -> None:
    answers = at_once(*((service, request("ann", new(f"goal-{n}"), key="k", digest=bytes([n] * 32))) for n in range(4)))

    assert sorted(type(answer).__name__ for answer in answers) == ["KeyReused"] * 3 + ["Outcome"]
    assert log.head().position == 1


def test_a_refused_command_is_not_remembered(service: Service, log: FaultyLog) -> None:
    with pytest.raises(GoalNotFound):
        run(service, request("ann", rename("run", "Run"), key="k"))
    do(service, "ann", new("run"))
    outcome = run(service, request("ann", rename("run", "Run"), key="k"))

    assert not outcome.replayed
    assert log.head().position == 2


def test_a_command_that_recorded_nothing_is_remembered_too(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("run"))
    nothing = run(service, request("ann", rename("run", "goal run"), key="k"))
    do(service, "ann", rename("run", "other"))
    again = run(service, request("ann", rename("run", "goal run"), key="k"))

    assert once(again) == nothing
    assert (nothing.position, nothing.events, nothing.replayed) == (1, 0, False)
    assert log.head().position == 2


def test_a_repeat_is_recognised_before_the_revision_and_the_rules_are_judged(service: Service) -> None:
    do(service, "ann", new("run"))
    command = request("ann", DeleteGoal("run"), key="k", expected=Expected("run", frozenset([1])))
    first = run(service, command)

    assert once(run(service, command)) == first


# What the client last saw.


def test_a_command_is_taken_only_at_a_revision_that_the_client_named(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("run"), new("swim"))
    for revisions, taken in (([1], True), ([1], False), ([7, 2], True), ([], False), ([4], False), ([3], True)):
        expected = Expected("run", frozenset(revisions))
        command = request("ann", rename("run", f"name {log.head().position}"), expected=expected)
        if taken:
            assert run(service, command).results[0].goal.revision == max(revisions[-1] + 1, 2)
        else:
            with pytest.raises(Changed, match=r"expected the goal at revision .*; found"):
                run(service, command)

    assert log.head().position == 5


def test_a_command_is_taken_only_at_a_version_of_all_goals_that_the_client_named(
    service: Service, log: FaultyLog
) -> None:
    do(service, "ann", new("run"), new("swim"))
    do(service, "bob", new("fly"))
    with pytest.raises(Changed, match="expected the user's goals at version 1 or 3; found 2"):
        run(service, request("ann", rename("run", "x"), expected=Expected(None, frozenset([3, 1]))))
    outcome = run(service, request("ann", rename("run", "x"), expected=Expected(None, frozenset([2]))))

    assert outcome.version == 3
    assert log.head().position == 4


def test_a_revision_of_a_goal_that_never_was_is_not_found(service: Service) -> None:
    with pytest.raises(GoalNotFound):
        run(service, request("ann", new("swim"), expected=Expected("never", frozenset([1]))))


def test_a_restore_may_name_the_revision_of_the_deleted_goal(service: Service) -> None:
    do(service, "ann", new("run"))
    do(service, "ann", DeleteGoal("run"))

    with pytest.raises(Changed):
        run(service, request("ann", RestoreGoal("run"), expected=Expected("run", frozenset([1]))))
    restored = run(service, request("ann", RestoreGoal("run"), expected=Expected("run", frozenset([2]))))
    assert restored.results[0].goal.revision == 3


def test_of_changes_to_one_revision_at_once_one_is_taken(service: Service, other: Service, log: FaultyLog) -> None:
    do(service, "ann", new("run"))
    for revision in range(1, 21):
        expected = Expected("run", frozenset([revision]))
        answers = at_once(
            *(
                (one, request("ann", rename("run", f"{revision} {number}"), expected=expected))
                for number, one in enumerate((service, other, service))
            )
        )

        assert sorted(type(answer).__name__ for answer in answers) == ["Changed", "Changed", "Outcome"]
    assert log.head().position == 21


# Batches.


def test_each_command_of_a_batch_is_decided_on_what_those_before_it_left(service: Service, log: FaultyLog) -> None:
    outcome = do(
        service,
        "ann",
        new("top"),
        new("sub", "top"),
        rename("sub", "renamed"),
        rename("sub", "renamed"),
        MoveGoal("sub", None),
        DeleteGoal("top"),
    )

    assert [line.type for line in log.read()] == [
        "GoalCreated", "GoalCreated", "GoalRenamed", "GoalMoved", "GoalDeleted"
    ]  # fmt: skip
    assert {line.command for line in log.read()} == {CAUSE.command}
    assert (outcome.position, outcome.version) == (5, 5)
    assert [result.goal.id for result in outcome.results] == ["top", "sub", "sub", "sub", "sub", "top"]
    assert {result.goal.revision for result in outcome.results[1:5]} == {3}


@pytest.mark.parametrize(
    ("index", "batch", "kind"),
    [
        (0, [rename("never", "x"), new("b")], GoalNotFound),
        (1, [new("b"), new("c", "never")], GoalNotFound),
        (2, [new("b"), new("c", "b"), MoveGoal("b", "c"), new("d")], UnderItself),
        (3, [new("b"), rename("run", "x"), DeleteGoal("run"), rename("run", "y")], GoalNotFound),
        (1, [DeleteGoal("run"), new("b"), new("b")][1:], GoalExists),
        (2, [new("b"), DeleteGoal("run"), CreateGoal("c", "")], InvalidValue),
    ],
)
def test_a_batch_with_a_refused_command_leaves_nothing_and_says_which(
    service: Service, log: FaultyLog, index: int, batch: list[Command], kind: type[Rejected]
) -> None:
    do(service, "ann", new("run"))
    with pytest.raises(RejectedAt) as refused:
        run(service, request("ann", *batch, key="k"))
    after = do(service, "ann", new("b"))

    assert (refused.value.index, type(refused.value.error)) == (index, kind)
    assert (after.position, after.version) == (2, 2)
    assert log.log.stored_key("user:ann", "k") is None
    assert folded(log.log, "ann").known["run"].name == "goal run"


def test_a_batch_with_an_id_that_another_user_has_says_which(service: Service, log: FaultyLog) -> None:
    do(service, "bob", new("taken"))
    with pytest.raises(RejectedAt) as refused:
        do(service, "ann", new("a"), rename("a", "x"), new("taken"), new("b"))

    assert (refused.value.index, type(refused.value.error)) == (2, GoalExists)
    assert do(service, "ann", new("a"), new("b")).version == 2
    assert log.head().position == 3


def test_a_refused_batch_harms_no_other_command_under_way(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("top"))
    batch = request("ann", new("x", "top"), new("y", "x"), DeleteGoal("never"))
    answers = at_once(
        (service, request("ann", new("a", "top"))),
        (service, batch),
        (service, request("ann", rename("a", "after"))),
        (service, batch),
        (service, request("bob", new("b"))),
        (service, request("ann", new("x", "a"))),
    )

    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Outcome", "RejectedAt", "Outcome", "RejectedAt", "Outcome", "Outcome"]
    assert [line.subject for line in log.log.read(stream="user:ann")] == ["top", "a", "a", "x"]
    assert log.log.owner("b") == "bob"
    assert cast(Outcome, answers[5]).results[0].goal == folded(log.log, "ann").known["x"]


# Registrations.


def register(service: Service, user: User, key: str | None = None, digest: bytes = DIGEST) -> Registered:
    return asyncio.run(service.register(user, CAUSE, key, digest))


def test_a_registration_is_an_event_and_a_user(engine: Engine) -> None:
    log = engine.open(HandClock(NOW)).log
    with serving(log) as service:
        registered = register(service, User("u1", "Ann", "ann@example.org", 0))

    assert registered == Registered(User("u1", "Ann", "ann@example.org", NOW), 1)
    assert log.users() == [registered.user]
    assert [(line.stream, line.event) for line in log.read()] == [("account:u1", UserRegistered("u1"))]


def test_a_user_name_that_is_taken_is_refused_and_nothing_recorded(service: Service, log: FaultyLog) -> None:
    register(service, User("u1", "Ann", None, 0))
    with pytest.raises(UserNameTaken):
        register(service, User("u2", "ANN", None, 0), key="k")

    assert (log.head().position, len(log.log.users())) == (1, 1)
    assert not register(service, User("u2", "Bob", None, 0), key="k").replayed


def test_a_registration_repeated_with_its_key_makes_one_user(service: Service, engine: Engine) -> None:
    first = register(service, User("u1", "Ann", None, 0), key="k")
    again = register(service, User("u2", "Ann", None, 0), key="k")
    with serving(engine.open().log) as restarted:
        later = register(restarted, User("u3", "Ann", None, 0), key="k")
    with pytest.raises(KeyReused):
        register(service, User("u4", "Eve", None, 0), key="k", digest=OTHER_DIGEST)

    assert (first.replayed, again.replayed, later.replayed) == (False, True, True)
    assert first.user == again.user == later.user
    assert not run(service, request("u1", new("run"), key="k", digest=OTHER_DIGEST)).replayed


# Commits that fail.


def test_after_a_full_disk_the_goals_are_as_if_the_command_had_never_come(service: Service, log: FaultyLog) -> None:
    do(service, "ann", new("top"))
    log.trouble = StorageFull("no space is left")
    refused = at_once(
        (service, request("ann", new("run", "top"), key="k")),
        (service, request("ann", DeleteGoal("top"))),
        (service, request("bob", new("swim"))),
    )
    log.trouble = None

    assert [type(answer) for answer in refused] == [StorageFull] * 3
    assert run(service, request("ann", new("run", "top"), key="k")).version == 2
    assert do(service, "bob", new("swim")).version == 1
    assert [line.subject for line in log.read()] == ["top", "run", "swim"]


@contextmanager
def in_doubt(log: FaultyLog, kept: bool) -> Iterator[tuple[Service, list[bool]]]:
    """A service whose commit of Ann's command under the key "k" has failed, and how often it said that it must end."""
    ended: list[bool] = []
    with (
        FairPool(1) as pool,
        closing(Service(log.log, pool, ROOMY, LIMITS, EVENTS_LIMIT, failed=lambda: ended.append(True))) as own,
    ):
        do(own, "ann", new("top"))
        log.trouble, log.kept = OutcomeUnknown("the commit failed"), kept
        with pytest.raises(OutcomeUnknown):
            run(own, request("ann", new("run", "top"), key="k"))
        yield own, ended


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_a_retry_with_the_same_key_settles_an_unknown_outcome(log: FaultyLog, engine: Engine, kept: bool) -> None:
    with in_doubt(log, kept) as (service, ended):
        wait_until(lambda: ended == [True])
        log.trouble = None
        with pytest.raises(StorageError):
            do(service, "ann", new("refused"))
    with serving(engine.open().log) as restarted:
        settled = run(restarted, request("ann", new("run", "top"), key="k"))

    assert (settled.replayed, settled.version) == (kept, 2)
    assert [line.subject for line in log.read()] == ["top", "run"]


@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_where_the_log_resumes_the_same_process_settles_an_unknown_outcome(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr(writer_module, "PROBE_SECONDS", 0.01)
    log.survives_unknown_commit = True
    with in_doubt(log, kept) as (service, ended):
        with pytest.raises(StorageError):
            do(service, "ann", new("refused"))
        log.trouble = None
        wait_until(lambda: service.writer.trouble is None)
        settled = run(service, request("ann", new("run", "top"), key="k"))
        renamed = do(service, "ann", rename("run", "Run"))

    assert (settled.replayed, settled.version, renamed.version) == (kept, 2, 3)
    assert [line.subject for line in log.read()] == ["top", "run", "run"]
    assert ended == []


def test_repeats_are_refused_too_until_a_commit_works(service: Service, engine: Engine) -> None:
    """What a failed commit left behind may be in the log that is read, and not yet on disk."""
    first = run(service, request("ann", new("run"), key="k"))
    broken = FaultyLog(engine.open().log)
    broken.trouble = StorageFull("no space is left")
    with serving(broken.log) as restarted:
        for key in ("k", "k2"):
            with pytest.raises(StorageFull):
                run(restarted, request("ann", new("run"), key=key))
        broken.trouble = None
        wait_until(lambda: restarted.writer.trouble is None)
        again = run(restarted, request("ann", new("run"), key="k"))

    assert once(again) == first


# The clock.


def test_goals_keep_their_order_whatever_the_clock_does(engine: Engine) -> None:
    clock = HandClock()
    log = engine.open(clock).log
    day, year_2038 = 86_400_000_000, 2_147_483_648_000_000
    told = [NOW, NOW - day, 0, NOW + 5, year_2038 - 1, year_2038, NOW, year_2038 + 36_525 * day, year_2038]
    with serving(log) as service:
        outcomes = []
        for number, clock.now in enumerate(told):
            outcomes.append(do(service, "ann", new(f"goal-{number}")))
            outcomes.append(do(service, "ann", CompleteGoal(f"goal-{number}")))

    latest = [at for at in itertools.accumulate(told, max) for _ in range(2)]
    assert [outcome.position for outcome in outcomes] == list(range(1, len(outcomes) + 1))
    assert [line.at for line in log.read()] == latest
    goals = [outcome.results[0].goal for outcome in outcomes]
    assert [goal.updated_at for goal in goals] == latest
    assert [goal.start for goal in goals] == [instant(at) for at in latest]
    assert [goal.end for goal in goals[1::2]] == [instant(at) for at in latest[1::2]]


# The cache.


def users_folded(log: FaultyLog) -> list[str]:
    """Whose goals were read anew since the last time that was asked."""
    found = [stream.removeprefix("user:") for stream in log.reads if stream is not None]
    log.reads.clear()
    return list(dict.fromkeys(found))


def test_goals_are_kept_in_memory_up_to_the_bound_longest_unused_forgotten_first(
    log: FaultyLog, engine: Engine
) -> None:
    with serving(engine.open().log) as filling:
        for user in "abcde":
            do(filling, user, *(new(f"{user}{number}") for number in range(3)))
    with serving(log.log, 13 * GOAL_BYTES) as service:  # a user counts as one goal more
        users_folded(log)
        names = itertools.count()

        def used(user: str) -> list[str]:
            do(service, user, rename(f"{user}0", f"{next(names)}"))
            return users_folded(log)

        assert [used(user) for user in "abc"] == [["a"], ["b"], ["c"]]
        assert [used(user) for user in "abc"] == [[], [], []]
        assert used("d") == ["d"]  # a is forgotten
        assert [used(user) for user in "bcd"] == [[], [], []]
        assert used("a") == ["a"]


def test_commands_that_record_nothing_keep_to_the_bound_too(log: FaultyLog, engine: Engine) -> None:
    users = [f"user-{number}" for number in range(20)]
    with serving(engine.open().log) as filling:
        for user in users:
            do(filling, user, *(new(f"{user} {number}") for number in range(5)))
    with serving(log.log, 10 * GOAL_BYTES) as service:
        for user in users:
            with pytest.raises(GoalNotFound):
                do(service, user, DeleteGoal("never"))
        users_folded(log)
        with pytest.raises(GoalNotFound):
            do(service, users[0], DeleteGoal("never"))

        assert users_folded(log) == [users[0]]


def test_a_user_with_more_goals_than_the_bound_is_served_from_memory_all_the_same(log: FaultyLog) -> None:
    with serving(log.log, 3 * GOAL_BYTES) as service:
        do(service, "ann", *(new(f"goal-{number}") for number in range(10)))
        users_folded(log)
        for number in range(10):
            do(service, "ann", rename(f"goal-{number}", "x"))

        assert users_folded(log) == []


def test_what_another_process_appends_is_known_to_the_next_decision(service: Service, other: Service) -> None:
    do(service, "ann", new("run"))
    do(other, "ann", rename("run", "by the other"))
    outcome = do(service, "ann", new("sub", "run"))
    do(other, "ann", DeleteGoal("run"))
    with pytest.raises(GoalNotFound):
        do(service, "ann", rename("run", "x"))

    assert outcome.version == 3
    assert do(service, "ann", RestoreGoal("run")).results[0].goal.name == "by the other"


def some_command(random: random.Random, count: int, known: Sequence[str]) -> Command:
    """Any command on any goal, often one that the rules refuse."""

    def goal() -> str:
        return random.choice(known) if known and random.random() < 0.95 else "never"

    def place() -> str | None:
        return goal() if random.random() < 0.7 else None

    match random.randrange(12):
        case 0 | 1 | 2 | 3:
            goal_id = goal() if random.random() < 0.1 else f"goal-{count}"
            return CreateGoal(goal_id, f"name {random.randrange(5)}", place(), unique=random.random() < 0.1)
        case 4:
            return ChangeGoal(goal(), name=f"name {random.randrange(5)}", description=random.choice([None, "text"]))
        case 5:
            due = moment(NOW) + timedelta(days=random.randrange(-3, 3))
            return ChangeGoal(goal(), start=moment(NOW), due=random.choice([None, due]))
        case 6:
            return CompleteGoal(goal(), cascade=random.random() < 0.5)
        case 7:
            return ReopenGoal(goal())
        case 8 | 9:
            return MoveGoal(goal(), place(), before=goal() if random.random() < 0.2 else None)
        case 10:
            return DeleteGoal(Named(f"name {random.randrange(5)}") if random.random() < 0.3 else goal())
        case _:
            return RestoreGoal(goal())


class Model:
    """What the rules alone say about each user's goals."""

    def __init__(self) -> None:
        self.goals: dict[str, Goals] = {}
        self.taken: set[str] = set()

    def of(self, user: str) -> Goals:
        return self.goals.setdefault(user, Goals())

    def execute(self, user: str, commands: Sequence[Command], at: int) -> type[Exception] | None:
        """What the service must raise; None if it must do as is told."""
        goals, had = copy.deepcopy(self.of(user)), set(self.of(user).known)
        try:
            for command in commands:
                for event in decide(goals, command, moment(at), LIMITS):
                    evolve(goals, event, at)
        except Rejected as error:
            return RejectedAt if len(commands) > 1 else type(error)
        made = goals.known.keys() - had
        if made & self.taken:
            return GoalExists
        self.taken |= made
        self.goals[user] = goals
        return None


@pytest.mark.parametrize(("seed", "cache"), [(1, ROOMY), (2, ROOMY), (3, 12 * GOAL_BYTES), (4, 12 * GOAL_BYTES)])
def test_two_services_that_take_turns_decide_as_the_rules_do_on_all_that_was_recorded(
    engine: Engine, seed: int, cache: int
) -> None:
    chance, clock, model = random.Random(seed), HandClock(), Model()  # noqa: S311
    log = engine.open(clock).log
    with serving(log, cache) as one, serving(engine.open(clock).log, cache) as two:
        for count in range(250):
            user = chance.choice(["ann", "bob", "eve"])
            clock.now += 1000
            known = list(model.of(user).known)
            commands = [
                some_command(chance, 10 * count + number, known) for number in range(chance.choice([1, 1, 1, 3]))
            ]
            if chance.random() < 0.03:
                commands = [new(chance.choice(sorted(model.taken) or ["first"]))]
            expected = model.execute(user, commands, clock.now)
            (answer,) = at_once((chance.choice([one, two]), request(user, *commands)))

            if expected is not None:
                assert type(answer) is expected, (commands, answer)
                continue
            assert isinstance(answer, Outcome), (commands, answer)
            goals = model.of(user)
            assert answer.version == goals.version
            assert [result.goal for result in answer.results] == [goals.known[one.goal.id] for one in answer.results]

    for user, goals in model.goals.items():
        assert folded(log, user) == goals
        check_forests(log, user)


@pytest.mark.parametrize("cache", [ROOMY, 8 * GOAL_BYTES])
def test_every_answer_of_two_services_at_once_is_what_the_log_says_at_its_position(engine: Engine, cache: int) -> None:
    chance, log = random.Random(7), engine.open().log  # noqa: S311
    answers: list[tuple[str, Outcome]] = []
    known: dict[str, list[str]] = {"ann": [], "bob": [], "eve": []}
    with serving(log, cache) as one, serving(engine.open().log, cache) as two:
        for turn in range(40):
            users = [chance.choice(list(known)) for _ in range(8)]
            requests = [
                request(user, some_command(chance, 100 * turn + number, known[user]))
                for number, user in enumerate(users)
            ]
            outcomes = at_once(*((chance.choice([one, two]), one_request) for one_request in requests))
            for user, outcome in zip(users, outcomes, strict=True):
                assert isinstance(outcome, Outcome | Rejected), outcome
                if isinstance(outcome, Outcome):
                    answers.append((user, outcome))
                    known[user] += [result.goal.id for result in outcome.results if result.goal.revision == 1]

    recorded = [(user, outcome) for user, outcome in answers if outcome.results]
    assert len(recorded) > 100
    for user, outcome in recorded:
        goals = folded(log, user, outcome.position)
        assert outcome.version == goals.version
        for result in outcome.results:
            assert result.goal == goals.known[result.goal.id]


# Crossing commands.


def check_forests(log: Log, user: str) -> None:
    """At every position: each goal that is not deleted reaches the top through goals that are not deleted."""
    goals = Goals()
    for line in all_lines(log, stream=f"user:{user}"):
        evolve(goals, cast(GoalEvent, line.event), line.at)
        if line.type == "GoalDeleted" or line.type == "GoalRestored":
            continue  # a deletion is several events, children first
        for goal in goals.known.values():
            if goal.root is not None:
                continue
            above, seen = goal, set[str]()
            while above.parent_id is not None:
                assert above.id not in seen, f"position {line.position}: a cycle at {above.id}"
                seen.add(above.id)
                above = goals.known[above.parent_id]
                assert above.root is None, f"position {line.position}: {goal.id} is below a deleted goal"


CROSSING: dict[str, tuple[list[Command], list[Command]]] = {
    "a pair": ([new("{}a"), new("{}b")], [MoveGoal("{}a", "{}b"), MoveGoal("{}b", "{}a")]),
    "a ring of three": (
        [new("{}a"), new("{}b"), new("{}c")],
        [MoveGoal("{}a", "{}b"), MoveGoal("{}b", "{}c"), MoveGoal("{}c", "{}a")],
    ),
    "under a parent that goes": ([new("{}a"), new("{}b", "{}a")], [DeleteGoal("{}b"), new("{}c", "{}b")]),
}


def named(command: Command, prefix: str) -> Command:
    """The command with its goals of this round."""
    fields = structs.asdict(command)
    return structs.replace(command, **{
        name: value.format(prefix) for name, value in fields.items() if isinstance(value, str) and name != "name"
    })  # fmt: skip


@pytest.mark.parametrize("crossing", CROSSING)
def test_crossing_commands_of_two_processes_leave_a_forest_and_one_of_them_is_refused(
    service: Service, other: Service, log: FaultyLog, crossing: str
) -> None:
    before, commands = CROSSING[crossing]
    endings = set[frozenset[Command]]()
    for turn in range(60):
        user, prefix = f"user-{turn // 10}", f"{turn}-"
        services = (service, other) if turn % 2 else (other, service)
        do(services[0], user, *(named(command, prefix) for command in before))
        order = commands if turn % 4 < 2 else commands[::-1]
        answers = at_once(
            *(
                (one, request(user, named(command, prefix)))
                for one, command in zip(itertools.cycle(services), order, strict=False)
            )
        )
        refused = [answer for answer in answers if not isinstance(answer, Outcome)]

        if crossing == "under a parent that goes":
            # The child came first and was deleted too, or it came too late.
            goals = folded(log.log, user)
            child = goals.known.get(f"{prefix}c")
            assert (child is None) == (len(refused) == 1)
            assert child is None or child.root == f"{prefix}b"
            assert [type(error) for error in refused] in ([], [GoalNotFound])
        else:
            assert [type(error) for error in refused] == [UnderItself]
        endings.add(frozenset(command for command, answer in zip(order, answers, strict=True) if answer in refused))

    for user in log.streams():
        check_forests(log.log, user.removeprefix("user:"))
    assert len(endings) > 1


def test_a_refused_command_of_a_user_without_goals_leaves_no_trace(service: Service, log: FaultyLog) -> None:
    with pytest.raises(GoalNotFound):
        do(service, "nobody", DeleteGoal("never"))

    assert (log.head(), log.streams()) == (Head(), [])


# Limits.


TREE = [new("a"), new("b", "a"), new("c", "a")]


def test_a_request_may_cause_as_many_events_as_the_limit(log: FaultyLog) -> None:
    with serving(log.log, events=3) as service:
        assert len(do(service, "ann", *TREE).results) == 3
        assert do(service, "ann", CompleteGoal("a", cascade=True)).version == 6
        assert do(service, "ann", DeleteGoal("a")).version == 9


def test_one_event_more_than_the_limit_is_refused_and_none_of_them_recorded(log: FaultyLog) -> None:
    with serving(log.log) as roomy:
        do(roomy, "ann", *TREE)
    with serving(log.log, events=2) as service:
        for command in (CompleteGoal("a", cascade=True), DeleteGoal("a")):
            with pytest.raises(LimitReached, match=r"at most 2 events of one request; found 3$"):
                do(service, "ann", command)
        assert do(service, "ann", CompleteGoal("a")).version == 4

    assert log.head().position == 4


@pytest.mark.parametrize("many", [TREE, [new("a"), new("b"), CompleteGoal("a", cascade=True)]], ids=["made", "done"])
def test_in_a_batch_the_command_that_causes_too_many_events_is_named(log: FaultyLog, many: list[Command]) -> None:
    with serving(log.log, events=2) as service:
        with pytest.raises(RejectedAt, match=r"at most 2 events of one request; found 3$") as refusal:
            do(service, "ann", *many)
        assert do(service, "ann", *many[:2]).version == 2

    assert (refusal.value.index, type(refusal.value.error)) == (2, LimitReached)
    assert log.head().position == 2


def test_the_limits_of_goals_hold_for_commands_that_come_together(log: FaultyLog) -> None:
    with serving(log.log, limits=limited(goals=3)) as service:
        answers = at_once(*((service, request("ann", new(f"goal-{number}"))) for number in range(5)))

    assert Counter(map(type, answers)) == {Outcome: 3, LimitReached: 2}
    assert log.head().position == 3


def test_a_batch_that_takes_too_long_is_given_up_between_two_commands_and_nothing_of_it_recorded(
    log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def slowly(*values: Any) -> tuple[GoalEvent, ...]:
        nonlocal now
        now += 1
        return decide(*values)

    def batch(service: Service, name: str, commands: int) -> Outcome:
        several = request("ann", *(new(f"{name} {number}") for number in range(commands)))
        return asyncio.run(service.execute(several, Deadline.after(10)))

    with serving(log.log) as service:
        do(service, "ann", new("a"))
        monkeypatch.setattr(deadlines, "monotonic", lambda: now)
        monkeypatch.setattr(deciding, "decide", slowly)
        version = batch(service, "in time", 5).version
        # The writer decides one, and what takes longer is decided beside it, in half of the time that is left.
        with pytest.raises(Interrupted, match="found 5 decided, and recorded none"):
            batch(service, "late", 6)

        monkeypatch.undo()
        assert do(service, "ann", new("b")).version == version + 1
    assert [line.data for line in all_lines(log.log) if b"late" in line.data] == []


def test_a_user_whose_goals_cannot_be_read_in_time_is_told_that_nothing_was_recorded(log: FaultyLog) -> None:
    with serving(log.log) as service:
        do(service, "ann", new("a"))
    with serving(log.log) as service:
        with pytest.raises(Interrupted):
            asyncio.run(service.execute(request("ann", new("b")), Deadline.after(0)))

        assert do(service, "ann", new("b")).version == 2
