"""Hostile text in bodies, queries, paths and headers: refused with its place, never a 5xx, one line in the log."""

import re
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.serving import Served, wait_for

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LINES = ["\r\n", "\n", "\r", "\t"]
CONTROLS = ["\0", "\1", "\b", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", *BIDI]

MANY = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of this file's own, which is attacked from all sides."""
    served = Served(tmp_path_factory.mktemp("hostile-text"))
    try:
        yield served
        served.verified()
    finally:
        served.kill()
        served.client.close()


@pytest.fixture(scope="module", autouse=True)
def told_in_the_log(served: Served) -> Iterator[None]:
    """Whatever the tests of this file send: every line of the log is one JSON object, none tells of a mistake."""
    before = served.output.stat().st_size
    yield
    told = served.output.read_bytes()[before:].decode()
    lines = [msgspec.json.decode(line) for line in told.split("\n") if line.startswith("{")]
    assert all("request_id" in line and line["status"] < 500 for line in lines if line["event"] == "request")
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
    assert [line for line in told.split("\n") if line and not line.startswith("{")] == []


@pytest.fixture
def goal(served: Served, user: str) -> str:
    """The id of a goal."""
    made: str = served.make_goal(user, "a goal")["id"]
    return made


def fault(answer: httpx2.Response) -> dict[str, Any]:
    """The only fault that a 422 names."""
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["type"] == "/problems/invalid-value"
    assert len(body["errors"]) == 1
    found: dict[str, Any] = body["errors"][0]
    return found


def refused(answer: httpx2.Response, *statuses: int) -> None:
    """A problem of one of these statuses."""
    assert answer.status_code in statuses, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    assert body["type"].startswith("/problems/")
    assert body["title"]
    assert body["detail"]


def in_time(answer: httpx2.Response, seconds: float = 4.0) -> httpx2.Response:
    """What grows as the square of its size takes minutes with a megabyte; a busy machine does not."""
    assert answer.elapsed.total_seconds() < seconds, f"answered {answer.status_code} after {answer.elapsed}"
    return answer


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
        refused(send(served, user, goal, text), 400)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"\ud800":1,"name":"a"}', b'{"\xed\xa0\x80":1,"name":"a"}', b'{"\xff":1}', b'\xef\xbb\xbf{"name":"a"}',
        '{"name":"a"}'.encode("utf-16"), '{"name":"a"}'.encode("utf-32"), b'{"name":"a"}\0', b'\0{"name":"a"}',
        b'{"name":"a"', b'{"name":"a",}', b"{'name':'a'}", b'{"name":"a"} {"name":"b"}', b"\x1f\x8b\x08\0\0\0\0\0",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_in_utf8_is_refused(served: Served, user: str, body: bytes) -> None:
    for path in ("/v2/users", f"/v2/users/{user}/goals", "/v1.0/goals"):
        refused(served.client.post(path, content=body, headers=JSON), 400)


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

    refused(answer, 404, 422)
    assert len(answer.content) < 2_000
    assert isinstance(answer.json()["message"], str)


def test_a_body_over_a_mebibyte_is_refused(served: Served, user: str, goal: str) -> None:
    for send, _ in TEXTS.values():
        refused(send(served, user, goal, b'"' + b"a" * 1_048_576 + b'"'), 413)


LEVELS = 10_000
DEEP = [b"[" * LEVELS + b"]" * LEVELS, b'{"a":' * LEVELS + b"1" + b"}" * LEVELS, b'[{"a":' * LEVELS, b"[" * 1_000_000]


@pytest.mark.parametrize("place", TEXTS)
def test_deep_json_in_place_of_a_text_is_refused(served: Served, user: str, goal: str, place: str) -> None:
    send, _ = TEXTS[place]
    for deep in DEEP:
        refused(in_time(send(served, user, goal, deep)), 400, 422)


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
            refused(answer, 400, 422)


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
            refused(answer, 400)
        else:
            assert fault(answer)["pointer"] == pointer
            assert len(answer.content) < 2_000
    for number in NO_NUMBERS:
        refused(send(served, user, goal, number), 400, 422)


