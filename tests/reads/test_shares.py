"""What one user may have of a worker at once: no more than a share of its threads and streams, which comes back."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TypeVar

import pytest
from falcon.asgi import Request, Response
from falcon.testing import create_scope

from es_goals.app import create_app
from es_goals.http.audit import Events
from es_goals.http.describe.docs import Root
from es_goals.http.edge.middleware import Middleware
from es_goals.http.edge.streams import Stream, Streams
from es_goals.http.problems import Refusal
from es_goals.reads.pool import FairPool, set_request_user
from es_goals.settings import Settings
from tests.support.engines import DEADLINE, wait_until
from tests.support.people import issue, register

T = TypeVar("T")


def by(user: str | None, work: Callable[[], T]) -> T:
    """What it answers when it is this user who asks."""

    def asked() -> T:
        set_request_user(user)
        return work()

    return copy_context().run(asked)


class Reads:
    """Work that takes until it is let go, for threads."""

    def __init__(self, threads: int) -> None:
        self.pool = FairPool(threads)
        self.begun: list[str | None] = []
        self._go = threading.Semaphore(0)

    def ask(self, user: str | None) -> Future[str | None]:
        """One more."""

        def read() -> str | None:
            self.begun.append(user)
            assert self._go.acquire(timeout=DEADLINE)
            return user

        return by(user, lambda: self.pool.submit(read))

    def let_go(self, count: int) -> None:
        """So many of them end."""
        self._go.release(count)


@contextmanager
def reading(threads: int) -> Iterator[Reads]:
    reads = Reads(threads)
    try:
        yield reads
    finally:
        reads.let_go(1_000)
        reads.pool.shutdown()


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_a_user_has_half_of_the_threads_at_most_and_the_others_the_rest(threads: int, share: int) -> None:
    with reading(threads) as reads:
        asked = [reads.ask("ann") for _ in range(threads + 3)]
        wait_until(lambda: len(reads.begun) == share)
        others = [reads.ask(f"user {number}") for number in range(threads - share)]
        wait_until(lambda: len(reads.begun) == threads)

        assert reads.begun.count("ann") == share
        reads.let_go(len(asked) + len(others))
        assert {one.result(DEADLINE) for one in asked} == {"ann"}
        assert all(one.result(DEADLINE) for one in others)


def test_what_nobody_asks_for_has_all_threads() -> None:
    with reading(3) as reads:
        for _ in range(3):
            reads.ask(None)

        wait_until(lambda: len(reads.begun) == 3)


def test_with_one_thread_a_users_second_read_comes_behind_another_users_first() -> None:
    with reading(1) as reads:
        first, second, other = reads.ask("ann"), reads.ask("ann"), reads.ask("bob")
        reads.let_go(3)

        assert [one.result(DEADLINE) for one in (first, other, second)] == ["ann", "bob", "ann"]
        assert reads.begun == ["ann", "bob", "ann"]


def test_a_read_that_fails_or_was_given_up_leaves_its_place_to_the_next() -> None:
    with reading(2) as reads:
        failed = by("ann", lambda: reads.pool.submit(lambda: 1 // 0))
        with pytest.raises(ZeroDivisionError):
            failed.result(DEADLINE)
        asked = [reads.ask("ann") for _ in range(3)]
        assert asked[1].cancel()
        reads.let_go(2)

        assert [asked[0].result(DEADLINE), asked[2].result(DEADLINE)] == ["ann", "ann"]
        reads.let_go(1)
        assert reads.ask("ann").result(DEADLINE) == "ann"


def test_what_was_taken_before_the_end_is_finished() -> None:
    with reading(2) as reads:
        asked = [reads.ask("ann") for _ in range(5)]
        ending = threading.Thread(target=reads.pool.shutdown)
        ending.start()
        reads.let_go(5)

        assert [one.result(DEADLINE) for one in asked] == ["ann"] * 5
        ending.join()


async def parts() -> AsyncGenerator[bytes, None]:
    """As many as are wanted."""
    while True:
        yield b"part"


def opened(streams: Streams, user: str | None = None) -> Stream:
    return by(user, lambda: streams.open(parts()))


def refusal(streams: Streams, user: str | None = None) -> str:
    with pytest.raises(Refusal, match=r"expected at most [0-9]+ .*; found one more") as refused:
        opened(streams, user)
    return refused.value.slug


def test_there_are_as_many_streams_as_the_limit_and_no_more() -> None:
    streams = Streams(3, 3)
    held = [opened(streams, user) for user in (None, "ann", "bob")]

    assert [refusal(streams, user) for user in (None, "ann", "cid")] == ["too-many-streams"] * 3
    assert len(held) == 3


def test_a_user_has_as_many_streams_as_the_users_limit_and_others_do_not_count() -> None:
    streams = Streams(10, 2)
    held = [opened(streams, user) for user in ("ann", None, None, None, "bob", "ann")]

    assert refusal(streams, "ann") == "too-many-own-streams"
    held += [opened(streams, "bob"), opened(streams)]
    assert refusal(streams, "bob") == "too-many-own-streams"


async def read_some(stream: Stream) -> list[bytes]:
    read = []
    async for part in stream:
        read.append(part)
        if len(read) == 3:
            break
    await stream.close()
    return read


def test_a_stream_that_is_closed_frees_its_place_once() -> None:
    streams = Streams(2, 2)
    stream, _other = opened(streams, "ann"), opened(streams)

    assert asyncio.run(read_some(stream)) == [b"part"] * 3
    asyncio.run(stream.close())
    del stream
    _again = opened(streams)
    assert refusal(streams) == "too-many-streams"


def test_a_stream_that_was_never_begun_frees_its_place_once_it_is_forgotten() -> None:
    streams = Streams(1, 1)

    held = opened(streams, "ann")
    assert refusal(streams, "ann") == "too-many-own-streams"
    del held
    gc.collect()
    assert opened(streams, "ann")


def test_a_request_has_the_share_of_its_caller_and_leaves_nothing_of_that_to_the_next_on_its_connection(
    tmp_path: Path,
) -> None:
    context = create_app(Settings(str(tmp_path / "events.db"), user_streams_limit=1)).context
    gate, held = Middleware(context), list[Stream]()
    with context.log.writing() as transaction:
        tokens = {name: issue(transaction, register(transaction, name))[0] for name in ("ann", "bob")}

    async def requests(*callers: str | None) -> list[str]:
        answers = []
        for caller in callers:
            headers = {"Authorization": f"Bearer {tokens[caller]}"} if caller else {}
            req, resp = Request(create_scope(host="localhost", headers=headers), None), Response()  # type: ignore[arg-type]
            await gate.process_request(req, resp)
            await gate.process_resource(req, resp, Events(context) if caller else Root(), {})
            try:
                held.append(context.streams.open(parts()))
                answers.append("open")
            except Refusal as refused:
                answers.append(refused.slug)
        await context.drain()
        return answers

    try:
        own = "too-many-own-streams"
        answers = asyncio.run(requests("ann", None, "ann", "bob", None, "bob"))
        assert answers == ["open", "open", own, "open", "open", own]
    finally:
        context.service.close()
        context.close()
