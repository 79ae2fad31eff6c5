"""Runs wrk, which loads a service from as many connections as one wants at little cost to its own machine."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from itertools import count
from math import ceil
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

MARK = "{the number}"
"""In a request, replaced by twelve digits that no other request to the same service has."""

_SCRIPT = Path(__file__).with_name("requests.lua")
_SEPARATOR = "\x1e"
_PATIENCE = 60  # seconds: what answers only after them counts as broken
_runs = count(1)


class WrkMissing(Exception):
    """There is no wrk on this machine."""


class WrongAnswers(Exception):
    """A run met errors, which makes its numbers worthless."""


class Run(Struct, frozen=True):
    """What wrk saw; latencies in ms. `refused`: answers of a status from 400, `broken`: errors of sockets, and
    timeouts."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    slowest: float
    bytes: int
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def program() -> str:
    """Where wrk is. Raises WrkMissing."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkMissing("expected the program wrk, which loads the services; found none (apt-get install wrk)")
    return found


def request(method: str, path: str, body: Any = None, **headers: str) -> str:
    """A request as it is sent; header names with _ for -."""
    content = "" if body is None else msgspec.json.encode(body).decode()
    fields = {"Host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if content:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(content.encode()))}
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", content]
    )


def wrk(url: str, requests: Sequence[str], status: int, seconds: float, threads: int = 2, connections: int = 64) -> Run:
    """Send any of the requests next, on every connection, for so long. Each must be answered with this status.

    Raises WrkMissing, WrongAnswers.
    """
    number = next(_runs)
    size = _try(url, requests[0].replace(MARK, f"{number % 1000:03}{0:09}"), status)
    with NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
        file.write(_SEPARATOR.join(requests))
        file.flush()
        # It counts in whole seconds, and so is told when to end.
        shape = [f"-t{threads}", f"-c{connections}", f"-d{ceil(seconds) + 1}s", "--timeout", f"{_PATIENCE}s"]
        arguments = [file.name, _SEPARATOR, MARK, str(number)]
        told = _interrupted([program(), *shape, "-s", str(_SCRIPT), url, "--", *arguments], seconds)
    run = msgspec.json.decode(told, type=Run)
    # One answer with a body would be seen among any number without one.
    longer = status == 304 and run.bytes > (run.requests + connections) * size
    if run.refused or run.broken or longer or not run.requests:
        raise WrongAnswers(f"expected answers of status {status}; found {run}")
    return run


def _try(url: str, request: str, status: int) -> int:
    """How many bytes answer it, of those that come first."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), _PATIENCE) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(65_536)
    if not answer.startswith(b"HTTP/1.1 %d " % status):
        raise WrongAnswers(f"expected the status {status} to {request!r}; found {answer!r}")
    return len(answer)


def _interrupted(command: list[str], seconds: float) -> str:
    """The last line that a program says on standard error, interrupted after so long."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
    with process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate()
    if process.returncode or not errors:
        raise WrongAnswers(f"expected wrk to run; found: {errors or output}")
    return errors.splitlines()[-1]
