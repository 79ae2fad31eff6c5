"""How many streams of events one user, and a worker, may have at once."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import count
from typing import Self

from es_goals.http.problems import Refusal


class Stream:
    """What Falcon iterates, and closes whichever way that ends. Of one that was never begun, as for HEAD, the place is
    free once it is forgotten."""

    def __init__(self, parts: AsyncGenerator[bytes, None], free: Callable[[], None]) -> None:
        self._parts, self._free = parts, free

    def send_through(self, made: Callable[[AsyncGenerator[bytes, None]], AsyncGenerator[bytes, None]]) -> None:
        """Send what this makes of the parts, before the first of them was sent."""
        self._parts = made(self._parts)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._parts.__anext__()

    async def close(self) -> None:
        """End it."""
        try:
            await self._parts.aclose()
        finally:
            self._free()

    def __del__(self) -> None:
        self._free()


class Streams:
    """At most `most` at once, and `of_one` of one user."""

    def __init__(self, most: int, of_one: int) -> None:
        self._most, self._of_one = most, of_one
        self._numbers = count()
        self._open: dict[int, str | None] = {}  # by number, so that any thread may forget one

    def open(self, parts: AsyncGenerator[bytes, None], user: str | None) -> Stream:
        """A place for a stream of these parts, which counts for a user if somebody is signed in. Raises Refusal."""
        users, number = list(self._open.values()), next(self._numbers)
        if user is not None and users.count(user) >= self._of_one:
            raise Refusal("too-many-own-streams", f"expected at most {self._of_one} of yours at once; found one more")
        if len(users) >= self._most:
            raise Refusal("too-many-streams", f"expected at most {self._most} at once; found one more")
        self._open[number] = user

        def free() -> None:
            self._open.pop(number, None)

        return Stream(parts, free)
