"""The watch on the log's end: wakes those who follow it, at once for what this process appended, at each tick for what
others did."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from time import monotonic

import structlog

from es_goals.projector import ProjectionBehind
from es_goals.storage.errors import StorageError

FOLD_SECONDS = 1.0
"""Between two folds into the stored rows, which share the interpreter's lock with requests: many events at once cost
half as much, and no read waits for them."""

logger = structlog.get_logger()


class Follower:
    """Made in the process that serves; `tick`: seconds between two looks."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self.head = 0
        self.stopped = False
        self._moved = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Called by the writer's thread after a commit."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._move)

    def stop(self) -> None:
        """End those who follow, on the event loop."""
        self.stopped = True
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def mark(self) -> asyncio.Event:
        """To be taken before the log is read, and waited for after: what is appended between is not missed."""
        return self._moved

    async def wait(self, mark: asyncio.Event, seconds: float) -> None:
        """Until the log has moved since the mark, or so many seconds are over."""
        try:
            async with asyncio.timeout(seconds):
                await mark.wait()
        except TimeoutError:
            pass

    async def run(self, head: Callable[[], Awaitable[int]], catch_up: Callable[[], bool], pool: Executor) -> None:
        """The background tick: look at the log's end, wake who follows, bring what is stored up to it, again where
        that is not done at once."""
        self._loop = asyncio.get_running_loop()
        folded, soonest = -1, 0.0
        while not self.stopped:
            try:
                if (seen := await head()) != self.head:
                    self.head = seen
                    self._move()
                if seen != folded and monotonic() >= soonest:
                    if await self._loop.run_in_executor(pool, catch_up):
                        folded = seen
                    soonest = monotonic() + FOLD_SECONDS
            except Exception as error:
                # Whatever it is, the next tick tries again: a tick that ended would be noticed by nobody. An OSError is
                # a lack of descriptors.
                expected = isinstance(error, StorageError | ProjectionBehind | OSError)
                logger.error("tick_failed", detail=str(error), exc_info=not expected)
            await asyncio.sleep(self._tick)
