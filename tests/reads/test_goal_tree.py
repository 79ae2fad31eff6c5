"""The goals as readers see them: the fold of one row, and the tree of all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import (
    AccountEvent,
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
)
from projections import goal_tree
from projections.goal_tree import Node, Row, tree
from tests.support.histories import ACCOUNT, START, created, recorded

END = Instant("2026-11-24T08:00:00Z")
DUE = Instant("2026-12-24T18:00:00Z")
MANY = 20_000


def row(
    goal_id: str, parent_id: str | None = None, rank: str = "a", done: bool = False, root: str | None = None
) -> Row:
    end = END if done else None
    return Row("ann", goal_id, parent_id, goal_id, None, START, None, end, rank, 0, 0, 1, root)


def ids(nodes: list[Node]) -> list[str]:
    return [node.row.id for node in nodes]


def progress(nodes: list[Node]) -> dict[str, tuple[int, int]]:
    return {node.row.id: (node.completed, node.leaves) for node in nodes}


@contextmanager
def hardly_any_stack() -> Iterator[None]:
    limit, depth, frame = sys.getrecursionlimit(), 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 60)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def test_an_event_of_a_goal_changes_the_row_of_its_user_and_goal() -> None:
    assert goal_tree.key(recorded(GoalReopened("g"), user="bob")) == ("bob", "g")


@pytest.mark.parametrize("event", ACCOUNT, ids=lambda event: type(event).__name__)
def test_a_fact_about_an_account_changes_no_row(event: AccountEvent) -> None:
    assert goal_tree.key(recorded(event)) is None


def test_a_created_goal_is_a_row_with_all_that_was_decided() -> None:
    event = GoalCreated("g", "Learn", START, "r", parent_id="p", description="to swim", due=DUE)

    made = goal_tree.fold(None, recorded(event, at=7))

    assert made == Row("ann", "g", "p", "Learn", "to swim", START, DUE, None, "r", 7, 7, 1, None)


FULL = Row("ann", "g", "p", "Learn", "to swim", START, DUE, None, "r", 7, 7, 1, None)
REACHED = structs.replace(FULL, end=END)
GONE = structs.replace(FULL, root="p")


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        (FULL, GoalRenamed("g", "Swim"), structs.replace(FULL, name="Swim")),
        (FULL, GoalDescribed("g", "well"), structs.replace(FULL, description="well")),
        (FULL, GoalDescribed("g"), structs.replace(FULL, description=None)),
        (FULL, GoalScheduled("g", END, DUE), structs.replace(FULL, start=END)),
        (FULL, GoalScheduled("g", START), structs.replace(FULL, due=None)),
        (FULL, GoalMoved("g", "s", "q"), structs.replace(FULL, rank="s", parent_id="q")),
        (FULL, GoalMoved("g", "s"), structs.replace(FULL, rank="s", parent_id=None)),
        (FULL, GoalCompleted("g", END), REACHED),
        (REACHED, GoalReopened("g"), FULL),
        (FULL, GoalDeleted("g", "p"), GONE),
        (GONE, GoalRestored("g", "r", "p"), FULL),
        (GONE, GoalRestored("g", "s"), structs.replace(FULL, rank="s", parent_id=None)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GoalEvent) else "",
)
def test_each_event_changes_what_it_says_and_nothing_else(before: Row, event: GoalEvent, after: Row) -> None:
    changed = goal_tree.fold(before, recorded(event, at=9))

    assert changed == structs.replace(after, updated_at=9, revision=before.revision + 1)


@pytest.mark.parametrize("before", [FULL, REACHED, GONE], ids=["open", "done", "deleted"])
def test_a_goal_that_only_makes_room_has_another_rank_and_no_other_revision_or_time(before: Row) -> None:
    changed = goal_tree.fold(before, recorded(GoalMoved("g", "s", "p", spaced=True), at=9))

    assert changed == structs.replace(before, rank="s")


def test_an_event_of_a_goal_that_was_never_created_is_refused_with_its_position() -> None:
    with pytest.raises(ValueError, match="goal g to be created before position 12"):
        goal_tree.fold(None, recorded(GoalReopened("g"), position=12))


@pytest.mark.parametrize("event", ACCOUNT, ids=lambda event: type(event).__name__)
def test_a_fact_about_an_account_is_refused_where_a_goal_is_expected(event: AccountEvent) -> None:
    with pytest.raises(TypeError):
        goal_tree.fold(FULL, recorded(event))


def test_no_rows_make_an_empty_tree() -> None:
    assert tree([]) == []


def test_siblings_come_by_rank_and_then_by_id() -> None:
    rows = [row("x", rank="b"), row("b", rank="a"), row("c", rank="aV"), row("a", rank="a"), row("y", rank="B")]

    assert ids(tree(rows)) == ["y", "a", "b", "c", "x"]


def test_parents_come_before_their_children_and_a_branch_lies_together() -> None:
    rows = [row("a1", "a"), row("b"), row("a2", "a", rank="b"), row("a11", "a1"), row("a", rank="A"), row("b1", "b")]

    nodes = tree(rows)

    assert ids(nodes) == ["a", "a1", "a11", "a2", "b", "b1"]
    assert [node.depth for node in nodes] == [0, 1, 2, 1, 0, 1]
    assert [node.size for node in nodes] == [4, 2, 1, 1, 2, 1]


def test_progress_counts_completed_leaves_over_leaves_below() -> None:
    rows = [row("a"), row("b", "a"), row("b1", "b", done=True), row("b2", "b"), row("c", "a", done=True)]

    assert progress(tree(rows)) == {"a": (2, 3), "b": (1, 2), "b1": (1, 1), "b2": (0, 1), "c": (1, 1)}


def test_a_completed_goal_with_sub_goals_is_no_leaf() -> None:
    rows = [row("a", done=True), row("b", "a")]

    assert progress(tree(rows)) == {"a": (0, 1), "b": (0, 1)}


def test_deleted_goals_keep_their_places_and_do_not_count() -> None:
    rows = [row("a"), row("b", "a", done=True, root="b"), row("b1", "b", done=True, root="b"), row("c", "a", "b")]

    nodes = tree(rows)

    assert ids(nodes) == ["a", "b", "b1", "c"]
    assert progress(nodes) == {"a": (0, 1), "b": (0, 0), "b1": (0, 0), "c": (0, 1)}


def test_a_goal_whose_sub_goals_are_all_deleted_is_a_leaf_again() -> None:
    rows = [row("a", done=True), row("b", "a", root="b")]

    nodes = tree(rows)

    assert progress(nodes)["a"] == (1, 1)
    assert nodes[0].size == 2


def test_goals_whose_parent_is_not_among_the_rows_are_left_out() -> None:
    assert ids(tree([row("a"), row("lost", "unknown"), row("below", "lost")])) == ["a"]


def test_goals_that_would_be_above_each_other_are_left_out_and_do_not_hang() -> None:
    assert ids(tree([row("a"), row("b", "c"), row("c", "b"), row("d", "d")])) == ["a"]


def test_a_tree_20000_deep_needs_no_recursion() -> None:
    rows = [row(f"g{depth}", f"g{depth - 1}" if depth else None) for depth in range(MANY)]
    rows[-1] = structs.replace(rows[-1], end=END)

    with hardly_any_stack():
        nodes = tree(reversed(rows))

    assert [node.depth for node in nodes] == list(range(MANY))
    assert [node.size for node in nodes] == list(range(MANY, 0, -1))
    assert {(node.completed, node.leaves) for node in nodes} == {(1, 1)}


def test_a_tree_20000_wide_keeps_its_order() -> None:
    rows = [row("top")] + [row(f"g{number:05}", "top", f"{number:05}", number % 2 == 0) for number in range(MANY)]

    with hardly_any_stack():
        nodes = tree(reversed(rows))

    assert ids(nodes) == ["top"] + [f"g{number:05}" for number in range(MANY)]
    assert (nodes[0].size, nodes[0].completed, nodes[0].leaves) == (MANY + 1, MANY // 2, MANY)


def naive(rows: list[Row], parent_id: str | None = None, depth: int = 0) -> list[Node]:
    nodes: list[Node] = []
    for above in sorted((one for one in rows if one.parent_id == parent_id), key=lambda one: (one.rank, one.id)):
        below = naive(rows, above.id, depth + 1)
        children = [node for node in below if node.depth == depth + 1]
        leaves, completed = sum(node.leaves for node in children), sum(node.completed for node in children)
        if leaves == 0:
            leaves, completed = 1, int(above.end is not None)
        if above.root is not None:
            leaves = completed = 0
        nodes += [Node(above, depth, len(below) + 1, leaves, completed), *below]
    return nodes


@st.composite
def forests(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for number in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from([None, *rows]))
        root = parent.root if parent and parent.root else draw(st.sampled_from([None, None, f"g{number}"]))
        rank, done = draw(st.sampled_from("abc")), draw(st.booleans())
        rows.append(row(f"g{number}", parent.id if parent else None, rank, done, root))
    return draw(st.permutations(rows))


@settings(deadline=None)
@given(forests())
def test_any_tree_equals_one_made_by_plain_recursion(rows: list[Row]) -> None:
    assert tree(rows) == naive(rows)


def test_folding_20000_goals_made_and_deleted_gives_their_rows() -> None:
    rows = [goal_tree.fold(None, recorded(created(f"g{number}", f"g{number - 1}"))) for number in range(MANY)]

    deleted = [goal_tree.fold(made, recorded(GoalDeleted(made.id, "g0"))) for made in rows]

    assert {made.root for made in deleted} == {"g0"}
