"""What is SQLite's own: the database's defence of the log, what is refused at the start, connections, copies."""

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from es_goals.events import Event, GoalRenamed, Recorded
from es_goals.ids import wall_clock
from es_goals.storage import Storage
from es_goals.storage.errors import StorageFailed, Unavailable, Unusable
from es_goals.storage.log import Cause, Log, StoredKey, User
from es_goals.storage.sql.log import SCHEMA
from es_goals.storage.sqlite import log as module
from es_goals.storage.sqlite import views as sqlite_views
from es_goals.storage.sqlite.connections import BUSY_MS, Connections
from es_goals.storage.sqlite.locks import FileLock
from es_goals.storage.sqlite.log import SqliteLog, SqliteTransaction
from tests.support.engines import hear, open_storage, say, start, tell
from tests.support.histories import Model, created, out_of_order, record

LATE = 2**62
CAUSE = Cause("command")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "events.db")


@contextmanager
def opened(path: str) -> Iterator[Storage]:
    storage = open_storage(path, wall_clock)
    try:
        yield storage
    finally:
        storage.close()


@pytest.fixture
def log(path: str) -> Iterator[Log]:
    """Ann's three events under a key, then Bob's one."""
    with opened(path) as storage:
        with storage.log.writing() as transaction:
            events: list[Event] = [created("a1"), created("a2"), GoalRenamed("a1", "x")]
            transaction.append("user:ann", 0, events, Cause("command-1"))
            transaction.store_key(StoredKey("user:ann", "key", b"digest", 1, 3))
        record(storage.log, "bob", created("b1"))
        yield storage.log


@pytest.fixture
def raw(log: Log, path: str) -> Iterator[apsw.Connection]:
    """A connection of our own to the log's database, as anybody with the file could have."""
    del log
    with closing(apsw.Connection(path)) as connection:
        yield connection


def contents(path: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(path)) as connection:
        return [
            *connection.execute("SELECT * FROM events ORDER BY position"),
            *connection.execute("SELECT * FROM commands"),
        ]


# The database defends the log.

_ROW = "VALUES ({position}, {stream}, {version}, '{type}', '{subject}', {at}, NULL, 'c', NULL, x'7b7d')"


def row(
    position: str = "5",
    stream: str = "'user:ann'",
    version: str = "4",
    type: str = "GoalRenamed",
    subject: str = "a1",
    at: str = str(LATE),
) -> str:
    return _ROW.format(position=position, stream=stream, version=version, type=type, subject=subject, at=at)


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR ABORT"])
def test_the_next_line_is_taken_by_the_database(raw: apsw.Connection, log: Log, verb: str) -> None:
    raw.execute(f"{verb} INTO events {row()}")

    assert log.read(4) == [Recorded(5, "user:ann", 4, "GoalRenamed", "a1", LATE, None, "c", None, b"{}")]


OUT_OF_ORDER = out_of_order(row)


@pytest.mark.parametrize("line", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_the_database_refuses_a_line_that_is_not_the_next_one(raw: apsw.Connection, path: str, line: str) -> None:
    before = contents(path)
    for verb in ("INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK"):
        with pytest.raises(apsw.ConstraintError):
            raw.execute(f"{verb} INTO events {line}")

    assert contents(path) == before


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE events SET data = x'7b7d'",
        "UPDATE events SET at = at + 1 WHERE position = 4",
        "UPDATE events SET position = 5 WHERE position = 4",
        "UPDATE OR REPLACE events SET position = 1 WHERE position = 4",
        "UPDATE OR IGNORE events SET reason = 'x'",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 4",
        f"INSERT INTO events {row(position='1', version='1')} ON CONFLICT DO UPDATE SET data = x'00'",
        f"INSERT INTO events {row(type='GoalCreated')} ON CONFLICT DO UPDATE SET data = x'00'",
        "UPDATE commands SET digest = x'00'",
        "UPDATE OR REPLACE commands SET key = 'other'",
        "DELETE FROM commands",
        "INSERT INTO commands VALUES ('user:ann', 'key', x'00', 1, 1)",
        "INSERT OR REPLACE INTO commands VALUES ('user:ann', 'key', x'00', 1, 1)",
        "INSERT OR IGNORE INTO commands VALUES ('user:ann', 'key', x'00', 1, 1)",
        "INSERT INTO commands VALUES ('user:ann', 'key', x'00', 1, 1) ON CONFLICT DO UPDATE SET first = 4",
    ],
)
def test_the_database_refuses_what_would_change_the_log(raw: apsw.Connection, path: str, attack: str) -> None:
    before = contents(path)
    with pytest.raises(apsw.ConstraintError):
        raw.execute(attack)

    assert contents(path) == before


