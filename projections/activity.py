"""What each user did on each day, in UTC: how many goals they created, completed, reopened, deleted."""

from datetime import date, timedelta

from msgspec import Struct, structs

from es_goals.events import GoalCompleted, GoalCreated, GoalDeleted, GoalReopened, Recorded

REVISION = 1
KEY = ("user", "day")
INDEXES = ()

_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_COUNTED = {
    GoalCreated.__name__: "created",
    GoalCompleted.__name__: "completed",
    GoalReopened.__name__: "reopened",
    GoalDeleted.__name__: "deleted",
}


class Row(Struct, frozen=True, gc=False):
    """One user's day; `day` is YYYY-MM-DD."""

    user: str
    day: str
    created: int = 0
    completed: int = 0
    reopened: int = 0
    deleted: int = 0


def key(recorded: Recorded) -> tuple[str, str] | None:
    """The user and the day, for the events that are counted."""
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
    return structs.replace(row, **{counted: getattr(row, counted) + 1})
