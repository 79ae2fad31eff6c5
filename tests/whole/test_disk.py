"""Disks that fail and disks that are full: nothing acknowledged is lost, nothing is done twice, reads go on."""

import asyncio
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import apsw
import httpx2
import pytest

from es_goals.app import create_app
from es_goals.http.edge.body import BodyGuard
from es_goals.settings import Settings
from es_goals.upkeep.verification import verify_log
from projections import goal_tree
from tests.support.load import LATER, Load, history, opened, serving
from tests.support.needs import fill_up, lacking, needs, small_disk
from tests.support.serving import PATIENCE, Served, wait_for

UNKNOWN, UNAVAILABLE, FULL = "/problems/outcome-unknown", "/problems/storage-unavailable", "/problems/storage-full"
GOALS = "/v2/users/ann/goals"
HELD = 5
"""Goals that were acknowledged before the trouble begins."""


def in_log(db: Path, key: str) -> list[int]:
    """The positions of what was recorded for the command of this key, which is its reason too."""
    return [line.position for line in history(db) if line.reason == key]


# A disk that fails, on a real service: the kernel's answers are replaced.


@contextmanager
def failing(
    served: Served, operation: str, how: str = "", *, of: Sequence[int] = (), files: str = "*-wal"
) -> Iterator[None]:
    """Inside, an operation of the processes (of all, if none is named), and of those that they start, fails with an
    I/O error."""
    pids = of or [served.process.pid, *served.workers()]
    output = served.folder / f"strace-{uuid.uuid4().hex}.txt"
    calls = {"sync": "fdatasync,fsync", "write": "pwrite64"}[operation]
    paths = [argument for path in served.folder.glob(files) for argument in ("-P", path)]
    attach = [argument for pid in pids for argument in ("-p", str(pid))]
    filters = ["-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO{how}", *paths]
    with output.open("wb") as told:
        strace = subprocess.Popen([needs("strace"), "-f", *filters, *attach], stderr=told)  # noqa: S603
    try:
        wait_for(lambda: strace.poll() is not None or all(map(traced, pids)), "strace to attach")
        if strace.poll() is not None:
            lacking(f"the right to trace a process ({output.read_text().strip()})")
        yield
        assert "(INJECTED)" in output.read_text()
    finally:
        strace.terminate()
        try:
            strace.wait(1)
        except subprocess.TimeoutExpired:  # it can wait for ever for a process that was killed meanwhile
            strace.kill()
            strace.wait()


def traced(pid: int) -> bool:
    """Whether all of its threads are."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        begin(served)
        yield served


def begin(served: Served) -> None:
    """Ann has goals. Each request goes on a connection of its own: an ending worker waits for those that are open."""
    served.client.headers["Connection"] = "close"
    served.make_user("ann")
    for number in range(HELD):
        served.make_goal("ann", f"goal {number}")


def ask(served: Served, method: str, path: str, body: Any = None, key: str | None = None) -> httpx2.Response | None:
    """None if the worker that was asked has just ended."""
    try:
        return served.client.request(method, path, json=body, headers=keyed(key))
    except httpx2.TransportError:
        return None


def keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key, "X-Reason": key}


def problem(answer: httpx2.Response) -> tuple[int, str | None]:
    """An answer's status, and which problem it is."""
    return answer.status_code, answer.json().get("type")


def commanded(served: Served, key: str) -> httpx2.Response | None:
    return ask(served, "POST", GOALS, {"name": "the one"}, key)


def settled(served: Served, key: str) -> httpx2.Response:
    """Repeated until it is taken; in the meantime it is refused as it must be, and everybody can read."""
    answers: list[httpx2.Response] = []

    def taken() -> bool:
        readable(served)
        answer = commanded(served, key)
        answers.extend([] if answer is None else [answer])
        return answer is not None and answer.status_code not in LATER

    wait_for(taken, "the command to be taken")
    assert {told.json()["type"] for told in answers[:-1]} <= {UNKNOWN, UNAVAILABLE, FULL}
    assert answers[-1].status_code == 201, answers[-1].text
    return answers[-1]


def readable(served: Served) -> None:
    """The tree has everything that was acknowledged."""
    answer = ask(served, "GET", GOALS)
    if answer is not None:
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["goals"]) >= HELD


