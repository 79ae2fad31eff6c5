"""What the disk, SQLite and another library can do, and how fast our log is read: each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import get_args

import apsw
import click
import msgspec

from es_goals.events import Event, Recorded
from es_goals.ids import wall_clock
from es_goals.storage import open_log
from es_goals.storage.log import all_lines
from tests.bench.bench import Bench, Sample
from tests.bench.logs import kept_log
from tests.bench.peers import eventsourced
from tests.support.engines import ROOT

EVENTS = 1_000_000
BLOCK = os.urandom(4096)
BLOCKS = 1000  # of a write-ahead log that is begun anew

_COLUMNS = ", ".join(Recorded.__struct_fields__)
_ALL = f"SELECT {_COLUMNS} FROM events ORDER BY position"
_SOME = f"{_ALL} LIMIT ?"
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES ({', '.join('?' * len(Recorded.__struct_fields__))})"


def measure(bench: Bench) -> Iterator[Sample]:
    """All of them, one behind the other."""
    log = kept_log(bench.logs, 1_000 if bench.small else EVENTS) / "events.db"
    names = list(limits(log, bench.folder, bench.small))
    # Where no number means anything, one process is enough.
    for group in [names] if bench.small else [[name] for name in names]:
        arguments = [log, bench.folder.absolute(), *group, *(["--small"] if bench.small else [])]
        command = [sys.executable, "-m", "tests.bench.limits", *map(str, arguments)]
        said = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout  # noqa: S603
        for name, rate in zip(group, said.split(), strict=True):
            yield bench.sample(f"limits.{name}", float(rate), "/s")


def limits(log: Path, scratch: Path, small: bool) -> Mapping[str, Callable[[], float]]:
    """What can be measured, with the log and a file that is not there yet."""
    few, many, own = (20, 500, 400) if small else (2_000, 50_000, 20_000)
    return {
        "fsync": lambda: fsync(scratch, few),
        "insert_1": lambda: insert(log, scratch, few, 1),
        "insert_100": lambda: insert(log, scratch, many, 100),
        "scan": lambda: scan(log),
        "scan_decode": lambda: scan_decode(log),
        "replay": lambda: replay(log),
        "eventsourcing_append": lambda: eventsourced.append(scratch, few),
        "eventsourcing_read": lambda: eventsourced.read(scratch, own),
    }


def fsync(path: Path, count: int) -> float:
    """Blocks a second that are written over old ones and synced, one by one."""
    with path.open("wb+", buffering=0) as file:
        file.write(BLOCK * BLOCKS)
        os.fsync(file.fileno())
        began = perf_counter()
        for number in range(count):
            os.pwrite(file.fileno(), BLOCK, number % BLOCKS * len(BLOCK))
            os.fsync(file.fileno())
        return count / (perf_counter() - began)


def insert(log: Path, path: Path, count: int, at_once: int) -> float:
    """Events a second into our tables, so many in a transaction: the first ones of the log."""
    with closing(apsw.Connection(str(log), apsw.SQLITE_OPEN_READONLY)) as connection:
        rows = list(connection.execute(_SOME, (count,)))
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.execute(resources.files("es_goals.storage").joinpath("sqlite/log.sql").read_text("utf-8"))
        began = perf_counter()
        for first in range(0, count, at_once):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows[first : first + at_once])
            connection.execute("COMMIT")
        return count / (perf_counter() - began)


def scan(log: Path) -> float:
    """Rows of events a second."""
    with closing(apsw.Connection(str(log), apsw.SQLITE_OPEN_READONLY)) as connection:
        began = perf_counter()
        count = sum(1 for _ in connection.execute(_ALL))
        return count / (perf_counter() - began)


def scan_decode(log: Path) -> float:
    """The same, each decoded to its type."""
    decoders = {kind.__name__: msgspec.json.Decoder(kind) for kind in get_args(Event)}
    kind, data = (Recorded.__struct_fields__.index(name) for name in ("type", "data"))
    with closing(apsw.Connection(str(log), apsw.SQLITE_OPEN_READONLY)) as connection:
        began, count = perf_counter(), 0
        for row in connection.execute(_ALL):
            decoders[row[kind]].decode(row[data])
            count += 1
        return count / (perf_counter() - began)


def replay(log: Path) -> float:
    """Events a second as our code reads and decodes them."""
    with closing(open_log(str(log), wall_clock)) as opened:
        began, count = perf_counter(), 0
        for line in all_lines(opened):
            line.event  # noqa: B018
            count += 1
        return count / (perf_counter() - began)


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--small", is_flag=True)
def main(log: Path, folder: Path, names: Sequence[str], small: bool) -> None:
    """Measure some of the limits."""
    with log.open("rb", buffering=0) as file:
        while file.read(2**20):  # from the disk into memory, which takes no part in this
            pass
    for name in names:
        click.echo(limits(log, folder / name, small)[name]())


if __name__ == "__main__":
    main()
