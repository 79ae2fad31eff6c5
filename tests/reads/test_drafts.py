"""How a draft differs from its base and from the present: applied to these it gives the draft's tree."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings

from es_goals.events import GoalEvent, Recorded, encode, goals_stream, micros
from es_goals.goals.commands import ChangeGoal, Command
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.reads import Reads
from es_goals.reads.diff import encoded
from es_goals.reads.trees import TreeCache
from es_goals.reads.whatif.drafts import DraftQuestion, DraftReads
from es_goals.reads.whatif.tried import TriedDiff, without_events
from es_goals.storage.drafts import Draft
from es_goals.values import InvalidValue, Rejected
from tests.reads.test_diff import Forest, rows_at
from tests.support.limits import EVENTS_LIMIT, LIMITS, limited
from tests.support.lives import NOW, USER, Step, Told, asked, lived, parts, position_of, steps

LATE = NOW + timedelta(days=99)

law = settings(deadline=None, max_examples=100)


class Drafted:
    """A draft of what the rules accept on goals as of a base; `lines`: with its own events behind those of the base."""

    def __init__(self, lines: Sequence[Recorded], base: int, mine: Sequence[Step]) -> None:
        self.told = Told(lines)
        self.lines = [line for line in lines if line.position <= base]
        goals, commands = Goals(), list[Command]()
        for line in self.lines:
            evolve(goals, cast(GoalEvent, line.event), line.at)
        for number, step in enumerate(mine):
            command = asked(goals, step, f"mine-{number}")
            try:
                caused = decide(goals, command, LATE, LIMITS)
            except Rejected:
                continue
            commands.append(command)
            for event in caused:
                evolve(goals, event, micros(LATE))
                self._add(event)
        draft = Draft("draft", USER, "x", base, 0, 1, 0, micros(LATE))
        self.question = DraftQuestion(draft, commands, USER)

    def _add(self, event: GoalEvent) -> None:
        line = (goals_stream(USER), 0, type(event).__name__, event.goal_id, micros(LATE))
        self.lines.append(Recorded(10**6, *line, None, "", None, encode(event)))

    def diff(self, until: int) -> list[Any]:
        """From the goals as of a position to those of the draft."""
        found = reads()._diff(self.told.log, self.question, until)
        answer = encoded(found, USER, without_events)
        assert msgspec.json.decode(answer, type=TriedDiff)
        goals: list[Any] = msgspec.json.decode(answer)["goals"]
        return goals

    @property
    def forest(self) -> Forest:
        """The draft's tree."""
        return Forest(rows_at(self.lines, 10**6))


def reads(**fewer: int) -> DraftReads:
    """What asks nobody."""
    return DraftReads(cast(Reads, None), TreeCache(0), limited(**fewer), EVENTS_LIMIT)


@law
@given(steps, parts, steps)
def test_the_tree_at_the_base_and_what_differs_give_the_draft_s_tree(
    taken: Sequence[Step], part: int, mine: Sequence[Step]
) -> None:
    lines = lived(taken)
    base = position_of(lines, part)
    draft = Drafted(lines, base, mine)

    forest = Forest(rows_at(lines, base))
    forest.apply(draft.diff(base))

    assert forest == draft.forest


@law
@given(steps, parts, steps)
def test_the_present_tree_and_what_differs_give_the_draft_s_tree(
    taken: Sequence[Step], part: int, mine: Sequence[Step]
) -> None:
    lines = lived(taken)
    now = position_of(lines, 100)
    draft = Drafted(lines, position_of(lines, part), mine)

    forest = Forest(rows_at(lines, now))
    forest.apply(draft.diff(now))

    assert forest == draft.forest


def test_commands_that_a_lower_limit_refuses_by_now_are_told() -> None:
    lines = lived([("create", 0, 0, 0)])
    draft = Drafted(lines, lines[-1].position, [])
    question = DraftQuestion(draft.question.draft, [ChangeGoal("g00", name="Walking")], USER)

    with pytest.raises(InvalidValue):
        reads(name=3)._diff(draft.told.log, question, lines[-1].position)
