"""The writer: many commands in one commit, and what becomes of them when it fails."""

import asyncio
import itertools
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from es_goals.events import GoalRenamed, Recorded
from es_goals.storage import (
    Cause,
    Conflict,
    OutcomeUnknown,
    StorageError,
    StorageFailed,
    StorageFull,
    Transaction,
)
from es_goals.storage import writer as module
from es_goals.storage.writer import Batch, Writer
from tests.engines import DEADLINE, Engine, FaultyLog, wait_until
from tests.histories import created, record

CAUSE = Cause("command")
ANN = "user:ann"
PATIENT = 60.0

Work = Callable[[Transaction], int]


class Watch:
    """Notes what a writer tells its owner."""

    def __init__(self) -> None:
        self.followed: list[Recorded] = []
        self.forgotten = 0
        self.failed = 0
        self.batches: list[Batch] = []

    def follow(self, lines: Sequence[Recorded]) -> None:
        self.followed += lines

    def forget(self) -> None:
        self.forgotten += 1

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


async def together(writer: Writer, works: Sequence[Work]) -> list[Answer]:
    """Submit all while the writer is busy with the first one. Answers or errors, in order."""
    gate = threading.Event()
    tasks = [asyncio.create_task(writer.submit(work)) for work in (held(gate, works[0]), *works[1:])]
    await asyncio.sleep(0)  # each has submitted its work
    gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def submit(writer: Writer, *works: Work) -> list[Answer]:
    return asyncio.run(together(writer, works))


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
    assert watch.batches == [Batch(200, log.head().at)]


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
        with transaction.attempt():
            transaction.append("user:bob", 0, [created("undone")], CAUSE)
            return transaction.append(ANN, 99, [created("refused")], CAUSE)[0].version

    refused = ValueError("refused")
    answers = submit(writer, appending("first"), raising(refused), half_done, appending("last"))

    assert answers[:2] == [1, refused]
    assert isinstance(answers[2], Conflict)
    assert answers[3] == 2
    assert subjects(log) == ["first", "last"]
    assert (log.commits, watch.forgotten, watch.failed) == (1, 0, 0)
    assert [batch.commands for batch in watch.batches] == [4]


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

    assert [type(answer) for answer in answers] == [OutcomeUnknown] + [StorageFailed] * 4
    assert subjects(log) == ["goal-0"]
    assert watch.failed == 1


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
