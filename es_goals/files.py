"""Files of goals: what an import asks of the rules, and what an export writes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from es_goals.events import moment
from es_goals.goals.commands import Command, CompleteGoal, CreateGoal, Limits
from es_goals.goals.state import Goals
from es_goals.outlines import Item, Outline, read
from es_goals.outlines import Limits as OutlineLimits
from projections.goal_tree import Node


def outline_of(data: bytes, format: str | None, limits: Limits) -> Outline:
    """The goals in a file, within what one user may have. Raises BadOutline."""
    return read(data, format, OutlineLimits(limits.name, limits.description, limits.goals))


def commands_of(outline: Outline, new_id: Callable[[], str]) -> Iterator[Command]:
    """What makes the goals of an outline, in its order, each under an id of its own."""
    above: list[str] = []
    for item in outline.items:
        goal_id = new_id()
        del above[item.depth :]
        parent = above[-1] if above else None
        yield CreateGoal(goal_id, item.name, parent, item.description, item.start, item.due)
        above.append(goal_id)
        if item.done:
            yield CompleteGoal(goal_id, item.end)


def place_of(outline: Outline, commands: Sequence[Command], index: int) -> str:
    """Where in the file the goal of a command stood."""
    number = sum(isinstance(one, CreateGoal) for one in commands[: index + 1])
    return f"goal {number}, in line {outline.items[number - 1].line}"


def names_at_the_top(goals: Goals) -> list[str]:
    """Of goals that are not deleted."""
    return [goal.name for goal in goals.known.values() if goal.parent_id is None and goal.root is None]


def items_of(nodes: Iterable[Node]) -> list[Item]:
    """The goals that are not deleted, as they are written to a file."""
    return [_item(node) for node in nodes if node.row.root is None]


def _item(node: Node) -> Item:
    row = node.row
    start, due, end = (None if time is None else datetime.fromisoformat(time) for time in (row.start, row.due, row.end))
    return Item(
        node.depth, row.name, row.description, end is not None, start, due, end, id=row.id,
        updated_at=moment(row.updated_at),
    )  # fmt: skip
