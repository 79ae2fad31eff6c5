"""What a draft's commands come to on goals that others changed meanwhile: events, and where the two do not agree."""

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from typing import assert_never

from msgspec import Struct

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
    moment,
)
from es_goals.goals.commands import Command, CreateGoal, GoalExists, LimitReached, Limits
from es_goals.goals.rules import decide
from es_goals.goals.state import Goal, Goals, Trial
from es_goals.values import Rejected

Place = dict[str, str | None]
"""A parent's id, and the rank under it."""
Value = str | bool | Place | None

FIELDS = ("living", "name", "description", "start", "due", "end", "place")


class Overwrite(Struct, frozen=True):
    """The value of a goal's field at the base, that which somebody gave it since, and another one that the draft would
    give it."""

    goal_id: str
    field: str
    base: Value
    now: Value
    mine: Value


class Refused(Struct, frozen=True):
    """A command, by its place in the draft, that the rules refuse now; and why."""

    index: int
    error: Rejected


class Judged(Struct, frozen=True):
    """What the commands cause, but those that are refused; and each conflict."""

    events: list[GoalEvent]
    overwrites: list[Overwrite]
    refused: list[Refused]


def fields_of(event: GoalEvent) -> tuple[str, ...]:
    """The fields that an event writes."""
    match event:
        case GoalCreated():
            return FIELDS
        case GoalRenamed():
            return ("name",)
        case GoalDescribed():
            return ("description",)
        case GoalScheduled():
            return ("start", "due")
        case GoalMoved(spaced=spaced):
            return () if spaced else ("place",)
        case GoalCompleted() | GoalReopened():
            return ("end",)
        case GoalDeleted():
            return ("living",)
        case GoalRestored():
            return ("living", "place")
        case _:
            assert_never(event)


def value_of(goal: Goal | None, field: str) -> Value:
    """The value of a field; of a goal that is not there yet."""
    if field == "living":
        return goal is not None and goal.root is None
    if goal is None:
        return None
    if field == "place":
        return {"parent_id": goal.parent_id, "rank": goal.rank}
    value: str | None = getattr(goal, field)
    return value


def judge(
    trial: Trial,
    commands: Sequence[Command],
    at: int,
    limits: Limits,
    most: int,
    base: Mapping[str, Goal] | None = None,
    placed: Callable[[str], bool] = lambda _: True,
    check: Callable[[], None] = lambda: None,
    taken: Container[str] = (),
) -> Judged:
    """Decide the commands at the time `at` (µs), each on what those before it left, tried on the goals; together they
    may cause so many events at `most`.

    `base`: all goals as the draft saw them, unless nobody asks what it overwrites; `placed`: whether a goal was put
    anywhere since then, since another rank alone does not tell; `check` is called before each command; `taken`: those
    of the ids of new goals that some goal has.
    """
    now, events, refused = moment(at), list[GoalEvent](), list[Refused]()
    touched = _Touched(trial.goals)
    for index, command in enumerate(commands):
        check()
        try:
            if isinstance(command, CreateGoal) and command.goal_id in taken:
                raise GoalExists(command.goal_id)
            caused = decide(trial.goals, command, now, limits)
            if len(events) + len(caused) > most:
                raise LimitReached(f"{most} events of one request", len(events) + len(caused))
        except Rejected as error:
            refused.append(Refused(index, error))
            continue
        for event in caused:
            touched.note(event)
            trial.evolve(event, at)
        events += caused
    return Judged(events, [] if base is None else touched.overwrites(base, placed), refused)


class _Touched:
    """What the commands write of goals that were there before them."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals
        self._before: dict[str, Goal] = {}
        self._fields: dict[str, set[str]] = {}
        self._made: set[str] = set()

    def note(self, event: GoalEvent) -> None:
        """Call it before the event has changed its goal."""
        if isinstance(event, GoalCreated):
            self._made.add(event.goal_id)
        elif event.goal_id not in self._made and (fields := fields_of(event)):
            if event.goal_id not in self._before:
                self._before[event.goal_id] = copy.copy(self._goals.known[event.goal_id])
            self._fields.setdefault(event.goal_id, set()).update(fields)

    def overwrites(self, base: Mapping[str, Goal], placed: Callable[[str], bool]) -> list[Overwrite]:
        """Where somebody else changed a field since the base, and the commands give it another value still."""
        found = []
        for goal_id, before in self._before.items():
            for field in FIELDS:
                if field not in self._fields[goal_id]:
                    continue
                was, now = value_of(base.get(goal_id), field), value_of(before, field)
                mine = value_of(self._goals.known[goal_id], field)
                if was == now or now == mine or (field == "place" and _spaced(was, now) and not placed(goal_id)):
                    continue
                found.append(Overwrite(goal_id, field, was, now, mine))
        return found


def _spaced(was: Value, now: Value) -> bool:
    """Whether the rank alone is another one."""
    return isinstance(was, dict) and isinstance(now, dict) and was["parent_id"] == now["parent_id"]
