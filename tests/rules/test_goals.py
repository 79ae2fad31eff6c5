"""The rules, one by one: given these events, when this command comes, then these events or this refusal."""

import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec import UNSET, UnsetType

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
    instant,
)
from es_goals.goals.commands import (
    AmbiguousName,
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    Limits,
    MoveGoal,
    Named,
    NameTaken,
    NotASibling,
    NotTheRoot,
    ParentDeleted,
    ReopenGoal,
    RestoreGoal,
    UnderItself,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import Goal, Goals, evolve
from es_goals.values import InvalidValue, Rejected
from tests.support.limits import LIMITS, limited

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
EARLIER, NOW_TEXT, LATER = instant(NOW - HOUR), instant(NOW), instant(NOW + HOUR)
MANY = 20_000

BIDI_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def created(
    goal_id: str, under: str | None = None, *, name: str | None = None, start: Instant = EARLIER, rank: str = ""
) -> GoalCreated:
    """A goal named like its id, of one letter, which orders it among its siblings too."""
    return GoalCreated(goal_id, name or goal_id, start, rank or f"V0000{goal_id}", under)


def given(*events: GoalEvent) -> Goals:
    goals = Goals()
    for event in events:
        evolve(goals, event, 0)
    return goals


def family() -> Goals:
    """At the top p and q; under p the siblings a, b, c; under b the goal x."""
    under_p = (created(goal_id, "p") for goal_id in "abc")
    return given(created("p"), created("q"), *under_p, created("x", "b"))


def when(goals: Goals, *commands: Command) -> tuple[GoalEvent, ...]:
    """What the last command causes, after all of them took effect."""
    events: tuple[GoalEvent, ...] = ()
    for command in commands:
        events = decide(goals, command, NOW, LIMITS)
        for event in events:
            evolve(goals, event, 1)
    return events


def order(goals: Goals, parent_id: str | None) -> str:
    """The ids of the goals there that are not deleted, in order."""
    return "".join(goal_id for _, goal_id in goals.siblings[parent_id] if goals.known[goal_id].root is None)


def live(goals: Goals) -> dict[str, tuple[str | None, str]]:
    return {goal.id: (goal.parent_id, goal.rank) for goal in goals.known.values() if goal.root is None}


def refused(
    kind: type[Rejected], goals: Goals, command: Command, message: str | None = None, limits: Limits = LIMITS
) -> str | None:
    """The field at fault."""
    with pytest.raises(Rejected, match=message) as refusal:
        decide(goals, command, NOW, limits)
    assert type(refusal.value) is kind
    return refusal.value.field


def test_a_goal_is_created_with_all_that_was_given() -> None:
    command = CreateGoal("n", "Run", "p", "daily", NOW + HOUR, NOW + 2 * HOUR)

    assert decide(given(created("p")), command, NOW, LIMITS) == (
        GoalCreated("n", "Run", LATER, "V00000", "p", "daily", instant(NOW + 2 * HOUR)),
    )


def test_a_goal_without_parent_and_start_is_at_the_top_and_starts_now() -> None:
    assert decide(given(), CreateGoal("n", "Run"), NOW, LIMITS) == (GoalCreated("n", "Run", NOW_TEXT, "V00000"),)


def test_an_id_is_given_once_even_after_its_goal_was_deleted() -> None:
    goals = given(created("a"), created("b"), GoalDeleted("b", "b"))

    assert refused(GoalExists, goals, CreateGoal("a", "Run"), "found a, which is taken") == "id"
    assert refused(GoalExists, goals, CreateGoal("b", "Run"), "found b, which is taken") == "id"


def test_a_parent_that_is_unknown_or_deleted_is_refused() -> None:
    goals = given(created("p"), GoalDeleted("p", "p"))

    assert refused(GoalNotFound, goals, CreateGoal("n", "Run", "ghost"), "with the id ghost") == "parent_id"
    assert refused(GoalNotFound, goals, CreateGoal("n", "Run", "p"), "with the id p") == "parent_id"
    assert refused(GoalNotFound, goals, CreateGoal("n", "Run", Named("p")), "named 'p'") == "parent_id"


def test_names_need_not_be_unique() -> None:
    goals = given(created("a", name="Run"))

    assert decide(goals, CreateGoal("b", "Run"), NOW, LIMITS)
    assert decide(goals, CreateGoal("b", "Run", "a"), NOW, LIMITS)


def test_a_name_that_is_asked_to_be_unique_must_not_be_taken() -> None:
    goals = given(created("p"), created("a", "p", name="Café"))

    assert refused(NameTaken, goals, CreateGoal("b", " Cafe\u0301 ", unique=True), "found 'Café'") == "name"
    assert decide(goals, CreateGoal("b", "Cafe", unique=True), NOW, LIMITS)


@pytest.mark.parametrize("freed", [GoalDeleted("a", "a"), GoalRenamed("a", "Walk")])
def test_the_name_of_a_goal_that_was_deleted_or_renamed_is_free_again(freed: GoalEvent) -> None:
    goals = given(created("a", name="Run"), freed)

    assert decide(goals, CreateGoal("b", "Run", unique=True), NOW, LIMITS)


naming = pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda name: CreateGoal("n", name), id="create"),
        pytest.param(lambda name: ChangeGoal("a", name=name), id="change"),
    ],
)
describing = pytest.mark.parametrize(
    "described",
    [
        pytest.param(lambda text: CreateGoal("n", "Run", description=text), id="create"),
        pytest.param(lambda text: ChangeGoal("a", description=text), id="change"),
    ],
)
Given = Callable[[str], Command]


