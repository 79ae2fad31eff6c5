"""docker-compose.yml: what its containers would run is run here, without the containers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from ruamel.yaml import YAML

from tests.support.engines import ROOT
from tests.support.needs import needs
from tests.support.postgres import VERSIONS, _demoted, binaries
from tests.support.serving import PATIENCE, free_port, refused, wait_for

SERVICES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")["services"]
IMAGE = dict(re.findall(r"^(ENTRYPOINT|CMD) (.+)$", SERVICES["es-goals"]["build"]["dockerfile_inline"], re.MULTILINE))
GUIDE = (ROOT / "docs" / "many-machines.md").read_text("utf-8")
PORTS = ("5441", "5442", "8001", "8002", "8080")
TOKEN = "esgt_[0-9a-f]{64}"  # noqa: S105
VERSION = SERVICES["primary"]["image"].removeprefix("postgres:")


class Container:
    """What a service's container runs, with folders and ports of the test's own in place of the container's."""

    def __init__(self, name: str, folder: Path, ports: dict[str, str], **more: str) -> None:
        self._service, self._folder = SERVICES[name], folder / name
        self._places = {**ports, "/run/secrets": str(folder / "secrets"), "/tmp": str(self._folder)}  # noqa: S108
        self._places |= {entry.split(":")[1]: str(self._folder) for entry in self._service.get("volumes", [])}
        self._as_nobody: dict[str, Any] = {} if self._service["image"] == "over-achiever" else _demoted()
        self._folder.mkdir()
        if self._as_nobody:
            shutil.chown(self._folder, "nobody", "nogroup")
        programs = [*([str(binaries(VERSION))] if "PGDATA" in self._service.get("environment", {}) else []),
                    str(Path(sys.executable).parent), os.environ["PATH"]]  # fmt: skip
        given = {key: self.here(value) for key, value in self._service.get("environment", {}).items()}
        self._env = {**os.environ, "PATH": ":".join(programs), **given, **more}
        self.process: subprocess.Popen[bytes] | None = None

    def here(self, text: str) -> str:
        """A text of the file as the container has it, with the places of this test."""
        places = "|".join(map(re.escape, self._places))
        return re.sub(places, lambda found: self._places[found[0]], text.replace("$$", "$"))

    def start(self) -> None:
        """Begin."""
        entrypoint = self._service.get("entrypoint") or json.loads(IMAGE["ENTRYPOINT"])
        words = [*entrypoint, *(self._service.get("command") or json.loads(IMAGE["CMD"]))]
        command = [self.here(word) for word in words]
        with (self._folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                command, env=self._env, stdout=output, stderr=output, cwd="/", start_new_session=True, **self._as_nobody
            )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command, as `docker compose exec` would."""
        words = [self.here(word) for word in command]
        return subprocess.run(  # noqa: S603
            words, env=self._env, cwd="/", capture_output=True, text=True, timeout=PATIENCE, **self._as_nobody
        )

    def wait_until_healthy(self) -> None:
        """As its health check says."""
        kind, *command = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        wait_for(lambda: self.runs() and self.run(*command).returncode == 0, "the container to be healthy")

    def runs(self) -> bool:
        """It does, or the test fails with what it said."""
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        return True

    def output(self) -> str:
        """What it said."""
        return (self._folder / "output.txt").read_text()

    def ends(self) -> int:
        """Wait for its end; answers the exit status."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once; PostgreSQL by the signal that leaves nothing in shared memory."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGQUIT if "PGDATA" in self._env else signal.SIGKILL)
            self.process.wait(PATIENCE)

    def lose_volume(self) -> None:
        """All that it had on disk."""
        shutil.rmtree(self._folder / "data")


