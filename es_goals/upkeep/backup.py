"""Copies of the log that can be trusted: a folder with the database and a manifest of what it must be."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from es_goals.storage import Storage, copying, end_sessions, open_log
from es_goals.storage.log import Clock, Log, Progress
from es_goals.upkeep.verification import Anchor, Mismatch, verify_log

DATABASE = "events.db"
MANIFEST = "manifest.json"
FORMAT = 1


class Refused(Exception):
    """The backup or the restore cannot be made; nothing was changed."""


class Manifest(Struct, frozen=True):
    """What a backup holds. `position` and `digest` are its log's head; `sha256` is the database file's."""

    format: int
    made_at: datetime
    log: str
    position: int
    digest: str
    bytes: int
    sha256: str


def back_up(log: Log, target: Path, clock: Clock, progress: Progress) -> Manifest:
    """Copy the log into a new folder while it serves. Raises Refused, Mismatch (the copy is damaged)."""
    if target.exists():
        raise Refused(f"expected a folder that does not exist yet; found {target}")
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        database = unfinished / DATABASE
        log.backup_into(str(database), progress)
        manifest = _describe(database, clock)
        (unfinished / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        for path in (database, unfinished / MANIFEST, unfinished):
            _sync(path)
        unfinished.rename(target)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return manifest


def _describe(database: Path, clock: Clock) -> Manifest:
    """Describe the copy itself, opened and read through, so that it is known to be good."""
    copy = open_log(str(database), clock)
    try:
        checked = verify_log(copy, None, lambda _done, _total: None)
        head, log_id = checked.head, copy.id
    finally:
        copy.close()
        _remove_leftovers(database)
    made_at = datetime.fromtimestamp(clock() / 1e6, UTC)
    size = database.stat().st_size
    return Manifest(FORMAT, made_at, log_id, head.position, head.digest, size, _sha256(database))


def restore_into(
    source: Path, open_target: Callable[[], Storage], clock: Clock, progress: Progress, prepare: Callable[[Log], None]
) -> tuple[Storage, Manifest]:
    """Check a backup, and only then open a log that is empty, or a part of it, and copy it there; `prepare` it, and end
    its sessions. Returns the storage, open. Raises Refused, Mismatch, Conflict."""
    manifest = _checked_manifest(source)
    with tempfile.TemporaryDirectory(prefix="es-goals-restore-") as folder:
        copy = Path(folder) / DATABASE  # opening one changes it, and the backup's must stay as it is
        shutil.copyfile(source / DATABASE, copy)
        log = open_log(str(copy), clock)
        try:
            _expect_whole(log, manifest)
            target = open_target()
            try:
                copying.copy(log, target.log, progress)
                target.sessions.clear()
                prepare(target.log)
            except BaseException:
                target.close()
                raise
        finally:
            log.close()
    return target, manifest


def restore(source: Path, target: Path, clock: Clock, prepare: Callable[[Log], None]) -> Manifest:
    """Check a backup, `prepare` a copy of it, and put that where no log is yet; sessions that were left there end.

    Raises Refused, Mismatch.
    """
    manifest = _checked_manifest(source)
    for path in (target, Path(f"{target}-wal")):
        if path.exists():
            raise Refused(f"expected no log there yet; found {path}: move it away first")
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        shutil.copyfile(source / DATABASE, unfinished)
        copy = open_log(str(unfinished), clock)
        try:
            _expect_whole(copy, manifest)
            prepare(copy)
        finally:
            copy.close()
            _remove_leftovers(unfinished)
        _sync(unfinished)
        end_sessions(str(target), manifest.log, clock)
        # Unlike a rename, a link does not replace what somebody put there meanwhile.
        os.link(unfinished, target)
        _sync(target.absolute().parent)
    finally:
        unfinished.unlink(missing_ok=True)
        _remove_leftovers(unfinished)
    return manifest


def _expect_whole(copy: Log, manifest: Manifest) -> None:
    checked = verify_log(copy, Anchor(manifest.position, manifest.digest), lambda _done, _total: None)
    if checked.head.position != manifest.position:
        raise Mismatch(f"expected the backup to end at {manifest.position}; found {checked.head.position}")


def _checked_manifest(source: Path) -> Manifest:
    manifest = _read_manifest(source)
    if _sha256(source / DATABASE) != manifest.sha256:
        raise Refused(f"expected {source / DATABASE} to have the SHA-256 in its manifest; found another")
    return manifest


def _read_manifest(source: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise Refused(f"expected a backup's folder; found no {source / MANIFEST}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"expected {source / MANIFEST} to be a backup's manifest: {error}") from error
    if manifest.format != FORMAT:
        raise Refused(f"expected a backup of format {FORMAT}; found {manifest.format}")
    if not (source / DATABASE).exists():
        raise Refused(f"expected {source / DATABASE}; found no such file")
    return manifest


def _remove_leftovers(database: Path) -> None:
    """Remove what opening a database leaves beside it."""
    for ending in ("-wal", "-shm", "-lock", "-turn"):
        Path(f"{database}{ending}").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