@pytest.mark.parametrize(
    "line", [row(at="'soon'"), row(at="NULL"), row(position="'five'"), row(version="4.5"), row(version="x'04'")]
)
def test_the_database_refuses_what_is_no_number_in_a_numbers_place(raw: apsw.Connection, path: str, line: str) -> None:
    before = contents(path)
    with pytest.raises((apsw.ConstraintError, apsw.MismatchError)):
        raw.execute(f"INSERT INTO events {line}")

    assert contents(path) == before


# What is refused at the start.


@pytest.mark.parametrize("version", ["3.51.2", "3.51.2.9", "3.9.99", "2.99.99"])
def test_an_older_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch, path: str, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(Unusable, match=f"found {version}"):
        open_storage(path, wall_clock)

    assert not Path(path).exists()


@pytest.mark.parametrize("version", ["3.51.3", "3.51.10", "3.60.0", "4.0.0"])
def test_this_sqlite_and_newer_ones_are_taken(monkeypatch: pytest.MonkeyPatch, path: str, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)

    with opened(path) as storage:
        assert storage.log.head().position == 0


def test_a_log_of_a_newer_schema_is_refused(path: str) -> None:
    with opened(path):
        pass
    with closing(apsw.Connection(path)) as connection:
        connection.execute("UPDATE log SET schema = schema + 1")

    with pytest.raises(Unusable, match=f"expected a log of schema {SCHEMA} or older; .* has {SCHEMA + 1}"):
        open_storage(path, wall_clock)


@pytest.mark.parametrize("application_id", [0, 1])
def test_a_database_of_something_else_is_refused_and_left_as_it_was(path: str, application_id: int) -> None:
    with closing(apsw.Connection(path)) as connection:
        connection.pragma("application_id", application_id)
        connection.execute("CREATE TABLE log (id TEXT, schema INTEGER); INSERT INTO log VALUES ('x', 1)")
    before = Path(path).read_bytes()

    with pytest.raises(Unusable, match="a database of something else"):
        open_storage(path, wall_clock)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"not a database\n" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)

    with pytest.raises(Unusable, match="damaged or foreign"):
        open_storage(path, wall_clock)
    assert Path(path).read_bytes() == content


def test_a_damaged_log_is_refused(path: str) -> None:
    with opened(path) as storage:
        record(storage.log, "ann", created("a1"))
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))

    with pytest.raises(Unusable, match="damaged or foreign"):
        open_storage(path, wall_clock)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    for folder in (file, tmp_path / "none"):
        with pytest.raises(Unusable, match=r"expected a writable folder for .*/events\.db; found:"):
            open_storage(str(folder / "events.db"), wall_clock)


def test_a_folder_in_the_place_of_the_database_is_refused(path: str) -> None:
    Path(path).mkdir()

    with pytest.raises(Unusable):
        open_storage(path, wall_clock)


# Connections.


def test_every_connection_of_the_log_is_in_wal_mode_and_syncs_every_commit(log: Log, path: str) -> None:
    def pragmas() -> list[object]:
        with log.writing() as transaction:
            assert isinstance(transaction, SqliteTransaction)
            connection = transaction._open
            names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "trusted_schema")
            return [connection.pragma(name) for name in names]

    with ThreadPoolExecutor(1) as pool:
        found = [pragmas(), pool.submit(pragmas).result()]

    assert found == [["wal", 2, 1, BUSY_MS, 0]] * 2
    with closing(apsw.Connection(path)) as connection:
        assert connection.pragma("journal_mode") == "wal"


def test_each_thread_has_one_connection_of_its_own(path: str) -> None:
    threads = 4
    together = threading.Barrier(threads)
    Path(path).touch()
    with closing(Connections(path, synchronous="full")) as connections:
        connections.get()

        def mine(_: int) -> tuple[apsw.Connection, apsw.Connection]:
            together.wait()
            return connections.get(), connections.get()

        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(mine, range(threads)))

        assert len({id(first) for first, _ in found}) == threads
        assert all(first is second for first, second in found)


