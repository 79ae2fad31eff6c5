"""The rules: what a user may do to their goals, and what then holds. Pure: no clock, no SQL, no HTTP.

`decide(goals, command, now, limits)` answers the events that a command causes, or refuses by raising a Rejected.
`evolve(goals, event, at)` has no rules and never fails; it changes the Goals it is given, which its fold owns.
"""

import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Self, assert_never

from msgspec import UNSET, Struct, UnsetType, field

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
from es_goals.names import composed
from es_goals.ranks import between

FIRST_YEAR = 1900
MATCHES_NAMED = 20
_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINES = frozenset("\t\n\r")


class Limits(Struct, frozen=True):
    """How much there may be: characters of a name and of a description; of one user: goals ever made, deleted ones too
    since they can be restored; living goals under one parent, or at the top; characters of all names and descriptions
    together."""

    name: int = 200
    description: int = 16_384
    goals: int = 100_000
    children: int = 20_000
    text: int = 20_000_000

    @classmethod
    def of(cls, settings: object) -> Self:
        """As settings have them, each with `_limit` behind its name."""
        return cls(*(getattr(settings, f"{name}_limit") for name in cls.__struct_fields__))


DEFAULTS = Limits()


class Named(Struct, frozen=True):
    """A goal meant by its name, as the original API's clients do; looked up inside the decision."""

    name: str


Ref = str | Named


class CreateGoal(Struct, frozen=True):
    """Make a goal. `unique`: refuse a name that the user already has, as the original API did."""

    goal_id: str
    name: str
    parent: Ref | None = None
    description: str | None = None
    start: datetime | None = None
    due: datetime | None = None
    before: str | None = None
    after: str | None = None
    unique: bool = False


class ChangeGoal(Struct, frozen=True):
    """Set what is given; what is UNSET stays."""

    goal: Ref
    name: str | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    start: datetime | UnsetType = UNSET
    due: datetime | None | UnsetType = UNSET


class CompleteGoal(Struct, frozen=True):
    """Reach a goal, and with `cascade` every open one below it."""

    goal: Ref
    end: datetime | None = None
    cascade: bool = False


class ReopenGoal(Struct, frozen=True):
    """Open a completed goal again."""

    goal: Ref


class MoveGoal(Struct, frozen=True):
    """Put a goal under another one (None: at the top; UNSET: where it is), next to a sibling or last."""

    goal: Ref
    parent_id: str | None | UnsetType = UNSET
    before: str | None = None
    after: str | None = None


class DeleteGoal(Struct, frozen=True):
    """Delete a goal and all below it."""

    goal: Ref


class RestoreGoal(Struct, frozen=True):
    """Bring back what deleting this goal removed, under another parent if one is given."""

    goal: Ref
    parent_id: str | None | UnsetType = UNSET


Command = CreateGoal | ChangeGoal | CompleteGoal | ReopenGoal | MoveGoal | DeleteGoal | RestoreGoal


class Rejected(Exception):
    """A rule refuses the command; nothing is recorded. `field` is the command's field at fault."""

    field: str | None = None


class InvalidValue(Rejected):
    """A value breaks a rule for values."""

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.field = field


class LimitReached(Rejected):
    """A user has, or one request would cause, as many as there may be. `field` is at fault where it can be another."""

    def __init__(self, expected: str, found: int, field: str | None = None) -> None:
        super().__init__(f"expected at most {expected}; found {found}")
        self.field = field


class NotASibling(InvalidValue):
    """`before` or `after` names a goal that is not a sibling in that place."""


class GoalNotFound(Rejected):
    """The user has no such goal, or it is deleted."""

    def __init__(self, goal: Ref, field: str = "id") -> None:
        super().__init__(f"expected a goal of this user that is not deleted; found none {_described(goal)}")
        self.field = field


class GoalExists(Rejected):
    """The id was given to a goal before, whoever has it."""

    field = "id"

    def __init__(self, goal_id: str) -> None:
        super().__init__(f"expected an id that no goal ever had; found {goal_id}, which is taken")


class NameTaken(Rejected):
    """The user already has a goal of this name, and the command asked for a unique one."""

    field = "name"

    def __init__(self, name: str) -> None:
        super().__init__(f"expected a name that none of the user's goals has; found {name!r}, which is taken")


