"""What somebody's goals may have gone through: any steps at all, of which the rules accept what they accept."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

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
from es_goals.values import Rejected

USER = "ann"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
NAMES = ("run", "Walk", "Zoë's Straße", "swim a mile", "跑走")
TEXTS = (None, "daily", "before Łódź", "run in the rain")

Step = tuple[str, int, int, int]
KINDS = ("create", "create", "create", "rename", "describe", "schedule", "complete", "reopen", "move", "move", "sort",
         "delete", "restore", "restore")  # fmt: skip

steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), max_size=40
)


def lived(taken: Iterable[Step]) -> list[Recorded]:
    """The events of one user, at positions with gaps, as other users' events leave them."""
    goals, lines = Goals(), list[Recorded]()
    for number, step in enumerate(taken):
        try:
            events = decide(goals, _command(goals, step, f"g{number:02}"), NOW + timedelta(hours=number))
        except Rejected:
            continue
        at = micros(NOW) + number * 3_600_000_000
        for event in events:
            evolve(goals, event, at)
            line = (goals_stream(USER), len(lines) + 1, type(event).__name__, subject_of(event), at)
            lines.append(Recorded(2 * len(lines) + 3, *line, None, f"command-{number}", None, encode(event)))
    return lines


def _command(goals: Goals, step: Step, new_id: str) -> Command:
    kind, first, second, third = step
    living = [goal.id for goal in goals.known.values() if goal.root is None]
    deleted = [goal.id for goal in goals.known.values() if goal.root is not None]
    goal = living[first % len(living)] if living else "none"
    parent = [None, *living][second % (len(living) + 1)]
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
            return MoveGoal(goal, parent, before=sibling)
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
