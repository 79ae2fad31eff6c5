"""What differs between two points: applied to the first tree it gives the second one, and it says what each goal's two
states say."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Instant,
    Recorded,
    instant,
    moment,
)
from es_goals.goals.commands import GoalNotFound, LimitReached
from es_goals.projector import ProjectionBehind
from es_goals.reads import history
from es_goals.reads.changes import DiffAnswer, Summary
from es_goals.reads.diff import Diff, encoded, text
from projections import goal_tree
from projections.goal_tree import Row, tree
from tests.reads.test_goal_tree import hardly_any_stack
from tests.support.histories import START, created, folded, recorded
from tests.support.lives import NOW, lived, parts, position_of, steps

Json = dict[str, Any]
Order = dict[str | None, list[str]]

END = Instant("2026-11-24T08:00:00Z")
MANY = 20_000

law = settings(deadline=None, max_examples=100)


def lines_of(*events: Event) -> list[Recorded]:
    """At positions from 1 on, a minute apart."""
    return [recorded(event, 60_000_000 * place, place) for place, event in enumerate(events, start=1)]


def diff(lines: Sequence[Recorded], first: int, last: int = 10**9, goal: str | None = None) -> Json:
    """As it is answered."""
    upto = [line for line in lines if line.position <= last]
    answer = encoded(Diff(upto, first, goal), "ann")
    msgspec.json.decode(answer, type=DiffAnswer)
    answered: Json = msgspec.json.decode(answer)
    return answered


def told(lines: Sequence[Recorded], first: int, last: int = 10**9) -> list[str]:
    """As people read it, without the first line."""
    return text(Diff([line for line in lines if line.position <= last], first), "ann").decode().splitlines()[1:]


def rows_at(lines: Sequence[Recorded], position: int) -> dict[str, Row]:
    """All goals, deleted ones too."""
    rows = folded(goal_tree, [line for line in lines if line.position <= position]).values()
    return {row.id: row for row in rows}


def values(row: Row) -> tuple[object, ...]:
    return row.name, row.description, row.start, row.due, row.end


class Forest:
    """What readers see of goals that are not deleted: values, and who is under whom in which order."""

    def __init__(self, rows: dict[str, Row]) -> None:
        living = [node.row for node in tree(rows.values()) if node.row.root is None]
        self.values = {row.id: values(row) for row in living}
        self.order: Order = {}
        for row in living:
            self.order.setdefault(row.parent_id, []).append(row.id)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Forest)
        return (self.values, self.shape) == (other.values, other.shape)

    @property
    def shape(self) -> Order:
        """Without lists in which nothing is."""
        return {parent: below for parent, below in self.order.items() if below}

    def out(self, goal_id: str) -> None:
        """Take a goal out, with what is below it."""
        for below in self.order.values():
            if goal_id in below:
                below.remove(goal_id)

    def put(self, goal_id: str, place: Json) -> None:
        """Insert a goal behind another one, or first."""
        below = self.order.setdefault(place["parent_id"], [])
        below.insert(0 if place["after"] is None else below.index(place["after"]) + 1, goal_id)

    def drop(self, goal_id: str) -> None:
        """Delete a goal with what is still below it."""
        self.out(goal_id)
        waiting = [goal_id]
        while waiting:
            one = waiting.pop()
            del self.values[one]
            waiting += self.order.pop(one, [])

    def apply(self, goals: list[Json]) -> None:
        """The law's four steps."""
        changes = [(goal["id"], change["kind"], change) for goal in goals for change in goal["changes"]]
        parents = {one: parent for parent, below in self.order.items() for one in below}
        for goal_id, kind, _ in changes:
            if kind in ("moved", "reordered"):
                self.out(goal_id)
        for goal_id, kind, _ in changes:
            if kind == "deleted":
                self.drop(goal_id)
        for goal_id, kind, change in changes:
            self.set(goal_id, kind, change.get("to"))
        for goal_id, kind, change in changes:
            if kind in ("created", "restored", "moved"):
                self.put(goal_id, change["to"])
            elif kind == "reordered":
                self.put(goal_id, {"parent_id": parents[goal_id], **change["to"]})

    def set(self, goal_id: str, kind: str, to: Any) -> None:
        """Set the values of a change."""
        match kind:
            case "created" | "restored":
                assert goal_id not in self.values
                self.values[goal_id] = tuple(to[name] for name in ("name", "description", "start", "due", "end"))
            case "renamed":
                self.values[goal_id] = (to, *self.values[goal_id][1:])
            case "described":
                self.values[goal_id] = (self.values[goal_id][0], to, *self.values[goal_id][2:])
            case "scheduled":
                self.values[goal_id] = (*self.values[goal_id][:2], to["start"], to["due"], self.values[goal_id][4])
            case "completed" | "reopened":
                self.values[goal_id] = (*self.values[goal_id][:4], to)


