"""What somebody who can write to the database forges beside the log is named when it is verified, on both engines."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import msgspec
import psycopg
import pytest

from es_goals.accounts import changes
from es_goals.storage import Storage
from es_goals.storage.log import Cause, Token, User
from es_goals.upkeep import backup
from es_goals.upkeep.backup import Refused, back_up, restore
from es_goals.upkeep.verification import Mismatch, verify_log
from tests.support.engines import Engine, HandClock
from tests.support.histories import created, record

CAUSE = Cause("a command")
HOUR = 3_600_000_000


def unheard(done: int, total: int) -> None:
    del done, total


def write(url: str, sql: str) -> None:
    """As whoever owns the file, or the database."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f"SET search_path = es_goals; {sql}".encode())
    else:
        with closing(apsw.Connection(url)) as file:
            file.execute(sql)


@pytest.fixture
def storage(engine: Engine) -> Storage:
    """Everything that can happen to accounts, as it happens."""
    clock = HandClock()
    storage = engine.open(clock)
    with storage.log.writing() as transaction:
        for name, password in (("ann", "kept"), ("bob", None), ("eve", None)):
            changes.register(transaction, User(name, name, None, 0), CAUSE, password)
    for number in range(2):
        clock.now += HOUR
        with storage.log.writing() as transaction:
            changes.set_password(transaction, "bob", f"kept {number}", CAUSE)
            changes.link(transaction, "ann", f"an issuer {number}", CAUSE)
            token = Token(f"t{number}", "ann", "a token", "read", f"hash {number}", 0, clock.now + 24 * HOUR)
            changes.issue(transaction, token, CAUSE)
            changes.set_disabled(transaction, "bob", number == 0, CAUSE)
    clock.now += HOUR
    with storage.log.writing() as transaction:
        revoked = transaction.token_of("t0")
        assert revoked is not None
        changes.revoke(transaction, revoked, CAUSE)
        changes.set_disabled(transaction, "eve", True, CAUSE)
    record(storage.log, "ann", created("a"))
    return storage


def test_what_came_to_be_as_it_does_is_sound(storage: Storage) -> None:
    assert verify_log(storage.log, None, unheard).users == 3
    assert storage.log.schema_faults() == []


COLUMNS = "id, user_id, name, scope, hash, created_at, expires_at"
FORGERIES = {
    "a role": ("UPDATE users SET role = 'administrator' WHERE id = 'eve'", "account:eve: expected role user"),
    "a user out of nowhere": (
        "INSERT INTO users (id, name, folded, created_at, role) VALUES ('mal', 'mal', 'mal', 1, 'administrator')",
        "account:mal: expected role None",
    ),
    "somebody enabled": ("UPDATE users SET disabled_at = NULL WHERE id = 'eve'", "account:eve: expected disabled_at"),
    "somebody disabled": (
        "UPDATE users SET disabled_at = 1 WHERE id = 'ann'",
        "account:ann: expected disabled_at None",
    ),
    "when somebody came": ("UPDATE users SET created_at = 1 WHERE id = 'ann'", "account:ann: expected created_at"),
    "a password": ("INSERT INTO passwords VALUES ('eve', 'x')", "account:eve: expected a password"),
    "a password and its time": (
        "INSERT INTO passwords VALUES ('eve', 'x'); UPDATE users SET password_at = 5 WHERE id = 'eve'",
        "account:eve: expected a password",
    ),
    "a password taken away": ("DELETE FROM passwords WHERE user_id = 'bob'", "account:bob: expected a password"),
    "an older password": ("UPDATE users SET password_at = 5 WHERE id = 'bob'", "account:bob: expected a password"),
    "a token": (
        f"INSERT INTO tokens ({COLUMNS}) VALUES ('t', 'eve', 'n', 'write', 'h', 1, 2)",
        "account:eve: expected token t",
    ),
    "a scope": ("UPDATE tokens SET scope = 'write' WHERE id = 't1'", "account:ann: expected token t1"),
    "an end": ("UPDATE tokens SET expires_at = expires_at + 1000000 WHERE id = 't1'", "account:ann: expected token t1"),
    "a token made good again": (
        "UPDATE tokens SET revoked_at = NULL WHERE id = 't0'",
        "account:ann: expected token t0",
    ),
    "another's token": ("UPDATE tokens SET user_id = 'bob' WHERE id = 't1'", "expected token t1"),
    "a token gone": ("DELETE FROM tokens WHERE id = 't1'", "account:ann: expected token t1"),
    "an identity": ("INSERT INTO identities VALUES ('mine', 'eve')", "account:eve: expected identities 0"),
    "another's identity": ("UPDATE identities SET user_id = 'bob'", "expected identities"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_no_event_tells_of_an_account_is_named(storage: Storage, engine: Engine, forgery: str) -> None:
    sql, named = FORGERIES[forgery]
    write(engine.url, sql)

    with pytest.raises(Mismatch) as found:
        verify_log(storage.log, None, unheard)

    assert named in str(found.value)


ON_SQLITE = {
    "one that is gone": "DROP TRIGGER events_stay",
    "one more": "CREATE TRIGGER mine AFTER INSERT ON users BEGIN UPDATE users SET role = 'administrator'; END",
    "another one": "DROP TRIGGER events_last; CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT 1; END",
    "a view": "CREATE VIEW mine AS SELECT * FROM passwords",
    "an index that is gone": "DROP INDEX events_goal_created",
}
_FUNCTION = "CREATE OR REPLACE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
ON_POSTGRES = {
    "one that is gone": "DROP TRIGGER events_stay ON events",
    "one that sleeps": "ALTER TABLE events DISABLE TRIGGER events_stay",
    "one that does not always fire": "ALTER TABLE events ENABLE TRIGGER events_come_next",
    "one more": f"{_FUNCTION}; CREATE TRIGGER mine BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION mine()",
    "one that does something else": (
        "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
    ),
}


@pytest.mark.parametrize("change", sorted(ON_SQLITE.keys() | ON_POSTGRES.keys()))
def test_a_database_that_does_not_defend_the_log_any_more_is_named(
    storage: Storage, engine: Engine, change: str
) -> None:
    sql = (ON_POSTGRES if engine.url.startswith("postgresql") else ON_SQLITE).get(change)
    if sql is None:
        return
    write(engine.url, sql)

    with pytest.raises(Mismatch, match="the database does not defend the log as it must: expected"):
        verify_log(storage.log, None, unheard)


@contextmanager
def made_anew(folder: Path) -> Iterator[Path]:
    """A backup's database, whose manifest is true again afterwards."""
    yield folder / backup.DATABASE
    manifest = msgspec.json.decode((folder / backup.MANIFEST).read_bytes(), type=backup.Manifest)
    told = {**msgspec.structs.asdict(manifest), "sha256": backup._sha256(folder / backup.DATABASE)}
    (folder / backup.MANIFEST).write_bytes(msgspec.json.encode(told))


@pytest.mark.parametrize("sql", [FORGERIES["a role"][0], FORGERIES["a token"][0], ON_SQLITE["one more"]])
def test_a_forged_backup_is_not_restored_though_its_manifest_was_made_anew(
    storage: Storage, tmp_path: Path, sql: str
) -> None:
    back_up(storage.log, tmp_path / "backup", HandClock(), unheard)
    with made_anew(tmp_path / "backup") as database:
        write(str(database), sql)

    with pytest.raises((Mismatch, Refused)):
        restore(tmp_path / "backup", tmp_path / "restored.db", HandClock(), lambda _: None)

    assert not (tmp_path / "restored.db").exists()