def has_other_workers(served: Served, old: Sequence[int], others: int) -> bool:
    workers = served.workers()
    return len(workers) == 2 and len(set(workers) - set(old)) >= others


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_commit_that_fails_once_is_unknown_its_worker_ends_and_a_repeat_is_done_once(
    served: Served, operation: str
) -> None:
    workers = served.workers()
    with failing(served, operation, ":when=1", of=workers):
        answer = commanded(served, "the-key")
    settled_at = settled(served, "the-key").headers["Position"]

    assert answer is not None
    assert problem(answer) == (503, UNKNOWN)
    assert in_log(served.db, "the-key") == [int(settled_at)] == [HELD + 2]
    wait_for(lambda: has_other_workers(served, workers, others=1), "a new worker in place of the failed one")
    again = settled(served, "the-key")
    assert (again.headers["Position"], again.headers["Idempotent-Replayed"]) == (settled_at, "true")
    served.verified()


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_whatever_a_restart_makes_of_a_failed_commit_a_repeat_is_done_once(served: Served, operation: str) -> None:
    with failing(served, operation, ":when=1", of=served.workers()):
        answer = commanded(served, "the-key")
        served.kill()
    served.start()
    kept = in_log(served.db, "the-key")
    repeated = settled(served, "the-key")

    assert answer is not None
    assert problem(answer) == (503, UNKNOWN)
    assert kept in ([], [HELD + 2])
    assert ("Idempotent-Replayed" in repeated.headers) == bool(kept)
    assert in_log(served.db, "the-key") == [HELD + 2] == [int(repeated.headers["Position"])]
    served.verified()


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_while_every_commit_fails_commands_and_repeats_are_refused_and_reads_go_on_until_the_disk_is_well(
    served: Served, operation: str
) -> None:
    old = served.workers()
    with ExitStack() as connected, failing(served, operation):
        clients = [connected.enter_context(served.client_of(worker)) for worker in old]
        first = [client.post(GOALS, json={"name": "the one"}, headers=keyed("the-key")) for client in clients]
        connected.close()
        wait_for(lambda: has_other_workers(served, old, others=2), "two new workers")
        new = served.workers()
        wait_for(lambda: commanded(served, "the-key") is not None, "an answer")
        later = [commanded(served, key) for number in range(10) for key in ("the-key", f"later-{number}")]
        readable(served)
    settled_at = settled(served, "the-key").headers["Position"]

    assert [problem(answer) for answer in first] == [(503, UNKNOWN)] * 2
    assert {answer and problem(answer) for answer in later} <= {(503, UNKNOWN), (503, UNAVAILABLE)}
    assert served.workers() == new
    assert in_log(served.db, "the-key") == [int(settled_at)]
    assert not [line.reason for line in history(served.db) if str(line.reason).startswith("later-")]
    served.verified()


def test_when_nothing_can_be_written_at_all_the_service_does_not_end_and_is_back_when_the_disk_is_well(
    served: Served,
) -> None:
    old = served.workers()
    tried: set[int] = set()

    def tried_again() -> bool:
        if served.process.poll() is not None:
            return True
        tried.update(served.workers())
        return len(tried - set(old)) > 2 or served.answers()

    served.client.timeout = 0.2
    with ExitStack() as connected, failing(served, "write", files="events*"):
        clients = [connected.enter_context(served.client_of(worker)) for worker in old]
        first = [client.post(GOALS, json={"name": "the one"}, headers=keyed("the-key")) for client in clients]
        connected.close()
        wait_for(lambda: not set(served.workers()) & set(old), "both workers to end")
        wait_for(tried_again, "new workers to serve, or to try")
    ended = served.process.poll()

    assert [problem(answer) for answer in first] == [(503, UNKNOWN)] * 2
    assert ended is None, served.output.read_text()[-500:]
    served.client.timeout = PATIENCE
    settled(served, "the-key")
    assert in_log(served.db, "the-key") == [HELD + 2]
    served.verified()


# A disk that fails, in this process: SQLite is given a disk of ours.