@law
@given(steps, parts, parts)
def test_the_first_tree_and_what_differs_give_the_second_tree(taken: Any, one: int, other: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))

    forest = Forest(rows_at(lines, first))
    forest.apply(diff(lines, first, last)["goals"])

    assert forest == Forest(rows_at(lines, last))


@law
@given(steps, parts, parts, parts)
def test_what_differs_in_two_steps_gives_what_differs_in_one(taken: Any, one: int, other: int, third: int) -> None:
    lines = lived(taken)
    first, between, last = sorted(position_of(lines, part) for part in (one, other, third))

    twice, once = Forest(rows_at(lines, first)), Forest(rows_at(lines, first))
    twice.apply(diff(lines, first, between)["goals"])
    twice.apply(diff(lines, between, last)["goals"])
    once.apply(diff(lines, first, last)["goals"])

    assert twice == once


@law
@given(steps, parts, parts)
def test_nothing_differs_exactly_where_the_trees_are_equal(taken: Any, one: int, other: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))

    same = Forest(rows_at(lines, first)) == Forest(rows_at(lines, last))

    assert (diff(lines, first, last)["goals"] == []) == same
    assert diff(lines, last, last)["goals"] == []


def kinds_of(old: Row | None, new: Row, moved_among: bool) -> list[str]:
    """How a goal differs, as the table says it."""
    was, is_ = old is not None and old.root is None, new.root is None
    if not was and not is_:
        return []
    if not was:
        return ["created" if old is None else "restored"]
    if not is_:
        return ["deleted"]
    assert old is not None
    found = ["moved"] * (old.parent_id != new.parent_id) + ["reordered"] * moved_among
    found += ["renamed"] * (old.name != new.name) + ["described"] * (old.description != new.description)
    found += ["scheduled"] * ((old.start, old.due) != (new.start, new.due))
    if old.end != new.end:
        found.append("reopened" if new.end is None else "completed")
    return found


def before_it(rows: dict[str, Row], goal: Row, common: set[str]) -> set[str]:
    """The siblings before a goal, of these."""
    return {
        one for one in common
        if rows[one].parent_id == goal.parent_id and (rows[one].rank, one) < (goal.rank, goal.id)
    }  # fmt: skip


def expected(old: dict[str, Row], new: dict[str, Row]) -> dict[str, list[str]]:
    """How all goals differ."""
    both = {
        one for one in new
        if one in old and old[one].root is None is new[one].root and old[one].parent_id == new[one].parent_id
    }  # fmt: skip
    among = {
        one for one in both
        if old[one].rank != new[one].rank and before_it(old, old[one], both) != before_it(new, new[one], both)
    }  # fmt: skip
    found = {one: kinds_of(old.get(one), row, one in among) for one, row in new.items()}
    return {one: kinds for one, kinds in found.items() if kinds}


