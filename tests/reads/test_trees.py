"""Answers about goals, made in pieces: they are what plain encoding gives, and what was answered before is no part of
them."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from es_goals.reads.trees import AnswerKey, CachedAnswer, TreeCache, TreeOptions, UserTree, one, whole
from es_goals.storage.views import Key
from projections.goal_tree import Node, Row, tree
from tests.support.engines import NOW
from tests.support.histories import START

SHAPES = [
    TreeOptions(*form) for form in product((False, True), ("all", "open", "done"), (None, 0, 1, 2), (False, True))
]
SHAPES += [TreeOptions(flat, deleted=True, ranks=True) for flat in (False, True)]
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


def members(node: Node, user: str, shape: TreeOptions) -> dict[str, Any]:
    row = node.row
    ranks = {"rank": row.rank, **({"root": row.root} if row.root else {})} if shape.ranks else {}
    return {
        "id": row.id, "user": user, "parent_id": row.parent_id, "name": row.name, "description": row.description,
        "start": row.start, "due": row.due, "end": row.end,
        "status": "deleted" if row.root else "done" if row.end else "open",
        "created_at": moment(row.created_at), "updated_at": moment(row.updated_at), "revision": row.revision,
        "progress": {"completed": node.completed, "leaves": node.leaves}, **ranks,
    }  # fmt: skip


def flat(nodes: Sequence[Node], user: str, shape: TreeOptions) -> list[dict[str, Any]]:
    base = nodes[0].depth if nodes else 0
    deepest = len(nodes) if shape.depth is None else shape.depth
    kept = [node for node in nodes if matches(node.row, shape) and node.depth - base <= deepest]
    return [{**members(node, user, shape), "depth": node.depth - base} for node in kept]


def nested(nodes: Sequence[Node], user: str, shape: TreeOptions, level: int = 0) -> list[dict[str, Any]]:
    goals = []
    while nodes:
        top, below, nodes = nodes[0], nodes[1 : nodes[0].size], nodes[nodes[0].size :]
        inner = nested(below, user, shape, level + 1)
        if matches(top.row, shape) or (inner and shape.status != "all"):
            shown = {"sub_goal_count": len(inner)} if level == shape.depth else {"sub_goals": inner}
            goals.append({**members(top, user, shape), **shown})
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


@settings(deadline=None)
@given(st.lists(STEPS, max_size=8), st.lists(st.lists(STEPS, max_size=3), max_size=4))
def test_answers_from_an_earlier_tree_are_those_from_scratch_in_every_form(
    first: list[tuple[str, int, str]], later: list[list[tuple[str, int, str]]]
) -> None:
    rows: Rows = {}
    before: UserTree | None = None
    for version, steps in enumerate([first, *later], start=1):
        for step in steps:
            rows = changed(rows, step)
        view = View(rows, version, version * 7, 3)
        before = UserTree(view, USER, before)

        for shape in SHAPES:
            assert whole(before, shape) == whole(UserTree(view, USER), shape) == plain(view, USER, shape)
            for goal in rows.values():
                if goal.root is None:
                    made = one(before, goal.id, shape)
                    assert made == one(UserTree(view, USER), goal.id, shape) == plain(view, USER, shape, goal.id)


def test_a_goal_that_hangs_in_no_tree_is_not_found() -> None:
    lost = structs.replace(row("goal-0", None, "Swim"), parent_id="nobody's")

    with pytest.raises(GoalNotFound):
        one(UserTree(View({("ann", lost.id): lost}, 1, 1, 1), USER), lost.id, TreeOptions())


def test_a_tree_of_another_name_takes_no_texts_over() -> None:
    top = row("goal-0", None, "Swim")
    view = View({("ann", top.id): top}, 1, 1, 1)
    before = UserTree(view, "ann")
    whole(before, TreeOptions())

    assert whole(UserTree(view, "bob", before), TreeOptions()) == plain(view, "bob", TreeOptions())


def test_a_tree_encodes_only_goals_that_were_not_answered_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    rows: Rows = {("ann", f"{number}"): row(f"{number}", None, "Swim") for number in range(5)}
    before = UserTree(View(rows, 1, 1, 1), "ann")
    whole(before, TreeOptions())
    renamed: Rows = {**rows, ("ann", "3"): structs.replace(rows["ann", "3"], name="Row")}

    def noted(answer: Any) -> bytes:
        encoded.append(getattr(answer, "id", ""))
        return msgspec.json.encode(answer)

    monkeypatch.setattr("es_goals.reads.trees._encode", noted)
    made = whole(UserTree(View(renamed, 2, 2, 1), "ann", before), TreeOptions(flat=True))

    assert [goal for goal in encoded if goal] == ["3"]
    assert made == plain(View(renamed, 2, 2, 1), "ann", TreeOptions(flat=True))


# What is kept of many users.

TEXTS = [
    pytest.param("a", 0, id="short names"),
    pytest.param("a", 800, id="ASCII"),
    pytest.param("é", 800, id="Latin"),
    pytest.param("д", 800, id="Cyrillic"),
    pytest.param("🎯", 800, id="emoji"),
]
"""A character, and how many of it a goal's description has."""


