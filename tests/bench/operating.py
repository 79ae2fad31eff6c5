"""What an operator plans with: the time to start, the memory of a worker, the size of the log."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import apsw

from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.bench.peers.gunicorn import answers
from tests.bench.serving import NEW, Connection, connections, folded, goals_of
from tests.support.load import command_line
from tests.support.serving import free_port, wait_for

CLIENTS = 8  # of each worker

BYTES = """
    SELECT sum(octet_length(data) + octet_length(stream) + octet_length(command)
               + ifnull(octet_length(subject), 0) + ifnull(octet_length(actor), 0)),
           (SELECT sum(octet_length(key) + octet_length(command) + octet_length(digest)) FROM commands)
      FROM events
"""


def measure(bench: Bench) -> Iterator[Sample]:
    """All on a log of 1,000,000 events of 10,000 users."""
    events = 1_000 if bench.small else 1_000_000
    log = logs.made_log(bench, events)
    yield from _size(bench, log)
    yield bench.sample("operating.start", _start(log), "s")
    yield from _memory(bench, log, [f"user-{number}" for number in range(events // logs.EVENTS_A_USER)])


def _size(bench: Bench, log: Path) -> Iterator[Sample]:
    """The file over what is told by it. A command's key, id and digest are kept for repeats, once a command."""
    with closing(apsw.Connection(str(log))) as connection:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        told, kept = cast(tuple[int, int], connection.execute(BYTES).fetchall()[0])
    size = log.stat().st_size
    yield bench.sample("operating.size", size / told, "x")
    yield bench.sample("operating.size_with_commands", size / (told + kept), "x")


def _start(log: Path) -> float:
    """Seconds from the command to the first answer that says it takes commands."""
    port = free_port()
    command = [*command_line(log, "serve"), "--open", "--port", str(port)]
    began = time.monotonic()
    with (log.parent / "start.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)  # noqa: S603
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the service to be ready")
        return time.monotonic() - began
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _memory(bench: Bench, log: Path, users: Sequence[str]) -> Iterator[Sample]:
    """Of the larger worker, when each has served a command and a read for every user."""
    with folded(log.parent) as served, ExitStack() as stack:
        workers = served.workers()
        asked = [stack.enter_context(connections(served, worker, CLIENTS)) for worker in workers]
        with ThreadPoolExecutor(CLIENTS * len(workers)) as pool:
            shares = [(client, users[at::CLIENTS]) for clients in asked for at, client in enumerate(clients)]
            list(pool.map(_serve, *zip(*shares, strict=True)))
        for kind in ("Rss", "Pss"):
            yield bench.sample(f"operating.{kind.lower()}", max(_mebibytes(pid, kind) for pid in workers), "MiB")


def _serve(client: Connection, users: Sequence[str]) -> None:
    for user in users:
        client.timed("POST", goals_of(user), NEW)
        client.timed("GET", goals_of(user))


def _mebibytes(pid: int, kind: str) -> float:
    """Of a process: resident, or with what it shares divided among those who do."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024
