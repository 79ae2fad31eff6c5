"""Undo where many command at once, and where the service is killed in the middle of one."""

import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from es_goals.events import GoalEvent, Recorded
from es_goals.goals.state import Goals, evolve
from tests.rules.test_goals_properties import assert_forest
from tests.support.load import history, serving
from tests.support.serving import Served, wait_for
from tests.whole.test_crashes import has_workers, wait_for_a_write

CLIENTS, COMMANDS = 8, 60
IMPORTED = 10_000


def folded(lines: Sequence[Recorded]) -> Goals:
    goals = Goals()
    for line in lines:
        if line.subject is not None:
            evolve(goals, cast(GoalEvent, line.event), line.at)
    return goals


class Restless:
    """A client that does and undoes whatever comes to its mind, to the goals of all."""

    def __init__(self, served: Served, number: int, goals: list[str]) -> None:
        self._chance, self._goals = random.Random(f"undo {number}"), goals  # noqa: S311
        self._client = httpx2.Client(base_url=served.url, timeout=60)
        self.undone = 0

    def live(self) -> None:
        """All its commands."""
        with self._client:
            for _ in range(COMMANDS):
                answer = self._act()
                assert answer.status_code in (200, 201, 404, 409), answer.text

    def _act(self) -> httpx2.Response:
        goal, other, chance = self._chance.choice(self._goals), self._chance.choice(self._goals), self._chance.random()
        place = f"/v2/goals/{goal}"
        if chance < 0.45:
            return self._undo()
        if chance < 0.55:
            made = self._client.post("/v2/users/ann/goals", json={"name": "made", "parent_id": goal})
            self._goals += [made.json()["id"]] if made.status_code == 201 else []
            return made
        if chance < 0.65:
            return self._client.patch(place, json={"name": f"{chance}"})
        if chance < 0.8:
            return self._client.post(f"{place}/move", json={"parent_id": self._chance.choice([other, None])})
        if chance < 0.9:
            return self._client.post(f"{place}/complete", json={"cascade": True})
        return self._client.delete(place) if chance < 0.95 else self._client.post(f"{place}/restore", json={})

    def _undo(self) -> httpx2.Response:
        head = int(self._client.get("/readyz").json()["position"])
        body: dict[str, Any] = {"position": max(1, head - self._chance.randrange(30))}
        answer = self._client.post("/v2/users/ann/undo", json=body)
        if answer.status_code == 409 and (commands := answer.json()["commands"]):
            answer = self._client.post("/v2/users/ann/undo", json={"commands": commands})
        self.undone += answer.status_code == 200 and answer.json()["events"] > 0
        return answer


def test_eight_who_command_and_undo_at_random_leave_a_sound_forest(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.make_user("ann")
        goals = [served.make_goal("ann", f"goal {number}")["id"] for number in range(12)]
        clients = [Restless(served, number, goals) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(client.live) for client in clients]:
                done.result()
        served.verified()
        lines = history(served.db)

    assert_forest(folded(lines))
    assert sum(client.undone for client in clients) > CLIENTS
    assert len({line.command for line in lines}) > CLIENTS


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.2])
def test_kill_9_within_the_undo_of_an_import_leaves_all_of_it_or_none_and_a_repeat_settles_it(
    tmp_path: Path, moment: float
) -> None:
    outline = "".join(f"{'#' * (1 + number % 3)} goal {number}\n" for number in range(IMPORTED))
    with serving(tmp_path, env={"ES_GOALS_DEADLINE": "60"}) as served, ThreadPoolExecutor(1) as pool:
        served.make_user("ann")
        path, headers = "/v2/users/ann/import", {"Content-Type": "text/markdown"}
        imported = served.client.post(path, content=outline, headers=headers, timeout=60)
        body, key = {"command": imported.headers["Command"]}, {"Idempotency-Key": "undo"}

        def send() -> httpx2.Response:
            with httpx2.Client(base_url=served.url, timeout=60) as client:
                return client.post("/v2/users/ann/undo", json=body, headers=key)

        sent: Future[httpx2.Response] = pool.submit(send)
        wait_for_a_write(served, moment)
        served.kill()
        cut_off = sent.exception()
        before = len([line for line in history(served.db) if b'"undoes"' in line.data])
        served.launch()
        wait_for(lambda: has_workers(served), "workers")
        again = send()
        served.verified()
        lines = history(served.db)

    undone = [line for line in lines if b'"undoes"' in line.data]
    assert before in (0, IMPORTED)
    assert cut_off is None or isinstance(cut_off, httpx2.HTTPError)
    assert (again.status_code, again.json()["changed"]) == (200, IMPORTED)
    assert again.headers.get("Idempotent-Replayed") == ("true" if before else None)
    assert (len(undone), len({line.command for line in undone})) == (IMPORTED, 1)
    assert all(goal.root is not None for goal in folded(lines).known.values())
