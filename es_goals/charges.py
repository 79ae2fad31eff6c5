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