class Disk(apsw.VFS):
    """The default one, whose files can be told to fail. It knows what would be left of them after a power cut: what
    was written since the last fsync is not, and after an fsync that failed never will be (as on Linux: the pages
    count as clean then)."""

    def __init__(self) -> None:
        self.name = f"failing-{uuid.uuid4().hex}"
        self.sync: Callable[[str], None] = lambda _: None
        self.write: Callable[[str], None] = lambda _: None
        self._kept: dict[str, bytearray] = {}
        self._dirty: dict[str, list[tuple[int, bytes | None]]] = {}
        super().__init__(self.name, "", True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """As the default one does."""
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """At once."""
        super().xDelete(filename, syncdir)
        self._kept.pop(filename, None)
        self._dirty.pop(filename, None)

    def changed(self, name: str, offset: int, data: bytes | None) -> None:
        """Written, or cut off (None) at this place, and not on disk yet."""
        self._dirty.setdefault(name, []).append((offset, data))

    def synced(self, name: str) -> None:
        """What was changed is on disk, or lost."""
        changes = self._dirty.pop(name, [])
        self.sync(name)
        kept = self._kept.setdefault(name, bytearray())
        for offset, data in changes:
            end = offset + len(data or b"")
            kept.extend(bytes(max(0, end - len(kept))))
            kept[offset : end if data else None] = data or b""

    def kill(self, db: Path, folder: Path) -> Path:
        """A process is killed and the machine goes on: the log as it is then, in another folder."""
        folder.mkdir()
        for name in (str(db), f"{db}-wal"):
            copy = str(folder / Path(name).name)
            shutil.copyfile(name, copy)
            self._kept[copy] = self._kept.get(name, bytearray())[:]
            self._dirty[copy] = self._dirty.get(name, [])[:]
        return folder / db.name

    def cut_power(self, db: Path, folder: Path) -> Path:
        """What is left of a log, in another folder."""
        folder.mkdir()
        for name in (str(db), f"{db}-wal"):
            (folder / Path(name).name).write_bytes(self._kept.get(name, b""))
        return folder / db.name


class DiskFile(apsw.VFSFile):
    """Fails where its disk does."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:
        """Fsync."""
        self._disk.synced(self._name)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        """At a place."""
        self._disk.write(self._name)
        super().xWrite(data, offset)
        self._disk.changed(self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        """Cut the end off."""
        super().xTruncate(newsize)
        self._disk.changed(self._name, newsize, None)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    try:
        yield disk
    finally:
        apsw.set_default_vfs("unix")
        apsw.unregister_vfs(disk.name)


class Trouble:
    """Fails the writing of a log's WAL, so often."""

    def __init__(self, error: type[apsw.Error], times: float) -> None:
        self._error, self.times = error, times

    def __call__(self, name: str) -> None:
        if name.endswith("events.db-wal") and self.times > 0:
            self.times -= 1
            raise self._error("the disk fails")


class Process:
    """What one worker is, in this process. `failed`: whether it wants to end."""

    def __init__(self, db: Path) -> None:
        self.failed = False
        self._app: BodyGuard = create_app(Settings(str(db), open=True), failed=self._fail)
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(cast(Any, self._app)), base_url="http://localhost"
        )

    def _fail(self) -> None:
        self.failed = True

    async def close(self) -> None:
        await self.client.aclose()
        await self._app.worker.stop()

    async def command(self, key: str) -> httpx2.Response:
        return await self.client.post(GOALS, json={"name": "the one"}, headers=keyed(key))

    async def goals(self) -> int:
        answer = await self.client.get(GOALS)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["goals"])


Scenario = Callable[[Callable[[], Process]], Awaitable[None]]


def play(db: Path, scenario: Scenario) -> None:
    """Processes are started when the scenario wants one; the first has made the user and her goals."""

    async def run() -> None:
        started: list[Process] = []

        def process() -> Process:
            started.append(Process(db))
            return started[-1]

        try:
            first = process()
            await first.client.post("/v2/users", json={"name": "ann"})
            for number in range(HELD):
                await first.client.post(GOALS, json={"name": f"goal {number}"})
            await scenario(process)
        finally:
            for one in started:
                await one.close()

    asyncio.run(run())
    with opened(db) as storage:
        verify_log(storage.log, None, lambda _done, _total: None)


