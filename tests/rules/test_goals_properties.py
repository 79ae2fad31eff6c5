"""The laws: what holds after any commands at all, in any order, sensible or not."""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from es_goals.events import GoalDeleted, GoalEvent, GoalMoved, GoalRestored, decode, encode, subject_of
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    Limits,
    MoveGoal,
    Named,
    ReopenGoal,
    RestoreGoal,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, Trial, evolve
from es_goals.values import Rejected
from tests.support.limits import LIMITS, limited

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
REFERENCES = ("goal_id", "goal", "parent", "parent_id", "before", "after")

# A reference is drawn as a number, and becomes the id of a goal made before its command (-1: of none): see `aimed`.
# There are few of them, so that what is deleted, moved and restored meets.
ids = st.integers(-1, 11).map(str)
names = st.sampled_from(["run", "walk", "swim", " Cafe\u0301", "\0"])
refs = st.integers(0, 7).flatmap(lambda n: ids if n else st.builds(Named, names))
times = st.integers(-48, 48).map(lambda hours: NOW + timedelta(hours=hours)) | st.just(datetime(1899, 1, 1, tzinfo=UTC))
texts = st.sampled_from(["", "daily", "weekly", "\u202e"])
parents = st.just(UNSET) | st.none() | ids
siblings = st.none() | ids

# Mostly accepted, so that there is a forest to work on; the rest is as it comes.
growths = st.builds(CreateGoal, st.just("new"), st.sampled_from(["run", "walk", "swim"]), ids)
creations = st.builds(
    CreateGoal,
    st.just("new") | ids,
    names,
    st.none() | refs,
    st.none() | texts,
    st.none() | times,
    st.none() | times,
    siblings,
    siblings,
    st.booleans(),
)
changes = st.builds(
    ChangeGoal,
    refs,
    st.just(UNSET) | names,
    st.just(UNSET) | st.none() | texts,
    st.just(UNSET) | times,
    st.just(UNSET) | st.none() | times,
)
commands = st.one_of(
    growths,
    creations,
    changes,
    st.builds(CompleteGoal, refs, st.none() | times, st.booleans()),
    st.builds(ReopenGoal, refs),
    st.builds(MoveGoal, refs, parents, siblings),
    st.builds(MoveGoal, refs, parents, st.none(), siblings),
    st.builds(DeleteGoal, refs),
    st.builds(RestoreGoal, refs, parents, st.booleans()),
)
# Among all commands these seldom meet, though it is they that must keep the tree whole.
uprootings = st.one_of(
    st.builds(DeleteGoal, ids),
    st.builds(RestoreGoal, ids),
    st.builds(RestoreGoal, ids, parents),
    st.builds(RestoreGoal, ids, parents, st.just(True)),
    st.builds(RestoreGoal, ids, st.none() | ids, st.just(True)),
    st.builds(MoveGoal, ids, parents),
)


def aimed(drawn: Sequence[Command]) -> list[Command]:
    """The commands with ids for numbers, behind one that makes the first goal."""
    history: list[Command] = [CreateGoal("g0", "run")]
    made = ["g0"]
    for command in drawn:
        numbers = {name: value for name in REFERENCES if isinstance(value := getattr(command, name, None), str)}
        fresh = {"new": f"g{len(history)}", "-1": "unknown"}
        chosen = {name: fresh.get(value) or made[int(value) % len(made)] for name, value in numbers.items()}
        history.append(structs.replace(command, **chosen))
        if isinstance(command, CreateGoal):
            made.append(chosen["goal_id"])
    return history


histories = st.tuples(
    st.lists(growths, min_size=1, max_size=8),
    st.lists(commands, min_size=8, max_size=40) | st.lists(uprootings, min_size=8, max_size=40),
).map(lambda parts: aimed([*parts[0], *parts[1]]))

# A busy machine must not fail a law for being slow.
law = settings(deadline=None)


