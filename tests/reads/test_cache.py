"""What a process knows of the log: as of now whoever appends, asked for once, and bounded."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import structs

from es_goals.accounts import changes
from es_goals.events import GoalRenamed
from es_goals.projector import ProjectionBehind
from es_goals.reads import cache as module
from es_goals.reads.cache import LocalCache, LogCache, RemoteCache
from es_goals.storage import Storage
from es_goals.storage import glance as glance_module
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.errors import Interrupted, StorageFailed
from es_goals.storage.glance import Glance
from es_goals.storage.log import Cause, Log, Token
from es_goals.storage.sessions import Session
from es_goals.storage.views import ReadModel
from tests.support.engines import DEADLINE, NOW, Engine
from tests.support.histories import Model, created, record, register

ANN, BOB, EVE = (f"0199000{number}-0000-7000-8000-00000000000a" for number in range(3))
GOAL = "01990000-0000-7000-8000-00000000000b"
SESSION = Session("hash of ann", ANN, "203.0.113.7", 0, NOW, NOW + 1)
TOKEN = Token("t", ANN, "a token", "write", "hash of a token", NOW, NOW + 1)
MODEL = Model()
SMALL = 5
"""Of a page, where a test is about one that is full."""

T = TypeVar("T")


class Counted:
    """A log, or sessions, that count what they are asked for, but for the number of their writes."""

    def __init__(self, one: object, asked: Counter[str]) -> None:
        self._one, self._asked = one, asked

    def __getattr__(self, name: str) -> Any:
        if name not in ("change_counter", "is_local"):
            self._asked[name] += 1
        return getattr(self._one, name)


class Known:
    """The cache of a process, asked outside its event loop. `asked`: what its storage was."""

    def __init__(self, storage: Storage, lost: Callable[[], None] = lambda: None) -> None:
        self.asked: Counter[str] = Counter()
        glance = storage.glance

        def counted(position: int, hashes: Sequence[str], model: ReadModel) -> Glance:
            self.asked["glance"] += 1
            return glance(position, hashes, model)

        self.log = Counted(storage.log, self.asked)
        self.storage = structs.replace(
            storage, log=self.log, sessions=Counted(storage.sessions, self.asked), glance=counted
        )
        self.cache: LogCache
        if storage.log.is_local:
            self.cache = LocalCache(self.storage, MODEL)
        else:
            self.cache = RemoteCache(self.storage, MODEL, lost)
        self._runner = asyncio.Runner()

    def __call__(self, *questions: Callable[[LogCache], Any], session: str | None = None) -> tuple[Any, ...]:
        """The answers to questions that are asked at once."""
        return self.of(lambda cache: tuple(question(cache) for question in questions), session)

    def of(self, question: Callable[[LogCache], T], session: str | None = None) -> T:
        """One answer."""
        return self._runner.run(self.cache.ask(lambda: question(self.cache), NEVER, session))

    def versions(self, *users: str) -> list[int]:
        """Of users' goals."""
        return self.of(lambda cache: [cache.version(user) for user in users])

    def refreshed(self) -> int:
        """Where the log ends."""
        return self._runner.run(self.cache.refresh(NEVER))

    def session(self, hash: str) -> Session | None:
        """Of somebody who comes with its token."""
        return self.of(lambda cache: cache.session(hash), hash)

    def close(self) -> None:
        """End its thread."""
        self.cache.close()
        self._runner.close()


@contextmanager
def knowing(storage: Storage, lost: Callable[[], None] = lambda: None) -> Iterator[Known]:
    known = Known(storage, lost)
    try:
        yield known
    finally:
        known.close()


@pytest.fixture
def storage(engine: Engine) -> Storage:
    """Of the process that has the cache."""
    return engine.open()


@pytest.fixture
def other(engine: Engine, storage: Storage) -> Storage:
    """The same as another process has it."""
    del storage
    return engine.open()


