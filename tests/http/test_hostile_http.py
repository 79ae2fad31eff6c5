"""Hostile HTTP over raw sockets: requests that never end, promise too much, or mean two things at once."""

import re
import resource
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from tests.support.serving import Served, wait_for
from tests.support.wire import Heard, connect, exchange, listen

HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
POST = b"POST /v2/users HTTP/1.1\r\n" + HOST + JSON
GET = b"GET /v2/users HTTP/1.1\r\n" + HOST
TEN_GIGABYTES = b"Content-Length: 10000000000\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
MEBIBYTE = 1_048_576
PROMPT = 3.0
"""Seconds; a machine that is busy with other tests takes tenths of one."""


def new_user(name: str) -> bytes:
    return b'{"name":"%b"}' % name.encode()


def whole(name: str) -> bytes:
    """A well-formed request that makes a user: what an attack wants to have answered."""
    body = new_user(name)
    return POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


SMUGGLED = whole("smuggled")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of this file's own, whose log nobody else moves."""
    with Served(tmp_path_factory.mktemp("hostile-http")) as served:
        yield served


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose workers are watched; it waits half a second for a head, a body, or a reader."""
    with Served(tmp_path_factory.mktemp("impatient"), env={"ES_GOALS_BODY_DEADLINE": "0.5"}) as served:
        workers = served.workers()
        yield served
        assert served.workers() == workers, "expected the workers to live on"
        assert "Traceback" not in served.output.read_text()


def head(served: Served) -> int:
    position: int = served.client.get("/readyz").json()["position"]
    return position


def attack(served: Served, request: bytes, patience: float = 3.0) -> Heard:
    """Send what would make a user, under a name of its own; nothing may come of it."""
    name = uuid.uuid4().hex[:8]
    before = head(served)

    heard = exchange(served.port, request.replace(b"smuggled", name.encode()), patience=patience)

    assert head(served) == before, heard
    assert served.client.get(f"/v2/users/{name}").status_code == 404
    return heard


def slowest(served: Served, requests: int = 20) -> float:
    """Seconds that the slowest of some healthy requests took, each on a connection of its own; each makes a user."""
    took = []
    for name in (f"u-{uuid.uuid4().hex}" for _ in range(requests)):
        begun = time.monotonic()
        answer = exchange(served.port, whole(name).replace(HOST, HOST + b"Connection: close\r\n"), patience=5.0)
        took.append(time.monotonic() - begun)
        assert answer.statuses == [201]
    return max(took)


def test_three_hundred_clients_that_come_at_once_are_answered_promptly(served: Served) -> None:
    begun = time.monotonic()
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(served.port)) for _ in range(300)]
        for connection in connections:
            connection.sendall(GET + b"Connection: close\r\n\r\n")
        heard = [listen(connection, patience=5.0) for connection in connections]

    assert all(one.statuses == [200] for one in heard)
    assert time.monotonic() - begun < PROMPT


def test_unfinished_heads_do_not_hold_others_up_and_are_given_up(own: Served) -> None:
    """Kept for ever, they would use up the descriptors, and nobody else could connect."""
    with ExitStack() as stack:
        connections = []
        for number in range(300):
            connections.append(stack.enter_context(connect(own.port)))
            connections[-1].sendall((POST + b"X-Slow: never\r\n")[: number % 80])

        assert slowest(own) < PROMPT

        for number, connection in enumerate(connections):
            heard = listen(connection, patience=5.0)
            assert heard.statuses == ([408] if number % 80 else [])
            assert heard.closed


def test_unfinished_bodies_do_not_hold_others_up_and_are_given_up(own: Served) -> None:
    before = head(own)
    with ExitStack() as stack:
        connections = []
        for number in range(300):
            length = CHUNKED if number % 2 else b"Content-Length: 50\r\n"
            part = b"" if number % 3 else b'5\r\n{"nam\r\n' if number % 2 else b'{"nam'
            connections.append(stack.enter_context(connect(own.port)))
            connections[-1].sendall(POST + length + b"\r\n" + part)

        assert slowest(own) < PROMPT

        for connection in connections:
            heard = listen(connection, patience=5.0)
            assert (heard.statuses, heard.closed) == ([408], True)
            assert b"/problems/request-timeout" in heard.body
    assert head(own) == before + 20


def test_what_trickles_and_never_ends_is_given_up(own: Served) -> None:
    """Each piece comes in time, and all of it would take hours."""
    before = head(own)
    trickles = [
        (GET + b"X: ", b"y"),
        (POST + CHUNKED + b"\r\n", b"1\r\n \r\n"),
        (POST + b"Content-Length: 10000\r\n\r\n", b" "),
    ]
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(own.port)) for _ in trickles]
        for connection, (begun, _) in zip(connections, trickles, strict=True):
            connection.sendall(begun)

        for connection, (_, more) in zip(connections, trickles, strict=True):
            connection.settimeout(0.02)
            heard = b""
            while not heard:
                with suppress(TimeoutError, BrokenPipeError):
                    connection.sendall(more)
                    heard = connection.recv(65536)
            assert heard.startswith(b"HTTP/1.1 408 ")
            assert listen(connection, patience=1.0).closed
    assert head(own) == before


def test_a_head_may_come_a_byte_at_a_time(served: Served) -> None:
    connection = connect(served.port)
    for byte in GET + b"Connection: close\r\n\r\n":
        connection.sendall(bytes([byte]))

    assert listen(connection, patience=5.0).statuses == [200]


def test_a_body_may_come_a_byte_at_a_time(served: Served) -> None:
    connection = connect(served.port)
    connection.sendall(POST + b"Connection: close\r\n" + CHUNKED + b"\r\n")
    for byte in new_user(f"u-{uuid.uuid4().hex}"):
        connection.sendall(b"1\r\n%c\r\n" % byte)
    connection.sendall(b"0\r\n\r\n")

    assert listen(connection, patience=5.0).statuses == [201]


def test_endless_chunks_are_cut_off(served: Served) -> None:
    before = head(served)
    connection = connect(served.port)
    sent = 0
    try:
        connection.sendall(POST + CHUNKED + b"\r\n")
        for _ in range(1000):
            connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
            sent += 0x8000
    except (BrokenPipeError, ConnectionResetError):
        pass

    heard = listen(connection, patience=5.0)

    assert heard.closed
    assert heard.statuses in ([413], []), "a reset may overtake the answer, but nothing else may come"
    assert sent < 16 * MEBIBYTE
    assert head(served) == before


def test_chunks_beyond_the_limit_are_answered_413(served: Served) -> None:
    body = b"100001\r\n" + b" " * (MEBIBYTE + 1) + b"\r\n0\r\n\r\n"

    heard = exchange(served.port, POST + b"Connection: close\r\n" + CHUNKED + b"\r\n" + body)

    assert heard.statuses == [413]
    assert b"/problems/body-too-large" in heard.body


@pytest.mark.parametrize("begun", [b"", b"{"], ids=["nothing of it", "a byte of it"])
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["", "expecting 100"])
@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE"])
def test_a_promised_body_of_ten_gigabytes_is_refused_at_once(
    served: Served, begun: bytes, expect: bytes, method: bytes
) -> None:
    request = POST.replace(b"POST", method, 1) + TEN_GIGABYTES + expect + b"\r\n" + begun

    heard = exchange(served.port, request, patience=2.0)

    assert (heard.statuses, heard.closed) == ([413], True)
    assert heard.seconds < PROMPT
    assert b"100 Continue" not in heard.raw


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_a_length_beyond_all_numbers_is_refused_at_once(served: Served, digits: int) -> None:
    heard = exchange(served.port, POST + b"Content-Length: " + b"9" * digits + b"\r\n\r\n{", patience=2.0)

    assert heard.statuses in ([400], [413])
    assert heard.closed


def test_a_body_of_the_limit_is_read_and_one_byte_more_is_not(served: Served) -> None:
    padding = b" " * (MEBIBYTE - len(new_user("x" * 34)))
    for more, status in ((b"", 201), (b" ", 413)):
        body = new_user(f"u-{uuid.uuid4().hex}") + padding + more
        request = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        assert exchange(served.port, request).statuses == [status]


@pytest.mark.parametrize(
    "head_of_a_request",
    [
        GET + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        GET + b"X-Long: " + b"y" * MEBIBYTE + b"\r\n\r\n",
        GET + b"X" * MEBIBYTE + b": y\r\n\r\n",
        b"GET /" + b"a" * MEBIBYTE + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G" * MEBIBYTE + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1" + b"1" * MEBIBYTE,
    ],
    ids=["10,000 fields", "a long field", "a long field name", "a long target", "a long method", "a long version"],
)
def test_a_head_that_is_too_large_is_refused(served: Served, head_of_a_request: bytes) -> None:
    heard = exchange(served.port, head_of_a_request)

    assert heard.closed
    # The connection may be reset under what is still being sent, which can overtake the answer.
    assert heard.statuses in ([400], [414], [431], [])
    assert b"users" not in heard.body


@pytest.mark.parametrize(
    "cut",
    [
        b"Content-Length: 100\r\n\r\n" + new_user("cut"),
        b"Content-Length: 1\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"\r\nd\r\n" + new_user("cut") + b"\r\n",
        CHUNKED + b"\r\nd\r\n" + new_user("cut"),
        CHUNKED + b"\r\nd\r\n" + new_user("cut") + b"\r\n0",
        CHUNKED + b"\r\nff\r\n" + new_user("cut"),
        CHUNKED + b"\r\nd\r\n" + new_user("cut") + b"\r\n5\r\n",
    ],
)
@pytest.mark.parametrize("abruptly", [False, True])
def test_a_body_cut_short_records_nothing(served: Served, cut: bytes, abruptly: bool) -> None:
    before, request_id = head(served), uuid.uuid4().hex.encode()
    connection = connect(served.port)
    connection.sendall(POST + b"X-Request-Id: %b\r\n" % request_id + cut)
    if abruptly:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
        heard = listen(connection, patience=3.0)
        assert heard.statuses in ([], [400])
        assert heard.closed

    # Whoever comes later is answered later, by each of the workers.
    assert slowest(served, 10) < PROMPT
    assert head(served) == before + 10
    assert served.client.get("/v2/users/cut").status_code == 404
    lines = [line for line in served.output.read_bytes().splitlines() if request_id in line]
    assert [msgspec.json.decode(line)["status"] for line in lines] in ([], [400]), lines


def batched(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """As `itertools.batched` from Python 3.12 on."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


