"""What the tests of the API may ask for besides."""

from collections.abc import Iterator

import msgspec
import pytest

from tests.support.serving import Served


@pytest.fixture
def goal(served: Served, user: str) -> str:
    """The id of a goal."""
    made: str = served.make_goal(user, "a goal")["id"]
    return made


@pytest.fixture(scope="module")
def told_in_the_log(served: Served) -> Iterator[None]:
    """Whatever the tests of a file send: every line of the log is one JSON object, none tells of a mistake."""
    before = served.output.stat().st_size
    yield
    told = served.output.read_bytes()[before:].decode()
    lines = [msgspec.json.decode(line) for line in told.split("\n") if line.startswith("{")]
    assert all("request_id" in line and line["status"] < 500 for line in lines if line["event"] == "request")
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
    assert [line for line in told.split("\n") if line and not line.startswith("{")] == []
