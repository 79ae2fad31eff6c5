"""Undoing a command: what sets back all that it did, or what keeps it from being set back. Pure, and nothing recurses.

What a command did is its net effect on each field of each goal. A field is set back where it is as the command left it,
and left alone where it is as it was before already; whatever else it is now is in the way of the whole undo.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from es_goals.events import (
    GoalCompleted,
    GoalDeleted,
    GoalDescribed,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
)
from es_goals.goals.commands import Block, InTheWay, Limits, Outdated, Reversal, Undo, Was
from es_goals.goals.ranks import LONGEST
from es_goals.goals.spacing import Spot, seated
from es_goals.goals.state import Goal, Goals
from es_goals.values import utf8_size

_FIELDS = ("name", "description", "start", "due", "end")


def undone(goals: Goals, undo: Undo, limits: Limits) -> tuple[GoalEvent, ...]:
    """The events that set back a command, none where nothing of it is left. Raises InTheWay, Outdated."""
    plan = _Plan(goals, undo.reversals)
    blocked = [*plan.blocked, *plan.misplaced(), *plan.beyond(limits)]
    if blocked:
        raise InTheWay(blocked)
    return tuple(plan.events(undo.command))


class _Plan:
    """What is to be set back. `back`: goals that are restored; `spots`: where those go that change places; `gone`:
    those that are deleted, with the root that they had before; `fields`: other fields' old values."""

    def __init__(self, goals: Goals, reversals: Sequence[Reversal]) -> None:
        self.goals = goals
        self.back: dict[str, None] = {}
        self.spots: dict[str, Spot] = {}
        self.gone: dict[str, str | None] = {}
        self.fields: dict[str, dict[str, Any]] = {}
        self.blocked: list[Block] = []
        for reversal in reversals:
            goal = goals.known[reversal.goal_id]
            if reversal.revision is not None and reversal.revision != goal.revision:
                raise Outdated
            self.blocked += self._take(goal, reversal)
        self._keep_deleted(reversals)
        for goal_id in self.back:
            goal = goals.known[goal_id]
            if len(goal.rank) > LONGEST and goal_id not in self.spots:  # of an old log
                self.spots[goal_id] = Spot(goal.parent_id, goal.rank, False, goal.rank)
        self._depths: dict[str, int] = {}
        self._cycles = list(self._measure())

    def _take(self, goal: Goal, one: Reversal) -> Iterator[Block]:
        before, after = one.before, one.after
        if after.root is None and (before is None or before.root is not None):
            if goal.root is None:
                if later := list(_later(goal, one)):
                    yield from later
                    return
                self.gone[goal.id] = None if before is None else before.root
        elif after.root is not None and before is not None and before.root is None and goal.root is not None:
            if not one.removed:
                expected = f"“{goal.name}” to be deleted as this command left it"
                yield _block(goal, "living", (True, False, False), expected, "it restored and deleted again")
                return
            self.back[goal.id] = None
        if before is not None:
            yield from self._fields(goal, one, before)

    def _keep_deleted(self, reversals: Sequence[Reversal]) -> None:
        """What was made or restored by the command, and deleted too, stays deleted, but not because of a goal that is
        restored."""
        for one in reversals:
            goal, before = self.goals.known[one.goal_id], one.before
            if before is None:
                again = goal.root in self.back
            else:
                again = one.removed and None not in (before.root, goal.root) and before.root != one.after.root
            if again:
                self.gone[goal.id] = None if before is None else before.root

    def _fields(self, goal: Goal, one: Reversal, before: Was) -> Iterator[Block]:
        after, values = one.after, dict[str, Any]()
        for field in _FIELDS:
            old, new, now = getattr(before, field), getattr(after, field), getattr(goal, field)
            if old == new:
                continue
            if now == new:
                values[field] = old
            elif now != old:
                yield _other(goal, field, old, new, now)
        # By another undo it may have come to the very rank that the command gave it.
        if one.moved and not one.replaced:
            if one.placed or (goal.parent_id, goal.rank) == (after.parent_id, after.rank):
                self.spots[goal.id] = Spot(before.parent_id, one.rank, one.ahead, before.rank)
            elif (goal.parent_id, goal.rank) != (before.parent_id, one.rank):
                yield _moved(goal, before, after)
        if values:
            self.fields[goal.id] = values
        if (values or goal.id in self.spots) and goal.root is not None and after.root is None:
            yield _block(goal, "living", (True, True, False), f"“{goal.name}” to be there", "it deleted")

    def _parent_of(self, goal_id: str) -> str | None:
        """In the tree to come."""
        spot = self.spots.get(goal_id)
        return self.goals.known[goal_id].parent_id if spot is None else spot.parent_id

    def _lives(self, goal_id: str) -> bool:
        """In the tree to come."""
        return goal_id in self.back or (self.goals.known[goal_id].root is None and goal_id not in self.gone)

    def _measure(self) -> Iterator[list[str]]:
        """How deep goals will be that come, go or move. Yields the cycles that there would be, each from below."""
        for goal_id in (*self.back, *self.spots, *self.gone):
            path: dict[str, None] = {}
            above: str | None = goal_id
            while above is not None and above not in self._depths and above not in path:
                path[above] = None
                above = self._parent_of(above)
            if above in path:
                climbed = list(path)
                yield climbed[climbed.index(above) :]
            depth = -1 if above is None else self._depths.get(above, -1)
            self._depths |= {one: depth + steps for steps, one in enumerate(reversed(path), 1)}

    def misplaced(self) -> Iterator[Block]:
        """What there is against the tree to come."""
        known = self.goals.known
        for cycle in self._cycles:
            for goal_id in cycle:
                if goal_id in self.spots:
                    movers = tuple(one for one in cycle if one not in self.spots)
                    yield _homeless(known[goal_id], self.spots[goal_id].parent_id, "it under this goal", movers)
        for goal_id in dict.fromkeys((*self.back, *self.spots)):
            parent_id = self._parent_of(goal_id)
            if goal_id not in self.gone and parent_id is not None and not self._lives(parent_id):
                yield _homeless(known[goal_id], parent_id, "it deleted", (parent_id,))
        for goal_id in self.gone:
            for _, below in self.goals.siblings.get(goal_id, ()):
                if self._lives(below) and self._parent_of(below) == goal_id:
                    yield _below(known[goal_id], known[below])

    def beyond(self, limits: Limits) -> Iterator[Block]:
        """What there would be too much of, or that would end before it starts."""
        known, more = self.goals.known, Counter[str | None]()
        firsts: dict[str | None, Goal] = {}
        for goal_id in dict.fromkeys((*self.back, *self.spots, *self.gone)):
            goal, parent_id = known[goal_id], self._parent_of(goal_id)
            more[goal.parent_id] -= goal.root is None
            if self._lives(goal_id):
                more[parent_id] += 1
                firsts.setdefault(parent_id, goal)
        for parent_id, goal in firsts.items():
            living = self.goals.living.get(parent_id, 0) + more[parent_id]
            if more[parent_id] > 0 and living > limits.children:
                place = "at the top" if parent_id is None else "under one parent"
                yield _limit(goal, f"at most {limits.children} goals {place}", living)
        text = 0
        for goal_id, values in self.fields.items():
            goal = known[goal_id]
            text += sum(utf8_size(values[name]) - utf8_size(getattr(goal, name)) for name in _TEXTS & values.keys())
            yield from _ends_before_its_start(goal, values)
        if text > 0 and self.goals.text + text > limits.text:
            expected = f"at most {limits.text} bytes of names and descriptions of one user's goals"
            yield _limit(known[next(iter(self.fields))], expected, self.goals.text + text)

    def events(self, undoes: str) -> Iterator[GoalEvent]:
        """What sets everything back: in such an order that no goal comes under one that is not there, or under
        itself."""
        known, depths = self.goals.known, self._depths
        room, ranks = self._ranks()
        yield from room
        for goal_id in sorted(self.back, key=depths.__getitem__):
            rank = ranks.get(goal_id, known[goal_id].rank)
            yield GoalRestored(goal_id, rank, self._parent_of(goal_id), undoes)
        for goal_id in sorted(self.spots.keys() - self.back.keys(), key=lambda one: (depths[one], one)):
            yield GoalMoved(goal_id, ranks[goal_id], self.spots[goal_id].parent_id, undoes=undoes)
        for goal_id, values in self.fields.items():
            yield from _changes(known[goal_id], values, undoes)
        yield from reversed([GoalDeleted(goal_id, root, undoes) for goal_id, root in self._roots()])

    def _ranks(self) -> tuple[list[GoalMoved], dict[str, str]]:
        """What makes room, and the ranks of those that go to other places."""
        coming: dict[str | None, dict[str, Spot]] = {}
        for goal_id, spot in self.spots.items():
            coming.setdefault(spot.parent_id, {})[goal_id] = spot
        room: list[GoalMoved] = []
        ranks: dict[str, str] = {}
        for parent_id, spots in coming.items():
            siblings = [one for one in self.goals.siblings.get(parent_id, ()) if one[1] not in self.spots]
            seats, spaced = seated(parent_id, siblings, spots)
            ranks |= seats
            room += spaced
        return room, ranks

    def _roots(self) -> Iterator[tuple[str, str]]:
        """The goals to be deleted, parents first, each with the goal because of which it is: the one of before, if that
        is still above it."""
        roots: dict[str, str] = {}
        for goal_id in sorted(self.gone, key=self._depths.__getitem__):
            parent_id, before = self._parent_of(goal_id), self.gone[goal_id]
            above: str | None
            if parent_id in self.gone:
                above, follows = roots[parent_id], before == self.gone[parent_id]
            else:
                above = None if parent_id is None else self.goals.known[parent_id].root
                follows = before == above
            root = roots[goal_id] = above if follows and above is not None else goal_id
            yield goal_id, root