@naming
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("R", "R"),
        ("x" * 200, "x" * 200),
        (" \t\n" + "x" * 200 + "\u3000\n", "x" * 200),
        ("e\u0301" * 200, "é" * 200),
        ("Cafe\u0301 \u212b", "Café Å"),
        ("two  words", "two  words"),
        ("ﬁt x² ①", "ﬁt x² ①"),
        ("לרוץ \u200eRun\u200f", "לרוץ \u200eRun\u200f"),
        ("👩\u200d👩\u200d👧 走る", "👩\u200d👩\u200d👧 走る"),
        ("<b>&'\";--", "<b>&'\";--"),
    ],
    ids=ascii,
)
def test_a_name_is_kept_in_nfc_and_trimmed(named: Given, text: str, kept: str) -> None:
    (event,) = decide(given(created("a")), named(text), NOW, LIMITS)

    assert isinstance(event, GoalCreated | GoalRenamed)
    assert event.name == kept
    assert unicodedata.is_normalized("NFC", kept)


@naming
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", 0),
        (" \t\n\u3000", 0),
        ("x" * 201, 201),
        ("e\u0301" * 201, 201),
        # NFC takes this letter apart for good, so what fits as it was sent may not fit as it is kept.
        ("\u0958" * 101, 202),
    ],
    ids=["empty", "blank", "201", "201 composed", "202 decomposed"],
)
def test_a_name_of_none_or_too_many_characters_is_refused(named: Given, text: str, found: int) -> None:
    assert refused(InvalidValue, family(), named(text), f"expected 1 to 200 characters; found {found}$") == "name"


HIDING = ["\0", "\x01", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ud800", "\udfff", *BIDI_OVERRIDES]


@naming
@pytest.mark.parametrize("character", [*HIDING, "\t", "\n", "\r"], ids=ascii)
def test_a_name_with_a_control_or_an_override_is_refused(named: Given, character: str) -> None:
    message = rf"found U\+{ord(character):04X} at index 2$"

    assert refused(InvalidValue, family(), named(f"ab{character}c"), message) == "name"


@describing
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 16_384, id="16,384 letters"),
        pytest.param("😀" * 16_384, id="16,384 emoji"),
        pytest.param(" \tone\r\ntwo\n ", id="lines, tabs and blanks"),
        pytest.param("e\u0301", id="not NFC"),
        pytest.param("👩\u200d👧 לרוץ", id="joined, and from right to left"),
    ],
)
def test_a_description_is_kept_as_it_is(described: Given, text: str) -> None:
    (event,) = decide(given(created("a")), described(text), NOW, LIMITS)

    assert isinstance(event, GoalCreated | GoalDescribed)
    assert event.description == text


@describing
def test_a_description_of_too_many_characters_is_refused(described: Given) -> None:
    message = "expected at most 16384 characters; found 16385$"

    assert refused(InvalidValue, family(), described("x" * 16_385), message) == "description"


@describing
@pytest.mark.parametrize("character", HIDING, ids=ascii)
def test_a_description_with_a_control_or_an_override_is_refused(described: Given, character: str) -> None:
    message = rf"found U\+{ord(character):04X} at index 3$"

    assert refused(InvalidValue, family(), described(f"a\n\t{character}c"), message) == "description"


def timed(command: Callable[[datetime], Command], field: str) -> object:
    return pytest.param(command, field, id=f"{field} of {command(NOW).__class__.__name__}")


timing = pytest.mark.parametrize(
    ("timed", "field"),
    [
        timed(lambda time: CreateGoal("n", "Run", start=time), "start"),
        timed(lambda time: CreateGoal("n", "Run", due=time), "due"),
        timed(lambda time: ChangeGoal("a", start=time), "start"),
        timed(lambda time: ChangeGoal("a", due=time), "due"),
        timed(lambda time: CompleteGoal("a", end=time), "end"),
    ],
)


def east(hours: int) -> timezone:
    return timezone(hours * HOUR)


@timing
@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (datetime(1900, 1, 1, tzinfo=UTC), "1900-01-01T00:00:00Z"),
        (datetime(1899, 12, 31, 23, 30, tzinfo=east(-1)), "1900-01-01T00:30:00Z"),
        (datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=east(1)), "2026-11-23T08:00:00.250000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_kept_in_utc_to_the_microsecond(
    timed: Callable[[datetime], Command], field: str, time: datetime, kept: str
) -> None:
    goals = given(created("a", start=Instant("1900-01-01T00:00:00.000001Z")))
    if field == "end":
        evolve(goals, GoalScheduled("a", Instant("1900-01-01T00:00:00Z")), 0)

    (event,) = decide(goals, timed(time), NOW, LIMITS)

    assert getattr(event, field) == kept


@timing
@pytest.mark.parametrize(
    "time",
    [
        datetime(1899, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1900, 1, 1, 0, 30, tzinfo=east(1)),
        datetime(9999, 12, 31, 23, 30, tzinfo=east(-1)),
        datetime(1, 1, 1, tzinfo=east(1)),
    ],
)
def test_a_time_outside_of_1900_to_9999_in_utc_is_refused(
    timed: Callable[[datetime], Command], field: str, time: datetime
) -> None:
    message = "expected a year from 1900 to 9999 in UTC; found "

    assert refused(InvalidValue, given(created("a")), timed(time), message) == field


def test_a_due_time_may_be_before_the_start() -> None:
    assert decide(given(), CreateGoal("n", "Run", start=NOW, due=NOW - HOUR), NOW, LIMITS)


def test_each_changed_part_is_an_event_of_its_own() -> None:
    command = ChangeGoal("a", name="Run", description="daily", start=NOW, due=NOW + HOUR)

    assert decide(given(created("a")), command, NOW, LIMITS) == (
        GoalRenamed("a", "Run"),
        GoalDescribed("a", "daily"),
        GoalScheduled("a", NOW_TEXT, LATER),
    )


def test_what_is_not_given_stays() -> None:
    goals = given(created("a"), GoalScheduled("a", NOW_TEXT, LATER))

    assert decide(goals, ChangeGoal("a", due=NOW + 2 * HOUR), NOW, LIMITS) == (
        GoalScheduled("a", NOW_TEXT, instant(NOW + 2 * HOUR)),
    )
    assert decide(goals, ChangeGoal("a", start=NOW - HOUR), NOW, LIMITS) == (GoalScheduled("a", EARLIER, LATER),)


