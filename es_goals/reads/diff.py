"""What differs between a user's goals at two positions: the net change of each goal, never what happened between.

The law: take out of the first tree what was moved, reordered or deleted, the deleted with what is still below them; set
the values; insert what was created, restored, moved or reordered in the order of the entries, each behind its `after`:
that is the second tree.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import msgspec
from msgspec import UNSET, Struct

from es_goals.events import Recorded, goals_stream, moment
from es_goals.goals.commands import GoalNotFound
from es_goals.goals.reversals import is_spacing
from es_goals.reads import changes
from es_goals.reads.changes import (
    After,
    AnyChange,
    BothProgress,
    Completed,
    Created,
    Deleted,
    Described,
    DiffHead,
    Fields,
    GoalDiff,
    Moved,
    Place,
    Point,
    Renamed,
    Reopened,
    Reordered,
    Restored,
    Root,
    Scheduled,
    Summary,
    Times,
)
from es_goals.reads.history import Span, bounded, brief, folded
from es_goals.reads.trees import Progress
from es_goals.storage.log import Reader, all_lines
from projections.goal_tree import Node, Row, tree

SHOWN = 20
"""Of a goal's events the first, and of the names above it the nearest: each goal of a chain has all others above it."""

_encode = msgspec.json.Encoder().encode


def point(last: Recorded | None) -> Point:
    """Where a user's last event is."""
    return Point(last.position, last.version, moment(last.at)) if last else Point(0, 0, None)


class Side:
    """All goals at one end, deleted ones too, in their places."""

    def __init__(self, rows: dict[str, Row], at: Point) -> None:
        self.rows, self.nodes, self.point = rows, tree(rows.values()), at
        self.index = {node.row.id: index for index, node in enumerate(self.nodes)}
        self.after = _predecessors(self.nodes)

    def lives(self, goal_id: str) -> bool:
        """Whether the goal is there and not deleted."""
        row = self.rows.get(goal_id)
        return row is not None and row.root is None

    def below(self, goal_id: str) -> Iterator[Node]:
        """The goal and what is below it."""
        index = self.index.get(goal_id)
        return iter(()) if index is None else iter(self.nodes[index : index + self.nodes[index].size])

    def place(self, row: Row) -> Place:
        """Where a goal is."""
        path: list[str] = []
        above = row
        while above.parent_id is not None and len(path) < SHOWN:
            above = self.rows[above.parent_id]
            path.append(above.name)
        depth = self.nodes[self.index[row.id]].depth
        return Place(row.parent_id, path[::-1], self.after.get(row.id), UNSET if depth == len(path) else depth)

    def progress(self, goal_id: str | None) -> Progress:
        """Of a goal, or of all."""
        if goal_id is not None:
            nodes = list(self.below(goal_id))[:1]
        else:
            nodes = [node for node in self.nodes if node.depth == 0]
        return Progress(sum(node.completed for node in nodes), sum(node.leaves for node in nodes))


def _predecessors(nodes: Iterable[Node]) -> dict[str, str | None]:
    """For each goal that is not deleted, the sibling right before it that is not."""
    found: dict[str, str | None] = {}
    path: list[str] = []
    for node in nodes:
        if node.row.root is None:
            found[node.row.id] = path[node.depth] if node.depth < len(path) else None
            path[node.depth :] = [node.row.id]
    return found


