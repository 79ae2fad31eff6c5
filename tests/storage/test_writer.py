"""The writer: many commands in one commit, and what becomes of them when it fails."""

import asyncio
import itertools
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_goals.events import Event, GoalRenamed, Recorded
from es_goals.storage import writer as module
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.errors import Conflict, OutcomeUnknown, StorageError, StorageFailed, StorageFull, SubjectTaken
from es_goals.storage.log import Cause, Log, StoredKey, Transaction, User
from es_goals.storage.writer import Ticket, Writer
from tests.support.engines import DEADLINE, Engine, FaultyLog, HandClock, wait_until
from tests.support.histories import created, record

CAUSE = Cause("command")
ANN = "user:ann"
PATIENT = 60.0

Work = Callable[[Transaction], int]


class Watch:
    """Notes what a writer tells its owner."""

    def __init__(self) -> None:
        self.followed: list[Recorded] = []
        self.streams: list[Collection[str] | None] = []
        self.failed = 0
        self.batches: list[int] = []

    def follow(self, lines: Sequence[Recorded]) -> None:
        self.followed += lines

    @property
    def forgotten(self) -> int:
        return len(self.streams)

    def forget(self, streams: Collection[str] | None) -> None:
        self.streams.append(streams)

    def fail(self) -> None:
        self.failed += 1


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def log(engine: Engine) -> FaultyLog:
    return FaultyLog(engine.open().log)


@contextmanager
def opened(log: FaultyLog, watch: Watch) -> Iterator[Writer]:
    writer = Writer(log.log, watch.follow, watch.forget, watch.fail, watch.batches.append)
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture
def writer(log: FaultyLog, watch: Watch) -> Iterator[Writer]:
    with opened(log, watch) as writer:
        yield writer


def appending(goal_id: str, stream: str = ANN) -> Work:
    """Answers the event's version."""

    def work(transaction: Transaction) -> int:
        version = transaction.stream_head(stream).version
        return transaction.append(stream, version, [created(goal_id)], CAUSE)[0].version

    return work


def raising(error: Exception) -> Work:
    def work(transaction: Transaction) -> int:
        del transaction
        raise error

    return work


def held(gate: threading.Event, work: Work) -> Work:
    """Keeps the writer busy until the gate opens."""

    def waiting(transaction: Transaction) -> int:
        assert gate.wait(DEADLINE)
        return work(transaction)

    return waiting


Answer = int | BaseException


async def batch(writer: Writer, works: Sequence[Work]) -> list[Answer]:
    """Submit all while the writer is busy with the first one. Answers or errors, in order."""
    gate = threading.Event()
    tasks = [asyncio.create_task(writer.submit(work)) for work in (held(gate, works[0]), *works[1:])]
    await asyncio.sleep(0)  # each has submitted its work
    gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def submit(writer: Writer, *works: Work) -> list[Answer]:
    return asyncio.run(batch(writer, works))


def subjects(log: FaultyLog) -> list[str | None]:
    return [line.subject for line in log.log.read()]


def refusal(writer: Writer) -> StorageError | None:
    """Why the writer takes no command, if it takes none."""
    answer = submit(writer, lambda transaction: transaction.head().position)[0]
    assert isinstance(answer, int | StorageError)
    return answer if isinstance(answer, StorageError) else None


# Group commit.


