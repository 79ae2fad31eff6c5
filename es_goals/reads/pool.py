"""The threads of a worker that read, of which one user has half at most."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import thread_time
from typing import Any, TypeVar

from es_goals.charges import Charge, Work, free_of_charge
from es_goals.storage.deadlines import Deadline

T = TypeVar("T")


class _Call(Future[T]):
    def __init__(self, user: str, work: Callable[[], T]) -> None:
        super().__init__()
        self.user, self.work = user, work

    def run(self, charge: Charge) -> None:
        if self.set_running_or_notify_cancel():
            try:
                done = self._charged(charge)
            except BaseException as error:
                self.set_exception(error)
            else:
                self.set_result(done)

    def _charged(self, charge: Charge) -> T:
        begun = thread_time()
        try:
            return self.work()
        finally:
            charge(self.user, Work(thread_time() - begun))


class FairPool(ThreadPoolExecutor):
    """So many threads, of which one user has half at most, but one at least; what they ask for besides waits behind
    it. `charge` is told what each user's work took, whatever came of it."""

    def __init__(self, threads: int, charge: Charge = free_of_charge) -> None:
        super().__init__(threads, "reader")
        self._charge = charge
        self._most = max(1, threads // 2)
        self._counting = threading.Lock()
        self._busy: dict[str, int] = {}
        self._behind: dict[str, deque[_Call[Any]]] = {}

    async def run(self, work: Callable[[], T], deadline: Deadline, user: str | None) -> T:
        """What the work returns, which ends at the deadline too, and where nobody waits for it any more. `user`: the id
        of who asks; None: nobody's share is counted. Raises Interrupted."""
        own = Deadline(deadline.until)
        call = self.submit_for(user, partial(own.run, work))
        try:
            return await deadline.wait(asyncio.wrap_future(call))
        except asyncio.CancelledError:
            own.give_up()
            raise

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
        call.run(self._charge)
        while (following := self._next(call.user)) is not None:
            try:
                self.submit(self._run, following)  # behind those of others that wait for a thread
                return
            except RuntimeError:
                following.run(self._charge)  # it is closing: what was taken is finished

    def _next(self, user: str) -> _Call[Any] | None:
        with self._counting:
            if behind := self._behind.get(user):
                return behind.popleft()
            self._behind.pop(user, None)
            self._busy[user] -= 1
            if not self._busy[user]:
                del self._busy[user]
            return None