LAST_CHUNK = b"0\r\n\r\n"

# Two ways to see where the body ends: whoever believes the other one sees SMUGGLED as a request of its own.
DISAGREEMENTS = [
    POST + sized(LAST_CHUNK + SMUGGLED) + CHUNKED + b"\r\n" + LAST_CHUNK + SMUGGLED,
    POST + CHUNKED + sized(LAST_CHUNK + SMUGGLED) + b"\r\n" + LAST_CHUNK + SMUGGLED,
    POST + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n" + LAST_CHUNK + SMUGGLED,
    POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + LAST_CHUNK,
    POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + LAST_CHUNK + SMUGGLED,
    POST.replace(b"1.1", b"1.0") + sized(LAST_CHUNK) + CHUNKED + b"\r\n" + LAST_CHUNK + SMUGGLED,
]

TRANSFER_ENCODINGS = [
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked gzip",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: ",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding:\x00chunked",
    b"Transfer-Encoding: chunked\xa0",
    b"Transfer-Encoding: \xc2\xa0chunked",
    b"Transfer-Encoding: \xef\xbb\xbfchunked",
    b"Transfer-Encoding: chun\xe2\x84\xaaed",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"\tTransfer-Encoding: chunked",
    b"Transfer-Encoding\x00: chunked",
    b"Tran\xc5\xbffer-Encoding: chunked",
    b"Transfer\xadEncoding: chunked",
    b"Transfer-Encoding=chunked",
    b"Transfer-Encoding\n: chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: chun\r\n ked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
]

