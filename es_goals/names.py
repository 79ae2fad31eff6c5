"""Names as they are kept and as they are compared."""

import unicodedata


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
