"""What a user's work took, to be charged for by whoever counts requests."""

from collections.abc import Callable

from msgspec import Struct


class Work(Struct, frozen=True):
    """What a user's work took: `seconds` of a thread's time, whatever came of it; `events` and `size`, the bytes of
    them and of a key, that it recorded."""

    seconds: float
    events: int = 0
    size: int = 0


Charge = Callable[[str, Work], None]
"""Called, in any thread, with the id of who asked and what it took."""


def free_of_charge(user: str, work: Work) -> None:
    """Charge nobody: where no requests are counted."""
    del user, work


def _unheard() -> None:
    """Tell nobody."""


class HistoryBound(Struct, frozen=True):
    """How many bytes of history a user may record, 0 for any. `warned` is called when somebody has nearly as many,
    `refused` when a command is refused for it."""

    most: int = 0
    warned: Callable[[], None] = _unheard
    refused: Callable[[], None] = _unheard


UNBOUNDED = HistoryBound()
"""Of a user whose history nobody counts."""
