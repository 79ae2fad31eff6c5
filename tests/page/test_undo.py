"""Undo and redo from the log: seen, lasting, the same in every tab; and history as sentences."""

import re
from collections.abc import Sequence

from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import Visit, ids, make, names, press, recorded, row, settled, wait_for_rows
from tests.support.serving import Served

TREE = "Run a marathon\n  Train\n    Run 10 km\n    Run 21 km\n  Buy shoes\nRead\n  Ulysses\n"
ROWS = TREE.rstrip().split("\n")


def test_a_deletion_is_undone_from_its_toast(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)

    row(page, "Train").focus()
    press(page, "Delete")
    wait_for_rows(page, "Run a marathon", "  Buy shoes", "Read", "  Ulysses")
    page.locator(".toast").get_by_role("button", name="Undo").click()

    wait_for_rows(page, *ROWS)
    expect(page.locator(".toast")).to_contain_text("Undid: deleted “Train”")
    expect(row(page, "Train")).to_be_focused()


def test_undo_and_redo_go_on_over_a_reload_and_in_another_tab(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visit.page(f"#/{user}")
    wait_for_rows(page, *ROWS)
    row(page, "Read").focus()
    press(page, "F2", '"ing"', "Enter", "Escape", "Alt+Shift+ArrowRight")
    wait_for_rows(page, *ROWS[:5], "  Reading", "    Ulysses")
    settled(page)

    press(page, "Control+z")
    wait_for_rows(page, *ROWS[:5], "Reading", "  Ulysses")
    page.reload()
    expect(page.locator('.page[data-ready="true"]')).to_be_visible()
    press(page, "Control+z")
    wait_for_rows(page, *ROWS)
    other = visit.page(f"#/{user}")
    press(other, "Control+Shift+Z")
    wait_for_rows(page, *ROWS[:5], "Reading", "  Ulysses")
    press(page, "Control+y")

    wait_for_rows(other, *ROWS[:5], "  Reading", "    Ulysses")
    press(page, "Control+y")
    expect(page.locator("#news")).to_contain_text("Nothing to redo.")


def undone(served: Served, user: str, commands: Sequence[str]) -> list[str]:
    """Undo each, the last first; answers the commands that did."""
    done = [served.post(f"/v2/users/{user}/undo", {"command": command}) for command in reversed(commands)]
    assert {answer.status_code for answer in done} == {200}
    return [answer.json()["command"] for answer in done]


def test_undo_and_redo_do_not_end_at_a_page_of_the_history(visit: Visit, served: Served, user: str) -> None:
    goals = [f"Goal {number}" for number in range(60)]
    for name in goals:
        served.make_goal(user, name)
    made = [one["command"] for one in served.get(f"/v2/users/{user}/commands", limit=100)["commands"]]
    undos = undone(served, user, made[5:])
    page = visit.page(f"#/{user}")
    wait_for_rows(page, *goals[:5])

    page.locator(".row").last.focus()
    press(page, "Control+z")
    wait_for_rows(page, *goals[:4])
    press(page, "Control+y")
    wait_for_rows(page, *goals[:5])
    undone(served, user, undos[3:])
    grid = page.locator('[role="treegrid"]')
    expect(grid).to_have_attribute("aria-rowcount", "57")
    press(page, "Control+y")

    expect(grid).to_have_attribute("aria-rowcount", "58")
    assert names(served, user) == goals[:58]


def test_two_tabs_that_undo_at_once_undo_one_command(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    served.order({"id": ids(served, user)["Read"]}, "patch", name="Sleep")
    one, two = visit.page(f"#/{user}"), visit.page(f"#/{user}")
    wait_for_rows(one, *ROWS[:5], "Sleep", "  Ulysses")
    wait_for_rows(two, *ROWS[:5], "Sleep", "  Ulysses")

    commands = served.get(f"/v2/users/{user}/commands", order="desc", limit=1)["commands"]
    for page in (one, two):
        page.evaluate(
            "command => import(document.querySelector('script[type=module]').src.replace('app.js', 'undo.js'))"
            ".then(({undoCommand}) => undoCommand(command, 'renamed'))",
            commands[0]["command"],
        )

    wait_for_rows(one, *ROWS)
    wait_for_rows(two, *ROWS)
    assert len([event for event in served.events(f"/users/{user}") if event["type"] == "GoalRenamed"]) == 2


def test_a_cascade_is_undone_as_one(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)

    row(page, "Run a marathon").get_by_role("checkbox").click()
    page.get_by_role("button", name="This and all 4 open below").click()
    expect(row(page, "Buy shoes").get_by_role("checkbox")).to_be_checked()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(row(page, "Buy shoes").get_by_role("checkbox")).not_to_be_checked()

    assert [name for name in names(served, user) if "✔" in name] == []


def test_what_is_in_the_way_is_named_and_undone_too(visits: Visits, served: Served, user: str) -> None:
    make(served, user, TREE)
    goal = {"id": ids(served, user)["Ulysses"]}
    served.order(goal, "patch", name="Odyssey")
    served.order(goal, "patch", name="Iliad")
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}/history")

    page.get_by_role("listitem").filter(has_text="renamed “Ulysses”").get_by_role("button", name="Undo").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 later change builds on it")
    expect(dialog).to_contain_text("Iliad")
    dialog.get_by_role("button", name="Undo both, latest first").click()
    expect(page.locator(".toast")).to_contain_text("Undid")

    assert names(served, user)[-1] == "  Ulysses"


def test_history_is_told_in_sentences_and_leads_to_the_moment(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    goal = {"id": ids(served, user)["Ulysses"]}
    served.order(goal, "patch", name="Odyssey", reason="the other one")
    served.order(goal, "delete")
    recorded(page, served, user)
    row(page, "Read").focus()

    press(page, "h")
    items = page.get_by_role("listitem")
    expect(items.nth(0)).to_contain_text("deleted “Odyssey”")
    expect(items.nth(1)).to_contain_text("renamed “Ulysses” to “Odyssey”")
    expect(items.nth(1)).to_contain_text("“the other one”")
    page.get_by_label("Kind").select_option("Renamed")
    expect(items).to_have_count(1)
    items.nth(0).get_by_role("button", name="Look at that moment").click()

    wait_for_rows(page, *ROWS[:-1], "  Odyssey")


def test_a_goal_has_its_history_and_says_who_named_it_why(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Ulysses").focus()

    press(page, "e")
    pane = page.get_by_role("complementary", name="Detail")
    pane.get_by_label("Why").fill("typo")
    pane.get_by_label("Name").fill("Odyssey")
    press(page, "Enter")
    expect(pane.get_by_role("listitem").first).to_contain_text("renamed “Ulysses” to “Odyssey”")
    expect(pane.get_by_label("Name")).to_have_attribute("title", re.compile("typo"))
    pane.get_by_label("Description").fill("at last\nhttps://example.org/book")
    pane.get_by_label("Name").focus()
    expect(pane.get_by_role("link", name="https://example.org/book")).to_be_visible()
    pane.get_by_role("listitem").filter(has_text="renamed").get_by_role("button", name="Undo").click()

    wait_for_rows(page, *ROWS)
    renamed = [event for event in served.events(f"/users/{user}") if event["type"] == "GoalRenamed"]
    assert [event["reason"] for event in renamed] == ["typo", None]
