"""The Merkle tree over the log in tiles of 256 hashes (C2SP tlog-tiles), and proofs of RFC 9162 made from them. Pure.

A tile of level 0 has the hashes of 256 events; above, each hash is that of a full tile of the level below.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import NamedTuple

from es_goals.proofs import HASH_BYTES, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
KNOWN = 4_096  # nodes that a tree remembers, some 0.5 MB: proofs of neighbours have most of them in common


class HashesGone(Exception):
    """Tiles that a tree needs are not there: they were forgotten meanwhile, and are derived anew."""


class Tile(NamedTuple):
    """The hashes, each 32 bytes, of one tile: at most 256, fewer only at the right edge of the tree."""

    level: int
    number: int
    hashes: bytes


def width(size: int, level: int, number: int) -> int:
    """Return how many hashes this tile of a tree of this size has."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - number * WIDTH))


def edge(size: int) -> list[tuple[int, int]]:
    """Return level and number of each tile at the right edge that is not full."""
    levels = range(size.bit_length() // HEIGHT + 1)
    return [(level, size >> HEIGHT * (level + 1)) for level in levels if (size >> HEIGHT * level) % WIDTH]


class GrowingTree:
    """A tree of `size` events that more are added to; `tile` reads those at its edge."""

    def __init__(self, size: int = 0, tile: Callable[[int, int], bytes] = lambda _level, _number: b"") -> None:
        self.size = size
        self._levels: list[list[bytes]] = [[]]
        self._full: list[Tile] = []
        for level, number in edge(size):
            self._levels.extend([] for _ in range(level + 1 - len(self._levels)))
            self._levels[level] = split(tile(level, number))[: width(size, level, number)]

    def add(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of events to the right of all others."""
        for leaf in leaves:
            self._levels[0].append(leaf)
            self.size += 1
            if not self.size % WIDTH:
                self._fill()

    def _fill(self) -> None:
        level = 0
        while len(hashes := self._levels[level]) == WIDTH:
            self._full.append(Tile(level, (self.size >> HEIGHT * (level + 1)) - 1, b"".join(hashes)))
            self._levels[level] = []
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(fold(hashes))

    def filled(self) -> list[Tile]:
        """Return the tiles that were filled since it was last asked."""
        full, self._full = self._full, []
        return full

    def edge(self) -> list[Tile]:
        """Return the tiles that are not full."""
        return [Tile(level, number, b"".join(self._levels[level])) for level, number in edge(self.size)]


class Tree:
    """The tree over the first `size` events; `tile` returns at least those hashes of a tile that this tree has.

    Indices are from 0. What is asked for must be in the tree.
    """

    def __init__(self, size: int, tile: Callable[[int, int], bytes]) -> None:
        self.size = size
        self._tile = tile
        self._known: dict[tuple[int, int], bytes] = {}

    def before(self, size: int) -> "Tree":
        """Return the tree over fewer events."""
        return Tree(size, self._tile)

    def root(self) -> bytes:
        """Return the hash of the tree: 32 bytes."""
        return self._over(0, self.size) if self.size else sha256().digest()

    def leaf(self, index: int) -> bytes:
        """Return the hash of an event."""
        return self._over(index, index + 1)

    def tile(self, level: int, number: int) -> bytes:
        """Return a tile's hashes, as many of them as this tree has."""
        return self._tile(level, number)[: HASH_BYTES * width(self.size, level, number)]

    def inclusion(self, index: int) -> list[bytes]:
        """Return the path from an event to the root (RFC 9162, section 2.1.3.1)."""
        start, end, beside = 0, self.size, []
        while end - start > 1:
            middle = start + _below(end - start)
            if index < middle:
                beside.append((middle, end))
                end = middle
            else:
                beside.append((start, middle))
                start = middle
        return [self._over(*one) for one in reversed(beside)]

    def consistency(self, size: int) -> list[bytes]:
        """Return the path by which this tree is seen to begin with that of a smaller `size`, not 0 (RFC 9162, section
        2.1.4.1)."""
        start, end, beside = 0, self.size, []
        while size != end:
            middle = start + _below(end - start)
            if size <= middle:
                beside.append((middle, end))
                end = middle
            else:
                beside.append((start, middle))
                start = middle
        if start:
            beside.append((start, end))
        return [self._over(*one) for one in reversed(beside)]

    def _over(self, start: int, end: int) -> bytes:
        """Return the hash over these events, which begin where a full tree of as many may."""
        full: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            full.append(self._full(height, start >> height))
            start += 1 << height
        node = full.pop()
        while full:
            node = node_hash(full.pop(), node)
        return node

    def _full(self, height: int, number: int) -> bytes:
        known = self._known.get((height, number))
        if known is not None:
            return known
        level, rest = divmod(height, HEIGHT)
        tile, first = divmod(number << rest, WIDTH)
        hashes = split(self._tile(level, tile)[HASH_BYTES * first : HASH_BYTES * (first + (1 << rest))])
        if len(hashes) != 1 << rest or len(hashes[-1]) != HASH_BYTES:
            raise HashesGone(
                f"expected {1 << rest} hashes from {first} on in tile {tile} of level {level}; found fewer"
            )
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[height, number] = node = fold(hashes)
        return node


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes one by one."""
    return [hashes[place : place + HASH_BYTES] for place in range(0, len(hashes), HASH_BYTES)]


def fold(hashes: list[bytes]) -> bytes:
    """Return the hash over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[place], hashes[place + 1]) for place in range(0, len(hashes), 2)]
    return hashes[0]


def _below(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