def outcome(goals: Goals, command: Command) -> tuple[GoalEvent, ...] | str:
    """The events, or the refusal in words."""
    try:
        return decide(goals, command, NOW, LIMITS)
    except Rejected as refusal:
        return f"{refusal.__class__.__name__}: {refusal}"


def fold(events: Sequence[GoalEvent], goals: Goals | None = None) -> Goals:
    goals = goals or Goals()
    for event in events:
        evolve(goals, event, goals.version)
    return goals


def lived(history: Sequence[Command]) -> Iterator[tuple[Goals, Command]]:
    """Each command with the goals that it meets. What it causes is folded when the next one is asked for."""
    goals = Goals()
    for command in history:
        yield goals, command
        caused = outcome(goals, command)
        if not isinstance(caused, str):
            fold(caused, goals)


def events_of(history: Sequence[Command]) -> list[GoalEvent]:
    events: list[GoalEvent] = []
    for goals, command in lived(history):
        caused = outcome(goals, command)
        events += () if isinstance(caused, str) else caused
    return events


def live(goals: Goals) -> dict[str, tuple[str | None, str]]:
    return {goal.id: (goal.parent_id, goal.rank) for goal in goals.known.values() if goal.root is None}


def assert_forest(goals: Goals) -> None:
    known = goals.known.values()
    under: dict[str | None, list[tuple[str, str]]] = {}
    for goal in known:
        under.setdefault(goal.parent_id, []).append((goal.rank, goal.id))
        if goal.root is None and goal.parent_id is not None:
            assert goals.known[goal.parent_id].root is None, "a goal's parent is there as long as it is"
        assert len(list(islice(goals.lineage(goal), len(known) + 1))) <= len(known), "no cycle"

    assert {parent: siblings for parent, siblings in goals.siblings.items() if siblings} == {
        parent: sorted(siblings) for parent, siblings in under.items()
    }
    assert all(len({rank for rank, _ in siblings}) == len(siblings) for siblings in under.values()), "unique ranks"


@law
@given(histories)
def test_deciding_is_pure(history: list[Command]) -> None:
    for goals, command in lived(history):
        before, seen = copy.deepcopy(goals), msgspec.msgpack.encode(goals)

        assert outcome(goals, command) == outcome(goals, command) == outcome(before, command)
        assert goals == before
        assert msgspec.msgpack.encode(goals) == seen


@law
@given(histories)
def test_what_is_accepted_can_be_recorded_read_and_folded(history: list[Command]) -> None:
    goals = Goals()

    for version, event in enumerate(events_of(history), 1):
        read = decode(event.__class__.__name__, encode(event))
        assert read == event
        evolve(goals, event, version)
        assert goals.version == version
        spaced = isinstance(event, GoalMoved) and event.spaced
        assert (goals.known[subject_of(event) or ""].updated_at == version) != spaced


@law
@given(histories, st.integers(0, 60))
def test_folding_in_two_parts_equals_folding_at_once(history: list[Command], cut: int) -> None:
    events = events_of(history)

    first = copy.deepcopy(fold(events[:cut]))
    assert fold(events[cut:], first) == fold(events)


@law
@given(histories, st.integers(0, 60))
def test_what_was_only_tried_is_taken_back_whatever_it_was(history: list[Command], cut: int) -> None:
    events = events_of(history)
    goals = fold(events[:cut])
    before = copy.deepcopy(goals)

    trial = Trial(goals)
    for event in events[cut:]:
        trial.evolve(event, goals.version)
    assert goals == fold(events)
    trial.take_back()

    assert (goals.version, goals.known, goals.text) == (before.version, before.known, before.text)
    for found, expected in ((goals.siblings, before.siblings), (goals.living, before.living)):
        assert {key: value for key, value in found.items() if value} == {
            key: value for key, value in expected.items() if value
        }
    assert fold(events[cut:], goals) == fold(events)


