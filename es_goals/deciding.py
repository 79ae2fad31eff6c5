"""What a request causes: each of its commands decided on what those before it left behind, or all refused."""

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, structs

from es_goals.events import GoalCompleted, GoalCreated, GoalEvent, GoalScheduled, Instant, instant, moment
from es_goals.goals.commands import (
    Command,
    CreateGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    Limits,
    RestoreGoal,
    Undo,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, Trial
from es_goals.storage.deadlines import Deadline
from es_goals.storage.errors import Interrupted
from es_goals.storage.log import Cause, Reader, Transaction
from es_goals.values import Rejected


class Changed(Exception):
    """The goal, or the user's goals, are not at the revision that the client named."""


class RejectedAt(Exception):
    """One of several commands was refused, and with it all. `index` tells which, `error` why."""

    def __init__(self, index: int, error: Rejected) -> None:
        super().__init__(str(error))
        self.index, self.error = index, error


class Expected(Struct, frozen=True):
    """What the client last saw: any of these revisions of a goal, or versions of all the user's goals (`goal_id` None);
    `any_of` None: whichever. And which it must not be."""

    goal_id: str | None
    any_of: frozenset[int] | None
    none_of: frozenset[int] = frozenset()


class Decider(Protocol):
    """Decides the commands of a request itself, and keeps what it has to with what they cause."""

    def decide(self, log: Reader, trial: Trial, at: int, deadline: Deadline) -> list[GoalEvent]:
        """Return what the commands cause at the time `at` (µs), tried on the goals, which are as of the log's end.
        `log`: the transaction, or where nothing is recorded yet the log. Raises what refuses them all, Interrupted at
        the deadline."""

    def recorded(self, transaction: Transaction, position: int) -> None:
        """Called behind the append, in its transaction; `position`: of the user's last event. Raises what refuses them
        by now."""


class Request(Struct, frozen=True):
    """Commands of one user, recorded all or none under one command id. `key` and `digest` are the client's
    Idempotency-Key and the SHA-256 of its request. `batch`: a refusal tells which command it is about, also where there
    is one only. `shown`: the goals are answered. `decider`: what decides them as a batch, if not the rules alone."""

    user_id: str
    commands: Sequence[Command | Undo]
    cause: Cause
    key: str | None = None
    digest: bytes = b""
    expected: Expected | None = None
    batch: bool = False
    shown: bool = True
    decider: Decider | None = None

    @property
    def several(self) -> bool:
        """Whether it is a batch, or has more commands than one."""
        return self.batch or len(self.commands) > 1

    @property
    def size(self) -> int:
        """How much there is to decide: commands, and of an undo goals."""
        return sum(len(one.reversals) if isinstance(one, Undo) else 1 for one in self.commands)

    @property
    def brought(self) -> list[str]:
        """The ids that the client gave to new goals."""
        return [one.goal_id for one in self.commands if isinstance(one, CreateGoal) and one.brought]


class Bounds(Struct, frozen=True):
    """What one user may have, and how many events a request may cause."""

    limits: Limits
    events: int


def expect_seen(goals: Goals, request: Request) -> None:
    """Raises Changed, GoalNotFound: the client saw something else."""
    expected = request.expected
    if expected is None:
        return
    found = goals.version
    if expected.goal_id is not None:
        goal = goals.known.get(expected.goal_id)
        restored = isinstance(request.commands[0], RestoreGoal)
        if goal is None or (goal.root is not None and not restored):
            raise GoalNotFound(expected.goal_id)
        found = goal.revision
    what = "the user's goals at version" if expected.goal_id is None else "the goal at revision"
    if found in expected.none_of:
        raise Changed(f"expected {what} other than {found}; found that")
    if expected.any_of is not None and found not in expected.any_of:
        named = " or ".join(str(one) for one in sorted(expected.any_of)) or "one that was never answered"
        raise Changed(f"expected {what} {named}; found {found}")


def decided(
    trial: Trial, request: Request, at: int, bounds: Bounds, taken: Container[str], deadline: Deadline
) -> list[GoalEvent]:
    """What all commands cause at `at` (µs), tried on the goals where there are several. `taken`: those of the ids that
    clients brought which some goal has. Raises Rejected, RejectedAt, Interrupted; the goals are as before then."""
    now = moment(at)
    if not request.several:
        return list(_caused(trial.goals, request.commands[0], now, bounds, taken, 0))
    events: list[GoalEvent] = []
    try:
        for index, command in enumerate(request.commands):
            if deadline.expired():
                found = f"found {index} decided, and recorded none"
                raise Interrupted(f"expected all commands to be decided in time; {found}")
            try:
                caused = _caused(trial.goals, command, now, bounds, taken, len(events))
            except Rejected as error:
                raise RejectedAt(index, error) from error
            for event in caused:
                trial.evolve(event, at)
            events += caused
    except BaseException:
        trial.take_back()
        raise
    return events


def _caused(
    goals: Goals, command: Command | Undo, now: datetime, bounds: Bounds, taken: Container[str], before: int
) -> tuple[GoalEvent, ...]:
    if isinstance(command, CreateGoal) and command.goal_id in taken:
        raise GoalExists(command.goal_id)
    caused = decide(goals, command, now, bounds.limits)
    if before + len(caused) > bounds.events:
        raise LimitReached(f"{bounds.events} events of one request", before + len(caused))
    return caused


class Prepared(Struct, frozen=True):
    """A request's events, decided at the time `at` (µs) on the user's goals at a version."""

    events: list[GoalEvent]
    version: int
    at: int

    def at_time(self, at: int) -> list[GoalEvent] | None:
        """The same as if they were decided later: what began or ended then, since nobody said when, does so now. None
        where a time that somebody gave has come meanwhile, which may make a difference."""
        then, now = moment(self.at), moment(at)
        given = (time for event in self.events if (time := _time_of(event)) is not None and time != instant(then))
        if any(then < datetime.fromisoformat(time) <= now for time in given):
            return None
        return [_moved(event, instant(then), instant(now)) for event in self.events]


def _time_of(event: GoalEvent) -> Instant | None:
    if event.undoes is not None:
        return None  # it brings back a time, whatever that was
    if isinstance(event, GoalCreated | GoalScheduled):
        return event.start
    return event.end if isinstance(event, GoalCompleted) else None


def _moved(event: GoalEvent, then: Instant, now: Instant) -> GoalEvent:
    if event.undoes is not None:
        return event
    if isinstance(event, GoalCreated) and event.start == then:
        return structs.replace(event, start=now)
    if isinstance(event, GoalCompleted) and event.end == then:
        return structs.replace(event, end=now)
    return event


def taken_again(request: Request, goal_id: str) -> GoalExists | RejectedAt:
    """The refusal of a goal whose id somebody had before."""
    error = GoalExists(goal_id)
    if not request.several:
        return error
    made = [one.goal_id if isinstance(one, CreateGoal) else None for one in request.commands]
    return RejectedAt(made.index(goal_id), error)