FIELDS = [
    b"Content-Length: 19, 19",
    b"Content-Length: 19,18",
    b"Content-Length: 19\r\nContent-Length: 19",
    b"Content-Length: 19\r\nContent-Length: 5",
    b"Content-Length: 5\r\ncontent-length: 19",
    b"Content-Length: 19\r\n Content-Length: 5",
    b"Content-Length: 19\nContent-Length: 5",
    b"Content-Length: +19",
    b"Content-Length: -19",
    b"Content-Length: -1",
    b"Content-Length: 0x13",
    b"Content-Length: 1 9",
    b"Content-Length: 1_9",
    b"Content-Length: 19.0",
    b"Content-Length: 2e1",
    b"Content-Length: 19;",
    b'Content-Length: "19"',
    b"Content-Length: \xb2",
    b"Content-Length: \xd9\xa1\xd9\xa9",
    b"Content-Length: 19\x00",
    b"Content-Length: 19\x0b",
    b"Content-Length:",
    b"Content-Length : 19",
    b" Content-Length: 19",
    b"Content-Length\t: 19",
    b"Content-Length\x00: 19",
    b"\x0bContent-Length: 19",
    b"Content Length: 19",
    b"Content-Length 19",
    b"Content-Length\r\n : 19",
    b": 19",
    b"X: y\r\n\tContent-Length: 19",
    b"X: y\r\n folded",
    b"X: y\x00z",
    b"X: y\rz",
    b"X: y\nz",
    b"X: \x7f",
    b"X: \x1b[31m",
    b"X\x80: y",
    b"X(): y",
    b"\x00: y",
    b"Host: 127.0.0.1",
    b"Host: evil.example",
    b"Content-Type: text/plain",
]