class AmbiguousName(Rejected):
    """Several goals have the name. `matches` are ids and paths, of the first ones where there are many."""

    def __init__(self, name: str, count: int, matches: dict[str, str], field: str = "id") -> None:
        listed = "; ".join(f"{goal_id} ({path})" for goal_id, path in matches.items())
        more = ", among them" if count > len(matches) else ""
        super().__init__(f"expected a name that one goal has; found {count} goals named {name!r}{more}: {listed}")
        self.matches = matches
        self.field = "name" if field == "id" else field


class UnderItself(Rejected):
    """A move would put a goal under itself or under one of its descendants."""

    field = "parent_id"

    def __init__(self, path: str) -> None:
        super().__init__(f"expected a parent outside of the goal; found one below it: {path}")


class NotTheRoot(Rejected):
    """A goal was deleted together with one above it; only that one can be restored."""

    def __init__(self, root: str) -> None:
        super().__init__(f"expected the goal whose deletion removed this one; restore {root}")
        self.root = root


class ParentDeleted(Rejected):
    """The goal's old place is gone; a restore must name a new parent."""

    field = "parent_id"

    def __init__(self, parent_id: str) -> None:
        super().__init__(f"expected a parent to restore under; the old one, {parent_id}, is deleted: name a parent_id")


class Goal(Struct, gc=False):
    """One goal as the rules see it. `created_at`, `updated_at`: µs; `root`: set while it is deleted."""

    id: str
    parent_id: str | None
    name: str
    description: str | None
    start: Instant
    due: Instant | None
    rank: str
    created_at: int
    updated_at: int
    end: Instant | None = None
    revision: int = 1
    root: str | None = None


class Goals(Struct):
    """All goals that one user ever had; `version` counts the events folded.

    `siblings` holds (rank, id) in order under each parent, deleted ones too: they keep their places. `living` counts
    those under each parent that are not deleted.
    `removed` holds what each deletion removed, children first.
    `text` counts the characters of all names and descriptions.
    """

    version: int = 0
    known: dict[str, Goal] = field(default_factory=dict)
    siblings: dict[str | None, list[tuple[str, str]]] = field(default_factory=dict)
    removed: dict[str, list[str]] = field(default_factory=dict)
    living: dict[str | None, int] = field(default_factory=dict)
    text: int = 0

    def get(self, goal_id: str, field: str = "id") -> Goal:
        """The goal, unless it is deleted or unknown. Raises GoalNotFound."""
        goal = self.known.get(goal_id)
        if goal is None or goal.root is not None:
            raise GoalNotFound(goal_id, field)
        return goal

    def find(self, ref: Ref, field: str = "id", length: int = DEFAULTS.name) -> Goal:
        """The goal meant by id or by name, of at most `length` characters. Raises GoalNotFound, AmbiguousName."""
        if isinstance(ref, str):
            return self.get(ref, field)
        name = composed(ref.name, length)
        matches = [goal for goal in self.known.values() if goal.name == name and goal.root is None]
        if not matches:
            raise GoalNotFound(ref, field)
        if len(matches) > 1:
            paths = {goal.id: self.path(goal) for goal in matches[:MATCHES_NAMED]}
            raise AmbiguousName(name, len(matches), paths, field)
        return matches[0]

    def below(self, goal: Goal) -> Iterator[Goal]:
        """The goal and those below it that are not deleted, parents first."""
        waiting = [goal]
        while waiting:
            above = waiting.pop()
            yield above
            children = (self.known[goal_id] for _, goal_id in reversed(self.siblings.get(above.id, ())))
            waiting += [child for child in children if child.root is None]

    def lineage(self, goal: Goal) -> Iterator[Goal]:
        """The goal, its parent, and so on to the top."""
        yield goal
        while goal.parent_id is not None:
            goal = self.known[goal.parent_id]
            yield goal

    def path(self, goal: Goal) -> str:
        """Names from the top to the goal; the middle of a long path is left out."""
        names = [above.name for above in self.lineage(goal)][::-1]
        return " / ".join(names if len(names) <= 12 else [*names[:6], "…", *names[-5:]])


def decide(goals: Goals, command: Command, now: datetime, limits: Limits = DEFAULTS) -> tuple[GoalEvent, ...]:
    """The events that the command causes, none if it would change nothing. Raises Rejected."""
    match command:
        case CreateGoal():
            return (_create(goals, command, now, limits),)
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
        case _:
            assert_never(command)


