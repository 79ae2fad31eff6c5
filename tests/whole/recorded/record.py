"""Makes the log and the recorded answers anew.

    python -m tests.whole.recorded.record log PYTHON
    python -m tests.whole.recorded.record answers PYTHON [ID | SCENARIO]...
    python -m tests.whole.recorded.record differences WHY [ID | SCENARIO]...

PYTHON is that of a checkout of version 1.3.0, `.venv/bin/python` behind `make .venv/test` there. `log` makes the log
with it, the same bytes again. `answers` asks it what no answer is recorded for, and what is named; of whatever else is
answered in another way it tells. `differences` asks this version, and keeps its answers to what is named as others on
purpose, or no more where they are as 1.3.0's again.

A new request is a line in a scenario, without an answer; one that changes something stands best at the end.
"""

import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Set
from pathlib import Path

from msgspec import UNSET

from tests.whole.recorded import exchanges
from tests.whole.recorded.exchanges import Difference
from tests.whole.recorded.history import BEGIN, History, write
from tests.whole.recorded.playing import ARCHIVE, KEYS, play, unpack

KEPT = ("events.db", "projections.db", "sessions.db", "backup/events.db", "backup/manifest.json", KEYS)


def log(python: str) -> None:
    """Make the log."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        history = History(folder, Path(python))
        write(history)
        (folder / KEYS).write_text(json.dumps(history.keys, indent=1))
        left = [path.name for path in folder.rglob("*-wal")]
        assert not left, f"expected all to be in the databases; found {left}"
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for name in KEPT:
                _add(archive, name, (folder / name).read_bytes())
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size} bytes")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), BEGIN, 0o600
    archive.addfile(member, io.BytesIO(data))


def answers(python: str, ids: Set[str]) -> None:
    """Record what is named, and what was not answered yet; tell what else is answered in another way."""
    for name in exchanges.names():
        scenario, asked = exchanges.read(name)
        with tempfile.TemporaryDirectory() as folder:
            unpack(Path(folder))
            for exchange, found in play(scenario, asked, Path(folder), python=python):
                if exchange.answer is UNSET or not ids.isdisjoint((name, exchange.id)):
                    exchange.answer = found
                elif told := exchanges.compared(exchange, exchange.answer, found):
                    print(told)
        exchanges.write(name, scenario, asked)


def differences(why: str, ids: Set[str]) -> None:
    """Keep what this version answers otherwise."""
    known = exchanges.differences()
    for name in exchanges.names():
        scenario, asked = exchanges.read(name)
        if ids.isdisjoint((name, *(one.id for one in asked))):
            continue
        with tempfile.TemporaryDirectory() as folder:
            unpack(Path(folder))
            for exchange, found in play(scenario, asked, Path(folder)):
                if ids.isdisjoint((name, exchange.id)):
                    continue
                known.pop(exchange.id, None)
                if exchanges.compared(exchange, exchange.answer, found):
                    known[exchange.id] = Difference(exchange.id, why, found)
    exchanges.keep_differences(known)


def main(what: str = "", first: str = "", *ids: str) -> None:
    """Do it."""
    match what:
        case "log":
            log(first)
        case "answers":
            answers(first, set(ids))
        case "differences":
            differences(first, set(ids))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
