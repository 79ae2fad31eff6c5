"""What a draft comes to where others went on: whatever they did is kept, overwritten where that was told, or nothing is
done; tried on any histories at all."""

import copy
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings

from es_goals.events import GoalEvent, Instant, micros
from es_goals.goals.commands import ChangeGoal, Command, CompleteGoal, CreateGoal, DeleteGoal, LimitReached, MoveGoal
from es_goals.goals.drafts import FIELDS, Judged, Overwrite, fields_of, judge, value_of
from es_goals.goals.rules import decide
from es_goals.goals.state import Goal, Goals, Trial, evolve
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted
from es_goals.values import Rejected
from tests.support.limits import EVENTS_LIMIT, LIMITS
from tests.support.lives import NOW, Step, asked, steps

AT = micros(NOW) + 10**12

law = settings(deadline=None)


def live(goals: Goals, taken: Sequence[Step], prefix: str) -> tuple[list[Command], list[GoalEvent]]:
    """Take steps; the commands that were accepted, and what they caused."""
    commands, events = list[Command](), list[GoalEvent]()
    for number, step in enumerate(taken):
        command = asked(goals, step, f"{prefix}{number:02}")
        try:
            caused = decide(goals, command, NOW + timedelta(hours=number), LIMITS)
        except Rejected:
            continue
        for event in caused:
            evolve(goals, event, AT)
        commands.append(command)
        events += caused
    return commands, events


def judged(
    base: Goals, now: Goals, commands: Sequence[Command], since: Sequence[GoalEvent] = (), most: int = EVENTS_LIMIT
) -> Judged:
    """On the goals `now`, which change; `since`: what happened since the base."""
    placed = {event.goal_id for event in since if "place" in fields_of(event)}
    return judge(Trial(now), commands, AT, LIMITS, most, base.known, placed.__contains__)


class Branched:
    """Goals at a base; as others left them since; and the commands of a draft that was made on the base."""

    def __init__(self, before: Sequence[Step], others: Sequence[Step], mine: Sequence[Step]) -> None:
        self.base = Goals()
        live(self.base, before, "a")
        self.now = copy.deepcopy(self.base)
        self.since = live(self.now, others, "b")[1]
        self.commands = live(copy.deepcopy(self.base), mine, "c")[0]
        self.after = copy.deepcopy(self.now)
        self.judged = judged(self.base, self.after, self.commands, self.since)
        self.told = {(one.goal_id, one.field): one for one in self.judged.overwrites}


@law
@given(steps, steps, steps)
def test_nothing_that_others_did_is_overwritten_untold(
    before: Sequence[Step], others: Sequence[Step], mine: Sequence[Step]
) -> None:
    one = Branched(before, others, mine)
    placed = {event.goal_id for event in one.since if "place" in fields_of(event)}
    written = {(event.goal_id, field) for event in one.judged.events for field in fields_of(event)}

    for goal_id, now in one.now.known.items():
        was, after = one.base.known.get(goal_id), one.after.known[goal_id]
        for field in FIELDS:
            there, then, mine_ = value_of(was, field), value_of(now, field), value_of(after, field)
            changed = there != then and (field != "place" or goal_id in placed or moved_elsewhere(was, now))
            overwritten = then != mine_ and (goal_id, field) in written
            told = one.told.get((goal_id, field))
            assert (told is not None) == (changed and overwritten), (goal_id, field)
            if told is not None:
                assert told == Overwrite(goal_id, field, there, then, mine_)


def moved_elsewhere(was: Goal | None, now: Goal) -> bool:
    return was is None or was.parent_id != now.parent_id


@law
@given(steps, steps)
def test_where_nobody_did_anything_a_draft_comes_to_what_it_showed(
    before: Sequence[Step], mine: Sequence[Step]
) -> None:
    one = Branched(before, [], mine)
    shown = copy.deepcopy(one.base)
    alone = judge(Trial(shown), one.commands, AT, LIMITS, EVENTS_LIMIT)

    assert (one.judged.overwrites, one.judged.refused) == ([], [])
    assert (one.judged.events, one.after) == (alone.events, shown)


@law
@given(steps, steps, steps)
def test_a_draft_that_agrees_agrees_still_when_it_was_brought_up_to_date(
    before: Sequence[Step], others: Sequence[Step], mine: Sequence[Step]
) -> None:
    one = Branched(before, others, mine)
    if one.judged.overwrites or one.judged.refused:
        return

    again = judged(one.now, copy.deepcopy(one.now), one.commands)

    assert again == one.judged


@law
@given(steps, steps, steps)
def test_what_is_caused_is_what_the_goals_became(
    before: Sequence[Step], others: Sequence[Step], mine: Sequence[Step]
) -> None:
    one = Branched(before, others, mine)

    folded = copy.deepcopy(one.now)
    for event in one.judged.events:
        evolve(folded, event, AT)

    assert folded == one.after