class Diff:
    """Made of a user's events up to the second position. `goal_id`: only of that goal and what is or was below it.
    Raises GoalNotFound, ProjectionBehind."""

    def __init__(self, lines: Iterable[Recorded], first: int, goal_id: str | None = None) -> None:
        self._events: dict[str, list[Recorded]] = {}
        self._counts: dict[str, int] = {}
        self._moved: set[str] = set()
        self._compare(*self._fold(iter(lines), first), goal_id)

    @classmethod
    def of(cls, old: Side, new: Side) -> Self:
        """What differs between two trees, whatever happened: goals have no events. The second has all goals that the
        first has."""
        made = cls.__new__(cls)
        made._events = {one: [] for one, row in new.rows.items() if old.rows.get(one) != row}
        made._counts = dict.fromkeys(made._events, 0)
        made._moved = set(made._events)
        made._compare(old, new, None)
        return made

    def _compare(self, old: Side, new: Side, goal_id: str | None) -> None:
        self._old, self._new = old, new
        if goal_id is not None and goal_id not in self._new.rows:
            raise GoalNotFound(goal_id)
        self._scope = None if goal_id is None else self._in_scope(goal_id)
        self._kinds = self._compared()
        self._tops, self._unders = self._deleted_along()
        self.progress = BothProgress(self._old.progress(goal_id), self._new.progress(goal_id))
        self.summary = self._summed()

    def _fold(self, lines: Iterator[Recorded], first: int) -> tuple[Side, Side]:
        rows: dict[str, Row] = {}
        old: tuple[dict[str, Row], Recorded | None] | None = None
        last: Recorded | None = None
        for line in lines:
            if old is None and line.position > first:
                old = rows.copy(), last
            goal_id = line.subject or ""
            rows[goal_id] = folded(rows.get(goal_id), line)
            if old is not None:
                self._note(goal_id, line)
            last = line
        before, then = (rows, last) if old is None else old
        new = Side(rows, point(last))
        return (new if old is None else Side(before, point(then))), new

    def _note(self, goal_id: str, line: Recorded) -> None:
        events = self._events.setdefault(goal_id, [])
        if len(events) < SHOWN:
            events.append(line)
        self._counts[goal_id] = self._counts.get(goal_id, 0) + 1
        if line.type in ("GoalMoved", "GoalRestored") and not is_spacing(line):
            self._moved.add(goal_id)

    def _in_scope(self, goal_id: str) -> set[str]:
        return {node.row.id for side in (self._old, self._new) for node in side.below(goal_id)}

    def _compared(self) -> dict[str, list[str]]:
        """How each goal differs, of those that do."""
        touched = [one for one in self._events if self._scope is None or one in self._scope]
        reordered = self._reordered(touched)
        found = {one: self._kinds_of(one, one in reordered) for one in touched}
        return {one: kinds for one, kinds in found.items() if kinds}

    def _kinds_of(self, goal_id: str, reordered: bool) -> list[str]:
        old, new = self._old.rows.get(goal_id), self._new.rows[goal_id]
        if old is None or old.root is not None:
            return [] if new.root is not None else ["created" if old is None else "restored"]
        if new.root is not None:
            return ["deleted"]
        kinds = (
            ("moved", old.parent_id != new.parent_id),
            ("reordered", reordered),
            ("renamed", old.name != new.name),
            ("described", old.description != new.description),
            ("scheduled", (old.start, old.due) != (new.start, new.due)),
            ("completed", old.end != new.end and new.end is not None),
            ("reopened", old.end is not None and new.end is None),
        )
        return [kind for kind, so in kinds if so]

    def _reordered(self, touched: Iterable[str]) -> set[str]:
        """Those whose own rank changed, and the set of siblings before them that were and are there."""
        candidates = {
            one: row.parent_id
            for one in touched
            if one in self._moved
            and self._stayed(one)
            and self._old.rows[one].rank != (row := self._new.rows[one]).rank
        }
        parents = set(candidates.values())
        before, after = (self._siblings(side, parents) for side in (self._old, self._new))
        return candidates.keys() & {one for parent in parents for one in _displaced(before[parent], after[parent])}

    def _stayed(self, goal_id: str) -> bool:
        old, new = self._old, self._new
        return old.lives(goal_id) and new.lives(goal_id) and old.rows[goal_id].parent_id == new.rows[goal_id].parent_id

    def _siblings(self, side: Side, parents: set[str | None]) -> dict[str | None, list[str]]:
        """The goals under each parent, in order, of those that were and are there."""
        found: dict[str | None, list[str]] = {parent: [] for parent in parents}
        for node in side.nodes if parents else ():
            if node.row.parent_id in parents and self._stayed(node.row.id):
                found[node.row.parent_id].append(node.row.id)
        return found

    def _deleted_along(self) -> tuple[dict[str, str], dict[str, int]]:
        """Of each goal that was deleted the topmost one that was deleted with it, and how many each of those has."""
        gone = [one for one, kinds in self._kinds.items() if kinds == ["deleted"]]
        gone.sort(key=self._old.index.__getitem__)
        tops: dict[str, str] = {}
        unders: dict[str, int] = {}
        for one in gone:
            top = tops[one] = tops.get(self._old.rows[one].parent_id or "", one)
            unders[top] = unders.get(top, -1) + 1
        return tops, unders

    def _moved_along(self, node: Node) -> int:
        """Goals below one that was moved that came with it."""
        start = self._new.index[node.row.id]
        index, count = start + 1, 0
        while index < start + node.size:
            below = self._new.nodes[index]
            came_along = self._stayed(below.row.id)
            count += came_along
            index += 1 if came_along else below.size
        return count

    def _summed(self) -> Summary:
        counts = dict.fromkeys(Summary.__struct_fields__, 0)
        for kinds in self._kinds.values():
            for kind in kinds:
                counts[kind] += 1
        counts["goals"] = len(self._kinds)
        return Summary(**counts)

    def __iter__(self) -> Iterator[GoalDiff]:
        """The goals that differ, in pre-order of the second tree."""
        for node in self._new.nodes:
            if node.row.id in self._kinds and self._has_entry(node.row.id):
                yield self._entry(node)

    def _has_entry(self, goal_id: str) -> bool:
        return self._tops.get(goal_id, goal_id) == goal_id

    def head(self, user: str) -> DiffHead:
        """What there is to say before the goals."""
        return DiffHead(user, self._old.point, self._new.point, self.summary, self.progress)

    def names(self) -> Iterator[str]:
        """What the goals that differ are called at the second point."""
        return (self._new.rows[one].name for one in self._kinds if self._has_entry(one))

    def behind(self, goal_id: str) -> str | None:
        """What the goal right before one is called at the second point."""
        after = self._new.after.get(goal_id)
        return None if after is None else self._new.rows[after].name

    def _entry(self, node: Node) -> GoalDiff:
        row, kinds = node.row, self._kinds[node.row.id]
        side = self._old if kinds == ["deleted"] else self._new
        place = side.place(side.rows[row.id])
        under = self._moved_along(node) if "moved" in kinds else self._unders.get(row.id, 0)
        found = [self._change(kind, row, place) for kind in kinds]
        events, count = self._events[row.id], self._counts[row.id]
        return GoalDiff(
            row.id,
            side.rows[row.id].name,
            place.path,
            under,
            found,
            [brief(line) for line in events],
            place.path_count,
            UNSET if count == len(events) else count,
        )

    def _change(self, kind: str, new: Row, place: Place) -> AnyChange:
        """`place`: the one that the entry is of."""
        if kind in ("created", "restored"):
            return (Created if kind == "created" else Restored)(_fields(new, place))
        old = self._old.rows[new.id]
        match kind:
            case "deleted":
                return Deleted(place, Root(new.root))
            case "moved":
                return Moved(self._old.place(old), place)
            case "reordered":
                return Reordered(After(self._old.after[new.id]), After(self._new.after[new.id]))
            case "renamed":
                return Renamed(old.name, new.name)
            case "described":
                return Described(old.description, new.description)
            case "scheduled":
                return Scheduled(Times(old.start, old.due), Times(new.start, new.due))
            case _:
                return (Completed if kind == "completed" else Reopened)(old.end, new.end)


