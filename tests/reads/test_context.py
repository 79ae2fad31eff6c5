"""What the doors share: however often a request waits for the storage, it waits no longer than its deadline."""

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from es_goals.http.context import HASHED_AT_ONCE, HASHED_IN_ALL, Context

from es_goals.accounts.passwords import hashed
from es_goals.app import create_app
from es_goals.http.problems import Refusal
from es_goals.settings import Settings
from es_goals.storage.errors import Interrupted


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


def test_who_comes_with_many_passwords_at_once_has_few_places_and_leaves_them_to_the_next(tmp_path: Path) -> None:
    def taken(context: Context, addresses: Iterable[str]) -> int:
        """How many get a place before one does not; all are left again."""
        with ExitStack() as places:
            for count, address in enumerate(addresses):
                try:
                    places.enter_context(context.password_slot(address))
                except Refusal:
                    return count
        return -1

    with made(tmp_path, deadline=20) as context:
        for _ in range(2):
            assert taken(context, repeat("192.0.2.1")) == HASHED_AT_ONCE
            assert taken(context, (f"2001:db8::{number}" for number in range(9))) == HASHED_AT_ONCE
            assert taken(context, (f"198.51.100.{number}" for number in range(99))) == HASHED_IN_ALL
