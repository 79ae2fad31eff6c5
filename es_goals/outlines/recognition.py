"""Which format a file has, told by what it begins with; and what it looks like where it is none of ours."""

import re
from typing import NoReturn

from es_goals.outlines.json_ import first_members
from es_goals.outlines.outline import BadOutline
from es_goals.outlines.tables import OURS, TODOIST, header_of
from es_goals.outlines.texts import lines_of

TAKEN = (
    "import takes JSON, OPML, Markdown and text outlines, TaskPaper, Org, todo.txt, CSV of ours or Todoist's, and what "
    "Taskwarrior, Google Tasks, Vikunja and calendars export"
)
LOOKED_AT = 100_000

_MARKS = [
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
]
_FILES = [
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or office document; unpack it and import the file in it"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an older office document"),
    (b"bplist", "a binary property list"),
    (b"\x7fELF", "a program"),
]
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s{0,9}=\s{0,9}["']([A-Za-z][A-Za-z0-9._-]{0,30})["']""")
# Some of Python's are no encodings of characters, and slow; in some the declaration itself would read otherwise.
_ENCODINGS = re.compile(
    r"(?:us-?)?ascii|utf-?8|iso|latin|windows|cp\d|koi8|mac|gb|big5|euc|shift|sjis|ibm\d", re.IGNORECASE
)

_JSON = re.compile(r"\{|\[\s*(?:[\[{\]\"]|-?\d|true|false|null|$)")
_XML = re.compile(r"\s*(?:<\?xml[^>]*>\s*|<!--(?:[^-]|-(?!->))*-->\s*)*<(!doctype\s+\w+|[a-z][\w:.-]*)", re.IGNORECASE)
_BULLET = re.compile(r"\s*(?:[-*+•◦▪–—]|\d{1,9}[.)]|#{1,6}|\[[ xX-]\]|[☐☑☒✓✔✅])(?:\s|$)|\s*(?:```|~~~)")
_ORG = re.compile(r"\*{2,}[ \t]|\*+[ \t]+(?:TODO|DONE|NEXT)[ \t]|#\+[A-Za-z_]+:|[ \t]*:PROPERTIES:\s*$")
_TODO_TXT = re.compile(r"x \d{4}-\d\d-\d\d |\([A-Z]\) \S|\d{4}-\d\d-\d\d \S|\S.*?\sdue:\d{4}-\d\d-\d\d(?:\s|$)")
_PROJECT = re.compile(r"\t*[^\s-].*:(?: @\w+)*\s*$")
_TASK_TAG = re.compile(r"\s*-\s.*\s@(?:done|due|start|today|flag)\b")
_MARKDOWN = re.compile(r"#{1,6}\s|\s*[-*+]\s+\[[ xX]\]|\s*```")
_COLUMNS = {"name", "title", "task", "task name", "subject", "summary", "content", "description", "notes", "list"}
_COLUMNS |= {"due", "due date", "start date", "status", "priority", "project", "assignee"}


def decoded(data: bytes) -> str:
    """The text of a file: as its byte order mark says, else UTF-8, or what an XML declaration names. Raises BadOutline,
    which says what the file looks like, where it is no text."""
    for mark, looks in _FILES:
        if data.startswith(mark):
            _refuse(looks)
    encoding, start = next(((name, len(mark)) for mark, name in _MARKS if data.startswith(mark)), ("utf-8", 0))
    if not start and (declared := _DECLARED.match(data)) and _ENCODINGS.match(name := declared[1].decode()):
        encoding = encoding if _is_utf_8(data) else name
    try:
        text = data[start:].decode(encoding)
    except LookupError:
        raise BadOutline(f"line 1: expected an encoding that is known; found {encoding}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].decode(encoding, "replace").count("\n") + 1
        raise BadOutline(f"line {line}: expected {encoding.upper()}; found otherwise: {error.reason}") from None
    before, nul, _ = text.partition("\0")
    if nul:
        line = before.count("\n") + 1
        _refuse(f"no text: line {line} has a NUL")
    return text


def _is_utf_8(data: bytes) -> bool:
    """Whether it cannot well be anything else: declarations are often left over from another encoding."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not data.isascii()


def _refuse(looks: str) -> NoReturn:
    raise BadOutline(f"this looks like {looks}; {TAKEN}")


def recognised(text: str) -> str:
    """The format. Raises BadOutline, which says what the file looks like, where it is none that can be read."""
    begin = text.lstrip()[:40]
    if _JSON.match(begin) and not _BULLET.match(begin):
        return _of_json(text)
    if begin.startswith("<") and (found := _XML.match(text)):
        return _of_xml(found[1].lower())
    if begin.upper().startswith("BEGIN:V"):
        if begin.upper().startswith("BEGIN:VCARD"):
            _refuse("contacts (vCard)")
        return "ics"
    return _of_table(text) or _of_text(text)


def _of_json(text: str) -> str:
    members = first_members(text)
    if members & {"goals", "name", "sub_goals"} or not members:
        return "json"
    if {"kind", "items"} <= members:
        return "googletasks"
    if "description" in members and members & {"uuid", "entry", "status"}:
        return "taskwarrior"
    if "title" in members and members & {"tasks", "identifier", "is_archived"}:
        return "vikunja"
    if {"position", "type", "data"} <= members:
        _refuse("events that `export --format ndjson` wrote, which are for reading")
    _refuse(f"JSON of another program, with {', '.join(sorted(members)[:5])[:100]}")


def _of_xml(begin: str) -> str:
    match begin.split()[-1]:
        case "opml":
            return "opml"
        case "html":
            _refuse("a web page (HTML)")
        case _:
            _refuse(f"XML other than OPML, with <{begin[:40]}>")


def _of_table(text: str) -> str | None:
    columns = header_of(text)
    if columns >= TODOIST:
        return "todoist"
    if columns >= set(OURS[:2]):
        return "csv"
    if len(columns) > 2 and len(columns & _COLUMNS) > 1:
        _refuse(f"a table of another program, with the columns {', '.join(sorted(columns)[:5])[:100]}")
    return None


def _of_text(text: str) -> str:
    lines = [line for line in lines_of(text[:LOOKED_AT]) if line.strip()]
    bullets = sum(_BULLET.match(line) is not None for line in lines)
    if any(_ORG.match(line) for line in lines):
        return "org"
    if _is_taskpaper(lines):
        return "taskpaper"
    if not bullets and any(map(_TODO_TXT.match, lines)) and not any(line[0].isspace() for line in lines):
        return "todotxt"
    return "markdown" if bullets else "text"


def _is_taskpaper(lines: list[str]) -> bool:
    if any(map(_MARKDOWN.match, lines)):
        return False
    has_projects = any(map(_PROJECT.match, lines)) and any(line.startswith("\t- ") for line in lines)
    return has_projects or any(map(_TASK_TAG.match, lines))
