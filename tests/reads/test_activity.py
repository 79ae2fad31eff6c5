"""What each user did on each day, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings

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
from tests.support.lives import Step, lived, steps

MIDNIGHT = micros(datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (created("g"), {"created": 1}),
        (GoalCompleted("g", START), {"completed": 1}),
        (GoalReopened("g"), {"reopened": 1}),
        (GoalDeleted("g", "g"), {"deleted": 1}),
        (GoalRenamed("g", "Swim"), {"renamed": 1}),
        (GoalDescribed("g"), {"described": 1}),
        (GoalScheduled("g", START), {"scheduled": 1}),
        (GoalMoved("g", "r"), {"moved": 1}),
        (GoalMoved("g", "r", spaced=True), {}),
        (GoalRestored("g", "r"), {"restored": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_is_counted_by_itself(event: Event, counted: dict[str, int]) -> None:
    assert activity.fold(None, recorded(event, at=MIDNIGHT)) == Row("ann", "2026-11-23", **counted, events=1)


@pytest.mark.parametrize("event", ACCOUNT, ids=lambda value: type(value).__name__)
def test_an_account_s_facts_change_no_day(event: Event) -> None:
    assert activity.key(recorded(event, at=MIDNIGHT)) is None


@settings(deadline=None, max_examples=50)
@given(steps)
def test_days_add_up_to_all_that_happened(taken: list[Step]) -> None:
    lines = lived(taken)

    rows = folded(activity, lines).values()

    assert sum(row.events for row in rows) == len(lines)
    spaced = sum(b'"spaced":true' in line.data for line in lines)
    kinds = [name for name in Row.__struct_fields__ if name not in ("user", "day", "events")]
    assert sum(getattr(row, kind) for row in rows for kind in kinds) == len(lines) - spaced


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
        ("ann", "2026-11-23"): Row("ann", "2026-11-23", created=2, completed=1, renamed=1, events=4),
        ("bob", "2026-11-23"): Row("bob", "2026-11-23", created=1, events=1),
        ("ann", "2026-11-24"): Row("ann", "2026-11-24", completed=1, reopened=1, deleted=2, events=4),
    }
