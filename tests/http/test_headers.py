"""What answers tell browsers, whom the edge believes about where a request comes from, and whose pages may read."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx2
import msgspec
import pytest

from es_goals.http.edge.peers import address_key, locator
from es_goals.settings import networks
from tests.support.serving import Served
from tests.support.wire import exchange

PAGE = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}  # fmt: skip
DATA = {"default-src 'none'", "frame-ancestors 'none'"}
OURS = "https://goals.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,x-evil"}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that believes what comes from this machine, and shares with the pages of two origins."""
    env = {
        "ES_GOALS_PROXIES": "127.0.0.1, 10.0.0.0/8",
        "ES_GOALS_ORIGINS": f"{OURS},http://b.example:3000",
        "FORWARDED_ALLOW_IPS": "*",
    }
    with Served(tmp_path_factory.mktemp("behind"), workers=1, env=env) as served:
        served.make_user("alice")
        yield served


def policy(answer: httpx2.Response) -> set[str]:
    """The directives of the only policy."""
    (only,) = answer.headers.get_list("Content-Security-Policy")
    return set(only.split("; "))


def assert_safe(answer: httpx2.Response) -> None:
    """Each once, and nothing that tells what serves."""
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.get_list("Referrer-Policy") == ["no-referrer"]
    assert "Date" in answer.headers
    assert not {"Server", "X-Powered-By"} & {name.title() for name in answer.headers}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/users", 200), ("HEAD", "/v2/users", 200), ("OPTIONS", "/v2/users", 200),
        ("GET", "/nowhere", 404), ("PUT", "/v2/users", 405), ("POST", "/v2/users", 422),
        ("GET", "/openapi.json", 200), ("GET", "/docs/docs.js", 200),
        ("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/v1.0/users", 200),
        ("GET", "/problems/unknown", 404),
    ],
)  # fmt: skip
def test_every_answer_has_the_headers_of_safety(served: Served, method: str, path: str, status: int) -> None:
    answer = served.client.request(method, path)

    assert answer.status_code == status
    assert_safe(answer)
    assert policy(answer) == DATA


