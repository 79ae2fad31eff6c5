"""The command line on the log and its read models: rebuild, rollback, verify, backup, restore; and progress."""

import os
import pty
import re
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest
from click.testing import Result

from es_goals import rebuild as rebuilding
from es_goals.cli import terminal
from es_goals.events import Event, GoalCompleted, GoalDeleted
from es_goals.proving.digest import TreeHash, event_bytes
from es_goals.storage.sessions import Session
from es_goals.upkeep.verification import lines
from tests.support.commands import (
    add_user,
    cli,
    done,
    head,
    live_table,
    make,
    misused,
    opened,
    process,
    refused,
    sentence,
    spoil,
)
from tests.support.engines import NOW
from tests.support.histories import START, created, many, record, tree_hash
from tests.support.serving import PATIENCE

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(autouse=True)
def _log(at_home: None) -> None:
    """Alice's registration and three events, Bob's registration and goal."""
    del at_home
    make(created("a", name="Run"), created("b", "a", name="Shoes"), GoalCompleted("b", START))
    with opened() as storage:
        record(storage.log, add_user(storage, "bob"), created("z", name="Sleep"))
    done(cli("verify"))


def plant() -> None:
    """A difference in the rows that readers see."""
    spoil(f"UPDATE {live_table('goal_tree')} SET name = 'Planted' WHERE id = 'a'", "projections.db")


def test_a_rebuild_folds_every_read_model_anew_and_compares() -> None:
    told = done(cli("rebuild")).splitlines()

    assert [line.partition(":")[0] for line in told] == ["goal_tree", "activity"]
    for line, rows in zip(told, (3, 2), strict=True):
        assert re.fullmatch(rf"\w+: 6 events, [\d,]+ a second, {rows} rows; equal to the old rows", line)


def test_a_rebuild_folds_only_those_named() -> None:
    assert [line.partition(":")[0] for line in done(cli("rebuild", "activity")).splitlines()] == ["activity"]


def test_a_rebuild_tells_what_changed_and_mends_it() -> None:
    plant()
    assert "Planted" in done(cli("tree", "alice"))

    told = done(cli("rebuild", "goal_tree"))

    assert told.endswith("; 1 old rows gone, 1 new ones: id-of-alice/a\n")
    assert "Run" in done(cli("tree", "alice"))
    done(cli("verify"))


def test_a_rebuild_of_one_user_mends_the_rows_of_no_other() -> None:
    spoil(f"UPDATE {live_table('goal_tree')} SET name = 'Planted'", "projections.db")

    assert done(cli("rebuild", "goal_tree", "--user", "alice")) == "goal_tree: folded 2 rows of alice anew\n"
    assert "Planted" not in done(cli("tree", "alice"))
    assert "Planted" in done(cli("tree", "bob"))


def test_a_rebuild_of_one_user_is_of_every_read_model() -> None:
    assert done(cli("rebuild", "--user", "alice")) == (
        "goal_tree: folded 2 rows of alice anew\nactivity: folded 1 rows of alice anew\n"
    )


@pytest.mark.parametrize("command", ["rebuild", "rollback"])
def test_a_name_that_no_read_model_has_is_refused(command: str) -> None:
    assert refused(cli(command, "goals")) == "expected one of goal_tree, activity; found 'goals'"


def test_a_rebuild_of_nobody_is_refused() -> None:
    assert "'carol'" in refused(cli("rebuild", "--user", "carol"))


def test_a_read_model_that_is_being_rebuilt_is_left_alone() -> None:
    with opened() as storage, storage.views.lease("goal_tree") as mine:
        assert mine
        assert refused(cli("rebuild")) == "goal_tree is being rebuilt"


def test_a_rollback_brings_the_rows_before_back() -> None:
    plant()
    done(cli("rebuild", "goal_tree"))

    told = done(cli("rollback", "goal_tree"))

    assert re.fullmatch(r"goal_tree: generation \d+ serves again, at position 6\n", told)
    assert "Planted" in done(cli("tree", "alice"))
    done(cli("rollback", "goal_tree"))
    assert "Planted" not in done(cli("tree", "alice"))


def test_what_a_rollback_brings_back_catches_up() -> None:
    done(cli("rebuild", "goal_tree"))
    with opened() as storage:
        record(storage.log, "id-of-alice", created("c", name="Read"))

    assert done(cli("rollback", "goal_tree")).endswith(" at position 7\n")
    assert "Read" in done(cli("tree", "alice"))
    done(cli("verify"))


