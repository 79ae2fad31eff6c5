"""Questions to a place that takes long to answer, answered together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Question(NamedTuple):
    ask: Callable[[], Any]
    session: str | None
    answer: asyncio.Future[Any]


class Coalescer:
    """Questions that come while others are being answered wait, and are answered together behind one new look: each
    answer is as of a moment after its question. To be used on the event loop; `thread` has one thread, which alone
    calls `look`, with the hashes of the sessions that will be asked for."""

    def __init__(self, look: Callable[[Sequence[str]], object], thread: Executor) -> None:
        self._look, self._thread = look, thread
        self._waiting: list[_Question] = []
        self._busy = False

    async def ask(self, question: Callable[[], T], session: str | None = None) -> T:
        """Its answer. Raises what it raises, and what the look raises."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(question, session, answer))
        if not self._busy:
            self._answer_next()
        return await answer

    def _answer_next(self) -> None:
        taken, self._waiting = [one for one in self._waiting if not one.answer.done()], []
        self._busy = bool(taken)
        if taken:
            asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, taken).add_done_callback(
                lambda done: self._settle(taken, done.result())
            )

    def _outcomes(self, taken: list[_Question]) -> list[Any]:
        try:
            self._look([one.session for one in taken if one.session is not None])
        except Exception as error:
            return [error] * len(taken)
        return [_outcome(one.ask) for one in taken]

    def _settle(self, taken: list[_Question], outcomes: list[Any]) -> None:
        for one, outcome in zip(taken, outcomes, strict=True):
            if one.answer.done():
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)
        self._answer_next()


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return error
