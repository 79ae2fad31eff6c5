"""Folding a read model anew: how fast, in how much memory, and what readers notice of it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

from msgspec import Struct

from tests.bench import logs
from tests.bench.bench import Bench, Sample
from tests.bench.serving import folded, goals_of, repeated
from tests.bench.wrk import Run, request, wrk
from tests.support.load import command_line

LENGTHS = (10_000, 100_000, 1_000_000)


class Rebuilding(Struct, frozen=True):
    """How it went: events a second as it says itself and by the clock, with the interpreter's start; peak MiB."""

    rate: float
    wall: float
    rss: float


def measure(bench: Bench) -> Iterator[Sample]:
    """On logs of all lengths, whose read models are at their end; on the longest one also beside readers."""
    for length in (500, 1_000) if bench.small else LENGTHS:
        log = logs.made_log(bench, length)
        found = rebuilt(log, length)
        yield bench.sample(f"rebuild.{length}", found.rate, "/s")
        yield bench.sample(f"rebuild.{length}.wall", found.wall, "/s")
        yield bench.sample(f"rebuild.{length}.rss", found.rss, "MiB")
    yield from _readers(bench, log, length)


def rebuilt(log: Path, events: int) -> Rebuilding:
    """Run the command on a log of so many events."""
    output, began = log.with_name("rebuild.txt"), perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(command_line(log, "rebuild", "goal_tree"), stdout=file, stderr=file)  # noqa: S603
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        sleep(0.005)
    seconds, said = perf_counter() - began, output.read_text()
    told = re.search(r"([\d,]+) a second", said)
    assert told is not None, said
    assert process.returncode == 0, said
    assert "equal to the old rows" in said, said
    return Rebuilding(float(told.group(1).replace(",", "")), events / seconds, peak)


def _peak(pid: int) -> float:
    """MiB that a process had at most until now. What `wait4` tells is no less than what its parent had when it was
    started."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _readers(bench: Bench, log: Path, events: int) -> Iterator[Sample]:
    """Reads of all users' trees, before and while it is rebuilt, again and again if need be."""
    users = [f"user-{number}" for number in range(events // logs.EVENTS_A_USER)]
    requests = [request("GET", goals_of(user)) for user in users]
    with folded(log.parent) as served:

        def read(seconds: float) -> Run:
            return wrk(served.url, requests, 200, seconds, threads=1, connections=4)

        read(bench.seconds / 4)
        before = read(bench.seconds)
        with repeated(lambda: rebuilt(log, events)):
            during = read(bench.seconds)
    for name, run in (("readers", before), ("readers_during", during)):
        yield bench.sample(f"rebuild.{name}", run.rate, "/s")
        yield bench.sample(f"rebuild.{name}.p99", run.p99, "ms")
