"""The limits of a service, each at the limit and one above it: what is refused says what was expected and found."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from tests.support.commands import at_home, cli, done
from tests.support.commands import refused as import_refused
from tests.support.engines import wait_until
from tests.support.serving import Served, refused
from tests.support.wire import connect, exchange

LIMITS = {
    "body": 2_048,
    "line": 512,
    "header": 1_024,
    "headers": 16,
    "name": 10,
    "description": 20,
    "goals": 12,
    "children": 5,
    "text": 100,
    "batch": 4,
    "events": 5,
    "page": 3,
    "streams": 2,
}
ENV = {f"ES_GOALS_{limit.upper()}_LIMIT": str(value) for limit, value in LIMITS.items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of small limits, with one worker, which counts streams."""
    with Served(tmp_path_factory.mktemp("small"), workers=1, env=ENV) as served:
        yield served


@pytest.fixture
def ann(small: Served) -> str:
    """A user whom no other test knows."""
    name = f"ann-{uuid.uuid4().hex}"
    small.make_user(name)
    return name


def commands(*names: str) -> dict[str, Any]:
    """A batch that makes goals at the top."""
    return {"commands": [{"type": "CreateGoal", "name": name} for name in names]}


def version(served: Served, user: str) -> int:
    found: int = served.get(f"/v2/users/{user}/goals")["version"]
    return found


def problem(answer: Any, slug: str, expected: int, found: int) -> dict[str, Any]:
    """A refusal with 422 that names both numbers."""
    told = refused(answer, 422, slug)
    assert f"{expected}" in told["detail"].partition("; ")[0]
    assert told["detail"].endswith(f"; found {found}")
    return told


# Streams.


