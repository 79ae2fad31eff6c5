"""The history of a goal and of all below it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import GoalCreated, GoalMoved, GoalRenamed, Recorded
from es_goals.projector import ProjectionBehind
from es_goals.reads.history import Filter
from es_goals.reads.overviews.subtree import branch_lines, events
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted
from projections import goal_tree
from projections.goal_tree import Row
from tests.reads.test_goal_tree import hardly_any_stack
from tests.support.histories import RANK, created, folded, recorded
from tests.support.lives import USER, Step, Told, lived, numbers, parts, position_of, steps

MANY = 20_000


def lines_of(*happened: GoalCreated | GoalMoved | GoalRenamed) -> list[Recorded]:
    return [recorded(event, place, place) for place, event in enumerate(happened, start=1)]


def told(lines: Sequence[Recorded], goal: str, after: int = 0, limit: int = 10**6, **wanted: object) -> list[Recorded]:
    filter = structs.replace(Filter(USER, goal, until=10**9, subtree=True), **wanted)
    return events(Told(lines).log, filter, after, limit).lines


def is_below(rows: dict[str, Row], goal: str, top: str) -> bool:
    """By following parents, one by one."""
    one: str | None = goal
    while one is not None and one != top:
        one = rows[one].parent_id if one in rows else None
    return one == top and goal in rows


def by_folding(lines: Sequence[Recorded], top: str) -> list[Recorded]:
    """The same, from the whole tree before and behind each event."""
    found = []
    for place, line in enumerate(lines):
        before, behind = (
            {row.id: row for row in folded(goal_tree, lines[:end]).values()} for end in (place, place + 1)
        )
        goal = str(line.subject)
        if is_below(before, goal, top) or is_below(behind, goal, top):
            found.append(line)
    return found


@settings(deadline=None, max_examples=50)
@given(steps, numbers, parts, parts, st.booleans(), st.integers(1, 40))
def test_it_is_every_event_in_the_subtree_by_the_trees_before_and_behind_it(
    taken: list[Step], goal: int, after: int, until: int, latest: bool, limit: int
) -> None:
    lines = lived(taken)
    goals = [str(line.subject) for line in lines if line.type == "GoalCreated"]
    top = goals[goal % len(goals)]
    first, last = position_of(lines, after), position_of(lines, until)
    expected = [line for line in by_folding(lines, top) if first < line.position <= last]

    assert told(lines, top, first, until=last, latest=latest, limit=limit) == expected[:: -1 if latest else 1][:limit]
    assert told(lines, top, first, until=last, type="GoalMoved") == [
        line for line in expected if line.type == "GoalMoved"
    ]


def test_what_is_moved_out_is_seen_leaving_and_then_no_more() -> None:
    lines = lines_of(
        created("top"), created("in", "top"), created("deep", "in"), created("out"),
        GoalMoved("in", RANK), GoalRenamed("in", "gone"), GoalRenamed("deep", "gone"),
        GoalMoved("in", RANK, "out"), GoalMoved("in", RANK, "top"), GoalRenamed("deep", "back"),
        GoalMoved("top", RANK, "out"), GoalRenamed("deep", "still"),
    )  # fmt: skip

    assert [line.position for line in told(lines, "top")] == [1, 2, 3, 5, 9, 10, 11, 12]
    assert [line.position for line in told(lines, "out")] == [4, 8, 9, 11, 12]


def test_a_chain_and_many_siblings_need_no_stack() -> None:
    chain = lines_of(*(created(f"g{at}", f"g{at - 1}" if at else None) for at in range(MANY)), GoalMoved("g1", RANK))
    below = (created(f"g{at}", "in") for at in range(MANY))
    flat = lines_of(created("top"), created("in"), *below, GoalMoved("in", RANK, "top"), GoalRenamed("g0", "x"))

    with hardly_any_stack():
        assert len(list(branch_lines(Told(chain).log, USER, "g1", 10**9))) == MANY
        assert len(list(branch_lines(Told(chain).log, USER, "g0", 10**9))) == MANY + 1
        assert [line.position for line in told(flat, "top")] == [1, MANY + 3, MANY + 4]


def test_what_is_moved_over_and_over_ends_at_the_deadline() -> None:
    below = (created(f"g{at}", "in") for at in range(MANY))
    moves = [GoalMoved("in", RANK, "top" if at % 2 else None) for at in range(500)]
    lines = lines_of(created("top"), created("in"), *below, *moves)

    with pytest.raises(Interrupted):
        Deadline.after(0.2).run(lambda: told(lines, "top"))


def test_a_line_that_cannot_be_decoded_is_told_as_one() -> None:
    lines = lines_of(created("top"), created("in", "top"))
    lines[1] = structs.replace(lines[1], data=b"{")

    with pytest.raises(ProjectionBehind, match="position 2"):
        told(lines, "top")