def test_without_a_rebuild_there_is_nothing_to_roll_back_to() -> None:
    assert refused(cli("rollback", "goal_tree")) == "expected an earlier generation of goal_tree; found none"


def failed(result: Result) -> str:
    """The first difference; what was found sound before it is told."""
    assert result.exit_code == 1
    return sentence(result.stderr)


def test_verify_tells_what_is_sound_and_prints_the_head() -> None:
    assert done(cli("verify")) == (
        "log: 6 events, 2 users, 3 goals: sound\n"
        "goal_tree: 3 rows equal a fold from scratch\n"
        "activity: 2 rows equal a fold from scratch\n"
        f"{head()}\n"
    )


def test_an_empty_log_is_sound() -> None:
    with opened("new.db"):
        pass

    assert done(cli("--db", "new.db", "verify")).endswith(f"\n0:{TreeHash().root()}\n")


def test_read_models_that_were_deleted_are_folded_again(tmp_path: Path) -> None:
    for path in tmp_path.glob("projections.db*"):
        path.unlink()

    assert "goal_tree: 3 rows equal" in done(cli("verify"))


@pytest.mark.parametrize("position", range(7))
def test_a_log_that_begins_as_expected_is_sound(position: int) -> None:
    with opened() as storage:
        beginning = tree_hash(event_bytes(line) for line in lines(storage.log, position))

    done(cli("verify", "--expect", f"{position}:{beginning.root()}"))


@pytest.mark.parametrize("position", range(7))
def test_a_log_that_begins_otherwise_is_named(position: int) -> None:
    told = refused(cli("verify", "--expect", f"{position}:{'0' * 64}"))

    assert told.startswith(f"the log does not begin as expected: at position {position} its digest is ")


def test_a_log_that_is_shorter_than_expected_is_named() -> None:
    expected = f"7:{head().partition(':')[2]}"

    assert refused(cli("verify", "--expect", expected)) == "the log ends at position 6; expected 7"


def test_a_digest_in_superscript_is_wrong_usage() -> None:
    assert "expected <position>:<digest>" in misused(cli("verify", "--expect", f"²:{'0' * 64}"))


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        pytest.param(
            "UPDATE {goal_tree} SET name = 'Planted' WHERE id = 'b'",
            r"goal_tree at position 6, row \('id-of-alice', 'b'\): expected .*'Shoes'.*; found .*'Planted'.*",
            id="a changed row",
        ),
        pytest.param(
            "DELETE FROM {goal_tree} WHERE id = 'z'",
            r"goal_tree at position 6, row \('id-of-bob', 'z'\): expected \{.*\}; found no row",
            id="a missing row",
        ),
        pytest.param(
            "INSERT INTO {goal_tree} SELECT 'carol', 'x', NULL, name, description, start, due, end, rank,"
            " created_at, updated_at, revision, root FROM {goal_tree} WHERE id = 'a'",
            r"goal_tree at position 6, row \('carol', 'x'\): expected no row; found .*",
            id="a row of nobody",
        ),
        pytest.param(
            "UPDATE {activity} SET completed = 2 WHERE user = 'id-of-alice'",
            r"activity at position 6, row \('id-of-alice', '\d{4}-\d\d-\d\d'\): expected .*",
            id="a wrong count",
        ),
    ],
)
def test_a_difference_in_a_read_model_is_named(sql: str, told: str) -> None:
    tables = {name: live_table(name) for name in ("goal_tree", "activity")}
    spoil(sql.format(**tables), "projections.db")

    assert re.fullmatch(told, failed(cli("verify")))


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        pytest.param("DELETE FROM events WHERE position = 3", "position 4: expected position 3", id="a gap"),
        pytest.param("DELETE FROM events WHERE position = 1", "position 2: expected position 1", id="no beginning"),
        pytest.param(
            "UPDATE events SET version = 9 WHERE position = 4", "position 4: expected version 3", id="a version"
        ),
        pytest.param("UPDATE events SET at = at + 1 WHERE position = 3", "position 4: its time goes back", id="time"),
        pytest.param(
            "UPDATE events SET type = 'GoalEaten' WHERE position = 3", "position 3: expected one of", id="a type"
        ),
        pytest.param(
            "UPDATE events SET data = CAST('{' AS BLOB) WHERE position = 3",
            "position 3: expected the JSON",
            id="JSON",
        ),
        pytest.param(
            "UPDATE events SET subject = 'c' WHERE position = 3",
            "position 3: its subject is c, its data's b",
            id="a subject",
        ),
        pytest.param(
            "UPDATE events SET data = CAST(replace(CAST(data AS TEXT), ':\"a\"', ':\"q\"') AS BLOB) WHERE position = 3",
            "user:id-of-alice: goal b hangs under itself or under nothing",
            id="a parent",
        ),
        pytest.param(
            "DELETE FROM users WHERE name = 'alice'",
            "id-of-alice: expected a row for this user beside the log",
            id="a user's row",
        ),
    ],
)
def test_a_fault_in_the_log_is_named(sql: str, told: str) -> None:
    spoil(sql)

    assert told in failed(cli("verify"))


