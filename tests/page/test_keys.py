"""Keys work wherever nothing else has the focus, and views that were left leave nothing behind."""

from itertools import permutations

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import make, names, press, recorded, row, settled, wait_for_rows
from tests.support.serving import Served

TREE = "Run\n  Train\nRead\n"
ROWS = TREE.rstrip().split("\n")
OPENED = {"?": "the keys", "Control+k": "all commands", "f": "the filter", "Shift+F10": "the menu", "c": "the question"}


def _begun(served: Served, user: str) -> str:
    """The id of a new draft."""
    answer = served.client.post(f"/v2/users/{user}/drafts", json={"name": "Less"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize(("first", "second"), list(permutations(("past", "compared", "drafting"), 2)))
def test_after_two_views_of_other_trees_the_present_is_as_it_was(
    page: Page, served: Served, user: str, first: str, second: str
) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    views = {"past": "at/now", "compared": "compare/-7d..now", "drafting": f"draft/{_begun(served, user)}"}

    for view in (first, second):
        page.evaluate("hash => { location.hash = hash }", f"#/{user}/{views[view]}")
        expect(page.locator(f".page.{view} .row").first).to_be_visible()
    page.get_by_role("link", name="Goals", exact=True).click()
    expect(page.locator('.page[data-view="goals"]')).to_be_visible()
    wait_for_rows(page, *ROWS)
    expect(page.get_by_role("button", name="New goal")).to_be_enabled()
    row(page, "Read").focus()
    press(page, "n", '"Write"', "Enter", "Escape")
    settled(page)

    wait_for_rows(page, *ROWS, "Write")
    assert names(served, user) == [*ROWS, "Write"]


@pytest.mark.parametrize("key", OPENED, ids=OPENED.values())
def test_a_dialog_that_is_left_gives_the_focus_back(page: Page, served: Served, user: str, key: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Run").focus()

    press(page, key)
    expect(page.locator("dialog[open]")).to_be_visible()
    press(page, "Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(row(page, "Run")).to_be_focused()
    press(page, "ArrowDown")

    expect(row(page, "Train")).to_be_focused()


@pytest.mark.parametrize("key", ["Enter", "n"])
def test_a_blank_page_takes_the_first_goal_without_a_click(page: Page, served: Served, user: str, key: str) -> None:
    press(page, key, '"Run"', "Enter", "Escape")
    settled(page)

    assert names(served, user) == ["Run"]


def test_keys_walk_the_tree_right_after_loading(visits: Visits, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visits(served).page(f"#/{user}")
    wait_for_rows(page, *ROWS)

    press(page, "ArrowDown", "ArrowDown")

    expect(row(page, "Train")).to_be_focused()


def test_after_all_goals_are_deleted_the_next_one_is_made_by_a_key(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Run").focus()

    press(page, "Control+a", "Delete")
    expect(page.locator(".empty-tree")).to_be_visible()
    press(page, "n", '"Again"', "Enter", "Escape")
    settled(page)

    assert names(served, user) == ["Again"]


@pytest.mark.parametrize(("key", "view"), [("t", "past"), ("x", "compared")])
@pytest.mark.parametrize("held", ["", ".row", 'button[aria-label="Close"]'], ids=["nothing", "a row", "a button"])
def test_escape_leaves_the_past(page: Page, served: Served, user: str, key: str, view: str, held: str) -> None:
    make(served, user, TREE)
    recorded(page, served, user)

    press(page, key)
    expect(page.locator(f".page.{view} .row").first).to_be_visible()
    if held:
        page.locator(f"main {held}").first.focus()
    press(page, "Escape")

    expect(page.locator('.page[data-view="goals"]')).to_be_visible()
    expect(page).to_have_url(f"{served.url}/#/{user}")


def test_the_sliders_ring_leaves_the_bars_to_be_seen(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    recorded(page, served, user)
    press(page, "t")
    slider = page.get_by_role("slider", name="Time")
    expect(slider).to_be_focused()

    ring = slider.evaluate("""(slider) => {
      const {outlineWidth, outlineOffset} = getComputedStyle(slider);
      return slider.getBoundingClientRect().top - parseFloat(outlineWidth) - parseFloat(outlineOffset);
    }""")

    assert page.locator(".density").evaluate("(bars) => bars.getBoundingClientRect().bottom") <= ring
