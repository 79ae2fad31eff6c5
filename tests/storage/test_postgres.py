"""What is PostgreSQL's own: the order of what many nodes append, the database's defence of the log, schemas,
connections, and what becomes of its errors."""

import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from msgspec import structs
from psycopg import errors
from structlog.testing import capture_logs

from es_goals.events import Event, GoalRenamed, Recorded
from es_goals.ids import wall_clock
from es_goals.storage import Options, Storage
from es_goals.storage.errors import (
    BatchConflict,
    OutcomeUnknown,
    StorageError,
    StorageFailed,
    StorageFull,
    Unavailable,
    Unusable,
)
from es_goals.storage.log import Cause, Credential, Identity, Log, Password, StoredKey, StreamHead, Token, User
from es_goals.storage.place import shown
from es_goals.storage.postgres import connections as postgres_connections
from es_goals.storage.postgres import log as postgres_log
from es_goals.storage.postgres import schema as postgres_schema
from es_goals.storage.postgres.log import PostgresLog
from es_goals.storage.sessions import Session
from es_goals.storage.sql.log import BASE, SCHEMA, statements
from es_goals.storage.sqlite import log as sqlite_module
from tests.support import postgres
from tests.support.engines import (
    ENGINES,
    OPTIONS,
    Engine,
    hear,
    migrate,
    open_storage,
    say,
    start,
    tell,
    wait_until,
)
from tests.support.histories import Model, created, out_of_order, record
from tests.support.names import MEETING, compared_before
from tests.support.needs import fill_up, small_disk
from tests.support.serving import free_port

CAUSE = Cause("command")
LATE = 2**62
HURRIED = Options(deadline=0.4, connections=2)
STANDBY = structs.replace(OPTIONS, standby=True)
PASSWORD = "s3cret-w0rd"  # noqa: S105
OWNER, SERVICE, STRANGER = "goals_owner", "goals_service", "goals_stranger"


