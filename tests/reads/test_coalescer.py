"""Questions to a log that is far: asked all at once, each answered as of a moment after it was put."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from es_goals.goals.commands import GoalNotFound
from es_goals.reads.coalescer import Coalescer
from es_goals.storage.errors import StorageFailed


class Asked(NamedTuple):
    """A question, and the hash of the session that it asks for."""

    question: Callable[[], Any]
    session: str | None = None


class Slow:
    """Looks that wait until they are let go, and are counted; `trouble` is what they raise."""

    def __init__(self) -> None:
        self.go, self.looks, self.trouble = threading.Semaphore(0), 0, list[Exception]()
        self.sessions: list[Sequence[str]] = []

    def look(self, hashes: Sequence[str]) -> None:
        """Counts."""
        self.go.acquire()
        self.looks += 1
        self.sessions.append(hashes)
        if self.trouble:
            raise self.trouble.pop()


def asking(slow: Slow, *rounds: list[Callable[[], Any] | Asked]) -> list[Any]:
    """The answers to questions, asked a round at a time: each round while the look for the one before it goes on."""

    async def ask() -> list[Any]:
        with ThreadPoolExecutor(1) as thread:
            coalescer, asked = Coalescer(slow.look, thread), list[asyncio.Task[Any]]()
            for questions in rounds:
                told = [one if isinstance(one, Asked) else Asked(one) for one in questions]
                asked += [asyncio.create_task(coalescer.ask(*one)) for one in told]
                await asyncio.sleep(0)
            slow.go.release(len(rounds))
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask())


def test_questions_that_come_together_are_answered_behind_one_look() -> None:
    slow = Slow()

    assert asking(slow, [lambda: slow.looks], [lambda: slow.looks] * 10) == [1] + [2] * 10


def test_a_question_is_never_answered_from_a_look_that_began_before_it() -> None:
    slow = Slow()

    assert asking(slow, [lambda: slow.looks], [lambda: slow.looks], [lambda: slow.looks])[1:] == [2, 2]


def test_a_look_is_told_of_the_sessions_that_its_questions_ask_for_and_of_no_others() -> None:
    slow = Slow()

    asking(slow, [Asked(int, "a")], [int, Asked(int, "b"), Asked(int, "c")])

    assert slow.sessions == [["a"], ["b", "c"]]


def test_a_question_that_fails_is_told_so_and_no_other() -> None:
    slow, refusal = Slow(), GoalNotFound("x")

    def refuse() -> None:
        raise refusal

    assert asking(slow, [lambda: "one"], [refuse, lambda: "two"]) == ["one", refusal, "two"]


def test_a_look_that_fails_is_told_to_all_who_wait_for_it_and_the_next_one_is_tried() -> None:
    slow, lost = Slow(), StorageFailed("lost")
    slow.trouble.append(lost)

    assert asking(slow, [lambda: "one"], [lambda: "two"] * 2) == [lost, "two", "two"]


def test_a_question_that_was_given_up_is_not_asked() -> None:
    slow, asked = Slow(), list[str]()

    async def ask() -> None:
        with ThreadPoolExecutor(1) as thread:
            coalescer = Coalescer(slow.look, thread)
            tasks = [asyncio.create_task(coalescer.ask(lambda name=name: asked.append(name))) for name in "abc"]  # type: ignore[misc]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.sleep(0)
            slow.go.release(2)
            await asyncio.gather(tasks[0], tasks[2])

    asyncio.run(ask())

    assert (asked, slow.looks) == (["a", "c"], 2)