@law
@given(steps, parts, parts)
def test_each_goal_differs_as_its_two_states_do_and_is_counted(taken: Any, one: int, other: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))
    wanted = expected(rows_at(lines, first), rows_at(lines, last))

    answer = diff(lines, first, last)

    entries = {goal["id"]: [change["kind"] for change in goal["changes"]] for goal in answer["goals"]}
    assert {goal: kinds for goal, kinds in wanted.items() if goal in entries} == entries
    assert all(wanted[goal] == ["deleted"] for goal in wanted.keys() - entries.keys())
    assert sum(goal["under"] for goal in answer["goals"] if goal["changes"][0]["kind"] == "deleted") == len(
        wanted
    ) - len(entries)
    counts = {kind: sum(kind in kinds for kinds in wanted.values()) for kind in Summary.__struct_fields__}
    assert answer["summary"] == {**counts, "goals": len(wanted)}


@law
@given(steps, parts, parts)
def test_every_entry_has_the_events_of_its_goal_in_between(taken: Any, one: int, other: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))

    for goal in diff(lines, first, last)["goals"]:
        between = [line for line in lines if first < line.position <= last and line.subject == goal["id"]]
        assert [event["position"] for event in goal["events"]] == [line.position for line in between][:20]
        assert goal["events"]
        assert goal.get("events_count", len(between)) == len(between)


def names_above(rows: dict[str, Row], goal_id: str) -> list[str]:
    names, parent = [], rows[goal_id].parent_id
    while parent is not None:
        names.append(rows[parent].name)
        parent = rows[parent].parent_id
    return names[::-1]


def is_at(place: Json, rows: dict[str, Row], goal_id: str) -> bool:
    beside = Forest(rows).order[rows[goal_id].parent_id]
    before = [None, *beside][beside.index(goal_id)]
    return (place["parent_id"], place["path"], place["after"]) == (
        rows[goal_id].parent_id, names_above(rows, goal_id), before,
    )  # fmt: skip


@law
@given(steps, parts, parts)
def test_what_is_said_of_a_goal_equals_the_trees_at_both_ends(taken: Any, one: int, other: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))
    old, new = rows_at(lines, first), rows_at(lines, last)

    for goal in diff(lines, first, last)["goals"]:
        goal_id = goal["id"]
        gone = goal["changes"][0]["kind"] == "deleted"
        rows = old if gone else new
        assert (goal["name"], goal["path"]) == (rows[goal_id].name, names_above(rows, goal_id))
        for change in goal["changes"]:
            match change["kind"]:
                case "created" | "restored":
                    assert is_at(change["to"], new, goal_id)
                case "deleted":
                    assert is_at(change["from"], old, goal_id)
                    assert change["to"] == {"root": new[goal_id].root}
                case "moved":
                    assert is_at(change["from"], old, goal_id)
                    assert is_at(change["to"], new, goal_id)
                case "renamed":
                    assert (change["from"], change["to"]) == (old[goal_id].name, new[goal_id].name)
                case "described":
                    assert (change["from"], change["to"]) == (old[goal_id].description, new[goal_id].description)
                case "scheduled":
                    assert change["from"] == {"start": old[goal_id].start, "due": old[goal_id].due}
                    assert change["to"] == {"start": new[goal_id].start, "due": new[goal_id].due}
                case "completed" | "reopened":
                    assert (change["from"], change["to"]) == (old[goal_id].end, new[goal_id].end)


def below(rows: dict[str, Row], goal_id: str) -> set[str]:
    found = {goal_id}
    while more := {one for one, row in rows.items() if row.parent_id in found} - found:
        found |= more
    return found


