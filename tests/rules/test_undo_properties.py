"""The laws of undo: what holds of undoing any command after any history."""

import copy
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from es_goals.events import GoalCreated, GoalDeleted, GoalMoved, GoalRestored, moment
from es_goals.goals.commands import Command, MoveGoal
from es_goals.goals.rules import decide
from es_goals.values import Rejected
from tests.rules.test_goals_properties import assert_forest, histories, law
from tests.support.engines import NOW
from tests.support.limits import LIMITS
from tests.support.pasts import Past, Tree, crowded, tree

PLACING = GoalCreated | GoalMoved | GoalRestored

picks = st.lists(st.integers(0, 99), max_size=12)
sizes = st.lists(st.integers(1, 4), min_size=1, max_size=50)


def lived(history: Sequence[Command], sizes: Sequence[int], picks: Sequence[int] = ()) -> Past:
    """The history in batches of these sizes, without what is refused, and among them undos of earlier commands."""
    past, picked, first = Past(), list(picks), 0
    for index in range(len(history)):
        size = sizes[index % len(sizes)]
        past.attempt(*history[first : first + size])
        first += size
        if picked and index % 3 == 2:
            undo(past, past.commands[-1 - picked.pop() % min(6, len(past.commands))])
    return past


def undo(past: Past, *commands: str) -> str | None:
    try:
        return past.undo(*commands)
    except Rejected:
        return None


@law
@given(histories, sizes, picks)
def test_the_latest_command_can_be_undone_and_the_tree_is_what_it_was(
    history: list[Command], sizes: list[int], picks: list[int]
) -> None:
    past = lived(history, sizes, picks)
    latest = past.commands[-1]
    before = Past()
    before.lines = [line for line in past.lines if line.command != latest]

    past.undo(latest)

    assert past.tree() == tree(before.refolded())


@law
@given(histories, sizes)
def test_undoing_step_by_step_goes_back_through_all_trees(history: list[Command], sizes: list[int]) -> None:
    past, first = Past(), 0
    trees: dict[str, Tree] = {}
    for index in range(len(history)):
        before, size = past.tree(), sizes[index % len(sizes)]
        if (command := past.attempt(*history[first : first + size])) is not None:
            trees[command] = before
        first += size

    for command in reversed(trees):
        past.undo(command)
        assert past.tree() == trees[command]


@law
@given(histories, sizes, picks, st.integers(0, 99))
def test_undoing_the_undo_gives_the_tree_of_before_it_and_doing_that_again_the_one_behind_it(
    history: list[Command], sizes: list[int], picks: list[int], pick: int
) -> None:
    past = lived(history, sizes, picks)
    before = past.tree()

    first = undo(past, past.commands[pick % len(past.commands)])
    if first is None:
        return
    undone = past.tree()
    redo = past.undo(str(first))
    assert past.tree() == before
    if redo is not None:
        past.undo(redo)
        assert past.tree() == undone


@law
@given(histories, sizes, picks, st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_undoing_twice_is_undoing_once(
    history: list[Command], sizes: list[int], picks: list[int], chosen: list[int]
) -> None:
    past = lived(history, sizes, picks)
    commands = {past.commands[pick % len(past.commands)] for pick in chosen}
    undone = undo(past, *commands)
    if undone is None:
        return
    once, set_back = past.tree(), {event.undoes for event in past.events(undone) if event.undoes is not None}

    assert past.undo(*set_back) is None
    assert past.tree() == once


@law
@given(histories, sizes, picks, st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_goals_that_no_undone_command_touched_keep_every_field_and_the_forest_stays_sound(
    history: list[Command], sizes: list[int], picks: list[int], chosen: list[int]
) -> None:
    past = lived(history, sizes, picks)
    commands = {past.commands[pick % len(past.commands)] for pick in chosen}
    touched = {line.subject for line in past.lines if line.command in commands}
    before = past.goals

    undo(past, *commands)

    assert_forest(past.goals)
    for goal in past.goals.known.values():
        if goal.id not in touched:
            was = before.known[goal.id]
            was.rank = goal.rank if spaced_only(past, goal.id) else was.rank
            assert goal == was


def spaced_only(past: Past, goal_id: str) -> bool:
    events = [event for event in past.events(past.commands[-1]) if event.goal_id == goal_id]
    return all(isinstance(event, GoalMoved) and event.spaced for event in events)


@law
@given(histories, sizes, picks, st.integers(0, 99))
def test_deciding_an_undo_changes_nothing_and_records_at_most_twice_what_was_done(
    history: list[Command], sizes: list[int], picks: list[int], pick: int
) -> None:
    past = lived(history, sizes, picks)
    command = past.commands[pick % len(past.commands)]
    [undo] = past.undos(command)
    before = copy.deepcopy(past.goals)

    def outcome() -> Any:
        try:
            return decide(past.goals, undo, moment(NOW), LIMITS)
        except Rejected as refusal:
            return str(refusal)

    first = outcome()
    assert first == outcome()
    assert past.goals == before
    if not isinstance(first, str):
        assert all(event.undoes == command for event in first if not isinstance(event, GoalMoved) or not event.spaced)
        assert len(first) <= 2 * len(past.events(command))


places = st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans())


@law
@given(st.lists(st.lists(places, min_size=1, max_size=3), min_size=1, max_size=20))
def test_where_room_is_made_among_siblings_goals_come_back_between_those_they_were_between(
    batches: list[list[tuple[int, int, bool]]],
) -> None:
    past = crowded(Past(), "g0", "g1", "g2", "g3")
    for batch in batches:
        moves = [
            MoveGoal(f"g{goal}", "p", *((f"g{other}", None) if ahead else (None, f"g{other}")))
            for goal, other, ahead in batch
        ]
        before = past.tree()
        if (command := past.attempt(*moves)) is None:
            continue
        after, way = past.tree(), copy.deepcopy(past)
        undone = way.undo(command)
        assert way.tree() == before
        if undone is not None:
            redone = way.undo(undone)
            assert way.tree() == after
            if redone is not None:
                way.undo(redone)
                assert way.tree() == before


@law
@given(histories, sizes)
def test_commands_on_goals_and_parents_that_are_not_the_same_can_be_undone_in_any_order(
    history: list[Command], sizes: list[int]
) -> None:
    past = lived(history, sizes)
    touched = {command: concerned(past, command) for command in past.commands}
    pairs = [pair for pair in combinations(past.commands, 2) if not touched[pair[0]] & touched[pair[1]]]

    for first, second in pairs[-5:]:
        ways = [copy.deepcopy(past) for _ in range(2)]
        orders = ((first, second), (second, first))
        done = [[undo(way, one) is not None for one in order] for way, order in zip(ways, orders, strict=True)]
        if all(done[0]) and all(done[1]):
            assert ways[0].tree() == ways[1].tree()


def concerned(past: Past, command: str) -> set[str | None]:
    """The goals that a command touched and, where it placed or deleted some, all that those were ever under."""
    events = past.events(command)
    found: set[str | None] = {event.goal_id for event in events}
    if any(isinstance(event, PLACING | GoalDeleted) for event in events):
        placed = [line.event for line in past.lines if line.subject in found]
        found |= {event.parent_id for event in placed if isinstance(event, PLACING)}
    return found
