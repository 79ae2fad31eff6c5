"""Who made a goal what it is: each field's value is the tree's, and its event is the one that last changed it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from es_goals.events import (
    Event,
    GoalCompleted,
    GoalDeleted,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    Recorded,
    moment,
)
from es_goals.goals.commands import GoalNotFound, LimitReached
from es_goals.projector import ProjectionBehind
from es_goals.reads import blame, history
from es_goals.reads.blame import BlameAnswer, BranchBlame
from projections import goal_tree
from projections.goal_tree import Row, tree
from tests.reads.test_goal_tree import hardly_any_stack
from tests.support.histories import START, created, folded, recorded
from tests.support.lives import USER, Told, lived, parts, position_of, steps

Json = dict[str, Any]

END = Instant("2026-11-24T08:00:00Z")
MANY = 20_000
PLACING = {"GoalCreated", "GoalMoved", "GoalRestored"}
MAY_WRITE = {
    "name": {"GoalCreated", "GoalRenamed"},
    "description": {"GoalCreated", "GoalDescribed"},
    "start": {"GoalCreated", "GoalScheduled"},
    "due": {"GoalCreated", "GoalScheduled"},
    "end": {"GoalCreated", "GoalCompleted", "GoalReopened"},
    "parent_id": PLACING,
    "order": PLACING,
    "status": {"GoalCreated", "GoalCompleted", "GoalReopened", "GoalDeleted", "GoalRestored"},
    "created": {"GoalCreated"},
}

law = settings(deadline=None, max_examples=60)


def told(lines: Sequence[Recorded], goal_id: str, until: int = 10**9) -> Json:
    """As it is answered."""
    answer = blame.encoded(blame.of_goal(Told(lines).log, goal_id, until), until)
    msgspec.json.decode(answer, type=BlameAnswer)
    answered: Json = msgspec.json.decode(answer)
    return answered


def branch(lines: Sequence[Recorded], goal_id: str, until: int = 10**9) -> Json:
    """As it is answered with all below."""
    answer = blame.encoded_branch(blame.of_branch(Told(lines).log, USER, goal_id, until), goal_id, until)
    msgspec.json.decode(answer, type=BranchBlame)
    answered: Json = msgspec.json.decode(answer)
    return answered


def of(*events: Event) -> list[Recorded]:
    return [recorded(event, 60_000_000 * place, place) for place, event in enumerate(events, start=1)]


def positions(answer: Json) -> dict[str, int]:
    return {name: field["by"]["position"] for name, field in answer["fields"].items()}


def rows_at(lines: Sequence[Recorded], position: int) -> dict[str, Row]:
    rows = folded(goal_tree, [line for line in lines if line.position <= position]).values()
    return {row.id: row for row in rows}


def value(name: str, row: Row | None) -> object:
    """What the tree says."""
    if row is None:
        return "nothing"
    match name:
        case "order":
            return row.rank
        case "status":
            return "deleted" if row.root else "done" if row.end else "open"
        case "created":
            return moment(row.created_at)
        case _:
            return getattr(row, name)


@law
@given(steps, parts)
def test_each_value_is_the_trees_and_its_event_is_the_last_that_changed_it(taken: Any, part: int) -> None:
    lines = lived(taken)
    until = position_of(lines, part)

    for goal_id, row in rows_at(lines, until).items():
        own = [line for line in lines if line.subject == goal_id]
        for name, field in told(lines, goal_id, until)["fields"].items():
            position = field["by"]["position"]
            if name not in ("order", "created"):
                assert field["value"] == value(name, row)
            assert field["by"]["type"] in MAY_WRITE[name]
            assert position <= until
            assert value(name, rows_at(own, position)[goal_id]) == value(name, row)
            assert value(name, rows_at(own, position - 1).get(goal_id)) != value(name, row)


@law
@given(steps, parts)
def test_the_path_tells_who_named_and_who_placed_each_goal_above(taken: Any, part: int) -> None:
    lines = lived(taken)
    until = position_of(lines, part)
    rows = rows_at(lines, until)

    for goal_id, row in rows.items():
        path = told(lines, goal_id, until)["path"]
        above = []
        while row.parent_id is not None:
            row = rows[row.parent_id]
            fields = told(lines, row.id, until)["fields"]
            named, placed = fields["name"]["by"], fields["parent_id"]["by"]
            above.append({"id": row.id, "name": row.name, "named": named, "placed": placed})
        assert path == above[::-1]


@law
@given(steps, parts)
def test_with_all_below_each_goal_is_told_as_by_itself_in_pre_order(taken: Any, part: int) -> None:
    lines = lived(taken)
    until = position_of(lines, part)
    nodes = tree(rows_at(lines, until).values())

    for index, node in enumerate(nodes):
        below = [one.row for one in nodes[index : index + node.size]]
        shown = [row.id for row in below if node.row.root is not None or row.root is None]
        answer = branch(lines, node.row.id, until)
        first = answer["goals"][0]
        assert (answer["id"], answer["position"]) == (node.row.id, until)
        assert [one["id"] for one in answer["goals"]] == shown
        assert first["path"] == told(lines, node.row.id, until)["path"]
        assert all("path" not in one for one in answer["goals"][1:])
        assert [one["fields"] for one in answer["goals"]] == [told(lines, one, until)["fields"] for one in shown]


def test_a_name_that_came_back_is_the_work_of_the_second_renaming() -> None:
    lines = of(created("a"), GoalRenamed("a", "b"), GoalRenamed("a", "a"))

    assert positions(told(lines, "a"))["name"] == 3


def test_a_due_time_takes_no_blame_for_the_start() -> None:
    lines = of(created("a"), GoalScheduled("a", START, END), GoalScheduled("a", END, END))

    assert {name: positions(told(lines, "a"))[name] for name in ("start", "due")} == {"start": 3, "due": 2}


def test_status_is_that_of_the_last_event_that_speaks_of_it() -> None:
    lines = of(created("a"), GoalCompleted("a", END), GoalDeleted("a", "a"), GoalRestored("a", "V00000"))

    assert [told(lines, "a", until)["fields"]["status"]["value"] for until in (1, 2, 3, 4)] == [
        "open", "done", "deleted", "done",
    ]  # fmt: skip
    assert [positions(told(lines, "a", until))["status"] for until in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert [positions(told(lines, "a", 4))[name] for name in ("end", "parent_id", "order")] == [2, 1, 1]
    assert positions(told([*lines, recorded(GoalReopened("a"), 0, 5)], "a"))["end"] == 5


def test_a_place_among_siblings_is_no_place_under_a_parent() -> None:
    lines = of(created("a"), created("b", rank="W"), GoalMoved("a", "X"), GoalMoved("b", "W", "a"))

    assert {name: positions(told(lines, "a"))[name] for name in ("order", "parent_id")} == {"order": 3, "parent_id": 1}
    assert {name: positions(told(lines, "b"))[name] for name in ("order", "parent_id")} == {"order": 2, "parent_id": 4}


def test_a_goal_that_was_restored_elsewhere_was_placed_by_that() -> None:
    lines = of(created("p"), created("a", rank="W"), GoalDeleted("a", "a"), GoalRestored("a", "X", "p"))

    assert [positions(told(lines, "a"))[name] for name in ("parent_id", "order", "status")] == [4, 4, 4]


def test_below_a_deleted_goal_the_deleted_ones_are_told_too() -> None:
    lines = of(created("a"), created("b", "a"), created("c", "a", "W"), GoalDeleted("b", "b"))
    gone = [*lines, recorded(GoalDeleted("c", "a"), 0, 5), recorded(GoalDeleted("a", "a"), 0, 6)]

    assert [goal["id"] for goal in branch(lines, "a")["goals"]] == ["a", "c"]
    assert [goal["id"] for goal in branch(gone, "a")["goals"]] == ["a", "b", "c"]


def test_an_event_is_told_with_who_and_why() -> None:
    line = msgspec.structs.replace(recorded(GoalRenamed("a", "b"), 5, 2), actor="id-of-bob", reason="a typo")

    assert told([recorded(created("a")), line], "a")["fields"]["name"] == {
        "value": "b",
        "by": {"position": 2, "type": "GoalRenamed", "at": "1970-01-01T00:00:00.000005Z", "actor": "id-of-bob",
               "command": "command-2", "reason": "a typo", "undoes": None},
    }  # fmt: skip


def test_a_goal_that_was_not_there_yet_is_not_found() -> None:
    lines = of(created("a"), created("b"))

    for goal_id, until in (("b", 1), ("c", 9)):
        with pytest.raises(GoalNotFound):
            told(lines, goal_id, until)
        with pytest.raises(GoalNotFound):
            branch(lines, goal_id, until)


def test_an_event_that_does_not_fold_says_so() -> None:
    with pytest.raises(ProjectionBehind, match="goal a to be created"):
        told(of(GoalRenamed("a", "x")), "a")


def test_a_chain_of_20000_goals_is_told_without_recursion() -> None:
    lines = of(*(created(f"g{depth}", f"g{depth - 1}" if depth else None) for depth in range(MANY)))

    with hardly_any_stack():
        all_below = list(blame.of_branch(Told(lines).log, USER, "g0", MANY))
        (last,) = blame.of_branch(Told(lines).log, USER, f"g{MANY - 1}", MANY)
        leaf = blame.of_goal(Told(lines).log, f"g{MANY - 1}", MANY)

    assert [goal.id for goal in all_below] == [f"g{depth}" for depth in range(MANY)]
    assert leaf == last
    assert isinstance(leaf.path, list)
    assert [above.id for above in leaf.path] == [f"g{depth}" for depth in range(MANY - 1)]


def test_an_answer_that_would_be_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 1000)

    with pytest.raises(LimitReached):
        branch(of(created("a"), created("b", "a")), "a")


def test_what_only_made_room_beside_a_goal_takes_no_blame_for_its_place() -> None:
    lines = of(
        created("p"), created("a", "p", "V"), created("b", "p", "W"), GoalMoved("b", "X", "p"),
        GoalMoved("b", "Y", "p", spaced=True), GoalMoved("a", "Yz", "p"), GoalMoved("p", "U", spaced=True),
    )  # fmt: skip

    found = positions(told(lines, "b"))
    assert (found["order"], found["parent_id"]) == (4, 3)
    assert [above["placed"]["position"] for above in told(lines, "b")["path"]] == [1]
