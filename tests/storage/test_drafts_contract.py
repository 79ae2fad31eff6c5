"""What a log promises about the drafts beside it, on every engine; and that they are copied and backed up with it."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from msgspec import structs

from es_goals.storage import Storage, open_log
from es_goals.storage.copying import copy
from es_goals.storage.drafts import PAGE, Draft
from es_goals.storage.log import Cause, Log, Transaction
from tests.support.engines import ENGINES, NOW, Engine, HandClock, open_storage
from tests.support.histories import created, record, register

ANN = Draft("draft-1", "ann", "A plan 🏃", 3, 2, 1, NOW, NOW + 1, None, '[{"name":"\\u0000 „x“"}]')
APPLIED = Draft("draft-2", "ann", "done", 2**53 + 1, 2**53 + 1, 2**53 + 1, NOW, 2**53 + 1, 2**53 + 2)
BOB = Draft("draft-3", "bob", "of bob's", 0, 0, 1, NOW, NOW)


@pytest.fixture
def log(engine: Engine) -> Log:
    log = engine.open().log
    put(log, BOB, APPLIED, ANN)
    return log


def put(log: Log, *drafts: Draft) -> None:
    with log.writing() as transaction:
        for draft in drafts:
            transaction.put_draft(draft)


def remove(log: Log, *ids: str) -> None:
    with log.writing() as transaction:
        for one in ids:
            transaction.remove_draft(one)


def all_of(log: Log) -> list[Draft]:
    return log.drafts(limit=1_000)


def test_drafts_are_kept_with_all_that_is_known_of_them(log: Log, engine: Engine) -> None:
    for one in (log, engine.open().log):
        assert all_of(one) == [ANN, APPLIED, BOB]
        assert [one.draft("ann", "draft-1"), one.draft("bob", "draft-3")] == [ANN, BOB]


def test_a_draft_is_found_under_its_user_only(log: Log) -> None:
    assert [log.draft("bob", "draft-1"), log.draft("ann", "draft-9"), log.draft("", "")] == [None] * 3


def test_a_user_s_drafts_are_listed_without_their_commands(log: Log) -> None:
    assert log.drafts_of("ann") == [structs.replace(ANN, commands="[]"), APPLIED]
    assert log.drafts_of("eve") == []


def test_a_draft_takes_the_place_of_what_it_was(log: Log) -> None:
    changed = Draft("draft-1", "ann", "another", 4, 3, 2, NOW + 5, NOW + 6, 7, "[1]")
    put(log, changed)

    assert all_of(log) == [changed, APPLIED, BOB]


def test_a_draft_that_is_dropped_is_gone_and_the_others_stay(log: Log) -> None:
    remove(log, "draft-2", "draft-9")

    assert all_of(log) == [ANN, BOB]


def test_drafts_are_read_in_pages(log: Log) -> None:
    assert log.drafts(limit=2) == [ANN, APPLIED]
    assert log.drafts("draft-2") == [BOB]
    assert log.drafts("draft-3") == []


class Undone(Exception):
    """What was written is not wanted."""


def spoil(transaction: Transaction) -> None:
    """Write drafts, and events behind them, and leave nothing of it."""
    before = transaction.changes
    transaction.put_draft(structs.replace(ANN, name="x"))
    transaction.remove_draft("draft-3")
    transaction.append("user:ann", 0, [created("goal")], Cause("command"))
    assert transaction.changes != before
    assert transaction.draft("ann", ANN.id) == structs.replace(ANN, name="x")
    assert transaction.draft("bob", BOB.id) is None
    raise Undone


def test_what_is_written_of_drafts_is_undone_with_all_else(log: Log) -> None:
    def alone() -> None:
        with log.writing() as transaction:
            spoil(transaction)

    with pytest.raises(Undone):
        alone()
    with log.writing() as transaction:
        transaction.remove_draft("draft-2")
        with suppress(Undone), transaction.savepoint():
            spoil(transaction)

    assert (all_of(log), log.read()) == ([ANN, BOB], [])


def test_a_draft_and_the_events_that_come_with_it_are_stored_together(log: Log) -> None:
    with log.writing() as transaction, transaction.batch():
        (line,) = transaction.append("user:ann", 0, [created("goal")], Cause("command"))
        transaction.put_draft(structs.replace(ANN, applied=line.position))
        transaction.append("user:ann", 1, [created("another")], Cause("command"))

    assert log.draft("ann", "draft-1") == structs.replace(ANN, applied=1)
    assert [one.subject for one in log.read()] == ["goal", "another"]


# Copies.


@pytest.fixture(params=[("sqlite", "postgres18"), ("postgres15", "sqlite")], ids="-to-".join)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Storage]]:
    """Two logs; the first has two users, and more drafts than are read at once."""
    with ExitStack() as opened:
        found = []
        for number, kind in enumerate(request.param):
            folder = tmp_path / str(number)
            folder.mkdir()
            storage = open_storage(opened.enter_context(ENGINES[kind](folder)), HandClock())
            opened.callback(storage.close)
            found.append(storage)
        source, target = found
        for name in ("ann", "bob"):
            register(source.log, name)
            record(source.log, name, created(f"goal of {name}"))
        put(source.log, ANN, BOB, *(structs.replace(ANN, id=f"more-{number:03}") for number in range(2 * PAGE)))
        yield source, target


def unheard(done: int, total: int) -> None:
    del done, total


def test_a_copy_has_the_drafts_and_follows_what_became_of_them(pair: tuple[Storage, Storage]) -> None:
    source, target = (storage.log for storage in pair)
    copy(source, target, unheard)
    assert all_of(target) == all_of(source)
    assert len(all_of(target)) == 2 * PAGE + 2

    put(source, structs.replace(ANN, name="another", revision=2), structs.replace(BOB, id="one-more"))
    remove(source, "more-001", "draft-3")
    copy(source, target, unheard)

    assert all_of(target) == all_of(source)


def test_a_copy_made_while_the_log_is_used_has_all_that_its_drafts_stand_on(pair: tuple[Storage, Storage]) -> None:
    source, target = (storage.log for storage in pair)

    def busy(done: int, total: int) -> None:
        del total
        position = record(source, "ann", created(f"goal-{done}"))[-1].position
        put(source, structs.replace(ANN, base=position, applied=position), structs.replace(ANN, id=f"z-{done}"))

    head = copy(source, target, busy)

    assert all(draft.base <= head.position and (draft.applied or 0) <= head.position for draft in all_of(target))
    assert ANN in all_of(target)
    assert source.draft("ann", ANN.id) != ANN


def test_a_backup_has_the_drafts(pair: tuple[Storage, Storage], tmp_path: Path) -> None:
    source = pair[0].log
    path = str(tmp_path / "backup.db")
    source.backup_into(path, unheard)

    backup = open_log(path, HandClock())
    try:
        assert all_of(backup) == all_of(source)
    finally:
        backup.close()