@law
@given(histories)
def test_a_goal_is_below_another_one_if_that_is_above_it(history: list[Command]) -> None:
    goals = fold(events_of(history))
    there = [goal for goal in goals.known.values() if goal.root is None]

    for goal in there:
        above = list(goals.lineage(goal))
        assert [other for other in there if goals.is_below(goal, other)] == [one for one in there if one in above]


@law
@given(histories)
def test_goals_are_a_forest_after_every_event(history: list[Command]) -> None:
    goals = Goals()

    for event in events_of(history):
        fold([event], goals)
        assert_forest(goals)


@law
@given(histories)
def test_what_is_counted_for_limits_is_what_there_is(history: list[Command]) -> None:
    goals = Goals()

    for event in events_of(history):
        fold([event], goals)
        there = Counter(goal.parent_id for goal in goals.known.values() if goal.root is None)
        assert {parent: living for parent, living in goals.living.items() if living} == there
        texts = (text or "" for goal in goals.known.values() for text in (goal.name, goal.description))
        assert goals.text == sum(len(text.encode()) for text in texts)


@law
@given(histories, st.builds(limited, goals=st.integers(1, 8), children=st.integers(1, 4), text=st.integers(1, 60)))
def test_no_history_leads_beyond_a_limit(history: list[Command], limits: Limits) -> None:
    goals = Goals()

    for command in history:
        try:
            fold(decide(goals, command, NOW, limits), goals)
        except Rejected:
            continue
        assert len(goals.known) <= limits.goals
        assert max(goals.living.values()) <= limits.children
        assert goals.text <= limits.text


@law
@given(histories)
def test_what_a_deletion_removed_hangs_together_until_it_is_restored(history: list[Command]) -> None:
    for goals, _ in lived(history):
        for goal in goals.known.values():
            if goal.root not in (None, goal.id):
                assert goals.known[goal.parent_id or ""].root == goal.root


@law
@given(histories)
def test_restoring_a_root_brings_back_what_its_deletion_removed_and_nothing_did_before(history: list[Command]) -> None:
    removed: dict[str, set[str]] = {}

    for goals, command in lived(history):
        caused = outcome(goals, command)
        events = () if isinstance(caused, str) else caused
        back = {event.goal_id for event in events if isinstance(event, GoalRestored)}
        for event in events:
            if isinstance(event, GoalDeleted):
                removed.setdefault(event.root, set()).add(event.goal_id)
        if isinstance(command, RestoreGoal) and back:
            goal = goals.known[str(command.goal)]
            deletion = removed[goal.root or ""]
            assert goal.id in back <= deletion
            if goal.id == goal.root:
                assert back == removed.pop(goal.id)
            else:
                deletion -= back


@law
@given(histories)
def test_a_refused_command_leaves_nothing(history: list[Command]) -> None:
    accepted: list[GoalEvent] = []

    for goals, command in lived(history):
        caused = outcome(goals, command)
        if isinstance(caused, str):
            assert goals == fold(accepted)
        else:
            accepted += caused


@law
@given(histories)
def test_a_command_that_took_effect_has_none_when_it_comes_again(history: list[Command]) -> None:
    for goals, command in lived(history):
        caused = outcome(goals, command)
        # A name may mean another goal by then.
        if isinstance(caused, str) or (not isinstance(command, CreateGoal) and isinstance(command.goal, Named)):
            continue
        again = outcome(fold(caused, copy.deepcopy(goals)), command)
        assert again == () or (isinstance(command, CreateGoal | DeleteGoal) and isinstance(again, str))


@law
@given(histories)
def test_restoring_what_was_just_deleted_brings_all_of_it_back(history: list[Command]) -> None:
    goals = fold(events_of(history))
    before = live(goals)

    for goal_id in before:
        fold(decide(goals, DeleteGoal(goal_id), NOW, LIMITS), goals)
        assert goal_id not in live(goals)
        fold(decide(goals, RestoreGoal(goal_id), NOW, LIMITS), goals)
        assert live(goals) == before
