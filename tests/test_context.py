"""What the doors share: however often a request waits for the storage, it waits no longer than its deadline."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from es_goals.app import create_app
from es_goals.http.context import Context
from es_goals.passwords import hashed
from es_goals.settings import Settings
from es_goals.storage import Interrupted


@contextmanager
def made(folder: Path, deadline: float) -> Iterator[Context]:
    """A process that serves, without its server."""
    context = create_app(Settings(str(folder / "events.db"), deadline=deadline)).context
    try:
        yield context
    finally:
        context.service.close()
        context.close()


def test_a_request_that_has_waited_its_deadline_waits_for_nothing_more_and_the_next_one_does(tmp_path: Path) -> None:
    busy, answered = threading.Event(), list[int]()

    async def requests(context: Context) -> None:
        context.begin()
        with pytest.raises(Interrupted):
            await context.in_thread(busy.wait)
        with pytest.raises(Interrupted):
            await context.in_thread(lambda: 1)
        context.begin()
        answered.append(await context.in_thread(lambda: 2))

    with made(tmp_path, deadline=0.1) as context:
        try:
            asyncio.run(requests(context))
        finally:
            busy.set()

    assert answered == [2]


def test_no_more_passwords_are_looked_at_at_once_than_there_are_cores(tmp_path: Path) -> None:
    cores, counting = len(os.sched_getaffinity(0)), threading.Lock()
    running, most = 0, 0

    def look() -> None:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        hashed("a password")
        with counting:
            running -= 1

    async def sign_in(context: Context) -> None:
        context.begin()
        await asyncio.gather(*(context.hashing(look) for _ in range(3 * cores)))

    with made(tmp_path, deadline=20) as context:
        asyncio.run(sign_in(context))

    assert 1 <= most <= cores