def test_a_description_and_a_due_time_can_be_removed() -> None:
    goals = given(created("a"), GoalDescribed("a", "daily"), GoalScheduled("a", NOW_TEXT, LATER))

    assert decide(goals, ChangeGoal("a", description=None, due=None), NOW, LIMITS) == (
        GoalDescribed("a"),
        GoalScheduled("a", NOW_TEXT),
    )


def test_a_change_to_what_is_already_there_records_nothing() -> None:
    goals = given(created("a", name="Café"), GoalDescribed("a", "daily"), GoalScheduled("a", NOW_TEXT, LATER))
    in_delhi = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert decide(goals, ChangeGoal("a"), NOW, LIMITS) == ()
    assert decide(goals, ChangeGoal("a", " Cafe\u0301 ", "daily", in_delhi, NOW + HOUR), NOW, LIMITS) == ()


def test_a_start_after_the_goals_end_is_refused() -> None:
    goals = given(created("a"), GoalCompleted("a", NOW_TEXT))
    too_late = ChangeGoal("a", start=NOW + timedelta(microseconds=1))

    assert refused(InvalidValue, goals, too_late, f"the goal's end, {NOW_TEXT}; found") == "start"
    assert decide(goals, ChangeGoal("a", start=NOW), NOW, LIMITS) == (GoalScheduled("a", NOW_TEXT),)


def test_a_goal_completes_now_unless_an_end_is_given() -> None:
    goals = given(created("a"))

    assert decide(goals, CompleteGoal("a"), NOW, LIMITS) == (GoalCompleted("a", NOW_TEXT),)
    assert decide(goals, CompleteGoal("a", NOW + HOUR), NOW, LIMITS) == (GoalCompleted("a", LATER),)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOW, NOW - timedelta(microseconds=1)),
        (NOW, (NOW - HOUR / 2).astimezone(east(2))),
        # As texts these two compare the other way round: "." comes before "Z".
        (NOW + timedelta(microseconds=1), NOW),
    ],
)
def test_a_given_end_before_the_start_is_refused(start: datetime, end: datetime) -> None:
    goals = given(created("a", start=instant(start)))
    message = f"an end no earlier than the start of a, {instant(start)}; found {instant(end)}"

    assert refused(InvalidValue, goals, CompleteGoal("a", end), message) == "end"


def test_a_goal_may_end_as_it_starts() -> None:
    goals = given(created("a", start=LATER))

    assert decide(goals, CompleteGoal("a", NOW + HOUR), NOW, LIMITS) == (GoalCompleted("a", LATER),)


@pytest.mark.parametrize("later", [HOUR, timedelta(microseconds=1)])
def test_a_goal_that_starts_later_than_now_completes_at_its_start(later: timedelta) -> None:
    goals = given(created("a", start=instant(NOW + later)))

    assert decide(goals, CompleteGoal("a"), NOW, LIMITS) == (GoalCompleted("a", instant(NOW + later)),)


def unstarted(goal_id: str, under: str | None = None) -> GoalCreated:
    """A goal whose start nobody gave: `given` makes it at this time."""
    return created(goal_id, under, start=instant(0))


BEFORE = datetime(1969, 12, 31, tzinfo=UTC)


def test_a_start_that_nobody_gave_moves_back_to_a_given_end() -> None:
    goals = given(unstarted("a"), GoalScheduled("a", instant(0), LATER))

    events = when(goals, CompleteGoal("a", BEFORE))

    assert events == (GoalScheduled("a", instant(BEFORE), LATER), GoalCompleted("a", instant(BEFORE)))
    assert (goals.known["a"].start, goals.known["a"].end) == (instant(BEFORE), instant(BEFORE))


def test_a_start_that_nobody_gave_stays_where_the_end_is_not_before_it() -> None:
    goals = given(unstarted("a"), unstarted("b"))

    assert decide(goals, CompleteGoal("a", datetime(1970, 1, 1, tzinfo=UTC)), NOW, LIMITS) == (
        GoalCompleted("a", instant(0)),
    )
    assert decide(goals, CompleteGoal("b"), NOW, LIMITS) == (GoalCompleted("b", NOW_TEXT),)


def test_a_start_that_was_given_later_is_held_against_an_earlier_end() -> None:
    goals = given(unstarted("a"))
    when(goals, ChangeGoal("a", start=NOW - HOUR))

    assert refused(InvalidValue, goals, CompleteGoal("a", BEFORE), f"the start of a, {EARLIER}") == "end"


def test_a_cascade_moves_back_each_start_that_nobody_gave() -> None:
    goals = given(unstarted("p"), created("a", "p", start=instant(BEFORE)), unstarted("b", "a"))

    assert decide(goals, CompleteGoal("p", BEFORE, cascade=True), NOW, LIMITS) == (
        GoalScheduled("b", instant(BEFORE)),
        GoalCompleted("b", instant(BEFORE)),
        GoalCompleted("a", instant(BEFORE)),
        GoalScheduled("p", instant(BEFORE)),
        GoalCompleted("p", instant(BEFORE)),
    )


def test_one_given_start_after_the_end_refuses_a_cascade_whole() -> None:
    goals = given(unstarted("p"), created("a", "p"), unstarted("b", "a"))

    assert refused(InvalidValue, goals, CompleteGoal("p", BEFORE, True), f"the start of a, {EARLIER}") == "end"


def test_sub_goals_are_left_alone_without_cascade() -> None:
    assert decide(family(), CompleteGoal("p"), NOW, LIMITS) == (GoalCompleted("p", NOW_TEXT),)


def test_a_cascade_completes_the_open_goals_below_children_first() -> None:
    goals = family()
    when(goals, CompleteGoal("a", NOW - HOUR), DeleteGoal("c"))

    events = decide(goals, CompleteGoal("p", cascade=True), NOW, LIMITS)

    assert events == tuple(GoalCompleted(goal_id, NOW_TEXT) for goal_id in "xbp")


