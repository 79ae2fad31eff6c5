"""The logs: JSON, a line an event, whatever is in it."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from select import PIPE_BUF
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from es_goals.logs import RequestLog, configure

Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def read(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Read]:
    """What was logged on standard error since it was last read, decoded; nothing else may be there."""
    before = structlog.get_config()

    def lines() -> list[dict[str, Any]]:
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert err == b"" or err.endswith(b"\n")
        return [json.loads(line) for line in err.split(b"\n")[:-1]]

    yield lines
    structlog.configure(**before)


def test_an_event_is_one_line_of_JSON_on_standard_error(read: Read) -> None:
    configure("info")
    structlog.get_logger().info("request", request_id="r1", status=200, ms=1.5, goal=None)

    [line] = read()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "request", "level": "info", "request_id": "r1", "status": 200, "ms": 1.5, "goal": None}


class Pieces(io.BytesIO):
    """What was written before each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def flush(self) -> None:
        """Take it."""
        self.pieces.append(self.getvalue())
        self.seek(0)
        self.truncate()


def test_no_more_is_written_at_once_than_a_pipe_keeps_together_but_for_a_single_line() -> None:
    file = Pieces()

    async def turn() -> None:
        log = RequestLog(file)
        for number in range(100):
            log.add(f"r{number}", "GET", "/long" * 2_000 if number == 50 else "/", 200, 0.001)

    asyncio.run(turn())

    assert [json.loads(line)["request_id"] for line in b"".join(file.pieces).splitlines()] == [
        f"r{number}" for number in range(100)
    ]
    assert len(file.pieces) < 20
    assert all(len(piece) <= PIPE_BUF or piece.count(b"\n") == 1 for piece in file.pieces)
    assert all(piece.endswith(b"\n") for piece in file.pieces)


HOSTILE = pytest.mark.parametrize(
    "text",
    [
        pytest.param('x"}\n{"event": "admin logged in", "level": "info"}', id="a forged line"),
        pytest.param("a\r\nb\n\n", id="line breaks"),
        pytest.param('", "level": "critical", "x": "', id="a forged member"),
        pytest.param('\\" \\n \\u000a', id="backslashes"),
        pytest.param("\x1b[2J\x1b[31mred", id="a terminal's control sequence"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("a\u2028b\u2029c\x85d", id="other line separators"),
        pytest.param("a\u202eb", id="a bidirectional override"),
        pytest.param("🏃" * 1000, id="long, and beyond the basic plane"),
        pytest.param("%s %(name)s {event} {0!r}", id="formats"),
        pytest.param("x" * 1_000_000, id="a megabyte"),
    ],
)


@HOSTILE
def test_a_hostile_text_stays_inside_its_string(read: Read, text: str) -> None:
    configure("info")
    structlog.get_logger().warning(text, path=text, headers={text: [text]})

    [line] = read()
    assert line["event"] == text
    assert line["path"] == text
    assert line["headers"] == {text: [text]}
    assert line["level"] == "warning"


def test_a_text_that_UTF_8_cannot_hold_is_logged_too(read: Read) -> None:
    """A file's name or a header can hold a lone surrogate; what logs it must not fail of it."""
    configure("info")
    structlog.get_logger().info("found", path="a\udcffb")

    [line] = read()
    assert line["event"] == "found"
    assert line["path"].startswith("a")
    assert line["path"].endswith("b")


def test_what_JSON_does_not_know_is_shown(read: Read) -> None:
    configure("info")
    structlog.get_logger().info("odd", kind=int, error=ValueError("a\nb"))

    [line] = read()
    assert line["kind"] == "<class 'int'>"
    assert line["error"] == "ValueError('a\\nb')"


def test_an_exception_is_told_inside_its_line(read: Read) -> None:
    configure("info")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        structlog.get_logger().exception("failed", request_id="r1")

    [line] = read()
    assert (line["event"], line["level"], line["request_id"]) == ("failed", "error", "r1")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: first\nsecond")


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_logged(read: Read, level: str, told: list[str]) -> None:
    configure(level)
    logger = structlog.get_logger()
    for one in ("debug", "info", "warning", "error"):
        logger.log(logging.getLevelName(one.upper()), "event")

    assert [line["level"] for line in read()] == told


# A line a request.


def requested(*requests: tuple[str, str, str, int, float]) -> bytes:
    """What is written of requests that one turn of the event loop answered."""
    file = io.BytesIO()

    async def answer() -> bytes:
        log = RequestLog(buffered)
        for request in requests:
            log.add(*request)
        await asyncio.sleep(0)
        return file.getvalue()

    with io.BufferedWriter(file) as buffered:  # as standard error is
        return asyncio.run(answer())


def test_a_request_is_a_line_as_any_other_event_would_be(read: Read) -> None:
    configure("info")
    structlog.get_logger().info("request", request_id="r1", method="GET", path="/v2", status=200, ms=1.5)
    [expected] = read()

    line = json.loads(requested(("r1", "GET", "/v2", 200, 0.0015)))

    assert list(line) == ["request_id", "method", "path", "status", "ms", "event", "level", "timestamp"]
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(written - datetime.fromisoformat(expected.pop("timestamp"))) < timedelta(minutes=1)
    assert line == expected


def assert_told(told: bytes, *requests: tuple[str, str, str, int, float]) -> None:
    assert told.isascii()
    assert told.endswith(b"\n")
    lines = [json.loads(line) for line in told.split(b"\n")[:-1]]
    assert [(line["request_id"], line["method"], line["path"], line["status"]) for line in lines] == [
        request[:4] for request in requests
    ]
    assert {(line["event"], line["level"]) for line in lines} == {("request", "info")}
    assert all(len(line) == 8 for line in lines)


@HOSTILE
def test_a_hostile_request_stays_inside_its_strings(text: str) -> None:
    requests = [("r1", "GET", text, 404, 0.1), (text, "GET", "/", 400, 0.1), ("r2", text, "/", 405, 0.1)]

    assert_told(requested(*requests), *requests)


@given(st.lists(st.tuples(*[st.text(st.characters())] * 3, st.integers(100, 599), st.floats(0, 1e6)), min_size=1))
def test_any_requests_are_told_in_a_line_each_in_order(requests: list[tuple[str, str, str, int, float]]) -> None:
    assert_told(requested(*requests), *requests)


def test_what_is_added_is_written_before_the_loop_waits_for_anything_and_only_once() -> None:
    file, seen = io.BytesIO(), list[int]()

    async def answer() -> None:
        log = RequestLog(file)
        for turn in range(3):
            for number in range(4):
                log.add(f"{turn}-{number}", "GET", "/", 200, 0.1)
            seen.append(file.getvalue().count(b"\n"))
            await asyncio.sleep(0)
            seen.append(file.getvalue().count(b"\n"))

    asyncio.run(answer())

    assert seen == [0, 4, 4, 8, 8, 12]
