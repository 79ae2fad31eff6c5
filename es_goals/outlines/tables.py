"""Tables: our own CSV, which has all of a goal, and the CSV that Todoist exports and backs up."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from types import SimpleNamespace

from es_goals.outlines.json_ import sure_time
from es_goals.outlines.outline import Item, Notes, Row, refuse
from es_goals.outlines.texts import lines_of, zone_named

OURS = ["depth", "name", "description", "status", "start", "due", "end"]
TODOIST = {"type", "content"}

# What a spreadsheet takes for a formula; an apostrophe in front makes it a text.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")
_NO_PRIORITY = ("", "4")
_LOST = {"responsible": "assignees", "duration": "durations"}


def header_of(text: str) -> set[str]:
    """The names of the columns, if this is a table."""
    line = lines_of(text[:2_000])[0]
    return {name.strip().strip('"').lower() for name in line.split(_separator(line))}


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _expect_columns(text: str, expected: set[str]) -> None:
    if missing := expected - header_of(text):
        refuse(1, f"columns named {' and '.join(sorted(expected))}", f"none named {min(missing)}")


def _records(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row under the header, by column, with the line that it begins in."""
    lines = text.split("\n")
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=_separator(lines[0]), strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not names:
                names = [cell.strip().lower() for cell in cells]
            elif any(cell.strip() for cell in cells):
                yield line, dict(zip_longest(names, cells[: len(names)], fillvalue=""))
            line = reader.line_num + 1
    except csv.Error as error:
        refuse(line, "a row of a table", str(error))


def read(text: str, notes: Notes) -> Iterator[Row]:
    """Goals as `write` writes them."""
    _expect_columns(text, set(OURS[:2]))
    for line, record in _records(text):
        cell = {name: _unmarked(text) for name, text in record.items()}
        depth = cell["depth"].strip()
        if not (depth.isascii() and depth.isdigit() and len(depth) < 7):
            refuse(line, "how deep a goal is, 0 at the top", repr(depth[:40]))
        row = Row(int(depth), cell.get("name", ""), line)
        row.notes = [cell["description"]] if cell.get("description") else []
        if (status := cell.get("status", "").strip() or "open") not in ("open", "done"):
            refuse(line, "open or done as status", repr(status[:40]))
        row.done = status == "done"
        for name, last in (("start", False), ("due", True), ("end", True)):
            if when := cell.get(name, "").strip():
                setattr(row, name, sure_time(when, line, name, notes, last))
        yield row


def write(items: Sequence[Item]) -> str:
    """A row for each goal, as spreadsheets read it (RFC 4180, with a byte order mark)."""
    lines: list[str] = ["\ufeff"]
    table = csv.writer(SimpleNamespace(write=lines.append))
    table.writerow(OURS)
    for item in items:
        times = (item.start, item.due, item.end)
        texts = (item.name, item.description or "", "done" if item.done else "open")
        table.writerow([item.depth, *map(_marked, texts), *(time.isoformat() if time else "" for time in times)])
    return "".join(lines)


def _marked(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _unmarked(text: str) -> str:
    return text[1:] if _MARKED.match(text) else text


def read_todoist(text: str, notes: Notes) -> list[Row]:
    """Tasks by their indentation, below their sections; comments are lines of their descriptions. A date that is words,
    such as `every day`, becomes one too."""
    _expect_columns(text, TODOIST)
    rows: list[Row] = []
    for line, record in _records(text):
        cell = {name: text.strip() for name, text in record.items()}
        match cell.get("type", "").lower():
            case "section":
                rows.append(Row(0, cell.get("content", ""), line))
            case "task":
                rows.append(_task(cell, line, notes))
            case "note" if rows:
                rows[-1].notes.append(cell.get("content", ""))
            case kind:
                notes.leave_out({"note": "comments", "meta": "settings"}.get(kind, "rows of other kinds"), line)
    return rows


def _task(cell: dict[str, str], line: int, notes: Notes) -> Row:
    indent = cell.get("indent", "")
    level = int(indent) if indent.isascii() and indent.isdigit() and len(indent) < 4 else 1
    row = Row(max(1, level), cell.get("content", "").removeprefix("* "), line)
    row.notes = [cell["description"]] if cell.get("description") else []
    zone = zone_named(cell.get("timezone", ""))
    for name in ("deadline", "date"):
        if text := cell.get(name):
            time = notes.find_time(text, line, zone, last=True)
            if time is None or row.due is not None:
                row.notes.append(f"{name.capitalize()}: {text}")
            row.due = row.due or time
    lost = [what for name, what in _LOST.items() if cell.get(name, "") not in ("", "None")]
    for what in lost + ["priorities"] * (cell.get("priority", "") not in _NO_PRIORITY):
        notes.leave_out(what, line)
    return row
