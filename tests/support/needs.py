"""What not every machine has: tests that need it are skipped there, but never in CI, where everything is tried."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.serving import wait_for


def needs(tool: str) -> str:
    """The path of a program that a test cannot do without."""
    return shutil.which(tool) or lacking(tool)


def lacking(what: str) -> NoReturn:
    """End the test that cannot be tried here."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}, which must be there in CI")
    pytest.skip(f"needs {what}")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk that is soon full, mounted at a new folder, and never left behind."""
    folder.mkdir()
    mount, umount = needs("mount"), needs("umount")
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
    mounted = subprocess.run([mount, *options, folder], capture_output=True, text=True)  # noqa: S603
    if mounted.returncode:
        lacking(f"the right to mount a small disk ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        # Who was killed a moment ago may still hold it.
        wait_for(lambda: unmounted(umount, folder), "the disk to be free")


def unmounted(umount: str, folder: Path) -> bool:
    return subprocess.run([umount, folder], capture_output=True).returncode == 0  # noqa: S603


def fill_up(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (65_536, 4_096, 1):
            with suppress(OSError):
                while True:
                    filler.write(b"x" * size)
