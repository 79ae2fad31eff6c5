"""The history of a goal and of all below it."""

from collections import deque
from collections.abc import Iterable, Iterator

from es_goals.events import GoalCreated, GoalMoved, GoalRestored, Recorded, UndecodableEvent, goals_stream
from es_goals.projector import PAGE, ProjectionBehind
from es_goals.reads.history import PAGE_BYTES, Filter, Page, first_of
from es_goals.storage.deadlines import current
from es_goals.storage.log import Reader, all_lines, line_size

_PLACING = {GoalCreated.__name__, GoalMoved.__name__, GoalRestored.__name__}


class Branch:
    """A goal and those below it, deleted ones too, as events come and go. A step takes as long as what it moves."""

    def __init__(self, goal_id: str) -> None:
        self._top, self._inside = goal_id, {goal_id}
        self._parents: dict[str, str | None] = {}
        self._children: dict[str | None, set[str]] = {}

    def takes(self, line: Recorded) -> bool:
        """Whether the goal of the next event of the user is there just before or just behind it. Raises
        ProjectionBehind."""
        goal_id = line.subject or ""
        before = goal_id in self._inside
        if line.type in _PLACING:
            self._place(goal_id, _parent(line))
        return before or goal_id in self._inside

    def _place(self, goal_id: str, parent_id: str | None) -> None:
        if goal_id in self._parents:
            self._children[self._parents[goal_id]].discard(goal_id)
        self._parents[goal_id] = parent_id
        self._children.setdefault(parent_id, set()).add(goal_id)
        if goal_id == self._top:
            return
        if parent_id in self._inside:
            self._inside.update(self._below(goal_id))
        elif goal_id in self._inside:
            self._inside.difference_update(self._below(goal_id))

    def _below(self, goal_id: str) -> Iterator[str]:
        """The goal and those below it. Raises Interrupted."""
        current().check()  # many may be moved over and over in events that were read at once
        waiting = [goal_id]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += self._children.get(one, ())


def _parent(line: Recorded) -> str | None:
    try:
        event = line.event
    except UndecodableEvent as error:
        raise ProjectionBehind(f"expected every event to fold; found: {error}") from error
    assert isinstance(event, GoalCreated | GoalMoved | GoalRestored)
    return event.parent_id


def branch_lines(log: Reader, owner: str, goal_id: str, until: int | None = None) -> Iterator[Recorded]:
    """The events about a goal and about those that were below it just before or just behind the event, in order. One
    pass over the owner's events. Raises ProjectionBehind."""
    branch = Branch(goal_id)
    return (line for line in all_lines(log, 0, PAGE, stream=goals_stream(owner), until=until) if branch.takes(line))


def events(log: Reader, wanted: Filter, after: int, limit: int) -> Page:
    """Those of a subtree behind a position, as `history.events` has them. Raises ProjectionBehind."""
    assert wanted.owner is not None
    assert wanted.subject is not None
    lines = branch_lines(log, wanted.owner, wanted.subject, wanted.until)
    found = (line for line in lines if line.position > after and wanted.type in (None, line.type))
    return first_of(_last_of(found, limit + 1), limit) if wanted.latest else first_of(found, limit)


def _last_of(lines: Iterable[Recorded], limit: int) -> Iterator[Recorded]:
    """The last events, the latest first: so many, and not many more bytes than a page has."""
    kept, size = deque[Recorded](), 0
    for line in lines:
        kept.append(line)
        size += line_size(line)
        while len(kept) > limit or (len(kept) > 2 and size - line_size(kept[0]) > PAGE_BYTES):
            size -= line_size(kept.popleft())
    return reversed(kept)
