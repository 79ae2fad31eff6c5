"""Short ways to what a file becomes."""

from datetime import UTC, datetime

import pytest

from es_goals.outlines import BadOutline, Item, Outline, read

MANY = 20_000


def outline(text: str | bytes, format: str | None = None) -> Outline:
    """What a file becomes."""
    return read(text.encode() if isinstance(text, str) else text, format)


def goals(text: str | bytes, format: str | None = None) -> list[Item]:
    """Its goals, without the lines they stood in."""
    items = outline(text, format).items
    for item in items:
        item.line = 0
    return items


def tree(text: str | bytes, format: str | None = None) -> list[tuple[int, str]]:
    """The depths and names of its goals."""
    return [(item.depth, item.name) for item in outline(text, format).items]


def names(text: str | bytes, format: str | None = None) -> list[str]:
    """The names of its goals."""
    return [item.name for item in outline(text, format).items]


def notes(text: str | bytes, format: str | None = None) -> str:
    """What is said of what did not come over as it was."""
    return str(outline(text, format).notes)


def refusal(text: str | bytes, format: str | None = None) -> str:
    """Why a file cannot be read."""
    with pytest.raises(BadOutline) as refused:
        outline(text, format)
    return str(refused.value)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opml(body: str) -> str:
    """An OPML file."""
    return f'<opml version="2.0"><head><title>Goals</title></head><body>{body}</body></opml>'


def ics(*todos: str) -> str:
    """An iCalendar file; lines are separated by |."""
    bodies = "".join(f"BEGIN:VTODO|{todo}|END:VTODO|" for todo in todos)
    return f"BEGIN:VCALENDAR|VERSION:2.0|{bodies}END:VCALENDAR|".replace("|", "\r\n")
