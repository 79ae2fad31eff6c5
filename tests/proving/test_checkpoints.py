"""Checkpoints: signed once for what the log is, kept through crashes, and held against the log."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from es_goals.ids import wall_clock
from es_goals.proofs import ProofRefused, read_checkpoint, read_note, verify_checkpoint, verify_consistency
from es_goals.proving.checkpoints import BadCheckpoints, CheckpointFile, Checkpoints, Contradicted, Keeper, read_signed
from es_goals.proving.keys import BadKey, Signer, make_key, read_keys
from es_goals.proving.tree import HashTree
from es_goals.storage import Storage, copying
from es_goals.storage.errors import StorageFailed, StorageFull
from tests.support.engines import NOW, Engine, HandClock, hear, open_storage, say, start, wait_until
from tests.support.histories import many, record, register

KEY = make_key("goals.example/log")
VKEY = KEY.verifier.vkey
SECOND = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.jsonl"


@pytest.fixture
def storage(engine: Engine) -> Storage:
    storage = engine.open()
    register(storage.log, "ann")
    record(storage.log, "ann", *many(9))
    return storage


def checkpoints(storage: Storage, path: Path | None, clock: HandClock | None = None, keys: Any = (KEY,)) -> Checkpoints:
    """Of a log, kept in a file, or in memory."""
    signer = Signer(KEY.verifier.name if keys else storage.log.id, keys)
    keeper = CheckpointFile(str(path)) if path else Keeper()
    return Checkpoints(storage.log, HashTree(storage), signer, keeper, clock or HandClock())


def lines(path: Path) -> list[dict[str, Any]]:
    """What the file has."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_checkpoint_is_signed_kept_and_says_what_the_log_is(storage: Storage, path: Path) -> None:
    note = checkpoints(storage, path).current()

    said = verify_checkpoint(note, VKEY)
    assert (said.origin, said.size, said.root) == ("goals.example/log", 10, HashTree(storage).at(10).root())
    assert lines(path) == [{"at": "2026-11-23T08:00:00Z", "note": note}]
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_key_it_is_unsigned_and_named_by_the_log(storage: Storage, path: Path) -> None:
    note = checkpoints(storage, path, keys=()).current()

    assert note.startswith(f"{storage.log.id}\n10\n")
    assert note.endswith("\n\n")
    with pytest.raises(ProofRefused, match="expected a signature"):
        verify_checkpoint(note, VKEY)


@pytest.mark.parametrize("is_file", [True, False], ids=["file", "memory"])
def test_a_log_that_did_not_grow_is_signed_once(storage: Storage, path: Path, is_file: bool) -> None:
    signing = checkpoints(storage, path if is_file else None)
    note = signing.current()

    assert signing.current() == note
    record(storage.log, "ann", *many(1, 99))
    assert signing.current() != note
    assert not is_file or len(lines(path)) == 2


def test_an_empty_log_has_a_checkpoint_too(engine: Engine, path: Path) -> None:
    storage = engine.open()
    first = checkpoints(storage, path)

    assert verify_checkpoint(first.current(), VKEY).size == 0
    register(storage.log, "ann")
    assert verify_checkpoint(first.current(), VKEY).size == 1


def test_the_tick_signs_at_most_once_a_second(storage: Storage, path: Path) -> None:
    clock = HandClock()
    signing = checkpoints(storage, path, clock)
    assert signing.tick()
    clock.now += SECOND - 1
    assert signing.tick()

    record(storage.log, "ann", *many(1, 99))
    assert not signing.tick()
    clock.now += 1
    assert signing.tick()
    assert [verify_checkpoint(one["note"], VKEY).size for one in lines(path)] == [10, 11]


def test_a_clock_that_was_set_back_does_not_stop_the_signing(storage: Storage, path: Path) -> None:
    clock = HandClock()
    signing = checkpoints(storage, path, clock)
    signing.tick()
    record(storage.log, "ann", *many(1, 99))

    clock.now -= 60 * SECOND

    assert signing.tick()
    assert len(lines(path)) == 2


def test_where_nothing_is_kept_the_tick_signs_nothing(storage: Storage) -> None:
    signing = checkpoints(storage, None)

    assert signing.tick()
    signing.finish()
    assert signing.newest() is None


def test_each_is_consistent_with_the_one_before(storage: Storage, path: Path) -> None:
    signing = checkpoints(storage, path)
    for number in range(8):
        signing.current()
        record(storage.log, "ann", *many(number * 20 + 1, 1_000 * (number + 1)))

    said = [verify_checkpoint(one["note"], VKEY) for one in lines(path)]
    for old, new in pairwise(said):
        proof = HashTree(storage).at(new.size).consistency(old.size)
        verify_consistency(old.size, old.root, new.size, new.root, proof)


