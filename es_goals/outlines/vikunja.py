"""Vikunja's export: `data.json` of its archive, a list of projects with their tasks."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from es_goals.outlines.json_ import Object, converted, loads
from es_goals.outlines.outline import Nesting, Notes, Row
from es_goals.outlines.texts import plain_text

NEVER = "0001-01-01T00:00:00Z"
_LOST = {"labels": "tags", "priority": "priorities", "repeat_after": "repetitions", "assignees": "assignees"}
_LOST |= {"attachments": "attachments", "reminders": "reminders"}


class _Project(Struct):
    """`id`: below zero for filters, which only show tasks of other projects."""

    id: int = 0
    title: str = ""
    description: str = ""
    parent_project_id: int = 0
    tasks: list[Any] | None = None


class _Comment(Struct):
    comment: str = ""


class _Task(Struct):
    id: int = 0
    title: str = ""
    description: str = ""
    done: bool = False
    created: str | None = None
    start_date: str | None = None
    due_date: str | None = None
    done_at: str | None = None
    related_tasks: dict[str, list[Any] | None] | None = None
    comments: list[_Comment] | None = None


def read(text: str, notes: Notes) -> Iterator[Row]:
    """A goal for each project, its projects and tasks below it, and tasks below those that they are sub-tasks of."""
    values = converted(loads(text), list[Any])
    reader = _Reader(notes)
    projects = [converted(value, _Project) for value in values]
    for project, value in zip(projects, values, strict=True):
        reader.add_project(project, value)
    for project in projects:
        reader.add_tasks(project)
    return reader.nested(projects)


class _Reader:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._nesting = Nesting()
        self._projects: dict[int, int] = {}
        self._tasks: dict[int, int] = {}
        self._sub_tasks: list[tuple[int, Object, int]] = []

    def add_project(self, project: _Project, value: Object) -> None:
        if project.id < 0:
            self._notes.leave_out("filters", value.line)
            return
        row = Row(0, project.title, value.line)
        row.notes = [plain_text(project.description)] if project.description else []
        self._projects[project.id] = self._nesting.add(row)

    def add_tasks(self, project: _Project) -> None:
        if project.id in self._projects:
            for value in project.tasks or ():
                self._add_task(value, self._projects[project.id])

    def _add_task(self, value: Object, above: int) -> int:
        task = converted(value, _Task)
        place = self._nesting.add(self._row(task, value), above)
        self._tasks[task.id] = place
        for kind, others in (task.related_tasks or {}).items():
            if kind == "subtask":
                self._sub_tasks += [(place, other, above) for other in others or ()]
            elif kind != "parenttask" and others:
                self._notes.leave_out("relations", value.line)
        return place

    def _row(self, task: _Task, value: Object) -> Row:
        row = Row(0, plain_text(task.title), value.line, done=task.done)
        texts = [task.description, *(comment.comment for comment in task.comments or ())]
        row.notes = [plain_text(text) for text in texts if text]
        row.start = self._time(task.start_date, row) or self._time(task.created, row)
        row.due = self._time(task.due_date, row, last=True)
        row.end = self._time(task.done_at, row, last=True) if task.done else None
        for key, what in _LOST.items():
            if value.get(key):
                self._notes.leave_out(what, row.line)
        return row

    def _time(self, text: str | None, row: Row, last: bool = False) -> datetime | None:
        return None if text == NEVER else self._notes.time(text, row.line, last=last)

    def nested(self, projects: list[_Project]) -> Iterator[Row]:
        """All rows, when all are known."""
        for project in projects:
            place, above = self._projects.get(project.id), self._projects.get(project.parent_project_id or -1)
            if place is not None and above is not None:
                self._nesting.put(place, above)
        for place, value, above in self._sub_tasks:
            number = converted(value, _Task).id
            if number not in self._tasks:
                self._add_task(value, above)
            self._nesting.put(self._tasks[number], place)
        return self._nesting.in_order()
