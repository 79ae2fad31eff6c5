"""How much happened when, and how far the goals came: against counting by hand and folding anew at each point."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import Event, GoalCompleted, GoalDeleted, GoalMoved, Recorded, micros, moment
from es_goals.projector import ProjectionBehind
from es_goals.reads.history import NoSpan
from es_goals.reads.overviews.burnup import BurnupPoint, burnup
from es_goals.reads.overviews.timeline import Bucket, Timeline, timeline
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Head
from projections import goal_tree
from projections.goal_tree import Row, tree
from tests.reads.test_commands import Log
from tests.reads.test_goal_tree import hardly_any_stack
from tests.reads.test_subtree import is_below
from tests.support.histories import RANK, START, created, folded, recorded
from tests.support.lives import NOW, USER, Step, lived, numbers, steps

law = settings(deadline=None, max_examples=60)
MANY = 20_000
Point = int | datetime | None


class Whole(Log):
    """Lines as a log finds them, by time too; others' events, which lie between, are as old as those before them."""

    def __init__(self, lines: Sequence[Recorded]) -> None:
        super().__init__(lines)
        self._all = lines

    def head(self) -> Head:
        """As Reader's."""
        return Head(self._all[-1].position, self._all[-1].at) if self._all else Head()

    def position_at(self, at: int) -> int:
        """As Reader's."""
        return max((line.position for line in self._all if line.at <= at), default=0)


def buckets(lines: Sequence[Recorded], count: int, first: Point = None, last: Point = None) -> Timeline:
    return timeline(Whole(lines).log, USER, micros(NOW) * 2, count, first, last)


@law
@given(steps, st.integers(1, 500))
def test_the_buckets_hold_every_event_and_command_once(taken: list[Step], count: int) -> None:
    lines = lived(taken)

    found = buckets(lines, count)

    assert (found.first, found.last, len(found.buckets)) == (lines[0].position, lines[-1].position, count)
    assert sum(one.events for one in found.buckets) == len(lines)
    assert sum(one.commands for one in found.buckets) == len({line.command for line in lines})
    assert (found.buckets[0].begin, found.buckets[-1].end) == (moment(lines[0].at), moment(lines[-1].at))
    for one, following in zip(found.buckets, [*found.buckets[1:], None], strict=True):
        inside = [
            line
            for line in lines
            if one.begin <= moment(line.at) and (following is None or moment(line.at) < following.begin)
        ]
        assert one.events == len(inside)
        assert following is None or one.end == following.begin
        so_far = [line.position for line in lines if following is None or moment(line.at) < following.begin]
        assert one.position == max(so_far, default=0)


@law
@given(steps, st.integers(1, 20), st.integers(-5, 60), st.integers(0, 60))
def test_a_span_of_time_holds_what_happened_in_it(taken: list[Step], count: int, begin: int, length: int) -> None:
    lines = lived(taken)
    first = NOW + timedelta(hours=begin)
    last = first + timedelta(hours=length)

    found = buckets(lines, count, first, last)

    inside = [line for line in lines if first <= moment(line.at) <= last]
    assert sum(one.events for one in found.buckets) == len(inside)
    assert (found.first, found.last) == ((inside[0].position, inside[-1].position) if inside else (None, None))
    assert (found.buckets[0].begin, found.buckets[-1].end, len(found.buckets)) == (first, last, count)
    until = [line.position for line in lines if moment(line.at) <= last]
    assert found.buckets[-1].position == max(until, default=0)


def test_one_instant_is_one_span() -> None:
    lines = [recorded(created("g"), micros(NOW), 1)]

    assert buckets(lines, 1) == Timeline(1, 1, [Bucket(NOW, NOW, 1, 1, 1)])
    assert [one.events for one in buckets(lines, 3).buckets] == [1, 0, 0]
    assert buckets([], 5) == Timeline(None, None, [])


def test_positions_name_the_times_of_their_events() -> None:
    hour = 3_600_000_000
    lines = [recorded(created(f"g{at}"), micros(NOW) + at * hour, at + 1) for at in range(10)]

    found = buckets(lines, 2, 3, 8)

    assert (found.first, found.last, [one.events for one in found.buckets]) == (3, 8, [3, 3])


