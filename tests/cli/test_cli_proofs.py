"""The command line on proofs: keys, checkpoints, evidence, and what is told of a log that became shorter."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from es_goals.proofs import verify_checkpoint
from tests.support.commands import cli, done, make, misused, opened, refused
from tests.support.histories import created, many, record, register

GOALS = 9


@pytest.fixture(autouse=True)
def log(at_home: None) -> None:
    """Alice's, with goals of Bob's between hers."""
    del at_home
    make(*many(GOALS))
    with opened() as storage:
        register(storage.log, "bob")
        record(storage.log, "bob", *(created(f"bob's {number}") for number in range(5)))
        record(storage.log, "id-of-alice", *(created(f"more {number}") for number in range(4)))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the log's checkpoints are verified with."""
    vkey = done(cli("key", "new", "signing.key", "--name", "goals.example/log")).strip()
    monkeypatch.setenv("ES_GOALS_SIGNING_KEY_FILE", "signing.key")
    return vkey


def test_a_key_is_for_its_owner_alone_and_is_never_written_over(key: str) -> None:
    written = Path("signing.key").read_text()

    assert key.startswith("goals.example/log+")
    assert Path("signing.key").stat().st_mode & 0o777 == 0o600
    assert "found signing.key" in refused(cli("key", "new", "signing.key"))
    assert Path("signing.key").read_text() == written
    assert done(cli("key", "new", "another")).startswith("over-achiever-")