@pytest.fixture
def log(other: Storage) -> Log:
    """That of the other process."""
    return other.log


@pytest.fixture
def known(storage: Storage) -> Iterator[Known]:
    with knowing(storage) as known:
        yield known


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((module, "PAGE"), (module, "BEHIND"), (glance_module, "BEHIND")):
        monkeypatch.setattr(place, name, SMALL)


# Versions.


def test_the_version_of_a_users_goals_follows_what_this_and_other_processes_append(
    known: Known, storage: Storage, log: Log
) -> None:
    record(log, ANN, created("before"))

    assert known.versions(ANN, BOB) == [1, 0]
    for version in (2, 4):
        record(storage.log, ANN, GoalRenamed("before", f"{version}"))
        assert known.versions(ANN, BOB) == [version, 0]
        record(log, ANN, GoalRenamed("before", f"{version + 1}"))
        assert known.versions(ANN, BOB) == [version + 1, 0]
    record(log, BOB, created("his"))
    assert known.versions(ANN, BOB) == [5, 1]


def test_a_fact_about_an_account_is_no_version_of_its_goals(known: Known, log: Log) -> None:
    record(log, ANN, created("a"))
    before = known.versions(ANN)
    register(log, ANN, "Ann")

    assert (before, known.versions(ANN)) == ([1], [1])


def test_while_nobody_writes_a_log_of_this_machine_is_asked_nothing_and_another_one_once_for_all_questions(
    storage: Storage, other: Storage
) -> None:
    register(other.log, ANN, "Ann")
    record(other.log, ANN, created(GOAL))
    other.sessions.begin(SESSION)

    with knowing(storage) as known:

        def everything() -> tuple[Any, ...]:
            return known(
                lambda cache: cache.version(ANN),
                lambda cache: cache.user("Ann"),
                lambda cache: cache.user(ANN),
                lambda cache: cache.owner(GOAL),
                lambda cache: cache.session(SESSION.hash),
                session=SESSION.hash,
            )

        everything()  # opens the file of the sessions under their lock, which counts
        first = everything()
        known.asked.clear()

        assert [everything() for _ in range(3)] == [first] * 3
        assert known.asked == ({} if storage.log.is_local else {"glance": 3})


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("missed", [1, SMALL - 1, SMALL, SMALL + 1, 23])
def test_one_that_is_far_behind_is_as_right_as_one_that_is_not(storage: Storage, log: Log, missed: int) -> None:
    record(log, ANN, created("a"))
    record(log, BOB, created("b"))
    with knowing(storage) as known:
        before = known.versions(ANN, BOB, EVE)
        for number in range(missed):
            record(log, ANN, GoalRenamed("a", f"{number}"))

        assert before == [1, 1, 0]
        assert known.versions(ANN, BOB, EVE) == [1 + missed, 1, 0]
        record(log, EVE, created("e"))
        assert known.versions(ANN, BOB, EVE) == [1 + missed, 1, 1]
        assert known.refreshed() == 3 + missed


@pytest.mark.usefixtures("small_pages")
def test_a_page_that_is_full_to_the_last_line_is_followed_line_by_line_after_it(
    known: Known, storage: Storage, log: Log
) -> None:
    for goal in range(SMALL):
        record(log, ANN, created(f"a{goal}"))
    jumped = known.versions(ANN)
    known.asked.clear()
    record(log, ANN, created("last"))

    assert (jumped, known.versions(ANN)) == ([SMALL], [SMALL + 1])
    assert known.asked == ({"read": 1} if storage.log.is_local else {"glance": 1})


