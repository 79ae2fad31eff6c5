"""Files that an older version of this software wrote: taken over with all that is in them."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from es_goals.deciding import Request
from es_goals.events import Recorded, encode
from es_goals.goals.commands import CreateGoal
from es_goals.ids import wall_clock
from es_goals.projector import Projector
from es_goals.reads.pool import FairPool
from es_goals.service import KeyReused, Outcome, Service
from es_goals.storage import Storage
from es_goals.storage.errors import StorageError, Unusable, UserNameTaken
from es_goals.storage.log import Cause, Identity, Log, Password, StoredKey, User
from es_goals.storage.postgres import schema as postgres_schema
from es_goals.storage.sql.log import BASE, SCHEMA, statements
from es_goals.storage.sql.upgrades import Connection, Step, take
from es_goals.storage.sqlite import log as module
from es_goals.storage.sqlite.log import APPLICATION_ID, SqliteLog
from es_goals.storage.sqlite.views import SCHEMA as VIEWS_SCHEMA
from tests.support.engines import NOW, Engine, open_storage
from tests.support.histories import START, Model, created, folded, record
from tests.support.limits import EVENTS_LIMIT, LIMITS
from tests.support.names import MEETING, compared_before

# As sqlite.sql was at schema 1, without its comments.
LOG_1 = """
CREATE TABLE log (id TEXT NOT NULL, schema INTEGER NOT NULL) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, subject TEXT,
    at INTEGER NOT NULL, actor TEXT, command TEXT NOT NULL, reason TEXT, data BLOB NOT NULL, UNIQUE (stream, version)
) STRICT;
CREATE UNIQUE INDEX events_goal_created ON events (subject) WHERE type = 'GoalCreated';
CREATE INDEX events_goal_changed ON events (subject) WHERE type <> 'GoalCreated' AND subject IS NOT NULL;
CREATE TRIGGER events_come_next BEFORE INSERT ON events BEGIN
    SELECT RAISE(ABORT, 'position is not the next one')
     WHERE NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM events);
    SELECT RAISE(ABORT, 'version is not the next one')
     WHERE NEW.version IS NOT (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream = NEW.stream);
    SELECT RAISE(ABORT, 'at goes back')
     WHERE NEW.at < (SELECT at FROM events ORDER BY position DESC LIMIT 1);
    SELECT RAISE(ABORT, 'events.subject: a goal has this id')
     WHERE NEW.type = 'GoalCreated'
       AND EXISTS (SELECT 1 FROM events WHERE subject = NEW.subject AND type = 'GoalCreated');
END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TABLE commands (
    stream TEXT NOT NULL, key TEXT NOT NULL, command TEXT NOT NULL, digest BLOB NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, PRIMARY KEY (stream, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER commands_once BEFORE INSERT ON commands
WHEN EXISTS (SELECT 1 FROM commands WHERE stream = NEW.stream AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'the key is taken'); END;
CREATE TRIGGER commands_stay BEFORE UPDATE ON commands BEGIN SELECT RAISE(ABORT, 'commands are append-only'); END;
CREATE TRIGGER commands_last BEFORE DELETE ON commands BEGIN SELECT RAISE(ABORT, 'commands are append-only'); END;
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, email TEXT, created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
"""
# As sqlite_views.sql was before it had a number, without its comments.
VIEWS_0 = """
CREATE TABLE source (log TEXT NOT NULL) STRICT;
CREATE TABLE generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, revision INTEGER NOT NULL, shape TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'building', 'previous')), position INTEGER NOT NULL, command TEXT,
    failed_at INTEGER, error TEXT, writes INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
LOG_ID = "0199c2a0-0000-7000-8000-000000000000"
DIGEST, OTHER_DIGEST = b"\x01" * 32, b"\x02" * 32
ANN = "user:ann"
EVENTS = [
    Recorded(number, ANN, number, "GoalCreated", goal, NOW, None, f"command-{number}", None, encode(created(goal)))
    for number, goal in enumerate(("a", "b"), start=1)
]
ANN_HERSELF = User("ann", "Ann", "ann@example.org", NOW, "user", None, 0)
KEYS = [StoredKey(ANN, f"key-{number}", DIGEST, number, number) for number in (1, 2)]


