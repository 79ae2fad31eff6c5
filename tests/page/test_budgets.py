"""How much the page may load, draw and ask for: counted, so that a busy machine changes nothing."""

import gzip
import re

from playwright.sync_api import Page, Response, expect

from es_goals.http.describe.page import without_comments
from tests.page.conftest import Visits
from tests.page.site import Visit, ids, make, recorded, row, wait_for_rows
from tests.support.engines import ROOT
from tests.support.serving import Served

PAGE = ROOT / "es_goals" / "page"
SCREEN = 25  # rows of 32 px in 800, more than are seen below the header
KILO = 1000

SCRIPTS_FIRST, SCRIPTS, STYLES = 40 * KILO, 105 * KILO, 12 * KILO  # bytes with gzip
REQUESTS_FIRST = 22
FILE_LINES = 250


def zipped(data: bytes) -> int:
    """Bytes as they travel."""
    return len(gzip.compress(data, 9))


def test_little_is_loaded_before_the_first_tree(visits: Visits, served: Served, user: str) -> None:
    make(served, user, "Run\n  Train\n")
    visit = visits(served)
    page = visit.page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    drawn = """() => new Promise((done) => new MutationObserver(() => {
      if (document.querySelector('.row')) done(performance.getEntriesByType('resource').map(({name}) => name));
    }).observe(document, {childList: true, subtree: true}))"""
    page.add_init_script(f"window.drawn = ({drawn})()")

    page.goto(f"{served.url}/#/{user}")
    first: list[str] = page.evaluate("window.drawn")
    wait_for_rows(page, "Run", "  Train")

    scripts = {answer.url: zipped(answer.body()) for answer in answers if answer.url.endswith(".js")}
    assert len(first) + 1 <= REQUESTS_FIRST, first
    before = {url: size for url, size in scripts.items() if url in first}
    assert sum(before.values()) <= SCRIPTS_FIRST, (sum(before.values()), before)


def test_all_of_it_is_small() -> None:
    scripts = [*PAGE.glob("*.js"), PAGE / "vendor" / "lit.js", PAGE / "vendor" / "drag.js"]

    assert sum(zipped(without_comments(path.read_bytes())) for path in scripts if path.name != "docs.js") <= SCRIPTS
    assert sum(zipped(path.read_bytes()) for path in PAGE.glob("*.css")) <= STYLES


def test_no_file_is_long_and_none_sets_a_style_attribute() -> None:
    for path in [*PAGE.glob("*.js"), PAGE / "index.html"]:
        text = path.read_text()
        assert text.count("\n") <= FILE_LINES, path.name
        found = re.findall(r"<[^<>]* style=|styleMap|innerHTML|insertAdjacentHTML|unsafeHTML|\beval\(", text)
        assert not found, (path.name, found)


def test_nothing_is_asked_for_while_nothing_happens(page: Page, served: Served, user: str) -> None:
    make(served, user, "Run\n")
    wait_for_rows(page, "Run")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    row(page, "Run").focus()
    page.keyboard.press("ArrowDown")
    page.evaluate("() => new Promise((done) => requestIdleCallback(done, {timeout: 1000}))")

    assert asked == []


def test_few_rows_are_drawn_of_ten_thousand(visit: Visit, served: Served, user: str) -> None:
    make(served, user, "".join(f"{'  ' * (number % 10 > 0)}Goal {number}\n" for number in range(10_000)))
    page = visit.page(f"#/{user}")
    recorded(page, served, user)
    grid = page.get_by_role("treegrid")
    expect(grid).to_have_attribute("aria-rowcount", "10000")
    assert page.locator(".row").count() <= SCREEN + 24

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    expect(row(page, "Goal 9999")).to_be_focused()
    assert page.locator(".row").count() <= SCREEN + 24

    page.evaluate("() => { window.touched = new Set(); new MutationObserver((all) => all.forEach(({target}) => {"
                  " const row = (target.closest ? target : target.parentElement).closest('.row');"
                  " if (row) touched.add(row.dataset.id); })).observe(document.querySelector('.grid'),"
                  " {subtree: true, childList: true, attributes: true, characterData: true}); }")  # fmt: skip
    goal = ids(served, user)["Goal 9995"]
    served.order({"id": goal}, "complete")
    expect(row(page, "Goal 9995").get_by_role("checkbox")).to_be_checked()

    touched = page.evaluate("() => touched.size")
    assert 1 <= touched <= 2 + 1, touched  # it, and its parent


def test_levels_beyond_twelve_are_numbered_and_stay_on_the_screen(visit: Visit, served: Served, user: str) -> None:
    make(served, user, "".join(f"{' ' * level}Level {level + 1}\n" for level in range(60)))
    page = visit.page(f"#/{user}")
    recorded(page, served, user)

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    last = row(page, "Level 60")
    expect(last).to_be_focused()
    expect(last.locator(".level")).to_have_text("60")
    expect(last).to_have_attribute("aria-level", "60")
    box = last.locator(".name").bounding_box()
    assert box is not None
    assert box["x"] < 500
    page.keyboard.press("z")
    expect(page.get_by_role("navigation", name="Where you are")).to_contain_text("Level 59")

    wait_for_rows(page, "Level 60")
