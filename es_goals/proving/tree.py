"""The Merkle tree over a log, kept in tiles beside the read models: caught up, derived anew, read for proofs."""

import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from operator import attrgetter

import structlog

from es_goals.events import Recorded
from es_goals.projector import ProjectionBehind
from es_goals.proofs import HASH_BYTES
from es_goals.proving.digest import event_hash
from es_goals.proving.tiles import WIDTH, GrowingTree, Tile, Tree
from es_goals.storage import Storage
from es_goals.storage.log import Log, Progress, all_lines, pages

PAGE = 5_000  # events whose tiles are stored in one transaction
MOST_UNSTORED = 50_000
"""Events behind the stored tree that a question takes along, about half a second; more are for the tick."""
TILES_IN_MEMORY = 128  # of one question: 1 MiB

logger = structlog.get_logger()


def _untold(_done: int, _total: int) -> None:
    """Nobody wants to know how far it is."""


class HashTree:
    """The tree over one storage's log. Any thread may use it."""

    def __init__(self, storage: Storage) -> None:
        self._log, self._tiles, self._lease = storage.log, storage.tiles, storage.views.lease
        self._stopping = threading.Event()

    def at(self, size: int) -> Tree:
        """Return the tree over the first `size` events, all of which the log has. It writes nothing.

        Raises ProjectionBehind where the stored tree is far behind.
        """
        stored, older = self._tiles.size(), lru_cache(TILES_IN_MEMORY)(self._tiles.tile)
        if size <= stored:
            return Tree(size, older)
        if size - stored > MOST_UNSTORED:
            raise ProjectionBehind(f"expected the hashes of {size} events; found {stored}, and others on their way")
        growing = GrowingTree(stored, older)
        growing.add(map(event_hash, all_lines(self._log, stored, until=size)))
        newest = {(one.level, one.number): one.hashes for one in (*growing.filled(), *growing.edge())}
        return Tree(size, lambda level, number: newest.get((level, number)) or older(level, number))

    def tick(self) -> bool:
        """Catch up, unless another process is at it; whether none was."""
        with self._lease(".tree") as mine:
            if mine:
                self.catch_up()
        return mine

    def catch_up(self, progress: Progress = _untold) -> None:
        """Bring the stored tree to the log's end, or as far as another process, which is at it too, lets this one."""
        self._reset_if_foreign()
        head, size = self._log.head().position, self._tiles.size()
        growing = GrowingTree(size, self._tiles.tile)
        for lines in _pages(self._log, size, head):
            growing.add(map(event_hash, lines))
            changed = [*growing.filled(), *growing.edge()]
            if self._stopping.is_set() or not self._tiles.save(size, growing.size, changed):
                return
            size = growing.size
            progress(size, head)

    def rebuild(self, progress: Progress = _untold) -> tuple[int, int]:
        """Derive the tree anew in its place, while others read it. Returns over how many events it is, and how many of
        its tiles were not those of the log."""
        self.catch_up(progress)
        growing, wrong = GrowingTree(), 0
        while growing.size < (size := self._tiles.size()):
            for lines in _pages(self._log, growing.size, size):
                growing.add(map(event_hash, lines))
                wrong += self._mend(growing.filled())
                progress(growing.size, size)
            if size == growing.size:
                wrong += self._mend(growing.edge(), size)
        return growing.size, wrong

    def _mend(self, tiles: Iterable[Tile], size: int | None = None) -> int:
        """Store those that are not there so: full ones whatever the size, others if it is still this one."""
        wrong = [one for one in tiles if not self._tiles.tile(one.level, one.number).startswith(one.hashes)]
        while wrong:
            now = self._tiles.size() if size is None else size
            if self._tiles.save(now, now, wrong) or size is not None:
                break
        return len(wrong)

    def _reset_if_foreign(self) -> None:
        """Forget a tree over another log: an older copy was put in this one's place."""
        size = self._tiles.size()
        if not size:
            return
        number, place = divmod(size - 1, WIDTH)
        stored = self._tiles.tile(0, number)[HASH_BYTES * place :][:HASH_BYTES]
        lines = self._log.read(size - 1, 1)
        if not lines or event_hash(lines[0]) != stored:
            logger.warning("tree_reset", size=size)
            self._tiles.clear()

    def stop(self) -> None:
        """Let long work end soon."""
        self._stopping.set()


def _pages(log: Log, after: int, until: int) -> Iterator[list[Recorded]]:
    return pages(partial(log.read, until=until), attrgetter("position"), after, PAGE)
