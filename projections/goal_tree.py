"""The goals as readers see them: one row a goal, deleted ones too, and `tree`, which puts them in order."""

from collections.abc import Iterable, Iterator
from typing import assert_never

from msgspec import Struct, structs

from es_goals.events import (
    GoalCompleted,
    GoalCreated,
    GoalDeleted,
    GoalDescribed,
    GoalMoved,
    GoalRenamed,
    GoalReopened,
    GoalRestored,
    GoalScheduled,
    Instant,
    Recorded,
    UserRegistered,
)

REVISION = 1
KEY = ("user", "id")
INDEXES = ()


class Row(Struct, frozen=True):
    """A goal. `created_at`, `updated_at`: µs; `revision` counts its events; `root` is set while it is deleted."""

    user: str
    id: str
    parent_id: str | None
    name: str
    description: str | None
    start: Instant
    due: Instant | None
    end: Instant | None
    rank: str
    created_at: int
    updated_at: int
    revision: int
    root: str | None


def key(recorded: Recorded) -> tuple[str, str] | None:
    """The user and the goal, for the events of goals."""
    return None if recorded.subject is None else (recorded.owner, recorded.subject)


def fold(row: Row | None, recorded: Recorded) -> Row:
    """The goal after the event."""
    event, at = recorded.event, recorded.at
    if isinstance(event, GoalCreated):
        goal = (recorded.owner, event.goal_id, event.parent_id, event.name, event.description)
        return Row(*goal, event.start, event.due, None, event.rank, at, at, 1, None)
    if row is None:
        raise ValueError(f"expected goal {recorded.subject} to be created before position {recorded.position}")
    seen = row.revision + 1
    match event:
        case GoalRenamed():
            return structs.replace(row, name=event.name, updated_at=at, revision=seen)
        case GoalDescribed():
            return structs.replace(row, description=event.description, updated_at=at, revision=seen)
        case GoalScheduled():
            return structs.replace(row, start=event.start, due=event.due, updated_at=at, revision=seen)
        case GoalMoved():
            return structs.replace(row, parent_id=event.parent_id, rank=event.rank, updated_at=at, revision=seen)
        case GoalCompleted():
            return structs.replace(row, end=event.end, updated_at=at, revision=seen)
        case GoalReopened():
            return structs.replace(row, end=None, updated_at=at, revision=seen)
        case GoalDeleted():
            return structs.replace(row, root=event.root, updated_at=at, revision=seen)
        case GoalRestored():
            row = structs.replace(row, parent_id=event.parent_id, rank=event.rank, root=None)
            return structs.replace(row, updated_at=at, revision=seen)
        case UserRegistered():
            raise TypeError("an account's fact changes no goal")
        case _:
            assert_never(event)


class Node(Struct):
    """A goal in its place. `depth` is 0 at the top; `size` counts the nodes from it on that are it and below it;
    `leaves` and `completed` count leaves that are not deleted, the goal itself where it is one."""

    row: Row
    depth: int
    size: int = 1
    leaves: int = 0
    completed: int = 0


def tree(rows: Iterable[Row]) -> list[Node]:
    """All goals, deleted ones too, parents before children and siblings by rank and id. Never recurses.

    A node's descendants are the `size - 1` nodes behind it. Goals whose parent is not among the rows are left out.
    """
    nodes = list(_ordered(rows))
    above: list[int] = []
    for index, node in enumerate(nodes):
        while len(above) > node.depth:
            _add_up(nodes, above)
        above.append(index)
    while above:
        _add_up(nodes, above)
    return nodes


def _ordered(rows: Iterable[Row]) -> Iterator[Node]:
    children: dict[str | None, list[Row]] = {}
    for row in rows:
        children.setdefault(row.parent_id, []).append(row)
    for siblings in children.values():
        siblings.sort(key=lambda row: (row.rank, row.id), reverse=True)
    waiting = [(row, 0) for row in children.get(None, ())]
    while waiting:
        row, depth = waiting.pop()
        yield Node(row, depth)
        waiting += [(child, depth + 1) for child in children.get(row.id, ())]


def _add_up(nodes: list[Node], above: list[int]) -> None:
    """The path's last goal is finished: it is a leaf if nothing below it counts; add it to its parent."""
    node = nodes[above.pop()]
    if node.row.root is not None:
        node.leaves = node.completed = 0
    elif not node.leaves:
        node.leaves, node.completed = 1, int(node.row.end is not None)
    if above:
        parent = nodes[above[-1]]
        parent.size += node.size
        parent.leaves += node.leaves
        parent.completed += node.completed