@pytest.mark.parametrize("name", ["cascade", "end", "reason", "id"])
def test_huge_numbers_in_place_of_anything_else_are_refused(served: Served, goal: str, name: str) -> None:
    for number in NUMBERS:
        body = b'{"%b":%b}' % (name.encode(), number)
        answer = served.client.post(f"/v2/goals/{goal}/complete", content=body, headers=JSON)
        assert fault(answer)["pointer"] == f"/{name}"


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "9" * 3000, "-1", "1e400", "1.5", "NaN", "", " ", "\u0661", "0x1", "null"]
)
@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v2/users", "limit"), ("/v2/events", "limit"), ("/v2/events", "after"), ("/v2/events", "until"),
        ("/v2/users/USER/goals", "depth"), ("/v2/users/USER/goals", "as_of"), ("/v2/users/USER/goals", "deleted"),
        ("/v2/users/USER/events", "after"), ("/v2/goals/GOAL", "depth"), ("/v2/goals/GOAL", "as_of"),
        ("/v2/goals/GOAL/history", "limit"),
    ],
)  # fmt: skip
def test_a_number_in_a_query_that_is_none_or_too_large_is_refused(
    served: Served, user: str, goal: str, path: str, parameter: str, number: str
) -> None:
    named = path.replace("USER", user).replace("GOAL", goal)

    answer = in_time(served.client.get(named, params={parameter: number}))

    assert fault(answer)["parameter"] == parameter


@pytest.mark.parametrize("query", ["%ff", "a=%ff", "%ed%a0%80=1", "limit=%c0%80", "a=%e2%82"])
@pytest.mark.parametrize("path", ["/v2/users", "/v2/events", "/v2/users/USER/goals", "/v2/goals/GOAL"])
def test_a_query_that_is_not_utf8_is_refused(served: Served, user: str, goal: str, path: str, query: str) -> None:
    named = path.replace("USER", user).replace("GOAL", goal)

    refused(served.client.get(f"{named}?{query}"), 400)


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "\0", "\r\n", "a/b~c", "a.b", "[0]", "", " ", "\u202e", "NAME"]
)
def test_an_unknown_parameter_is_refused_by_its_name(served: Served, user: str, name: str) -> None:
    for path in ("/v2/users", "/v2/events", f"/v2/users/{user}/goals", f"/v2/users/{user}"):
        answer = served.client.get(f"{path}?{quote(name, safe='')}=1")
        assert fault(answer)["parameter"] == name


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "\0", "a/b~c", "a`b", "a.b", "[0]", "", " ", "\u202e", "Name", "$"]
)
def test_an_unknown_member_is_refused_by_its_pointer(served: Served, user: str, goal: str, name: str) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    bodies: dict[str, dict[str, Any]] = {
        "/v2/users": {"name": "a"},
        f"/v2/users/{user}/goals": {"name": "a"},
        f"/v2/goals/{goal}/complete": {},
        f"/v2/users/{user}/commands": {"commands": [{"type": "ReopenGoal", "id": goal}]},
    }
    for path, body in bodies.items():
        assert fault(served.post(path, {**body, name: 1}))["pointer"] == pointer
    batch = {"commands": [{"type": "ReopenGoal", "id": goal, name: 1}]}
    assert fault(served.post(f"/v2/users/{user}/commands", batch))["pointer"] == f"/commands/0{pointer}"


