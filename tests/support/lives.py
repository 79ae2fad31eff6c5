"""What somebody's goals may have gone through: any steps at all, of which the rules accept what they accept."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import cast

from hypothesis import strategies as st

from es_goals.events import Recorded, encode, goals_stream, micros, subject_of
from es_goals.goals.commands import (
    ChangeGoal,
    Command,
    CompleteGoal,
    CreateGoal,
    DeleteGoal,
    MoveGoal,
    ReopenGoal,
    RestoreGoal,
)
from es_goals.goals.rules import decide
from es_goals.goals.state import Goals, evolve
from es_goals.storage.log import Reader
from es_goals.values import Rejected
from tests.support.limits import LIMITS

USER = "ann"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
NAMES = ("run", "Walk", "Zoë's Straße", "swim a mile", "跑走")
TEXTS = (None, "daily", "before Łódź", "run in the rain")

Step = tuple[str, int, int, int]
KINDS = (
    "create", "create", "sort", "sort", "rename", "describe", "schedule", "complete", "reopen", "move", "move",
    "delete", "restore", "restore",
)  # fmt: skip

numbers = st.integers(0, 30)
growths = st.lists(st.tuples(st.just("create"), numbers, numbers, numbers), min_size=4, max_size=8)
anything = st.lists(st.tuples(st.sampled_from(KINDS), numbers, numbers, numbers), min_size=8, max_size=30)
steps: st.SearchStrategy[list[Step]] = st.tuples(growths, anything).map(lambda both: [*both[0], *both[1]])
parts = st.integers(0, 100)
"""Percent of all that happened."""


def position_of(lines: Sequence[Recorded], part: int) -> int:
    """Where so much has happened, also between two events."""
    return (lines[-1].position + 1) * part // 100 if lines else 0


def lived(taken: Iterable[Step]) -> list[Recorded]:
    """The events of one user, at positions with gaps, as other users' events leave them."""
    goals, lines = Goals(), list[Recorded]()
    for number, step in enumerate(taken):
        try:
            events = decide(goals, asked(goals, step, f"g{number:02}"), NOW + timedelta(hours=number), LIMITS)
        except Rejected:
            continue
        at = micros(NOW) + number * 3_600_000_000
        for event in events:
            evolve(goals, event, at)
            line = (goals_stream(USER), len(lines) + 1, type(event).__name__, subject_of(event), at)
            lines.append(Recorded(2 * len(lines) + 3, *line, None, f"command-{number}", None, encode(event)))
    return lines


def asked(goals: Goals, step: Step, new_id: str) -> Command:
    """What a step asks of these goals; a goal that it makes gets the id."""
    kind, first, second, third = step
    living = [goal.id for goal in goals.known.values() if goal.root is None]
    deleted = [goal.id for goal in goals.known.values() if goal.root is not None]
    goal = living[first % len(living)] if living else "none"
    parent = [None, *living[:4]][second % min(5, len(living) + 1)]  # few, so that they have many below them
    siblings = [one for _, one in goals.siblings.get(parent, ()) if one != goal and one in living]
    sibling = siblings[third % len(siblings)] if siblings else None
    match kind:
        case "create":
            return CreateGoal(new_id, NAMES[first % len(NAMES)], parent, TEXTS[third % len(TEXTS)])
        case "rename":
            return ChangeGoal(goal, name=NAMES[second % len(NAMES)])
        case "describe":
            return ChangeGoal(goal, description=TEXTS[second % len(TEXTS)])
        case "schedule":
            due = NOW + timedelta(days=second) if second % 3 else None
            return ChangeGoal(goal, start=NOW + timedelta(hours=third % 4), due=due)
        case "complete":
            return CompleteGoal(goal, cascade=second % 2 == 0)
        case "reopen":
            return ReopenGoal(goal)
        case "move":
            return MoveGoal(goal, parent, before=sibling if third % 2 else None)
        case "sort":
            above = goals.known[goal].parent_id if goal in goals.known else None
            beside = [one for _, one in goals.siblings.get(above, ()) if one != goal and one in living]
            return MoveGoal(goal, after=beside[third % len(beside)]) if beside else ReopenGoal(goal)
        case "delete":
            return DeleteGoal(goal)
        case _:
            chosen = deleted[first % len(deleted)] if deleted else "none"
            root = (goals.known[chosen].root or chosen) if deleted else chosen
            return RestoreGoal(root) if third % 2 else RestoreGoal(root, parent)


class Told:
    """Lines as a log finds them."""

    def __init__(self, lines: Sequence[Recorded]) -> None:
        self._lines = lines
        self._of: dict[str | None, list[Recorded]] = {}
        for line in lines:
            self._of.setdefault(line.subject, []).append(line)

    def read(
        self, after: int, limit: int, *, until: int, stream: str | None = None, subject: str | None = None
    ) -> list[Recorded]:
        """As Reader's, of what is asked here."""
        lines = self._lines if subject is None else self._of.get(subject, [])
        start = bisect_right(lines, after, key=attrgetter("position"))
        page = lines[start : start + limit]
        return [line for line in page if line.position <= until and line.stream == (stream or line.stream)]

    @property
    def log(self) -> Reader:
        """Itself, as the type checker sees it."""
        return cast(Reader, self)
