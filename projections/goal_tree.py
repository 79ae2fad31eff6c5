"""The goals as readers see them: one row a goal, deleted ones too, and `tree`, which puts them in order."""

from collections.abc import Iterable
from itertools import zip_longest
from operator import attrgetter
from typing import assert_never

from msgspec import Struct, structs

from es_goals.events import (
    AccountEvent,
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
)

REVISION = 2
KEY = ("user", "id")
INDEXES = ()


class Row(Struct, frozen=True, gc=False):
    """A goal. `created_at`, `updated_at`: µs; `revision` counts its events, but those that only space it; `root` is set
    while it is deleted."""

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
        case GoalCompleted():
            return structs.replace(row, end=event.end, updated_at=at, revision=seen)
        case GoalRenamed():
            return structs.replace(row, name=event.name, updated_at=at, revision=seen)
        case GoalMoved(spaced=True):
            return structs.replace(row, rank=event.rank)
        case GoalMoved():
            return structs.replace(row, parent_id=event.parent_id, rank=event.rank, updated_at=at, revision=seen)
        case GoalDescribed():
            return structs.replace(row, description=event.description, updated_at=at, revision=seen)
        case GoalScheduled():
            return structs.replace(row, start=event.start, due=event.due, updated_at=at, revision=seen)
        case GoalReopened():
            return structs.replace(row, end=None, updated_at=at, revision=seen)
        case GoalDeleted():
            return structs.replace(row, root=event.root, updated_at=at, revision=seen)
        case GoalRestored():
            row = structs.replace(row, parent_id=event.parent_id, rank=event.rank, root=None)
            return structs.replace(row, updated_at=at, revision=seen)
        case _:
            if isinstance(event, AccountEvent):
                raise TypeError("an account's fact changes no goal")
            assert_never(event)


class Node(Struct, gc=False):
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
    nodes = _ordered(rows)
    _add_up(nodes)
    return nodes


def renewed(nodes: Iterable[Node], before: Iterable[Row], after: Iterable[Row]) -> list[Node] | None:
    """The tree of the rows `after`, where nothing but texts and times differs from `before`, the rows that the nodes
    were made of, in the same order; else None. A tenth of the work of a new tree."""
    changed: dict[str, Row] = {}
    for old, new in zip_longest(before, after):
        if old is not new:
            if old is None or new is None or _counted(old) != _counted(new):
                return None
            changed[new.id] = new
    return [structs.replace(node, row=changed[node.row.id]) if node.row.id in changed else node for node in nodes]


def _counted(row: Row) -> tuple[str, str | None, str, str | None, bool]:
    return row.id, row.parent_id, row.rank, row.root, row.end is None


def _ordered(rows: Iterable[Row]) -> list[Node]:
    children: dict[str | None, list[Row]] = {}
    for row in rows:
        siblings = children.get(row.parent_id)
        if siblings is None:
            children[row.parent_id] = [row]
        else:
            siblings.append(row)
    for siblings in children.values():
        if len(siblings) > 1:
            siblings.sort(key=_place, reverse=True)
    nodes: list[Node] = []
    # Goals and how deep they are; of each pair of siblings the later one lies further down.
    waiting = [(row, 0) for row in children.get(None, ())]
    while waiting:
        row, depth = waiting.pop()
        nodes.append(Node(row, depth))
        if row.id in children:
            waiting += [(child, depth + 1) for child in children[row.id]]
    return nodes


_place = attrgetter("rank", "id")


def _add_up(nodes: list[Node]) -> None:
    """From the last node to the first, so that what is below a node is counted when it is reached: the sums of each
    depth are those of the children of the next node above."""
    deepest = max((node.depth for node in nodes), default=0)
    sizes, leaves, completed = ([0] * (deepest + 2) for _ in range(3))
    for node in reversed(nodes):
        depth, below = node.depth, node.depth + 1
        node.size += sizes[below]
        if node.row.root is None:
            if leaves[below]:
                node.leaves, node.completed = leaves[below], completed[below]
            else:
                node.leaves, node.completed = 1, int(node.row.end is not None)
            leaves[depth] += node.leaves
            completed[depth] += node.completed
        sizes[depth] += node.size
        sizes[below] = leaves[below] = completed[below] = 0
