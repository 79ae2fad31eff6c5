"""What a dry run would come to, as a diff and as a tree, is what the diff and the tree say when it is recorded."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from hypothesis import given, settings

from es_goals.events import GoalEvent, Recorded
from es_goals.projector import View
from es_goals.reads import trees
from es_goals.reads.diff import Diff, encoded
from es_goals.reads.trees import TreeOptions, UserTree
from es_goals.reads.whatif.tried import Tried, TriedDiff
from es_goals.storage.log import Head, User
from projections import goal_tree
from tests.support.histories import folded
from tests.support.lives import USER, Step, Told, lived, parts, steps

Json = dict[str, Any]
ANN = User(USER, "Ann", None, 0)


def tried_at(lines: Sequence[Recorded], part: int) -> tuple[Tried, list[Recorded]]:
    """The command in which so much has happened, as if it were only tried; and the events up to its last one."""
    within = lines[min(len(lines) - 1, len(lines) * part // 100)].command
    before = [line for line in lines if int(line.command.partition("-")[2]) < int(within.partition("-")[2])]
    events = [line for line in lines if line.command == within]
    last = before[-1] if before else None
    caused = [cast(GoalEvent, line.event) for line in events]
    position = last.position if last else 0
    end = Head(events[0].position - 1, events[0].at)
    return Tried(ANN, len(before), position, end, caused), [*before, *events]


@settings(deadline=None, max_examples=100)
@given(steps, parts)
def test_what_would_differ_is_what_differs_when_it_is_done(taken: list[Step], part: int) -> None:
    lines = lived(taken)
    tried, upto = tried_at(lines, part)

    answer = tried.diff(Told(lines).log)

    would: Json = msgspec.json.decode(answer)
    assert msgspec.json.decode(answer, type=TriedDiff)
    done: Json = msgspec.json.decode(encoded(Diff(upto, tried.position), "Ann"))
    for goal in done["goals"]:
        del goal["events"]
        goal.pop("events_count", None)
    assert {**would, "to": None} == {**done, "to": None}
    assert would["to"]["version"] == done["to"]["version"]
    assert would["to"]["position"] == tried.end.position + len(tried.events)


@settings(deadline=None, max_examples=100)
@given(steps, parts)
def test_the_tree_that_would_be_is_the_tree_that_is_when_it_is_done(taken: list[Step], part: int) -> None:
    lines = lived(taken)
    tried, upto = tried_at(lines, part)

    would = msgspec.json.decode(tried.tree(Told(lines).log))

    view = View(folded(goal_tree, upto), len(upto), tried.end.position + len(tried.events), 0)
    assert would == msgspec.json.decode(trees.whole(UserTree(view, "Ann"), TreeOptions(flat=True)))


def test_what_would_change_nothing_leaves_all_as_it_is() -> None:
    tried = Tried(ANN, 0, 0, Head(7, 0), [])

    assert msgspec.json.decode(tried.tree(Told([]).log)) == {"user": "Ann", "version": 0, "position": 0, "goals": []}
    assert msgspec.json.decode(tried.diff(Told([]).log))["goals"] == []
