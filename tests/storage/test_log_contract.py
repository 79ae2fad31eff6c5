"""What every log promises: each promise where it holds, and where it must refuse."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, nullcontext, suppress
from operator import attrgetter
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import Event, GoalDeleted, GoalRenamed, Recorded, UserRegistered, encode
from es_goals.ids import wall_clock
from es_goals.storage.errors import BatchConflict, Conflict, StorageError, SubjectTaken, UserNameTaken
from es_goals.storage.log import (
    Cause,
    Head,
    Log,
    StoredKey,
    StreamHead,
    Transaction,
    User,
    all_lines,
    pages,
    user_events,
)
from tests.support import postgres
from tests.support.engines import DEADLINE, NOW, Engine, HandClock, hear, open_storage, say, start, tell
from tests.support.histories import created, record

CAUSE = Cause("command-1", "ann", "because")
DIGEST = b"\x00\xff" * 16
ANN, BOB = "user:ann", "user:bob"


class Undo(Exception):
    """Raised to leave a transaction, or an attempt, without what it wrote."""


def listed(log: Log) -> list[Recorded]:
    return list(all_lines(log))


def places(log: Log) -> list[tuple[int, str, int]]:
    return [(line.position, line.stream, line.version) for line in listed(log)]


def stored_key(key: str, first: int, last: int, stream: str = ANN) -> StoredKey:
    return StoredKey(stream, key, DIGEST, first, last)


# 1. An acknowledged event stays.


def append_for_ever(url: str) -> None:
    log = open_storage(url, wall_clock).log
    while True:
        with log.writing() as transaction:
            version = transaction.stream_head(ANN).version
            lines = transaction.append(ANN, version, [created(f"goal-{version}")], CAUSE)
            transaction.store_key(stored_key(f"key-{version}", lines[0].position, lines[0].position))
        say(lines[0].position)


def append_and_never_commit(url: str) -> None:
    log = open_storage(url, wall_clock).log
    with log.writing() as transaction:
        transaction.append(ANN, 0, [created("never"), created("nor this")], CAUSE)
        transaction.store_key(stored_key("key", 1, 2))
        say("appended")
        input()


@pytest.mark.parametrize("acknowledged", [1, 333])
def test_every_acknowledged_event_outlives_kill_9(engine: Engine, acknowledged: int) -> None:
    with start(append_for_ever, engine.url) as child:
        positions = [int(hear(child)) for _ in range(acknowledged)]
        child.kill()
        assert child.stdout is not None
        positions += [int(line) for line in child.stdout]
    log = engine.open().log

    lines = listed(log)
    assert positions == list(range(1, len(positions) + 1))
    assert [line.position for line in lines[: len(positions)]] == positions
    assert len(lines) - len(positions) in (0, 1)  # the one that was killed before it could tell
    assert [line.subject for line in lines] == [f"goal-{number}" for number in range(len(lines))]
    assert all(log.stored_key(ANN, f"key-{number}") for number in range(len(lines)))


def test_what_was_not_committed_at_kill_9_is_gone_and_holds_nobody_up(engine: Engine) -> None:
    log = engine.open().log
    with start(append_and_never_commit, engine.url) as child:
        assert hear(child) == "appended"
        assert log.head() == Head()
        child.kill()
        record(log, "ann", created("first"))

    assert [line.subject for line in log.read()] == ["first"]
    assert log.stored_key(ANN, "key") is None


def test_a_log_opened_again_is_the_same_log(engine: Engine) -> None:
    storage = engine.open()
    record(storage.log, "ann", created("run"), GoalRenamed("run", "Run"))
    before, log_id = listed(storage.log), storage.log.id
    storage.close()

    again = engine.open().log
    assert (again.id, listed(again)) == (log_id, before)


# 2. Positions and versions have no gaps, and no position comes late.


def test_positions_count_through_the_log_and_versions_through_each_stream(engine: Engine) -> None:
    log = engine.open().log
    record(log, "ann", created("a1"), created("a2"))
    record(log, "bob", created("b1"))
    record(log, "ann", created("a3"))

    assert places(log) == [(1, ANN, 1), (2, ANN, 2), (3, BOB, 1), (4, ANN, 3)]
    assert (log.stream_head(ANN), log.stream_head(BOB)) == (StreamHead(3, 4), StreamHead(1, 3))


def test_what_was_rolled_back_leaves_no_gap(engine: Engine) -> None:
    log = engine.open().log
    record(log, "ann", created("a1"))
    with suppress(Undo), log.writing() as transaction:
        transaction.append(ANN, 1, [created("a2"), created("a3")], CAUSE)
        raise Undo
    record(log, "bob", created("b1"))
    record(log, "ann", created("a2"))

    assert places(log) == [(1, ANN, 1), (2, BOB, 1), (3, ANN, 2)]


def test_an_undone_attempt_leaves_no_gap(engine: Engine) -> None:
    log = engine.open().log
    with log.writing() as transaction:
        transaction.append(ANN, 0, [created("a1")], CAUSE)
        with suppress(Undo), transaction.savepoint():
            transaction.append(ANN, 1, [created("a2"), created("a3")], CAUSE)
            raise Undo
        transaction.append(ANN, 1, [created("a2")], CAUSE)

    assert places(log) == [(1, ANN, 1), (2, ANN, 2)]


def test_a_reader_that_follows_writers_sees_every_position_once_in_order(engine: Engine) -> None:
    writers, each = 4, 150
    logs = [engine.open().log for _ in range(writers)]
    reader = engine.open().log

    def write(number: int) -> None:
        stream = f"user:{number}"
        for count in range(each):
            # Of each three transactions one is short, one is rolled back, one is long.
            events: list[Event] = [created(f"{number}-{count}")]
            events += [GoalRenamed(f"{number}-{count}", "x")] * (3 * (count % 3 == 2))
            undone = count % 3 == 1
            with suppress(Undo), logs[number].writing() as transaction:
                transaction.append(stream, transaction.stream_head(stream).version, events, CAUSE)
                if undone:
                    raise Undo

    seen: list[Recorded] = []
    with ThreadPoolExecutor(writers) as pool:
        done = [pool.submit(write, number) for number in range(writers)]
        while not all(one.done() for one in done) or reader.head().position > len(seen):
            seen += reader.read(seen[-1].position if seen else 0, limit=7)

    for one in done:
        one.result()
    assert [line.position for line in seen] == list(range(1, writers * each // 3 * 5 + 1))
    assert seen == listed(reader)


def test_nobody_sees_an_event_before_it_is_committed(engine: Engine) -> None:
    log, other = engine.open().log, engine.open().log
    with log.writing() as transaction:
        transaction.append(ANN, 0, [created("a1")], CAUSE)
        inside = (transaction.head().position, len(transaction.read()), transaction.owner("a1"))
        outside = (other.head().position, len(other.read()), other.owner("a1"))

    assert inside == (1, 1, "ann")
    assert outside == (0, 0, None)
    assert other.head().position == 1


# 4. Of two appends with the same expected version exactly one wins.


@pytest.mark.parametrize("expected", [0, 1, 2, 4, 5, 1000])
def test_an_append_at_any_version_but_the_head_is_refused(engine: Engine, expected: int) -> None:
    log = engine.open().log
    record(log, "ann", created("a1"), created("a2"), created("a3"))
    with log.writing() as transaction, pytest.raises(Conflict, match=f"user:ann at version {expected}; found 3"):
        transaction.append(ANN, expected, [GoalRenamed("a1", "late")], CAUSE)

    assert places(log) == [(1, ANN, 1), (2, ANN, 2), (3, ANN, 3)]
    assert record(log, "ann", created("a4"))[0].version == 4


@pytest.mark.parametrize("expected", [-1, 1, 2])
def test_an_append_to_a_stream_that_does_not_exist_must_expect_0(engine: Engine, expected: int) -> None:
    log = engine.open().log
    record(log, "bob", created("b1"))
    with log.writing() as transaction, pytest.raises(Conflict, match=f"user:ann at version {expected}; found 0"):
        transaction.append(ANN, expected, [created("a1")], CAUSE)

    assert log.streams() == [BOB]


def test_of_appends_that_expect_the_same_version_exactly_one_wins(engine: Engine) -> None:
    rounds, logs = 25, [engine.open().log for _ in range(4)]
    together = threading.Barrier(len(logs), timeout=DEADLINE)

    def append_all(number: int) -> list[int]:
        won = []
        for version in range(rounds):
            together.wait()
            try:
                with logs[number].writing() as transaction:
                    transaction.append(ANN, version, [created(f"{number}-{version}")], CAUSE)
            except Conflict:
                continue
            won.append(version)
        return won

    with ThreadPoolExecutor(len(logs)) as pool:
        won = list(pool.map(append_all, range(len(logs))))

    assert sorted(itertools.chain(*won)) == list(range(rounds))
    assert [(line.version, line.subject) for line in listed(logs[0])] == sorted(
        (version + 1, f"{number}-{version}") for number, versions in enumerate(won) for version in versions
    )


def test_a_goals_id_is_given_once_over_all_users_and_for_ever(engine: Engine) -> None:
    log = engine.open().log
    record(log, "ann", created("run"), GoalDeleted("run", "run"))
    for stream, version in ((ANN, 2), (BOB, 0)):
        with log.writing() as transaction, pytest.raises(SubjectTaken) as refused:
            transaction.append(stream, version, [created("run")], CAUSE)
        assert refused.value.subject == "run"

    assert places(log) == [(1, ANN, 1), (2, ANN, 2)]


# 5. A command's key is recorded once.


def test_a_command_is_remembered_by_stream_and_key_even_after_a_restart(engine: Engine) -> None:
    storage = engine.open()
    with storage.log.writing() as transaction:
        transaction.append(ANN, 0, [created("a1"), created("a2")], CAUSE)
        transaction.store_key(stored_key("key", 1, 2))
        inside = transaction.stored_key(ANN, "key")
    storage.close()
    log = engine.open().log

    assert inside == log.stored_key(ANN, "key") == stored_key("key", 1, 2)
    assert log.stored_key(ANN, "KEY") is None
    assert log.stored_key(ANN, "key ") is None


def test_keys_of_different_streams_do_not_meet(engine: Engine) -> None:
    log = engine.open().log
    for number, stream in enumerate((ANN, BOB), start=1):
        with log.writing() as transaction:
            transaction.append(stream, 0, [created(stream)], CAUSE)
            transaction.store_key(stored_key("key", number, number, stream))

    assert log.stored_key(ANN, "key") == stored_key("key", 1, 1)
    assert log.stored_key(BOB, "key") == stored_key("key", 2, 2, BOB)
    assert log.stored_key("user:eve", "key") is None


def test_a_key_is_never_recorded_twice(engine: Engine) -> None:
    log = engine.open().log

    def command(expected: int) -> None:
        with log.writing() as transaction:
            position = transaction.append(ANN, expected, [created(f"goal-{expected}")], CAUSE)[0].position
            transaction.store_key(stored_key("key", position, position))

    command(0)
    with pytest.raises(StorageError):
        command(1)

    assert log.stored_key(ANN, "key") == stored_key("key", 1, 1)
    assert places(log) == [(1, ANN, 1)]


# 6. All or nothing.


@pytest.mark.parametrize("undone", ["transaction", "attempt"])
def test_events_and_command_are_recorded_together_or_not_at_all(engine: Engine, undone: str) -> None:
    log = engine.open().log

    def write(fail: bool) -> None:
        with log.writing() as transaction, transaction.savepoint() if undone == "attempt" else nullcontext():
            transaction.append(ANN, 0, [created("a1"), created("a2")], CAUSE)
            transaction.store_key(stored_key("key", 1, 2))
            if fail:
                raise Undo

    with pytest.raises(Undo):
        write(fail=True)
    before = (places(log), log.stored_key(ANN, "key"), log.owner("a1"))
    write(fail=False)

    assert before == ([], None, None)
    assert (len(log.read()), log.stored_key(ANN, "key")) == (2, stored_key("key", 1, 2))


def test_an_append_whose_last_event_is_refused_leaves_nothing_of_it(engine: Engine) -> None:
    log = engine.open().log
    record(log, "bob", created("taken"))
    with log.writing() as transaction:
        transaction.append(ANN, 0, [created("a1")], CAUSE)
        with pytest.raises(SubjectTaken):
            transaction.append(ANN, 1, [created("a2"), GoalRenamed("a1", "x"), created("taken")], CAUSE)
        transaction.append(ANN, 1, [created("a3")], CAUSE)

    assert [line.subject for line in log.read()] == ["taken", "a1", "a3"]
    assert places(log)[1:] == [(2, ANN, 1), (3, ANN, 2)]
    assert log.owner("a2") is None


def test_an_append_that_creates_one_id_twice_leaves_nothing_of_it(engine: Engine) -> None:
    log = engine.open().log
    with log.writing() as transaction, pytest.raises(SubjectTaken):
        transaction.append(ANN, 0, [created("same"), created("same")], CAUSE)

    assert log.head() == Head()


def test_a_refusal_harms_no_other_command_of_the_transaction(engine: Engine) -> None:
    log = engine.open().log

    def command(name: str, stream: str, expected: int, *events: Event) -> None:
        with transaction.savepoint():
            lines = transaction.append(stream, expected, events, Cause(name))
            transaction.store_key(stored_key(name, lines[0].position, lines[-1].position, stream))

    with log.writing() as transaction:
        command("first", ANN, 0, created("a1"), created("a2"))
        with pytest.raises(Conflict):
            command("stale", ANN, 1, created("a3"))
        with pytest.raises(SubjectTaken):
            command("taken", BOB, 0, created("b1"), created("a1"))
        command("second", BOB, 0, created("b2"))
        command("third", ANN, 2, created("a4"))

    assert [line.command for line in log.read()] == ["first", "first", "second", "third"]
    assert places(log) == [(1, ANN, 1), (2, ANN, 2), (3, BOB, 1), (4, ANN, 3)]
    assert log.stored_key(ANN, "stale") is log.stored_key(BOB, "taken") is None
    assert log.stored_key(ANN, "third") == stored_key("third", 4, 4)


def test_an_attempt_inside_an_attempt_is_undone_alone(engine: Engine) -> None:
    log = engine.open().log
    with log.writing() as transaction, transaction.savepoint():
        transaction.append(ANN, 0, [created("a1")], CAUSE)
        with suppress(Undo), transaction.savepoint():
            transaction.append(ANN, 1, [created("a2")], CAUSE)
            raise Undo
        transaction.append(ANN, 1, [created("a3")], CAUSE)

    assert [line.subject for line in log.read()] == ["a1", "a3"]


def test_of_a_long_append_one_event_that_does_not_fit_keeps_all_others_out(engine: Engine) -> None:
    log = engine.open().log
    record(log, "bob", created("taken"))
    long: list[Event] = [created(f"goal-{number}") for number in range(500)]
    before = (listed(log), log.stream_head(ANN))

    for place in (0, 250, 500):
        with log.writing() as transaction, pytest.raises(SubjectTaken) as refused:
            transaction.append(ANN, 0, [*long[:place], created("taken"), *long[place:]], CAUSE)
        assert refused.value.subject == "taken"
        assert (listed(log), log.stream_head(ANN)) == before
    with log.writing() as transaction:
        lines = transaction.append(ANN, 0, long, CAUSE)

    assert [line.version for line in lines] == list(range(1, 501))
    assert listed(log)[1:] == lines


# Together.


Write = Callable[[Transaction], object]


def command(name: str, stream: str, expected: int, *events: Event, key: str | None = None) -> Write:
    """An append and its key."""

    def write(transaction: Transaction) -> None:
        lines = transaction.append(stream, expected, events, Cause(name))
        transaction.store_key(stored_key(key or name, lines[0].position, lines[-1].position, stream))

    return write


THREE = (
    command("one", ANN, 0, created("a1"), created("a2")),
    command("two", BOB, 0, created("b1")),
    command("three", ANN, 2, GoalRenamed("a1", "x"), created("a3")),
)


@pytest.mark.parametrize("together", [True, False])
def test_what_is_written_together_is_what_would_be_written_one_by_one(engine: Engine, together: bool) -> None:
    log = engine.open().log
    with log.writing() as transaction, transaction.batch() if together else nullcontext():
        for write in THREE:
            write(transaction)

    assert places(log) == [(1, ANN, 1), (2, ANN, 2), (3, BOB, 1), (4, ANN, 3), (5, ANN, 4)]
    assert [line.command for line in log.read()] == ["one", "one", "two", "three", "three"]
    assert log.stored_key(ANN, "one") == stored_key("one", 1, 2)
    assert log.stored_key(BOB, "two") == stored_key("two", 3, 3, BOB)
    assert log.stored_key(ANN, "three") == stored_key("three", 4, 5)


def test_inside_all_reads_see_what_was_written_together(engine: Engine) -> None:
    log, other = engine.open().log, engine.open().log
    with log.writing() as transaction, transaction.batch():
        for write in THREE:
            write(transaction)
            assert transaction.stored_key(ANN, "one") == stored_key("one", 1, 2)
        seen = [transaction.head().position, transaction.stream_head(ANN).version, transaction.owner("a3")]
        lines = [line.subject for line in transaction.read(stream=ANN)]
        command("four", BOB, 1, created("b2"))(transaction)
        more = (transaction.position, transaction.stream_head(BOB).version)
        outside = other.head()

    assert (seen, lines) == ([5, 4, "ann"], ["a1", "a2", "a1", "a3"])
    assert (more, outside) == ((6, 2), Head())
    assert log.head().position == 6


MISFITS = {
    "a version that the log has": [command("x", ANN, 0, created("x"))],
    "a version after the next": [command("x", ANN, 2, created("x"))],
    "an id that the log has": [command("x", BOB, 0, created("x"), created("before"))],
    "a key that the log has": [command("x", ANN, 1, created("x"), key="before")],
    "one version twice": [command("x", ANN, 1, created("x")), command("y", ANN, 1, created("y"))],
    "one id twice": [command("x", ANN, 1, created("x")), command("y", BOB, 0, created("x"))],
    "one id twice in one append": [command("x", ANN, 1, created("x"), created("x"))],
    "one key twice": [command("x", ANN, 1, created("x")), command("y", ANN, 2, created("y"), key="x")],
}


@pytest.mark.parametrize("reading", [False, True], ids=["to the end", "and read"])
@pytest.mark.parametrize("misfits", MISFITS.values(), ids=MISFITS)
def test_where_one_does_not_fit_together_nothing_is_written_and_no_blame_laid(
    engine: Engine, misfits: list[Write], reading: bool
) -> None:
    log = engine.open().log
    with log.writing() as transaction:
        command("before", ANN, 0, created("before"))(transaction)
    before = listed(log)

    def write() -> None:
        with log.writing() as transaction, transaction.batch():
            for one in (command("fits", "user:eve", 0, created("e1")), *misfits):
                one(transaction)
            if reading:
                transaction.head()
                raise AssertionError("expected the violation to be told before anything is read")

    with pytest.raises(BatchConflict):
        write()

    assert listed(log) == before
    assert [log.stored_key(stream, key) for stream, key in (("user:eve", "fits"), (ANN, "x"), (BOB, "x"))] == [None] * 3
    assert log.stored_key(ANN, "before") == stored_key("before", 1, 1)


def test_an_attempt_among_what_is_written_together_is_undone_alone(engine: Engine) -> None:
    log = engine.open().log
    with log.writing() as transaction, transaction.batch():
        THREE[0](transaction)
        with suppress(Undo), transaction.savepoint():
            command("undone", BOB, 0, created("undone"))(transaction)
            raise Undo
        THREE[1](transaction)
        with transaction.savepoint():
            THREE[2](transaction)

    assert [line.command for line in log.read()] == ["one", "one", "two", "three", "three"]
    assert places(log)[2:] == [(3, BOB, 1), (4, ANN, 3), (5, ANN, 4)]
    assert log.stored_key(BOB, "undone") is None


def test_however_many_are_refused_in_a_row_the_next_one_is_taken(engine: Engine) -> None:
    log = engine.open().log
    with log.writing() as transaction:
        command("before", ANN, 0, created("before"))(transaction)

    for _ in range(12):  # what is said often is prepared, also while something fails
        with log.writing() as transaction, pytest.raises(Conflict):
            command("late", ANN, 0, created("late"))(transaction)
        with pytest.raises(BatchConflict), log.writing() as transaction, transaction.batch():
            command("late", ANN, 0, created("late"))(transaction)
        with pytest.raises(BatchConflict), log.writing() as transaction, transaction.batch():
            command("new", ANN, 1, created("new"), key="before")(transaction)
    with log.writing() as transaction, transaction.batch():
        command("next", ANN, 1, created("next"))(transaction)
    with log.writing() as transaction:
        command("last", ANN, 2, created("last"))(transaction)

    assert [line.command for line in log.read()] == ["before", "next", "last"]
    assert log.stored_key(ANN, "last") == stored_key("last", 3, 3)


def test_what_was_written_together_before_an_error_is_gone(engine: Engine) -> None:
    log = engine.open().log
    with suppress(Undo), log.writing() as transaction, transaction.batch():
        THREE[0](transaction)
        raise Undo

    assert (listed(log), log.stored_key(ANN, "one")) == ([], None)


# What changes when anybody writes.


def test_the_number_of_writes_moves_with_every_commit_of_anybody_and_not_without(engine: Engine) -> None:
    log, other = engine.open().log, engine.open().log
    if not log.is_local:
        assert log.change_counter() is None  # nobody can know without asking
        return
    seen = [log.change_counter()]
    for write in (
        lambda: record(log, "ann", created("a1")),
        lambda: record(other, "bob", created("b1")),
        lambda: add(other, User("u1", "Ann", None, NOW)),
        lambda: other.probe(),
    ):
        for reader in (log, other):
            reader.read(), reader.head(), reader.user("u1"), list(reader.by_stream("", 9))
            assert reader.change_counter() == seen[-1]
        write()
        assert log.change_counter() == other.change_counter()
        seen.append(log.change_counter())

    assert len(set(seen)) == len(seen)


def append_when_told(url: str) -> None:
    log = open_storage(url, wall_clock).log
    say("ready")
    while goal := input():
        record(log, "ann", created(goal))
        say(goal)


def test_a_commit_of_another_process_has_moved_the_number_when_it_is_told(engine: Engine) -> None:
    log = engine.open().log
    with start(append_when_told, engine.url) as child:
        assert hear(child) == "ready"
        for number in range(50):
            before = log.change_counter()
            tell(child, f"goal-{number}")
            hear(child)
            assert log.change_counter() != before or (log.change_counter() is None and not log.is_local)
        tell(child, "")


# Stream by stream.


@pytest.fixture
def crowd(engine: Engine) -> Log:
    """Some users' events between each other's, and facts about accounts."""
    log = engine.open().log
    for count in range(3):
        for user in ("ann", "Zoe", "é", "b", "ann:2"):
            record(log, user, *(created(f"{user} {count} {number}") for number in range(count + 1)))
        with log.writing() as transaction:
            transaction.append(f"account:{count}", 0, [UserRegistered(f"{count}")], CAUSE)
            transaction.append("zone", count, [UserRegistered("none")], CAUSE)
    return log


def test_stream_by_stream_each_goals_event_comes_once_in_the_order_of_streams_and_versions(crowd: Log) -> None:
    lines = sorted(listed(crowd), key=lambda line: (line.stream.encode(), line.version))
    end = crowd.head().position
    afters = ["", "account:0", "user:", *crowd.streams(), "user:aa", "user:zz", "zz"]

    for after, until in itertools.product(afters, range(0, end + 2, 1 if crowd.is_local else 13)):
        expected = [
            line
            for line in lines
            if line.stream.startswith("user:") and line.stream.encode() > after.encode() and line.position <= until
        ]
        assert list(crowd.by_stream(after, until)) == expected, (after, until)


def test_stream_by_stream_shows_the_log_as_it_was(engine: Engine, crowd: Log) -> None:
    other, end = engine.open().log, crowd.head().position
    expected = list(crowd.by_stream("", end + 9))
    with closing(crowd.by_stream("", end + 9)) as lines:
        seen = [next(lines)]
        record(other, "ann", created("late"))
        record(other, "zz", created("later"))
        seen += lines

    assert seen == expected
    assert len(list(crowd.by_stream("", end + 9))) == len(expected) + 2


def test_stream_by_stream_can_be_left_at_any_event(crowd: Log) -> None:
    for _ in range(3):
        with closing(crowd.by_stream("", crowd.head().position)) as lines:
            next(lines)
        record(crowd, "ann", created(f"goal {crowd.head().position}"))

    assert crowd.stream_head(ANN).version == 9


# What is read is what was written.


Texts = list[tuple[str, str, str, bytes]]
without_nul = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def texts(text: st.SearchStrategy[str]) -> st.SearchStrategy[Texts]:
    """A goal's name, which is a part of the event's JSON; an actor, a reason; a digest."""
    return st.lists(st.tuples(st.text(), text, text, st.binary(max_size=40)), min_size=1, max_size=5)


def expect_as_written(log: Log, texts: Texts) -> None:
    """In a stream of its own."""
    first, lines, keys = log.head().position, list[Recorded](), list[StoredKey]()
    stream = f"{ANN}-{first}"
    for number, (name, actor, reason, digest) in enumerate(texts):
        with log.writing() as transaction:
            goal = f"goal-{first}-{number}"
            cause = Cause(f"command-{actor}", actor, reason)
            lines += transaction.append(stream, 2 * number, [created(goal), GoalRenamed(goal, name)], cause)
            keys.append(StoredKey(stream, f"{number}{reason}", digest, 2 * number + 1, 2 * number + 2))
            transaction.store_key(keys[-1])

    assert log.read(first) == lines
    assert [cast(GoalRenamed, line.event).name for line in lines[1::2]] == [name for name, _, _, _ in texts]
    assert [log.stored_key(key.stream, key.key) for key in keys] == keys


@settings(max_examples=50, deadline=None)
@given(texts(st.text()))
def test_any_text_is_read_as_it_was_written(texts: Texts) -> None:
    with TemporaryDirectory() as folder, Engine(f"{folder}/events.db") as engine:
        expect_as_written(engine.open().log, texts)


@pytest.mark.parametrize("version", postgres.VERSIONS)
def test_any_text_without_a_nul_is_read_as_it_was_written_on_postgresql(version: str) -> None:
    with postgres.fresh(version) as url, Engine(url) as engine:
        log = engine.open().log

        @settings(max_examples=25, deadline=None)
        @given(texts(without_nul))
        def written(texts: Texts) -> None:
            expect_as_written(log, texts)

        written()


def test_a_line_is_exactly_what_was_appended(engine: Engine) -> None:
    log = engine.open(HandClock(NOW)).log
    event = GoalRenamed("run", "Läufe 🏃 \u2028 'quoted' \\ \"twice\"")
    with log.writing() as transaction:
        lines = transaction.append(ANN, 0, [created("run"), event], CAUSE)
        transaction.append("account:ann", 0, [UserRegistered("ann")], Cause("command-2"))

    assert log.read(limit=2) == lines
    assert lines[1] == Recorded(2, ANN, 2, "GoalRenamed", "run", NOW, "ann", "command-1", "because", encode(event))
    assert log.read(2) == [
        Recorded(
            3, "account:ann", 1, "UserRegistered", None, NOW, None, "command-2", None, encode(UserRegistered("ann"))
        )
    ]
    assert [line.event for line in log.read()] == [created("run"), event, UserRegistered("ann")]


@pytest.fixture
def several(engine: Engine) -> Log:
    log = engine.open().log
    for count in range(6):
        record(log, "ann", created(f"a{count}"), GoalRenamed("a0", f"name {count}"))
        record(log, "bob", *[created(f"b{count}")] * (count != 3), *[GoalRenamed("b0", "x")] * (1 + count % 3))
    record(log, "ann", GoalDeleted("a0", "a0"), GoalDeleted("a5", "a5"))
    return log


def test_reading_answers_what_every_filter_lets_through_in_order(several: Log) -> None:
    lines = several.read()
    end = len(lines)
    filters = itertools.product(
        (0, 9, end - 1, end + 5),
        (1000, 4),
        (None, 0, 10, end + 5),
        (None, ANN, BOB, "user:eve"),
        (None, "a0", "b0", "b2", "nobody's"),
        (None, "GoalCreated", "GoalRenamed", "GoalDeleted", "GoalMoved"),
        (False, True),
    )

    for after, limit, until, stream, subject, type, latest in filters:
        expected = [
            line
            for line in lines
            if after < line.position <= (end if until is None else until)
            and stream in (None, line.stream)
            and subject in (None, line.subject)
            and type in (None, line.type)
        ][:: -1 if latest else 1][:limit]
        found = several.read(after, limit, until=until, stream=stream, subject=subject, type=type, latest=latest)
        assert found == expected, (after, limit, until, stream, subject, type, latest)


@pytest.mark.parametrize("latest", [False, True])
def test_both_streams_of_a_user_are_read_as_one(several: Log, latest: bool) -> None:
    with several.writing() as transaction:
        transaction.append("account:ann", 0, [UserRegistered("ann")], CAUSE)
    record(several, "ann", GoalRenamed("a1", "last"))
    theirs = [line for line in several.read() if line.owner == "ann"][:: -1 if latest else 1]

    assert user_events(several, "ann", 0, latest=latest) == theirs
    assert user_events(several, "ann", 0, 3, latest=latest) == theirs[:3]
    assert user_events(several, None, 0, latest=latest) == several.read(latest=latest)


def test_a_transaction_reads_by_every_filter_what_it_wrote_itself(several: Log) -> None:
    with several.writing() as transaction:
        written = transaction.append(ANN, transaction.stream_head(ANN).version, [GoalRenamed("a1", "new")], CAUSE)
        position = written[0].position
        found = [
            transaction.read(position - 1),
            transaction.read(position - 1, stream=ANN),
            transaction.read(position - 1, subject="a1"),
            transaction.read(position - 1, type="GoalRenamed"),
        ]
        heads = (transaction.head(), transaction.stream_head(ANN))

    assert found == [written] * 4
    assert heads == (several.head(), several.stream_head(ANN))


def test_an_empty_log_answers_every_question(engine: Engine) -> None:
    log = engine.open().log

    assert (log.head(), log.stream_head(ANN)) == (Head(0, 0), StreamHead(0, 0))
    assert (log.read(), log.read(stream=ANN), log.read(subject="run")) == ([], [], [])
    assert (log.owner("run"), log.position_at(NOW), log.stored_key(ANN, "key")) == (None, 0, None)
    assert (log.users(), log.streams(), log.user("ann"), log.user_named("Ann")) == ([], [], None, None)


def test_the_owner_is_whose_stream_the_goal_was_created_in(several: Log) -> None:
    assert (several.owner("a0"), several.owner("b0"), several.owner("a5")) == ("ann", "bob", "ann")
    assert (several.owner("b3"), several.owner(""), several.owner("ann")) == (None, None, None)


def test_streams_are_paged_in_the_order_of_their_names(several: Log) -> None:
    record(several, "Zoe", created("z"))
    with several.writing() as transaction:
        transaction.append("account:ann", 0, [UserRegistered("ann")], CAUSE)

    assert several.streams() == ["account:ann", "user:Zoe", ANN, BOB]
    assert several.streams(limit=2) == ["account:ann", "user:Zoe"]
    assert several.streams(after="user:Zoe", limit=1) == [ANN]
    assert several.streams(after="user:b") == [BOB]
    assert several.streams(after=BOB) == []


@pytest.mark.parametrize("size", range(1, 8))
def test_pages_join_into_all_rows_and_none_is_asked_for_before_it_is_wanted(several: Log, size: int) -> None:
    asked: list[int] = []

    def ask(after: int, limit: int) -> list[Recorded]:
        asked.append(after)
        return several.read(after, limit)

    everything = several.read()
    found = pages(ask, attrgetter("position"), 0, size)

    assert asked == []
    assert next(found) == everything[:size]
    assert asked == [0]
    assert [line for page in found for line in page] == everything[size:]
    assert asked == list(range(0, len(everything) + 1, size))
    assert list(all_lines(several, 2, size, until=5)) == everything[2:5]
    assert list(all_lines(several, 0, size, stream=BOB)) == several.read(stream=BOB)


# The clock.


def test_position_at_is_the_last_event_recorded_until_then(engine: Engine) -> None:
    clock = HandClock(1000)
    log = engine.open(clock).log
    for now in (1000, 2000, 2000, 2000, 5000):
        clock.now = now
        record(log, "ann", created(f"goal-{log.head().position}"))

    asked = (0, 999, 1000, 1999, 2000, 4999, 5000, 2**62)
    assert [log.position_at(at) for at in asked] == [0, 0, 1, 1, 4, 4, 5, 5]


def test_at_never_decreases_whatever_the_clock_does(engine: Engine) -> None:
    clock = HandClock()
    log = engine.open(clock).log
    day, year_2038, year_2200 = 86_400_000_000, 2_147_483_648_000_000, 7_258_118_400_000_000
    told = [NOW, NOW - day, NOW + 1, 0, -day, year_2038 - 1, year_2038 + 1, NOW, year_2200, year_2038, year_2200 + 1]
    for number, clock.now in enumerate(told):
        record(log, "ann", created(f"goal-{number}"), GoalRenamed(f"goal-{number}", "x"))

    lines = log.read()
    assert [line.position for line in lines] == list(range(1, 2 * len(told) + 1))
    assert [line.at for line in lines[::2]] == list(itertools.accumulate(told, max))
    assert [line.at for line in lines[1::2]] == [line.at for line in lines[::2]]
    assert log.head().at == year_2200 + 1


def test_at_never_decreases_between_processes_whose_clocks_differ(engine: Engine) -> None:
    ahead, behind = engine.open(HandClock(NOW + 1000)).log, engine.open(HandClock(NOW)).log
    for number in range(3):
        record(ahead, "ann", created(f"a{number}"))
        record(behind, "bob", created(f"b{number}"))

    assert {line.at for line in ahead.read()} == {NOW + 1000}


def test_a_transaction_tells_the_time_of_its_events(engine: Engine) -> None:
    clock = HandClock(NOW)
    log = engine.open(clock).log
    record(log, "ann", created("a1"))
    clock.now = NOW - 5
    with log.writing() as transaction:
        at = transaction.at
        clock.now = NOW + 5
        lines = transaction.append(ANN, 1, [created("a2")], CAUSE)

    assert at == lines[0].at == NOW


# Users.


def add(log: Log, *users: User) -> None:
    with log.writing() as transaction:
        for user in users:
            transaction.add_user(user)


def test_users_are_found_by_id_and_paged_in_the_order_of_ids(engine: Engine) -> None:
    storage = engine.open()
    users = [User(f"u{number}", f"name {number}", None, NOW) for number in range(5)]
    users[2] = structs.replace(users[2], email="two@example.org")
    add(storage.log, *reversed(users))
    storage.close()
    log = engine.open().log

    assert log.users() == users
    assert (log.users(limit=2), log.users("u1", 2), log.users("u4")) == (users[:2], users[2:4], [])
    assert (log.user("u2"), log.user("U2")) == (users[2], None)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Ann", "ANN"),
        ("straße", "STRASSE"),
        ("ﬁn", "Fin"),
        ("Ａｎｎ", "ann"),
        ("Zoë", "ZOE\u0308"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("\u212bngstr\u00f6m", "a\u030angstro\u0308m"),
    ],
)
def test_user_names_are_compared_by_nfkc_case_folding(engine: Engine, name: str, same: str) -> None:
    log = engine.open().log
    first = User("u1", name, None, NOW)
    add(log, first)
    with pytest.raises(UserNameTaken):
        add(log, User("u2", same, None, NOW))

    assert log.user_named(same) == log.user_named(name) == first
    assert log.users() == [first]


def test_user_names_that_only_look_alike_are_different(engine: Engine) -> None:
    log = engine.open().log
    users = [User(f"u{number}", name, None, NOW) for number, name in enumerate(("Zoe", "Zoë", "Zое", "Zoe ", "Z.oe"))]
    add(log, *users)

    assert [log.user_named(user.name) for user in users] == users


def test_a_refused_user_takes_only_their_own_command_back(engine: Engine) -> None:
    log = engine.open().log

    def register(user: User) -> None:
        with transaction.savepoint():
            transaction.append(f"account:{user.id}", 0, [UserRegistered(user.id)], CAUSE)
            transaction.add_user(user)

    with log.writing() as transaction:
        register(User("u1", "Ann", None, NOW))
        with pytest.raises(UserNameTaken):
            register(User("u2", "ann", None, NOW))
        register(User("u3", "Bob", None, NOW))

    assert [user.id for user in log.users()] == ["u1", "u3"]
    assert places(log) == [(1, "account:u1", 1), (2, "account:u3", 1)]


# The rest.


def test_a_probe_commits_and_is_not_in_the_log(engine: Engine) -> None:
    log = engine.open().log
    for _ in range(3):
        log.probe()

    assert (log.head(), log.streams()) == (Head(), [])


def test_tidying_changes_nothing_whoever_reads_and_writes_meanwhile(engine: Engine) -> None:
    log, other = engine.open().log, engine.open().log
    with closing(other.by_stream("", 9)) as reading, ThreadPoolExecutor(1) as pool:
        record(log, "ann", *(created(f"a{number}") for number in range(9)))
        next(reading)
        writing = pool.submit(lambda: [record(other, "bob", created(f"b{number}")) for number in range(100)])
        while wait([writing], 0.001).not_done:
            log.checkpoint()
        writing.result()
        log.checkpoint()

    assert places(log) == [*((n, ANN, n) for n in range(1, 10)), *((n + 9, BOB, n) for n in range(1, 101))]
    assert log.head() == other.head()


def test_sizes_are_in_bytes_and_grow_with_the_log(engine: Engine) -> None:
    log = engine.open().log
    before = log.sizes()
    record(log, "ann", *(created(f"goal-{number}", name="x" * 200) for number in range(1000)))
    after = log.sizes()

    assert set(before) == ({"database", "wal", "free"} if log.is_local else {"database"})
    assert after["database"] + after.get("wal", 0) > before["database"] + before.get("wal", 0) + 200_000
    assert after.get("free", 1) > 0


def test_any_thread_may_read_and_write_through_one_log(engine: Engine) -> None:
    log, threads = engine.open().log, 8
    together = threading.Barrier(threads)

    def work(number: int) -> int:
        together.wait()
        for count in range(20):
            record(log, str(number), created(f"{number}-{count}"))
            log.read(stream=f"user:{number}")
        return len(log.read(stream=f"user:{number}"))

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(work, range(threads)))

    assert found == [20] * threads
    assert log.head().position == 20 * threads
