"""Undo on a real log, on both engines: finding commands, the histories of their goals, and what is in the way."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from es_goals import undoing
from es_goals.deciding import Request
from es_goals.events import GoalEvent, decode, encode, goals_stream
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CreateGoal,
    DeleteGoal,
    InTheWay,
    LimitReached,
    Limits,
    MoveGoal,
    Undo,
)
from es_goals.goals.state import Goals, evolve
from es_goals.ids import Uuid7, wall_clock
from es_goals.reads.pool import FairPool
from es_goals.service import Outcome, Service
from es_goals.storage.deadlines import NEVER, Deadline
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Cause, Log, all_lines
from es_goals.undoing import Blocked, Chosen, CommandNotFound
from es_goals.values import InvalidValue
from tests.rules.test_goals_properties import histories
from tests.rules.test_undo_properties import lived, picks, sizes
from tests.support.engines import Engine, HandClock
from tests.support.histories import register
from tests.support.limits import EVENTS_LIMIT, LIMITS, limited
from tests.support.pasts import Past, tree

new_id = Uuid7(wall_clock)


class Undoer:
    """A service on a log, and its undos."""

    def __init__(self, log: Log, service: Service, pool: FairPool, limits: Limits) -> None:
        self.log, self.service, self.pool, self.limits = log, service, pool, limits

    def do(self, user: str, *commands: Command) -> Outcome:
        """Record some commands under one id."""
        return asyncio.run(self._send(user, commands))

    async def _send(self, user: str, commands: Sequence[Command | Undo]) -> Outcome:
        return await self.service.execute(Request(user, commands, Cause(new_id(), user), batch=len(commands) > 1))

    def undo(self, user: str, chosen: Chosen, deadline: Deadline = NEVER) -> Outcome:
        """Undo what is chosen. Raises what undoing raises."""
        return asyncio.run(self.undoing(user, chosen, deadline))

    async def undoing(self, user: str, chosen: Chosen, deadline: Deadline = NEVER) -> Outcome:
        """The same, in an event loop."""

        async def send(undos: Sequence[Undo]) -> Outcome:
            return await self._send(user, undos)

        found = await undoing.undo(self.log, self.pool, self.limits, user, chosen, send, deadline, user)
        return found[1]

    def goals(self, user: str) -> Goals:
        """A user's, from the log."""
        goals = Goals()
        for line in all_lines(self.log, stream=goals_stream(user)):
            evolve(goals, cast(GoalEvent, line.event), line.at)
        return goals


@contextmanager
def serving(log: Log, limits: Limits = LIMITS) -> Iterator[Undoer]:
    with FairPool(2) as pool:
        service = Service(log, pool, 2**30, limits, EVENTS_LIMIT)
        try:
            yield Undoer(log, service, pool, limits)
        finally:
            service.close()


@pytest.fixture
def log(engine: Engine) -> Log:
    return engine.open(HandClock(wall_clock())).log


@pytest.fixture
def undoer(log: Log) -> Iterator[Undoer]:
    with serving(log) as undoer:
        yield undoer


def renamed(event: GoalEvent, user: str, ids: Mapping[str, tuple[str, int]]) -> GoalEvent:
    """The event, about a goal of this user's, since an id is given once, and of what has these ids now."""
    data = re.sub(rb'"(g\d+)"', rb'"%b-\1"' % user.encode(), encode(event))
    read = cast(GoalEvent, decode(type(event).__name__, data))
    return read if read.undoes is None else structs.replace(read, undoes=ids[read.undoes][0])


def recorded(log: Log, user: str, past: Past) -> dict[str, tuple[str, int]]:
    """A past as a user's log; returns the id and the last position of each command."""
    found, version = dict[str, tuple[str, int]](), 0
    with log.writing() as transaction:
        for command in past.commands:
            events = [renamed(event, user, found) for event in past.events(command)]
            lines = transaction.append(goals_stream(user), version, events, Cause(new_id(), user))
            found[command] = (lines[-1].command, lines[-1].position)
            version += len(events)
    return found