@pytest.mark.parametrize(("first", "last", "field"), [(5, 3, "from"), (99, None, "from"), (1, 99, "to")])
def test_what_is_no_span_is_refused(first: int, last: int | None, field: str) -> None:
    lines = [recorded(created(f"g{at}"), micros(NOW) + at, at + 1) for at in range(10)]

    with pytest.raises(NoSpan) as refused:
        buckets(lines, 5, first, last)
    assert refused.value.field == field


def progress(rows: Sequence[Row], top: str | None) -> tuple[int, int, int]:
    """By the whole tree."""
    by_id = {row.id: row for row in rows}
    nodes = tree(rows)
    counted = [node for node in nodes if (node.depth == 0 if top is None else node.row.id == top)]
    living = [row for row in rows if row.root is None and (top is None or is_below(by_id, row.id, top))]
    return len(living), sum(node.leaves for node in counted), sum(node.completed for node in counted)


@law
@given(steps, st.integers(1, 60), numbers, st.booleans())
def test_each_point_is_the_tree_s_progress_at_its_time(taken: list[Step], count: int, goal: int, whole: bool) -> None:
    lines = lived(taken)
    goals = [str(line.subject) for line in lines if line.type == "GoalCreated"]
    top = None if whole else goals[goal % len(goals)]

    found = burnup(Log(lines).log, USER, count, top)

    assert len(found) == count
    begin = lines[0].at if top is None else next(line.at for line in lines if line.subject == top)
    assert found[-1].at == moment(lines[-1].at)
    assert count == 1 or found[0].at == moment(begin)
    for point in found:
        rows = list(folded(goal_tree, [line for line in lines if moment(line.at) <= point.at]).values())
        assert (point.goals, point.leaves, point.completed) == progress(rows, top)


def test_what_is_moved_out_or_in_counts_no_more_or_again() -> None:
    events: list[Event] = [
        created("top"), created("in", "top"), created("deep", "in"), GoalCompleted("deep", START),
        GoalMoved("in", RANK), GoalMoved("in", RANK, "top"), GoalDeleted("deep", "in"), GoalDeleted("in", "in"),
    ]  # fmt: skip
    lines = [recorded(event, at, at + 1) for at, event in enumerate(events)]

    found = burnup(Log(lines).log, USER, len(lines), "top")

    assert [(one.goals, one.leaves, one.completed) for one in found] == [
        (1, 1, 0), (2, 1, 0), (3, 1, 0), (3, 1, 1), (1, 1, 0), (3, 1, 1), (2, 1, 0), (1, 1, 0),
    ]  # fmt: skip


def test_a_chain_and_many_siblings_are_counted_without_a_stack() -> None:
    events: list[Event] = [created(f"g{at}", f"g{at - 1}" if at else None) for at in range(MANY)]
    lines = [recorded(event, at, at + 1) for at, event in enumerate([*events, GoalMoved("g1", RANK)])]

    with hardly_any_stack():
        assert burnup(Log(lines).log, USER, 1, "g1") == [BurnupPoint(moment(MANY), MANY - 1, 1, 0)]
        assert burnup(Log(lines).log, USER, 1, "g0")[0].goals == 1


def test_what_is_moved_over_and_over_ends_at_the_deadline() -> None:
    events: list[Event] = [created("top"), created("in"), *(created(f"g{at}", "in") for at in range(MANY))]
    events += [GoalMoved("in", RANK, "top" if at % 2 else None) for at in range(500)]
    lines = [recorded(event, at, at + 1) for at, event in enumerate(events)]

    with pytest.raises(Interrupted):
        Deadline.after(0.2).run(lambda: burnup(Log(lines).log, USER, 1, "top"))


def test_nothing_happened_where_there_are_no_events_and_bad_lines_are_told() -> None:
    line = recorded(created("g"), 0, 1)

    assert burnup(Log([]).log, USER, 5) == []
    with pytest.raises(ProjectionBehind, match="position 1"):
        burnup(Log([structs.replace(line, data=b"{")]).log, USER, 5)
    for event in (GoalCompleted("h", START), GoalMoved("h", RANK)):
        with pytest.raises(ProjectionBehind, match="goal h"):
            burnup(Log([line, recorded(event, 0, 2)]).log, USER, 5)
