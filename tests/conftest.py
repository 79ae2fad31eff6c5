"""What every test file may ask for."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.engines import ENGINES, NEWEST, Engine
from tests.support.serving import Served

CONTRACTS = ("test_log_contract", "test_views_contract", "test_concurrency")
"""What every engine must pass on every version; the rest, which asks for no more than that, on one of each."""

MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30  # noqa: S108

if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    # What tests write needs to outlive processes only, not the machine; on a disk all of it takes twice as long.
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

settings.register_profile("few", max_examples=40)
if "CI" not in os.environ:
    settings.load_profile("few")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which engines a test that asks for one runs on."""
    if "engine" in metafunc.fixturenames:
        contract = metafunc.module.__name__.rpartition(".")[2] in CONTRACTS
        metafunc.parametrize("engine", list(ENGINES) if contract else [*NEWEST], indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A fresh database, once on each engine."""
    with ENGINES[request.param](tmp_path) as url, Engine(url) as engine:
        yield engine


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real service that many tests share, each with users of its own; sound at the end."""
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def user(served: Served) -> str:
    """The name of a user of the shared service whom no other test knows."""
    name = f"user-{uuid.uuid4().hex}"
    served.make_user(name)
    return name
