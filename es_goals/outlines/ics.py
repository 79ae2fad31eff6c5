"""iCalendar (RFC 5545): `VTODO`s, nested by RELATED-TO. It keeps all of a goal but fractions of a second.

Lines are split and joined by the library. Its components are not used: with them a line that cannot be read costs the
whole file, a task takes 1.7 ms, and the time zones of one file stay known to the process.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from icalendar import vText
from icalendar.parser import Contentline, Contentlines
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from msgspec import Struct

from es_goals.outlines.outline import Item, Nesting, Notes, Row
from es_goals.outlines.texts import lines_of, zone_named

PRODUCT = "-//Over Achiever//Goals//EN"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOST = {"RRULE": "repetitions", "CATEGORIES": "tags", "ATTACH": "attachments", "DURATION": "durations"}
_TEXTS = ("DESCRIPTION", "COMMENT", "LOCATION", "URL")


class _Property(Struct):
    name: str
    parameters: dict[str, str]
    value: str


class _Todo(Struct):
    row: Row
    uid: str = ""
    parent: str = ""
    children: list[str] = []
    created: datetime | None = None


def read(text: str, notes: Notes) -> Iterator[Row]:
    """Tasks below the one that they name as their parent, or that names them as its child."""
    todos: list[_Todo] = []
    above: list[str] = []
    for line, property in _properties(text, notes):
        match property.name:
            case "BEGIN":
                above.append(property.value.strip().upper())
                _begin(above, todos, line, notes)
            case "END":
                del above[-1:]
            case _ if above[-1:] == ["VTODO"]:
                _set(todos[-1], property, line, notes)
    return _nested(todos)


def _begin(above: list[str], todos: list[_Todo], line: int, notes: Notes) -> None:
    match above[-1]:
        case "VTODO":
            todos.append(_Todo(Row(0, "", line)))
        case "VEVENT" | "VJOURNAL" | "VALARM" as kind:
            notes.leave_out({"VEVENT": "events", "VJOURNAL": "journals", "VALARM": "alarms"}[kind], line)


def _properties(text: str, notes: Notes) -> Iterator[tuple[int, _Property]]:
    """Each property, with the line that it begins in. Lines that begin with a space or tab continue it."""
    pieces: list[str] = []
    begun = 1
    for number, line in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        if pieces and line[:1] in (" ", "\t"):
            pieces.append(line[1:])
            continue
        if pieces and (whole := "".join(pieces)).strip():
            try:
                name, parameters, value = Contentline(whole).parts()
                yield begun, _Property(name.upper(), {key.upper(): str(of) for key, of in parameters.items()}, value)
            except ValueError:
                notes.leave_out("unreadable lines", begun)
        pieces, begun = [line], number


def _set(todo: _Todo, property: _Property, line: int, notes: Notes) -> None:
    row, value = todo.row, property.value
    match property.name:
        case "SUMMARY":
            row.name = value
        case "UID":
            todo.uid = value
        case "DTSTART":
            row.start = notes.time(value, line, _zone(property))
        case "CREATED":
            todo.created = notes.time(value, line, _zone(property))
        case "DUE":
            row.due = notes.time(value, line, _zone(property), last=True)
        case "COMPLETED":
            row.end = notes.time(value, line, _zone(property), last=True)
        case "RELATED-TO":
            _relate(todo, property, line, notes)
        case "STATUS" | "PERCENT-COMPLETE" | "PRIORITY":
            _judge(row, property, line, notes)
        case name if name in _TEXTS and value:
            row.notes.append(value if name in ("DESCRIPTION", "COMMENT") else f"{name.capitalize()}: {value}")
        case name if name in _LOST:
            notes.leave_out(_LOST[name], line)


def _judge(row: Row, property: _Property, line: int, notes: Notes) -> None:
    match property.name, property.value.strip().upper():
        case ("STATUS", "COMPLETED") | ("PERCENT-COMPLETE", "100"):
            row.done = True
        case ("STATUS", "CANCELLED"):
            row.done = True
            notes.take("cancelled goals", "done", line)
        case ("PRIORITY", value) if value != "0":
            notes.leave_out("priorities", line)


def _relate(todo: _Todo, property: _Property, line: int, notes: Notes) -> None:
    match property.parameters.get("RELTYPE", "PARENT").upper():
        case "PARENT" if not todo.parent:
            todo.parent = property.value
        case "CHILD":
            todo.children.append(property.value)
        case _:
            notes.leave_out("relations", line)


def _zone(property: _Property) -> tzinfo:
    name = property.parameters.get("TZID", "")
    return zone_named(WINDOWS_TO_OLSON.get(name, name))


def _nested(todos: list[_Todo]) -> Iterator[Row]:
    nesting = Nesting()
    numbers: dict[str, int] = {}
    for todo in todos:
        todo.row.start = todo.row.start or todo.created
        numbers.setdefault(todo.uid, nesting.add(todo.row))
    for number, todo in enumerate(todos):
        for child in todo.children:
            if child in numbers:
                nesting.put(numbers[child], number)
    for number, todo in enumerate(todos):
        if todo.parent and todo.parent in numbers:
            nesting.put(number, numbers[todo.parent])
    return nesting.in_order()


def write(items: Sequence[Item], title: str) -> bytes:
    """A task for each goal. Its UID is the goal's id, so that a calendar knows it again."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODUCT}", f"X-WR-CALNAME:{_escaped(title)}"]
    above: list[str] = []
    for number, item in enumerate(items):
        del above[item.depth :]
        uid = item.id or str(number)
        lines += ["BEGIN:VTODO", f"UID:{uid}", f"DTSTAMP:{_stamp(item.updated_at or item.start or EPOCH)}"]
        lines += _todo(item, above)
        above.append(uid)
    return bytes(Contentlines(map(Contentline, [*lines, "END:VCALENDAR"])).to_ical())


def _todo(item: Item, above: list[str]) -> Iterator[str]:
    yield f"SUMMARY:{_escaped(item.name)}"
    if item.description is not None:
        yield f"DESCRIPTION:{_escaped(item.description)}"
    if above:
        yield f"RELATED-TO:{above[-1]}"
    for name, time in (("DTSTART", item.start), ("DUE", item.due), ("COMPLETED", item.end)):
        if time is not None:
            yield f"{name}:{_stamp(time)}"
    yield f"STATUS:{'COMPLETED' if item.done else 'NEEDS-ACTION'}"
    yield "END:VTODO"


def _escaped(text: str) -> str:
    return vText("\n".join(lines_of(text))).to_ical().decode()


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
