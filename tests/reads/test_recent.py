"""What a process remembers of the log: as of now whoever appends, asked for once, and bounded."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from msgspec import structs

from es_goals.events import GoalRenamed, Recorded
from es_goals.goals.commands import GoalNotFound
from es_goals.reads import cache as module
from es_goals.reads.cache import Coalescer, LogCache, uuid_of
from es_goals.storage.errors import StorageFailed
from es_goals.storage.log import Log
from tests.support.engines import Engine
from tests.support.histories import created, record, register

ANN, BOB, EVE = (f"0199000{number}-0000-7000-8000-00000000000a" for number in range(3))
GOAL = "01990000-0000-7000-8000-00000000000b"


class Counted:
    """A log that counts what it is asked for, but for the number of its writes."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name not in ("change_counter", "is_local"):
            self.asked[name] += 1
        return getattr(self._log, name)

    @property
    def log(self) -> Log:
        """Itself, as the type checker sees it."""
        return cast(Log, self)


@pytest.fixture
def log(engine: Engine) -> Counted:
    return Counted(engine.open().log)


@pytest.fixture
def other(engine: Engine, log: Counted) -> Log:
    """The same log as another process has it."""
    del log
    return engine.open().log


# Versions.


def test_the_version_of_a_users_goals_follows_what_this_and_other_processes_append(log: Counted, other: Log) -> None:
    record(other, ANN, created("before"))
    recent = LogCache(log.log)

    assert (recent.version(ANN), recent.version(BOB)) == (1, 0)
    for version in (2, 4):
        record(log.log, ANN, GoalRenamed("before", f"{version}"))
        assert (recent.version(ANN), recent.version(BOB)) == (version, 0)
        record(other, ANN, GoalRenamed("before", f"{version + 1}"))
        assert (recent.version(ANN), recent.version(BOB)) == (version + 1, 0)
    record(other, BOB, created("his"))
    assert (recent.version(ANN), recent.version(BOB)) == (5, 1)


def test_a_fact_about_an_account_is_no_version_of_its_goals(log: Counted, other: Log) -> None:
    recent = LogCache(log.log)
    record(other, ANN, created("a"))
    before = recent.version(ANN)
    register(other, ANN, "Ann")

    assert (before, recent.version(ANN)) == (1, 1)


def test_while_nobody_writes_the_log_is_asked_nothing(log: Counted, other: Log) -> None:
    register(other, ANN, "Ann")
    record(other, ANN, created(GOAL))
    recent = LogCache(log.log)
    first = (recent.version(ANN), recent.user("Ann"), recent.user(ANN), recent.owner(GOAL))
    log.asked.clear()

    for _ in range(3):
        assert (recent.version(ANN), recent.user("Ann"), recent.user(ANN), recent.owner(GOAL)) == first
    assert log.asked == ({} if log.log.is_local else {"read": 3})


@pytest.mark.parametrize("missed", [1, 4, 5, 6, 23])
def test_one_that_is_far_behind_is_as_right_as_one_that_is_not(
    log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch, missed: int
) -> None:
    monkeypatch.setattr(module, "PAGE", 5)
    record(other, ANN, created("a"))
    record(other, BOB, created("b"))
    recent = LogCache(log.log)
    before = (recent.version(ANN), recent.version(BOB), recent.version(EVE))
    for number in range(missed):
        record(other, ANN, GoalRenamed("a", f"{number}"))

    assert before == (1, 1, 0)
    assert (recent.version(ANN), recent.version(BOB), recent.version(EVE)) == (1 + missed, 1, 0)
    record(other, EVE, created("e"))
    assert (recent.version(ANN), recent.version(BOB), recent.version(EVE)) == (1 + missed, 1, 1)
    assert recent.look() == 3 + missed


def test_a_page_that_is_full_to_the_last_line_is_followed_line_by_line_after_it(
    log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 5)
    recent = LogCache(log.log)
    for goal in range(5):
        record(other, ANN, created(f"a{goal}"))
    jumped = recent.version(ANN)
    log.asked.clear()
    record(other, ANN, created("last"))

    assert (jumped, recent.version(ANN)) == (5, 6)
    assert log.asked == {"read": 1}


