"""Outlines: trees of goals as JSON, OPML or plain text, for import and export.

A whole outline is a flat list in pre-order, each goal before those below it: no depth needs recursion.
What `parse` reads back of what the writers wrote:

| format | names | descriptions | done |
|---|---|---|---|
| JSON | all | all | `"status": "done"` |
| OPML 2.0 (http://opml.org/spec2.opml) | all but what XML cannot hold | the same, as `_note` | `_status="checked"` |
| text | all, each in one line and trimmed | none | `[x]` |
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct, field

# What the service answers about a goal beyond what an outline keeps.
_IGNORED = frozenset(
    "id user parent_id start due created_at updated_at revision progress sub_goal_count open_sub_goals".split()
)
_EXPECTED = {
    "name": "a string that is not blank",
    "description": "a string or null",
    "status": '"open" or "done"',
    "end": "a time or null",
    "depth": "the depth at which the goal is nested",
}
_PATH_LENGTH = 12
_SPACE = re.compile(r"[ \t\n\r]*")
# After OmniOutliner, Workflowy and Dynalist.
_CHECKED = {("_status", "checked"), ("_status", "done"), ("_complete", "true"), ("complete", "true")}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEADING_LEVELS = 6
_CHECKBOX = r"\[(?P<box>[ xX])\](?:\s+|$)"
_LINE = re.compile(
    rf"(?P<heading>#{{1,{_HEADING_LEVELS}}})\s+|(?P<indent>\s*)(?:(?:[-*+•]|\d{{1,9}}[.)])(?:\s+|$)(?:{_CHECKBOX})?)?"
)


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

    Names come as they are written, never blank; whether a goal may have them is for the rules to say.
    """
    decoded = _decoded(text)
    first = re.search(r"\S", decoded)
    match first and first.group():
        case "{" | "[":
            return _JsonReader(decoded).read()
        case "<":
            return _OpmlReader().read(decoded)
        case _:
            return _from_text(decoded)


def to_json(items: list[Item]) -> str:
    """The JSON that `parse` reads, a line for each goal. Not indented: that grows as the square of the depth."""
    lines = []
    for item, ending in _with_endings(items):
        members = {"name": item.name}
        if item.description is not None:
            members["description"] = item.description
        if item.done:
            members["status"] = "done"
        goal = json.dumps(members, ensure_ascii=False).removesuffix("}")
        lines.append(goal + "}" + "]}" * (ending - 1) + "," if ending else goal + ', "sub_goals": [')
    return '{"goals": [\n' + "\n".join(lines).removesuffix(",") + "\n]}\n"


