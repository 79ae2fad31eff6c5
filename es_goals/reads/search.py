"""Finding goals by words: what a query says, how texts are folded so that it finds them, and how good a find is.

A word is found where it occurs in the folded name or description. No stems, nothing fuzzy: what is found can be
explained.
"""

import re
import unicodedata
from functools import cache

from msgspec import Struct

from es_goals.values import InvalidValue

MOST_WORDS = 16
MOST_CHARACTERS = 200

FEW = 16  # characters that are replaced one after the other
PLANES = 0x20000  # of Unicode that have combining marks

_WORD = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')
_LETTERS = {
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ŋ": "n", "ƶ": "z", "ƀ": "b", "ɨ": "i",
    "æ": "ae", "œ": "oe", "þ": "th",
}  # fmt: skip
"""Letters that no decomposition takes apart, as people type them without such a keyboard; ß is casefold's."""


def folded(text: str) -> str:
    """A text without what queries need not tell apart: case, accents, compatibility forms."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = _plain()
    found = plain.keys() & set(text)
    if len(found) > FEW:
        return text.translate({ord(character): plain[character] for character in found})
    for character in found:  # a tenth of the time that `translate` takes
        text = text.replace(character, plain[character])
    return text


@cache
def _plain() -> dict[str, str]:
    """Combining marks fall away, and letters of the table become others."""
    marks = (character for character in map(chr, range(0x300, PLANES)) if unicodedata.combining(character))
    return {**dict.fromkeys(marks, ""), **_LETTERS}


class Query(Struct, frozen=True):
    """Folded words that must all occur, and such that must not."""

    words: tuple[str, ...]
    without: tuple[str, ...] = ()

    def match(self, name: str, description: str) -> str | None:
        """Where a goal with these folded texts is found: in its name, its description, or both; None: nowhere."""
        for word in self.without:
            if word in name or word in description:
                return None
        in_name = in_description = False
        for word in self.words:
            here, there = word in name, word in description
            if not here and not there:
                return None
            in_name, in_description = in_name or here, in_description or there
        return "both" if in_name and in_description else "name" if in_name else "description"

    def rank(self, name: str) -> int:
        """How good a find a folded name is, 0 the best: the whole name, its beginning, that of one of its words, inside
        of it, not there. Of several words the worst counts, or all of them as they stand if that is better."""
        return min(_rank(" ".join(self.words), name), max(_rank(word, name) for word in self.words))


def _rank(word: str, name: str) -> int:
    if name == word:
        return 0
    if name.startswith(word):
        return 1
    place = name.find(word)
    if place < 0:
        return 4
    while place >= 0:
        if not name[place - 1].isalnum():
            return 2
        place = name.find(word, place + 1)
    return 3


def parse(text: str) -> Query:
    """Words at white space; those in quotes belong together, up to the end where no quote closes them; those behind a -
    must not occur. Raises InvalidValue."""
    found = [(sign, quoted or word) for sign, quoted, word in _WORD.findall(text) if quoted or word]
    size = sum(len(word) for _, word in found)
    if not 1 <= len(found) <= MOST_WORDS or size > MOST_CHARACTERS:
        expected = f"1 to {MOST_WORDS} words of at most {MOST_CHARACTERS} characters together"
        raise InvalidValue("q", expected, f"{len(found)} of {size}")
    folds = [(sign, folded(word)) for sign, word in found]
    words = tuple(word for sign, word in folds if not sign and word)
    if not words:
        raise InvalidValue("q", "a word that must occur", "none")
    return Query(words, tuple(word for sign, word in folds if sign and word))