def test_two_nodes_that_sign_one_log_at_once_do_not_contradict_each_other(engine: Engine, tmp_path: Path) -> None:
    one, other = engine.open(), engine.open()
    register(one.log, "ann")
    files = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    nodes = [checkpoints(one, files[0]), checkpoints(one, files[0]), checkpoints(other, files[1])]
    over = threading.Event()

    def sign(node: Checkpoints) -> None:
        while not over.is_set():
            node.current()

    def signed(size: int) -> bool:
        newest = [node.newest() for node in nodes]
        return all(one is not None and one.size == size for one in newest)

    with ThreadPoolExecutor(3) as pool:
        signing = [pool.submit(sign, node) for node in nodes]
        try:
            for number in range(1, 9):
                record(one.log, "ann", *many(20, 1_000 * number))
                wait_until(lambda size=1 + 20 * number: signed(size))  # type: ignore[misc]
        finally:
            over.set()
        for each in signing:
            each.result()

    said = {verify_checkpoint(line["note"], VKEY) for file in files for line in lines(file)}
    assert len({note.size for note in said}) == len(said) >= 8
    whole = HashTree(one).at(max(note.size for note in said))
    for note in said:
        verify_consistency(note.size, note.root, whole.size, whole.root(), whole.consistency(note.size))
    for file in files:
        sizes = [verify_checkpoint(line["note"], VKEY).size for line in lines(file)]
        assert sizes == sorted(set(sizes))


def test_both_engines_give_the_same_checkpoint_for_the_same_log(engine: Engine, tmp_path: Path) -> None:
    with closing(open_storage(str(tmp_path / "source.db"), wall_clock)) as source, closing(engine.open()) as target:
        register(source.log, "ann")
        record(source.log, "ann", *many(300))
        copying.copy(source.log, target.log, lambda _done, _total: None)

        assert checkpoints(source, None).current() == checkpoints(target, None).current()


def sign_for_ever(db: str, path: str) -> None:
    """In a process that is killed: append and sign, and tell each time."""
    storage = open_storage(db, wall_clock)
    signing = checkpoints(storage, Path(path))
    with storage.log.writing() as transaction:
        number = transaction.position
    while True:
        number += 1
        record(storage.log, "ann", *many(3, 1_000 * number))
        say(signing.current().split("\n")[1])


def test_what_was_shown_is_kept_when_who_signs_is_killed(tmp_path: Path) -> None:
    db, path = str(tmp_path / "events.db"), tmp_path / "kept.jsonl"
    shown = 0
    with closing(open_storage(db, wall_clock)) as storage:
        register(storage.log, "ann")
    for kills in range(1, 4):
        with start(sign_for_ever, db, str(path)) as child:
            for _ in range(3 * kills):
                shown = int(hear(child))

        with closing(open_storage(db, wall_clock)) as storage:
            signing = checkpoints(storage, path)
            newest = signing.newest()
            assert newest is not None
            assert newest.size >= shown
            signing.expect_continued()
            assert read_checkpoint(read_note(signing.current())[0]).size == storage.log.head().position


@pytest.mark.parametrize("left", ["", '{"at":"2026-', '{"at":"2026-11-23T08:00:00Z","note":"x\\n5\\n"}'])
def test_a_line_that_a_crash_cut_off_is_written_over(storage: Storage, path: Path, left: str) -> None:
    first = checkpoints(storage, path).current()
    with path.open("a") as file:
        file.write(left)

    record(storage.log, "ann", *many(1, 99))
    second = checkpoints(storage, path).current()

    assert [one["note"] for one in lines(path)] == [first, second]


def test_a_file_that_has_only_a_part_of_its_first_line_begins_anew(storage: Storage, path: Path) -> None:
    path.write_text('{"at":"2026')

    assert checkpoints(storage, path).newest() is None
    note = checkpoints(storage, path).current()
    assert [one["note"] for one in lines(path)] == [note]


@pytest.mark.parametrize(
    "line", ["nonsense", "{}", '{"at":"2026-11-23T08:00:00Z","note":"x"}', '{"at":"2026-11-23T08:00:00","note":""}']
)
def test_a_file_of_something_else_is_left_alone(storage: Storage, path: Path, line: str) -> None:
    path.write_text(f"{line}\n")

    for ask in (checkpoints(storage, path).current, checkpoints(storage, path).newest):
        with pytest.raises(BadCheckpoints, match="expected a checkpoint a line"):
            ask()
    assert path.read_text() == f"{line}\n"


def test_a_file_without_lines_is_left_alone(storage: Storage, path: Path) -> None:
    path.write_bytes(b"\0" * 200_000)

    with pytest.raises(BadCheckpoints, match="expected lines"):
        checkpoints(storage, path).current()