def test_of_members_given_twice_the_last_counts_and_is_checked(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/goals"

    made = served.client.post(path, content=b'{"name":"first","name":"last"}', headers=JSON)
    hidden = served.client.post(path, content=rb'{"name":"first","name":"la\u0000st"}', headers=JSON)

    assert (made.status_code, made.json()["name"]) == (201, "last")
    assert fault(hidden)["pointer"] == "/name"


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


@pytest.mark.parametrize("reason", ["%00", "%0d%0aInjected:%20yes", "%0A", "%E2%80%AE", "%C2%85", "a" * 1001, "%7f"])
def test_a_hostile_reason_in_a_header_is_refused(served: Served, goal: str, reason: str) -> None:
    answer = served.post(f"/v2/goals/{goal}/complete", {}, X_Reason=reason)

    assert fault(answer)["parameter"] == "X-Reason"
    assert "injected" not in answer.headers


@pytest.mark.parametrize("reason", ["%ff", "%ed%a0%80", "%c0%80", "%e2%82"])
def test_a_reason_that_is_no_percent_encoded_utf8_is_refused(served: Served, goal: str, reason: str) -> None:
    answer = served.post(f"/v2/goals/{goal}/complete", {}, X_Reason=reason)

    assert fault(answer)["parameter"] == "X-Reason"


def test_a_reason_of_a_thousand_letters_fits_into_the_header(served: Served, goal: str) -> None:
    for reason in ("a" * 1000, "\u8dd1" * 1000, "\U0001f3c3" * 1000):
        answer = served.post(f"/v2/goals/{goal}/reopen", {}, X_Reason=quote(reason))
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "header",
    [
        {"If-Match": f'"r{"9" * 5000}.v1.g1.c"'},
        {"If-Match": '"r\xb2.v1.g1.c"'},
        {"If-Match": "\xff"},
        {"If-Match": '""'},
        {"If-Match": ",,,"},
        {"If-Match": '"' * 5000},
        {"Idempotency-Key": "\xe9"},
        {"Idempotency-Key": "a" * 256},
        {"Idempotency-Key": ""},
        {"Content-Type": ""},
        {"Content-Type": ";;;"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/json, text/html"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://localhost@evil.example"},
        {"Origin": "http://evil.example#@localhost"},
        {"Origin": "\xff"},
        {"Origin": "http://\u2100.example".encode().decode("latin-1")},
    ],
    ids=lambda header: ascii(header)[:60],
)
def test_a_hostile_header_is_refused(served: Served, goal: str, header: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in {**JSON, **header}.items()}

    answer = served.client.post(f"/v2/goals/{goal}/complete", content=b"{}", headers=raw)  # type: ignore[arg-type]

    refused(answer, 400, 403, 412, 415, 422)
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
    "name", ["%00", "%0d%0aX:y", "%ff", "%ed%a0%80", "%e2%80%ae", "..%2f..", "%252e", "a" * 3000, "%f0%9f%8f%83"]
)
def test_a_hostile_path_is_not_found(served: Served, name: str) -> None:
    for path in (f"/v2/users/{name}", f"/v2/users/{name}/goals", f"/v2/goals/{name}", f"/v2/projections/{name}",
                 f"/docs/{name}", f"/problems/{name}", f"/{name}"):  # fmt: skip
        answer = served.client.send(httpx2.Request("GET", served.url + path))
        refused(answer, 404)
        assert "x" not in answer.headers


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


def part(head: bytes, content: bytes = b"v") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