def evolve(goals: Goals, event: GoalEvent, at: int) -> Goals:
    """The goals after the event, recorded at `at` (µs). Changes and answers `goals`."""
    goals.version += 1
    if isinstance(event, GoalCreated):
        # The parent's own string, not its equal: 85 bytes a goal less.
        parent = None if event.parent_id is None else goals.known.get(event.parent_id)
        parent_id = event.parent_id if parent is None else parent.id
        goal = Goal(event.goal_id, parent_id, event.name, event.description, event.start, event.due, event.rank, at, at)
        goals.known[goal.id] = goal
        insort(goals.siblings.setdefault(goal.parent_id, []), (goal.rank, goal.id))
        goals.living[goal.parent_id] = goals.living.get(goal.parent_id, 0) + 1
        goals.text += len(goal.name) + len(goal.description or "")
        return goals
    goal = goals.known[event.goal_id]
    goal.revision += 1
    goal.updated_at = at
    match event:
        case GoalRenamed():
            goals.text += len(event.name) - len(goal.name)
            goal.name = event.name
        case GoalDescribed():
            goals.text += len(event.description or "") - len(goal.description or "")
            goal.description = event.description
        case GoalScheduled():
            goal.start, goal.due = event.start, event.due
        case GoalMoved():
            _place(goals, goal, event.parent_id, event.rank)
        case GoalCompleted():
            goal.end = event.end
        case GoalReopened():
            goal.end = None
        case GoalDeleted():
            goals.living[goal.parent_id] -= goal.root is None
            goal.root = event.root
            goals.removed.setdefault(event.root, []).append(goal.id)
        case GoalRestored():
            if goal.root == goal.id:
                del goals.removed[goal.id]
            goals.living[goal.parent_id] += goal.root is not None
            goal.root = None
            _place(goals, goal, event.parent_id, event.rank)
        case _:
            assert_never(event)
    return goals


def _place(goals: Goals, goal: Goal, parent_id: str | None, rank: str) -> None:
    if (parent_id, rank) == (goal.parent_id, goal.rank):
        return
    old = goals.siblings[goal.parent_id]
    del old[bisect_left(old, (goal.rank, goal.id))]
    goals.living[goal.parent_id] -= goal.root is None
    goals.living[parent_id] = goals.living.get(parent_id, 0) + (goal.root is None)
    goal.parent_id, goal.rank = parent_id, rank
    insort(goals.siblings.setdefault(parent_id, []), (rank, goal.id))


def _create(goals: Goals, command: CreateGoal, now: datetime, limits: Limits) -> GoalCreated:
    if command.goal_id in goals.known:
        raise GoalExists(command.goal_id)
    name = valid_name(command.name, limits.name)
    if command.unique and any(goal.name == name and goal.root is None for goal in goals.known.values()):
        raise NameTaken(name)
    if len(goals.known) >= limits.goals:
        raise LimitReached(f"{limits.goals} goals of one user, deleted ones too", len(goals.known) + 1)
    parent_id = None if command.parent is None else goals.find(command.parent, "parent_id", limits.name).id
    _one_more(goals, parent_id, limits)
    low, high = _gap(goals, parent_id, command.before, command.after, None)
    created = GoalCreated(
        command.goal_id,
        name,
        instant(now) if command.start is None else _valid_time(command.start, "start"),
        between(low, high),
        parent_id,
        None if command.description is None else _valid_description(command.description, limits.description),
        None if command.due is None else _valid_time(command.due, "due"),
    )
    _more_text(goals, len(name) + len(created.description or ""), limits)
    return created


def _one_more(goals: Goals, parent_id: str | None, limits: Limits) -> None:
    living = goals.living.get(parent_id, 0)
    if living >= limits.children:
        place = "at the top" if parent_id is None else "under one parent"
        raise LimitReached(f"{limits.children} goals {place}", living + 1, "parent_id")


def _more_text(goals: Goals, more: int, limits: Limits) -> None:
    # What does not grow is let through, also where the limit was lowered meanwhile.
    if more > 0 and goals.text + more > limits.text:
        names = f"{limits.text} characters of names and descriptions of one user's goals"
        raise LimitReached(names, goals.text + more)


def _change(goals: Goals, goal: Goal, command: ChangeGoal, limits: Limits) -> tuple[GoalEvent, ...]:
    changes = tuple(_changes(goal, command, limits))
    more = 0
    for change in changes:
        if isinstance(change, GoalRenamed):
            more += len(change.name) - len(goal.name)
        elif isinstance(change, GoalDescribed):
            more += len(change.description or "") - len(goal.description or "")
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


