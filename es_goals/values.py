"""What a text may be: the rules for values that goals, accounts and drafts share, and how a rule refuses."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

_OVERRIDING = frozenset(["LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"])
"""The bidirectional classes of overrides, embeddings and isolates; marks (U+200E, U+200F) have those of letters."""

# Sets of characters by Unicode's own properties.
_FORMATTING = r"[\p{Default_Ignorable_Code_Point}[\p{Cf}--\p{Prepended_Concatenation_Mark}]]"
# Drawn as nothing, which no property tells: Braille without dots, a note without a head, blank hieroglyphs.
_BLANK = r"\u2800\U0001D159\U00013441\U00013442"
# Whatever is not assigned yet counts as seen: it is drawn as a box, and may be an emoji of next year.
_SEEN = rf"[^\p{{White_Space}}\p{{M}}{_FORMATTING}{_BLANK}]"
_NO_CHARACTER = r"\p{Noncharacter_Code_Point}"

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,100}))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_LEAP_SECOND = 60


class Rejected(Exception):
    """A rule refuses the command; nothing is recorded. `field` is the command's field at fault."""

    field: str | None = None


class InvalidValue(Rejected):
    """A value breaks a rule for values."""

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.field = field


def valid_name(text: str, length: int) -> str:
    """A name as it is kept: NFC, trimmed, of at most `length` characters, one of which is seen. Raises InvalidValue."""
    name = composed(text, length)
    if not 1 <= len(name) <= length:
        raise InvalidValue("name", f"1 to {length} characters", str(len(name)))
    if name.isascii() and name.isprintable():
        return name
    refuse_controls("name", name)
    if found := _pattern(_NO_CHARACTER).search(name):
        raise InvalidValue(
            "name", "no code point that never is a character", f"U+{ord(found[0]):04X} at index {found.start()}"
        )
    if not _pattern(_SEEN).search(name):
        raise InvalidValue("name", "a name that can be seen", ascii(name))
    return name


def refuse_controls(field: str, text: str, allowed: frozenset[str] = frozenset()) -> None:
    """Control characters, lone surrogates and bidi overrides hide or reorder what a reader sees."""
    if text.isprintable():
        return
    for index, character in enumerate(text):
        control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        if (control and character not in allowed) or unicodedata.bidirectional(character) in _OVERRIDING:
            raise InvalidValue(
                field, "no control or bidirectional-override characters", f"U+{ord(character):04X} at index {index}"
            )


def composed(text: str, length: int) -> str:
    """The text in NFC, trimmed; as it came if it is too long to have `length` characters then. Normalizing takes time
    that grows as the square of a text's combining marks, and no character is composed of more than four."""
    trimmed = text.strip()
    return trimmed if len(trimmed) > 4 * length else unicodedata.normalize("NFC", trimmed).strip()


def folded(name: str) -> str:
    """What makes two user names the same: toNFKC_Casefold (Unicode 3.13, R5), which leaves out what is not seen. Of a
    name that cannot be seen nothing is left."""
    if name.isascii():
        return name.lower()
    seen = _pattern(_FORMATTING).sub("", name)
    same = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    # Of a kept name, which is trimmed, space is around only where it was before or behind what is not seen.
    return same.strip() if name == name.strip() else same


class Refolded(NamedTuple):
    """A user whose name is to be compared by `folded` from now on. `keeper`: who is older and has the name, or whose id
    it is; this user is reached by the id, which `folded` is then, until renamed."""

    user_id: str
    folded: str
    keeper: str | None


def refolded(users: Iterable[tuple[str, str, int, str]]) -> list[Refolded]:
    """What changes where names were compared by another rule: of users by id, name, time of registration, and what they
    are compared by, those that must be compared by something else."""
    by_age = sorted(users, key=lambda user: (user[2], user[0]))
    keepers = {user_id: user_id for user_id, *_ in by_age}
    changes = []
    for user_id, name, _, stored in by_age:
        same = folded(name) or user_id
        keeper = keepers.setdefault(same, user_id)
        change = Refolded(user_id, same, None) if keeper == user_id else Refolded(user_id, user_id, keeper)
        if change.folded != stored:
            changes.append(change)
    return changes


def time_of(text: str, field: str) -> datetime:
    """The time that RFC 3339 text means, in UTC, cut to the microsecond; a leap second is the next second.
    Raises InvalidValue."""
    try:
        return _parsed(text)
    except (ValueError, OverflowError):
        expected = "an RFC 3339 time with an offset such as 2026-11-23T08:00:00Z"
        raise InvalidValue(field, expected, repr(text[:100])) from None


def _parsed(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    leap = second == _LEAP_SECOND
    local = datetime(year, month, day, hour, minute, second - leap, int((fraction or "")[:6].ljust(6, "0")), UTC)
    time = local + offset if sign == "-" else local - offset
    if not leap:
        return time
    if (time.hour, time.minute) != (23, 59):
        raise ValueError
    return time + timedelta(seconds=1)


@cache
def _pattern(characters: str) -> Any:
    # The standard library knows too few properties; this takes 50 ms, which who has nothing but ASCII need not wait.
    import regex

    return regex.compile(characters, regex.V1)


def utf8_size(text: str | None) -> int:
    """Bytes of a text in UTF-8; 0 where there is none."""
    return 0 if text is None else len(text) if text.isascii() else len(text.encode())