def follow(small: Served) -> tuple[socket, int]:
    """A stream that was asked for, and the answer's status."""
    connection = connect(small.port)
    connection.sendall(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    return connection, int(connection.recv(12)[-3:])


def test_streams_of_a_worker(small: Served) -> None:
    first, second = follow(small), follow(small)

    assert [first[1], second[1]] == [200, 200]
    for accept in ("text/event-stream", "application/x-ndjson"):
        answer = small.client.get("/v2/events", headers={"Accept": accept})
        told = refused(answer, 503, "too-many-streams")
        assert told["detail"] == "expected at most 2 at once; found one more"
        assert int(answer.headers["Retry-After"]) > 0
    assert small.client.get("/v2/events").status_code == 200
    for connection in (first[0], second[0]):
        connection.close()


# Goals.


@pytest.mark.parametrize(("member", "length"), [("name", 10), ("description", 20)])
def test_texts(small: Served, ann: str, member: str, length: int) -> None:
    goal = small.make_goal(ann, "goal")
    path = f"/v2/goals/{goal['id']}"

    assert small.order(goal, "patch", **{member: "\N{RUNNER}" * length})[member] == "\N{RUNNER}" * length
    longer = small.client.patch(path, json={member: "x" * (length + 1)})
    told = problem(longer, "invalid-value", length, length + 1)
    assert told["errors"][0]["pointer"] == f"/{member}"
    assert version(small, ann) == 2


def test_goals_of_a_user(small: Served, ann: str) -> None:
    first = small.make_goal(ann, "0")["id"]
    made = [small.make_goal(ann, f"{number}", parent_id=first)["id"] for number in range(5)]
    for number in range(6):
        small.make_goal(ann, f"{number}", parent_id=made[number // 3])
    small.client.delete(f"/v2/goals/{made[0]}")

    problem(small.post(f"/v2/users/{ann}/goals", {"name": "n"}), "limit-reached", 12, 13)
    assert problem(small.post(f"/v2/users/{ann}/commands", commands("n")), "limit-reached", 12, 13)["index"] == 0
    assert version(small, ann) == 12 + 4


def test_goals_in_one_place(small: Served, ann: str) -> None:
    top = [small.make_goal(ann, f"{number}")["id"] for number in range(5)]
    below = small.make_goal(ann, "below", parent_id=top[0])

    told = problem(small.post(f"/v2/users/{ann}/goals", {"name": "n"}), "limit-reached", 5, 6)
    assert told["errors"][0]["pointer"] == "/parent_id"
    problem(small.post(f"/v2/goals/{below['id']}/move", {"parent_id": None}), "limit-reached", 5, 6)
    small.client.delete(f"/v2/goals/{top[4]}")
    small.order(below, "move", parent_id=None)
    problem(small.post(f"/v2/goals/{top[4]}/restore"), "limit-reached", 5, 6)


def test_characters_of_a_users_goals(small: Served, ann: str) -> None:
    for number in range(4):
        small.make_goal(ann, f"{number}", description="x" * 20)

    problem(small.post(f"/v2/users/{ann}/goals", {"name": "x", "description": "x" * 16}), "limit-reached", 100, 101)
    last = small.make_goal(ann, "x", description="x" * 15)
    problem(small.client.patch(f"/v2/goals/{last['id']}", json={"name": "xy"}), "limit-reached", 100, 101)
    small.order(last, "patch", name="xy", description=None)


def test_events_of_a_request(small: Served, ann: str) -> None:
    chain: list[str] = []
    for _ in range(6):
        chain.append(small.make_goal(ann, "x", parent_id=chain[-1] if chain else None)["id"])

    problem(small.client.delete(f"/v2/goals/{chain[0]}"), "limit-reached", 5, 6)
    cascade = {"type": "CompleteGoal", "id": chain[1], "cascade": True}
    batch = {"commands": [{"type": "ChangeGoal", "id": chain[0], "name": "y"}, cascade]}
    assert problem(small.post(f"/v2/users/{ann}/commands", batch), "limit-reached", 5, 6)["index"] == 1
    assert version(small, ann) == 6
    assert small.client.delete(f"/v2/goals/{chain[1]}").json() == {"deleted": 5}


def test_commands_of_a_batch(small: Served, ann: str) -> None:
    told = problem(small.post(f"/v2/users/{ann}/commands", commands(*"abcde")), "invalid-value", 4, 5)

    assert told["errors"][0]["pointer"] == "/commands"
    assert version(small, ann) == 0
    assert small.post(f"/v2/users/{ann}/commands", commands(*"abcd")).status_code == 200


def test_the_original_api_keeps_the_limits_too(small: Served, ann: str) -> None:
    for number in range(5):
        small.make_goal(ann, f"{number}")

    for name, slug in (("x" * 11, "invalid-value"), ("n", "limit-reached")):
        answer = small.client.post("/v1.0/goals", json={"user": ann, "name": name})
        assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{slug}")


# Pages.


@pytest.mark.parametrize("path", ["/v2/events", "/v2/users", "/v2/users/{ann}/events"])
def test_pages(small: Served, ann: str, path: str) -> None:
    for name in "abcd":
        small.make_goal(ann, name)
        small.make_user(f"{name}-{ann}")
    path, kind = path.format(ann=ann), "users" if path == "/v2/users" else "events"

    by_default, at_most = small.get(path), small.get(path, limit=3)
    for page in (by_default, at_most):
        assert len(page[kind]) == 3
        assert len(small.get(page["next"])[kind]) == 3 or kind == "events"
    assert len(small.get(path, limit=2)[kind]) == 2
    for asked in (4, 100, 1_000):
        told = problem(small.client.get(path, params={"limit": asked}), "invalid-value", 3, asked)
        assert told["errors"][0]["parameter"] == "limit"


# What is read of a request.


def sent(small: Served, line: bytes, *fields: bytes, body: bytes = b"") -> int:
    """The answer's status, on a connection that ends with it."""
    head = b"\r\n".join([line, b"Host: localhost", b"Connection: close", *fields])
    (status,) = exchange(small.port, head + b"\r\n\r\n" + body).statuses
    return status


def test_bytes_of_a_body(small: Served, ann: str) -> None:
    line = f"POST /v2/users/{ann}/goals HTTP/1.1".encode()
    for size, status in ((2_048, 201), (2_049, 413)):
        body = b'{"name": "x"}'.ljust(size)
        assert sent(small, line, b"Content-Length: %d" % size, body=body) == status
        chunked = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (2_000, body[:2_000], size - 2_000, body[2_000:])
        assert sent(small, line, b"Transfer-Encoding: chunked", body=chunked) == status
    assert version(small, ann) == 2

    told = refused(small.client.post("/v2/users", content=b" " * 2_049), 413, "body-too-large")
    assert told["detail"] == "expected at most 2048 bytes; found 2049"


def test_bytes_of_a_request_line(small: Served) -> None:
    for size, status in ((512, 404), (513, 414)):
        line = b"GET /".ljust(size - len(b" HTTP/1.1"), b"x") + b" HTTP/1.1"
        assert sent(small, line) == status


def test_bytes_of_a_header_field(small: Served) -> None:
    """With the end of its line."""
    for size, status in ((1_024, 200), (1_025, 431)):
        assert sent(small, b"GET /healthz HTTP/1.1", b"X: ".ljust(size - 2, b"x")) == status


def test_header_fields_of_a_request(small: Served) -> None:
    for count, status in ((16, 200), (17, 431)):
        assert sent(small, b"GET /healthz HTTP/1.1", *(b"X-%d: x" % number for number in range(count - 2))) == status


# Streams again.


def test_a_stream_that_has_ended_or_whose_head_was_all_that_was_asked_for_has_no_place(small: Served, ann: str) -> None:
    """Nor has one whose client vanished in the first test, once gunicorn has told us: after 3 s."""
    lines, live = {"Accept": "application/x-ndjson"}, {"Accept": "text/event-stream"}
    small.make_goal(ann, "x")
    wait_until(lambda: small.client.head("/v2/events", headers=lines).status_code == 200)
    held, status = follow(small)
    assert status == 200

    for _ in range(2 * LIMITS["streams"]):
        answers = [small.client.head("/v2/events", headers=kind) for kind in (lines, live)]
        answers.append(small.client.get(f"/v2/users/{ann}/events", headers=lines))
        assert [answer.status_code for answer in answers] == [200] * 3
    held.close()


# The command line.


def test_an_import_keeps_the_limits_and_may_take_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(tmp_path, monkeypatch)
    for name, value in (("NAME", "5"), ("GOALS", "4"), ("CHILDREN", "3"), ("TEXT", "8"), ("EVENTS", "1")):
        monkeypatch.setenv(f"ES_GOALS_{name}_LIMIT", value)

    def outline(*names: str, **first: Any) -> str:
        goals: list[dict[str, Any]] = [{"name": name, "status": "done"} for name in names]
        goals[0] |= first
        return json.dumps({"goals": goals})

    for text, why in [
        (outline("a", "b", "c", "d"), "at most 3 goals at the top; found 4"),
        (outline("a", sub_goals=[{"name": "b"}, {"name": "c", "sub_goals": [{"name": "d"}, {"name": "e"}]}]),
         "at most 4 goals; found more"),
        (outline("aaaaa", "bbbb"), "at most 8 bytes of names and descriptions of one user's goals; found 9"),
    ]:  # fmt: skip
        assert import_refused(cli("import", "-", "--user", "ann", stdin=text)).endswith(why)

    whole = outline("aaaaa", "b", "c", sub_goals=[{"name": "d", "status": "done"}])
    assert done(cli("import", "-", "--user", "ann", stdin=whole)) == "read as JSON: imported 4 goals for ann\n"
    assert "at most 4 goals" in import_refused(cli("import", "-", "--user", "ann", stdin=outline("n")))
