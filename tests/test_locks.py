"""The locks: one holder at a time among threads, processes and forks, and a turn for everybody."""

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from es_goals.storage.locks import FileLock, Lease
from tests.engines import hear, say, start, tell, wait_until

ROUNDS = 250
TURNS = 2000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "events.db")


def count_up(lock: FileLock, file: Path, rounds: int) -> None:
    """Adds 1 by reading and writing, which loses some of them unless one does it at a time."""
    for _ in range(rounds):
        with lock:
            file.write_text(str(int(file.read_text()) + 1))


def counter(path: str) -> Path:
    file = Path(f"{path}-counter")
    file.write_text("0")
    return file


@pytest.mark.parametrize("shared", [True, False], ids=["one lock", "a lock each"])
def test_one_thread_at_a_time_holds_the_lock(path: str, shared: bool) -> None:
    one, file, threads = FileLock(path), counter(path), 4

    with ThreadPoolExecutor(threads) as pool:
        for counting in [
            pool.submit(count_up, one if shared else FileLock(path), file, ROUNDS) for _ in range(threads)
        ]:
            counting.result()
    assert int(file.read_text()) == threads * ROUNDS


def count_up_in_a_process(path: str) -> None:
    say("ready")
    input()
    count_up(FileLock(path), Path(f"{path}-counter"), ROUNDS)


def test_one_process_at_a_time_holds_the_lock(path: str) -> None:
    file = counter(path)
    with start(count_up_in_a_process, path) as one, start(count_up_in_a_process, path) as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        for child in (one, two):
            tell(child, "go")
        assert (one.wait(), two.wait()) == (0, 0)

    assert int(file.read_text()) == 2 * ROUNDS


def hold(path: str) -> None:
    with FileLock(path):
        say("held")
        input()


def test_who_waits_gets_the_lock_of_a_killed_holder(path: str) -> None:
    lock, taken = FileLock(path), threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    with start(hold, path) as child, ThreadPoolExecutor(1) as pool:
        assert hear(child) == "held"
        waiting = pool.submit(take)
        assert not taken.is_set()
        child.kill()
        waiting.result()

    assert taken.is_set()


def test_a_lock_is_let_go_after_an_error(path: str) -> None:
    lock = FileLock(path)
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 // 0

    with ThreadPoolExecutor(1) as pool:
        pool.submit(count_up, FileLock(path), counter(path), 1).result()
        pool.submit(count_up, lock, counter(path), 1).result()


def test_an_error_while_taking_leaves_the_lock_free(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    lock = FileLock(str(folder / "events.db"))
    with pytest.raises(FileNotFoundError), lock:
        pass
    folder.mkdir()

    with lock:
        assert sorted(file.name for file in folder.iterdir()) == ["events.db-lock", "events.db-turn"]


# Turns.


def take_turns(path: str, name: str) -> None:
    """Writes its letter at each of its turns, a capital one if somebody waits for the lock meanwhile, until both
    have come and many turns were taken after that."""
    lock, turns = FileLock(path), Path(f"{path}-turns")
    with lock:
        inode = Path(f"{path}-lock").stat().st_ino
    say("ready")
    input()
    while True:
        with lock:
            taken = turns.read_text()
            if len(contested(taken)) >= TURNS:
                return
            with turns.open("a") as file:
                file.write(name.upper() if somebody_waits(inode) else name)


def somebody_waits(inode: int) -> bool:
    """For a lock on the file: such a line of the kernel's list has an arrow (proc_locks(5))."""
    lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(line[1] == "->" and line[6].endswith(f":{inode}") for line in lines)


def contested(turns: str) -> str:
    """The turns from the first one at which both had come."""
    firsts = [turns.lower().find(name) for name in "ab"]
    return "" if -1 in firsts else turns[max(firsts) :]


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux to tell who waits for a lock")
def test_of_two_processes_that_always_want_the_lock_the_one_that_waits_is_next(path: str) -> None:
    turns = Path(f"{path}-turns")
    turns.touch()
    with start(take_turns, path, "a") as one, start(take_turns, path, "b") as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        for child in (one, two):
            tell(child, "go")
        assert (one.wait(), two.wait()) == (0, 0)

    order = contested(turns.read_text())[:TURNS]
    successors = [(turn, next.lower()) for turn, next in pairwise(order) if turn.isupper()]
    assert set(successors) == {("A", "b"), ("B", "a")}
    assert max(Counter(order.lower()).values()) <= 0.9 * TURNS


# Forks.


def count_up_on_both_sides_of_a_fork(path: str) -> None:
    lock, file = FileLock(path), Path(f"{path}-counter")
    count_up(lock, file, 1)
    child = os.fork()
    count_up(lock, file, ROUNDS)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def test_parent_and_child_of_a_fork_exclude_each_other(path: str) -> None:
    file = counter(path)
    with start(count_up_on_both_sides_of_a_fork, path) as parent:
        assert parent.wait() == 0

    assert int(file.read_text()) == 1 + 2 * ROUNDS


def take_in_a_fork_of_a_holder(path: str) -> None:
    lock = FileLock(path)
    lock.__enter__()
    if os.fork() == 0:
        say("child waits")
        with lock:
            say("child has it")
        os._exit(0)
    input()
    say("parent lets go")
    lock.__exit__(None, None, None)
    os.wait()


def test_a_child_forked_while_its_parent_holds_the_lock_waits_and_gets_it(path: str) -> None:
    with start(take_in_a_fork_of_a_holder, path) as parent:
        waits = hear(parent)
        tell(parent, "let go")

        assert [waits, hear(parent), hear(parent)] == ["child waits", "parent lets go", "child has it"]
        assert parent.wait() == 0


def be_killed_while_a_fork_lives_on(path: str) -> None:
    lock = FileLock(path)
    with lock:
        pass
    if os.fork() == 0:
        with lock:
            pass
        say(os.getppid())
        signal.pause()
    input()
    with lock:
        say("held")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_fork_does_not_keep_the_lock_of_its_killed_parent(path: str) -> None:
    with start(be_killed_while_a_fork_lives_on, path) as parent, ThreadPoolExecutor(1) as pool:
        assert hear(parent) == str(parent.pid)
        tell(parent, "take it and die")
        assert hear(parent) == "held"
        assert parent.wait() == -signal.SIGKILL

        taking = pool.submit(count_up, FileLock(path), counter(path), 1)
        wait_until(taking.done)


# The lease.


def test_a_lease_is_held_by_one_and_refused_to_others_at_once(path: str) -> None:
    one, two = Lease(path), Lease(path)

    assert (one.take(), two.take(), one.take()) == (True, False, False)
    one.release()
    assert (two.take(), one.take()) == (True, False)
    two.release()


def test_letting_go_of_a_lease_that_is_not_held_does_nothing(path: str) -> None:
    one, two = Lease(path), Lease(path)
    one.release()
    assert two.take()
    one.release()

    assert not one.take()
    two.release()
    two.release()


def keep_lease(path: str) -> None:
    lease = Lease(path)
    say(lease.take())
    input()


def test_a_lease_is_refused_to_other_processes_until_its_holder_is_killed(path: str) -> None:
    lease = Lease(path)
    with start(keep_lease, path) as child:
        assert hear(child) == "True"
        during = lease.take()
        child.kill()
        child.wait()
        after = lease.take()

    assert (during, after) == (False, True)
    lease.release()
