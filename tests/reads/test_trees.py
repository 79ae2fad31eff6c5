"""Answers about goals, made in pieces: they are what plain encoding gives, and what was answered before is no part of
them."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import Instant, moment
from es_goals.goals.commands import GoalNotFound
from es_goals.projector import View
from es_goals.reads.trees import TreeOptions, UserTree, forest, one, whole
from es_goals.storage.views import Key
from projections.goal_tree import Node, Row, tree
from tests.support.histories import START

SHAPES = [
    TreeOptions(*form) for form in product((False, True), ("all", "open", "done"), (None, 0, 1, 2), (False, True))
]
END = Instant("2026-11-24T08:00:00Z")
USER = 'Ann "the ÄÖÜ" \\'

Rows = dict[Key, Row]


def row(goal_id: str, parent: Row | None, name: str, rank: str = "V") -> Row:
    above = (parent.id, parent.root) if parent else (None, None)
    return Row("ann", goal_id, above[0], name, None, START, None, None, rank, 1, 1, 1, above[1])


def matches(row: Row, shape: TreeOptions) -> bool:
    if row.root is not None:
        return shape.deleted and shape.status == "all"
    return shape.status == "all" or (shape.status == "done") == (row.end is not None)


def members(node: Node, user: str) -> dict[str, Any]:
    row = node.row
    return {
        "id": row.id, "user": user, "parent_id": row.parent_id, "name": row.name, "description": row.description,
        "start": row.start, "due": row.due, "end": row.end,
        "status": "deleted" if row.root else "done" if row.end else "open",
        "created_at": moment(row.created_at), "updated_at": moment(row.updated_at), "revision": row.revision,
        "progress": {"completed": node.completed, "leaves": node.leaves},
    }  # fmt: skip


def flat(nodes: Sequence[Node], user: str, shape: TreeOptions) -> list[dict[str, Any]]:
    base = nodes[0].depth if nodes else 0
    deepest = len(nodes) if shape.depth is None else shape.depth
    kept = [node for node in nodes if matches(node.row, shape) and node.depth - base <= deepest]
    return [{**members(node, user), "depth": node.depth - base} for node in kept]


def nested(nodes: Sequence[Node], user: str, shape: TreeOptions, level: int = 0) -> list[dict[str, Any]]:
    goals = []
    while nodes:
        top, below, nodes = nodes[0], nodes[1 : nodes[0].size], nodes[nodes[0].size :]
        inner = nested(below, user, shape, level + 1)
        if matches(top.row, shape) or (inner and shape.status != "all"):
            shown = {"sub_goal_count": len(inner)} if level == shape.depth else {"sub_goals": inner}
            goals.append({**members(top, user), **shown})
    return goals


def plain(view: View, user: str, shape: TreeOptions, goal_id: str | None = None) -> bytes:
    """The answer as one object, encoded at once."""
    nodes = tree(view.rows)
    if goal_id is not None:
        place = [node.row.id for node in nodes].index(goal_id)
        nodes = nodes[place : place + nodes[place].size]
    goals = (flat if shape.flat else nested)(nodes, user, shape)
    if goal_id is not None and not shape.flat:
        return msgspec.json.encode(goals[0]) if goals else b""
    return msgspec.json.encode({"user": user, "version": view.version, "position": view.position, "goals": goals})


def below(rows: Rows, top: Row) -> Iterator[Row]:
    yield top
    for child in [row for row in rows.values() if row.parent_id == top.id]:
        yield from below(rows, child)


def changed(rows: Rows, step: tuple[str, int, str]) -> Rows:
    """After somebody changed a goal, in new rows; the others are those that were there."""
    what, pick, text = step
    goal = list(rows.values())[pick % len(rows)] if rows else None
    if what == "new" or goal is None:
        made = [row(f"goal-{len(rows)}", goal, text, text[:1] or "V")]
    elif what == "rename":
        made = [structs.replace(goal, name=text, description=text or None, revision=goal.revision + 1)]
    elif what == "end":
        made = [structs.replace(goal, end=None if goal.end else END)]
    elif what == "rank":
        made = [structs.replace(goal, rank=text)]
    elif what == "delete" and goal.root is None:
        made = [structs.replace(one, root=goal.id) for one in below(rows, goal) if one.root is None]
    elif goal.parent_id is None or rows["ann", goal.parent_id].root is None:  # the rules restore under no deleted one
        made = [structs.replace(one, root=None) for one in below(rows, goal) if one.root == goal.id == goal.root]
    else:
        made = []
    return {**rows, **{("ann", one.id): one for one in made}}


STEPS = st.tuples(
    st.sampled_from(["new", "new", "rename", "end", "rank", "delete", "restore"]),
    st.integers(0, 99),
    st.text(max_size=4),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(STEPS, max_size=8), st.lists(st.lists(STEPS, max_size=3), max_size=4))
def test_answers_from_an_earlier_forest_are_those_from_scratch_in_every_form(
    first: list[tuple[str, int, str]], later: list[list[tuple[str, int, str]]]
) -> None:
    rows: Rows = {}
    before: UserTree | None = None
    for version, steps in enumerate([first, *later], start=1):
        for step in steps:
            rows = changed(rows, step)
        view = View(rows, version, version * 7, 3)
        before = forest(view, USER, before)

        for shape in SHAPES:
            assert whole(before, shape) == whole(forest(view, USER), shape) == plain(view, USER, shape)
            for goal in rows.values():
                if goal.root is None:
                    made = one(before, goal.id, shape)
                    assert made == one(forest(view, USER), goal.id, shape) == plain(view, USER, shape, goal.id)


def test_a_goal_that_hangs_in_no_tree_is_not_found() -> None:
    lost = structs.replace(row("goal-0", None, "Swim"), parent_id="nobody's")

    with pytest.raises(GoalNotFound):
        one(forest(View({("ann", lost.id): lost}, 1, 1, 1), USER), lost.id, TreeOptions())


def test_a_forest_of_another_name_takes_no_texts_over() -> None:
    top = row("goal-0", None, "Swim")
    view = View({("ann", top.id): top}, 1, 1, 1)
    before = forest(view, "ann")
    whole(before, TreeOptions())

    assert whole(forest(view, "bob", before), TreeOptions()) == plain(view, "bob", TreeOptions())


def test_a_forest_encodes_only_goals_that_were_not_answered_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    rows: Rows = {("ann", f"{number}"): row(f"{number}", None, "Swim") for number in range(5)}
    before = forest(View(rows, 1, 1, 1), "ann")
    whole(before, TreeOptions())
    renamed: Rows = {**rows, ("ann", "3"): structs.replace(rows["ann", "3"], name="Row")}

    def noted(answer: Any) -> bytes:
        encoded.append(getattr(answer, "id", ""))
        return msgspec.json.encode(answer)

    monkeypatch.setattr("es_goals.reads.trees._encode", noted)
    made = whole(forest(View(renamed, 2, 2, 1), "ann", before), TreeOptions(flat=True))

    assert [goal for goal in encoded if goal] == ["3"]
    assert made == plain(View(renamed, 2, 2, 1), "ann", TreeOptions(flat=True))