@law
@given(steps, parts, parts, st.integers(0, 12))
def test_of_a_goal_only_what_is_or_was_under_it_differs(taken: Any, one: int, other: int, number: int) -> None:
    lines = lived(taken)
    first, last = sorted(position_of(lines, part) for part in (one, other))
    old, new = rows_at(lines, first), rows_at(lines, last)
    chosen = sorted(new)[number % len(new)] if new else "none"
    if not new:
        with pytest.raises(GoalNotFound):
            diff(lines, first, last, chosen)
        return
    scope = below(old, chosen) | below(new, chosen)
    wanted = {goal for goal in expected(old, new) if goal in scope}

    answer = diff(lines, first, last, chosen)

    entries = {goal["id"] for goal in answer["goals"]}
    along = sum(goal["under"] for goal in answer["goals"] if goal["changes"][0]["kind"] == "deleted")
    assert entries <= wanted
    assert answer["summary"]["goals"] == len(wanted) == len(entries) + along
    for end, rows in (("from", old), ("to", new)):
        node = next((node for node in tree(rows.values()) if node.row.id == chosen), None)
        wanted_progress = (node.completed, node.leaves) if node else (0, 0)
        assert (answer["progress"][end]["completed"], answer["progress"][end]["leaves"]) == wanted_progress


@law
@given(steps, parts)
def test_all_since_the_beginning_is_what_was_made(taken: Any, part: int) -> None:
    lines = lived(taken)
    last = position_of(lines, part)

    answer = diff(lines, 0, last)

    assert answer["from"] == {"position": 0, "version": 0, "at": None}
    assert {change["kind"] for goal in answer["goals"] for change in goal["changes"]} <= {"created"}
    assert [goal["id"] for goal in answer["goals"]] == [
        node.row.id for node in tree(rows_at(lines, last).values()) if node.row.root is None
    ]


def entries(answer: Json) -> dict[str, list[str]]:
    return {goal["id"]: [change["kind"] for change in goal["changes"]] for goal in answer["goals"]}


def test_a_goal_that_was_made_renamed_and_moved_is_one_that_was_made() -> None:
    lines = lines_of(
        created("p"), created("q", rank="W"), created("a", "p"), GoalRenamed("a", "last"), GoalMoved("a", "V", "q")
    )

    (goal,) = diff(lines, 2)["goals"]

    assert (goal["name"], goal["path"], goal["under"]) == ("last", ["q"], 0)
    assert goal["changes"] == [
        {"kind": "created", "to": {
            "parent_id": "q", "path": ["q"], "after": None, "name": "last", "description": None, "start": START,
            "due": None, "end": None,
        }},
    ]  # fmt: skip
    assert [event["type"] for event in goal["events"]] == ["GoalCreated", "GoalRenamed", "GoalMoved"]


def test_what_is_deleted_counts_what_went_with_it_and_not_what_was_moved_out_before() -> None:
    lines = lines_of(
        created("p"), *(created(one, "p", one) for one in "abc"),
        GoalMoved("b", "Z"), GoalDeleted("a", "p"), GoalDeleted("c", "p"), GoalDeleted("p", "p"),
    )  # fmt: skip

    answer = diff(lines, 4)

    assert entries(answer) == {"p": ["deleted"], "b": ["moved"]}
    assert {goal["id"]: goal["under"] for goal in answer["goals"]} == {"p": 2, "b": 0}
    assert answer["summary"]["deleted"] == 3
    assert answer["summary"]["goals"] == 4


def test_what_was_moved_in_before_the_deletion_has_an_entry_of_its_own() -> None:
    lines = lines_of(
        created("p"), created("q", rank="W"), GoalMoved("q", "V", "p"), GoalDeleted("q", "p"), GoalDeleted("p", "p")
    )

    answer = diff(lines, 2)

    assert entries(answer) == {"p": ["deleted"], "q": ["deleted"]}
    assert answer["goals"][1]["changes"] == [
        {"kind": "deleted", "from": {"parent_id": None, "path": [], "after": "p"}, "to": {"root": "p"}}
    ]


def test_a_goal_that_was_deleted_and_restored_elsewhere_has_moved() -> None:
    lines = lines_of(
        created("p"), created("a", rank="W"), GoalDeleted("a", "a"), GoalRestored("a", "V", "p")
    )  # fmt: skip

    assert entries(diff(lines, 2)) == {"a": ["moved"]}
    assert entries(diff(lines, 3)) == {"a": ["restored"]}


