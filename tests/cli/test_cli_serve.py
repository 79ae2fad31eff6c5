"""`es-goals serve` as a real process, and the command line beside it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from es_goals import __version__
from tests.support.commands import OUTLINE, cli, make, process, sentence
from tests.support.histories import created
from tests.support.serving import PATIENCE, Served, free_port, wait_for

pytestmark = pytest.mark.usefixtures("at_home")


class Service:
    """`es-goals` with whatever arguments, in the test's folder."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self.output, self.errors = Path("output.txt"), Path("errors.txt")
        command = [sys.executable, "-m", "es_goals", *arguments]
        with self.output.open("wb") as out, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                stdout=out,
                stderr=errors,
                env={**os.environ, "TMPDIR": str(Path.cwd()), **env},
                start_new_session=True,
            )

    def told(self) -> str:
        """What it printed so far."""
        return self.output.read_text("utf-8")

    def listening(self) -> str:
        """Its address, once it says that it listens."""

        def told() -> bool:
            assert self.process.poll() is None, self.errors.read_text("utf-8")
            return "/docs" in self.told()

        wait_for(told, "the service to listen")
        url: str = re.findall(r"listens on (http://\S+)", self.told())[0]
        return url

    def workers(self) -> list[int]:
        """The pids of its workers."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@contextmanager
def serving(*arguments: str, **env: str) -> Iterator[Service]:
    service = Service(*arguments, **env)
    try:
        yield service
    finally:
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


def get(url: str) -> httpx2.Response:
    """On a connection of its own, so that any worker may answer."""
    return httpx2.get(url, timeout=PATIENCE)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "192.0.2.1",
        "10.0.0.1",
        "::ffff:192.0.2.1",
        "fe80::1",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "127.1",
        "0",
        "2130706433",
        "",
        "127.0.0.1:8000",
        "unix:/tmp/socket",
    ],
)
@pytest.mark.parametrize("by", ["option", "variable"])
def test_an_address_that_others_can_reach_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, by: str
) -> None:
    def listen(*_: object) -> None:
        pytest.fail(f"listened on {host}")

    monkeypatch.setattr("es_goals.server.serve", listen)
    if by == "variable":
        monkeypatch.setenv("ES_GOALS_HOST", host)
    result = cli("serve", "--open", *(["--host", host] if by == "option" else []))

    assert result.exit_code in (1, 2)
    assert "xpected" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_serve_says_where_it_listens_and_what_to_try_first_and_that_works() -> None:
    port = free_port()
    with serving("serve", "--open", "--port", str(port), "--workers", "1") as service:
        url = service.listening()
        told = service.told().splitlines()

        assert url == f"http://127.0.0.1:{port}"
        assert told[:2] == [f"Open {url}/ in a browser", f"Over Achiever {__version__} listens on {url}"]
        assert get(told[0].split()[1]).headers["Content-Type"].startswith("text/html")
        assert "new log events.db; 1 workers" in told[2]
        wait_for(lambda: len(service.workers()) == 1, "one worker")
        assert Path("events.db").exists()
        tried = [re.fullmatch(r"  curl (\S+)(?: --json '(.+)')?", line) for line in told if "curl" in line]
        for command in tried:
            assert command is not None
            answer = httpx2.post(command[1], json=json.loads(command[2])) if command[2] else get(command[1])
            assert answer.status_code in (200, 201), answer.text
        assert answer.json()["goals"][0]["name"] == "Run a marathon"
        assert get(re.findall(r"http://\S+/docs", service.told())[0]).status_code == 200
        assert service.stop() == 0
    assert "Traceback" not in service.errors.read_text()
    assert "1 goals: sound" in process("verify").stdout


def test_PORT_is_honoured_and_so_is_the_log_that_was_there() -> None:
    make(created("a", name="Run"))
    port = free_port()
    with serving("serve", "--open", "--workers", "1", PORT=str(port)) as service:
        assert service.listening() == f"http://127.0.0.1:{port}"
        assert "(log events.db;" in service.told()
        assert get(f"http://127.0.0.1:{port}/v2/users/alice/goals").json()["goals"][0]["name"] == "Run"


def test_the_option_beats_the_variables_and_other_loopback_addresses_are_taken() -> None:
    port = free_port()
    env = {"PORT": "1", "ES_GOALS_PORT": "2", "ES_GOALS_HOST": "127.0.0.9", "ES_GOALS_WORKERS": "9"}
    arguments = ["serve", "--port", str(port), "--host", "127.0.0.2", "--workers", "2"]
    with serving("--db", "mine.db", *arguments, **env, ES_GOALS_DB="other.db") as service:
        assert service.listening() == f"http://127.0.0.2:{port}"
        assert get(f"http://127.0.0.2:{port}/healthz").status_code == 200
        wait_for(lambda: len(service.workers()) == 2, "two workers")
    assert Path("mine.db").exists()
    assert not Path("other.db").exists()


def test_a_port_that_the_system_chose_is_told() -> None:
    with serving("serve", "--port", "0", "--workers", "1") as service:
        url = service.listening()

        assert not url.endswith(":0")
        assert get(f"{url}/healthz").status_code == 200


def test_a_port_that_is_taken_is_told_in_one_sentence() -> None:
    with serving("serve", "--port", str(free_port()), "--workers", "1") as service:
        port = service.listening().rpartition(":")[2]

        second = process("serve", "--port", port, "--workers", "1")

        assert second.returncode != 0
        assert second.stdout == ""
        assert get(f"{service.listening()}/healthz").status_code == 200
        assert port in sentence(second.stderr)


def test_a_log_that_cannot_be_opened_is_told_before_it_listens() -> None:
    Path("events.db").write_bytes(b"not a database at all, only a text")

    result = process("serve", "--port", str(free_port()))

    assert (result.returncode, result.stdout) == (1, "")
    assert "not a database" in sentence(result.stderr)


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("warning", 0)])
def test_every_answered_request_has_its_line_though_the_service_stops_at_once(level: str, lines: int) -> None:
    ids = [f"request-{number}-" for number in range(200)]
    # One worker: gunicorn loses the signals of another one that is not up yet, and waits for it.
    with serving("serve", "--open", "--port", str(free_port()), "--workers", "1", ES_GOALS_LOG_LEVEL=level) as service:
        url = service.listening()
        with httpx2.Client(timeout=PATIENCE) as client, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: client.get(f"{url}/v2/users", headers={"X-Request-Id": one}), ids))

        assert service.stop() == 0
        logged = service.errors.read_text()

    assert [logged.count(f'"{one}"') for one in ids] == [lines] * len(ids)


def test_a_worker_that_ends_takes_nothing_with_it(tmp_path: Path) -> None:
    """One ends by itself when a commit's outcome is unknown; what took its place must serve and measure."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with serving("serve", "--open", "--port", str(free_port()), "--workers", "2", TMPDIR=str(temporary)) as service:
        url = service.listening()
        wait_for(lambda: len(service.workers()) == 2, "two workers")
        first = service.workers()[0]

        def ended() -> bool:
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGTERM)  # repeated, since one that is just beginning does not hear it
            return first not in service.workers() and len(service.workers()) == 2

        wait_for(ended, "another worker in place of the first")

        answers = [get(f"{url}{path}").status_code for path in ("/v2/users", "/metrics") for _ in range(10)]
        assert set(answers) == {200}
        assert service.stop() == 0
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    assert served.stop() == 0


