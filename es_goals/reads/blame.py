"""Which event made each field of a goal what it is, and why the goal is where it is."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from es_goals.events import Instant, Recorded, goals_stream, moment
from es_goals.goals.commands import GoalNotFound
from es_goals.goals.reversals import is_spacing
from es_goals.reads.history import EventBrief, bounded, brief, folded
from es_goals.storage.log import Reader, all_lines
from projections.goal_tree import tree

_PLACE, _STATUS = ("parent_id", "rank"), ("status",)
_WRITES: Mapping[str, tuple[str, ...]] = {
    "GoalRenamed": ("name",),
    "GoalDescribed": ("description",),
    "GoalScheduled": ("start", "due"),
    "GoalMoved": _PLACE,
    "GoalCompleted": ("end", *_STATUS),
    "GoalReopened": ("end", *_STATUS),
    "GoalDeleted": _STATUS,
    "GoalRestored": (*_PLACE, *_STATUS),
}
"""The fields that each type of event can write."""

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class By(Struct, frozen=True, gc=False):
    """The event that last changed something."""

    by: EventBrief


class Field(Struct, Generic[T], frozen=True, gc=False):
    """A value, and the event that last changed it."""

    value: T
    by: EventBrief


class Fields(Struct, frozen=True, gc=False):
    """Of `order`, which is seen from the siblings only, just the event."""

    name: Field[str]
    description: Field[str | None]
    start: Field[Instant]
    due: Field[Instant | None]
    end: Field[Instant | None]
    parent_id: Field[str | None]
    order: By
    status: Field[str]
    created: Field[datetime]


class Above(Struct, frozen=True, gc=False):
    """A goal above another one: which event named it so, and which placed it there."""

    id: str
    name: str
    named: EventBrief
    placed: EventBrief


class GoalBlame(Struct, frozen=True, gc=False):
    """A goal's fields; `path`: the goals above it, top first."""

    id: str
    fields: Fields
    path: list[Above] | UnsetType = UNSET


class BlameAnswer(Struct, frozen=True):
    """A goal's fields as of a position, and why it is where it is: the goals above it, top first."""

    id: str
    position: int
    fields: Fields
    path: list[Above]


class BranchBlame(Struct, frozen=True):
    """A goal and all below it as of a position, in pre-order; `path` is that of the first."""

    id: str
    position: int
    goals: list[GoalBlame]


class Blame:
    """A goal, and for each of its fields the event that last changed it. Made of its first event."""

    __slots__ = ("_by", "row")

    def __init__(self, line: Recorded) -> None:
        self.row = folded(None, line)
        self._by = {"created": line}

    def take(self, line: Recorded) -> None:
        """The goal's next event. Raises ProjectionBehind."""
        before, self.row = self.row, folded(self.row, line)
        # What only made room among siblings changed nobody's place.
        for name in () if is_spacing(line) else _WRITES[line.type]:
            if name == "status" or getattr(before, name) != getattr(self.row, name):
                self._by[name] = line

    def by(self, name: str) -> EventBrief:
        """The event that last changed a field."""
        return brief(self._by.get(name) or self._by["created"])

    def fields(self) -> Fields:
        """All of them."""
        row, by = self.row, self.by
        status = "deleted" if row.root is not None else "open" if row.end is None else "done"
        return Fields(
            Field(row.name, by("name")), Field(row.description, by("description")), Field(row.start, by("start")),
            Field(row.due, by("due")), Field(row.end, by("end")), Field(row.parent_id, by("parent_id")),
            By(by("rank")), Field(status, by("status")), Field(moment(row.created_at), by("created")),
        )  # fmt: skip

    def above(self) -> Above:
        """The goal as one above another."""
        return Above(self.row.id, self.row.name, self.by("name"), self.by("parent_id"))


def blamed(lines: Iterable[Recorded]) -> dict[str, Blame]:
    """Goals by their ids, of events in order. Raises ProjectionBehind."""
    found: dict[str, Blame] = {}
    for line in lines:
        goal_id = line.subject or ""
        if goal_id in found:
            found[goal_id].take(line)
        else:
            found[goal_id] = Blame(line)
    return found


def of_goal(log: Reader, goal_id: str, until: int) -> GoalBlame:
    """A goal as of a position, deleted ones too. Raises GoalNotFound, ProjectionBehind."""
    one = _of_log(log, goal_id, until)
    path, parent_id = list[Above](), one.row.parent_id
    while parent_id is not None:
        above = _of_log(log, parent_id, until)
        path.append(above.above())
        parent_id = above.row.parent_id
    return GoalBlame(goal_id, one.fields(), path[::-1])


def _of_log(log: Reader, goal_id: str, until: int) -> Blame:
    found = blamed(all_lines(log, subject=goal_id, until=until))
    if goal_id not in found:
        raise GoalNotFound(goal_id)
    return found[goal_id]


def of_branch(log: Reader, owner: str, goal_id: str, until: int) -> Iterator[GoalBlame]:
    """A goal and those below it that are not deleted, in pre-order; where it is deleted itself, deleted ones too.
    Raises GoalNotFound, ProjectionBehind."""
    found = blamed(all_lines(log, stream=goals_stream(owner), until=until))
    if goal_id not in found:
        raise GoalNotFound(goal_id)
    return _branch(found, goal_id)


def _branch(found: Mapping[str, Blame], goal_id: str) -> Iterator[GoalBlame]:
    nodes = tree(one.row for one in found.values())
    first = next(index for index, node in enumerate(nodes) if node.row.id == goal_id)
    path: list[Above] = []
    parent_id = nodes[first].row.parent_id
    while parent_id is not None:
        path.append(found[parent_id].above())
        parent_id = found[parent_id].row.parent_id
    yield GoalBlame(goal_id, found[goal_id].fields(), path[::-1])
    for node in nodes[first + 1 : first + nodes[first].size]:
        if node.row.root is None or nodes[first].row.root is not None:
            yield GoalBlame(node.row.id, found[node.row.id].fields())


def encoded(goal: GoalBlame, until: int) -> bytes:
    """A BlameAnswer as JSON."""
    assert goal.path is not UNSET
    return _encode(BlameAnswer(goal.id, until, goal.fields, goal.path))


def encoded_branch(goals: Iterable[GoalBlame], goal_id: str, until: int) -> bytes:
    """A BranchBlame as JSON, made goal by goal. Raises LimitReached, Interrupted."""
    parts = b",".join(bounded(map(_encode, goals)))
    return b'{"id":%b,"position":%d,"goals":[%b]}' % (_encode(goal_id), until, parts)
