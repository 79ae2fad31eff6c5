"""What happened, as people say it: one sentence for an event, or for all events of a command."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

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
    instant,
)

Names = Callable[[str], str]
"""What a goal was called before what is told, by its id."""
Parents = Mapping[str, str | None]
"""Under which goal each one is, behind what is told."""

_VERBS: Mapping[type[GoalEvent], str] = {
    GoalCreated: "created",
    GoalRenamed: "renamed",
    GoalDescribed: "described",
    GoalScheduled: "scheduled",
    GoalMoved: "moved",
    GoalCompleted: "completed",
    GoalReopened: "reopened",
    GoalDeleted: "deleted",
    GoalRestored: "restored",
}


def sentence(events: Sequence[GoalEvent], at: int, names: Names, parents: Parents) -> tuple[str, str]:
    """The goal that the events of a command, recorded at a time (µs), are foremost about, and what they are: of each
    kind the goal itself, or the topmost one of several and how many others there are."""
    by_kind: dict[type[GoalEvent], dict[str, GoalEvent]] = {}
    for event in _told(events):
        by_kind.setdefault(type(event), {})[event.goal_id] = event
    main, parts = "", list[str]()
    for kind, told in by_kind.items():
        tops = _tops(told, parents)
        main = main or tops[0]
        if len(told) == 1:
            parts.append(_one(told[tops[0]], at, names))
        else:
            where = "below" if len(tops) == 1 else "more"
            parts.append(f"{_VERBS[kind]} “{_name(told[tops[0]], names)}” and {len(told) - 1} {where}")
    return main, ", ".join(parts)


def _told(events: Sequence[GoalEvent]) -> Sequence[GoalEvent]:
    """Without what only made way for something else, if there is anything else: room among siblings, or a start that
    went back to an earlier end."""
    following = [*events[1:], None]
    return [one for one, next in zip(events, following, strict=True) if not _makes_way(one, next)] or events


def _makes_way(event: GoalEvent, following: GoalEvent | None) -> bool:
    match event:
        case GoalMoved():
            return event.spaced
        case GoalScheduled():
            return isinstance(following, GoalCompleted) and following.goal_id == event.goal_id
        case _:
            return False


def _tops(goals: Iterable[str], parents: Parents) -> list[str]:
    """Those of the goals that are below no other one of them."""
    among = set(goals)
    below: dict[str | None, bool] = {None: False}
    return [one for one in goals if not _is_below(one, among, parents, below)]


def _is_below(goal_id: str, among: set[str], parents: Parents, below: dict[str | None, bool]) -> bool:
    """Whether one of the goals is above this one; `below`: of which others it is known."""
    path: list[str] = []
    one: str | None = goal_id
    while one not in below:
        below[one] = False
        path.append(one or "")
        one = parents.get(one or "")
        if one in among:
            break
    found = one in among or below[one]
    below.update(dict.fromkeys(path, found))
    return found


def _one(event: GoalEvent, at: int, names: Names) -> str:
    old = _name(event, names)
    match event:
        case GoalCreated():
            return f"created “{old}”{_under(event.parent_id, names)}"
        case GoalRenamed():
            return f"renamed “{old}” to “{event.name}”"
        case GoalDescribed():
            return f"described “{old}”"
        case GoalScheduled():
            due = f", due {event.due}" if event.due else ""
            return f"scheduled “{old}” from {event.start}{due}"
        case GoalMoved(spaced=True):
            return f"made room beside “{old}”, which stays in its place"
        case GoalMoved():
            return f"moved “{old}”{_under(event.parent_id, names) or ' to the top'}"
        case GoalCompleted():
            then = "" if event.end == instant(at) else f" at {event.end}"
            return f"completed “{old}”{then}"
        case GoalReopened():
            return f"reopened “{old}”"
        case GoalDeleted():
            return f"deleted “{old}”"
        case GoalRestored():
            return f"restored “{old}”{_under(event.parent_id, names)}"
        case _:
            assert_never(event)


def _name(event: GoalEvent, names: Names) -> str:
    return event.name if isinstance(event, GoalCreated) else names(event.goal_id)


def _under(parent_id: str | None, names: Names) -> str:
    return f" under “{names(parent_id)}”" if parent_id else ""
