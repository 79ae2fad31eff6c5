"""What is promised about who is signed in, and about passwords that are tried, on every engine."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec import structs
from psycopg import errors

from es_goals.ids import wall_clock
from es_goals.storage import Storage
from es_goals.storage.errors import Unavailable, Unusable
from es_goals.storage.sessions import USE_INTERVAL, Attempt, Session, Sessions
from es_goals.storage.sql import sessions as module
from es_goals.storage.sql.sessions import _PENDING
from es_goals.storage.sqlite.sessions import SCHEMA
from tests.support.engines import NOW, Engine, HandClock, hear, open_storage, say, start, tell
from tests.support.histories import created, record

MOST = 5
WINDOW = 900_000_000  # µs
HERE, THERE = "203.0.113.7", "2001:db8::7"
ANN = Session("hash of ann", "ann", HERE, 0, NOW, NOW + 2 * WINDOW)
ELSEWHERE = ["", "unknown", "a\0b", "\ud800"]


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return engine.open().sessions


class Resource:
    """Tries passwords, each under an id of its own."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions, self._count = sessions, 0

    def look(self, account: str = "ann", address: str = HERE, at: int = NOW) -> tuple[Attempt, int | None]:
        """Begin to try one: the attempt, and what is answered."""
        self._count += 1
        attempt = Attempt(f"attempt-{self._count}", account, address, at)
        return attempt, self.sessions.attempt(attempt, at - WINDOW, MOST)

    def fail(self, account: str = "ann", address: str = HERE, at: int = NOW) -> int | None:
        """Try a wrong one, where it may be tried."""
        attempt, answer = self.look(account, address, at)
        if answer == 0:
            self.sessions.failed(attempt)
        return answer

    def hold(self, account: str = "ann", address: str = HERE, at: int = NOW) -> int | None:
        """Try the right one, where it may be tried."""
        attempt, answer = self.look(account, address, at)
        if answer == 0:
            self.sessions.held(attempt)
        return answer


@pytest.fixture
def door(sessions: Sessions) -> Resource:
    return Resource(sessions)


# Who is signed in.


def test_a_session_is_there_for_everybody_from_when_it_began_until_it_is_ended(
    sessions: Sessions, engine: Engine
) -> None:
    other = engine.open().sessions
    bob = Session("hash of bob", "bob", THERE, 2**53 + 1, NOW, NOW)
    sessions.begin(ANN)
    other.begin(bob)
    during = [one.session(hash) for one in (sessions, other) for hash in (ANN.hash, bob.hash)]
    other.end(ANN.hash)
    sessions.end("unknown")

    assert during == [ANN, bob, ANN, bob]
    assert [sessions.session(ANN.hash), sessions.session(bob.hash)] == [None, bob]


@pytest.mark.parametrize("hash", ELSEWHERE, ids=ascii)
def test_a_session_that_nobody_has_is_not_found_whatever_is_asked(sessions: Sessions, hash: str) -> None:
    sessions.begin(ANN)

    assert sessions.session(hash) is None


def test_a_session_goes_on_after_its_users_password_was_changed_and_no_other(sessions: Sessions) -> None:
    other = structs.replace(ANN, hash="another of ann")
    sessions.begin(ANN)
    sessions.begin(other)
    sessions.restamp(ANN.hash, NOW + 7)
    sessions.restamp("unknown", NOW + 8)

    assert sessions.session(ANN.hash) == structs.replace(ANN, stamp=NOW + 7)
    assert sessions.session(other.hash) == other


def of(user: str, number: int, begun: int = NOW) -> Session:
    """A session, whose hash begins with the number."""
    return Session(f"{number:032x}{user:0>32}", user, HERE, 0, begun, NOW + WINDOW)


def test_a_user_s_sessions_are_listed_the_newest_first_and_so_many(sessions: Sessions) -> None:
    first, second, third = (of("ann", number, NOW + number) for number in range(3))
    for one in (second, first, of("bob", 9), third):
        sessions.begin(one)

    assert sessions.of_user("ann", 5) == [third, second, first]
    assert sessions.of_user("ann", 2) == [third, second]
    assert sessions.of_user("unknown", 5) == []


def test_one_session_of_a_user_is_ended_by_how_its_hash_begins(sessions: Sessions) -> None:
    mine, other, theirs = of("ann", 1), of("ann", 2), of("bob", 1)
    for one in (mine, other, theirs):
        sessions.begin(one)

    assert sessions.end_of_user("ann", f"{3:032x}") is False
    assert sessions.end_of_user("ann", mine.hash[:32]) is True
    assert sessions.end_of_user("ann", mine.hash[:32]) is False
    assert [sessions.session(one.hash) for one in (mine, other, theirs)] == [None, other, theirs]


