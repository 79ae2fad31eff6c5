"""A pool of reading threads, of which one user has half at most."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_user: ContextVar[str | None] = ContextVar("user", default=None)


def set_request_user(user_id: str | None) -> None:
    """Whose the request at hand is; None: nobody's, and nothing is shared out."""
    _user.set(user_id)


def current_user() -> str | None:
    """Whose the request at hand is."""
    return _user.get()


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
