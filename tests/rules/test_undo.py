"""Undo, case by case: what is set back, what is in the way, and in which order. The log is in memory."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    instant,
    moment,
)
from es_goals.goals.commands import (
    ChangeGoal,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    InTheWay,
    MoveGoal,
    Outdated,
    ReopenGoal,
    RestoreGoal,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import evolve
from tests.support.engines import NOW
from tests.support.limits import limited
from tests.support.pasts import LONG, Past, crowded

DAY = timedelta(days=1)
NOON = moment(NOW)


@pytest.fixture
def past() -> Past:
    return Past()


def grown(past: Past, **parents: str | None) -> Past:
    """Goals under their parents, each by a command of its own."""
    for goal_id, parent in parents.items():
        past.do(CreateGoal(goal_id, goal_id, parent))
    return past


def blocked(past: Past, *commands: str | None) -> list[tuple[Any, ...]]:
    """What is in the way of undoing these, which changes nothing."""
    before = past.refolded()
    with pytest.raises(InTheWay) as refusal:
        past.undo(*map(str, commands))
    assert past.goals == before == past.refolded()
    assert str(refusal.value) == f"expected {refusal.value.blocked[0].expected}; found {refusal.value.blocked[0].found}"
    return [(one.goal_id, one.field, one.before, one.after, one.now, one.subjects) for one in refusal.value.blocked]


def names(past: Past, parent: str | None) -> list[str]:
    """The living goals under one, in order."""
    return [
        goal_id
        for goal_id, _ in sorted(past.tree().items(), key=lambda it: it[1][1])
        if past.tree()[goal_id][0] == parent
    ]


def test_a_name_comes_back_and_goes_again_and_each_time_the_revision_grows(past: Past) -> None:
    grown(past, a=None)
    renamed = past.do(ChangeGoal("a", name="b"))

    undone = past.undo(str(renamed))
    assert past.events(undone) == [GoalRenamed("a", "a", renamed)]
    assert (past.goals.known["a"].name, past.goals.known["a"].revision) == ("a", 3)

    redone = past.undo(str(undone))
    assert past.events(redone) == [GoalRenamed("a", "b", undone)]
    assert (past.goals.known["a"].name, past.goals.known["a"].revision) == ("b", 4)


def test_a_name_that_was_changed_again_is_in_the_way_and_both_can_be_undone_together(past: Past) -> None:
    grown(past, a=None)
    first, second = past.do(ChangeGoal("a", name="b")), past.do(ChangeGoal("a", name="c"))

    assert blocked(past, first) == [("a", "name", "a", "b", "c", ("a",))]

    undone = past.undo(str(first), str(second))
    assert past.events(undone) == [GoalRenamed("a", "b", second), GoalRenamed("a", "a", first)]


def test_two_names_that_were_undone_together_leave_nothing_to_undo(past: Past) -> None:
    grown(past, a=None)
    first, second = str(past.do(ChangeGoal("a", name="b"))), str(past.do(ChangeGoal("a", name="c")))
    undone = str(past.undo(first, second))

    for again in ((first, second), (first,), (second,)):
        assert past.undo(*again) is None

    past.undo(undone)
    assert past.goals.known["a"].name == "c"
    assert past.undo(first, second) is not None
    assert past.goals.known["a"].name == "a"


def test_a_name_that_two_commands_changed_and_brought_back_is_undone_once(past: Past) -> None:
    grown(past, a=None)
    there, back = str(past.do(ChangeGoal("a", name="b"))), str(past.do(ChangeGoal("a", name="a")))
    past.undo(there, back)

    assert past.undo(there, back) is None
    assert past.undo(back) is None


def test_a_command_is_undone_again_together_with_the_undo_that_had_undone_it(past: Past) -> None:
    grown(past, a=None)
    renamed = str(past.do(ChangeGoal("a", name="b")))
    undone = str(past.undo(renamed))

    both = past.undo(renamed, undone)

    assert past.events(both) == [GoalRenamed("a", "b", undone), GoalRenamed("a", "a", renamed)]
    assert past.undo(renamed, undone) is None


def test_a_command_that_is_undone_is_not_undone_where_another_one_did_the_same(past: Past) -> None:
    grown(past, a=None)
    renamed = str(past.do(ChangeGoal("a", name="b")))
    past.undo(renamed)
    again = str(past.do(ChangeGoal("a", name="b")))

    assert past.undo(renamed) is None
    assert past.undo(renamed, again) is not None
    assert past.goals.known["a"].name == "a"


def test_a_name_that_came_back_by_hand_leaves_nothing_to_undo(past: Past) -> None:
    grown(past, a=None)
    renamed = past.do(ChangeGoal("a", name="b"))
    past.do(ChangeGoal("a", name="a"))

    assert past.undo(str(renamed)) is None


def test_start_and_due_are_two_fields_and_one_that_was_set_later_stays(past: Past) -> None:
    grown(past, a=None)
    due = past.do(ChangeGoal("a", due=NOON + DAY))
    past.do(ChangeGoal("a", start=NOON - DAY))

    undone = past.undo(str(due))

    assert past.events(undone) == [GoalScheduled("a", instant(NOON - DAY), None, due)]


def test_one_change_of_several_fields_is_in_the_way_of_all(past: Past) -> None:
    grown(past, a=None)
    change = past.do(ChangeGoal("a", name="b", description="d", due=NOON))
    past.do(ChangeGoal("a", description="e"))

    assert blocked(past, change) == [("a", "description", None, "d", "e", ("a",))]


def test_of_a_completion_of_five_those_that_are_still_complete_are_opened(past: Past) -> None:
    grown(past, a=None, b="a", c="a", d="b", e="d")
    completed = past.do(CompleteGoal("a", cascade=True))
    past.do(ReopenGoal("b"))

    undone = past.undo(str(completed))

    assert sorted(past.events(undone), key=lambda one: one.goal_id) == [GoalReopened(one, completed) for one in "acde"]
    assert not [goal for goal in past.goals.known.values() if goal.end]


def test_a_reopened_goal_is_complete_again_as_of_then_to_the_microsecond(past: Past) -> None:
    grown(past, a=None)
    end = NOON + timedelta(microseconds=1)
    past.do(CompleteGoal("a", end))
    reopened = past.do(ReopenGoal("a"))

    assert past.events(past.undo(str(reopened))) == [GoalCompleted("a", instant(end), reopened)]


def test_another_end_in_one_batch_is_set_back_by_opening_and_completing(past: Past) -> None:
    grown(past, a=None)
    past.do(CompleteGoal("a", NOON + DAY))
    batch = past.do(ReopenGoal("a"), CompleteGoal("a", NOON + 2 * DAY))

    undone = past.undo(str(batch))

    assert past.events(undone) == [GoalReopened("a", batch), GoalCompleted("a", instant(NOON + DAY), batch)]


def test_no_goal_is_complete_before_its_start(past: Past) -> None:
    grown(past, a=None)
    past.do(CompleteGoal("a", NOON))
    reopened = past.do(ReopenGoal("a"))
    past.do(ChangeGoal("a", start=NOON + DAY))

    [block] = blocked(past, reopened)
    assert block == ("a", "start", instant(NOON), None, instant(NOON + DAY), ("a",))


def test_no_goal_starts_behind_its_end(past: Past) -> None:
    grown(past, a=None)
    past.do(ChangeGoal("a", start=NOON + DAY))
    earlier = past.do(ChangeGoal("a", start=NOON))
    past.do(CompleteGoal("a", NOON + DAY - timedelta(microseconds=1)))

    [block] = blocked(past, earlier)
    assert block[:2] == ("a", "end")


def test_an_end_at_the_very_start_is_none_before_it(past: Past) -> None:
    grown(past, a=None)
    past.do(ChangeGoal("a", start=NOON + DAY))
    earlier = past.do(ChangeGoal("a", start=NOON))
    past.do(CompleteGoal("a", NOON + DAY))

    assert past.undo(str(earlier))


def test_what_a_batch_made_is_deleted_as_one_by_its_topmost_goal(past: Past) -> None:
    made = past.do(CreateGoal("a", "a"), CreateGoal("b", "b", "a"), CreateGoal("c", "c", "b"), CreateGoal("d", "d"))

    undone = past.undo(str(made))

    assert past.tree() == {}
    assert {one.goal_id: one.root for one in past.events(undone) if isinstance(one, GoalDeleted)} == {
        "a": "a", "b": "a", "c": "a", "d": "d",
    }  # fmt: skip
    past.do(RestoreGoal("a"))
    assert set(past.tree()) == {"a", "b", "c"}


def test_of_many_goals_that_were_made_one_that_was_changed_since_is_named_and_the_others_stay(past: Past) -> None:
    made = past.do(*[CreateGoal(f"g{n}", "x") for n in range(434)])
    past.do(ChangeGoal("g7", name="y"))

    assert blocked(past, made) == [("g7", "name", None, "x", "y", ("g7",))]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (ChangeGoal("a", description="d"), "description"),
        (ChangeGoal("a", start=NOON - DAY), "start"),
        (ChangeGoal("a", due=NOON), "due"),
        (CompleteGoal("a"), "end"),
        (MoveGoal("a", "p"), "place"),
        (MoveGoal("a", before="z"), "place"),
    ],
)
@pytest.mark.parametrize("restored", [False, True])
def test_whatever_was_changed_of_a_goal_that_was_made_or_restored_is_in_the_way(
    past: Past, change: Any, field: str, restored: bool
) -> None:
    grown(past, p=None, z=None)
    command = past.do(CreateGoal("a", "a"))
    if restored:
        past.do(DeleteGoal("a"))
        command = past.do(RestoreGoal("a"))
    past.do(change)

    assert [block[:2] for block in blocked(past, command)] == [("a", field)]


@pytest.mark.parametrize("restored", [False, True])
def test_a_goal_that_came_under_a_made_or_restored_one_is_named_and_never_deleted_along(
    past: Past, restored: bool
) -> None:
    grown(past, x=None)
    command = past.do(CreateGoal("a", "a"), CreateGoal("b", "b", "a"))
    if restored:
        past.do(DeleteGoal("a"))
        command = past.do(RestoreGoal("a"))
    past.do(MoveGoal("x", "b"))

    assert blocked(past, command) == [("b", "below", None, None, "x", ("x",))]


def test_a_deleted_goal_below_is_not_in_the_way_nor_one_that_went_before(past: Past) -> None:
    made = past.do(CreateGoal("a", "a"), CreateGoal("b", "b", "a"))
    grown(past, c="a")
    past.do(DeleteGoal("c"))
    past.do(DeleteGoal("b"))

    undone = past.undo(str(made))

    assert past.events(undone) == [GoalDeleted("a", "a", made)]


def test_what_was_deleted_comes_back_to_its_places_parents_first(past: Past) -> None:
    grown(past, x=None, a=None, b="a", c="b", y=None)
    before = past.tree()
    deleted = past.do(DeleteGoal("a"))

    undone = past.undo(str(deleted))

    assert [one.goal_id for one in past.events(undone)] == ["a", "b", "c"]
    assert past.tree() == before


def test_a_deletion_of_the_parent_that_came_later_is_in_the_way(past: Past) -> None:
    grown(past, p=None, a="p", b="a")
    first = past.do(DeleteGoal("a"))
    past.do(DeleteGoal("p"))

    assert blocked(past, first) == [("a", "parent", "p", "p", None, ("p",))]


def test_a_goal_that_was_restored_and_deleted_again_is_in_the_way(past: Past) -> None:
    grown(past, a=None)
    first = past.do(DeleteGoal("a"))
    past.do(RestoreGoal("a"))
    past.do(DeleteGoal("a"))

    assert blocked(past, first) == [("a", "living", True, False, False, ("a",))]


def test_a_deletion_that_was_undone_and_redone_can_be_undone(past: Past) -> None:
    grown(past, a=None)
    first = past.do(DeleteGoal("a"))
    past.undo(str(past.undo(str(first))))

    assert past.events(past.undo(str(first))) == [GoalRestored("a", past.goals.known["a"].rank, None, first)]


def test_a_goal_that_one_batch_restores_and_deletes_again_is_as_deleted_as_before(past: Past) -> None:
    grown(past, p=None, a="p")
    deleted = past.do(DeleteGoal("p"))
    batch = past.do(RestoreGoal("p"), DeleteGoal("p"))

    assert batch is not None
    past.undo(str(deleted))
    assert set(past.tree()) == {"p", "a"}


def test_a_field_of_a_goal_that_is_deleted_now_is_not_set_back(past: Past) -> None:
    grown(past, a=None)
    renamed = past.do(ChangeGoal("a", name="b"))
    deleted = past.do(DeleteGoal("a"))

    assert blocked(past, renamed) == [("a", "living", True, True, False, ("a",))]

    past.undo(str(renamed), str(deleted))
    assert past.goals.known["a"].name == "a"


def test_what_a_restore_moved_goes_back_before_it_is_deleted_with_the_root_that_it_had(past: Past) -> None:
    grown(past, p=None, a="p", b="a", q=None)
    past.do(DeleteGoal("p"))
    restored = past.do(RestoreGoal("a", "q", only=True))

    undone = past.undo(str(restored))

    rank = past.goals.known["a"].rank
    assert past.events(undone) == [
        GoalMoved("a", rank, "p", undoes=restored), GoalDeleted("b", "p", restored), GoalDeleted("a", "p", restored)
    ]  # fmt: skip
    past.do(RestoreGoal("p"))
    assert set(past.tree()) == {"p", "a", "b", "q"}


def test_a_root_that_is_there_again_is_the_reason_of_no_deletion(past: Past) -> None:
    grown(past, p=None, a="p", b="a", q=None)
    past.do(DeleteGoal("p"))
    restored = past.do(RestoreGoal("a", "q", only=True))
    past.do(RestoreGoal("p"))

    undone = past.undo(str(restored))

    assert past.events(undone)[1:] == [GoalDeleted("b", "a", restored), GoalDeleted("a", "a", restored)]


def test_a_move_goes_back_also_where_the_new_parent_is_under_the_old_one_now(past: Past) -> None:
    grown(past, o=None, x="o", p=None)
    first = past.do(MoveGoal("x", "p"))
    past.do(MoveGoal("p", "o"))

    past.undo(str(first))

    assert names(past, "o") == ["p", "x"]


def test_a_move_under_what_is_now_under_the_goal_itself_is_refused_for_the_move_that_put_it_there(past: Past) -> None:
    grown(past, o=None, x="o", p=None, m="x")
    first = past.do(MoveGoal("x", "p"))
    past.do(MoveGoal("o", "m"))

    assert blocked(past, first) == [("x", "parent", "o", "p", None, ("o", "m"))]


def test_a_goal_moved_into_one_that_the_same_batch_made_is_back_before_that_is_deleted(past: Past) -> None:
    grown(past, x=None, a=None, y=None)
    before = past.tree()
    batch = past.do(CreateGoal("f", "f"), MoveGoal("a", "f"))

    undone = past.undo(str(batch))

    assert [type(one) for one in past.events(undone)] == [GoalMoved, GoalDeleted]
    assert past.tree() == before


def test_where_a_sibling_has_the_rank_meanwhile_the_goal_stands_right_behind_it(past: Past) -> None:
    grown(past, a=None, b=None, q=None)
    moved = past.do(MoveGoal("b", "q"))
    past.do(MoveGoal("q", before="a"))
    rank = past.refolded().known["a"].rank
    taken = GoalCreated("new", "new", Instant("2026-11-23T08:00:00Z"), "V00001")
    evolve(past.goals, taken, NOW)
    past.record([taken])
    past.do(CreateGoal("last", "last"))

    past.undo(str(moved))

    assert names(past, None) == ["q", "a", "new", "b", "last"]
    assert rank < "V00001" < past.goals.known["b"].rank


def test_a_move_back_can_be_redone_and_undone_whatever_rank_it_got(past: Past) -> None:
    test_where_a_sibling_has_the_rank_meanwhile_the_goal_stands_right_behind_it(past)
    moved, undone = past.commands[3], past.commands[-1]

    assert past.undo(moved) is None
    redone = past.undo(undone)
    assert names(past, "q") == ["b"]
    past.undo(str(redone))
    assert names(past, None) == ["q", "a", "new", "b", "last"]


def test_two_goals_that_changed_places_change_them_back(past: Past) -> None:
    grown(past, a=None, b=None)
    first, second = (past.goals.known[one].rank for one in "ab")
    swapped = past.record(swap := [GoalMoved("a", second), GoalMoved("b", first)])
    for event in swap:
        evolve(past.goals, event, NOW)

    past.undo(str(swapped))

    assert [past.goals.known[one].rank for one in "ab"] == [first, second]


def test_a_goal_that_was_changed_and_deleted_at_once_gets_its_fields_back_too(past: Past) -> None:
    grown(past, a=None, q=None)
    before = past.tree()
    batch = past.do(ChangeGoal("a", name="b"), MoveGoal("a", "q"), DeleteGoal("q"))

    past.undo(str(batch))

    assert past.tree() == before


def test_what_was_made_and_deleted_at_once_stays_deleted_but_for_no_goal_that_is_there(past: Past) -> None:
    grown(past, p=None)
    batch = past.do(CreateGoal("a", "a", "p"), CreateGoal("b", "b", "a"), DeleteGoal("p"))

    past.undo(str(batch))

    assert [past.goals.known[one].root for one in "pab"] == [None, "a", "a"]
    assert past.undo(str(batch)) is None


def test_what_made_room_is_no_change_of_place(past: Past) -> None:
    crowded(past, "a", "b", "c")
    moved = past.do(MoveGoal("c", before="a"))
    made = past.do(CreateGoal("x", "x", "p", after="a"))
    spaced = [event.goal_id for event in past.events(made) if isinstance(event, GoalMoved)]
    assert spaced

    past.undo(str(moved))

    assert names(past, "p") == ["a", "x", "b", "c"]
    assert past.undo(str(made))
    assert names(past, "p") == ["a", "b", "c"]


@pytest.mark.parametrize("command", [MoveGoal("c", before="b"), MoveGoal("a", after="b"), MoveGoal("b", after="d")])
def test_a_move_that_made_room_goes_back_between_the_same_siblings(past: Past, command: MoveGoal) -> None:
    crowded(past, "a", "b", "c", "d", "e")
    before = names(past, "p")
    moved = past.do(command)
    grown(past, later="p")

    past.undo(str(moved))

    assert names(past, "p") == [*before, "later"]


def test_where_there_is_no_room_behind_the_sibling_some_is_made(past: Past) -> None:
    crowded(past, "a", "b", "c")
    past.do(CreateGoal("q", "q"))
    moved = past.do(MoveGoal("b", "q"))
    taken = GoalCreated("x", "x", Instant("2026-11-23T08:00:00Z"), f"{LONG}2", "p")
    evolve(past.goals, taken, NOW)
    past.record([taken])

    undone = past.undo(str(moved))

    assert names(past, "p") == ["a", "x", "b", "c"]
    assert [event.undoes for event in past.events(undone) if isinstance(event, GoalMoved) and event.spaced] == [None]


def test_goals_of_ranks_that_are_too_long_come_back_with_shorter_ones(past: Past) -> None:
    crowded(past, "a")
    event = GoalCreated("b", "b", Instant("2026-11-23T08:00:00Z"), f"{LONG}1{'1' * 40}", "p")
    evolve(past.goals, event, NOW)
    past.record([event])
    deleted = past.do(DeleteGoal("b"))

    past.undo(str(deleted))

    assert names(past, "p") == ["a", "b"]
    assert len(past.goals.known["b"].rank) <= 64


def test_no_more_goals_come_under_a_parent_than_there_may_be() -> None:
    past = grown(Past(limited(children=2)), p=None, a="p", b="p")
    moved = past.do(MoveGoal("a", None))
    grown(past, c="p")

    assert blocked(past, moved) == [("a", "limit", None, None, 3, ())]
    past.do(DeleteGoal("c"))
    assert past.undo(str(moved))


def test_no_more_text_comes_back_than_there_may_be() -> None:
    past = grown(Past(limited(text=12)), a=None)
    described = past.do(ChangeGoal("a", description="0123456789"))
    shortened = past.do(ChangeGoal("a", description="0"))
    past.do(CreateGoal("b", "12345678"))
    assert described

    assert blocked(past, shortened) == [("a", "limit", None, None, 19, ())]
    past.do(ChangeGoal("b", name="1"))
    assert past.undo(str(shortened))


def test_everything_that_is_in_the_way_is_found_at_once(past: Past) -> None:
    grown(past, a=None, b=None)
    batch = past.do(ChangeGoal("a", name="x"), ChangeGoal("b", name="x"))
    past.do(ChangeGoal("a", name="y"))
    past.do(ChangeGoal("b", name="z"))

    assert [block[0] for block in blocked(past, batch)] == ["a", "b"]


def test_a_goal_that_changed_since_its_history_was_read_is_to_be_read_again(past: Past) -> None:
    grown(past, a=None)
    renamed = past.do(ChangeGoal("a", name="b"))
    [undo] = past.undos(str(renamed))
    past.do(ChangeGoal("a", due=NOON))

    with pytest.raises(Outdated):
        decide(past.goals, undo, NOON, past.limits)


def test_of_several_commands_each_is_undone_on_what_undoing_the_later_ones_left(past: Past) -> None:
    grown(past, a=None, q=None)
    moved, back = past.do(MoveGoal("a", "q")), past.do(MoveGoal("a", None))
    taken = GoalCreated("x", "x", Instant("2026-11-23T08:00:00Z"), past.goals.known["a"].rank, "q")
    evolve(past.goals, taken, NOW)
    past.record([taken])

    assert past.undo(str(moved), str(back))
    assert names(past, None) == ["a", "q"]


def wide(past: Past, count: int) -> str | None:
    return past.do(*[CreateGoal(f"g{n}", "x") for n in range(count)])


def deep(past: Past, count: int) -> str | None:
    return past.do(*[CreateGoal(f"g{n}", "x", f"g{n - 1}" if n else None) for n in range(count)])


@pytest.mark.parametrize("shape", [wide, deep])
def test_twenty_thousand_goals_are_undone_and_redone_in_whatever_shape(
    past: Past, shape: Callable[[Past, int], str | None]
) -> None:
    made = shape(past, 20_000)
    before = past.tree()

    undone = past.undo(str(made))
    assert past.tree() == {}
    deleted: list[GoalEvent] = past.events(undone)
    assert len(deleted) == 20_000
    past.undo(str(undone))
    assert past.tree() == before


def test_a_chain_of_twenty_thousand_goes_back_to_where_it_was(past: Past) -> None:
    deep(past, 20_000)
    grown(past, q=None)
    moved = past.do(MoveGoal("g10000", "q"))

    assert [one.goal_id for one in past.events(past.undo(str(moved)))] == ["g10000"]
    assert past.goals.known["g10000"].parent_id == "g9999"