def test_readers_see_what_is_imported_meanwhile(served: Served) -> None:
    result = served.run("import", "-", "--user", "ann", stdin=json.dumps(OUTLINE))

    assert result.returncode == 0, result.stderr
    goals = served.client.get("/v2/users/ann/goals").json()["goals"]
    assert [goal["name"] for goal in goals] == [goal["name"] for goal in OUTLINE["goals"]]


def test_commands_of_clients_are_told_with_their_reasons(served: Served) -> None:
    served.make_user("ben")
    goal = served.make_goal("ben", "Run")
    assert served.post(f"/v2/goals/{goal['id']}/complete", {"reason": "in the rain"}).status_code == 200

    told = served.run("replay", "--goal", goal["id"]).stdout.splitlines()
    assert re.fullmatch(r" +\d+  [\d-]+ [\d:]+  ben  completed “Run”  \(in the rain\)", told[-1])


def test_for_machines_the_history_told_is_what_the_service_streams(served: Served) -> None:
    served.make_user("cleo")
    served.make_goal("cleo", "Run")
    accept = {"Accept": "application/x-ndjson"}

    assert served.run("replay", "--json").stdout == served.client.get("/v2/events", headers=accept).text
    mine = served.client.get("/v2/events", params={"user": "cleo"}, headers=accept).text
    assert served.run("export", "--format", "ndjson", "--user", "cleo").stdout == mine
    assert served.run("replay", "--json", "--user", "cleo").stdout == mine


def test_an_export_is_the_tree_that_the_service_answers(served: Served) -> None:
    served.make_user("dora")
    served.make_goal("dora", "Run")

    assert served.run("export", "--user", "dora").stdout.rstrip("\n") == (
        served.client.get("/v2/users/dora/goals").text
    )


def test_upkeep_is_done_while_it_serves(served: Served) -> None:
    copy = str(served.folder / "copy")

    for command in (["rebuild"], ["rollback", "goal_tree"], ["verify"], ["backup", copy], ["verify"]):
        result = served.run(*command)
        assert (result.returncode, result.stderr) == (0, ""), command
    assert served.client.get("/v2/users").status_code == 200
