"""What commands are said to have done."""

from collections.abc import Sequence

import pytest

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    micros,
)
from es_goals.reads.overviews.sentences import sentence
from tests.reads.test_goal_tree import hardly_any_stack
from tests.support.histories import RANK, START, created
from tests.support.lives import NOW

AT = micros(NOW)
TREE = {"run": None, "shoes": "run", "laces": "shoes", "plan": "run", "read": None}
MANY = 20_000


def said(*events: GoalEvent) -> str:
    return told(events)[1]


def told(events: Sequence[GoalEvent]) -> tuple[str, str]:
    return sentence(events, AT, str.title, TREE)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (created("run"), "created “run”"),
        (created("shoes", "run"), "created “shoes” under “Run”"),
        (GoalRenamed("run", "Swim"), "renamed “Run” to “Swim”"),
        (GoalDescribed("run", "far"), "described “Run”"),
        (GoalScheduled("run", START), "scheduled “Run” from 2026-11-23T08:00:00Z"),
        (GoalScheduled("run", START, Instant("2027-04-25T08:00:00Z")),
         "scheduled “Run” from 2026-11-23T08:00:00Z, due 2027-04-25T08:00:00Z"),
        (GoalMoved("shoes", RANK), "moved “Shoes” to the top"),
        (GoalMoved("shoes", RANK, "read"), "moved “Shoes” under “Read”"),
        (GoalMoved("shoes", RANK, "run", spaced=True), "made room beside “Shoes”, which stays in its place"),
        (GoalCompleted("run", START), "completed “Run”"),
        (GoalCompleted("run", Instant("2026-11-22T08:00:00Z")), "completed “Run” at 2026-11-22T08:00:00Z"),
        (GoalReopened("run"), "reopened “Run”"),
        (GoalDeleted("run", "run"), "deleted “Run”"),
        (GoalRestored("shoes", RANK, "run"), "restored “Shoes” under “Run”"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)  # fmt: skip
def test_one_event_is_told_by_itself(event: GoalEvent, expected: str) -> None:
    assert told([event]) == (event.goal_id, expected)


def test_what_is_done_to_a_goal_and_all_below_it_names_the_goal() -> None:
    below = ("laces", "shoes", "plan")

    assert said(*(GoalCompleted(one, START) for one in (*below, "run"))) == "completed “Run” and 3 below"
    assert said(*(GoalDeleted(one, "run") for one in (*below, "run"))) == "deleted “Run” and 3 below"
    assert said(*(GoalReopened(one) for one in ("run", "laces"))) == "reopened “Run” and 1 below"
    assert told([GoalCompleted("laces", START), GoalCompleted("shoes", START)])[0] == "shoes"


def test_several_goals_beside_each_other_are_counted_as_more() -> None:
    assert said(GoalDeleted("shoes", "shoes"), GoalDeleted("read", "read")) == "deleted “Shoes” and 1 more"
    assert said(created("run"), created("shoes", "run"), created("read")) == "created “run” and 2 more"
    assert said(GoalMoved("plan", RANK), GoalMoved("shoes", RANK)) == "moved “Plan” and 1 more"


def test_different_things_are_told_one_after_the_other() -> None:
    assert said(GoalRenamed("run", "Swim"), GoalDescribed("run", "far")) == "renamed “Run” to “Swim”, described “Run”"
    assert (
        said(created("new"), GoalMoved("shoes", RANK, "new"), GoalMoved("plan", RANK, "new"))
        == "created “new”, moved “Shoes” and 1 more"
    )


def test_the_last_of_several_changes_of_one_goal_is_told() -> None:
    assert said(GoalRenamed("run", "Swim"), GoalRenamed("run", "Walk")) == "renamed “Run” to “Walk”"


def test_what_only_makes_way_is_not_told() -> None:
    room = [GoalMoved(one, RANK, "run", spaced=True) for one in ("shoes", "plan")]

    assert said(*room, GoalMoved("laces", RANK, "run")) == "moved “Laces” under “Run”"
    assert said(GoalScheduled("run", START), GoalCompleted("run", START)) == "completed “Run”"
    assert said(GoalScheduled("run", START), GoalCompleted("read", START)).startswith("scheduled “Run” from")
    assert said(*room) == "moved “Shoes” and 1 more"


@pytest.mark.parametrize("step", [1, 2, MANY - 1])
def test_a_chain_of_any_depth_needs_no_stack(step: int) -> None:
    parents = {f"g{at}": f"g{at - 1}" if at else None for at in range(MANY)}
    events = [GoalCompleted(f"g{at}", START) for at in range(0, MANY, step)]

    with hardly_any_stack():
        assert sentence(events, AT, str, parents) == ("g0", f"completed “g0” and {len(events) - 1} below")


def test_a_created_goal_is_called_as_it_was_created() -> None:
    events: list[GoalEvent] = [GoalCreated("run", "Swim", START, RANK)]

    assert sentence(events, AT, lambda _: "now", {}) == ("run", "created “Swim”")
