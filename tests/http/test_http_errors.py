"""Errors as clients see them: one shape, the first fault by its place, a page for each type, and never a 5xx for a
client's mistake."""

import http.client
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

import projections
from es_goals.goals.commands import AmbiguousName, NameTaken
from es_goals.http.problems import PROBLEMS, slug_of
from es_goals.rebuild import AlreadyRebuilding
from es_goals.storage.errors import CredentialTaken, Interrupted, OutcomeUnknown, StorageFailed, StorageFull
from tests.support.serving import Served, refused, wait_for

Json = dict[str, Any]

UNKNOWN = "01990000-0000-7000-8000-000000000000"
MIB = 1_048_576


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with accounts."""
    served = Served(tmp_path_factory.mktemp("closed"), workers=1, accounts=True)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that waits for bodies, and for its storage, a short while only."""
    env = {"ES_GOALS_BODY_DEADLINE": "0.2"}
    served = Served(tmp_path_factory.mktemp("impatient"), env=env, workers=1)
    yield served
    served.stop()


def raw(served: Served, head: str, body: bytes = b"") -> tuple[int, Json]:
    """What is answered to these very bytes; the last header of `head` needs no line end."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        content_type = answer.headers["Content-Type"]
        assert content_type == "application/problem+json"
        problem: Json = json.loads(answer.read())
        return answer.status, problem


# Each type of error, and how a client meets it.

Provoke = Callable[[Served, str], httpx2.Response]


def _goal(served: Served, user: str, **members: Any) -> str:
    goal_id: str = served.make_goal(user, "a goal", **members)["id"]
    return goal_id


def _deleted_with_its_parent(served: Served, user: str) -> tuple[str, str]:
    parent = _goal(served, user)
    child = _goal(served, user, parent_id=parent)
    served.order({"id": parent}, "delete")
    return parent, child


def _malformed_request(served: Served, user: str) -> httpx2.Response:
    return served.client.post(f"/v2/users/{user}/goals", content=b'{"name": ')


def _foreign_origin(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"Origin": "https://evil.example"})


def _not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}/gaols")


def _user_not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/no-{user}/goals")


def _goal_not_found(served: Served, user: str) -> httpx2.Response:
    del user
    return served.client.get(f"/v2/goals/{UNKNOWN}")


def _projection_not_found(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/projections/{user}")


def _method_not_allowed(served: Served, user: str) -> httpx2.Response:
    return served.client.put(f"/v2/users/{user}/goals", json={})


def _goal_exists(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": "x", "id": _goal(served, user)})


def _user_name_taken(served: Served, user: str) -> httpx2.Response:
    return served.post("/v2/users", {"name": user.upper()})


def _under_itself(served: Served, user: str) -> httpx2.Response:
    goal = _goal(served, user)
    return served.post(f"/v2/goals/{goal}/move", {"parent_id": goal})


def _not_the_root(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/goals/{_deleted_with_its_parent(served, user)[1]}/restore")


def _parent_deleted(served: Served, user: str) -> httpx2.Response:
    parent = _goal(served, user)
    child = _goal(served, user, parent_id=parent)
    for goal in (child, parent):
        served.order({"id": goal}, "delete")
    return served.post(f"/v2/goals/{child}/restore")


def _changed(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/goals/{_goal(served, user)}/complete", {}, If_Match='"r0"')


def _body_too_large(served: Served, user: str) -> httpx2.Response:
    return served.client.post(f"/v2/users/{user}/goals", content=b" " * (MIB + 1))


def _target_too_long(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", params={"x": "y" * 9000})


def _head_too_large(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"X-Long": "y" * 17_000})


def _media_type(served: Served, user: str) -> httpx2.Response:
    headers = {"Content-Type": "application/xml"}
    return served.client.post(f"/v2/users/{user}/goals", content=b"<goal/>", headers=headers)


def _misdirected(served: Served, user: str) -> httpx2.Response:
    return served.client.get(f"/v2/users/{user}", headers={"Host": "evil.example"})


def _no_accounts(served: Served, user: str) -> httpx2.Response:
    return served.post("/v2/sessions", {"user": user, "password": "made up, too"})


def _invalid_value(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": ""})


def _not_a_sibling(served: Served, user: str) -> httpx2.Response:
    return served.post(f"/v2/users/{user}/goals", {"name": "x", "before": UNKNOWN})


def _key_reused(served: Served, user: str) -> httpx2.Response:
    for name in ("a", "b"):
        answer = served.post(f"/v2/users/{user}/goals", {"name": name}, Idempotency_Key="key")
    return answer


def _projection_behind(served: Served, user: str) -> httpx2.Response:
    with served.failed(projections.goal_tree):
        return served.client.get(f"/v2/users/{user}/goals")


PROVOKED: dict[str, Provoke] = {
    provoke.__name__.removeprefix("_").replace("_", "-"): provoke
    for provoke in (
        _malformed_request, _foreign_origin, _not_found, _user_not_found, _goal_not_found, _projection_not_found,
        _method_not_allowed, _goal_exists, _user_name_taken, _under_itself, _not_the_root, _parent_deleted, _changed,
        _body_too_large, _target_too_long, _head_too_large, _media_type, _misdirected, _invalid_value, _not_a_sibling,
        _key_reused, _projection_behind, _no_accounts,
    )
}  # fmt: skip


def _unauthenticated(served: Served) -> httpx2.Response:
    return served.client.get("/v2/users", headers={"Authorization": "Bearer esgt_made_up"})


def _sign_in_refused(served: Served) -> httpx2.Response:
    return served.post("/v2/sessions", {"user": "nobody", "password": "made up, too"})


def _forbidden(served: Served) -> httpx2.Response:
    secret = served.post("/v2/tokens", {"name": "x", "scope": "read"}).json()["token"]
    return served.client.post("/v2/users", json={}, headers={"Authorization": f"Bearer {secret}"})


def _wrong_password(served: Served) -> httpx2.Response:
    name = f"user-{uuid.uuid4().hex}"
    assert served.post("/v2/users", {"name": name, "password": "made up, too"}).status_code == 201
    body = {"current": "another one", "new": "the next one"}
    return served.client.put(f"/v2/users/{name}/password", json=body)


def _token_not_found(served: Served) -> httpx2.Response:
    return served.client.delete(f"/v2/tokens/{UNKNOWN}")


def _session_not_found(served: Served) -> httpx2.Response:
    return served.client.delete("/v2/sessions/current")


def _too_many_attempts(served: Served) -> httpx2.Response:
    body = {"user": uuid.uuid4().hex, "password": "made up, too"}
    elsewhere = httpx2.HTTPTransport(local_address="127.0.9.9")  # the others go on from where they are
    with httpx2.Client(base_url=served.url, timeout=30, transport=elsewhere) as client:
        return [client.post("/v2/sessions", json=body) for _ in range(6)][-1]


GUARDED: dict[str, Callable[[Served], httpx2.Response]] = {
    provoke.__name__.removeprefix("_").replace("_", "-"): provoke
    for provoke in (
        _unauthenticated, _sign_in_refused, _forbidden, _wrong_password, _token_not_found, _session_not_found,
        _too_many_attempts,
    )
}  # fmt: skip
"""Those that only a service with accounts answers."""

MAPPED: dict[str, type[Exception]] = {
    "name-taken": NameTaken,
    "ambiguous-name": AmbiguousName,
    "already-rebuilding": AlreadyRebuilding,
    "identity-taken": CredentialTaken,
    "outcome-unknown": OutcomeUnknown,
    "storage-unavailable": StorageFailed,
    "storage-full": StorageFull,
    "took-too-long": Interrupted,
    "internal-error": ZeroDivisionError,
}
"""Those that /v2 cannot be brought to answer from outside: the original API's own, and those of a failing disk."""