def make_log(path: str, tables: str, schema: int) -> None:
    """A log of a schema: a user, two events, each under a key."""
    with closing(apsw.Connection(path)) as connection, connection:
        connection.execute(tables)
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute("INSERT INTO log VALUES (?, ?)", (LOG_ID, schema))
        fields = "id, name, folded, email, created_at"
        connection.execute(f"INSERT INTO users ({fields}) VALUES ('ann', 'Ann', 'ann', 'ann@example.org', ?)", (NOW,))
        columns = ", ".join(Recorded.__struct_fields__)
        for line, key in zip(EVENTS, KEYS, strict=True):
            row = tuple(getattr(line, column) for column in Recorded.__struct_fields__)
            connection.execute(f"INSERT INTO events ({columns}) VALUES ({', '.join('?' * len(row))})", row)
            values = (key.stream, key.key, key.digest, key.first, key.last, *([line.command] if schema == 1 else []))
            fields = "stream, key, digest, first, last" + (", command" if schema == 1 else "")
            connection.execute(f"INSERT INTO commands ({fields}) VALUES ({', '.join('?' * len(values))})", values)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A log of schema 1."""
    path = str(tmp_path / "events.db")
    make_log(path, LOG_1, 1)
    return path


@contextmanager
def opened(path: str) -> Iterator[Storage]:
    storage = open_storage(path, wall_clock)
    try:
        yield storage
    finally:
        storage.close()


def schema(path: str) -> tuple[int, set[tuple[object, ...]]]:
    """A log's number; and its tables' columns, and indexes."""
    with closing(apsw.Connection(path)) as connection:
        number = int(connection.execute("SELECT schema FROM log").get)
        columns = connection.execute(
            'SELECT one.name, field.name, field.type, field."notnull", field.dflt_value, field.pk'
            " FROM sqlite_schema AS one, pragma_table_info(one.name) AS field WHERE one.type = 'table'"
        ).fetchall()
        indexes = connection.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'").fetchall()
        return number, {*columns, *indexes}


def keys_columns(path: str) -> list[str]:
    with closing(apsw.Connection(path)) as connection:
        return [str(row[1]) for row in connection.execute("PRAGMA table_info(commands)")]


@pytest.mark.parametrize("number", range(1, SCHEMA))
def test_an_older_log_keeps_its_events_users_and_keys(tmp_path: Path, number: int) -> None:
    path = str(tmp_path / "events.db")
    tables = {
        1: LOG_1,
        2: statements("sqlite/log.sql"),
        3: statements("sqlite/log.sql") + statements("sqlite/accounts.sql"),
    }
    make_log(path, tables[number], number)
    for _ in range(2):
        with opened(path) as storage:
            assert isinstance(storage.log, SqliteLog)
            assert (storage.log.id, storage.log.read()) == (LOG_ID, EVENTS)
            assert storage.log.users() == [ANN_HERSELF]
            assert [storage.log.stored_key(ANN, key.key) for key in KEYS] == KEYS
            assert storage.log.integrity() == []
    with opened(str(tmp_path / "new.db")):
        pass

    assert schema(path) == schema(str(tmp_path / "new.db"))
    assert (schema(path)[0], BASE, SCHEMA) == (SCHEMA, 2, 4)


def test_the_users_of_an_older_log_get_what_accounts_have(path: str) -> None:
    with opened(path) as storage, storage.log.writing() as transaction:
        changed = structs.replace(ANN_HERSELF, password_at=NOW, disabled_at=NOW + 1)
        transaction.change_user(changed)
        transaction.add(Password("ann", "hash"))
        transaction.add(Identity("issuer subject", "ann"))
        transaction.add_user(User("root", "Root", None, NOW, "administrator"))

        assert transaction.users() == [changed, User("root", "Root", None, NOW, "administrator")]
        assert (transaction.password("ann"), transaction.identity("issuer subject")) == (
            Password("ann", "hash"), Identity("issuer subject", "ann"),
        )  # fmt: skip


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT OR REPLACE INTO commands VALUES ('user:ann', 'key-1', x'00', 1, 1)",
        "UPDATE commands SET digest = x'00'",
        "DELETE FROM commands",
        "UPDATE events SET at = at + 1",
        "DELETE FROM events WHERE position = 2",
    ],
)
def test_the_database_defends_an_older_log_as_it_did_before(path: str, attack: str) -> None:
    with opened(path) as storage:
        with closing(apsw.Connection(path)) as connection, pytest.raises(apsw.ConstraintError):
            connection.execute(attack)

        assert storage.log.read() == EVENTS
        assert [storage.log.stored_key(ANN, key.key) for key in KEYS] == KEYS


def test_an_older_log_goes_on(path: str) -> None:
    with opened(path) as storage:
        with storage.log.writing() as transaction:
            transaction.append(ANN, 2, [created("c")], Cause("command-3"))
            transaction.store_key(StoredKey(ANN, "key-3", DIGEST, 3, 3))
        record(storage.log, "bob", created("d"))

        assert [line.subject for line in storage.log.read()] == ["a", "b", "c", "d"]
        assert storage.log.stored_key(ANN, "key-3") == StoredKey(ANN, "key-3", DIGEST, 3, 3)


def test_what_an_older_version_recorded_under_a_key_is_not_done_again(path: str) -> None:
    with (
        opened(path) as storage,
        FairPool(1) as pool,
        closing(Service(storage.log, pool, 1000, LIMITS, EVENTS_LIMIT)) as service,
    ):

        def repeat(digest: bytes) -> Outcome:
            request = Request("ann", [CreateGoal("another id", "a")], Cause("repeat"), "key-1", digest)
            return asyncio.run(service.execute(request))

        outcome = repeat(DIGEST)
        with pytest.raises(KeyReused):
            repeat(OTHER_DIGEST)

        assert (outcome.position, outcome.replayed, outcome.results[0].goal.id) == (1, True, "a")
        assert outcome.results[0].goal.start == START
        assert storage.log.read() == EVENTS


def test_of_many_that_open_an_older_log_at_once_all_can(path: str) -> None:
    def read(_: int) -> list[Recorded]:
        with opened(path) as storage:
            return storage.log.read()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [EVENTS] * 8
    assert schema(path)[0] == SCHEMA


def test_an_upgrade_that_fails_leaves_the_log_as_it_was_and_can_be_tried_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, steps = schema(path), module._UPGRADES
    for number, step in steps.items():

        def failing(connection: Connection, step: Step = step) -> None:
            take(step, connection)
            connection.execute("DROP TABLE nothing")

        with monkeypatch.context() as patch:
            patch.setattr(module, "_UPGRADES", {**steps, number: failing})
            with pytest.raises(StorageError):
                open_storage(path, wall_clock)

        assert before == schema(path)
        assert (before[0], keys_columns(path)) == (1, ["stream", "key", "command", "digest", "first", "last"])
    with opened(path) as storage:
        assert storage.log.read() == EVENTS


@pytest.fixture
def meeting(engine: Engine) -> Log:
    """A log of schema 3 that is opened now: Bob, whose name an older user wrote with a character that is not seen, and
    somebody of no name that is seen."""
    compared_before(engine.open().log)
    with capture_logs() as logged:
        log = engine.open().log
    assert logged == [{"event": "name_shared", "log_level": "warning", "user": "id-young", "older": "id-older"}]
    return log


def test_of_users_whose_names_are_the_same_now_the_oldest_has_it_and_all_are_found_by_their_ids(
    meeting: Log, engine: Engine
) -> None:
    def named(*names: str) -> list[str | None]:
        return [found.id if found else None for found in map(meeting.user_named, names)]

    assert [row.folded for row in meeting.user_rows()] == ["id-nobody", "bob", "id-young", "zoe"]
    assert [meeting.user(one.user.id) for one in MEETING] == [one.user for one in MEETING]
    assert named("bob", "Bob", "b\ufe0fob", "ZOE", "Zo\u034fe") == ["id-older"] * 3 + ["id-zoe"] * 2
    assert named("\u3164", "\u115f", "\u1160") == [None] * 3
    with capture_logs() as logged:
        assert engine.open().log.user_rows() == meeting.user_rows()
    assert logged == []


def test_who_lost_a_name_can_be_changed_without_another_one_and_has_a_name_again_when_renamed(meeting: Log) -> None:
    bob = MEETING[2].user
    changed = structs.replace(bob, email="bob@example.org", disabled_at=NOW, password_at=NOW)
    renamed = structs.replace(changed, name="Bobby")
    with meeting.writing() as transaction:
        transaction.change_user(changed)
        assert transaction.user_named("Bob") == transaction.user("id-older")
        with pytest.raises(UserNameTaken):
            transaction.change_user(structs.replace(bob, name="BOB"))
        transaction.change_user(renamed)

    assert [meeting.user("id-young"), meeting.user_named("bobby")] == [renamed, renamed]
    assert [row.folded for row in meeting.user_rows()] == ["id-nobody", "bob", "bobby", "zoe"]


def test_names_are_compared_as_before_where_the_upgrade_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    log = engine.open().log
    compared_before(log)
    for one in (module, postgres_schema):
        monkeypatch.setattr(one, "SCHEMA", SCHEMA + 1)
        monkeypatch.setattr(one, "_UPGRADES", {**one._UPGRADES, SCHEMA: "DROP TABLE nothing"})
    with pytest.raises(StorageError):
        engine.open()

    assert log.user_rows() == MEETING
    monkeypatch.undo()
    assert engine.open().log.user_rows() != MEETING


@pytest.mark.parametrize("number", [0, 1, VIEWS_SCHEMA + 1])
def test_read_models_of_another_schema_are_folded_anew_in_generations_of_new_numbers(path: str, number: int) -> None:
    model, views = Model(), str(Path(path).with_name("projections.db"))
    with closing(apsw.Connection(views)) as connection, connection:
        connection.execute(VIEWS_0)
        connection.pragma("user_version", number)
        connection.execute("INSERT INTO source VALUES (?)", (LOG_ID,))
        values = "7, 'tallies', 1, 'x', 'live', 1, NULL, NULL, NULL, 0"
        connection.execute(f"INSERT INTO generations VALUES ({values})")
        connection.execute("CREATE TABLE tallies_7 (user, goal); INSERT INTO tallies_7 VALUES ('ann', 'wrong')")

    with opened(path) as storage:
        projector = Projector(storage.log, storage.views, [model])
        assert storage.views.live(model).position == 0
        projector.catch_up_all()

        assert projector.read("tallies", "ann").by_key == folded(model, EVENTS)
        assert storage.views.live(model).id > 7
    with closing(apsw.Connection(views)) as connection:
        tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert "tallies_7" not in tables
        assert connection.pragma("user_version") == VIEWS_SCHEMA


def test_a_database_of_something_else_in_the_read_models_place_is_refused_and_left_as_it_was(path: str) -> None:
    views = str(Path(path).with_name("projections.db"))
    with closing(apsw.Connection(views)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER PRIMARY KEY AUTOINCREMENT, text)")
        connection.execute("INSERT INTO theirs VALUES (3, 'y')")

    with pytest.raises(Unusable, match="found a database of something else"):
        open_storage(path, wall_clock)
    with closing(apsw.Connection(views)) as connection:
        assert connection.execute("SELECT * FROM theirs").fetchall() == [(3, "y")]


def test_read_models_of_this_schema_are_kept(path: str) -> None:
    model = Model()
    with opened(path) as storage:
        Projector(storage.log, storage.views, [model]).catch_up_all()
        before = storage.views.snapshot(model)

    with opened(path) as storage:
        assert storage.views.snapshot(model) == before