def test_all_sessions_of_one_user_are_ended_and_nobody_else_s(sessions: Sessions) -> None:
    mine, other, theirs = of("ann", 1), of("ann", 2), of("bob", 1)
    for one in (mine, other, theirs):
        sessions.begin(one)

    sessions.end_all("ann")

    assert [sessions.session(one.hash) for one in (mine, other, theirs)] == [None, None, theirs]


def test_all_sessions_are_forgotten_at_once_and_nothing_else(sessions: Sessions, door: Resource) -> None:
    sessions.begin(ANN)
    sessions.begin(structs.replace(ANN, hash="another"))
    for _ in range(MOST):
        door.fail(account="bob", address=THERE)
    sessions.record_use("token", NOW + 2 * WINDOW)
    sessions.clear()

    assert [sessions.session(ANN.hash), sessions.session("another")] == [None, None]
    assert sessions.last_use("token", 0) == NOW + 2 * WINDOW
    assert door.fail(account="bob") == NOW


def test_what_is_kept_stays_where_it_is_opened_again(engine: Engine) -> None:
    first = engine.open()
    first.sessions.begin(ANN)
    first.sessions.record_use("token", 2 * NOW)
    door = Resource(first.sessions)
    for _ in range(MOST):
        door.fail(account="bob")
    first.close()
    again = engine.open().sessions

    assert (again.session(ANN.hash), again.last_use("token", 0)) == (ANN, 2 * NOW)
    assert Resource(again).fail(account="bob") == NOW


