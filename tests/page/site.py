"""Pages in a browser, which fail the test on what no person should meet: errors, breaches of the policy, strangers."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx2
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from tests.support.serving import Served

PATIENCE = 30_000  # ms; a machine may be busy
EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
"""The browser's own line for an answer that a scenario expects."""
VIOLATIONS = """
addEventListener('securitypolicyviolation', ({violatedDirective, blockedURI, sample}) =>
  console.error(`violation: ${violatedDirective} ${blockedURI} ${sample}`));
"""

expect.set_options(timeout=PATIENCE)


class Visit:
    """One person's browser at a service."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.served = served
        self.faults: list[str] = []
        self.refusals = False  # whether answers of 4xx are part of the scenario
        self.offline = False
        self.streams = 0  # how often one was begun
        self.context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(VIOLATIONS)

    def page(self, fragment: str = "") -> Page:
        """A new tab; with a fragment, where it leads."""
        page = self.context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        if fragment:
            self.go(page, fragment)
        return page

    def go(self, page: Page, fragment: str) -> None:
        """Open a fragment and wait for what it shows."""
        page.goto(f"{self.served.url}/{fragment}")
        expect(page.locator('.page[data-ready="true"]')).to_be_visible()
        expect(page.locator("[data-position]").first).to_be_visible()

    def close(self) -> None:
        """End, and fail if anything was amiss."""
        self.context.close()
        assert not self.faults, self.faults

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if (self.refusals and EXPECTED.match(message.text)) or (self.offline and "ERR_" in message.text):
            return
        self.faults.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        self.streams += request.resource_type == "eventsource"
        if not request.url.startswith((self.served.url, "data:")):
            self.faults.append(f"asked a stranger: {request.url}")

    def _failed(self, request: Request) -> None:
        # A page that is left ends its stream and what it was just reading.
        if not self.offline and request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url}: {request.failure}")


def row(page: Page, name: str) -> Locator:
    """The row of a goal that is called so."""
    return page.locator('[role="row"]').filter(has=page.locator(".name").get_by_text(name, exact=True))


def shown(page: Page) -> list[str]:
    """The names of the rows from top to bottom, indented by level."""
    found: list[str] = page.evaluate(f"({_SHOWN})()")
    return found


_SHOWN = """() => [...document.querySelectorAll('[role="row"]')]
  .map((row) => ['rowindex', 'level'].map((name) => Number(row.getAttribute(`aria-${name}`))).concat(
    row.querySelector('.name')?.textContent ?? ''))
  .sort((a, b) => a[0] - b[0]).map(([, level, name]) => '  '.repeat(level - 1) + name)"""


def wait_for_rows(page: Page, *names: str) -> None:
    """Until exactly these are shown."""
    try:
        page.wait_for_function(f"names => JSON.stringify(({_SHOWN})()) === JSON.stringify(names)", arg=list(names))
    except Exception:
        assert shown(page) == list(names), (shown(page), names)
        raise


def names(served: Served, user: str, client: httpx2.Client | None = None) -> list[str]:
    """The names that the service has, indented by level; those that are done with a mark."""
    answer = (client or served.client).get(f"/v2/users/{quote(user)}/goals", params={"view": "flat"})
    assert answer.status_code == 200, answer.text
    done = {"done": " ✔"}
    return ["  " * goal["depth"] + goal["name"] + done.get(goal["status"], "") for goal in answer.json()["goals"]]


def recorded(page: Page, served: Served, user: str) -> None:
    """Until the page has folded all that the service has recorded."""
    position = served.get(f"/v2/users/{quote(user)}/goals", view="flat", depth=0)["position"]
    page.wait_for_function(
        "p => Number(document.querySelector('[data-position]')?.dataset.position) >= p", arg=position
    )


def settled(page: Page) -> None:
    """Until nothing waits to be sent: what was done is recorded and folded."""
    page.wait_for_function("() => document.querySelector('.page')?.dataset.waiting === '0'")


def press(page: Page, *keys: str) -> None:
    """Keys one after the other; what stands in quotes is typed."""
    for key in keys:
        if key.startswith('"'):
            page.keyboard.type(key.strip('"'))
        else:
            page.keyboard.press(key)


def make(served: Served, user: str, outline: str) -> None:
    """Goals from an indented text."""
    answer = served.client.post(
        f"/v2/users/{quote(user)}/import", params={"format": "text"}, content=outline.encode(),
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text


def ids(served: Served, user: str) -> dict[str, str]:
    """The ids of goals by name."""
    goals: Sequence[dict[str, str]] = served.get(f"/v2/users/{quote(user)}/goals", view="flat")["goals"]
    return {goal["name"]: goal["id"] for goal in goals}