@pytest.fixture(params=postgres.VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def url(version: str) -> Iterator[str]:
    """An empty database, on each version."""
    with postgres.fresh(version) as url:
        yield url


@pytest.fixture
def newest() -> Iterator[str]:
    """An empty database, where all versions are alike."""
    with postgres.fresh(postgres.VERSIONS[-1]) as url:
        yield url


@contextmanager
def opened(url: str, options: Options = OPTIONS) -> Iterator[Storage]:
    storage = open_storage(url, wall_clock, options)
    try:
        yield storage
    finally:
        storage.close()


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own, as anybody with the role could have."""
    if kept := _KEPT.get(url):
        try:
            yield kept
        finally:
            kept.rollback()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


_KEPT: dict[str, psycopg.Connection[Any]] = {}
"""Connections that many tests share, since to make one takes longer than to ask it something."""


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """The last one's rows."""
    with connected(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def engine_of(log: Log) -> PostgresLog:
    """The log, as its own kind."""
    assert isinstance(log, PostgresLog)
    return log


BACKENDS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def waiting(url: str) -> int:
    """How many wait for a lock in this database."""
    return int(execute(url, f"SELECT count(*) {BACKENDS} AND wait_event_type = 'Lock'")[0][0])


def end_connections(url: str) -> None:
    """All but this one, as the server's administrator would, or its end."""
    execute(url, f"SELECT pg_terminate_backend(pid, 5000) {BACKENDS}")


# Order: whoever follows misses nothing, and is held up by nobody.


class Undo(Exception):
    """Leaves a transaction without what it wrote."""


class Slow:
    """Appends in a thread of its own, and keeps the transaction open until it is told how to end it."""

    def __init__(self, log: Log, goal_id: str) -> None:
        self._log, self._goal_id = log, goal_id
        self.appended, self._go_on, self._undone = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self.appended.wait(10)

    def _run(self) -> None:
        with suppress(Undo), self._log.writing() as transaction:
            transaction.append("user:slow", 0, [created(self._goal_id)], CAUSE)
            self.appended.set()
            assert self._go_on.wait(10)
            if self._undone:
                raise Undo

    def end(self, *, undone: bool) -> None:
        """Commit or roll back."""
        self._undone = undone
        self._go_on.set()
        self._thread.join()


class Follower:
    """Reads on from what it has seen, as who follows the log does."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.seen: list[Recorded] = []

    def look(self) -> list[int]:
        """All positions so far."""
        self.seen += self._log.read(self.seen[-1].position if self.seen else 0)
        return [line.position for line in self.seen]


@pytest.mark.parametrize("undone", [False, True], ids=["committed", "rolled back"])
def test_an_append_behind_a_slow_one_waits_and_a_follower_gets_every_position_in_order(url: str, undone: bool) -> None:
    with opened(url) as one, opened(url) as two, opened(url) as three, ThreadPoolExecutor(1) as pool:
        record(one.log, "first", created("first"))
        follower = Follower(three.log)
        slow = Slow(one.log, "slow")
        fast = pool.submit(record, two.log, "fast", created("fast"))
        wait_until(lambda: waiting(url) == 1)
        before = follower.look()
        slow.end(undone=undone)
        (line,) = fast.result()
        after = follower.look()

    assert before == [1]
    assert line.position == (2 if undone else 3)
    assert after == list(range(1, line.position + 1))
    assert [seen.subject for seen in follower.seen] == (["first", "fast"] if undone else ["first", "slow", "fast"])


def test_of_many_slow_and_fast_appends_a_follower_misses_none_and_sees_none_early(newest: str) -> None:
    with ExitStack() as stack:
        logs = [stack.enter_context(opened(newest)).log for _ in range(3)]
        follower = Follower(logs[2])
        pool = stack.enter_context(ThreadPoolExecutor(1))
        for turn in range(5):
            slow = Slow(logs[0], f"slow-{turn}") if turn == 0 else None
            fast = pool.submit(record, logs[1], "fast", *(created(f"fast-{turn}-{n}") for n in range(3)))
            if slow:
                wait_until(lambda: waiting(newest) == 1)
                assert follower.look() == []
                slow.end(undone=False)
            fast.result()
            follower.look()

        assert [line.position for line in follower.seen] == list(range(1, 17))
        assert follower.seen == logs[0].read()


@pytest.mark.parametrize("place", ["this database", "another database"])
def test_a_strangers_open_transaction_holds_neither_writers_nor_followers_up(
    url: str, version: str, place: str
) -> None:
    """It has a number, a snapshot, and locks of its own, as a long report has."""
    with ExitStack() as stack:
        storage, other = stack.enter_context(opened(url)), stack.enter_context(opened(url))
        follower = Follower(other.log)
        elsewhere = postgres.shared(version).url("postgres")
        stranger = stack.enter_context(connected(url if place == "this database" else elsewhere))
        stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        stranger.execute("CREATE TEMP TABLE mine AS SELECT pg_current_xact_id()")
        if place == "this database":
            stranger.execute("SELECT count(*) FROM es_goals.events, es_goals.counter")
        seen = []
        for number in range(1, 6):
            record(storage.log, "ann", created(f"goal-{number}"))
            seen.append(follower.look())
        stranger.execute("ROLLBACK")

    assert seen == [list(range(1, number + 1)) for number in range(1, 6)]


def test_no_transactions_number_is_kept_and_no_sequence_gives_a_position(url: str) -> None:
    with opened(url):
        pass
    columns = execute(
        url,
        "SELECT format_type(atttypid, NULL), attidentity, atthasdef AND relname <> 'users' FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = 'es_goals'::regnamespace AND attnum > 0 AND relkind = 'r'",
    )
    kinds = execute(url, "SELECT DISTINCT relkind FROM pg_class WHERE relnamespace = 'es_goals'::regnamespace")

    assert {kind for kind, _, _ in columns} == {"text", "integer", "bigint", "bytea"}
    assert {(identity, default) for _, identity, default in columns} == {("", False)}
    assert {kind for (kind,) in kinds} == {"r", "i"}


# The database defends the log.


class Roles(NamedTuple):
    """One database, as each of those who may be in it."""

    root: str
    owner: str
    service: str
    stranger: str


def roles_on(url: str) -> Roles:
    """The database given to an owner who is no superuser, and a service role that the owner may hand things to."""
    with connected(url) as connection:
        for role in (OWNER, SERVICE, STRANGER):
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchall():
                connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT {SERVICE} TO {OWNER}")
        connection.execute(f"ALTER DATABASE {connection.info.dbname} OWNER TO {OWNER}")
    return Roles(url, *(url.replace(f"//{postgres.SERVICE_USER}", f"//{role}") for role in (OWNER, SERVICE, STRANGER)))


CREDENTIALS: list[Credential] = [
    Password("ann", "a hash"),
    Token("token", "ann", "laptop", "read", "its hash", 1, 2),
    Identity("issuer subject", "ann"),
]


@pytest.fixture(scope="module", params=postgres.VERSIONS)
def attacked(request: pytest.FixtureRequest) -> Iterator[Roles]:
    """A log that all attacks share, since each must leave it as it is: Ann's three events under a key, Bob's one."""
    with postgres.fresh(request.param) as url:
        roles = roles_on(url)
        migrate(roles.owner, wall_clock, service=SERVICE)
        with opened(roles.service) as storage:
            with storage.log.writing() as transaction:
                events: list[Event] = [created("a1"), created("a2"), GoalRenamed("a1", "x")]
                transaction.append("user:ann", 0, events, Cause("command-1"))
                transaction.store_key(StoredKey("user:ann", "key", b"digest", 1, 3))
                transaction.add_user(User("ann", "Ann", None, 1))
                for credential in CREDENTIALS:
                    transaction.add(credential)
            record(storage.log, "bob", created("b1"))
            storage.views.live(Model())
        with ExitStack() as kept:
            _KEPT.update({role: kept.enter_context(connected(role)) for role in roles})
            yield roles
            _KEPT.clear()


SESSIONS_TABLES = ("origin", "sessions", "uses", "attempts")
DEFENDED = ("events", "commands", "counter", "log", "users", "passwords", "tokens", "identities")


MADE = (
    "SELECT relname, relowner, relacl::text, relhastriggers, relrowsecurity FROM pg_class"
    " WHERE relnamespace = 'es_goals'::regnamespace ORDER BY 1",
    "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT proname, proowner, proacl::text, prosrc FROM pg_proc WHERE pronamespace = 'es_goals'::regnamespace"
    " ORDER BY 1",
)


def contents(url: str) -> list[list[tuple[Any, ...]]]:
    with connected(url) as connection:
        tables = [f"SELECT * FROM es_goals.{table} ORDER BY 1, 2" for table in DEFENDED]
        return [connection.execute(sql).fetchall() for sql in tables]


def made(url: str) -> list[tuple[Any, ...]]:
    """What is in the log's schema, whose it is, who may do what, and whether the triggers are on."""
    with connected(url) as connection:
        return [row for sql in MADE for row in connection.execute(sql).fetchall()]


def row(
    position: str = "5",
    stream: str = "'user:ann'",
    version: str = "4",
    type: str = "GoalRenamed",
    subject: str = "a1",
    at: str = str(LATE),
) -> str:
    return f"({position}, {stream}, {version}, '{type}', '{subject}', {at}, NULL, 'c', NULL, '\\x7b7d')"


def test_the_next_lines_are_taken_by_the_database(newest: str) -> None:
    with opened(newest) as storage:
        record(storage.log, "ann", created("a1"))
        lines = [row("2", version="2"), row("3", "'user:bob'", "1"), row("4", version="3", at=str(LATE + 1))]
        execute(newest, f"INSERT INTO es_goals.events VALUES {', '.join(lines)}")

        assert [(line.position, line.stream, line.version) for line in storage.log.read(1)] == [
            (2, "user:ann", 2), (3, "user:bob", 1), (4, "user:ann", 3)
        ]  # fmt: skip
        assert (storage.log.head().position, storage.log.head().at) == (4, LATE + 1)
        assert engine_of(storage.log).integrity() == []


OUT_OF_ORDER = [
    *(pytest.param(line, id=wrong) for wrong, line in out_of_order(row).items()),
    pytest.param(row(at="NULL"), id="no at"),
    pytest.param(f"{row()}, {row('7', version='5')}", id="a gap between two"),
    pytest.param(f"{row()}, {row('5', version='5')}", id="one position twice"),
    pytest.param(f"{row()}, {row('6', version='6')}", id="a gap between two versions"),
    pytest.param(f"{row()}, {row('6', version='4')}", id="one version twice"),
    pytest.param(f"{row()}, {row('6', version='5', at=str(LATE - 1))}", id="at goes back within"),
    pytest.param(f"{row('6')}, {row('5', version='5')}", id="versions against positions"),
    pytest.param(
        f"{row()}, {row('6', version='6')}, {row('7', version='5')}", id="versions against positions behind the next"
    ),
    pytest.param(
        f"{row(stream=repr('user:n'), version='2')}, {row('6', stream=repr('user:n'), version='1')}",
        id="a new stream the wrong way round",
    ),
]


@pytest.mark.parametrize("line", OUT_OF_ORDER)
def test_the_database_refuses_lines_that_are_not_the_next_ones(attacked: Roles, line: str) -> None:
    before = contents(attacked.root)
    for role in (attacked.service, attacked.owner):
        with pytest.raises((errors.RaiseException, errors.IntegrityError)):
            execute(role, f"INSERT INTO es_goals.events VALUES {line}")
        execute(role, f"INSERT INTO es_goals.events VALUES {row('1')} ON CONFLICT DO NOTHING")

    assert contents(attacked.root) == before


def test_one_statement_of_two_inserts_is_judged_as_any_other(attacked: Roles) -> None:
    before, two = contents(attacked.root), (row(version="5"), row("6"))
    with pytest.raises(errors.RaiseException):
        execute(
            attacked.service,
            f"WITH one AS (INSERT INTO es_goals.events VALUES {two[0]}) INSERT INTO es_goals.events VALUES {two[1]}",
        )

    assert contents(attacked.root) == before


@pytest.mark.parametrize("lines", ["6\tuser:ann\t4", "5\tuser:ann\t5", "4\tuser:bob\t2"])
def test_copy_from_is_judged_as_any_insert(attacked: Roles, lines: str) -> None:
    before = contents(attacked.root)
    for role in (attacked.service, attacked.owner):
        with (
            pytest.raises((errors.RaiseException, errors.IntegrityError)),
            connected(role) as connection,
            connection.cursor().copy("COPY es_goals.events FROM STDIN") as copy,
        ):
            copy.write(f"{lines}\tGoalRenamed\ta1\t{LATE}\t\\N\tc\t\\N\t\\\\x7b7d\n")

    assert contents(attacked.root) == before


CHANGES = [
    "UPDATE es_goals.events SET data = '\\x7b7d'",
    "UPDATE es_goals.events SET at = at + 1 WHERE position = 4",
    "UPDATE ONLY es_goals.events SET position = 5 WHERE position = 4",
    "UPDATE es_goals.events SET reason = 'x' WHERE false",
    "DELETE FROM es_goals.events",
    "DELETE FROM es_goals.events WHERE position = 4",
    "TRUNCATE es_goals.events",
    "TRUNCATE es_goals.commands, es_goals.events CASCADE",
    f"INSERT INTO es_goals.events VALUES {row('1')} ON CONFLICT (position) DO UPDATE SET data = '\\x00'",
    f"INSERT INTO es_goals.events VALUES {row(type='GoalCreated')} ON CONFLICT (subject) WHERE type = 'GoalCreated'"
    " DO UPDATE SET data = '\\x00'",
    "MERGE INTO es_goals.events USING (VALUES (4)) AS one(n) ON position = n WHEN MATCHED THEN DELETE",
    "MERGE INTO es_goals.events USING (VALUES (4)) AS one(n) ON position = n WHEN MATCHED THEN UPDATE SET at = 0",
    "WITH gone AS (DELETE FROM es_goals.events RETURNING 1) SELECT count(*) FROM gone",
    "UPDATE es_goals.commands SET digest = '\\x00'",
    "DELETE FROM es_goals.commands",
    "TRUNCATE es_goals.commands",
    "INSERT INTO es_goals.commands VALUES ('user:ann', 'key', '\\x00', 1, 1)"
    " ON CONFLICT (stream, key) DO UPDATE SET first = 4",
    "MERGE INTO es_goals.commands USING (VALUES (1)) AS one(n) ON first = n WHEN MATCHED THEN DELETE",
]


@pytest.mark.parametrize("attack", CHANGES)
def test_the_database_refuses_what_would_change_the_log_whoever_asks(attacked: Roles, attack: str) -> None:
    before = contents(attacked.root)
    with pytest.raises(errors.InsufficientPrivilege):
        execute(attacked.service, attack)
    with pytest.raises(errors.RaiseException, match="append-only"):
        execute(attacked.owner, attack)
    with pytest.raises(errors.RaiseException, match="append-only"):
        execute(attacked.root, "BEGIN", "SET LOCAL session_replication_role = replica", attack)

    assert contents(attacked.root) == before


NOT_THE_SERVICES = [
    "UPDATE es_goals.counter SET position = 0",
    "INSERT INTO es_goals.counter VALUES (0, 0)",
    "DELETE FROM es_goals.counter",
    "SELECT position FROM es_goals.counter FOR UPDATE",
    "UPDATE es_goals.log SET schema = 1",
    "DELETE FROM es_goals.log",
    "UPDATE es_goals.users SET role = 'administrator'",
    "UPDATE es_goals.users SET id = 'eve'",
    "UPDATE es_goals.users SET created_at = 0",
    "INSERT INTO es_goals.users VALUES ('ann', 'Ann', 'ann', NULL, 1) ON CONFLICT (id) DO UPDATE SET role = 'auditor'",
    "DELETE FROM es_goals.users",
    "TRUNCATE es_goals.users CASCADE",
    "UPDATE es_goals.passwords SET user_id = 'bob'",
    "DELETE FROM es_goals.passwords",
    "TRUNCATE es_goals.passwords",
    *(
        f"UPDATE es_goals.tokens SET {column} = {column}"
        for column in ("id", "user_id", "name", "scope", "hash", "created_at", "expires_at")
    ),
    "DELETE FROM es_goals.tokens",
    "TRUNCATE es_goals.tokens",
    "UPDATE es_goals.identities SET user_id = 'bob'",
    "UPDATE es_goals.identities SET identity = 'another'",
    "DELETE FROM es_goals.identities",
    "TRUNCATE es_goals.identities",
    "DELETE FROM es_goals.probe",
    "SET session_replication_role = replica",
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    f"ALTER ROLE {SERVICE} SUPERUSER",
    f"GRANT {OWNER} TO {SERVICE}",
    "ALTER TABLE es_goals.events DISABLE TRIGGER ALL",
    "ALTER TABLE es_goals.events DISABLE TRIGGER events_stay",
    "ALTER TABLE es_goals.events ADD COLUMN x int",
    f"ALTER TABLE es_goals.events OWNER TO {SERVICE}",
    "DROP TRIGGER events_stay ON es_goals.events",
    "DROP TABLE es_goals.events",
    "DROP SCHEMA es_goals CASCADE",
    f"ALTER SCHEMA es_goals OWNER TO {SERVICE}",
    "DROP FUNCTION es_goals.append_only() CASCADE",
    "CREATE OR REPLACE FUNCTION es_goals.append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION es_goals.lock_log() RETURNS es_goals.counter LANGUAGE sql AS 'SELECT 0, 0'",
    "ALTER FUNCTION es_goals.append_only() RENAME TO other",
    "CREATE TABLE es_goals.mine (x int)",
    "CREATE FUNCTION es_goals.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW es_goals.mine AS SELECT 1",
    "CREATE TABLE es_goals_views.more () INHERITS (es_goals.events)",
    "CREATE RULE mine AS ON INSERT TO es_goals.events DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON es_goals.events EXECUTE FUNCTION es_goals.append_only()",
    "CREATE TABLE es_goals_views.x (position int REFERENCES es_goals.events)",
    "SELECT es_goals.events_come_next()",
    "SELECT es_goals.append_only()",
    # A table of its own, whose rows would move the counter.
    "CREATE TEMP TABLE x AS TABLE es_goals.events; CREATE TRIGGER mine AFTER INSERT ON x REFERENCING NEW TABLE AS added"
    " EXECUTE FUNCTION es_goals.events_come_next()",
    "CREATE UNIQUE INDEX mine ON es_goals.events (actor)",
    "BEGIN; LOCK TABLE es_goals.events IN ACCESS EXCLUSIVE MODE",
]


@pytest.mark.parametrize("attack", NOT_THE_SERVICES)
def test_who_serves_may_read_and_append_and_nothing_more(attacked: Roles, attack: str) -> None:
    before = (contents(attacked.root), made(attacked.root))
    with pytest.raises(errors.Error) as told:
        execute(attacked.service, attack)

    assert told.value.sqlstate in ("42501", "0A000")  # not permitted, or not a thing that can be called
    assert (contents(attacked.root), made(attacked.root)) == before


CHANGES_OF_ACCOUNTS = [
    *(f"UPDATE es_goals.users SET {column} = {column}" for column in ("name", "folded", "email")),
    *(f"UPDATE es_goals.users SET {column} = {column}" for column in ("disabled_at", "password_at")),
    "UPDATE es_goals.passwords SET hash = hash",
    "UPDATE es_goals.tokens SET revoked_at = revoked_at",
    *(f"DELETE FROM es_goals_sessions.{table} WHERE false" for table in SESSIONS_TABLES),
]


def test_who_serves_may_change_of_an_account_what_changes_and_forget_sessions(attacked: Roles) -> None:
    before = contents(attacked.root)
    execute(attacked.service, *CHANGES_OF_ACCOUNTS)

    assert contents(attacked.root) == before


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO es_goals.users VALUES ('eve', 'Eve', 'eve', NULL, 1, 'god')",
        "INSERT INTO es_goals.users VALUES ('eve', 'ANN', 'ann', NULL, 1)",
        "INSERT INTO es_goals.passwords VALUES ('ann', 'another')",
        "INSERT INTO es_goals.passwords VALUES ('nobody', 'hash')",
        "INSERT INTO es_goals.tokens VALUES ('t', 'ann', '', 'read', 'its hash', 1, 2)",
        "INSERT INTO es_goals.tokens VALUES ('t', 'ann', '', 'all', 'hash', 1, 2)",
        "INSERT INTO es_goals.tokens VALUES ('t', 'nobody', '', 'read', 'hash', 1, 2)",
        "INSERT INTO es_goals.identities VALUES ('issuer subject', 'ann')",
        "INSERT INTO es_goals.identities VALUES ('another', 'nobody')",
    ],
)
def test_the_database_refuses_accounts_that_cannot_be(attacked: Roles, attack: str) -> None:
    before = contents(attacked.root)
    with pytest.raises(errors.IntegrityError):
        execute(attacked.service, attack)

    assert contents(attacked.root) == before


