"""Answers about goals: which nodes of a user's tree a view shows, and their JSON, made in pieces at any depth."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from sys import getsizeof
from typing import Any

import msgspec
from msgspec import Struct, structs

from es_goals.compression import LEAST_BYTES, Coding, coded_tag, packed
from es_goals.events import Instant, moment
from es_goals.goals.commands import GoalNotFound
from es_goals.goals.state import Goal
from es_goals.projector import View
from es_goals.reads.search import Query, folded
from es_goals.storage.deadlines import current
from projections.goal_tree import Node, Row, renewed
from projections.goal_tree import tree as in_places

_encode = msgspec.json.Encoder().encode

AnswerKey = tuple[str | None, str, Coding | None]
"""Which goal's answer (None: of the whole tree), in which view and coding."""

# What Python takes for what is kept besides the bytes of texts, measured with tracemalloc.
ROW_BYTES = 640
ID_BYTES = 85
TEXT_BYTES = 250
ANSWER_BYTES = 400
FOLDED_BYTES = 150
MOST_ANSWERS = 1_000
"""Of one user, in different views or of different goals."""


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
    """Which part of a tree is shown, and how. `depth`: levels below the answered goals, None for all; `find`: what must
    be found in a goal; `ranked`: the best finds first, which takes a flat view, `limit` of them if it is given;
    `ranks`: each goal with its rank and, where it is deleted, the root of its deletion."""

    flat: bool = False
    status: str = "all"
    depth: int | None = None
    deleted: bool = False
    find: Query | None = None
    ranked: bool = False
    limit: int | None = None
    ranks: bool = False

    def __str__(self) -> str:
        levels = "" if self.depth is None else self.depth
        more = f"{'d' if self.deleted else ''}{'r' if self.ranks else ''}"
        view = f"{'f' if self.flat else 't'}{self.status[0]}{more}{levels}"
        if self.find is None:
            return view
        asked = blake2b(_encode((self.find, self.ranked, self.limit)), digest_size=12)
        return f"{view}.{asked.hexdigest()}"


class CachedAnswer(Struct, frozen=True, weakref=True):
    """An answer as bytes. `version`: of the user's goals, None where it is of the past; it is true for this version and
    generation; `coding`: of the bytes, None where they are plain."""

    etag: str
    data: bytes
    version: int | None
    generation: int
    coding: Coding | None = None

    def coded(self, coding: Coding | None) -> "CachedAnswer":
        """The same in a coding, where there are so many bytes that it pays."""
        if coding is None or len(self.data) < LEAST_BYTES:
            return self
        return structs.replace(self, etag=coded_tag(self.etag, coding), data=packed(self.data, coding), coding=coding)


class UserTree:
    """A user's goals as of a view: in their places, with the JSON of those that were answered and the answers that are
    ready. `name`: what the user was called then. `size`: bytes that it takes, about.

    The JSON of a goal is made once a change, since one tree hands it on to the next, in which few goals differ; answers
    of the past are handed on too.
    """

    def __init__(self, view: View, name: str, before: "UserTree | None" = None) -> None:
        self.view, self.name = view, name
        if before is not None and before.name != name:
            before = None
        self._texts: dict[str, tuple[Row, bytes]] = {} if before is None else before._texts
        self._text_bytes: int = 0 if before is None else before._text_bytes
        self._folded: dict[str, tuple[Row, str, str]] = {} if before is None else before._folded
        self._folded_bytes: int = 0 if before is None else before._folded_bytes
        self.nodes, self._row_bytes = _placed(view, before)
        self._answers: OrderedDict[AnswerKey, CachedAnswer] = OrderedDict()
        self._answer_bytes = 0
        if before is not None and before.view.generation == view.generation:
            for key, answer in list(before._answers.items()):
                if answer.version is None:
                    self.put_answer(key, answer)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self._row_bytes + self._text_bytes + self._folded_bytes + self._answer_bytes

    def is_of(self, version: int, generation: int, name: str) -> bool:
        """Whether it is what a reader sees at this version of the user's goals and in this generation of rows."""
        return (self.view.version, self.view.generation, self.name) == (version, generation, name)

    def answer(self, key: AnswerKey) -> CachedAnswer | None:
        """A ready answer, of this view or of the past."""
        return self._answers.get(key)

    def put_answer(self, key: AnswerKey, answer: CachedAnswer) -> None:
        """Keep an answer, and of many the newest ones."""
        old = self._answers.pop(key, None)
        self._answers[key] = answer
        self._answer_bytes += len(answer.data) + ANSWER_BYTES - (len(old.data) + ANSWER_BYTES if old else 0)
        while len(self._answers) > MOST_ANSWERS:
            self._answer_bytes -= len(self._answers.popitem(last=False)[1].data) + ANSWER_BYTES

    def text(self, row: Row) -> bytes:
        """A goal's JSON without its progress and the end of the object."""
        known = self._texts.get(row.id)
        if known is not None and known[0] is row:
            return known[1]
        made = _encode(GoalAnswer(*_fields(row, self.name)))[:-1]
        self._texts[row.id] = (row, made)
        self._text_bytes += _text_bytes(made) - (_text_bytes(known[1]) if known else 0)
        return made

    def folded(self, row: Row) -> tuple[str, str]:
        """A goal's name and description as they are searched, made once as its JSON is. Raises Interrupted."""
        known = self._folded.get(row.id)
        if known is not None and known[0] is row:
            return known[1], known[2]
        current().check()
        name, description = folded(row.name), folded(row.description or "")
        self._folded[row.id] = (row, name, description)
        old = 0 if known is None else FOLDED_BYTES + getsizeof(known[1]) + getsizeof(known[2])
        self._folded_bytes += FOLDED_BYTES + getsizeof(name) + getsizeof(description) - old
        return name, description