@contextmanager
def reachable() -> Iterator[Path]:
    """A folder that also PostgreSQL can reach, which does not run as root. In memory where that can be: these servers
    wait for the disk at each step."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="es-goals-compose-", dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def make_secrets(folder: Path, ports: dict[str, str]) -> None:
    """As the guide says, line by line; containers have the files only, which their users must be able to read."""
    needs("openssl")
    [commands] = re.findall(r"^```\n(\$ mkdir .+?)^\$ docker compose build$", GUIDE, re.MULTILINE | re.DOTALL)
    script = re.sub(r"^\$ ", "", commands, flags=re.MULTILINE)
    script = re.sub("|".join(ports), lambda found: ports[found[0]], script)
    subprocess.run(["sh", "-euc", script], cwd=folder, check=True, timeout=PATIENCE)  # noqa: S603, S607
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    (folder / "secrets").chmod(0o755)


def free_ports() -> dict[str, str]:
    """For each port of the file one that is free."""
    return {port: str(free_port()) for port in PORTS}


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable() as folder:
        yield folder


@pytest.fixture
def ports() -> dict[str, str]:
    return free_ports()


class Started(NamedTuple):
    """All containers, the ports that they have, and the administrator's client of the proxy."""

    containers: dict[str, Container]
    ports: dict[str, str]
    client: httpx2.Client
    service: str
    """The password of the nodes' role."""

    def told(self) -> list[str]:
        """The tokens that nodes told when they began."""
        return re.findall(TOKEN, "".join(self.containers[name].output() for name in ("node-1", "node-2")))


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """Begun in the order that the file asks for."""
    needs("nginx")
    few, ports = {"ES_GOALS_WORKERS": "1", "ES_GOALS_LOG_LEVEL": "warning"}, free_ports()
    with reachable() as folder, ExitStack() as ending:
        make_secrets(folder, ports)
        found = {name: Container(name, folder, ports, **few) for name in SERVICES if name != "es-goals"}
        for container in found.values():
            ending.callback(container.kill)
        for name in ("primary", "standby"):
            found[name].start()
            found[name].wait_until_healthy()
        found["migrate"].start()
        assert found["migrate"].ends() == 0, found["migrate"].output()
        for name in ("node-1", "node-2", "proxy"):
            found[name].start()
        for name in ("node-1", "node-2"):
            found[name].wait_until_healthy()
        client = ending.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{ports['8080']}", timeout=30))
        started = Started(found, ports, client, (folder / "secrets" / "service").read_text().strip())
        client.headers["Authorization"] = f"Bearer {started.told()[0]}"
        yield started


def ask(container: Container, question: str, database: str = "postgres") -> str:
    """A question to a database by its superuser, who comes from inside only."""
    done = container.run("psql", "--username=postgres", f"--dbname={database}", "-Atc", question)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refusal(url: str) -> str:
    """Why a database does not let somebody in."""
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(url)
    return str(refused.value)


def acknowledged(client: httpx2.Client, name: str) -> None:
    """Sends a command until it is acknowledged."""

    def sent() -> bool:
        answer = client.post("/v2/users/alice/goals", json={"name": name}, headers={"Idempotency-Key": name})
        assert answer.status_code in (201, 503), answer.text
        assert answer.status_code == 201 or answer.headers["Retry-After"] == "1"
        return answer.status_code == 201

    wait_for(sent, f"{name} to be acknowledged")


def test_nobody_gets_into_the_databases_without_a_password(started: Started) -> None:
    at = f"127.0.0.1:{started.ports['5441']}"

    for role in ("postgres", "goals_owner", "goals", "standby"):
        assert "no password supplied" in refusal(f"postgresql://{role}@{at}/goals")
        assert "authentication failed" in refusal(f"postgresql://{role}:postgres@{at}/goals")
    assert "authentication failed" in refusal(f"postgresql://goals_owner:{started.service}@{at}/goals")
    psycopg.connect(f"postgresql://goals:{started.service}@{at}/goals").close()


def test_the_nodes_role_cannot_change_what_was_recorded(started: Started) -> None:
    url = f"postgresql://goals:{started.service}@127.0.0.1:{started.ports['5441']}/goals"

    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM es_goals.events")


def test_a_nodes_events_come_through_the_proxy_at_once(started: Started) -> None:
    with started.client.stream("GET", "/v2/events", headers={"Accept": "text/event-stream"}) as answer:
        parts = answer.iter_text()
        assert next(parts).startswith(": the log, live")
        assert started.client.post("/v2/users", json={"name": "live"}).status_code == 201
        assert "UserRegistered" in next(parts)