def test_a_place_that_cannot_be_written_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="nowhere"):
        checkpoints(storage, tmp_path / "nowhere" / "kept").current()
    with pytest.raises(StorageFailed, match="checkpoints"):
        checkpoints(storage, tmp_path).newest()


def test_a_full_disk_loses_nothing_that_was_kept(storage: Storage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signing = checkpoints(storage, path)
    first = signing.current()
    record(storage.log, "ann", *many(1, 99))

    def full(descriptor: int, data: bytes, place: int) -> int:
        if len(data) > 5:
            return os.pwritev(descriptor, [data[:5]], place)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda *values: full(values[0], values[1][:9], values[2]))
        with pytest.raises(StorageFull, match="no space is left"):
            signing.current()

    second = signing.current()
    assert [one["note"] for one in lines(path)] == [first, second]


def longer(engine: Engine, path: Path) -> None:
    """Keep a checkpoint of another log, of 50 events."""
    del engine
    storage = open_storage(str(path.with_name("other.db")), wall_clock)
    register(storage.log, "bob")
    record(storage.log, "bob", *many(49))
    checkpoints(storage, path).current()
    storage.close()


def test_a_log_that_became_shorter_is_refused_and_signs_nothing(storage: Storage, engine: Engine, path: Path) -> None:
    longer(engine, path)
    before = path.read_bytes()
    signing = checkpoints(storage, path, HandClock(NOW + 10**12))

    for ask in (signing.current, signing.tick, signing.expect_continued):
        with pytest.raises(Contradicted, match=r"expected at least the 50 events .*; found 10 .*--accept-rollback"):
            ask()
    assert path.read_bytes() == before


def test_a_log_that_became_another_is_refused_and_signs_nothing(storage: Storage, engine: Engine, path: Path) -> None:
    longer(engine, path)
    record(storage.log, "ann", *many(60, 1_000))
    signing = checkpoints(storage, path, HandClock(NOW + 10**12))

    for ask in (signing.current, signing.tick, signing.expect_continued):
        with pytest.raises(Contradicted, match=r"at position 50; found .*--accept-rollback"):
            ask()
    assert len(lines(path)) == 1


def test_a_rollback_that_is_accepted_is_noted_and_gone_on_from(storage: Storage, engine: Engine, path: Path) -> None:
    longer(engine, path)
    signing = checkpoints(storage, path)

    note = signing.accept("restored after a fire")
    signing.expect_continued()
    record(storage.log, "ann", *many(1, 99))
    signing.current()

    assert [one.get("accepted") for one in lines(path)] == [None, "restored after a fire", None]
    assert lines(path)[1]["note"] == note
    assert [one.size for one in read_signed(path.read_bytes(), VKEY, "kept")] == [10, 11]


def test_a_rollback_that_did_not_happen_is_not_accepted(storage: Storage, path: Path) -> None:
    signing = checkpoints(storage, path)

    for _ in range(2):
        with pytest.raises(Contradicted, match="found one that does not"):
            signing.accept("because")
        signing.current()
    assert len(lines(path)) == 1


def test_a_new_key_signs_beside_the_old_one_and_then_alone(storage: Storage, path: Path) -> None:
    new = make_key(KEY.verifier.name)
    old_note = checkpoints(storage, path).current()

    both = checkpoints(storage, path, keys=(KEY, new)).current()
    alone = checkpoints(storage, path, keys=(new,)).current()

    assert (
        verify_checkpoint(both, VKEY) == verify_checkpoint(both, new.verifier.vkey) == verify_checkpoint(old_note, VKEY)
    )
    assert alone == both
    record(storage.log, "ann", *many(1, 99))
    alone = checkpoints(storage, path, keys=(new,)).current()
    assert verify_checkpoint(alone, new.verifier.vkey).size == 11
    with pytest.raises(ProofRefused):
        verify_checkpoint(alone, VKEY)


def test_a_key_is_read_as_it_was_written() -> None:
    assert [one.verifier for one in read_keys(f"{KEY.line}\n\n")] == [KEY.verifier]
    assert read_keys("") == []


@pytest.mark.parametrize(
    "text",
    [
        VKEY,
        KEY.line.replace("PRIVATE+KEY", "PRIVATE KEY"),
        KEY.line[:-4],
        KEY.line.replace("goals.example/log", "another"),
        KEY.line.replace("goals.example/log", ""),
        f"{KEY.line}\nmore",
        f"{KEY.line}\n{make_key('another').line}",
    ],
    ids=["verifier", "a space", "cut", "another name", "no name", "more", "two"],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(BadKey) as refused:
        read_keys(text)

    assert KEY.line[-20:] not in str(refused.value)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "\x00"])
def test_a_key_has_a_name_that_fits_into_a_line(name: str) -> None:
    with pytest.raises(BadKey, match="expected a name"):
        make_key(name)