REQUEST_LINES = [
    b"GET  /v2/users HTTP/1.1",
    b"GET /v2/users  HTTP/1.1",
    b"GET /v2/users HTTP/1.1 ",
    b" GET /v2/users HTTP/1.1",
    b"GET\t/v2/users\tHTTP/1.1",
    b"GET /v2/ users HTTP/1.1",
    b"GET /v2/users",
    b"GET",
    b"GET /v2/users HTTP/0.9",
    b"GET /v2/users HTTP/1.2",
    b"GET /v2/users HTTP/1.10",
    b"GET /v2/users HTTP/01.1",
    b"GET /v2/users HTTP/1.",
    b"GET /v2/users HTTP/1",
    b"GET /v2/users HTTP/2.0",
    b"GET /v2/users http/1.1",
    b"GET /v2/users HTTPS/1.1",
    b"GET /v2/users HTTP/1.1\x00",
    b"GET /v2/users\x00 HTTP/1.1",
    b"GET /v2/\x7fusers HTTP/1.1",
    b"GET /v2/users\xc3\xa9 HTTP/1.1",
    b"GET /v2/users\r HTTP/1.1",
    b"get /v2/users HTTP/1.1",
    b"GeT /v2/users HTTP/1.1",
    b"G@T /v2/users HTTP/1.1",
    b"G\x00T /v2/users HTTP/1.1",
    b"G\xc3\x89T /v2/users HTTP/1.1",
    b"GE /v2/users HTTP/1.1",
    b"GETGETGETGETGETGETGETGET /v2/users HTTP/1.1",
    b"GET v2/users HTTP/1.1",
    b"GET 127.0.0.1:80 HTTP/1.1",
    b"GET * HTTP/1.1",
    b"\x00GET /v2/users HTTP/1.1",
    b"\nGET /v2/users HTTP/1.1",
    b"\r\n\r\nGET /v2/users HTTP/1.1",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /v2/users HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]

CHUNKS = [
    b"zz\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"+5\r\n",
    b"0x5\r\n",
    b"1_0\r\n",
    b"\xb2\r\n",
    b"5 \r\n",
    b" 5\r\n",
    b"5\x0b\r\n",
    b"5\r\r\n",
    b"5\n",
    b"\r\n",
    b"5;a\rb\r\n",
    b"5;a\nb\r\n",
    b"5;\x00\r\n",
    b'5;a="\r\n',
    b"5;a=b" * 3000 + b"\r\n",
    b"5\r\n12345X\r\n",
    b"5\r\n1234567\r\n",
    b"5\r\n12345\n",
    b"5\r\n12345\r",
    b"5\r\n12345",
    b"0\n\n",
    b"0\r\n\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nHost: evil.example\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\nAuthorization: Bearer x\r\n\r\n",
]

