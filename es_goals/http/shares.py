"""What one user may have of a worker at once: of its streams, and of its threads."""

import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any, ParamSpec, Self, TypeVar

from es_goals.http.problems import Refusal

P = ParamSpec("P")
T = TypeVar("T")

_user: ContextVar[str | None] = ContextVar("user", default=None)


def asks(user_id: str | None) -> None:
    """Whose the request at hand is; None: nobody's, and nothing is shared out."""
    _user.set(user_id)


class Stream:
    """What Falcon iterates, and closes whichever way that ends. Of one that was never begun, as for HEAD, the place is
    free once it is forgotten."""

    def __init__(self, parts: AsyncGenerator[bytes, None], free: Callable[[], None]) -> None:
        self._parts, self._free = parts, free

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

    def open(self, parts: AsyncGenerator[bytes, None]) -> Stream:
        """A place for a stream of these parts. Raises Refusal."""
        user, users, number = _user.get(), list(self._open.values()), next(self._numbers)
        if user is not None and users.count(user) >= self._of_one:
            raise Refusal("too-many-own-streams", f"expected at most {self._of_one} of yours at once; found one more")
        if len(users) >= self._most:
            raise Refusal("too-many-streams", f"expected at most {self._most} at once; found one more")
        self._open[number] = user

        def free() -> None:
            self._open.pop(number, None)

        return Stream(parts, free)


class _Call(Future[T]):
    def __init__(self, user: str, work: Callable[[], T]) -> None:
        super().__init__()
        self.user, self.work = user, work

    def run(self) -> None:
        if self.set_running_or_notify_cancel():
            try:
                self.set_result(self.work())
            except BaseException as error:
                self.set_exception(error)


class Readers(ThreadPoolExecutor):
    """So many threads, of which one user has half at most, but one at least; what they ask for besides waits behind
    it."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, "reader")
        self._share = max(1, threads // 2)
        self._counting = threading.Lock()
        self._busy: dict[str, int] = {}
        self._behind: dict[str, deque[_Call[Any]]] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As every pool does."""
        user = _user.get()
        if user is None:
            return super().submit(fn, *args, **kwargs)
        call = _Call(user, partial(fn, *args, **kwargs))
        with self._counting:
            busy = self._busy.get(user, 0)
            if busy >= self._share:
                self._behind.setdefault(user, deque()).append(call)
                return call
            self._busy[user] = busy + 1
        super().submit(self._run, call)
        return call

    def _run(self, call: _Call[Any]) -> None:
        call.run()
        while (following := self._next(call.user)) is not None:
            try:
                super().submit(self._run, following)  # behind those of others that wait for a thread
                return
            except RuntimeError:
                following.run()  # it is closing: what was taken is finished

    def _next(self, user: str) -> _Call[Any] | None:
        with self._counting:
            if behind := self._behind.get(user):
                return behind.popleft()
            self._behind.pop(user, None)
            self._busy[user] -= 1
            if not self._busy[user]:
                del self._busy[user]
            return None
