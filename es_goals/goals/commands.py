"""What may be asked of a user's goals: the commands, their limits, and how they are refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from es_goals.events import Instant
from es_goals.values import InvalidValue, Rejected

MATCHES_NAMED = 20


class Limits(Struct, frozen=True):
    """How much there may be: characters of a name and of a description; of one user: goals ever made, deleted ones too
    since they can be restored; living goals under one parent, or at the top; bytes of all names and descriptions
    together."""

    name: int
    description: int
    goals: int
    children: int
    text: int


class Named(Struct, frozen=True):
    """A goal meant by its name, as the original API's clients do; looked up inside the decision."""

    name: str


Ref = str | Named


class CreateGoal(Struct, frozen=True):
    """Make a goal. `unique`: refuse a name that the user already has, as the original API did; `brought`: the id is the
    client's own, which somebody may have."""

    goal_id: str
    name: str
    parent: Ref | None = None
    description: str | None = None
    start: datetime | None = None
    due: datetime | None = None
    before: str | None = None
    after: str | None = None
    unique: bool = False
    brought: bool = False


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
    """Bring back what deleting this goal removed, under another parent if one is given. `only`: also a goal that was
    removed along with one above it, by itself and with what is below it."""

    goal: Ref
    parent_id: str | None | UnsetType = UNSET
    only: bool = False


Command = CreateGoal | ChangeGoal | CompleteGoal | ReopenGoal | MoveGoal | DeleteGoal | RestoreGoal


class Was(Struct, frozen=True, gc=False):
    """What a goal was: its fields, its place, and `root` while it was deleted."""

    name: str
    description: str | None
    start: Instant
    due: Instant | None
    end: Instant | None
    parent_id: str | None
    rank: str
    root: str | None


class Reversal(Struct, frozen=True, gc=False):
    """What a command made of a goal: what that was `before` (None: it was not there) and `after`.

    Its history says besides, whatever ranks there are by now: whether the goal is where the command `placed` it, or
    back where it was before (`replaced`), and whether it was this command that `removed` it. `rank`: where its old
    place is by now; where that is taken, right behind it, or right `ahead`. `revision`: the goal's when its history was
    read; None where an earlier undo of the same request changes it.
    """

    goal_id: str
    before: Was | None
    after: Was
    placed: bool
    replaced: bool
    removed: bool
    rank: str = ""
    ahead: bool = False
    revision: int | None = None

    @property
    def moved(self) -> bool:
        """Whether the command changed the goal's place."""
        before, after = self.before, self.after
        return before is not None and (before.parent_id, self.rank) != (after.parent_id, after.rank)


class Undo(Struct, frozen=True):
    """Set back what a command did: all of it, or nothing where later changes are in the way."""

    command: str
    reversals: Sequence[Reversal]


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
    """A goal was deleted together with one above it, and was not asked for by itself."""

    def __init__(self, root: str) -> None:
        super().__init__(f"expected the goal whose deletion removed this one, or only this one; restore {root}")
        self.root = root


class ParentDeleted(Rejected):
    """The goal's old place is gone; a restore must name a new parent."""

    field = "parent_id"

    def __init__(self, parent_id: str) -> None:
        super().__init__(f"expected a parent to restore under; the old one, {parent_id}, is deleted: name a parent_id")


class Block(Struct, frozen=True):
    """What keeps a command from being undone. `field`: of Was, or `living`, `place`, `below`, `parent`, `limit`; `now`
    is neither `before` nor `after`. `expected` and `found` say so; `subjects`: the goals whose last change of it is to
    blame."""

    goal_id: str
    name: str
    field: str
    before: Any
    after: Any
    now: Any
    expected: str
    found: str
    subjects: Sequence[str] = ()


class InTheWay(Rejected):
    """A command cannot be undone, for what came later, or for a limit. `blocked`: all that is in the way."""

    def __init__(self, blocked: Sequence[Block]) -> None:
        super().__init__(f"expected {blocked[0].expected}; found {blocked[0].found}")
        self.blocked = blocked


class Outdated(Exception):
    """A goal has changed since its history was read for an undo: it is to be read again."""


def _described(goal: Ref) -> str:
    return f"with the id {goal}" if isinstance(goal, str) else f"named {goal.name[:100]!r}"
