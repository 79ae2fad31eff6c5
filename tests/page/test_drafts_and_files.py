"""What if; goals from files and to files; how busy a year was."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.people import HOSTILE, checked
from tests.page.site import Visit, ids, make, names, press, recorded, row, settled, shown, wait_for_rows
from tests.support.serving import Served

TREE = "Run a marathon\n  Train\n    Run 10 km\n    Run 21 km\n  Buy shoes\nRead\n  Ulysses\n"
ROWS = TREE.rstrip().split("\n")


def begin_draft(page: Page, name: str) -> None:
    """A draft of this name, which is then shown."""
    press(page, "w")
    page.get_by_label("What would change?").fill(name)
    press(page, "Enter")
    expect(page.locator(".page.drafting .row").first).to_be_visible()


def counted(page: Page, changes: str) -> None:
    """Until the draft has so many."""
    expect(page.get_by_role("region", name="What if")).to_contain_text(changes)


def test_a_draft_is_tried_conflicts_is_brought_up_to_date_and_applied(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    page, live = visit.page(f"#/{user}"), visit.page(f"#/{user}")
    wait_for_rows(page, *ROWS)
    visit.refusals = True
    page.bring_to_front()

    begin_draft(page, "Skip the half")
    row(page, "Run 21 km").click()
    press(page, "Delete")
    counted(page, "1 change")
    row(page, "Ulysses").click()
    press(page, "Alt+Shift+ArrowLeft")
    counted(page, "2 changes")
    press(page, "F2", '" by Joyce"', "Enter", '"Sleep"', "Enter", "Escape")
    counted(page, "4 changes")
    row(page, "Buy shoes").click()
    press(page, "c")
    counted(page, "5 changes")
    press(page, "Control+z")
    counted(page, "4 changes")
    press(page, "Control+Shift+z")
    counted(page, "5 changes")
    drafted = ["Run a marathon", "  Train", "    Run 10 km", "  Buy shoes", "Read", "Ulysses by Joyce", "Sleep"]
    wait_for_rows(page, *drafted)
    assert shown(live) == ROWS
    assert names(served, user) == ROWS

    served.order({"id": ids(served, user)["Ulysses"]}, "patch", name="Odyssey")
    counted(page, "1 event behind")
    page.get_by_role("button", name="Apply all").click()
    conflict = page.get_by_role("dialog", name="1 conflict")
    expect(conflict).to_contain_text("Odyssey")
    expect(conflict).to_contain_text("Ulysses by Joyce")
    conflict.get_by_role("button", name="Leave it").click()
    assert "Sleep" not in ids(served, user)
    page.get_by_role("button", name="Apply all").click()
    page.get_by_role("button", name="Apply mine anyway").click()

    wait_for_rows(page, *drafted)
    wait_for_rows(live, *drafted)
    assert "Ulysses by Joyce" in ids(served, user)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    wait_for_rows(page, *ROWS[:-1], "  Odyssey")


def test_what_others_did_is_brought_into_a_draft_which_is_then_dropped(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    page = visit.page(f"#/{user}")
    wait_for_rows(page, *ROWS)
    begin_draft(page, HOSTILE)
    row(page, "Buy shoes").click()
    press(page, "Delete")
    counted(page, "1 change")

    served.make_goal(user, "Sleep")
    page.get_by_role("button", name="Bring up to date").click()
    wait_for_rows(page, *ROWS[:4], *ROWS[5:], "Sleep")
    page.get_by_role("button", name="Compare with now").click()
    expect(page.get_by_role("dialog", name="Compare with now")).to_contain_text("- Buy shoes")
    checked(page, "compared")
    press(page, "Escape")
    page.goto(f"{served.url}/#/{user}/draft")
    expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
    checked(page, "drafts")
    page.get_by_role("button", name=HOSTILE).click()
    page.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()

    wait_for_rows(page, *ROWS, "Sleep")
    assert names(served, user) == [*ROWS, "Sleep"]


def choose(page: Page, file: Path) -> None:
    """A file to import, which is then looked at."""
    page.locator(".main-menu").click()
    page.get_by_role("menuitem", name="Import…").click()
    page.locator("dialog input[type=file]").set_input_files(file)


def test_goals_come_back_from_files_as_they_went(
    visits: Visits, visit: Visit, served: Served, user: str, tmp_path: Path
) -> None:
    make(served, user, TREE)
    page = visit.page(f"#/{user}")
    recorded(page, served, user)

    for name in ("JSON", "OPML", "Markdown"):
        page.locator(".main-menu").click()
        page.get_by_role("menuitem", name="Export…").click()
        line = page.get_by_role("dialog").get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))
        with page.expect_download() as download:
            line.get_by_role("link", name="Save").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        other = f"{user}-{name}"
        served.make_user(other)
        there = visits(served).page(f"#/{other}")
        choose(there, file)
        expect(there.locator(".facts")).to_contain_text("3")
        there.get_by_role("button", name="Import 7 goals").click()
        wait_for_rows(there, *ROWS)
        there.locator(".toast").get_by_role("button", name="Undo").click()
        expect(there.get_by_text("A blank page.")).to_be_visible()


def test_a_thousand_levels_are_imported(page: Page, served: Served, user: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.txt"
    file.write_text("".join(f"{' ' * level}Level {level}\n" for level in range(1000)))

    choose(page, file)
    expect(page.locator(".facts")).to_contain_text("1,000")
    page.get_by_role("button", name="Import 1,000 goals").click()

    expect(page.locator(".row").first).to_be_visible()
    settled(page)
    assert len(ids(served, user)) == 1000


def test_a_broken_file_names_the_line_and_imports_nothing(
    visits: Visits, served: Served, user: str, tmp_path: Path
) -> None:
    visit = visits(served)
    visit.refusals = True
    page = visit.page(f"#/{user}")
    page.locator(".main-menu").click()
    page.get_by_role("menuitem", name="Import…").click()

    file = tmp_path / "broken.json"
    file.write_text('{"goals": [\n{"name": "a"},\n{"name": 5}]}')
    page.locator("dialog input[type=file]").set_input_files(file)

    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Line 3")
    checked(page, "broken file")
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    assert names(served, user) == []


def test_a_file_that_is_dropped_anywhere_is_looked_at(page: Page, served: Served, user: str) -> None:
    page.evaluate("""() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['Run\\n  Train\\n'], 'goals.txt', {type: 'text/plain'}));
      for (const type of ['dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
    }""")
    page.get_by_role("button", name="Import 2 goals").click()

    wait_for_rows(page, "Run", "  Train")
    assert names(served, user) == ["Run", "  Train"]


def test_a_year_is_told_by_pictures_and_by_numbers(visit: Visit, served: Served, user: str) -> None:
    make(served, user, TREE)
    served.order({"id": ids(served, user)["Ulysses"]}, "complete")
    page = visit.page(f"#/{user}/activity")

    expect(page.get_by_role("img", name="Changes on each day")).to_be_visible()
    expect(page.get_by_text("8 changes on 1 day")).to_be_visible()
    page.get_by_label("Kind").select_option("Completed")
    expect(page.get_by_text("1 change on 1 day")).to_be_visible()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("Done: 1")
    progress.get_by_role("combobox").select_option(label="Run a marathon")
    expect(progress).to_contain_text("Done: 0")
    for table in page.get_by_text("As a table").all():
        table.click()
    expect(page.get_by_role("cell", name="1", exact=True).first).to_be_visible()
    checked(page, "activity")
