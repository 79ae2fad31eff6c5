"""Where goals come among their siblings: ranks stay short, and who makes room for another stays in its place."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from es_goals.events import GoalCreated, GoalEvent, GoalMoved, GoalRestored
from es_goals.goals import ranks
from es_goals.goals.commands import Command, CreateGoal, DeleteGoal, MoveGoal, RestoreGoal
from es_goals.goals.outcome import _results
from es_goals.goals.ranks import LONGEST
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from tests.rules.test_goals import NOW, created, order, when
from tests.rules.test_goals import given as folded
from tests.support.limits import LIMITS

DEEP = "V00000" + "z" * (LONGEST - 6)
"""A rank with no room above it, before the next number."""


def ids(goals: Goals, parent_id: str | None = None) -> list[str]:
    """All that are there, deleted ones too, in order."""
    return [goal_id for _, goal_id in goals.siblings[parent_id]]


def next_to(beside: str, side: str, goal_id: str, new: bool) -> CreateGoal | MoveGoal:
    """A goal is made, or moves, before or after another one."""
    before, after = (beside, None) if side == "before" else (None, beside)
    return CreateGoal(goal_id, "Run", before=before, after=after) if new else MoveGoal(goal_id, UNSET, before, after)


def packed() -> Goals:
    """At the top a, b, c, d; there is no room between b and c, nor before the number of c."""
    ranks = {"a": "V00000", "b": DEEP, "c": "V00001", "d": "V00002"}
    return folded(*(created(goal_id, rank=rank) for goal_id, rank in ranks.items()))


@pytest.mark.parametrize(
    ("command", "goal_id", "expected"),
    [
        pytest.param(CreateGoal("n", "Run", before="c"), "n", "abncd", id="create"),
        pytest.param(MoveGoal("a", before="c"), "a", "bacd", id="move"),
        pytest.param(MoveGoal("d", after="b"), "d", "abdc", id="move back"),
    ],
)
def test_a_neighbour_makes_room_before_the_goal_comes(command: Command, goal_id: str, expected: str) -> None:
    goals = packed()

    moved, own = when(goals, command)

    assert order(goals, None) == expected
    assert isinstance(moved, GoalMoved)
    assert moved.spaced
    assert moved.goal_id in "bc"
    assert isinstance(own, GoalCreated | GoalMoved)
    assert own.goal_id == goal_id
    assert own.rank == goals.known[goal_id].rank
    assert not getattr(own, "spaced", False)


def test_who_makes_room_has_the_same_revision_and_time_and_parent() -> None:
    goals = folded(created("p"), created("b", "p", rank=DEEP), created("c", "p", rank="V00001"))
    before = {goal_id: copy.copy(goals.known[goal_id]) for goal_id in "bc"}

    *room, _ = when(goals, CreateGoal("n", "Run", "p", before="c"))

    assert [event.goal_id for event in room] == ["b"]
    assert goals.known["c"] == before["c"]
    assert goals.known["b"].rank != before["b"].rank
    before["b"].rank = goals.known["b"].rank
    assert goals.known["b"] == before["b"]


def test_a_deleted_neighbour_makes_room_too_and_comes_back_to_its_place() -> None:
    goals = packed()
    when(goals, DeleteGoal("b"))

    room = when(goals, CreateGoal("n", "Run", before="c"), CreateGoal("m", "Run", after="a"))
    assert ids(goals) == ["a", "m", "b", "n", "c", "d"]
    assert all(isinstance(event, GoalCreated) for event in room)
    when(goals, RestoreGoal("b"))
    assert order(goals, None) == "ambncd"


def test_the_commands_own_goal_is_answered_though_others_made_room() -> None:
    goals = packed()
    command = CreateGoal("n", "Run", before="c")
    events = when(goals, command)

    (result,) = _results(goals, [command], events)

    assert len(events) == 2
    assert result.goal == goals.known["n"]


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("beside", "abc")
@pytest.mark.parametrize("form", ["create", "move"])
def test_next_to_siblings_of_one_rank_there_is_room_in_the_very_place(side: str, beside: str, form: str) -> None:
    goals = folded(*(created(goal_id, rank="V00000") for goal_id in "abc"), created("x", rank="U00000"))
    expected = [goal_id for goal_id in "xabc" if form == "create" or goal_id != "x"]
    expected.insert(expected.index(beside) + (side == "after"), "n" if form == "create" else "x")

    when(goals, next_to(beside, side, "n" if form == "create" else "x", form == "create"))

    assert ids(goals) == expected


def test_a_move_among_equal_ranks_to_where_the_goal_is_records_nothing() -> None:
    goals = folded(*(created(goal_id, rank="V00000") for goal_id in "abc"))

    assert decide(goals, MoveGoal("b", after="a"), NOW, LIMITS) == ()
    assert decide(goals, MoveGoal("b", before="c"), NOW, LIMITS) == ()


def test_two_siblings_that_change_places_before_a_third_100_000_times_keep_short_ranks() -> None:
    goals = folded(created("a"), created("b"), created("c"))
    longest = spacings = 0

    for n in range(100_000):
        *room, own = when(goals, MoveGoal("ab"[n % 2], before="c"))
        assert isinstance(own, GoalMoved)
        longest = max(longest, len(own.rank))
        spacings += len(room)

    assert order(goals, None) == "abc"
    assert longest <= LONGEST
    assert spacings <= 1_000
    assert {goal_id: goals.known[goal_id].revision for goal_id in "abc"} == {"a": 50_001, "b": 50_001, "c": 1}


def test_10_000_goals_made_before_one_sibling_keep_short_ranks() -> None:
    goals = folded(created("a"), created("c"))
    spacings = 0

    for n in range(10_000):
        *room, _ = when(goals, CreateGoal(f"g{n}", "Run", before="c"))
        spacings += len(room)

    assert ids(goals) == ["a", *(f"g{n}" for n in range(10_000)), "c"]
    assert max(len(rank) for rank, _ in goals.siblings[None]) <= LONGEST
    assert spacings <= 200


def test_a_goal_that_comes_between_20_000_siblings_does_not_move_many() -> None:
    goals = Goals()
    for n in range(20_000):
        evolve(goals, created(f"g{n:05}", rank=ranks._rank(10_000 + n, 6)), 0)
    most = 0

    for n in range(2_000):
        side = "before" if n % 2 else "after"
        caused = when(goals, next_to(f"g{10_000 + n % 2}", side, f"g{n:05}", False))
        most = max(most, len(caused))

    assert most <= 512


def long_of(number: int) -> str:
    """A rank as 1.3.0 made it where goals were made before one sibling again and again."""
    return "V00000" + "z" * (number // 5) + "Vktxy"[number % 5]


def of_an_old_log(many: int) -> Goals:
    """Under p, a, then many with ranks that are longer and longer, and c."""
    goals = folded(created("p"), created("a", "p", rank="V00000"), created("c", "p", rank="V00001"))
    for number in range(many):
        evolve(goals, created(f"g{number:04}", "p", rank=long_of(number)), 0)
    assert max(len(rank) for rank, _ in goals.siblings["p"]) > LONGEST
    return goals


def written(events: Sequence[GoalEvent]) -> list[str]:
    return [event.rank for event in events if isinstance(event, GoalCreated | GoalMoved | GoalRestored)]


def test_longer_ranks_of_old_logs_are_in_order_and_stay_until_room_is_needed() -> None:
    goals = of_an_old_log(900)
    before = ids(goals, "p")

    assert before == ["a", *(f"g{number:04}" for number in range(900)), "c"]
    assert len(when(goals, MoveGoal("g0003", before="g0001"))) == 1
    assert len(when(goals, CreateGoal("n", "Run", "p"))) == 1
    assert goals.known["g0899"].rank == long_of(899)


@pytest.mark.parametrize("beside", ["g0000", "g0400", "g0899", "c"])
def test_next_to_longer_ranks_of_an_old_log_room_is_made_and_none_is_written_again(beside: str) -> None:
    goals = of_an_old_log(900)
    before = ids(goals, "p")
    expected = [*before[: before.index(beside)], "n", *before[before.index(beside) :]]

    events = decide(goals, CreateGoal("n", "Run", "p", before=beside), NOW, LIMITS)

    assert max(map(len, written(events))) <= LONGEST
    for event in events[:-1]:
        evolve(goals, event, 1)
        assert ids(goals, "p") == before
    evolve(goals, events[-1], 1)
    assert ids(goals, "p") == expected


def test_what_is_restored_to_a_place_of_a_longer_rank_gets_a_shorter_one() -> None:
    goals = of_an_old_log(900)
    when(goals, DeleteGoal("g0500"), DeleteGoal("g0501"), DeleteGoal("p"))
    before = ids(goals, "p")

    events = when(goals, RestoreGoal("p"))
    assert max(map(len, written(events))) <= LONGEST
    assert ids(goals, "p") == before
    assert {event.goal_id for event in events if isinstance(event, GoalMoved)} <= {"g0500", "g0501"}
    events = when(goals, RestoreGoal("g0500"))
    assert max(map(len, written(events))) <= LONGEST
    assert ids(goals, "p") == before
    assert len(live := [goal for goal in goals.known.values() if goal.root is None]) == len(goals.known) - 1
    assert max(len(goal.rank) for goal in live) <= LONGEST


def test_what_is_restored_elsewhere_leaves_no_longer_rank_below_it() -> None:
    goals = of_an_old_log(900)
    when(goals, CreateGoal("q", "Run"), DeleteGoal("p"))
    before = ids(goals, "p")

    events = when(goals, RestoreGoal("p", "q"))

    assert (order(goals, "q"), ids(goals, "p")) == ("p", before)
    assert events[0].goal_id == "p"
    assert max(map(len, written(events))) <= LONGEST


def test_what_is_restored_by_itself_to_a_place_of_a_longer_rank_leaves_its_siblings_where_they_are() -> None:
    goals = of_an_old_log(900)
    before = ids(goals, "p")
    when(goals, DeleteGoal("g0899"))

    *room, own = when(goals, RestoreGoal("g0899"))

    assert isinstance(own, GoalRestored)
    assert all(isinstance(event, GoalMoved) and event.spaced for event in room)
    assert len(own.rank) <= LONGEST
    assert ids(goals, "p") == before


class Step(NamedTuple):
    """A goal, by its number, goes next to another one, comes to be there, is deleted or restored."""

    kind: str
    goal: int
    beside: int
    side: str


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["move", "move", "create", "delete", "restore"]),
        st.integers(0, 30),
        st.integers(0, 3) | st.integers(0, 30),
        st.sampled_from(["before", "after"]),
    ),
    max_size=60,
)
# As 1.3.0 and other programs left them: long ones, equal ones.
some_ranks = st.lists(
    st.sampled_from(["V00000", "V00001", DEEP, DEEP + "z", DEEP + "zzz", "V00000" + "0" * 70 + "1", "V00000z"])
    | st.text("0zV", min_size=1, max_size=90).map("V00000".__add__),
    min_size=2,
    max_size=10,
)


def expected_after(before: list[str], step: Step, goal: str, beside: str) -> list[str]:
    after = [one for one in before if one != goal]
    after.insert(after.index(beside) + (step.side == "after"), goal)
    return after


def asked(goals: Goals, step: Step, number: int) -> tuple[Command, list[str]] | None:
    """The command, and the order that it must lead to."""
    before = ids(goals)
    goal, beside = before[step.goal % len(before)], before[step.beside % len(before)]
    there = goals.known[goal].root is None
    if step.kind in ("delete", "restore"):
        return (DeleteGoal(goal) if there else RestoreGoal(goal)), before
    if goals.known[beside].root is not None:
        return None
    if step.kind == "create":
        goal = f"n{number:03}"
        return next_to(beside, step.side, goal, True), expected_after(before, step, goal, beside)
    if not there or goal == beside:
        return None
    return next_to(beside, step.side, goal, False), expected_after(before, step, goal, beside)


@settings(deadline=None)
@given(some_ranks, steps, st.sampled_from([8, 12, LONGEST]))
def test_any_moves_lead_to_the_place_that_was_asked_for_and_no_neighbour_notices(
    first: list[str], history: list[Step], longest: int
) -> None:
    goals = folded(*(created(f"g{number:02}", rank=rank) for number, rank in enumerate(first)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "LONGEST", longest)  # so that room runs out soon
        for number, step in enumerate(history):
            if one := asked(goals, step, number):
                assert_led_to(goals, *one, longest)


def assert_led_to(goals: Goals, command: Command, expected: list[str], longest: int) -> None:
    events = decide(goals, command, NOW, LIMITS)
    own = command.goal_id if isinstance(command, CreateGoal) else str(command.goal)
    before = {goal.id: copy.copy(goal) for goal in goals.known.values() if goal.id != own}
    others = [goal_id for goal_id in ids(goals) if goal_id != own]
    for event in events:
        evolve(goals, event, 9)
        assert [goal_id for goal_id in ids(goals) if goal_id != own] == others
    assert ids(goals) == expected
    assert all(isinstance(event, GoalMoved) and event.spaced and event.goal_id != own for event in events[:-1])
    assert all(event.goal_id == own for event in events[-1:])
    assert all(len(rank) <= max(longest, LONGEST * isinstance(command, RestoreGoal)) for rank in written(events))
    for goal in before.values():
        goal.rank = goals.known[goal.id].rank
        assert goals.known[goal.id] == goal
    places = goals.siblings[None]
    assert all(low <= high for low, high in pairwise(places))
