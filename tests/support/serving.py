"""A real service on loopback: gunicorn with its workers, on a free port, ended by its own pid."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

import projections
from es_goals.cli import main
from es_goals.ids import wall_clock
from es_goals.projector import Projector
from es_goals.storage import Options, open_storage
from es_goals.storage.place import is_file
from es_goals.storage.views import ReadModel
from es_goals.upkeep.verification import verify_log, verify_read_model
from tests.support.forks import Forked, Process, may_fork

PATIENCE = 20.0  # seconds until something that must happen is given up
PROGRAM = (sys.executable, "-m", "es_goals")


def wait_for(happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Until it is so; fails, naming it, when it takes too long."""
    until = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < until, f"expected {what} within {patience} s"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def problem_of(answer: httpx2.Response, *statuses: int) -> dict[str, Any]:
    """The problem that is answered, with one of these statuses, in the one shape of all."""
    assert answer.status_code in statuses, answer.text[:1_000]
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"].startswith("/problems/")
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert all(isinstance(problem[member], str) and problem[member] for member in ("title", "detail"))
    known = {"type", "title", "status", "detail", "request_id", "errors", "index", "message", "dry_run"}
    assert set(problem) <= known | {"conflicts", "conflicts_count", "blocked", "blocked_count", "commands"}
    assert problem.get("message", problem["detail"]) == problem["detail"]
    for one in problem.get("errors", []):
        assert set(one) in ({"detail", "pointer"}, {"detail", "parameter"})
    return problem