ENDS_OF_LINES = [
    (GET + b"\r\n").replace(b"\r\n", b"\n") + SMUGGLED,
    (GET + b"\r\n").replace(b"\r\n", b"\r") + SMUGGLED,
    GET + b"\n" + SMUGGLED,
    GET + b"\r" + SMUGGLED,
    GET.replace(HOST, b"Host: 127.0.0.1\n") + b"\r\n" + SMUGGLED,
]

CORPUS = [
    *DISAGREEMENTS,
    *(POST + field + b"\r\n\r\n" + LAST_CHUNK + SMUGGLED for field in TRANSFER_ENCODINGS),
    *(POST + field + b"\r\n" + sized(LAST_CHUNK) + b"\r\n" + LAST_CHUNK + SMUGGLED for field in TRANSFER_ENCODINGS),
    *(POST + field + b"\r\n\r\n" + new_user("smuggled") + SMUGGLED for field in FIELDS),
    *(line + b"\r\n" + HOST + b"\r\n" + SMUGGLED for line in REQUEST_LINES),
    *(POST + CHUNKED + b"\r\n" + chunk + SMUGGLED for chunk in CHUNKS),
    *(POST + CHUNKED + b"\r\n13\r\n" + new_user("smuggled") + b"\r\n" + chunk + SMUGGLED for chunk in CHUNKS),
    *ENDS_OF_LINES,
]


def test_two_well_formed_requests_on_a_connection_are_both_answered(served: Served) -> None:
    """What the tests below would see if an attack came through."""
    names = [f"u-{uuid.uuid4().hex}" for _ in range(2)]

    heard = exchange(served.port, whole(names[0]) + whole(names[1]).replace(HOST, HOST + b"Connection: close\r\n"))

    assert heard.statuses == [201, 201]


@pytest.mark.parametrize("request_", CORPUS, ids=lambda request: ascii(request.partition(SMUGGLED)[0])[2:120])
def test_a_request_that_could_mean_two_things_is_refused_and_reaches_no_handler(
    served: Served, request_: bytes
) -> None:
    heard = attack(served, request_)

    assert heard.closed
    assert heard.statuses in ([], [400], [414], [431], [501]), "what a handler answers has other statuses"


@pytest.mark.parametrize("line", [b"POST /v2/users HTTP/1.1", b"GET /v2/users HTTP/1.1"])
def test_a_request_without_a_host_is_refused(served: Served, line: bytes) -> None:
    """RFC 9112, section 3.2."""
    body = new_user("smuggled") if line.startswith(b"POST") else b""

    heard = attack(served, line + b"\r\nConnection: close\r\n" + JSON + sized(body) + b"\r\n" + body)

    assert heard.statuses == [400]


def test_an_old_request_needs_no_host(served: Served) -> None:
    assert exchange(served.port, b"GET /v2/users HTTP/1.0\r\n\r\n").statuses == [200]


@pytest.mark.parametrize(
    "target",
    [
        b"http://127.0.0.1/v2/nothing", b"//127.0.0.1/v2/users", b"/v2/users#a",
        b"/../v2/users", b"/./v2/users", b"/v2//users", b"/v2/users/", b"/v2\\users", b"/v2/users;a=b", b"/V2/users",
        b"/v2/users%00", b"/v2/users%0d%0aX:y", b"/v2/users%2f", b"/v2%2fusers%2fx%2fy%2fz",
    ],
)  # fmt: skip
def test_a_target_that_only_looks_like_a_route_is_none(served: Served, target: bytes) -> None:
    request = SMUGGLED.replace(b"/v2/users", target).replace(HOST, HOST + b"Connection: close\r\n")

    heard = attack(served, request)

    assert heard.statuses in ([404], [405])


@pytest.mark.parametrize("target", [b"127.0.0.1:80", b"/v2/users", b"evil.example:443"])
def test_nothing_behind_a_connect_is_a_request(served: Served, target: bytes) -> None:
    heard = attack(served, b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED)

    assert heard.statuses in ([400], [404], [405], [501])
    assert heard.closed


