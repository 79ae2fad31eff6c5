"""How far a user's goals came, over time: exact at each point, in one pass over the events."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from msgspec import Struct

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalEvent,
    GoalMoved,
    GoalReopened,
    GoalRestored,
    Recorded,
    UndecodableEvent,
    goals_stream,
    moment,
)
from es_goals.projector import PAGE, ProjectionBehind
from es_goals.storage.deadlines import current
from es_goals.storage.log import Reader, all_lines

_COUNTING = {kind.__name__ for kind in (GoalCreated, GoalMoved, GoalRestored, GoalDeleted, GoalCompleted, GoalReopened)}


class BurnupPoint(Struct, frozen=True, gc=False):
    """How many goals there were that were not deleted, how many of them had none below, and how many of those were
    completed."""

    at: datetime
    goals: int
    leaves: int
    completed: int


class _Goal(Struct, gc=False):
    """`below`: how many goals are under it that are not deleted."""

    parent_id: str | None
    lives: bool = True
    is_done: bool = False
    below: int = 0


class _Count:
    """Goals, leaves and completed leaves as of the events so far: of all goals, or of one and what is below it."""

    def __init__(self, top: str | None) -> None:
        self._top = top
        self._inside = set[str | None]() if top is None else {top}
        self._known: dict[str, _Goal] = {}
        self._children: dict[str | None, set[str]] = {}
        self.goals = self.leaves = self.completed = 0

    def take(self, event: GoalEvent) -> None:
        """The next event. A step takes as long as what it moves into what is counted, or out of it. Raises
        ProjectionBehind, Interrupted."""
        goal_id = event.goal_id
        if isinstance(event, GoalCompleted | GoalReopened):
            self._finish(goal_id, isinstance(event, GoalCompleted))
            return
        if isinstance(event, GoalCreated):
            self._known[goal_id] = _Goal(None, lives=False)
        goal = self._goal(goal_id)
        old = goal.parent_id
        new = event.parent_id if isinstance(event, GoalCreated | GoalMoved | GoalRestored) else old
        changed = {goal_id, old, new}
        if self._counts(new) != self._counts(goal_id) and goal_id != self._top:
            changed.update(self._below(goal_id))
        self._add(changed, -1)
        self._place(goal_id, goal, new)
        self._set_life(goal, event)
        self._add(changed, 1)

    def _goal(self, goal_id: str) -> _Goal:
        if (goal := self._known.get(goal_id)) is None:
            raise ProjectionBehind(f"expected goal {goal_id} to be created before it is changed")
        return goal

    def _finish(self, goal_id: str, is_done: bool) -> None:
        goal = self._goal(goal_id)
        if goal.is_done != is_done and goal.lives and not goal.below and self._counts(goal_id):
            self.completed += 1 if is_done else -1
        goal.is_done = is_done

    def _counts(self, goal_id: str | None) -> bool:
        return self._top is None or goal_id in self._inside

    def _below(self, goal_id: str) -> Iterator[str]:
        """The goal and those below it. Raises Interrupted."""
        current().check()  # many may be moved over and over in events that were read at once
        waiting = [goal_id]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += self._children.get(one, ())

    def _add(self, goals: Iterable[str | None], sign: int) -> None:
        for goal_id in goals:
            goal = self._known.get(goal_id or "")
            if goal is not None and goal.lives and self._counts(goal_id):
                is_leaf = not goal.below
                self.goals += sign
                self.leaves += sign * is_leaf
                self.completed += sign * (is_leaf and goal.is_done)

    def _place(self, goal_id: str, goal: _Goal, parent_id: str | None) -> None:
        """Under another parent, and with all below it among what is counted, or no longer."""
        self._weigh(goal, -1)
        self._children.get(goal.parent_id, set()).discard(goal_id)
        goal.parent_id = parent_id
        self._children.setdefault(parent_id, set()).add(goal_id)
        self._weigh(goal, 1)
        if goal_id == self._top:
            return
        if parent_id in self._inside:
            self._inside.update(self._below(goal_id))
        elif goal_id in self._inside:
            self._inside.difference_update(self._below(goal_id))

    def _weigh(self, goal: _Goal, sign: int) -> None:
        """Count it under its parent, or no more."""
        parent = self._known.get(goal.parent_id or "")
        if parent is not None and goal.lives:
            parent.below += sign

    def _set_life(self, goal: _Goal, event: GoalEvent) -> None:
        if isinstance(event, GoalCreated | GoalRestored | GoalDeleted):
            self._weigh(goal, -1)
            goal.lives = not isinstance(event, GoalDeleted)
            self._weigh(goal, 1)


def burnup(log: Reader, owner: str, count: int, goal_id: str | None = None) -> list[BurnupPoint]:
    """So many points of all goals of a user, or of one and what is below it, in equal distances of time from the first
    event on them to the user's last one; none where there is no event. Raises ProjectionBehind."""
    stream = goals_stream(owner)
    first = log.read(0, 1, stream=stream) if goal_id is None else log.read(0, 1, subject=goal_id)
    last = log.read(0, 1, stream=stream, latest=True)
    if not first or not last:
        return []
    begin, end = first[0].at, last[0].at
    times = [end - (end - begin) * (count - 1 - place) // max(1, count - 1) for place in range(count)]
    lines = all_lines(log, 0, PAGE, stream=stream, until=last[0].position)
    return list(_points(lines, times, _Count(goal_id)))


def _points(lines: Iterable[Recorded], times: Iterable[int], counted: _Count) -> Iterator[BurnupPoint]:
    """As of each time: behind the last event at it or before it."""
    waiting = iter(lines)
    line = next(waiting, None)
    for at in times:
        while line is not None and line.at <= at:
            if line.type in _COUNTING:
                counted.take(_event(line))
            line = next(waiting, None)
        yield BurnupPoint(moment(at), counted.goals, counted.leaves, counted.completed)


def _event(line: Recorded) -> GoalEvent:
    try:
        return cast(GoalEvent, line.event)
    except UndecodableEvent as error:
        raise ProjectionBehind(f"expected every event to fold; found: {error}") from error
