"""Damaged files: the service refuses them, or `verify` names the place, or what the log must begin with tells."""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from es_goals.events import Recorded
from es_goals.storage.errors import StorageError
from es_goals.upkeep.verification import Anchor, Mismatch, verify_log
from tests.support.commands import on
from tests.support.engines import HandClock
from tests.support.load import Load, fill, history, opened, serving
from tests.support.serving import free_port

PAGE, FRAME = 4096, 4120
DATABASE, WAL = "events.db", "events.db-wal"


class Intact(NamedTuple):
    """A log before it is damaged: its files, its events and its head."""

    folder: Path
    events: list[Recorded]
    head: Anchor


Logs = dict[str, Intact]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """One that was closed cleanly, and one whose processes were killed, with a WAL."""
    closed, killed = tmp_path_factory.mktemp("closed"), tmp_path_factory.mktemp("killed")
    with opened(closed / DATABASE, HandClock()) as storage:
        fill(storage, 300)
    shutil.copyfile(closed / DATABASE, killed / DATABASE)
    with serving(killed) as served:
        with Load(served, 2) as load:
            load.wait_for_more(100)
        served.kill()
    return {"closed": intact(closed), "killed": intact(killed)}


def intact(folder: Path) -> Intact:
    """Looked at in a copy, since looking changes a WAL."""
    with copied(folder) as copy:
        with opened(copy / DATABASE) as storage:
            head = verify_log(storage.log, None, lambda _done, _total: None).head
        return Intact(folder, history(copy / DATABASE), head)


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A folder with a copy of the log's files and nothing else, gone at the end."""
    copy = folder.with_name(f"{folder.name}-copy")
    copy.mkdir()
    try:
        for name in (DATABASE, WAL):
            if (folder / name).exists():
                shutil.copyfile(folder / name, copy / name)
        yield copy
    finally:
        shutil.rmtree(copy)


# What can happen to a file. It begins with a header, then come units of one size: pages or frames.

Harm = Callable[[bytearray, int, int, random.Random], None]


