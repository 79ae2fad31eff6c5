"""How long the work of a thread may go on asking the storage. What nobody waits for has no deadline: the writer, the
tick, rebuilds and the command line."""

import math
import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from es_goals.storage.errors import Interrupted

T = TypeVar("T")


class _Work(threading.local):
    until = math.inf


_work = _Work()


def with_deadline(work: Callable[[], T], until: float) -> T:
    """What the work answers; what it asks this thread's storage when `monotonic()` is past `until` raises Interrupted.
    Where that is so already, it is not begun."""
    before, _work.until = _work.until, until
    try:
        check_deadline()
        return work()
    finally:
        _work.until = before


def has_deadline() -> bool:
    """Whether this thread's work has a deadline."""
    return _work.until != math.inf


def expired() -> bool:
    """Whether its time is over: for an engine to ask while it answers a question."""
    return monotonic() > _work.until


def check_deadline() -> None:
    """To be called before each question. Raises Interrupted."""
    if _work.until != math.inf and monotonic() > _work.until:
        raise Interrupted("expected to be done before the deadline; found more to do")
