"""The log's digest: the Merkle tree hash of RFC 6962, section 2.1, over the bytes of its events.

`docs/log-format.md` writes it down for those who check it with other tools.
"""

from hashlib import sha256

from msgspec import structs

from es_goals.events import Recorded

_ABSENT = b"\xff\xff\xff\xff"


def event_bytes(line: Recorded) -> bytes:
    """Return an event's columns in order, each with its length in four bytes before it; an absent one is FF FF FF FF.
    Numbers are written in decimal."""
    return b"".join(_column(value) for value in structs.astuple(line))


def _column(value: str | bytes | int | None) -> bytes:
    if value is None:
        return _ABSENT
    written = value if isinstance(value, bytes) else str(value).encode()
    return len(written).to_bytes(4, "big") + written


class TreeHash:
    """A tree hash that grows leaf by leaf, with one hash for each power of two in the number of leaves."""

    def __init__(self) -> None:
        self._full: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add a leaf to the right of all others."""
        size, node = 1, sha256(b"\x00" + leaf).digest()
        while self._full and self._full[-1][0] == size:
            node = sha256(b"\x01" + self._full.pop()[1] + node).digest()
            size *= 2
        self._full.append((size, node))

    def root(self) -> str:
        """Return the hash over all leaves so far, in hexadecimal."""
        if not self._full:
            return sha256().hexdigest()
        node = self._full[-1][1]
        for _, left in reversed(self._full[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node.hex()