ELSEWHERE = {
    "request-timeout", "nothing-to-roll-back-to", "limit-reached", "too-many-streams", "too-many-own-streams",
    "too-many-requests", "not-linked", "provider-failed",
}  # fmt: skip
"""Those that have tests of their own, on services of their own."""


@pytest.mark.parametrize("slug", PROVOKED)
def test_every_type_of_error_has_the_one_shape(served: Served, user: str, slug: str) -> None:
    problem = refused(PROVOKED[slug](served, user), PROBLEMS[slug].status, slug)

    assert problem["title"] == PROBLEMS[slug].title
    assert "Traceback" not in problem["detail"]


@pytest.mark.parametrize("slug", GUARDED)
def test_so_has_every_one_that_accounts_bring(closed: Served, slug: str) -> None:
    problem = refused(GUARDED[slug](closed), PROBLEMS[slug].status, slug)

    assert problem["title"] == PROBLEMS[slug].title


@pytest.mark.parametrize("slug", MAPPED)
def test_what_cannot_be_provoked_is_mapped(slug: str) -> None:
    assert slug_of(MAPPED[slug].__new__(MAPPED[slug])) == slug


def test_every_type_of_error_is_provoked_or_mapped() -> None:
    assert {*PROVOKED, *GUARDED, *MAPPED, *ELSEWHERE} == set(PROBLEMS)


