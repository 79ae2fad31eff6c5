"""The command line as tests call it, in this process or as a real one, and logs for it to work on."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from es_goals.cli import main
from es_goals.events import Event, UserRegistered, account_stream
from es_goals.proving.digest import event_bytes
from es_goals.storage import Storage
from es_goals.storage.log import Cause, Clock, User
from es_goals.upkeep.verification import lines
from tests.support.engines import NOW, HandClock, open_storage
from tests.support.histories import record, tree_hash

OUTLINE: dict[str, list[dict[str, Any]]] = {
    "goals": [
        {
            "name": "Run a marathon",
            "description": "in Berlin,\nin the rain",
            "sub_goals": [
                {"name": "Run 10 km", "status": "done"},
                {"name": "Run 21 km", "sub_goals": [{"name": "Buy shoes"}]},
            ],
        },
        {"name": "Read <&\"'> „Ulysses“ 📚"},
    ]
}
DRAWN = """\
alice
├── · Run a marathon  1/2
│   ├── ✔ Run 10 km
│   └── · Run 21 km  0/1
│       └── · Buy shoes
└── · Read <&"'> „Ulysses“ 📚
"""


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the test's own folder, and without variables that mean something to the command line."""
    for name in list(os.environ):
        if name == "PORT" or name.startswith("ES_GOALS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def cli(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Runs a command in this process, whose logs it must not set up, and which is in no less of a hurry after it."""
    with mock.patch("es_goals.cli.configure"), mock.patch("os.nice", return_value=0), capture_logs():
        return CliRunner(catch_exceptions=False).invoke(main, arguments, input=stdin)


def on(db: object, *arguments: str | Path, stdin: str | None = None) -> Result:
    """The same, on this database."""
    return cli("--db", str(db), *map(str, arguments), stdin=stdin)


def process(*arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a real process."""
    command = [sys.executable, "-m", "es_goals", *arguments]
    return subprocess.run(  # noqa: S603
        command, input=stdin, capture_output=True, text=True, env={**os.environ, **env}, timeout=60
    )


def done(result: Result) -> str:
    """What a command that did what it was told printed."""
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def refused(result: Result) -> str:
    """Why a command did nothing: exit status 1, and one sentence on standard error."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    return sentence(result.stderr)


def misused(result: Result) -> str:
    """What was wrong with how a command was called: exit status 2, and a sentence behind the usage."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    usage, _, error = result.stderr.rpartition("\n\n")
    assert usage.startswith("Usage: ")
    return sentence(error)


def sentence(text: str) -> str:
    """The one line of an error."""
    assert re.fullmatch(r"Error: .+\n", text), text
    return text.removeprefix("Error: ").rstrip("\n")


@contextmanager
def opened(path: str = "events.db", clock: Clock | None = None) -> Iterator[Storage]:
    """The storage in the test's folder; its clock stands still if not told otherwise."""
    storage = open_storage(path, clock or HandClock())
    try:
        yield storage
    finally:
        storage.close()


def add_user(storage: Storage, name: str) -> str:
    """A user; answers the id, which is `id-of-<name>`."""
    user = User(f"id-of-{name}", name, None, NOW)
    with storage.log.writing() as transaction:
        transaction.append(account_stream(user.id), 0, [UserRegistered(user.id)], Cause("registration"))
        transaction.add_user(user)
    return user.id


def make(*events: Event, user: str = "alice", path: str = "events.db", clock: Clock | None = None) -> None:
    """A log with a user, at position 1, and the user's events."""
    with opened(path, clock) as storage:
        user_id = add_user(storage, user)
        if events:
            record(storage.log, user_id, *events)


def head(path: str = "events.db") -> str:
    """The log's head as it must be printed."""
    with opened(path) as storage:
        whole = list(lines(storage.log))
    return f"{len(whole)}:{tree_hash(event_bytes(line) for line in whole).root()}"


def spoil(sql: str, path: str = "events.db") -> None:
    """Change a database behind its defences."""
    with closing(apsw.Connection(path)) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql)
        assert connection.changes() > 0


def live_table(name: str) -> str:
    """The table of a read model's live generation."""
    with closing(apsw.Connection("projections.db")) as connection:
        sql = "SELECT id FROM generations WHERE name = ? AND state = 'live'"
        return f"{name}_{connection.execute(sql, (name,)).get}"


def outline() -> str:
    """The outline in a file; answers its name."""
    Path("goals.json").write_text(json.dumps(OUTLINE), "utf-8")
    return "goals.json"
