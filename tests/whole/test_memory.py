"""What a worker keeps in memory: no more than its settings say, however many users it serves, and whatever they
write."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from es_goals.settings import Settings
from tests.support.inside import application

GOALS, NAME, DESCRIPTION = 20, 40, 360
LIMITS = {
    "goals_limit": GOALS,
    "name_limit": NAME,
    "description_limit": DESCRIPTION,
    "text_limit": 4 * GOALS * (NAME + DESCRIPTION),
}
USERS, FEW = 50, 5
VIEWS = ("", "?view=flat")
BESIDES = 50_000
"""Of bytes, for what else grows by so many users: who is who, and counters."""
CACHES = {"deciding_cache": 200_000, "reading_cache": 500_000}
"""Of each a bound that a few users fill."""


class Client(httpx2.AsyncClient):
    """Of an application in this process."""

    def __init__(self, app: Any) -> None:
        transport = httpx2.ASGITransport(cast(Any, app))
        super().__init__(transport=transport, base_url="http://localhost", timeout=30)

    async def fill(self, user: str, character: str, views: Sequence[str]) -> None:
        """Somebody at all limits, whose goals are looked at in several views."""
        goals = [
            {
                "type": "CreateGoal",
                "name": text + character * (NAME - 5),
                "description": text + character * (DESCRIPTION - 5),
            }
            for text in (f"{number:05}" for number in range(GOALS))
        ]
        assert (await self.post("/v2/users", json={"name": user})).status_code == 201
        made = await self.post(f"/v2/users/{user}/commands", json={"commands": goals})
        assert made.status_code == 200, made.text
        for view in views:
            seen = await self.get(f"/v2/users/{user}/goals{view}")
            assert seen.content.count(b'"description"') == GOALS

    async def expect_full(self, user: str) -> None:
        """Not one goal more is taken."""
        refused = await self.post(f"/v2/users/{user}/goals", json={"name": "one too many"})
        assert refused.json()["type"] == "/problems/limit-reached"


def measured() -> Callable[[], int]:
    """How many bytes more than now are taken."""

    def taken() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    before = taken()
    return lambda: taken() - before


async def _growth(app: Any, character: str, views: Sequence[str], users: int) -> int:
    async with Client(app) as client:
        await client.fill("the first one", character, views)
        await client.expect_full("the first one")
        taken = measured()
        for number in range(users):
            await client.fill(f"user {number}", character, views)
        return taken()


def growth(folder: Path, character: str, views: Sequence[str], users: int, bounds: Mapping[str, int]) -> int:
    """Bytes that so many users take in a worker that has served somebody already."""
    db = str(folder / f"{users}.db")
    settings = Settings(db, open=True, log_level="warning", **bounds, **LIMITS)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        with application(settings) as app:
            return asyncio.run(_growth(app, character, views, users))
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("character", ["a", "🎯"], ids=["ASCII", "emoji"])
def test_a_worker_that_serves_many_users_at_their_limits_stays_under_its_bounds(
    tmp_path: Path, character: str, cache: str
) -> None:
    views = VIEWS if cache == "reading_cache" else ()
    unbounded, bounds = (dict.fromkeys(CACHES, 0) | {cache: size} for size in (2**40, CACHES[cache]))

    few = growth(tmp_path, character, views, FEW, unbounded)
    many = growth(tmp_path, character, views, USERS, bounds)

    assert few * USERS / FEW > 3 * bounds[cache]
    assert many <= bounds[cache] + BESIDES
