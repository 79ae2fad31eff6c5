"""A user's log in memory, with nothing but the rules: commands are decided on it, and undone."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from es_goals.events import GoalEvent, Recorded, encode, goals_stream, moment
from es_goals.goals.commands import Command, Limits, Undo
from es_goals.goals.reversals import Life, is_spacing, rooms, undos
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.values import Rejected
from tests.support.engines import NOW
from tests.support.limits import LIMITS

Tree = dict[str, tuple[Any, ...]]


class Past:
    """What one user did. `commands`: the ids of those that recorded something, in order."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits, self.goals = limits, Goals()
        self.lines: list[Recorded] = []
        self.commands: list[str] = []

    def do(self, *commands: Command | Undo) -> str | None:
        """Decide some commands, all or none; returns the id that they are recorded under, None if they change nothing.
        Raises Rejected."""
        goals = self.goals if len(commands) == 1 else self.refolded()
        events = [event for command in commands for event in self._done(goals, command)]
        self.goals = goals
        return self.record(events)

    def attempt(self, *commands: Command) -> str | None:
        """As `do`, but what is refused is left out."""
        events: list[GoalEvent] = []
        for command in commands:
            with suppress(Rejected):
                events += self._done(self.goals, command)
        return self.record(events)

    def _done(self, goals: Goals, command: Command | Undo) -> Sequence[GoalEvent]:
        caused = decide(goals, command, moment(NOW), self.limits)
        for event in caused:
            evolve(goals, event, NOW)
        return caused

    def record(self, events: Sequence[GoalEvent]) -> str | None:
        """Append what the rules have decided."""
        if not events:
            return None
        command = f"c{len(self.commands) + 1}"
        for event in events:
            position = len(self.lines) + 1
            place = (position, goals_stream("ann"), position, type(event).__name__, event.goal_id, NOW)
            self.lines.append(Recorded(*place, "ann", command, None, encode(event)))
        self.commands.append(command)
        return command

    def refolded(self) -> Goals:
        """All goals, from the log."""
        goals = Goals()
        for line in self.lines:
            event = line.event
            assert isinstance(event, GoalEvent)
            evolve(goals, event, line.at)
        return goals

    def undos(self, *commands: str) -> list[Undo]:
        """What undoes these, the latest first."""
        by_goal: dict[str, list[Recorded]] = {}
        for line in self.lines:
            by_goal.setdefault(line.subject or "", []).append(line)
        lives = {goal_id: Life(lines) for goal_id, lines in by_goal.items()}
        latest = sorted(commands, key=self.commands.index, reverse=True)
        events = [[line for line in self.lines if line.command == one] for one in latest]
        return list(undos(events, lives, list(rooms(filter(is_spacing, self.lines), lives))))

    def undo(self, *commands: str) -> str | None:
        """Undo these; returns the id that it is recorded under. Raises Rejected."""
        return self.do(*self.undos(*commands))

    def events(self, command: str | None) -> list[GoalEvent]:
        """What a command recorded."""
        return [event for line in self.lines if line.command == command and isinstance(event := line.event, GoalEvent)]

    def tree(self) -> Tree:
        """The living goals as readers see them, by id: where each is among its siblings, and its fields."""
        return tree(self.goals)


def tree(goals: Goals) -> Tree:
    """The living goals as readers see them, by id: where each is among its siblings, and its fields."""
    found: Tree = {}
    for parent_id, siblings in goals.siblings.items():
        living = [goals.known[goal_id] for _, goal_id in siblings if goals.known[goal_id].root is None]
        for index, goal in enumerate(living):
            fields = (goal.name, goal.description, goal.start, goal.due, goal.end, goal.created_at)
            found[goal.id] = (parent_id, index, *fields)
    return found
