"""Import and export: trees of goals in the formats of outliners, task lists and calendars. Pure: bytes in and out.

A module for each family of formats, imported when one of it is read. `outline` has the rules that all readers share,
`recognition` tells the formats apart.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from es_goals.outlines.outline import (
    BadOutline,
    CannotWrite,
    Item,
    Limits,
    Notes,
    Outline,
    Row,
    outline_of,
    repeated,
)

__all__ = [
    "FORMATS",
    "WRITTEN",
    "BadOutline",
    "CannotWrite",
    "Format",
    "Item",
    "Limits",
    "Notes",
    "Outline",
    "read",
    "recognise",
    "repeated",
    "summary",
    "write",
]


class Format(Struct, frozen=True):
    """What people call it, and its media type."""

    label: str
    media_type: str


FORMATS = {
    "json": Format("JSON", "application/json"),
    "opml": Format("OPML", "text/x-opml"),
    "markdown": Format("Markdown", "text/markdown"),
    "text": Format("a text outline", "text/plain"),
    "csv": Format("CSV", "text/csv"),
    "ics": Format("iCalendar", "text/calendar"),
    "org": Format("Org", "text/org"),
    "taskpaper": Format("TaskPaper", "text/plain"),
    "todotxt": Format("todo.txt", "text/plain"),
    "todoist": Format("Todoist CSV", "text/csv"),
    "taskwarrior": Format("Taskwarrior JSON", "application/json"),
    "googletasks": Format("Google Tasks JSON", "application/json"),
    "vikunja": Format("Vikunja JSON", "application/json"),
}
"""All that can be read."""

WRITTEN = ("opml", "markdown", "csv", "ics")
"""All that can be written. Our own JSON is what the service answers."""

DEFAULTS = Limits()
_Reader = Callable[[str, Notes], Iterable[Row]]


def read(data: bytes, format: str | None = None, limits: Limits = DEFAULTS) -> Outline:
    """The goals in a file of this format, or of the one that is recognised.

    A date alone is the first second of its day in UTC as a start, the last one as due or end; a time without an offset
    is one in UTC. Raises BadOutline where the file is of another format, is damaged, or has no goals.
    """
    from es_goals.outlines.recognition import decoded, recognised

    text = decoded(data)
    format = format or recognised(text)
    notes = Notes()
    return outline_of(_reader(format)(text, notes), notes, format, limits)


def recognise(data: bytes) -> str:
    """The format. Raises BadOutline, which says what the file looks like, where it is none that can be read."""
    from es_goals.outlines.recognition import decoded, recognised

    return recognised(decoded(data))


def _reader(format: str) -> _Reader:
    from es_goals.outlines import json_, markdown, opml, org, tables, tasklists

    match format:
        case "json":
            return json_.read
        case "opml":
            return opml.read
        case "csv":
            return tables.read
        case "todoist":
            return tables.read_todoist
        case "org":
            return org.read
        case "taskpaper":
            return tasklists.read_taskpaper
        case "todotxt":
            return tasklists.read_todotxt
        case "markdown" | "text":
            return markdown.read
        case _:
            return _rarer_reader(format)


def _rarer_reader(format: str) -> _Reader:
    from es_goals.outlines import googletasks, taskwarrior, vikunja

    match format:
        case "taskwarrior":
            return taskwarrior.read
        case "googletasks":
            return googletasks.read
        case "vikunja":
            return vikunja.read
        case _:
            from es_goals.outlines import ics

            return ics.read


def write(items: Sequence[Item], format: str, title: str) -> bytes:
    """The goals as a file. OPML keeps all of a goal but characters that XML cannot hold; CSV all, an empty description
    being none; iCalendar all but fractions of a second; Markdown names, order, nesting, descriptions and what is done,
    but no times. Raises CannotWrite."""
    from es_goals.outlines import markdown, opml, tables

    match format:
        case "opml":
            return opml.write(items, title).encode()
        case "markdown":
            return markdown.write(items).encode()
        case "csv":
            return tables.write(items).encode()
        case _:
            from es_goals.outlines import ics

            return ics.write(items, title)


def summary(outline: Outline, doing: str = "imported", whose: str = "") -> str:
    """One sentence for people: what was read, how many goals, and what did not come over as it was."""
    count = len(outline.items)
    goals = f"{doing} {count} goal{'s' * (count != 1)}" + (f" for {whose}" if whose else "")
    notes = f"; {outline.notes}" if str(outline.notes) else ""
    return f"read as {FORMATS[outline.format].label}: {goals}{notes}"