def test_of_siblings_the_one_that_was_put_last_is_reordered_alone() -> None:
    lines = lines_of(*(created(one, rank=one) for one in "ABC"), GoalMoved("A", "D"))

    (goal,) = diff(lines, 3)["goals"]

    assert goal["id"] == "A"
    assert goal["changes"] == [{"kind": "reordered", "from": {"after": None}, "to": {"after": "C"}}]


def test_ranks_that_only_made_room_are_no_change() -> None:
    lines = lines_of(*(created(one, rank=one) for one in "ABC"), GoalMoved("B", "BV"), GoalMoved("C", "E"))

    assert diff(lines, 3)["goals"] == []


UNDONE: dict[str, list[Event]] = {
    "renamed": [GoalRenamed("a", "x"), GoalRenamed("a", "a")],
    "described": [GoalDescribed("a", "x"), GoalDescribed("a")],
    "scheduled": [GoalScheduled("a", START, END), GoalScheduled("a", START)],
    "completed": [GoalCompleted("a", END), GoalReopened("a")],
    "moved": [GoalMoved("a", "V", "p"), GoalMoved("a", "W")],
    "deleted": [GoalDeleted("a", "a"), GoalRestored("a", "W")],
    "created": [created("new"), GoalDeleted("new", "new")],
    "all of it": [GoalRenamed("a", "x"), GoalMoved("a", "V", "p"), GoalCompleted("a", END),
                  GoalReopened("a"), GoalMoved("a", "W"), GoalRenamed("a", "a")],
}  # fmt: skip


@pytest.mark.parametrize("events", UNDONE.values(), ids=UNDONE)
def test_what_was_taken_back_is_not_there(events: list[Event]) -> None:
    answer = diff(lines_of(created("p"), created("a", rank="W"), *events), 2)

    assert answer["goals"] == []
    assert set(answer["summary"].values()) == {0}


def test_goals_that_came_along_are_counted_and_not_listed() -> None:
    lines = lines_of(
        created("p"), created("q", rank="W"), created("a", "p"), created("b", "a"), created("c", "b"),
        created("d", "b", "W"), created("e", "d"), GoalMoved("a", "V", "q"), GoalMoved("d", "W", "a"),
        created("new", "c"),
    )  # fmt: skip

    answer = diff(lines, 7)

    assert entries(answer) == {"a": ["moved"], "new": ["created"], "d": ["moved"]}
    assert {goal["id"]: goal["under"] for goal in answer["goals"]} == {"a": 2, "new": 0, "d": 1}


def test_a_goal_that_was_reached_at_another_time_is_completed() -> None:
    lines = lines_of(created("a"), GoalCompleted("a", START), GoalReopened("a"), GoalCompleted("a", END))

    assert diff(lines, 2)["goals"][0]["changes"] == [{"kind": "completed", "from": START, "to": END}]


def test_of_a_goal_what_has_left_it_differs_too() -> None:
    lines = lines_of(
        created("p"), created("q", rank="W"), created("a", "p"), created("b", "q"), GoalMoved("a", "X"),
        GoalRenamed("b", "x"), GoalRenamed("a", "y"),
    )  # fmt: skip

    assert entries(diff(lines, 4, goal="p")) == {"a": ["moved", "renamed"]}
    assert entries(diff(lines, 4, goal="q")) == {"b": ["renamed"]}


def test_of_many_events_the_first_are_told_and_how_many_there_are() -> None:
    lines = lines_of(created("a"), *(GoalRenamed("a", f"name {number}") for number in range(30)))

    (goal,) = diff(lines, 1)["goals"]

    assert [event["position"] for event in goal["events"]] == list(range(2, 22))
    assert goal["events_count"] == 30
    assert "events_count" not in diff(lines, 11)["goals"][0]