WRITES: dict[str, Callable[[Sessions], object]] = {
    "begin": lambda one: one.begin(structs.replace(ANN, hash="new")),
    "restamp": lambda one: one.restamp(ANN.hash, 7),
    "end": lambda one: one.end(ANN.hash),
    "clear": lambda one: one.clear(),
    "record_use": lambda one: one.record_use("token", NOW),
    "sign_in": lambda one: one.sign_in(Attempt("attempt", "ann", HERE, NOW), structs.replace(ANN, hash="new")),
    "purge_expired": lambda one: one.purge_expired(NOW, NOW, NOW),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_whoever_looks_knows_whether_somebody_wrote_or_that_nobody_can_know(
    sessions: Sessions, engine: Engine, write: Callable[[Sessions], object]
) -> None:
    other = engine.open().sessions
    sessions.begin(ANN)
    before = other.change_counter()
    still = other.change_counter()
    write(sessions)
    after = other.change_counter()

    if engine.url.startswith("postgresql"):
        assert (before, still, after) == (None, None, None)
    else:
        assert before == still != after
        assert None not in (before, after)


# Last use.


def test_a_use_is_noted_once_a_minute(sessions: Sessions) -> None:
    seen = []
    for at in (
        NOW,
        NOW + 1,
        NOW + USE_INTERVAL - 1,
        NOW + USE_INTERVAL,
        NOW + USE_INTERVAL + 1,
        NOW + 5 * USE_INTERVAL,
        NOW,
    ):
        sessions.record_use("token", at)
        seen.append(sessions.last_use("token", 0))

    minutes = [0, 0, 0, 1, 1, 5, 5]
    assert seen == [NOW + minute * USE_INTERVAL for minute in minutes]


def test_what_was_not_used_was_used_at_the_latest_when_it_was_made_or_when_noting_began(engine: Engine) -> None:
    sessions = engine.open(HandClock(NOW)).sessions
    sessions.record_use("token", 7)
    began = sessions.last_use("another", 0)

    assert began == NOW or engine.url.startswith("postgresql")
    assert began > 7
    assert [sessions.last_use("token", made_at) for made_at in (0, 7, 8)] == [7, 7, 8]
    assert [sessions.last_use(id, began + 1) for id in ELSEWHERE] == [began + 1] * len(ELSEWHERE)
    assert [sessions.last_use(id, began - 1) for id in ELSEWHERE] == [began] * len(ELSEWHERE)


def test_what_ended_is_forgotten_and_not_what_goes_on(sessions: Sessions, door: Resource) -> None:
    for number in (-1, 0, 1):
        sessions.begin(Session(f"ends {number}", "ann", THERE, 0, 0, NOW + number))
        sessions.record_use(f"used {number}", 2 * NOW + number)
        door.fail(account="bob", at=NOW + number)
    began = sessions.last_use("never", 0)
    sessions.purge_expired(NOW, 2 * NOW, NOW)

    assert [sessions.session(f"ends {number}") is None for number in (-1, 0, 1)] == [True, True, False]
    assert [sessions.last_use(f"used {number}", 0) for number in (-1, 0, 1)] == [began, 2 * NOW, 2 * NOW + 1]
    assert [door.fail(account="bob", at=NOW + 1) for _ in range(4)] == [0, 0, 0, NOW]


# Passwords that are tried.


def test_after_so_many_failures_on_an_account_no_more_are_tried_from_anywhere(door: Resource) -> None:
    answers = [door.fail(address=f"203.0.113.{number}", at=NOW + number) for number in range(MOST + 2)]

    assert answers == [0] * MOST + [NOW] * 2
    assert door.fail(account="bob", address="203.0.113.1") == 0


def test_after_so_many_failures_from_an_address_no_more_are_tried_from_there(door: Resource) -> None:
    answers = [door.fail(account=f"user-{number}", at=NOW + number) for number in range(MOST + 2)]

    assert answers == [0] * MOST + [NOW] * 2
    assert door.fail(account="user-1", address=THERE) == 0


def test_a_refusal_is_no_failure(door: Resource) -> None:
    for number in range(MOST + 9):
        door.fail(at=NOW + number)

    assert door.fail(at=NOW + WINDOW) == NOW
    assert [door.fail(at=NOW + WINDOW + 1), door.fail(at=NOW + WINDOW + 1)] == [0, NOW + 1]


def test_the_time_of_the_later_of_two_refusals_is_told(door: Resource) -> None:
    for number in range(MOST):
        door.fail(address=f"203.0.113.1{number}", at=NOW + number)
        door.fail(account=f"user-{number}", at=NOW + 10 + number)

    assert door.fail(at=NOW + 50) == NOW + 10


def test_where_more_failed_than_may_since_then_the_last_ones_count(door: Resource) -> None:
    for number in range(MOST):
        door.fail(at=NOW + number)
    attempt = Attempt("another", "ann", HERE, NOW + 9)

    assert door.sessions.attempt(attempt, NOW, 2) == NOW + MOST - 2
    assert door.sessions.attempt(attempt, NOW + MOST - 2, 2) == NOW + MOST - 2
    assert door.sessions.attempt(attempt, NOW + MOST - 1, 2) == 0


def test_passwords_that_are_being_looked_at_keep_others_waiting_and_count_as_what_they_become(door: Resource) -> None:
    attempts, answers = zip(*(door.look() for _ in range(MOST + 1)), strict=True)
    door.sessions.held(attempts[0])
    after_one_held = door.look()
    for attempt in (*attempts[1:MOST], after_one_held[0]):
        door.sessions.failed(attempt)

    assert answers == (*[0] * MOST, None)
    assert after_one_held[1] == 0
    assert door.look()[1] == NOW


def test_a_password_that_somebody_looks_at_for_too_long_counts_as_wrong(door: Resource) -> None:
    for _ in range(MOST):
        door.look()

    assert [door.look(at=NOW + _PENDING)[1], door.look(at=NOW + _PENDING + 1)[1]] == [None, NOW]
    assert door.look(at=NOW + WINDOW + 1)[1] == 0


def test_a_password_that_held_makes_the_failures_before_it_from_there_forgotten_and_no_others(door: Resource) -> None:
    gone, _ = door.look(at=NOW - _PENDING - 1)  # whoever looked at it is gone
    for _ in range(MOST - 2):
        door.fail()
    door.fail(address=THERE)
    for _ in range(MOST - 2):
        door.fail(account="bob", address=THERE)
    refused = door.fail()
    door.sessions.held(Attempt("held", "ann", HERE, NOW))

    assert (gone.account, refused) == ("ann", NOW - _PENDING - 1)
    assert [door.fail() for _ in range(MOST)] == [0] * (MOST - 1) + [NOW]  # one from there still counts
    assert [door.fail(account="eve", address=THERE) for _ in range(2)] == [0, NOW]


def test_who_signs_in_has_a_session_and_no_failures_behind_them(door: Resource) -> None:
    for _ in range(MOST - 1):
        door.fail()
    attempt, answer = door.look()
    door.sessions.sign_in(attempt, ANN)

    assert (answer, door.sessions.session(ANN.hash)) == (0, ANN)
    assert [door.fail() for _ in range(MOST + 1)] == [0] * MOST + [NOW]


def test_a_sign_in_whose_session_cannot_begin_leaves_the_failures_as_they_were(door: Resource) -> None:
    door.sessions.begin(ANN)
    for _ in range(MOST - 1):
        door.fail()
    attempt, _ = door.look()
    with pytest.raises((apsw.ConstraintError, errors.UniqueViolation)):
        door.sessions.sign_in(attempt, ANN)
    door.sessions.failed(attempt)

    assert door.fail() == NOW


def test_a_password_that_held_leaves_nothing_that_counts(door: Resource) -> None:
    assert [door.hold() for _ in range(2 * MOST)] == [0] * 2 * MOST
    assert [door.fail() for _ in range(MOST + 1)] == [0] * MOST + [NOW]


def test_the_owner_is_not_locked_out_where_she_is_signed_in(door: Resource) -> None:
    door.sessions.begin(ANN)
    for number in range(MOST):
        door.fail(address=f"198.51.100.{number}")
        door.fail(account=f"user-{number}")
    elsewhere = door.fail(address=THERE)

    assert elsewhere == NOW
    assert [door.fail(at=NOW + 1) for _ in range(MOST + 1)] == [0] * MOST + [NOW + 1]


@pytest.mark.parametrize(
    "session",
    [
        structs.replace(ANN, expires_at=NOW),
        structs.replace(ANN, address=THERE),
        structs.replace(ANN, user_id="bob"),
        structs.replace(ANN, stamp=ANN.stamp + 1),
    ],
    ids=["over", "at another address", "of another user", "begun under another password"],
)
def test_no_other_session_helps_an_account_that_is_locked(door: Resource, session: Session) -> None:
    door.sessions.begin(session)
    for number in range(MOST):
        door.fail(address=f"198.51.100.{number}")

    assert door.fail() == NOW


def test_whoever_is_signed_in_at_an_address_is_not_let_try_other_accounts_there(door: Resource) -> None:
    door.sessions.begin(ANN)
    answers = [door.fail(account=f"user-{number}") for number in range(MOST + 1)]

    assert answers == [0] * MOST + [NOW]


def guess(url: str, number: str) -> None:
    """Try all at once from many threads; tell how many were tried."""
    storage = open_storage(url, wall_clock)
    door, threads = storage.sessions, 8
    say("ready")
    input()

    def try_one(count: int) -> int:
        attempt = Attempt(f"{number}-{count}", "ann", f"{number}-{count}", NOW)
        answer = door.attempt(attempt, NOW - WINDOW, MOST)
        if answer == 0 and count % 2:
            door.failed(attempt)
        return int(answer == 0)

    with ThreadPoolExecutor(threads) as pool:
        say(sum(pool.map(try_one, range(3 * threads))))
    storage.close()


def test_of_many_who_try_at_once_in_many_processes_no_more_are_let_than_may(engine: Engine) -> None:
    engine.open()
    with start(guess, engine.url, "1") as one, start(guess, engine.url, "2") as two:
        assert [hear(one), hear(two)] == ["ready", "ready"]
        tell(one, "go")
        tell(two, "go")

        assert int(hear(one)) + int(hear(two)) == MOST


def test_threads_that_sign_in_at_once_all_do(sessions: Sessions) -> None:
    together = threading.Barrier(8)

    def sign_in(number: int) -> Session | None:
        session = structs.replace(ANN, hash=f"hash {number}")
        together.wait()
        sessions.begin(session)
        return sessions.session(session.hash)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(sign_in, range(8)))

    assert [session and session.hash for session in found] == [f"hash {number}" for number in range(8)]


