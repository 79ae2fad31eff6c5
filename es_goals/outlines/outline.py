"""What a file is read into: rows as a reader finds them, and the outline of goals made of them by one set of rules.

An outline is a flat list in pre-order, each goal before those below it; nothing here recurses.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import NoReturn

from msgspec import Struct, field

from es_goals.outlines.texts import first_line, is_visible, one_line, time_of, without_controls
from es_goals.values import composed

EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
LINES_NAMED = 10
BLANK = "blank rows"
Lines = dict[str, list[int]]


class BadOutline(Exception):
    """The file cannot be read. Says where, what was expected and what was found."""


class CannotWrite(Exception):
    """A format cannot hold these goals."""


def refuse(line: int, expected: str, found: str) -> NoReturn:
    """Raise BadOutline."""
    raise BadOutline(f"line {line}: expected {expected}; found {found}")


class Limits(Struct, frozen=True):
    """How many characters a name and a description may have, and how many goals one file."""

    name: int = 200
    description: int = 16_384
    goals: int = 100_000


class Item(Struct):
    """A goal. `depth`: 0 at the top, and at most one more than that of the goal before it. Times are aware. Where there
    is an `end` the goal is done, and one that was read has a `start` no later. `line`: where it was read. `id` and
    `updated_at` are for writing."""

    depth: int
    name: str
    description: str | None = None
    done: bool = False
    start: datetime | None = None
    due: datetime | None = None
    end: datetime | None = None
    line: int = 0
    id: str | None = None
    updated_at: datetime | None = None


class Notes(Struct):
    """What did not come over as it was: for each kind of thing, in the plural, the lines it stood in."""

    left_out: Lines = field(default_factory=dict)
    shortened: Lines = field(default_factory=dict)
    changed: Lines = field(default_factory=dict)
    taken: Lines = field(default_factory=dict)

    def leave_out(self, what: str, line: int) -> None:
        """Note what a goal has no place for, or is none."""
        self.left_out.setdefault(what, []).append(line)

    def shorten(self, what: str, line: int) -> None:
        """Note what was longer than it may be."""
        self.shortened.setdefault(what, []).append(line)

    def change(self, what: str, line: int) -> None:
        """Note what goals cannot have as it was."""
        self.changed.setdefault(what, []).append(line)

    def take(self, what: str, meaning: str, line: int) -> None:
        """Note what was read as something that the file does not say."""
        self.taken.setdefault(f"{what} as {meaning}", []).append(line)

    def find_time(self, text: str, line: int, zone: tzinfo = UTC, last: bool = False) -> datetime | None:
        """The time, noted where it was taken as more than it tells; None if the text is none."""
        time, meaning = time_of(text, zone, last) or (None, None)
        if meaning is not None:
            self.take("times" if meaning == "UTC" else "dates", meaning, line)
        return time

    def time(self, text: str | None, line: int, zone: tzinfo = UTC, last: bool = False) -> datetime | None:
        """The same, if there is a text; noted where it is no time."""
        time = self.find_time(text, line, zone, last) if text else None
        if text and time is None:
            self.leave_out("unreadable times", line)
        return time

    @property
    def is_loss(self) -> bool:
        """Whether anything of the file was left out, shortened or changed."""
        return bool(self.left_out or self.shortened or self.changed)

    def __str__(self) -> str:
        said = {"left out": self.left_out, "shortened": self.shortened, "changed": self.changed, "took": self.taken}
        return "; ".join(
            f"{verb} {_counted(what, lines)}" for verb, kinds in said.items() for what, lines in kinds.items()
        )


def _counted(what: str, lines: list[int]) -> str:
    things, as_, meaning = what.partition(" as ")
    if len(lines) == 1:
        things = f"{things[:-3]}y" if things.endswith("ies") else things.removesuffix("s")
    return f"{len(lines)} {things}{as_}{meaning}" + ("" if what == BLANK else f" ({_places(lines)})")


def _places(lines: list[int]) -> str:
    places = list(dict.fromkeys(lines))
    more = len(places) - LINES_NAMED
    named = ", ".join(map(str, places[:LINES_NAMED])) + (f" and {more} more" if more > 0 else "")
    return f"line {named}" if len(places) == 1 else f"lines {named}"


class Outline(Struct):
    """What was read from a file of this format."""

    format: str
    items: list[Item]
    notes: Notes


class Row(Struct):
    """What a reader found. `level`: any number that is larger the deeper it is. `more`: further words of the name;
    `notes`: lines of the description. `omit`: left out as this, and what is below it moves up."""

    level: int
    name: str
    line: int
    more: list[str] = []
    notes: list[str] = []
    done: bool = False
    start: datetime | None = None
    due: datetime | None = None
    end: datetime | None = None
    omit: str | None = None


def outline_of(rows: Iterable[Row], notes: Notes, format: str, limits: Limits) -> Outline:
    """The goals that the rows become. Raises BadOutline if there are none, or more than there may be.

    Rows without anything that can be seen are left out, and what is below them moves up. Names that are too long are
    cut at a word, with the whole text in front of the description; of several lines the first is the name. A start
    behind the end moves back to it, and an end without a start gives one: no rule refuses the goal for its times then.
    """
    items: list[Item] = []
    levels: list[tuple[int, int]] = []  # of the rows above: their levels, and the depth of what is below them
    for row in rows:
        while levels and levels[-1][0] >= row.level:
            levels.pop()
        depth = levels[-1][1] if levels else 0
        item = _item(row, depth, notes, limits)
        levels.append((row.level, depth if item is None else depth + 1))
        if item is not None:
            items.append(item)
        if len(items) > limits.goals:
            refuse(row.line, f"at most {limits.goals} goals", "more")
    if not items:
        raise BadOutline(f"expected goals, reading it as {format}; found none{f' ({notes})' if str(notes) else ''}")
    return Outline(format, items, notes)


def _item(row: Row, depth: int, notes: Notes, limits: Limits) -> Item | None:
    if row.omit is not None:
        notes.leave_out(row.omit, row.line)
        return None
    texts = _texts(row, notes, limits)
    if texts is None:
        notes.leave_out(BLANK, row.line)
        return None
    start, due, end = (_possible(time, row.line, notes) for time in (row.start, row.due, row.end))
    if end is not None and (start is None or end < start):
        if start is not None:
            notes.change("starts", row.line)
        start = end
    return Item(depth, *texts, row.done or end is not None, start, due, end, row.line)


def _possible(time: datetime | None, line: int, notes: Notes) -> datetime | None:
    if time is None or EARLIEST <= time <= LATEST:
        return time
    notes.leave_out("impossible times", line)
    return None


def _texts(row: Row, notes: Notes, limits: Limits) -> tuple[str, str | None] | None:
    """The name and the description, or None where there is nothing to be seen."""
    whole = " ".join([row.name, *row.more]).strip()
    first, rest = first_line(whole)
    below = ([rest] if rest else []) + row.notes
    if not is_visible(first):
        first, below = _named_by(below)
        if not first:
            return None
    name = composed(one_line(first), limits.name)
    if name != composed(whole, limits.name):
        notes.change("names", row.line)
    if len(name) > limits.name:
        notes.shorten("names", row.line)
        below = [first, *(["", *below] if below else [])]
        name = _cut(name, limits.name)
    return name, _description(below, row.line, notes, limits) if below else None


def _named_by(below: list[str]) -> tuple[str, list[str]]:
    """The first line that can be seen, for a name, and those behind it."""
    lines = "\n".join(below).splitlines()
    for index, line in enumerate(lines):
        if is_visible(line):
            return line.strip(), lines[index + 1 :]
    return "", []


def _cut(name: str, length: int) -> str:
    """At most so many characters, to the end of a word if one ends in the second half of them."""
    cut = unicodedata.normalize("NFC", name[: length + 1])[: length + 1]
    end = cut.rfind(" ", length // 2)
    return (cut[:end] if end > 0 else cut[:length]).rstrip()


def _description(lines: list[str], line: int, notes: Notes, limits: Limits) -> str:
    text = "\n".join(lines)
    clean = without_controls(text)
    if clean != text:
        notes.change("descriptions", line)
    if len(clean) > limits.description:
        notes.shorten("descriptions", line)
        clean = clean[: limits.description]
    return clean


def with_endings(items: Sequence[Item]) -> Iterator[tuple[Item, int]]:
    """Each goal, and how many end with it: none where its first sub-goal follows, else itself and some above it."""
    following = [*(item.depth for item in items[1:]), 0]
    for item, depth in zip(items, following, strict=False):
        yield item, item.depth + 1 - depth


class Nesting:
    """Rows of a format in which each names what it is below."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._parents: list[int | None] = []

    def add(self, row: Row, parent: int | None = None) -> int:
        """Return the row's number, by which it can be named as a parent."""
        self._rows.append(row)
        self._parents.append(parent)
        return len(self._rows) - 1

    def put(self, number: int, parent: int) -> None:
        """Put a row below another one."""
        self._parents[number] = parent

    def in_order(self) -> Iterator[Row]:
        """Each row before those below it, and else as they came. Of rows that are below each other the first one counts
        as being at the top."""
        children: dict[int | None, list[int]] = {}
        for number, parent in enumerate(self._parents):
            children.setdefault(parent, []).append(number)
        seen = [False] * len(self._rows)
        for top in [*children.get(None, ()), *range(len(self._rows))]:
            waiting = [(0, top)]
            while waiting:
                depth, number = waiting.pop()
                if not seen[number]:
                    seen[number] = True
                    self._rows[number].level = depth
                    yield self._rows[number]
                    waiting += [(depth + 1, child) for child in reversed(children.get(number, ()))]


def repeated(outline: Outline, names: Iterable[str]) -> str | None:
    """Say which goals at the top of the outline have one of these names, if any do."""
    there = set(names)
    again = list(dict.fromkeys(item.name for item in outline.items if item.depth == 0 and item.name in there))
    if not again:
        return None
    named = ", ".join(map(repr, again[:LINES_NAMED])) + (" and others" if len(again) > LINES_NAMED else "")
    return f"goals of these names are there already: {named}"