def test_an_event_is_told_with_who_and_why() -> None:
    line = msgspec.structs.replace(recorded(GoalRenamed("a", "b"), 5, 2), actor="id-of-bob", reason="a typo")

    (goal,) = diff([recorded(created("a")), line], 1)["goals"]

    assert goal["events"] == [
        {"position": 2, "type": "GoalRenamed", "at": "1970-01-01T00:00:00.000005Z", "actor": "id-of-bob",
         "command": "command-2", "reason": "a typo", "undoes": None},
    ]  # fmt: skip


def test_both_ends_are_the_users_last_events_there() -> None:
    lines = lived([("create", 0, 0, 0), ("create", 1, 0, 0), ("rename", 0, 1, 0)])

    answer = diff(lines, lines[0].position + 1)

    assert answer["from"] == {"position": 3, "version": 1, "at": instant(NOW)}
    assert answer["to"] == {"position": 7, "version": 3, "at": instant(NOW + timedelta(hours=2))}
    assert answer["progress"] == {"from": {"completed": 0, "leaves": 1}, "to": {"completed": 0, "leaves": 2}}


def test_a_goal_that_the_user_never_had_is_not_found() -> None:
    with pytest.raises(GoalNotFound):
        diff(lines_of(created("a")), 0, goal="b")
    with pytest.raises(GoalNotFound):
        diff(lines_of(created("a"), created("b")), 0, 1, "b")


def test_an_event_that_does_not_fold_says_so() -> None:
    with pytest.raises(ProjectionBehind, match="goal b to be created"):
        diff(lines_of(created("a"), GoalRenamed("b", "x")), 0)


def test_text_tells_each_goal_in_a_line() -> None:
    lines = lines_of(
        created("m", name="Run a marathon"), created("s", rank="W", name="Shopping"),
        created("shoes", "m", "V", "Shoes"), created("l", "shoes"), created("r", "shoes", "W"),
        created("ten", "m", "W", "Run 10 km"), created("y", rank="X", name="Try yoga"), created("y1", "y"),
        created("z", rank="Z", name="Last"),
        created("21", "m", "U", "Run 21 km"), GoalMoved("shoes", "V", "s"), GoalRenamed("shoes", "Buy shoes"),
        GoalCompleted("ten", END), GoalDeleted("y1", "y"), GoalDeleted("y", "y"), GoalDescribed("l", "long"),
        GoalScheduled("r", END, END), GoalMoved("z", "A"), created("top", rank="zz"),
    )  # fmt: skip

    drawn = text(Diff(lines, 9), "alice").decode()

    assert drawn == (
        "alice, 1970-01-01 00:09 (9) … 1970-01-01 00:19 (19): progress 0/6 → 1/6\n"
        "↕ Last       now the first\n"
        "+ Run 21 km  under “Run a marathon”\n"
        "✔ Run 10 km  done 2026-11-24\n"
        "→ Buy shoes  from “Run a marathon” to “Shopping”, with 2 below; was “Shoes”\n"
        "~ l          described anew\n"
        "~ r          starts 2026-11-24 08:00, due 2026-11-24 08:00\n"
        "- Try yoga   with 1 below\n"
        "+ top        at the top\n"
    )


def test_text_tells_what_is_taken_back_and_where_there_was_nothing() -> None:
    lines = lines_of(
        created("a"), created("b", rank="W"), GoalCompleted("a", END), GoalDescribed("a", "x"),
        GoalScheduled("b", START, END), GoalDeleted("b", "b"), created("c", rank="X"), created("d", rank="Y"),
        GoalReopened("a"), GoalDescribed("a"), GoalRestored("b", "V", "a"), GoalScheduled("b", START),
        GoalMoved("c", "Z"), created("e", "a"), GoalCompleted("e", END),
    )  # fmt: skip

    assert told(lines, 8) == [
        "· a  no longer described; open again",
        "+ b  restored under “a”",
        "+ e  under “a”; done 2026-11-24",
        "↕ c  now behind “d”",
    ]
    assert text(Diff(lines, 0), "ann").decode().startswith("ann, the beginning (0) … 1970-01-01 00:15 (15): ")
    assert told(lines, 15) == []


