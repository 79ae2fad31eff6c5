"""How users share what there is one of: each has a turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, first come first served among one user's, and users in turn: whoever sends much waits behind
    himself. For one thread."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str | None, deque[T]] = OrderedDict()

    def put(self, user: str | None, item: T) -> None:
        """Add what a user waits for; None: all that nobody is signed in for has one turn."""
        self._waiting.setdefault(user, deque()).append(item)

    def take(self) -> T | None:
        """Remove and return what is next; None where nothing waits."""
        if not self._waiting:
            return None
        user, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[user] = items
        return item

    def __iter__(self) -> Iterator[T]:
        """All that waits, user by user."""
        for items in self._waiting.values():
            yield from items
