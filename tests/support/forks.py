"""Processes of our own code, forked from one that has imported it: to import it takes as long as to start a service.

In CI, where what is run is counted, they are begun from scratch, as where they are given more than settings.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from multiprocessing.reduction import DupFd
from operator import attrgetter
from typing import IO, Any, Protocol

IMPORTED = [
    "es_goals.cli.serve", "es_goals.goals.rules", "es_goals.rebuild", "es_goals.storage.sqlite",
    "es_goals.storage.postgres", "argon2", "falcon.asgi", "gunicorn.app.base", "gunicorn.asgi.protocol",
    "gunicorn.workers.gasgi", "uvloop", "hypothesis", "pytest", "tests.support.histories", "tests.support.postgres",
]  # fmt: skip
"""All but what counts: prometheus_client looks at its environment when it is imported."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(IMPORTED)


class Process(Protocol):
    """What is asked of one: as of Popen."""

    pid: int
    stdin: IO[str] | None
    stdout: IO[str] | None

    @property
    def returncode(self) -> int | Any:
        """The exit status, once it is known that it has ended."""

    def poll(self) -> int | None:
        """The exit status, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""


class _Inherited:
    """A descriptor for the child, whatever its number is there."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (DupFd(self._fd),)


def _detached(duplicate: Any) -> int:
    fd: int = duplicate.detach()
    return fd


class Forked:
    """A process that calls a function of a module. `standard`: what its standard streams are."""

    def __init__(
        self, run: Callable[..., object], arguments: Sequence[str], env: Mapping[str, str], standard: Sequence[int]
    ) -> None:
        inherited = [_Inherited(fd) for fd in standard]
        named = run.__module__, run.__qualname__  # imported only when the environment is set
        self._process = _forks.Process(target=_begin, args=(*named, arguments, dict(env), os.getcwd(), inherited))
        self._process.daemon = True  # it is ended with the tests
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None

    @property
    def returncode(self) -> int | None:
        """As Popen's."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As Popen's."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """As Popen's."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return self._process.exitcode

    def terminate(self) -> None:
        """As Popen's."""
        self._process.terminate()

    def kill(self) -> None:
        """As Popen's."""
        self._process.kill()


def _begin(
    module: str, run: str, arguments: Sequence[str], env: Mapping[str, str], folder: str, standard: Sequence[int]
) -> None:
    assert "prometheus_client" not in sys.modules
    os.setsid()
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has put another one there
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    attrgetter(run)(import_module(module))(*arguments)


def may_fork(env: Mapping[str, str]) -> bool:
    """Whether what is imported already would be the same with these variables."""
    return "CI" not in os.environ and all(name.startswith("ES_GOALS_") for name in env)


def piped(run: Callable[..., object], arguments: Sequence[str]) -> Forked:
    """A process whose input and output are pipes of lines."""
    with ExitStack() as ours:
        (to_read, told), (heard, to_write) = os.pipe(), os.pipe()
        for fd in (to_read, to_write):
            ours.callback(os.close, fd)
        child = Forked(run, arguments, os.environ, (to_read, to_write, 2))
    child.stdin, child.stdout = os.fdopen(told, "w"), os.fdopen(heard)
    return child