async def become(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_after_a_commit_that_failed_once_the_process_wants_to_end_and_a_repeat_elsewhere_is_done_once(
    disk: Disk, tmp_path: Path, operation: str
) -> None:
    db = tmp_path / "events.db"

    async def scenario(process: Callable[[], Process]) -> None:
        sick = process()
        setattr(disk, operation, Trouble(apsw.IOError, times=1))
        unknown = await sick.command("the-key")
        await become(lambda: sick.failed)
        later = await sick.command("later")
        well = process()
        done, again = await well.command("the-key"), await well.command("the-key")

        assert [problem(unknown), problem(later)] == [(503, UNKNOWN), (503, UNAVAILABLE)]
        assert await sick.goals() == HELD + 1
        assert [done.status_code, again.status_code] == [201, 201]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert done.json() == again.json()

    play(db, scenario)
    assert (in_log(db, "the-key"), in_log(db, "later")) == ([HELD + 2], [])


@contextmanager
def closed_quietly(one: apsw.Connection | apsw.Cursor) -> Iterator[apsw.Connection | apsw.Cursor]:
    """As SQLite does it with its own files: nothing is told of the checkpoint at the end, should it fail. apsw tells
    where a file of ours raised."""
    try:
        yield one
    finally:
        with suppress(apsw.IOError):
            one.close()


@pytest.mark.parametrize("more_failures", [0, 10_000], ids=["the disk is well", "the disk fails for a while yet"])
def test_a_commit_whose_fsync_failed_may_come_back_after_a_kill_and_is_acknowledged_only_when_it_is_on_disk(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more_failures: int
) -> None:
    monkeypatch.setattr("es_goals.storage.writer.PROBE_SECONDS", 0.02)
    monkeypatch.setattr("es_goals.storage.sqlite.log.closing", closed_quietly)
    db = tmp_path / "events.db"

    async def fail(process: Callable[[], Process]) -> None:
        sick = process()
        disk.sync = Trouble(apsw.IOError, times=1)
        assert problem(await sick.command("the-key")) == (503, UNKNOWN)
        killed.append(disk.kill(db, tmp_path / "killed"))

    async def go_on() -> None:
        trouble = disk.sync = Trouble(apsw.IOError, more_failures)
        process = Process(killed[0])
        refused = [(await process.command("the-key")).status_code for _ in range(3)] if more_failures else []
        trouble.times = 0
        async with asyncio.timeout(PATIENCE):
            while (await process.client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.002)
        repeated, later = await process.command("the-key"), await process.command("later")
        cut_off.append(disk.cut_power(killed[0], tmp_path / "cut off"))
        await process.close()

        assert set(refused) <= {503}
        assert [repeated.status_code, later.status_code] == [201, 201]
        assert repeated.headers["Idempotent-Replayed"] == "true"

    killed: list[Path] = []
    cut_off: list[Path] = []
    play(db, fail)
    came_back = in_log(killed[0], "the-key")
    asyncio.run(go_on())

    assert came_back == [HELD + 2]
    for log in (killed[0], cut_off[0]):
        assert [line.reason for line in history(log) if line.reason] == ["the-key", "later"]


def test_what_is_acknowledged_survives_a_power_cut(disk: Disk, tmp_path: Path) -> None:
    db = tmp_path / "events.db"
    cut_off: list[Path] = []

    async def scenario(process: Callable[[], Process]) -> None:
        one = process()
        for number in range(20):
            assert (await one.command(f"key-{number}")).status_code == 201
            cut_off.append(disk.cut_power(db, tmp_path / f"cut off {number}"))

    play(db, scenario)
    for number, log in enumerate(cut_off):
        assert [line.reason for line in history(log) if line.reason] == [f"key-{one}" for one in range(number + 1)]


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_process_that_starts_on_a_failing_disk_reads_refuses_and_goes_on_by_itself(
    disk: Disk, tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_goals.storage.writer.PROBE_SECONDS", 0.02)
    db = tmp_path / "events.db"

    async def scenario(process: Callable[[], Process]) -> None:
        assert (await process().command("before")).status_code == 201
        trouble = Trouble(apsw.IOError, times=float("inf"))
        setattr(disk, operation, trouble)
        new = process()
        refused = [await new.command(key) for key in ("before", "refused-1", "refused-2", "before")]
        held = await new.goals()
        ready = await new.client.get("/readyz")
        trouble.times = 0
        async with asyncio.timeout(PATIENCE):
            while (done := await new.command("the-key")).status_code in LATER:
                await asyncio.sleep(0.002)

        assert {answer.status_code for answer in refused} == {503}
        assert (held, ready.status_code) == (HELD + 1, 503)
        assert (done.status_code, new.failed) == (201, False)
        assert (await new.command("before")).headers["Idempotent-Replayed"] == "true"

    play(db, scenario)
    assert [line.reason for line in history(db) if line.reason] == ["before", "the-key"]


def test_a_full_disk_refuses_commands_and_the_same_process_takes_them_when_there_is_space(
    disk: Disk, tmp_path: Path
) -> None:
    db = tmp_path / "events.db"

    async def scenario(process: Callable[[], Process]) -> None:
        one = process()
        trouble = Trouble(apsw.FullError, times=float("inf"))
        disk.write = trouble
        refused = [await one.command(f"refused-{number}") for number in range(5)]
        held = await one.goals()
        trouble.times = 0
        done = await one.command("the-key")

        assert {problem(answer) for answer in refused} == {(507, FULL)}
        assert held == HELD
        assert (done.status_code, one.failed) == (201, False)

    play(db, scenario)
    assert [line.reason for line in history(db) if line.reason] == ["the-key"]


# A full disk, on a real service.


def test_on_a_full_disk_reads_go_on_commands_are_refused_and_all_goes_on_when_it_is_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk, serving(tmp_path, db="disk/events.db") as served:
        workers = served.workers()
        with Load(served) as load:
            load.wait_for_more(200)
            fill_up(disk)
            told_full(load, 5)
            shown = [(client, len(client.told), tree_of(served, client.name)) for client in load.clients]
            others = [served.client.get(path).status_code for path in ("/v2/events", "/v2/users", "/metrics")]
            (disk / "filler").unlink()
            load.wait_for_more(200)
            fill_up(disk)
            told_full(load, 5)
            (disk / "filler").unlink()
            load.wait_for_more(200)

        for client, told, tree in shown:
            assert tree["version"] == told
            assert {goal["id"] for goal in tree["goals"]} == {one.goal_id for one in client.told[:told]}
        assert others == [200] * 3
        assert set(load.statuses()) <= {200, 201, 409, 503, 507}
        assert served.workers() == workers
        load.check(history(served.db))
        served.verified()


def test_a_worker_that_dies_while_the_disk_is_full_is_replaced_by_one_that_reads_and_goes_on_when_it_is_freed(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk, serving(tmp_path, db="disk/events.db") as served:
        begin(served)
        old = served.workers()
        answers: dict[str, int] = {}

        def refused() -> bool:
            """Until there is no space in the WAL either."""
            key = f"key-{len(answers)}"
            answer = commanded(served, key)
            answers[key] = answer.status_code if answer else 503
            return list(answers.values())[-5:] == [507] * 5

        fill_up(disk)
        wait_for(refused, "refusals")
        for worker in old:
            os.kill(worker, signal.SIGKILL)
        wait_for(lambda: has_other_workers(served, old, others=2), "two new workers")
        new = served.workers()
        answers["new"] = 201
        wait_for(refused, "refusals by the new workers")
        readable(served)
        (disk / "filler").unlink()
        settled(served, "the-key")

        assert set(answers.values()) <= {201, 503, 507}
        assert served.workers() == new
        taken = [key for key, status in answers.items() if status == 201 and key != "new"]
        assert [line.reason for line in history(served.db) if line.reason] == [*taken, "the-key"]
        served.verified()


def test_a_closed_storage_holds_no_file_open_so_that_its_disk_can_be_taken_away(tmp_path: Path) -> None:
    with opened(tmp_path / "events.db") as storage:
        storage.log.probe()
        storage.views.live(goal_tree)
        assert any(str(file).startswith(str(tmp_path)) for file in open_files())

    assert not [file for file in open_files() if str(file).startswith(str(tmp_path))]


def open_files() -> list[Path]:
    """Of this process."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(descriptor.readlink())
    return found


def told_full(load: Load, times: int) -> None:
    """Each client so often: each then has one command that is not settled, and no other under way."""
    before = {client.name: client.statuses[507] + client.statuses[503] for client in load.clients}

    def told() -> bool:
        load.healthy()
        return all(c.statuses[507] + c.statuses[503] >= before[c.name] + times for c in load.clients)

    wait_for(told, "every client to be refused")


def tree_of(served: Served, user: str) -> Any:
    return served.client.get(f"/v2/users/{user}/goals", params={"view": "flat"}).json()