def goals_of(user: str, count: int, character: str, length: int) -> Rows:
    """As they come from a storage: no two share a text."""
    user = f"{user}, who has an id as long as others"
    top = structs.replace(row(f"{user[:7]}, a goal above all the others", None, character), user=user)
    below = [
        Row(
            user, f"{user[:7]}, a goal with no. {number:05}", top.id, f"{number:05}" + character * min(length, 195),
            f"{number:05}" + character * length if length else None, START, START, END, f"V{number:05}",
            NOW + number, NOW + 2 * number, 1, None,
        )
        for number in range(1, count)
    ]  # fmt: skip
    loaded = msgspec.json.decode(msgspec.json.encode([top, *below]), type=list[Row])
    return {(one.user, one.id): one for one in loaded}


def ready(user: str, rows: Rows, shapes: Sequence[TreeOptions]) -> UserTree:
    """A tree with answers in these forms."""
    made = UserTree(View(rows, 1, 1, 1), user)
    for shape in shapes:
        made.put_answer((None, f"{shape}", None), CachedAnswer(f'"{shape}"', whole(made, shape), 1, 1))
    return made


@contextmanager
def measuring() -> Iterator[Callable[[], int]]:
    """How many bytes more Python has than at first."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]

        def taken() -> int:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        yield taken
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("character", "length"), TEXTS)
@pytest.mark.parametrize("answers", [0, 3])
def test_a_tree_takes_no_more_than_it_says_and_not_much_less(character: str, length: int, answers: int) -> None:
    with measuring() as taken:
        made = ready("ann", goals_of("ann", 100, character, length), SHAPES[:answers])

        assert taken() <= made.size <= 1.6 * taken()


@pytest.mark.parametrize(("character", "length"), TEXTS)
def test_the_trees_of_many_users_stay_under_their_bound_and_fill_it(character: str, length: int) -> None:
    one = ready("user 00", goals_of("user 00", 30, character, length), SHAPES[:2]).size
    bound, users = 6 * one + one // 2, [f"user {number:02}" for number in range(20)]

    with measuring() as taken:
        cache = TreeCache(bound)
        for user in users:
            cache.put(user, ready(user, goals_of(user, 30, character, length), SHAPES[:2]))

        assert taken() <= bound
        kept = [user for user in users if cache.get(user) is not None]
        assert kept == users[-6:]


def test_the_tree_that_was_asked_for_last_stays_longest() -> None:
    trees = {user: ready(user, goals_of(user, 10, "a", 0), []) for user in "abcd"}
    cache = TreeCache(3 * trees["a"].size)
    for user in "abc":
        cache.put(user, trees[user])
    cache.get("a")
    cache.put("d", trees["d"])

    assert [user for user in "abcd" if cache.get(user)] == ["a", "c", "d"]


def test_answers_that_come_later_count_too_and_drive_out_the_oldest() -> None:
    trees = {user: ready(user, goals_of(user, 10, "a", 0), []) for user in "abc"}
    cache = TreeCache(3 * trees["a"].size + 1_000)
    for user in "abc":
        cache.put(user, trees[user])
    before = [user for user in "abc" if cache.get(user)]
    for number in range(9):
        trees["c"].put_answer((None, f"{number}", None), CachedAnswer('"x"', bytes(100), 1, 1))
        cache.put("c", trees["c"])

    assert before == ["a", "b", "c"]
    assert [user for user in "abc" if cache.get(user)] == ["b", "c"]


def test_a_tree_that_is_larger_than_the_bound_is_not_kept_and_drives_nobody_out() -> None:
    small, large = (ready(user, goals_of(user, count, "a", 0), []) for user, count in (("a", 1), ("b", 1_000)))
    cache = TreeCache(large.size - 1)
    cache.put("a", small)
    cache.put("b", large)

    assert (cache.get("a"), cache.get("b")) == (small, None)


def test_a_tree_that_has_grown_too_large_is_kept_no_longer() -> None:
    one, other = (ready(user, goals_of(user, 10, "a", 0), []) for user in "ab")
    cache = TreeCache(2 * one.size)
    cache.put("a", one)
    cache.put("b", other)
    one.put_answer((None, "x", None), CachedAnswer('"x"', bytes(2 * one.size), 1, 1))
    cache.put("a", one)

    assert (cache.get("a"), cache.get("b")) == (None, other)


# What one tree hands on to the next.


def answered(tree: UserTree, *keys: AnswerKey) -> list[bool]:
    """Whether the tree has these answers."""
    return [tree.answer(key) is not None for key in keys]


def test_answers_of_the_past_are_handed_on_and_those_of_the_present_are_not() -> None:
    rows, past, present = goals_of("ann", 3, "a", 0), (None, "ta@1", None), (None, "ta", None)
    first = UserTree(View(rows, 1, 1, 1), "ann")
    first.put_answer(past, CachedAnswer('"p"', b"{}", None, 1))
    first.put_answer(present, CachedAnswer('"v1"', b"{}", 1, 1))
    changed_rows = {**rows, ("ann", "new"): row("new", None, "new")}

    later = UserTree(View(changed_rows, 2, 2, 1), "ann", first)
    assert answered(later, past, present) == [True, False]
    assert answered(UserTree(View(changed_rows, 3, 3, 1), "ann", later), past, present) == [True, False]


@pytest.mark.parametrize(("generation", "name"), [(2, "ann"), (1, "Anna")], ids=["generation", "name"])
def test_answers_of_the_past_are_not_handed_on_where_they_would_be_others_now(generation: int, name: str) -> None:
    rows, past = goals_of("ann", 3, "a", 0), (None, "ta@1", None)
    first = UserTree(View(rows, 1, 1, 1), "ann")
    first.put_answer(past, CachedAnswer('"p"', b"{}", None, 1))

    assert answered(UserTree(View(rows, 1, 1, generation), name, first), past) == [False]


def test_a_tree_keeps_the_newest_of_many_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_goals.reads.trees.MOST_ANSWERS", 3)
    made = UserTree(View(goals_of("ann", 3, "a", 0), 1, 1, 1), "ann")
    keys: list[AnswerKey] = [(None, f"{number}", None) for number in range(5)]
    sizes = [made.size]
    for key in keys:
        made.put_answer(key, CachedAnswer('"x"', bytes(1_000), 1, 1))
        sizes.append(made.size)

    assert answered(made, *keys) == [False, False, True, True, True]
    assert sizes[3] == sizes[4] == sizes[5] > sizes[2]


def test_an_answer_that_is_made_again_counts_once() -> None:
    made = UserTree(View(goals_of("ann", 3, "a", 0), 1, 1, 1), "ann")
    made.put_answer((None, "x", None), CachedAnswer('"x"', bytes(1_000), 1, 1))
    before = made.size
    made.put_answer((None, "x", None), CachedAnswer('"y"', bytes(1_500), 2, 1))

    assert made.size == before + 500


@pytest.mark.parametrize(("character", "length"), TEXTS)
def test_a_tree_that_took_over_another_ones_goals_takes_no_more_than_it_says(character: str, length: int) -> None:
    with measuring() as taken:
        rows = goals_of("ann", 100, character, length)
        made = ready("ann", rows, SHAPES[:1])
        for version in range(2, 40):
            keys = list(rows)
            rows = {**rows, keys[version]: structs.replace(rows[keys[version]], name=character * 150 + f"{version}")}
            made = UserTree(View(rows, version, version, 1), "ann", made)
            whole(made, SHAPES[0])
        del keys

        assert taken() <= made.size <= 1.8 * taken()
