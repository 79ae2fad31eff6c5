"""Whatever happens to the service, the network or the browser, each change is there exactly once and in order."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.conftest import Visits
from tests.page.site import ids, make, names, press, recorded, row, settled, shown, wait_for_rows
from tests.support.serving import Served, wait_for


def add(page: Page, *new: str) -> None:
    """Goals one after the other behind the focused row, or on an empty page."""
    press(page, "n")
    for name in new:
        press(page, f'"{name}"', "Enter")
    press(page, "Escape")


def test_a_service_that_is_killed_loses_no_edit(visits: Visits, tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.make_user("ann")
        visit = visits(served)
        visit.offline = visit.refusals = True
        page = visit.page("#/ann")
        page.locator(".empty-tree").focus()
        wanted = [f"Goal {number}" for number in range(20)]

        press(page, "n")
        for number, name in enumerate(wanted):
            press(page, f'"{name}"', "Enter")
            if number == 9:
                served.kill()
        press(page, "Escape")
        expect(page.locator(".strip")).to_contain_text("Nothing is lost")
        served.start()
        settled(page)
        expect(page.locator(".strip")).not_to_be_attached()

        assert names(served, "ann") == wanted == shown(page)
        page.reload()
        wait_for_rows(page, *wanted)


def test_what_was_done_offline_outlives_a_reload(visits: Visits, served: Served, user: str) -> None:
    make(served, user, "A\nB\n")
    visit = visits(served)
    page = visit.page(f"#/{user}")
    wait_for_rows(page, "A", "B")
    visit.offline = True
    page.route("**/v2/users/*/commands", lambda route: route.abort("internetdisconnected"))
    row(page, "B").focus()

    add(page, "C", "D", "E")
    press(page, "Alt+Shift+ArrowRight", "c")
    wait_for_rows(page, "A", "B", "C", "D", "  E")
    expect(page.locator(".strip")).to_contain_text("changes wait")
    page.reload()
    wait_for_rows(page, "A", "B", "C", "D", "  E")  # still only here
    assert names(served, user) == ["A", "B"]
    page.unroute("**/v2/users/*/commands")
    settled(page)

    assert names(served, user) == ["A", "B", "C", "D", "  E ✔"]
    commands = [event["command"] for event in served.events(f"/users/{user}") if event["goal_id"]]
    assert len(dict.fromkeys(commands)) == 6  # the import, and each of the five once


def test_an_answer_that_is_lost_records_nothing_twice(visits: Visits, served: Served, user: str) -> None:
    visit = visits(served)
    visit.offline = True
    page = visit.page(f"#/{user}")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost:
            return route.continue_()
        lost.append(route.request.url)
        route.fetch()
        return route.abort("connectionreset")

    page.route("**/commands", lose)
    page.locator(".empty-tree").focus()
    add(page, "Only once")
    settled(page)

    assert lost
    assert names(served, user) == ["Only once"]


def test_typing_does_not_wait_for_a_slow_network(visits: Visits, served: Served, user: str) -> None:
    visit = visits(served)
    page = visit.page(f"#/{user}")
    held: list[Route] = []
    slow = [True]
    page.route("**/commands", lambda route: held.append(route) if slow else route.continue_())
    page.locator(".empty-tree").focus()

    add(page, "One", "Two", "Three")
    wait_for_rows(page, "One", "Two", "Three")
    assert names(served, user) == []
    slow.clear()
    held[0].continue_()
    settled(page)

    assert names(served, user) == ["One", "Two", "Three"]


@pytest.mark.parametrize(("answer", "name"), [("Keep theirs", "Theirs"), ("Use mine", "Mine")])
def test_two_names_for_one_goal_are_a_question(
    visits: Visits, served: Served, user: str, answer: str, name: str
) -> None:
    make(served, user, "Run\n")
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}")
    wait_for_rows(page, "Run")
    row(page, "Run").focus()

    press(page, "F2", "Control+a", '"Mine"')
    served.order({"id": ids(served, user)["Run"]}, "patch", name="Theirs")
    press(page, "Enter", "Escape")
    dialog = page.get_by_role("dialog", name="Name was changed meanwhile")
    expect(dialog).to_contain_text("Theirs")
    expect(dialog).to_contain_text("Mine")
    dialog.get_by_role("button", name=answer).click()

    wait_for_rows(page, name)
    wait_for(lambda: names(served, user) == [name], "the name to be recorded")


def test_two_names_are_a_question_however_long_the_history_is(visits: Visits, served: Served, user: str) -> None:
    make(served, user, "Run\n")
    goal = {"id": ids(served, user)["Run"]}
    for some in range(0, 1200, 400):
        texts = [{"type": "ChangeGoal", **goal, "description": f"{number}"} for number in range(some, some + 400)]
        assert served.post(f"/v2/users/{user}/commands", {"commands": texts}).status_code == 200
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}")
    wait_for_rows(page, "Run")
    row(page, "Run").focus()

    press(page, "F2", "Control+a", '"Mine"')
    served.order(goal, "patch", name="Theirs")
    for number in range(120):  # more than a page
        served.order(goal, "patch", description=f"again {number}")
    press(page, "Enter", "Escape")

    expect(page.get_by_role("dialog", name="Name was changed meanwhile")).to_contain_text("Theirs")
    assert names(served, user) == ["Theirs"]


def test_a_question_waits_until_the_typing_ends_and_no_key_answers_it(
    visits: Visits, served: Served, user: str
) -> None:
    make(served, user, "Run\n")
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}")
    wait_for_rows(page, "Run")
    row(page, "Run").focus()

    press(page, "F2", "Control+a", '"Mine"')
    served.order({"id": ids(served, user)["Run"]}, "patch", name="Theirs")
    press(page, "Enter", '"Buy"')
    expect(page.locator(".toast")).to_contain_text("Which one stays is asked when you are done typing.")
    press(page, '" new shoes"', "Enter")
    wait_for_rows(page, "Theirs", "Buy new shoes", "")
    expect(page.get_by_role("dialog")).not_to_be_attached()
    press(page, "Escape")
    dialog = page.get_by_role("dialog", name="Name was changed meanwhile")
    expect(dialog).to_be_visible()
    expect(page.locator(".toast")).not_to_be_attached()
    press(page, "Space", "Enter", '"x"')
    expect(dialog).to_be_visible()
    press(page, "Escape")
    page.locator(".toast").get_by_role("button", name="Use mine").click()

    wait_for(lambda: names(served, user) == ["Mine", "Buy new shoes"], "the name to be recorded")


def test_two_fields_of_one_goal_are_no_question(visits: Visits, served: Served, user: str) -> None:
    make(served, user, "Run\n")
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}")
    wait_for_rows(page, "Run")
    row(page, "Run").focus()

    press(page, "F2", '"ning"')
    served.order({"id": ids(served, user)["Run"]}, "patch", description="in the rain")
    press(page, "Enter", "Escape")

    wait_for(lambda: names(served, user) == ["Running"], "the name to be recorded")
    wait_for_rows(page, "Running")
    assert served.get(f"/v2/users/{user}/goals")["goals"][0]["description"] == "in the rain"


def test_many_events_at_once_are_caught_up_with(page: Page, served: Served, user: str) -> None:
    make(served, user, "".join(f"Goal {number}\n" for number in range(700)))
    recorded(page, served, user)

    assert page.locator('[role="treegrid"]').get_attribute("aria-rowcount") == "700"
    assert page.locator(".row").count() < 80
