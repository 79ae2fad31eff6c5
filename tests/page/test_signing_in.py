"""Who is here: signing in and out, a session that ends in the middle of work, another person after it."""

import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Visits
from tests.page.site import Visit, names, press, row, settled, shown, wait_for_rows
from tests.support.serving import Served

PASSWORD = "an apple a day"  # noqa: S105


@pytest.fixture
def ann(guarded: Served) -> str:
    """The name of a user with a password, whom no other test knows."""
    return register(guarded)


def register(guarded: Served) -> str:
    name = f"ann-{uuid.uuid4().hex[:8]}"
    answer = guarded.post("/v2/users", {"name": name, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return name


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def arrived(visit: Visit, guarded: Served, name: str) -> Page:
    """A tab of somebody who just signed in."""
    page = visit.page()
    page.goto(guarded.url)
    sign_in(page, name)
    expect(page.locator('.page[data-ready="true"]')).to_be_visible()
    return page


def end_sessions(guarded: Served, name: str) -> None:
    """As when an administrator sets another password; then the old one again."""
    for password in ("another one then", PASSWORD):
        answer = guarded.client.put(f"/v2/users/{name}/password", json={"new": password})
        assert answer.status_code in (200, 204), answer.text


def test_a_person_signs_in_works_and_signs_out_by_keys_only(visits: Visits, guarded: Served, ann: str) -> None:
    page = arrived(visits(guarded), guarded, ann)
    expect(page.get_by_text("A blank page.")).to_be_visible()

    press(page, "Tab", "Enter", "Enter", '"Run a marathon"', "Enter", '"Train"', "Tab", "Enter", "Escape", "Control+k")
    press(page, '"Sign out"', "Enter")

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert names(guarded, ann) == ["Run a marathon", "  Train"]
    kept = page.evaluate("() => Object.keys(localStorage).concat(Object.keys(sessionStorage))")
    assert kept in ([], ["es-goals.theme"])
    assert visits is not None
    assert [cookie for cookie in page.context.cookies() if cookie.get("value")] == []


def test_a_wrong_password_is_one_sentence(visits: Visits, guarded: Served, ann: str) -> None:
    visit = visits(guarded)
    visit.refusals = True
    page = visit.page()
    page.goto(guarded.url)

    sign_in(page, ann, "not this one")
    expect(page.get_by_role("alert").filter(has_text="Wrong name or password.")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    press(page, "Enter")

    expect(page.get_by_text("A blank page.")).to_be_visible()


def test_no_script_reads_the_cookie(visits: Visits, guarded: Served, ann: str) -> None:
    page = arrived(visits(guarded), guarded, ann)

    (cookie,) = page.context.cookies()
    assert page.evaluate("document.cookie") == ""
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")


def test_a_link_leads_where_it_says_after_signing_in(visits: Visits, guarded: Served, ann: str) -> None:
    page = visits(guarded).page()
    page.goto(f"{guarded.url}/#/{ann}/trash")
    sign_in(page, ann)

    expect(page.get_by_role("heading", name="Trash")).to_be_visible()


def test_a_session_that_ends_loses_nothing(visits: Visits, guarded: Served, ann: str) -> None:
    visit = visits(guarded)
    visit.refusals = True
    page = arrived(visit, guarded, ann)
    press(page, "Tab", "Enter", "Enter", '"One"', "Enter", "Escape")
    settled(page)

    end_sessions(guarded, ann)
    row(page, "One").focus()
    press(page, "n", '"Two"', "Enter", '"Three"', "Enter", "Escape")
    strip = page.locator(".strip")
    expect(strip).to_contain_text("Signed out: sign in again, nothing is lost.")
    assert shown(page) == ["One", "Two", "Three"]
    strip.get_by_role("button", name="Sign in again").click()
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Enter")
    wait_for_rows(page, "One", "Two", "Three")
    settled(page)

    assert names(guarded, ann) == ["One", "Two", "Three"]
    guarded.make_goal(ann, "Four")  # and the stream is there again
    wait_for_rows(page, "One", "Two", "Three", "Four")


def test_another_person_sees_nothing_of_the_one_before(visits: Visits, guarded: Served, ann: str) -> None:
    visit = visits(guarded)
    visit.refusals = True
    page = arrived(visit, guarded, ann)
    press(page, "Tab", "Enter", "Enter", '"Secret"', "Enter", "Escape")
    settled(page)
    end_sessions(guarded, ann)
    row(page, "Secret").focus()
    press(page, "n", '"Waits"', "Enter", "Escape")
    page.locator(".strip").get_by_role("button", name="Sign in again").click()
    other = register(guarded)
    sign_in(page, other)

    expect(page.get_by_text("A blank page.")).to_be_visible()
    expect(page.locator(".who")).to_have_text(other)
    assert "Secret" not in page.content()
    assert names(guarded, ann) == ["Secret"]
    assert names(guarded, other) == []
    assert (
        page.evaluate(
            f"JSON.stringify(localStorage).includes('Waits') || JSON.stringify(localStorage).includes('{ann}')"
        )
        is False
    )


def test_a_stranger_is_not_shown_who_is_there(visits: Visits, guarded: Served, ann: str) -> None:
    visit = visits(guarded)
    visit.refusals = True
    page = arrived(visit, guarded, ann)
    other = register(guarded)

    page.goto(f"{guarded.url}/#/{other}")

    expect(page.get_by_text("The goals could not be loaded.")).to_be_visible()