def test_who_serves_can_give_nobody_more_than_it_has(attacked: Roles) -> None:
    before = made(attacked.root)
    for granted in ("ALL ON es_goals.events", "UPDATE ON es_goals.events", "ALL ON SCHEMA es_goals"):
        with suppress(errors.InsufficientPrivilege):  # else it is a warning
            execute(attacked.service, f"GRANT {granted} TO {SERVICE}, {STRANGER}")

    assert made(attacked.root) == before


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM es_goals.events",
        "SELECT es_goals.lock_log()",
        "SELECT * FROM es_goals_views.generations",
        *(f"SELECT * FROM es_goals.{table}" for table in ("users", "passwords", "tokens", "identities")),
        *(f"SELECT * FROM es_goals_sessions.{table}" for table in SESSIONS_TABLES),
    ],
)
def test_who_is_neither_owner_nor_service_sees_nothing(attacked: Roles, attack: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        execute(attacked.stranger, attack)


def test_a_function_of_the_service_is_not_taken_for_one_that_the_owner_calls(newest: str) -> None:
    """The owner's functions look for names in the owner's schema only."""
    roles = roles_on(newest)
    migrate(roles.owner, wall_clock, service=SERVICE)
    execute(
        roles.service,
        "CREATE FUNCTION es_goals_views.pg_notify(text, text) RETURNS void LANGUAGE sql"
        " AS 'UPDATE es_goals.counter SET position = 99'",
        "CREATE TABLE es_goals_views.counter (position bigint, at bigint)",
    )
    with connected(roles.service) as connection:
        connection.execute("SET search_path = es_goals_views, pg_catalog")
        connection.execute(f"INSERT INTO es_goals.events VALUES {row('1', version='1')}")

    assert execute(newest, "SELECT position FROM es_goals.counter") == [(1,)]


# Schemas.


def test_migrating_twice_changes_nothing(url: str) -> None:
    roles = roles_on(url)
    assert migrate(roles.owner, wall_clock, service=SERVICE) == SCHEMA
    with opened(roles.service) as storage:
        record(storage.log, "ann", created("a1"))
    before = (contents(url), made(url))
    migrate(roles.owner, wall_clock, service=SERVICE)
    migrate(roles.owner, wall_clock)

    assert (contents(url), made(url)) == before


@pytest.mark.parametrize("how", ["migrating", "opening"])
def test_who_make_a_log_at_once_make_one(newest: str, how: str) -> None:
    def make(_: int) -> str:
        together.wait()
        if how == "migrating":
            migrate(newest, wall_clock, service=postgres.SERVICE_USER)
        with opened(newest) as storage:
            return storage.log.id

    for _ in range(3):
        together = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(make, range(4)))

        assert len(ids) == 1
        assert execute(newest, "SELECT id, schema FROM es_goals.log") == [(*ids, SCHEMA)]
        execute(newest, "DROP SCHEMA es_goals, es_goals_views, es_goals_sessions CASCADE")


