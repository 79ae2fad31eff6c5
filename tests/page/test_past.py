"""Deleting and restoring; the time machine and comparisons: what is shown is what the service says of the past."""

import random
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import ids, make, names, press, recorded, row, settled, shown, wait_for_rows
from tests.support.serving import Served

TREE = "Run a marathon\n  Train\n    Run 10 km\n  Buy shoes\nRead\n  Ulysses\n"
ROWS = TREE.rstrip().split("\n")


def lived(served: Served, user: str) -> list[int]:
    """A tree to which things happened; answers the positions of all of it."""
    make(served, user, TREE)
    goal = {name: {"id": goal_id} for name, goal_id in ids(served, user).items()}
    served.order(goal["Ulysses"], "move", parent_id=goal["Train"]["id"])
    served.order(goal["Ulysses"], "patch", name="Odyssey", reason="the other one")
    served.order(goal["Run a marathon"], "complete", cascade=True)
    served.order(goal["Buy shoes"], "delete")
    served.order(goal["Run 10 km"], "reopen")
    served.order(goal["Buy shoes"], "restore", parent_id=goal["Read"]["id"])
    served.order(goal["Train"], "patch", due="2026-01-01T00:00:00Z")
    return [event["position"] for event in served.events(f"/users/{user}") if event["goal_id"]]


def then(served: Served, user: str, position: int) -> list[str]:
    """The rows as the service says they were."""
    goals = served.get(f"/v2/users/{user}/goals", view="flat", as_of=position)["goals"]
    return ["  " * goal["depth"] + goal["name"] for goal in goals]


def test_what_is_deleted_is_in_the_trash_and_comes_back(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)

    row(page, "Train").focus()
    press(page, "Delete")
    expect(page.locator(".toast")).to_contain_text("Deleted “Train” and 1 below.")
    wait_for_rows(page, "Run a marathon", "  Buy shoes", "Read", "  Ulysses")
    page.locator(".toast").get_by_role("link", name="Show in trash").click()
    expect(page.get_by_role("listitem")).to_contain_text("Train and 1 below")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("Nothing is deleted.")).to_be_visible()
    page.get_by_role("link", name="Goals", exact=True).click()

    wait_for_rows(page, *ROWS)


def test_what_lost_its_parent_is_restored_elsewhere(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    goal = {name: {"id": goal_id} for name, goal_id in ids(served, user).items()}
    served.order(goal["Run 10 km"], "delete")
    served.order(goal["Train"], "delete")
    recorded(page, served, user)

    page.get_by_role("link", name="Trash").click()
    item = page.get_by_role("listitem").filter(has_text="Run 10 km")
    expect(item).to_contain_text("Its parent is gone.")
    item.get_by_role("button", name="Restore elsewhere…").click()
    page.get_by_role("combobox").fill("read")
    press(page, "Enter")
    settled(page)

    assert names(served, user) == ["Run a marathon", "  Buy shoes", "Read", "  Ulysses", "  Run 10 km"]


def test_the_slider_shows_what_the_service_says_of_any_moment(page: Page, served: Served, user: str) -> None:
    positions = lived(served, user)
    draw = random.Random(5)  # noqa: S311
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    for position in draw.choices(positions, k=8):
        page.goto(f"{served.url}/#/{user}/at/{position}")
        expect(page.locator(".page.past")).to_be_visible()
        expected = then(served, user, _end_of_command(served, user, position))
        wait_for_rows(page, *expected)

    assert not [url for url in asked if "as_of" in url]


def _end_of_command(served: Served, user: str, position: int) -> int:
    """A moment of the page is behind a whole command."""
    events = served.events(f"/users/{user}")
    command = next(event["command"] for event in events if event["position"] == position)
    positions: list[int] = [event["position"] for event in events if event["command"] == command]
    return positions[-1]


def test_the_past_is_walked_by_keys_and_read_only(page: Page, served: Served, user: str) -> None:
    positions = lived(served, user)
    recorded(page, served, user)
    row(page, "Read").focus()

    press(page, "t")
    expect(page.get_by_role("slider", name="Time")).to_be_focused()
    press(page, "Home")
    expect(page.get_by_text("Before everything")).to_be_visible()
    press(page, "ArrowRight", "ArrowRight")
    wait_for_rows(page, *then(served, user, positions[6]))
    expect(page.locator(".row.changed .name")).to_have_text(["Ulysses"])
    row(page, "Read").focus()
    press(page, "Delete")
    expect(page.locator("#alerts")).to_contain_text("read only")
    link = page.url
    page.goto("about:blank")
    page.goto(link)

    wait_for_rows(page, *then(served, user, positions[6]))
    assert served.events(f"/users/{user}")[-1]["position"] == positions[-1]


def test_play_ends_at_the_present(visits: Visits, served: Served, user: str) -> None:
    lived(served, user)
    page = visits(served, reduced_motion="reduce").page(f"#/{user}")
    present = names(served, user)
    wait_for_rows(page, *[name.removesuffix(" ✔") for name in present])
    before = shown(page)

    page.goto(f"{served.url}/#/{user}/at/0")
    page.get_by_label("Speed").select_option("100")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()

    wait_for_rows(page, *before)


def test_a_goal_is_made_as_it_was(page: Page, served: Served, user: str) -> None:
    positions = lived(served, user)
    page.goto(f"{served.url}/#/{user}/at/{positions[5]}")
    wait_for_rows(page, *ROWS)

    row(page, "Ulysses").click()
    page.get_by_role("button", name="Make “Ulysses” as it was then").click()
    expect(page.get_by_role("dialog")).to_contain_text("set its name to “Ulysses”")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator(".toast")).to_contain_text("is as it was then")

    assert names(served, user)[-3:] == ["Read", "  Ulysses", "  Buy shoes ✔"]


def test_a_comparison_marks_each_goal_as_the_service_says(page: Page, served: Served, user: str) -> None:
    positions = lived(served, user)
    served.order({"id": ids(served, user)["Odyssey"]}, "delete")
    diff = served.get(f"/v2/users/{user}/diff", **{"from": positions[5]})

    page.goto(f"{served.url}/#/{user}/compare/{positions[5]}..now")
    expect(page.locator(".row.diff").first).to_be_visible()

    for goal in diff["goals"]:
        chips = page.locator(f'[data-id="{goal["id"]}"] .chip')
        assert chips.count() == len(goal["changes"]), goal
    legend = page.locator(".legend").inner_text()
    assert all(f"{count} " in legend for kind, count in diff["summary"].items() if count and kind != "goals")
    was = page.locator(".row.was").filter(has_text="Buy shoes")
    expect(was).to_contain_text("→ Read")
    was.get_by_role("button", name="Go there").click()
    expect(page.locator(f'[data-id="{ids(served, user)["Buy shoes"]}"]')).to_be_focused()


def test_presets_compare_with_a_day_that_is_past(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    recorded(page, served, user)

    page.locator(".row").first.focus()
    press(page, "x")
    expect(page.locator(".row.diff.created")).to_have_count(len(ROWS))
    page.get_by_label("Since…").select_option("-1d")

    expect(page).to_have_url(f"{served.url}/#/{user}/compare/-1d..now")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert page.locator('input[type="date"]').first.input_value() == yesterday.strftime("%Y-%m-%d")
