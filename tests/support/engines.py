"""The engines that the contract tests run on, and what tests of a log need beside one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, cast

from es_goals import storage as module
from es_goals.ids import wall_clock
from es_goals.storage import Options, Storage
from es_goals.storage.errors import StorageError
from es_goals.storage.log import Clock, Log, Transaction
from tests.support import postgres
from tests.support.forks import Process, may_fork, piped

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
"""Seconds after which what is waited for is taken not to happen."""

NOW = 1_795_420_800_000_000

OPTIONS = Options(deadline=5.0, connections=10)


def open_storage(url: str, clock: Clock, options: Options = OPTIONS) -> Storage:
    """As storage's, with options that most tests do not care about."""
    return module.open_storage(url, clock, options)


def migrate(url: str, clock: Clock, options: Options = OPTIONS, service: str | None = None) -> int:
    """As storage's, with options that most tests do not care about."""
    return module.migrate(url, clock, options, service)


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield str(folder / "events.db")


def _postgres(version: str) -> Callable[[Path], AbstractContextManager[str]]:
    return lambda _: postgres.fresh(version)


ENGINES: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "sqlite": _sqlite,
    **{f"postgres{version}": _postgres(version) for version in postgres.VERSIONS},
}
"""For each engine: the URL of a fresh database, in or beside the folder, gone at the end."""

NEWEST = ("sqlite", f"postgres{postgres.VERSIONS[-1]}")


class HandClock:
    """Stands at `now` (µs) until it is put elsewhere."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Engine:
    """One database. Each `open` answers one more Storage on it, as another process would have; all are closed
    at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened = ExitStack()

    def open(self, clock: Clock = wall_clock) -> Storage:
        """Its first call makes the database."""
        storage = open_storage(self.url, clock)
        self._opened.callback(storage.close)
        return storage

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


class FaultyLog:
    """A log whose commits can be made to fail, and are counted.

    `trouble`: what a commit raises; `kept`: whether what it held is on disk all the same. `opened` is called
    as soon as a transaction has the lock.
    """

    survives_unknown_commit = False

    def __init__(self, log: Log) -> None:
        self._log = log
        self.trouble: StorageError | None = None
        self.kept = False
        self.commits = 0
        self.reads: list[str | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, *values: Any, **filters: Any) -> Any:
        """Reads, and notes of which stream."""
        self.reads.append(filters.get("stream"))
        return self._log.read(*values, **filters)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """As `trouble` wants it."""
        with self._log.writing() as transaction:
            yield transaction
            if self.trouble is not None and not self.kept:
                raise self.trouble
        self.commits += 1
        if self.trouble is not None:
            raise self.trouble

    def probe(self) -> None:
        """Fails as commits do."""
        if self.trouble is not None:
            raise self.trouble
        self._log.probe()

    @property
    def log(self) -> Log:
        """Itself, as the type checker sees it."""
        return cast(Log, self)


ENDLESS = (
    "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1)"
    " SELECT count(*) FROM counted"
)


def endless(storage: Storage) -> object:
    """A question that is never answered."""
    return storage.log._rows(ENDLESS, 10**12)  # type: ignore[attr-defined]


@contextmanager
def start(run: Callable[..., None], *arguments: str) -> Iterator[Process]:
    """Run a test module's function in a process of its own; what it prints and is told goes line by line.
    At the end, or after the deadline, it is killed with all that it forked."""
    child: Process = piped(run, arguments) if may_fork({}) else _from_scratch(run, arguments)

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    watchdog = threading.Timer(2 * DEADLINE, kill)
    watchdog.start()
    try:
        yield child
    finally:
        watchdog.cancel()
        kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()


def _from_scratch(run: Callable[..., None], arguments: Sequence[str]) -> subprocess.Popen[str]:
    program = f"import sys; from {run.__module__} import {run.__name__} as run; run(*sys.argv[1:])"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def hear(child: Process) -> str:
    """The next line that the child prints."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def tell(child: Process, line: str) -> None:
    """One line for the child to read."""
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def say(line: object) -> None:
    """From a child to its parent, at once."""
    print(line, flush=True)


def wait_until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait for what another thread or process does, and fail if it does not."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.002)
