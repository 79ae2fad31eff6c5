"""Our service as it is measured: all is folded before, and it is asked over connections that tell how long it took."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from tests.support.serving import Served, wait_for

NEW = {"name": "Read a chapter", "description": "Pencil in hand."}
"""A goal to create."""

FOLDING = 600.0  # seconds until a long log must be folded


def goals_of(user: str) -> str:
    """The path of a user's tree."""
    return f"/v2/users/{user}/goals"


def lags(served: Served) -> list[int]:
    """How far each read model is behind."""
    return [model["lag"] for model in served.get("/v2/projections")["projections"]]


@contextmanager
def folded(folder: Path, env: Mapping[str, str] = {}, db: str = "events.db") -> Iterator[Served]:
    """Serves the log in a folder, or at a PostgreSQL URL, once its read models are at its end. Killed, since a polite
    end takes a second."""
    served = Served(folder, env=env, db=db)
    try:
        wait_for(lambda: not any(lags(served)), "the log to be folded", FOLDING)
        yield served
    finally:
        served.client.close()
        served.kill()


class Connection:
    """One connection that stays, to whichever worker took it."""

    def __init__(self, served: Served) -> None:
        self._http = HTTPConnection("127.0.0.1", served.port, timeout=60)
        self.etag = ""

    def timed(self, method: str, path: str, body: Any = None) -> tuple[float, bytes]:
        """How many ms it took to be answered, and the answer. Keeps its tag."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        began = time.perf_counter()
        self._http.request(method, path, content, headers)
        answer = self._http.getresponse()
        found = answer.read()
        ms = (time.perf_counter() - began) * 1000
        assert answer.status in (200, 201), f"{method} {path}: {answer.status} {found[:500]!r}"
        self.etag = answer.getheader("ETag", "")
        return ms, found

    def close(self) -> None:
        """End it."""
        self._http.close()


@contextmanager
def connections(served: Served, worker: int | None = None, count: int = 1) -> Iterator[list[Connection]]:
    """So many connections, all with one worker: the others stand still while they are made, as they may as long as
    nobody else asks anything."""
    others = [pid for pid in served.workers() if worker is not None and pid != worker]
    with ExitStack() as stack:
        made = [Connection(served) for _ in range(count)]
        for connection in made:
            stack.callback(connection.close)
        try:
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            for connection in made:
                connection.timed("GET", "/healthz")
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        yield made


@contextmanager
def repeated(work: Callable[[], object]) -> Iterator[None]:
    """Do it again and again in a thread, from the beginning of a `with` to its end, where its error is raised."""
    enough = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not enough.is_set():
                work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
    if errors:
        raise errors[0]
