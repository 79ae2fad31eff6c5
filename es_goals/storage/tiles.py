"""What a store of the log's tree hashes promises, whatever engine it is on."""

from collections.abc import Iterable
from typing import Protocol


class Tiles(Protocol):
    """Stores the Merkle tree over the log in tiles: a row of at most 256 hashes, by level and number. A row only grows,
    until all is cleared."""

    def size(self) -> int:
        """Return over how many events the stored tree is."""

    def tile(self, level: int, number: int) -> bytes:
        """Return the hashes of a tile; none where it is not stored."""

    def save(self, old: int, new: int, tiles: Iterable[tuple[int, int, bytes]]) -> bool:
        """Store tiles by level and number, and the tree's size, if it is still `old`; whether it was."""

    def clear(self) -> None:
        """Forget the tree."""
