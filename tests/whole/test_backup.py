"""Backups: made under load, they hold exactly the log up to a position, and only a whole one can be restored."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec
import pytest

from es_goals.ids import wall_clock
from es_goals.upkeep import backup
from es_goals.upkeep.verification import Anchor, Mismatch, parse_anchor, verify_log
from tests.support.commands import on
from tests.support.load import Load, command_line, fill, history, opened, serving
from tests.support.needs import small_disk
from tests.support.serving import Served, wait_for


def beside_the_log(db: Path, up_to: int) -> tuple[list[Any], list[Any]]:
    """The users who were registered, and the keys of commands that were recorded, up to a position."""
    with closing(apsw.Connection(str(db), apsw.SQLITE_OPEN_READONLY)) as connection:
        registered = "SELECT substr(stream, 9) FROM events WHERE stream LIKE 'account:%' AND position <= ?"
        users = connection.execute(f"SELECT * FROM users WHERE id IN ({registered}) ORDER BY id", (up_to,)).fetchall()
        keys = connection.execute("SELECT * FROM commands WHERE last <= ? ORDER BY stream, key", (up_to,)).fetchall()
        return users, keys


def anchor_in(output: str) -> Anchor:
    """What a command printed last."""
    return parse_anchor(output.splitlines()[-1])


# Under load.


class Made(NamedTuple):
    """A backup: where it is, what it says it holds, and up to where was acknowledged before it began."""

    folder: Path
    head: Anchor
    acknowledged: int


def test_a_backup_made_under_load_is_exactly_the_log_up_to_a_position_and_can_be_restored_elsewhere(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as served:
        with Load(served) as load:
            made = [back_up(served, load, tmp_path / f"backup-{number}") for number in range(2)]
        log = history(served.db)
        load.check(log)

        assert [one.head.position for one in made] == sorted({one.head.position for one in made})
        for one in made:
            assert one.head.position >= one.acknowledged
            with opened(served.db) as storage:
                verify_log(storage.log, one.head, lambda _done, _total: None)
            elsewhere = one.folder.with_name(f"{one.folder.name}-restored") / "events.db"
            elsewhere.parent.mkdir()
            restored = on(elsewhere, "restore", one.folder)

            assert restored.exit_code == 0, restored.stderr
            assert history(elsewhere) == log[: one.head.position]
            assert beside_the_log(elsewhere, len(log)) == beside_the_log(served.db, one.head.position)
        assert anchor_in(on(elsewhere, "verify", "--expect", str(made[0].head)).stdout) == made[-1].head


def back_up(served: Served, load: Load, folder: Path) -> Made:
    """While the clients go on."""
    load.wait_for_more(50)
    acknowledged = max(told.position for told in load.told())
    result = on(served.database, "backup", folder)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in folder.iterdir()} == {"events.db", "manifest.json"}
    load.wait_for_more(1)
    return Made(folder, anchor_in(result.stdout), acknowledged)


def test_what_was_done_under_a_key_is_not_done_again_by_a_restored_service(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    key = {"Idempotency-Key": "the-key"}
    requests: list[tuple[str, dict[str, str]]] = [
        ("/v2/users", {"name": "ann"}),
        ("/v2/users/ann/goals", {"name": "the one"}),
    ]
    with serving(there) as served:
        first = [served.client.post(path, json=body, headers=key) for path, body in requests]
        assert on(served.database, "backup", tmp_path / "backup").exit_code == 0
    assert on(here / "events.db", "restore", tmp_path / "backup").exit_code == 0
    with serving(here) as served:
        again = [served.client.post(path, json=body, headers=key) for path, body in requests]
        other = served.client.post("/v2/users/ann/goals", json={"name": "another"}, headers=key)

        assert [answer.json() for answer in again] == [answer.json() for answer in first]
        assert [answer.headers["Position"] for answer in again] == ["1", "2"]
        assert [answer.headers["Idempotent-Replayed"] for answer in again] == ["true"] * 2
        assert other.status_code == 422
        assert len(history(served.db)) == 2


# What is refused.


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A sound backup."""
    with opened(tmp_path / "original.db") as storage:
        fill(storage, 300)
        backup.back_up(storage.log, tmp_path / "backup", wall_clock, lambda _done, _total: None)
    return tmp_path / "backup"


def restored(source: Path, target: Path) -> None:
    backup.restore(source, target, wall_clock, lambda _: None)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / backup.MANIFEST).read_bytes())
    return found


def change_manifest(folder: Path, **members: Any) -> None:
    (folder / backup.MANIFEST).write_bytes(msgspec.json.encode(manifest(folder) | members))


def change_database(folder: Path) -> None:
    """One letter of a goal's name."""
    path = folder / backup.DATABASE
    raw = path.read_bytes()
    assert b'"name":"goal 8"' in raw
    path.write_bytes(raw.replace(b'"name":"goal 8"', b'"name":"coal 8"'))