def test_a_cascade_ends_each_goal_at_the_later_of_now_and_its_own_start() -> None:
    goals = given(created("p"), created("a", "p", start=LATER), created("b", "a"))

    assert decide(goals, CompleteGoal("p", cascade=True), NOW, LIMITS) == (
        GoalCompleted("b", NOW_TEXT),
        GoalCompleted("a", LATER),
        GoalCompleted("p", NOW_TEXT),
    )


def test_a_cascade_with_an_end_before_the_start_of_one_open_goal_is_refused() -> None:
    goals = given(created("p"), created("a", "p", start=LATER), created("b", "a"))
    command = CompleteGoal("p", NOW, cascade=True)

    assert refused(InvalidValue, goals, command, f"the start of a, {LATER}") == "end"
    evolve(goals, GoalCompleted("a", LATER), 0)
    assert decide(goals, command, NOW, LIMITS) == (GoalCompleted("b", NOW_TEXT), GoalCompleted("p", NOW_TEXT))


@pytest.mark.parametrize("end", [None, NOW, NOW - 2 * HOUR])
@pytest.mark.parametrize("cascade", [False, True])
def test_completing_again_keeps_the_first_end_and_records_nothing(end: datetime | None, cascade: bool) -> None:
    goals = given(created("a"), GoalCompleted("a", EARLIER))

    assert decide(goals, CompleteGoal("a", end, cascade), NOW, LIMITS) == ()


def test_a_cascade_reaches_open_goals_below_one_that_is_complete() -> None:
    goals = given(created("p"), created("a", "p"), GoalCompleted("p", NOW_TEXT))

    assert decide(goals, CompleteGoal("p", cascade=True), NOW, LIMITS) == (GoalCompleted("a", NOW_TEXT),)


def test_reopening_clears_the_end_of_that_goal_alone() -> None:
    goals = given(created("p"), created("a", "p"), created("b", "a"))
    when(goals, CompleteGoal("p", cascade=True))

    events = when(goals, ReopenGoal("a"))

    assert events == (GoalReopened("a"),)
    assert {goal.id: goal.end for goal in goals.known.values()} == {"p": NOW_TEXT, "a": None, "b": NOW_TEXT}


def test_reopening_an_open_goal_records_nothing() -> None:
    assert decide(given(created("a")), ReopenGoal("a"), NOW, LIMITS) == ()


def test_a_reopened_goal_completes_with_a_new_end() -> None:
    goals = given(created("a"), GoalCompleted("a", EARLIER), GoalReopened("a"))

    assert decide(goals, CompleteGoal("a"), NOW, LIMITS) == (GoalCompleted("a", NOW_TEXT),)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, "abcn"),
        ("a", None, "nabc"),
        ("c", None, "abnc"),
        (None, "a", "anbc"),
        (None, "c", "abcn"),
    ],
)
def test_a_new_goal_comes_last_or_next_to_a_sibling(before: str | None, after: str | None, expected: str) -> None:
    goals = family()

    when(goals, CreateGoal("n", "Run", "p", before=before, after=after))

    assert order(goals, "p") == expected


@pytest.mark.parametrize(
    ("moved", "before", "after", "expected"),
    [
        ("a", None, None, "bca"),
        ("a", "c", None, "bac"),
        ("a", None, "b", "bac"),
        ("a", None, "c", "bca"),
        ("c", "a", None, "cab"),
        ("c", None, "a", "acb"),
        ("b", "a", None, "bac"),
        ("b", None, "c", "acb"),
    ],
)
def test_a_goal_moves_last_or_next_to_a_sibling(
    moved: str, before: str | None, after: str | None, expected: str
) -> None:
    goals = family()

    events = when(goals, MoveGoal(moved, before=before, after=after))

    assert order(goals, "p") == expected
    assert [event.goal_id for event in events] == [moved]


@pytest.mark.parametrize(
    "command",
    [
        MoveGoal("c"),
        MoveGoal("c", "p"),
        MoveGoal("c", after="b"),
        MoveGoal("b", after="a"),
        MoveGoal("b", before="c"),
        MoveGoal("b", "p", before="c"),
        MoveGoal("a", before="b"),
        MoveGoal("q", None),
        MoveGoal("x", "b"),
    ],
    ids=repr,
)
def test_a_move_to_where_the_goal_is_records_nothing(command: MoveGoal) -> None:
    assert decide(family(), command, NOW, LIMITS) == ()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (MoveGoal("x", "p"), "abcx"),
        (MoveGoal("x", "p", before="b"), "axbc"),
        (MoveGoal("x", "p", after="b"), "abxc"),
        (MoveGoal("q", "p", before="a"), "qabc"),
    ],
    ids=repr,
)
def test_a_goal_moves_under_another_one(command: MoveGoal, expected: str) -> None:
    goals = family()

    (event,) = when(goals, command)

    assert isinstance(event, GoalMoved)
    assert event.parent_id == "p"
    assert order(goals, "p") == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (MoveGoal("b", None), "pqb"),
        (MoveGoal("b", None, before="p"), "bpq"),
        (MoveGoal("b", None, after="p"), "pbq"),
    ],
    ids=repr,
)
def test_a_goal_moves_to_the_top_with_all_below_it_in_one_event(command: MoveGoal, expected: str) -> None:
    goals = family()

    events = when(goals, command)

    assert len(events) == 1
    assert (order(goals, None), order(goals, "p"), order(goals, "b")) == (expected, "ac", "x")


@pytest.mark.parametrize(
    ("parent_id", "path"),
    [("p", "p"), ("b", "p / b"), ("x", "p / b / x")],
    ids=["itself", "its child", "its grandchild"],
)
def test_a_goal_does_not_move_under_itself_and_the_path_is_named(parent_id: str, path: str) -> None:
    assert refused(UnderItself, family(), MoveGoal("p", parent_id), f"found one below it: {path}$") == "parent_id"


