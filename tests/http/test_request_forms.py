"""Well-formed requests of forms that are seldom seen, and what is made of each: another server would differ here."""

import uuid

import pytest

from tests.support.serving import Served
from tests.support.wire import connect, exchange, listen

HOST = b"Host: 127.0.0.1\r\n"
CLOSE = HOST + b"Connection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


def get(target: bytes, version: bytes = b"HTTP/1.1", fields: bytes = CLOSE) -> bytes:
    return b"GET %b %b\r\n%b\r\n" % (target, version, fields)


def post(fields: bytes, framing: str = "sized") -> bytes:
    """A new user."""
    body = b'{"name":"user-%b"}' % uuid.uuid4().hex.encode()
    framed = {
        "sized": b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        "in upper case": b"TRANSFER-ENCODING: CHUNKED\r\n\r\n%X\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        "with extensions": b'Transfer-Encoding: chunked\r\n\r\n%x;a="b"\r\n%b\r\n0;c\r\n\r\n' % (len(body), body),
        "with trailers": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(body), body),
    }
    return b"POST /v2/users HTTP/1.1\r\n" + fields + JSON + framed[framing]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/v2%2Fusers", 404), (b"/%762/users", 200), (b"/v2/users/%ff", 404), (b"/v2/users/%zz", 404),
        (b"http://127.0.0.1/v2/users", 200), (b"HTTPS://elsewhere.example/v2/users?limit=1", 421),
        (b"http://127.0.0.1", 200), (b"http://127.0.0.1?x", 200), (b"ftp://127.0.0.1/v2/users", 404),
        (b"?x", 400), (b"*", 400),
    ],
)  # fmt: skip
def test_targets(served: Served, target: bytes, status: int) -> None:
    """RFC 9112, section 3.2.2: the absolute form is accepted, and its authority counts as Host."""
    assert exchange(served.port, get(target)).statuses == [status]


def test_the_whole_server_has_options(served: Served) -> None:
    assert exchange(served.port, b"OPTIONS * HTTP/1.1\r\n" + CLOSE + b"\r\n").statuses == [200]


@pytest.mark.parametrize("version", [b"RTSP/1.0", b"ICE/1.0", b"SIP/2.0"])
@pytest.mark.parametrize("method", [b"GET", b"DESCRIBE", b"SOURCE"])
def test_other_protocols_that_look_alike_are_refused(served: Served, method: bytes, version: bytes) -> None:
    heard = exchange(served.port, get(b"/v2/users", version).replace(b"GET", method))

    assert (heard.statuses, heard.closed) == ([400], True)


def test_an_empty_line_before_a_request_is_passed_over(served: Served) -> None:
    """RFC 9112, section 2.2: some clients send one behind a body."""
    heard = exchange(served.port, b"\r\n" + get(b"/v2/users", fields=HOST) + b"\r\n" + get(b"/v2/users"))

    assert heard.statuses == [200, 200]


def test_an_old_request_ends_its_connection_unless_it_asks_to_keep_it(served: Served) -> None:
    once = exchange(served.port, get(b"/v2/users", b"HTTP/1.0", b"") * 2)
    kept = exchange(served.port, get(b"/v2/users", b"HTTP/1.0", b"Connection: keep-alive\r\n") * 2, patience=0.5)

    assert (once.statuses, once.closed) == ([200], True)
    assert (kept.statuses, kept.closed) == ([200, 200], False)


def test_a_kept_connection_on_which_nothing_comes_is_closed_without_a_word(served: Served) -> None:
    heard = exchange(served.port, get(b"/v2/users", fields=HOST), patience=15.0)

    assert (heard.statuses, heard.closed) == ([200], True)


def test_an_old_client_gets_a_stream_without_chunks(served: Served) -> None:
    heard = exchange(served.port, get(b"/v2/events", b"HTTP/1.0", b"Accept: application/x-ndjson\r\n"))

    assert heard.closed
    assert b"transfer-encoding" not in heard.raw.lower()
    assert heard.body.startswith(b"{") or not heard.body


def test_who_waits_to_send_a_body_is_told_to_go_on(served: Served) -> None:
    head, _, body = post(CLOSE + b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    connection = connect(served.port)
    connection.sendall(head + b"\r\n\r\n")

    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body)
    assert listen(connection, patience=3.0).statuses == [201]


def test_who_does_not_wait_is_not_told(served: Served) -> None:
    assert exchange(served.port, post(CLOSE + b"Expect: 100-continue\r\n")).statuses == [201]


@pytest.mark.parametrize("framing", ["sized", "chunked", "in upper case", "with extensions", "with trailers"])
def test_bodies(served: Served, framing: str) -> None:
    assert exchange(served.port, post(CLOSE, framing)).statuses == [201]


def test_a_body_behind_an_offer_of_http2_is_read(served: Served) -> None:
    """So do Java's HttpClient and `curl --http2` send it."""
    heard = exchange(served.port, post(HOST + H2C) + get(b"/v2/users"))

    assert heard.statuses == [201, 200]
