"""A browser for all, a service for each file, and pages that are watched."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.page.site import Visit
from tests.support.serving import Served

CHROMIUM = Path("/usr/bin/chromium")

Visits = Callable[..., Visit]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; where there is none these tests are skipped, but not in CI. It has an event loop that runs in this
    thread until it is closed, beside which no other test can begin one."""
    if not CHROMIUM.exists():
        if "CI" in os.environ:
            pytest.fail(f"expected Chromium at {CHROMIUM}; found none")
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An open service that a file's tests share; sound at the end."""
    with Served(tmp_path_factory.mktemp("page")) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with accounts."""
    with Served(tmp_path_factory.mktemp("accounts"), accounts=True) as served:
        yield served


@pytest.fixture
def user(served: Served) -> str:
    """The name of a user whom no other test knows."""
    name = f"ann-{uuid.uuid4().hex[:8]}"
    served.make_user(name)
    return name


@pytest.fixture
def visits(browser: Browser) -> Iterator[Visits]:
    """What opens a browser of somebody at a service; at the end none of them may have met an error."""
    opened: list[Visit] = []

    def open_(served: Served, **options: Any) -> Visit:
        opened.append(Visit(browser, served, **options))
        return opened[-1]

    yield open_
    for visit in opened:
        visit.close()


@pytest.fixture
def visit(visits: Visits, served: Served) -> Visit:
    """A browser at the open service."""
    return visits(served)


@pytest.fixture
def page(visit: Visit, user: str) -> Page:
    """A tab with the user's goals, of which there are none."""
    return visit.page(f"#/{user}")
