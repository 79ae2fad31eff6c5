"""Text outlines: Markdown (https://spec.commonmark.org) and plain lines, nested by headings and indentation.

Read line by line, since the parser for Markdown recurses on depth. It keeps names, their order and nesting, what is
done, and descriptions, written as quotes; no times.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto

from msgspec import Struct

from es_goals.outlines.outline import CannotWrite, Item, Notes, Row
from es_goals.outlines.texts import indentation, lines_of

MOST_INDENTATION = 16 * 2**20

_HEADING = re.compile(r"(#{1,6})(?:\s+|$)")
_CLOSED_HEADING = re.compile(r"(?:^|\s)#+$")
_BULLET = re.compile(r"(?:[-*+•◦▪–—]|\d{1,9}[.)])(?:\s+|$)")
_BOX = re.compile(r"(?:\[([ xX✓✔-])\]|([☐☑☒✓✔✅]))(?:\s+|$)")
_RULE = re.compile(r"(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})")
_UNDERLINE = re.compile(r"={2,}|-{3,}")
_FENCE = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
_COMMENT, _TABLE = re.compile(r"<!--.*-->"), re.compile(r"\|.*\|")
_KEY = re.compile(r"[\w-]+\s*[:=]")


class _Mark(Enum):
    """What a row began with."""

    HEADING = auto()
    BULLET = auto()
    NOTHING = auto()


class _Open(Struct):
    """A row that what follows may belong to, and the width that it begins at: below zero for headings."""

    row: Row
    width: int
    mark: _Mark


def read(text: str, notes: Notes) -> list[Row]:
    """Each heading, bullet and plain line is a goal. A plain line that is deeper than the bullet right above continues
    its name; one behind a blank line, a quote or a code block is a line of the description of what it is below."""
    reader = _Reader(notes)
    lines = lines_of(text)
    for number in range(_front_matter(lines, notes), len(lines)):
        reader.line(number + 1, lines[number])
    return reader.rows


def _front_matter(lines: list[str], notes: Notes) -> int:
    """How many lines it has: from `---` to `---`, or `+++`, with a key first."""
    mark = lines[0].rstrip()
    if mark not in ("---", "+++") or len(lines) < 2 or not _KEY.match(lines[1]):
        return 0
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() in (mark, "..." if mark == "---" else mark):
            notes.leave_out("front matters", 1)
            return number + 1
    return 0


class _Reader:
    def __init__(self, notes: Notes) -> None:
        self.rows: list[Row] = []
        self._notes = notes
        self._open: list[_Open] = []
        self._blank = True  # the line above
        self._aside: str | None = None  # the quote or code block that the line above is of
        self._fence = ""
        self._indent = ""  # of the code block

    def line(self, number: int, line: str) -> None:
        """Read the next one."""
        body = line.lstrip()
        width = indentation(line[: len(line) - len(body)])
        if self._fence:
            self._in_fence(line, width, number)
        elif not body:
            self._aside, self._blank = None, True
        elif body.startswith(">"):
            self._aside_line("quotes", body[1:].removeprefix(" "), width, number)
        elif fence := _FENCE.fullmatch(body.rstrip()):
            self._fence, self._indent = fence[1] or fence[2], line[: len(line) - len(body)]
            self._aside_line("code blocks", body, width, number)
        elif self._underlines(body.rstrip(), width) or self._rules(body.rstrip(), width):
            self._aside, self._blank = None, True
        else:
            self._aside = None
            self._words(body.rstrip(), width, number)
            self._blank = False

    def _in_fence(self, line: str, width: int, number: int) -> None:
        mark = line.strip()
        if len(mark) >= len(self._fence) and mark == self._fence[0] * len(mark):
            self._fence = ""
        text = line.removeprefix(self._indent) if line.startswith(self._indent) else line.lstrip()
        self._aside_line("code blocks", text, width, number)

    def _aside_line(self, what: str, text: str, width: int, number: int) -> None:
        """A line of a quote or code block: of the description of what it is deeper than, or left out."""
        if self._aside is None:
            self._close(width)
        if self._open:
            self._open[-1].row.notes.append(text)
        elif self._aside is None:
            self._notes.leave_out(what, number)
        self._aside = what

    def _close(self, width: int) -> None:
        while self._open and self._open[-1].width >= width:
            self._open.pop()

    def _underlines(self, body: str, width: int) -> bool:
        """A line that makes a heading of the plain one above."""
        if self._blank or width or not _UNDERLINE.fullmatch(body) or not self._open:
            return False
        above = self._open[-1]
        if above.mark is not _Mark.NOTHING or above.width:
            return False
        above.row.level = above.width = -6 if body[0] == "=" else -5
        above.mark = _Mark.HEADING
        del self._open[:-1]
        return True

    def _rules(self, body: str, width: int) -> bool:
        """A line that ends what is above it."""
        if not _RULE.fullmatch(body):
            return False
        self._close(width)
        return True

    def _words(self, body: str, width: int, number: int) -> None:
        if heading := _HEADING.match(body):
            name = _CLOSED_HEADING.sub("", body[heading.end() :])
            self._add(Row(len(heading[1]) - 7, name, number), _Mark.HEADING)
        elif (bullet := _BULLET.match(body)) or _BOX.match(body):
            rest = body[bullet.end() :] if bullet else body
            self._add(_task(rest, width, number, self._notes), _Mark.BULLET)
        elif _COMMENT.fullmatch(body) or _TABLE.fullmatch(body):
            self._notes.leave_out("comments" if body[0] == "<" else "table rows", number)
        elif not self._continues(body, width):
            self._add(Row(width, body, number), _Mark.NOTHING)

    def _continues(self, body: str, width: int) -> bool:
        if not self._blank and self._open and self._open[-1].mark is _Mark.BULLET and width > self._open[-1].width:
            row = self._open[-1].row
            (row.notes if row.notes else row.more).append(body)
            return True
        if self._blank:
            self._close(width)
            if self._open and self._open[-1].mark is _Mark.BULLET:
                notes = self._open[-1].row.notes
                notes += ["", body] if notes else [body]
                return True
        return False

    def _add(self, row: Row, mark: _Mark) -> None:
        self._close(row.level)
        self._open.append(_Open(row, row.level, mark))
        self.rows.append(row)


def _task(text: str, level: int, number: int, notes: Notes) -> Row:
    box = _BOX.match(text)
    if not box:
        return Row(level, text, number)
    mark = box[1] or box[2]
    if mark == "-":
        notes.take("cancelled goals", "done", number)
    return Row(level, text[box.end() :], number, done=mark not in " ☐")


def write(items: Sequence[Item]) -> str:
    """A task list, indented by tabs, with descriptions as quotes."""
    if sum(item.depth for item in items) > MOST_INDENTATION:
        raise CannotWrite("expected goals that Markdown can indent; found some too deep: take JSON, OPML or CSV")
    return "".join(line for item in items for line in _lines(item))


def _lines(item: Item) -> Iterator[str]:
    indent = "\t" * item.depth
    yield f"{indent}- [{'x' if item.done else ' '}] {item.name}\n"
    if item.description:
        for line in lines_of(item.description):
            yield f"{indent}\t> {line}\n"
