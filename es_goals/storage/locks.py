"""Orders the writers of different processes fairly."""

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType


class FileLock:
    """One holder at a time among all threads and processes; with many waiting, nobody starves.

    Beside the lock (`<path>-lock`) stands a turnstile (`<path>-turn`), held only while waiting for the lock:
    a process that has just let go queues behind the one already in the turnstile. Both files are opened in
    the process that uses them: a descriptor that came through a fork shares its parent's lock.
    """

    def __init__(self, path: str) -> None:
        self._paths = (f"{path}-turn", f"{path}-lock")
        self._threads = threading.Lock()
        self._pid = os.getpid()
        self._opened: tuple[int, int] | None = None

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._start_anew()
        self._threads.acquire()
        try:
            turn, lock = self._descriptors()
            fcntl.flock(turn, fcntl.LOCK_EX)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            finally:
                fcntl.flock(turn, fcntl.LOCK_UN)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _, lock = self._descriptors()
        fcntl.flock(lock, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close its files; it opens them again when it is used."""
        for descriptor in self._opened or ():
            os.close(descriptor)
        self._opened = None

    def _descriptors(self) -> tuple[int, int]:
        if self._opened is None:
            turn, lock = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644) for path in self._paths)
            self._opened = (turn, lock)
        return self._opened

    def _start_anew(self) -> None:
        # In a fork: the thread that holds the lock is the parent's, and its descriptors would keep the parent's lock.
        self.close()
        self._threads, self._pid = threading.Lock(), os.getpid()


class Lease:
    """Held by at most one process or thread; who does not get it is told at once. A killed holder lets go."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._descriptor: int | None = None

    def take(self) -> bool:
        """True if it is now held by the caller, who must `release` it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go; does nothing where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
