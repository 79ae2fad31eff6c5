"""Outlines: trees of goals as JSON, OPML or plain text, for import and export.

A whole outline is a flat list in pre-order, each goal before those below it; nothing here recurses. JSON keeps all
of an outline; OPML (2.0, http://opml.org/spec2.opml) what XML can hold; text no descriptions, and names in one line.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn
from xml.parsers import expat

from msgspec import Struct, ValidationError, convert

_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"?')
# How OmniOutliner, Workflowy and Dynalist mark what is done.
_CHECKED = {("_status", "checked"), ("_status", "done"), ("_complete", "true"), ("complete", "true")}
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_IN_XML = str.maketrans(_ESCAPES)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHECKBOX = r"\[(?P<box>[ xX])\](?:\s+|$)"
_MARK = re.compile(rf"(?P<heading>#{{1,6}})\s+|(?:[-*+•]|\d{{1,9}}[.)])(?:\s+|$)(?:{_CHECKBOX})?|")


class Item(Struct):
    """One goal of an outline. `depth`: 0 at the top, and at most one more than that of the goal before it."""

    depth: int
    name: str
    description: str | None = None
    done: bool = False


class BadOutline(Exception):
    """The text is no outline. Says where, what was expected and what was found."""


def parse(text: str | bytes) -> list[Item]:
    """Reads UTF-8: JSON if it begins with `{` or `[`, OPML with `<`, else a text outline. Raises BadOutline.

    No name is blank; whether a goal may have it is for the rules to say.
    """
    try:
        outline = (text if isinstance(text, str) else text.decode()).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadOutline(f"line {line}: expected UTF-8; found otherwise: {error.reason}") from None
    match outline.lstrip()[:1]:
        case "{" | "[":
            return _from_json(outline)
        case "<":
            return _from_opml(outline)
        case _:
            return _from_text(outline)


def to_json(items: list[Item]) -> str:
    """The JSON that `parse` reads, a line for each goal. Not indented: that grows as the square of the depth."""
    lines = []
    for item, ending in _with_endings(items):
        members = {"name": item.name, "description": item.description, "status": "done" if item.done else None}
        given = {key: value for key, value in members.items() if value is not None}
        goal = json.dumps(given, ensure_ascii=False).removesuffix("}")
        lines.append(goal + "}" + "]}" * (ending - 1) + "," if ending else goal + ', "sub_goals": [')
    return '{"goals": [\n' + "\n".join(lines).removesuffix(",") + "\n]}\n"


def to_opml(items: list[Item], title: str) -> str:
    """OPML 2.0, a line for each goal. Characters that XML cannot hold become U+FFFD."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<opml version="2.0">']
    lines += [f"<head><title>{title.translate(_IN_XML)}</title></head>", "<body>"]
    for item, ending in _with_endings(items):
        note = "" if item.description is None else f' _note="{item.description.translate(_IN_XML)}"'
        status = ' _status="checked"' if item.done else ""
        goal = f'<outline text="{item.name.translate(_IN_XML)}"{note}{status}'
        lines.append(goal + "/>" + "</outline>" * (ending - 1) if ending else goal + ">")
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", "\n".join([*lines, "</body>", "</opml>", ""]))


def to_text(items: list[Item]) -> str:
    """Bullets indented by tabs, `[x]` where done, no descriptions. Line breaks in names become spaces."""
    lines = []
    for item in items:
        name = re.sub(r"[\r\n]+", " ", item.name)
        box = "[x] " if item.done else "[ ] " if re.match(_CHECKBOX, name) else ""
        lines.append("\t" * item.depth + f"- {box}{name}\n")
    return "".join(lines)


def _with_endings(items: list[Item]) -> Iterator[tuple[Item, int]]:
    """Each goal, and how many end with it: none where its first sub-goal follows, else itself and some above it."""
    following = [*(item.depth for item in items[1:]), 0]
    for item, depth in zip(items, following, strict=False):
        yield item, item.depth + 1 - depth


def _from_text(text: str) -> list[Item]:
    items: list[Item] = []
    levels: list[int] = []  # widths of the indentation of the goals above; those of headings are below zero
    above = ""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        body = line.lstrip()
        mark = _MARK.match(body)
        if not body or not mark:
            continue
        name = body[mark.end() :].rstrip()
        if not name:
            raise BadOutline(f"line {number}: expected a name; found none after {body!r}")
        indent = line[: -len(body)]
        if not (indent.startswith(above) or above.startswith(indent)):
            raise BadOutline(f"line {number}: expected the tabs or spaces that indent the line above; found others")
        if not _climbed(levels, len(mark["heading"]) - 7 if mark["heading"] else len(indent)):
            raise BadOutline(f"line {number}: expected the indentation of a line above; found {len(indent)} in width")
        items.append(Item(len(levels) - 1, name, done=mark["box"] in ("x", "X")))
        above = indent
    return items


def _climbed(levels: list[int], width: int) -> bool:
    """Leaves the levels that end where a line of this width begins, and enters its own; false if it fits none."""
    left = width
    while levels and levels[-1] >= width:
        left = levels.pop()
    levels.append(width)
    return left == width or width < 0


