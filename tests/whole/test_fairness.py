"""What others feel while one user asks for as much as can be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks import Felt, batch, chain, creating, goal_id, person, under_attack
from tests.support.histories import created
from tests.support.people import Answer, Wire
from tests.support.serving import Served

SECONDS = 3.0
DEEP = 20_000
NEVER = goal_id(2**40)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A service that counts no requests, so that what is felt is how they share."""
    with Served(tmp_path, workers=1, accounts=True, env={"ES_GOALS_REQUESTS_LIMIT": "0"}) as served:
        yield served


def moves(last: str) -> bytes:
    """A thousand goals are moved under the end of a chain, of which the first half is itself below some of them."""
    end = goal_id(DEEP - 1)
    leaves = [{"type": "MoveGoal", "id": goal_id(DEEP + number), "parent_id": end} for number in range(500)]
    halves = [
        {"type": "MoveGoal", "id": goal_id(DEEP // 2), "parent_id": goal_id(DEEP // 2 - 1 - number % 2)}
        for number in range(499)
    ]
    return batch([*leaves, *halves, {"type": "DeleteGoal", "id": last}])


def test_batches_that_take_long_and_are_refused_hold_nobody_else_up(served: Served) -> None:
    leaves = [created(goal_id(DEEP + number)) for number in range(500)]
    eve, token = person(served, "eve", [*chain(DEEP), *leaves])
    ann, hers = person(served, "ann")
    body = moves(NEVER)

    def attack(wire: Wire) -> Answer:
        return wire("POST", f"/v2/users/{eve.id}/commands", token, body)

    with under_attack(served, attack):
        felt = Felt(served, creating(ann, hers), SECONDS)

    assert set(felt.statuses) == {201}
    assert felt.longest < 2.5  # 5 s and a refusal, where it is first come, first served
    assert felt.median < 0.5
