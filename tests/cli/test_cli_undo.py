"""The command line's undo, and how the history tells of it."""

from pathlib import Path

import pytest

from es_goals.events import Event, GoalMoved
from es_goals.ids import Uuid7, wall_clock
from es_goals.storage.log import Cause
from tests.support.commands import at_home, cli, done, make, misused, opened, refused
from tests.support.engines import HandClock
from tests.support.histories import created


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goal's first name, at 2 and 3; then b is moved under a."""
    at_home(tmp_path, monkeypatch)
    make()
    record(created("a", name="Run"))
    record(created("b", name="Read", rank="W"))
    record(GoalMoved("b", "V", "a"))


def record(event: Event) -> None:
    """A command of alice's, of about now."""
    with opened(clock=HandClock(wall_clock())) as storage, storage.log.writing() as transaction:
        version = transaction.stream_head("user:id-of-alice").version
        transaction.append("user:id-of-alice", version, [event], Cause(Uuid7(wall_clock)()))


def drawn() -> list[str]:
    return done(cli("tree", "alice")).splitlines()[1:]


def test_a_command_is_undone_by_a_position_and_that_again_is_redone() -> None:
    told = done(cli("undo", "alice", "--position", "4", "--reason", "a slip"))

    assert told.startswith("undid 1 command of alice: 1 goal changed, at position 5, by the command ")
    assert drawn() == ["├── · Run", "└── · Read"]
    assert done(cli("undo", "alice", "--position", "5")).startswith("undid 1 command of alice: 1 goal changed")
    assert drawn() == ["└── · Run  0/1", "    └── · Read"]
    history = done(cli("replay", "--after", "4")).splitlines()
    assert [line.partition("alice  ")[2] for line in history] == [
        "moved “Read” to the top, undid “moved “Read” under “Run””  (a slip)",
        "moved “Read” under “Run”, redid “moved “Read” under “Run””",
    ]


def test_the_last_command_is_the_one_before_those_that_are_undone() -> None:
    expected: list[list[str]] = [["Run", "Read"], ["Run"], []]
    for names in expected:
        done(cli("undo", "alice", "--last"))
        assert [line.split()[-1] for line in drawn()] == names

    assert refused(cli("undo", "alice", "--last")) == "expected a command of alice that is not undone; found none"


def test_what_is_undone_already_leaves_nothing() -> None:
    done(cli("undo", "alice", "--position", "4"))

    assert done(cli("undo", "alice", "--position", "4")) == "nothing is left to undo for alice\n"


def test_what_is_in_the_way_is_told_in_a_line_each_and_undone_along_if_asked() -> None:
    result = cli("undo", "alice", "--position", "2")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: expected nothing under “Run” but what this command put there; found “Read”, by position 4\n"
        "--with-later undoes 2 commands, with which it can be undone\n"
    )
    assert len(drawn()) == 2
    told = done(cli("undo", "alice", "--position", "2", "--with-later", "--dry-run"))
    assert told == "would undo 2 commands of alice: 2 goals changed\n"
    assert len(drawn()) == 2
    assert done(cli("undo", "alice", "--position", "2", "--with-later")).startswith(
        "undid 2 commands of alice: 2 goals"
    )
    assert drawn() == ["└── · Read"]


def test_an_undo_that_is_only_tried_records_nothing() -> None:
    assert (
        done(cli("undo", "alice", "--position", "4", "--dry-run")) == "would undo 1 command of alice: 1 goal changed\n"
    )
    assert drawn() == ["└── · Run  0/1", "    └── · Read"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--position", "1"], "expected the position of a command on goals of this user; found 1"),
        (["--position", "9"], "expected a position up to the head, 4; found 9"),
        (["--command", "x"], "expected the id of a command on goals of this user; found 'x'"),
    ],
)
def test_a_command_that_is_none_is_refused(options: list[str], said: str) -> None:
    assert refused(cli("undo", "alice", *options)) == said


@pytest.mark.parametrize("options", [[], ["--last", "--position", "2"], ["--command", "x", "--position", "2"]])
def test_one_command_must_be_named(options: list[str]) -> None:
    assert misused(cli("undo", "alice", *options)) == "expected one of --position, --command and --last"