def test_a_thread_that_cannot_open_its_connection_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()

    def write() -> None:
        record(storage.log, "ann", created("a1"))

    with opened(str(folder / "events.db")) as storage, ThreadPoolExecutor(1) as pool:
        folder.rename(tmp_path / "elsewhere")
        reading, writing = pool.submit(storage.log.head).exception(), pool.submit(write).exception()

    assert isinstance(reading, StorageFailed)
    assert isinstance(writing, StorageFailed)


def test_a_closed_log_leaves_no_file_open(path: str) -> None:
    def opened_files() -> list[str]:
        folder = Path(path).parent
        links = []
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                links.append(link.readlink())
        return [
            str(link) for link in links if link.is_relative_to(folder) and not str(link).endswith(("-lock", "-turn"))
        ]

    with opened(path) as storage, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: record(storage.log, "ann", created(str(number))), range(9)))
        during = opened_files()

    assert during
    assert opened_files() == []


def test_while_nobody_writes_the_live_generation_is_not_asked_for_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path) as storage, opened(path) as other:
        model, asked = Model(), list[Any]()
        live = other.views.live(model)
        assert storage.views.live(model) == live
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_views, "in_state", lambda *arguments: asked.append(arguments))
            assert [storage.views.live(model) for _ in range(3)] == [live] * 3
        assert asked == []
        other.views.mark_failed(live, 1, "ValueError: odd")

        assert storage.views.live(model) == other.views.live(model) != live


def append_in_a_fork(path: str) -> None:
    storage = open_storage(path, wall_clock)
    record(storage.log, "parent", created("before"))
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(Unavailable):
            for number in range(20):
                if number == 10:
                    os.write(ready[1], b"x")
                    os.read(go[0], 1)
                record(storage.log, "child", created(f"child-{number}"))
                say(f"child-{number}")
        os.write(ready[1], b"x")
        sys.stdout.flush()
        os._exit(0)
    for number in range(10):
        record(storage.log, "parent", created(f"parent-{number}"))
        say(f"parent-{number}")
    os.read(ready[0], 1)
    storage.close()
    os.write(go[1], b"x")
    os.waitpid(child, 0)


def test_what_is_acknowledged_on_both_sides_of_a_fork_is_in_the_log(path: str) -> None:
    with start(append_in_a_fork, path) as child:
        assert child.stdout is not None
        acknowledged = [line.strip() for line in child.stdout]
    with opened(path) as storage:
        recorded = [line.subject for line in storage.log.read()]

    assert set(acknowledged) >= {f"parent-{number}" for number in range(10)}
    assert set(acknowledged) - set(recorded) == set()


def open_new_logs(number: str) -> None:
    say("ready")
    while path := input():
        with opened(path) as storage:
            for count in range(5):
                record(storage.log, number, created(f"{number}-{count}"))
            say(storage.log.id)


def test_processes_that_start_together_on_a_new_path_make_one_log(tmp_path: Path) -> None:
    with start(open_new_logs, "1") as one, start(open_new_logs, "2") as two:
        children = (one, two)
        assert [hear(child) for child in children] == ["ready", "ready"]
        for attempt in range(10):
            path = str(tmp_path / f"{attempt}.db")
            for child in children:
                tell(child, path)
            ids = [hear(child) for child in children]

            with opened(path) as storage:
                lines = storage.log.read()
            assert set(ids) == {storage.log.id}
            assert [line.position for line in lines] == list(range(1, 11))
            assert {line.subject for line in lines} == {f"{n}-{count}" for n in (1, 2) for count in range(5)}


