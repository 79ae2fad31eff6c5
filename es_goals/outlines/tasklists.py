"""Task lists in plain text: TaskPaper (https://guide.taskpaper.com/reference/) and todo.txt
(https://github.com/todotxt/todo.txt)."""

import re
from collections.abc import Iterator

from es_goals.outlines.outline import Notes, Row
from es_goals.outlines.texts import indentation, lines_of

_TAG = re.compile(r"(?:^|\s)@(done|due|start|cancelled)(?:\(([^()]{0,60})\))?(?=\s|$)")
_PROJECT = re.compile(r"(.*):((?:\s+@[\w.-]{1,60}(?:\([^()]{0,200}\))?)*)")
_TIMES = re.compile(r"(?:^|\s)(due|t):(\S{1,60})(?=\s|$)")


def read_taskpaper(text: str, notes: Notes) -> list[Row]:
    """A project or task is a goal; a note is a line of the description of what it stands below. Tags that are no times
    stay in the names."""
    rows: list[Row] = []
    above: list[Row] = []
    for number, line in enumerate(lines_of(text), 1):
        body = line.strip()
        if not body:
            continue
        width = indentation(line[: len(line) - len(line.lstrip())])
        while above and above[-1].level >= width:
            above.pop()
        name = _name(body)
        if name is None and above:
            above[-1].notes.append(body)
            continue
        row = _tagged(Row(width, body if name is None else name, number), notes)
        rows.append(row)
        above.append(row)
    return rows


def _name(body: str) -> str | None:
    """Of a task or project; None for a note."""
    if body == "-" or body.startswith("- "):
        return body[1:].lstrip()
    project = _PROJECT.fullmatch(body)
    return None if project is None else project[1] + project[2]


def _tagged(row: Row, notes: Notes) -> Row:
    def read_tag(tag: re.Match[str]) -> str:
        time = notes.find_time(tag[2], row.line, last=tag[1] != "start") if tag[2] else None
        if tag[1] in ("due", "start") and time is None:
            return tag[0]
        match tag[1]:
            case "due":
                row.due = time
            case "start":
                row.start = time
            case _:
                row.done, row.end = True, time or row.end
        if tag[1] == "cancelled":
            notes.take("cancelled goals", "done", row.line)
        return ""

    row.name = _TAG.sub(read_tag, row.name)
    return row


def read_todotxt(text: str, notes: Notes) -> Iterator[Row]:
    """What is done and when, dates of creation as starts, `due:` and `t:` (when it is to start)."""
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            yield _task(line, number, notes)


def _task(line: str, number: int, notes: Notes) -> Row:
    from pytodotxt import Task

    row = Row(0, line, number)
    try:
        task = Task(line)
    except ValueError:  # a date that no calendar has: all of it is the name
        return row
    if task.priority:
        notes.leave_out("priorities", number)
    row.done = bool(task.is_completed)
    row.end = notes.time(_text(task.completion_date), number, last=True)
    times = {}

    def read_time(found: re.Match[str]) -> str:
        times[found[1]] = notes.find_time(found[2], number, last=found[1] == "due")
        return found[0] if times[found[1]] is None else ""

    row.name = _TIMES.sub(read_time, task.description or "")
    row.due = times.get("due")
    row.start = times.get("t") or notes.time(_text(task.creation_date), number)
    return row


def _text(date: object) -> str | None:
    return None if date is None else str(date)
