"""What the tests of the command line may ask for."""

from pathlib import Path

import pytest

from tests.support import commands


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the test's own folder, and without variables that mean something to the command line."""
    commands.at_home(tmp_path, monkeypatch)
