"""Google Tasks as Takeout exports them: lists of tasks in one JSON file."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from es_goals.outlines.json_ import Object, converted, loads
from es_goals.outlines.outline import Nesting, Notes, Row


class _Document(Struct):
    kind: str = ""
    items: list[Any] = []


class _List(Struct):
    title: str = ""
    items: list[Any] = []


class _Link(Struct):
    description: str = ""
    link: str = ""


class _Task(Struct):
    """`due` has a time, which means nothing: Google keeps the date alone."""

    id: str = ""
    parent: str = ""
    title: str = ""
    notes: str = ""
    status: str = "needsAction"
    created: str | None = None
    due: str | None = None
    completed: str | None = None
    deleted: bool = False
    links: list[_Link] = []


def read(text: str, notes: Notes) -> Iterator[Row]:
    """A goal for each list, and its tasks below it."""
    value = loads(text)
    document = converted(value, _Document)
    nesting = Nesting()
    if document.kind == "tasks#tasks":
        _add(document.items, None, nesting, notes)
    else:
        for each in document.items:
            tasks = converted(each, _List)
            _add(tasks.items, nesting.add(Row(0, tasks.title, each.line)), nesting, notes)
    return nesting.in_order()


def _add(values: list[Any], top: int | None, nesting: Nesting, notes: Notes) -> None:
    tasks = [converted(value, _Task) for value in values]
    places = [nesting.add(_row(task, value, notes), top) for task, value in zip(tasks, values, strict=True)]
    numbers = dict(zip((task.id for task in tasks), places, strict=True))
    for task, place in zip(tasks, places, strict=True):
        if task.parent and task.parent in numbers:
            nesting.put(place, numbers[task.parent])


def _row(task: _Task, value: Object, notes: Notes) -> Row:
    row = Row(0, task.title, value.line, done=task.status == "completed")
    row.omit = "deleted tasks" if task.deleted else None
    row.notes = [task.notes] if task.notes else []
    row.notes += [f"{link.description} {link.link}".strip() for link in task.links]
    row.start = notes.time(task.created, row.line)
    row.due = notes.time((task.due or "")[:10], row.line, last=True)
    row.end = notes.time(task.completed, row.line, last=True) if row.done else None
    return row
