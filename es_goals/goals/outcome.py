"""What a request's events amount to: what each of its commands is answered."""

import copy
from collections.abc import Iterator, Sequence

from msgspec import Struct

from es_goals.events import (
    GoalCreated,
    GoalDeleted,
    GoalEvent,
    GoalMoved,
)
from es_goals.goals.commands import Command, CompleteGoal, CreateGoal, DeleteGoal, Undo
from es_goals.goals.state import Goal, Goals


class Result(Struct, frozen=True):
    """What became of one command's goal. `deleted` counts what a delete removed, `open_sub_goals` what a
    completion left open below."""

    goal: Goal
    deleted: int | None = None
    open_sub_goals: int | None = None


def _results(goals: Goals, asked: Sequence[Command | Undo], events: Sequence[GoalEvent]) -> list[Result]:
    """The commands' goals as they are after all of them; of undoing, all that it changed. A created goal's id is taken
    from its event, since a repeated request comes with another one."""
    commands = [one for one in asked if not isinstance(one, Undo)]
    if len(commands) < len(asked):
        return _undone(goals, events)
    created = (event.goal_id for event in events if isinstance(event, GoalCreated))
    deletions = _deletions(events)
    completed = [one.goal for one in commands if isinstance(one, CompleteGoal) and isinstance(one.goal, str)]
    left_open = _left_open(goals, completed)
    results = []
    for command in commands:
        ref = next(created) if isinstance(command, CreateGoal) else command.goal
        if not isinstance(ref, str):
            continue
        goal = goals.known[ref]
        deleted = still_open = None
        if isinstance(command, DeleteGoal):
            deleted = next(deletions)
        if isinstance(command, CompleteGoal):
            still_open = next(left_open)
        results.append(Result(copy.copy(goal), deleted, still_open))
    return results


def _undone(goals: Goals, events: Sequence[GoalEvent]) -> list[Result]:
    """The goals that undoing changed, as they are after it."""
    changed = dict.fromkeys(one.goal_id for one in events if not (isinstance(one, GoalMoved) and one.spaced))
    return [Result(copy.copy(goals.known[goal_id])) for goal_id in changed]


def _left_open(goals: Goals, completed: Sequence[str]) -> Iterator[int]:
    """How many goals below each of these are open. Of many, all are counted in one go: each by itself would take the
    square of their number where they hang in a chain."""
    if len(completed) <= 1:
        for goal_id in completed:
            goal = goals.known[goal_id]
            yield sum(below.end is None for below in goals.below(goal) if below is not goal)
        return
    counts: dict[str, int] = {}
    tops = (goals.known[goal_id] for _, goal_id in goals.siblings.get(None, ()))
    ordered = [goal for top in tops if top.root is None for goal in goals.below(top)]
    for goal in reversed(ordered):
        if goal.parent_id is not None:
            counts[goal.parent_id] = counts.get(goal.parent_id, 0) + counts.get(goal.id, 0) + (goal.end is None)
    for goal_id in completed:
        yield counts.get(goal_id, 0)


def _deletions(events: Sequence[GoalEvent]) -> Iterator[int]:
    """How many goals each deletion removed: its events lie together, and the root's is the last."""
    count = 0
    for event in events:
        if isinstance(event, GoalDeleted):
            count += 1
            if event.goal_id == event.root:
                yield count
                count = 0
