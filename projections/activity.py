"""What each user did on each day, in UTC: how many events of each kind, and how many in all."""

from datetime import date, timedelta

from msgspec import Struct, structs

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Recorded,
)

REVISION = 2
KEY = ("user", "day")
INDEXES = ()

_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_COUNTED = {
    GoalCreated.__name__: "created",
    GoalCompleted.__name__: "completed",
    GoalReopened.__name__: "reopened",
    GoalDeleted.__name__: "deleted",
    GoalRenamed.__name__: "renamed",
    GoalDescribed.__name__: "described",
    GoalScheduled.__name__: "scheduled",
    GoalMoved.__name__: "moved",
    GoalRestored.__name__: "restored",
}


class Row(Struct, frozen=True, gc=False):
    """One user's day; `day` is YYYY-MM-DD. `moved` leaves out what only made room among siblings; `events` has it."""

    user: str
    day: str
    created: int = 0
    completed: int = 0
    reopened: int = 0
    deleted: int = 0
    renamed: int = 0
    described: int = 0
    scheduled: int = 0
    moved: int = 0
    restored: int = 0
    events: int = 0


def key(recorded: Recorded) -> tuple[str, str] | None:
    """The user and the day, for the events of goals."""
    if recorded.type not in _COUNTED:
        return None
    return recorded.owner, (_EPOCH + timedelta(days=recorded.at // _DAY)).isoformat()


def fold(row: Row | None, recorded: Recorded) -> Row:
    """The day with one more."""
    if row is None:
        day = key(recorded)
        assert day is not None
        row = Row(*day)
    counted = _COUNTED[recorded.type]
    only_room = counted == "moved" and getattr(recorded.event, "spaced", False)
    more = {} if only_room else {counted: getattr(row, counted) + 1}
    return structs.replace(row, events=row.events + 1, **more)
