"""The same on PostgreSQL: over HTTP and in one process, next to bare loops that insert the same rows in the same
batches and to another library; and pages of events, next to a bare loop that asks for the same."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import psycopg

from es_goals.events import Event, Recorded
from es_goals.ids import wall_clock
from es_goals.storage import Storage, copying, open_log
from es_goals.storage.log import Cause, Log, Transaction, all_lines
from es_goals.storage.writer import Writer
from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.bench.http import PIECES, Load, creations, made_trees
from tests.bench.machine import POSTGRES, SETTINGS
from tests.bench.peers import eventsourced
from tests.bench.serving import folded, lags
from tests.bench.wrk import Run
from tests.support.engines import open_storage
from tests.support.postgres import Server
from tests.support.serving import wait_for

WAITING = 64
PAGE = 1000
THREADS = (1, 4, 16)
"""With which the other library is tried; the best counts."""

Row = tuple[Any, ...]
Connection = psycopg.Connection[Row]
Batch = Sequence[Row]

_NAMES = Recorded.__struct_fields__
_COLUMNS = ", ".join(_NAMES)
_TYPES = ("int8", "text", "int8", "text", "text", "int8", "text", "text", "text", "bytea")
_AT = _NAMES.index("at")
_READ = f"SELECT {_COLUMNS} FROM es_goals.events WHERE position > %s ORDER BY position LIMIT %s"
_INSERT = f"INSERT INTO es_goals.events ({_COLUMNS}) VALUES ({', '.join(['%s'] * len(_NAMES))})"
_COPY = f"COPY es_goals.events ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_COUNT = "UPDATE es_goals.counter SET position = %s, at = %s"
# What counts and what defends the log, and nothing else.
_BARE = "DROP TRIGGER events_come_next ON es_goals.events"


def measure(bench: Bench) -> Iterator[Sample]:
    """All of it on one server, in databases of their own."""
    with _server(bench) as server:
        yield from _over_http(bench, server)
        yield from _in_process(bench, server)
        yield from _other_library(bench, server)


@contextmanager
def _server(bench: Bench) -> Iterator[Server]:
    """As it comes. PostgreSQL does not run as root, and so a small run's is where anybody may go."""
    with TemporaryDirectory(dir=None if bench.small else bench.folder.absolute()) as folder:
        Path(folder).chmod(0o755)
        server = Server(POSTGRES, Path(folder, "server"))
        try:
            server.start()
            found = {name: server.execute(f"SHOW {name}")[0][0] for name in SETTINGS}
            assert found == SETTINGS, found
            yield server
        finally:
            server.stop()


@contextmanager
def _opened(url: str) -> Iterator[Storage]:
    storage = open_storage(url, wall_clock)
    try:
        yield storage
    finally:
        storage.close()


def _over_http(bench: Bench, server: Server) -> Iterator[Sample]:
    """Goals created from 64 connections, as on SQLite."""
    folder, trees = made_trees(bench)
    with server.database() as url:
        with _opened(url) as storage, closing(open_log(str(folder / "events.db"), wall_clock)) as source:
            copying.copy(source, storage.log, lambda *_: None)
        with folded(folder, db=url) as served:
            load, runs = Load("postgres.create", served.url, creations(trees), 201), list[Run]()

            def create(_: int) -> float:
                runs.append(load.put(bench.seconds / PIECES))
                wait_for(lambda: not any(lags(served)), "the new goals to be folded")
                return runs[-1].seconds

            yield from _in_turns(bench, server, load.name, url, create)
            yield bench.sample(f"{load.name}.p50", mean(run.p50 for run in runs[-PIECES:]), "ms")
            yield bench.sample(f"{load.name}.p99", mean(run.p99 for run in runs[-PIECES:]), "ms")


def _in_process(bench: Bench, server: Server) -> Iterator[Sample]:
    """Events appended for 64 who each wait for theirs; then pages of them."""
    with server.database() as url, _opened(url) as storage:
        streams = _streams(bench)
        share = len(streams[0]) // (PIECES + 1)

        def append(piece: int) -> float:
            parts = [stream[piece * share : (piece + 1) * share] for stream in streams]
            return asyncio.run(_appended(storage.log, parts))

        yield from _in_turns(bench, server, "postgres.writer", url, append)
        yield from _pages(bench, storage.log, url)