# The file.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def begun(path: Path, clock: HandClock | None = None) -> Storage:
    """A log in whose sessions Ann is."""
    storage = open_storage(str(path), clock or HandClock())
    storage.sessions.begin(ANN)
    return storage


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if "sessions" in file.name}


def test_nothing_is_made_before_somebody_signs_in(path: Path) -> None:
    with closing(open_storage(str(path), wall_clock)) as storage:
        record(storage.log, "ann", created("a1"))
    before = files(path.parent)
    begun(path).close()

    assert before == set()
    assert "sessions.db" in files(path.parent)


def test_a_log_of_another_name_has_sessions_of_another_name(path: Path) -> None:
    begun(path.with_name("work.db")).close()
    begun(path).close()

    assert {"sessions.db", "work-sessions.db"} <= files(path.parent)


def test_only_the_service_may_read_them(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(begun(path)):
            modes = {name: (path.parent / name).stat().st_mode & 0o777 for name in files(path.parent)}
    finally:
        os.umask(before)

    assert {name: mode for name, mode in modes.items() if not name.endswith(("-lock", "-turn"))} == dict.fromkeys(
        ("sessions.db", "sessions.db-wal", "sessions.db-shm"), 0o600
    )


def test_sessions_that_were_deleted_begin_anew(path: Path) -> None:
    clock = HandClock()
    begun(path, clock).close()
    for name in files(path.parent):
        (path.parent / name).unlink()
    clock.now += 7
    with closing(open_storage(str(path), clock)) as storage:
        assert storage.sessions.session(ANN.hash) is None
        assert storage.sessions.last_use("token", 0) == NOW + 7
        storage.sessions.begin(ANN)
        assert storage.sessions.session(ANN.hash) == ANN


def test_sessions_of_another_log_are_forgotten_with_all_that_was_noted(path: Path) -> None:
    with closing(begun(path)) as storage:
        door = Resource(storage.sessions)
        for _ in range(MOST):
            door.fail()
        storage.sessions.record_use("token", 2 * NOW)
    for file in path.parent.glob("events.db*"):
        file.unlink()

    with closing(open_storage(str(path), HandClock(NOW + 7))) as storage:
        assert storage.sessions.session(ANN.hash) is None
        assert storage.sessions.last_use("token", 0) == NOW + 7
        assert Resource(storage.sessions).fail() == 0


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1])
def test_sessions_of_another_schema_begin_anew(path: Path, schema: int) -> None:
    begun(path).close()
    with closing(apsw.Connection(str(path.with_name("sessions.db")))) as connection:
        connection.pragma("user_version", schema)
        connection.execute("ALTER TABLE sessions DROP COLUMN stamp")

    with closing(open_storage(str(path), wall_clock)) as storage:
        assert storage.sessions.session(ANN.hash) is None
        storage.sessions.begin(ANN)
        assert storage.sessions.session(ANN.hash) == ANN