def test_nodes_tell_proxies_not_to_hold_events_back(started: Started) -> None:
    node = f"http://127.0.0.1:{started.ports['8002']}/v2/events"

    with started.client.stream("GET", node, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["X-Accel-Buffering"] == "no"
    assert "X-Accel-Buffering" not in started.client.get(node).headers


def test_of_two_nodes_that_begin_at_once_one_makes_the_administrator_and_tells_a_token(started: Started) -> None:
    question = "SELECT count(*) FROM es_goals.users WHERE role = 'administrator'"

    assert len(started.told()) == 1
    assert ask(started.containers["primary"], question, "goals") == "1"


def test_nobody_gets_in_without_a_token_at_the_proxy_or_behind_it(started: Started) -> None:
    for port in ("8080", "8001", "8002"):
        for headers in ({}, {"Authorization": "Bearer esgt_" + "0" * 64}, {"X-Forwarded-For": "127.0.0.1"}):
            refused(httpx2.get(f"http://127.0.0.1:{started.ports[port]}/v2/users", headers=headers), 401,
                    "unauthenticated")  # fmt: skip


def test_the_first_token_is_replaced_as_the_guide_says(started: Started) -> None:
    commands = re.findall(r"^\$ docker compose --profile many exec node-1 (.+)$", GUIDE, re.MULTILINE)

    done = [started.containers["node-1"].run(*command.split()) for command in commands]

    assert [one.stderr for one in done] == ["", ""]
    refused(started.client.get("/v2/users"), 401, "unauthenticated")
    started.client.headers["Authorization"] = f"Bearer {done[-1].stdout.strip()}"
    assert started.client.get("/v2/users").status_code == 200


def test_no_password_is_where_processes_show_what_they_were_started_with(started: Started) -> None:
    process = started.containers["node-1"].process
    assert process is not None

    for kind in ("cmdline", "environ"):
        assert started.service.encode() not in Path(f"/proc/{process.pid}/{kind}").read_bytes()


def test_the_single_node_tells_a_token_once_and_serves_who_has_it(folder: Path) -> None:
    port = str(free_port())
    node = Container("es-goals", folder, {"8000": port}, ES_GOALS_WORKERS="1")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            for _ in range(2):
                node.start()
                node.wait_until_healthy()
                [token] = re.findall(TOKEN, node.output())
                assert client.get("/v2/users").status_code == 401
                assert client.get("/v2/users", headers={"Authorization": f"Bearer {token}"}).status_code == 200
                node.kill()
        finally:
            node.kill()

    assert {"events.db", "projections.db", "sessions.db"} <= {path.name for path in (folder / "es-goals").iterdir()}


def test_it_outlives_a_node_and_its_primary(started: Started) -> None:
    primary, standby, client = started.containers["primary"], started.containers["standby"], started.client
    assert client.post("/v2/users", json={"name": "alice"}).status_code == 201
    assert ask(primary, "SELECT application_name, sync_state FROM pg_stat_replication") == "standby|sync"
    started.containers["node-1"].kill()
    acknowledged(client, "without a node")
    primary.kill()
    assert standby.run("pg_ctl", "promote").returncode == 0
    acknowledged(client, "without the primary")
    primary.start()
    assert primary.ends() == 1
    assert "the other one was promoted" in primary.output()
    primary.lose_volume()
    primary.start()
    primary.wait_until_healthy()
    ask(standby, "ALTER SYSTEM SET synchronous_standby_names = 'primary'")
    ask(standby, "SELECT pg_reload_conf()")
    acknowledged(client, "with a standby again")

    assert ask(primary, "SELECT pg_is_in_recovery()") == "t"
    assert ask(standby, "SELECT application_name, sync_state FROM pg_stat_replication") == "primary|sync"
    assert ask(primary, "SELECT count(*) FROM es_goals.commands", "goals") == "3"


def test_a_standby_waits_for_a_primary_to_copy(folder: Path, ports: dict[str, str]) -> None:
    standby = Container("standby", folder, ports)
    standby.start()

    assert standby.ends() == 1
    assert "found none that could be asked" in standby.output()
    assert not (folder / "standby" / "data").exists()


def test_the_databases_are_of_a_version_that_is_tested() -> None:
    assert SERVICES["standby"]["image"] == SERVICES["primary"]["image"]
    assert VERSION in VERSIONS


class Node(BaseHTTPRequestHandler):
    """Stands for a node: /dies gets no answer, /live one that goes on, /large one of 8 MiB."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[int, str, str]]] = []
    forwarded: ClassVar[list[tuple[str, str]]] = []
    bodies: ClassVar[list[bytes]] = []
    done: ClassVar[threading.Event]

    def answer(self) -> None:
        """To every method."""
        self.seen.append((self.connection.getsockname()[1], self.command, self.headers["Host"]))
        self.forwarded.append((self.headers["X-Forwarded-For"], self.headers["X-Forwarded-Proto"]))
        self.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.close_connection = True
        if self.path != "/dies":
            self.send_response(200)
            self.send_header("Connection", "close")
            getattr(self, f"answer_{self.path[1:]}")()

    do_GET = do_POST = do_PATCH = answer  # noqa: N815

    def answer_whole(self) -> None:
        """Two bytes."""
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def answer_live(self) -> None:
        """An event, and nothing else until the test has seen it."""
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("X-Accel-Buffering", "no")
        self.end_headers()
        self.wfile.write(b"id: 1\n\n")
        self.done.wait(PATIENCE)

    def answer_large(self) -> None:
        """Tells when it is rid of it."""
        self.send_header("Content-Length", str(8 << 20))
        self.end_headers()
        self.wfile.write(bytes(8 << 20))
        self.done.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def node(port: str) -> Iterator[None]:
    """One, on a port."""
    with ThreadingHTTPServer(("127.0.0.1", int(port)), Node) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy(folder: Path, ports: dict[str, str]) -> Iterator[str]:
    """Where the proxy is, in front of nobody yet."""
    needs("nginx")
    Node.seen, Node.forwarded, Node.bodies, Node.done = [], [], [], threading.Event()
    container = Container("proxy", folder, ports)
    container.start()
    address = ("127.0.0.1", int(ports["8080"]))
    try:
        wait_for(lambda: container.runs() and accepts(address), "the proxy to listen")
        yield f"http://127.0.0.1:{ports['8080']}"
    finally:
        Node.done.set()
        container.kill()


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_command_that_may_have_been_done_is_not_sent_to_the_other_node(
    proxy: str, ports: dict[str, str], method: str
) -> None:
    with node(ports["8001"]), node(ports["8002"]):
        answer = httpx2.request(method, f"{proxy}/dies", content=b"once")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    assert len(Node.seen) == 1


def test_a_read_that_a_node_did_not_answer_is_asked_of_the_other_one(proxy: str, ports: dict[str, str]) -> None:
    with node(ports["8001"]), node(ports["8002"]):
        answer = httpx2.get(f"{proxy}/dies")

    assert answer.status_code == 503
    assert {port for port, *_ in Node.seen} == {int(ports["8001"]), int(ports["8002"])}


def test_a_command_goes_to_the_node_that_is_there(proxy: str, ports: dict[str, str]) -> None:
    with node(ports["8002"]):
        statuses = {httpx2.post(f"{proxy}/whole", content=b"").status_code for _ in range(4)}

    assert statuses == {200}
    assert len(Node.seen) == 4


def test_the_nodes_see_the_host_that_the_client_named(proxy: str, ports: dict[str, str]) -> None:
    with node(ports["8001"]):
        httpx2.get(f"{proxy}/whole")
        httpx2.get(f"{proxy}/whole", headers={"Host": "evil.example"})

    assert [host for _, _, host in Node.seen] == [f"127.0.0.1:{ports['8080']}", "evil.example"]


def test_the_nodes_see_where_a_client_is_and_not_where_it_says_that_it_is(proxy: str, ports: dict[str, str]) -> None:
    with node(ports["8001"]):
        httpx2.get(f"{proxy}/whole")
        httpx2.get(f"{proxy}/whole", headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})

    assert Node.forwarded == [("127.0.0.1", "http")] * 2


def test_a_node_sees_no_request_before_all_of_it_is_there(proxy: str, ports: dict[str, str]) -> None:
    head = b"POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
    with node(ports["8001"]), socket.create_connection(("127.0.0.1", int(ports["8080"])), PATIENCE) as slow:
        slow.sendall(head + b"half")
        httpx2.get(f"{proxy}/whole")
        assert [method for _, method, _ in Node.seen] == ["GET"]
        slow.sendall(b"half")
        assert slow.recv(1024).startswith(b"HTTP/1.1 200")

    assert Node.bodies == [b"", b"halfhalf"]


def test_a_node_is_rid_of_its_answer_before_a_slow_client_reads_it(proxy: str, ports: dict[str, str]) -> None:
    address = urlsplit(proxy)
    with node(ports["8001"]), socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((address.hostname, address.port))
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert Node.done.wait(PATIENCE)


def test_events_are_handed_on_at_once(proxy: str, ports: dict[str, str]) -> None:
    with node(ports["8001"]), httpx2.stream("GET", f"{proxy}/live", timeout=PATIENCE) as answer:
        assert next(answer.iter_bytes()) == b"id: 1\n\n"
        Node.done.set()
