"""Taskwarrior's export (https://taskwarrior.org/docs/commands/export/): an array, or an object a line."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from es_goals.outlines.json_ import Object, converted, loads
from es_goals.outlines.outline import Nesting, Notes, Row
from es_goals.outlines.texts import lines_of

_LOST = {"tags": "tags", "priority": "priorities", "recur": "repetitions"}


class _Note(Struct):
    description: str = ""


class _Task(Struct):
    """`depends`: a list, or in older versions ids with commas between them."""

    description: str = ""
    uuid: str = ""
    status: str = "pending"
    project: str = ""
    depends: list[str] | str = []
    entry: str | None = None
    scheduled: str | None = None
    due: str | None = None
    end: str | None = None
    annotations: list[_Note] = []


def read(text: str, notes: Notes) -> Iterator[Row]:
    """Tasks below the one task that depends on them, else below their project, `Home.Garden` being Garden in Home.
    Annotations are lines of the description."""
    if text.lstrip().startswith("["):
        values = [(1, value) for value in converted(loads(text), list[Any])]
    else:
        values = [(number, loads(line, number)) for number, line in enumerate(lines_of(text), 1) if line.strip()]
    tasks = [converted(value, _Task, line=number) for number, value in values]
    rows = [_row(task, value, notes) for task, (_, value) in zip(tasks, values, strict=True)]
    return _nested(tasks, rows, notes)


def _row(task: _Task, value: Object, notes: Notes) -> Row:
    row = Row(0, task.description, value.line, done=task.status == "completed")
    row.notes = [note.description for note in task.annotations if note.description]
    row.start = notes.time(task.scheduled or task.entry, row.line)
    row.due = notes.time(task.due, row.line, last=True)
    row.end = notes.time(task.end, row.line, last=True) if row.done else None
    if task.status in ("deleted", "recurring"):
        row.omit = "deleted tasks" if task.status == "deleted" else "recurring templates"
        return row
    for key, what in _LOST.items():
        if value.get(key):
            notes.leave_out(what, row.line)
    return row


def _nested(tasks: list[_Task], rows: list[Row], notes: Notes) -> Iterator[Row]:
    nesting = Nesting()
    projects: dict[tuple[int | None, str], int] = {}
    parents = _dependents(tasks, rows, notes)
    places = []
    for task, row, parent in zip(tasks, rows, parents, strict=True):
        above = None
        if parent is None and row.omit is None:
            above = _project(task.project, row.line, projects, nesting)
        elif parent is not None and task.project != tasks[parent].project:
            notes.leave_out("projects", row.line)
        places.append(nesting.add(row, above))
    for place, parent in zip(places, parents, strict=True):
        if parent is not None:
            nesting.put(place, places[parent])
    return nesting.in_order()


def _project(name: str, line: int, projects: dict[tuple[int | None, str], int], nesting: Nesting) -> int | None:
    above = None
    for part in filter(None, name.split(".")):
        if (above, part) not in projects:
            projects[above, part] = nesting.add(Row(0, part, line), above)
        above = projects[above, part]
    return above


def _dependents(tasks: list[_Task], rows: list[Row], notes: Notes) -> list[int | None]:
    """For each task the one that depends on it, if it is one."""
    numbers = {task.uuid: number for number, task in enumerate(tasks)}
    needed_by: dict[int, list[int]] = {}
    for number, task in enumerate(tasks):
        depends = task.depends.split(",") if isinstance(task.depends, str) else task.depends
        for uuid in filter(None, depends if rows[number].omit is None else ()):
            if uuid in numbers:
                needed_by.setdefault(numbers[uuid], []).append(number)
            else:
                notes.leave_out("dependencies", rows[number].line)
    for number, above in needed_by.items():
        if len(above) > 1:
            notes.leave_out("dependencies", rows[number].line)
    return [above[0] if len(above := needed_by.get(number, [])) == 1 else None for number in range(len(tasks))]