def _in_turns(bench: Bench, server: Server, name: str, url: str, ours: Callable[[int], float]) -> Iterator[Sample]:
    """Piece by piece: what ours does, and then each bare loop with what that added to the log."""
    loops = {"executemany": executemany, "copy": copy}
    events, batches, seconds = 0, 0, dict.fromkeys(("", *loops), 0.0)
    with ExitStack() as stack:
        log = stack.enter_context(psycopg.connect(url, autocommit=True))
        bare = {loop: stack.enter_context(_bare(server)) for loop in loops}
        for piece in range(1 if bench.small else PIECES + 1):
            before = log.execute("SELECT coalesce(max(position), 0) FROM es_goals.events").fetchall()[0][0]
            took = {"": ours(piece)}
            # All events of a batch have one time.
            rows = log.execute(_READ, (before, None), binary=True).fetchall()
            added = [list(batch) for _, batch in groupby(rows, itemgetter(_AT))]
            took |= {loop: _inserted(bare[loop], added, insert) for loop, insert in loops.items()}
            if piece or bench.small:  # at first they get warm
                events, batches = events + len(rows), batches + len(added)
                seconds = {loop: seconds[loop] + took[loop] for loop in took}
    yield bench.sample(f"{name}.batch", events / batches, "events")
    for loop, total in seconds.items():
        yield bench.sample(f"{name}.{loop}".removesuffix("."), events / total, "/s")


@contextmanager
def _bare(server: Server) -> Iterator[Connection]:
    """A connection to a database with the log's tables and indexes, without what defends them."""
    with server.database() as url:
        with _opened(url):
            pass
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_BARE)
            yield connection


def _inserted(connection: Connection, batches: Sequence[Batch], insert: Callable[[Connection, Batch], None]) -> float:
    """Seconds for all batches, each committed with where the log ends then."""
    began = perf_counter()
    for batch in batches:
        with connection.transaction():
            connection.execute(_COUNT, (batch[-1][0], batch[-1][_AT]))
            insert(connection, batch)
    return perf_counter() - began


def executemany(connection: Connection, batch: Batch) -> None:
    """As one does with psycopg: an INSERT a row, all sent at once."""
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, batch)


def copy(connection: Connection, batch: Batch) -> None:
    """As is fastest with psycopg where there are many."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as rows:
        rows.set_types(_TYPES)
        for row in batch:
            rows.write_row(row)


def _streams(bench: Bench) -> list[list[Recorded]]:
    """The goals of 64 users, as they are created one by one."""
    path = bench.folder / "streams" / "events.db"
    path.parent.mkdir()
    logs.trees(path, WAITING, 10 if bench.small else 250 * (PIECES + 1))
    streams: dict[str, list[Recorded]] = {}
    with closing(open_log(str(path), wall_clock)) as log:
        for line in all_lines(log):
            if line.subject is not None:
                streams.setdefault(line.stream, []).append(line)
    return list(streams.values())


async def _appended(log: Log, streams: Sequence[Sequence[Recorded]]) -> float:
    """Seconds for all; an event is submitted when the one before it in its stream is on disk."""
    works = [[partial(_append, line, line.event) for line in stream] for stream in streams]
    writer = Writer(log, lambda _: None, lambda _: None, _nothing, lambda _: None)

    async def submit(stream: Sequence[Callable[[Transaction], object]]) -> None:
        for work in stream:
            await writer.submit(work)

    try:
        began = perf_counter()
        await asyncio.gather(*map(submit, works))
        return perf_counter() - began
    finally:
        writer.close()


def _append(line: Recorded, event: Event, transaction: Transaction) -> None:
    transaction.append(line.stream, line.version - 1, [event], Cause(line.command))


def _nothing() -> None:
    pass


def _pages(bench: Bench, log: Log, url: str) -> Iterator[Sample]:
    """Events a second, in turns page by page: ours; and bare, as text and as they are kept."""
    with psycopg.connect(url, autocommit=True) as connection:
        ways: dict[str, Callable[[int], object]] = {
            "": lambda after: log.read(after, PAGE),
            ".text": lambda after: connection.execute(_READ, (after, PAGE)).fetchall(),
            ".binary": lambda after: connection.execute(_READ, (after, PAGE), binary=True).fetchall(),
        }
        starts = range(0, max(log.head().position - PAGE, 1), PAGE)
        seconds = dict.fromkeys(ways, 0.0)
        for turn in range(1 if bench.small else 6):
            for after in starts:
                for way, read in ways.items():
                    began = perf_counter()
                    read(after)
                    seconds[way] += (perf_counter() - began) * bool(turn or bench.small)  # at first they get warm
    for way, total in seconds.items():
        yield bench.sample(f"postgres.page{way}", (1 if bench.small else 5) * len(starts) * PAGE / total, "/s")


def _other_library(bench: Bench, server: Server) -> Iterator[Sample]:
    """An event a transaction, from as many threads as do it best."""
    found = []
    for threads in THREADS:
        with server.database() as url:
            found.append(eventsourced.append_to_postgres(url, 64 if bench.small else 3_000, threads))
    yield bench.sample("postgres.eventsourcing", max(found), "/s")
