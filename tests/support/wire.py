"""Bytes on a socket, for what no well-behaved client would send."""

import re
import socket
import time

from msgspec import Struct

_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Heard(Struct, frozen=True):
    """What came back. `closed`: by the server, before patience ran out; `seconds`: until then."""

    raw: bytes
    closed: bool
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """Of every answer on the connection, one behind the other."""
        found, rest = [], self.raw
        while rest:
            head = _HEAD.match(rest)
            assert head, rest
            length = _LENGTH.search(head[0])
            found.append(int(head[1]))
            rest = rest[head.end() + int(length[1] if length else 0) :]
        return found

    @property
    def body(self) -> bytes:
        """Of the only answer."""
        return self.raw.partition(b"\r\n\r\n")[2]


def connect(port: int) -> socket.socket:
    """A connection to the service."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def listen(connection: socket.socket, patience: float) -> Heard:
    """Everything until the server closes, or patience runs out; then it is hung up on."""
    begun = time.monotonic()
    heard, closed = bytearray(), False
    with connection:
        while (left := begun + patience - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                closed = True
                break
            if not piece:
                closed = True
                break
            heard += piece
    return Heard(bytes(heard), closed, time.monotonic() - begun)


def exchange(port: int, data: bytes, *, patience: float = 3.0, then_hang_up: bool = False) -> Heard:
    """Send the bytes, and with `then_hang_up` no more after them; then listen."""
    connection = connect(port)
    try:
        connection.sendall(data)
        if then_hang_up:
            connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # refused before all of it was sent: the answer, if there is one, can still be read
    return listen(connection, patience)