def open_new_logs(number: str) -> None:
    say("ready")
    while url := input():
        with opened(url) as storage:
            for count in range(5):
                record(storage.log, number, created(f"{number}-{count}"))
            say(storage.log.id)


def test_nodes_that_start_together_on_a_new_database_make_one_log(newest: str) -> None:
    with start(open_new_logs, "1") as one, start(open_new_logs, "2") as two:
        children = (one, two)
        assert [hear(child) for child in children] == ["ready", "ready"]
        for _ in range(3):
            for child in children:
                tell(child, newest)
            ids = {hear(child) for child in children}

            with opened(newest) as storage:
                lines = storage.log.read()
                assert ids == {storage.log.id}
            assert [line.position for line in lines] == list(range(1, 11))
            assert {line.subject for line in lines} == {f"{n}-{count}" for n in (1, 2) for count in range(5)}
            execute(newest, "DROP SCHEMA es_goals, es_goals_views, es_goals_sessions CASCADE")


def set_schema(engine: Engine, schema: int) -> None:
    if engine.url.startswith("postgresql"):
        execute(engine.url, f"UPDATE es_goals.log SET schema = {schema}")
    else:
        with opened(engine.url) as storage, storage.log.writing() as transaction:
            transaction._ask(f"UPDATE log SET schema = {schema}")  # type: ignore[attr-defined]


def test_migrating_makes_a_log_and_leaves_one_that_is_there(engine: Engine) -> None:
    assert migrate(engine.url, wall_clock) == SCHEMA
    storage = engine.open()
    record(storage.log, "ann", created("a1"))
    assert migrate(engine.url, wall_clock) == SCHEMA

    again = engine.open().log
    assert (again.id, again.head()) == (storage.log.id, storage.log.head())


def test_a_log_of_a_newer_schema_is_refused_and_left_as_it_is(engine: Engine) -> None:
    engine.open().close()
    set_schema(engine, SCHEMA + 1)

    for work in (lambda: open_storage(engine.url, wall_clock), lambda: migrate(engine.url, wall_clock)):
        with pytest.raises(Unusable, match=f"expected a log of schema {SCHEMA} or older; .*: upgrade the service"):
            work()


@pytest.mark.parametrize("how", ["migrating", "opening"])
def test_a_log_of_an_older_schema_is_upgraded_once(engine: Engine, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    log = engine.open().log
    record(log, "ann", created("a1"))
    for one, table in ((postgres_schema, "es_goals.probe"), (sqlite_module, "probe")):
        monkeypatch.setattr(one, "SCHEMA", SCHEMA + 2)
        steps = {SCHEMA + n: f"ALTER TABLE {table} ADD COLUMN note_{n} integer" for n in range(2)}
        monkeypatch.setattr(one, "_UPGRADES", steps)  # each would fail if it were done twice
    together = threading.Barrier(3)

    def upgrade(_: int) -> None:
        together.wait()
        if how == "migrating":
            migrate(engine.url, wall_clock)
        else:
            open_storage(engine.url, wall_clock).close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade, range(3)))

    upgraded = engine.open().log
    assert upgraded.read() == log.read()
    upgraded.probe()
    monkeypatch.undo()
    with pytest.raises(Unusable, match="upgrade the service"):
        open_storage(engine.url, wall_clock)


