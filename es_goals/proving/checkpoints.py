"""Checkpoints of a log: signed, kept in a file of their own, a line each, and held against the log later.

A line is a JSON object: `at`, when; `note`, the checkpoint as a signed note; `accepted`, where one is accepted that
contradicts those before it, and why.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from es_goals.events import micros, moment
from es_goals.proofs import Checkpoint, ProofRefused, read_checkpoint, read_note, verify_checkpoint
from es_goals.proving.keys import Signer
from es_goals.proving.tree import HashTree
from es_goals.storage.errors import StorageFailed, StorageFull
from es_goals.storage.log import Clock, Log

PAUSE = 1_000_000
"""µs between two that the tick signs."""
LONGEST_LINE = 65_536
LONGEST_REASON = 1_000

ADVICE = "where that is meant, as after a restore: es-goals checkpoint --accept-rollback --reason …"


class Contradicted(Exception):
    """The log is shorter than a checkpoint says, or another one."""


class BadCheckpoints(Exception):
    """What should be the file of checkpoints is none, or is damaged."""


class Kept(Struct, frozen=True, omit_defaults=True):
    """A checkpoint as it is kept."""

    at: Annotated[datetime, Meta(tz=True)]
    note: str
    accepted: str | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """What it says. Raises ProofRefused."""
        return read_checkpoint(read_note(self.note)[0])


_decode = msgspec.json.Decoder(Kept).decode
_encode = msgspec.json.Encoder().encode


def read_kept(line: bytes, place: str) -> Kept:
    """Return what a line of the file says. Raises BadCheckpoints."""
    try:
        kept = _decode(line)
        read_checkpoint(read_note(kept.note)[0])
    except (msgspec.DecodeError, ProofRefused) as error:
        raise BadCheckpoints(f"{place}: expected a checkpoint a line; found another one: {error}") from error
    return kept


def read_signed(data: bytes, vkey: str, place: str) -> list[Checkpoint]:
    """Return what a checkpoint says, or each of a file of them, all signed with the key. Those before one that was
    accepted although it contradicts them are passed over.

    Raises ProofRefused, BadCheckpoints.
    """
    if not data.startswith(b"{"):
        return [verify_checkpoint(data, vkey)]
    found: list[Checkpoint] = []
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        kept = read_kept(line, place)
        if kept.accepted is not None:
            found.clear()
        found.append(verify_checkpoint(kept.note, vkey))
    return found


class Keeper:
    """Keeps checkpoints while this process runs: where there is no file for them."""

    lasting = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Kept | None = None

    def last(self) -> Kept | None:
        """Return the newest one. Raises BadCheckpoints, StorageFailed."""
        return self._last

    @contextmanager
    def appending(self) -> Iterator[tuple[Kept | None, Callable[[Kept], None]]]:
        """Let no other append: yield the newest one, and what appends another. Raises BadCheckpoints, StorageFailed,
        StorageFull."""
        with self._lock:
            yield self._last, self._append

    def _append(self, kept: Kept) -> None:
        self._last = kept


class CheckpointFile(Keeper):
    """Keeps them in a file, for all processes. A line that was cut off by a crash was told to nobody: it goes."""

    lasting = True

    def __init__(self, path: str) -> None:
        self.path = path

    def last(self) -> Kept | None:
        """Return the newest one."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self.path, error) from error
        try:
            return _last(descriptor, self.path)[0]
        except OSError as error:
            raise _failed(self.path, error) from error
        finally:
            os.close(descriptor)

    @contextmanager
    def appending(self) -> Iterator[tuple[Kept | None, Callable[[Kept], None]]]:
        """Let no other process append."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failed(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last, end = _last(descriptor, self.path)
            yield last, lambda kept: self._write(descriptor, end, kept)
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, end: int, kept: Kept) -> None:
        try:
            os.ftruncate(descriptor, end)
            _write_all(descriptor, _encode(kept) + b"\n", end)
            os.fsync(descriptor)
            if end == 0:
                _sync_folder(Path(self.path).parent)
        except OSError as error:
            raise _failed(self.path, error) from error


class Checkpoints:
    """Signs the checkpoints of one log and keeps them. Any thread may use it."""

    def __init__(self, log: Log, tree: HashTree, signer: Signer, keeper: Keeper, clock: Clock) -> None:
        self._log, self._tree, self._signer, self._keeper, self._clock = log, tree, signer, keeper, clock

    def newest(self) -> Checkpoint | None:
        """Return what the newest one says. Raises BadCheckpoints, StorageError."""
        last = self._keeper.last()
        return None if last is None else last.checkpoint

    def current(self) -> str:
        """Return the note of a checkpoint of the log as it is now: the newest one, if nothing came since, or a new one.

        Raises Contradicted, ProjectionBehind, StorageError.
        """
        with self._keeper.appending() as (last, append):
            return self._continue(last, append)

    def tick(self) -> bool:
        """Do as `current`, if they are kept for later, and the newest one is old enough; whether nothing is left."""
        if not self._keeper.lasting:
            return True
        with self._keeper.appending() as (last, append):
            if last is not None and 0 <= self._clock() - micros(last.at) < PAUSE:
                return last.checkpoint.size == self._log.head().position
            self._continue(last, append)
            return True

    def _continue(self, last: Kept | None, append: Callable[[Kept], None]) -> str:
        size = self._log.head().position
        if last is not None:
            self._expect_continued(last, size)
            if last.checkpoint.size == size and self._is_ours(last):
                return last.note
        return self._sign(size, append)

    def finish(self) -> None:
        """Do as `current`, if they are kept for later."""
        if self._keeper.lasting:
            self.current()

    def expect_continued(self) -> None:
        """Raises Contradicted where the log is shorter than the newest checkpoint, or does not begin as it says, by the
        stored tree, which is caught up first."""
        last = self._keeper.last()
        if last is not None:
            self._tree.catch_up()
            self._expect_continued(last, self._log.head().position)

    def accept(self, reason: str) -> str:
        """Go on from the log as it is, although the newest checkpoint contradicts it, and note why. Returns the note.

        Raises Contradicted where nothing is contradicted.
        """
        with self._keeper.appending() as (last, append):
            size = self._log.head().position
            try:
                if last is not None:
                    self._expect_continued(last, size)
            except Contradicted:
                return self._sign(size, append, reason)
        raise Contradicted("expected a log that contradicts the newest checkpoint; found one that does not")

    def _expect_continued(self, last: Kept, size: int) -> None:
        said = last.checkpoint
        when = last.at.isoformat(timespec="seconds")
        if said.size > size:
            raise Contradicted(
                f"expected at least the {said.size} events of the checkpoint of {when}; found {size} ({ADVICE})"
            )
        found = self._tree.at(said.size).root()
        if found != said.root:
            raise Contradicted(
                f"expected {said.root.hex()}, the digest of the checkpoint of {when}, at position {said.size};"
                f" found {found.hex()} ({ADVICE})"
            )

    def _is_ours(self, last: Kept) -> bool:
        keys = {(one.verifier.name, one.verifier.key_id) for one in self._signer.keys}
        signed = {(one.name, one.key_id) for one in read_note(last.note)[1]}
        return keys <= signed and last.checkpoint.origin == self._signer.origin

    def _sign(self, size: int, append: Callable[[Kept], None], reason: str | None = None) -> str:
        text = Checkpoint(self._signer.origin, size, self._tree.at(size).root()).text
        kept = Kept(moment(self._clock()), self._signer.sign(text), reason)
        append(kept)
        return kept.note


def _last(descriptor: int, path: str) -> tuple[Kept | None, int]:
    """Return the last whole line, and where it ends."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * LONGEST_LINE)
    data = os.pread(descriptor, size - start, start)
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        if start:
            raise BadCheckpoints(f"{path}: expected lines; found none at its end")
        return None, 0
    return read_kept(whole[whole.rfind(b"\n", 0, -1) + 1 :], path), start + len(whole)


def _write_all(descriptor: int, data: bytes, place: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: str, error: OSError) -> StorageFailed | StorageFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space is left for the checkpoints in {path}")
    return StorageFailed(f"expected to read and write the checkpoints in {path}; found: {error.strerror}")