def _fields(row: Row, place: Place) -> Fields:
    where = (place.parent_id, place.path, place.after, place.path_count)
    return Fields(*where, name=row.name, description=row.description, start=row.start, due=row.due, end=row.end)


def _displaced(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Of the same goals in two orders, those that have other ones before them."""
    places = {one: place for place, one in enumerate(after)}
    highest = -1  # of the places of those before
    for place, one in enumerate(before):
        if places[one] != place or highest >= place:
            yield one
        highest = max(highest, places[one])


def between(log: Reader, user_id: str, span: Span, goal_id: str | None = None) -> Diff:
    """What differs between a user's goals at both ends of a span. Raises GoalNotFound, ProjectionBehind."""
    return Diff(all_lines(log, stream=goals_stream(user_id), until=span.last), span.first, goal_id)


def encoded(diff: Diff, user: str, shown: Callable[[GoalDiff], Struct] = lambda goal: goal) -> bytes:
    """A DiffAnswer as JSON, made goal by goal, each as it is to be shown. Raises LimitReached, Interrupted."""
    goals = b",".join(bounded(_encode(shown(goal)) for goal in diff))
    return b'%b,"goals":[%b]}' % (_encode(diff.head(user))[:-1], goals)


def text(diff: Diff, user: str) -> bytes:
    """For people: a line for the span, and one for each goal that differs. Raises LimitReached, Interrupted."""
    return b"".join(bounded(f"{line}\n".encode() for line in _lines(diff, user)))


def _lines(diff: Diff, user: str) -> Iterator[str]:
    yield changes.title(diff.head(user))
    width = min(changes.WIDEST, max(map(len, diff.names()), default=0))
    for goal in diff:
        yield changes.line(goal, width, diff.behind(goal.id))