def test_commands_that_wait_share_one_transaction_and_keep_their_order(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    answers = submit(writer, *(appending(f"goal-{number}") for number in range(200)))

    assert answers == list(range(1, 201))
    assert subjects(log) == [f"goal-{number}" for number in range(200)]
    assert log.commits == 1
    assert watch.batches == [200]


def test_a_batch_ends_when_its_time_is_up_and_the_rest_comes_next(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)
    answers = submit(writer, *(appending(f"goal-{number}") for number in range(20)))

    assert answers == list(range(1, 21))
    assert log.commits == len(watch.batches) == 20


def test_commands_that_come_one_by_one_are_each_committed_before_their_answer(writer: Writer, log: FaultyLog) -> None:
    for number in range(1, 6):
        assert submit(writer, appending(f"goal-{number}")) == [number]
        assert (log.head().position, log.commits) == (number, number)


def test_a_command_that_raises_harms_no_other_of_its_batch(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)

    def half_done(transaction: Transaction) -> int:
        with transaction.savepoint():
            transaction.append("user:bob", 0, [created("undone")], CAUSE)
            return transaction.append(ANN, 99, [created("refused")], CAUSE)[0].version

    refused = ValueError("refused")
    answers = submit(writer, appending("first"), raising(refused), half_done, appending("last"))

    assert answers[:2] == [1, refused]
    assert isinstance(answers[2], Conflict)
    assert answers[3] == 2
    assert subjects(log) == ["first", "last"]
    assert (log.commits, watch.forgotten, watch.failed) == (1, 1, 0)
    assert watch.batches == [4]


def at_version(version: int, goal_id: str, stream: str = ANN) -> Work:
    """Looks at nothing first, so that only the log can tell whether it fits."""
    return lambda transaction: transaction.append(stream, version, [created(goal_id)], CAUSE)[0].version


def test_a_clash_harms_no_other_command_and_each_is_told_what_it_would_be_told_alone(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch, engine: Engine
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    record(engine.open().log, "eve", created("taken"))
    works = [at_version(0, "a"), at_version(1, "taken"), at_version(1, "b"), at_version(1, "late"), at_version(2, "c")]
    answers = submit(writer, *works)

    assert [answers[place] for place in (0, 2, 4)] == [1, 2, 3]
    assert isinstance(answers[1], SubjectTaken)
    assert isinstance(answers[3], Conflict)
    assert subjects(log) == ["taken", "a", "b", "c"]
    assert (log.commits, watch.forgotten, watch.failed, watch.batches) == (1, 1, 0, [5])
    assert submit(writer, appending("d")) == [4]


def test_after_a_clash_what_was_decided_on_it_is_forgotten_before_it_is_decided_again(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    forgotten: list[int] = []

    def work(transaction: Transaction) -> int:
        forgotten.append(watch.forgotten)
        return appending("a")(transaction)

    answers = submit(writer, work, at_version(9, "violation"), appending("b"))

    assert forgotten == [0, 1]
    assert (answers[0], type(answers[1]), answers[2]) == (1, Conflict, 2)


def test_a_clash_has_only_the_streams_of_its_batch_forgotten(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)

    async def clash() -> None:
        tickets = [Ticket("ann", ANN), Ticket("bob", "user:bob"), Ticket()]
        works = [at_version(9, "violation"), at_version(0, "b", "user:bob"), lambda _: 0]
        submits = [writer.submit(work, NEVER, one) for work, one in zip(works, tickets, strict=True)]
        await asyncio.gather(*submits, return_exceptions=True)

    asyncio.run(clash())

    assert watch.streams == [{ANN, "user:bob"}]


# A command as plain data: what it does, to which stream, and to which goal or key.
commands = st.tuples(
    st.sampled_from(["append", "first", "second", "key", "key unseen", "refuse", "append and refuse", "look", "user"]),
    st.sampled_from(["ann", "bob"]),
    st.integers(0, 3),
)


def working(number: int, what: str, user: str, pick: int) -> Work:
    stream, goal, key = f"user:{user}", f"goal-{pick}", f"key-{pick}"

    def append(transaction: Transaction, expected: int) -> int:
        events: list[Event] = [created(goal), GoalRenamed(goal, "x")]
        return transaction.append(stream, expected, events, Cause(f"{number}"))[-1].position

    def work(transaction: Transaction) -> int:
        match what:
            case "append":
                return append(transaction, transaction.stream_head(stream).version)
            case "first" | "second":
                return append(transaction, 0 if what == "first" else 2)
            case "key" | "key unseen":
                if what == "key" and (done := transaction.stored_key(stream, key)):
                    return -done.first
                position = append(transaction, transaction.stream_head(stream).version)
                transaction.store_key(StoredKey(stream, key, bytes(32), position - 1, position))
                return position
            case "append and refuse":
                append(transaction, transaction.stream_head(stream).version)
            case "look":
                return transaction.head().position
            case "user":
                transaction.add_user(User(f"{number}", user, None, number))
                return append(transaction, transaction.stream_head(stream).version)
        raise ValueError("refused")

    return work


@settings(max_examples=30, deadline=None)
@given(st.lists(commands, min_size=2, max_size=8))
def test_whatever_a_batch_holds_it_ends_as_if_each_command_had_come_alone(chosen: list[tuple[str, str, int]]) -> None:
    found = []
    for seconds in (PATIENT, 0.0):
        with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder, Engine(f"{folder}/db") as engine:
            patch.setattr(module, "BATCH_SECONDS", seconds)
            log, watch = FaultyLog(engine.open(HandClock()).log), Watch()
            with opened(log, watch) as writer:
                answers = submit(writer, *(working(number, *one) for number, one in enumerate(chosen)))
            told = [answer if isinstance(answer, int) else (type(answer), str(answer)) for answer in answers]
            keys = [log.log.stored_key(f"user:{user}", f"key-{pick}") for user in ("ann", "bob") for pick in range(4)]
            found.append((told, log.log.read(), keys, log.log.users()))
            assert len(watch.batches) == (1 if seconds else len(chosen))

    assert found[0] == found[1]


def test_what_is_not_begun_in_time_is_left_undone_and_told_so(writer: Writer, log: FaultyLog) -> None:
    async def late() -> tuple[int, object]:
        gate = threading.Event()
        first = asyncio.create_task(writer.submit(held(gate, appending("first")), Deadline.after(PATIENT)))
        await asyncio.sleep(0)  # it is submitted first
        with pytest.raises(TimeoutError):
            await writer.submit(appending("late"), Deadline.after(0.02))
        gate.set()
        return await first, await writer.submit(appending("last"), Deadline.after(PATIENT))

    assert asyncio.run(late()) == (1, 2)
    assert subjects(log) == ["first", "last"]


def test_who_waits_no_longer_than_until_then_is_told_so_though_it_is_recorded(writer: Writer, log: FaultyLog) -> None:
    async def late() -> int:
        gate = threading.Event()
        with pytest.raises(TimeoutError):
            await writer.submit(held(gate, appending("first")), Deadline.after(0.02))
        gate.set()
        return await writer.submit(appending("last"))

    assert asyncio.run(late()) == 2
    assert subjects(log) == ["first", "last"]


def test_a_command_whose_client_has_gone_is_not_decided(writer: Writer, log: FaultyLog) -> None:
    async def leave() -> tuple[int, int]:
        gate = threading.Event()
        first = asyncio.create_task(writer.submit(held(gate, appending("first"))))
        gone = asyncio.create_task(writer.submit(appending("gone")))
        last = asyncio.create_task(writer.submit(appending("last")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await first, await last

    assert asyncio.run(leave()) == (1, 2)
    assert subjects(log) == ["first", "last"]


def test_a_client_that_goes_while_its_command_is_decided_disturbs_nobody(writer: Writer, log: FaultyLog) -> None:
    async def leave() -> int:
        gate, taken = threading.Event(), threading.Event()

        def work(transaction: Transaction) -> int:
            taken.set()
            return held(gate, appending("first"))(transaction)

        gone = asyncio.create_task(writer.submit(work))
        last = asyncio.create_task(writer.submit(appending("last")))
        await asyncio.to_thread(taken.wait)
        gone.cancel()
        gate.set()
        return await last

    assert asyncio.run(leave()) == 2
    assert subjects(log) == ["first", "last"]


# Turns.


def test_users_are_served_in_turn_however_much_one_of_them_sends(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)

    async def crowd() -> None:
        gate = threading.Event()
        users = ["ann"] + ["eve"] * 50 + ["bob"] + ["eve"] * 50 + [None, "bob"]
        tasks = [
            asyncio.create_task(writer.submit(held(gate, appending(f"{user}-{number}")), NEVER, Ticket(user)))
            for number, user in enumerate(users)
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(crowd())

    assert subjects(log)[:8] == ["ann-0", "eve-1", "bob-51", "None-102", "eve-2", "bob-103", "eve-3", "eve-4"]
    assert log.head().position == 104


# What others append.


def test_what_others_appended_is_followed_in_order_before_the_next_decision(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, watch: Watch, engine: Engine
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    other = engine.open().log
    seen: list[int] = []

    def work(transaction: Transaction) -> int:
        seen.append(len(watch.followed))
        return appending(f"own-{len(seen)}")(transaction)

    submit(writer, work)
    theirs = record(other, "bob", *(created(f"bob-{number}") for number in range(10)))
    submit(writer, work)
    theirs += record(other, "ann", GoalRenamed("own-1", "x"))
    submit(writer, work, work)

    assert seen == [0, 10, 11, 11]
    assert watch.followed == theirs


def test_whoever_appends_alone_does_not_look_for_others_before_each_batch(
    writer: Writer, log: FaultyLog, watch: Watch, engine: Engine
) -> None:
    submit(writer, appending("a1"))
    log.reads.clear()
    submit(writer, appending("a2"))
    alone = list(log.reads)
    theirs = record(engine.open().log, "bob", created("b1"))
    submit(writer, appending("a3"))  # finds them when it has the lock
    submit(writer, appending("a4"))

    assert alone == []
    assert watch.followed == theirs
    assert log.reads == [None]


def test_what_was_there_before_the_start_is_not_followed(engine: Engine, log: FaultyLog, watch: Watch) -> None:
    record(engine.open().log, "ann", created("before"))
    with opened(log, watch) as writer:
        answers = submit(writer, appending("after"))

    assert answers == [2]
    assert watch.followed == []


def test_an_error_while_following_is_told_and_forgets_everything(
    engine: Engine, log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, error = Watch(), RuntimeError("cannot be folded")

    def follow(lines: Sequence[Recorded]) -> None:
        del lines
        raise error

    monkeypatch.setattr(watch, "follow", follow)
    with opened(log, watch) as writer:
        record(engine.open().log, "bob", created("theirs"))
        answers = submit(writer, appending("ours"))

        assert answers == [error]
        assert (subjects(log), watch.forgotten) == (["theirs"], 1)


# Commits that fail.


def test_a_full_disk_is_told_to_everybody_who_waited_and_the_writer_goes_on(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    full = StorageFull("no space is left")
    log.trouble = full
    refused = submit(writer, appending("a"), raising(ValueError("also this one")), appending("b"))
    log.trouble = None
    taken = submit(writer, appending("c"), appending("d"))

    assert refused == [full, full, full]
    assert taken == [1, 2]
    assert subjects(log) == ["c", "d"]
    assert (watch.forgotten, watch.failed) == (1, 0)


def test_a_database_error_while_deciding_ends_the_batch_for_everybody(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    broken = StorageFailed("reading failed")
    refused = submit(writer, appending("a"), raising(broken))
    taken = submit(writer, appending("b"))

    assert refused == [broken, broken]
    assert taken == [1]
    assert subjects(log) == ["b"]
    assert (watch.forgotten, watch.failed) == (1, 0)


@pytest.mark.parametrize("kept", [False, True])
def test_an_unknown_outcome_is_told_to_its_batch_and_nothing_is_taken_after_it(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch, kept: bool
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    log.trouble, log.kept = OutcomeUnknown("the commit failed"), kept
    unknown = submit(writer, appending("a"), appending("b"))
    log.trouble = None
    wait_until(lambda: watch.failed > 0)
    refused = submit(writer, appending("c"), appending("d"))

    assert [type(answer) for answer in unknown] == [OutcomeUnknown] * 2
    assert [type(answer) for answer in refused] == [StorageFailed] * 2
    assert subjects(log) == (["a", "b"] if kept else [])
    assert (watch.forgotten, watch.failed) == (1, 1)


def test_commands_behind_an_unknown_outcome_are_turned_away_and_not_recorded(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)
    log.trouble, log.kept = OutcomeUnknown("the commit failed"), True
    answers = submit(writer, *(appending(f"goal-{number}") for number in range(5)))
    wait_until(lambda: watch.failed > 0)

    assert [type(answer) for answer in answers] == [OutcomeUnknown] + [StorageFailed] * 4
    assert subjects(log) == ["goal-0"]
    assert watch.failed == 1


# A log that resumes: the process goes on after a commit whose outcome is unknown.


@pytest.fixture
def resuming(log: FaultyLog, monkeypatch: pytest.MonkeyPatch) -> FaultyLog:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.01)
    log.survives_unknown_commit = True
    return log


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("trouble", [OutcomeUnknown("the commit failed"), StorageFailed("a lock was not given")])
def test_after_a_failure_commands_are_refused_until_a_probe_is_committed_and_then_taken_by_the_same_process(
    monkeypatch: pytest.MonkeyPatch, resuming: FaultyLog, watch: Watch, trouble: StorageError, kept: bool
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    with opened(resuming, watch) as writer:
        resuming.trouble, resuming.kept = trouble, kept
        failed = submit(writer, appending("a"), appending("b"))
        refused = [refusal(writer) for _ in range(5)]
        resuming.trouble = None
        wait_until(lambda: refusal(writer) is None)
        taken = submit(writer, appending("c"), appending("d"))

    before = ["a", "b"] if kept else []
    assert failed == [trouble] * 2
    assert all(isinstance(error, StorageFailed | type(trouble)) for error in refused)
    assert taken == [len(before) + 1, len(before) + 2]
    assert subjects(resuming) == [*before, "c", "d"]
    assert [line.subject for line in watch.followed] == before  # what was forgotten comes back as if others had done it
    assert (watch.forgotten, watch.failed) == (1, 0)


def test_the_first_refusals_say_that_nothing_of_them_was_recorded(
    monkeypatch: pytest.MonkeyPatch, resuming: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)
    monkeypatch.setattr(module, "PROBE_SECONDS", PATIENT)
    with opened(resuming, watch) as writer:
        resuming.trouble, resuming.kept = OutcomeUnknown("the commit failed"), True
        answers = submit(writer, *(appending(f"goal-{number}") for number in range(5)))
        late = refusal(writer)

    assert [type(answer) for answer in answers] == [OutcomeUnknown] + [StorageFailed] * 4
    assert type(late) is StorageFailed
    assert "until the database takes them again: the commit failed" in str(late)
    assert subjects(resuming) == ["goal-0"]
    assert watch.failed == 0


def test_a_database_error_while_deciding_has_the_database_probed_before_more_is_taken(
    monkeypatch: pytest.MonkeyPatch, resuming: FaultyLog, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", PATIENT)
    broken = StorageFailed("the connection was lost")
    with opened(resuming, watch) as writer:
        refused = submit(writer, appending("a"), raising(broken))
        wait_until(lambda: refusal(writer) is None)
        taken = submit(writer, appending("b"))

    assert (refused, taken) == ([broken, broken], [1])
    assert (subjects(resuming), watch.failed) == (["b"], 0)


def test_a_full_disk_is_told_where_the_log_resumes_and_the_next_command_is_tried(
    resuming: FaultyLog, watch: Watch
) -> None:
    with opened(resuming, watch) as writer:
        resuming.trouble = StorageFull("no space is left")
        refused = submit(writer, appending("a"))
        resuming.trouble = None
        taken = submit(writer, appending("b"))

    assert ([type(one) for one in refused], taken) == ([StorageFull], [1])
    assert (subjects(resuming), watch.failed) == (["b"], 0)


def test_a_writer_in_trouble_can_be_closed_and_probes_no_more(
    monkeypatch: pytest.MonkeyPatch, resuming: FaultyLog, watch: Watch
) -> None:
    before = set(threading.enumerate())
    monkeypatch.setattr(module, "PROBE_SECONDS", PATIENT)
    with opened(resuming, watch) as writer:
        resuming.trouble = OutcomeUnknown("the commit failed")
        submit(writer, appending("a"))
        resuming.trouble = None

    assert set(threading.enumerate()) <= before
    assert watch.failed == 0
    assert isinstance(refusal(writer), StorageFailed)


@pytest.fixture
def shorter(tmp_path: Path) -> Iterator[Log]:
    """As a standby would have the log that took over without all of it."""
    with Engine(str(tmp_path / "shorter.db")) as engine:
        yield engine.open().log


@pytest.mark.parametrize("noticed", [False, True], ids=["silently", "behind a failure"])
def test_where_the_log_has_lost_events_the_process_ends(
    resuming: FaultyLog, watch: Watch, shorter: Log, noticed: bool
) -> None:
    with opened(resuming, watch) as writer:
        submit(writer, appending("a"), appending("b"))
        record(shorter, "ann", created("a"))
        if noticed:
            resuming.trouble = OutcomeUnknown("the primary is gone")
            submit(writer, appending("c"))
        resuming._log, resuming.trouble = shorter, None
        if not noticed:
            submit(writer, appending("c"))
        wait_until(lambda: watch.failed > 0)
        (refused,) = submit(writer, appending("d"))

    assert isinstance(refused, StorageFailed)
    assert "lost events" in str(refused)
    assert watch.failed == 1
    assert [line.subject for line in shorter.read()] == ["a"]


def test_a_log_that_is_as_long_as_before_has_lost_nothing(resuming: FaultyLog, watch: Watch, shorter: Log) -> None:
    with opened(resuming, watch) as writer:
        submit(writer, appending("a"))
        record(shorter, "ann", created("a"))
        resuming._log = shorter

        assert submit(writer, appending("b")) == [2]
    assert watch.failed == 0


# Keys.


def test_the_keys_of_all_that_wait_are_looked_up_at_once(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, watch: Watch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)  # the first one alone, while the others come to wait
    log, asked = engine.open().log, list[list[tuple[str, str]]]()

    class Asked(FaultyLog):
        @contextmanager
        def writing(self) -> Iterator[Transaction]:
            with super().writing() as transaction:
                prefetch = transaction.prefetch

                def noted(places: Sequence[tuple[str, str]], goal_ids: Sequence[str]) -> None:
                    asked.append(list(places))
                    prefetch(places, goal_ids)

                monkeypatch.setattr(transaction, "prefetch", noted)
                yield transaction

    async def wait_behind_one(writer: Writer) -> list[int]:
        gate = threading.Event()
        places = [None, (ANN, "k1"), (ANN, "k1"), None, ("account:", "k2")]
        works = [held(gate, keyed(None)), *(keyed(place) for place in places[1:])]
        tasks = [
            asyncio.create_task(writer.submit(work, NEVER, Ticket(place=place)))
            for work, place in zip(works, places, strict=True)
        ]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks)

    with opened(Asked(log), watch) as writer:
        answers = asyncio.run(wait_behind_one(writer))

    assert asked[1:] == [
        [(ANN, "k1"), (ANN, "k1"), ("account:", "k2")], [(ANN, "k1"), ("account:", "k2")], [("account:", "k2")],
        [("account:", "k2")],
    ]  # fmt: skip
    assert answers == [1, 2, -2, 3, 4]
    assert [key.key for key in log.commands()] == ["k2", "k1"]


def keyed(place: tuple[str, str] | None) -> Work:
    """Answers the event's position; where it is a repeat, the first one's, negative."""

    def work(transaction: Transaction) -> int:
        if place and (done := transaction.stored_key(*place)):
            return -done.first
        version = transaction.stream_head(ANN).version
        (line,) = transaction.append(ANN, version, [created(f"goal-{version}")], CAUSE)
        if place:
            transaction.store_key(StoredKey(*place, bytes(32), line.position, line.position))
        return line.position

    return work


@pytest.mark.parametrize("seconds", [0, PATIENT], ids=["batch by batch", "in one batch"])
def test_a_key_that_comes_again_among_those_that_wait_is_known(
    monkeypatch: pytest.MonkeyPatch, writer: Writer, log: FaultyLog, seconds: float
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", seconds)

    async def all_at_once() -> list[int]:
        places = [(ANN, f"k{number % 3}") for number in range(9)]
        return await asyncio.gather(*(writer.submit(keyed(place), NEVER, Ticket(place=place)) for place in places))

    assert asyncio.run(all_at_once()) == [1, 2, 3, -1, -2, -3, -1, -2, -3]
    assert log.head().position == 3


# The start.


@pytest.mark.parametrize("trouble", [StorageFull("full"), StorageFailed("broken"), OutcomeUnknown("worse")])
def test_until_a_probe_is_committed_commands_are_refused_and_then_taken(
    monkeypatch: pytest.MonkeyPatch, log: FaultyLog, watch: Watch, trouble: StorageError
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.01)
    log.trouble = trouble
    with opened(log, watch) as writer:
        before = [refusal(writer) for _ in range(3)]
        log.trouble = None
        wait_until(lambda: refusal(writer) is None)
        taken = submit(writer, appending("a"))

    assert [type(one) for one in before] == [type(trouble)] * 3
    assert taken == [1]
    assert (watch.failed, subjects(log)) == (0, ["a"])


def test_a_refusal_does_not_grow_with_each_command_that_it_refuses(log: FaultyLog, watch: Watch) -> None:
    log.trouble = StorageFailed("broken")
    with opened(log, watch) as writer:
        refusals = [refusal(writer) for _ in range(50)]

    assert refusals[-1] is not None
    assert len(list(traceback.walk_tb(refusals[-1].__traceback__))) < 20


def test_a_writer_that_never_got_to_work_can_be_closed(log: FaultyLog, watch: Watch) -> None:
    before = set(threading.enumerate())
    log.trouble = OutcomeUnknown("broken")
    with opened(log, watch):
        pass

    assert watch.failed == 0
    assert set(threading.enumerate()) <= before


# The end.


def test_closing_finishes_what_was_taken(log: FaultyLog, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)

    async def close_early() -> list[int]:
        gate = threading.Event()
        with opened(log, watch) as writer:
            works = [held(gate, appending("goal-0")), *(appending(f"goal-{number}") for number in range(1, 20))]
            tasks = [asyncio.create_task(writer.submit(work)) for work in works]
            await asyncio.sleep(0)
            closing = asyncio.create_task(asyncio.to_thread(writer.close))
            await asyncio.sleep(0)
            gate.set()
            await closing
            return await asyncio.gather(*tasks)

    assert asyncio.run(close_early()) == list(range(1, 21))
    assert subjects(log) == [f"goal-{number}" for number in range(20)]


def test_a_closed_writer_refuses_and_keeps_nobody_waiting(log: FaultyLog, watch: Watch) -> None:
    with opened(log, watch) as writer:
        pass

    async def late() -> None:
        await asyncio.wait_for(writer.submit(appending("late")), 2)

    with pytest.raises(StorageError):
        asyncio.run(late())
    assert subjects(log) == []


def test_what_comes_in_the_moment_in_which_the_writer_ends_is_refused(log: FaultyLog, watch: Watch) -> None:
    async def close_behind() -> None:
        with opened(log, watch) as writer:
            late = asyncio.create_task(writer.submit(appending("late")))
            await asyncio.sleep(0)  # it has been taken, and not yet been handed to the thread
        await asyncio.wait_for(late, 2)

    with pytest.raises(StorageError):
        asyncio.run(close_behind())
    assert subjects(log) == []


# Several writers.


def test_writers_on_one_log_take_turns_and_each_follows_the_others(engine: Engine) -> None:
    watches = [Watch(), Watch()]
    logs = [FaultyLog(engine.open().log) for _ in watches]

    async def write(writer: Writer, name: str) -> list[int]:
        return [await writer.submit(appending(f"{name}-{number}")) for number in range(100)]

    async def both(*writers: Writer) -> list[list[int]]:
        return await asyncio.gather(*(write(writer, name) for writer, name in zip(writers, "ab", strict=True)))

    with opened(logs[0], watches[0]) as one, opened(logs[1], watches[1]) as two:
        versions = asyncio.run(both(one, two))
        submit(one, appending("end of a"))
        submit(two, appending("end of b"))

    assert sorted(itertools.chain(*versions)) == list(range(1, 201))
    lines = logs[0].log.read()
    assert [line.version for line in lines] == list(range(1, 203))
    assert watches[0].followed == [line for line in lines[:200] if str(line.subject).startswith("b")]
    assert watches[1].followed == [line for line in lines if "a" in str(line.subject).split("-")[0].split()[-1]]
