"""What a serving process does beside answering: it forgets what is over, again and again, and gets over trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec import structs

import projections
from es_goals import worker as module
from es_goals.settings import Settings
from es_goals.storage.errors import Unavailable
from es_goals.storage.sessions import Attempt, Session
from es_goals.worker import GUESSES_SECONDS, Worker
from tests.support.engines import DEADLINE, NOW, HandClock

SECOND = 1_000_000
IDLE = 3_600
GOOD = Session("good", "ann", "203.0.113.7", 0, NOW, NOW + 1)
OVER = structs.replace(GOOD, hash="over", expires_at=NOW - 1)


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Worker]:
    """A worker that ticks, without its server."""
    given = Settings(str(folder / "events.db"), tick=0.01, session_idle=IDLE, token_idle=IDLE, **settings)
    worker = Worker(given, projections.ALL, HandClock(), lambda: None)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def become(so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(DEADLINE):
        while not so():
            await asyncio.sleep(0.002)


def attempts(folder: Path) -> list[str]:
    """Those that are stored."""
    with closing(apsw.Connection(str(folder / "sessions.db"))) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM attempts ORDER BY id")]


def test_what_is_over_is_forgotten_again_and_again_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.05)

    async def play() -> None:
        async with serving(tmp_path) as worker:
            sessions = worker.storage.sessions
            sessions.begin(GOOD)
            sessions.record_use("used lately", NOW - IDLE * SECOND)
            sessions.attempt(Attempt("lately", "ann", "", NOW - GUESSES_SECONDS * SECOND), 0, 5)
            for _ in range(3):
                sessions.begin(OVER)
                sessions.record_use("used long ago", NOW - IDLE * SECOND - 60 * SECOND)
                sessions.attempt(Attempt("long ago", "bob", "", NOW - (GUESSES_SECONDS + 1) * SECOND), 0, 5)
                await become(lambda: sessions.session(OVER.hash) is None)
                await become(lambda: sessions.used("used long ago") is None and attempts(tmp_path) == ["lately"])

                assert sessions.session(GOOD.hash) == GOOD
                assert sessions.used("used lately") is not None

    asyncio.run(play())


def test_housekeeping_is_not_done_at_every_look(tmp_path: Path) -> None:
    async def play() -> Session | None:
        async with serving(tmp_path) as worker:
            sessions = worker.storage.sessions
            sessions.begin(OVER)
            await become(lambda: sessions.session(OVER.hash) is None)
            sessions.begin(OVER)
            for _ in range(5):
                await worker._look()
            return sessions.session(OVER.hash)

    assert asyncio.run(play()) == OVER


def test_housekeeping_that_fails_is_done_the_next_time_and_the_tick_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.02)
    tries: list[int] = []

    async def play() -> None:
        async with serving(tmp_path) as worker:
            sessions = worker.storage.sessions
            purge = sessions.purge_expired

            def failing(now: int, idle: int, since: int) -> None:
                tries.append(now)
                if len(tries) < 3:
                    raise Unavailable("no sessions now")
                purge(now, idle, since)

            monkeypatch.setattr(sessions, "purge_expired", failing)
            sessions.begin(OVER)
            await become(lambda: len(tries) >= 3 and sessions.session(OVER.hash) is None)

    asyncio.run(play())


def test_where_nobody_signs_in_nothing_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are sessions opened, which an open service has none of."""
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.0)

    async def play() -> None:
        async with serving(tmp_path, open=True) as worker:
            for _ in range(3):
                await worker._look()

    asyncio.run(play())
    assert not (tmp_path / "sessions.db").exists()
