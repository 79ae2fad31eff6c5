"""Deadlines, and which one the work of a thread has. What nobody waits for has none: the writer, the tick, rebuilds and
the command line."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from msgspec import Struct

from es_goals.storage.errors import Interrupted

T = TypeVar("T")


class Deadline(Struct):
    """A moment by which something is to be done: `until`, in seconds of the monotonic clock."""

    until: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that is so many seconds from now."""
        return cls(monotonic() + seconds)

    def later(self, seconds: float) -> "Deadline":
        """Return the deadline so many seconds behind this one."""
        return Deadline(self.until + seconds)

    def left(self) -> float:
        """Return the seconds until then; negative where it is over."""
        return self.until - monotonic()

    def expired(self) -> bool:
        """Whether it is over."""
        return monotonic() > self.until

    def give_up(self) -> None:
        """Have what runs under it end now, from any thread: nobody waits for it any more."""
        self.until = -math.inf

    def check(self) -> None:
        """Raise Interrupted where it is over."""
        if self.expired():
            raise Interrupted("expected to be done before the deadline; found more to do")

    def run(self, work: Callable[[], T]) -> T:
        """Return the work's result; what it asks of a storage in this thread past the deadline raises Interrupted.
        Where that is so already, it is not begun."""
        before, _thread.deadline = _thread.deadline, self
        try:
            self.check()
            return work()
        finally:
            _thread.deadline = before

    async def wait(self, work: Awaitable[T]) -> T:
        """Return, on the event loop, what the work returns. Raises Interrupted at the deadline."""
        try:
            async with asyncio.timeout(max(0.0, self.left())):
                return await work
        except TimeoutError:
            raise Interrupted("expected an answer before the deadline; found the storage still busy") from None


NEVER = Deadline(math.inf)
"""The deadline of what nobody waits for."""


class _Thread(threading.local):
    deadline = NEVER


_thread = _Thread()


def current() -> Deadline:
    """The deadline of this thread's work: for an engine to check before each question, and while it answers one."""
    return _thread.deadline
