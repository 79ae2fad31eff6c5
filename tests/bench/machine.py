"""What the benchmark ran on, and what it cannot do without."""

import os
import platform
import shutil
import sqlite3
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import apsw
import psycopg
from msgspec import Struct

from tests.bench.wrk import WrkMissing, program
from tests.support.engines import ROOT
from tests.support.postgres import binaries, found

POSTGRES = "18"
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""Of PostgreSQL's, which it must come with."""
MODULES = ("eventsourcing", "flask", "flask_restful", "flask_sqlalchemy", "matplotlib")
PACKAGES = (
    "apsw", "falcon", "gunicorn", "msgspec", "psycopg", "uvloop",
    "eventsourcing", "flask", "flask-restful", "flask-sqlalchemy", "sqlalchemy",
)  # fmt: skip
DURABILITY = {
    "es-goals": "SQLite WAL, synchronous=FULL: an answered command is on disk",
    "original": "SQLite rollback journal, synchronous=FULL: SQLite's defaults, as Flask-SQLAlchemy leaves them",
    "eventsourcing": "SQLite WAL, synchronous=FULL: what its recorder sets and SQLite's default; PostgreSQL as below",
    "postgres": f"PostgreSQL {POSTGRES} as it comes: {', '.join(map('='.join, SETTINGS.items()))}",
    "ceiling": "nothing is stored",
}


class Machine(Struct, frozen=True):
    """Memory in MiB; `disk` is the file system under the folder of the measured files."""

    cpu: str
    cores: int
    memory: int
    kernel: str
    disk: str
    commit: str
    versions: dict[str, str]
    durability: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        lines = [
            f"{self.cpu}, {self.cores} cores, {self.memory:,} MiB, Linux {self.kernel}, {self.disk}",
            f"{versions}; commit {self.commit}",
            *(f"{name}: {how}" for name, how in self.durability.items()),
        ]
        return "\n".join(lines)


def missing() -> str | None:
    """What is not there, and how to get it; None if all is."""
    try:
        program()
    except WrkMissing as error:
        return str(error)
    absent = [name for name in MODULES if find_spec(name) is None]
    if absent:
        return f"expected {', '.join(absent)}; found none (pip install -e '.[bench]')"
    if found(POSTGRES) is None:
        return f"expected the programs of PostgreSQL {POSTGRES}; found none (pip install -e '.[test]')"
    return None


def described(folder: Path) -> Machine:
    """This machine, and the versions that run on it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    versions = {"python": platform.python_version(), "its sqlite, for the peers": sqlite3.sqlite_version}
    versions["apsw's sqlite, for es-goals"] = apsw.sqlite_lib_version()
    versions |= {name: version(name) for name in PACKAGES}
    versions["postgres"] = f"{_postgres()} with libpq {psycopg.pq.version_pretty(psycopg.pq.version())}"
    cores = len(os.sched_getaffinity(0))
    return Machine(_cpu(), cores, memory, platform.release(), _disk(folder), _commit(), versions, DURABILITY)


def _postgres() -> str:
    command = [str(binaries(POSTGRES) / "postgres"), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]  # noqa: S603


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _disk(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    device, _, kind, options, *_ = max(under, key=lambda mount: len(Path(mount[1]).parts))
    return f"{kind} on {device} ({options})"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*arguments: str) -> str:
        asked = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True)  # noqa: S603
        return asked.stdout.strip()

    return f"{ask('rev-parse', 'HEAD') or 'unknown'}{', changed since' if ask('status', '--porcelain') else ''}"
