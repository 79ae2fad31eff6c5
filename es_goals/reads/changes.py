"""What a diff is answered as: each kind of change, the goals that differ, and their text for people."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

from msgspec import UNSET, Struct, UnsetType

from es_goals.events import Instant
from es_goals.reads.history import EventBrief
from es_goals.reads.trees import Progress

WIDEST = 40
"""Characters of a name that what is said of goals is aligned behind."""


class Place(Struct, frozen=True, gc=False):
    """Where a goal is: the names above it from the top down, of which `path_count` tells where only the nearest are
    here, and the goal right before it among those that are not deleted."""

    parent_id: str | None
    path: list[str]
    after: str | None
    path_count: int | UnsetType = UNSET


class After(Struct, frozen=True, gc=False):
    """Which goal is right before one."""

    after: str | None


class Times(Struct, frozen=True, gc=False):
    """When a goal begins and is due."""

    start: Instant
    due: Instant | None


class Root(Struct, frozen=True, gc=False):
    """The goal that the deletion named."""

    root: str | None


class Fields(Place, frozen=True, gc=False, kw_only=True):
    """All of a goal."""

    name: str
    description: str | None
    start: Instant
    due: Instant | None
    end: Instant | None


class Change(Struct, frozen=True, gc=False, tag_field="kind"):
    """One kind of difference."""


class Created(Change, frozen=True, gc=False, tag="created", rename={"new": "to"}):
    """It did not exist."""

    new: Fields


class Restored(Change, frozen=True, gc=False, tag="restored", rename={"new": "to"}):
    """It was deleted."""

    new: Fields


class Deleted(Change, frozen=True, gc=False, tag="deleted", rename={"old": "from", "new": "to"}):
    """It is deleted now."""

    old: Place
    new: Root


class Moved(Change, frozen=True, gc=False, tag="moved", rename={"old": "from", "new": "to"}):
    """It is under another parent."""

    old: Place
    new: Place


class Reordered(Change, frozen=True, gc=False, tag="reordered", rename={"old": "from", "new": "to"}):
    """It stands elsewhere among its siblings."""

    old: After
    new: After


class Renamed(Change, frozen=True, gc=False, tag="renamed", rename={"old": "from", "new": "to"}):
    """Its name is another one."""

    old: str
    new: str


class Described(Change, frozen=True, gc=False, tag="described", rename={"old": "from", "new": "to"}):
    """Its description is another one."""

    old: str | None
    new: str | None


class Scheduled(Change, frozen=True, gc=False, tag="scheduled", rename={"old": "from", "new": "to"}):
    """It begins or is due at another time."""

    old: Times
    new: Times


class Completed(Change, frozen=True, gc=False, tag="completed", rename={"old": "from", "new": "to"}):
    """It was reached, or at another time."""

    old: Instant | None
    new: Instant | None


class Reopened(Change, frozen=True, gc=False, tag="reopened", rename={"old": "from", "new": "to"}):
    """It is open again."""

    old: Instant | None
    new: Instant | None


AnyChange = Created | Restored | Deleted | Moved | Reordered | Renamed | Described | Scheduled | Completed | Reopened


class GoalDiff(Struct, frozen=True, gc=False):
    """A goal that differs. `name` and `path` are those at the second point, of a deleted goal those at the first;
    `under` counts goals that were deleted, or moved, along with it and have no entry; `events` are the goal's in
    between, the first of them where `events_count` tells how many there are."""

    id: str
    name: str
    path: list[str]
    under: int
    changes: list[AnyChange]
    events: list[EventBrief]
    path_count: int | UnsetType = UNSET
    events_count: int | UnsetType = UNSET


class Point(Struct, frozen=True, gc=False):
    """The user's last event there (zeros and null: none yet)."""

    position: int
    version: int
    at: datetime | None


class Summary(Struct):
    """How many goals differ in each way, those without an entry too, and how many in all."""

    created: int = 0
    restored: int = 0
    deleted: int = 0
    moved: int = 0
    reordered: int = 0
    renamed: int = 0
    described: int = 0
    scheduled: int = 0
    completed: int = 0
    reopened: int = 0
    goals: int = 0


class BothProgress(Struct, frozen=True, gc=False, rename={"first": "from", "last": "to"}):
    """Progress at both ends."""

    first: Progress
    last: Progress


class DiffHead(Struct, frozen=True, gc=False, rename={"first": "from", "last": "to"}):
    """What there is to say before the goals."""

    user: str
    first: Point
    last: Point
    summary: Summary
    progress: BothProgress


class DiffAnswer(DiffHead, frozen=True, gc=False):
    """What differs between a user's goals at two points; goals in the order of the tree at the second one, deleted ones
    in their places."""

    goals: list[GoalDiff]


MARKS = {Created: "+", Restored: "+", Deleted: "-", Moved: "→", Reordered: "↕", Completed: "✔", Reopened: "·"}
"""What the line of a goal begins with, by the first of its changes that is here; else ~."""


def title(head: DiffHead) -> str:
    """The first line of the text: the span, and progress at both ends."""
    first, last = head.progress.first, head.progress.last
    span = f"{head.user}, {_point(head.first)} … {_point(head.last)}"
    return f"{span}: progress {first.completed}/{first.leaves} → {last.completed}/{last.leaves}"


def line(goal: GoalDiff, width: int, behind: str | None) -> str:
    """The line of a goal; `behind`: what the goal right before it is called."""
    said = "; ".join(filter(None, (_said(change, goal.under, behind) for change in goal.changes)))
    mark = next((MARKS[change.__class__] for change in goal.changes if change.__class__ in MARKS), "~")
    return f"{mark} {goal.name:{width}}  {said}".rstrip()


def _point(point: Point) -> str:
    return f"{point.at:%Y-%m-%d %H:%M} ({point.position})" if point.at else "the beginning (0)"


def _said(change: AnyChange, under: int, behind: str | None) -> str:
    along = f", with {under} below" if under else ""
    match change:
        case Created(new) | Restored(new):
            again = "restored " if isinstance(change, Restored) else ""
            return f"{again}{_under(new)}{f'; done {new.end[:10]}' if new.end else ''}"
        case Deleted():
            return along.removeprefix(", ")
        case Moved(old, new):
            return f"from {_parent(old)} to {_parent(new)}{along}"
        case Reordered():
            return f"now behind “{behind}”" if behind is not None else "now the first"
        case Renamed(old):
            return f"was “{old}”"
        case Described(_, new):
            return "described anew" if new else "no longer described"
        case Scheduled(old, new):
            return ", ".join(_times(old, new))
        case Completed(_, new):
            return f"done {(new or '')[:10]}"
        case Reopened():
            return "open again"
        case _:
            assert_never(change)


def _under(place: Place) -> str:
    return f"under {_parent(place)}" if place.path else "at the top"


def _parent(place: Place) -> str:
    return f"“{place.path[-1]}”" if place.path else "the top"


def _times(old: Times, new: Times) -> Iterator[str]:
    if old.start != new.start:
        yield f"starts {_minute(new.start)}"
    if old.due != new.due:
        yield f"due {_minute(new.due)}" if new.due else "no longer due"


def _minute(instant: Instant) -> str:
    return instant[:16].replace("T", " ")
