"""The threads of a worker that read, of which one user has half at most."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from es_goals.storage.deadlines import Deadline

T = TypeVar("T")


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


class FairPool(ThreadPoolExecutor):
    """So many threads, of which one user has half at most, but one at least; what they ask for besides waits behind
    it."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, "reader")
        self._most = max(1, threads // 2)
        self._counting = threading.Lock()
        self._busy: dict[str, int] = {}
        self._behind: dict[str, deque[_Call[Any]]] = {}

    async def run(self, work: Callable[[], T], deadline: Deadline, user: str | None) -> T:
        """What the work returns, which ends at the deadline too. `user`: the id of who asks; None: nobody's share is
        counted. Raises Interrupted."""
        call = self.submit_for(user, partial(deadline.run, work))
        return await deadline.wait(asyncio.wrap_future(call))

    def submit_for(self, user: str | None, work: Callable[[], T]) -> Future[T]:
        """As `submit` does, counted for a user."""
        if user is None:
            return self.submit(work)
        call = _Call(user, work)
        with self._counting:
            busy = self._busy.get(user, 0)
            if busy >= self._most:
                self._behind.setdefault(user, deque()).append(call)
                return call
            self._busy[user] = busy + 1
        self.submit(self._run, call)
        return call

    def _run(self, call: _Call[Any]) -> None:
        call.run()
        while (following := self._next(call.user)) is not None:
            try:
                self.submit(self._run, following)  # behind those of others that wait for a thread
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