def _placed(view: View, before: UserTree | None) -> tuple[Sequence[Node], int]:
    """The nodes of a view's rows and the bytes that those take; from an earlier tree of the same user, if there is
    one, a tenth of the work."""
    rows = view.by_key.values()
    if before is None:
        return in_places(rows), sum(map(_row_bytes, rows))
    old = before.view.by_key
    size = before._row_bytes + sum(
        _row_bytes(row) - (_row_bytes(old[key]) if key in old else 0)
        for key, row in view.by_key.items()
        if old.get(key) is not row
    )
    nodes = renewed(before.nodes, old.values(), rows)
    return in_places(rows) if nodes is None else nodes, size


def _row_bytes(row: Row) -> int:
    more = (row.parent_id is not None) + (row.root is not None) + (row.due is not None) + (row.end is not None)
    return ROW_BYTES + getsizeof(row.name) + getsizeof(row.description) + ID_BYTES * more


def _text_bytes(text: bytes) -> int:
    # A string that is not ASCII keeps the UTF-8 that was made of it.
    return TEXT_BYTES + len(text) * (1 if text.isascii() else 2)


class TreeCache:
    """The trees last asked for, as many as fit into `bound` bytes. Any thread may use it."""

    def __init__(self, bound: int) -> None:
        self._bound, self._size = bound, 0
        self._trees: OrderedDict[str, tuple[UserTree, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, user_id: str) -> UserTree | None:
        """A user's tree, now the newest."""
        with self._lock:
            found = self._trees.get(user_id)
            if found is None:
                return None
            self._trees.move_to_end(user_id)
            return found[0]

    def put(self, user_id: str, tree: UserTree) -> None:
        """Keep a tree, or count it anew after it has grown, and let the oldest go."""
        with self._lock:
            self._size -= self._trees.pop(user_id, (None, 0))[1]
            size = tree.size
            if size > self._bound:
                return  # it would drive out all others and not stay either
            self._trees[user_id] = (tree, size)
            self._size += size
            while self._size > self._bound:
                self._size -= self._trees.popitem(last=False)[1][1]


def etag(revision: int, version: int, generation: int, view: str) -> str:
    """The opaque tag; `requests.expected` reads the first two."""
    return f'"r{revision}.v{version}.g{generation}.{view}"'


def goal_answer(goal: Goal, user: str) -> GoalAnswer:
    """What a command answers."""
    return GoalAnswer(*_fields(goal, user))


def whole(tree: UserTree, options: TreeOptions) -> bytes:
    """All of a user's goals, or those that are found, with the version and position they are as of. Raises
    Interrupted."""
    if options.find is None:
        return _envelope(tree, _goals(tree, tree.nodes, options))
    found = _found(tree, options, options.find)
    return _envelope(tree, _goals(tree, tree.nodes, options, found), b',"matches":%d' % len(found))


def shown(tree: UserTree, options: TreeOptions) -> list[Node]:
    """The nodes that a whole tree shows."""
    found = None if options.find is None else _found(tree, options, options.find)
    return [node for node, keep in zip(tree.nodes, _shown(tree.nodes, options, found), strict=True) if keep]


def one(tree: UserTree, goal_id: str, options: TreeOptions) -> bytes:
    """One goal with its sub-goals; flat, a list of them."""
    place = next((place for place, node in enumerate(tree.nodes) if node.row.id == goal_id), None)
    if place is None:  # its parent is not there
        raise GoalNotFound(goal_id)
    goals = _goals(tree, tree.nodes[place : place + tree.nodes[place].size], options)
    return _envelope(tree, goals) if options.flat else goals


def _envelope(tree: UserTree, goals: bytes, matches: bytes = b"") -> bytes:
    view = tree.view
    return b'{"user":%b,"version":%d,"position":%d%b,"goals":[%b]}' % (
        _encode(tree.name),
        view.version,
        view.position,
        matches,
        goals,
    )


Found = Mapping[int, str]
"""Places of nodes in which something was found, and where: name, description or both."""


def _found(tree: UserTree, options: TreeOptions, query: Query) -> Found:
    passing = _passing(tree.nodes, options)
    matches = ((place, query.match(*tree.folded(tree.nodes[place].row))) for place, so in enumerate(passing) if so)
    return {place: match for place, match in matches if match is not None}


def _goals(tree: UserTree, nodes: Sequence[Node], options: TreeOptions, found: Found | None = None) -> bytes:
    base = nodes[0].depth if nodes else 0
    keep = _shown(nodes, options, found)
    if not options.flat:
        return _nested(tree, nodes, keep, base, options, found or {})
    deepest = base + (options.depth if options.depth is not None else len(nodes))
    places: Iterable[int] = (place for place, node in enumerate(nodes) if keep[place] and node.depth <= deepest)
    if options.ranked and options.find is not None:
        places = _ranked(tree, places, options.find)[: options.limit]
    shown = ((nodes[place], (found or {}).get(place)) for place in places)
    texts = ((*_texts(tree, node, match, options.ranks), node.depth - base) for node, match in shown)
    return b",".join(b'%b%b,"depth":%d}' % text for text in texts)


def _ranked(tree: UserTree, places: Iterable[int], query: Query) -> list[int]:
    """The best finds first, equal ones in pre-order."""
    return sorted(places, key=lambda place: query.rank(tree.folded(tree.nodes[place].row)[0]))


def _passing(nodes: Sequence[Node], options: TreeOptions) -> list[bool]:
    """Which nodes have the status that is asked for."""
    if options.status == "all":
        return [options.deleted or node.row.root is None for node in nodes]
    done = options.status == "done"
    return [node.row.root is None and done == (node.row.end is not None) for node in nodes]


def _shown(nodes: Sequence[Node], options: TreeOptions, found: Found | None = None) -> list[bool]:
    """Which nodes pass the filters; in a tree those above them too."""
    shown = _passing(nodes, options) if found is None else [place in found for place in range(len(nodes))]
    if options.flat or (found is None and options.status == "all"):
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


def _nested(
    tree: UserTree, nodes: Sequence[Node], shown: list[bool], base: int, options: TreeOptions, found: Found
) -> bytes:
    depth = options.depth
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
        out += _texts(tree, node, found.get(index), options.ranks)
        begun = level != depth
        if begun:
            out.append(b',"sub_goals":[')
            lists = level + 1
        else:
            below = range(index + 1, index + node.size)
            out.append(b',"sub_goal_count":%d}' % sum(shown[i] and nodes[i].depth == node.depth + 1 for i in below))
            lists = level
    return b"".join(out) + b"]}" * lists


def _texts(tree: UserTree, node: Node, match: str | None, ranks: bool) -> tuple[bytes, bytes]:
    """A goal's JSON, and its progress, where it was found and its rank, without the end of the object."""
    more = b',"progress":{"completed":%d,"leaves":%d}' % (node.completed, node.leaves)
    if match is not None:
        more = b'%b,"match":"%b"' % (more, match.encode())
    if ranks:
        more = b'%b,"rank":%b' % (more, _encode(node.row.rank))
        if node.row.root is not None:
            more = b'%b,"root":%b' % (more, _encode(node.row.root))
    return tree.text(node.row), more


def _fields(goal: Goal | Row, user: str) -> tuple[Any, ...]:
    status = "deleted" if goal.root is not None else "open" if goal.end is None else "done"
    place, text, times = (
        (goal.id, user, goal.parent_id),
        (goal.name, goal.description),
        (goal.start, goal.due, goal.end),
    )
    return *place, *text, *times, status, moment(goal.created_at), moment(goal.updated_at), goal.revision