_TEXTS = {"name", "description"}


def _later(goal: Goal, one: Reversal) -> Iterator[Block]:
    """What came later to a goal that the command made or restored."""
    after = one.after
    for field in _FIELDS:
        if getattr(goal, field) != getattr(after, field):
            old = None if one.before is None else getattr(one.before, field)
            yield _other(goal, field, old, getattr(after, field), getattr(goal, field))
    if not one.placed and (goal.parent_id, goal.rank) != (after.parent_id, after.rank):
        yield _moved(goal, one.before, after)


def _changes(goal: Goal, values: dict[str, Any], undoes: str) -> Iterator[GoalEvent]:
    if "name" in values:
        yield GoalRenamed(goal.id, values["name"], undoes)
    if "description" in values:
        yield GoalDescribed(goal.id, values["description"], undoes)
    if "start" in values or "due" in values:
        yield GoalScheduled(goal.id, values.get("start", goal.start), values.get("due", goal.due), undoes)
    if "end" in values:
        if goal.end is not None:
            yield GoalReopened(goal.id, undoes)
        if values["end"] is not None:
            yield GoalCompleted(goal.id, values["end"], undoes)


def _ends_before_its_start(goal: Goal, values: dict[str, Any]) -> Iterator[Block]:
    start, end = values.get("start", goal.start), values.get("end", goal.end)
    if end is None or not {"start", "end"} & values.keys():
        return
    if datetime.fromisoformat(end) < datetime.fromisoformat(start):
        field, other = ("end", "start") if "end" in values else ("start", "end")
        found = f"its {other} at {getattr(goal, other)}"
        now = getattr(goal, field)
        expected = f"“{goal.name}” to have its old {field}, {values[field]}, which fits"
        yield Block(goal.id, goal.name, other, values[field], now, getattr(goal, other), expected, found, (goal.id,))