def test_a_child_and_its_parent_can_change_places() -> None:
    goals = family()

    when(goals, MoveGoal("x", None), MoveGoal("p", "x"))

    assert (order(goals, None), order(goals, "x")) == ("qx", "p")


def test_the_middle_of_a_long_path_is_left_out() -> None:
    chain = "abcdefghijklm"
    goals = given(*(created(goal_id, under) for goal_id, under in zip(chain, [None, *chain], strict=False)))

    refused(UnderItself, goals, MoveGoal("a", "l"), "it: a / b / c / d / e / f / g / h / i / j / k / l$")
    refused(UnderItself, goals, MoveGoal("a", "m"), "it: a / b / c / d / e / f / … / i / j / k / l / m$")


@pytest.mark.parametrize("parent_id", ["ghost", "x"])
def test_a_move_under_an_unknown_or_deleted_goal_is_refused(parent_id: str) -> None:
    goals = family()
    when(goals, DeleteGoal("x"))

    assert refused(GoalNotFound, goals, MoveGoal("a", parent_id), f"with the id {parent_id}") == "parent_id"


def placed(before: str | None, after: str | None) -> Iterable[Command]:
    return (
        CreateGoal("n", "Run", "p", before=before, after=after),
        MoveGoal("a", before=before, after=after),
        MoveGoal("q", "p", before=before, after=after),
    )


@pytest.mark.parametrize(
    "sibling", ["ghost", "q", "x", "p", "c"], ids=["unknown", "elsewhere", "below", "parent", "deleted"]
)
def test_a_place_next_to_no_sibling_is_refused(sibling: str) -> None:
    goals = family()
    when(goals, DeleteGoal("c"))

    for command in placed(sibling, None):
        assert refused(NotASibling, goals, command, f"another goal under p; found {sibling}$") == "before"
    for command in placed(None, sibling):
        assert refused(NotASibling, goals, command, f"another goal under p; found {sibling}$") == "after"


def test_a_goal_has_no_place_next_to_itself() -> None:
    assert refused(NotASibling, family(), MoveGoal("a", before="a"), "another goal under p; found a$") == "before"
    assert refused(NotASibling, family(), MoveGoal("q", after="q"), "another goal at the top; found q$") == "after"


def test_before_and_after_at_once_are_refused() -> None:
    for command in placed("b", "c"):
        assert refused(InvalidValue, family(), command, "expected one of before and after; found both") == "after"


def test_siblings_of_one_rank_are_in_the_order_of_their_ids() -> None:
    goals = given(*(created(goal_id, rank="V00000") for goal_id in "bca"))

    when(goals, CreateGoal("n", "Run"))

    assert order(goals, None) == "abcn"


def test_next_to_siblings_of_one_rank_there_is_a_place_too() -> None:
    goals = given(*(created(goal_id, rank="V00000") for goal_id in "ab"))

    when(goals, CreateGoal("m", "Run", before="b"), CreateGoal("n", "Run", after="a"))

    shown = order(goals, None)
    assert shown.index("m") < shown.index("b")
    assert shown.index("a") < shown.index("n")


def test_a_deleted_goal_keeps_its_place() -> None:
    goals = family()

    when(goals, DeleteGoal("c"), CreateGoal("n", "Run", "p"), DeleteGoal("a"), MoveGoal("n", before="b"))
    when(goals, RestoreGoal("a"), RestoreGoal("c"))

    assert order(goals, "p") == "anbc"


def test_deleting_removes_all_below_children_first_naming_the_root() -> None:
    goals = family()

    events = when(goals, DeleteGoal("p"))

    assert events == tuple(GoalDeleted(goal_id, "p") for goal_id in "cxbap")
    assert set(live(goals)) == {"q"}


def test_deleting_leaves_out_what_was_deleted_before() -> None:
    goals = family()
    when(goals, DeleteGoal("b"))

    assert decide(goals, DeleteGoal("p"), NOW, LIMITS) == tuple(GoalDeleted(goal_id, "p") for goal_id in "cap")


def about(goal_id: str) -> Iterable[Command]:
    """Every command that changes a goal that is there."""
    return (
        ChangeGoal(goal_id, name="Run"),
        CompleteGoal(goal_id),
        CompleteGoal(goal_id, cascade=True),
        ReopenGoal(goal_id),
        MoveGoal(goal_id, None),
        DeleteGoal(goal_id),
    )


@pytest.mark.parametrize("goal_id", ["ghost", "p", "x"], ids=["unknown", "deleted", "deleted with its parent"])
def test_a_goal_that_is_unknown_or_deleted_is_not_found(goal_id: str) -> None:
    goals = family()
    when(goals, DeleteGoal("p"))

    for command in about(goal_id):
        assert refused(GoalNotFound, goals, command, f"found none with the id {goal_id}$") == "id"


def test_restoring_the_root_brings_back_what_its_deletion_removed_parents_first() -> None:
    goals = family()
    before = live(goals)
    when(goals, DeleteGoal("p"))

    events = when(goals, RestoreGoal("p"))

    assert events == tuple(GoalRestored(goal_id, *before[goal_id][::-1]) for goal_id in "pabxc")
    assert live(goals) == before


def test_restoring_leaves_what_another_deletion_removed() -> None:
    goals = family()
    when(goals, DeleteGoal("b"), DeleteGoal("p"))

    when(goals, RestoreGoal("p"))
    assert set(live(goals)) == {"p", "q", "a", "c"}
    when(goals, RestoreGoal("b"))
    assert live(goals) == live(family())


def test_restoring_after_a_second_deletion_brings_back_what_the_second_removed() -> None:
    goals = family()
    when(goals, DeleteGoal("b"), RestoreGoal("b"), MoveGoal("x", "a"), DeleteGoal("b"))

    when(goals, RestoreGoal("b"))

    assert (order(goals, "p"), order(goals, "a"), order(goals, "b")) == ("abc", "x", "")