def test_every_type_of_error_has_a_page_that_explains_it(served: Served) -> None:
    for slug, problem in PROBLEMS.items():
        page = served.client.get(f"/problems/{slug}")
        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert all(text in page.text for text in (slug, problem.title, str(problem.status)))
    refused(served.client.get("/problems/made-up"), 404, "not-found")


# The first fault, by its place.


def _commands(*commands: Any) -> Json:
    good = [{"type": "CreateGoal", "name": "x"}] * 3
    return {"commands": [*good, *commands]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (_commands({"type": "CreateGoal", "name": 7}), "/commands/3/name"),
        (_commands({"type": "CreateGoal"}), "/commands/3/name"),
        (_commands({"type": "CreateGoal", "name": " "}), "/commands/3/name"),
        (_commands({"type": "CreateGoal", "name": "x", "colour": 1}), "/commands/3/colour"),
        (_commands({"type": "CreateGoal", "name": "x", "reason": "not here"}), "/commands/3/reason"),
        (_commands({"type": "EatGoal", "id": UNKNOWN}), "/commands/3/type"),
        (_commands({"name": "x"}), "/commands/3/type"),
        (_commands({"type": "ReopenGoal", "id": "x"}), "/commands/3/id"),
        (_commands({"type": "CompleteGoal", "id": UNKNOWN, "cascade": "yes"}), "/commands/3/cascade"),
        (_commands(None), "/commands/3"),
        (_commands({"type": 1}, {"type": 2}), "/commands/3/type"),
        ({"commands": {}}, "/commands"),
        ({"commands": None}, "/commands"),
        ({}, "/commands"),
        ({**_commands(), "user": "x"}, "/user"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_a_fault_in_a_batch_is_named_by_its_pointer(served: Served, user: str, body: Any, pointer: str) -> None:
    answer = served.client.post(f"/v2/users/{user}/commands", content=json.dumps(body))

    problem = refused(answer, 422, "invalid-value")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert served.get(f"/v2/users/{user}/goals")["goals"] == []


@pytest.mark.parametrize(
    ("member", "pointer"),
    [
        ("colour", "/colour"),
        ("a.b", "/a.b"),
        ("a/b~c", "/a~1b~0c"),
        ("", "/"),
        ("ü", "/ü"),
        ("a`b", "/a`b"),
    ],
)
def test_an_unknown_member_is_named_by_its_pointer(served: Served, user: str, member: str, pointer: str) -> None:
    problem = refused(served.post(f"/v2/users/{user}/goals", {"name": "x", member: 1}), 422, "invalid-value")

    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("depth=x", "depth"),
        ("depth=-1", "depth"),
        ("depth=1.5", "depth"),
        ("depth=", "depth"),
        ("depth=1&depth=1", "depth"),
        ("status=new", "status"),
        ("view=list", "view"),
        ("deleted=maybe", "deleted"),
        ("as_of=x", "as_of"),
        ("surprise=1", "surprise"),
        ("a%2Fb=1", "a/b"),
        ("%2Fview=flat", "/view"),
        ("~=1", "~"),
        ("a`b=1", "a`b"),
        ("surprise", "surprise"),
    ],
)
def test_a_fault_in_a_query_is_named_by_its_parameter(served: Served, user: str, query: str, parameter: str) -> None:
    problem = refused(served.client.get(f"/v2/users/{user}/goals?{query}"), 422, "invalid-value")

    assert [fault["parameter"] for fault in problem["errors"]] == [parameter]


def test_no_call_ignores_a_parameter_it_does_not_know(served: Served, user: str) -> None:
    goal = f"/v2/goals/{_goal(served, user)}"
    calls: list[tuple[str, str, Json | None]] = [
        ("GET", "/v2/users", None),
        ("GET", f"/v2/users/{user}", None),
        ("GET", goal, None),
        ("GET", f"{goal}/history", None),
        ("GET", "/v2/projections", None),
        ("GET", "/v2/projections/activity", None),
        ("POST", "/v2/projections/activity/rollback", None),
        ("POST", "/v2/users", {"name": f"{user}-2"}),
        ("POST", f"/v2/users/{user}/goals", {"name": "x"}),
        ("POST", f"/v2/users/{user}/commands", _commands()),
        ("PATCH", goal, {"name": "x"}),
        ("POST", f"{goal}/complete", {}),
        ("POST", f"{goal}/reopen", {}),
        ("POST", f"{goal}/move", {}),
        ("DELETE", goal, {}),
        ("POST", f"{goal}/restore", {}),
    ]

    answers = [served.client.request(method, path, json=body, params={"surprise": 1}) for method, path, body in calls]

    ignored = [call[:2] for call, answer in zip(calls, answers, strict=True) if answer.status_code != 422]
    assert ignored == []
    for answer in answers:
        assert refused(answer, 422, "invalid-value")["errors"][0]["parameter"] == "surprise"