@pytest.mark.parametrize(
    ("events", "told"),
    [
        pytest.param([GoalDeleted("c", "c")], "goal d is not deleted, but its parent is", id="left below"),
        pytest.param(
            [GoalDeleted("d", "c")], "goal d was deleted along with c, but its parent was not", id="without its root"
        ),
        pytest.param(
            [GoalDeleted("d", "d"), GoalDeleted("c", "d")],
            "goal c was deleted along with d, but its parent was not",
            id="with one below it",
        ),
    ],
)
def test_deletions_that_do_not_hang_together_are_named(events: list[Event], told: str) -> None:
    with opened() as storage:
        record(storage.log, "id-of-alice", created("c", rank="V00005"), created("d", "c"), *events)

    assert f"user:id-of-alice: {told}" in failed(cli("verify"))


def test_a_missing_row_of_a_user_without_goals_is_named_too() -> None:
    with opened() as storage:
        add_user(storage, "carol")
    spoil("DELETE FROM users WHERE name = 'carol'")

    assert "id-of-carol: expected a row for this user beside the log" in failed(cli("verify"))


def test_a_log_cut_short_is_refused() -> None:
    content = Path("events.db").read_bytes()
    Path("events.db").write_bytes(content[: len(content) // 2])

    assert "damaged" in failed(cli("verify"))


def test_a_restored_backup_is_the_log() -> None:
    drawn, expected = done(cli("tree", "alice")), head()
    Path("new").mkdir()

    size, printed = done(cli("backup", "copy")).splitlines()
    told = done(cli("--db", "new/events.db", "restore", "copy")).splitlines()

    assert re.fullmatch(r"backed up \d+ bytes to copy", size)
    assert printed == expected
    assert {path.name for path in Path("copy").iterdir()} == {"events.db", "manifest.json"}
    assert told[-2:] == [expected, "restored new/events.db from copy"]
    assert done(cli("--db", "new/events.db", "tree", "alice")) == drawn
    assert done(cli("--db", "new/events.db", "verify", "--expect", printed))


def ended(path: str) -> list[bool]:
    """Of Alice's API tokens, whether each is revoked."""
    with opened(path) as storage:
        return [token.revoked_at is not None for token in storage.log.tokens("id-of-alice")]


def test_a_restored_log_has_no_tokens_and_no_sessions_that_are_good_unless_told_otherwise() -> None:
    for name in ("one", "two"):
        done(cli("token", "alice", "--for", name))
    done(cli("token", "alice", "--revoke", "all"))
    done(cli("token", "alice"))
    done(cli("backup", "copy"))

    told = done(cli("--db", "strict.db", "restore", "copy")).splitlines()
    kept = done(cli("--db", "kept.db", "restore", "copy", "--keep-tokens")).splitlines()

    assert told[0] == "revoked 1 API tokens (--keep-tokens keeps them)"
    assert told[-1] == "restored strict.db from copy"
    assert kept[-1] == "restored kept.db from copy"
    assert (ended("events.db"), ended("strict.db")) == ([True, True, False], [True, True, True])
    assert ended("kept.db") == [True, True, False]
    done(cli("--db", "strict.db", "verify"))


def test_a_restore_that_fails_behind_the_log_leaves_no_token_that_is_good() -> None:
    done(cli("token", "alice"))
    done(cli("backup", "copy"))
    with closing(apsw.Connection("new-projections.db")) as foreign:
        foreign.execute("CREATE TABLE theirs (id INTEGER)")

    result = cli("--db", "new.db", "restore", "copy")

    assert (result.exit_code, "found a database of something else" in result.stderr) == (1, True)
    with closing(apsw.Connection("new.db")) as log:
        assert log.execute("SELECT count(*), count(revoked_at) FROM tokens").fetchall() == [(1, 1)]


def test_a_restore_in_the_place_of_an_older_log_ends_the_sessions_that_were_left_there() -> None:
    with opened() as storage:
        storage.sessions.begin(Session("hash", "id-of-alice", "127.0.0.1", 0, NOW, NOW + 1))
    done(cli("backup", "copy"))
    for file in Path().glob("events.db*"):
        file.unlink()

    done(cli("restore", "copy"))

    with opened() as storage:
        assert storage.sessions.session("hash") is None


def test_a_folder_that_is_there_is_not_backed_up_into() -> None:
    Path("copy").mkdir()

    assert "expected a folder that does not exist yet; found copy" in refused(cli("backup", "copy"))
    assert list(Path("copy").iterdir()) == []


def test_a_log_that_is_there_is_not_replaced_by_a_backup() -> None:
    done(cli("backup", "copy"))
    before = head()

    assert "move it away first" in refused(cli("restore", "copy"))
    assert head() == before


@pytest.mark.parametrize("source", ["missing", "empty"])
def test_what_is_no_backup_is_not_restored(source: str) -> None:
    Path("empty").mkdir()

    assert "expected a backup's folder" in refused(cli("--db", "new.db", "restore", source))
    assert not Path("new.db").exists()


def test_a_damaged_backup_is_not_restored_and_leaves_nothing(tmp_path: Path) -> None:
    done(cli("backup", "copy"))
    content = Path("copy/events.db").read_bytes()
    Path("copy/events.db").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert "SHA-256" in refused(cli("--db", "new.db", "restore", "copy"))
    assert not list(tmp_path.glob("new.db*"))


def test_progress_is_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    make(*many(2_000), path="long.db")
    with opened("long.db") as storage:
        record(storage.log, add_user(storage, "bob"), *many(100, first=5_000))
    monkeypatch.setattr(terminal, "LINES_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(rebuilding, "ROWS_FILLED", 500)

    for command, told in (
        (["rebuild", "goal_tree"], ["rebuilding goal_tree: 2000 of 2102", "rebuilding goal_tree: 2102 of 2102"]),
        (["verify"], ["reading the log: 1000 of 2102", "folding goal_tree: 2 of 2", "folding activity: 2 of 2"]),
        (["backup", "copy"], [r"copying: (\d+) of \1"]),
    ):
        result = cli("--db", "long.db", *command)

        assert result.exit_code == 0
        shown = result.stderr.splitlines()
        assert all(re.fullmatch(r"[\w ]+: \d+ of \d+", line) for line in shown)
        assert [one for one in told if not any(re.fullmatch(one, line) for line in shown)] == []


def test_plain_lines_come_no_more_often_than_every_other_second(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 1.9, 2.0, 2.0, 3.9, 4.5, 4.5])
    tell = terminal._plain("folding", lambda: next(clock))

    for number in range(1, 6):
        tell(number, 5)

    assert capsys.readouterr() == ("", "folding: 3 of 5\nfolding: 5 of 5\n")


def test_a_quick_command_says_nothing_but_its_result() -> None:
    result = process("rebuild", "activity")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("activity: 6 events, ")


@pytest.mark.parametrize(("command", "end"), [("rebuild", "1201/1201"), ("verify", "1000/1201")])
def test_progress_is_a_bar_on_a_terminal(command: str, end: str) -> None:
    make(*many(1_200), path="long.db")

    status, shown = on_a_terminal("--db", "long.db", command)

    assert status == 0
    assert "━" in shown
    assert end in shown


def test_results_can_be_sent_elsewhere_while_the_bar_is_on_the_terminal() -> None:
    make(*many(1_200), path="long.db")

    status, shown = on_a_terminal("--db", "long.db", "rebuild", "goal_tree", stdout=Path("result.txt"))

    assert status == 0
    assert "━" in shown
    assert "goal_tree:" not in shown
    assert re.fullmatch(r"goal_tree: 1201 events, [\d,]+ a second, 600 rows; .+\n", Path("result.txt").read_text())


def on_a_terminal(*arguments: str, stdout: Path | None = None) -> tuple[int, str]:
    """Runs a command on a pseudo-terminal; answers its exit status and what the terminal was sent."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-m", "es_goals", *arguments]
    with stdout.open("wb") if stdout else os.fdopen(os.dup(theirs), "wb") as out:
        child = subprocess.Popen(command, stdin=theirs, stdout=out, stderr=theirs, env=env)  # noqa: S603
    os.close(theirs)
    shown = b""
    # Reading fails once nobody has the other end open.
    with suppress(OSError):
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    return child.wait(PATIENCE), shown.decode()