def test_a_version_that_was_newer_than_the_last_look_never_goes_back(
    known: Known, storage: Storage, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(stream: str) -> Any:
        record(log, ANN, created("in between"), GoalRenamed("in between", "x"))
        return storage.log.stream_head(stream)

    monkeypatch.setattr(known.log, "stream_head", late, raising=False)
    seen = [*known.versions(ANN), *known.versions(ANN)]
    record(log, ANN, created("later"))

    assert [*seen, *known.versions(ANN)] == [2, 2, 3]


def test_a_refresh_sees_also_what_nobody_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(str(tmp_path / "events.db")) as engine, knowing(engine.open()) as known:
        monkeypatch.setattr(known.log, "change_counter", lambda: 7, raising=False)
        known.versions(ANN)
        record(engine.open().log, ANN, created("a"))

        unseen, position = known.versions(ANN), known.refreshed()

        assert (unseen, position, known.versions(ANN)) == ([0], 1, [1])


@pytest.mark.usefixtures("small_pages")
def test_a_refresh_returns_where_the_log_ends(known: Known, log: Log) -> None:
    ends = [known.refreshed()]
    for count in (1, SMALL - 1, SMALL, 11, 0):
        record(log, ANN, *(created(f"{ends[-1]}-{number}") for number in range(count)))
        ends.append(known.refreshed())

    assert ends == [0, 1, 5, 10, 21, 21]


@pytest.mark.parametrize("added", [0, 1, 2, 5])
def test_a_log_that_lost_what_was_seen_ends_the_process_also_where_it_has_grown_since(
    storage: Storage, log: Log, added: int
) -> None:
    record(log, ANN, created("a"), created("b"), created("c"))
    record(log, ANN, created("d"))
    lines, ended = log.read(), list[bool]()

    def glance(position: int, hashes: Sequence[str], model: ReadModel) -> Glance:
        return Glance(
            [line for line in lines if line.position >= position], {}, storage.glance(0, hashes, model).generation
        )

    remote = RemoteCache(structs.replace(storage, glance=glance), MODEL, lambda: ended.append(True))
    try:
        before = asyncio.run(remote.ask(lambda: remote.version(ANN), NEVER))
        last = lines.pop()
        lines += [structs.replace(last, position=last.position + number, command="another") for number in range(added)]

        for _ in range(2):
            with pytest.raises(StorageFailed, match="the log lost events"):
                asyncio.run(remote.refresh(NEVER))
        assert (before, ended) == (4, [True, True])
    finally:
        remote.close()


def test_who_waits_for_a_look_gives_up_at_the_deadline_and_the_next_one_waits_for_a_deadline_of_its_own(
    storage: Storage,
) -> None:
    remote, go = RemoteCache(storage, MODEL, lambda: None), threading.Event()

    async def looks() -> int:
        with pytest.raises(Interrupted):
            await remote.ask(lambda: go.wait(DEADLINE), Deadline.after(0.1))
        with pytest.raises(Interrupted):
            await remote.refresh(Deadline.after(0.1))
        go.set()
        return await remote.refresh(Deadline.after(DEADLINE))

    try:
        assert asyncio.run(looks()) == 0
    finally:
        go.set()
        remote.close()


# Users and owners.


def test_a_user_is_found_by_name_and_by_id_however_they_are_written(known: Known, log: Log) -> None:
    ann = register(log, ANN, "Ann")

    texts = ("Ann", "ANN", "ａｎｎ", ANN, ANN.upper(), ANN.replace("-", ""))
    assert known.of(lambda cache: [cache.user(text) for text in texts]) == [ann] * len(texts)


@pytest.mark.parametrize("text", ["Eve", EVE, "", "Ann ", ANN[:-1], f"{ANN}0"])
def test_who_is_nobody_is_not_found(known: Known, log: Log, text: str) -> None:
    register(log, ANN, "Ann")

    assert known.of(lambda cache: cache.user(text)) is None


def test_who_was_not_found_is_found_as_soon_as_they_are_there(known: Known, log: Log) -> None:
    def found() -> tuple[Any, ...]:
        return known(lambda cache: cache.user("Ann"), lambda cache: cache.user(ANN), lambda cache: cache.owner(GOAL))

    before = found()
    ann = register(log, ANN, "Ann")
    unowned = found()
    record(log, ANN, created(GOAL))

    assert (before, unowned, found()) == ((None, None, None), (ann, ann, None), (ann, ann, ann))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("behind", [0, 9])
def test_who_has_an_id_comes_before_who_has_it_as_a_name_also_when_they_come_later(
    known: Known, log: Log, behind: int
) -> None:
    bob = register(log, BOB, EVE)
    before = known.of(lambda cache: cache.user(EVE))
    eve = register(log, EVE, "Eve")
    record(log, ANN, *(created(f"{number}") for number in range(behind)))

    assert (before, *known(lambda cache: cache.user(EVE), lambda cache: cache.user(BOB))) == (bob, eve, bob)


def test_a_goal_is_its_users_and_nobody_elses(known: Known, log: Log) -> None:
    ann, bob = register(log, ANN, "Ann"), register(log, BOB, "Bob")
    record(log, ANN, created(GOAL), GoalRenamed(GOAL, "x"))
    record(log, BOB, created("his"))

    owners = known.of(lambda cache: [cache.owner(goal) for goal in (GOAL, "his", EVE)])
    assert owners == [ann, bob, None]


# Who is signed in, and which rows serve.


def test_a_token_is_known_from_when_it_is_issued_and_as_revoked_as_soon_as_it_is(known: Known, log: Log) -> None:
    def shown() -> Token | None:
        return known.of(lambda cache: cache.token(TOKEN.hash))

    register(log, ANN, "Ann")
    before = shown()
    with log.writing() as transaction:
        issued, _ = changes.issue(transaction, TOKEN, Cause("issuing"))
    during = shown()
    with log.writing() as transaction:
        changes.revoke(transaction, TOKEN, Cause("revoking"))
    after = shown()

    assert (before, during) == (None, issued)
    assert after is not None
    assert (issued.revoked_at, after.revoked_at is None) == (None, False)


def test_a_session_is_known_from_when_it_begins_until_it_ends(known: Known, other: Storage) -> None:
    seen = [known.session(SESSION.hash)]
    other.sessions.begin(SESSION)
    seen += [known.session(SESSION.hash), known.session("another")]
    other.sessions.restamp(SESSION.hash, 7)
    seen.append(known.session(SESSION.hash))
    other.sessions.end(SESSION.hash)
    seen.append(known.session(SESSION.hash))

    assert seen == [None, SESSION, None, structs.replace(SESSION, stamp=7), None]


def test_readers_see_the_rows_of_the_generation_that_is_live_unless_its_fold_has_failed(
    known: Known, other: Storage
) -> None:
    views = other.views
    first = views.live(MODEL)
    building = views.building(MODEL, make=True)
    assert building is not None
    seen = [known.of(lambda cache: cache.generation())]
    assert views.flip(MODEL, building)
    seen.append(known.of(lambda cache: cache.generation()))
    views.mark_failed(views.live(MODEL), 1, "an error")

    assert seen == [first.id, building.id]
    with pytest.raises(ProjectionBehind):
        known.of(lambda cache: cache.generation())


# How much is kept.


def test_what_is_kept_is_bounded_and_right_when_it_is_asked_for_again(
    storage: Storage, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    users = [register(log, f"{ANN[:-2]}{number:02}", f"user {number}") for number in range(10)]
    for user in users:
        record(log, user.id, created(f"goal of {user.name}"))

    with knowing(storage) as known:

        def answers() -> list[Any]:
            return known.of(
                lambda cache: [
                    answer
                    for user in users
                    for answer in (cache.version(user.id), cache.user(user.name), cache.owner(f"goal of {user.name}"))
                ]
            )

        expected = [answer for user in users for answer in (1, user, user)]
        assert answers() == expected
        known.asked.clear()
        assert answers() == expected
        assert min(known.asked[name] for name in ("stream_head", "user_named", "owner")) == len(users)
