"""Verifying over HTTP: how far it is, what it finds, that there is one at a time, and what ends it."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest

import projections
from es_goals.ids import wall_clock
from es_goals.projector import Projector
from es_goals.proving.tree import HashTree
from es_goals.storage import Storage
from es_goals.storage.views import Verification
from es_goals.upkeep.verification import anchor
from es_goals.upkeep.verifier import LEASE, Verifier
from tests.support.engines import Engine
from tests.support.histories import created, record, register
from tests.support.people import behind
from tests.support.serving import Served, fault, refused, wait_for

Json = dict[str, Any]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of two workers that is nobody else's, with some goals."""
    with Served(tmp_path_factory.mktemp("verified")) as served:
        served.make_user("ann")
        for number in range(5):
            served.make_goal("ann", f"goal {number}")
        yield served


def ended(served: Served, answer: httpx2.Response) -> Json:
    """Watch the Location until it is over."""
    assert answer.status_code == 202, answer.text
    found: list[Json] = []

    def over() -> bool:
        found.append(served.get(answer.headers["Location"]))
        return bool(found[-1]["state"] != "running" and found[-1]["ended_at"])

    wait_for(over, "the verification to end")
    return found[-1]


def begin(served: Served, **body: Any) -> httpx2.Response:
    return served.client.post("/v2/verifications", json=body)


def test_a_sound_log_is_found_sound_with_its_digest(own: Served) -> None:
    answer = begin(own)
    end = ended(own, answer)

    assert answer.headers["Location"] == f"/v2/verifications/{answer.json()['id']}"
    assert answer.json()["state"] == "running"
    assert (end["state"], end["finding"]) == ("sound", None)
    with behind(own) as storage:
        assert end["head"] == str(anchor(storage.log, storage.log.head().position, lambda _done, _total: None))
    assert end["began_at"] <= end["ended_at"]
    assert ended(own, begin(own, expect=end["head"]))["state"] == "sound"


def test_a_log_that_begins_otherwise_is_found_so(own: Served) -> None:
    end = ended(own, begin(own, expect=f"3:{'0' * 64}"))

    assert (end["state"], end["head"]) == ("unsound", None)
    assert "does not begin as expected" in end["finding"]


@pytest.mark.parametrize("expect", ["", "3", "3:x", f"-1:{'0' * 64}", f"3:{'G' * 64}", 3, f"²:{'0' * 64}", "9" * 200])
def test_what_is_no_beginning_is_refused(own: Served, expect: object) -> None:
    assert fault(begin(own, expect=expect))["pointer"] == "/expect"


@pytest.mark.parametrize("id", ["7b1f6a3e-5f0c-4b5e-9d52-0a4f5f0f1c11", "x", "%00", "%ff", "0" * 3_000])
def test_a_verification_that_nobody_began_is_not_found(own: Served, id: str) -> None:
    refused(own.client.get(f"/v2/verifications/{id}"), 404, "verification-not-found")


def test_there_is_one_at_a_time_and_who_asks_for_another_is_told_of_it(own: Served) -> None:
    running = Verification(str(uuid.uuid4()), "running", wall_clock(), None, "log", 3, 6)
    with behind(own) as storage, storage.views.lease(LEASE) as mine:
        assert mine
        storage.views.verifications.put(running)

        answers = [begin(own), begin(own)]
        shown = own.get(f"/v2/verifications/{running.id}")

        assert [answer.json()["id"] for answer in answers] == [running.id] * 2
        assert (shown["state"], shown["step"], shown["done"], shown["total"]) == ("running", "log", 3, 6)
    cut = own.get(f"/v2/verifications/{running.id}")
    assert (cut["state"], cut["finding"]) == ("failed", "the process that verified ended")
    assert ended(own, begin(own))["state"] == "sound"


def test_one_that_only_begins_is_to_be_asked_for_again(own: Served) -> None:
    ended(own, begin(own))
    with behind(own) as storage, storage.views.lease(LEASE):
        answer = begin(own)

    refused(answer, 503, "storage-unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_a_row_that_is_not_as_folded_is_found(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        served.make_user("ann")
        served.make_goal("ann", "a goal")
        assert ended(served, begin(served))["state"] == "sound"
        connection = apsw.Connection(str(tmp_path / "projections.db"))
        tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'goal_tree_*'"
        table = connection.execute(tables).get
        connection.execute(f"UPDATE \"{table}\" SET name = 'another'")
        connection.close()

        end = ended(served, begin(served))

        assert end["state"] == "unsound"
        assert "goal_tree at position" in end["finding"]
        assert end["head"].startswith("2:")
    finally:
        served.end()


def verifier(storage: Storage) -> tuple[Verifier, Projector]:
    projector = Projector(storage.log, storage.views, projections.ALL)
    return Verifier(storage, projector, HashTree(storage), wall_clock), projector


def test_a_verification_ends_as_found_on_every_engine(engine: Engine) -> None:
    storage = engine.open()
    register(storage.log, "ann")
    record(storage.log, "ann", created("a goal"))
    told: list[Verification | None] = []
    one, _ = verifier(storage)

    one.run("first", None, told.append)

    assert [running.state for running in told if running] == ["running"]
    found = one.find("first")
    assert found is not None
    assert (found.state, found.finding) == ("sound", None)
    assert str(found.head).startswith(f"{storage.log.head().position}:")


def test_where_the_service_stops_a_verification_fails(engine: Engine) -> None:
    storage = engine.open()
    register(storage.log, "ann")
    record(storage.log, "ann", created("a goal"))
    one, projector = verifier(storage)
    projector.stop()

    one.run("first", None, lambda _: None)

    found = one.find("first")
    assert found is not None
    assert (found.state, found.finding) == ("failed", "the service stopped meanwhile")