def test_a_key_that_is_rotated_signs_beside_the_old_one(key: str) -> None:
    new = done(cli("key", "new", "signing.key", "--rotate")).strip()
    note = done(cli("checkpoint"))

    assert new.startswith("goals.example/log+")
    assert new != key
    assert verify_checkpoint(note, key) == verify_checkpoint(note, new)
    assert Path("signing.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("key")
def test_a_key_that_is_not_there_cannot_be_rotated() -> None:
    Path("empty").touch()

    assert "found none" in refused(cli("key", "new", "empty", "--rotate"))
    assert "nowhere" in refused(cli("key", "new", "nowhere", "--rotate"))
    assert "keeps the name" in misused(cli("key", "new", "signing.key", "--rotate", "--name", "x"))
    assert "expected a name without spaces" in refused(cli("key", "new", "x", "--name", "two words"))
    assert not Path("x").exists()


def test_a_key_that_is_none_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del key
    text = Path("signing.key").read_text()
    Path("signing.key").write_text(text.replace("goals.example", "other.example"))

    told = refused(cli("checkpoint"))

    assert "whose id belongs to another" in told
    assert text[-20:-1] not in told
    monkeypatch.setenv("ES_GOALS_SIGNING_KEY_FILE", "nowhere")
    assert "nowhere" in refused(cli("checkpoint"))


def test_a_checkpoint_is_printed_and_kept(key: str) -> None:
    note = done(cli("checkpoint"))

    assert verify_checkpoint(note, key).size == 20
    assert [json.loads(line)["note"] for line in Path("checkpoints.jsonl").read_text().splitlines()] == [note]
    assert done(cli("checkpoint")) == note


@pytest.mark.parametrize(
    ("db", "file"), [("events.db", "checkpoints.jsonl"), ("team.db", "team-checkpoints.jsonl"), ("set", "set.jsonl")]
)
def test_checkpoints_are_beside_their_log_or_where_it_is_set(
    db: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if db == "set":
        monkeypatch.setenv("ES_GOALS_CHECKPOINTS", file)
        db = "events.db"
    elif db != "events.db":
        make(path=db)

    done(cli("--db", db, "checkpoint"))

    assert [path.name for path in Path().glob("*.jsonl")] == [file]


def test_checkpoints_that_a_file_keeps_are_all_held_against_the_log(key: str) -> None:
    done(cli("checkpoint"))
    with opened() as storage:
        record(storage.log, "bob", created("one more"))
    done(cli("checkpoint"))

    result = cli("verify", "--checkpoint", "checkpoints.jsonl", "--key", key)

    assert (result.exit_code, result.stderr) == (
        0, "the log begins as the checkpoint of goals.example/log at 21 says\n",
    )  # fmt: skip
    lines = Path("checkpoints.jsonl").read_text().splitlines(keepends=True)
    Path("other.jsonl").write_text(lines[0].replace("Az", "Ay").replace("oA", "oB").replace("=\\n\\n", "A\\n\\n"))
    assert refused(cli("verify", "--checkpoint", "other.jsonl", "--key", key))


def test_options_that_belong_together_are_asked_for_together(key: str) -> None:
    Path("kept").write_text(done(cli("checkpoint")))

    assert "--checkpoint with --key" in misused(cli("verify", "--checkpoint", "kept"))
    assert "--checkpoint with --key" in misused(cli("verify", "--key", key))
    assert "--accept-rollback with --reason" in misused(cli("checkpoint", "--accept-rollback"))
    assert "--accept-rollback with --reason" in misused(cli("checkpoint", "--reason", "because"))
    assert "at most 1000 characters" in misused(cli("checkpoint", "--accept-rollback", "--reason", "x" * 1001))


def test_where_no_file_keeps_checkpoints_no_rollback_can_be_accepted() -> None:
    told = refused(cli("--db", "postgresql://nowhere.invalid/x", "checkpoint", "--accept-rollback", "--reason", "x"))

    assert told == "expected a file of checkpoints, which ES_GOALS_CHECKPOINTS names; found none"


def evidence(user: str = "alice") -> list[str]:
    """Its lines."""
    return done(cli("evidence", user)).splitlines(keepends=True)


def test_evidence_is_checked_without_the_log(key: str) -> None:
    Path("evidence").write_text("".join(evidence()))
    digest = done(cli("verify")).splitlines()[-1]
    for file in Path().glob("*.db*"):
        file.unlink()

    told = done(cli("check", "evidence", "--key", key))

    assert told == (
        "14 events of id-of-alice are in the log goals.example/log, in their order, none left out\n"
        f"as of {digest}\nwhich is signed with the key\n"
    )
    assert not Path("events.db").exists()


def test_evidence_without_a_key_says_that_nobody_signed_it() -> None:
    Path("evidence").write_text("".join(evidence("bob")))

    result = cli("check", "evidence")

    assert result.exit_code == 0
    assert "6 events of bob are in the log" in result.stdout
    assert "whose signature was not checked" in result.stderr


def exchanged(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def of_another(lines: list[str]) -> list[str]:
    return [lines[0], *evidence("bob")[1:2], *lines[1:]]


def signed_anew(lines: list[str]) -> list[str]:
    with opened() as storage:
        record(storage.log, "bob", created("one more"))
    return [lines[0], *evidence()[1:]]


def with_member(lines: list[str]) -> list[str]:
    return [lines[0].replace('{"format"', '{"more":1,"format"'), *lines[1:]]


FORGED: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "nothing": (lambda lines: lines[:0], "line 1: expected JSON as"),
    "only its first line": (lambda lines: lines[:1], "found it cut off"),
    "without its last line": (lambda lines: lines[:-1], "found it cut off"),
    "without an event between others": (lambda lines: [*lines[:5], *lines[6:]], "line 6: expected version"),
    "without its first event": (lambda lines: [lines[0], *lines[3:]], "line 2: expected version 1 of user:id-of-alice"),
    "without its last event": (lambda lines: [*lines[:-2], lines[-1]], "line 15: expected as many events"),
    "with an event twice": (lambda lines: [*lines[:2], *lines[1:]], "line 3: expected a position behind 1"),
    "in another order": (exchanged, "line 3: expected a position behind 2"),
    "with more behind its end": (lambda lines: [*lines, lines[-1]], "line 17: expected the end"),
    "with an event of another user": (of_another, "line 2: expected an event of the user"),
    "with proofs for another checkpoint": (signed_anew, "line 2: expected a proof for the checkpoint of"),
    "with another user's name": (
        lambda lines: [lines[0].replace("id-of-alice", "id-of-carol"), *lines[1:]], "line 2: expected an event of",
    ),
    "of another format": (lambda lines: [lines[0].replace("@v1", "@v2"), *lines[1:]], "expected evidence of"),
    "with a changed entry": (
        lambda lines: [lines[0], lines[1].replace('"entry":"AAAAATE', '"entry":"AAAAATI'), *lines[2:]],
        "line 2: expected the root",
    ),
    "with an entry that is no event": (
        lambda lines: [lines[0], lines[1].replace('"entry":"', '"entry":"AAAA'), *lines[2:]], "line 2: expected",
    ),
    "with another index": (
        lambda lines: [lines[0], lines[1].replace("index 0", "index 1"), *lines[2:]], "line 2: expected the root",
    ),
    "with an index that is none": (
        lambda lines: [lines[0], lines[1].replace("index 0", "index 00"), *lines[2:]], "line 2: expected a proof",
    ),
    "with another checkpoint": (
        lambda lines: [line.replace("\\n20\\n", "\\n21\\n") for line in lines], "expected the signature of",
    ),
    "with members of no meaning": (with_member, "line 1: expected JSON as"),
}  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
def test_evidence_that_is_not_as_it_was_written_is_refused(key: str, how: str) -> None:
    forge, told = FORGED[how]
    Path("evidence").write_text("".join(forge(evidence())))

    assert told in refused(cli("check", "evidence", "--key", key))


def test_evidence_of_another_log_with_a_key_of_the_same_name_is_refused(key: str) -> None:
    Path("evidence").write_text("".join(evidence()))
    other = done(cli("key", "new", "other.key", "--name", "goals.example/log")).strip()

    assert other != key
    assert "expected a signature of goals.example/log" in refused(cli("check", "evidence", "--key", other))


def test_a_log_that_is_restored_behind_its_checkpoints_is_told_how_to_go_on() -> None:
    done(cli("backup", "copy"))
    with opened() as storage:
        record(storage.log, "bob", created("one more"))
    done(cli("checkpoint"))
    for file in Path().glob("events.db*"):
        file.unlink()

    result = cli("restore", "copy", "--keep-tokens")

    assert result.exit_code == 0
    assert result.stderr.startswith("before it is served: expected at least the 21 events")
    assert "expected at least the 21 events" in refused(cli("serve"))
    done(cli("checkpoint", "--accept-rollback", "--reason", "restored"))
    assert json.loads(Path("checkpoints.jsonl").read_text().splitlines()[-1])["accepted"] == "restored"


def test_hashes_are_derived_anew_where_they_are_asked_for_or_wrong() -> None:
    done(cli("verify"))

    assert done(cli("rebuild", "hashes")) == "hashes: 20 events; equal to the old ones\n"
    with opened() as storage:
        good = storage.tiles.tile(0, 0)
        storage.tiles.save(20, 20, [(0, 0, b"\0" * 32 + good[32:])])
    assert "position 1: its hash is " in cli("verify").stderr
    assert done(cli("rebuild")).splitlines()[-1] == "hashes: 20 events; 1 tiles were not those of the log"
    done(cli("verify"))
