"""What version 1.3.0 answered, on a log that it wrote, is answered still: over HTTP and by the command line, byte for
byte but for what differs each time. What is another answer on purpose is in recorded/differences.jsonl."""

from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET, structs

from tests.support import postgres
from tests.whole.recorded import exchanges
from tests.whole.recorded.exchanges import Answer, Exchange
from tests.whole.recorded.playing import DATABASE, play, unpack

SHOWN = 10
"""Differences that are shown in full; others often follow from the first ones."""


def assert_same(name: str, folder: Path, db: str = DATABASE, paths: str = "") -> None:
    """A scenario, or what of it asks for paths that begin so, is answered as it is recorded."""
    unpack(folder)
    scenario, asked = exchanges.read(name)
    asked = [one for one in asked if one.path.startswith(paths)]
    known = exchanges.differences()
    told: dict[str, str] = {}
    for exchange, found in play(scenario, asked, folder, db):
        expected = known[exchange.id].answer if exchange.id in known else exchange.answer
        if difference := exchanges.compared(exchange, expected, found):
            told[exchange.id] = difference
    shown = "\n\n".join(list(told.values())[:SHOWN])
    assert not told, f"{len(told)} answers of {name} are others: {', '.join(told)}\n\n{shown}"


@pytest.mark.parametrize("name", exchanges.names())
def test_every_request_is_answered_as_by_version_1_3_0(name: str, tmp_path: Path) -> None:
    assert_same(name, tmp_path)


def test_a_log_of_version_1_3_0_that_is_copied_to_postgresql_is_read_the_same(tmp_path: Path) -> None:
    with postgres.fresh(postgres.VERSIONS[-1]) as url:
        unpack(tmp_path)
        copy = Exchange("copy", ["copy", "--from", DATABASE, "--to", url], lines="^[0-9]")
        [(_, copied)] = play(exchanges.Scenario("a copy"), [copy], tmp_path)
        assert copied.status == 0, copied.errors

        assert_same("reads", tmp_path, url, paths="/v")


def test_every_exchange_has_an_id_of_its_own_and_an_answer() -> None:
    recorded = [one for name in exchanges.names() for one in exchanges.read(name)[1]]

    assert len(recorded) > 1000
    assert len({one.id for one in recorded}) == len(recorded)
    assert [one.id for one in recorded if one.answer is UNSET] == []


def test_every_difference_is_one_and_says_why() -> None:
    recorded = {one.id: one for name in exchanges.names() for one in exchanges.read(name)[1]}

    for one in exchanges.differences().values():
        assert one.why, one.id
        told = exchanges.compared(recorded[one.id], recorded[one.id].answer, one.answer)
        assert told, f"{one.id} is answered as before"


BEFORE = Answer(200, {"etag": '"r1.v2.<generation 1>.ta"'}, {"id": "1", "name": "Run"})


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (structs.replace(BEFORE, status=404), "+status 404"),
        (structs.replace(BEFORE, headers={"etag": '"r1.v3.<generation 1>.ta"'}), '+etag: "r1.v3.<generation 1>.ta"'),
        (structs.replace(BEFORE, headers={**BEFORE.headers, "link": "</x>"}), "+link: </x>"),
        (structs.replace(BEFORE, headers={}), '-etag: "r1.v2.<generation 1>.ta"'),
        (structs.replace(BEFORE, body={"name": "Run", "id": "1"}), '+ "name": "Run",'),
        (structs.replace(BEFORE, body={"id": 1, "name": "Run"}), '+ "id": 1,'),
        (structs.replace(BEFORE, body=UNSET, text='{"id": "1", "name": "Run"}'), '+{"id": "1", "name": "Run"}'),
    ],
)
def test_whatever_is_another_is_named_and_shown(after: Answer, line: str) -> None:
    exchange = Exchange("a-goal", method="GET", path="/v2/goals/1", answer=BEFORE)

    told = exchanges.compared(exchange, BEFORE, after).split("\n")

    assert told[0] == "a-goal: GET /v2/goals/1"
    assert line in told
    assert not exchanges.compared(exchange, BEFORE, msgspec.json.decode(exchanges.encode(BEFORE), type=Answer))
