"""Org (https://orgmode.org/worg/org-syntax.html): headings and checkboxes are goals, other text their description.

Read line by line, since the parser for it takes time that grows as the square of a line's length, or worse.
"""

import re

from es_goals.outlines.outline import Notes, Row
from es_goals.outlines.texts import indentation, lines_of

_OPEN = {"TODO", "NEXT", "WAITING", "WAIT", "HOLD", "STARTED", "STRT", "INPROGRESS", "IN-PROGRESS", "SOMEDAY"}
_CANCELLED = {"CANCELLED", "CANCELED", "KILL"}
_DONE = {"DONE"} | _CANCELLED

_HEADING = re.compile(r"(\*+)[ \t]+(.*)|(\*{2,})")
_KEYWORDS = re.compile(r"#\+(?:SEQ_|TYP_)?TODO:(.*)", re.IGNORECASE)
_PRIORITY = re.compile(r"\[#[A-Z0-9]{1,2}\]")
_COOKIE = re.compile(r"\[\d{0,9}(?:/\d{0,9}|%)\]")
_TAGS = re.compile(r":[\w@#%:]+:")
_PLANNED = re.compile(r"(DEADLINE|SCHEDULED|CLOSED):[ \t]*[<\[]([^<>\[\]]{1,100})[>\]]")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ \t]+[^\d\s+-][^\s]*)?(?:[ \t]+(\d\d:\d\d))?")
_REPEATED = re.compile(r"[ \t][.+]?\+\d+[hdwmy]")
_DRAWER = re.compile(r":[\w-]+:")
_CHECKBOX = re.compile(r"(?:[-+*]|\d{1,9}[.)])[ \t]+\[([ xX-])\](?:[ \t]+|$)(.*)")
_SETTING = re.compile(r"#\+[\w-]+:")
HIGHEST = -(10**9)
"""Headings are above every checkbox, whatever its width."""


def read(text: str, notes: Notes) -> list[Row]:
    """Headings and checkboxes by their stars and indentation, `TODO` keywords, deadlines; drawers are left out."""
    lines = lines_of(text)
    reader = _Reader(lines, notes)
    for number, line in enumerate(lines, 1):
        reader.line(number, line)
    return reader.rows


class _Reader:
    def __init__(self, lines: list[str], notes: Notes) -> None:
        self.rows: list[Row] = []
        self._notes = notes
        self._open, self._done = _keywords(lines)
        self._ends = _ends_of_drawers(lines)
        self._until = 0  # the line that a drawer ends in
        self._planning = False  # whether the line above is a heading
        self._above: list[Row] = []

    def line(self, number: int, line: str) -> None:
        """Read the next one."""
        body = line.strip()
        planning, self._planning = self._planning, False
        if number <= self._until or not body:
            return
        if heading := _HEADING.fullmatch(line.rstrip()):
            self._heading(len(heading[1] or heading[3]), heading[2] or "", number)
        elif planning and (planned := _PLANNED.findall(body)) and _PLANNED.match(body):
            self._plan(planned, number)
        elif _DRAWER.fullmatch(body) and (end := self._ends[number - 1]):
            self._until = end
            self._notes.leave_out("drawers", number)
        elif _SETTING.match(body) or body == "#" or body.startswith("# "):
            self._notes.leave_out("settings" if body[1:2] == "+" else "comments", number)
        else:
            self._text(body, indentation(line[: len(line) - len(line.lstrip())]), number)

    def _heading(self, stars: int, text: str, number: int) -> None:
        row = Row(HIGHEST + stars, text, number)
        word, _, rest = text.partition(" ")
        if word in self._open or word in self._done:
            row.name, row.done = rest, word in self._done
        if word in _CANCELLED:
            self._notes.take("cancelled goals", "done", number)
        self._without_marks(row)
        self._add(row)
        self._planning = True

    def _without_marks(self, row: Row) -> None:
        if _PRIORITY.match(row.name.lstrip()):
            row.name = row.name.partition("]")[2]
            self._notes.leave_out("priorities", row.line)
        before, _, last = row.name.rstrip().rpartition(" ")
        if _TAGS.fullmatch(last):
            row.name = before
            self._notes.leave_out("tags", row.line)
        if _COOKIE.search(row.name):
            row.name = " ".join(_COOKIE.sub(" ", row.name).split())

    def _plan(self, planned: list[tuple[str, str]], number: int) -> None:
        row = self.rows[-1]
        for what, text in planned:
            stamp = _STAMP.match(text)
            when = " ".join(filter(None, stamp.groups())) if stamp else text
            time = self._notes.time(when, number, last=what != "SCHEDULED")
            if _REPEATED.search(text):
                self._notes.leave_out("repetitions", number)
            match what:
                case "DEADLINE":
                    row.due = time
                case "SCHEDULED":
                    row.start = time
                case _ if row.done:
                    row.end = time

    def _text(self, body: str, width: int, number: int) -> None:
        if box := _CHECKBOX.fullmatch(body):
            self._add(Row(width, box[2], number, done=box[1] in "xX"))
            return
        while self._above and self._above[-1].level >= width:
            self._above.pop()
        if self._above:
            self._above[-1].notes.append(body)
        else:
            self._notes.leave_out("preamble lines", number)

    def _add(self, row: Row) -> None:
        while self._above and self._above[-1].level >= row.level:
            self._above.pop()
        self._above.append(row)
        self.rows.append(row)


def _keywords(lines: list[str]) -> tuple[set[str], set[str]]:
    """What marks a heading as open and as done: the usual words, and those that the file sets."""
    still_open, done = set(_OPEN), set(_DONE)
    for line in lines:
        if line[:2] == "#+" and (setting := _KEYWORDS.match(line)):
            words = [word.partition("(")[0] for word in setting[1].split()]
            at = words.index("|") if "|" in words else len(words) - 1
            still_open |= set(words[:at])
            done |= set(words[at:])
    return still_open, done


def _ends_of_drawers(lines: list[str]) -> list[int]:
    """For each line, which one has the `:END:` that follows before any heading; 0 for none."""
    ends, end = [0] * len(lines), 0
    for index in range(len(lines) - 1, -1, -1):
        ends[index] = end
        if lines[index].startswith("*"):
            end = 0
        elif lines[index].strip().upper() == ":END:":
            end = index + 1
    return ends
