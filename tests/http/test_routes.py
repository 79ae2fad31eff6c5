"""Which paths and methods there are, and under which names, from which pages, an open service is reached."""

import uuid

import httpx2
import pytest

from tests.support.serving import Served, refused

UNKNOWN = "01990000-0000-7000-8000-000000000000"

# Routes and methods.


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v3/users", "/v2/goals", "/V2/users", "/docs/..%2f..%2fapp.py", "/%00", "/%FF"]
)
def test_an_unknown_route_is_not_found(served: Served, path: str) -> None:
    refused(served.client.get(path), 404, "not-found")
    refused(served.client.post(path, json={}), 404, "not-found")


@pytest.mark.parametrize(
    "name", ["%00", "%0d%0aX:y", "%ff", "%ed%a0%80", "%e2%80%ae", "..%2f..", "%252e", "a" * 3000, "%f0%9f%8f%83"]
)
def test_a_hostile_name_in_a_path_is_not_found(served: Served, name: str) -> None:
    for path, slug in (
        (f"/v2/users/{name}", "user-not-found"), (f"/v2/users/{name}/goals", "user-not-found"),
        (f"/v2/goals/{name}", "goal-not-found"), (f"/v2/projections/{name}", "projection-not-found"),
        (f"/docs/{name}", "not-found"), (f"/problems/{name}", "not-found"), (f"/{name}", "not-found"),
    ):  # fmt: skip
        answer = served.client.send(httpx2.Request("GET", served.url + path))
        refused(answer, 404, slug if "%2f" not in name else "not-found")
        assert "x" not in answer.headers


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/users", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/v2/users/x/commands", {"GET", "HEAD", "POST", "OPTIONS"}),
        (f"/v2/goals/{UNKNOWN}", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        (f"/v2/goals/{UNKNOWN}/move", {"POST", "OPTIONS"}),
        ("/v2/events", {"GET", "HEAD", "OPTIONS"}),
        ("/v2/projections/activity/rebuild", {"POST", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND", "BREW"])
def test_an_unknown_method_is_told_which_are_known(served: Served, path: str, allowed: set[str], method: str) -> None:
    answer = served.client.request(method, path)

    refused(answer, 405, "method-not-allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


@pytest.mark.parametrize("header", ["Idempotency-Key", "If-Match", "If-None-Match", "If-Unmodified-Since", "X-Reason"])
def test_an_unknown_method_is_told_so_whatever_else_the_request_asks_for(served: Served, header: str) -> None:
    for method in ("PUT", "TRACE"):
        refused(served.client.request(method, "/v2/users", headers={header: '"x"'}), 405, "method-not-allowed")


def test_options_tells_which_methods_are_known(served: Served) -> None:
    answer = served.client.options("/v2/users")

    assert answer.status_code in (200, 204)
    assert {"GET", "HEAD", "POST"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_head_answers_as_get_does_without_the_body(served: Served, user: str) -> None:
    goal = served.make_goal(user, "a goal")["id"]
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
        "127.0.0.1@evil.example", "notlocalhost", "", "[::", "[::1", "localhost:port", "127.0.0.1/",
        "127.0.0.1, evil.example", "a b",
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
        "localhost", "", "http://", "http://[", "http://[::1", "http://[zz]", "http://localhost:port",
        "http://evil.example", "http://127.0.0.1.evil.example", "http://evil.example#@localhost",
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
