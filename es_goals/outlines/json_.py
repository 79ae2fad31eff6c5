"""JSON: a reader that never recurses and knows its lines, for every format made of it; and our own, which has all of a
goal, as `GET …/goals` and an export answer it."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

from es_goals.outlines.outline import BadOutline, Notes, Row, refuse

DEEPEST = 250_000
TOKENS_LOOKED_AT = 20_000
PATH_SHOWN = 6

_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
T = TypeVar("T")


class Object(dict[str, Any]):
    """An object, and the line that it begins in."""

    line: int


def loads(text: str, first: int = 1) -> Any:
    """As json.loads, with Objects for objects, at any depth. `first`: the line that the text begins in. Raises
    BadOutline, also where an object has a member twice.

    Each array and object is decoded alone, with [n] in place of an inner one.
    """
    document = _Document(text, first)
    made: list[Any] = []
    unclosed: list[list[tuple[int, str]]] = [[]]
    at = 0
    for mark in _BRACKET_OR_STRING.finditer(text):
        if mark.group() in "[{":
            unclosed[-1].append((at, text[at : mark.start()]))
            unclosed.append([])
            at = mark.start()
            if len(unclosed) > DEEPEST:
                refuse(document.line(at), f"JSON nested at most {DEEPEST} deep", "more")
        elif mark.group() in "]}":
            made.append(document.decoded([*unclosed.pop(), (at, text[at : mark.end()])], made))
            at = mark.end()
            number = f"[{len(made) - 1}]"
            unclosed[-1].append((at - len(number), number))
    scalar = document.decoded([*unclosed[-1], (at, text[at:])], made)
    return made[-1] if made else scalar


class _Document:
    def __init__(self, text: str, first: int) -> None:
        self._first = first
        self._line_ends = [end.start() for end in re.finditer("\n", text)]

    def line(self, at: int) -> int:
        return bisect_left(self._line_ends, at) + self._first

    def decoded(self, pieces: list[tuple[int, str]], made: list[Any]) -> Any:
        """Decodes the pieces, each with its place in the text, and puts what was made where its number stands."""
        try:
            value = _decode("".join(piece for _, piece in pieces))
        except _Twice as error:
            refuse(self.line(pieces[0][0]), "each member of an object once", f"{str(error)[:40]!r} twice")
        except ValueError as error:
            self._refuse(_place(pieces, getattr(error, "pos", 0)), str(getattr(error, "msg", error)))
        if isinstance(value, dict):
            whole = Object((key, made[inner[0]] if isinstance(inner, list) else inner) for key, inner in value.items())
            whole.line = self.line(pieces[0][0])
            return whole
        if isinstance(value, list):
            return [made[inner[0]] if isinstance(inner, list) else inner for inner in value]
        return value

    def _refuse(self, at: int, fault: str) -> None:
        line = bisect_left(self._line_ends, at)
        column = at - (self._line_ends[line - 1] if line else -1)
        raise BadOutline(f"line {line + self._first}, column {column}: expected JSON; found a fault: {fault}") from None


def _place(pieces: list[tuple[int, str]], at: int) -> int:
    for start, piece in pieces:
        if at <= len(piece):
            return at + start
        at -= len(piece)
    return at


class _Twice(Exception):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _Twice(key)
        members[key] = value
    return members


_decode = json.JSONDecoder(object_pairs_hook=_members).decode


def first_members(text: str) -> set[str]:
    """The names of the members of the first object in a text that may be JSON."""
    names: set[str] = set()
    depth, last = 0, ""
    for token in islice(re.finditer(r'[\[\]{}:]|"(?:[^"\\]|\\.)*"', text), TOKENS_LOOKED_AT):
        match token.group():
            case "{" | "[":
                depth += depth > 0 or token.group() == "{"
            case "}" | "]":
                depth -= depth > 0
                if depth == 0 and names:
                    break
            case ":":
                names |= {last} if depth == 1 else set()
            case string:
                last = string[1:-1]
    return names


def converted(value: Any, type: type[T], path: str = "", line: int = 1) -> T:
    """The value as this type. Raises BadOutline, which names the line of the object, else `line`, and what is there."""
    try:
        return convert(value, type)
    except ValidationError as error:
        fault, _, member = str(error).partition(" - at `$")
        expected, _, found = fault.removeprefix("Expected ").partition(", got ")
        place = (path + member.rstrip("`")).lstrip(".")
        refuse(getattr(value, "line", line), f"{expected}{f' as {place}' if place else ''}", found or "another shape")


class _Goal(Struct):
    name: str = ""
    description: str | None = None
    sub_goals: list[Any] = []
    sub_goal_count: Annotated[int, Meta(ge=0)] = 0
    status: Literal["open", "done", "deleted"] = "open"
    start: str | None = None
    due: str | None = None
    end: str | None = None
    depth: Annotated[int, Meta(ge=0)] = 0


_KNOWN = {"id", "user", "parent_id", "created_at", "updated_at", "revision", "progress", "open_sub_goals"}
_KNOWN |= set(_Goal.__struct_fields__)


def read(text: str, notes: Notes) -> Iterator[Row]:
    """Goals of our own: `{"goals": […]}`, a list of goals, or one."""
    document = loads(text)
    path: list[str] = []
    if isinstance(document, Object) and "goals" in document:
        path, document = ["goals"], document["goals"]
    elif isinstance(document, Object) and "name" in document:
        document = [document]
    elif not isinstance(document, list):
        refuse(1, "goals, a list of them, or one with a name", "other JSON")
    waiting = _numbered(0, "".join(path), converted(document, list[Any], "goals"))
    while waiting:
        nested, place, value = waiting.pop()
        path[nested:] = [place]
        goal = _goal(value, path)
        yield from _rows(goal, nested, value.line, path, notes)
        waiting += _numbered(nested + 1, "sub_goals", goal.sub_goals)


def _numbered(depth: int, name: str, goals: list[Any]) -> list[tuple[int, str, Any]]:
    return [(depth, f"{name}[{index}]", goal) for index, goal in enumerate(goals)][::-1]


def _goal(value: Any, path: list[str]) -> _Goal:
    goal = converted(value, _Goal, _shown(path))
    if unknown := value.keys() - _KNOWN:
        refuse(value.line, f"the members of a goal in {_shown(path)}", f"{min(unknown)[:40]!r}, which no goal has")
    return goal


def _rows(goal: _Goal, nested: int, line: int, path: list[str], notes: Notes) -> Iterator[Row]:
    # The goals of a flat answer lie side by side, and tell how deep they are.
    row = Row(nested + goal.depth, goal.name, line, done=goal.status == "done")
    row.notes = [] if goal.description is None else [goal.description]
    row.omit = "deleted goals" if goal.status == "deleted" else None
    for name, last in (("start", False), ("due", True), ("end", True)):
        if (text := getattr(goal, name)) is not None:
            setattr(row, name, sure_time(text, line, f"{_shown(path)}.{name}", notes, last))
    yield row
    if goal.sub_goal_count and not goal.sub_goals:
        notes.leave_out("cut-off subtrees", line)


def sure_time(text: str, line: int, name: str, notes: Notes, last: bool = False) -> datetime:
    """The time, where another text is none that we have written. Raises BadOutline."""
    found = notes.find_time(text, line, last=last)
    if found is None:
        refuse(line, f"an RFC 3339 time with an offset as {name}", repr(text[:40]))
    return found


def _shown(path: list[str]) -> str:
    middle = ["…"] if len(path) > 2 * PATH_SHOWN else []
    return ".".join(path if not middle else [*path[:PATH_SHOWN], *middle, *path[-PATH_SHOWN + 1 :]])
