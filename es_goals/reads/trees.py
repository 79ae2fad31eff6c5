"""Answers about goals: which nodes of a user's tree a view shows, and their JSON, made in pieces at any depth."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from es_goals.events import Instant, moment
from es_goals.goals.commands import GoalNotFound
from es_goals.goals.state import Goal
from es_goals.projector import View
from projections.goal_tree import Node, Row, renewed, tree

_encode = msgspec.json.Encoder().encode

K = TypeVar("K")
V = TypeVar("V")


class Progress(Struct, frozen=True):
    """Leaves below that are completed, of how many; a leaf counts itself."""

    completed: int
    leaves: int


class GoalAnswer(Struct):
    """A goal as a command answers it."""

    id: str
    user: str
    parent_id: str | None
    name: str
    description: str | None
    start: Instant
    due: Instant | None
    end: Instant | None
    status: str
    created_at: datetime
    updated_at: datetime
    revision: int


class TreeGoalAnswer(GoalAnswer, kw_only=True):
    """A goal as a tree shows it, before its sub-goals."""

    progress: Progress


class TreeOptions(Struct, frozen=True):
    """Which part of a tree is shown, and how. `depth`: levels below the answered goals, None for all."""

    flat: bool = False
    status: str = "all"
    depth: int | None = None
    deleted: bool = False

    def __str__(self) -> str:
        levels = "" if self.depth is None else self.depth
        return f"{'f' if self.flat else 't'}{self.status[0]}{'d' if self.deleted else ''}{levels}"


class UserTree(Struct, frozen=True):
    """A user's whole tree as of a view. `texts`: the JSON of goals that were answered, with the row each was made of;
    one forest hands them on to the next, in which few goals differ."""

    view: View
    user: str
    nodes: Sequence[Node]
    texts: dict[str, tuple[Row, bytes]]


class CachedAnswer(Struct, frozen=True):
    """An answer as bytes, true for this version and generation."""

    version: int
    generation: int
    etag: str
    data: bytes


class Lru(Generic[K, V]):
    """The values last asked for, as many as `bound` allows by their sizes. Any thread may use it."""

    def __init__(self, bound: int, size: Callable[[V], int]) -> None:
        self._bound, self._size_of = bound, size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, now the newest."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Keep it, and let the oldest go."""
        with self._lock:
            if (old := self._values.pop(key, None)) is not None:
                self._size -= self._size_of(old)
            if self._size_of(value) > self._bound:
                return  # it would drive out all others and not stay either
            self._values[key] = value
            self._size += self._size_of(value)
            while self._size > self._bound and self._values:
                self._size -= self._size_of(self._values.popitem(last=False)[1])


def forest(view: View, user: str, before: UserTree | None = None) -> UserTree:
    """The rows in their places, for the user of this name. `before`: an earlier forest of the same user."""
    rows = view.by_key.values()
    if before is None or before.user != user:
        return UserTree(view, user, tree(rows), {})
    nodes = renewed(before.nodes, before.view.by_key.values(), rows)
    return UserTree(view, user, tree(rows) if nodes is None else nodes, before.texts)


def etag(revision: int, version: int, generation: int, view: str) -> str:
    """The opaque tag; `requests.expected` reads the first two."""
    return f'"r{revision}.v{version}.g{generation}.{view}"'


def goal_answer(goal: Goal, user: str) -> GoalAnswer:
    """What a command answers."""
    return GoalAnswer(*_fields(goal, user))


def whole(forest: UserTree, shape: TreeOptions) -> bytes:
    """All of a user's goals, with the version and position they are as of."""
    return _envelope(forest, _goals(forest, forest.nodes, shape))


def one(forest: UserTree, goal_id: str, shape: TreeOptions) -> bytes:
    """One goal with its sub-goals; flat, a list of them."""
    place = next((place for place, node in enumerate(forest.nodes) if node.row.id == goal_id), None)
    if place is None:  # its parent is not there
        raise GoalNotFound(goal_id)
    goals = _goals(forest, forest.nodes[place : place + forest.nodes[place].size], shape)
    return _envelope(forest, goals) if shape.flat else goals


def _envelope(forest: UserTree, goals: bytes) -> bytes:
    view = forest.view
    return b'{"user":%b,"version":%d,"position":%d,"goals":[%b]}' % (
        _encode(forest.user),
        view.version,
        view.position,
        goals,
    )


def _goals(forest: UserTree, nodes: Sequence[Node], shape: TreeOptions) -> bytes:
    base = nodes[0].depth if nodes else 0
    shown = _shown(nodes, shape)
    if shape.flat:
        limit = base + (shape.depth if shape.depth is not None else len(nodes))
        kept = (node for node, keep in zip(nodes, shown, strict=True) if keep and node.depth <= limit)
        return b",".join(b'%b%b,"depth":%d}' % (*_texts(forest, node), node.depth - base) for node in kept)
    return _nested(forest, nodes, shown, base, shape.depth)


def _shown(nodes: Sequence[Node], shape: TreeOptions) -> list[bool]:
    """Which nodes pass the filter; in a tree those above them too."""
    if shape.status == "all":
        return [shape.deleted or node.row.root is None for node in nodes]
    done = shape.status == "done"
    shown = [node.row.root is None and done == (node.row.end is not None) for node in nodes]
    if shape.flat:
        return shown
    path: list[int] = []
    for index, node in enumerate(nodes):
        del path[node.depth - nodes[0].depth :]
        if shown[index]:
            for above in reversed(path):
                if shown[above]:
                    break
                shown[above] = True
        path.append(index)
    return shown


def _nested(forest: UserTree, nodes: Sequence[Node], shown: list[bool], base: int, depth: int | None) -> bytes:
    out: list[bytes] = []
    lists = 0
    begun = True  # a list, in which nothing is yet
    for index, node in enumerate(nodes):
        level = node.depth - base
        if not shown[index] or (depth is not None and level > depth):
            continue
        if lists > level:
            out.append(b"]}" * (lists - level))
            begun = False
        if not begun:
            out.append(b",")
        out += _texts(forest, node)
        begun = level != depth
        if begun:
            out.append(b',"sub_goals":[')
            lists = level + 1
        else:
            below = range(index + 1, index + node.size)
            out.append(b',"sub_goal_count":%d}' % sum(shown[i] and nodes[i].depth == node.depth + 1 for i in below))
            lists = level
    return b"".join(out) + b"]}" * lists


def _texts(forest: UserTree, node: Node) -> tuple[bytes, bytes]:
    """A goal's JSON, and its progress, without the end of the object."""
    row = node.row
    known = forest.texts.get(row.id)
    if known is None or known[0] is not row:
        known = forest.texts[row.id] = (row, _encode(GoalAnswer(*_fields(row, forest.user)))[:-1])
    return known[1], _progress(node.completed, node.leaves)


@lru_cache(maxsize=10_000)
def _progress(completed: int, leaves: int) -> bytes:
    return b',"progress":{"completed":%d,"leaves":%d}' % (completed, leaves)


def _fields(goal: Goal | Row, user: str) -> tuple[Any, ...]:
    status = "deleted" if goal.root is not None else "open" if goal.end is None else "done"
    place, text, times = (
        (goal.id, user, goal.parent_id),
        (goal.name, goal.description),
        (goal.start, goal.due, goal.end),
    )
    return *place, *text, *times, status, moment(goal.created_at), moment(goal.updated_at), goal.revision