on_engines = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@on_engines
@given(histories, sizes, picks, st.lists(st.integers(0, 99), min_size=1, max_size=3), st.booleans())
def test_what_is_read_from_a_log_is_undone_as_by_the_rules_alone(
    undoer: Undoer, history: list[Command], sizes: list[int], picks: list[int], chosen: list[int], by_id: bool
) -> None:
    past, user = lived(history, sizes, picks), new_id()
    ids = recorded(undoer.log, user, past)
    commands = sorted({past.commands[pick % len(past.commands)] for pick in chosen})
    wanted = Chosen(commands=[ids[one][0] for one in commands])
    if len(commands) == 1 and not by_id:
        wanted = Chosen(ids[commands[0]][1])
    before = tree(undoer.goals(user))

    expected = undo_of(past, commands)
    if isinstance(expected, InTheWay):
        refusal = blocked(undoer, user, wanted)
        assert [one.block.field for one in refusal.blockers] == [one.field for one in expected.blocked[:20]]
        assert tree(undoer.goals(user)) == before
        if refusal.commands is not None:
            undoer.undo(user, Chosen(commands=refusal.commands))
        return
    outcome = undoer.undo(user, wanted)
    undone = tree(undoer.goals(user))
    assert [goal_id.removeprefix(f"{user}-") for goal_id in undone] == list(past.tree())
    if len(commands) == 1:
        assert not undoer.undo(user, wanted).events
    if outcome.command is not None:
        redo = undoer.undo(user, Chosen(commands=[outcome.command]))
        assert tree(undoer.goals(user)) == before
        undoer.undo(user, Chosen(redo.position))
        assert tree(undoer.goals(user)) == undone


def undo_of(past: Past, commands: Sequence[str]) -> str | InTheWay | None:
    """What undoing comes to by the rules alone."""
    try:
        return past.undo(*commands)
    except InTheWay as refusal:
        return refusal


def blocked(undoer: Undoer, user: str, chosen: Chosen) -> Blocked:
    with pytest.raises(Blocked) as refusal:
        undoer.undo(user, chosen)
    return refusal.value


def test_a_refused_undo_records_nothing_and_harms_no_other_command_of_the_batch(undoer: Undoer) -> None:
    undoer.do("ann", CreateGoal("a", "a"), CreateGoal("b", "b"))
    first = undoer.do("ann", ChangeGoal("a", name="x"))
    undoer.do("ann", ChangeGoal("a", name="y"))
    free = undoer.do("ann", ChangeGoal("b", name="z"))

    async def at_once() -> list[Any]:
        refused = [undoer.undoing("ann", Chosen(first.position)) for _ in range(3)]
        others = [undoer._send(user, [CreateGoal(f"of {user}", user)]) for user in ("ann", "bob")]
        return await asyncio.gather(
            *refused, *others, undoer.undoing("ann", Chosen(free.position)), return_exceptions=True
        )

    answers = asyncio.run(at_once())

    assert [type(answer) for answer in answers] == [Blocked] * 3 + [Outcome] * 3
    assert undoer.log.head().position == free.position + 3
    assert undoer.goals("ann").known["a"].name == "y"
    assert undoer.goals("ann").known["b"].name == "b"


def test_commands_that_were_undone_together_leave_nothing_to_undo(undoer: Undoer) -> None:
    undoer.do("ann", CreateGoal("a", "a"))
    first, second = undoer.do("ann", ChangeGoal("a", name="x")), undoer.do("ann", ChangeGoal("a", name="y"))
    both = Chosen(commands=[str(first.command), str(second.command)])
    undone = undoer.undo("ann", both)
    assert undone.events == 2

    for chosen in (both, Chosen(first.position), Chosen(second.position)):
        again = undoer.undo("ann", chosen)
        assert (again.command, again.events) == (None, 0)
    assert undoer.log.head().position == undone.position


def test_where_a_limit_is_in_the_way_nothing_could_be_undone_instead(log: Log) -> None:
    with serving(log, limited(children=2)) as undoer:
        undoer.do("ann", CreateGoal("a", "a"), CreateGoal("b", "b"))
        deleted = undoer.do("ann", DeleteGoal("a"))
        undoer.do("ann", CreateGoal("c", "c"))

        refusal = blocked(undoer, "ann", Chosen(deleted.position))

        assert (refusal.blockers[0].block.field, refusal.blockers[0].by, refusal.commands) == ("limit", None, None)


def test_at_most_twenty_blockers_are_named_and_a_hundred_commands_told(undoer: Undoer) -> None:
    made = undoer.do("ann", *[CreateGoal(f"g{n}", "x") for n in range(110)])
    later = [undoer.do("ann", ChangeGoal(f"g{n}", name="y")) for n in range(99)]

    refusal = blocked(undoer, "ann", Chosen(made.position))
    assert (len(refusal.blockers), refusal.count) == (20, 99)
    assert refusal.commands == [*(one.command for one in later[::-1]), made.command]

    undoer.do("ann", ChangeGoal("g100", name="y"))
    refusal = blocked(undoer, "ann", Chosen(made.position))
    assert (refusal.count, refusal.commands) == (100, None)


