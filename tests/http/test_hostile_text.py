"""Hostile text in bodies, queries, paths and headers: refused with its place, never a 5xx, one line in the log."""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import pytest

from tests.support.serving import Served, fault, in_time, problem_of, wait_for

pytestmark = pytest.mark.usefixtures("told_in_the_log")

JSON = {"Content-Type": "application/json"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LINES = ["\r\n", "\n", "\r", "\t"]
CONTROLS = ["\0", "\1", "\b", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", *BIDI]
# Where a client can put a text: how its JSON is sent, and the pointer at which a fault of it is told.
Place = Callable[[Served, str, str, bytes], httpx2.Response]


def member(method: str, path: str, before: bytes, after: bytes = b"}") -> Place:
    """A text in a body: `before` and `after` are what stands around its JSON."""

    def send(served: Served, user: str, goal: str, text: bytes) -> httpx2.Response:
        around = before.replace(b"GOAL", goal.encode()).replace(b"USER", user.encode())
        named = path.replace("GOAL", goal).replace("USER", user)
        return served.client.request(method, named, content=around + text + after, headers=JSON)

    return send


NAMES: dict[str, tuple[Place, str]] = {
    "a user's name": (member("POST", "/v2/users", b'{"name":'), "/name"),
    "a goal's name": (member("POST", "/v2/users/USER/goals", b'{"name":'), "/name"),
    "a new name": (member("PATCH", "/v2/goals/GOAL", b'{"name":'), "/name"),
    "a name among several commands": (
        member(
            "POST", "/v2/users/USER/commands",
            b'{"commands":[{"type":"ReopenGoal","id":"GOAL"},{"type":"CreateGoal","name":', b"}]}",
        ),
        "/commands/1/name",
    ),
    "a new name among several commands": (
        member(
            "POST", "/v2/users/USER/commands",
            b'{"commands":[{"type":"ReopenGoal","id":"GOAL"},{"type":"ChangeGoal","id":"GOAL","name":', b"}]}",
        ),
        "/commands/1/name",
    ),
    "the original's name": (member("POST", "/v1.0/goals", b'{"user":"USER","name":'), "/name"),
}  # fmt: skip
DESCRIPTIONS: dict[str, tuple[Place, str]] = {
    "a description": (member("POST", "/v2/users/USER/goals", b'{"name":"a","description":'), "/description"),
    "a new description": (member("PATCH", "/v2/goals/GOAL", b'{"description":'), "/description"),
    "the original's description": (
        member("POST", "/v1.0/goals", b'{"user":"USER","name":"a","description":'), "/description",
    ),
}  # fmt: skip
OTHERS: dict[str, tuple[Place, str]] = {
    "an address": (member("POST", "/v2/users", b'{"name":"a","email":'), "/email"),
    "a user's reason": (member("POST", "/v2/users", b'{"name":"a","reason":'), "/reason"),
    "a goal's reason": (member("POST", "/v2/users/USER/goals", b'{"name":"a","reason":'), "/reason"),
    "a change's reason": (member("PATCH", "/v2/goals/GOAL", b'{"name":"b","reason":'), "/reason"),
    "a completion's reason": (member("POST", "/v2/goals/GOAL/complete", b'{"reason":'), "/reason"),
    "a reopening's reason": (member("POST", "/v2/goals/GOAL/reopen", b'{"reason":'), "/reason"),
    "a move's reason": (member("POST", "/v2/goals/GOAL/move", b'{"reason":'), "/reason"),
    "a restoration's reason": (member("POST", "/v2/goals/GOAL/restore", b'{"reason":'), "/reason"),
    "a deletion's reason": (member("DELETE", "/v2/goals/GOAL", b'{"reason":'), "/reason"),
    "the reason of several commands": (
        member("POST", "/v2/users/USER/commands", b'{"commands":[{"type":"ReopenGoal","id":"GOAL"}],"reason":'),
        "/reason",
    ),
}
TEXTS = {**NAMES, **DESCRIPTIONS, **OTHERS}


@pytest.mark.parametrize("place", TEXTS)
def test_control_characters_and_bidi_overrides_are_refused_everywhere(
    served: Served, user: str, goal: str, place: str
) -> None:
    send, pointer = TEXTS[place]
    for character in CONTROLS if place in DESCRIPTIONS else [*CONTROLS, *LINES]:
        answer = send(served, user, goal, msgspec.json.encode(f"a{character}@b"))

        found = fault(answer)
        assert found["pointer"] == pointer
        assert f"U+{ord(character[0]):04X}" in found["detail"]
        assert character[0] not in answer.text


@pytest.mark.parametrize("place", DESCRIPTIONS)
def test_a_description_may_have_lines(served: Served, user: str, goal: str, place: str) -> None:
    send, _ = DESCRIPTIONS[place]

    assert send(served, user, goal, b'"one\\n\\ttwo\\r\\n"').status_code < 300


NOT_UNICODE = [
    rb'"\ud800"', rb'"\udc00"', rb'"a\ud800b"', rb'"\ud800\ud800"', rb'"\udc00\ud800"', rb'"\uDBFF"',
    b'"\xed\xa0\x80"', b'"\xed\xa0\x80\xed\xb0\x80"', b'"\xc0\x80"', b'"\xf5\x80\x80\x80"', b'"\xff"', b'"\xe2\x82"',
    b'"\0"', b'"\n"', b"\"\x1f\"",
]  # fmt: skip


@pytest.mark.parametrize("place", TEXTS)
def test_lone_surrogates_and_other_bytes_that_are_no_text_are_refused(
    served: Served, user: str, goal: str, place: str
) -> None:
    send, _ = TEXTS[place]
    for text in NOT_UNICODE:
        problem_of(send(served, user, goal, text), 400)


HUGE = {
    "letters": "a" * 1_000_000,
    "emoji": "\U0001f3c3" * 250_000,
    "spaces": " " * 1_000_000,
    # Sorting marks into canonical order takes quadratic time: minutes for a mebibyte.
    "combining marks": "a" + "\u0301\u0316" * 40_000,
    "compatibility letters": "\ufdfa" * 300_000,
}


@pytest.mark.parametrize("text", HUGE)
@pytest.mark.parametrize("place", [*NAMES, "a description", "an address", "a user's reason", "a goal's reason"])
def test_a_text_of_a_megabyte_is_refused_in_time(served: Served, user: str, goal: str, place: str, text: str) -> None:
    send, pointer = TEXTS[place]

    answer = in_time(send(served, user, goal, msgspec.json.encode(HUGE[text])))

    assert fault(answer)["pointer"] == pointer
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("text", [text for text in HUGE if text != "spaces"])
@pytest.mark.parametrize(
    ("method", "parameter"),
    [
        *(("POST", parameter) for parameter in ("user", "name", "parent_name", "description")),
        *((method, parameter) for method in ("PUT", "DELETE") for parameter in ("user", "name")),
    ],
)
def test_the_original_refuses_a_text_of_a_megabyte_in_time(
    served: Served, user: str, method: str, parameter: str, text: str
) -> None:
    parameters = {"user": user, "name": "a", parameter: HUGE[text]}

    answer = in_time(served.client.request(method, "/v1.0/goals", json=parameters))

    problem_of(answer, 404, 422)
    assert len(answer.content) < 2_000
    assert isinstance(answer.json()["message"], str)


LEVELS = 10_000
DEEP = [b"[" * LEVELS + b"]" * LEVELS, b'{"a":' * LEVELS + b"1" + b"}" * LEVELS, b'[{"a":' * LEVELS, b"[" * 1_000_000]


@pytest.mark.parametrize("place", TEXTS)
def test_deep_json_in_place_of_a_text_is_refused(served: Served, user: str, goal: str, place: str) -> None:
    send, _ = TEXTS[place]
    for deep in DEEP:
        problem_of(in_time(send(served, user, goal, deep)), 400, 422)


@pytest.mark.parametrize("around", [b"%b", b'{"name":"a","other":%b}', b'{"other":%b,"name":"a"}', b'{"commands":[%b]}',
                                    b'{"commands":[{"other":%b,"type":"ReopenGoal"}]}', b'{"commands":[{"type":%b}]}',
                                    b'{"id":%b}', b'{"cascade":%b}', b'{"parent_id":%b}', b'{"end":%b}'])  # fmt: skip
def test_deep_json_is_refused_where_it_would_be_ignored_too(
    served: Served, user: str, goal: str, around: bytes
) -> None:
    paths = ["/v2/users", f"/v2/users/{user}/goals", f"/v2/users/{user}/commands", f"/v2/goals/{goal}/complete",
             f"/v2/goals/{goal}/move", "/v1.0/goals"]  # fmt: skip
    for path in paths:
        for deep in DEEP:
            answer = in_time(served.client.post(path, content=around.replace(b"%b", deep), headers=JSON))
            problem_of(answer, 400, 422)


NUMBERS = [
    b"1" + b"0" * 400,
    b"-1" + b"0" * 400,
    b"9" * 5000,
    b"1e400",
    b"-1e400",
    b"1e" + b"9" * 400,
    b"0." + b"1" * 400,
]
NO_NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"0x10", b"01", b"1_0", b"+1", b".5", b"1.", b"\xd9\xa1"]


@pytest.mark.parametrize("place", TEXTS)
def test_huge_numbers_in_place_of_a_text_are_refused(served: Served, user: str, goal: str, place: str) -> None:
    send, pointer = TEXTS[place]
    for number in NUMBERS:
        answer = in_time(send(served, user, goal, number))
        if place.startswith("the original's") and answer.status_code == 400:
            problem_of(answer, 400)
        else:
            assert fault(answer)["pointer"] == pointer
            assert len(answer.content) < 2_000
    for number in NO_NUMBERS:
        problem_of(send(served, user, goal, number), 400, 422)


@pytest.mark.parametrize("name", ["cascade", "end", "reason", "id"])
def test_huge_numbers_in_place_of_anything_else_are_refused(served: Served, goal: str, name: str) -> None:
    for number in NUMBERS:
        body = b'{"%b":%b}' % (name.encode(), number)
        answer = served.client.post(f"/v2/goals/{goal}/complete", content=body, headers=JSON)
        assert fault(answer)["pointer"] == f"/{name}"


@pytest.mark.parametrize(
    "name",
    [
        "__proto__",
        "=cmd|' /C calc'!A0",
        "+1+1",
        "@SUM(A1)",
        '-1","x',
        "<script>alert(1)</script>",
        "${jndi:ldap://x}",
        "%0d%0a",
        "{{7*7}}",
        "'; DROP TABLE events; --",
        "\\u0000",
        "../../etc/passwd",
        "null",
        "a\u200db",
        "a\ufeff",
    ],
)
def test_a_text_that_is_only_dangerous_elsewhere_comes_back_as_it_was(served: Served, user: str, name: str) -> None:
    goal = served.make_goal(user, name, description=name, reason=name)

    assert (goal["name"], goal["description"]) == (name, name)
    assert served.client.get(f"/v2/goals/{goal['id']}").json()["name"] == name
    history = served.client.get(f"/v2/goals/{goal['id']}/history").json()["events"]
    assert (history[0]["data"]["name"], history[0]["reason"]) == (name, name)
    assert served.client.get("/v1.0/goals").json()[user] == {name: {}}


@pytest.mark.parametrize(
    "reason",
    [
        "%00",
        "%0d%0aInjected:%20yes",
        "%0A",
        "%E2%80%AE",
        "%C2%85",
        "a" * 1001,
        "%7f",
        "%ff",
        "%ed%a0%80",
        "%c0%80",
        "%e2%82",
    ],
)
def test_a_hostile_reason_in_a_header_is_refused(served: Served, goal: str, reason: str) -> None:
    answer = served.post(f"/v2/goals/{goal}/complete", {}, X_Reason=reason)

    assert fault(answer)["parameter"] == "X-Reason"
    assert "injected" not in answer.headers


@pytest.mark.parametrize(
    "header",
    [
        {"If-Match": '"r\xb2.v1.g1.c"'},
        {"If-Match": "\xff"},
        {"If-Match": '"' * 5000},
        {"Origin": "\xff"},
        {"Origin": "http://\u2100.example".encode().decode("latin-1")},
    ],
    ids=lambda header: ascii(header)[:60],
)
def test_a_hostile_header_is_refused(served: Served, goal: str, header: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in {**JSON, **header}.items()}

    answer = served.client.post(f"/v2/goals/{goal}/complete", content=b"{}", headers=raw)  # type: ignore[arg-type]

    problem_of(answer, 400, 403, 412, 415, 422)
    assert served.client.get(f"/v2/goals/{goal}").json()["status"] == "open"


@pytest.mark.parametrize(
    "header",
    [
        {"If-None-Match": f'"r{"9" * 5000}.v1.g1.t"'},
        {"If-None-Match": ",,\xff"},
        {"Accept": ";;;q=x"},
        {"Accept": "a" * 5000},
        {"Accept": "*/*;q=99999999999999999999"},
        {"Accept-Encoding": "\xff"},
        {"Range": "bytes=0-" + "9" * 5000},
        {"If-Modified-Since": "never"},
        {"Cookie": "a=;;;=b"},
        {"Accept-Language": "*" * 5000},
        {"Forwarded": "for=\xff"},
        {"X-Forwarded-For": "9" * 5000},
        {"X-Forwarded-Proto": "\xff"},
        {"Content-Type": "\xff"},
        {"Content-Encoding": "x"},
    ],
    ids=lambda header: ascii(header)[:60],
)
def test_a_hostile_header_that_means_nothing_here_does_no_harm(
    served: Served, user: str, goal: str, header: dict[str, str]
) -> None:
    raw = {name: value.encode("latin-1") for name, value in header.items()}
    for path in ("/v2/users", f"/v2/users/{user}/goals", f"/v2/goals/{goal}", "/v2/events?limit=1", "/v1.0/users"):
        answer = served.client.get(path, headers=raw)  # type: ignore[arg-type]
        assert answer.status_code in (200, 400, 406), answer.text


@pytest.mark.parametrize("position", ["9" * 5000, "-1", "\xb2", "\xff", "null", ""])
def test_a_hostile_last_event_id_is_refused(served: Served, position: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": position.encode("latin-1")}

    answer = served.client.get("/v2/events", headers=headers, timeout=5)  # type: ignore[arg-type]

    assert fault(answer)["parameter"] == "Last-Event-ID"


@pytest.mark.parametrize(
    "given_id",
    [
        'a"}{"event":"request"}',
        "a b",
        "%0d%0aX: y",
        "a\tb",
        "\xe9",
        "a" * 129,
        "a,b",
        "<b>",
        "\x80",
        '\\"',
    ],
)
def test_a_request_id_that_could_forge_a_line_is_replaced(served: Served, given_id: str) -> None:
    headers = {"X-Request-Id": given_id.encode("latin-1")}

    answer = served.client.get("/v2/users", headers=headers)  # type: ignore[arg-type]

    given_back = answer.headers["x-request-id"]
    assert given_back != given_id
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}", given_back)


def test_no_two_requests_get_the_same_id(served: Served) -> None:
    ids = [served.client.get("/healthz").headers["x-request-id"] for _ in range(20)]
    for worker in served.workers():
        with served.client_of(worker) as client:
            ids += [client.get("/healthz").headers["x-request-id"] for _ in range(20)]

    assert len(set(ids)) == 60


def lines_about(served: Served, request_id: str) -> list[dict[str, Any]]:
    """What was logged of a request, as soon as that is there: soon after the answer."""
    wait_for(lambda: request_id in served.output.read_text(), "the request to be logged")
    lines = served.output.read_text().split("\n")
    return [msgspec.json.decode(line) for line in lines if line.startswith("{") and request_id in line]


@pytest.mark.parametrize(
    "path",
    ["/v2/users", "/%0a%7b%22event%22%3a%22request%22%7d", "/v2/users/%0d%0a", "/%e2%80%a8", "/%1b[31m", "/%22%7d"],
)
@pytest.mark.parametrize(
    "body", [b"{}", b'{"name":"a\\r\\n{}"}', b"[" * 10_000, b"\xff", b'{"name":"' + b"a" * 1_000_000 + b'"}']
)
def test_a_request_leaves_one_line_whatever_it_holds(served: Served, path: str, body: bytes) -> None:
    request_id = uuid.uuid4().hex
    request = httpx2.Request(
        "POST", served.url + path, content=body, headers={**JSON, "X-Request-Id": request_id, "User-Agent": '"}\t{"'}
    )

    answer = served.client.send(request)

    assert answer.headers["x-request-id"] == request_id
    (line,) = lines_about(served, request_id)
    assert line["event"] == "request"
    assert (line["method"], line["status"]) == ("POST", answer.status_code)


def test_the_service_is_still_quick(served: Served, user: str) -> None:
    begun = time.monotonic()
    served.make_goal(user, "after all that")
    assert time.monotonic() - begun < 1.0
