"""The command line's part of the time machine."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from es_goals.cli import main
from es_goals.events import (
    Event,
    GoalCompleted,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
)
from es_goals.storage.log import Cause
from tests.support.commands import at_home, cli, done, make, misused, opened, refused
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


def test_each_field_of_a_goal_is_told_with_the_event_that_made_it() -> None:
    told = done(cli("blame", "c")).splitlines()

    assert told[0] == "Zoë  c"
    assert told[1] == f"  name         {'Zoë':<32}        4  2026-11-23 08:00:00  GoalCreated"
    assert told[6] == f"  parent_id    {'b':<32}        5  2026-11-23 08:00:00  GoalMoved"
    assert told[10:] == [
        f"  named        {'Read':<32}        3  2026-11-23 08:00:00  GoalCreated",
        f"  placed       {'':<32}        3  2026-11-23 08:00:00  GoalCreated",
    ]
    assert f"  parent_id    {'a':<32}        4" in done(cli("blame", "c", "--as-of", "4"))


def test_who_and_why_are_told_and_long_texts_cut() -> None:
    with opened() as storage, storage.log.writing() as transaction:
        events: list[Event] = [GoalDescribed("a", "x" * 40), GoalRenamed("a", "Run\u2028far")]
        transaction.append("user:id-of-alice", 5, events, Cause("late", "id-of-alice", "a whim"))
        transaction.append("user:id-of-alice", 7, [GoalReopened("a")], Cause("later", "gone"))

    told = done(cli("blame", "a"))

    assert f"  description  {'x' * 31}…        7  2026-11-23 08:00:00  alice  GoalDescribed  (a whim)" in told
    assert f"  end          {'none':<32}        9  2026-11-23 08:00:00  gone  GoalReopened" in told


def test_blame_tells_all_below_and_machines_what_the_service_answers() -> None:
    below = done(cli("blame", "b", "--below"))

    assert [line for line in below.splitlines() if not line.startswith(" ")] == ["Read  b", "Zoë  c"]
    assert json.loads(done(cli("blame", "c", "--json")))["position"] == 6
    assert len(json.loads(done(cli("blame", "b", "--below", "--json")))["goals"]) == 2


def test_blame_of_what_is_not_there_is_refused() -> None:
    assert "expected the id of a goal" in refused(cli("blame", "unknown"))
    assert "expected a goal of this user" in refused(cli("blame", "c", "--as-of", "3"))
    assert "up to the head, 6" in misused(cli("blame", "c", "--as-of", "7"))


def test_a_tree_can_be_drawn_of_what_is_found() -> None:
    assert done(cli("tree", "alice", "--find", "ZOE")) == "alice\n└── · Read  0/1\n    └── · Zoë\n"
    assert done(cli("tree", "alice", "--as-of", "4", "--find", "zoe -read")).splitlines()[1] == "└── · Run  0/1"
    assert done(cli("tree", "alice", "--find", "nothing")) == "alice\n"
    assert "--find" in misused(cli("tree", "alice", "--find", "-zoe"))


def test_the_history_tells_what_an_event_undid_or_did_again() -> None:
    events: dict[str, Event] = {
        "made": created("d", name="Swim", rank="X"),
        "undo": GoalDeleted("d", "d", undoes="made"),
        "redo": GoalRestored("d", "X", undoes="undo"),
    }
    with opened() as storage:
        for version, (command, event) in enumerate(events.items(), start=5):
            with storage.log.writing() as transaction:
                transaction.append("user:id-of-alice", version, [event], Cause(command))

    for options in ([], ["--goal", "d"], ["--type", "GoalDeleted"], ["--after", "7"]):
        told = [line.split("  ")[-1] for line in done(cli("replay", *options)).splitlines()]
        assert "deleted “Swim”, undid “created “Swim””" in told
        assert options[:1] == ["--type"] or told[-1] == "restored “Swim”, redid “created “Swim””"
