"""A user's goals as the rules see them, folded from events by `evolve`, which has no rules and never fails."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from copy import copy
from typing import assert_never

from msgspec import Struct, field

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
)
from es_goals.goals.commands import MATCHES_NAMED, AmbiguousName, GoalNotFound, Ref
from es_goals.values import composed, utf8_size


class Goal(Struct, gc=False):
    """One goal as the rules see it. `created_at`, `updated_at`: µs; `root`: set while it is deleted."""

    id: str
    parent_id: str | None
    name: str
    description: str | None
    start: Instant
    due: Instant | None
    rank: str
    created_at: int
    updated_at: int
    end: Instant | None = None
    revision: int = 1
    root: str | None = None


class Goals(Struct):
    """All goals that one user ever had; `version` counts the events folded.

    `siblings` holds (rank, id) in order under each parent, deleted ones too: they keep their places. `living` counts
    those under each parent that are not deleted.
    `text` counts the bytes of all names and descriptions in UTF-8.
    """

    version: int = 0
    known: dict[str, Goal] = field(default_factory=dict)
    siblings: dict[str | None, list[tuple[str, str]]] = field(default_factory=dict)
    living: dict[str | None, int] = field(default_factory=dict)
    text: int = 0

    def get(self, goal_id: str, field: str = "id") -> Goal:
        """The goal, unless it is deleted or unknown. Raises GoalNotFound."""
        goal = self.known.get(goal_id)
        if goal is None or goal.root is not None:
            raise GoalNotFound(goal_id, field)
        return goal

    def find(self, ref: Ref, field: str = "id", *, length: int) -> Goal:
        """The goal meant by id or by name, of at most `length` characters. Raises GoalNotFound, AmbiguousName."""
        if isinstance(ref, str):
            return self.get(ref, field)
        name = composed(ref.name, length)
        matches = [goal for goal in self.known.values() if goal.name == name and goal.root is None]
        if not matches:
            raise GoalNotFound(ref, field)
        if len(matches) > 1:
            paths = {goal.id: self.path(goal) for goal in matches[:MATCHES_NAMED]}
            raise AmbiguousName(name, len(matches), paths, field)
        return matches[0]

    def below(self, goal: Goal) -> Iterator[Goal]:
        """The goal and those below it, parents first: of one that is there those that are there, of a deleted one those
        that the same deletion removed."""
        waiting = [goal]
        while waiting:
            above = waiting.pop()
            yield above
            children = (self.known[goal_id] for _, goal_id in reversed(self.siblings.get(above.id, ())))
            waiting += [child for child in children if child.root == goal.root]

    def lineage(self, goal: Goal) -> Iterator[Goal]:
        """The goal, its parent, and so on to the top."""
        yield goal
        while goal.parent_id is not None:
            goal = self.known[goal.parent_id]
            yield goal

    def is_below(self, goal: Goal, above: Goal) -> bool:
        """Whether a goal is another one, or anywhere below it. Looked for from both ends, since either may be far: a
        goal without sub-goals has none below it, however deep the other one is."""
        upwards, downwards = self.lineage(goal), self.below(above)
        # Where one end is reached, all above the goal, or all below the other one, were looked at.
        return any(one is above or other is goal for one, other in zip(upwards, downwards, strict=False))

    def path(self, goal: Goal) -> str:
        """Names from the top to the goal; the middle of a long path is left out."""
        names = [above.name for above in self.lineage(goal)][::-1]
        return " / ".join(names if len(names) <= 12 else [*names[:6], "…", *names[-5:]])


def evolve(goals: Goals, event: GoalEvent, at: int) -> Goals:
    """The goals after the event, recorded at `at` (µs). Changes and answers `goals`."""
    goals.version += 1
    if isinstance(event, GoalCreated):
        # The parent's own string, not its equal: 85 bytes a goal less.
        parent = None if event.parent_id is None else goals.known.get(event.parent_id)
        parent_id = event.parent_id if parent is None else parent.id
        goal = Goal(event.goal_id, parent_id, event.name, event.description, event.start, event.due, event.rank, at, at)
        goals.known[goal.id] = goal
        insort(goals.siblings.setdefault(goal.parent_id, []), (goal.rank, goal.id))
        goals.living[goal.parent_id] = goals.living.get(goal.parent_id, 0) + 1
        goals.text += utf8_size(goal.name) + utf8_size(goal.description)
        return goals
    goal = goals.known[event.goal_id]
    if isinstance(event, GoalMoved) and event.spaced:
        _place(goals, goal, goal.parent_id, event.rank)
        return goals
    goal.revision += 1
    goal.updated_at = at
    match event:
        case GoalRenamed():
            goals.text += utf8_size(event.name) - utf8_size(goal.name)
            goal.name = event.name
        case GoalDescribed():
            goals.text += utf8_size(event.description) - utf8_size(goal.description)
            goal.description = event.description
        case GoalScheduled():
            goal.start, goal.due = event.start, event.due
        case GoalMoved():
            _place(goals, goal, event.parent_id, event.rank)
        case GoalCompleted():
            goal.end = event.end
        case GoalReopened():
            goal.end = None
        case GoalDeleted():
            goals.living[goal.parent_id] -= goal.root is None
            goal.root = event.root
        case GoalRestored():
            goals.living[goal.parent_id] += goal.root is not None
            goal.root = None
            _place(goals, goal, event.parent_id, event.rank)
        case _:
            assert_never(event)
    return goals


class Trial:
    """Events tried on a user's goals, which can be taken back."""

    def __init__(self, goals: Goals) -> None:
        self.goals = goals
        self._before: list[tuple[str, Goal | None]] = []

    def evolve(self, event: GoalEvent, at: int) -> None:
        """As the function does."""
        known = self.goals.known.get(event.goal_id)
        self._before.append((event.goal_id, copy(known)))
        evolve(self.goals, event, at)

    def take_back(self) -> None:
        """Leave the goals as they were before."""
        for goal_id, before in reversed(self._before):
            _put_back(self.goals, self.goals.known[goal_id], before)
        self.goals.version -= len(self._before)
        self._before.clear()


def _put_back(goals: Goals, goal: Goal, before: Goal | None) -> None:
    siblings = goals.siblings[goal.parent_id]
    del siblings[bisect_left(siblings, (goal.rank, goal.id))]
    goals.living[goal.parent_id] -= goal.root is None
    goals.text -= utf8_size(goal.name) + utf8_size(goal.description)
    if before is None:
        del goals.known[goal.id]
        return
    goals.known[goal.id] = before
    insort(goals.siblings[before.parent_id], (before.rank, before.id))
    goals.living[before.parent_id] += before.root is None
    goals.text += utf8_size(before.name) + utf8_size(before.description)


def _place(goals: Goals, goal: Goal, parent_id: str | None, rank: str) -> None:
    if (parent_id, rank) == (goal.parent_id, goal.rank):
        return
    old = goals.siblings[goal.parent_id]
    del old[bisect_left(old, (goal.rank, goal.id))]
    goals.living[goal.parent_id] -= goal.root is None
    goals.living[parent_id] = goals.living.get(parent_id, 0) + (goal.root is None)
    goal.parent_id, goal.rank = parent_id, rank
    insort(goals.siblings.setdefault(parent_id, []), (rank, goal.id))