def test_a_version_that_was_newer_than_the_last_look_never_goes_back(
    log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent, ask = LogCache(log.log), log.log.stream_head

    def late(stream: str) -> Any:
        record(other, ANN, created("in between"), GoalRenamed("in between", "x"))
        return ask(stream)

    monkeypatch.setattr(log, "stream_head", late, raising=False)
    seen = [recent.version(ANN), recent.version(ANN)]
    record(other, ANN, created("later"))

    assert [*seen, recent.version(ANN)] == [2, 2, 3]


def test_a_look_sees_also_what_nobody_announced(log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "change_counter", lambda: 7, raising=False)
    recent = LogCache(log.log)
    recent.version(ANN)
    record(other, ANN, created("a"))

    unseen, position = recent.version(ANN), recent.look()

    assert (unseen, position, recent.version(ANN)) == (0, 1, 1)


def test_a_look_answers_where_the_log_ends(log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 5)
    recent = LogCache(log.log)
    ends = [recent.look()]
    for count in (1, 4, 5, 11, 0):
        record(other, ANN, *(created(f"{recent.look()}-{number}") for number in range(count)))
        ends.append(recent.look())

    assert ends == [0, 1, 5, 10, 21, 21]


class Shortened(Counted):
    """A log of another machine, whose last events can be lost, and others be in their places."""

    is_local, kept, added = False, 2**62, 0

    def change_counter(self) -> None:
        """Nobody knows without asking."""

    def read(self, after: int = 0, limit: int = 1000, **_: Any) -> list[Recorded]:
        """Without what was lost, and with what was added since."""
        lines = self._log.read(0, 2**62)[: self.kept]
        last = lines[-1]
        lines += [
            structs.replace(last, position=last.position + number, command="another")
            for number in range(1, self.added + 1)
        ]
        return [line for line in lines if line.position > after][:limit]


@pytest.mark.parametrize("added", [0, 1, 2, 5])
def test_a_log_that_lost_what_was_seen_ends_the_process_also_where_it_has_grown_since(other: Log, added: int) -> None:
    record(other, ANN, created("a"), created("b"), created("c"))
    record(other, ANN, created("d"))
    log, ended = Shortened(other), list[bool]()
    recent = LogCache(log.log, lost=lambda: ended.append(True))
    before = recent.version(ANN)
    log.kept, log.added = 3, added

    with pytest.raises(StorageFailed, match="the log lost events"):
        recent.look()
    assert (before, ended) == (4, [True])


# Users and owners.


def test_a_user_is_found_by_name_and_by_id_however_they_are_written(log: Counted, other: Log) -> None:
    ann = register(other, ANN, "Ann")
    recent = LogCache(log.log)

    for text in ("Ann", "ANN", "ａｎｎ", ANN, ANN.upper()):
        assert recent.user(text) == ann


@pytest.mark.parametrize("text", ["Eve", EVE, "", "Ann ", ANN[:-1], f"{ANN}0", ANN.replace("-", "")])
def test_who_is_nobody_is_not_found(log: Counted, other: Log, text: str) -> None:
    register(other, ANN, "Ann")

    assert LogCache(log.log).user(text) is None


def test_who_was_not_found_is_found_as_soon_as_they_are_there(log: Counted, other: Log) -> None:
    recent = LogCache(log.log)
    before = [recent.user("Ann"), recent.user(ANN), recent.owner(GOAL)]
    ann = register(other, ANN, "Ann")
    unowned = recent.owner(GOAL)
    record(other, ANN, created(GOAL))

    assert (before, unowned) == ([None, None, None], None)
    assert (recent.user("Ann"), recent.user(ANN), recent.owner(GOAL)) == (ann, ann, ann)


@pytest.mark.parametrize("behind", [0, 9])
def test_who_has_an_id_comes_before_who_has_it_as_a_name_also_when_they_come_later(
    log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    monkeypatch.setattr(module, "PAGE", 5)
    bob = register(other, BOB, EVE)
    recent = LogCache(log.log)
    before = recent.user(EVE)
    eve = register(other, EVE, "Eve")
    record(other, ANN, *(created(f"{number}") for number in range(behind)))
    recent.look()

    assert (before, recent.user(EVE), recent.user(BOB)) == (bob, eve, bob)


def test_a_goal_is_its_users_and_nobody_elses(log: Counted, other: Log) -> None:
    ann, bob = register(other, ANN, "Ann"), register(other, BOB, "Bob")
    record(other, ANN, created(GOAL), GoalRenamed(GOAL, "x"))
    record(other, BOB, created("his"))
    recent = LogCache(log.log)

    assert (recent.owner(GOAL), recent.owner("his"), recent.owner(EVE)) == (ann, bob, None)


# How much is remembered.


def test_what_is_remembered_is_bounded_and_right_when_it_is_asked_for_again(
    log: Counted, other: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    users = [register(other, f"{ANN[:-2]}{number:02}", f"user {number}") for number in range(10)]
    for user in users:
        record(other, user.id, created(f"goal of {user.name}"))
    recent = LogCache(log.log)

    def answers() -> list[Any]:
        return [
            answer
            for user in users
            for answer in (recent.version(user.id), recent.user(user.name), recent.owner(f"goal of {user.name}"))
        ]

    expected = [answer for user in users for answer in (1, user, user)]
    assert answers() == expected
    log.asked.clear()
    assert answers() == expected
    assert min(log.asked[name] for name in ("stream_head", "user_named", "owner")) == len(users)


@pytest.mark.parametrize(
    ("text", "known"),
    [(ANN, ANN), (ANN.upper(), ANN), ("Ann", None), ("", None), (f" {ANN}", None), (f"{ANN}\n", None), (ANN[1:], None)],
)
def test_an_id_is_told_from_a_name_by_its_form(text: str, known: str | None) -> None:
    assert uuid_of(text) == known


# Asked for all at once, where the log is far.


class Slow:
    """A memory whose looks wait until they are let go, and are counted; `trouble` is what they raise."""

    def __init__(self) -> None:
        self.go, self.looks, self.trouble = threading.Semaphore(0), 0, list[Exception]()

    def look(self) -> int:
        """Counts."""
        self.go.acquire()
        self.looks += 1
        if self.trouble:
            raise self.trouble.pop()
        return self.looks

    @property
    def recent(self) -> LogCache:
        """Itself, as the type checker sees it."""
        return cast(LogCache, self)


def asking(slow: Slow, *rounds: list[Callable[[], Any]]) -> list[Any]:
    """The answers to questions, asked a round at a time: each round while the look for the one before it goes on."""

    async def ask() -> list[Any]:
        with ThreadPoolExecutor(1) as thread:
            asker, asked = Coalescer(slow.recent, thread), list[asyncio.Task[Any]]()
            for questions in rounds:
                asked += [asyncio.create_task(asker.ask(question)) for question in questions]
                await asyncio.sleep(0)
            slow.go.release(len(rounds))
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask())


def test_questions_that_come_together_are_answered_behind_one_look() -> None:
    slow = Slow()

    assert asking(slow, [lambda: slow.looks], [lambda: slow.looks] * 10) == [1] + [2] * 10


def test_a_question_is_never_answered_from_a_look_that_began_before_it() -> None:
    slow = Slow()

    assert asking(slow, [lambda: slow.looks], [lambda: slow.looks], [lambda: slow.looks])[1:] == [2, 2]


def test_a_question_that_fails_is_told_so_and_no_other() -> None:
    slow, refusal = Slow(), GoalNotFound("x")

    def refuse() -> None:
        raise refusal

    assert asking(slow, [lambda: "one"], [refuse, lambda: "two"]) == ["one", refusal, "two"]


def test_a_look_that_fails_is_told_to_all_who_wait_for_it_and_the_next_one_is_tried() -> None:
    slow, lost = Slow(), StorageFailed("lost")
    slow.trouble.append(lost)

    assert asking(slow, [lambda: "one"], [lambda: "two"] * 2) == [lost, "two", "two"]
