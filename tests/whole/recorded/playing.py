"""Plays scenarios: asks a service that has the recorded log, byte by byte over HTTP, or the command line."""

import json
import os
import socket
import subprocess
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from msgspec import UNSET

from tests.support.serving import PATIENCE, Served, wait_for
from tests.whole.recorded import responses
from tests.whole.recorded.exchanges import FOLDER, Answer, Exchange, Scenario, encode
from tests.whole.recorded.masks import Masks

ARCHIVE = FOLDER / "v1.3.0.tar.xz"
KEYS = "keys.json"
DATABASE = "events.db"

_COMMANDS = """
import contextlib, json, os, sys
from es_goals.cli import main
with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
    for arguments in json.loads(sys.argv[1]):
        with contextlib.suppress(SystemExit):
            main(arguments)
for line in sys.stdin:
    arguments, text = json.loads(line)
    if not (child := os.fork()):
        with open("input", "w", encoding="utf-8") as given:
            given.write(text)
        for number, name in enumerate(("input", "output", "errors")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0)), number)
        sys.stdin = open(0)
        try:
            main(arguments, prog_name="es-goals")
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs commands, each in a process of its own that need not import everything again: a tenth of the time."""

_IMPORTING = [["tree", "ann"], ["export", "--format", "ndjson"], ["verify"]]
"""Commands that change nothing and between them import what others do."""


def unpack(folder: Path) -> None:
    """The log, and what is with it."""
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            path, content = folder / member.name, archive.extractfile(member)
            assert content is not None
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.read())


def play(
    scenario: Scenario, exchanges: Sequence[Exchange], folder: Path, db: str = DATABASE, python: str = sys.executable
) -> Iterator[tuple[Exchange, Answer]]:
    """Ask one after the other, on what is unpacked in the folder; `python`: whose `es_goals` is asked."""
    masks = Masks(json.loads((folder / KEYS).read_bytes()))
    with _service(scenario, folder, db, python) if scenario.workers else _commands(folder, db, python) as asked:
        for exchange in exchanges:
            yield exchange, _wanted(asked, exchange, masks)


class _Asked(ABC):
    """Who answers."""

    @abstractmethod
    def answer(self, exchange: Exchange, masks: Masks) -> Answer:
        """With masks in place of what differs each time."""


def _wanted(asked: _Asked, exchange: Exchange, masks: Masks) -> Answer:
    """The first answer that has what the exchange waits for, or where none comes the last one."""
    answer: Answer

    def has_come() -> bool:
        nonlocal answer
        answer = asked.answer(exchange, masks)
        body = answer.body if isinstance(answer.body, dict) else {}
        return all(body.get(name) == value for name, value in exchange.until.items())

    with suppress(AssertionError):
        wait_for(has_come, str(exchange))
    return answer


class _Commands(_Asked):
    def __init__(self, process: subprocess.Popen[str], folder: Path, db: str) -> None:
        self._process, self._folder, self._db = process, folder, db

    def answer(self, exchange: Exchange, masks: Masks) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        arguments = ["--db", self._db, *map(masks.show, exchange.arguments)]
        self._process.stdin.write(json.dumps([arguments, exchange.text]) + "\n")
        self._process.stdin.flush()
        status = self._process.stdout.readline()
        if not status:
            raise EOFError(f"expected what {exchange} answers; found that the command line ended")
        output, errors = ((self._folder / name).read_text("utf-8") for name in ("output", "errors"))
        shown = (masks.hide(text, exchange.id) for text in (responses.picked(output, exchange), errors))
        return Answer(int(status), {}, UNSET, *(text.replace(str(self._folder), "<folder>") for text in shown))


@contextmanager
def _commands(folder: Path, db: str, python: str) -> Iterator[_Asked]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ES_GOALS_")}
    importing = json.dumps([["--db", db, *arguments] for arguments in _IMPORTING])
    with subprocess.Popen(  # noqa: S603
        [python, "-P", "-c", _COMMANDS, importing],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**env, "COLUMNS": "80"},
    ) as process:
        yield _Commands(process, folder, db)


class _Service(_Asked):
    """Each request is on a connection of its own."""

    def __init__(self, port: int, held: ExitStack) -> None:
        self._port, self._held = port, held

    def answer(self, exchange: Exchange, masks: Masks) -> Answer:
        with ExitStack() as opened:
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", self._port), PATIENCE))
            try:
                connection.sendall(_bytes(exchange, masks))
                response = opened.enter_context(HTTPResponse(connection, method=exchange.method or "GET"))
                response.begin()
                answer = responses.answer(response, exchange, masks)
            except (HTTPException, OSError) as error:
                return Answer(0, errors=type(error).__name__)
            if exchange.hold:
                self._held.push(opened.pop_all())
        return answer


@contextmanager
def _service(scenario: Scenario, folder: Path, db: str, python: str) -> Iterator[_Asked]:
    served = Served(
        folder,
        workers=scenario.workers,
        env=scenario.env,
        db=db,
        accounts=scenario.accounts,
        program=(python, "-P", "-m", "es_goals"),
    )
    try:
        with ExitStack() as held:
            yield _Service(served.port, held)
    finally:
        served.client.close()
        served.kill()


def _bytes(exchange: Exchange, masks: Masks) -> bytes:
    """The request as it is sent."""
    if exchange.raw:
        return exchange.raw.encode("latin-1")
    body = exchange.text.encode() if exchange.body is UNSET else masks.show(encode(exchange.body).decode()).encode()
    headers: dict[str, str | None] = {"Host": "127.0.0.1"}
    if exchange.by:
        headers["Authorization"] = "Bearer " + (exchange.by if exchange.by[0] == "<" else f"<key {exchange.by}>")
    if exchange.body is not UNSET:
        headers["Content-Type"] = "application/json"
    if body:
        headers["Content-Length"] = str(len(body))
    headers |= exchange.headers
    lines = [f"{exchange.method} {exchange.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return masks.show("\r\n".join([*lines, "", ""])).encode("latin-1") + body