def _from_opml(text: str) -> list[Item]:
    """Reads OPML event by event. A document type is refused, and with it every entity that one could define."""
    items: list[Item] = []
    above: list[str] = []
    parser = expat.ParserCreate("utf-8")

    def refuse(expected: str, found: str) -> NoReturn:
        raise BadOutline(f"line {parser.CurrentLineNumber}: expected {expected}; found {found}") from None

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not above and tag != "opml":
            refuse("<opml>", f"<{tag}>")
        if tag == "outline":
            if above != ["opml", "body"] and above[-1] != "outline":
                refuse("<outline> in <body> or <outline>", f"one in <{above[-1]}>")
            name = attributes.get("text", "")
            if not name.strip():
                refuse("an <outline> with a text that is not blank", "one without")
            done = not _CHECKED.isdisjoint(attributes.items())
            items.append(Item(len(above) - 2, name, attributes.get("_note"), done))
        above.append(tag)

    parser.StartDoctypeDeclHandler = lambda *_: refuse("no document type declaration", "one")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: above.pop()
    try:
        parser.Parse(text.encode(errors="surrogatepass"), True)
    except expat.ExpatError as error:
        refuse("well-formed XML", expat.ErrorString(error.code))
    return items


class _Goal(Struct):
    """A goal as in an import, or as the service answers it."""

    name: str
    description: str | None = None
    sub_goals: list[Any] = []
    status: str = "open"
    end: str | None = None
    depth: int | None = None


_KNOWN = {"id", "user", "parent_id", "start", "due", "created_at", "updated_at", "revision", "progress"}
_KNOWN |= {"sub_goal_count", "open_sub_goals", *_Goal.__struct_fields__}


def _from_json(text: str) -> list[Item]:
    document = _loads(text)
    bare = isinstance(document, list)
    path = [] if bare else ["goals"]
    items: list[Item] = []
    try:
        waiting = _numbered(0, "".join(path), convert(document if bare else document.get("goals"), list[Any]))
        while waiting:
            depth, place, value = waiting.pop()
            path[depth:] = [place]
            goal = _goal(value, depth)
            items.append(Item(depth, goal.name, goal.description, goal.status == "done" or goal.end is not None))
            waiting += _numbered(depth + 1, "sub_goals", goal.sub_goals)
    except ValidationError as error:
        fault, _, inner = str(error).partition(" - at `$.")
        path += [inner.rstrip("`")] if inner else []
        if len(path) > 12:
            path[6:-5] = ["…"]
        raise BadOutline(": ".join(filter(None, [".".join(path), fault]))) from None
    return items


def _numbered(depth: int, name: str, goals: list[Any]) -> list[tuple[int, str, Any]]:
    return [(depth, f"{name}[{index}]", goal) for index, goal in enumerate(goals)][::-1]


def _goal(value: Any, depth: int) -> _Goal:
    goal = convert(value, _Goal)
    if not goal.name.strip():
        raise ValidationError("Expected a name, got a blank one - at `$.name`")
    if unknown := value.keys() - _KNOWN:
        raise ValidationError(f"Expected a goal's member, got one that no goal has - at `$.{min(unknown)}`")
    if goal.status not in ("open", "done"):
        raise ValidationError(f"Expected `open` or `done`, got {goal.status[:40]!r} - at `$.status")
    if goal.depth not in (None, depth):
        raise ValidationError(f"Expected {depth}, as deep as the goal is nested, got {goal.depth} - at `$.depth`")
    return goal


def _loads(text: str) -> Any:
    """As json.loads, which recurses: decodes each array and object alone, with [n] in place of an inner one."""
    made: list[Any] = []
    unclosed: list[list[tuple[int, str]]] = [[]]
    at = 0
    for mark in _BRACKET_OR_STRING.finditer(text):
        if mark.group() in "[{":
            unclosed[-1].append((at, text[at : mark.start()]))
            unclosed.append([])
            at = mark.start()
        elif mark.group() in "]}":
            made.append(_decoded_alone(text, [*unclosed.pop(), (at, text[at : mark.end()])], made))
            at = mark.end()
            number = f"[{len(made) - 1}]"
            unclosed[-1].append((at - len(number), number))
    _decoded_alone(text, [*unclosed[-1], (at, text[at:])], made)
    return made[-1]


def _decoded_alone(text: str, pieces: list[tuple[int, str]], made: list[Any]) -> Any:
    """Decodes the pieces, each with its place in the text, and puts what was made where its number stands."""
    try:
        value = json.loads("".join(piece for _, piece in pieces))
    except ValueError as error:
        at = getattr(error, "pos", 0)
        for start, piece in pieces:
            if at <= len(piece):
                at += start
                break
            at -= len(piece)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        fault = getattr(error, "msg", error)
        raise BadOutline(f"line {line}, column {column}: expected JSON; found a fault: {fault}") from None
    if isinstance(value, dict):
        return {key: made[inner[0]] if isinstance(inner, list) else inner for key, inner in value.items()}
    return [made[inner[0]] if isinstance(inner, list) else inner for inner in value]