DISPOSITION = b"Content-Disposition: form-data; name=name"
FORMS = {
    "unfinished parameter": part(b"Content-Disposition: form-data; nameboundary*"),
    "nested comments": part(b"Content-Disposition: form-data" + b"(" * 20_000),
    "nested comments in an encoding": part(b"Content-Transfer-Encoding: " + b"(" * 20_000 + b"\r\n" + DISPOSITION),
    "nested messages": b"--x\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 5_000,
    "nested parts": b"".join(b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" for _ in range(2_000)),
    "parts in parts": b"--x\r\nContent-Type: multipart/mixed; boundary=y0\r\n\r\n"
    + b"".join(b"--y%d\r\nContent-Type: multipart/mixed; boundary=y%d\r\n\r\n" % (n, n + 1) for n in range(2_000)),
    "many parameters": part(b"Content-Disposition: form-data; name=a" + b";a=b" * 60_000),
    "many continuations": part(b"Content-Disposition: form-data" + b"".join(b";name*%d=a" % n for n in range(20_000))),
    "many encoded words": part(b'Content-Disposition: form-data; name="' + b"=?utf-8?q?a?= " * 20_000 + b'"'),
    "many fields": part(b"".join(b"X-%d: y\r\n" % n for n in range(50_000)) + DISPOSITION),
    "many parts": (b"--x\r\n" + DISPOSITION + b"\r\n\r\nv\r\n") * 15_000 + b"--x--\r\n",
    "a long field": part(b"X: " + b"y" * 900_000 + b"\r\n" + DISPOSITION),
    "no field": b"--x\r\n\r\nv\r\n--x--\r\n",
    "no end": b"--x\r\n" + DISPOSITION + b"\r\n\r\nv",
    "nothing": b"",
    "only dashes": b"--x" * 200_000,
    "unknown charset": part(b"Content-Type: text/plain; charset=x-nothing\r\n" + DISPOSITION),
    "bad base64": part(b"Content-Transfer-Encoding: base64\r\n" + DISPOSITION, b"!" * 1000),
    "not utf-8": part(DISPOSITION, b"\xff"),
    "a NUL in a name": part(b'Content-Disposition: form-data; name="na\0me"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_hostile_form_is_refused_in_time(served: Served, form: str) -> None:
    answer = in_time(served.client.post("/v1.0/goals", content=FORMS[form], headers=MULTIPART))

    assert answer.status_code in (400, 404, 413, 422), answer.text
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data;boundary*",
        "multipart/form-data; boundary=" + "x" * 5000,
        "multipart/form-data; boundary*0*=x",
        "multipart/form-data" + "(" * 3000,
        "multipart/form-data; " + "a=b;" * 1800,
        'multipart/form-data; boundary="x',
        "multipart/form-data; boundary=x; charset=x-nothing",
    ],
    ids=lambda kind: ascii(kind)[:60],
)
def test_a_hostile_type_of_form_is_refused_in_time(served: Served, kind: str) -> None:
    headers = {"Content-Type": kind.encode("latin-1")}

    answer = served.client.post("/v1.0/goals", content=part(DISPOSITION), headers=headers)  # type: ignore[arg-type]

    assert in_time(answer).status_code in (400, 415, 422), answer.text
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize(
    "body", [b"&" * 1_000_000, b"a=b&" * 200_000, b"%" * 1_000_000, b"a" * 1_000_000, b"name=%0d%0a&user=%00"]
)
def test_a_hostile_simple_form_is_refused_in_time(served: Served, body: bytes) -> None:
    answer = in_time(served.client.post("/v1.0/goals", content=body, headers=FORM))

    assert answer.status_code in (400, 404, 422), answer.text
    assert isinstance(answer.json()["message"], str)


UNSEEN = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{M}\ufff9-\ufffb\u2800\U0001d159\U00013430-\U0001343f\U00013441\U00013442]*"
)


def kept(text: str) -> str | None:
    """The name as it is kept, or None if it must be refused: the contract's words, once more."""
    name = unicodedata.normalize("NFC", text).strip()
    hidden = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI for letter in name)
    unseen = UNSEEN.fullmatch(name) or regex.search(r"\p{Noncharacter_Code_Point}", name)
    return None if hidden or unseen or not 1 <= len(name) <= 200 else name


@MANY
@given(
    name=st.text(max_size=250)
    | st.text(alphabet="a \t\n\0\u202e\u0301\u00e9\u1100\u1161\u200b\u3164\ufe0f\u2800\uffff", max_size=8)
)
def test_any_name_is_kept_or_refused_at_its_pointer(served: Served, user: str, name: str) -> None:
    answer = served.post(f"/v2/users/{user}/goals", {"name": name})

    if (expected := kept(name)) is None:
        assert fault(answer)["pointer"] == "/name"
    else:
        assert (answer.status_code, answer.json()["name"]) == (201, expected)