def test_a_chain_of_20000_goals_is_compared_without_recursion_and_paths_stay_short() -> None:
    chain = [created("g0"), *(created(f"g{depth}", f"g{depth - 1}") for depth in range(1, MANY))]
    events: list[Event] = [
        *chain,
        created("p", rank="W"),
        GoalMoved("g0", "V", "p"),
        GoalRenamed(f"g{MANY - 1}", "leaf"),
    ]
    lines = lines_of(*events)

    with hardly_any_stack():
        made, moved = encoded(Diff(lines, 0), "ann"), diff(lines, MANY + 1)
        deleted = Diff(
            lines_of(*events, *(GoalDeleted(f"g{depth}", "g0") for depth in reversed(range(MANY)))), MANY + 1
        )

    assert len(made) < 2000 * MANY
    assert {goal["id"]: goal["under"] for goal in moved["goals"]} == {"g0": MANY - 1, f"g{MANY - 1}": 0}
    assert moved["goals"][1]["path"] == [f"g{depth}" for depth in range(MANY - 21, MANY - 1)]
    assert moved["goals"][1]["path_count"] == MANY
    assert [(goal.id, goal.under) for goal in deleted] == [("g0", MANY - 1)]


def test_20000_siblings_of_which_one_is_put_first_are_compared() -> None:
    wide: list[Event] = [created("top"), *(created(f"g{number:05}", "top", f"{number:05}") for number in range(MANY))]
    lines = lines_of(*wide, GoalMoved(f"g{MANY - 1:05}", "/", "top"))

    with hardly_any_stack():
        (goal,) = diff(lines, MANY + 1)["goals"]

    assert goal["changes"] == [{"kind": "reordered", "from": {"after": f"g{MANY - 2:05}"}, "to": {"after": None}}]


def test_20000_siblings_turned_around_are_put_back_by_what_differs() -> None:
    wide: list[Event] = [created(f"g{number:05}", rank=f"{number:05}") for number in range(MANY)]
    lines = lines_of(*wide, *(GoalMoved(f"g{number:05}", f"{2 * MANY - number:05}") for number in range(MANY)))

    goals = diff(lines, MANY)["goals"]

    assert [goal["id"] for goal in goals] == [f"g{number:05}" for number in reversed(range(MANY))]


def test_an_answer_that_would_be_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(*(created(f"g{number}") for number in range(20)))
    size = len(encoded(Diff(lines, 0), "ann"))
    monkeypatch.setattr(history, "MOST_BYTES", size // 2)

    with pytest.raises(LimitReached, match="name a goal, or a shorter span"):
        encoded(Diff(lines, 0), "ann")
    monkeypatch.setattr(history, "MOST_BYTES", 20)
    with pytest.raises(LimitReached):
        text(Diff(lines, 0), "ann")


def test_moments_are_those_of_the_events() -> None:
    (goal,) = diff(lines_of(created("a"), created("b", rank="W")), 1)["goals"]

    assert goal["events"][0]["at"] == instant(moment(120_000_000))


def test_what_only_made_room_beside_a_goal_is_no_change_of_its_place() -> None:
    lines = lines_of(
        created("a", rank="V1"), created("b", rank="V2"), created("c", rank="V3"),
        GoalMoved("b", "V21", spaced=True), GoalMoved("c", "V20"),
    )  # fmt: skip

    found = diff(lines, 3)
    assert {goal["id"]: [change["kind"] for change in goal["changes"]] for goal in found["goals"]} == {
        "c": ["reordered"]
    }
    assert diff(lines, 3, 4)["goals"] == []