def change_both(folder: Path) -> None:
    """As somebody would who knows what a manifest is."""
    change_database(folder)
    change_manifest(folder, sha256=backup._sha256(folder / backup.DATABASE))


def cut_database(folder: Path) -> None:
    path = folder / backup.DATABASE
    path.write_bytes(path.read_bytes()[:-4096])


def shorter_log(folder: Path) -> None:
    """A sound log in place of a longer one that began like it."""
    position = manifest(folder)["position"]
    with closing(apsw.Connection(str(folder / backup.DATABASE))) as connection:
        connection.execute("DROP TRIGGER events_last")
        connection.execute("DELETE FROM events WHERE position = ?", (position,))
    change_manifest(folder, sha256=backup._sha256(folder / backup.DATABASE))


TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "a changed letter": change_database,
    "a cut database": cut_database,
    "a changed letter and its checksum": change_both,
    "a shorter log and its checksum": shorter_log,
    "another position": lambda folder: change_manifest(folder, position=manifest(folder)["position"] - 1),
    "a position beyond": lambda folder: change_manifest(folder, position=manifest(folder)["position"] + 1),
    "another digest": lambda folder: change_manifest(folder, digest="0" * 64),
    "another checksum": lambda folder: change_manifest(folder, sha256="0" * 64),
    "a later format": lambda folder: change_manifest(folder, format=2),
    "a manifest with a hole": lambda folder: (folder / backup.MANIFEST).write_bytes(b'{"format": 1}'),
    "a manifest that is no JSON": lambda folder: (folder / backup.MANIFEST).write_bytes(b"\xff"),
    "no manifest": lambda folder: (folder / backup.MANIFEST).unlink(),
    "no database": lambda folder: (folder / backup.DATABASE).unlink(),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_backup_that_was_tampered_with_is_refused_and_leaves_nothing(
    made: Path, tmp_path: Path, tamper: Callable[[Path], object]
) -> None:
    tamper(made)
    target = tmp_path / "new" / "events.db"
    target.parent.mkdir()

    with pytest.raises((backup.Refused, Mismatch), match=r"expected|damaged"):
        restored(made, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_restore_refuses_a_target_that_exists_and_leaves_it_alone(made: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / "new" / "events.db"
    target.parent.mkdir()
    there = target.with_name(f"events.db{ending}")
    there.write_bytes(b"somebody's")

    result = on(target, "restore", made)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith(f"Error: expected no log there yet; found {there}")
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {there.name: b"somebody's"}


def test_a_backup_refuses_a_folder_that_exists_and_leaves_it_alone(made: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}

    result = on(tmp_path / "original.db", "backup", made)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("Error: expected a folder that does not exist yet")
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_damaged_log_is_not_backed_up(tmp_path: Path) -> None:
    db = tmp_path / "events.db"
    with opened(db) as storage:
        fill(storage, 300)
    raw = db.read_bytes()
    db.write_bytes(raw.replace(b'"name":"goal 8"', b'"name":"goal 8!'))

    result = on(db, "backup", tmp_path / "backup")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "expected the JSON of a GoalCreated" in result.stderr
    assert not list(tmp_path.glob("backup*"))


# What is interrupted.

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the folder is there": lambda unfinished: unfinished.exists(),
    "the copy grows": lambda unfinished: size(unfinished / backup.DATABASE) > 0,
    "the copy is whole": lambda unfinished: size(unfinished / backup.DATABASE) > 2_000_000,
}


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_backup_that_was_killed_leaves_nothing_that_can_be_restored_and_the_next_one_is_made(tmp_path: Path) -> None:
    db, target = tmp_path / "events.db", tmp_path / "backup"
    unfinished = tmp_path / "backup.unfinished"
    with opened(db) as storage:
        fill(storage, 10_000)
    assert db.stat().st_size > 2_000_000

    for moment, come in MOMENTS.items():
        kill_a_backup(db, target, lambda: come(unfinished), moment)  # noqa: B023
        for left in (target, unfinished):
            with pytest.raises(backup.Refused, match="expected a backup's folder"):
                restored(left, tmp_path / "new.db")
    result = on(db, "backup", target)

    assert result.exit_code == 0, result.stderr
    assert not unfinished.exists()
    restored(target, tmp_path / "new.db")
    assert history(tmp_path / "new.db") == history(db)


def kill_a_backup(db: Path, target: Path, come: Callable[[], bool], moment: str) -> None:
    with subprocess.Popen(command_line(db, "backup", target), stderr=subprocess.DEVNULL) as making:  # noqa: S603
        wait_for(come, moment)
        making.kill()
        assert making.wait() == -signal.SIGKILL, moment


def test_a_backup_for_which_there_is_no_space_is_told_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "events.db") as storage:
        fill(storage, 3_000)
    with small_disk(tmp_path / "disk", "256k") as disk:
        result = on(tmp_path / "events.db", "backup", disk / "backup")

        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert result.stderr.startswith("Error: no space is left")
        assert list(disk.iterdir()) == []