def test_a_restored_goal_is_as_it_was() -> None:
    goals = family()
    when(goals, CompleteGoal("x"), DeleteGoal("p"), RestoreGoal("p"))

    assert goals.known["x"].end == NOW_TEXT
    assert goals.known["x"].root is None


@pytest.mark.parametrize("member", ["b", "x"])
@pytest.mark.parametrize("parent_id", [UNSET, None, "q"])
def test_another_member_of_a_deletion_is_not_restored_and_the_root_is_named(
    member: str, parent_id: str | None | UnsetType
) -> None:
    goals = family()
    when(goals, DeleteGoal("p"))

    with pytest.raises(NotTheRoot, match=r"restore p$") as refusal:
        decide(goals, RestoreGoal(member, parent_id), NOW, LIMITS)

    assert refusal.value.root == "p"


@pytest.mark.parametrize("parent_id", [UNSET, None, "q"])
def test_restoring_a_goal_that_is_not_deleted_records_nothing(parent_id: str | None | UnsetType) -> None:
    assert decide(family(), RestoreGoal("b", parent_id), NOW, LIMITS) == ()


def test_restoring_an_unknown_goal_or_one_by_name_is_refused() -> None:
    goals = family()
    when(goals, DeleteGoal("b"))

    assert refused(GoalNotFound, goals, RestoreGoal("ghost"), "with the id ghost") == "id"
    assert refused(GoalNotFound, goals, RestoreGoal(Named("b")), "named 'b'") == "id"


@pytest.mark.parametrize("parent_id", [UNSET, "p"], ids=["no parent named", "the old parent named"])
def test_a_goal_whose_parent_is_gone_is_not_restored_in_its_place(parent_id: str | UnsetType) -> None:
    goals = family()
    when(goals, DeleteGoal("b"), DeleteGoal("p"))
    command = RestoreGoal("b", parent_id)

    refused(ParentDeleted, goals, command, "the old one, p, is deleted")
    when(goals, RestoreGoal("p"))
    assert decide(goals, command, NOW, LIMITS) == (GoalRestored("b", "V0000b", "p"), GoalRestored("x", "V0000x", "b"))


@pytest.mark.parametrize(("parent_id", "top", "below_q"), [(None, "qyb", "z"), ("q", "qy", "zb")])
def test_a_goal_whose_parent_is_gone_is_restored_last_under_a_new_one(
    parent_id: str | None, top: str, below_q: str
) -> None:
    goals = given(*(created(goal_id) for goal_id in "pqy"), created("b", "p"), created("x", "b"), created("z", "q"))
    when(goals, DeleteGoal("b"), DeleteGoal("p"))

    when(goals, RestoreGoal("b", parent_id))

    assert (order(goals, None), order(goals, "q"), order(goals, "b")) == (top, below_q, "x")


def test_a_goal_can_be_restored_elsewhere_though_its_parent_is_there() -> None:
    goals = family()
    when(goals, DeleteGoal("b"))

    when(goals, RestoreGoal("b", "q"))

    assert (order(goals, "p"), order(goals, "q"), order(goals, "b")) == ("ac", "b", "x")


@pytest.mark.parametrize("parent_id", ["ghost", "p", "b", "x"], ids=["unknown", "deleted", "itself", "below itself"])
def test_a_new_parent_that_is_not_there_is_refused(parent_id: str) -> None:
    goals = given(created("p"), created("r"), created("b", "r"), created("x", "b"))
    when(goals, DeleteGoal("b"), DeleteGoal("p"))

    assert refused(GoalNotFound, goals, RestoreGoal("b", parent_id), f"with the id {parent_id}$") == "parent_id"


def test_what_was_restored_elsewhere_stays_there_when_its_old_parent_is_restored() -> None:
    goals = family()

    when(goals, DeleteGoal("b"), DeleteGoal("p"), RestoreGoal("b", None), RestoreGoal("p"))

    assert (order(goals, None), order(goals, "p")) == ("pqb", "ac")


@pytest.mark.parametrize(("parent_id", "top", "below_q"), [(None, "qb", ""), ("q", "q", "b")])
def test_only_one_goal_comes_back_out_of_a_deleted_tree_with_what_is_below_it(
    parent_id: str | None, top: str, below_q: str
) -> None:
    goals = given(
        created("p"), created("q"), created("a", "p"), created("b", "p"), created("x", "b"), created("y", "x")
    )
    when(goals, DeleteGoal("y"), DeleteGoal("p"))

    events = when(goals, RestoreGoal("b", parent_id, only=True))

    assert [event.goal_id for event in events] == ["b", "x"]
    assert order(goals, None) == top
    assert (order(goals, "q") if below_q else "") == below_q
    assert order(goals, "b") == "x"


def test_restoring_the_root_later_brings_back_the_rest() -> None:
    goals = family()
    when(goals, DeleteGoal("p"), RestoreGoal("b", "q", only=True))

    events = when(goals, RestoreGoal("p"))

    assert [event.goal_id for event in events] == ["p", "a", "c"]
    assert (order(goals, None), order(goals, "p"), order(goals, "q"), order(goals, "b")) == ("pq", "ac", "b", "x")


def test_what_was_deleted_again_does_not_come_back_with_its_first_root() -> None:
    goals = family()
    when(goals, DeleteGoal("p"), RestoreGoal("b", None, only=True), MoveGoal("x", "q"), DeleteGoal("b"))

    when(goals, RestoreGoal("p"))
    assert set(live(goals)) == {"p", "q", "a", "c", "x"}
    when(goals, RestoreGoal("b", only=True))
    assert (order(goals, None), order(goals, "q")) == ("pqb", "x")


def test_only_this_one_goal_needs_a_living_parent() -> None:
    goals = family()
    when(goals, DeleteGoal("p"))

    refused(ParentDeleted, goals, RestoreGoal("b", only=True), "the old one, p, is deleted")
    refused(ParentDeleted, goals, RestoreGoal("b", "p", only=True), "the old one, p, is deleted")
    assert refused(GoalNotFound, goals, RestoreGoal("b", "x", only=True), "with the id x") == "parent_id"
    assert refused(GoalNotFound, goals, RestoreGoal("b", "b", only=True), "with the id b") == "parent_id"