def goals(*commands: Command) -> Goals:
    """After these commands."""
    made = Goals()
    for command in commands:
        for event in decide(made, command, NOW, LIMITS):
            evolve(made, event, AT)
    return made


def after(base: Goals, *commands: Command) -> tuple[Goals, list[GoalEvent]]:
    """A copy, after these commands, and what they caused."""
    made, events = copy.deepcopy(base), list[GoalEvent]()
    for command in commands:
        caused = decide(made, command, NOW, LIMITS)
        for event in caused:
            evolve(made, event, AT)
        events += caused
    return made, events


A, B = CreateGoal("a", "A"), CreateGoal("b", "B")


def test_who_changed_the_same_field_to_another_value_is_overwritten() -> None:
    base = goals(A)
    now, since = after(base, ChangeGoal("a", name="Y"))

    found = judged(base, now, [ChangeGoal("a", name="X")], since)

    assert found.overwrites == [Overwrite("a", "name", "A", "Y", "X")]
    assert len(found.events) == 1


def test_a_draft_that_sets_what_was_there_at_its_base_overwrites_what_came_since() -> None:
    base = goals(A)
    now, since = after(base, ChangeGoal("a", name="Y"))

    assert judged(base, now, [ChangeGoal("a", name="A")], since).overwrites == [Overwrite("a", "name", "A", "Y", "A")]


def test_what_was_changed_and_changed_back_is_no_conflict() -> None:
    base = goals(A)
    now, since = after(base, ChangeGoal("a", name="Y"), ChangeGoal("a", name="A"))

    assert judged(base, now, [ChangeGoal("a", name="X")], since).overwrites == []


def test_start_and_due_are_two_fields() -> None:
    base = goals(A)
    now, since = after(base, ChangeGoal("a", due=NOW + timedelta(days=9)))

    found = judged(base, now, [ChangeGoal("a", start=NOW - timedelta(days=9))], since)

    assert found.overwrites == []
    assert now.known["a"].due == Instant("2026-12-02T08:00:00Z")


def test_goals_that_were_only_spaced_have_not_moved() -> None:
    base = goals(A, B, *(CreateGoal(f"c{number}", "C", before="b") for number in range(400)))
    now, since = after(base, *(CreateGoal(f"d{number}", "D", before="c7") for number in range(400)))
    spaced = {event.goal_id for event in since if not fields_of(event)}
    assert spaced

    for goal_id in spaced:
        assert judged(base, copy.deepcopy(now), [MoveGoal(goal_id, after="b")], since).overwrites == []


def test_who_was_moved_among_the_same_siblings_was_moved() -> None:
    base = goals(A, B, CreateGoal("c", "C"))
    now, since = after(base, MoveGoal("a", after="b"))

    (conflict,) = judged(base, now, [MoveGoal("a", after="c")], since).overwrites

    assert (conflict.goal_id, conflict.field) == ("a", "place")


def test_each_command_that_is_refused_is_told_and_the_others_are_judged_still() -> None:
    base = goals(A, B)
    now, since = after(base, DeleteGoal("b"), ChangeGoal("a", name="Y"))
    commands: list[Command] = [MoveGoal("a", "b"), ChangeGoal("b", name="X"), ChangeGoal("a", name="X")]

    found = judged(base, now, commands, since)

    assert [one.index for one in found.refused] == [0, 1]
    assert [one.field for one in found.overwrites] == ["name"]


def test_goals_of_the_draft_s_own_are_nobody_else_s() -> None:
    base = goals(A)

    found = judged(base, copy.deepcopy(base), [B, ChangeGoal("b", name="X"), MoveGoal("b", "a"), DeleteGoal("b")])

    assert (found.overwrites, found.refused, len(found.events)) == ([], [], 4)


def test_an_open_goal_that_came_below_is_completed_along_and_a_deleted_one_is_told() -> None:
    base = goals(A)
    now, since = after(base, CreateGoal("b", "B", "a"))

    assert judged(base, copy.deepcopy(now), [CompleteGoal("a", cascade=True)], since).overwrites == []
    (conflict,) = judged(base, now, [DeleteGoal("a")], since).overwrites
    assert conflict == Overwrite("b", "living", False, True, False)


def test_a_draft_causes_no_more_events_than_a_request_may() -> None:
    base = goals(A)

    found = judged(base, copy.deepcopy(base), [B, CreateGoal("c", "C")], most=1)

    (refused,) = found.refused
    assert (refused.index, type(refused.error)) == (1, LimitReached)


def test_deciding_ends_at_the_deadline() -> None:
    with pytest.raises(Interrupted):
        judge(Trial(goals(A)), [B], AT, LIMITS, 9, check=Deadline.after(-1).check)
