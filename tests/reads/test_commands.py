"""History grouped by command: each once, what it did, what it undid, and who undid it."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals.events import GoalEvent, GoalMoved, GoalRenamed, Recorded
from es_goals.projector import ProjectionBehind
from es_goals.reads.overviews import commands
from es_goals.reads.overviews.commands import CommandAnswer, Wanted, undoings
from projections import goal_tree
from tests.reads.test_subtree import by_folding
from tests.support.histories import RANK, created, folded, recorded
from tests.support.lives import USER, Step, Told, lived, numbers, parts, position_of, steps

law = settings(deadline=None, max_examples=50)


class Log(Told):
    """Lines as a log finds them, also without an end."""

    def read(
        self,
        after: int,
        limit: int,
        *,
        until: int | None = None,
        stream: str | None = None,
        subject: str | None = None,
        latest: bool = False,
    ) -> list[Recorded]:
        """As Reader's."""
        end = 10**12 if until is None else until
        found = super().read(after, 10**6 if latest else limit, until=end, stream=stream, subject=subject)
        return found[: -limit - 1 : -1] if latest else found


def told(lines: Sequence[Recorded], limit: int = 10**6, **wanted: object) -> list[CommandAnswer]:
    return commands.commands(Log(lines).log, USER, structs.replace(Wanted(), **wanted), limit)


def grouped(lines: Sequence[Recorded]) -> list[list[Recorded]]:
    return [list(group) for _, group in groupby(lines, attrgetter("command"))]


@law
@given(steps)
def test_every_event_is_in_one_command(taken: list[Step]) -> None:
    lines = lived(taken)

    found = told(lines)

    assert [(one.command, one.counts) for one in found] == [
        (group[0].command, Counter(line.type for line in group)) for group in grouped(lines)
    ]
    for one, group in zip(found, grouped(lines), strict=True):
        assert (one.first, one.last) == (group[0].position, group[-1].position)
        assert one.goal_id in {line.subject for line in group}
        then = folded(goal_tree, [line for line in lines if line.position <= one.last])
        assert one.name == then[USER, one.goal_id].name
        assert f"“{one.name}”" in one.say or "GoalRenamed" in one.counts


@law
@given(steps, numbers, parts, parts, st.booleans(), st.booleans(), st.integers(1, 20))
def test_filters_find_what_a_look_at_all_commands_finds(
    taken: list[Step], goal: int, after: int, before: int, latest: bool, subtree: bool, limit: int
) -> None:
    lines = lived(taken)
    goals = [str(line.subject) for line in lines if line.type == "GoalCreated"]
    top = goals[goal % len(goals)] if goal % 4 or subtree else None
    touching = by_folding(lines, str(top)) if subtree else [line for line in lines if top in (None, line.subject)]
    ids = {line.command for line in touching if top is None or b'"spaced":true' not in line.data}
    first, last = (0, position_of(lines, before)) if latest else (position_of(lines, after), None)
    every = [one for one in told(lines) if one.command in ids]
    expected = [one for one in every if one.first > first and (last is None or one.last < last)]

    found = told(lines, limit, goal=top, subtree=subtree, after=first, before=last, latest=latest)

    assert found == expected[:: -1 if latest else 1][:limit]


@law
@given(st.lists(st.lists(st.integers(0, 100), max_size=3), min_size=1, max_size=25))
def test_a_command_is_undone_by_the_latest_that_undid_it_and_is_not_undone(undoing: list[list[int]]) -> None:
    """Of each command: which earlier ones it undoes."""
    undoes = [sorted({one % number for one in which} if number else set()) for number, which in enumerate(undoing)]
    lines = [recorded(created("g"), 0, 1)]
    for number, which in enumerate(undoes):
        targets: list[str | None] = [f"c{one}" for one in which]
        for undone in targets or [None]:
            event = GoalRenamed("g", str(number), undoes=undone)
            lines.append(structs.replace(recorded(event, 0, len(lines) + 1), command=f"c{number}"))

    def is_undone(number: int) -> bool:
        return bool(effective(number))

    def effective(number: int) -> list[int]:
        return [later for later, which in enumerate(undoes) if number in which and not is_undone(later)]

    found = {one.command: one for one in told(lines)}
    for number, which in enumerate(undoes):
        one, undoers = found[f"c{number}"], effective(number)
        assert one.undone_by == (f"c{max(undoers)}" if undoers else None)
        assert one.undoes == ([f"c{undone}" for undone in which] or None)
    assert [one.undone_by for one in told(lines, 3, latest=True)] == [
        one.undone_by for one in list(found.values())[:-4:-1]
    ]


def story() -> list[Recorded]:
    """A goal is renamed, that is undone, done again, and undone once more; then two things are undone at once."""
    events: dict[str, GoalEvent] = {
        "made": created("g", name="Run"),
        "renamed": GoalRenamed("g", "Swim"),
        "undo": GoalRenamed("g", "Run", undoes="renamed"),
        "redo": GoalRenamed("g", "Swim", undoes="undo"),
        "again": GoalRenamed("g", "Run", undoes="redo"),
    }
    lines = [
        structs.replace(recorded(event, 0, place), command=command)
        for place, (command, event) in enumerate(events.items(), start=1)
    ]
    both: list[GoalEvent] = [GoalRenamed("g", "Run", undoes="again"), GoalMoved("g", RANK, undoes="renamed")]
    return lines + [structs.replace(recorded(event, 0, 6 + at), command="both") for at, event in enumerate(both)]


def test_undoing_says_what_it_undid_or_did_again() -> None:
    found = {one.command: one for one in told(story())}

    assert [one.say for one in found.values()] == [
        "created “Run”",
        "renamed “Run” to “Swim”",
        "undid “renamed “Run” to “Swim””",
        "redid “renamed “Run” to “Swim””",
        "undid “renamed “Run” to “Swim””",
        "redid “renamed “Run” to “Swim”” and 1 more",
    ]
    assert undoings(Log(story()).log, USER) == {one.command: one.say for one in list(found.values())[2:]}
    assert [one.say for one in told(story(), 2, latest=True)] == [one.say for one in list(found.values())[:-3:-1]]


def test_only_an_actor_s_commands_are_told_where_one_is_named() -> None:
    lines = [structs.replace(line, actor=str(line.position % 2)) for line in story()[:5]]

    assert [one.first for one in told(lines, actor="1")] == [1, 3, 5]
    assert [one.first for one in told(lines, 1, actor="0", latest=True)] == [4]
    assert told(lines, actor="ann") == []


def test_what_undid_a_command_of_another_page_is_known() -> None:
    assert [(one.command, one.undone_by) for one in told(story(), 2)] == [("made", None), ("renamed", "both")]


def test_a_line_that_cannot_be_decoded_is_told_as_one() -> None:
    lines = [structs.replace(line, data=b"{") if line.position == 2 else line for line in story()]

    with pytest.raises(ProjectionBehind, match="position 2"):
        told(lines)


def test_a_command_that_a_page_begins_or_ends_in_is_not_on_it() -> None:
    events: list[GoalEvent] = [created("g"), GoalRenamed("g", "Swim"), GoalRenamed("g", "Walk")]
    lines = [structs.replace(recorded(event, 0, at), command="a batch") for at, event in enumerate(events, start=1)]
    lines.append(recorded(GoalRenamed("g", "Run"), 0, 4))

    for after in (1, 2, 3):
        assert [one.first for one in told(lines, after=after)] == [4]
    for before in (2, 3):
        assert told(lines, before=before, latest=True) == []
    assert [one.first for one in told(lines, before=4, latest=True)] == [1]
