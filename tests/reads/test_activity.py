"""What each user did on each day, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from es_goals.events import (
    Event,
    GoalCompleted,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    micros,
)
from projections import activity
from projections.activity import Row
from tests.support.histories import ACCOUNT, START, created, folded, recorded

MIDNIGHT = micros(datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("event", "after"),
    [
        (created("g"), Row("ann", "2026-11-23", created=1)),
        (GoalCompleted("g", START), Row("ann", "2026-11-23", completed=1)),
        (GoalReopened("g"), Row("ann", "2026-11-23", reopened=1)),
        (GoalDeleted("g", "g"), Row("ann", "2026-11-23", deleted=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_is_counted_by_itself(event: Event, after: Row) -> None:
    assert activity.fold(None, recorded(event, at=MIDNIGHT)) == after


@pytest.mark.parametrize(
    "event",
    [
        GoalRenamed("g", "Swim"),
        GoalDescribed("g"),
        GoalScheduled("g", START),
        GoalMoved("g", "r"),
        GoalRestored("g", "r"),
        *ACCOUNT,
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_events_change_no_day(event: Event) -> None:
    assert activity.key(recorded(event, at=MIDNIGHT)) is None


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (MIDNIGHT - 1, "2026-11-22"),
        (MIDNIGHT, "2026-11-23"),
        (MIDNIGHT + 86_400_000_000 - 1, "2026-11-23"),
        (MIDNIGHT + 86_400_000_000, "2026-11-24"),
        (micros(datetime(2024, 2, 29, 12, tzinfo=UTC)), "2024-02-29"),
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (micros(datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2)))), "2026-11-23"),
    ],
)
def test_a_day_begins_at_midnight_in_utc(at: int, day: str) -> None:
    assert activity.key(recorded(created("g"), at=at)) == ("ann", day)


def test_a_day_adds_up_and_days_and_users_are_kept_apart() -> None:
    tomorrow = MIDNIGHT + 86_400_000_000
    lines = [
        recorded(created("a"), at=MIDNIGHT),
        recorded(created("b"), at=MIDNIGHT + 1),
        recorded(created("c"), at=MIDNIGHT + 2, user="bob"),
        recorded(GoalCompleted("a", START), at=MIDNIGHT + 3),
        recorded(GoalRenamed("a", "Swim"), at=MIDNIGHT + 4),
        recorded(GoalReopened("a"), at=tomorrow),
        recorded(GoalCompleted("a", START), at=tomorrow),
        recorded(GoalDeleted("b", "b"), at=tomorrow),
        recorded(GoalDeleted("a", "a"), at=tomorrow),
    ]

    assert folded(activity, lines) == {
        ("ann", "2026-11-23"): Row("ann", "2026-11-23", created=2, completed=1),
        ("bob", "2026-11-23"): Row("bob", "2026-11-23", created=1),
        ("ann", "2026-11-24"): Row("ann", "2026-11-24", completed=1, reopened=1, deleted=2),
    }