def refused(answer: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem that is answered, which must be this one."""
    problem = problem_of(answer, status)
    assert problem["type"] == f"/problems/{slug}", problem
    return problem


def fault(answer: httpx2.Response) -> dict[str, str]:
    """The only fault of a value that is refused."""
    (found,) = refused(answer, 422, "invalid-value")["errors"]
    only: dict[str, str] = found
    return only


def in_time(answer: httpx2.Response, seconds: float = 4.0) -> httpx2.Response:
    """What grows as the square of its size takes minutes with a megabyte; a busy machine does not."""
    assert answer.elapsed.total_seconds() < seconds, f"answered {answer.status_code} after {answer.elapsed}"
    return answer


class Served:
    """`es-goals serve` on a database in a folder, or at a PostgreSQL URL; with `accounts`, its client is the
    administrator's. `program`: what is run, where it is not this version's command line."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        env: Mapping[str, str] = {},
        db: str = "events.db",
        accounts: bool = False,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.folder, self._workers, self._program = folder, workers, program
        self.database = db if not is_file(db) else str(folder / db)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = [
            *program, "--db", self.database,
            "serve", "--port", str(self.port), "--workers", str(workers), *([] if accounts else ["--open"]),
        ]  # fmt: skip
        self._env, self._forks = {**os.environ, **env}, program == PROGRAM and may_fork(env)
        self.output = folder / "output.txt"
        self._still = threading.Lock()
        self.client = httpx2.Client(base_url=self.url, timeout=30)
        self.token = ""
        self.start()
        # Of several nodes one is told.
        if accounts and (told := re.findall(r"esgt_[0-9a-f]{64}", self.output.read_text())):
            self.use(told[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Check that all is sound, unless something failed, and end."""
        try:
            if kind is None:
                self.verified()
        finally:
            self.end()

    def use(self, token: str) -> None:
        """Its client is who has this token."""
        self.token = token
        self.client.headers["Authorization"] = f"Bearer {token}"

    @property
    def db(self) -> Path:
        """The log's file, where it is one."""
        assert is_file(self.database), self.database
        return Path(self.database)

    def start(self) -> None:
        """Begin to serve, and wait until all workers do."""
        self.launch()
        for worker in self.workers():
            # Gunicorn loses the signals of a worker that is not up yet.
            with self.client_of(worker):
                pass

    def launch(self) -> None:
        """Begin to serve, and wait until somebody answers: under load no worker may be made to stand still, since it
        may hold a lock that another one waits for."""
        with self.output.open("ab") as output:
            self.process: Process = (
                Forked(_serve, self._arguments[len(PROGRAM) :], self._env, [output.fileno()] * 3)
                if self._forks
                else subprocess.Popen(  # noqa: S603
                    self._arguments, stdout=output, stderr=output, env=self._env, start_new_session=True, text=True
                )
            )
        wait_for(lambda: self.answers() and len(self.workers()) == self._workers, "the service to answer")

    def answers(self) -> bool:
        """Whether it serves."""
        assert self.process.poll() is None, self.output.read_text()
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def workers(self) -> list[int]:
        """The pids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill(self) -> None:
        """Kill -9 of the master and all of its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """End at once, if it has not yet. To end in order takes a second, without which nobody counts what was run."""
        if "CI" in os.environ:
            self.stop()
        else:
            self.client.close()
            with suppress(ProcessLookupError):
                self.kill()

    def as_(self, token: str | None) -> httpx2.Client:
        """A client of somebody else, or (None) of nobody, to be closed."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=self.url, timeout=30, headers=headers)

    @contextmanager
    def client_of(self, worker: int) -> Iterator[httpx2.Client]:
        """A client whose one connection is with this worker; the others stand still while it is made."""
        others = [pid for pid in self.workers() if pid != worker]
        with httpx2.Client(base_url=self.url, timeout=30, limits=httpx2.Limits(max_connections=1)) as client:
            with self._still:
                try:
                    for pid in others:
                        os.kill(pid, signal.SIGSTOP)
                    client.get("/healthz")
                finally:
                    for pid in others:
                        os.kill(pid, signal.SIGCONT)
            yield client

    @contextmanager
    def failed(self, model: ReadModel) -> Iterator[int]:
        """While the fold of a read model counts as failed, at this position."""
        name = model.__name__.rpartition(".")[2]
        wait_for(lambda: self.get(f"/v2/projections/{name}")["lag"] == 0, "all events to be folded")
        with closing(open_storage(self.database, wall_clock, Options(deadline=5.0, connections=1))) as storage:
            generation = storage.views.live(model)
            storage.views.mark_failed(generation, generation.position + 1, "made to fail")
            try:
                yield generation.position + 1
            finally:
                storage.views.clear_failed(generation)

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Another command of the command line, on the same database."""
        command = [*self._program, "--db", self.database, *arguments]
        return subprocess.run(  # noqa: S603
            command, input=stdin, capture_output=True, text=True, env=self._env, timeout=120
        )

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """A command; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json={} if body is None else body, headers=named)

    def get(self, path: str, **query: Any) -> Any:
        """What is answered at a path, which must be something."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, goal: Mapping[str, Any], order: str, **members: Any) -> dict[str, Any]:
        """complete, reopen, move, restore; patch, delete. It must be obeyed."""
        path = f"/v2/goals/{goal['id']}"
        if order in ("patch", "delete"):
            answer = self.client.request(order.upper(), path, json=members)
        else:
            answer = self.post(f"{path}/{order}", members)
        assert answer.status_code == 200, answer.text
        answered: dict[str, Any] = answer.json()
        return answered

    def events(self, of: str) -> list[dict[str, Any]]:
        """All that happened, `of` being `/users/{user}` or `/goals/{id}`; at most 1,000 events."""
        history = "events" if of.startswith("/users") else "history"
        page = self.get(f"/v2{of}/{history}", limit=1000)
        assert page["next"] is None
        events: list[dict[str, Any]] = page["events"]
        return events

    def make_user(self, name: str) -> str:
        """A user; answers the id."""
        answer = self.post("/v2/users", {"name": name})
        assert answer.status_code == 201, answer.text
        user_id: str = answer.json()["id"]
        return user_id

    def make_goal(self, user: str, name: str, **members: Any) -> dict[str, Any]:
        """A goal; answers it."""
        answer = self.post(f"/v2/users/{user}/goals", {"name": name, **members})
        assert answer.status_code == 201, answer.text
        goal: dict[str, Any] = answer.json()
        return goal

    def verified(self) -> None:
        """As `es-goals verify` does, without a process of its own."""
        with closing(open_storage(self.database, wall_clock, Options(deadline=60.0, connections=2))) as storage:
            verify_log(storage.log, None, _unheard)
            projector = Projector(storage.log, storage.views, projections.ALL)
            for model in projector.models.values():
                projector.catch_up(model)
                verify_read_model(storage, model, _unheard)


def _serve(*arguments: str) -> None:
    main(arguments)


def _unheard(done: int, total: int) -> None:
    del done, total