def _block(goal: Goal, field: str, values: tuple[Any, Any, Any], expected: str, found: str) -> Block:
    return Block(goal.id, goal.name, field, *values, expected, found, (goal.id,))


def _other(goal: Goal, field: str, old: Any, new: Any, now: Any) -> Block:
    match field:
        case "name":
            expected, found = f"“{new}” to be named “{new}”", f"“{now}”"
        case "description":
            expected, found = f"“{goal.name}” to be described", "another description"
        case "end":
            expected = f"“{goal.name}” to be {'open' if new is None else f'completed at {new}'}"
            found = "it open" if now is None else f"it completed at {now}"
        case _:
            expected = f"“{goal.name}” to have {'no' if new is None else 'the'} {field} time {new or ''}".rstrip()
            found = "none" if now is None else now
    return _block(goal, field, (old, new, now), f"{expected} as this command left it", found)


def _moved(goal: Goal, before: Was | None, after: Was) -> Block:
    old = None if before is None else {"parent_id": before.parent_id, "rank": before.rank}
    new, now = ({"parent_id": one.parent_id, "rank": one.rank} for one in (after, goal))
    return _block(goal, "place", (old, new, now), f"“{goal.name}” to be where this command put it", "it elsewhere")


def _homeless(goal: Goal, parent_id: str | None, found: str, subjects: tuple[str, ...]) -> Block:
    expected = f"the goal that “{goal.name}” was under to be there"
    return Block(goal.id, goal.name, "parent", parent_id, goal.parent_id, None, expected, found, subjects)


def _below(goal: Goal, child: Goal) -> Block:
    expected, found = f"nothing under “{goal.name}” but what this command put there", f"“{child.name}”"
    return Block(goal.id, goal.name, "below", None, None, child.id, expected, found, (child.id,))


def _limit(goal: Goal, expected: str, found: int) -> Block:
    return Block(goal.id, goal.name, "limit", None, None, found, expected, str(found))