@pytest.mark.parametrize("root", ["p", "b"], ids=["at the top", "under a living parent"])
def test_only_the_root_needs_no_new_parent_and_comes_back_whole(root: str) -> None:
    goals = family()
    when(goals, DeleteGoal(root))

    assert decide(goals, RestoreGoal(root, only=True), NOW, LIMITS) == decide(goals, RestoreGoal(root), NOW, LIMITS)


def test_a_root_may_come_back_under_what_was_below_it() -> None:
    goals = family()
    when(goals, DeleteGoal("p"), RestoreGoal("b", None, only=True), RestoreGoal("p", "x"))

    assert [goal.id for goal in goals.below(goals.known["b"])] == ["b", "x", "p", "a", "c"]


def by_name(name: str) -> Iterable[Command]:
    return (
        ChangeGoal(Named(name), name="Other"),
        CompleteGoal(Named(name)),
        ReopenGoal(Named(name)),
        MoveGoal(Named(name), "q"),
        DeleteGoal(Named(name)),
    )


def test_a_goal_may_be_meant_by_a_name_that_it_alone_has() -> None:
    goals = given(created("q"), created("a", name="Café"), GoalCompleted("a", NOW_TEXT))
    evolve(goals, GoalReopened("a"), 0)

    for name in ("Café", " Cafe\u0301\n"):
        caused = [event.goal_id for command in by_name(name) for event in decide(goals, command, NOW, LIMITS)]
        assert caused == ["a"] * 4
        assert decide(goals, CreateGoal("n", "Run", Named(name)), NOW, LIMITS)[0].goal_id == "n"


@pytest.mark.parametrize("name", ["unknown", "gone", "old", "café", "a", ""])
def test_a_name_that_no_goal_has_now_is_not_found(name: str) -> None:
    named = (created("a", name="Café"), created("b", name="gone"), created("c", name="old"))
    goals = given(*named, GoalDeleted("b", "b"), GoalRenamed("c", "new"))

    for command in by_name(name):
        assert refused(GoalNotFound, goals, command, f"found none named {name!r}$") == "id"


def test_a_name_that_several_goals_have_is_refused_with_their_ids_and_paths() -> None:
    goals = given(created("p", name="Home"), created("a", name="Run"), created("b", "p", name="Run"))

    for command in by_name("Run"):
        with pytest.raises(AmbiguousName, match=r"found 2 goals named 'Run': a \(Run\); b \(Home / Run\)$") as refusal:
            decide(goals, command, NOW, LIMITS)
        assert refusal.value.matches == {"a": "Run", "b": "Home / Run"}
        assert refusal.value.field == "name"


def test_a_name_that_deleted_goals_share_is_clear() -> None:
    goals = given(created("a", name="Run"), created("b", name="Run"), GoalDeleted("a", "a"))

    assert decide(goals, CompleteGoal(Named("Run")), NOW, LIMITS) == (GoalCompleted("b", NOW_TEXT),)


def test_a_parents_name_that_is_not_clear_is_the_parents_fault() -> None:
    goals = given(created("a", name="Run"), created("b", name="Run"))

    assert refused(AmbiguousName, goals, CreateGoal("n", "Stretch", Named("Run"))) == "parent_id"


def test_folding_keeps_all_that_the_events_said() -> None:
    goals = Goals()
    events: Iterable[GoalEvent] = (
        created("p"),
        created("a", "p"),
        GoalRenamed("a", "Run"),
        GoalDescribed("a", "daily"),
        GoalScheduled("a", NOW_TEXT, LATER),
        GoalCompleted("a", LATER),
        GoalMoved("a", "V00009"),
        GoalDeleted("a", "a"),
    )

    for at, event in enumerate(events):
        assert evolve(goals, event, at) is goals

    expected = Goal("a", None, "Run", "daily", NOW_TEXT, LATER, "V00009", 1, 7, LATER, revision=7, root="a")
    assert goals.known == {"p": Goal("p", None, "p", None, EARLIER, None, "V0000p", 0, 0), "a": expected}
    assert goals.version == 8


def test_folding_a_reopening_and_a_restoration_changes_nothing_else() -> None:
    events = (created("a"), GoalCompleted("a", LATER), GoalReopened("a"), GoalDeleted("a", "a"))

    goals = given(*events, GoalRestored("a", "V0000a"))

    assert goals.known["a"] == Goal("a", None, "a", None, EARLIER, None, "V0000a", 0, 0, revision=5)


def chain() -> Goals:
    goals = Goals()
    for n in range(MANY):
        when(goals, CreateGoal(f"g{n}", f"Goal {n}", f"g{n - 1}" if n else None))
    return goals


def row() -> Goals:
    goals = Goals()
    when(goals, CreateGoal("g0", "Goal 0"))
    for n in range(1, MANY):
        when(goals, CreateGoal(f"g{n}", f"Goal {n}", "g0"))
    return goals


@pytest.mark.parametrize("many", [chain, row])
def test_20_000_goals_in_a_chain_or_in_a_row_go_through_every_command(many: Callable[[], Goals]) -> None:
    goals = many()
    last = f"g{MANY - 1}"
    before = live(goals)

    assert len(when(goals, CompleteGoal("g0", cascade=True))) == MANY
    assert len(when(goals, ReopenGoal(last), ChangeGoal(last, name="Last"), CompleteGoal(Named("Last")))) == 1
    refused(UnderItself, goals, MoveGoal("g0", last), "Goal 0 / .* / Last$|Goal 0 / Last$")
    assert len(when(goals, DeleteGoal("g0"))) == MANY
    assert live(goals) == {}
    refused(NotTheRoot, goals, RestoreGoal(last), "restore g0$")
    assert len(when(goals, RestoreGoal("g0"))) == MANY
    assert live(goals) == before
    assert len(when(goals, MoveGoal(last, None), MoveGoal("g0", last))) == 1


