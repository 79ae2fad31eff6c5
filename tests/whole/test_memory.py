"""What a worker keeps in memory: no more than its settings say, however many users it serves, and whatever they
write."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Sequence
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
    "text_limit": GOALS * (NAME + DESCRIPTION),
}
USERS = 40
VIEWS = ("", "?view=flat")
BESIDES = 60_000
"""Of bytes, for what else grows by so many users: who is who, and counters."""
CACHES = {"deciding_cache": 200_000, "reading_cache": 700_000}
"""Of each a bound that a few users fill."""


class Client(httpx2.AsyncClient):
    """Of an application in this process."""

    def __init__(self, app: Any) -> None:
        transport = httpx2.ASGITransport(cast(Any, app))
        super().__init__(transport=transport, base_url="http://localhost", timeout=30)

    async def fill(self, user: str, character: str, views: Sequence[str]) -> None:
        """Somebody at all limits, whose goals are looked at in several views."""
        goal = {"type": "CreateGoal", "name": character * NAME, "description": character * DESCRIPTION}
        assert (await self.post("/v2/users", json={"name": user})).status_code == 201
        made = await self.post(f"/v2/users/{user}/commands", json={"commands": [goal] * GOALS})
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


async def growth(app: Any, character: str, views: Sequence[str]) -> tuple[int, int]:
    """Bytes that one user takes, and many, in a worker that has served somebody already."""
    async with Client(app) as client:
        await client.fill("the first one", character, views)
        taken = measured()
        await client.fill("user 0", character, views)
        one = taken()
        for number in range(1, USERS):
            await client.fill(f"user {number}", character, views)
        await client.expect_full("user 0")
        return one, taken()


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("character", ["a", "🎯"], ids=["ASCII", "emoji"])
def test_a_worker_that_serves_many_users_at_their_limits_stays_under_its_bounds(
    tmp_path: Path, character: str, cache: str
) -> None:
    bounds = {**dict.fromkeys(CACHES, 0), cache: CACHES[cache]}
    settings = Settings(str(tmp_path / "events.db"), open=True, log_level="warning", **bounds, **LIMITS)  # type: ignore[arg-type]

    tracemalloc.start()
    try:
        with application(settings) as app:
            one, many = asyncio.run(growth(app, character, VIEWS if cache == "reading_cache" else ()))
    finally:
        tracemalloc.stop()

    assert USERS * one > 3 * bounds[cache]
    assert many <= bounds[cache] + BESIDES
