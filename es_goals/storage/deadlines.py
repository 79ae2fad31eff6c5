"""Until when work may go on: one Deadline, made for a request and carried into the thread that works for it.

What nobody waits for has none: the writer, the tick, rebuilds and the command line.
"""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from msgspec import Struct

from es_goals.storage.errors import Interrupted

T = TypeVar("T")


class Deadline(Struct, frozen=True):
    """`until`: a time of the monotonic clock, in seconds."""

    until: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """That many seconds from now."""
        return cls(monotonic() + seconds)

    def later(self, seconds: float) -> "Deadline":
        """The same so many seconds later."""
        return Deadline(self.until + seconds)

    def left(self) -> float:
        """Seconds; none or less where it is past."""
        return self.until - monotonic()

    def expired(self) -> bool:
        """Whether it is past."""
        return monotonic() > self.until

    def check(self) -> None:
        """Raises Interrupted where it is past."""
        if self.expired():
            raise Interrupted("expected to be done before the deadline; found more to do")

    def run(self, work: Callable[[], T]) -> T:
        """Do the work in this thread: what it asks of a storage past the deadline raises Interrupted. Where that is so
        already, it is not begun."""
        before, _thread.deadline = _thread.deadline, self
        try:
            self.check()
            return work()
        finally:
            _thread.deadline = before

    async def wait(self, work: Awaitable[T]) -> T:
        """On the event loop: what the work returns. Raises Interrupted at the deadline."""
        try:
            async with asyncio.timeout(max(0.0, self.left())):
                return await work
        except TimeoutError:
            raise Interrupted("expected an answer before the deadline; found the storage still busy") from None


NEVER = Deadline(math.inf)


class _Thread(threading.local):
    deadline = NEVER


_thread = _Thread()


def current() -> Deadline:
    """That of what this thread does."""
    return _thread.deadline