@pytest.mark.parametrize("path", ["/docs", "/problems/not-found"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages_may_load_their_own_files_and_nothing_else(served: Served, method: str, path: str) -> None:
    answer = served.client.request(method, path)

    assert_safe(answer)
    assert policy(answer) == PAGE


def test_an_answer_that_nothing_changed_has_the_headers_of_safety(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/goals"
    tag = served.client.get(path).headers["ETag"]

    answer = served.client.get(path, headers={"If-None-Match": tag})

    assert answer.status_code == 304
    assert_safe(answer)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
def test_a_stream_has_the_headers_of_safety(served: Served, user: str, kind: str) -> None:
    with served.client.stream("GET", f"/v2/users/{user}/events", headers={"Accept": kind}) as answer:
        assert answer.headers["Content-Type"].startswith(kind)
        assert_safe(answer)
        assert policy(answer) == DATA


@pytest.mark.parametrize(
    ("request_", "status", "slug"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: \x1b[31m\x07\r\n\r\n", 400, "malformed-request"),
        (b"\xff\xfe" * 40 + b"\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \xe9vil\r\n\r\n", 400, "malformed-request"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431, "head-too-large"),
    ],
)
def test_what_is_no_request_is_answered_as_a_problem_and_logged(
    served: Served, request_: bytes, status: int, slug: str
) -> None:
    heard = exchange(served.port, request_)

    head, _, body = heard.raw.partition(b"\r\n\r\n")
    problem = msgspec.json.decode(body)
    assert (heard.statuses, heard.closed) == ([status], True)
    assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status)
    lines = head.decode().split("\r\n")
    for line in (
        "Content-Type: application/problem+json", f"X-Request-Id: {problem['request_id']}", "Connection: close",
        "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    ):  # fmt: skip
        assert lines.count(line) == 1
    assert not any(line.startswith("Server") for line in lines)
    logged = [line for line in served.output.read_bytes().splitlines() if problem["request_id"].encode() in line]
    assert [msgspec.json.decode(line)["status"] for line in logged] == [status]
    assert logged[0].isascii()
    assert b"\x1b" not in logged[0]


class Parts(HTMLParser):
    """What a strict policy would not let a page do."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inline: list[object] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        names = dict(attrs)
        if any(name == "style" or name.startswith("on") for name in names) or tag in ("style", "base", "form"):
            self.inline.append((tag, names))

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append((self._open, data))


def test_pages_have_no_script_and_no_style_of_their_own(served: Served) -> None:
    for path in ("/docs", "/problems/not-found"):
        assert Parts(served.client.get(path).text).inline == []
    assert Parts("<p onclick=x><style>y</style><script>z</script>").inline != []


def test_swagger_ui_does_nothing_that_the_policy_forbids(served: Served) -> None:
    """Read, not run. `Function("return this")` stands behind `self ||`, and the one that binds behind
    `Function.prototype.bind ||`, which a browser has; React and others set styles through the CSSOM, which the policy
    lets them; text-align is of Markdown's tables."""
    script = served.client.get("/docs/swagger-ui-bundle.js").text
    sheet = served.client.get("/docs/swagger-ui.css").text

    assert not re.search(r"\beval\(|new Worker\(|importScripts\(|WebAssembly\.(compile|instantiate)", script)
    assert set(re.findall(r'\bFunction\("[^"]*"', script)) == {'Function("return this"', 'Function("binder"'}
    assert set(re.findall(r'style="([a-z-]*)', script)) == {"text-align"}
    assert not re.search(r"createElement\(['\"](style|script|iframe)['\"]\)\.?(text|innerHTML)", script)
    loaded = [address.strip("\"'") for address in re.findall(r"url\(([^)]{0,20})", sheet)]
    assert all(address.startswith("data:image/") for address in loaded)


# Proxies.


def located(proxies: str, peer: str, **headers: str) -> tuple[str, bool]:
    """What the edge makes of it."""
    given = {f"x-forwarded-{name}": value for name, value in headers.items()}
    return locator(networks(proxies))({"client": (peer, 1)}, given)


FORWARDED: list[tuple[str, str, dict[str, str], tuple[str, bool]]] = [
    # Without proxies, or from anybody else, nothing that is said counts.
    ("", "192.0.2.1", {"for": "1.2.3.4", "proto": "https"}, ("192.0.2.1", False)),
    ("", "127.0.0.1", {"for": "1.2.3.4", "proto": "https"}, ("127.0.0.1", False)),
    ("10.0.0.1", "10.0.0.2", {"for": "1.2.3.4", "proto": "https"}, ("10.0.0.2", False)),
    ("fd00::/8", "fe80::1", {"for": "1.2.3.4", "proto": "https"}, ("fe80::1", False)),
    # The rightmost that is not a proxy's.
    ("10.0.0.1", "10.0.0.1", {"for": "1.2.3.4"}, ("1.2.3.4", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "6.6.6.6, 1.2.3.4"}, ("1.2.3.4", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "6.6.6.6,1.2.3.4, 10.1.1.1 ,10.2.2.2"}, ("1.2.3.4", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "10.1.1.1,10.2.2.2"}, ("10.1.1.1", False)),
    ("10.0.0.0/8", "10.9.9.9", {}, ("10.9.9.9", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": ""}, ("10.9.9.9", False)),
    # Whatever is no address ends the search.
    ("10.0.0.0/8", "10.9.9.9", {"for": "1.2.3.4, unknown"}, ("10.9.9.9", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "1.2.3.4, rubbish, 10.1.1.1"}, ("10.1.1.1", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "1.2.3.4:80"}, ("10.9.9.9", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "fe80::1%<b>"}, ("10.9.9.9", False)),
    ("10.0.0.0/8", "10.9.9.9", {"for": "1" * 9000}, ("10.9.9.9", False)),
    # One way to write each address.
    ("fd00::/8", "fd00::1", {"for": "2001:DB8:0::1"}, ("2001:db8::1", False)),
    ("10.0.0.1", "10.0.0.1", {"for": "::ffff:1.2.3.4"}, ("1.2.3.4", False)),
    ("10.0.0.1", "::ffff:10.0.0.1", {"for": "1.2.3.4"}, ("1.2.3.4", False)),
    # TLS.
    ("10.0.0.1", "10.0.0.1", {"proto": "https"}, ("10.0.0.1", True)),
    ("10.0.0.1", "10.0.0.1", {"proto": " HTTPS "}, ("10.0.0.1", True)),
    ("10.0.0.1", "10.0.0.1", {"proto": "http"}, ("10.0.0.1", False)),
    ("10.0.0.1", "10.0.0.1", {"proto": "https,http"}, ("10.0.0.1", False)),
    ("10.0.0.1", "10.0.0.1", {"proto": "wss"}, ("10.0.0.1", False)),
]


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8"])
def test_who_is_gone_already_has_no_address(proxies: str) -> None:
    assert locator(networks(proxies))({"client": None}, {"x-forwarded-for": "1.2.3.4"}) == ("", False)


@pytest.mark.parametrize(("proxies", "peer", "headers", "expected"), FORWARDED)
def test_what_is_forwarded_counts_from_proxies_only(
    proxies: str, peer: str, headers: dict[str, str], expected: tuple[str, bool]
) -> None:
    assert located(proxies, peer, **headers) == expected


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
    ],
)
def test_what_is_counted_is_an_address_or_a_network_of_one_customer(address: str, key: str) -> None:
    assert address_key(address) == key


def test_behind_a_proxy_that_took_it_through_TLS_browsers_are_told_to_stay_there(behind: Served) -> None:
    for path, status in (("/v2/users/alice", 200), ("/nowhere", 404), ("/docs", 200)):
        answer = behind.client.get(path, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == status
        assert answer.headers.get_list("Strict-Transport-Security") == ["max-age=63072000; includeSubDomains"]


@pytest.mark.parametrize(
    "said", [{}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Ssl": "on"}, {"Forwarded": "proto=https"}]
)
def test_without_TLS_they_are_not(behind: Served, said: dict[str, str]) -> None:
    assert "Strict-Transport-Security" not in behind.client.get("/v2/users", headers=said).headers


@pytest.mark.parametrize(
    "said",
    [
        {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Protocol": "ssl"}, {"Script-Name": "/x", "Path-Info": "/y"}, {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Prefix": "/x"}, {"X-Original-Url": "/nowhere"}, {"X-Http-Method-Override": "DELETE"},
    ],
)  # fmt: skip
def test_where_no_proxy_is_named_nothing_that_is_forwarded_changes_an_answer(
    served: Served, user: str, said: dict[str, str]
) -> None:
    """Nor is it refused, as gunicorn would where two such headers contradict each other."""
    plain, forwarded = (served.client.get(f"/v2/users/{user}", headers=headers) for headers in ({}, said))

    varying = ("date", "x-request-id")
    plain_headers, forwarded_headers = (
        [(name, value) for name, value in answer.headers.items() if name not in varying]
        for answer in (plain, forwarded)
    )
    assert (forwarded.status_code, forwarded.content) == (200, plain.content)
    assert forwarded_headers == plain_headers


# Other origins.


def test_pages_of_a_named_origin_may_read_answers(behind: Served) -> None:
    for origin in (OURS, "http://b.example:3000"):
        answer = behind.client.get("/v2/users/alice/events", headers={"Origin": origin})

        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Vary"] == "Accept, Authorization, Access-Token, Cookie, Accept-Encoding, Origin"
        shown = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Position", "Command", "Location", "Link", "X-Request-Id", "Idempotent-Replayed"} < set(shown)
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} < set(shown)


def test_pages_of_a_named_origin_may_read_errors(behind: Served) -> None:
    answer = behind.client.get("/nowhere", headers={"Origin": OURS})

    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, OURS)


def test_a_stream_may_be_read_by_pages_of_a_named_origin(behind: Served) -> None:
    headers = {"Origin": OURS, "Accept": "text/event-stream"}
    with behind.client.stream("GET", "/v2/users/alice/events", headers=headers) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == OURS


def test_an_answer_to_nobody_tells_caches_that_it_differs_by_origin(behind: Served) -> None:
    answer = behind.client.get("/healthz")

    assert answer.headers["Vary"].endswith("Origin")
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/v2/users/alice", "/v2/goals/x/complete", "/v1.0/goals", "/nowhere"])
def test_a_preflight_is_answered_before_anything_else_is_asked(behind: Served, path: str) -> None:
    answer = behind.client.options(path, headers={"Origin": OURS, **PREFLIGHT})

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE",
    }  # fmt: skip
    assert set(answer.headers["Access-Control-Allow-Headers"].split(", ")) == {
        "Authorization", "Access-Token", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "X-Reason",
        "X-Request-Id", "Last-Event-ID",
    }  # fmt: skip
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert_safe(answer)


@pytest.mark.parametrize("preflight", [{}, PREFLIGHT])
def test_nobody_may_send_a_browsers_credentials_along(behind: Served, preflight: dict[str, str]) -> None:
    """There are none: no cookies, no TLS certificates."""
    answer = behind.client.options("/v2/users", headers={"Origin": OURS, **preflight})

    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Access-Control-Allow-Origin"] != "*"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://goals.example", "https://goals.example:8443", "https://goals.example.evil.example",
        "https://xgoals.example", "https://goals.example/", "https://GOALS.example", "null", f"{OURS},{OURS}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("preflight", [{}, PREFLIGHT])
def test_pages_of_any_other_origin_may_not(behind: Served, origin: str, preflight: dict[str, str]) -> None:
    """An open service refuses them outright."""
    answer = behind.client.options("/v2/users", headers={"Origin": origin, **preflight})

    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("preflight", [{}, PREFLIGHT])
def test_where_no_origin_is_named_none_is_told_anything(served: Served, preflight: dict[str, str]) -> None:
    answer = served.client.options("/v2/users", headers={"Origin": "http://localhost:3000", **preflight})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "Origin" not in answer.headers.get("Vary", "")