def test_who_moved_the_old_parent_under_the_goal_is_told(undoer: Undoer) -> None:
    undoer.do("ann", CreateGoal("o", "o"), CreateGoal("x", "x", "o"), CreateGoal("p", "p"), CreateGoal("m", "m", "x"))
    first = undoer.do("ann", MoveGoal("x", "p"))
    guilty = undoer.do("ann", MoveGoal("o", "m"))
    undoer.do("ann", ChangeGoal("o", name="later"))

    refusal = blocked(undoer, "ann", Chosen(first.position))

    assert refusal.blockers[0].by is not None
    assert refusal.blockers[0].by.position == guilty.position
    assert (
        str(refusal)
        == f"expected the goal that “x” was under to be there; found it under this goal, by position {guilty.position}"
    )
    assert refusal.commands == [guilty.command, first.command]


def test_a_change_of_due_alone_is_not_to_blame_for_the_start(undoer: Undoer) -> None:
    start, later, due = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (1, 2, 3))
    undoer.do("ann", CreateGoal("a", "a"))
    first = undoer.do("ann", ChangeGoal("a", start=start))
    second = undoer.do("ann", ChangeGoal("a", start=later))
    undoer.do("ann", ChangeGoal("a", due=due))

    refusal = blocked(undoer, "ann", Chosen(first.position))

    assert refusal.blockers[0].by is not None
    assert refusal.blockers[0].by.position == second.position


@pytest.mark.parametrize("command", ["command-1", "01990000-0000-7000-8000-000000000000", "", "x" * 36])
def test_an_unknown_id_is_not_found(undoer: Undoer, command: str) -> None:
    undoer.do("ann", CreateGoal("a", "a"))

    with pytest.raises(CommandNotFound):
        undoer.undo("ann", Chosen(commands=[command]))


def test_another_users_command_and_an_accounts_fact_are_not_found(undoer: Undoer) -> None:
    theirs = undoer.do("bob", CreateGoal("b", "b"))
    register(undoer.log, "ann")
    undoer.do("ann", CreateGoal("a", "a"))

    for chosen in (Chosen(theirs.position), Chosen(theirs.position + 1), Chosen(commands=[str(theirs.command)])):
        with pytest.raises(CommandNotFound):
            undoer.undo("ann", chosen)


def test_a_position_beyond_the_head_is_an_invalid_value(undoer: Undoer) -> None:
    made = undoer.do("ann", CreateGoal("a", "a"))

    with pytest.raises(InvalidValue, match=f"a position up to the head, {made.position}"):
        undoer.undo("ann", Chosen(made.position + 1))


def test_a_command_is_found_from_each_of_its_positions_and_no_neighbour_with_it(undoer: Undoer) -> None:
    undoer.do("bob", CreateGoal("b0", "b"))
    undoer.do("ann", CreateGoal("a", "a"))
    made = undoer.do("ann", *[CreateGoal(f"g{n}", "x") for n in range(300)])
    undoer.do("ann", CreateGoal("z", "z"))

    for position in (made.position - 299, made.position - 150, made.position):
        undone = undoer.undo("ann", Chosen(position))
        assert undone.events == 300
        undoer.undo("ann", Chosen(undone.position))


def test_the_latest_command_that_is_not_undone_is_the_one_before_those_that_are(undoer: Undoer) -> None:
    assert undoing.latest(undoer.log, "ann") is None
    first = undoer.do("ann", CreateGoal("a", "a"))
    second = undoer.do("ann", ChangeGoal("a", name="b"))

    assert undoing.latest(undoer.log, "ann") == second.command
    undone = undoer.undo("ann", Chosen(second.position))
    assert undoing.latest(undoer.log, "ann") == first.command
    redone = undoer.undo("ann", Chosen(undone.position))
    assert undoing.latest(undoer.log, "ann") == second.command
    undoer.undo("ann", Chosen(redone.position))
    undoer.undo("ann", Chosen(first.position))
    assert undoing.latest(undoer.log, "ann") is None


def test_reading_for_an_undo_ends_at_the_deadline(undoer: Undoer) -> None:
    made = undoer.do("ann", *[CreateGoal(f"g{n}", "x") for n in range(2_000)])
    position = undoer.log.head().position

    with pytest.raises(Interrupted):
        undoer.undo("ann", Chosen(made.position), Deadline.after(0.001))
    assert undoer.log.head().position == position


def test_an_undo_that_would_cause_too_many_events_is_refused(log: Log) -> None:
    with serving(log) as undoer:
        made = undoer.do("ann", CreateGoal("a", "a"), CreateGoal("b", "b"))
    with FairPool(1) as pool:
        service = Service(log, pool, 2**30, LIMITS, 1)
        try:
            with pytest.raises(LimitReached, match="at most 1 events of one request"):
                Undoer(log, service, pool, LIMITS).undo("ann", Chosen(made.position))
        finally:
            service.close()