def _completions(goals: Goals, root: Goal, command: CompleteGoal, now: datetime) -> Iterator[GoalCompleted]:
    end = None if command.end is None else _valid_time(command.end, "end")
    reached = list(goals.below(root))[::-1] if command.cascade else [root]
    for goal in reached:
        if goal.end is not None:
            continue
        start = _time(goal.start)
        if end is not None and _time(end) < start:
            raise InvalidValue("end", f"an end no earlier than the start of {goal.id}, {goal.start}", end)
        yield GoalCompleted(goal.id, end or instant(max(now, start)))


def _move(goals: Goals, goal: Goal, command: MoveGoal, limits: Limits) -> tuple[GoalMoved, ...]:
    parent_id = goal.parent_id if command.parent_id is UNSET else command.parent_id
    if parent_id is not None and parent_id != goal.parent_id:
        parent = goals.get(parent_id, "parent_id")
        if any(above is goal for above in goals.lineage(parent)):
            raise UnderItself(goals.path(parent))
    if parent_id != goal.parent_id:
        _one_more(goals, parent_id, limits)
    low, high = _gap(goals, parent_id, command.before, command.after, goal)
    stays = (low is None or low < goal.rank) and (high is None or goal.rank < high)
    if parent_id == goal.parent_id and stays:
        return ()
    return (GoalMoved(goal.id, between(low, high), parent_id),)


def _gap(
    goals: Goals, parent_id: str | None, before: str | None, after: str | None, moving: Goal | None
) -> tuple[str | None, str | None]:
    """The ranks between which a goal comes, not counting the one that moves; last where no sibling is named."""
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
    # Nothing fits between equal ranks, which only another program's log can have: step over them.
    while low >= 0 and high < len(siblings) and siblings[low][0] == siblings[high][0]:
        low, high = (low, high + 1) if after is not None else (low - 1, high)
    return siblings[low][0] if low >= 0 else None, siblings[high][0] if high < len(siblings) else None


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


def _restore(goals: Goals, command: RestoreGoal, limits: Limits) -> tuple[GoalRestored, ...]:
    root = goals.known.get(command.goal) if isinstance(command.goal, str) else None
    if root is None:
        raise GoalNotFound(command.goal)
    if root.root is None:
        return ()
    if root.root != root.id:
        raise NotTheRoot(root.root)
    parent_id, rank = root.parent_id, root.rank
    if command.parent_id is not UNSET and command.parent_id != parent_id:
        parent_id = None if command.parent_id is None else goals.get(command.parent_id, "parent_id").id
        rank = between(*_gap(goals, parent_id, None, None, None))
    elif parent_id is not None and goals.known[parent_id].root is not None:
        raise ParentDeleted(parent_id)
    _one_more(goals, parent_id, limits)
    members = [goals.known[goal_id] for goal_id in reversed(goals.removed[root.id])]
    rest = (GoalRestored(goal.id, goal.rank, goal.parent_id) for goal in members[1:])
    return GoalRestored(root.id, rank, parent_id), *rest


def valid_name(text: str, length: int = DEFAULTS.name) -> str:
    """The name as it is kept: NFC, trimmed, of at most `length` characters. Raises InvalidValue."""
    name = composed(text, length)
    if not 1 <= len(name) <= length:
        raise InvalidValue("name", f"1 to {length} characters", f"{len(name)}")
    refuse_controls("name", name)
    return name


def _valid_description(text: str, length: int) -> str:
    if len(text) > length:
        raise InvalidValue("description", f"at most {length} characters", f"{len(text)}")
    refuse_controls("description", text, allowed=_LINES)
    return text


def refuse_controls(field: str, text: str, allowed: frozenset[str] = frozenset()) -> None:
    """Control characters, lone surrogates and bidi overrides hide or reorder what a reader sees."""
    if text.isprintable() and not _BIDI_OVERRIDES.intersection(text):
        return
    for index, character in enumerate(text):
        control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        if (control and character not in allowed) or character in _BIDI_OVERRIDES:
            raise InvalidValue(
                field, "no control or bidirectional-override characters", f"U+{ord(character):04X} at index {index}"
            )


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


def _described(goal: Ref) -> str:
    return f"with the id {goal}" if isinstance(goal, str) else f"named {goal.name[:100]!r}"
