"""The command line's part of the time machine."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from es_goals.cli import main
from es_goals.events import GoalCompleted, GoalMoved
from tests.support.commands import at_home, cli, done, make, misused, refused
from tests.support.histories import START, created


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(tmp_path, monkeypatch)
    make(
        created("a", name="Run"), created("b", name="Read", rank="W"), created("c", "a", name="Zoë"),
        GoalMoved("c", "V", "b"), GoalCompleted("a", START),
    )  # fmt: skip


DIFFERS = ["✔ Run  done 2026-11-23", "→ Zoë  from “Run” to “Read”"]


def test_what_differs_is_told_in_a_line_a_goal() -> None:
    told = done(cli("diff", "alice", "--from", "4")).splitlines()

    assert told[0] == "alice, 2026-11-23 08:00 (4) … 2026-11-23 08:00 (6): progress 0/2 → 1/2"
    assert told[1:] == DIFFERS
    assert done(cli("diff", "alice", "--from", "4", "--to", "5")).splitlines()[1:] == DIFFERS[1:]
    assert done(cli("diff", "alice", "--from", "4", "--goal", "b")).splitlines()[1:] == DIFFERS[1:]


def test_what_differs_is_told_to_machines_as_the_service_does() -> None:
    told = json.loads(done(cli("diff", "alice", "--from", "4", "--json")))

    assert (told["user"], [goal["id"] for goal in told["goals"]]) == ("alice", ["a", "c"])


def test_lines_have_colours_on_a_terminal_only() -> None:
    arguments = ["diff", "alice", "--from", "4"]

    assert "\x1b" not in done(cli(*arguments))
    coloured = CliRunner().invoke(main, arguments, color=True).stdout
    assert "\x1b[32m✔ Run  done 2026-11-23\x1b[0m" in coloured


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--from", "7"], "--from"),
        (["--from", "2", "--to", "7"], "--to"),
        (["--from", "5", "--to", "4"], "--from"),
        (["--from", "2999-01-01T00:00:00Z"], "--from"),
        (["--from", "yesterday"], "--from"),
        ([], "--from"),
    ],
)
def test_what_is_no_span_is_wrong_usage(arguments: list[str], option: str) -> None:
    assert option in misused(cli("diff", "alice", *arguments))


def test_of_a_goal_that_is_not_there_nothing_differs() -> None:
    assert "expected a goal of this user" in refused(cli("diff", "alice", "--from", "0", "--goal", "unknown"))
    assert "expected a user's name" in refused(cli("diff", "bob", "--from", "0"))
