"""The locks: one holder at a time among threads, processes and forks, and a turn for everybody."""

import errno
import fcntl
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from es_goals.storage.sqlite.locks import FileLock, Lease
from tests.support.engines import hear, say, start, tell, wait_until
from tests.support.needs import fill_up, small_disk

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


# The number of turns.


def test_the_number_rises_each_time_the_lock_is_let_go_and_only_then(path: str) -> None:
    lock, other = FileLock(path), FileLock(path)
    seen = [(lock.change_counter(), other.change_counter())]
    for one in (lock, other, lock):
        with one:
            seen.append((lock.change_counter(), other.change_counter()))
        seen.append((lock.change_counter(), other.change_counter()))
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 // 0
    seen.append((lock.change_counter(), other.change_counter()))

    assert seen == [(number, number) for number in (0, 0, 1, 1, 2, 2, 3, 4)]


def test_locks_of_different_paths_count_apart(tmp_path: Path) -> None:
    one, two = FileLock(str(tmp_path / "one")), FileLock(str(tmp_path / "two"))
    with one:
        pass

    assert (one.change_counter(), two.change_counter()) == (1, 0)


def test_the_number_goes_on_after_closing_and_opening_again(path: str) -> None:
    lock = FileLock(path)
    for _ in range(3):
        with lock:
            pass
    lock.close()

    assert (lock.change_counter(), FileLock(path).change_counter()) == (3, 3)
    with lock:
        pass
    assert FileLock(path).change_counter() == 4


def take_and_tell(path: str) -> None:
    lock = FileLock(path)
    while input() == "take":
        with lock:
            pass
        say(lock.change_counter())


def test_a_turn_of_another_process_is_seen_before_it_can_be_told_of(path: str) -> None:
    lock = FileLock(path)
    with start(take_and_tell, path) as child:
        for turn in range(1, 201):
            tell(child, "take")
            told = int(hear(child))
            assert lock.change_counter() == told == turn
        tell(child, "end")


def test_no_turn_is_lost_however_many_take_them(path: str) -> None:
    file = counter(path)
    with start(count_up_in_a_process, path) as child, ThreadPoolExecutor(4) as pool:
        assert hear(child) == "ready"
        tell(child, "go")
        for counting in [pool.submit(count_up, FileLock(path), file, ROUNDS) for _ in range(4)]:
            counting.result()
        assert child.wait() == 0

    assert FileLock(path).change_counter() == 5 * ROUNDS


def test_a_killed_holders_turn_is_not_counted_and_the_next_one_is(path: str) -> None:
    lock = FileLock(path)
    with start(hold, path) as child:
        assert hear(child) == "held"
        child.kill()
        child.wait()
    before = lock.change_counter()
    with lock:
        pass

    assert (before, lock.change_counter()) == (0, 1)


def show_and_wait(path: str) -> None:
    lock = FileLock(path)
    with lock:
        lock.mark_dirty()
        say("showing")
        input()


def test_from_where_others_may_see_it_until_it_is_counted_there_is_no_number(path: str) -> None:
    lock = FileLock(path)
    before = lock.change_counter()

    with start(show_and_wait, path) as child:
        assert hear(child) == "showing"
        assert lock.change_counter() is None
        tell(child, "let go")
        assert child.wait() == 0

    assert before is not None
    assert lock.change_counter() == before + 1


def test_after_a_holder_that_was_killed_while_others_could_see_it_the_next_one_brings_the_number_back(
    path: str,
) -> None:
    lock = FileLock(path)
    before = lock.change_counter()
    with start(show_and_wait, path) as child:
        assert hear(child) == "showing"
        child.kill()
    left = lock.change_counter()
    with lock:
        pass

    assert before is not None
    assert (left, lock.change_counter()) == (None, before + 1)


def test_an_old_empty_file_gets_its_number(path: str) -> None:
    Path(f"{path}-lock").touch()
    Path(f"{path}-turn").touch()
    one, two = FileLock(path), FileLock(path)
    before = one.change_counter()
    with two:
        pass

    assert (before, one.change_counter()) == (0, 1)
    assert [Path(f"{path}-{file}").stat().st_size for file in ("lock", "turn")] == [8, 0]


@pytest.mark.parametrize("open_it", [FileLock.change_counter, FileLock.__enter__], ids=["turns", "taking"])
def test_an_old_empty_file_is_as_it_was_while_somebody_holds_it(
    path: str, open_it: Callable[[FileLock], object]
) -> None:
    Path(f"{path}-lock").touch()
    held = os.open(f"{path}-lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_it, FileLock(path))
        wait_until(lambda: opening.running())
        during = (opening.done(), Path(f"{path}-lock").stat().st_size)
        os.close(held)
        opening.result()

    assert during == (False, 0)
    assert Path(f"{path}-lock").stat().st_size == 8


def test_of_many_that_open_an_old_empty_file_at_once_none_sets_the_number_back(path: str) -> None:
    threads, together = 8, threading.Barrier(8)

    def take(_: int) -> None:
        lock = FileLock(path)
        for _ in range(20):
            together.wait()
            if together.wait() == 0:  # one of them, while nobody opens it
                lock.close()
                Path(f"{path}-lock").write_bytes(b"")
            together.wait()
            lock.close()
            with lock:
                pass
            together.wait()
            assert lock.change_counter() == threads

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take, range(threads)))


def open_on_a_full_disk(path: str) -> None:
    lock, files = FileLock(path), len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        for use in (lock.change_counter, lock.__enter__):
            try:
                use()
            except OSError as error:
                say(errno.errorcode[error.errno or 0])
    say(len(os.listdir("/proc/self/fd")) - files)
    input()
    with lock:
        pass
    say(lock.change_counter())


def test_a_lock_that_is_new_on_a_full_disk_is_refused_kills_nobody_and_works_when_there_is_space(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "1M") as disk:
        fill_up(disk)
        with start(open_on_a_full_disk, str(disk / "events.db")) as child:
            refused = [hear(child) for _ in range(20)]
            left_open = hear(child)
            (disk / "filler").unlink()
            tell(child, "go on")
            turns = hear(child)
            assert child.wait() == 0

    assert refused == ["ENOSPC"] * 20
    assert (left_open, turns) == ("0", "1")


def test_a_lock_that_was_there_before_the_disk_was_full_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1M") as disk:
        lock, other = FileLock(str(disk / "events.db")), FileLock(str(disk / "events.db"))
        with lock:
            pass
        fill_up(disk)
        with other:
            pass
        turns = (lock.change_counter(), other.change_counter())
        for one in (lock, other):
            one.close()

    assert turns == (2, 2)


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


def ask_in_a_fork_of_a_holder(path: str) -> None:
    lock = FileLock(path)
    with lock:
        if os.fork() == 0:
            signal.alarm(5)
            say(lock.change_counter())
            os._exit(0)
        _, status = os.wait()
    say(os.waitstatus_to_exitcode(status))


def test_a_child_forked_while_its_parent_holds_the_lock_can_ask_for_the_number(path: str) -> None:
    with start(ask_in_a_fork_of_a_holder, path) as parent:
        assert [hear(parent), hear(parent)] == ["0", "0"]


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
