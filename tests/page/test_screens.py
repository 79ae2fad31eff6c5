"""Every screen for everybody: axe finds nothing, in both themes; small screens, paper, high contrast."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import Visit, make, press, recorded, row, settled
from tests.support.serving import Served

TREE = "Run a marathon\n  Train\n    [x] Run 10 km\n    Run 21 km\n  Buy shoes\nمقاس طويل\n  Ulysses\n"
OPEN_KEYS = {
    "keys": "?",
    "palette": "Control+k",
    "filter": "f",
    "menu": "Shift+F10",
    "move to": "m",
    "due": "d",
    "detail": "e",
}


def checked(page: Page, what: str) -> None:
    """Axe finds nothing."""
    found = Axe().run(page).response["violations"]
    told = [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:3], one["nodes"][0]["failureSummary"])
        for one in found
    ]
    assert not told, (what, told)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_screen(visits: Visits, served: Served, user: str, theme: str) -> None:
    make(served, user, TREE)
    visit = visits(served, color_scheme=theme)
    page = visit.page(f"#/{user}")
    recorded(page, served, user)
    checked(page, "tree")
    for what, key in OPEN_KEYS.items():
        row(page, "Train").focus()
        press(page, key)
        expect(page.locator("dialog, .pane")).to_be_visible()
        checked(page, what)
        press(page, "Escape")
    row(page, "Ulysses").focus()
    press(page, "F2")
    checked(page, "naming")
    press(page, "Escape", "Delete")
    expect(page.locator(".toast")).to_be_visible()
    checked(page, "toast")
    settled(page)
    for view, there in {
        "trash": ".list",
        f"at/{_position(served, user) - 1}": ".slider",
        "compare/1..now": ".row.diff",
    }.items():
        page.goto(f"{served.url}/#/{user}/{view}")
        expect(page.locator(there).first).to_be_visible()
        checked(page, view)


def _position(served: Served, user: str) -> int:
    position: int = served.get(f"/v2/users/{user}/goals", view="flat", depth=0)["position"]
    return position


def test_an_open_service_begins_with_a_choice_of_users(visits: Visits, served: Served, user: str) -> None:
    page = visits(served).page()
    page.goto(served.url)

    expect(page.get_by_role("link", name=user)).to_be_visible()
    checked(page, "choice")
    page.get_by_role("button", name="New user").click()
    page.get_by_label("Name").fill(f"{user}-two")
    press(page, "Enter")

    expect(page.get_by_text("A blank page.")).to_be_visible()
    checked(page, "empty tree")


@pytest.mark.parametrize(("width", "height"), [(320, 640), (360, 740)])
def test_a_small_screen_scrolls_down_only(visits: Visits, served: Served, user: str, width: int, height: int) -> None:
    make(served, user, TREE + "x" * 150 + "\n")
    page = visits(served, viewport={"width": width, "height": height}).page(f"#/{user}")
    recorded(page, served, user)

    for view in ("", "/trash", "/at/1", "/compare/1..now"):
        page.goto(f"{served.url}/#/{user}{view}")
        expect(page.locator("[data-position], .time").first).to_be_visible()
        wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], (view, wide)
    page.goto(f"{served.url}/#/{user}")
    expect(page.get_by_role("toolbar").get_by_role("button", name="New goal")).to_be_visible()


def test_touch_targets_are_large_enough(visits: Visits, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visits(served).page(f"#/{user}")
    recorded(page, served, user)
    row(page, "Train").focus()

    small = page.evaluate("""() => [...document.querySelectorAll('button, a[href]')]
      .map((one) => [one.getBoundingClientRect(), one])
      .filter(([box]) => box.width && (box.width < 24 || box.height < 24))
      .map(([box, one]) => [box.width, box.height, one.outerHTML.slice(0, 120)])""")

    assert [one for one in small if "skip" not in one[2]] == []


def test_paper_has_all_open_rows(visits: Visits, served: Served, user: str) -> None:
    make(served, user, "".join(f"Goal {number}\n" for number in range(300)))
    page = visits(served).page(f"#/{user}")
    recorded(page, served, user)
    assert page.locator(".row").count() < 100

    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".row").count() == 300
    page.evaluate("dispatchEvent(new Event('afterprint'))")

    expect(page.locator(".row").nth(100)).not_to_be_attached()


def test_high_contrast_keeps_what_is_told_by_colour(visits: Visits, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visits(served, forced_colors="active").page(f"#/{user}")
    recorded(page, served, user)

    done = (
        row(page, "Run 10 km")
        .get_by_role("checkbox")
        .evaluate("box => getComputedStyle(box, '::before').backgroundColor")
    )
    open_ = (
        row(page, "Run 21 km")
        .get_by_role("checkbox")
        .evaluate("box => getComputedStyle(box, '::before').backgroundColor")
    )

    assert done != open_


def test_each_row_is_heard_with_its_name_level_place_and_state(visits: Visits, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visits(served).page(f"#/{user}")
    recorded(page, served, user)

    expect(page.get_by_role("treegrid", name=f"Goals of {user}")).to_match_aria_snapshot("""
      - treegrid:
        - row /Run a marathon/ [expanded] [level=1]:
          - rowheader /Run a marathon/:
            - checkbox "Complete “Run a marathon”"
          - gridcell "1 of 3 done"
        - row /Train/ [expanded] [level=2]
        - row /Run 10 km/ [level=3]:
          - rowheader /Run 10 km/:
            - checkbox "Reopen “Run 10 km”" [checked]
    """)
    assert row(page, "Buy shoes").evaluate("row => [row.ariaPosInSet, row.ariaSetSize, row.ariaLevel]") == [
        "2",
        "2",
        "2",
    ]


def test_an_address_of_no_goal_says_so(page: Page, visit: Visit, user: str) -> None:
    visit.go(page, f"#/{user}/goal/{user}")

    expect(page.get_by_role("alert").filter(has_text="There is no such goal.")).to_be_visible()
