"""Texts and times as files have them, made such as goals may have them."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo

_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
_NOT_IN_NAMES = re.compile(f"[\0-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}]")
_NOT_IN_TEXTS = re.compile(f"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_DIRECTIONS}]")
_LINE_END = re.compile("\r\n|\r|\n")
# Surrogates alone are no characters, and code points that Unicode promises never to assign are for programs only.
_NO_CHARACTERS = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
# Letters and a symbol that are drawn as nothing.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me")

_HTML = re.compile(
    r"</?(?:b|i|u|s|em|strong|a|span|code|br|p|div|ul|ol|li|font|mark|del|sub|sup|time|input|h[1-6])(?:\s[^<>]*=[^<>]*)?\s?/?>"
    r"|&(?:#\d{1,7}|#x[0-9a-f]{1,6}|amp|lt|gt|quot|apos|nbsp);",
    re.IGNORECASE,
)
_NEW_LINE = re.compile(r"<br\s*/?>|</(?:p|div|li|h[1-6])>", re.IGNORECASE)
_LINK = re.compile(r"<a\s([^<>]*)>([^<>]*)</a>", re.IGNORECASE)
_ADDRESS = re.compile(r"""href=["']([^"'<>]*)["']""", re.IGNORECASE)
# A longer one would be looked for in as many folders as it has slashes.
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,3}")
LONGEST_TIME, LONGEST_DATE = 60, len("Oct 05, 2026")
TAB = 4


def lines_of(text: str) -> list[str]:
    """The lines, as editors count them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def indentation(space: str) -> int:
    """The width of white space at the beginning of a line, in which a tab goes to the next multiple of four."""
    return TAB * len(space) if space.count("\t") == len(space) else len(space.expandtabs(TAB))


def is_visible(text: str) -> bool:
    """Whether there is anything to be seen."""
    return any(unicodedata.category(one) not in _UNSEEN and one not in _BLANK_LETTERS for one in text)


def first_line(text: str) -> tuple[str, str]:
    """The first line, and what is behind it."""
    line, *rest = _LINE_END.split(text, maxsplit=1)
    return line, "".join(rest)


def one_line(text: str) -> str:
    """The text with spaces for control characters, line separators, and marks that change the direction."""
    if text.isprintable():
        return text
    return _NO_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", _NOT_IN_NAMES.sub(" ", text))


def without_controls(text: str) -> str:
    """The same for a text of many lines, which keeps tabs and line ends."""
    if text.replace("\n", "").isprintable():
        return text
    lines = text.replace("\u2028", "\n").replace("\u2029", "\n")
    return _NO_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", _NOT_IN_TEXTS.sub(" ", lines))


def looks_like_html(text: str) -> bool:
    """Whether a text has a tag or a character reference of HTML."""
    return ("<" in text or "&" in text) and _HTML.search(text) is not None


def plain_text(text: str) -> str:
    """HTML as it is read: without tags, with the addresses of links behind them."""
    from html import unescape

    text = _NEW_LINE.sub("\n", _LINK.sub(_with_address, text))
    return unescape(_HTML.sub(lambda found: found[0] if found[0][0] == "&" else "", text))


def _with_address(link: re.Match[str]) -> str:
    address = _ADDRESS.search(link[1])
    return link[2] if address is None or address[1] == link[2] else f"{link[2]} ({address[1]})"


def time_of(text: str, zone: tzinfo = UTC, last: bool = False) -> tuple[datetime, str | None] | None:
    """The time that a text tells as RFC 3339, ISO 8601 or `Oct 5 2026`, and what it was taken as where it tells less: a
    date alone is the first second of its day, or the `last`; a time without an offset is one of the zone."""
    text = text.strip()
    if len(text) > LONGEST_TIME:
        return None
    if (day := _day_of(text)) is not None:
        end = time(23, 59, 59, tzinfo=UTC) if last else time(tzinfo=UTC)
        return datetime.combine(day, end), f"the {'end' if last else 'start'} of the day in UTC"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found, None) if found.tzinfo else (found.replace(tzinfo=zone), "UTC" if zone is UTC else None)


def _day_of(text: str) -> date | None:
    if len(text) > LONGEST_DATE:
        return None
    for read in (date.fromisoformat, _spelled("%b %d %Y"), _spelled("%d %b %Y"), _spelled("%b %d, %Y")):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _spelled(form: str) -> Callable[[str], date]:
    return lambda text: datetime.strptime(text, form).date()


def zone_named(name: str) -> tzinfo:
    """The time zone of this name; UTC if there is none."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name) if _ZONE.fullmatch(name) else UTC
    except (LookupError, ValueError, OSError):
        return UTC