# Bodies that cannot be read.


@pytest.mark.parametrize(
    "content",
    [
        b"{", b'{"name": "x"', b'{"name": x}', b"{'name': 'x'}", b'{"name": "x"} {}', b"name=x", b"\xef\xbb\xbf{}",
        b'{"name": "\xff"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\\ud800"}', b"\0",
    ],
    ids=lambda content: repr(content[:20]),
)  # fmt: skip
def test_a_body_that_is_no_json_in_utf_8_is_malformed(served: Served, user: str, content: bytes) -> None:
    answer = served.client.post(f"/v2/users/{user}/goals", content=content)

    refused(answer, 400, "malformed-request")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"name":' * 100_000, b'{"reason": ' + b"[" * 100_000])
def test_a_body_that_is_nested_too_deeply_is_a_clients_mistake(served: Served, user: str, content: bytes) -> None:
    answer = served.client.post(f"/v2/users/{user}/goals", content=content)

    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["as_of=%FF", "%C3%28=1", "view=%ED%A0%80", "&".join(f"p{n}=1" for n in range(101))])
def test_a_query_that_cannot_be_read_is_malformed(served: Served, user: str, query: str) -> None:
    status, problem = raw(served, f"GET /v2/users/{user}/goals?{query} HTTP/1.1\nHost: localhost")

    assert (status, problem["type"]) == (400, "/problems/malformed-request")


def test_a_body_of_one_mebibyte_is_read(served: Served, user: str) -> None:
    content = b'{"name": "x"}'

    answer = served.client.post(f"/v2/users/{user}/goals", content=content + b" " * (MIB - len(content)))

    assert answer.status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_a_larger_body_is_refused(served: Served, user: str, chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 65_536

    content = chunks() if chunked else b" " * (MIB + 1)
    answer = served.client.post(f"/v2/users/{user}/goals", content=content)

    refused(answer, 413, "body-too-large")


def test_a_larger_body_is_refused_before_it_is_sent(served: Served, user: str) -> None:
    head = f"POST /v2/users/{user}/goals HTTP/1.1\nHost: localhost\nContent-Length: {MIB + 1}"

    status, problem = raw(served, head, b"{")

    assert (status, problem["type"]) == (413, "/problems/body-too-large")


@pytest.mark.parametrize("how", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_not_waited_for_for_ever(impatient: Served, how: str) -> None:
    begun = b"4\r\n    \r\n" if "chunked" in how else b"    "

    status, problem = raw(impatient, f"POST /v2/users HTTP/1.1\nHost: localhost\n{how}", begun)

    assert (status, problem["type"]) == (408, "/problems/request-timeout")
    assert problem["status"] == 408
    assert impatient.get("/v2/users")["users"] == []


@pytest.mark.parametrize("how", ["Content-Length: 500", "Transfer-Encoding: chunked"])
def test_a_body_that_is_cut_short_records_nothing_even_if_it_could_be_read(served: Served, user: str, how: str) -> None:
    mine = f"cut-{uuid.uuid4().hex}"
    body = b'{"name": "cut short"}'
    sent = b"%x\r\n%b\r\n" % (len(body), body) if "chunked" in how else body
    lines = [f"POST /v2/users/{user}/goals HTTP/1.1", "Host: localhost", f"X-Request-Id: {mine}", how, "", ""]

    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + sent)

    wait_for(lambda: mine in served.output.read_text(), "the request to be logged")
    assert served.get(f"/v2/users/{user}/goals")["goals"] == []


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
        "application/merge-patch+json", "application/problem+json", "json", "",
    ],
)  # fmt: skip
def test_another_media_type_is_refused(served: Served, user: str, media_type: str) -> None:
    path, headers = f"/v2/users/{user}/goals", {"Content-Type": media_type}

    refused(served.client.post(path, content=b'{"name": "x"}', headers=headers), 415, "media-type")


