"""People with accounts, and their browsers."""

import uuid
from typing import Literal, NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from es_goals.accounts.passwords import hashed
from tests.page.conftest import Visits
from tests.page.site import Visit
from tests.support.people import behind, register
from tests.support.serving import Served

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"


class Person(NamedTuple):
    """Somebody who can sign in."""

    id: str
    name: str
    password: str


def person(served: Served, role: str = "user", name: str = "") -> Person:
    """Somebody whom no other test knows."""
    name = name or f"{role[:5]}-{uuid.uuid4().hex[:8]}"
    password = f"correct horse {name}"
    with behind(served) as storage, storage.log.writing() as transaction:
        return Person(register(transaction, name, role, hashed(password)).id, name, password)


def sign_in(visits: Visits, served: Served, who: Person) -> Visit:
    """Their browser, signed in as the page does it."""
    visit = visits(served)
    body = {"user": who.name, "password": who.password, "cookie": True}
    answer = visit.context.request.post(f"{served.url}/v2/sessions", data=body, headers={"Origin": served.url})
    assert answer.status == 201, answer.text()
    return visit


def checked(page: Page, what: str) -> None:
    """Axe finds nothing, in both themes."""
    page.emulate_media(reduced_motion="reduce")
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page).response["violations"]
        told = [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
        assert not told, (what, theme, told)
