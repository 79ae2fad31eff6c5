"""The log's digest: the Merkle tree hash of RFC 6962, section 2.1, over the bytes of its events.

`docs/log-format.md` writes it down for those who check it with other tools.
"""

from hashlib import sha256
from struct import Struct

import msgspec
from msgspec import structs

from es_goals.events import Recorded
from es_goals.proofs import leaf_hash, node_hash

_ABSENT = b"\xff\xff\xff\xff"
_length = Struct(">I").pack


def event_bytes(line: Recorded) -> bytes:
    """Return an event's columns in order, each with its length in four bytes before it; an absent one is FF FF FF FF.
    Numbers are written in decimal."""
    parts: list[bytes] = []
    for value in structs.astuple(line):
        if value is None:
            parts.append(_ABSENT)
            continue
        written = value if isinstance(value, bytes) else str(value).encode()
        parts += (_length(len(written)), written)
    return b"".join(parts)


def read_event(data: bytes) -> Recorded:
    """Return the event whose bytes these are. Raises ValueError."""
    values: list[bytes | None] = []
    place = 0
    while place < len(data):
        length, place = data[place : place + 4], place + 4
        if length == _ABSENT:
            values.append(None)
            continue
        end = place + int.from_bytes(length, "big")
        values.append(data[place:end])
        place = end
    names = Recorded.__struct_fields__
    if len(values) != len(names):
        raise ValueError(f"expected the {len(names)} columns of an event; found {len(values)}")
    columns = dict(zip(names, values, strict=True))
    texts = {name: value.decode() for name, value in columns.items() if value is not None and name != "data"}
    event = msgspec.convert({**columns, **texts}, Recorded, strict=False)
    if event_bytes(event) != data:
        raise ValueError("expected an event's bytes; found others")
    return event


def event_hash(line: Recorded) -> bytes:
    """Return the hash of an event in the tree over the log: 32 bytes."""
    return leaf_hash(event_bytes(line))


class TreeHash:
    """A tree hash that grows leaf by leaf, with one hash for each power of two in the number of leaves."""

    def __init__(self) -> None:
        self._full: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add a leaf to the right of all others."""
        self.add_hash(leaf_hash(leaf))

    def add_hash(self, node: bytes) -> None:
        """Add a leaf by its hash."""
        size = 1
        while self._full and self._full[-1][0] == size:
            node = node_hash(self._full.pop()[1], node)
            size *= 2
        self._full.append((size, node))

    def root(self) -> str:
        """Return the hash over all leaves so far, in hexadecimal."""
        if not self._full:
            return sha256().hexdigest()
        node = self._full[-1][1]
        for _, left in reversed(self._full[:-1]):
            node = node_hash(left, node)
        return node.hex()
