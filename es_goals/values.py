"""What a text may be: the rules for values that goals, accounts and drafts share, and how a rule refuses."""

import unicodedata

_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Rejected(Exception):
    """A rule refuses the command; nothing is recorded. `field` is the command's field at fault."""

    field: str | None = None


class InvalidValue(Rejected):
    """A value breaks a rule for values."""

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.field = field


def refuse_controls(field: str, text: str, allowed: frozenset[str] = frozenset()) -> None:
    """Control characters, lone surrogates and bidi overrides hide or reorder what a reader sees."""
    if text.isprintable() and not _BIDI_OVERRIDES.intersection(text):
        return
    for index, character in enumerate(text):
        control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        if (control and character not in allowed) or character in _BIDI_OVERRIDES:
            raise InvalidValue(
                field, "no control or bidirectional-override characters", f"U+{ord(character):04X} at index {index}"
            )


def composed(text: str, length: int) -> str:
    """The text in NFC, trimmed; as it came if it is too long to have `length` characters then. Normalizing takes time
    that grows as the square of a text's combining marks, and no character is composed of more than four."""
    trimmed = text.strip()
    return trimmed if len(trimmed) > 4 * length else unicodedata.normalize("NFC", trimmed).strip()


def folded(name: str) -> str:
    """What makes two user names the same: NFKC case-folding without what cannot be seen (Unicode 3.13,
    toNFKC_Casefold in essence)."""
    same = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return same if same.isascii() else "".join(one for one in same if unicodedata.category(one) != "Cf")
