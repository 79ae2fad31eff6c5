"""The tree in the hands of a person: by keys, by pointer, together with others."""

from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import Visit, ids, make, names, press, recorded, row, settled, shown, wait_for_rows
from tests.support.serving import Served

TREE = """\
Run a marathon
  Train
    Run 10 km
    Run 21 km
  Buy shoes
Read
  Ulysses
"""
ROWS = TREE.rstrip().split("\n")


def test_a_tree_is_built_with_the_keyboard_only(page: Page, served: Served, user: str) -> None:
    page.keyboard.press("Tab")  # to the link that skips the header
    press(page, "Enter", "Enter", '"Run a marathon"', "Enter", '"Train"', "Tab", "Enter", '"Run 10 km"', "Tab", "Enter")
    press(page, '"Run 21 km"', "Enter", '"Buy shoes"', "Shift+Tab", "Enter", "Enter", '"Read"', "Enter", "Escape")
    wait_for_rows(page, "Run a marathon", "  Train", "    Run 10 km", "    Run 21 km", "  Buy shoes", "Read")
    settled(page)

    assert names(served, user) == shown(page)
    expect(row(page, "Read")).to_be_focused()


def test_a_row_is_moved_completed_renamed_and_deleted_by_keys(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Read").focus()

    press(page, "Alt+Shift+ArrowRight")  # under Run a marathon
    wait_for_rows(page, *ROWS[:5], "  Read", "    Ulysses")
    press(page, "Alt+Shift+ArrowUp")
    wait_for_rows(page, *ROWS[:4], "  Read", "    Ulysses", "  Buy shoes")
    expect(row(page, "Read")).to_be_focused()
    press(page, "ArrowDown", "c")
    expect(row(page, "Ulysses").get_by_role("checkbox")).to_be_checked()
    press(page, "F2", '" by Joyce"', "Enter", "Escape", "Home", "ArrowDown", "Delete")

    wait_for_rows(page, "Run a marathon", "  Read", "    Ulysses by Joyce", "  Buy shoes")
    expect(row(page, "Read")).to_be_focused()
    settled(page)
    assert names(served, user) == ["Run a marathon", "  Read", "    Ulysses by Joyce ✔", "  Buy shoes"]


def test_lines_that_are_pasted_become_goals_in_one_command(page: Page, served: Served, user: str) -> None:
    lines = [f"{'  ' * (number % 3)}Goal {number}" for number in range(30)]
    page.evaluate(
        """text => {
      const target = document.querySelector('.empty-tree button');
      target.click();
      window.pasteInto = (field) => {
        const clipboardData = new DataTransfer();
        clipboardData.setData('text/plain', text);
        field.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}));
      };
    }""",
        "\n".join(lines),
    )
    page.locator(".editor").evaluate("field => pasteInto(field)")
    settled(page)

    assert names(served, user) == lines
    assert shown(page) == lines
    assert len({event["command"] for event in served.events(f"/users/{user}") if event["goal_id"]}) == 1


def test_tab_takes_what_is_below_along(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Read").focus()

    press(page, "F2", '"ing"', "Tab")
    wait_for_rows(page, *ROWS[:5], "  ", "    Ulysses")  # it is still being named
    press(page, "Enter", "Escape")
    settled(page)

    assert names(served, user) == [*ROWS[:5], "  Reading", "    Ulysses"]


def test_folding_changes_only_by_its_own_keys(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Run a marathon").focus()

    press(page, "ArrowLeft")
    wait_for_rows(page, "Run a marathon", "Read", "  Ulysses")
    expect(row(page, "Run a marathon")).to_have_attribute("aria-expanded", "false")
    press(page, "End", "Alt+Shift+ArrowLeft")  # Ulysses goes out
    wait_for_rows(page, "Run a marathon", "Read", "Ulysses")
    page.reload()
    wait_for_rows(page, "Run a marathon", "Read", "Ulysses")
    row(page, "Run a marathon").focus()
    press(page, "Shift+ArrowRight")
    wait_for_rows(page, *ROWS[:5], "Read", "Ulysses")


def test_another_tab_shows_a_change_without_moving(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    one, two = visit.page(f"#/{user}"), visit.page(f"#/{user}")
    wait_for_rows(one, *ROWS)
    wait_for_rows(two, *ROWS)
    row(two, "Ulysses").focus()

    row(one, "Run a marathon").focus()
    press(one, "n", '"Sleep"', "Enter", "Escape")

    wait_for_rows(two, *ROWS[:5], "Sleep", *ROWS[5:])
    expect(row(two, "Ulysses")).to_be_focused()


def test_seven_tabs_read_one_stream_and_the_next_takes_over(visit: Visit, served: Served, user: str) -> None:
    pages = [visit.page(f"#/{user}") for _ in range(7)]
    make(served, user, TREE)
    for page in pages:
        wait_for_rows(page, *ROWS)
    assert visit.streams == 1

    pages[0].close()
    served.order({"id": ids(served, user)["Ulysses"]}, "patch", name="Odyssey")

    for page in pages[1:]:
        wait_for_rows(page, *ROWS[:-1], "  Odyssey")
    assert visit.streams == 2


def test_goals_are_dragged_where_the_line_is(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)

    drag(page, "Ulysses", "Buy shoes")
    wait_for_rows(page, *ROWS[:5], "    Ulysses", "Read")
    expect(page.locator(".toast")).to_contain_text("“Ulysses” moved under “Buy shoes”, 1 of 1")
    drag(page, "Run a marathon", "Train")  # under itself

    expect(page.locator(".toast")).to_contain_text("cannot go under itself")
    settled(page)
    assert names(served, user) == [*ROWS[:5], "    Ulysses", "Read"]


def drag(page: Page, name: str, onto: str) -> None:
    """Onto the middle of a row."""
    row(page, name).hover()
    expect(row(page, name)).to_have_attribute("draggable", "true")
    begin, end = row(page, name).bounding_box(), row(page, onto).bounding_box()
    assert begin is not None
    assert end is not None
    page.mouse.move(begin["x"] + 200, begin["y"] + 16)
    page.mouse.down()
    page.mouse.move(begin["x"] + 210, begin["y"] + 20, steps=3)
    page.mouse.move(end["x"] + 200, end["y"] + 16, steps=6)
    expect(page.locator(".drop, .row.into")).to_be_visible()
    page.mouse.up()


def test_a_selection_moves_in_its_order_by_the_menu_and_by_cutting(page: Page, served: Served, user: str) -> None:
    make(served, user, "A\nB\nC\nD\n  E\n")
    wait_for_rows(page, "A", "B", "C", "D", "  E")
    row(page, "A").focus()

    press(page, "Space", "ArrowDown", "ArrowDown", "Space", "m")
    page.get_by_role("combobox").fill("D")
    press(page, "Enter")
    wait_for_rows(page, "B", "D", "  E", "  A", "  C")
    settled(page)
    row(page, "A").click(button="right")
    page.get_by_role("menuitem", name="Up").click()
    wait_for_rows(page, "B", "D", "  A", "  C", "  E")
    settled(page)

    assert names(served, user) == ["B", "D", "  A", "  C", "  E"]


def test_completing_with_open_goals_below_asks(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)

    row(page, "Train").get_by_role("checkbox").click()
    dialog = page.get_by_role("dialog", name="Complete “Train”")
    expect(dialog).to_contain_text("2 goals below are still open")
    dialog.get_by_role("button", name="Only this").click()
    expect(row(page, "Train").get_by_role("checkbox")).to_be_checked()
    row(page, "Run a marathon").get_by_role("checkbox").click()
    page.get_by_role("button", name="This and all 3 open below").click()
    expect(page.locator(".toast")).to_contain_text("Completed “Run a marathon” and 3 below.")
    settled(page)

    assert [name for name in names(served, user) if "✔" not in name] == ["Read", "  Ulysses"]


def test_words_find_goals_and_escape_leads_back(page: Page, served: Served, user: str) -> None:
    make(served, user, TREE)
    wait_for_rows(page, *ROWS)
    row(page, "Read").focus()

    press(page, "/", '"rUn km"')
    wait_for_rows(page, *ROWS[:4])
    expect(page.locator(".summary")).to_have_text("2 goals found")
    assert page.locator("mark").all_inner_texts() == ["Run", "km", "Run", "km"]
    press(page, "Escape")

    wait_for_rows(page, *ROWS)
    expect(row(page, "Read")).to_be_focused()


def test_a_refused_command_says_why_and_puts_the_row_back(visits: Visits, served: Served, user: str) -> None:
    visit = visits(served)
    visit.refusals = True
    make(served, user, TREE)
    page = visit.page(f"#/{user}")
    wait_for_rows(page, *ROWS)
    page.route("**/commands", lambda route: route.continue_(url=route.request.url.replace("/commands", "/nowhere")))

    row(page, "Ulysses").focus()
    press(page, "Alt+Shift+ArrowLeft")

    expect(page.get_by_role("alert").filter(has_text="Could not move “Ulysses”")).to_be_visible()
    wait_for_rows(page, *ROWS)


def test_names_of_any_kind_stay_text_and_do_not_overlap(page: Page, served: Served, user: str) -> None:
    hostile = [
        "<img src=x onerror=alert(1)>", "{{7*7}} ${7*7}", "javascript:alert(1)", "مقاس طويل جدا للحذاء", "שלום עולם",
        "漢" * 200, "W" * 200, "👩‍👩‍👧‍👦" * 20, "e" + "́" * 150, "a b" * 40,
    ]  # fmt: skip
    for name in hostile:
        served.make_goal(user, name, description="<b>x</b>")
    recorded(page, served, user)
    wait_for_rows(page, *names(served, user))

    overlaps = page.evaluate("""() => [...document.querySelectorAll('.row')].filter((row) => {
      const box = (one) => row.querySelector(one)?.getBoundingClientRect();
      const [name, progress, check] = [box('.name'), box('.progress'), box('.check')];
      return name.right > progress.left + 1 || name.left < check.right - 1 || row.scrollWidth > row.clientWidth + 1;
    }).map((row) => row.textContent)""")

    assert overlaps == []
    assert page.locator(".row img, .row b").count() == 0
