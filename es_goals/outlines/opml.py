"""OPML 2.0 (http://opml.org/spec2.opml), as outliners write it. It keeps all of a goal, but what XML cannot hold."""

import re
from collections.abc import Sequence
from html import escape
from html.entities import html5
from typing import Any
from xml.parsers import expat

from es_goals.outlines.outline import Item, Notes, Row, refuse, with_endings
from es_goals.outlines.texts import looks_like_html, plain_text

# How OmniOutliner, Workflowy, Dynalist, Checkvist and others say what is done, and when.
_DONE = ("_status", "_complete", "complete", "completed", "done", "checked", "_iscomplete", "iscomplete")
_YES = {"true", "yes", "1", "checked", "done", "complete", "completed"}
_DUE = ("due", "_due", "duedate", "_duedate", "due_date")
_START = ("start", "_start", "startdate", "_startdate", "start_date")
_NOTES = ("_note", "note", "description", "comment", "url", "htmlurl", "xmlurl")

_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_REFERENCE = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,40});")
_IN_XML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read(text: str, notes: Notes) -> list[Row]:
    """Read it event by event. A document type is refused, and with it every entity that one could define."""
    outlines = _Outlines(notes)
    # Without the declaration, which may stand behind blank lines and name an encoding that the text no longer has.
    if declaration := _DECLARATION.match(text):
        text = "\n" * declaration[0].count("\n") + text[declaration.end() :]
    try:
        outlines.parser.Parse(_REFERENCE.sub(_numbered, text).encode(errors="surrogatepass"), True)
    except expat.ExpatError as error:
        refuse(error.lineno, "well-formed XML", expat.ErrorString(error.code))
    return outlines.rows


def _numbered(reference: re.Match[str]) -> str:
    """HTML's names for characters, most of which XML does not know, as numbers."""
    characters = html5.get(f"{reference[1]};")
    return reference[0] if characters is None else "".join(f"&#{ord(one)};" for one in characters)


class _Outlines:
    """Makes rows of the parser's events."""

    def __init__(self, notes: Notes) -> None:
        self.rows: list[Row] = []
        self._notes = notes
        self._above: list[str] = []
        self._open: list[Row] = []
        self._note: list[str] | None = None
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber

    def _doctype(self, *_: Any) -> None:
        refuse(self._line, "no document type declaration", "one")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.lower()
        line = self._line
        if not self._above and tag != "opml":
            refuse(line, "<opml>", f"<{tag[:40]}>")
        if tag == "outline":
            if self._above != ["opml", "body"] and self._above[-1] != "outline":
                refuse(line, "<outline> in <body> or <outline>", f"one in <{self._above[-1][:40]}>")
            row = _row({name.lower(): value for name, value in attributes.items()}, line, self._notes)
            row.level = len(self._open)
            self._open.append(row)
            self.rows.append(row)
        elif tag == "note" and self._above[-1:] == ["outline"]:
            self._note = []
        self._above.append(tag)

    def _end(self, _: str) -> None:
        tag = self._above.pop()
        if tag == "outline":
            self._open.pop()
        elif tag == "note" and self._note is not None and self._above[-1] == "outline":
            self._open[-1].notes.append(_read_text("".join(self._note).strip(), self._line, self._notes))
            self._note = None

    def _text(self, text: str) -> None:
        if self._note is not None:
            self._note.append(text)


def _row(attributes: dict[str, str], line: int, notes: Notes) -> Row:
    name = attributes.get("text", "")
    row = Row(0, _read_text(name if name.strip() else attributes.get("title", ""), line, notes), line)
    row.notes = [_read_text(attributes[key], line, notes) for key in _NOTES if key in attributes]
    if "_mirror" in attributes and not row.name.strip():
        row.omit = "mirrors"
    row.start = notes.time(_first(attributes, _START), line)
    row.due = notes.time(_first(attributes, _DUE), line, last=True)
    for value in (attributes[key].strip() for key in _DONE if key in attributes):
        if value.lower() in _YES:
            row.done = True
        elif row.end is None:
            row.end = notes.find_time(value, line, last=True)
    return row


def _read_text(text: str, line: int, notes: Notes) -> str:
    if not looks_like_html(text):
        return text
    notes.take("texts", "HTML", line)
    return plain_text(text)


def _first(attributes: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((attributes[name] for name in names if name in attributes), None)


def write(items: Sequence[Item], title: str) -> str:
    """A line for each goal. Characters that XML cannot hold become U+FFFD."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<opml version="2.0">']
    lines += [f"<head><title>{title.translate(_IN_XML)}</title></head>", "<body>"]
    for item, ending in with_endings(items):
        attributes = (f'{name}="{value.translate(_IN_XML)}"' for name, value in _attributes(item).items())
        goal = f"<outline {' '.join(attributes)}"
        lines.append(goal + "/>" + "</outline>" * (ending - 1) if ending else goal + ">")
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", "\n".join([*lines, "</body>", "</opml>", ""]))


def _attributes(item: Item) -> dict[str, str]:
    attributes = {"text": _plain(item.name)}
    if item.description is not None:
        attributes["_note"] = _plain(item.description)
    if item.done:
        attributes["_status"] = "checked"
    times = {"start": item.start, "due": item.due, "completed": item.end}
    return attributes | {name: time.isoformat() for name, time in times.items() if time is not None}


def _plain(text: str) -> str:
    """A text may be HTML, by the specification too: one that looks like it is written as HTML."""
    return escape(text, quote=False) if looks_like_html(text) else text