def test_an_upgrade_to_websocket_is_refused(served: Served) -> None:
    handshake = b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    before = served.output.stat().st_size

    heard = attack(served, GET + b"Connection: Upgrade\r\n" + handshake + b"\r\n" + SMUGGLED)

    assert len(heard.statuses) == 1
    assert 400 <= heard.statuses[0] <= 499
    assert heard.closed
    assert b"Traceback" not in served.output.read_bytes()[before:]


def test_an_offer_of_http2_is_not_taken(served: Served) -> None:
    offer = (
        b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    )

    assert exchange(served.port, GET + offer + b"\r\n").statuses == [200]


@pytest.mark.parametrize(
    "line",
    [b"GET /healthz", b"HEAD /healthz", b"OPTIONS /v2/users", b"POST /nowhere", b"PUT /v2/users", b"GET /v1.0/goals"],
)
@pytest.mark.parametrize("framing", ["sized", "chunked", "promising more"])
def test_a_body_that_nobody_reads_is_no_request(served: Served, line: bytes, framing: str) -> None:
    head_, body = line + b" HTTP/1.1\r\n" + HOST, SMUGGLED
    if framing == "chunked":
        head_, body = head_ + CHUNKED, b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + LAST_CHUNK
    else:
        head_ += b"Content-Length: %d\r\n" % (len(SMUGGLED) * (2 if framing == "promising more" else 1))

    heard = attack(served, head_ + b"\r\n" + body, patience=0.3)

    assert len(re.findall(rb"HTTP/1\.1 [2-5]", heard.raw)) <= 1


REFUSED_BEFORE_THE_BODY = [
    POST.replace(HOST, b"Host: evil.example\r\n"),
    POST + b"Origin: http://evil.example\r\n",
    POST.replace(b"/v2/users", b"/nowhere"),
    POST.replace(b"/v2/users", b"/healthz"),
    POST.replace(b"/v2/users", b"/v2/users/nobody/goals"),
]


@pytest.mark.parametrize("request_", REFUSED_BEFORE_THE_BODY)
def test_a_refusal_before_the_body_makes_no_request_of_the_body(served: Served, request_: bytes) -> None:
    """The connection is closed, or the body is read to its end: never is it taken for the next request."""
    body = SMUGGLED * 300

    heard = attack(served, request_ + sized(body) + b"\r\n" + body, patience=0.3)

    assert heard.statuses in ([421], [403], [404], [405])


@pytest.mark.parametrize("request_", REFUSED_BEFORE_THE_BODY)
def test_a_refusal_before_the_body_tells_that_the_connection_ends(served: Served, request_: bytes) -> None:
    """RFC 9112, section 9.6: a client that is not told sends its next request on it, and loses it."""
    heard = attack(served, request_ + b"Content-Length: 1000\r\n\r\n{")

    assert heard.statuses in ([421], [403], [404], [405])
    assert heard.closed
    assert b"\r\nconnection: close\r\n" in heard.raw.lower()


def memory(served: Served) -> int:
    """Bytes that the workers hold."""
    statuses = (Path(f"/proc/{pid}/status").read_text() for pid in served.workers())
    return sum(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024 for status in statuses)


def read_slowly(connection: socket.socket, hurry: threading.Event) -> bytes:
    """All that comes, in small pieces until it may be in a hurry."""
    heard = bytearray()
    while piece := connection.recv(MEBIBYTE if hurry.is_set() else 4096):
        heard += piece
        hurry.wait(0.002)
    return bytes(heard)


def test_an_answer_that_nobody_reads_is_given_up_and_one_that_is_read_slowly_is_not(own: Served) -> None:
    """Kept for ever, it would hold memory, and the worker when it is to stop."""
    user, hurry = f"u-{uuid.uuid4().hex}", threading.Event()
    own.make_user(user)
    commands = [{"type": "CreateGoal", "name": "x", "description": "x" * 10_000}] * 90
    for _ in range(9):
        assert own.post(f"/v2/users/{user}/commands", {"commands": commands}).status_code == 200
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        connections = [stack.enter_context(socket.socket()) for _ in range(20)]
        for number, connection in enumerate(connections):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", own.port))
            last = b"Connection: close\r\n" if number % 2 == 0 else b""
            connection.sendall(GET.replace(b"/users", f"/users/{user}/goals".encode()) + last + b"\r\n")
        unread = connections[1:]
        read = thread.submit(read_slowly, connections[0], hurry)

        try:
            assert slowest(own) < PROMPT
            wait_for(
                lambda: own.output.read_text().count('"not_read"') == len(unread),
                "all that is not read to be given up",
            )
            assert all(listen(connection, patience=5.0).closed for connection in unread)
            assert not read.done()
        finally:
            hurry.set()
        assert read.result().endswith(b"}")