# Limits.


@pytest.mark.parametrize("length", [1, 200, 1000])
def test_a_name_may_be_as_long_as_the_limit_and_no_longer(length: int) -> None:
    goals, limits, name = given(created("a")), limited(name=length), "\N{RUNNER}" * length

    assert decide(goals, CreateGoal("b", name), NOW, limits)
    assert decide(goals, ChangeGoal("a", name=name), NOW, limits)
    for command in (CreateGoal("b", name + "x"), ChangeGoal("a", name=name + "x")):
        assert refused(InvalidValue, goals, command, f"1 to {length} characters; found {length + 1}$", limits) == "name"


def test_a_goal_is_found_by_a_name_that_only_a_raised_limit_permits() -> None:
    goals, limits = given(created("a", name="\xe9" * 900)), limited(name=1000)

    assert decide(goals, CompleteGoal(Named("e\N{COMBINING ACUTE ACCENT}" * 900)), NOW, limits)


@pytest.mark.parametrize("length", [1, 16_384, 20_000])
def test_a_description_may_be_as_long_as_the_limit_and_no_longer(length: int) -> None:
    goals, limits, text = given(created("a")), limited(description=length), "\N{RUNNER}" * length

    assert decide(goals, CreateGoal("b", "b", description=text), NOW, limits)
    assert decide(goals, ChangeGoal("a", description=text), NOW, limits)
    for command in (CreateGoal("b", "b", description=text + "x"), ChangeGoal("a", description=text + "x")):
        message = f"at most {length} characters; found {length + 1}$"
        assert refused(InvalidValue, goals, command, message, limits) == "description"


def test_a_user_may_make_as_many_goals_as_the_limit_and_deleted_ones_count() -> None:
    goals, command = family(), CreateGoal("n", "n")
    when(goals, DeleteGoal("p"))

    assert decide(goals, command, NOW, limited(goals=7))
    message = "at most 6 goals of one user, deleted ones too; found 7$"
    assert refused(LimitReached, goals, command, message, limited(goals=6)) is None


@pytest.mark.parametrize("limits", [limited(goals=1), limited(children=1), limited(text=1)], ids=str)
def test_who_has_more_than_a_lowered_limit_may_still_change_complete_delete_and_shorten(limits: Limits) -> None:
    goals = family()
    commands: list[Command] = [
        ChangeGoal("a", due=NOW), CompleteGoal("p", cascade=True), ReopenGoal("p"), ChangeGoal("a", name="z"),
        MoveGoal("a", before="c"), MoveGoal("b", after="c"), DeleteGoal("p"),
    ]  # fmt: skip

    for command in commands:
        for event in decide(goals, command, NOW, limits):
            evolve(goals, event, 1)

    assert list(live(goals)) == ["q"]


COMING = {
    "create": CreateGoal("n", "n", "p"),
    "move": MoveGoal("q", "p"),
    "restore": RestoreGoal("a"),
    "restore elsewhere": RestoreGoal("x", "p"),
}


@pytest.mark.parametrize("command", COMING.values(), ids=COMING)
def test_a_parent_may_have_as_many_goals_as_the_limit_and_deleted_ones_do_not_count(command: Command) -> None:
    goals = family()
    when(goals, DeleteGoal("a"), DeleteGoal("x"))

    assert decide(goals, command, NOW, limited(children=3))
    message = "at most 2 goals under one parent; found 3$"
    assert refused(LimitReached, goals, command, message, limited(children=2)) == "parent_id"


@pytest.mark.parametrize("command", [CreateGoal("n", "n"), MoveGoal("a", None), RestoreGoal("x", None)], ids=str)
def test_at_the_top_there_may_be_as_many_goals_as_the_limit(command: Command) -> None:
    goals = family()
    when(goals, DeleteGoal("x"))

    assert decide(goals, command, NOW, limited(children=3))
    assert refused(LimitReached, goals, command, "at most 2 goals at the top; found 3$", limited(children=2))


def test_a_place_that_is_full_takes_another_goal_once_one_has_left_it() -> None:
    goals, limits, command = family(), limited(children=3), CreateGoal("n", "n", "p")

    refused(LimitReached, goals, command, limits=limits)
    when(goals, MoveGoal("a", "q"))
    assert decide(goals, command, NOW, limits)
    when(goals, MoveGoal("a", "p"), DeleteGoal("b"))
    assert decide(goals, command, NOW, limits)
    when(goals, RestoreGoal("b"))
    refused(LimitReached, goals, command, limits=limits)


GROWING = {
    "create": CreateGoal("n", "four"),
    "create with a description": CreateGoal("n", "n", description="two"),
    "rename": ChangeGoal("a", name="fives"),
    "describe": ChangeGoal("a", description="four"),
    "both": ChangeGoal("a", name="yes", description="no"),
    "more bytes than characters": CreateGoal("n", "🎯"),
    "more bytes in a description": ChangeGoal("a", description="éé"),
}


@pytest.mark.parametrize("command", GROWING.values(), ids=GROWING)
def test_names_and_descriptions_may_have_as_many_bytes_as_the_limit_together(command: Command) -> None:
    goals = family()  # of six bytes
    when(goals, DeleteGoal("q"))

    assert decide(goals, command, NOW, limited(text=10))
    message = "at most 9 bytes of names and descriptions of one user's goals; found 10$"
    assert refused(LimitReached, goals, command, message, limited(text=9)) is None


def test_a_description_that_is_taken_away_makes_room() -> None:
    goals, limits = family(), limited(text=10)
    when(goals, ChangeGoal("a", description="four"))

    refused(LimitReached, goals, CreateGoal("n", "n"), limits=limits)
    when(goals, ChangeGoal("a", description=None))
    assert decide(goals, CreateGoal("n", "four"), NOW, limits)
