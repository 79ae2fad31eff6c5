"""Reads off the primary: from a server that follows it, where that one has what must be seen."""

import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import NamedTuple

import structlog

from es_goals.projector import Projector
from es_goals.storage import Storage

PATIENCE_SECONDS = 0.05  # a read waits for the replica, then goes to the primary
LOOK_SECONDS = 0.002
REST_SECONDS = 1.0  # after it failed, or was behind

logger = structlog.get_logger()


class Source(NamedTuple):
    """What a read is made from."""

    storage: Storage
    projector: Projector


class Replica:
    """A server that need not be there, nor up to date. `open` opens it, and raises StorageError; `served` is called
    after each read of it. Any thread may ask."""

    def __init__(self, open: Callable[[], Source], served: Callable[[], None]) -> None:
        self._open, self.served = open, served
        self._opening = threading.Lock()
        self._opened: Source | None = None
        self._rests_until = 0.0

    def with_all(self, has: Callable[[Source], bool]) -> Source | None:
        """It, once `has` says that all is there; None where that takes too long. Raises StorageError."""
        if monotonic() < self._rests_until:
            return None
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
        until = monotonic() + PATIENCE_SECONDS
        while not has(self._opened):
            if monotonic() > until:
                self.back_off("expected all events of the primary; found it behind")
                return None
            sleep(LOOK_SECONDS)
        return self._opened

    def back_off(self, why: str) -> None:
        """Ask the primary only, for a while."""
        logger.warning("replica_rests", detail=why)
        self._rests_until = monotonic() + REST_SECONDS

    def close(self) -> None:
        """Let it go."""
        if self._opened is not None:
            self._opened.storage.close()


def has_position(position: int) -> Callable[[Source], bool]:
    """All events up to a position."""
    return lambda reading: reading.storage.log.head().position >= position


def has_version(stream: str, version: int) -> Callable[[Source], bool]:
    """All events of a stream up to a version."""
    return lambda reading: reading.storage.log.stream_head(stream).version >= version