def test_an_upgrade_that_fails_half_way_leaves_the_schema_as_it_was(
    newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(newest):
        pass
    before = (contents(newest), made(newest))
    monkeypatch.setattr(postgres_schema, "SCHEMA", SCHEMA + 2)
    monkeypatch.setattr(postgres_schema, "_UPGRADES", {SCHEMA: "DROP TABLE es_goals.users", SCHEMA + 1: "SELECT 1 / 0"})
    with pytest.raises((StorageError, errors.DataError)):
        migrate(newest, wall_clock)

    assert (contents(newest), made(newest)) == before


def test_a_role_that_may_not_make_or_upgrade_a_log_is_told_what_may(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = roles_on(url)
    for role in (roles.service, roles.stranger):
        with pytest.raises(Unusable, match="es-goals migrate"):
            open_storage(role, wall_clock)
    assert execute(url, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'") == []
    migrate(roles.owner, wall_clock, service=SERVICE)
    with pytest.raises(Unusable, match="es-goals migrate"):
        open_storage(roles.stranger, wall_clock)
    monkeypatch.setattr(postgres_schema, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(postgres_schema, "_UPGRADES", {SCHEMA: "ALTER TABLE es_goals.users ADD COLUMN x int"})

    with pytest.raises(Unusable, match="es-goals migrate"):
        open_storage(roles.service, wall_clock)
    migrate(roles.owner, wall_clock)
    with opened(roles.service) as storage:
        record(storage.log, "ann", created("a1"))


SERVICE_2 = f"""
    GRANT USAGE ON SCHEMA es_goals TO {SERVICE};
    GRANT SELECT ON es_goals.log, es_goals.counter, es_goals.probe TO {SERVICE};
    GRANT SELECT, INSERT ON es_goals.events, es_goals.commands, es_goals.users TO {SERVICE};
    GRANT UPDATE ON es_goals.probe TO {SERVICE};
    GRANT EXECUTE ON FUNCTION es_goals.lock_log() TO {SERVICE};
    ALTER SCHEMA es_goals_views OWNER TO {SERVICE};
    ALTER TABLE es_goals_views.source OWNER TO {SERVICE};
    ALTER TABLE es_goals_views.generations OWNER TO {SERVICE};
"""


@pytest.fixture
def older(url: str) -> Roles:
    """A log of the first schema on PostgreSQL, with a user, events, a key and a read model, and a role that served."""
    roles = roles_on(url)
    with connected(roles.owner) as connection:
        for file in ("postgres/log.sql", "postgres/views.sql"):
            connection.execute(f"BEGIN; {statements(file)}; COMMIT")
        connection.execute("INSERT INTO es_goals.log VALUES ('the id', %s)", [BASE])
        connection.execute(SERVICE_2)
        connection.execute("INSERT INTO es_goals.users VALUES ('ann', 'Ann', 'ann', 'ann@example.org', 7)")
    lines = f"{row('1', version='1', type='GoalCreated')}, {row('2', version='2')}"
    execute(
        roles.service,
        f"INSERT INTO es_goals.events VALUES {lines}",
        "INSERT INTO es_goals.commands VALUES ('user:ann', 'key', '\\x01', 1, 2)",
        "INSERT INTO es_goals_views.generations (name, revision, shape, state, position)"
        " VALUES ('kept', 1, '', 'live', 2)",
    )
    return roles


KEPT = ("events", "commands", "counter", "probe")


def kept(roles: Roles) -> list[list[tuple[Any, ...]]]:
    tables = [*(f"es_goals.{table}" for table in KEPT), "es_goals_views.generations"]
    return [execute(roles.root, f"SELECT * FROM {table}") for table in tables]


def test_an_older_log_is_upgraded_with_all_that_is_in_it_and_who_served_can_use_all_of_it(older: Roles) -> None:
    before = kept(older)
    assert migrate(older.owner, wall_clock, service=SERVICE) == SCHEMA

    assert kept(older) == before
    ann = User("ann", "Ann", "ann@example.org", 7, "user", None, 0)
    session = Session("hash", "ann", "::1", 0, 1, LATE)
    with opened(older.service) as storage:
        assert (storage.log.id, storage.log.users(), storage.log.head().position) == ("the id", [ann], 2)
        with storage.log.writing() as transaction:
            transaction.change_user(User("ann", "Anna", None, 7, password_at=9))
            for credential in CREDENTIALS:
                transaction.add(credential)
            transaction.add(Password("ann", "another hash"))
            transaction.revoke("token", 8)
        record(storage.log, "bob", created("b1"))
        storage.sessions.begin(session)
        storage.sessions.purge_expired(0, 0, 0)
        assert storage.sessions.session("hash") == session
        assert storage.log.user_named("anna") == User("ann", "Anna", None, 7, password_at=9)
        assert storage.log.password("ann") == Password("ann", "another hash")
        assert [token.revoked_at for token in storage.log.tokens("ann")] == [8]


def test_what_an_upgrade_makes_is_what_a_new_log_has(older: Roles) -> None:
    migrate(older.owner, wall_clock, service=SERVICE)
    with postgres.fresh(postgres.VERSIONS[-1]) as url:
        roles = roles_on(url)
        migrate(roles.owner, wall_clock, service=SERVICE)

        assert shape(older.root) == shape(url)


def shape(url: str) -> list[list[tuple[Any, ...]]]:
    """The columns, indexes and rights of what is in our schemas."""
    ours = "IN ('es_goals', 'es_goals_views', 'es_goals_sessions')"
    questions = (
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default, collation_name"
        f" FROM information_schema.columns WHERE table_schema {ours}",
        f"SELECT tablename, indexdef FROM pg_indexes WHERE schemaname {ours}",
        "SELECT table_schema, table_name, column_name, grantee, privilege_type"
        f" FROM information_schema.column_privileges WHERE table_schema {ours}",
        f"SELECT schemaname, tablename, tableowner FROM pg_tables WHERE schemaname {ours}",
    )
    return [sorted(execute(url, question), key=str) for question in questions]


def test_a_role_that_could_serve_before_an_upgrade_and_was_given_no_more_is_told_what_to_do(older: Roles) -> None:
    with pytest.raises(Unusable, match="es-goals migrate"):
        open_storage(older.service, wall_clock)
    assert execute(older.root, "SELECT schema FROM es_goals.log") == [(BASE,)]
    migrate(older.owner, wall_clock)

    for options in (OPTIONS, STANDBY):
        with pytest.raises(Unusable, match=f"{SERVICE}, which may not: .* es-goals migrate --service {SERVICE}"):
            open_storage(older.service, wall_clock, options)
    with opened(older.owner) as storage:
        assert storage.log.users() == [User("ann", "Ann", "ann@example.org", 7)]
        assert storage.sessions.session("hash") is None
    migrate(older.owner, wall_clock, service=SERVICE)
    with opened(older.service) as storage:
        record(storage.log, "bob", created("b1"))


def test_names_are_compared_anew_by_the_owner_and_not_by_who_serves(url: str) -> None:
    roles = roles_on(url)
    migrate(roles.owner, wall_clock, service=SERVICE)
    with opened(roles.owner) as storage:
        compared_before(storage.log)
    with (
        capture_logs() as logged,
        pytest.raises(Unusable, match=r"expected a role that may do this: .*es-goals migrate"),
    ):
        open_storage(roles.service, wall_clock)
    before = execute(url, "SELECT folded FROM es_goals.users ORDER BY id")
    migrate(roles.owner, wall_clock)

    assert (logged, before) == ([], [(row.folded,) for row in MEETING])
    with opened(roles.service) as storage:
        assert [row.folded for row in storage.log.user_rows()] == ["id-nobody", "bob", "id-young", "zoe"]
        with storage.log.writing() as transaction:
            transaction.change_user(structs.replace(MEETING[2].user, email="bob@example.org"))
            transaction.copy_user(structs.replace(MEETING[2], folded="robert"))
        assert storage.log.user_named("Robert") == MEETING[2].user


def test_a_standby_that_has_not_followed_an_upgrade_yet_is_not_read_from(older: Roles) -> None:
    with pytest.raises(Unusable, match=f"expected a log of schema {SCHEMA}; found {BASE}"):
        open_storage(older.service, wall_clock, STANDBY)


def test_a_service_role_that_does_not_exist_is_named_and_nothing_is_made(newest: str) -> None:
    with pytest.raises(Unusable, match="expected a role that there is; found nobody_of_that_name"):
        migrate(newest, wall_clock, service="nobody_of_that_name")

    assert execute(newest, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'") == []


def test_what_the_owner_made_before_there_was_a_service_is_handed_over_too(url: str) -> None:
    roles, model = roles_on(url), Model()
    with opened(roles.owner) as storage:
        (line,) = record(storage.log, "ann", created("a1"))
        generation = storage.views.live(model)
    migrate(roles.owner, wall_clock, service=SERVICE)
    with opened(roles.service) as storage:
        row = model.fold(None, line)
        assert storage.views.save(model, generation, 1, line.command, {("ann", "a1"): row})
        assert storage.views.snapshot(model)[1] == [row]
        assert storage.views.replace_user(model, storage.views.live(model), "ann", [])


def test_a_generation_that_the_owner_makes_is_the_services(url: str) -> None:
    roles, model = roles_on(url), Model(indexes=(("last",),))
    migrate(roles.owner, wall_clock, service=SERVICE)
    with opened(roles.owner) as storage:
        (line,) = record(storage.log, "ann", created("a1"))
        storage.views.live(model)
        building = storage.views.building(model, make=True)
        assert building
        filled = storage.views.save(model, building, 1, line.command, {("ann", "a1"): model.fold(None, line)})
        assert filled
        assert storage.views.flip(model, filled)
    with opened(roles.service) as storage:
        live = storage.views.live(model)
        assert live.id == building.id
        assert storage.views.replace_user(model, live, "ann", [])
        assert storage.views.roll_back(model)
        storage.views.reset(storage.views.live(model))


# What is refused at the start.


def test_an_older_server_is_refused_before_anything_is_made(newest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "OLDEST_POSTGRES", 990_000)
    newer = postgres.VERSIONS[-1]
    for work in (lambda: open_storage(newest, wall_clock), lambda: migrate(newest, wall_clock)):
        with pytest.raises(Unusable, match=f"expected PostgreSQL 99 or newer; found {newer}"):
            work()

    assert execute(newest, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'") == []


def test_a_database_whose_encoding_is_not_utf8_is_refused_before_anything_is_made() -> None:
    server = postgres.shared(postgres.VERSIONS[-1])
    server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        for work in (
            lambda: open_storage(server.url("latin"), wall_clock),
            lambda: migrate(server.url("latin"), wall_clock),
        ):
            with pytest.raises(Unusable, match="expected a database whose encoding is UTF8; found LATIN1"):
                work()
        assert server.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'", "latin") == []
    finally:
        server.execute("DROP DATABASE latin WITH (FORCE)")


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """It takes no writes, as a standby does not."""
    setting = f"DATABASE {url.rpartition('/')[2]}"
    execute(url, f"ALTER {setting} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        execute(url, "SET default_transaction_read_only = off", f"ALTER {setting} RESET default_transaction_read_only")


def test_a_server_that_takes_no_writes_is_refused_unless_it_need_not(newest: str) -> None:
    with opened(newest) as storage:
        (line,) = record(storage.log, "ann", created("a1"))
    with read_only(newest):
        with pytest.raises(Unusable, match="read-only"):
            open_storage(newest, wall_clock)
        with opened(newest, STANDBY) as storage:
            assert storage.log.read() == [line]


def test_a_standby_without_a_log_is_told_so_and_not_written_to(newest: str) -> None:
    name = newest.rpartition("/")[2]

    with pytest.raises(Unusable, match=f"expected a log in {name}; found none"):
        open_storage(newest, wall_clock, STANDBY)
    assert execute(newest, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'es_goals%'") == []


def told(work: Callable[[], object]) -> str:
    """All that an operator, or a log, could be shown of why it is unusable."""
    with pytest.raises(Unusable) as found:
        work()
    return "".join(traceback.format_exception(found.value))


def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    url = f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/goals"
    for work in (open_storage, migrate):
        text = told(lambda: work(url, wall_clock))  # noqa: B023

        assert f"expected a PostgreSQL database at {shown(url)}; found: " in text
        assert "postgresql://ann@127.0.0.1:" in text
        assert PASSWORD not in text


def test_a_server_that_refuses_the_user_or_the_database_is_named_without_the_password(newest: str) -> None:
    known = newest.replace("@", f":{PASSWORD}@")
    for url in (known.replace("postgres:", "nobody:"), f"{known}_not"):
        text = told(lambda: open_storage(url, wall_clock))  # noqa: B023

        assert shown(url) in text
        assert "does not exist" in text
        assert PASSWORD not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:{}%zz@127.0.0.1/goals",
        "postgresql://ann:a@{}@127.0.0.1/goals",
        "postgresql://ann:a/{}@127.0.0.1/goals",
        "postgresql://ann:a/?{}@127.0.0.1/goals",
        "postgresql://ann:{}@127.0.0.1:port/goals",
        "postgresql://ann:{}@[::1/goals",
        "postgresql://ann:{}@127.0.0.1/goals?no=such",
        "postgresql://ann:{}@127.0.0.1/goals?connect_timeout",
        "postgresql://ann@127.0.0.1/goals?password={}&no=such",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_the_password(url: str) -> None:
    text = told(lambda: open_storage(url.format(PASSWORD), wall_clock, HURRIED))

    assert "expected a PostgreSQL" in text
    assert PASSWORD not in text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("events.db", "events.db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql:///db?host=/run", "postgresql:///db"),
        ("postgres://ann@h:5432/db", "postgres://ann@h:5432/db"),
        (f"postgresql://ann:{PASSWORD}@h1:1,h2:2/db?target_session_attrs=any", "postgresql://ann@h1:1,h2:2/db"),
        (f"postgresql://ann:?{PASSWORD}@[::1]:5432/db", "postgresql://ann@[::1]:5432/db"),
        (f"postgresql://ann:#{PASSWORD}@h/db", "postgresql://ann@h/db"),
        (f"postgresql://ann:a@{PASSWORD}@h/db", "postgresql://ann@h/db"),
        (f"postgresql://ann:a\n{PASSWORD}@h/db", "postgresql://ann@h/db"),
        (f"postgresql://h/db?password={PASSWORD}", "postgresql://h/db"),
        (f"postgresql://h/db?password=a@{PASSWORD}", "postgresql://h/db"),
        (f"postgresql://h?password={PASSWORD}@h", "postgresql://h@h"),
        (f"postgresql://ann:a/{PASSWORD}@h/db", "postgresql://"),
        (f"postgresql://ann:{PASSWORD}", "postgresql://"),
        (f"postgresql://ann:{PASSWORD}@[::1/db", "postgresql://"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, text: str) -> None:
    assert shown(url) == text


# What becomes of errors.

FAILS = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'made to fail' USING ERRCODE = '{}'; END $$;
    CREATE TRIGGER a_fails BEFORE INSERT ON es_goals.events EXECUTE FUNCTION fail();
"""
MENDED = "DROP FUNCTION fail() CASCADE"


@pytest.mark.parametrize(
    ("code", "alone", "together"),
    [
        ("disk_full", StorageFull, StorageFull),
        ("lock_not_available", StorageFailed, StorageFailed),
        ("deadlock_detected", StorageFailed, StorageFailed),
        ("insufficient_privilege", Unusable, StorageFailed),
        ("out_of_memory", StorageFailed, OutcomeUnknown),
        ("query_canceled", StorageFailed, OutcomeUnknown),
        ("data_corrupted", Unusable, OutcomeUnknown),
        ("index_corrupted", Unusable, OutcomeUnknown),
        ("read_only_sql_transaction", StorageFailed, OutcomeUnknown),
        ("serialization_failure", StorageFailed, OutcomeUnknown),
        ("unique_violation", StorageError, BatchConflict),
    ],
)
def test_an_error_of_the_database_is_told_as_one_of_ours_and_the_log_goes_on(
    newest: str, code: str, alone: type[StorageError], together: type[StorageError]
) -> None:
    """Written alone, before the commit; or with it, when nobody can say what became of it."""
    with opened(newest) as storage:
        execute(newest, FAILS.format(code))
        with pytest.raises(alone):
            record(storage.log, "ann", created("a1"))
        with pytest.raises(together), storage.log.writing() as transaction, transaction.batch():
            transaction.append("user:ann", 0, [created("a1")], CAUSE)
        execute(newest, MENDED)
        (line,) = record(storage.log, "ann", created("a1"))

    assert line.position == 1


WARNS = """
    CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE {} 'not on the standby'; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER warns AFTER INSERT ON es_goals.events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION warn()
"""


def test_a_warning_at_the_commit_makes_its_outcome_unknown(newest: str) -> None:
    with opened(newest) as storage:
        execute(newest, WARNS.format("WARNING"))
        with pytest.raises(OutcomeUnknown, match="not on the standby"):
            record(storage.log, "ann", created("a1"))
        kept = storage.log.head().position
        execute(newest, "DROP FUNCTION warn() CASCADE")
        record(storage.log, "ann", created("a2"))  # on the same connection: it is not warned of twice

        assert (kept, storage.log.head().position) == (1, 2)


def test_what_is_less_than_a_warning_makes_no_outcome_unknown(newest: str) -> None:
    with opened(newest) as storage:
        execute(newest, WARNS.format("NOTICE"))

        assert record(storage.log, "ann", created("a1"))[0].position == 1


@contextmanager
def waiting_for_a_standby(version: str) -> Iterator[None]:
    """Every commit on this server waits for one that is not there."""
    server = postgres.shared(version)

    def change(change: str, waits: bool) -> None:
        server.execute(f"ALTER SYSTEM {change}")
        server.execute("SELECT pg_reload_conf()")
        wait_until(lambda: commits_wait(server.url("postgres")) == waits)

    change("SET synchronous_standby_names = 'nobody'", waits=True)
    try:
        yield
    finally:
        change("RESET synchronous_standby_names", waits=False)


def commits_wait(url: str) -> bool:
    """Whether one does, tried with a commit of nothing that must be kept."""
    with connected(url) as connection, ThreadPoolExecutor(1) as pool:
        pid = connection.info.backend_pid
        trying = pool.submit(connection.execute, "SELECT pg_current_xact_id(), pg_logical_emit_message(true, 'x', 'x')")
        wait_until(lambda: trying.done() or waits_for_standby(url, f"pid = {pid}"))
        waited = not trying.done()
        if waited:
            execute(url, f"SELECT pg_cancel_backend({pid})")
        trying.result()
        return waited


def waits_for_standby(url: str, who: str) -> bool:
    return bool(execute(url, f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND {who}"))


def test_a_wait_for_the_standby_that_is_cancelled_makes_the_outcome_unknown(version: str, url: str) -> None:
    ours = "application_name = 'es-goals' AND datname = current_database()"
    with opened(url) as storage, ThreadPoolExecutor(1) as pool:
        with waiting_for_a_standby(version):
            recording = pool.submit(record, storage.log, "ann", created("a1"))
            wait_until(lambda: waits_for_standby(url, ours))
            seen_early = storage.log.head().position
            execute(url, f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND {ours}")
            with pytest.raises(OutcomeUnknown, match="canceling wait for synchronous replication"):
                recording.result()
        record(storage.log, "ann", created("a2"))

        assert (seen_early, storage.log.head().position) == (0, 2)


def test_a_commit_whose_standby_does_not_answer_by_the_deadline_is_unknown_too(newest: str) -> None:
    with opened(newest, HURRIED) as storage:
        with (
            waiting_for_a_standby(postgres.VERSIONS[-1]),
            pytest.raises(OutcomeUnknown, match="no answer from the server within"),
        ):
            record(storage.log, "ann", created("a1"))
        wait_until(lambda: takes(storage.log))

        assert [line.subject for line in storage.log.read()] == ["a1", "b1"]


@pytest.fixture
def small() -> Iterator[tuple[str, Path]]:
    """A database on a disk that is soon full, and that disk; what makes its commits last is elsewhere."""
    server = postgres.shared(postgres.VERSIONS[-1])
    # Where the server may go, which is somebody else.
    with small_disk(server.folder.parent / "disk", "32m") as disk:
        (disk / "space").mkdir()
        if os.geteuid() == 0:
            shutil.chown(disk / "space", "nobody", "nogroup")
        server.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
        server.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        try:
            yield server.url("small"), disk
        finally:
            server.execute("DROP DATABASE small WITH (FORCE)")
            server.execute("DROP TABLESPACE small")


def test_a_full_disk_is_told_as_such_and_reads_go_on(small: tuple[str, Path]) -> None:
    url, disk = small

    def record_until_full() -> None:
        while True:
            record(storage.log, "ann", *(GoalRenamed("a1", os.urandom(3000).hex()) for _ in range(50)))

    with opened(url) as storage:
        record(storage.log, "ann", created("a1"))
        fill_up(disk)
        with pytest.raises(StorageFull):
            record_until_full()
        assert storage.log.read(limit=1)[0].subject == "a1"
        (disk / "filler").unlink()
        record(storage.log, "ann", created("a2"))

        assert storage.log.owner("a2") == "ann"


# Connections.


def test_each_connection_searches_and_writes_as_it_must(url: str) -> None:
    names = ("search_path", "synchronous_commit", "statement_timeout", "lock_timeout", "application_name")
    with opened(url, Options(deadline=2.0, connections=10)) as storage:
        log = engine_of(storage.log)
        found = [log._connections.rows(f"SHOW {name}", ())[0][0] for name in names]
        with log._connections.unpooled() as connection:
            alone = [connection.execute(f"SHOW {name}").fetchall()[0][0] for name in names]

    assert (
        found == alone == ["es_goals, es_goals_views, es_goals_sessions, pg_temp", "on", "1800ms", "1800ms", "es-goals"]
    )


SCANS = "SELECT sum(seq_scan), sum(idx_scan) FROM pg_stat_user_tables WHERE relname IN ('events', 'commands', 'users')"


def test_a_plan_that_was_made_when_a_table_was_small_does_not_read_all_of_it(url: str) -> None:
    """The server keeps it until it has counted the rows again."""

    def work(log: Log, version: int) -> None:
        for number in range(version, version + 12):  # a plan is kept from the tenth time on
            with log.writing() as transaction:
                transaction.prefetch([("user:ann", str(number))], [])
                line = transaction.append("user:ann", number, [created(f"a{number}")], CAUSE)[0]
                transaction.store_key(StoredKey("user:ann", str(number), b"", line.position, line.position))
            assert log.read(line.position - 1) == log.read(line.position - 1, stream="user:ann") == [line]
            assert log.owner(str(line.subject)) == "ann"
            assert log.user("ann") is log.user_named("ann") is None

    def scans() -> list[int]:
        wait_until(lambda: not execute(url, f"SELECT {BACKENDS}"))  # what they did is counted when they end
        return [int(count) for count in execute(url, SCANS)[0]]

    with opened(url) as storage:
        work(storage.log, 0)
    execute(url, "ANALYZE")
    read_whole, by_index = scans()
    with opened(url) as storage:
        work(storage.log, 12)
    read_whole_then, by_index_then = scans()

    assert read_whole_then == read_whole
    assert by_index_then > by_index


@pytest.mark.parametrize(("given", "kept"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_whatever_the_server_does_otherwise_a_commit_is_told_when_it_is_on_disk(
    newest: str, given: str, kept: str
) -> None:
    with opened(f"{newest}?options=-csynchronous_commit%3D{given}") as storage:
        assert engine_of(storage.log)._connections.rows("SHOW synchronous_commit", ()) == [(kept,)]


def test_connections_that_broke_are_replaced_and_the_read_is_repeated(url: str) -> None:
    with opened(url) as storage:
        (line,) = record(storage.log, "ann", created("a1"))
        model = Model()
        storage.views.live(model)
        for _ in range(3):
            end_connections(url)

            assert storage.log.read() == [line]


def test_a_connection_that_breaks_before_the_commit_leaves_nothing_and_the_next_append_works(url: str) -> None:
    with opened(url) as storage:

        def break_half_way() -> None:
            with storage.log.writing() as transaction:
                transaction.append("user:ann", 0, [created("a1")], CAUSE)
                end_connections(url)
                transaction.append("user:ann", 1, [created("a2")], CAUSE)

        with pytest.raises(StorageFailed):
            break_half_way()
        wait_until(lambda: takes(storage.log))

        assert [line.subject for line in storage.log.read()] == ["b1"]


def takes(log: Log) -> bool:
    """Whether an append is taken; a pool may still hold connections that have broken."""
    try:
        record(log, "bob", created("b1"))
    except Unavailable:
        return False
    return True


def test_a_connection_that_breaks_with_the_commit_under_way_leaves_the_outcome_unknown(url: str) -> None:
    with opened(url) as storage:

        def break_at_the_end() -> None:
            with storage.log.writing() as transaction, transaction.batch():
                transaction.append("user:ann", 0, [created("a1")], CAUSE)
                end_connections(url)

        with pytest.raises(OutcomeUnknown):
            break_at_the_end()
        wait_until(lambda: takes(storage.log))

        assert [line.subject for line in storage.log.read()] == ["b1"]


def test_whoever_waits_for_the_lock_longer_than_the_deadline_is_told_so_and_harms_nobody(url: str) -> None:
    with opened(url) as one, opened(url, HURRIED) as two:
        slow = Slow(one.log, "slow")
        with pytest.raises(StorageFailed, match="timeout"):
            record(two.log, "fast", created("fast"))
        slow.end(undone=False)
        record(two.log, "fast", created("fast"))

        assert [line.subject for line in two.log.read()] == ["slow", "fast"]


def test_a_statement_that_takes_longer_than_the_deadline_is_ended_on_the_server_too(url: str) -> None:
    with opened(url, HURRIED) as storage:
        with pytest.raises(StorageFailed, match="statement timeout"):
            engine_of(storage.log)._connections.rows("SELECT pg_sleep(60)", ())

        assert execute(url, f"SELECT pid {BACKENDS} AND query LIKE '%pg_sleep%' AND state = 'active'") == []
        assert storage.log.head().position == 0


def test_a_transaction_that_is_left_open_longer_than_the_deadline_lets_the_lock_go(newest: str) -> None:
    with opened(newest, HURRIED) as one, opened(newest) as two:

        def leave_open() -> None:
            with one.log.writing() as transaction:
                transaction.append("user:ann", 0, [created("a1")], CAUSE)
                record(two.log, "bob", created("b1"))  # waits until the server has ended that one

        with pytest.raises(Unavailable):
            leave_open()

        assert [line.subject for line in two.log.read()] == ["b1"]


def test_a_server_that_falls_silent_is_given_up_at_the_deadline(newest: str) -> None:
    with opened(newest, HURRIED) as storage:
        record(storage.log, "ann", created("a1"))
        pids = [pid for (pid,) in execute(newest, f"SELECT pid {BACKENDS} AND application_name = 'es-goals'")]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StorageFailed, match="no answer from the server within"):
                storage.log.head()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

        assert storage.log.head().position == 1


def test_whoever_finds_all_connections_taken_waits_until_the_deadline_and_no_longer(url: str) -> None:
    with opened(url, HURRIED) as storage:
        connections = engine_of(storage.log)._connections
        with connections.borrow(), connections.borrow(), pytest.raises(StorageFailed, match="cannot be reached"):
            storage.log.head()

        assert storage.log.head().position == 0


def test_however_many_threads_ask_no_more_connections_are_made_than_permitted(newest: str) -> None:
    threads = 8
    together = threading.Barrier(threads)
    with opened(newest, Options(deadline=5.0, connections=2)) as storage, ThreadPoolExecutor(threads) as pool:

        def ask(_: int) -> int:
            together.wait()
            engine_of(storage.log)._connections.rows("SELECT pg_sleep(0.01)", ())
            found = engine_of(storage.log)._connections.rows(f"SELECT count(*) {BACKENDS}", ())
            return int(found[0][0]) + 1

        counts = list(pool.map(ask, range(threads)))

    assert max(counts) == 2


def test_a_closed_log_leaves_no_connection_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_log, "LISTEN_AGAIN_SECONDS", 0.05)
    with opened(url) as storage:
        woken = threading.Event()
        storage.log.watch(woken.set)
        record(storage.log, "ann", created("a1"))
        during = execute(url, f"SELECT pid {BACKENDS}")

    assert during
    wait_until(lambda: execute(url, f"SELECT pid {BACKENDS}") == [])


def test_a_log_is_not_used_in_a_fork_of_the_process_that_opened_it(newest: str) -> None:
    with opened(newest) as storage:
        connections = engine_of(storage.log)._connections
        connections._pid -= 1  # as it is seen in a fork

        with pytest.raises(Unusable, match="found a fork"):
            storage.log.head()


# What is asked.


NUL = "a\0b"


def test_what_holds_a_nul_is_found_nowhere(newest: str) -> None:
    with opened(newest) as storage:
        record(storage.log, "ann", created("a1"))
        log = storage.log

        assert [log.user(NUL), log.user_named(NUL), log.owner(NUL), log.stored_key("user:ann", NUL)] == [None] * 4
        assert [log.password(NUL), log.token(NUL), log.identity(NUL), storage.sessions.session(NUL)] == [None] * 4
        assert [log.tokens(NUL), log.tokens("ann", NUL), log.credentials(Token, NUL)] == [[], [], []]
        assert log.stream_head(NUL) == StreamHead()
        with log.writing() as transaction:
            assert [transaction.user(NUL), transaction.identity(NUL), transaction.owner(NUL)] == [None] * 3
            transaction.revoke(NUL, 1)
            assert (transaction.tokens(NUL), transaction.head().position) == ([], 1)
        assert [log.read(stream=NUL), log.read(subject=NUL), log.read(type=NUL)] == [[], [], []]
        assert log.head().position == 1


@pytest.mark.parametrize(
    "cause", [Cause(NUL), Cause("c", NUL), Cause("c", None, NUL)], ids=["command", "actor", "reason"]
)
def test_what_holds_a_nul_is_refused_and_harms_nothing_else(newest: str, cause: Cause) -> None:
    with opened(newest) as storage:
        with storage.log.writing() as transaction:
            for work in (
                lambda: transaction.append("user:ann", 0, [created("a1")], cause),
                lambda: transaction.add_user(User("ann", NUL, None, 1)),
                lambda: transaction.store_key(StoredKey("user:ann", NUL, b"", 1, 1)),
            ):
                with pytest.raises(StorageError):
                    work()
            transaction.append("user:ann", 0, [created("a1", name=NUL)], CAUSE)

        assert [line.event for line in storage.log.read()] == [created("a1", name=NUL)]


def test_a_key_that_was_looked_up_ahead_is_what_was_kept_and_undone_since(url: str) -> None:
    one, other = (StoredKey("user:ann", key, bytes(32), 1, 1) for key in ("one", "other"))
    with opened(url) as storage:
        with storage.log.writing() as transaction:
            transaction.append("user:ann", 0, [created("a1")], CAUSE)
            transaction.store_key(other)
        with storage.log.writing() as transaction, transaction.batch():
            transaction.prefetch([("user:ann", "one"), ("user:ann", "other"), ("user:bob", "one")], [])
            ahead = [transaction.stored_key("user:ann", key) for key in ("one", "other")]
            with suppress(Undo), transaction.savepoint():
                transaction.store_key(one)
                assert transaction.head().position == 1  # which has it written
                kept = transaction.stored_key("user:ann", "one")
                raise Undo
            undone = transaction.stored_key("user:ann", "one")
            transaction.store_key(one)
            again = transaction.stored_key("user:ann", "one")

        assert ahead == [None, other]
        assert (kept, undone, again) == (one, None, one)
        assert storage.log.stored_key("user:ann", "one") == one


def test_keys_looked_up_ahead_cost_one_question_however_many(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [("user:ann", f"key-{number}") for number in range(20)]
    with opened(url) as storage, storage.log.writing() as transaction, transaction.batch():
        asked, ask = list[str](), transaction._ask  # type: ignore[attr-defined]

        def noted(sql: str, *values: Any) -> Any:
            asked.append(sql)
            return ask(sql, *values)

        monkeypatch.setattr(transaction, "_ask", noted)
        transaction.prefetch(places, [])
        transaction.prefetch([], [])

        assert [transaction.stored_key(*place) for place in places] == [None] * 20
        assert len(asked) == 1


def test_a_log_to_which_others_append_meanwhile_is_sound(newest: str) -> None:
    stop = threading.Event()
    with opened(newest) as one, opened(newest) as two, ThreadPoolExecutor(1) as pool:

        def append() -> None:
            while not stop.is_set():
                record(one.log, "ann", created(f"goal-{one.log.head().position}"))

        appending = pool.submit(append)
        try:
            found = [fault for _ in range(100) for fault in two.log.integrity()]
        finally:
            stop.set()
        appending.result()

    assert found == []


def test_a_counter_that_does_not_agree_with_the_events_is_named(newest: str) -> None:
    with opened(newest) as storage:
        record(storage.log, "ann", created("a1"))
        execute(newest, "UPDATE es_goals.counter SET position = 7")

        assert storage.log.integrity() == ["the counter is at 7, and the last event at 1"]


def test_every_engine_is_tried() -> None:
    assert set(ENGINES) == {"sqlite", *(f"postgres{version}" for version in postgres.VERSIONS)}