@pytest.mark.parametrize("found", ["nothing", "a copy"])
def test_a_log_is_in_wal_mode_before_anybody_else_can_open_it(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """Two that change the mode at once do not wait for each other: one of them fails. The bytes are those of
    https://www.sqlite.org/fileformat.html#file_format_version_numbers."""
    if found == "a copy":
        with opened(str(tmp_path / "source.db")) as storage:
            assert isinstance(storage.log, SqliteLog)
            storage.log.backup_into(path, unheard)
        assert Path(path).read_bytes()[18:20] == b"\1\1"
    modes, let_go = list[bytes](), FileLock.__exit__

    def noted(lock: FileLock, *error: Any) -> None:
        modes.append(Path(path).read_bytes()[18:20])
        let_go(lock, *error)

    monkeypatch.setattr(FileLock, "__exit__", noted)
    with opened(path):
        pass

    assert set(modes) == {b"\2\2"}


def test_tidying_keeps_the_write_ahead_log_short_and_waits_for_no_reader(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 10)
    with opened(path) as storage, closing(apsw.Connection(path)) as reader:

        def write(rounds: int) -> int:
            for _ in range(rounds):
                record(storage.log, "ann", created(f"goal-{storage.log.head().position}"))
                storage.log.checkpoint()
            return storage.log.sizes()["wal"]

        first, second = write(100), write(100)
        reader.execute("BEGIN; SELECT count(*) FROM events")
        kept = write(100)
        reader.execute("COMMIT")

        assert second == first
        assert write(1) >= kept > first
        assert storage.log.head().position == 301


# Copies.


def test_a_backup_under_load_is_exactly_the_log_up_to_a_position(path: str, tmp_path: Path) -> None:
    with opened(path) as storage, ThreadPoolExecutor(1) as pool:
        assert isinstance(storage.log, SqliteLog)
        source, stop = storage.log, threading.Event()

        def append() -> None:
            count = 0
            while not stop.is_set():
                with source.writing() as transaction:
                    lines = transaction.append("user:ann", count, [created(f"{count + n}") for n in range(5)], CAUSE)
                    place = (lines[0].position, lines[-1].position)
                    transaction.store_key(StoredKey("user:ann", str(count), b"digest", *place))
                count += 5

        appending = pool.submit(append)
        heads, told = [], list[tuple[int, int]]()
        try:
            for number in range(4):
                while source.head().position < 2000 * number + 500:
                    assert not appending.done()
                heads.append(source.backup_into(str(tmp_path / f"copy-{number}.db"), lambda *done: told.append(done)))
        finally:
            stop.set()
        appending.result()

        for number, head in enumerate(heads):
            with opened(str(tmp_path / f"copy-{number}.db")) as other:
                assert isinstance(other.log, SqliteLog)
                assert other.log.id == source.id
                assert other.log.integrity() == []
                assert other.log.head() == head
                assert head.position >= 2000 * number + 500
                assert digest_of(other.log, head.position) == digest_of(source, head.position)
                keys = [other.log.stored_key("user:ann", str(count)) for count in range(0, head.position, 5)]
                assert [one.last for one in keys if one] == list(range(5, head.position + 1, 5))
        assert source.head().position > heads[-1].position
        assert all(0 <= done <= total for done, total in told)
        assert [done == total for done, total in told].count(True) >= len(heads)


def unheard(done: int, total: int) -> None:
    del done, total


def digest_of(log: Log, until: int) -> str:
    digest, position = hashlib.sha256(), 0
    while lines := log.read(position, until=until):
        digest.update(repr(lines).encode())
        position = lines[-1].position
    return digest.hexdigest()


def test_a_backup_is_one_file_and_holds_the_users_too(log: Log, tmp_path: Path) -> None:
    assert isinstance(log, SqliteLog)
    with log.writing() as transaction:
        transaction.add_user(User("u1", "Ann", None, 1))
    copies = tmp_path / "copies"
    copies.mkdir()
    head = log.backup_into(str(copies / "copy.db"), unheard)

    assert head == log.head()
    assert [file.name for file in copies.iterdir()] == ["copy.db"]
    with opened(str(copies / "copy.db")) as storage:
        assert storage.log.users() == log.users()
        record(storage.log, "ann", created("in the copy"))
        assert log.owner("in the copy") is None


def test_a_backup_of_an_empty_log_is_an_empty_log(path: str, tmp_path: Path) -> None:
    with opened(path) as storage:
        assert isinstance(storage.log, SqliteLog)
        head = storage.log.backup_into(str(tmp_path / "copy.db"), unheard)
        assert head.position == 0
        with opened(str(tmp_path / "copy.db")) as copy:
            assert (copy.log.id, copy.log.head()) == (storage.log.id, head)


def test_integrity_names_what_is_wrong(path: str) -> None:
    with opened(path) as storage:
        record(storage.log, "ann", *(created(f"goal-{number}") for number in range(500)))
    whole = bytearray(Path(path).read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 4096] = b"\xff" * 4096
    Path(path).write_bytes(whole)

    with opened(path) as storage:
        assert isinstance(storage.log, SqliteLog)
        assert storage.log.integrity() != []
