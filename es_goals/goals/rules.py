"""The rules: `decide` returns the events that a command causes, or refuses by raising a Rejected.

Pure: no clock, no SQL, no HTTP.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import assert_never

from msgspec import UNSET

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalEvent,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    instant,
)
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    GoalExists,
    GoalNotFound,
    LimitReached,
    Limits,
    MoveGoal,
    NameTaken,
    NotASibling,
    NotTheRoot,
    ParentDeleted,
    ReopenGoal,
    RestoreGoal,
    UnderItself,
    Undo,
)
from es_goals.goals.ranks import LONGEST, between, spaced
from es_goals.goals.spacing import spacing
from es_goals.goals.state import Goal, Goals
from es_goals.goals.undo import undone
from es_goals.values import InvalidValue, refuse_controls, utf8_size, valid_name

FIRST_YEAR = 1900
_LINES = frozenset("\t\n\r")


def decide(goals: Goals, command: Command | Undo, now: datetime, limits: Limits) -> tuple[GoalEvent, ...]:
    """The events that the command causes, none if it would change nothing. Raises Rejected."""
    match command:
        case CreateGoal():
            return _create(goals, command, now, limits)
        case ChangeGoal():
            return _change(goals, goals.find(command.goal, length=limits.name), command, limits)
        case CompleteGoal():
            return tuple(_completions(goals, goals.find(command.goal, length=limits.name), command, now))
        case ReopenGoal():
            goal = goals.find(command.goal, length=limits.name)
            return () if goal.end is None else (GoalReopened(goal.id),)
        case MoveGoal():
            return _move(goals, goals.find(command.goal, length=limits.name), command, limits)
        case DeleteGoal():
            root = goals.find(command.goal, length=limits.name)
            removed = [GoalDeleted(goal.id, root.id) for goal in goals.below(root)]
            return tuple(reversed(removed))
        case RestoreGoal():
            return _restore(goals, command, limits)
        case Undo():
            return undone(goals, command, limits)
        case _:
            assert_never(command)


def _create(goals: Goals, command: CreateGoal, now: datetime, limits: Limits) -> tuple[GoalEvent, ...]:
    if command.goal_id in goals.known:
        raise GoalExists(command.goal_id)
    name = valid_name(command.name, limits.name)
    if command.unique and any(goal.name == name and goal.root is None for goal in goals.known.values()):
        raise NameTaken(name)
    if len(goals.known) >= limits.goals:
        raise LimitReached(f"{limits.goals} goals of one user, deleted ones too", len(goals.known) + 1)
    parent_id = None if command.parent is None else goals.find(command.parent, "parent_id", length=limits.name).id
    _one_more(goals, parent_id, limits)
    room, rank = _room(goals, parent_id, *_gap(goals, parent_id, command.before, command.after))
    created = GoalCreated(
        command.goal_id,
        name,
        instant(now) if command.start is None else _valid_time(command.start, "start"),
        rank,
        parent_id,
        None if command.description is None else _valid_description(command.description, limits.description),
        None if command.due is None else _valid_time(command.due, "due"),
    )
    _more_text(goals, utf8_size(name) + utf8_size(created.description), limits)
    return *room, created


def _one_more(goals: Goals, parent_id: str | None, limits: Limits) -> None:
    living = goals.living.get(parent_id, 0)
    if living >= limits.children:
        place = "at the top" if parent_id is None else "under one parent"
        raise LimitReached(f"{limits.children} goals {place}", living + 1, "parent_id")


def _more_text(goals: Goals, more: int, limits: Limits) -> None:
    # What does not grow is let through, also where the limit was lowered meanwhile.
    if more > 0 and goals.text + more > limits.text:
        names = f"{limits.text} bytes of names and descriptions of one user's goals"
        raise LimitReached(names, goals.text + more)


def _change(goals: Goals, goal: Goal, command: ChangeGoal, limits: Limits) -> tuple[GoalEvent, ...]:
    changes = tuple(_changes(goal, command, limits))
    more = 0
    for change in changes:
        if isinstance(change, GoalRenamed):
            more += utf8_size(change.name) - utf8_size(goal.name)
        elif isinstance(change, GoalDescribed):
            more += utf8_size(change.description) - utf8_size(goal.description)
    _more_text(goals, more, limits)
    return changes


def _changes(goal: Goal, command: ChangeGoal, limits: Limits) -> Iterator[GoalEvent]:
    name = goal.name if command.name is UNSET else valid_name(command.name, limits.name)
    if name != goal.name:
        yield GoalRenamed(goal.id, name)
    description = goal.description if command.description is UNSET else command.description
    if description != goal.description:
        yield GoalDescribed(goal.id, description and _valid_description(description, limits.description))
    start = goal.start if command.start is UNSET else _valid_time(command.start, "start")
    due = goal.due
    if command.due is not UNSET:
        due = None if command.due is None else _valid_time(command.due, "due")
    if start != goal.start and goal.end is not None and _time(goal.end) < _time(start):
        raise InvalidValue("start", f"a start no later than the goal's end, {goal.end}", start)
    if (start, due) != (goal.start, goal.due):
        yield GoalScheduled(goal.id, start, due)


def _completions(goals: Goals, root: Goal, command: CompleteGoal, now: datetime) -> Iterator[GoalEvent]:
    end = None if command.end is None else _valid_time(command.end, "end")
    reached = list(goals.below(root))[::-1] if command.cascade else [root]
    for goal in reached:
        if goal.end is not None:
            continue
        start = _time(goal.start)
        if end is not None and _time(end) < start:
            if goal.start != instant(goal.created_at):
                raise InvalidValue("end", f"an end no earlier than the start of {goal.id}, {goal.start}", end)
            # Nobody gave this start, so it is not held against who gave the end.
            yield GoalScheduled(goal.id, end, goal.due)
        yield GoalCompleted(goal.id, end or instant(max(now, start)))


def _move(goals: Goals, goal: Goal, command: MoveGoal, limits: Limits) -> tuple[GoalMoved, ...]:
    parent_id = goal.parent_id if command.parent_id is UNSET else command.parent_id
    if parent_id is not None and parent_id != goal.parent_id:
        parent = goals.get(parent_id, "parent_id")
        if goals.is_below(parent, goal):
            raise UnderItself(goals.path(parent))
    if parent_id != goal.parent_id:
        _one_more(goals, parent_id, limits)
    low, high = _gap(goals, parent_id, command.before, command.after, goal)
    if parent_id == goal.parent_id and high - low > 1:
        return ()
    room, rank = _room(goals, parent_id, low, high, goal)
    return *room, GoalMoved(goal.id, rank, parent_id)


def _gap(
    goals: Goals, parent_id: str | None, before: str | None, after: str | None, moving: Goal | None = None
) -> tuple[int, int]:
    """Where the siblings are between which a goal comes, last if none is named; the one that moves does not count, but
    may be between them."""
    if before is not None and after is not None:
        raise InvalidValue("after", "one of before and after", "both")
    siblings = goals.siblings.get(parent_id, [])
    low, high = len(siblings) - 1, len(siblings)
    if before is not None:
        high = _index(goals, siblings, parent_id, before, "before", moving)
        low = high - 1
    elif after is not None:
        low = _index(goals, siblings, parent_id, after, "after", moving)
        high = low + 1
    if moving is not None:
        low -= low >= 0 and siblings[low][1] == moving.id
        high += high < len(siblings) and siblings[high][1] == moving.id
    return low, high


def _index(
    goals: Goals,
    siblings: list[tuple[str, str]],
    parent_id: str | None,
    goal_id: str,
    field: str,
    moving: Goal | None,
) -> int:
    sibling = goals.known.get(goal_id)
    if sibling is None or sibling.root is not None or sibling.parent_id != parent_id or sibling is moving:
        place = "at the top" if parent_id is None else f"under {parent_id}"
        raise NotASibling(field, f"another goal {place}", goal_id)
    return bisect_left(siblings, (sibling.rank, sibling.id))


def _room(
    goals: Goals, parent_id: str | None, low: int, high: int, moving: Goal | None = None
) -> tuple[tuple[GoalMoved, ...], str]:
    """A rank between those of two siblings, and what makes room for it where there is none."""
    siblings = goals.siblings.get(parent_id, [])
    rank = between(siblings[low][0] if low >= 0 else None, siblings[high][0] if high < len(siblings) else None)
    if rank is not None:
        return (), rank
    others = [one for one in siblings if moving is None or one[1] != moving.id]
    place = others.index(siblings[high])
    first, ranks = spaced([rank for rank, _ in others], place)
    rank = ranks.pop(place - first)
    return spacing(parent_id, others[first : first + len(ranks)], ranks), rank


def _restore(goals: Goals, command: RestoreGoal, limits: Limits) -> tuple[GoalEvent, ...]:
    goal = goals.known.get(command.goal) if isinstance(command.goal, str) else None
    if goal is None:
        raise GoalNotFound(command.goal)
    if goal.root is None:
        return ()
    if goal.root != goal.id and not command.only:
        raise NotTheRoot(goal.root)
    members = list(goals.below(goal))
    parent_id = goal.parent_id
    if command.parent_id is UNSET or command.parent_id == parent_id:
        if parent_id is not None and goals.known[parent_id].root is not None:
            raise ParentDeleted(parent_id)
        room, ranks = _shortened(goals, members)
    else:
        parent_id = None if command.parent_id is None else goals.get(command.parent_id, "parent_id").id
        room, ranks = _shortened(goals, members[1:])
        last, ranks[goal.id] = _room(goals, parent_id, *_gap(goals, parent_id, None, None))
        room += last
    _one_more(goals, parent_id, limits)
    rest = (GoalRestored(one.id, ranks.get(one.id, one.rank), one.parent_id) for one in members[1:])
    return *room, GoalRestored(goal.id, ranks.get(goal.id, goal.rank), parent_id), *rest


def _shortened(goals: Goals, members: Sequence[Goal]) -> tuple[list[GoalMoved], dict[str, str]]:
    """Other ranks for goals that come back to places that an old log gave too long a rank, and what makes room."""
    room: list[GoalMoved] = []
    shorter: dict[str, str] = {}
    back = {goal.id for goal in members}
    for parent_id in dict.fromkeys(goal.parent_id for goal in members if len(goal.rank) > LONGEST):
        siblings = goals.siblings[parent_id]
        ranks = [rank for rank, _ in siblings]
        for place, (_, goal_id) in enumerate(siblings):
            if goal_id in back and len(ranks[place]) > LONGEST:
                first, fresh = spaced(ranks[:place] + ranks[place + 1 :], place)
                ranks[first : first + len(fresh)] = fresh
        shorter |= {goal_id: rank for (_, goal_id), rank in zip(siblings, ranks, strict=True) if goal_id in back}
        room += spacing(parent_id, siblings, ranks, but=back)
    return room, shorter


def _valid_description(text: str, length: int) -> str:
    if len(text) > length:
        raise InvalidValue("description", f"at most {length} characters", f"{len(text)}")
    refuse_controls("description", text, allowed=_LINES)
    return text


def _valid_time(value: datetime, field: str) -> Instant:
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        raise InvalidValue(field, "a year from 1900 to 9999 in UTC", value.isoformat()) from None
    if utc.year < FIRST_YEAR:
        raise InvalidValue(field, "a year from 1900 to 9999 in UTC", value.isoformat())
    return instant(utc)


def _time(value: Instant) -> datetime:
    return datetime.fromisoformat(value)