def flip_a_bit(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del header, unit
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


def flip_a_bit_in_the_header(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del unit
    raw[chance.randrange(header or 100)] ^= 1 << chance.randrange(8)


def flip_a_bit_at_a_boundary(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    raw[beginning(raw, header, unit, chance) + chance.randrange(24)] ^= 1 << chance.randrange(8)


def overwrite_some_bytes(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del header, unit
    at = chance.randrange(len(raw) - 16)
    raw[at : at + 16] = chance.randbytes(16)


def wipe_a_unit(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    at = beginning(raw, header, unit, chance)
    raw[at : at + unit] = bytes(unit)


def cut(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del header, unit
    del raw[chance.randrange(len(raw)) :]


def cut_at_a_boundary(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del raw[beginning(raw, header, unit, chance) :]


def lose_it(raw: bytearray, header: int, unit: int, chance: random.Random) -> None:
    del header, unit, chance
    raw.clear()


def beginning(raw: bytearray, header: int, unit: int, chance: random.Random) -> int:
    """Where a unit begins."""
    return header + unit * chance.randrange((len(raw) - header) // unit)


TIMES: dict[Harm, int] = {
    flip_a_bit: 6,
    flip_a_bit_in_the_header: 4,
    flip_a_bit_at_a_boundary: 5,
    overwrite_some_bytes: 3,
    wipe_a_unit: 3,
    cut: 4,
    cut_at_a_boundary: 4,
    lose_it: 1,
}
FILES = (("closed", DATABASE, 0, PAGE), ("killed", DATABASE, 0, PAGE), ("killed", WAL, 32, FRAME))
CASES = [
    pytest.param(log, file, header, unit, harm, seed, id=f"{log}-{file}-{harm.__name__}-{seed}")
    for log, file, header, unit in FILES
    for harm, times in TIMES.items()
    for seed in range(times)
]


@pytest.mark.parametrize(("log", "file", "header", "unit", "harm", "seed"), CASES)
def test_a_damaged_log_is_refused_or_its_fault_named_or_it_is_what_it_must_be(
    logs: Logs, log: str, file: str, header: int, unit: int, harm: Harm, seed: int
) -> None:
    raw = bytearray((logs[log].folder / file).read_bytes())
    harm(raw, header, unit, random.Random(f"{file} {harm.__name__} {seed}"))  # noqa: S311

    with copied(logs[log].folder) as copy:
        (copy / file).write_bytes(raw)
        fault = judged(copy, None)
    assert fault is None or len(fault.splitlines()) == 1
    with copied(logs[log].folder) as copy:
        (copy / file).write_bytes(raw)
        if judged(copy, logs[log].head) is None:
            assert history(copy / DATABASE) == logs[log].events


def judged(folder: Path, expect: Anchor | None) -> str | None:
    """Why the log is refused, or what is wrong with it; None if it is sound. Nothing else may be raised."""
    try:
        with opened(folder / DATABASE) as storage:
            verify_log(storage.log, expect, lambda _done, _total: None)
    except (StorageError, Mismatch) as error:
        return str(error)
    return None


# Chosen places, through the command line.


@pytest.fixture
def folder(logs: Logs) -> Iterator[Path]:
    """A copy of the killed log."""
    with copied(logs["killed"].folder) as copy:
        yield copy


def complaint(folder: Path, *arguments: str) -> str:
    """The one sentence of a command that must fail."""
    result = on(folder / DATABASE, *arguments)
    assert result.exit_code == 1, result.stdout + result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("{")]  # what is logged is JSON
    assert len(said) == 1
    assert said[0].startswith("Error: ")
    return said[0]


def replace(path: Path, old: bytes, new: bytes) -> None:
    """Every copy of some bytes that are in a file, by as many others."""
    raw = path.read_bytes()
    assert old in raw
    assert len(old) == len(new)
    path.write_bytes(raw.replace(old, new))


def test_an_undamaged_log_is_as_it_must_be(logs: Logs, folder: Path) -> None:
    assert on(folder / DATABASE, "verify", "--expect", str(logs["killed"].head)).exit_code == 0


def test_a_wal_cut_short_is_a_shorter_log_and_only_what_it_must_begin_with_tells(logs: Logs, folder: Path) -> None:
    events, head = logs["killed"].events, logs["killed"].head
    frames = (len((folder / WAL).read_bytes()) - 32) // FRAME
    with (folder / WAL).open("r+b") as wal:
        wal.truncate(32 + FRAME * (frames // 2))

    short = history(folder / DATABASE)
    assert short == events[: len(short)]
    assert 300 < len(short) < len(events)
    assert complaint(folder, "verify", "--expect", str(head)).startswith(
        f"Error: the log ends at position {len(short)}"
    )
    assert on(folder / DATABASE, "verify").exit_code == 0


def test_a_changed_letter_is_told_by_what_the_log_must_begin_with(logs: Logs, folder: Path) -> None:
    replace(folder / DATABASE, b'"name":"goal 8"', b'"name":"coal 8"')

    head = str(logs["killed"].head)
    assert complaint(folder, "verify", "--expect", head).startswith("Error: the log does not begin as expected")


def test_an_event_that_is_no_json_any_more_is_named_by_its_position(logs: Logs, folder: Path) -> None:
    at = next(line.position for line in logs["killed"].events if b'"name":"goal 8"' in line.data)
    replace(folder / DATABASE, b'"name":"goal 8"', b'"name":"goal 8!')

    assert complaint(folder, "verify").startswith(f"Error: position {at}: expected the JSON of a GoalCreated")
    assert complaint(folder, "replay").startswith(f"Error: position {at}: expected the JSON of a GoalCreated")


@pytest.mark.parametrize("command", [("verify",), ("replay",), ("backup", "copy"), ("rebuild",)])
def test_text_that_is_not_utf_8_is_told_in_a_sentence(folder: Path, command: tuple[str, ...]) -> None:
    replace(folder / DATABASE, b"GoalRenamed", b"GoalRe\xffamed")

    arguments = [str(folder / part) if part == "copy" else part for part in command]
    assert re.search("UTF-8|damaged|integrity|sound", complaint(folder, *arguments))
    assert not (folder / "copy").exists()


@pytest.mark.parametrize("name", [b"reason", b"schema", b"created_at", b"stream", b"users"])
def test_a_schema_with_a_changed_letter_is_told_in_a_sentence(folder: Path, name: bytes) -> None:
    raw = (folder / DATABASE).read_bytes()
    pages = [raw[start : start + PAGE] for start in range(0, len(raw), PAGE)]
    changed = [page.replace(name, name[:-1] + b"_") if b"CREATE " in page else page for page in pages]
    assert changed != pages
    (folder / DATABASE).write_bytes(b"".join(changed))
    (folder / WAL).unlink()

    assert re.search("expected|damaged", complaint(folder, "verify"))


def test_a_log_that_lost_its_id_is_refused(folder: Path) -> None:
    with closing(apsw.Connection(str(folder / DATABASE))) as connection:
        connection.execute("DELETE FROM log")

    assert complaint(folder, "verify").startswith("Error: expected")


def test_a_database_of_nothing_is_no_sound_log(folder: Path) -> None:
    (folder / WAL).unlink()
    (folder / DATABASE).write_bytes(b"")

    assert complaint(folder, "verify").startswith("Error: expected a log")
    assert (folder / DATABASE).read_bytes() == b""


@pytest.mark.parametrize("offset", [0, 16, 19, 68, 100], ids=["magic", "page size", "format", "our id", "schema"])
def test_the_service_does_not_start_on_a_database_whose_header_is_damaged(folder: Path, offset: int) -> None:
    raw = bytearray((folder / DATABASE).read_bytes())
    raw[offset] ^= 0x55
    (folder / DATABASE).write_bytes(raw)
    (folder / WAL).unlink()

    assert complaint(folder, "serve", "--open", "--port", str(free_port())).startswith("Error: expected")


def test_damaged_read_models_are_refused_and_folded_again_once_they_are_deleted(folder: Path) -> None:
    assert on(folder / DATABASE, "rebuild").exit_code == 0
    views = folder / "projections.db"
    views.write_bytes(b"\xff" * len(views.read_bytes()))
    refused = complaint(folder, "verify")
    for path in folder.glob("projections.db*"):
        path.unlink()

    assert "projections.db" in refused
    assert on(folder / DATABASE, "verify").exit_code == 0
