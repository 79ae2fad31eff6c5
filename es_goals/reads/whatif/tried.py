"""What would be, had a command recorded what a dry run of it says: a diff to that, or the tree as it would be."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from es_goals.events import GoalEvent, Recorded, encode, goals_stream
from es_goals.projector import View
from es_goals.reads import trees
from es_goals.reads.changes import AnyChange, DiffHead, GoalDiff
from es_goals.reads.diff import Diff, encoded
from es_goals.reads.history import folded
from es_goals.reads.trees import TreeOptions, UserTree
from es_goals.storage.log import Head, Reader, User, all_lines
from es_goals.storage.views import Key


class TriedGoal(Struct, frozen=True, gc=False):
    """A goal that would differ, as a diff has it, but without events."""

    id: str
    name: str
    path: list[str]
    under: int
    changes: list[AnyChange]
    path_count: int | UnsetType = UNSET


class TriedDiff(DiffHead, frozen=True, gc=False):
    """What would differ between a user's goals as they are and as they would be."""

    goals: list[TriedGoal]


class Tried(Struct, frozen=True):
    """Events that would come behind a user's event at this version and position; `end`: where the log ends, at the time
    that they would have."""

    owner: User
    version: int
    position: int
    end: Head
    events: Sequence[GoalEvent]

    def diff(self, log: Reader) -> bytes:
        """A TriedDiff as JSON. Raises LimitReached, ProjectionBehind, Interrupted."""
        return encoded(Diff(self._lines(log), self.position), self.owner.name, without_events)

    def tree(self, log: Reader) -> bytes:
        """A TreeAnswer of a flat view, as JSON. Raises ProjectionBehind, Interrupted."""
        rows: dict[Key, Any] = {}
        for line in self._lines(log):
            key: Key = (self.owner.id, line.subject or "")
            rows[key] = folded(rows.get(key), line)
        many = len(self.events)
        last = self.end.position + many if many else self.position
        view = View(rows, self.version + many, last, 0)
        return trees.whole(UserTree(view, self.owner.name), TreeOptions(flat=True))

    def _lines(self, log: Reader) -> Iterator[Recorded]:
        stream = goals_stream(self.owner.id)
        return chain(all_lines(log, stream=stream, until=self.position), self._as_recorded(stream))

    def _as_recorded(self, stream: str) -> Iterator[Recorded]:
        """The events as the log would have them, were they recorded next."""
        for number, event in enumerate(self.events, start=1):
            line = (stream, self.version + number, type(event).__name__, event.goal_id, self.end.at)
            yield Recorded(self.end.position + number, *line, None, "", None, encode(event))


def without_events(goal: GoalDiff) -> TriedGoal:
    """The same of what did not happen."""
    return TriedGoal(goal.id, goal.name, goal.path, goal.under, goal.changes, goal.path_count)