@pytest.mark.parametrize("line", [b"GET /healthz", b"HEAD /healthz"])
def test_floods_of_requests_whose_answers_nobody_reads_hold_neither_others_up_nor_memory(
    own: Served, line: bytes
) -> None:
    """On each connection more than the worker reads ahead, and more answers than the connection takes."""
    request = (line + b" HTTP/1.1\r\n" + HOST + b"\r\n") * 20_000
    before = memory(own)
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(connect(own.port))
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(request)

        assert slowest(own) < PROMPT
        assert memory(own) - before < 30 * MEBIBYTE


def test_descriptors_that_run_out_are_waited_for(own: Served) -> None:
    served_before = exchange(own.port, GET + b"Connection: close\r\n\r\n").statuses
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in own.workers()}
    seen = own.output.stat().st_size
    try:
        with ExitStack() as stack:
            for pid, (_, hard) in limits.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())) + 8, hard))
            for _ in range(40):
                stack.enter_context(connect(own.port)).sendall(GET)
            wait_for(lambda: b"not_accepted" in own.output.read_bytes()[seen:], "no connection more to be taken")

            assert own.post("/v2/users", {"name": f"u-{uuid.uuid4().hex}"}).status_code == 201
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)

    assert exchange(own.port, GET + b"Connection: close\r\n\r\n", patience=5.0).statuses == served_before == [200]


def test_what_is_hostile_behind_a_good_request_is_refused_too(served: Served) -> None:
    """The parser reads it anew, from what it had kept."""
    before = head(served)
    for request in CORPUS:
        heard = exchange(served.port, GET + b"\r\n" + request)

        assert heard.closed
        assert heard.statuses in ([200], [200, 400], [200, 414], [200, 431])
    assert head(served) == before
    assert "Traceback" not in served.output.read_text()


def test_a_broken_body_does_not_put_an_error_into_an_answer(served: Served) -> None:
    """It would be taken for the rest of the stream, or for the answer to somebody else's request."""
    with connect(served.port) as connection:
        connection.sendall(GET.replace(b"users", b"events") + b"Accept: text/event-stream\r\n" + CHUNKED + b"\r\n")
        heard = connection.recv(65536)
        connection.sendall(b"zz\r\n")
        while piece := connection.recv(65536):
            heard += piece

    assert heard.startswith(b"HTTP/1.1 200 ")
    assert heard.count(b"HTTP/1.1") == 1


def test_memory_stays_flat_through_ten_thousand_hostile_requests(own: Served) -> None:
    big = POST + CHUNKED + b"\r\n" + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 40
    deep = b"[" * 500_000
    hostile = [*CORPUS, POST + CHUNKED + b"\r\n5\r\n{", POST + sized(b"12") + b"\r\n1", POST[:20], GET[:-2]]
    large = [big, POST + TEN_GIGABYTES + b"\r\n" + b" " * MEBIBYTE, POST + sized(deep) + b"\r\n" + deep]
    large += [GET + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n"]

    def rounds(number: int) -> None:
        for request in large * (number // 4 + 1):
            exchange(own.port, request, patience=5.0, then_hang_up=True)
        for _ in range(number):
            for some in batched(hostile, 40):
                connections = [connect(own.port) for _ in some]
                for connection, request in zip(connections, some, strict=True):
                    with suppress(OSError):
                        connection.sendall(request)
                        connection.shutdown(socket.SHUT_WR)
                for connection in connections:
                    listen(connection, patience=5.0)

    rounds(20)  # until what they need is there
    before = memory(own)
    rounds(10_000 // len(hostile) + 1)

    assert memory(own) - before < 20 * MEBIBYTE
