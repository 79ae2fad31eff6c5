"""Users' Goals, folded from the log for deciding, and those kept in memory."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import cast

from msgspec import Struct

from es_goals.deciding import Request
from es_goals.events import GoalCreated, GoalEvent, Recorded
from es_goals.goals.commands import CompleteGoal, CreateGoal, Undo
from es_goals.goals.state import Goals, evolve
from es_goals.storage.log import Log, Transaction, all_lines, line_size

PAGE = 5_000  # events of a user read at once: finding where a page begins takes longer the more are behind it
GOAL_BYTES = 500  # that Python takes for a goal without its texts; measured: 470
TEXT_BYTES = 5  # for a byte of UTF-8, which stays once made, at the most: one emoji gives all characters four


class Folded(Struct):
    """A user's goals as of a position; `counted`: bytes of memory that they count for, `history` those of their events
    in the log."""

    goals: Goals
    position: int
    counted: int = 0
    history: int = 0


class GoalsCache:
    """For the writer's thread alone; others may look whether a stream is in it. `bound`: bytes over all users."""

    def __init__(self, bound: int) -> None:
        self._bound, self._size = bound, 0
        self._cache: OrderedDict[str, Folded] = OrderedDict()

    def __contains__(self, stream: str) -> bool:
        return stream in self._cache

    def current(self, transaction: Transaction, stream: str, cold: list[Folded]) -> Folded:
        """The user's Goals at the log's end. What was folded ahead is used up, since deciding changes it."""
        cached = self._cache.get(stream)
        if cached is None:
            cached = cold.pop() if cold else Folded(Goals(), 0)
            top_up(transaction, stream, cached)
            self._cache[stream] = cached
            self.changed(stream)
        self._cache.move_to_end(stream)
        return cached

    def changed(self, stream: str) -> None:
        """Count anew what a user's goals take, and forget who was not heard of for the longest time."""
        self._count(self._cache[stream])
        self._shrink(stream)

    def follow(self, lines: Sequence[Recorded]) -> None:
        """Fold what others appended."""
        for line in lines:
            cached = self._cache.get(line.stream)
            if cached is not None and line.version == cached.goals.version + 1:
                _evolve(cached, line)
                self._count(cached)

    def _shrink(self, keep: str) -> None:
        while self._size > self._bound and (oldest := next(iter(self._cache))) != keep:
            self.drop(oldest)

    def drop(self, stream: str) -> None:
        """Forget one."""
        self._size -= self._cache.pop(stream).counted

    def _count(self, cached: Folded) -> None:
        size = GOAL_BYTES * (len(cached.goals.known) + 1) + TEXT_BYTES * cached.goals.text
        self._size += size - cached.counted
        cached.counted = size

    def forget(self, streams: Collection[str] | None) -> None:
        """Forget some, or (None) all."""
        if streams is None:
            self._cache.clear()
            self._size = 0
        for stream in streams or ():
            if stream in self._cache:
                self.drop(stream)


def folded(log: Log, stream: str, until: int | None = None) -> Folded:
    """A user's goals, as of a position or now."""
    cached = Folded(Goals(), 0)
    top_up(log, stream, cached, until)
    return cached


def shown_then(log: Log, stream: str, request: Request, events: Sequence[GoalEvent], until: int) -> Goals:
    """The goals that a request's answer shows, as of a position: each folded by itself, where nothing is asked of what
    is below it."""
    if not request.shown:
        return Goals()
    ids = {event.goal_id for event in events if isinstance(event, GoalCreated)}
    for command in request.commands:
        if isinstance(command, CreateGoal):
            continue
        if isinstance(command, CompleteGoal | Undo) or not isinstance(command.goal, str):
            return folded(log, stream, until).goals
        ids.add(command.goal)
    goals = Goals()
    for goal_id in ids:
        for line in all_lines(log, subject=goal_id, until=until):
            evolve(goals, cast(GoalEvent, line.event), line.at)
    return goals


def top_up(log: Log | Transaction, stream: str, cached: Folded, until: int | None = None) -> None:
    """Fold what comes behind, up to a position or to the log's end."""
    for line in all_lines(log, cached.position, PAGE, stream=stream, until=until):
        _evolve(cached, line)


def _evolve(cached: Folded, line: Recorded) -> None:
    evolve(cached.goals, cast(GoalEvent, line.event), line.at)
    cached.position = line.position
    cached.history += line_size(line)