@pytest.mark.parametrize(
    "media_type", ["application/json", "APPLICATION/JSON;Charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_json_is_taken_however_it_is_written(served: Served, user: str, media_type: str) -> None:
    path, headers = f"/v2/users/{user}/goals", {"Content-Type": media_type}

    assert served.client.post(path, content=b'{"name": "x"}', headers=headers).status_code == 201


# Routes and methods.


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v3/users", "/v2/goals", "/V2/users", "/docs/..%2f..%2fapp.py", "/%00", "/%FF"]
)
def test_an_unknown_route_is_not_found(served: Served, path: str) -> None:
    refused(served.client.get(path), 404, "not-found")
    refused(served.client.post(path, json={}), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/users", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/v2/users/x/commands", {"POST", "OPTIONS"}),
        (f"/v2/goals/{UNKNOWN}", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        (f"/v2/goals/{UNKNOWN}/move", {"POST", "OPTIONS"}),
        ("/v2/events", {"GET", "HEAD", "OPTIONS"}),
        ("/v2/projections/activity/rebuild", {"POST", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND"])
def test_an_unknown_method_is_told_which_are_known(served: Served, path: str, allowed: set[str], method: str) -> None:
    answer = served.client.request(method, path)

    refused(answer, 405, "method-not-allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


def test_a_method_that_http_does_not_know_is_told_which_are_known(served: Served) -> None:
    answer = served.client.request("BREW", "/v2/users")

    refused(answer, 405, "method-not-allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "POST", "OPTIONS"}


def test_options_tells_which_methods_are_known(served: Served) -> None:
    answer = served.client.options("/v2/users")

    assert answer.status_code in (200, 204)
    assert {"GET", "HEAD", "POST"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_head_answers_as_get_does_without_the_body(served: Served, user: str) -> None:
    goal = _goal(served, user)
    for path in (
        "/v2/users",
        f"/v2/users/{user}/goals",
        f"/v2/goals/{goal}",
        "/v2/events",
        "/healthz",
        "/openapi.json",
    ):
        get, head = served.client.get(path), served.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for header in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary"):
            assert head.headers.get(header) == get.headers.get(header)
    answer = served.client.head(f"/v2/goals/{UNKNOWN}")
    assert (answer.status_code, answer.content) == (404, b"")


# Pages on the web must not reach an open service.


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:4", "[::1]:8000", "goals.localhost"]
)
def test_a_loopback_name_is_answered(served: Served, host: str) -> None:
    assert served.client.get("/v2/users", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "0.1.2.3", "[::2]",
        "127.0.0.1@evil.example", "notlocalhost", "", "[::1", "localhost:port",
    ],
)  # fmt: skip
def test_any_other_host_is_misdirected(served: Served, host: str) -> None:
    for path in ("/v2/users", "/healthz", "/docs", "/nowhere"):
        refused(served.client.get(path, headers={"Host": host}), 421, "misdirected")
    answer = served.client.post("/v2/users", json={"name": f"x-{uuid.uuid4().hex}"}, headers={"Host": host})
    refused(answer, 421, "misdirected")


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8000"])
def test_a_page_of_this_machine_is_answered(served: Served, origin: str) -> None:
    assert served.client.get("/v2/users", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://localhost.evil.example", "http://localhost@evil.example", "null", "file://",
        "localhost", "", "http://", "http://[::1", "http://[zz]", "http://localhost:port",
    ],
)  # fmt: skip
def test_a_page_from_elsewhere_is_forbidden(served: Served, origin: str) -> None:
    refused(served.client.get("/v2/users", headers={"Origin": origin}), 403, "foreign-origin")
    body = {"name": f"x-{uuid.uuid4().hex}"}
    refused(served.client.post("/v2/users", json=body, headers={"Origin": origin}), 403, "foreign-origin")


def test_no_page_from_elsewhere_may_read_an_answer(served: Served) -> None:
    for origin in ("http://localhost:3000", "https://evil.example"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for method in ("GET", "OPTIONS"):
            answer = served.client.request(method, "/v2/users", headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


# When the service itself has trouble.


def test_a_failed_fold_stops_reads_and_no_command(served: Served, user: str) -> None:
    goal = _goal(served, user)
    tag = served.client.get(f"/v2/users/{user}/goals").headers["ETag"]
    with served.failed(projections.goal_tree):
        for path in (f"/v2/users/{user}/goals", f"/v2/goals/{goal}", f"/v2/users/{user}/goals?as_of=1"):
            answer = served.client.get(path, headers={"If-None-Match": tag})
            refused(answer, 503, "projection-behind")
            assert int(answer.headers["Retry-After"]) > 0
            assert "max-age" not in answer.headers.get("Cache-Control", "")
        assert served.order({"id": goal}, "complete")["status"] == "done"
        assert len(served.events(f"/goals/{goal}")) == 2

    assert served.get(f"/v2/goals/{goal}")["status"] == "done"