def to_opml(items: list[Item], title: str) -> str:
    """OPML 2.0, a line for each goal. Characters that XML cannot hold become U+FFFD."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<opml version="2.0">']
    lines += [f"<head><title>{escape(_xml(title))}</title></head>", "<body>"]
    for item, ending in _with_endings(items):
        note = "" if item.description is None else f" _note={quoteattr(_xml(item.description))}"
        status = ' _status="checked"' if item.done else ""
        goal = f"<outline text={quoteattr(_xml(item.name))}{note}{status}"
        lines.append(goal + "/>" + "</outline>" * (ending - 1) if ending else goal + ">")
    return "\n".join([*lines, "</body>", "</opml>", ""])


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


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _decoded(text: str | bytes) -> str:
    try:
        return (text.encode() if isinstance(text, str) else text).decode("utf-8-sig")
    except UnicodeError as error:
        raise BadOutline(f"expected UTF-8; found otherwise: {error}") from None


def _from_text(text: str) -> list[Item]:
    items: list[Item] = []
    levels: list[int] = []  # widths of the indentation of the goals above; those of headings are below zero
    above = ""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        mark = _LINE.match(line)
        if mark is None or mark.end("indent") == len(line):
            continue
        name = line[mark.end() :].strip()
        if not name:
            raise BadOutline(f"line {number}: expected a name; found none after {line.strip()!r}")
        indent = mark["indent"] or ""
        if not (indent.startswith(above) or above.startswith(indent)):
            raise BadOutline(f"line {number}: expected the tabs or spaces that indent the line above; found others")
        heading = mark["heading"]
        if not _climbed(levels, len(heading) - _HEADING_LEVELS - 1 if heading else len(indent)):
            raise BadOutline(f"line {number}: expected the indentation of a line above; found {len(indent)} characters")
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


class _OpmlReader:
    """Reads OPML, event by event. A document type is refused, and with it every entity that one could define."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.open: list[str] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartDoctypeDeclHandler = lambda *_: self.refuse("no document type declaration", "one")
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = lambda _: self.open.pop()

    def read(self, text: str) -> list[Item]:
        try:
            self.parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            self.refuse("well-formed XML", expat.ErrorString(error.code))
        return self.items

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.open and tag != "opml":
            self.refuse("<opml>", f"<{tag}>")
        if tag == "outline":
            if self.open != ["opml", "body"] and self.open[-1] != "outline":
                self.refuse("<outline> in <body> or <outline>", f"one in <{self.open[-1]}>")
            name = attributes.get("text", "")
            if not name.strip():
                self.refuse("an <outline> with a text that is not blank", "one without")
            done = not _CHECKED.isdisjoint(attributes.items())
            self.items.append(Item(len(self.open) - 2, name, attributes.get("_note"), done))
        self.open.append(tag)

    def refuse(self, expected: str, found: str) -> NoReturn:
        raise BadOutline(f"line {self.parser.CurrentLineNumber}: expected {expected}; found {found}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class _Open(Struct):
    """An object that is being read: a goal, or what holds the outline. `key`: its latest member, none in a bare list."""

    item: Item | None = None
    key: str = ""
    members: set[str] = field(default_factory=set)
    sub_goals: int = 0


_THEN = {"{": '"}', "[": "{]", "}": ",]", "]": ",}"}


class _JsonReader:
    """Reads goals and lists of goals symbol by symbol, since decoders recurse; leaves all other values to json."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = self.at = 0
        self.items: list[Item] = []
        self.open = [_Open()]

    def read(self) -> list[Item]:
        expected = _THEN[self.take("{[")]
        while self.open:
            match self.take(expected):
                case '"':
                    expected = self.member()
                case ",":
                    expected = "{" if expected == ",]" else '"'
                case symbol:
                    self.nest(symbol)
                    expected = _THEN[symbol]
        self.skip()
        if self.at < len(self.text):
            self.refuse("the end", repr(self.text[self.at]))
        return self.items

    def nest(self, symbol: str) -> None:
        goal = self.open[-1]
        if symbol == "{":
            goal.sub_goals += 1
            self.items.append(Item(len(self.open) - 1, ""))
            self.open.append(_Open(self.items[-1]))
        elif symbol == "}" or not goal.key:
            required = "name" if goal.item else "goals"
            if symbol == "}" and required not in goal.members:
                self.refuse(f"a member {required!r}", "none")
            self.open.pop()

    def member(self) -> str:
        """Reads a member, or up to the list that is its value; answers the symbols that may come next."""
        goal = self.open[-1]
        self.at = self.start
        key = str(self.value())
        if key in goal.members:
            self.refuse("each member once", f"a second {key!r}")
        goal.members.add(key)
        goal.key = key
        self.take(":")
        if key == ("sub_goals" if goal.item else "goals"):
            return "["
        value = self.value()
        if goal.item:
            self.keep(goal.item, key, value)
        return ",}"

    def keep(self, item: Item, key: str, value: object) -> None:
        match key, value:
            case "name", str() if value.strip():
                item.name = value
            case "description", str() | None:
                item.description = value
            case ("status", "open" | "done") | ("end", str() | None):
                item.done |= value is not None and value != "open"
            case "depth", int() if value == item.depth:
                pass
            case _ if key not in _IGNORED:
                found = {list: "an array", dict: "an object"}.get(type(value)) or json.dumps(value)[:40]
                self.refuse(_EXPECTED.get(key, "no such member in a goal"), found, key)

    def value(self) -> object:
        self.skip()
        try:
            value, self.at = _DECODER.raw_decode(self.text, self.at)
        except ValueError as error:
            self.refuse("valid JSON", f"otherwise: {error}", self.open[-1].key)
        except RecursionError:
            self.refuse("a value less deep", "one nested too deeply to read", self.open[-1].key)
        return value

    def take(self, symbols: str) -> str:
        """The next symbol, which must be one of these."""
        self.skip()
        found = self.text[self.at : self.at + 1]
        if not found or found not in symbols:
            goal = self.open[-1]
            element = f"{goal.key}[{goal.sub_goals}]" if "{" in symbols else goal.key if symbols == "[" else ""
            self.refuse(" or ".join(symbols), repr(found) if found else "the end", element)
        self.at += 1
        return found

    def skip(self) -> None:
        self.start = self.at = _SPACE.match(self.text, self.at).end()

    def refuse(self, expected: str, found: str, inner: str = "") -> NoReturn:
        path = [*(f"{goal.key}[{goal.sub_goals - 1}]" for goal in self.open[:-1]), *([inner] if inner else [])]
        if len(path) > _PATH_LENGTH:
            path[_PATH_LENGTH // 2 : 1 - _PATH_LENGTH // 2] = ["…"]
        line = self.text.count("\n", 0, self.start) + 1
        column = self.start - self.text.rfind("\n", 0, self.start)
        where = ", ".join([f"line {line}", f"column {column}", ".".join(path)]).removesuffix(", ")
        raise BadOutline(f"{where}: expected {expected}; found {found}") from None
