"""Whoever has the database can change it behind its defences; whoever kept a checkpoint sees it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.support.commands import at_home, cli, done, make, opened, refused
from tests.support.histories import created, record, register

GOALS = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log of Alice's and Bob's with a key; what it is verified with."""
    at_home(tmp_path, monkeypatch)
    make(*(created(name) for name in GOALS))
    with opened() as storage:
        register(storage.log, "bob")
        record(storage.log, "bob", *(created(f"bob's {name}") for name in GOALS))
    vkey = done(cli("key", "new", "signing.key", "--name", "goals.example/log")).strip()
    monkeypatch.setenv("ES_GOALS_SIGNING_KEY_FILE", "signing.key")
    return vkey


@pytest.fixture(autouse=True)
def kept(key: str) -> Path:
    """A checkpoint where the operator cannot reach it, and no other."""
    del key
    Path("elsewhere").write_text(done(cli("checkpoint")))
    Path("checkpoints.jsonl").unlink()
    return Path("elsewhere")


@pytest.fixture(params=["hashes stored", "hashes thrown away"], autouse=True)
def forget(request: pytest.FixtureRequest) -> Callable[[], None]:
    """What an operator would do besides."""

    def forget() -> None:
        if request.param == "hashes thrown away":
            for file in Path().glob("projections.db*"):
                file.unlink()

    return forget


def tamper(*statements: str) -> None:
    """As who owns the file, with SQLite's own defences put off meanwhile."""
    with closing(apsw.Connection("events.db")) as connection:
        defences = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")]
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'trigger'")
        connection.execute("PRAGMA writable_schema = RESET")
        for statement in statements:
            connection.execute(statement)
            assert connection.changes() > 0
        for sql in defences:
            connection.execute(sql)


def verify(key: str) -> str:
    """Why the log is not the one of the checkpoint that was kept."""
    return refused(cli("verify", "--checkpoint", "elsewhere", "--key", key))


SWAPPED = (
    "UPDATE events SET {column} = (SELECT group_concat({column}, '') FROM events AS other"
    " WHERE other.position = CASE events.position WHEN 3 THEN 4 ELSE 3 END) WHERE position IN (3, 4)"
)
CHANGES = {
    "a byte of an event": (
        """UPDATE events SET data = CAST(replace(CAST(data AS TEXT), '"name":"b"', '"name":"x"') AS BLOB)
           WHERE position = 3""",
    ),
    "who did it": ("UPDATE events SET actor = 'somebody else' WHERE position = 3",),
    "why": ("UPDATE events SET reason = 'a good one' WHERE position = 3",),
    "when": ("UPDATE events SET at = at + 1 WHERE position = 12",),
    "the command": ("UPDATE events SET command = 'another' WHERE position = 3",),
    "the order": (
        "UPDATE events SET position = -3 WHERE position = 12",
        "UPDATE events SET position = 12, version = 4 WHERE position = 11",
        "UPDATE events SET position = 11, version = 5 WHERE position = -3",
        "UPDATE events SET version = -1 WHERE position = 11",
        "UPDATE events SET version = 5 WHERE position = 12",
        "UPDATE events SET version = 4 WHERE position = 11",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_seen(change: str, key: str, forget: Callable[[], None]) -> None:
    tamper(*CHANGES[change])
    forget()

    assert verify(key).startswith("at position 12 expected ")


def test_an_event_that_was_dropped_at_the_end_is_seen(key: str, forget: Callable[[], None]) -> None:
    tamper("DELETE FROM events WHERE position = 12")
    forget()

    assert verify(key).startswith("the log ends at position 11; expected 12")


def test_an_event_that_was_dropped_and_replaced_is_seen(key: str, forget: Callable[[], None]) -> None:
    tamper("DELETE FROM events WHERE position = 12")
    forget()
    with opened() as storage:
        record(storage.log, "bob", created("another"), created("and one more"))

    assert verify(key).startswith("at position 12 expected ")


def test_a_log_that_was_made_anew_with_another_key_is_seen(key: str, forget: Callable[[], None]) -> None:
    for file in Path().glob("events.db*"):
        file.unlink()
    forget()
    make(*(created(name) for name in (*GOALS, "g", "h", "i", "j", "k", "l")))
    other = done(cli("key", "new", "other.key", "--name", "goals.example/log")).strip()
    Path("other.key").replace("signing.key")
    done(cli("checkpoint"))

    assert verify(key) == "two checkpoints contradict each other: at position 12 their digests differ"
    Path("checkpoints.jsonl").unlink()
    assert verify(key).startswith("at position 12 expected ")
    assert refused(cli("verify", "--checkpoint", "elsewhere", "--key", other)).startswith(
        "expected a signature of goals"
    )
    done(cli("verify"))  # which the new log's own file of checkpoints does not tell


def test_a_log_that_only_grew_is_the_one_that_was_signed(key: str, forget: Callable[[], None]) -> None:
    forget()
    with opened() as storage:
        record(storage.log, "bob", created("another"))

    result = cli("verify", "--checkpoint", "elsewhere", "--key", key)

    assert result.exit_code == 0
    assert result.stderr == "the log begins as the checkpoint of goals.example/log at 12 says\n"


def test_a_checkpoint_that_was_changed_is_no_witness(key: str, kept: Path) -> None:
    kept.write_text(kept.read_text().replace("\n12\n", "\n11\n"))

    assert verify(key) == "expected the signature of goals.example/log; found one that is not"


@pytest.mark.parametrize("command", ["verify", "checkpoint", "serve"])
def test_its_own_newest_checkpoint_is_held_against_the_log_too(command: str, forget: Callable[[], None]) -> None:
    done(cli("checkpoint"))
    tamper("DELETE FROM events WHERE position = 12")
    forget()

    told = cli(command)

    assert told.exit_code == 1
    assert "es-goals checkpoint --accept-rollback --reason" in told.stderr
    done(cli("checkpoint", "--accept-rollback", "--reason", "it was ours"))
    assert cli("verify").exit_code == 0