def theirs(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE theirs (text); INSERT INTO theirs VALUES ('y')")


def theirs_numbered(path: Path) -> None:
    theirs(path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("user_version", SCHEMA)


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)


@pytest.mark.parametrize("foreign", [theirs, theirs_numbered, no_database])
def test_a_foreign_file_in_their_place_is_refused_and_left_as_it_was_and_the_log_serves(
    path: Path, foreign: Callable[[Path], None]
) -> None:
    place = path.with_name("sessions.db")
    foreign(place)
    with closing(open_storage(str(path), wall_clock)) as storage:
        for _ in range(2):
            with pytest.raises(Unusable, match=r"sessions.db, which may be deleted: all must sign in again"):
                storage.sessions.begin(ANN)
        record(storage.log, "ann", created("a1"))
    if foreign is no_database:
        assert place.read_bytes() == b"not a database" * 100
    else:
        with closing(apsw.Connection(str(place))) as connection:
            assert connection.execute("SELECT name, text FROM sqlite_schema, theirs").fetchall() == [("theirs", "y")]


def test_a_folder_where_nothing_can_be_made_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_storage(str(path), wall_clock)) as storage:
        opened = os.open

        def refuse(name: str, *values: int) -> int:
            if "sessions" in name:
                raise PermissionError(13, "Permission denied", name)
            return opened(name, *values)

        monkeypatch.setattr(os, "open", refuse)
        asked: list[Callable[[], object]] = [
            lambda: storage.sessions.begin(ANN),
            lambda: storage.sessions.session(ANN.hash),
            storage.sessions.change_counter,
        ]
        for ask in asked:
            with pytest.raises(
                Unusable, match=r"expected a writable folder for .*sessions.db; found: Permission denied"
            ):
                ask()
        monkeypatch.undo()
        storage.sessions.begin(ANN)

        assert storage.sessions.session(ANN.hash) == ANN


def test_sessions_are_not_used_in_a_fork_of_the_process_that_opened_them(path: Path) -> None:
    with closing(begun(path)) as storage:
        storage.sessions._connections._pid -= 1  # type: ignore[attr-defined]  # as it is seen in a fork

        with pytest.raises(Unavailable, match="found a fork"):
            storage.sessions.session(ANN.hash)


def test_of_more_sessions_than_a_user_may_have_the_oldest_ends(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 3)
    begun = [structs.replace(ANN, hash=f"h{number}", created_at=NOW + number) for number in range(5)]
    for one in begun[:4]:
        sessions.begin(one)
    assert sessions.of_user("ann", 10) == begun[3:0:-1]
    sessions.begin(structs.replace(ANN, hash="bob's", user_id="bob"))
    sessions.sign_in(Attempt("a", "ann", HERE, NOW), begun[4])

    assert sessions.of_user("ann", 10) == begun[:1:-1]
    assert sessions.session("bob's") is not None