MEMBERS = [
    "name",
    "email",
    "reason",
    "parent_id",
    "description",
    "start",
    "due",
    "end",
    "id",
    "before",
    "after",
    "cascade",
    "commands",
    "type",
    "user",
    "parent_name",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.uuids().map(str)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.sampled_from(
        ["CreateGoal", "ChangeGoal", "DeleteGoal", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, ANYTHING)) | ANYTHING
ROUTES = [
    ("POST", "/v2/users"),
    ("POST", "/v2/users/USER/goals"),
    ("POST", "/v2/users/USER/commands"),
    ("PATCH", "/v2/goals/GOAL"),
    ("DELETE", "/v2/goals/GOAL"),
    ("POST", "/v2/goals/GOAL/complete"),
    ("POST", "/v2/goals/GOAL/reopen"),
    ("POST", "/v2/goals/GOAL/move"),
    ("POST", "/v2/goals/GOAL/restore"),
    ("POST", "/v1.0/goals"),
    ("PUT", "/v1.0/goals"),
    ("DELETE", "/v1.0/goals"),
]


def answered(answer: httpx2.Response) -> None:
    """Done, or refused as documented."""
    if answer.status_code >= 300:
        if answer.headers["content-type"] == "application/problem+json":
            refused(answer, 400, 404, 409, 422)
        else:
            assert (answer.status_code, list(answer.json())) == (400, ["message"])


@settings(parent=MANY, max_examples=150)
@given(route=st.sampled_from(ROUTES), body=BODIES)
def test_any_json_is_answered(served: Served, user: str, goal: str, route: tuple[str, str], body: object) -> None:
    method, path = route[0], route[1].replace("USER", user).replace("GOAL", goal)

    answered(served.client.request(method, path, content=msgspec.json.encode(body), headers=JSON))


@MANY
@given(
    route=st.sampled_from(ROUTES),
    body=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dn1e-+. tfl', max_size=30).map(str.encode),
    kind=st.sampled_from([JSON, FORM, MULTIPART]),
)
def test_any_bytes_are_answered(
    served: Served, user: str, goal: str, route: tuple[str, str], body: bytes, kind: dict[str, str]
) -> None:
    method, path = route[0], route[1].replace("USER", user).replace("GOAL", goal)

    answer = served.client.request(method, path, content=body, headers=kind if "v1.0" in path else JSON)

    answered(answer)


HEADERS = [
    "X-Reason",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Accept",
    "X-Request-Id",
    "Last-Event-ID",
    "Content-Type",
]
VALUES = st.text(alphabet=[chr(code) for code in (*range(0x21, 0x7F), *range(0x80, 0x100))], min_size=1, max_size=40)
LIKELY = st.sampled_from(
    ['"r1.v1.g1.c"', '"r1.v1.g1.t", *', "W/", "%00", "%E2%82", "application/json", "text/event-stream;q=0", "*", "1"]
)


@MANY
@given(headers=st.dictionaries(st.sampled_from(HEADERS), VALUES | LIKELY, max_size=4), write=st.booleans())
def test_any_headers_are_answered(served: Served, goal: str, headers: dict[str, str], write: bool) -> None:
    raw: Any = {name: value.encode("latin-1") for name, value in {**JSON, **headers}.items()}
    path = f"/v2/goals/{goal}"

    if write:
        refusable = served.client.post(f"{path}/reopen", content=b"{}", headers=raw)
    else:
        refusable = served.client.get(path, headers=raw)

    if refusable.status_code >= 400:
        refused(refusable, 400, 406, 412, 415, 422)


def test_the_service_is_still_quick(served: Served, user: str) -> None:
    begun = time.monotonic()
    served.make_goal(user, "after all that")
    assert time.monotonic() - begun < 1.0
